"""The problems on which every estimator is held against enumeration; double precision, fixed numbers."""

import torch
from torch import Tensor

from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.problems import Problem


def waves(row: float, *shape: int, scale: float = 1.0) -> Tensor:
    """Return ``scale · sin(1.7 row + 2.3 n)`` for n = 1, 2, …: fixed numbers without a seed."""
    count = torch.arange(1, int(torch.tensor(shape).prod()) + 1, dtype=torch.float64)
    return scale * torch.sin(1.7 * row + 2.3 * count).reshape(shape)


def one_bit() -> Factorized:
    """One Bernoulli variable, a quadratic cost."""
    return Factorized(torch.tensor([0.8], dtype=torch.float64), lambda z: ((z - 0.45) ** 2).sum(-1))


def six_bits() -> Factorized:
    """Six Bernoulli variables in a cost that couples them all."""
    a, b = waves(1, 6), waves(2, 6, 6)
    return Factorized(waves(3, 6), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))


def bernoulli_chain() -> Layered:
    """Three layers of 3, 2 and 3 Bernoulli variables, two examples at once."""
    w1, w2 = waves(4, 3, 2, scale=1.5), waves(5, 2, 3, scale=1.5)
    a, b, c = waves(6, 3), waves(7, 2), waves(8, 3)

    def cost(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return (x @ a + y @ b - z @ c) ** 2 + torch.tanh(2 * (x * z).sum(-1) - y.sum(-1))

    return Layered(waves(9, 2, 3), [lambda x: x @ w1 - 0.4, lambda y: y @ w2 + 0.3], cost)


def categorical_chain() -> Layered:
    """Two layers of 2 and 3 variables with three and four values."""
    weights, a, b = waves(10, 2, 3, 3, 4, scale=1.2), waves(11, 2, 3), waves(12, 3, 4)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        first, second = (x * a).sum((-2, -1)), (y * b).sum((-2, -1))
        return (first + second) ** 2 + torch.tanh(3 * x[..., 0, 0] * y[..., 1, 2] - second)

    return Layered(
        waves(13, 2, 3), [lambda x: torch.einsum("...ik,iknm->...nm", x, weights)], cost, variables="categorical"
    )


def one_categorical() -> Factorized:
    """One variable with four values."""
    costs = torch.tensor([1.0, -0.5, 2.0, 0.3], dtype=torch.float64)
    return Factorized(
        waves(14, 1, 4), lambda z: (z[..., 0, :] @ costs) + 0.2 * (z[..., 0, :] @ costs) ** 2, variables="categorical"
    )


PROBLEMS: dict[str, Problem] = {
    "one bit": one_bit(),
    "six coupled bits": six_bits(),
    "three-layer chain": bernoulli_chain(),
    "categorical chain": categorical_chain(),
    "one categorical": one_categorical(),
}

PRINTED = {
    "lr": (40.1589, 56.1876),
    "lr_mean": (6.2296, 7.3906),
    "lr_constant": (4.8305, 7.3308),
    "lr_mean_given_parents": (6.2296, 2.6641),
    "lr_parents": (4.8305, 2.3225),
    "lr_siblings": (1.7892, 0.2442),
    "ram_fresh": (0.8283, 0.2442),
    "ram": (0.3855, 0.2442),
    "leg": (7.1573, 0.2442),
    "leg_constant": (0.8186, 0.2442),
}
"""Variances of the small belief network's two layers, rung by rung, to four decimals."""
