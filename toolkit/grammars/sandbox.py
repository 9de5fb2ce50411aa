"""A predictor that is wrong on purpose: hasty or timid about the grammar, and a little blind within it.

A model of the explanation of when metadata help, not evidence for it: no training is involved.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require


def temper(
    posterior: Float[Tensor, "*shape grammars"],
    next_token: Float[Tensor, "*shape grammars columns"],
    *,
    temperature: float = 1.0,
    epsilon: float = 0.0,
) -> Float[Tensor, "*shape columns"]:
    """Return the predictions of a reader with distorted beliefs.

    Args:
        posterior: exact beliefs about the grammar, probabilities.
        next_token: exact predictions within each grammar, probabilities; the last column is the end of the sentence.
        temperature: power to which beliefs are raised: above 1 the reader jumps to a conclusion, below 1 it is timid;
            0 holds every grammar that is still possible for equally probable.
        epsilon: share of the uniform distribution over tokens and end that is mixed into each grammar's predictions.

    Returns:
        Log-probabilities; with temperature 1 and epsilon 0 those of the Bayes-optimal predictor. Zeros where the
        posterior is all zeros (behind the end of a sentence).

    Raises:
        ValueError: a negative temperature, or an epsilon outside [0, 1].
    """
    require(0 <= temperature < math.inf, "temper", "temperature", ">= 0 and finite", temperature)
    require(0 <= epsilon <= 1, "temper", "epsilon", "0 to 1", epsilon)
    possible = posterior > 0
    some = possible.any(-1, keepdim=True)
    # Compared with the surest grammar before the power is taken, so that no power is too high.
    behind = posterior.log() - posterior.amax(-1, keepdim=True).log()
    beliefs = torch.where(possible, (temperature * behind).exp(), 0.0)
    beliefs = beliefs / torch.where(some, beliefs.sum(-1, keepdim=True), 1.0)
    within = (1 - epsilon) * next_token + epsilon / next_token.shape[-1]
    mixed = (beliefs[..., None] * within).sum(-2)
    return torch.where(some, mixed.log(), 0.0)
