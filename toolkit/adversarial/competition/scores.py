"""Scores from counted outcomes, eqs. (6) to (10): pure functions of integer matrices."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Bool, Int
from torch import Tensor

from toolkit.core.errors import require


@dataclass(frozen=True)
class Scores:
    """Scores of all submissions of a track.

    Attributes:
        raw: points over all opponents that count.
        score: ``raw`` over the number of those opponents and images, in [0, 1]; 0 without any.
        worst: the smallest share of images won against one of them; 0 without any.
        worst_opponent: its index; None without any. Among equals the first.
    """

    raw: tuple[int, ...]
    score: tuple[float, ...]
    worst: tuple[float, ...]
    worst_opponent: tuple[int | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def complete_attacks(produced: Int[Tensor, " attacks"], n_images: int) -> Bool[Tensor, " attacks"]:
    """Return which attacks made all images: the set A, over which defences are scored."""
    return produced == n_images


def complete_defences(
    labelled: Int[Tensor, "defences attacks"], produced: Int[Tensor, " attacks"]
) -> Bool[Tensor, " defences"]:
    """Return which defences labelled all the images they were given: the set D, over which attacks are scored."""
    return (labelled == produced).all(1)


def score(points: Int[Tensor, "entrants opponents"], counted: Bool[Tensor, " opponents"], n_images: int) -> Scores:
    """Score all submissions of a track.

    For attacks the points are the wrong labels (6) or the targets hit (7), and D counts; for defences the right labels
    (8), and A counts. A submission that is not complete itself is scored all the same.

    Args:
        points: images won by each submission against each opponent.
        counted: the opponents over which to score.
        n_images: how many images there are.

    Raises:
        ValueError: points below 0 or above ``n_images``.
    """
    inside = not points.numel() or (int(points.min()) >= 0 and int(points.max()) <= n_images)
    require(inside, "score", "points", f"0 to n_images = {n_images}", "others")
    chosen = counted.nonzero()[:, 0]
    against = points[:, chosen]
    total = len(chosen) * n_images
    raw = [int(value) for value in against.sum(1)]
    if not total:
        nothing = (0.0,) * len(raw)
        return Scores(tuple(raw), nothing, nothing, (None,) * len(raw))
    # argmin promises nothing about which of several minima it returns.
    lowest = against.min(1, keepdim=True).values
    first = [int(row.nonzero()[0]) for row in against == lowest]
    return Scores(
        tuple(raw),
        tuple(value / total for value in raw),
        tuple(int(value) / n_images for value in lowest),
        tuple(int(chosen[index]) for index in first),
    )


def negate(scores: Scores, banned: Sequence[bool]) -> Scores:
    """Return the scores with those of blacklisted submissions negated, as the competition's program did."""
    signs = [-1 if bad else 1 for bad in banned]
    raw = tuple(sign * value for sign, value in zip(signs, scores.raw, strict=True))
    # Not -0.0, which would be printed.
    score = tuple(sign * value + 0.0 for sign, value in zip(signs, scores.score, strict=True))
    return Scores(raw, score, scores.worst, scores.worst_opponent)


def ranks(values: Sequence[float]) -> tuple[int, ...]:
    """Return the rank of each value, 1 for the highest; equal values share one, and the next rank is left out."""
    return tuple(1 + sum(other > value for other in values) for value in values)


def kit_points(
    correct: Int[Tensor, "defences attacks"], missing: Int[Tensor, " attacks"], n_images: int
) -> Int[Tensor, "attacks defences"]:
    """Return the points of non-targeted attacks as the simpler scorer of the development kit counts them.

    Every image that a defence did not label rightly is a point, also one that is missing or got no label, and every
    submission is an opponent. The chapter's rules are the others.

    Args:
        correct: right labels, where a missing image counts as one.
        missing: images that each attack did not make.
        n_images: how many images there are.
    """
    return (n_images - (correct - missing)).T
