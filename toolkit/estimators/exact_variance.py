"""Exact variances of estimators, by enumeration of everything random in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.estimators.enumerated import LADDER, estimator_of, moments_of, title_of
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.moments import leave_one_out
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.problems import Problem
from toolkit.estimators.tables import tabulate


@dataclass(frozen=True, repr=False, eq=False)
class ExactVariance:
    """The variance of one sample of an estimator.

    Attributes:
        name: a name of :data:`LADDER`, or the estimator's class and settings.
        title: what a figure calls it.
        variances: for each layer ``[*batch, n(, K)]``, of the derivative with respect to an offset of its logits.
        gradients: the estimator's expectation, shaped likewise; the gradient, unless it is biased.
        kinds: the kind of each layer's variables.
    """

    name: str
    title: str
    variances: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    kinds: tuple[str, ...]

    def total(self, layer: int) -> Float[Tensor, "*batch"]:
        """Return the sum over a layer's variables, the trace of its covariance."""
        return self.variances[layer].sum((-1,) if self.kinds[layer] == "bernoulli" else (-2, -1))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "variances": [variance.tolist() for variance in self.variances],
            "gradients": [gradient.tolist() for gradient in self.gradients],
            "totals": [self.total(layer).tolist() for layer in range(len(self.variances))],
        }

    def __repr__(self) -> str:
        totals = ", ".join(f"{self.total(layer).mean().item():.4g}" for layer in range(len(self.variances)))
        return f"ExactVariance({self.name}: layer totals {totals})"


@dataclass(frozen=True, repr=False, eq=False)
class Ladder:
    """Exact variances of several estimators on one problem, from the crudest baseline on.

    Attributes:
        rungs: one for each name of :data:`LADDER`, in its order.
    """

    rungs: tuple[ExactVariance, ...]

    def __iter__(self) -> Iterator[ExactVariance]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def __getitem__(self, key: int | str) -> ExactVariance:
        """Return a rung by place or name."""
        if isinstance(key, str):
            names = [rung.name for rung in self.rungs]
            require(key in names, "Ladder", "key", " or ".join(names), key)
            return self.rungs[names.index(key)]
        return self.rungs[key]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by name."""
        return {rung.name: rung.to_dict() for rung in self.rungs}

    def to_frame(self):
        """Return a pandas frame: a row a rung, columns ``estimator``, ``layer 1``, … with totals, batch averaged."""
        import pandas

        layers = range(len(self.rungs[0].variances))
        rows = [[rung.title, *(rung.total(layer).mean().item() for layer in layers)] for rung in self.rungs]
        columns = ["estimator", *(f"layer {layer + 1}" for layer in layers)]
        return pandas.DataFrame(rows, columns=columns, index=pandas.Index([rung.name for rung in self.rungs]))

    def __repr__(self) -> str:
        return f"Ladder({', '.join(rung.name for rung in self.rungs)})"


@torch.no_grad()
def exact_variance(problem: Problem, estimator: Estimator | str) -> ExactVariance:
    """Compute the variance of one sample of an estimator, by enumeration of everything random in it.

    Args:
        problem: at most 2**16 joint configurations, Bernoulli or categorical. Use float64 logits.
        estimator: a name of :data:`LADDER`, or any estimator whose estimate the drawn values alone determine
            (likelihood ratio with any baseline that has learnt, local expectation, straight-through, …: it is tried
            out), or RAM, FlipOneCoordinate, LeaveOneOut, and for one layer of at most 12 Bernoulli variables ARM and
            DisARM, which have rules of their own.

    Returns:
        Variance and expectation.

    Raises:
        ValueError: too many configurations (or, for RAM, pairs of configurations of the descendants), or an estimator
            whose randomness is not the values'.
        TypeError: something else than an estimator or a name.
    """
    return _variance(problem, estimator, "exact_variance")


@torch.no_grad()
def baseline_ladder(problem: Problem) -> Ladder:
    """Compute the exact variance of each of :data:`LADDER`.

    Args:
        problem: at most 2**16 joint configurations.

    Raises:
        ValueError: as :func:`exact_variance`.
    """
    return Ladder(tuple(_variance(problem, name, "baseline_ladder") for name in LADDER))


def _variance(problem: Problem, estimator: Estimator | str, operation: str) -> ExactVariance:
    name = estimator if isinstance(estimator, str) else repr(estimator)
    estimator = estimator_of(problem, estimator, operation)
    if isinstance(estimator, LeaveOneOut):
        moments = tuple(leave_one_out(table, estimator.n) for table in tabulate(problem, operation))
    else:
        moments = moments_of(problem, estimator, operation)
    shapes = [(*problem.batch_shape, *layer.shape) for layer in problem.layers]
    return ExactVariance(
        name=name,
        title=LADDER.get(name, title_of(estimator)),
        variances=tuple(part.variance.reshape(shape) for part, shape in zip(moments, shapes, strict=True)),
        gradients=tuple(part.mean.reshape(shape) for part, shape in zip(moments, shapes, strict=True)),
        kinds=tuple(layer.kind for layer in problem.layers),
    )
