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
        # Sums from the small end keep their precision: a difference is at least the larger of its terms.
        self._cumulative = functional.pad(self._log_probs.logcumsumexp(-1), (1, 0), value=-torch.inf)

    def log_prob(self, positions: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probabilities at positions, in double precision."""
        return _take(self._log_probs, positions)

    def values(self, positions: Int[Tensor, "..."]) -> tuple[Tensor, ...]:
        """Return one tensor of values a layer, ``[*leading, *batch, n(, K)]``."""
        index = _take(self._order, positions)
        found = []
        for layer in reversed(self._problem.layers):
            count = layer.arity**layer.size
            found.append(_decode(layer, index % count, self._problem.dtype))
            index = index // count
        return tuple(reversed(found))

    def mass(self, start: Int[Tensor, "..."], end: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probability of the positions from ``start`` to before ``end``; −inf where there are none."""
        low, high = _take(self._cumulative, start), _take(self._cumulative, end)
        difference = high + torch.log(-torch.expm1(low - high))
        largest = _take(self._log_probs, (end - 1).clamp(min=0))
        return torch.where(start < end, torch.maximum(difference, largest), -torch.inf)

    def draw(
        self, start: Int[Tensor, "..."], end: Int[Tensor, "..."], uniform: Float[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """Return positions drawn between ``start`` and ``end``, with the probabilities that they have there."""
        target = torch.logaddexp(_take(self._cumulative, start), self.mass(start, end) + torch.log(uniform))
        leading = target.ndim - len(self._problem.batch_shape)
        by_batch = target.flatten(0, leading - 1).movedim(0, -1).contiguous()
        position = torch.searchsorted(self._cumulative, by_batch).movedim(-1, 0).reshape(target.shape) - 1
        return torch.minimum(torch.maximum(position, start), end - 1)

    def draw_set(self, uniform: Float[Tensor, "k 2 ..."]) -> tuple[Int[Tensor, "k ..."], Float[Tensor, "..."]]:
        """Draw one position after another without replacement.

        The positions drawn so far cut the table into segments: one uniform chooses a segment, one a position in it.

        Args:
            uniform: ``[k, 2, *leading, *batch]``, with ``k`` below the number of configurations.

        Returns:
            The positions, ascending, and the log probability of all the others together.
        """
        # The first draw is from the one segment there is.
        edge = torch.zeros_like(uniform[:1, 0], dtype=torch.long)
        chosen = self.draw(edge[0], edge[0] + self.configurations, uniform[0, 1])[None]
        for which, where in uniform[1:]:
            start, end = self._segments(chosen)
            share = torch.softmax(self.mass(start, end), 0).cumsum(0)
            # Divided by its end, the sum is 1 from the last segment with any mass on: no empty one is ever chosen.
            segment = (which >= share / share[-1]).sum(0, keepdim=True)
            drawn = self.draw(start.gather(0, segment)[0], end.gather(0, segment)[0], where)
            chosen = torch.cat((chosen, drawn[None])).sort(0).values
        return chosen, self.mass(*self._segments(chosen)).logsumexp(0)

    def _segments(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        edge = chosen.new_zeros((1, *chosen.shape[1:]))
        return torch.cat((edge, chosen + 1)), torch.cat((chosen, edge + self.configurations))


def _joint_log_probs(problem: Problem) -> Float[Tensor, "..."]:
    """Return the log probability of each configuration, ``[*batch, configurations]``, the last layer fastest."""
    batch = problem.batch_shape
    joint = torch.zeros(*batch, 1, 1, dtype=torch.float64, device=problem.device)
    previous = None
    for number, layer in enumerate(problem.layers):
        logits = problem.logits(number, previous).double().expand(joint.shape[-1], *batch, *layer.shape)
        if isinstance(layer, BernoulliLayer):
            single = torch.stack((functional.logsigmoid(-logits), functional.logsigmoid(logits)), -1)
        else:
            single = torch.log_softmax(logits, -1)
        together, *others = single.unbind(-2)
        for variable in others:
            together = (together.unsqueeze(-1) + variable.unsqueeze(-2)).flatten(-2)
        # [*batch, all earlier layers but the last, the last one] + [*batch, 1, the last one, this one]
        joint = (joint[..., None] + together.movedim(0, -2).unsqueeze(-3)).flatten(-3, -2)
        index = torch.arange(layer.arity**layer.size, device=problem.device).reshape(-1, *(1,) * len(batch))
        previous = _decode(layer, index.expand(-1, *batch), problem.dtype)
    return joint.flatten(-2)


def _decode(layer: Layer, index: Int[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    places = layer.arity ** torch.arange(layer.size, device=index.device).flip(0)
    digits = index[..., None] // places % layer.arity
    return digits.to(dtype) if isinstance(layer, BernoulliLayer) else functional.one_hot(digits, layer.arity).to(dtype)


def _take(table: Tensor, index: Tensor) -> Tensor:
    if table.ndim == 1:
        # The usual case of no batch, in a third of the time.
        return table.take(index)
    return table.expand(*index.shape, table.shape[-1]).gather(-1, index[..., None])[..., 0]
