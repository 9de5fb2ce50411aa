"""What changes when one bit of a layer is flipped under a linear map: the next logits move by one row of weights.

No matrix product is needed for such a step, and the log partition function of the moved logits takes no exponential or
logarithm of its own for each of them. Everything is computed in blocks that stay in a processor's cache.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.estimators.models import softplus

CACHED = 2**18
"""Numbers in a block on a CPU: one or two MB, which a core's own cache holds."""
LAUNCHED = 2**24
"""Numbers in a block on an accelerator: 64 MB of float32, enough that launching the work takes no time beside it."""


def blocks(
    shape: Sequence[int], width: int, device: torch.device, chunk: int | None = None
) -> Iterator[tuple[slice, slice]]:
    """Divide the pairs of a row and a flipped bit so that one tensor ``[rows, bits, width]`` of a block stays small.

    Args:
        shape: how many configurations there are, and how many bits each has.
        width: numbers for each pair.
        device: where the work is done.
        chunk: most bits in a block; default: as many as fit.

    Yields:
        Slices of the rows and of the bits.
    """
    rows, bits = shape
    budget = pairs_at_once(width, device)
    n_bits = max(min(bits, budget, bits if chunk is None else chunk), 1)
    n_rows = max(budget // n_bits, 1)
    for row in range(0, rows, n_rows):
        for bit in range(0, bits, n_bits):
            yield slice(row, min(row + n_rows, rows)), slice(bit, min(bit + n_bits, bits))


def pairs_at_once(width: int, device: torch.device) -> int:
    """Return how many pairs with ``width`` numbers each make a block, at least 1."""
    return max((CACHED if device.type == "cpu" else LAUNCHED) // max(width, 1), 1)


def directions(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return by how much each bit changes when it is flipped: 1 where it is 0, −1 where it is 1."""
    return 1 - 2 * values


def moved_logits(
    logits: Float[Tensor, "rows size"], weights: Float[Tensor, "bits size"], values: Float[Tensor, "rows bits"]
) -> Float[Tensor, "rows bits size"]:
    """Return the logits after each bit alone is flipped.

    Args:
        logits: before.
        weights: what each bit adds to the logits when it is 1.
        values: of the bits.
    """
    return torch.addcmul(logits[:, None], directions(values)[..., None], weights)


def softplus_changes(
    logits: Float[Tensor, "rows size"],
    weights: Float[Tensor, "bits size"],
    values: Float[Tensor, "rows bits"],
    chunk: int | None = None,
) -> Float[Tensor, "rows bits"]:
    """Return by how much ``sum(softplus(logits))`` changes when each bit alone is flipped.

    With ``p = sigmoid(a)``, ``softplus(a ± w) − softplus(a) = log((1 − p) + p exp(± w))``: the exponentials are those
    of the weights alone, and one logarithm serves a product of several such positive numbers. That is not only faster
    than a softplus for each moved logit but also nearer to the truth in single precision, since nothing cancels.

    Args:
        logits, weights, values: as for :func:`moved_logits`; the values must be 0 and 1.
        chunk: most bits in a block.
    """
    size = logits.shape[-1]
    bits = len(weights)
    changes = torch.empty_like(values)
    if not changes.numel():
        return changes
    # A product of 2**halvings numbers between exp(−largest) and exp(largest) must be a normal number.
    largest = float(weights.abs().max())
    room = 0.9 * math.log(torch.finfo(logits.dtype).max)
    if not largest <= room:
        before = softplus(logits).sum(-1, keepdim=True)
        for row, bit in blocks(changes.shape, size, logits.device, chunk):
            moved = moved_logits(logits[row], weights[bit], values[row, bit])
            changes[row, bit] = softplus(moved).sum(-1) - before[row]
        return changes
    halvings = min(4, int(math.log2(max(room / largest, 1))) if largest else 4, int(math.log2(size)))
    padding = (0, -size % 2**halvings)
    on = torch.nn.functional.pad(torch.sigmoid(logits), padding)
    off = torch.nn.functional.pad(torch.sigmoid(-logits), padding, value=1.0)
    factors = torch.nn.functional.pad(torch.cat((weights, -weights)), padding).exp_()
    chosen = torch.arange(bits, device=logits.device) + bits * (values > 0.5)
    for row, bit in blocks(changes.shape, factors.shape[1], logits.device, chunk):
        index = chosen[row, bit]
        ratios = factors.index_select(0, index.reshape(-1)).view(*index.shape, -1)
        ratios.mul_(on[row, None]).add_(off[row, None])
        for _ in range(halvings):
            half = ratios.shape[-1] // 2
            ratios = ratios[..., :half].mul_(ratios[..., half:])
        changes[row, bit] = ratios.log_().sum(-1)
    return changes
