"""What a gradient is estimated of: the expectation of a cost over layers of discrete variables.

``J = E[ f(z_1, …, z_L) ]``: each layer's variables are independent given the layer before. Everything an estimator
may ask of such an expectation stands in :class:`Problem`; the cost is evaluated through it alone, so that evaluations
are counted where they happen and no estimator can misstate its price.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import argument_error, reject
from toolkit.estimators.layers import Coupling, Layer, draw_open_uniform

Values = Sequence[Float[Tensor, "..."]]
"""One tensor a layer, ``[*leading, *batch, n]`` (Bernoulli) or ``[*leading, *batch, n, K]`` (categorical)."""


class Problem(ABC):
    """An expectation over layers of discrete variables, each layer given the one before.

    Attributes:
        layers: what the variables of each layer are.
        batch_shape: independent problems computed at once, one for each input, say; the axes between the samples' and
            the variables'.
        dtype: of logits, values, noise, costs and gradients.
        device: where they are.
        inputs: what the problems are given, ``[*batch, features]``, for baselines that depend on it; ``None`` if
            there is no such thing.
    """

    layers: tuple[Layer, ...]
    batch_shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    inputs: Float[Tensor, "..."] | None = None

    def __init__(self) -> None:
        self._rows = 0

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def __repr__(self) -> str:
        values = ("" if layer.kind == "bernoulli" else f" with {layer.arity} values" for layer in self.layers)
        layers = ", ".join(f"{layer.size} {layer.kind}{more}" for layer, more in zip(self.layers, values, strict=True))
        return f"{type(self).__name__}({layers}; batch {tuple(self.batch_shape)})"

    @abstractmethod
    def logits(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """Return the logits of a layer.

        Args:
            layer: its index, from 0.
            previous: values of the layer before, any leading axes; ``None`` for the first.

        Returns:
            Logits with the leading axes of ``previous``, differentiable with respect to whatever made them.
        """

    @abstractmethod
    def compute_signals(self, values: Values, logits: Values) -> tuple[Any, ...]:
        """Compute the cost once for each layer, without what that layer cannot change.

        Args:
            values: of all the layers, broadcastable leading axes.
            logits: what the values were drawn with.

        Returns:
            One tensor a layer, ``[*leading, *batch]``. The first is the whole cost; a later one may leave out terms
            that neither its layer nor one after it changes: the gradient is the same in expectation, with less noise.
            What a caller's function returned comes unchecked; :meth:`signals` checks it.
        """

    def compute_direct(self, values: Values) -> Float[Tensor, "..."] | None:
        """Compute what depends on parameters other than through the logits, differentiably.

        Args:
            values: of all the layers.

        Returns:
            ``[*leading, *batch]``: a term whose gradient with the values held fixed is the gradient of the cost with
            respect to the cost's own parameters. ``None`` if there are none.
        """
        return None

    def direct_gradient(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."] | None:
        """Return the gradient of the cost with respect to a layer's logits with all the values held fixed.

        Args:
            layer: its index.
            previous: values of the layer before, as for :meth:`logits`.

        Returns:
            A tensor like the logits, or ``None`` (the default) if the cost depends on logits only through the values.
        """
        return None

    def signals(self, values: Values, logits: Values, *, shared_by: int = 1) -> tuple[Tensor, ...]:
        """Evaluate :meth:`compute_signals`, check the result, and count.

        Args:
            values: of all the layers.
            logits: what they were drawn with.
            shared_by: how many samples one evaluation serves. An estimator that evaluates a point once for a whole
                block of samples still pays for it once a sample when it is called for one, and so it is counted.

        Raises:
            ValueError: the cost has the wrong shape or is not finite.
            TypeError: it is no floating tensor.
        """
        signals = self.compute_signals(values, logits)
        shapes = {v.shape[: v.ndim - len(layer.shape)] for v, layer in zip(values, self.layers, strict=True)}
        # The usual case apart: torch's function for it takes longer than a cheap cost.
        leading = shapes.pop() if len(shapes) == 1 else torch.broadcast_shapes(*shapes)
        checked: list[Tensor] = []
        for number, signal in enumerate(signals):
            known = number and signal is signals[number - 1]
            checked.append(checked[-1] if known else self._check(signal, leading))
        self.count(leading, shared_by=shared_by)
        return tuple(checked)

    def count(self, leading: Sequence[int], *, shared_by: int = 1) -> None:
        """Count one evaluation for each entry of a tensor of costs of this shape, batch axes included."""
        rows = 1
        for length in leading:
            rows *= length
        self._rows += rows * shared_by

    def counted(self) -> "Problem":
        """Return the same problem with a counter of its own at zero."""
        # What ``copy.copy`` does, in a fifth of the time.
        problem = object.__new__(type(self))
        problem.__dict__.update(self.__dict__)
        problem._rows = 0
        return problem

    @property
    def rows(self) -> int:
        """The number of costs evaluated through this object, over all samples and the whole batch."""
        return self._rows

    def draw_noise(
        self,
        leading: Sequence[int],
        generator: torch.Generator,
        coupling: Coupling = "inverse_cdf",
    ) -> tuple[Tensor, ...]:
        """Draw the noise behind one value of each variable.

        Args:
            leading: axes before the batch's, ``(n_samples,)``.
            generator: draws on its own device; the same generator gives the same noise for problems on any device.
            coupling: how noise becomes a categorical value.

        Returns:
            One tensor a layer, ``[*leading, *batch, n]`` (or ``[…, n, K]`` for Gumbel noise), open uniform.
        """
        return tuple(
            draw_open_uniform(
                (*leading, *self.batch_shape, *layer.noise_shape(coupling)),
                generator=generator,
                device=self.device,
                dtype=self.dtype,
            )
            for layer in self.layers
        )

    def sample(
        self,
        noise: Sequence[Tensor],
        coupling: Coupling = "inverse_cdf",
        *,
        given: Values = (),
        given_logits: Values = (),
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Drive the variables with noise.

        Args:
            noise: one tensor for each layer that is not given.
            coupling: how noise becomes a categorical value.
            given: values of the first layers, kept as they are.
            given_logits: their logits.

        Returns:
            The values and the logits of all the layers.
        """
        values, logits = list(given), list(given_logits)
        for layer, uniform in zip(range(len(values), self.depth), noise, strict=True):
            logits.append(self.logits(layer, values[-1] if values else None))
            values.append(self.layers[layer].sample(logits[-1], uniform, coupling))
        return tuple(values), tuple(logits)

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
        """Evaluate a layer's signal for every value of every one of its variables, the later layers driven anew.

        Args:
            layer: whose variables are changed, one at a time.
            values: of all the layers, ``[*leading, *batch, n(, K)]``.
            logits: what they were drawn with.
            current: the layer's signal at ``values``, ``[*leading, *batch]``.
            noise: of the later layers, shaped as ``values`` without the ``K``; with ``fresh`` one more axis in front,
                one draw for each of the ``n (K − 1)`` alternatives.
            coupling: how noise becomes a categorical value.
            fresh: whether each alternative has noise of its own.
            chunk: most alternatives computed at once; default: all. Bounds the memory, changes no number.

        Returns:
            ``[*leading, *batch, n, K]``: the signal if that variable had that value; K is 2 for Bernoulli variables.
            ``n (K − 1)`` evaluations, since the current values' signal is known.
        """
        found = [
            self._signal_of(
                layer, changed, values, logits, [part[block] if fresh else part for part in noise], coupling
            )
            for block, changed in self._changed(layer, values[layer], chunk)
        ]
        return self.arrange(layer, values[layer], current, torch.cat(found))

    def neighbours(
        self,
        layer: int,
        values: Values,
        logits: Values,
        current: Float[Tensor, "..."],
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate a layer's signal for every value of every one of its variables, all the others as they are.

        Args:
            layer, values, logits, current, chunk: as for :meth:`alternatives`.

        Returns:
            The signals as :meth:`alternatives` gives them, and ``[*leading, *batch, n, K]`` log probabilities of the
            next layer's values under each alternative, ``None`` for the last layer.
        """
        signals, children = [], []
        for _, changed in self._changed(layer, values[layer], chunk):
            # Expanded, so that whatever a cost sums over has the axes of the alternatives.
            moved = [*(part.expand(changed.shape[0], *part.shape) for part in values)]
            moved[layer] = changed
            moved_logits = [*logits]
            if layer + 1 < self.depth:
                below = self.layers[layer + 1]
                moved_logits[layer + 1] = self.logits(layer + 1, changed)
                children.append(below.log_prob(moved[layer + 1], moved_logits[layer + 1]).sum(-1))
            signals.append(self.signals(moved, moved_logits)[layer])
        arranged = self.arrange(layer, values[layer], current, torch.cat(signals))
        if not children:
            return arranged, None
        unchanged = self.layers[layer + 1].log_prob(values[layer + 1], logits[layer + 1]).sum(-1)
        return arranged, self.arrange(layer, values[layer], unchanged, torch.cat(children))

    def arrange(
        self, layer: int, value: Float[Tensor, "..."], current: Float[Tensor, "..."], changed: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Sort numbers of the alternatives by variable and value.

        Args:
            layer: whose variables were changed.
            value: the layer's values.
            current: the number at ``value``, ``[*leading, *batch]``.
            changed: the numbers of the alternatives, ``[n (K − 1), *leading, *batch]``, variable by variable.

        Returns:
            ``[*leading, *batch, n, K]``.
        """
        kind = self.layers[layer]
        size, others = kind.size, kind.arity - 1
        changed = changed.reshape(size, others, *changed.shape[1:]).movedim((0, 1), (-2, -1))
        present = kind.values_to_index(value)
        by_shift = torch.cat((current[..., None, None].expand(*changed.shape[:-1], 1), changed), -1)
        # Entry k was reached by the shift that leads from the present value to k.
        shift = (torch.arange(kind.arity, device=value.device) - present[..., None]) % kind.arity
        return by_shift.gather(-1, shift.expand(by_shift.shape))

    def _changed(self, layer: int, value: Tensor, chunk: int | None) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks of the layer's values with one variable changed, ``[block, *leading, *batch, n(, K)]``."""
        kind = self.layers[layer]
        others = kind.arity - 1
        total = kind.size * others
        step = total if chunk is None else chunk
        shifted = torch.stack([kind.with_value(value, shift) for shift in range(1, kind.arity)])
        trailing = (1,) * (len(kind.shape) - 1)
        for start in range(0, total, max(step, 1)):
            block = slice(start, min(start + step, total))
            index = torch.arange(block.start, block.stop, device=value.device)
            mask = (index // others)[:, None] == torch.arange(kind.size, device=value.device)
            mask = mask.reshape(len(index), *(1,) * (value.ndim - len(kind.shape)), kind.size, *trailing)
            yield block, torch.where(mask, shifted[index % others] if others > 1 else shifted, value)

    def _signal_of(
        self,
        layer: int,
        changed: Tensor,
        values: Values,
        logits: Values,
        noise: Sequence[Tensor],
        coupling: Coupling,
    ) -> Tensor:
        width = changed.shape[0]
        given = [*(part.expand(width, *part.shape) for part in values[:layer]), changed]
        moved, moved_logits = self.sample(noise, coupling, given=given, given_logits=logits[: layer + 1])
        return self.signals(moved, moved_logits)[layer]

    def _check(self, cost: Any, leading: torch.Size) -> Tensor:
        operation = type(self).__name__
        if not isinstance(cost, Tensor):
            reject(operation, "f", "a function that returns a tensor", type(cost).__name__, kind=TypeError)
        if not cost.is_floating_point():
            reject(operation, "f", f"a function that returns {self.dtype}", cost.dtype, kind=TypeError)
        if cost.shape != leading:
            expected = f"a cost for each sample and example: shape {tuple(leading)} for values of "
            raise argument_error(operation, "f", expected + "those leading axes", tuple(cost.shape))
        # One number crosses from the device; a sum is finite unless an entry is not (or it overflows: look again).
        if not math.isfinite(cost.detach().sum().item()) and not torch.isfinite(cost).all():
            bad = "NaN" if torch.isnan(cost).any() else "an infinite value"
            raise argument_error(operation, "f", "finite costs", bad)
        return cost if cost.dtype is self.dtype else cost.to(self.dtype)
