"""Beliefs about metadata, of which only the first levels' choices may matter: exact ones, and those of a model.

A model that was trained with metadata says how probable a text is under each value of them. With the prior that is a
posterior, whether or not the model ever uses it: the model's implied posterior.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import require
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.metrics import ByPosition, by_position, token_losses


def n_groups(family: GrammarFamily, known_levels: int) -> int:
    """Return how many values the choices of the first levels have together.

    Raises:
        ValueError: there are not so many levels.
    """
    fits = 0 <= known_levels <= family.depth
    require(fits, "n_groups", "known_levels", f"0 to {family.depth}", known_levels)
    return math.prod(family.n_choices[:known_levels])


def group_metadata(family: GrammarFamily, known_levels: int) -> Int[Tensor, "groups levels"]:
    """Return one row of metadata for each value of the first levels' choices, the others 0, in the usual order."""
    step = family.n_grammars // n_groups(family, known_levels)
    return family.all_metadata[::step]


def group_posterior(
    posterior: Float[Tensor, "*shape grammars"], family: GrammarFamily, known_levels: int
) -> Float[Tensor, "*shape groups"]:
    """Return the probabilities of the first levels' choices, those of the other levels summed over.

    Raises:
        ValueError: not one probability for each grammar of the family, or not so many levels.
    """
    _check_grammars("group_posterior", posterior, family)
    return posterior.unflatten(-1, (n_groups(family, known_levels), -1)).sum(-1)


def group_next_tokens(
    posterior: Float[Tensor, "*shape grammars"],
    next_token: Float[Tensor, "*shape grammars columns"],
    family: GrammarFamily,
    known_levels: int,
) -> Float[Tensor, "*shape groups columns"]:
    """Return what comes next where the first levels' choices are known: p(y | x, group).

    Args:
        posterior: p(j | x) of every grammar.
        next_token: p(y | x, j) of every grammar.
        family: whose grammars they are.
        known_levels: how many choices are known.

    Returns:
        Probabilities; zeros where the prefix is impossible in a group.

    Raises:
        ValueError: not one probability for each grammar of the family, or not so many levels.
    """
    _check_grammars("group_next_tokens", posterior, family)
    groups = n_groups(family, known_levels)
    weights = posterior.unflatten(-1, (groups, -1))
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), 0.0)
    return (weights[..., None, :] @ next_token.unflatten(-2, (groups, -1))).squeeze(-2)


def group_log_prior(family: GrammarFamily, known_levels: int) -> Float[Tensor, " groups"]:
    """Return the log-probabilities of the first levels' choices before anything was read."""
    return group_posterior(family.metadata_log_prob.exp(), family, known_levels).log()


def implied_log_posterior(
    log_probs: Float[Tensor, "groups sentences positions columns"],
    documents: Documents,
    log_prior: Float[Tensor, " groups"],
) -> Float[Tensor, "sentences positions groups"]:
    """Return what a model's probabilities of texts say of their metadata, after every prefix.

    Args:
        log_probs: of the model, shown each value of the metadata in turn.
        documents: the sentences.
        log_prior: of those values.

    Returns:
        log q(j | prefix), normalised; behind the end of a sentence as at its end. Where the model excludes a prefix
        under all metadata: −inf.
    """
    losses = torch.stack([token_losses(part, documents) for part in log_probs])
    read = torch.cat([torch.zeros_like(losses[..., :1]), losses[..., :-1]], dim=-1)
    index = torch.arange(read.shape[-1], device=read.device)
    read = torch.where(index <= documents.lengths[:, None], read, 0.0)
    joint = (log_prior.to(read.device)[:, None, None] - read.cumsum(-1)).movedim(0, -1)
    total = joint.logsumexp(-1, keepdim=True)
    return torch.where(total > -torch.inf, joint - total, -torch.inf)


def level_accuracy(
    posterior: Float[Tensor, "sentences positions grammars"],
    family: GrammarFamily,
    mask: Bool[Tensor, "sentences positions"],
) -> list[ByPosition]:
    """Return how often the best guess of each level's choice is right, at each position: no probe does better.

    Args:
        posterior: the exact one.
        family: whose grammars they are.
        mask: which positions there are.

    Returns:
        One a level: the expected accuracy of choosing what is most probable after the prefix.
    """
    choices = posterior.unflatten(-1, family.n_choices)
    found = []
    for level in range(family.depth):
        others = [2 + other for other in range(family.depth) if other != level]
        marginal = choices.sum(others) if others else choices
        found.append(by_position(marginal.amax(-1), mask))
    return found


def _check_grammars(operation: str, posterior: Tensor, family: GrammarFamily) -> None:
    n = posterior.shape[-1]
    require(n == family.n_grammars, operation, "posterior", f"{family.n_grammars} grammars, all of the family", n)
