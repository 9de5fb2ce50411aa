"""Estimators that sum over one variable at a time: RAM, local expectation gradients, one random coordinate.

All of them ask what the cost would be if a variable had another value. They differ in what the rest does meanwhile:
its noise is held (RAM), its values are held (local expectation), or only one variable is asked (one coordinate).
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.estimator import Estimator, Noise, Parts, single
from toolkit.estimators.layers import COUPLINGS, BernoulliLayer, Coupling, Layer, draw_open_uniform
from toolkit.estimators.problems import Problem

NOISES = ("common", "fresh", "antithetic")


@dataclass(frozen=True)
class RAM(Estimator):
    """Reparameterisation and marginalisation (arXiv 1611.01239): each variable is summed out, the others' noise held.

    Bernoulli: ``μ (1 − μ) (f_1 − f_0)``; categorical: ``π_k (f_k − Σ_j π_j f_j)``. ``f_k`` is the cost with the
    variable forced to its value k, the variables that depend on it computed anew, all the others as they are. It takes
    ``1 + Σ_i (K_i − 1)`` evaluations, ``n + 1`` for n Bernoulli variables.

    For each variable its variance is at most that of the likelihood ratio with any baseline that does not use the
    variable's own noise. The order need not hold for a parameter that several variables share, nor at equal cost.

    Attributes:
        noise: what drives the descendants of an alternative value. ``"common"``, the paper's: the noise that drove
            those of the sampled value, so that they move only where they must. ``"fresh"``: a draw for each
            alternative, as many again to make and to store; more variance as a rule, not always. ``"antithetic"``: 1 −
            the noise of the sampled value, as cheap as common noise; it moves descendants as far as it can, which
            rarely pays. All three are unbiased, and the same in the last layer.
        coupling: how noise becomes a categorical value, ``"inverse_cdf"`` (one number a variable) or ``"gumbel"`` (one
            a value). It decides how far descendants move together; neither is better everywhere.
        chunk: most alternatives computed at once, to bound the memory; ``None``: all.
    """

    noise: str = "common"
    coupling: str = "inverse_cdf"
    chunk: int | None = None

    title: ClassVar[str] = "RAM"
    reference: ClassVar[str] = "Tokui & Sato 2016, arXiv 1611.01239"

    def __post_init__(self) -> None:
        require(self.noise in NOISES, "RAM", "noise", " or ".join(map(repr, NOISES)), repr(self.noise))
        require(self.coupling in COUPLINGS, "RAM", "coupling", " or ".join(map(repr, COUPLINGS)), repr(self.coupling))
        _check_chunk("RAM", self.chunk)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw ``values``, one draw of each variable, and with fresh noise ``layer 0`` and so on: for each alternative
        value in that layer a draw of the later ones, ``[n (K − 1), n_samples, *batch, …]``."""
        noise = {"values": problem.draw_noise((n_samples,), generator, self._coupling)}
        if self.noise == "fresh":
            for number, layer in enumerate(problem.layers[:-1]):
                leading = (layer.size * (layer.arity - 1), n_samples, *problem.batch_shape)
                noise[f"layer {number}"] = tuple(
                    draw_open_uniform(
                        (*leading, *below.noise_shape(self._coupling)),
                        generator=generator,
                        device=problem.device,
                        dtype=problem.dtype,
                    )
                    for below in problem.layers[number + 1 :]
                )
        return noise

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Sum out every variable, given the noise of the others."""
        uniform = noise["values"]
        values, logits = problem.sample(uniform, self._coupling)
        signals = problem.signals(values, logits)
        gradients = []
        for number, layer in enumerate(problem.layers):
            costs = problem.alternatives(
                number,
                values,
                logits,
                signals[number],
                noise=self._of_descendants(noise, number),
                coupling=self._coupling,
                fresh=self.noise == "fresh",
                chunk=self.chunk,
            )
            gradients.append(marginal_gradient(layer, logits[number], costs))
        return single(values, tuple(gradients), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        """Return ``1 + Σ_i (K_i − 1)``."""
        return _evaluations_of_all_alternatives(problem)

    @property
    def _coupling(self) -> Coupling:
        return cast(Coupling, self.coupling)  # checked when it was made

    def _of_descendants(self, noise: Noise, layer: int) -> tuple[Tensor, ...]:
        later = noise["values"][layer + 1 :]
        if self.noise == "common" or not later:
            return later
        if self.noise == "fresh":
            return noise[f"layer {layer}"]
        # The smallest noise would mirror to 1, outside the open interval.
        return tuple((1 - uniform).clamp(max=1 - torch.finfo(uniform.dtype).eps / 2) for uniform in later)


@dataclass(frozen=True)
class LocalExpectation(Estimator):
    """Local expectation gradients (arXiv 1503.01494): each variable is summed out, the others' values held.

    ``Σ_v q(v | rest) ∇log q(v | parents) (f_v − b)``, where ``q(v | rest)`` is the probability of the value given all
    the other variables: the parents', times how well it explains the next layer's values. ``f_v`` is the cost with
    the variable forced to v and nothing else moved. It takes ``1 + Σ_i (K_i − 1)`` evaluations.

    In the last layer nothing is left to explain: there, and so wherever there is one layer, it gives the numbers that
    :class:`RAM` gives, and a baseline changes nothing. In earlier layers it is the likelihood ratio without a baseline
    averaged over the variable; without ``b`` it may vary more than a likelihood ratio with a good one.

    Attributes:
        baseline: a constant for each variable: for each layer a tensor that broadcasts to ``[*batch, n]``
            (``[*batch, n, K]`` for categorical variables, one for each component). ``None``: zero.
    """

    baseline: tuple[Tensor, ...] | None = None

    title: ClassVar[str] = "local expectation gradients"
    reference: ClassVar[str] = "Titsias & Lázaro-Gredilla 2015, arXiv 1503.01494"

    def __eq__(self, other: object) -> bool:
        """Compare the numbers: tensors have no truth value of their own."""
        if not isinstance(other, LocalExpectation):
            return NotImplemented
        if self.baseline is None or other.baseline is None:
            return self.baseline is other.baseline
        pairs = zip(self.baseline, other.baseline, strict=False)
        return len(self.baseline) == len(other.baseline) and all(
            a.shape == b.shape and bool((a == b).all()) for a, b in pairs
        )

    def __hash__(self) -> int:
        shapes = () if self.baseline is None else tuple(part.shape for part in self.baseline)
        return hash((LocalExpectation, shapes))

    def check(self, problem: Problem) -> None:
        """Refuse a baseline that does not fit the problem."""
        super().check(problem)
        if self.baseline is None:
            return
        expected = f"one tensor a layer, {problem.depth} in all"
        require(len(self.baseline) == problem.depth, "LocalExpectation", "baseline", expected, len(self.baseline))
        for layer, part in zip(problem.layers, self.baseline, strict=True):
            if not isinstance(part, Tensor):
                reject("LocalExpectation", "baseline", "a tuple of tensors", type(part).__name__, kind=TypeError)
            shape = (*problem.batch_shape, *layer.shape)
            fits = part.ndim <= len(shape) and all(
                a in (1, b) for a, b in zip(reversed(part.shape), reversed(shape), strict=False)
            )
            require(fits, "LocalExpectation", "baseline", f"tensors that broadcast to {shape}", tuple(part.shape))

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Sum out every variable, given the values of the others."""
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        gradients = []
        for number, layer in enumerate(problem.layers):
            costs, children = problem.neighbours(number, values, logits, signals[number])
            baseline = None if self.baseline is None else self.baseline[number].to(problem.device, problem.dtype)
            gradients.append(local_gradient(layer, logits[number], costs, children, baseline))
        return single(values, tuple(gradients), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        """Return ``1 + Σ_i (K_i − 1)``."""
        return _evaluations_of_all_alternatives(problem)


@dataclass(frozen=True)
class FlipOneCoordinate(Estimator):
    """:class:`RAM` of one variable, drawn uniformly from the N variables of all the layers, times N; the others' is 0.

    It takes 2 evaluations for Bernoulli variables and K for categorical ones (the most of any layer, if they differ)
    however many variables there are, and pays for it with about N times the variance of RAM, plus ``(N − 1) g²``.
    Problems of a batch draw a variable each.
    """

    title: ClassVar[str] = "RAM of one coordinate"
    reference: ClassVar[str] = "RAM (arXiv 1611.01239) with random coordinates"

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw ``values``, one draw of each variable, and ``index``, ``[n_samples, *batch]``: which variable."""
        values = problem.draw_noise((n_samples,), generator)
        shape = (n_samples, *problem.batch_shape)
        index = draw_open_uniform(shape, generator=generator, device=problem.device, dtype=problem.dtype)
        return {"values": values, "index": (index,)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Sum out one variable of each sample, given the noise of the others."""
        uniform, (index,) = noise["values"], noise["index"]
        values, logits = problem.sample(uniform)
        signals = problem.signals(values, logits)
        total = sum(layer.size for layer in problem.layers)
        # Rounding may lift the product of the largest noise to the total.
        index = (index * total).long().clamp(max=total - 1)
        starts = [sum(layer.size for layer in problem.layers[:number]) for number in range(problem.depth)]
        chosen = [
            torch.arange(start, start + layer.size, device=problem.device) == index[..., None]
            for start, layer in zip(starts, problem.layers, strict=True)
        ]
        others = max(layer.arity for layer in problem.layers) - 1
        moved: list[Tensor] = []
        moved_logits: list[Tensor] = []
        for number, (layer, start) in enumerate(zip(problem.layers, starts, strict=True)):
            trailing = (1,) * (len(layer.shape) - 1)
            shifted = torch.stack([layer.with_value(values[number], shift) for shift in range(1, others + 1)])
            if number == 0:
                moved_logits.append(logits[0])
                unchosen = values[0]
            else:
                moved_logits.append(problem.logits(number, moved[-1]))
                driven = layer.sample(moved_logits[-1], uniform[number])
                above = (index < start).reshape(*index.shape, 1, *trailing)
                unchosen = torch.where(above, driven, values[number])
            moved.append(torch.where(chosen[number].reshape(*chosen[number].shape, *trailing), shifted, unchosen))
        which = torch.stack([part.any(-1) for part in chosen])
        # [K, S, *batch]: the chosen layer's signal, at the sampled value first.
        at_moved = _pick(which[:, None], problem.signals(moved, moved_logits))
        by_shift = torch.cat((_pick(which, signals)[None], at_moved))
        gradients = []
        for number, layer in enumerate(problem.layers):
            present = layer.values_to_index(values[number])[..., None]
            shift = (torch.arange(layer.arity, device=problem.device) - present) % layer.arity
            costs = by_shift.movedim(0, -1)[..., None, :].expand(*shift.shape[:-1], others + 1).gather(-1, shift)
            gradient = total * marginal_gradient(layer, logits[number], costs)
            mask = chosen[number].reshape(*chosen[number].shape, *(1,) * (len(layer.shape) - 1))
            gradients.append(torch.where(mask, gradient, 0))
        return single(values, tuple(gradients), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        """Return K, 2 for Bernoulli variables."""
        return float(max(layer.arity for layer in problem.layers))


def marginal_gradient(
    layer: Layer, logits: Float[Tensor, "..."], costs: Float[Tensor, "... n values"]
) -> Float[Tensor, "..."]:
    """Return the gradient of ``Σ_v q(v) f_v`` with respect to the logits, for each variable of a layer.

    Args:
        layer: what the variables are.
        logits: theirs, ``[…, n]`` or ``[…, n, K]``.
        costs: ``f_v``; two values for Bernoulli variables.
    """
    if isinstance(layer, BernoulliLayer):
        return torch.sigmoid(logits) * torch.sigmoid(-logits) * (costs[..., 1] - costs[..., 0])
    probabilities = torch.softmax(logits, -1)
    # Differences, so that a variable that the cost ignores has gradient zero, not rounding errors of the cost.
    costs = costs - costs[..., :1]
    return probabilities * (costs - (probabilities * costs).sum(-1, keepdim=True))


def local_gradient(
    layer: Layer,
    logits: Float[Tensor, "..."],
    costs: Float[Tensor, "... n values"],
    children: Float[Tensor, "... n values"] | None,
    baseline: Float[Tensor, "..."] | None,
) -> Float[Tensor, "..."]:
    """Return ``Σ_v q(v | rest) ∇log q(v | parents) (f_v − b)`` for each variable of a layer.

    Args:
        layer, logits, costs: as for :func:`marginal_gradient`.
        children: log probability of the next layer's values under each value; ``None`` for the last layer.
        baseline: as :class:`LocalExpectation` has it.
    """
    if children is None:
        return marginal_gradient(layer, logits, costs)
    shift = 0 if baseline is None else baseline
    # The weights in logs: a ratio of probabilities may overflow where the product it stands in is nothing.
    if isinstance(layer, BernoulliLayer):
        odds = logits + children[..., 1] - children[..., 0]
        one = torch.sigmoid(odds) * torch.sigmoid(-logits) * (costs[..., 1] - shift)
        return one - torch.sigmoid(-odds) * torch.sigmoid(logits) * (costs[..., 0] - shift)
    probabilities = torch.softmax(logits, -1)
    weights = torch.softmax(logits + children, -1)
    if baseline is None:
        weighed = weights * costs
        return weighed - probabilities * weighed.sum(-1, keepdim=True)
    mean = (weights * costs).sum(-1, keepdim=True)
    return weights * (costs - baseline) - probabilities * (mean - baseline)


def _pick(which: Tensor, signals: tuple[Tensor, ...]) -> Tensor:
    """Return each sample's signal of the layer that ``which`` marks, ``[layers, …]``."""
    # ``where`` and not a product: the signals are finite, but their sum over layers would round.
    return torch.where(which, torch.stack(signals), 0).sum(0)


def _evaluations_of_all_alternatives(problem: Problem) -> float:
    return 1.0 + sum(layer.size * (layer.arity - 1) for layer in problem.layers)


def _check_chunk(operation: str, chunk: int | None) -> None:
    if chunk is None:
        return
    if isinstance(chunk, bool) or not isinstance(chunk, int):
        reject(operation, "chunk", "an integer or None", repr(chunk), kind=TypeError)
    require(chunk >= 1, operation, "chunk", ">= 1 or None", chunk)
