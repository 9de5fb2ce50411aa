"""Logits with noise whose largest entry is the sampled value: the noise itself, and the noise given the value.

A Bernoulli variable is 1 where ``logit + logistic noise > 0``; a categorical one is the argmax of
``logits + Gumbel noise``. Dividing by a temperature and squashing gives the relaxed value (Concrete, Gumbel-softmax).
"""

import math
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import reject, require
from toolkit.estimators.layers import BernoulliLayer, Layer


def perturb(layer: Layer, logits: Float[Tensor, "..."], noise: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Add logistic (Bernoulli) or Gumbel noise to logits.

    Args:
        layer: what the variables are.
        logits: ``[..., n]`` or ``[..., n, K]``.
        noise: open uniform, like the logits (coupling ``"gumbel"``); leading axes are broadcast.

    Returns:
        Perturbed logits. They lead to the values that ``layer.sample(logits, noise, "gumbel")`` returns.
    """
    if isinstance(layer, BernoulliLayer):
        return logits - torch.logit(noise)
    return logits - torch.log(-torch.log(noise))


def perturb_given(
    layer: Layer, logits: Float[Tensor, "..."], values: Float[Tensor, "..."], noise: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Perturb logits with noise drawn given the values it led to.

    The uniform that gave a Bernoulli value is uniform below or above the probability; written in logits, so that
    neither end is rounded away. The Gumbel-perturbed logit of the chosen category is distributed like the largest of
    all, whichever it is; the others are truncated at it (Maddison et al., arXiv 1411.0030).

    Args:
        layer: what the variables are.
        logits: ``[..., n]`` or ``[..., n, K]``.
        values: of the variables, likewise.
        noise: open uniform, like the logits; leading axes are broadcast.

    Returns:
        Perturbed logits, differentiable with respect to ``logits`` at fixed noise and values.
    """
    exponential = -torch.log(noise)
    if isinstance(layer, BernoulliLayer):
        # Not ``2 * values``: a Python number takes longer than the sum.
        signs = values + values - 1
        return signs * (functional.softplus(signs * logits + torch.log1p(-noise)) + exponential)
    arrival = torch.log(exponential)
    first = (values * arrival).sum(-1, keepdim=True) - torch.logsumexp(logits, -1, keepdim=True)
    return -torch.where(values > 0.5, first, torch.logaddexp(arrival - logits, first))


def conditional_pull(
    layer: Layer,
    logits: Float[Tensor, "..."],
    values: Float[Tensor, "..."],
    perturbed: Float[Tensor, "..."],
    gradient: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """Take a derivative with respect to what :func:`perturb_given` returns back to the logits, noise and values fixed.

    The noise is the one that gives ``perturbed``; it need not be known.

    Args:
        layer: what the variables are.
        logits: ``[..., n]`` or ``[..., n, K]``, as all the others.
        values: of the variables.
        perturbed: logits with noise that led to the values.
        gradient: of anything with respect to ``perturbed``.

    Returns:
        Its gradient with respect to the logits.
    """
    if isinstance(layer, BernoulliLayer):
        # What led to the value has its sign.
        signs = values + values - 1
        return torch.sigmoid(signs * logits) * -torch.expm1(-perturbed.abs()) * gradient
    # The chosen one moves with the mean of all logits, those far below it with their own.
    # ``where`` instead of a product: a value that cannot occur stands at −inf.
    gap = perturbed - torch.where(values > 0.5, perturbed, 0).sum(-1, keepdim=True)
    shared = (gap.exp() * gradient).sum(-1, keepdim=True)
    return torch.softmax(logits, -1) * shared - torch.expm1(gap) * gradient


def relax(layer: Layer, perturbed: Float[Tensor, "..."], temperature: float | Tensor) -> Float[Tensor, "..."]:
    """Return ``sigmoid(perturbed / temperature)``, or the softmax for categorical variables."""
    scaled = perturbed / temperature
    return torch.sigmoid(scaled) if isinstance(layer, BernoulliLayer) else torch.softmax(scaled, -1)


def require_temperature(operation: str, temperature: Any) -> None:
    """Refuse a temperature that is no positive finite number.

    Raises:
        TypeError: it is no number.
        ValueError: it is zero, negative, infinite or NaN.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, Real):
        reject(operation, "temperature", "a number", type(temperature).__name__, kind=TypeError)
    number = float(temperature)
    require(math.isfinite(number) and number > 0, operation, "temperature", "> 0 and finite", temperature)
