"""Joint distributions of two discrete sources and a target, p[source 1, source 2, target], in float64.

Where they come from: a name (logic gates, copies, noisy channels), counts of samples, a table, or the joint
distribution of many latents, of which one is set against all the others.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require

JointLike = Tensor | np.ndarray | Sequence[Any]
"""A tensor, an array, or nested lists of probabilities."""

_TOLERANCE = 1e-6
"""How far the sum may be from 1: what rounding to float32 can do to a large table."""


def as_joint(joint: JointLike, operation: str = "as_joint") -> Float64[Tensor, "*batch source_1 source_2 target"]:
    """Check a joint distribution, or a batch of them, and return it in float64 with a sum of exactly 1 (to rounding).

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``, in any type of number.
        operation: the name that an error gives.

    Returns:
        The distribution, where the input was.

    Raises:
        ValueError: fewer than three axes, a variable without values, a negative number, NaN, infinity, or a sum that
            is not 1.
        TypeError: no numbers, or complex ones.
    """
    p = _as_float64(joint, operation, "joint")
    shape = tuple(p.shape)
    require(p.ndim >= 3, operation, "joint", "[*batch, source 1, source 2, target]", f"shape {shape}")
    require(0 not in shape[-3:], operation, "joint", "at least one value on every axis", f"shape {shape}")
    total = p.sum((-3, -2, -1), keepdim=True)
    # Written so that NaN fails it: one look at the device where all is well.
    if not bool((p >= 0).all() & ((total - 1).abs() <= _TOLERANCE).all()):
        _complain(p, total, operation)
    return p / total


def _as_float64(values: Any, operation: str, argument: str) -> Tensor:
    if isinstance(values, Tensor):
        tensor = values
    else:
        try:
            # By way of NumPy, which reads Python's floats as float64 where torch would take float32. Copied, as torch
            # takes neither read-only nor reversed arrays.
            tensor = torch.from_numpy(np.array(values, order="C"))
        except (TypeError, ValueError, RuntimeError) as error:
            raise argument_error(
                operation, argument, "a tensor, an array or nested lists", type(values).__name__, kind=TypeError
            ) from error
    if tensor.is_complex():
        reject(operation, argument, "real numbers", str(tensor.dtype), kind=TypeError)
    return tensor.to(torch.float64)


def _complain(p: Tensor, total: Tensor, operation: str) -> None:
    for name, wrong in (("NaN", p.isnan()), ("infinity", p.isinf()), ("a negative number", p < 0)):
        if bool(wrong.any()):
            reject(operation, "joint", "probabilities", f"{name} at {tuple(wrong.nonzero()[0].tolist())}")
    worst = total.flatten()[(total - 1).abs().argmax()]
    reject(operation, "joint", "probabilities that sum to 1", f"a sum of {worst.item():.9g}")


@dataclass(frozen=True, eq=False)
class Marginals:
    """What a joint distribution says of its variables and their pairs.

    Attributes:
        source_1: p(a).
        source_2: p(b).
        target: p(y).
        source_1_target: p(a, y).
        source_2_target: p(b, y).
        sources: p(a, b).
    """

    source_1: Float64[Tensor, "*batch source_1"]
    source_2: Float64[Tensor, "*batch source_2"]
    target: Float64[Tensor, "*batch target"]
    source_1_target: Float64[Tensor, "*batch source_1 target"]
    source_2_target: Float64[Tensor, "*batch source_2 target"]
    sources: Float64[Tensor, "*batch source_1 source_2"]

    def __repr__(self) -> str:
        sizes = (self.source_1.shape[-1], self.source_2.shape[-1], self.target.shape[-1])
        return f"Marginals({sizes[0]} × {sizes[1]} source values, {sizes[2]} target values)"

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the fields by name, as nested lists."""
        return {name: tensor.tolist() for name, tensor in vars(self).items()}


def marginals(joint: JointLike) -> Marginals:
    """Return the distributions of each variable and of each pair.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``.

    Returns:
        Tensors where the input was.

    Raises:
        ValueError, TypeError: as :func:`as_joint`.
    """
    p = as_joint(joint, "marginals")
    first, second = p.sum(-2), p.sum(-3)
    return Marginals(first.sum(-1), second.sum(-1), first.sum(-2), first, second, p.sum(-1))


def joint_from_samples(
    source_1: JointLike, source_2: JointLike, target: JointLike, *, sizes: tuple[int, int, int] | None = None
) -> Float64[Tensor, "source_1 source_2 target"]:
    """Count how often each combination occurs.

    Args:
        source_1: indices from 0, one for each sample; whole numbers in any type.
        source_2: the same of the second source.
        target: the same of the target.
        sizes: how many values each has; ``None`` takes the largest that occurs.

    Returns:
        The relative frequencies.

    Raises:
        ValueError: no samples, different numbers of them, an index that is negative, no whole number or too large.
        TypeError: no numbers.
    """
    names = ("source_1", "source_2", "target")
    columns = [_indices(v, name) for v, name in zip((source_1, source_2, target), names, strict=True)]
    lengths = [len(column) for column in columns]
    require(len(set(lengths)) == 1, "joint_from_samples", "target", "as many samples of each", f"{lengths}")
    largest = tuple(int(column.max()) + 1 for column in columns)
    if sizes is None:
        sizes = (largest[0], largest[1], largest[2])
    for name, n_values, size in zip(names, largest, sizes, strict=True):
        require(n_values <= size, "joint_from_samples", name, f"indices below {size}", n_values - 1)
    device = columns[0].device
    flat = (columns[0] * sizes[1] + columns[1].to(device)) * sizes[2] + columns[2].to(device)
    counts = torch.bincount(flat, minlength=sizes[0] * sizes[1] * sizes[2])
    return counts.reshape(sizes).to(torch.float64) / len(flat)


def _indices(values: JointLike, name: str) -> Tensor:
    column = _as_float64(values, "joint_from_samples", name)
    require(column.ndim == 1, "joint_from_samples", name, "one axis", f"shape {tuple(column.shape)}")
    require(len(column) > 0, "joint_from_samples", name, "at least one sample", "none")
    whole = bool((column.isfinite() & (column >= 0) & (column == column.floor())).all())
    require(whole, "joint_from_samples", name, "whole numbers from 0", "others among them")
    return column.long()


def joint_from_table(
    table: Mapping[tuple[Hashable, ...], Any],
) -> Float64[Tensor, "source_1 source_2 target"]:
    """Make a joint distribution of a table such as ``{(0, 1, "no"): 0.25, …}``.

    Args:
        table: how much each combination of source 1, source 2 and target weighs: probabilities, or counts. What is
            not named weighs 0.

    Returns:
        The weights over their sum. Each axis has the values that occur, sorted (by their text if they do not compare).

    Raises:
        ValueError: no row, a row that is not three values, a weight that is negative or not finite, no weight at all.
    """
    require(len(table) > 0, "joint_from_table", "table", "at least one row", "none")
    for row, weight in table.items():
        require(isinstance(row, tuple) and len(row) == 3, "joint_from_table", "table", "keys of three values", row)
        require(0 <= weight < float("inf"), "joint_from_table", "table", "finite weights >= 0", f"{row}: {weight}")
    axes = [_sorted({row[axis] for row in table}) for axis in range(3)]
    places: list[dict[Hashable, int]] = [{value: place for place, value in enumerate(axis)} for axis in axes]
    joint = torch.zeros(*(len(axis) for axis in axes), dtype=torch.float64)
    for (a, b, y), weight in table.items():
        joint[places[0][a], places[1][b], places[2][y]] = float(weight)
    total = joint.sum()
    require(float(total) > 0, "joint_from_table", "table", "a positive sum of the weights", float(total))
    return joint / total


def _sorted(values: set[Hashable]) -> list[Hashable]:
    try:
        return sorted(values)  # type: ignore[type-var]
    except TypeError:
        return sorted(values, key=str)


def one_against_rest(joint: JointLike, index: int) -> Float64[Tensor, "latent rest target"]:
    """Set one latent against all the others together, as the paper does.

    Args:
        joint: p(z_1, …, z_L, y), at least one latent; the last axis is the target.
        index: which latent becomes the first source; negative counts from the last latent.

    Returns:
        p(z_l, z_rest, y), ``z_rest`` every combination of the other latents, the last of them changing fastest.

    Raises:
        ValueError: no latent, no such latent, or not a distribution.
        TypeError: no numbers.
    """
    p = _as_float64(joint, "one_against_rest", "joint")
    n_latents = p.ndim - 1
    require(n_latents >= 1, "one_against_rest", "joint", "[latent 1, …, latent L, target]", f"shape {tuple(p.shape)}")
    within = -n_latents <= index < n_latents
    require(within, "one_against_rest", "index", f"one of {n_latents} latents", index)
    require(0 not in p.shape, "one_against_rest", "joint", "at least one value on every axis", tuple(p.shape))
    front = p.movedim(index % n_latents, 0)
    return as_joint(front.reshape(front.shape[0], -1, front.shape[-1]), "one_against_rest")
