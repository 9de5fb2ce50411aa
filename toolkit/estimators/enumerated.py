"""Which rule gives an estimator's exact moments, and the rule for whatever the drawn values alone determine."""

from dataclasses import replace

import torch
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require
from toolkit.estimators.antithetic import ARM, DisARM
from toolkit.estimators.couplings import value_intervals
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import enumerate_values, joint_log_prob
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.moments import Moments, best_constant, likelihood_ratio, one_coordinate, ram
from toolkit.estimators.problems import Problem
from toolkit.estimators.tables import tabulate, value_probabilities

LADDER = {
    "lr": "LR, no baseline",
    "lr_mean": "LR, b = E f",
    "lr_constant": "LR, best constant",
    "lr_mean_given_parents": "LR, b = E[f | parents]",
    "lr_parents": "LR, best b(parents)",
    "lr_siblings": "LR, best b(parents, siblings)",
    "ram_fresh": "RAM, fresh noise",
    "ram": "RAM",
    "leg": "LEG",
    "leg_constant": "LEG, LR's best constant",
}
"""The rungs of :func:`baseline_ladder`, and what a figure calls them.

``lr``: the likelihood ratio. *Best* baselines have the least variance for each component of the gradient. *Parents* are
the values of the layer before; *siblings* the other variables of the layer, and with them all the layers before:
whatever the variable does not influence. ``leg_constant`` subtracts the baseline of ``lr_constant``.
"""

MOST_ANTITHETIC = 12

_BASELINES = {
    "lr": "none",
    "lr_mean": "mean",
    "lr_constant": "constant",
    "lr_mean_given_parents": "mean_given_parents",
    "lr_parents": "parents",
    "lr_siblings": "siblings",
}


def estimator_of(problem: Problem, estimator: Estimator | str, operation: str) -> Estimator | str:
    """Check what a variance is asked of; return the estimator that a name stands for, a likelihood ratio's name as is.

    Raises:
        ValueError: an unknown name, or a problem that the estimator is not defined for.
        TypeError: something else than a problem, an estimator or a name.
    """
    if not isinstance(problem, Problem):
        reject(operation, "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
    if not isinstance(estimator, str):
        if not isinstance(estimator, Estimator):
            reject(operation, "estimator", "an Estimator or a name", type(estimator).__name__, kind=TypeError)
        estimator.check(problem)
        return estimator
    require(estimator in LADDER, operation, "estimator", " or ".join(LADDER), repr(estimator))
    if estimator == "ram_fresh":
        return RAM("fresh")
    if estimator == "ram":
        return RAM()
    if estimator == "leg":
        return LocalExpectation()
    if estimator == "leg_constant":
        found = [best_constant(table) for table in tabulate(problem, operation)]
        shapes = [(*problem.batch_shape, *layer.shape) for layer in problem.layers]
        return LocalExpectation(tuple(part.reshape(shape) for part, shape in zip(found, shapes, strict=True)))
    return estimator


def title_of(estimator: Estimator | str) -> str:
    """Return what a figure calls an estimator."""
    return LADDER[estimator] if isinstance(estimator, str) else estimator.title


def moments_of(problem: Problem, estimator: Estimator | str, operation: str) -> tuple[Moments, ...]:
    """Return an estimator's moments, layer by layer.

    Args:
        problem: at most 2**16 joint configurations.
        estimator: what :func:`estimator_of` returned.
        operation: the name in errors.

    Raises:
        ValueError: too many configurations, or no rule for the estimator.
    """
    if isinstance(estimator, str):
        return tuple(likelihood_ratio(table, _BASELINES[estimator]) for table in tabulate(problem, operation))
    if isinstance(estimator, ARM | DisARM) and problem.depth == 1 and problem.layers[0].kind == "bernoulli":
        return (_antithetic(problem, estimator, operation),)
    if not isinstance(estimator, RAM | FlipOneCoordinate):
        return _determined_by_values(problem, estimator, operation)
    tables = tabulate(problem, operation)
    whole = estimator if isinstance(estimator, RAM) else RAM()
    found = [ram(table, tables[table.number + 1 :], problem.layers, whole, operation) for table in tables]
    if isinstance(estimator, RAM):
        return tuple(found)
    total = sum(layer.size for layer in problem.layers)
    return tuple(one_coordinate(part, table.direct, total) for part, table in zip(found, tables, strict=True))


def _antithetic(problem: Problem, estimator: ARM | DisARM, operation: str) -> Moments:
    """Return the moments of antithetic pairs in one Bernoulli layer, from each cell of the noise.

    A variable's noise and its mirror image give the same pair within each of three cells. There the estimate is affine
    in the variable's own noise (DisARM: constant): its mean is that at the middle, its variance a twelfth of its
    range's square. One case stands for all, so nothing between variables can be read off.
    """
    size = problem.layers[0].size
    expected = f"at most 12 variables, 3**12 cells of the noise of {type(estimator).__name__}"
    require(size <= MOST_ANTITHETIC, operation, "problem", expected, f"{size} variables")
    one = torch.sigmoid(problem.logits(0, None))
    inner = torch.stack((torch.minimum(one, 1 - one), torch.maximum(one, 1 - one)))
    edges = torch.cat((torch.zeros_like(inner[:1]), inner, torch.ones_like(inner[:1])))
    cells = torch.cartesian_prod(*(torch.arange(3, device=problem.device),) * size).reshape(-1, size)
    cells = cells.reshape(-1, *(1,) * len(problem.batch_shape), size).expand(-1, *problem.batch_shape, -1)
    low, high = edges[:-1].gather(0, cells), edges[1:].gather(0, cells)
    pair = replace(estimator, pairs=1)

    def at(position: float) -> Tensor:
        edge = torch.finfo(low.dtype).eps / 2
        noise = (low + position * (high - low)).clamp(edge, 1 - edge)
        return pair(problem, noise={"values": (noise[None],), "mirrored": ()}).gradients[0]

    weights = (high - low).prod(-1)[..., None]
    first, last = at(0.25), at(0.75)
    middle = (first + last) / 2
    mean = (weights * middle).sum(0)
    variance = (weights * ((middle - mean).square() + (last - first).square() / 3)).sum(0) / estimator.pairs
    shape = (1, mean.numel() // size, size, 1)
    mean, variance = mean.reshape(shape), variance.reshape(shape)
    ones = torch.ones_like(mean[..., 0, 0])
    return Moments(ones, mean, variance[..., None], torch.zeros_like(ones[:, 0], dtype=torch.long))


def _determined_by_values(problem: Problem, estimator: Estimator, operation: str) -> tuple[Moments, ...]:
    """Return the moments of an estimator that the drawn values determine: run it once for each configuration.

    That they do is tried out: the noise is moved about where it gives the same values, and nothing may change.
    """
    name = type(estimator).__name__
    expected = (
        "a name, RAM, FlipOneCoordinate, ARM or DisARM of one Bernoulli layer, or an estimate that the values determine"
    )
    generator = torch.Generator().manual_seed(0)
    drawn, plain = estimator.draw(problem, 2, generator), problem.draw_noise((2,), generator)
    if set(drawn) != {"values"} or [part.shape for part in drawn["values"]] != [part.shape for part in plain]:
        raise argument_error(operation, "estimator", expected, f"{name}, which draws more than one of each variable")
    values = tuple(
        value.expand(len(value), *problem.batch_shape, *layer.shape)
        for value, layer in zip(enumerate_values(problem, operation), problem.layers, strict=True)
    )
    cases = len(values[0])
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
    weights = joint_log_prob(problem, values, logits).exp()
    intervals = []
    for layer, value, part in zip(problem.layers, values, logits, strict=True):
        low, high = value_intervals(layer, value_probabilities(layer, part))
        index = layer.values_to_index(value)[..., None]
        low, high = (end.expand(*index.shape[:-1], layer.arity).gather(-1, index)[..., 0] for end in (low, high))
        intervals.append((low, high))

    def run(position: float | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        noise = []
        for low, high in intervals:
            place: float | Tensor
            if position is None:
                place = torch.rand(low.shape, generator=generator, dtype=torch.float64).to(low).clamp(0.02, 0.98)
            else:
                place = position
            edge = torch.finfo(low.dtype).eps / 2
            noise.append((low + place * (high - low)).clamp(edge, 1 - edge))
        samples = estimator(problem, noise={"values": tuple(noise)})
        return samples.gradients, tuple(value[0] for value in samples.parts.values)

    gradients, found = run(0.5)
    # Where a value is so improbable that rounding decides about it, the noise may give another.
    likely = weights > 256 * torch.finfo(problem.dtype).eps

    def same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
        size = 1 + max((part.abs().amax().item() for part in ours if part.numel()), default=0.0)
        tolerance = 64 * torch.finfo(problem.dtype).eps * size
        return all(
            a.shape == b.shape and bool(((a - b).abs()[likely] <= tolerance).all())
            for a, b in zip(ours, theirs, strict=True)
        )

    determined = same(found, values)
    for position in (0.02, 0.98, *(None,) * (8 if cases <= 4096 else 1)):
        determined = determined and same(gradients, run(position)[0])
    require(determined, operation, "estimator", expected, f"{name}, which uses its noise otherwise too")
    examples = weights[0].numel()
    index = torch.arange(cases, device=problem.device)
    moments, after = [], cases
    before = 1
    for layer, gradient in zip(problem.layers, gradients, strict=True):
        given = index // after % before
        before = layer.arity**layer.size
        after //= before
        shape = (cases, examples, layer.size, gradient.shape[-1] if layer.kind == "categorical" else 1)
        moments.append(Moments(weights.reshape(cases, examples), gradient.reshape(shape), None, given))
    return tuple(moments)
