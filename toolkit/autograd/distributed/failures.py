"""What goes wrong between processes, said so that one knows where to look.

A rank that loses its peers learns from torch no more than that a connection was closed. Here it also says how long it
waited, which rank reported an error of its own, and what to look at when none did.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator, Sequence
from typing import Any


class CommunicationError(RuntimeError):
    """Another rank ended, hangs, or never made the call that this rank is in."""


class DisagreementError(RuntimeError):
    """The ranks called with arguments, or models, that do not fit together. Every rank raises it."""


def report_failure(store: Any, rank: int, error: BaseException) -> None:
    """Leave word for the other ranks of why this one ends.

    Args:
        store: the key-value store of the process group; ``None`` does nothing.
        rank: of this process, in the whole group.
        error: a :class:`CommunicationError` is not reported: it follows from another rank's failure.
    """
    if store is None or isinstance(error, CommunicationError):
        return
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    # The store may have gone with the rank that kept it.
    with contextlib.suppress(Exception):
        store.set(f"toolkit/failure/{rank}", text)


def reported_failures(store: Any, ranks: Sequence[int]) -> dict[int, str]:
    """Return what other ranks left behind with :func:`report_failure`, by rank; empty if the store is gone."""
    found = {}
    if store is not None:
        with contextlib.suppress(Exception):
            store.set_timeout(datetime.timedelta(seconds=2))
            for rank in ranks:
                key = f"toolkit/failure/{rank}"
                if store.check([key]):
                    found[rank] = store.get(key).decode()
    return found


@contextlib.contextmanager
def guarded(operation: str, *, rank: int, members: Sequence[int], timeout: float, store: Any) -> Iterator[None]:
    """Turn what torch.distributed raises in the body into a :class:`CommunicationError`.

    Args:
        operation: what this rank is doing, for the message.
        rank: of this process, in the whole group.
        members: ranks taking part, in the whole group.
        timeout: seconds that were allowed.
        store: where other ranks may have reported an error.
    """
    started = time.monotonic()
    try:
        yield
    except (CommunicationError, DisagreementError):
        raise
    except RuntimeError as error:
        waited = time.monotonic() - started
        others = [member for member in members if member != rank]
        reported = reported_failures(store, others)
        if reported:
            reason = "; ".join(f"rank {member} ended with {text}" for member, text in reported.items())
        elif waited < 0.9 * timeout:
            reason = "a peer closed its connection and reported no error: it was killed (out of memory?) or crashed"
        else:
            reason = "a peer did not come to this call in time: it hangs, is stopped, or makes other calls"
        names = ", ".join(map(str, others))
        # Not chained: torch's own words are in the last line, the rest of them would bury the reason.
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CommunicationError(
            f"{operation}: rank {rank} lost contact after {waited:.1f} s (timeout {timeout:g} s)\n"
            f"  reason:  {reason}\n"
            f"  look at: the last output of rank {names} and the launcher's exit codes; whether every rank makes the "
            "same calls in the same order; timeout=, if a rank is only slow\n"
            f"  torch:   {first_line[:200]}"
        ) from None
