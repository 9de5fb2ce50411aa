"""What a hashing network is trained on: the information in D bits, as far as single bits and pairs of bits tell it.

The bits of one point are independent Bernoulli variables with probabilities ``s = sigmoid(logits)``; the batch stands
for the data, as in ``losses``. Natural logarithms: everything is in nats. ``exact`` counts all 2^D codes instead.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import reject, require
from toolkit.imsat.parameters import check_number


def bit_information(logits: Float[Tensor, "batch bits"]) -> Float[Tensor, " bits"]:
    """Return I(Y_d;X) = h(s̄_d) − mean_i h(s_id), what each bit alone tells of the point; h is the binary entropy.

    Args:
        logits: of the bits, one row a point.

    Returns:
        For each bit a number from 0 to log 2, up to rounding.

    Raises:
        ValueError: no points or no bits, another number of axes, neither float32 nor float64.
        TypeError: no tensor.
    """
    check_logits(logits, "bit_information")
    # Both means, as one minus the other would lose a marginal next to 0 or 1.
    marginal = entropy_terms(torch.sigmoid(logits).mean(0)) + entropy_terms(torch.sigmoid(-logits).mean(0))
    return marginal - bit_entropies(logits).mean(0)


def pairwise_information(logits: Float[Tensor, "batch bits"]) -> Float[Tensor, "bits bits"]:
    """Return I(Y_d;Y_d'), what each pair of bits has in common.

    ``Σ_{u,v} J_uv log(J_uv / (a_u b_v))`` with the joint distribution ``J_11 = mean_i s_id s_id'`` and so on. The four
    matrix products over all pairs are the quarters of one.

    Args:
        logits: of the bits, one row a point.

    Returns:
        A symmetric matrix of numbers from 0 to log 2, up to rounding; zeros on the diagonal. Hard bits have a gradient
        of zero.

    Raises:
        ValueError, TypeError: as :func:`bit_information`.
    """
    check_logits(logits, "pairwise_information")
    n_bits = logits.shape[1]
    values = torch.sigmoid(torch.cat((logits, -logits), 1))
    joint = values.mT @ values / len(values)
    log_marginal = _log_or_zero(values.mean(0))
    terms = joint * (_log_or_zero(joint) - log_marginal[:, None] - log_marginal)
    found = terms.view(2, n_bits, 2, n_bits).sum((0, 2))
    upper = found.triu(1)
    return upper + upper.mT


def hash_information(logits: Float[Tensor, "batch bits"], pair_weight: float = 1.0) -> Float[Tensor, ""]:
    """Return Σ_d I(Y_d;X) − c Σ_{d<d'} I(Y_d;Y_d'), the second-order value of I(Y_1, …, Y_D; X).

    It is the beginning of an expansion in interactions, cut off behind the pairs: exact for one and two bits, too large
    for bits that share something only three at a time (an XOR), too small for three bits or more that say the same.

    Args:
        logits: of the bits, one row a point.
        pair_weight: c. The expansion has 1; the authors' code counts each pair twice, which is 2.

    Returns:
        A number of at most D log 2. It may be negative.

    Raises:
        ValueError: as :func:`bit_information`, or a weight that is negative or not finite.
        TypeError: as :func:`bit_information`, or a weight that is no number.
    """
    check_number("hash_information", "pair_weight", pair_weight)
    check_logits(logits, "hash_information")
    return bit_information(logits).sum() - pair_weight / 2 * pairwise_information(logits).sum()


def bernoulli_divergence(
    clean_logits: Float[Tensor, "batch bits"], perturbed_logits: Float[Tensor, "batch bits"]
) -> Float[Tensor, " batch"]:
    """Return KL(s ‖ s′) from each point's bits to those at its perturbed place, summed over the bits.

    With the clean bits as constants it has the gradient of the cross entropy, and a floor of 0. A change δ of a
    logit loses a share of about ε/δ of its value to rounding, where a difference of logarithms would lose ε/δ².

    Args:
        clean_logits: of the points.
        perturbed_logits: of the same points, perturbed.

    Returns:
        A number of at least 0 for each point, up to rounding.

    Raises:
        ValueError, TypeError: as :func:`bit_information`, but there may be no points; two shapes or dtypes.
    """
    check_logits(clean_logits, "bernoulli_divergence", "clean_logits", least_points=0)
    check_logits(perturbed_logits, "bernoulli_divergence", "perturbed_logits", least_points=0)
    expected, actual = ((tuple(given.shape), given.dtype) for given in (clean_logits, perturbed_logits))
    require(expected == actual, "bernoulli_divergence", "perturbed_logits", f"as clean_logits: {expected}", actual)
    # The likelier value of each clean bit is called 0: s <= 1/2 has digits to spare. Signs are smooth here, abs is not.
    sign = torch.where(clean_logits > 0, -1.0, 1.0).to(clean_logits)
    clean, perturbed = sign * clean_logits, sign * perturbed_logits
    share = torch.sigmoid(clean)
    # There the other terms are all, and infinite logits must not meet.
    unasked = (share == 0) | perturbed.isposinf()
    change = torch.where(unasked, 0, perturbed - clean)
    near = ~unasked & (change <= 1)
    # log(1 − s + s e^δ), by differences of softplus only where they do not cancel.
    growth = torch.log1p(share * torch.expm1(torch.where(near, change, 0)))
    far = functional.softplus(perturbed, threshold=40) - functional.softplus(clean, threshold=40)
    return (torch.where(near, growth, far) - share * change).sum(1)


def bit_entropies(logits: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return the binary entropy h(sigmoid(logits)) of each number, in nats."""
    # −|logits|, with a second derivative at 0; beyond −1000 every probability is 0.
    negative = torch.where(logits > 0, -logits, logits).clamp(min=-1000)
    return functional.softplus(negative, threshold=40) - negative * torch.sigmoid(negative)


def entropy_terms(probabilities: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return −p log p of each probability: 0, with a gradient of 0, where p is 0."""
    return -probabilities * _log_or_zero(probabilities)


def check_logits(logits: Tensor, operation: str, argument: str = "logits", *, least_points: int = 1) -> None:
    """Refuse anything but a matrix of float32 or float64 with a column and so many rows.

    Raises:
        ValueError: another shape or dtype.
        TypeError: no tensor.
    """
    if not isinstance(logits, Tensor):
        reject(operation, argument, "a tensor", type(logits).__name__, kind=TypeError)
    require(logits.dtype in (torch.float32, torch.float64), operation, argument, "float32 or float64", logits.dtype)
    right = logits.ndim == 2 and logits.shape[0] >= least_points and logits.shape[1] >= 1
    expected = f"shape (points >= {least_points}, outputs >= 1)"
    require(right, operation, argument, expected, tuple(logits.shape))


def _log_or_zero(probabilities: Tensor) -> Tensor:
    """Return the logarithm, and where there is none 0: it is multiplied by 0. NaN goes its way in the factor."""
    return torch.where(probabilities > 0, probabilities, 1).log()
