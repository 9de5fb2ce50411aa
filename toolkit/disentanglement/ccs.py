"""The redundancy of Ince (Entropy 2017): common change in surprisal, in its final form.

A source changes the surprise of a value of the target. Where both sources and the pair of them change it in the same
direction, what the two changes have in common counts as redundant; common misinformation counts with its sign.
"""

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import linprog
from torch import Tensor

from toolkit.disentanglement.discrete import JointLike, as_joint

_MOST_STEPS = 500

_SMALLEST = 1e-17
"""Probabilities up to here are taken as zero."""

_MOST_FITS = 2000

_SAME = 1e-9
"""Changes of surprise (nats) below this have no direction: rounding would choose one."""


def common_change_in_surprisal(joint: JointLike) -> Float64[Tensor, "*batch"]:
    """Return the redundancy I_ccs of two sources of a target.

    The variant of the published paper: q is the distribution of largest entropy among those with the pairs p(a, b),
    p(a, y) and p(b, y). Averaged under q is ``c = i(a; y) + i(b; y) − i(a, b; y)``, but only over those (a, b, y) where
    c and all three pointwise informations have the same sign. The result can be negative, and larger than
    ``min(I(Y; A), I(Y; B))``. As signs decide what counts, it can jump where the distribution changes a little.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``.

    Returns:
        The redundancy in nats, where the input was; the work is done on the CPU, one distribution at a time.

    Raises:
        ValueError, TypeError: not a distribution, see :func:`~toolkit.disentanglement.discrete.as_joint`.
        ArithmeticError: the distribution of largest entropy was not found.
    """
    p = as_joint(joint, "common_change_in_surprisal")
    cells = p.detach().cpu().numpy()
    values = [_redundancy(table) for table in cells.reshape(-1, *cells.shape[-3:])]
    return torch.tensor(values, dtype=torch.float64).reshape(cells.shape[:-3]).to(p.device)


def _redundancy(p: np.ndarray) -> float:
    q = largest_entropy(p)
    pair = np.where(q.sum(2) > 0, q.sum(2), 1.0)[:, :, None]
    first, second, target = q.sum((1, 2)), q.sum((0, 2)), q.sum((0, 1))
    on = q > 0

    def change(joint: np.ndarray, source: np.ndarray) -> np.ndarray:
        ratio = joint / np.where(source * target > 0, source * target, 1.0)
        values = np.log(np.where(on & (ratio > 0), ratio, 1.0))
        return np.where(np.abs(values) > _SAME, values, 0.0)

    of_first = change(q.sum(1)[:, None, :], first[:, None, None])
    of_second = change(q.sum(0)[None, :, :], second[None, :, None])
    of_both = change(q, pair)
    common = of_first + of_second - of_both
    common = np.where(np.abs(common) > _SAME, common, 0.0)
    sign = np.sign(common)
    counts = on & (np.sign(of_first) == sign) & (np.sign(of_second) == sign) & (np.sign(of_both) == sign)
    return float((q * np.where(counts, common, 0.0)).sum())


def largest_entropy(p: np.ndarray) -> np.ndarray:
    """Return the distribution of largest entropy with the same p(a, b), p(a, y) and p(b, y).

    Newton's method for the multipliers of the constraints, whose number of moments is small, after a linear programme
    has found which cells must be zero.

    Args:
        p: float64 probabilities ``[source 1, source 2, target]`` that sum to 1.

    Returns:
        The distribution, its pairs equal to those of ``p`` to 1e-9, mostly 1e-13.

    Raises:
        ArithmeticError: the pairs were not reached.
    """
    constraints = _pair_sums(p.shape)
    p = np.where(p > _SMALLEST, p, 0.0)
    p /= p.sum()
    flat = p.reshape(-1)
    on = _possible(flat, constraints)
    moments = constraints @ flat
    rows = constraints[:, on]
    multiplier = np.zeros(len(rows))
    # From the independent distribution, which is right where the sources do not depend on each other.
    base = np.einsum("a,b,y->aby", p.sum((1, 2)), p.sum((0, 2)), p.sum((0, 1))).reshape(-1)[on]

    def dual(at: np.ndarray) -> float:
        with np.errstate(over="ignore"):
            return float((base * np.exp(rows.T @ at)).sum() - moments @ at)

    for _ in range(_MOST_STEPS):
        q = base * np.exp(rows.T @ multiplier)
        wrong = moments - rows @ q
        if np.abs(wrong).max() <= 1e-14:
            break
        step = np.linalg.lstsq((rows * q) @ rows.T, wrong, rcond=1e-13)[0]
        gain, value, length = float(wrong @ step), dual(multiplier), 1.0
        if gain <= 1e-26:
            break
        while length > 1e-8 and not dual(multiplier + length * step) <= value - 0.1 * length * gain + 1e-15:
            length /= 2
        multiplier = multiplier + length * step
    found = np.zeros_like(flat)
    found[on] = q
    return _fit(found.reshape(p.shape), p)


def _fit(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Scale q until its pairs are those of p: what rounding kept Newton's method from, where pairs are very rare."""
    pairs = [p.sum(axis) for axis in range(3)]
    for _ in range(_MOST_FITS):
        wrong = max(float(np.abs(pair - q.sum(axis)).max()) for axis, pair in enumerate(pairs))
        if wrong <= 1e-13:
            break
        for axis, pair in enumerate(pairs):
            now = q.sum(axis)
            q = q * np.expand_dims(pair / np.where(now > 0, now, 1.0), axis)
    if not wrong <= 1e-9:
        raise ArithmeticError(f"largest_entropy: the pairs are still off by {wrong:.1e}")
    return q


def _pair_sums(shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix from cells to the sums over each of the three axes, ``[sums, cells]``."""
    cells = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.concatenate([cells.sum(axis + 1).reshape(len(cells), -1) for axis in range(3)], 1).T


def _possible(p: np.ndarray, constraints: np.ndarray) -> np.ndarray:
    """Return which cells some distribution with the same pairs fills.

    Those that p fills, and those that a move along the constraints can fill without emptying another empty one.
    """
    on = p > 0
    candidates = ~on & ((constraints.T @ (constraints @ p == 0)) == 0)
    if not candidates.any():
        return on
    # Only cells of pairs that occur can move; an empty one can only gain. The sum of the gains, each counted up to 1,
    # is largest where every cell that can gain does.
    movable = np.flatnonzero(on | candidates)
    empty = np.flatnonzero(candidates[movable])
    gains = np.zeros((len(empty), len(movable) + len(empty)))
    gains[np.arange(len(empty)), empty] = -1.0
    gains[np.arange(len(empty)), len(movable) + np.arange(len(empty))] = 1.0
    sums = np.concatenate((constraints[:, movable], np.zeros((len(constraints), len(empty)))), 1)
    limits = [(0.0, None) if place in set(empty.tolist()) else (None, None) for place in range(len(movable))]
    solution = linprog(
        np.concatenate((np.zeros(len(movable)), -np.ones(len(empty)))),
        A_ub=gains,
        b_ub=np.zeros(len(empty)),
        A_eq=sums,
        b_eq=np.zeros(len(sums)),
        bounds=[*limits, *[(0.0, 1.0)] * len(empty)],
    )
    if solution.x is None:
        raise ArithmeticError(f"largest_entropy: {solution.message}")
    on = on.copy()
    on[movable[empty[solution.x[len(movable) :] > 0.5]]] = True
    return on
