"""How much an estimator varies in a sigmoid belief network: the variance of the inference network's gradient."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.estimators.estimator import Estimator, GradientSamples
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound

_MOST_NUMBERS = 4_000_000


@dataclass(frozen=True)
class GradientVariance:
    """The variance of the inference network's gradient, that of a batch's mean bound, averaged over parameters.

    Attributes:
        mean: over all parameters of the inference network.
        standard_error: of ``mean``, from the spread of the repeats' squared distances from their mean.
        layers: for each latent layer the mean over the parameters of its conditional.
        layer_errors: their standard errors.
        repeats: how many gradients it is from.
        evaluations: of the cost, counted, for one gradient and example.
    """

    mean: float
    standard_error: float
    layers: tuple[float, ...]
    layer_errors: tuple[float, ...]
    repeats: int
    evaluations: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def gradient_variance(
    model: SigmoidBeliefNetwork,
    estimator: Estimator,
    batches: Float[Tensor, "repeats batch pixels"],
    generator: torch.Generator,
    *,
    entropy: str = "analytic",
    n_samples: int = 1,
) -> GradientVariance:
    """Measure the variance of a gradient over repeats.

    Args:
        model: at its present parameters, which stay as they are.
        estimator: reads its baseline if it has one; nothing is learnt.
        batches: the images of each repeat. The same ones in all (``batch.expand(repeats, -1, -1)``) give the variance
            that the estimator itself adds; fresh minibatches give that of training, the data's share included.
        generator: source of the estimator's noise.
        entropy: as for :class:`~toolkit.estimators.sigmoid_belief.SigmoidBeliefBound`.
        n_samples: samples averaged in one gradient.

    Returns:
        The variance with its standard error.

    Raises:
        ValueError: fewer than two repeats, or no images.
    """
    repeats, size, pixels = batches.shape
    require(repeats >= 2 and size >= 1, "gradient_variance", "batches", "2 or more batches of images", (repeats, size))
    single = SigmoidBeliefBound(model, batches[0], entropy=entropy)
    # Several repeats at once, as one large batch: examples do not mix in an estimate.
    numbers = size * n_samples * estimator.expected_evaluations(single) * max(model.sizes)
    block = max(1, int(_MOST_NUMBERS // numbers))
    rows: list[tuple[Tensor, ...]] = []
    evaluations = 0.0
    for start in range(0, repeats, block):
        images = batches[start : start + block]
        problem = SigmoidBeliefBound(model, images.reshape(-1, pixels), entropy=entropy)
        samples = estimator(problem, n_samples, generator)
        evaluations += samples.evaluations * n_samples * len(images)
        rows += [_gradient(model, samples, images[number], number) for number in range(len(images))]
    distances = [_squared_distances(layer) for layer in zip(*rows, strict=True)]
    counts = [len(layer) for layer in rows[0]]
    overall = torch.stack([d * count for d, count in zip(distances, counts, strict=True)]).sum(0) / sum(counts)
    return GradientVariance(
        mean=float(overall.mean()),
        standard_error=_standard_error(overall),
        layers=tuple(float(distance.mean()) for distance in distances),
        layer_errors=tuple(_standard_error(distance) for distance in distances),
        repeats=repeats,
        evaluations=evaluations / repeats,
    )


def _gradient(model: SigmoidBeliefNetwork, samples: GradientSamples, images: Tensor, number: int) -> tuple[Tensor, ...]:
    """Return for each layer the flat gradient of one repeat's batch, the ``number``-th in ``samples``."""
    part = slice(number * len(images), (number + 1) * len(images))
    found = []
    for layer, contributions in enumerate(samples.parts.contributions):
        weight = contributions[:, :, part] / (len(images) * samples.n_samples)
        with torch.enable_grad():
            if layer == 0:
                logits, weight = model.inference_logits(0, images), weight.sum((0, 1))
            else:
                logits = model.inference_logits(layer, samples.parts.values[layer - 1][:, :, part])
            gradients = torch.autograd.grad(logits, list(model.inference[layer].parameters()), weight)
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return tuple(found)


def _squared_distances(rows: Sequence[Float[Tensor, " parameters"]]) -> Float[Tensor, " repeats"]:
    """Return numbers whose mean is the unbiased variance, averaged over the parameters."""
    # Row by row: all of them together may be a gigabyte, of which no copy is needed.
    mean = functools.reduce(torch.add, rows) / len(rows)
    squares = torch.stack([(row - mean).square().mean() for row in rows])
    return squares.double() * (len(rows) / (len(rows) - 1))


def _standard_error(distances: Float[Tensor, " repeats"]) -> float:
    return float(distances.std()) / len(distances) ** 0.5


def fixed_and_total(
    model: SigmoidBeliefNetwork,
    estimator: Estimator,
    fixed: Float[Tensor, "batch pixels"],
    fresh: Float[Tensor, "repeats batch pixels"],
    generator: torch.Generator,
    *,
    entropy: str = "analytic",
    n_samples: int = 1,
) -> dict[str, GradientVariance]:
    """Measure both variances: ``"fixed"`` on one batch, ``"total"`` over fresh ones; arguments as for one of them."""
    same = fixed.expand(len(fresh), *fixed.shape)
    return {
        name: gradient_variance(model, estimator, batches, generator, entropy=entropy, n_samples=n_samples)
        for name, batches in (("fixed", same), ("total", fresh))
    }


def as_metrics(variances: dict[str, GradientVariance]) -> dict[str, float]:
    """Return the numbers of :func:`fixed_and_total` by names for a history, ``"fixed variance/layer 1"`` and so on."""
    metrics = {"evaluations a gradient": variances["fixed"].evaluations}
    for kind, found in variances.items():
        metrics[f"{kind} variance"] = found.mean
        metrics[f"{kind} variance/standard error"] = found.standard_error
        for layer, (mean, error) in enumerate(zip(found.layers, found.layer_errors, strict=True), 1):
            metrics[f"{kind} variance/layer {layer}"] = mean
            metrics[f"{kind} variance/layer {layer}/standard error"] = error
    return metrics
