"""Runs that a score cannot tell apart though their parts of information differ, and the best runs by a score."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.disentanglement.bounds import PARTS
from toolkit.experiments.records import Record


@dataclass(frozen=True)
class Bars:
    """The parts of information of one run, as bars.

    Attributes:
        name: of the model.
        seed: of its training.
        scores: by name.
        parts: by name, from the lower to the upper bound, each as far out as sampling error may take it.
    """

    name: str
    seed: int
    scores: Mapping[str, float]
    parts: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for part, (low, high) in self.parts.items():
            require(low <= high, "Bars", "parts", f"lower <= upper of the part {part!r}", (low, high))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        parts = {part: list(ends) for part, ends in self.parts.items()}
        return {"name": self.name, "seed": self.seed, "scores": dict(self.scores), "parts": parts}


@dataclass(frozen=True)
class SameScore:
    """Two runs with nearly the same score, and a part of information that certainly differs.

    Attributes:
        first: the one with less of the part.
        second: the one with more of it.
        score: name of the score.
        difference: how far the scores are apart.
        part: whose bars are furthest apart.
        gap: from the end of one bar to the beginning of the other.
    """

    first: Bars
    second: Bars
    score: str
    difference: float
    part: str
    gap: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        ends = {"first": self.first.to_dict(), "second": self.second.to_dict()}
        return ends | {"score": self.score, "difference": self.difference, "part": self.part, "gap": self.gap}


def same_score_pairs(
    runs: Sequence[Bars],
    *,
    score: str = "MIG",
    tolerance: float = 0.02,
    parts: Sequence[str] = ("redundant", "complementary"),
) -> tuple[SameScore, ...]:
    """Find pairs of runs of which a score says the same, and the parts do not.

    Args:
        runs: at least the score and the parts of each; those whose score is NaN are left out.
        score: name of the score.
        tolerance: scores that differ by less count as the same.
        parts: the bars that are compared.

    Returns:
        The pairs with a part whose bars do not touch, the widest gap first; then by how near the scores are.

    Raises:
        ValueError: a tolerance that is not positive, no part, or a run without the score or a part.
    """
    operation = "same_score_pairs"
    require(0 < tolerance < math.inf, operation, "tolerance", "a positive number", tolerance)
    require(len(parts) > 0, operation, "parts", f"some of {PARTS}", tuple(parts))
    for run in runs:
        require(score in run.scores, operation, "score", f"one of {sorted(run.scores)} (of {run.name})", repr(score))
        missing = [part for part in parts if part not in run.parts]
        require(not missing, operation, "parts", f"among {sorted(run.parts)} (of {run.name})", missing)
    found = []
    for one, other in itertools.combinations(runs, 2):
        difference = abs(one.scores[score] - other.scores[score])
        if not difference < tolerance:
            continue
        gap, part = max(((_gap(one.parts[part], other.parts[part]), part) for part in parts), key=lambda pair: pair[0])
        if gap > 0:
            first, second = sorted((one, other), key=lambda run: run.parts[part][0])
            found.append(SameScore(first, second, score, difference, part, gap))
    return tuple(sorted(found, key=lambda pair: (-pair.gap, pair.difference, pair.first.name, pair.first.seed)))


def best_half(scores: Sequence[float]) -> tuple[int, ...]:
    """Return which runs are the better half by a score, as the paper's authors chose the runs that they show.

    Args:
        scores: of each run, larger is better; NaN is worst.

    Returns:
        Indices in ascending order; of an odd number the half is rounded up, of equal scores the first ones are in.

    Raises:
        ValueError: no run.
    """
    require(len(scores) > 0, "best_half", "scores", "one or more", tuple(scores))
    best_first = sorted(range(len(scores)), key=lambda index: math.inf if math.isnan(scores[index]) else -scores[index])
    return tuple(sorted(best_first[: (len(scores) + 1) // 2]))


def bars_of(records: Sequence[Record]) -> tuple[Bars, ...]:
    """Return the bars of every run of the study's records, averaged over factors; synthetic encoders are left out."""
    found = []
    for record in records:
        for result in record.results:
            table = result.tables.get("profile")
            if table is None or "trained" not in result.tables:
                continue
            rows = zip(table["factor"], table["part"], table["lower_low"], table["upper_high"], strict=True)
            parts = {part: (low, high) for factor, part, low, high in rows if factor == "mean"}
            found.append(Bars(record.variant, result.seed, dict(result.metrics), parts))
    return tuple(found)


def _gap(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(one[0] - other[1], other[0] - one[1], 0.0)
