"""Estimators that compare two antithetic draws: the noise ``u`` of a layer and its mirror image ``1 − u``.

Both members of a pair are fair draws of the layer, given the same parents, so the difference of their costs tells how
the layer's logits matter, and whatever the two have in common cancels.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import reject, require
from toolkit.estimators.estimator import Estimator, Noise, Parts, single
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer, Layer, draw_open_uniform, indicator
from toolkit.estimators.problems import Problem

Toss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _AntitheticPairs(Estimator):
    """What ARM and DisARM share: the pairs.

    One trajectory is drawn through all the layers. For each layer the second member of its pair keeps the trajectory's
    parents, mirrors the layer's noise and drives the later layers anew; the first member is the trajectory itself. So
    ``1 + layers`` evaluations make a sample, and each layer's estimate has the distribution it would have if its pair
    were drawn apart from the trajectory, at ``1 + 2 · layers`` evaluations. Each layer compares its local signals.

    Attributes:
        pairs: independent samples whose mean is one sample.
        fresh: whether the mirrored member draws the later layers with noise of its own, or with the
            trajectory's (the default). Both are unbiased; which of them varies less depends on the problem.
    """

    pairs: int = 1
    fresh: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.pairs, bool) or not isinstance(self.pairs, int):
            reject(name, "pairs", "an integer", repr(self.pairs), kind=TypeError)
        require(self.pairs >= 1, name, "pairs", ">= 1", self.pairs)
        if not isinstance(self.fresh, bool):
            reject(name, "fresh", "True or False", repr(self.fresh), kind=TypeError)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw the noise of the trajectories and, with ``fresh``, that of the mirrored paths.

        Returns:
            ``"values"``: for each layer uniforms ``[pairs, n_samples, *batch, n]`` (``[…, n, K − 1]`` for categorical
            variables, one for each break of the stick). ``"mirrored"``: for each layer but the first likewise, with
            one more axis in front, an entry for each earlier layer.
        """

        def uniform(layer: Layer, *leading: int) -> Tensor:
            breaks = () if isinstance(layer, BernoulliLayer) else (layer.arity - 1,)
            return draw_open_uniform(
                (*leading, self.pairs, n_samples, *problem.batch_shape, layer.size, *breaks),
                generator=generator,
                device=problem.device,
                dtype=problem.dtype,
            )

        noise = {"values": tuple(uniform(layer) for layer in problem.layers)}
        if self.fresh:
            later = enumerate(problem.layers[1:], 1)
            noise["mirrored"] = tuple(uniform(layer, number) for number, layer in later)
        return noise

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Return for each layer the difference of the pair's costs, weighed; the draws are the trajectories."""
        uniform = noise["values"]
        values, logits = self._follow(problem, noise)
        # All paths at once: evaluations one by one would each take the time of a small operation, many times over.
        signals = problem.signals(values, logits)
        contributions = []
        for number, layer in enumerate(problem.layers):
            trajectory, mirrored = values[number][0], values[number][number + 1]
            made = logits[number][0] if number else logits[number]
            signal = signals[number]
            difference = (signal[number + 1] - signal[0])[(..., *(None,) * len(layer.shape))]
            contribution = difference * self._weight(layer, made, uniform[number], (trajectory, mirrored))
            contributions.append(contribution / self.pairs if self.pairs > 1 else contribution)
        # Each path is a fair draw of all the variables, so all their costs count.
        return Parts(tuple(value[0] for value in values), tuple(contributions), signals[0].mean((0, 1)))

    def _follow(self, problem: Problem, noise: Noise) -> tuple[list[Tensor], list[Tensor]]:
        """Return values ``[1 + layers, pairs, S, *batch, …]`` and logits of all the paths.

        Path 0 is the trajectory, path ``l + 1`` the one that leaves it at layer ``l``: until then they are the same.
        """
        values: list[Tensor] = []
        logits: list[Tensor] = []
        for number, layer in enumerate(problem.layers):
            made = problem.logits(number, values[-1] if values else None)
            uniform = noise["values"][number]
            drawn = torch.cat((uniform[None], noise["mirrored"][number - 1])) if self.fresh and number else uniform
            followed = _value(layer, made, drawn, _toss)
            leaving = _value(layer, made[0] if number else made, uniform, _toss_mirrored)
            values.append(torch.cat((followed if number else followed[None], leaving[None])))
            logits.append(made)
        return (
            [_fill(value, problem.depth + 1) for value in values],
            [logits[0], *(_fill(made, problem.depth + 1) for made in logits[1:])],
        )

    @abstractmethod
    def _weight(self, layer: Layer, logits: Tensor, noise: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Return what multiplies the mirrored member's cost less the trajectory's, ``[pairs, S, *batch, n(, K)]``.

        ``pair`` are the trajectory's and the mirrored member's values, which the noise gave.
        """

    def expected_evaluations(self, problem: Problem) -> float:
        """Return ``pairs · (1 + layers)``: 2 a pair for one layer."""
        return float(self.pairs * (1 + problem.depth))


@dataclass(frozen=True)
class ARM(_AntitheticPairs):
    """Augment-REINFORCE-merge (Yin and Zhou, arXiv 1807.11143), for Bernoulli variables.

    ``g = [f(1[u > sigmoid(−logit)]) − f(1[u < sigmoid(logit)])] (u − ½)``, one uniform ``u`` a variable.
    ``pairs · (1 + layers)`` evaluations.

    Attributes:
        pairs: independent samples whose mean is one sample.
        fresh: whether the second member of a pair draws the later layers with noise of its own.
    """

    title: ClassVar[str] = "ARM"
    reference: ClassVar[str] = "Yin and Zhou 2019, arXiv 1807.11143"
    variables: ClassVar[frozenset[str]] = frozenset({"bernoulli"})

    def _weight(self, layer: Layer, logits: Tensor, noise: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        return noise - 0.5


@dataclass(frozen=True)
class DisARM(_AntitheticPairs):
    """ARM without the noise that its uniforms add (Dong, Mnih and Tucker, arXiv 2006.10680), also known as U2G.

    ``g = ½ [f(b) − f(b̃)] (b − b̃) sigmoid(|logit|)`` with ``b = 1[u > sigmoid(−logit)]``, ``b̃ = 1[u < sigmoid(logit)]``:
    the expectation of ARM given the pair. ``pairs · (1 + layers)`` evaluations.

    A categorical variable is a chain of coins, a stick broken at most ``K − 1`` times (arXiv 2106.08056): coin ``j``
    decides whether it takes its j-th value if it took none before, with the logit ``l_j − log Σ_{i>j} exp(l_i)``. All
    the coins have antithetic pairs at once. A coin that both members toss weighs as above; one that only a single
    member tosses, the other having its value already, weighs half its score; the gradient goes back to the ``K`` logits
    by the chain rule. The values are tried from the least to the most probable: then no coin's probability exceeds ½,
    so no two antithetic coins are both 1, and the pair agrees only where both reach the last value.

    Attributes:
        pairs: independent samples whose mean is one sample.
        fresh: whether the second member of a pair draws the later layers with noise of its own.
    """

    title: ClassVar[str] = "DisARM"
    reference: ClassVar[str] = "Dong, Mnih and Tucker 2020, arXiv 2006.10680; categorical: 2021, arXiv 2106.08056"

    def _weight(self, layer: Layer, logits: Tensor, noise: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        if isinstance(layer, BernoulliLayer):
            return _coin_weight(logits, *pair)
        sticks, order = _break_stick(logits)
        coins, mirrored = _toss(sticks, noise), _toss_mirrored(sticks, noise)
        tossed, tossed_mirrored = _tossed(coins), _tossed(mirrored)
        probability = torch.sigmoid(sticks)
        weight = (
            tossed * tossed_mirrored * _coin_weight(sticks, coins, mirrored)
            + (1 - tossed) * tossed_mirrored * 0.5 * (mirrored - probability)
            - tossed * (1 - tossed_mirrored) * 0.5 * (coins - probability)
        )
        return _to_logits(weight, logits, order)


@dataclass(frozen=True)
class ARSM(Estimator):
    """Augment-REINFORCE-swap-merge (Yin, Yue and Zhou, arXiv 1905.01413): ARM for categorical variables.

    With ``w`` from the flat Dirichlet distribution a variable takes the value ``argmin_i w_i exp(−logit_i)``. For each
    pair of values ``c, j`` the entries of ``w`` are swapped, in all the layer's variables at once, which gives a cost
    ``f_cj`` (``f_jj`` without a swap), and ``g_c = Σ_j (f_cj − mean_m f_mj) (1/K − w_j)``.

    ``1 + K (K − 1) / 2`` evaluations a layer, of which the one without a swap serves all layers. Later layers are drawn
    with the trajectory's noise, and each layer compares its local signals, as in :class:`DisARM`.
    """

    title: ClassVar[str] = "ARSM"
    reference: ClassVar[str] = "Yin, Yue and Zhou 2019, arXiv 1905.01413"
    variables: ClassVar[frozenset[str]] = frozenset({"categorical"})

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw one uniform for each value of each variable."""
        return {"values": problem.draw_noise((n_samples,), generator, "gumbel")}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Return the estimates; the draws are the trajectories without a swap."""
        uniform = noise["values"]
        values, logits = problem.sample(uniform, "gumbel")
        signals = problem.signals(values, logits)
        cost, contributions = signals[0], []
        for number, layer in enumerate(problem.layers):
            one, other = torch.triu_indices(layer.arity, layer.arity, 1, device=problem.device)
            swaps = torch.arange(layer.arity, device=problem.device).repeat(len(one), 1)
            swaps.scatter_(1, one[:, None], other[:, None]).scatter_(1, other[:, None], one[:, None])
            swapped = layer.sample(logits[number], uniform[number][..., swaps].movedim(-2, 0), "gumbel")
            parents = tuple(part.expand(len(swaps), *part.shape) for part in values[:number])
            path = problem.sample(
                uniform[number + 1 :], "gumbel", given=(*parents, swapped), given_logits=logits[: number + 1]
            )
            found = problem.signals(*path)
            cost = cost + found[0].sum(0)
            table = signals[number].expand(layer.arity, layer.arity, *signals[number].shape).clone()
            table[one, other] = table[other, one] = found[number]
            centred = (table - table.mean(0)).movedim((0, 1), (-1, -2))
            exponential = -torch.log(uniform[number])
            contributions.append((1 / layer.arity - exponential / exponential.sum(-1, keepdim=True)) @ centred)
        return single(values, tuple(contributions), cost / self.expected_evaluations(problem))

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 1 and for each layer ``K (K − 1) / 2`` more."""
        return float(1 + sum(layer.arity * (layer.arity - 1) // 2 for layer in problem.layers))


def _fill(paths: Tensor, count: int) -> Tensor:
    """Add paths that are still on the trajectory, the first one, up to this number."""
    missing = count - paths.shape[0]
    return torch.cat((paths, paths[:1].expand(missing, *paths.shape[1:]))) if missing else paths


def _value(layer: Layer, logits: Tensor, noise: Tensor, toss: Toss) -> Tensor:
    if isinstance(layer, BernoulliLayer):
        return toss(logits, noise)
    sticks, order = _break_stick(logits)
    return _first(layer, toss(sticks, noise), order)


def _toss(logits: Float[Tensor, "..."], noise: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return indicator(torch.lt, noise, torch.sigmoid(logits))


def _toss_mirrored(logits: Float[Tensor, "..."], noise: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    # 1 − u < sigmoid(logit) without forming 1 − u, which rounds to 1 for small u.
    return indicator(torch.ge, noise, torch.sigmoid(-logits))


def _coin_weight(logits: Tensor, coins: Tensor, mirrored: Tensor) -> Tensor:
    return 0.5 * torch.sigmoid(logits.abs()) * (mirrored - coins)


def _break_stick(logits: Float[Tensor, "... k"]) -> tuple[Tensor, Tensor]:
    """Return the logits of the coins, ``[…, K − 1]``, and the values in the order in which they are tried."""
    order = logits.argsort(dim=-1, stable=True)
    ordered = logits.gather(-1, order)
    rest = ordered.flip(-1).logcumsumexp(-1).flip(-1)
    return ordered[..., :-1] - rest[..., 1:], order


def _tossed(coins: Float[Tensor, "... coins"]) -> Float[Tensor, "... coins"]:
    """Return 1 for each coin up to the first that shows 1, else 0."""
    return functional.pad((1 - coins).cumprod(-1)[..., :-1], (1, 0), value=1.0)


def _first(layer: CategoricalLayer, coins: Tensor, order: Tensor) -> Tensor:
    """Return as one-hot vectors the values of the first coins that show 1, the last ones if none does."""
    position = (1 - coins).cumprod(-1).sum(-1, keepdim=True).long()
    chosen = order.expand(*position.shape[:-1], layer.arity).gather(-1, position)[..., 0]
    return functional.one_hot(chosen, layer.arity).to(coins.dtype)


def _to_logits(gradient: Tensor, logits: Tensor, order: Tensor) -> Tensor:
    """Take a gradient with respect to the coins' logits back to the variables' logits."""
    ordered = torch.log_softmax(logits, -1).gather(-1, order)
    rest = ordered.flip(-1).logcumsumexp(-1).flip(-1)
    # Coin j's logit is l_j − log Σ_{i>j} exp(l_i). The most probable value is in every such sum, so none is below 1/K.
    below = functional.pad((gradient * torch.exp(-rest[..., 1:])).cumsum(-1), (1, 0))
    found = functional.pad(gradient, (0, 1)) - torch.exp(ordered) * below
    return torch.zeros_like(found).scatter(-1, order.expand(found.shape), found)
