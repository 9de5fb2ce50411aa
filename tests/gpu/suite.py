"""Every registered function on a device's arrays against NumPy, with its first and second derivatives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F
from toolkit.autograd.registry import REGISTRY, Differentiable, Sample

Lift = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Finding:
    """How one call on a device compares with NumPy's.

    Attributes:
        library: whose arrays.
        function: the registered name.
        sample: which of its samples, from 0.
        difference: largest absolute difference of the result and its derivatives, relative to NumPy's largest.
        problem: what went wrong instead, or an empty text.
    """

    library: str
    function: str
    sample: int
    difference: float
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether it is NumPy's up to rounding (in float64)."""
        return not self.problem and self.difference < 1e-7


def libraries(device: str) -> dict[str, Lift]:
    """Return how arrays of each library that is there come to the device."""
    found: dict[str, Lift] = {f"torch on {device}": lambda array: torch.tensor(array, device=device)}
    if torch.device(device).type == "cuda":
        try:
            import cupy

            cupy.zeros(1).sum()
        except Exception as error:
            print(f"CuPy is left out: {type(error).__name__}: {error}")
        else:
            found["CuPy"] = cupy.asarray
    return found


def compare(library: str, lift: Lift, names: Sequence[str] = ()) -> list[Finding]:
    """Try all samples of the named functions, or of all, on one library."""
    findings = []
    for name in sorted(names or REGISTRY):
        entry = REGISTRY[name]
        for number, sample in enumerate(entry.samples(np.random.default_rng(7))):
            expected = _evaluated(entry, sample, np.array)
            try:
                difference, problem = _distance(_evaluated(entry, sample, lift), expected), ""
            except Exception as error:  # one function's failure must not hide the others
                difference, problem = float("nan"), f"{type(error).__name__}: {error}"
            findings.append(Finding(library, name, number, difference, problem))
    return findings


def _evaluated(entry: Differentiable, sample: Sample, lift: Lift) -> list[np.ndarray | None]:
    """Return the result and its first and second derivatives along fixed random directions, on the host."""
    leaves: list[Variable] = []

    def lifted(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            array = lift(value)
            if value.dtype.kind != "f":
                return array
            leaves.append(Variable(array, requires_grad=True))
            return leaves[-1]
        if isinstance(value, torch.Generator):
            return value.clone_state()
        if isinstance(value, tuple | list):
            return type(value)(lifted(part) for part in value)
        return value

    arguments = [lifted(value) for value in sample.arguments]
    output = entry(*arguments, **{name: lifted(value) for name, value in sample.keywords.items()})
    rng = np.random.default_rng(3)

    def weighed(value: Variable) -> Variable:
        return F.sum(value * lift(np.asarray(rng.normal(size=value.shape))))

    first = grad(weighed(output), leaves, create_graph=True, allow_unused=True)
    terms = [weighed(gradient) for gradient in first if gradient is not None]
    total = sum(terms[1:], terms[0]) if terms else None
    second: Any = [None] * len(leaves)
    if total is not None and total.requires_grad:
        second = grad(total, leaves, allow_unused=True)
    return [output.numpy()] + [None if one is None else one.numpy() for one in (*first, *_as_variables(second))]


def _as_variables(gradients: Any) -> list[Variable | None]:
    return [one if one is None or isinstance(one, Variable) else Variable(one) for one in gradients]


def _distance(found: list, expected: list) -> float:
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if (ours is None) != (theirs is None):
            raise AssertionError("a derivative is missing on one side")
        if ours is None:
            continue
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise AssertionError(f"{ours.dtype}{ours.shape} instead of {theirs.dtype}{theirs.shape}")
        if ours.size:
            scale = max(1.0, float(np.nanmax(np.abs(theirs))))
            same = np.isclose(ours, theirs, rtol=0, atol=0, equal_nan=True)
            worst = max(worst, float(np.max(np.where(same, 0.0, np.abs(ours - theirs)))) / scale)
    return worst
