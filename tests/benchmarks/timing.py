"""CPU time of contenders that take turns in one process, so that whatever slows the machine slows them all."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """CPU seconds of one call, one number a round.

    Attributes:
        seconds: of each round, the mean over its calls.
    """

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        """The quickest round."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.seconds)


def measure(contenders: dict[str, Callable[[], object]], *, rounds: int, seconds: float) -> dict[str, Timing]:
    """Time all contenders in turn.

    Args:
        contenders: what to call, by name. Each is called twice beforehand.
        rounds: how often each has its turn; the order changes from round to round.
        seconds: CPU time of the first contender's turn, about; all make the same number of calls.

    Returns:
        A timing for each name.
    """
    for step in contenders.values():
        step()
        step()
    # What the contenders leave to the garbage collector is theirs to pay; searching all modules for it is not.
    gc.collect()
    gc.freeze()
    first = next(iter(contenders.values()))
    calls = max(1, round(seconds / max(_turn(first, 1), 1e-6)))
    names = list(contenders)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            spent[name].append(_turn(contenders[name], calls))
    return {name: Timing(tuple(values)) for name, values in spent.items()}


def _turn(step: Callable[[], object], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        step()
    return (time.process_time() - start) / calls
