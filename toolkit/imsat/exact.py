"""The truth behind the training losses: all codes, all mini-batches, and the Fisher information, by enumeration.

Yard-sticks for small cases, and the codes on which information up to pairs of bits goes wrong. float64 is advised.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.errors import reject, require
from toolkit.imsat.hash_losses import bit_entropies, check_logits, entropy_terms

MOST_BITS = 16
MOST_BATCHES = 2**20

_SURE = 1000.0
"""A logit whose probability is exactly 0 or 1, in float32 and in float64."""

_CHUNK = 2**22
"""Most numbers in a table at once."""


def code_distribution(logits: Float[Tensor, "batch bits"]) -> Float[Tensor, " codes"]:
    """Return how probable each code is, over all points: ``(1/n) Σ_i Π_d p(y_d | x_i)``.

    One matrix product of two tables: the codes of the first half of the bits at each point, and those of the others.

    Args:
        logits: of at most 16 bits, one row a point.

    Returns:
        ``2**bits`` probabilities. The first bit changes slowest: code 0 is 0…00, code 1 is 0…01.

    Raises:
        ValueError: no points, no bits or too many, another number of axes, neither float32 nor float64.
        TypeError: no tensor.
    """
    _check_bits(logits, "code_distribution")
    half = logits.shape[1] // 2
    rows = max(1, _CHUNK >> (logits.shape[1] - half))
    parts = [_half_codes(chunk[:, :half]).mT @ _half_codes(chunk[:, half:]) for chunk in logits.split(rows)]
    return sum(parts[1:], parts[0]).flatten() / len(logits)


def exact_hash_information(logits: Float[Tensor, "batch bits"]) -> Float[Tensor, ""]:
    """Return I(Y_1, …, Y_D; X), which :func:`~toolkit.imsat.hash_losses.hash_information` approximates.

    ``H(Y_1, …, Y_D)`` over all codes, less the mean over the points of the sum of their bits' entropies.

    Args:
        logits: of at most 16 bits, one row a point.

    Returns:
        A number from 0 to D log 2 (and to log n), up to rounding.

    Raises:
        ValueError, TypeError: as :func:`code_distribution`.
    """
    _check_bits(logits, "exact_hash_information")
    return entropy_terms(code_distribution(logits)).sum() - bit_entropies(logits).sum(1).mean()


def duplicated_bits(
    n_bits: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | int | None = None
) -> Float[Tensor, "batch bits"]:
    """Return logits of two points, one with all bits 0, one with all bits 1.

    However many bits, they tell log 2. Pair by pair, with c the weight of a pair, they count ``D − c D (D − 1) / 2``
    times log 2: right for c = 1 and one or two bits, too small for more.

    Args:
        n_bits: how many say the same, at least 1.
        dtype: of the logits.
        device: where they go; ``None`` is the best there is.

    Returns:
        Logits of certain bits.

    Raises:
        ValueError: no bits.
    """
    require(n_bits >= 1, "duplicated_bits", "n_bits", ">= 1", n_bits)
    sure = torch.full((1, n_bits), _SURE, dtype=dtype, device=resolve_device(device))
    return torch.cat((-sure, sure))


def xor_bits(
    *, dtype: torch.dtype = torch.float64, device: torch.device | str | int | None = None
) -> Float[Tensor, "batch bits"]:
    """Return logits of four points with two fair bits and, third, their XOR.

    Any two of the bits are independent, so pair by pair the three seem to tell 3 log 2; together they tell 2 log 2.

    Args:
        dtype: of the logits.
        device: where they go; ``None`` is the best there is.

    Returns:
        Logits of certain bits.
    """
    codes = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=dtype, device=resolve_device(device))
    return _SURE * (2 * codes - 1)


def expected_minibatch_information(
    logits: Float[Tensor, "points clusters"], batch_size: int, *, replacement: bool = False
) -> Float[Tensor, ""]:
    """Return the mean over all mini-batches of the mutual information within the batch, which training sees.

    It is below the information over all points: entropy is concave, so ``E[H(p̄_batch)] <= H(E p̄_batch)``.

    Args:
        logits: of one variable of K values, one row a point.
        batch_size: points in a batch.
        replacement: whether a point may come up more than once; as in training it may not, by default.

    Returns:
        Nats. For a batch of all the points, without replacement, their mutual information; for one point 0.

    Raises:
        ValueError: no points, no batch or one larger than the points allow, more than 2**20 batches, another number of
            axes, neither float32 nor float64.
        TypeError: no tensor.
    """
    operation = "expected_minibatch_information"
    check_logits(logits, operation)
    points = len(logits)
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    require(replacement or batch_size <= points, operation, "batch_size", f"<= {points} points", batch_size)
    total = math.comb(points + batch_size - 1, batch_size) if replacement else math.comb(points, batch_size)
    expected = f"at most 2**20 = {MOST_BATCHES:,} batches to enumerate"
    require(total <= MOST_BATCHES, operation, "batch_size", expected, f"about 10^{math.log10(total):.1f}")
    probabilities = logits.softmax(1)
    found = logits.new_zeros(())
    for members in _batches(points, batch_size, replacement, logits.device):
        counts = probabilities.new_zeros(len(members), points)
        counts.scatter_add_(1, members, torch.ones_like(members, dtype=counts.dtype))
        if replacement:
            log_orders = math.lgamma(batch_size + 1) - torch.lgamma(counts + 1).sum(1)
            weights = (log_orders - batch_size * math.log(points)).exp()
        else:
            weights = torch.full_like(counts[:, 0], 1 / total)
        found = found + weights @ entropy_terms(counts @ probabilities / batch_size).sum(1)
    return found - entropy_terms(probabilities).sum(1).mean()


def expected_batch_entropy(shares: Float[Tensor, " clusters"], batch_size: int) -> Float[Tensor, ""]:
    """Return the mean entropy of the cluster shares in a batch, for certain predictions of independent points.

    A cluster's count is binomial, so no batch need be enumerated. The mean is about (K − 1)/2n nats below the entropy
    of the shares themselves.

    Args:
        shares: of the clusters in all data, at least 0; divided by their sum here.
        batch_size: n, at least 1.

    Returns:
        Nats.

    Raises:
        ValueError: shares that are negative, not finite, or all zero; no batch.
    """
    require(batch_size >= 1, "expected_batch_entropy", "batch_size", ">= 1", batch_size)
    fine = bool((shares >= 0).all() and shares.isfinite().all() and shares.sum() > 0)
    require(fine, "expected_batch_entropy", "shares", "finite shares >= 0, not all 0", shares.tolist())
    # In float64 whatever the shares: the factorials of a batch of 250 are about e^1000.
    p = (shares.double() / shares.double().sum())[:, None]
    counts = torch.arange(batch_size + 1, device=shares.device, dtype=torch.float64)
    others = batch_size - counts
    log_orders = math.lgamma(batch_size + 1) - torch.lgamma(counts + 1) - torch.lgamma(others + 1)
    log_binomial = log_orders + torch.xlogy(counts, p) + torch.special.xlog1py(others, -p)
    return (log_binomial.exp() * entropy_terms(counts / batch_size)).sum().to(shares)


@torch.no_grad()
def fisher_information(
    network_function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch *features"]
) -> Float[Tensor, "batch inputs inputs"]:
    """Return F = Jᵀ (diag p − p pᵀ) J of each point: ``KL(p(x) ‖ p(x + r)) ≈ rᵀ F r / 2`` for small r.

    Args:
        network_function: from points to the logits of one variable of K values. Points must not know of each other:
            normalisation by batch statistics has no information of a single point.
        x: the points, of any shape; ``inputs`` is the number of their features.

    Returns:
        A symmetric matrix a point, without a gradient.

    Raises:
        ValueError: the function returns something other than one row of logits a point.
    """
    root = _fisher_root(network_function, x, "fisher_information")
    return root.mT @ root


@torch.no_grad()
def fisher_direction(
    network_function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch *features"]
) -> Float[Tensor, "batch *features"]:
    """Return the unit vector in which a small step changes each point's prediction most.

    That is F's first eigenvector, found without forming F; its largest entry is positive, for a sign there is none.

    Args:
        network_function, x: as for :func:`fisher_information`.

    Returns:
        Like ``x``; zeros where F is 0: a constant function, or a prediction so certain that nothing moves it.

    Raises:
        ValueError: as :func:`fisher_information`.
    """
    root = _fisher_root(network_function, x, "fisher_direction")
    if 0 in root.shape:
        return torch.zeros_like(x)
    scale = root.abs().amax((1, 2))
    right = torch.linalg.svd(root / torch.where(scale > 0, scale, 1)[:, None, None], full_matrices=False).Vh[:, 0]
    largest = right.gather(1, right.abs().argmax(1, keepdim=True))
    return torch.where(scale[:, None] > 0, right * largest.sign(), 0).reshape(x.shape)


def _check_bits(logits: Tensor, operation: str) -> None:
    check_logits(logits, operation)
    expected = f"at most {MOST_BITS} bits, {2**MOST_BITS:,} codes"
    require(logits.shape[1] <= MOST_BITS, operation, "logits", expected, f"{logits.shape[1]} bits")


def _half_codes(logits: Float[Tensor, "batch bits"]) -> Float[Tensor, "batch codes"]:
    """Return the probability of each code of a few bits at each point."""
    codes = logits.new_ones(len(logits), 1)
    for bit in logits.unbind(1):
        values = torch.sigmoid(torch.stack((-bit, bit), 1))
        codes = (codes[:, :, None] * values[:, None]).flatten(1)
    return codes


def _batches(points: int, batch_size: int, replacement: bool, device: torch.device) -> Iterator[Tensor]:
    """Give the indices of the points in all batches, ``[batches, batch_size]``, a chunk at a time."""
    choose = itertools.combinations_with_replacement if replacement else itertools.combinations
    every, size = choose(range(points), batch_size), max(1, _CHUNK // max(points, batch_size))
    while chunk := list(itertools.islice(every, size)):
        yield torch.tensor(chunk, device=device)


def _fisher_root(
    network_function: Callable[[Tensor], Tensor], x: Float[Tensor, "batch *features"], operation: str
) -> Float[Tensor, "batch clusters inputs"]:
    """Return A with AᵀA = F: rows √p_k (J_k − Σ_j p_j J_j), whose smallest p_k still count."""

    def logits_of(point: Tensor) -> tuple[Tensor, Tensor]:
        logits = network_function(point[None])
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != 1:
            actual = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            reject(operation, "network_function", "shape (1, clusters) for one point", actual)
        return logits[0], logits[0]

    if len(x) == 0:
        return x.new_zeros(0, 1, math.prod(x.shape[1:]))
    jacobian, logits = torch.func.vmap(torch.func.jacrev(logits_of, has_aux=True))(x.detach())
    jacobian = jacobian.flatten(2) if jacobian.ndim > 2 else jacobian[..., None]
    log_probabilities = logits.log_softmax(1)
    mean = log_probabilities.exp()[:, None] @ jacobian
    return (log_probabilities / 2).exp()[..., None] * (jacobian - mean)
