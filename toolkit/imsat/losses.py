"""What a clustering network is trained on: entropies, mutual information and the price of a changed prediction.

One variable of K values; natural logarithms, so everything is in nats. The batch stands for the data: its mean
prediction is the marginal, and gradients flow through it. The same quantities for D bits are in ``hash_losses``.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require


def marginal_entropy(logits: Float[Tensor, "batch clusters"]) -> Float[Tensor, ""]:
    """Return H(Y), the entropy of the mean prediction ``p̄ = (1/n) Σ_i p_i``.

    The mean over a batch is not that over all data: ``E[H(p̄_batch)] ≤ H(E p̄_batch)``, for confident predictions by
    about (K − 1)/2n nats. Batches should be much larger than the number of clusters.

    Args:
        logits: of the predictions, one row a point.

    Returns:
        A number from 0 to log K.

    Raises:
        ValueError: no points or no clusters, another number of axes, no floating-point numbers.
        TypeError: no tensor.
    """
    log_marginal = _log_marginal(logits, "marginal_entropy")
    return -_expectation(log_marginal, log_marginal)


def conditional_entropy(logits: Float[Tensor, "batch clusters"]) -> Float[Tensor, ""]:
    """Return H(Y|X), the mean entropy of the predictions: 0 if all are certain, log K if none knows anything.

    Args:
        logits: of the predictions, one row a point.

    Returns:
        A number from 0 to log K.

    Raises:
        ValueError: no points or no clusters, another number of axes, no floating-point numbers.
        TypeError: no tensor.
    """
    _check(logits, "conditional_entropy")
    log_probabilities = logits.log_softmax(1)
    return -_expectation(log_probabilities, log_probabilities).mean()


def mutual_information(logits: Float[Tensor, "batch clusters"]) -> Float[Tensor, ""]:
    """Return I(X;Y) = H(Y) − H(Y|X) between the points and their cluster.

    Source: Gomes, Krause and Perona (2010), "Discriminative clustering by regularized information maximization".

    Args:
        logits: of the predictions, one row a point.

    Returns:
        A number from 0 to log K.

    Raises:
        ValueError: no points or no clusters, another number of axes, no floating-point numbers.
        TypeError: no tensor.
    """
    return marginal_entropy(logits) - conditional_entropy(logits)


def marginal_divergence(
    logits: Float[Tensor, "batch clusters"], prior: Float[Tensor, " clusters"] | None = None
) -> Float[Tensor, ""]:
    """Return KL(p̄ ‖ q) of the mean prediction from the cluster sizes that one expects.

    Args:
        logits: of the predictions, one row a point.
        prior: q, the expected shares or sizes of the clusters, divided by their sum here; default: all alike. A
            cluster of size 0 may get nothing: the divergence is infinite otherwise.

    Returns:
        A number of at least 0; for equal sizes ``log K − H(Y)``.

    Raises:
        ValueError: as :func:`marginal_entropy`, or a prior that is negative, not finite, all zero or of another shape.
        TypeError: no tensors.
    """
    log_marginal = _log_marginal(logits, "marginal_divergence")
    if prior is None:
        return math.log(logits.shape[1]) + _expectation(log_marginal, log_marginal)
    if not isinstance(prior, Tensor):
        reject("marginal_divergence", "prior", "a tensor or None", type(prior).__name__, kind=TypeError)
    shape = (logits.shape[1],)
    require(prior.shape == shape, "marginal_divergence", "prior", f"shape {shape}", tuple(prior.shape))
    fine = bool((prior >= 0).all() and prior.isfinite().all() and prior.sum() > 0)
    require(fine, "marginal_divergence", "prior", "finite shares >= 0, not all 0", prior.tolist())
    log_prior = (prior / prior.sum()).to(logits).log()
    return _expectation(log_marginal, log_marginal - log_prior)


def divergence(
    clean_logits: Float[Tensor, "batch clusters"], perturbed_logits: Float[Tensor, "batch clusters"]
) -> Float[Tensor, " batch"]:
    """Return KL(p ‖ p′) from each point's prediction to that at its perturbed place.

    With the clean prediction as a constant it has the gradient of the cross entropy, and a floor of 0.

    Args:
        clean_logits: of the points.
        perturbed_logits: of the same points, perturbed.

    Returns:
        A number of at least 0 for each point.

    Raises:
        ValueError: no matrices of floating-point numbers, or of two shapes.
        TypeError: no tensors.
    """
    _check(clean_logits, "divergence", "clean_logits", least_points=0)
    _check(perturbed_logits, "divergence", "perturbed_logits", least_points=0)
    expected, actual = tuple(clean_logits.shape), tuple(perturbed_logits.shape)
    require(expected == actual, "divergence", "perturbed_logits", f"as clean_logits: {expected}", actual)
    log_clean = clean_logits.log_softmax(1)
    return _expectation(log_clean, log_clean - perturbed_logits.log_softmax(1))


def _log_marginal(logits: Float[Tensor, "batch clusters"], operation: str) -> Float[Tensor, " clusters"]:
    _check(logits, operation)
    # Not −∞: a cluster that is impossible at every point would have a NaN for a gradient.
    log_probabilities = logits.log_softmax(1).clamp(min=torch.finfo(logits.dtype).min)
    return log_probabilities.logsumexp(0) - math.log(len(logits))


def _expectation(
    log_probabilities: Float[Tensor, "*batch clusters"], values: Float[Tensor, "*batch clusters"]
) -> Float[Tensor, "*batch"]:
    """Return ``Σ_k p_k v_k``, to which a cluster of probability 0 adds nothing, be its value infinite."""
    probabilities = log_probabilities.exp()
    return (probabilities * torch.where(probabilities == 0, 0, values)).sum(-1)


def _check(logits: Tensor, operation: str, argument: str = "logits", *, least_points: int = 1) -> None:
    if not isinstance(logits, Tensor):
        reject(operation, argument, "a tensor", type(logits).__name__, kind=TypeError)
    require(logits.is_floating_point(), operation, argument, "floating-point numbers", logits.dtype)
    right = logits.ndim == 2 and logits.shape[0] >= least_points and logits.shape[1] >= 1
    expected = f"shape (points >= {least_points}, clusters >= 1)"
    require(right, operation, argument, expected, tuple(logits.shape))
