"""The least information about the target that two pair distributions allow: the optimisation behind BROJA.

Among all joint distributions q(a, b, y) that keep p(a, y) and p(b, y), find the one in which the two sources together
tell least about the target (Bertschinger, Rauh, Olbrich, Jost & Ay, Entropy 2014). A log-barrier Newton method in
primal and dual variables; a bound from the dual problem certifies each answer.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.discrete import JointLike, as_joint

_MOST_STEPS = 300

_SMALLEST = 1e-17
"""Probabilities up to here are taken as zero: together they move no information by more than 1e-12."""

_FIRST_BARRIER = 0.2

_RIDGE = 4e-15

_CHUNK = 2**21
"""Most numbers in one array."""


@dataclass(frozen=True, eq=False)
class LeastInformation:
    """The distribution with the least I(Y; A, B) for given p(a, y) and p(b, y), and how sure that is.

    Attributes:
        distribution: q(a, b, y), with the pair distributions of p. It need not be the only one.
        information: I(Y; A, B) under q, in nats.
        gap: how far ``information`` may at most be above the true minimum, in nats: the distance to a dual bound.
        n_steps: Newton steps taken.
    """

    distribution: Float64[Tensor, "*batch source_1 source_2 target"]
    information: Float64[Tensor, "*batch"]
    gap: Float64[Tensor, "*batch"]
    n_steps: Int64[Tensor, "*batch"]

    def __repr__(self) -> str:
        gap, steps = float(self.gap.max()), int(self.n_steps.max())
        return f"LeastInformation({self.gap.numel()} distributions, gap <= {gap:.1e} nats, at most {steps} steps)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers or nested lists."""
        return {name: tensor.tolist() for name, tensor in vars(self).items()}


def least_information(joint: JointLike, *, tolerance: float = 1e-10) -> LeastInformation:
    """Minimise I(Y; A, B) over the distributions with the same p(a, y) and p(b, y).

    With q as a table for each y, the constraints are the row and column sums of each table, and the objective couples
    the tables only through q(a, b). A Newton step so comes down to one system of the size of a table's margins for
    each y, and one with an unknown for each (a, b). The barrier of each cell is weighted by p(a | y) p(b, y), so that
    rare values are treated as common ones are. The dual problem is to maximise
    ``Σ λ(a, y) p(a, y) + Σ μ(b, y) p(b, y)`` subject to ``Σ_y exp(λ(a, y) + μ(b, y)) <= 1`` for every (a, b); any λ and
    μ can be shifted until they satisfy that, which gives the bound.

    Args:
        joint: probabilities ``[*batch, source 1, source 2, target]``. Those up to 1e-17 count as zero.
        tolerance: the gap to reach, in nats, at least 1e-12.

    Returns:
        Minimiser, minimum and gap, where the input was; the work is done on the CPU.

    Raises:
        ValueError, TypeError: not a distribution, see :func:`~toolkit.disentanglement.discrete.as_joint`; a tolerance
            that float64 cannot reach.
        ArithmeticError: the gap was not reached.
    """
    require(tolerance >= 1e-12, "least_information", "tolerance", ">= 1e-12", tolerance)
    checked = as_joint(joint, "least_information")
    p = checked.detach().cpu().numpy()
    *batch, n_first, n_second, n_target = p.shape
    tables = np.moveaxis(p.reshape(-1, n_first, n_second, n_target), -1, 1)
    n_pairs = n_first * n_second
    rows = max(1, _CHUNK // (n_target * n_pairs * n_pairs))
    results = [_minimise(tables[start : start + rows], tolerance) for start in range(0, len(tables), rows)]
    empty = (np.zeros((0, n_target, n_pairs)), np.zeros(0), np.zeros(0), np.zeros(0, int))
    q, information, gap, n_steps = (np.concatenate(parts) for parts in zip(*(results or [empty]), strict=True))
    if not (gap <= tolerance).all():
        raise ArithmeticError(
            f"least_information: gap {np.nanmax(gap):.1e} nats after {n_steps.max()} steps, wanted {tolerance:.1e}"
        )

    def shaped(values: np.ndarray, *shape: int) -> Tensor:
        return torch.from_numpy(values).reshape((*batch, *shape)).to(checked.device)

    minimiser = np.moveaxis(q.reshape(-1, n_target, n_first, n_second), 1, -1)
    return LeastInformation(
        shaped(np.ascontiguousarray(minimiser), n_first, n_second, n_target),
        shaped(information),
        shaped(gap),
        shaped(n_steps),
    )


class _Tables:
    """What stays fixed: margins, the cells they allow, and which margin each cell belongs to.

    Shapes: ``cells`` counts the pairs (a, b), ``margins`` the values of a and then of b.
    """

    def __init__(self, p: np.ndarray) -> None:
        n, n_target, n_first, n_second = p.shape
        self.n_first, self.n_second = n_first, n_second
        cleaned = np.where(p > _SMALLEST, p, 0.0)
        cleaned /= cleaned.sum((1, 2, 3), keepdims=True)
        self.margins = np.concatenate((cleaned.sum(3), cleaned.sum(2)), -1)
        first, second = self.margins[..., :n_first], self.margins[..., n_first:]
        target = first.sum(-1)
        self.target_entropy = -(target * np.log(np.where(target > 0, target, 1.0))).sum(-1)
        share = second / np.where(target > 0, target, 1.0)[..., None]
        self.independent = (first[..., :, None] * share[..., None, :]).reshape(n, n_target, -1)
        self.on = self.independent > 0
        # A 1 where nothing can be: added to what is divided by, or under a logarithm.
        self.off = np.where(self.on, 0.0, 1.0)
        self.off_pair = np.where(self.on.any(1), 0.0, 1.0)
        self.off_margin = np.where(self.margins > 0, 0.0, 1.0)
        # Moving all of λ up and all of μ down changes nothing: the direction in which the system is singular.
        self.free = np.where(np.arange(n_first + n_second) < n_first, 1.0, -1.0) * (self.margins > 0)

    def take(self, keep: np.ndarray) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, value[keep])


def _incidence(n_first: int, n_second: int) -> np.ndarray:
    """Return which two margins each cell adds to, ``[cells, margins]``."""
    table = np.zeros((n_first, n_second, n_first + n_second))
    table[np.arange(n_first), :, np.arange(n_first)] = 1.0
    table[:, np.arange(n_second), n_first + np.arange(n_second)] = 1.0
    return table.reshape(n_first * n_second, -1)


def _minimise(p: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return minimiser, minimum, gap and steps for each of ``p[n, target, first, second]``."""
    n, _, n_first, n_second = p.shape
    incidence = _incidence(n_first, n_second)
    tables = _Tables(p)
    found = np.zeros_like(tables.independent)
    information, gaps, n_steps = np.zeros(n), np.full(n, np.inf), np.zeros(n, int)
    open_rows = np.arange(n)
    q = tables.independent.copy()
    slack = np.where(tables.on, _FIRST_BARRIER, 0.0)
    multiplier = np.zeros_like(tables.margins)
    barrier = np.full(n, _FIRST_BARRIER)
    for step in range(_MOST_STEPS + 1):
        complementarity = (q * slack).sum((1, 2))
        if step == _MOST_STEPS or (complementarity <= 10 * tolerance).any():
            feasible = _with_margins(tables, q)
            objective = _negative_entropy(tables, feasible)
            gap = np.abs(objective - _dual_bound(tables, multiplier @ incidence.T, multiplier))
            # What rounding in the margins can be worth.
            gap += np.abs(multiplier * (feasible @ incidence - tables.margins)).sum((1, 2))
            done = (gap <= tolerance) | (step == _MOST_STEPS)
            rows = open_rows[done]
            found[rows], gaps[rows], n_steps[rows] = feasible[done], gap[done], step
            information[rows] = (tables.target_entropy + objective)[done]
            if done.all():
                break
            if done.any():
                keep = ~done
                tables.take(keep)
                open_rows, q, slack, multiplier = open_rows[keep], q[keep], slack[keep], multiplier[keep]
                barrier, complementarity = barrier[keep], complementarity[keep]
        q_safe = q + tables.off
        gradient = np.log(q_safe / (q.sum(1) + tables.off_pair)[:, None])
        push = (barrier * complementarity)[:, None, None] * tables.independent / q_safe
        change, multiplier_change = _newton(tables, incidence, q, slack, multiplier, gradient - push)
        slack_change = push - slack - slack / q_safe * change
        shrink = np.minimum(change / q_safe, slack_change / (slack + tables.off)).min((1, 2))
        length = 1.0 / np.maximum(1.0, shrink / -0.99)
        barrier = np.clip((1.0 - length) ** 2, 0.01, 0.1)
        along = length[:, None, None]
        q = q + along * change
        slack = slack + along * slack_change
        multiplier = multiplier + along * multiplier_change
    return found, np.maximum(information, 0.0), gaps, n_steps


def _newton(
    tables: _Tables, incidence: np.ndarray, q: np.ndarray, slack: np.ndarray, multiplier: np.ndarray, force: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of q and of the multipliers.

    The Hessian is diagonal but for ``−1 / q(a, b)`` between the tables. With u the change of q(a, b) over q(a, b), the
    diagonal and the margins are eliminated first, and what is left for u is a sum of positive parts: nothing cancels.
    """
    residual = force - multiplier @ incidence.T
    inverse = q / (1.0 + slack)
    system = incidence.T @ (inverse[..., None] * incidence)
    # Scaled to a unit diagonal; rows of values that do not occur with this y become rows of the identity.
    scale = np.sqrt(inverse @ incidence + tables.off_margin)
    free = tables.free * scale
    free /= np.sqrt((free * free).sum(-1, keepdims=True)) + 1e-300
    scales = scale[..., :, None] * scale[..., None, :]
    system = system / scales + free[..., :, None] * free[..., None, :]
    # The ridge keeps a table that all but falls apart into blocks solvable; the next step corrects what it misses.
    _add_to_diagonal(system, tables.off_margin + _RIDGE)
    margin_inverse = np.linalg.inv(system) / scales

    weighted = inverse * residual
    error = q @ incidence - tables.margins
    from_margins = ((weighted @ incidence - error)[..., None, :] @ margin_inverse)[..., 0, :]
    coupling = incidence @ margin_inverse @ incidence.T
    coupling *= inverse[..., :, None]
    coupling *= inverse[..., None, :]
    coupled = coupling.sum(1)
    _add_to_diagonal(coupled, (inverse * slack).sum(1) + tables.off_pair)
    root = np.sqrt(_diagonal(coupled))
    right = (inverse * (from_margins @ incidence.T) - weighted).sum(1)
    scaled = coupled / (root[:, :, None] * root[:, None, :])
    _add_to_diagonal(scaled, _RIDGE)
    pair_change = np.linalg.solve(scaled, (right / root)[..., None])[..., 0] / root

    pushed = inverse * pair_change[:, None]
    multiplier_change = from_margins - ((pushed @ incidence)[..., None, :] @ margin_inverse)[..., 0, :]
    change = inverse * (pair_change[:, None] + multiplier_change @ incidence.T - residual)
    return change, multiplier_change


def _with_margins(tables: _Tables, q: np.ndarray) -> np.ndarray:
    """Scale rows and columns until the sums, which Newton steps keep up to rounding, are those of the margins."""
    cells = q.reshape(*q.shape[:2], tables.n_first, tables.n_second)
    first, second = tables.margins[..., : tables.n_first], tables.margins[..., tables.n_first :]
    for _ in range(2):
        cells = cells * (first / np.where(first > 0, cells.sum(-1), 1.0))[..., :, None]
        cells = cells * (second / np.where(second > 0, cells.sum(-2), 1.0))[..., None, :]
    return cells.reshape(q.shape)


def _negative_entropy(tables: _Tables, q: np.ndarray) -> np.ndarray:
    """Return −H(Y | A, B)."""
    return (q * np.log((q + tables.off) / (q.sum(1) + tables.off_pair)[:, None])).sum((1, 2))


def _add_to_diagonal(matrices: np.ndarray, values: np.ndarray | float) -> None:
    _diagonal(matrices)[...] += values


def _diagonal(matrices: np.ndarray) -> np.ndarray:
    """Return the diagonals as a view that can be written to."""
    return np.einsum("...ii->...i", matrices)


def _dual_bound(tables: _Tables, sums: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Return a lower bound of the objective −H(Y | A, B), from multipliers shifted until they are feasible."""
    inside = np.where(tables.on, np.exp(np.minimum(sums, 500.0)), 0.0).sum(1)
    # A pair whose every exponential underflows is feasible with room to spare; it just must not make a −∞.
    level = np.where(tables.off_pair == 0, np.log(np.maximum(inside, 1e-300)), -np.inf)
    level = level.reshape(-1, tables.n_first, tables.n_second)
    masses = tables.margins.sum(1)
    first = level.max(2)
    first = np.where(np.isfinite(first), first, 0.0)
    second = (level - first[:, :, None]).max(1)
    second = np.where(np.isfinite(second), second, 0.0)
    value = (multiplier * tables.margins).sum((1, 2))
    return value - (masses * np.concatenate((first, second), -1)).sum(-1)
