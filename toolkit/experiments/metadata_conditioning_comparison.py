"""Models trained with metadata beside a baseline, by prompt length, over seeds: does the sign change?"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.core.errors import argument_error, require
from toolkit.experiments.records import Record, SeedResult

CONFIDENCE = 0.95
"""Of the intervals, by Student's t over seeds, that must leave out zero for a difference to count."""


@dataclass(frozen=True)
class Difference:
    """The mean of a difference over seeds.

    Attributes:
        mean: over the seeds.
        standard_error: of the mean; NaN for a single seed.
        n: number of seeds.
    """

    mean: float
    standard_error: float
    n: int

    @property
    def sign(self) -> int:
        """1 or −1 if the 95 % interval of Student's t over seeds leaves out zero, else 0; 0 for a single seed."""
        from scipy.stats import t

        if self.n < 2 or not abs(self.mean) > t.ppf((1 + CONFIDENCE) / 2, self.n - 1) * self.standard_error:
            return 0
        return 1 if self.mean > 0 else -1

    def __str__(self) -> str:
        error = "" if math.isnan(self.standard_error) else f" ± {self.standard_error:.2g}"
        return f"{self.mean:+.3g}{error}"


@dataclass(frozen=True)
class Comparison:
    """A model trained with metadata less a baseline, seed by seed on the same documents; neither is shown metadata.

    Attributes:
        arm: ``"D_M=2"``.
        control: ``"baseline"`` or ``"fewer-steps"``.
        positions: prompt lengths of ``ratio`` and ``kl``.
        ratio: KL of the first divided by KL of the second, geometric mean over seeds.
        ratio_spread: standard deviation over seeds of its logarithm; NaN for a single seed.
        kl: difference in KL from the optimum, nats.
        prompt_lengths: of ``acc_any`` and ``acc_true``.
        acc_any: difference in grammatical accuracy.
        acc_true: likewise.
        short: difference in KL over all short prompts.
        long: over all long prompts.
    """

    arm: str
    control: str
    positions: tuple[int, ...]
    ratio: tuple[float, ...]
    ratio_spread: tuple[float, ...]
    kl: tuple[Difference, ...]
    prompt_lengths: tuple[int, ...]
    acc_any: tuple[Difference, ...]
    acc_true: tuple[Difference, ...]
    short: Difference
    long: Difference

    @property
    def verdict(self) -> str:
        """What the differences in KL over short and long prompts say, in words."""
        words = {1: "harm", -1: "gain", 0: "no clear difference"}
        if self.short.n < 2:
            return "one seed says nothing about signs"
        return f"short prompts: {words[self.short.sign]}; long prompts: {words[self.long.sign]}"

    @property
    def changes_sign(self) -> bool:
        """Whether metadata harm for short prompts and help for long ones, each beyond the spread of the seeds."""
        return self.short.sign > 0 > self.long.sign

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"verdict": self.verdict, "changes_sign": self.changes_sign}

    def __repr__(self) -> str:
        return f"Comparison({self.arm} less {self.control}: {self.verdict})"


def compare(arm: Record, control: Record) -> Comparison:
    """Compare two records of the study.

    Args:
        arm: of a model that was trained with metadata.
        control: of a baseline on the same family; only the seeds that both have count.

    Raises:
        ValueError: other families, no seed in common, other sentences or other lengths of prompts.
    """
    family, _, name = arm.variant.rpartition("/")
    other, _, control_name = control.variant.rpartition("/")
    require(family == other, "compare", "control", f"a record of {family}", control.variant)
    pairs = [(a, b) for a in arm.results for b in control.results if a.seed == b.seed]
    if not pairs:
        raise argument_error("compare", "control", f"seeds in common: {arm.seeds}", control.seeds)
    for table, column, what in (("positions", "n", "sentences"), ("prompts", "prompt length", "prompt lengths")):
        same = all(_column(a, table, column) == _column(b, table, column) for a, b in pairs)
        require(same, "compare", "control", f"a record of the same {what}", "others")
    kl = [(_column(a, "positions", "KL"), _column(b, "positions", "KL")) for a, b in pairs]
    logs = [[_log_ratio(x, y) for x, y in zip(a, b, strict=True)] for a, b in kl]
    n = len(kl[0][0])
    acc_any, acc_true = (
        tuple(
            _difference([_column(a, "prompts", score)[i] - _column(b, "prompts", score)[i] for a, b in pairs])
            for i in range(len(_column(pairs[0][0], "prompts", score)))
        )
        for score in ("acc_any", "acc_true")
    )
    short, long = (
        _difference([a.metrics[f"KL, {part} prompts"] - b.metrics[f"KL, {part} prompts"] for a, b in pairs])
        for part in ("short", "long")
    )
    return Comparison(
        name,
        control_name,
        tuple(_column(pairs[0][0], "positions", "position")),
        tuple(math.exp(statistics.fmean(row[i] for row in logs)) for i in range(n)),
        tuple(statistics.stdev(row[i] for row in logs) if len(logs) > 1 else math.nan for i in range(n)),
        tuple(_difference([a[i] - b[i] for a, b in kl]) for i in range(n)),
        tuple(_column(pairs[0][0], "prompts", "prompt length")),
        acc_any,
        acc_true,
        short,
        long,
    )


def _column(result: SeedResult, table: str, name: str) -> list:
    return result.tables[table][name]


def _log_ratio(first: float, second: float) -> float:
    return math.log(first / second) if first > 0 < second and first < math.inf > second else math.nan


def _difference(values: Sequence[float]) -> Difference:
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 and all(map(math.isfinite, values)) else math.nan
    return Difference(statistics.fmean(values), error, n)
