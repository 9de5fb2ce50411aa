"""All joint configurations of a problem's variables as the values of one variable: their probabilities, and draws.

The table holds logarithms in double precision: what is improbable is exact relative to itself, however much more
probable the rest is.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import argument_error, reject
from toolkit.estimators.layers import BernoulliLayer, Layer
from toolkit.estimators.problems import Problem

MOST_CONFIGURATIONS = 2**16


def require_enumerable(problem: Problem, operation: str) -> int:
    """Return the number of joint configurations, or complain on behalf of ``operation``.

    Raises:
        ValueError: there are more than 2**16.
        TypeError: it is no problem.
    """
    if not isinstance(problem, Problem):
        reject(operation, "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
    total = configuration_count(problem)
    if total > MOST_CONFIGURATIONS:
        expected = f"at most 2**16 = {MOST_CONFIGURATIONS:,} joint configurations to enumerate"
        actual = " · ".join(f"{layer.arity}**{layer.size}" for layer in problem.layers) + " of them"
        raise argument_error(operation, "problem", expected, actual)
    return total


def configuration_count(problem: Problem) -> int:
    """Return the number of joint configurations of all the variables."""
    total = 1
    for layer in problem.layers:
        total *= layer.arity**layer.size
    return total


class ConfigurationTable:
    """All joint configurations, from the least to the most probable; a position is an index into that order.

    Positions and what is found at them have the shape ``[*leading, *batch]``.

    Args:
        problem: it should not have too many configurations for a table.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.configurations = configuration_count(problem)
        # An impossible configuration stays a number, so that differences of logarithms are never NaN.
        log_probs = _joint_log_probs(problem).clamp(min=-1e30)
        self._log_probs, self._order = log_probs.sort(dim=-1, stable=True)
        self._before = functional.pad(self._log_probs, (1, 0), value=-torch.inf)
        # Sums from the small end keep their precision: a difference is at least the larger of its terms.
        self._cumulative = functional.pad(self._log_probs.logcumsumexp(-1), (1, 0), value=-torch.inf)

    def log_prob(self, positions: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probabilities at positions, in double precision."""
        return _take(self._log_probs, positions)

    def values(self, positions: Int[Tensor, "..."]) -> tuple[Tensor, ...]:
        """Return one tensor of values a layer, ``[*leading, *batch, n(, K)]``."""
        index = _take(self._order, positions)
        found = []
        first, *further = self._problem.layers
        for layer in reversed(further):
            count = layer.arity**layer.size
            found.append(_decode(layer, index % count, self._problem.dtype))
            index = index // count
        found.append(_decode(first, index, self._problem.dtype))
        return tuple(reversed(found))

    def mass(self, start: Int[Tensor, "..."], end: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probability of the positions from ``start`` to before ``end``; −inf where there are none."""
        low, high = _take(self._cumulative, start), _take(self._cumulative, end)
        difference = high + torch.log(-torch.expm1(low - high))
        return torch.maximum(difference, _take(self._before, end)).masked_fill_(start >= end, -torch.inf)

    def draw(
        self, start: Int[Tensor, "..."], end: Int[Tensor, "..."], uniform: Float[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """Return positions drawn between ``start`` and ``end``, with the probabilities that they have there."""
        return self._draw(start, end, self.mass(start, end), uniform)

    def draw_set(self, uniform: Float[Tensor, "k 2 ..."]) -> tuple[Int[Tensor, "k ..."], Float[Tensor, "..."]]:
        """Draw one position after another without replacement.

        The positions drawn so far cut the table into segments: one uniform chooses a segment, one a position in it.

        Args:
            uniform: ``[k, 2, *leading, *batch]``, with ``k`` below the number of configurations.

        Returns:
            The positions, ascending, and the log probability of all the others together.
        """
        # The first draw is from the one segment there is.
        position = self._search(self._cumulative[..., -1] + torch.log(uniform[:1, 1]))
        chosen = position.clamp(0, self.configurations - 1)
        edges = torch.full_like(chosen, -1), torch.full_like(chosen, self.configurations)
        for which, where in uniform[1:]:
            start, end = _segments(chosen, edges)
            mass = self.mass(start, end)
            share = torch.softmax(mass, 0).cumsum(0)
            # Divided by its end, the sum is 1 from the last segment with any mass on: no empty one is ever chosen.
            segment = (which >= share / share[-1]).sum(0, keepdim=True)
            start, end, mass = (part.gather(0, segment) for part in (start, end, mass))
            chosen = torch.cat((chosen, self._draw(start, end, mass, where[None]))).sort(0).values
        return chosen, self.mass(*_segments(chosen, edges)).logsumexp(0)

    def _draw(self, start: Tensor, end: Tensor, mass: Tensor, uniform: Tensor) -> Tensor:
        position = self._search(torch.logaddexp(_take(self._cumulative, start), mass + torch.log(uniform)))
        return torch.minimum(torch.maximum(position, start), end - 1)

    def _search(self, target: Tensor) -> Tensor:
        """Return the positions where the cumulative probability passes a target."""
        leading = target.ndim - len(self._problem.batch_shape)
        if leading == target.ndim:
            return torch.searchsorted(self._cumulative, target) - 1
        by_batch = target.flatten(0, leading - 1).movedim(0, -1).contiguous()
        return torch.searchsorted(self._cumulative, by_batch).movedim(-1, 0).reshape(target.shape) - 1


def _segments(chosen: Tensor, edges: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return where the table's segments start and end, given the positions that cut it and those at its two ends."""
    bounds = torch.cat((edges[0], chosen, edges[1]))
    return bounds[:-1] + 1, bounds[1:]


def _joint_log_probs(problem: Problem) -> Float[Tensor, "..."]:
    """Return the log probability of each configuration, ``[*batch, configurations]``, the last layer fastest."""
    batch = problem.batch_shape
    joint, previous = None, None
    for number, layer in enumerate(problem.layers):
        if number:
            before = problem.layers[number - 1]
            index = torch.arange(before.arity**before.size, device=problem.device).reshape(-1, *(1,) * len(batch))
            previous = _decode(before, index.expand(-1, *batch), problem.dtype)
        given = 1 if joint is None else joint.shape[-1]
        logits = problem.logits(number, previous).double().expand(given, *batch, *layer.shape)
        if isinstance(layer, BernoulliLayer):
            single = torch.stack((functional.logsigmoid(-logits), functional.logsigmoid(logits)), -1)
        else:
            single = torch.log_softmax(logits, -1)
        together, *others = single.unbind(-2)
        for variable in others:
            together = (together.unsqueeze(-1) + variable.unsqueeze(-2)).flatten(-2)
        together = together.movedim(0, -2)
        # [*batch, all earlier layers but the last, the last one] + [*batch, 1, the last one, this one]
        joint = together if joint is None else (joint[..., None] + together.unsqueeze(-3)).flatten(-3, -2)
    assert joint is not None, "a problem has at least one layer"
    return joint.flatten(-2)


def _decode(layer: Layer, index: Int[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    digits = index[..., None]
    if layer.size > 1:
        digits = digits // layer.arity ** torch.arange(layer.size, device=index.device).flip(0) % layer.arity
    if isinstance(layer, BernoulliLayer):
        return digits.to(dtype)
    # Torch's own function for it looks for the largest index first, which crosses from the device.
    return (digits[..., None] == torch.arange(layer.arity, device=index.device)).to(dtype)


def _take(table: Tensor, index: Tensor) -> Tensor:
    if table.ndim == 1:
        # The usual case of no batch, in a third of the time.
        return table.take(index)
    return table.expand(*index.shape, table.shape[-1]).gather(-1, index[..., None])[..., 0]
