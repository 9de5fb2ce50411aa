"""How good a sigmoid belief network is: bounds on the log likelihood of images by sampling, and the truth if small."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.estimators.models import SigmoidBeliefNetwork, bernoulli_log_prob, softplus
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound


@dataclass(frozen=True, repr=False, eq=False)
class BoundEstimate:
    """An estimated lower bound on the log likelihood of each image.

    Attributes:
        values: nats, ``[*batch]``.
        standard_error: of each value, from the spread of its samples; NaN for a single sample. Of an importance-
            weighted bound it is that of the logarithm to first order, to be trusted if ``effective_samples`` is not
            small; it says nothing about how far the bound is below the log likelihood.
        effective_samples: ``(Σ w)² / Σ w²`` of the importance weights, between 1 and ``n_samples``, ``[*batch]``;
            ``None`` for a bound without weights.
        n_samples: draws of the latent variables for each image.
    """

    values: Float[Tensor, "*batch"]
    standard_error: Float[Tensor, "*batch"]
    effective_samples: Float[Tensor, "*batch"] | None
    n_samples: int

    @property
    def mean(self) -> float:
        """The mean over the images."""
        return self.values.mean().item()

    @property
    def mean_standard_error(self) -> float:
        """Standard error of :attr:`mean` as far as the samples of the latent variables go: these images, no others."""
        return (self.standard_error.square().sum().sqrt() / self.standard_error.numel()).item()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, and the mean with its standard error."""
        return {
            "values": self.values.tolist(),
            "standard_error": self.standard_error.tolist(),
            "effective_samples": None if self.effective_samples is None else self.effective_samples.tolist(),
            "n_samples": self.n_samples,
            "mean": self.mean,
            "mean_standard_error": self.mean_standard_error,
        }

    def __repr__(self) -> str:
        spread = f"{self.mean:.3f} ± {self.mean_standard_error:.2g} nats"
        return f"BoundEstimate({spread}, {self.values.numel()} images, {self.n_samples} samples each)"


@torch.no_grad()
def importance_weighted_bound(
    model: SigmoidBeliefNetwork,
    x: Tensor,
    n_samples: int = 50,
    generator: torch.Generator | None = None,
    *,
    chunk: int | None = None,
) -> BoundEstimate:
    """Estimate ``log (1/K) Σ_k p(x, z_k) / q(z_k | x)`` with ``K`` draws from the inference network.

    Its expectation grows with ``K`` from the evidence lower bound to the log likelihood (Burda, Grosse and
    Salakhutdinov, arXiv 1509.00519). The sum is kept up as the draws come, so any ``K`` takes the same memory.

    Args:
        model: generative and inference network.
        x: images ``[*batch, pixels]`` in [0, 1], on the model's device; binary, for a likelihood of images.
        n_samples: ``K``.
        generator: source of the draws; ``None`` makes a new one on the model's device.
        chunk: most pairs of an image and a draw computed at once; default: 2,048 on a CPU, 65,536 elsewhere.

    Returns:
        The bound of each image.

    Raises:
        ValueError, TypeError: as :class:`~toolkit.estimators.sigmoid_belief.SigmoidBeliefBound`; fewer than 1 sample.
    """
    return _estimate("importance_weighted_bound", model, x, n_samples, generator, chunk, "sampled", _log_mean_exp)


@torch.no_grad()
def evidence_lower_bound(
    model: SigmoidBeliefNetwork,
    x: Tensor,
    n_samples: int = 1,
    generator: torch.Generator | None = None,
    *,
    entropy: str = "analytic",
    chunk: int | None = None,
) -> BoundEstimate:
    """Estimate ``E_q[ log p(x, z) − log q(z | x) ]`` by the mean of draws from the inference network.

    Args:
        model, x, generator, chunk: as for :func:`importance_weighted_bound`.
        n_samples: draws for each image.
        entropy: ``"analytic"`` or ``"sampled"``, as :class:`~toolkit.estimators.sigmoid_belief.SigmoidBeliefBound`
            says; the expectation is the same.

    Returns:
        The bound of each image.

    Raises:
        ValueError, TypeError: as :func:`importance_weighted_bound`; an unknown entropy.
    """
    return _estimate("evidence_lower_bound", model, x, n_samples, generator, chunk, entropy, _mean)


@torch.no_grad()
def exact_log_likelihood(model: SigmoidBeliefNetwork, x: Tensor) -> Float[Tensor, "..."]:
    """Compute ``log p(x)`` by summing over all the latent variables, one layer after the other from the top.

    Args:
        model: neighbouring latent layers have at most 2**20 pairs of configurations, and each at most 2**16; so ten
            variables in every layer are possible at any depth.
        x: images ``[*batch, pixels]`` in [0, 1]; grey ones as
            :func:`~toolkit.estimators.models.bernoulli_log_prob` says.

    Returns:
        Nats, ``[*batch]``.

    Raises:
        ValueError: too many configurations, or images that do not fit the model.
        TypeError: arguments of another kind.
    """
    problem = SigmoidBeliefBound(model, x)
    latent = model.sizes[1:]
    pairs = max(n + m for n, m in zip(latent, (*latent[1:], 0), strict=True))
    expected = "latent layers of at most 16 variables, neighbours of at most 20 together"
    require(max(latent) <= 16 and pairs <= 20, "exact_log_likelihood", "model", expected, latent)
    above = problem.layers[-1].all_values(problem.dtype, problem.device)
    log_probabilities = bernoulli_log_prob(above, model.prior_logits)
    for layer in range(model.depth - 1, 0, -1):
        below = problem.layers[layer - 1].all_values(problem.dtype, problem.device)
        log_probabilities = _marginal(below, model.generative_logits(layer, above), log_probabilities)
        above = below
    logits = model.generative_logits(0, above)
    images = problem.x.reshape(-1, model.sizes[0])
    # Blocks of images: 2**22 numbers are 32 MB in double precision.
    blocks = images.split(max(2**22 // len(above), 1))
    found = torch.cat([_marginal(block, logits, log_probabilities) for block in blocks])
    return found.reshape(problem.batch_shape)


def _marginal(
    values: Float[Tensor, "rows size"], logits: Float[Tensor, "above size"], log_prior: Float[Tensor, " above"]
) -> Float[Tensor, " rows"]:
    """Return the log probability of values, summed over the configurations above that have these logits."""
    joint = values @ logits.T + (log_prior - softplus(logits).sum(-1))
    return torch.logsumexp(joint, -1)


def _estimate(
    operation: str,
    model: SigmoidBeliefNetwork,
    x: Tensor,
    n_samples: int,
    generator: torch.Generator | None,
    chunk: int | None,
    entropy: str,
    summarise: Callable[[Iterator[Tensor], int], tuple[Tensor, Tensor, Tensor | None]],
) -> BoundEstimate:
    for argument, number in (("n_samples", n_samples), ("chunk", chunk)):
        if number is None and argument == "chunk":
            continue
        if isinstance(number, bool) or not isinstance(number, int):
            reject(operation, argument, "a whole number", repr(number), kind=TypeError)
        require(number >= 1, operation, argument, ">= 1", number)
    problem = SigmoidBeliefBound(model, x, entropy=entropy)
    generator = resolve_generator(generator, device=problem.device)
    if chunk is None:
        chunk = 2**11 if problem.device.type == "cpu" else 2**16
    blocks = problem.x.reshape(-1, model.sizes[0]).split(chunk)
    found = [
        summarise(_gains(SigmoidBeliefBound(model, block, entropy=entropy), n_samples, generator, chunk), n_samples)
        for block in blocks
    ]
    shape = problem.batch_shape
    values, errors, effective = zip(*found, strict=True)
    return BoundEstimate(
        torch.cat(values).reshape(shape),
        torch.cat(errors).reshape(shape),
        None if effective[0] is None else torch.cat(effective).reshape(shape),
        n_samples,
    )


def _gains(
    problem: SigmoidBeliefBound, n_samples: int, generator: torch.Generator, chunk: int
) -> Iterator[Float[Tensor, "draws images"]]:
    """Yield ``log p(x, z) − log q(z | x)`` of fresh draws, as many at once as the chunk allows."""
    (images,) = problem.batch_shape
    at_once = max(chunk // max(images, 1), 1)
    for start in range(0, n_samples, at_once):
        draws = min(at_once, n_samples - start)
        values, logits = problem.sample(problem.draw_noise((draws,), generator))
        yield problem.signals(values, logits)[0]


def _log_mean_exp(gains: Iterator[Tensor], n_samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the log of the mean weight, its standard error to first order, and the effective number of samples."""
    largest = total = squares = None
    for gain in gains:
        peak = gain.amax(0)
        if largest is None or total is None or squares is None:
            largest, total, squares = peak, torch.zeros_like(peak), torch.zeros_like(peak)
        raised = torch.maximum(largest, peak)
        scale = (largest - raised).exp()
        weights = (gain - raised).exp()
        total = total * scale + weights.sum(0)
        squares = squares * scale**2 + weights.square().sum(0)
        largest = raised
    assert largest is not None and total is not None and squares is not None, "there is at least one sample"
    effective = total**2 / squares
    return largest + (total / n_samples).log(), _error((1 / effective - 1 / n_samples), n_samples), effective


def _mean(gains: Iterator[Tensor], n_samples: int) -> tuple[Tensor, Tensor, None]:
    """Return the mean and its standard error, by Chan's way of joining the moments of parts."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for gain in gains:
        new, apart = len(gain), gain.mean(0) - mean
        squares = squares + (gain - gain.mean(0)).square().sum(0) + apart**2 * (count * new / (count + new))
        mean = mean + apart * (new / (count + new))
        count += new
    return mean, _error(squares / n_samples**2, n_samples), None


def _error(mean_square: Tensor, n_samples: int) -> Tensor:
    """Return the standard error from the squared deviation of one sample over their number, without its bias."""
    if n_samples == 1:
        return torch.full_like(mean_square, math.nan)
    return (mean_square.clamp(min=0) * (n_samples / (n_samples - 1))).sqrt()
