"""How far two runs of the same variables stay together: the joint law of values driven by shared noise.

For each variable two distributions are given, that of its value in the one run and in the other. What drives both
decides how often the values agree, and with it how much a difference of costs varies.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import argument_error
from toolkit.estimators.layers import Layer
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.tables import LayerTable

MOST_PAIRS = 2**28
"""Most pairs of configurations of the descendants; some ten seconds."""
_BLOCK = 2**20


def joint_of_values(
    layer: Layer,
    one: Float[Tensor, "*leading k"],
    other: Float[Tensor, "*leading k"],
    coupling: str = "inverse_cdf",
    noise: str = "common",
) -> Float[Tensor, "*leading k k"]:
    """Return the probability that a variable has one value in one run and another in the other.

    Args:
        layer: what the variable is.
        one: probabilities of its values in the one run.
        other: in the other.
        coupling: how noise becomes a categorical value.
        noise: whether the same noise drives both, or 1 − the noise the other (inverse CDF only).
    """
    if coupling == "gumbel" and layer.kind == "categorical":
        return gumbel_joint(one, other)
    low, high = value_intervals(layer, one)
    other_low, other_high = value_intervals(layer, other)
    if noise == "antithetic":
        other_low, other_high = 1 - other_high, 1 - other_low
    top = torch.minimum(high[..., :, None], other_high[..., None, :])
    return (top - torch.maximum(low[..., :, None], other_low[..., None, :])).clamp(min=0)


def gumbel_joint(one: Float[Tensor, "*leading k"], other: Float[Tensor, "*leading k"]) -> Float[Tensor, "*leading k k"]:
    """Return the joint law of two arg maxima that share their Gumbel noise, in closed form.

    With E = exp(−Gumbel), exponential, the arg max is that of the least E_k / p_k. Both runs choose a if E_a is small
    enough for both. The first chooses a and the second b if E_b / E_a lies between p_b / p_a and p'_b / p'_a and all
    the other E are large; given the ratio t the rest integrates to ``1 / h(t)²``, h convex and piecewise linear, and
    over each piece ``∫ dt / h² = length / (h h)`` at its two ends.
    """
    arity = one.shape[-1]
    # Probabilities that underflow would divide zero by zero; their own share is as small.
    one, other = (part.clamp(min=torch.finfo(part.dtype).tiny ** 0.5) for part in (one, other))
    rows = []
    for a in range(arity):
        row = []
        for b in range(arity):
            ratio, other_ratio = one / one[..., a : a + 1], other / other[..., b : b + 1]
            if a == b:
                row.append(1 / torch.maximum(ratio, other_ratio).sum(-1))
                continue
            rest = [c for c in range(arity) if c not in (a, b)]
            alpha, beta = ratio[..., rest], other_ratio[..., rest]
            low, high = ratio[..., b : b + 1], 1 / other_ratio[..., a : a + 1]
            high = torch.maximum(low, high)
            ends = torch.cat((low, torch.minimum(torch.maximum(alpha / beta, low), high), high), -1).sort(-1).values
            heights = 1 + ends + torch.maximum(alpha[..., None, :], ends[..., None] * beta[..., None, :]).sum(-1)
            pieces = (ends[..., 1:] - ends[..., :-1]) / heights[..., 1:] / heights[..., :-1]
            row.append(pieces.sum(-1))
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def covariance_of_values(
    table: LayerTable,
    later: tuple[LayerTable, ...],
    layers: tuple[Layer, ...],
    estimator: RAM,
    average: Tensor,
    operation: str,
) -> Tensor:
    """Return the covariances of the costs of a variable's values over the later noise, ``[a, z, e, n, k, k]``."""
    spread = table.signals - average[:, :, None]
    variance = torch.einsum("zde,azde->aze", table.after, spread.square())
    covariance = torch.diag_embed(variance[:, table.neighbours].movedim(-1, 2))
    if estimator.noise == "fresh":
        return covariance
    before, here = average.shape[:2]
    size, arity = table.chosen.shape[1:]
    mirrored_gumbel = estimator.noise == "antithetic" and estimator.coupling == "gumbel"
    if mirrored_gumbel and any(layer.kind == "categorical" for layer in layers[table.number + 1 :]):
        expected = "inverse-CDF coupling: the joint law of mirrored Gumbel noise has no closed form"
        raise argument_error(operation, "estimator", expected, repr(estimator))
    _refuse_too_many_pairs(table, later, average.shape[-1], operation)
    kinds = ("common",) if estimator.noise == "common" else ("antithetic", "common")
    for variable in range(size):
        # The variable's own value plays no part: once for each configuration of the others.
        bases = table.neighbours[:, variable, 0].unique()
        place = torch.zeros(here, dtype=torch.long, device=average.device)
        place[bases] = torch.arange(len(bases), device=average.device)
        place = place[table.neighbours[:, variable, 0]]
        probabilities = table.probabilities[table.given][:, None, :, variable]
        for one in range(arity):
            for other in range(one + 1, arity):
                left, right = (table.neighbours[bases, variable, value] for value in (one, other))
                pairs = [
                    _paired(
                        [layers[part.number] for part in later],
                        later,
                        spread[:, left].flatten(0, 1),
                        spread[:, right].flatten(0, 1),
                        left.repeat(before),
                        right.repeat(before),
                        estimator.coupling,
                        noise,
                    ).unflatten(0, (before, len(bases)))
                    for noise in kinds
                ]
                if estimator.noise == "antithetic":
                    # Mirrored noise drives the values that were not drawn: two of those share theirs.
                    share = probabilities[..., one] + probabilities[..., other]
                    pairs = [share * pairs[0] + (1 - share) * pairs[1]]
                covariance[..., variable, one, other] = pairs[0][:, place]
                covariance[..., variable, other, one] = pairs[0][:, place]
    return covariance


def _paired(
    layers: list[Layer],
    tables: tuple[LayerTable, ...],
    left: Float[Tensor, "rows after examples"],
    right: Float[Tensor, "rows after examples"],
    left_given: Int[Tensor, " rows"],
    right_given: Int[Tensor, " rows"],
    coupling: str,
    noise: str,
) -> Float[Tensor, "rows examples"]:
    """Return the expected product of the left run's number and the right run's, each row with parents of its own."""
    table, examples = tables[0], left.shape[-1]
    here, size, arity = table.chosen.shape
    step = max(1, _BLOCK // max(1, here * left.shape[1] * examples))
    if len(left) > step:
        blocks = zip(*(part.split(step) for part in (left, right, left_given, right_given)), strict=True)
        return torch.cat([_paired(layers, tables, a, b, c, d, coupling, noise) for a, b, c, d in blocks])
    one, other = table.probabilities[left_given], table.probabilities[right_given]
    joint = joint_of_values(layers[0], one, other, coupling, noise)
    rows = len(left)
    if len(tables) == 1:
        # Variable by variable, not configuration by configuration: n · K^n · K instead of K^(2 n).
        for variable in range(size):
            split = right.reshape(rows, arity**variable, arity, arity ** (size - variable - 1), examples)
            right = torch.einsum("rekl,rplqe->rpkqe", joint[:, :, variable], split).reshape(right.shape)
        return (left * right).sum(1)
    left, right = (part.unflatten(1, (here, part.shape[1] // here)) for part in (left, right))
    total = torch.zeros(rows, examples, dtype=left.dtype, device=left.device)
    every = torch.arange(here, device=left.device)
    for block in every.split(max(1, _BLOCK // max(1, right.numel()))):
        values, width = table.chosen[block].argmax(-1), len(block)
        # Probability that the left run has one of these configurations and the right run any.
        weights = torch.ones(rows, examples, width, 1, dtype=left.dtype, device=left.device)
        for variable in range(size):
            factor = joint[:, :, variable, values[:, variable]]
            weights = (weights[..., None] * factor[..., None, :]).flatten(-2)
        product = _paired(
            layers[1:],
            tables[1:],
            left[:, block, None].expand(-1, -1, here, -1, -1).flatten(0, 2),
            right[:, None].expand(-1, width, -1, -1, -1).flatten(0, 2),
            block.repeat_interleave(here).repeat(rows),
            every.repeat(rows * width),
            coupling,
            noise,
        )
        total = total + torch.einsum("rewh,rwhe->re", weights, product.reshape(rows, width, here, examples))
    return total


def _refuse_too_many_pairs(table: LayerTable, later: tuple[LayerTable, ...], examples: int, operation: str) -> None:
    size, arity = table.chosen.shape[1:]
    rows = len(table.before) * len(table.values) // arity * size * (arity * (arity - 1) // 2)
    pairs = rows * examples * len(later[-1].values)
    for part in later[:-1]:
        pairs *= len(part.values) ** 2
    if pairs > MOST_PAIRS:
        expected = f"at most 2**28 = {MOST_PAIRS:,} pairs of the descendants' configurations for layer {table.number}"
        raise argument_error(operation, "problem", expected, f"{pairs:,}")


def value_intervals(layer: Layer, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each value the interval of the noise that gives it."""
    if layer.kind == "bernoulli":
        # The value 1 where the noise is small.
        high = torch.stack((torch.ones_like(probabilities[..., 1]), probabilities[..., 1]), -1)
        return torch.stack((probabilities[..., 1], torch.zeros_like(probabilities[..., 1])), -1), high
    cumulative = probabilities.cumsum(-1)[..., :-1]
    edge = torch.zeros_like(probabilities[..., :1])
    return torch.cat((edge, cumulative), -1), torch.cat((cumulative, edge + 1), -1)
