"""Exact partial information decomposition of discrete joint distributions, by four measures.

The information two sources have of a target splits into a redundant, two unique and a complementary part. Three
informations fix the four parts up to one number, so a measure is needed; without one, that no part may be negative
leaves an interval for each.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.bounds import Interval
from toolkit.disentanglement.broja import least_information
from toolkit.disentanglement.ccs import common_change_in_surprisal
from toolkit.disentanglement.discrete import JointLike, as_joint

MEASURES = {
    "i_min": "The expected least that either source says of each value of the target (Williams & Beer 2010).",
    "mmi": "The smaller of the two sources' informations: the most that can be redundant (Barrett 2015).",
    "broja": "What is unique is what remains under the least favourable joint distribution with the same pairs "
    "(Bertschinger et al. 2014).",
    "ccs": "Where both sources change the surprise of a value in the same direction, what they share of that "
    "(Ince 2017); parts may be negative.",
}
"""What :func:`pid` can measure by, with a sentence for a menu."""


@dataclass(frozen=True, eq=False)
class PID:
    """A decomposition: ``information_1 = redundant + unique_1``, and all four parts sum to ``information_joint``.

    Attributes:
        redundant: what each source says alone.
        unique_1: what only source 1 says.
        unique_2: what only source 2 says.
        complementary: what only both together say; also called synergy.
        information_1: I(Y; A).
        information_2: I(Y; B).
        information_joint: I(Y; A, B).
        error_bound: how far each part may be from its true value by the optimisation; 0 for closed forms.
        measure: a key of :data:`MEASURES`, or ``"chosen"`` where the redundancy was given.
        unit: of all numbers, ``"nats"`` or ``"bits"``.
    """

    redundant: Float64[Tensor, "*batch"]
    unique_1: Float64[Tensor, "*batch"]
    unique_2: Float64[Tensor, "*batch"]
    complementary: Float64[Tensor, "*batch"]
    information_1: Float64[Tensor, "*batch"]
    information_2: Float64[Tensor, "*batch"]
    information_joint: Float64[Tensor, "*batch"]
    error_bound: Float64[Tensor, "*batch"]
    measure: str
    unit: str

    def __repr__(self) -> str:
        if self.redundant.ndim:
            return f"PID({self.measure}, batch {tuple(self.redundant.shape)}, {self.unit})"
        parts = ("redundant", "unique_1", "unique_2", "complementary")
        values = ", ".join(f"{part}={float(getattr(self, part)):.6g}" for part in parts)
        return f"PID({self.measure}: {values} {self.unit})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers, nested lists and text."""
        return _plain(self)


@dataclass(frozen=True, eq=False)
class PIDInterval:
    """What is left of the four parts when none may be negative.

    The ends belong together: at the largest redundancy the other parts are smallest but for the complementary one,
    which grows with it. :meth:`at` picks a point in between.

    Attributes:
        redundant: from ``max(0, A + B - J)`` to ``min(A, B)``, A, B and J the three informations.
        unique_1: of source 1.
        unique_2: of source 2.
        complementary: of both together.
        information_1: A = I(Y; source 1).
        information_2: B = I(Y; source 2).
        information_joint: J = I(Y; both sources).
        unit: of all numbers, ``"nats"`` or ``"bits"``.
    """

    redundant: Interval
    unique_1: Interval
    unique_2: Interval
    complementary: Interval
    information_1: Float64[Tensor, "*batch"]
    information_2: Float64[Tensor, "*batch"]
    information_joint: Float64[Tensor, "*batch"]
    unit: str

    @property
    def width(self) -> Float64[Tensor, "*batch"]:
        """How long each of the four intervals is: the same for all."""
        return self.redundant.upper - self.redundant.lower

    def __repr__(self) -> str:
        if self.width.ndim:
            return f"PIDInterval(batch {tuple(self.width.shape)}, {self.unit})"
        names = ("redundant", "unique_1", "unique_2", "complementary")
        ends = [(name, getattr(self, name)) for name in names]
        text = ", ".join(f"{name}={float(end.lower):.4g}…{float(end.upper):.4g}" for name, end in ends)
        return f"PIDInterval({text} {self.unit})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers, nested lists and text."""
        return _plain(self)

    def at(self, redundant: Float64[Tensor, "*values"] | float) -> PID:
        """Return the decomposition with this much redundancy.

        Args:
            redundant: inside its interval, in this object's unit; rounding by 1e-9 is forgiven. A tensor is broadcast
                against the batch: ``[100]`` values for one system give 100 decompositions.

        Returns:
            The parts, each at least 0.

        Raises:
            ValueError: outside the interval (some part would be negative), or NaN.
        """
        chosen = torch.as_tensor(redundant, dtype=torch.float64, device=self.width.device)
        lower, upper = self.redundant.lower, self.redundant.upper
        inside = bool(((chosen >= lower - 1e-9) & (chosen <= upper + 1e-9)).all())
        expected = "a redundancy that leaves no part negative"
        if not lower.ndim:
            expected += f": {float(lower):.6g} to {float(upper):.6g} {self.unit}"
        values = chosen.flatten()
        actual = f"{float(values[0]):.6g}" if values.numel() == 1 else f"{values.numel()} values, some of them outside"
        require(inside, "pid_at", "redundant", expected, actual)
        informations = (self.information_1, self.information_2, self.information_joint)
        return _assemble(informations, chosen.clamp(lower, upper), torch.zeros_like(chosen), "chosen", self.unit)


def pid(joint: JointLike, measure: str = "i_min", unit: str = "nats") -> PID:
    """Decompose the information that two sources have of a target.

    ``"i_min"`` and ``"mmi"`` are closed forms, ``"broja"`` is optimised and certified to 1e-10 nats. These three lie in
    :func:`interval`. ``"ccs"`` (see :func:`~toolkit.disentanglement.ccs.common_change_in_surprisal` for which variant)
    may give negative parts, and a redundancy outside the interval.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``.
        measure: a key of :data:`MEASURES`.
        unit: ``"nats"`` or ``"bits"``.

    Returns:
        The parts, with the shape of the batch, where the input was.

    Raises:
        ValueError: not a distribution; no such measure or unit.
        TypeError: no numbers.
        ArithmeticError: an optimisation did not reach its accuracy.
    """
    require(measure in MEASURES, "pid", "measure", f"one of {', '.join(MEASURES)}", repr(measure))
    p = as_joint(joint, "pid")
    scale = _per_unit(unit, "pid")
    spec_1, spec_2, together = _specific(p)
    first, second = spec_1.sum(-1).clamp(min=0.0), spec_2.sum(-1).clamp(min=0.0)
    # Rounding must not make what both say less than what one of them does.
    both = torch.maximum(together, torch.maximum(first, second))
    smallest = torch.minimum(first, second)
    error = torch.zeros_like(first)
    if measure == "mmi":
        redundant = smallest
    elif measure == "i_min":
        redundant = torch.minimum(spec_1, spec_2).sum(-1)
    elif measure == "broja":
        least = least_information(p)
        redundant, error = first + second - least.information, least.gap
    else:
        redundant = common_change_in_surprisal(p)
    if measure != "ccs":
        redundant = torch.minimum(torch.maximum(redundant, (first + second - both).clamp(min=0.0)), smallest)
    return _assemble((first / scale, second / scale, both / scale), redundant / scale, error / scale, measure, unit)


def interval(joint: JointLike, unit: str = "nats") -> PIDInterval:
    """Return what is left of the four parts when none may be negative.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``.
        unit: ``"nats"`` or ``"bits"``.

    Returns:
        The intervals, with the shape of the batch, where the input was.

    Raises:
        ValueError: not a distribution; no such unit.
        TypeError: no numbers.
    """
    scale = _per_unit(unit, "interval")
    first, second, both = _specific(as_joint(joint, "interval"))
    return interval_of(first.sum(-1) / scale, second.sum(-1) / scale, both / scale, unit=unit)


def interval_of(
    information_1: Float64[Tensor, "*batch"],
    information_2: Float64[Tensor, "*batch"],
    information_joint: Float64[Tensor, "*batch"],
    *,
    unit: str = "nats",
) -> PIDInterval:
    """Return what three informations leave of the four parts when none may be negative.

    Args:
        information_1: I(Y; source 1).
        information_2: I(Y; source 2).
        information_joint: I(Y; both). What rounding made negative, or smaller than one of the others, is mended.
        unit: of the informations.

    Returns:
        The intervals.

    Raises:
        ValueError: NaN, infinity, an information that is negative or larger than the joint one by more than 1e-9.
    """
    _per_unit(unit, "interval_of")
    informations = (information_1, information_2, information_joint)
    finite = all(bool(value.isfinite().all()) for value in informations)
    require(finite, "interval_of", "information", "finite numbers", "NaN or infinity among them")
    first, second = information_1.clamp(min=0.0), information_2.clamp(min=0.0)
    largest = torch.maximum(first, second)
    both = torch.maximum(information_joint, largest)
    positive = bool(((first - information_1 <= 1e-9) & (second - information_2 <= 1e-9)).all())
    require(positive, "interval_of", "information", "numbers >= 0", "a negative one")
    ordered = bool((both - information_joint <= 1e-9).all())
    require(ordered, "interval_of", "information_joint", "at least what each source says", "less")
    smallest = torch.minimum(first, second)
    lowest = (first + second - both).clamp(min=0.0)
    return PIDInterval(
        Interval(lowest, smallest),
        Interval(first - smallest, first - lowest),
        Interval(second - smallest, second - lowest),
        Interval((both - first - second).clamp(min=0.0), both - largest),
        first,
        second,
        both,
        unit,
    )


def pid_at(joint: JointLike, redundant: Float64[Tensor, "*values"] | float, unit: str = "nats") -> PID:
    """Decompose with a given redundancy: what a slider between the ends of the interval shows.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``.
        redundant: inside the interval of :func:`interval`, in ``unit``; see :meth:`PIDInterval.at`.
        unit: ``"nats"`` or ``"bits"``.

    Returns:
        The parts, each at least 0; the measure is ``"chosen"``.

    Raises:
        ValueError: not a distribution, no such unit, or a redundancy outside the interval.
        TypeError: no numbers.
    """
    return interval(joint, unit).at(redundant)


def _specific(p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return p(y) times the specific information of each source for each y, and I(Y; A, B), in nats."""
    first, second, sources = p.sum(-2), p.sum(-3), p.sum(-1)
    target = first.sum(-2)
    surprise = torch.special.entr(target)
    source_1, source_2 = first.sum(-1, keepdim=True), second.sum(-1, keepdim=True)
    spec_1 = surprise - (torch.special.entr(first) + torch.xlogy(first, source_1)).sum(-2)
    spec_2 = surprise - (torch.special.entr(second) + torch.xlogy(second, source_2)).sum(-2)
    entropy = torch.special.entr(p).sum((-3, -2, -1)) - torch.special.entr(sources).sum((-2, -1))
    return spec_1, spec_2, surprise.sum(-1) - entropy


def _assemble(
    informations: tuple[Tensor, Tensor, Tensor], redundant: Tensor, error: Tensor, measure: str, unit: str
) -> PID:
    first, second, both = torch.broadcast_tensors(*informations, redundant)[:3]
    complementary = both - first - second + redundant
    if measure != "ccs":
        complementary = complementary.clamp(min=0.0)
    return PID(
        redundant, first - redundant, second - redundant, complementary, first, second, both, error, measure, unit
    )


def _per_unit(unit: str, operation: str) -> float:
    """Return how many nats the unit is."""
    require(unit in ("nats", "bits"), operation, "unit", "'nats' or 'bits'", repr(unit))
    return math.log(2.0) if unit == "bits" else 1.0


def _plain(result: PID | PIDInterval) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in vars(result).items():
        if isinstance(value, Interval):
            plain[name] = value.to_dict()
        else:
            plain[name] = value.tolist() if isinstance(value, Tensor) else value
    return plain
