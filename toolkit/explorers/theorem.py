"""The paper's inequality on many random networks at once, by enumeration."""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import require
from toolkit.estimators import Layered, exact_variance

VISIBLE, UNITS = 5, 3
_LADDER = ("ram", "lr_siblings", "lr_parents", "lr_constant")


@dataclass(frozen=True)
class Theorem:
    """What 150 networks say of the inequality.

    Attributes:
        models: how many networks.
        inequalities: how many were looked at: for each unit RAM against the best baseline that knows siblings and
            parents, that against the best that knows the parents, and that against the best constant.
        violated: how many of them do not hold.
        equal_in_last_layer: in how many networks the best baseline attains RAM in every unit of the last layer.
        first_layer_units: units with others behind them.
        common_better: of those, in how many common noise gives less variance than fresh noise.
        median_ratio: in those units, the middle ratio of the best baseline's variance to RAM's.
    """

    models: int
    inequalities: int
    violated: int
    equal_in_last_layer: int
    first_layer_units: int
    common_better: int
    median_ratio: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def random_networks(n_models: int = 150, seed: int = 0) -> Layered:
    """Make sigmoid belief networks of 5 visible units and two layers of 3, with random weights, as one batch.

    Args:
        n_models: how many.
        seed: of weights and inputs.

    Returns:
        The expected lower bound of each network for one input, ``batch_shape`` ``(n_models,)``.

    Raises:
        ValueError: no network.
    """
    require(n_models >= 1, "random_networks", "n_models", ">= 1", n_models)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(n_models, *shape, generator=generator, dtype=torch.float64)

    def layer(below: int, above: int) -> tuple[Tensor, Tensor]:
        return draw(below, above, scale=1.5), draw(above, scale=0.5)

    infer_first, infer_second = layer(VISIBLE, UNITS), layer(UNITS, UNITS)
    make_visible, make_first, prior = layer(UNITS, VISIBLE), layer(UNITS, UNITS), draw(UNITS, scale=0.5)
    x = (torch.rand(n_models, VISIBLE, generator=generator) < 0.5).double()
    logits = _affine(x, *infer_first)

    def bound(y: Tensor, z: Tensor) -> Tensor:
        model = _log_prob(x, _affine(y, *make_visible)) + _log_prob(y, _affine(z, *make_first)) + _log_prob(z, prior)
        return model - _log_prob(y, logits) - _log_prob(z, _affine(y, *infer_second))

    return Layered(logits, [lambda y: _affine(y, *infer_second)], bound)


def on_random_networks(n_models: int = 150, seed: int = 0) -> Theorem:
    """Compare exact variances, unit by unit; arguments as for :func:`random_networks`."""
    problem = random_networks(n_models, seed)
    found = {name: exact_variance(problem, name).variances for name in (*_LADDER, "ram_fresh")}
    inequalities = violated = 0
    for layer in range(2):
        for less, more in itertools.pairwise(_LADDER):
            small, large = found[less][layer], found[more][layer]
            inequalities += small.numel()
            # Equality holds in places; rounding must not decide there.
            violated += int((small > large * (1 + 1e-9) + 1e-12).sum())
    last = torch.isclose(found["ram"][1], found["lr_siblings"][1], rtol=1e-9, atol=1e-12).all(-1)
    common, fresh = found["ram"][0], found["ram_fresh"][0]
    ratios = found["lr_siblings"][0] / common
    return Theorem(
        models=n_models,
        inequalities=inequalities,
        violated=violated,
        equal_in_last_layer=int(last.sum()),
        first_layer_units=common.numel(),
        common_better=int((common < fresh).sum()),
        median_ratio=float(ratios.median()),
    )


def _affine(values: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    return torch.einsum("...bi,bij->...bj", values, weights) + biases


def _log_prob(values: Tensor, logits: Tensor) -> Tensor:
    return functional.logsigmoid(torch.where(values > 0.5, logits, -logits)).sum(-1)
