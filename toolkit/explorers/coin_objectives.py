"""Expected costs of one to twelve coin flips, small enough that enumeration knows every gradient."""

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.estimators.chains import Factorized

BITS = (1, 2, 6, 12)
"""How many coins there may be."""
TARGET = 0.45
"""Where the cost of one coin is lowest; the best of the two values is the nearer one."""


@functools.cache
def _couplings(n_bits: int) -> tuple[Tensor, Tensor]:
    d = torch.arange(1, n_bits + 1, dtype=torch.float64)
    return torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)


def coupled_cost(values: Float[Tensor, "*leading n"]) -> Float[Tensor, "*leading"]:
    """Return ``(Σ_d sin(1.3 d) b_d − 0.3)² + ½ Σ_j tanh(Σ_d b_d sin(1.1 d + 0.7 j))``, d and j from 1 to n.

    No bit acts alone: what a flip changes depends on the other bits. On a cost that is a sum over the bits several
    estimators have no variance at all, so it could not tell them apart.
    """
    linear, mixing = (part.to(values) for part in _couplings(values.shape[-1]))
    return (values @ linear - 0.3) ** 2 + 0.5 * torch.tanh(values @ mixing).sum(-1)


def one_coin_cost(t: float | Tensor = TARGET) -> Callable[[Tensor], Tensor]:
    """Return the cost ``(b − t)²`` of one bit, as a function of values ``[…, 1]``; ``t`` may hold a batch's targets."""
    return lambda values: (values[..., 0] - t) ** 2


def coin_problem(n_bits: int = 12, offset: float = 0.0, t: float = TARGET) -> Factorized:
    """Make the expected cost of independent coins, in double precision.

    Args:
        n_bits: 1, with the cost ``(b − t)²`` and the logit ``offset``; or more, with :func:`coupled_cost` and the
            logits ``cos(0.9 d) + offset``, d from 1.
        offset: added to every logit.
        t: of the one coin.

    Raises:
        ValueError: no coin, or more than sixteen.
    """
    require(1 <= n_bits <= 16, "coin_problem", "n_bits", "1 to 16", n_bits)
    if n_bits == 1:
        return Factorized(torch.tensor([float(offset)], dtype=torch.float64), one_coin_cost(t))
    return Factorized(torch.cos(0.9 * torch.arange(1, n_bits + 1, dtype=torch.float64)) + offset, coupled_cost)


def named(n_bits: int) -> str:
    """Return what a problem is called: ``"1 coin"``, ``"12 coupled coins"``."""
    return "1 coin" if n_bits == 1 else f"{n_bits} coupled coins"
