"""A small problem written out: every configuration with its probability, costs and scores, layer by layer."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.estimators.exact import enumerate_values
from toolkit.estimators.layers import BernoulliLayer, Layer
from toolkit.estimators.problems import Problem


@dataclass(frozen=True, eq=False)
class LayerTable:
    """What one layer of an enumerated problem is, the configurations of the others around it.

    The axes: ``before``, configurations of all the layers before, 1 for the first layer; ``here``, of this one;
    ``after``, of all the later ones, 1 for the last; ``given``, of the one layer before, on which the logits depend
    (it is the fastest part of ``before``); ``examples``, the batch, flattened; ``n`` variables; ``k`` values; ``c``
    components of a variable's gradient, 1 for Bernoulli variables, k for categorical ones.

    Attributes:
        number: the layer's index.
        values: the configurations, ``[here, n(, k)]``.
        logits: ``[given, examples, n(, k)]``.
        chosen: 1 where the variable has the value, ``[here, n, k]``.
        neighbours: the configuration that is the same but for one variable, which has the value k, ``[here, n, k]``.
        probabilities: of each variable's values, ``[given, examples, n, k]``.
        scores: derivative of the log probability of each value with respect to the variable's logits,
            ``[given, examples, n, k, c]``.
        before: probability of the configurations before, ``[before, examples]``.
        here: of this layer's given those, ``[given, here, examples]``.
        after: of the later ones given this layer's, ``[here, after, examples]``.
        signals: the layer's cost, ``[before, here, after, examples]``.
        direct: gradient of the cost with respect to the logits with the values held, ``[given, examples, n, c]``.
    """

    number: int
    values: Float[Tensor, "here n *k"]
    logits: Float[Tensor, "given examples n *k"]
    chosen: Float[Tensor, "here n k"]
    neighbours: Int[Tensor, "here n k"]
    probabilities: Float[Tensor, "given examples n k"]
    scores: Float[Tensor, "given examples n k c"]
    before: Float[Tensor, "before examples"]
    here: Float[Tensor, "given here examples"]
    after: Float[Tensor, "here after examples"]
    signals: Float[Tensor, "before here after examples"]
    direct: Float[Tensor, "given examples n c"] | None

    @property
    def given(self) -> Int[Tensor, " before"]:
        """The configuration of the layer before, for each of all the layers before."""
        return torch.arange(len(self.before), device=self.before.device) % len(self.logits)

    @property
    def weights(self) -> Float[Tensor, "before here examples"]:
        """Probability of the configurations up to this layer."""
        return self.before[:, None] * self.here[self.given]

    @property
    def score(self) -> Float[Tensor, "given here examples n c"]:
        """Derivative of the log probability of each configuration with respect to the logits."""
        return torch.einsum("hnk,genkc->ghenc", self.chosen, self.scores)


def tabulate(problem: Problem, operation: str) -> tuple[LayerTable, ...]:
    """Write a problem out, a table a layer; the cost is evaluated once for each joint configuration.

    Raises:
        ValueError: more than 2**16 joint configurations, or the cost misbehaves.
    """
    joint = enumerate_values(problem, operation)
    shape = problem.batch_shape
    examples = math.prod(shape)
    counts = [layer.arity**layer.size for layer in problem.layers]
    alone = [layer.all_values(problem.dtype, problem.device) for layer in problem.layers]
    logits = []
    for number, layer in enumerate(problem.layers):
        if number == 0:
            made = problem.logits(0, None)[None]
        else:
            above = problem.layers[number - 1].shape
            previous = alone[number - 1].reshape(-1, *(1,) * len(shape), *above).expand(-1, *shape, *above)
            made = problem.logits(number, previous)
        logits.append(made.detach().expand(-1, *shape, *layer.shape))
    values = tuple(v.expand(-1, *shape, *k.shape) for v, k in zip(joint, problem.layers, strict=True))
    index = torch.arange(math.prod(counts), device=problem.device)
    joint_logits = [logits[0].expand(len(index), *logits[0].shape[1:])]
    for number in range(1, problem.depth):
        joint_logits.append(logits[number][index // math.prod(counts[number:]) % counts[number - 1]])
    signals = [signal.detach() for signal in problem.counted().signals(values, tuple(joint_logits))]

    heres, probabilities = [], []
    for number, layer in enumerate(problem.layers):
        flat = logits[number].reshape(len(logits[number]), 1, examples, *layer.shape)
        log_prob = layer.log_prob(alone[number][:, None], flat).sum(-1)
        heres.append(log_prob.exp().expand(-1, counts[number], examples))
        probabilities.append(value_probabilities(layer, flat[:, 0]))
    tables = []
    before = torch.ones(1, examples, dtype=problem.dtype, device=problem.device)
    for number in range(problem.depth):
        after = torch.ones(counts[number], 1, examples, dtype=problem.dtype, device=problem.device)
        for later in range(number + 1, problem.depth):
            last = torch.arange(after.shape[1], device=problem.device) % counts[later - 1]
            if later == number + 1:
                last = torch.arange(counts[number], device=problem.device)
                after = heres[later][last]
            else:
                after = (after[:, :, None] * heres[later][last]).flatten(1, 2)
        tables.append(_table(problem, number, alone, logits, probabilities, heres, before, after, signals))
        given = torch.arange(len(before), device=problem.device) % len(heres[number])
        before = (before[:, None] * heres[number][given]).flatten(0, 1)
    return tuple(tables)


def _table(
    problem: Problem,
    number: int,
    alone: list[Tensor],
    logits: list[Tensor],
    probabilities: list[Tensor],
    heres: list[Tensor],
    before: Tensor,
    after: Tensor,
    signals: list[Tensor],
) -> LayerTable:
    layer = problem.layers[number]
    examples = before.shape[-1]
    present = layer.values_to_index(alone[number])
    strides = layer.arity ** torch.arange(layer.size - 1, -1, -1, device=problem.device)
    values_of_one = torch.arange(layer.arity, device=problem.device)
    own = torch.arange(len(present), device=problem.device)[:, None, None]
    identity = torch.eye(layer.arity, dtype=problem.dtype, device=problem.device)
    scores = identity - probabilities[number][..., None, :]
    if isinstance(layer, BernoulliLayer):
        # One logit, that of the value 1.
        scores = scores[..., 1:]
    previous = None
    if number:
        above = problem.layers[number - 1].shape
        previous = alone[number - 1].reshape(-1, *(1,) * len(problem.batch_shape), *above)
        previous = previous.expand(-1, *problem.batch_shape, *above)
    direct = problem.direct_gradient(number, previous)
    if direct is not None:
        direct = direct.detach().expand(logits[number].shape).reshape(*scores.shape[:-2], scores.shape[-1])
    return LayerTable(
        number=number,
        values=alone[number],
        logits=logits[number].reshape(len(logits[number]), examples, *layer.shape),
        chosen=identity[present],
        neighbours=own + (values_of_one - present[..., None]) * strides[:, None],
        probabilities=probabilities[number],
        scores=scores,
        before=before,
        here=heres[number],
        after=after,
        signals=signals[number].reshape(len(before), *after.shape),
        direct=direct,
    )


def value_probabilities(layer: Layer, logits: Float[Tensor, "..."]) -> Float[Tensor, "... k"]:
    """Return the probabilities of a layer's values, 0 and 1 for Bernoulli variables, ``[…, n, k]``."""
    if isinstance(layer, BernoulliLayer):
        return torch.stack((torch.sigmoid(-logits), torch.sigmoid(logits)), -1)
    return torch.softmax(logits, -1)
