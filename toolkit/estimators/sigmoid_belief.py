"""The variational bound of a sigmoid belief network, as an expectation whose gradient is estimated."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require
from toolkit.estimators import rank_one
from toolkit.estimators.layers import BernoulliLayer, Coupling
from toolkit.estimators.models import SigmoidBeliefNetwork, bernoulli_log_prob
from toolkit.estimators.problems import Problem, Values

ENTROPIES = ("analytic", "sampled")


class SigmoidBeliefBound(Problem):
    """The evidence lower bound of images: ``E_q[ log p(x, z_1, …, z_L) − log q(z_1, …, z_L | x) ]``, to be MAXIMISED.

    The cost is a gain here: ascend its gradient, or descend the negated
    :func:`~toolkit.estimators.estimator.surrogate`.

    A layer's signal holds only the terms that it or a layer above it changes: ``log p`` of the layer below and of
    everything above, and the inference terms of the layers above. Each inference term ``−log q(z_l | z_{l−1})`` is
    either evaluated at the sample or replaced by its expectation given the layer below, the entropy (as the paper's
    authors do; it mostly has less noise, but not near exact inference, where the sampled bound is constant).

    The entropy of a layer's own variables depends on their logits directly; :meth:`direct_gradient` is that part of
    the gradient, and the layer's own signal leaves it out (the first signal is the whole bound, and so keeps a term
    that is constant there). With sampled terms, the derivative of ``−log q`` with the values held fixed has
    expectation zero and is left out.

    With linear conditionals a flipped bit moves the next logits by one row of weights, which
    :meth:`alternatives` and :meth:`neighbours` exploit: the same numbers as the generic ones up to rounding, at a
    fraction of the price.

    Args:
        model: generative and inference network; its present parameters are used at every call.
        x: images ``[*batch, pixels]`` on the model's device, numbers in [0, 1]; grey pixels stand for the expectation
            over binary ones. Converted to the model's dtype.
        entropy: ``"analytic"`` or ``"sampled"``.

    Attributes:
        model, x, entropy: as given.
        inputs: what the inference network is given, and baselines that depend on it: the images less the mean.

    Raises:
        ValueError: images of another size, on another device, or with numbers outside [0, 1]; an unknown entropy.
        TypeError: arguments of another kind.
    """

    def __init__(self, model: SigmoidBeliefNetwork, x: Tensor, *, entropy: str = "analytic") -> None:
        super().__init__()
        name = "SigmoidBeliefBound"
        if not isinstance(model, SigmoidBeliefNetwork):
            reject(name, "model", "a SigmoidBeliefNetwork", type(model).__name__, kind=TypeError)
        if not isinstance(x, Tensor) or x.is_complex():
            actual = x.dtype if isinstance(x, Tensor) else type(x).__name__
            reject(name, "x", "a tensor of real numbers", actual, kind=TypeError)
        pixels = model.sizes[0]
        require(x.ndim >= 1 and x.shape[-1] == pixels, name, "x", f"shape [*batch, {pixels}]", tuple(x.shape))
        self.device = model.mean.device
        self.dtype = model.mean.dtype
        require(x.device == self.device, name, "x", f"images on the model's device, {self.device}", x.device)
        x = x.to(self.dtype)
        if x.numel():
            smallest, largest = (float(end) for end in x.detach().aminmax())
            span = f"numbers from {smallest:g} to {largest:g}"
            require(smallest >= 0 and largest <= 1, name, "x", "numbers in [0, 1]", span)
        if entropy not in ENTROPIES:
            raise argument_error(name, "entropy", "'analytic' or 'sampled'", repr(entropy))
        self.layers = tuple(BernoulliLayer(size) for size in model.sizes[1:])
        self.batch_shape = x.shape[:-1]
        self.model, self.x, self.entropy = model, x, entropy
        self.inputs = x - model.mean

    def logits(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """Return the inference network's logits, given the images for the first layer."""
        if layer == 0:
            return self.model.inference_logits(0, self.x)
        assert previous is not None, "only the first layer has no layer before it"
        return self.model.inference_logits(layer, previous)

    def compute_signals(self, values: Values, logits: Values) -> tuple[Tensor, ...]:
        """Return the terms of the bound that each layer and those above it change; for the first layer all of them.

        Differentiable with respect to values, logits and parameters.
        """
        leading = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
        total = bernoulli_log_prob(values[-1], self.model.prior_logits)
        signals = []
        for layer in range(self.depth - 1, -1, -1):
            total = total + self._generative_term(layer, values)
            term = self._inference_term(layer, values, logits)
            own = layer == 0 or self.entropy == "sampled"
            signals.append((total + term if own else total).expand(leading))
            total = total + term
        return tuple(reversed(signals))

    def compute_direct(self, values: Values) -> Float[Tensor, "..."] | None:
        """Return ``log p(x, values)``: the generative network's gradient is the gradient of this."""
        return self.model.log_joint(self.x, values)

    def direct_gradient(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."] | None:
        """Return the gradient of the layer's entropy with respect to its logits; ``None`` with sampled entropies."""
        if self.entropy == "sampled":
            return None
        return self.layers[layer].entropy_gradient(self.logits(layer, previous))

    def alternatives(
        self,
        layer: int,
        values: Values,
        logits: Values,
        current: Float[Tensor, "..."],
        *,
        noise: Sequence[Tensor],
        coupling: Coupling = "inverse_cdf",
        fresh: bool = False,
        chunk: int | None = None,
    ) -> Float[Tensor, "..."]:
        """Evaluate a layer's signal for every flipped bit, the later layers driven anew; see :class:`Problem`.

        Args:
            layer, values, logits, current, noise, coupling, fresh: as for :meth:`Problem.alternatives`.
            chunk: most alternatives computed at once; default: as many as stay in cache (CPU) or within 64 MB
                (accelerators), at least one.

        Returns:
            ``[*leading, *batch, n, 2]``.
        """
        if not self._by_rank_one():
            chunk = self._chunk_of(values[layer]) if chunk is None else chunk
            return super().alternatives(
                layer, values, logits, current, noise=noise, coupling=coupling, fresh=fresh, chunk=chunk
            )
        changes = self._own_changes(layer, values, logits, chunk)
        if layer + 1 < self.depth:
            changes = changes + self._tail_changes(layer, values, logits, noise, fresh, chunk)
        return self._arranged(layer, values[layer], current, changes)

    def neighbours(
        self,
        layer: int,
        values: Values,
        logits: Values,
        current: Float[Tensor, "..."],
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate a layer's signal for every flipped bit, all the others as they are; see :class:`Problem`.

        Args:
            layer, values, logits, current, chunk: as for :meth:`alternatives`.

        Returns:
            The signals ``[*leading, *batch, n, 2]`` and the log probabilities of the next layer's values, shaped
            likewise; ``None`` for the last layer.
        """
        if not self._by_rank_one():
            chunk = self._chunk_of(values[layer]) if chunk is None else chunk
            return super().neighbours(layer, values, logits, current, chunk=chunk)
        changes = self._own_changes(layer, values, logits, chunk)
        if layer + 1 == self.depth:
            return self._arranged(layer, values[layer], current, changes), None
        value, following, following_logits = values[layer], values[layer + 1], logits[layer + 1]
        direction = rank_one.directions(value)
        weights = self.model.inference_weights(layer + 1)
        flat_value, flat_logits = _flat(value, value), _flat(following_logits, value)
        partition = rank_one.softplus_changes(flat_logits, weights, flat_value, chunk)
        child_changes = direction * (following @ weights.T) - partition.view(value.shape)
        changes = changes + direction * self.model.generative_logits(layer + 1, following)
        if self.entropy == "sampled":
            changes = changes - child_changes
        else:
            entropies = self._entropy_changes(layer + 1, flat_logits, weights, flat_value, chunk)
            changes = changes + entropies.view(value.shape)
        unchanged = bernoulli_log_prob(following, following_logits)
        children = self.arrange(layer, value, unchanged, (unchanged[..., None] + child_changes).movedim(-1, 0))
        return self._arranged(layer, value, current, changes), children

    def _by_rank_one(self) -> bool:
        # The fast way writes over its temporaries, which a recorded graph would not allow.
        return self.model.linear and not torch.is_grad_enabled()

    def _chunk_of(self, value: Tensor) -> int:
        """Return how many alternatives the generic way should compute at once."""
        hidden = self.model.hidden if isinstance(self.model.hidden, tuple) else ()
        rows = max(value.numel() // value.shape[-1], 1)
        return rank_one.pairs_at_once(rows * max(*self.model.sizes, *hidden), value.device)

    def _generative_term(self, layer: int, values: Values) -> Tensor:
        below = self.x if layer == 0 else values[layer - 1]
        return bernoulli_log_prob(below, self.model.generative_logits(layer, values[layer]))

    def _inference_term(self, layer: int, values: Values, logits: Values) -> Tensor:
        if self.entropy == "analytic":
            return self.layers[layer].entropy(logits[layer]).sum(-1)
        return -bernoulli_log_prob(values[layer], logits[layer])

    def _tail(self, layer: int, values: Values, logits: Values) -> Tensor:
        """Return the terms of a layer's signal that involve the layers after it."""
        total = bernoulli_log_prob(values[-1], self.model.prior_logits)
        for later in range(layer + 1, self.depth):
            total = total + self._generative_term(later, values) + self._inference_term(later, values, logits)
        return total

    def _own_changes(self, layer: int, values: Values, logits: Values, chunk: int | None) -> Tensor:
        """Return the changes of the terms that involve no layer after this one, ``[*leading, *batch, n]``."""
        value = values[layer]
        below = self.x if layer == 0 else values[layer - 1]
        weights = self.model.generative_weights(layer)
        generated = self.model.generative_logits(layer, value)
        partition = rank_one.softplus_changes(_flat(generated, value), weights, _flat(value, value), chunk)
        scalar = below @ weights.T
        if layer + 1 == self.depth:
            scalar = scalar + self.model.prior_logits
        if self.entropy == "sampled":
            scalar = scalar - logits[layer]
        return rank_one.directions(value) * scalar - partition.view(value.shape)

    def _tail_changes(
        self, layer: int, values: Values, logits: Values, noise: Sequence[Tensor], fresh: bool, chunk: int | None
    ) -> Tensor:
        """Return the changes of the terms that involve later layers, these driven anew, ``[*leading, *batch, n]``."""
        value = values[layer]
        flat_value, next_logits = _flat(value, value), _flat(logits[layer + 1], value)
        # ``noise < sigmoid(logit)`` without a sigmoid for each logit.
        thresholds = [torch.logit(part) for part in noise]
        if fresh:
            thresholds = [part.expand(len(part), *value.shape[:-1], -1).flatten(1, -2) for part in thresholds]
        else:
            thresholds = [_flat(part, value) for part in thresholds]
        weights = self.model.inference_weights(layer + 1)
        found = flat_value.new_empty(flat_value.shape)
        width = max(self.model.sizes[layer + 1 :])
        for row, bit in rank_one.blocks(flat_value.shape, width, value.device, chunk):
            flipped = flat_value[row, None].repeat(1, bit.stop - bit.start, 1)
            flipped.diagonal(bit.start, 1, 2).copy_(1 - flat_value[row, bit])
            moved: list[Tensor] = [flat_value] * layer + [flipped]
            moved_logits: list[Tensor] = [flat_value] * (layer + 1)
            for later, threshold in zip(range(layer + 1, self.depth), thresholds, strict=True):
                if later == layer + 1:
                    made = rank_one.moved_logits(next_logits[row], weights[bit], flat_value[row, bit])
                else:
                    made = self.logits(later, moved[-1])
                drawn = threshold[bit, row].movedim(0, 1) if fresh else threshold[row, None]
                moved_logits.append(made)
                moved.append((made > drawn).to(made.dtype))
            found[row, bit] = self._tail(layer, moved, moved_logits)
        before = self._tail(layer, values, logits).expand(value.shape[:-1])
        return found.view(value.shape) - before[..., None]

    def _entropy_changes(
        self,
        layer: int,
        logits: Float[Tensor, "rows size"],
        weights: Float[Tensor, "bits size"],
        values: Float[Tensor, "rows bits"],
        chunk: int | None,
    ) -> Float[Tensor, "rows bits"]:
        kind = self.layers[layer]
        found = values.new_empty(values.shape)
        for row, bit in rank_one.blocks(values.shape, kind.size, values.device, chunk):
            found[row, bit] = kind.entropy(rank_one.moved_logits(logits[row], weights[bit], values[row, bit])).sum(-1)
        return found - kind.entropy(logits).sum(-1, keepdim=True)

    def _arranged(self, layer: int, value: Tensor, current: Tensor, changes: Tensor) -> Tensor:
        signals = (current[..., None] + changes).movedim(-1, 0)
        self.count(signals.shape)
        self._check(signals, signals.shape)
        return self.arrange(layer, value, current, signals)


def _flat(tensor: Tensor, value: Tensor) -> Tensor:
    """Return a layer's tensor as ``[rows, n]``, with a row for each of those of ``value``."""
    return tensor.expand(*value.shape[:-1], -1).reshape(-1, tensor.shape[-1])
