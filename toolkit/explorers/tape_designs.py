"""What a tape's design decisions cost: microseconds an operation for the design that the reader puts together.

The first picture is a recorded run; a button takes the same measurement on the reader's machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.experiments import Record
from toolkit.experiments.small_tapes import LIBRARIES, RECORDS, Design
from toolkit.experiments.tape_designs import (
    BARE,
    OURS,
    TORCH,
    chain,
    left_to_collector,
    reference_chains,
    require_equal_gradients,
    take_turns,
)
from toolkit.explorers.recorded_runs import recorded_run
from toolkit.lessons import BackgroundView, Progress, View, controls
from toolkit.lessons.svg import bar_chart

STUDY = "tape-designs"
ROUNDS = 25
_NAMES = {"numpy": "NumPy", "torch": "torch"}
_CHOSEN, _BASE = "chosen", "nothing ticked"


@dataclass(frozen=True)
class Timings:
    """What an operation takes, forward and backward, in a chain of them.

    Attributes:
        design: the tape the reader chose.
        microseconds: CPU time by contender: torch, our engine, the small tape as this toolkit decides, the chosen
            one, and the chain written out without a tape. The small tapes check nothing; our engine does.
        left: objects that one chain of 999 operations leaves to Python's cycle collector, on the chosen tape.
        where: on what this was measured.
        recorded: whether it was measured before, elsewhere.
    """

    design: Design
    microseconds: dict[str, float]
    left: int
    where: str
    recorded: bool

    @property
    def chosen(self) -> float:
        """Microseconds of the chosen tape."""
        return self.microseconds[_CHOSEN]

    @property
    def base(self) -> float:
        """Microseconds of the small tape with this toolkit's own decisions, on the same arrays."""
        return self.microseconds[_BASE]

    def __repr__(self) -> str:
        return f"Timings({self.design.key}: {self.chosen:.3g} µs, {'recorded' if self.recorded else 'measured here'})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the design as its key."""
        return dict(vars(self)) | {"design": self.design.key}


def recorded_study(records: Sequence[Record] | None = None) -> Record:
    """Take the newest recorded run of ``tape-designs``, one of the most rounds.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: none of them is a run of ``tape-designs``.
    """
    return recorded_run(STUDY, records, lambda record: record.config["rounds"])


def recorded_timings(record: Record, design: Design) -> Timings:
    """Take a design's numbers out of a recorded run, the quickest of its seeds."""

    def lowest(name: str) -> float:
        return min(result.metrics[name] for result in record.results)

    library = design.library
    keys = {TORCH: f"torch/{TORCH}", OURS: f"{library}/{OURS}", _BASE: Design(library).key, _CHOSEN: design.key}
    keys |= {BARE: f"{library}/{BARE}"}
    microseconds = {name: lowest(f"microseconds/{key}") for name, key in keys.items()}
    left = round(lowest(f"left to the collector/{design.key}"))
    machine, versions = record.environment.device.partition(": ")[2] or record.environment.device, record.environment
    where = f"{machine}, torch {versions.torch}, NumPy {versions.numpy}, {record.date[:10]}"
    return Timings(design, microseconds, left, where, True)


def measure_here(
    library: str = "numpy",
    record: str = "nodes",
    lookup: bool = False,
    plain_tanh: bool = False,
    *,
    rounds: int = ROUNDS,
) -> Iterator[Progress]:
    """Time the chosen tape beside the others on this machine, in turns; about two seconds.

    Args:
        library: as in :class:`~toolkit.experiments.small_tapes.Design`, like the next three.
        record: how results remember how they were made.
        lookup: whether the array library is looked up at every operation.
        plain_tanh: whether the slope of tanh is written out.
        rounds: how often each contender has its turn.

    Yields:
        The best times so far.

    Raises:
        RuntimeError: two contenders find different gradients.
    """
    require(rounds >= 1, "measure_here", "rounds", "1 or more", rounds)
    design = Design(library, record, lookup, plain_tanh)
    steps = {**reference_chains(library), _BASE: chain(Design(library)), _CHOSEN: chain(design)}
    require_equal_gradients(steps)
    left = left_to_collector(steps[_CHOSEN])
    for number, best in enumerate(take_turns(steps, rounds), start=1):
        yield Progress(number / rounds, Timings(design, best, left, "this machine", False), f"round {number}")


def draw(timings: Timings) -> Svg:
    """Draw one bar a contender."""
    names = {
        TORCH: "torch eager, its C++ tape",
        OURS: f"our engine on {_NAMES[timings.design.library]}",
        _BASE: "small tape, nothing ticked",
        _CHOSEN: "small tape, yours",
        BARE: "no tape, written by hand",
    }
    top = max(18.0, 1.1 * max(timings.microseconds.values()))
    origin = "Recorded" if timings.recorded else "Measured here"
    ratio = f"yours takes {timings.chosen / timings.base:.2f} × the small tape with nothing ticked"
    return bar_chart(
        list(names.values()),
        [timings.microseconds[name] for name in names],
        value_label="µs an operation, forward and backward",
        title=f"{origin}: {ratio}",
        write=".2f",
        value_limits=(0, top),
        highlight=list(names).index(_CHOSEN),
        width=660,
    )


def _words(design: Design) -> str:
    switches = [RECORDS[design.record]]
    switches += ["library looked up"] * design.lookup + ["plain tanh slope"] * design.plain_tanh
    return ", ".join(switches)


def describe(timings: Timings) -> str:
    """Say what the chosen tape takes beside the others, and what it leaves to the cycle collector."""
    origin = f"Recorded ({timings.where})" if timings.recorded else "Measured on this machine"
    ratios = [f"{timings.chosen / timings.microseconds[name]:.2f} × {words}" for name, words in _BESIDE.items()]
    left = (
        f"A chain leaves {timings.left:,} objects to the cycle collector."
        if timings.left
        else "It leaves nothing to the cycle collector."
    )
    return (
        f"{origin}: {_words(timings.design)}, on {_NAMES[timings.design.library]} arrays: "
        f"{timings.chosen:.2f} µs an operation, {' and '.join(ratios)}. {left}"
    )


_BESIDE = {_BASE: "the small tape with nothing ticked", TORCH: "torch eager"}


class TapeDesigns(BackgroundView):
    """Switches show recorded times at once, a button takes them here; see :func:`explore_tape_designs`."""

    def _changed(self, change: object) -> None:
        if self.running:
            super()._changed(change)
        else:
            self.note.value = ""
            View._changed(self, change)


def explore_tape_designs(records: Sequence[Record] | None = None) -> TapeDesigns:
    """Return a view of what each decision costs, with switches for the decisions and a button that measures here.

    Args:
        records: where to find a run of ``tape-designs``; default: the recorded ones that come with the toolkit.

    Raises:
        ValueError: there is no such run.
    """
    record = recorded_study(records)

    def recorded(**switches: Any) -> Timings:
        return recorded_timings(record, Design(**switches))

    switches = {
        "library": controls.toggle("arrays", {_NAMES[name]: name for name in LIBRARIES}),
        "record": controls.choice("what is recorded", {words: name for name, words in RECORDS.items()}),
        "lookup": controls.checkbox("look the array library up at every operation", True),
        "plain_tanh": controls.checkbox("slope of tanh as g * (1 - y * y)"),
    }
    first = recorded(**{name: control.value for name, control in switches.items()})
    view = TapeDesigns(switches, measure_here, draw, describe, initial=first, run_label="Measure here")
    view.compute = recorded
    return view
