"""What exact inference found: probabilities at every position, and what follows from them by Bayes' rule."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.grammars.families import GrammarFamily


@dataclass(frozen=True, eq=False)
class Inference:
    """Exact probabilities of sentences and of all their prefixes; position k is that after k tokens.

    Positions behind a sentence's end hold zeros, see :attr:`mask`. What is conditioned on a prefix of probability 0 is
    0 too. Token V is the end of the sentence.

    Attributes:
        family: whose grammars.
        metadata: the choices of each grammar.
        tokens: the sentences, −1 behind the end.
        lengths: of the sentences.
        prefix_log_prob: that a document of the grammar starts like this (nats).
        next_token_given: how probable each token is next, given the prefix and the grammar.
    """

    family: GrammarFamily
    metadata: Int[Tensor, "grammars levels"]
    tokens: Int[Tensor, "sentences positions"]
    lengths: Int[Tensor, " sentences"]
    prefix_log_prob: Float[Tensor, "sentences positions_and_end grammars"]
    next_token_given: Float[Tensor, "sentences positions_and_end grammars tokens_and_end"]

    @cached_property
    def mask(self) -> Bool[Tensor, "sentences positions_and_end"]:
        """Where there is a prefix: at position 0 to the length."""
        positions = torch.arange(self.prefix_log_prob.shape[1], device=self.lengths.device)
        return positions <= self.lengths[:, None]

    @cached_property
    def log_prob(self) -> Float[Tensor, "sentences grammars"]:
        """The log-probability of each whole sentence under each grammar (nats)."""
        rows = torch.arange(len(self.lengths), device=self.lengths.device)
        ends = self.next_token_given[rows, self.lengths, :, -1].to(torch.float64).log()
        return self.prefix_log_prob[rows, self.lengths] + ends

    @cached_property
    def member(self) -> Bool[Tensor, "sentences grammars"]:
        """Whether the sentence is one of the grammar's."""
        return self.log_prob > -torch.inf

    @property
    def next_token_log_prob(self) -> Float[Tensor, "sentences positions_and_end grammars tokens_and_end"]:
        """The logarithm of :attr:`next_token_given` (nats); 0 behind the end of a sentence."""
        return torch.where(self.mask[..., None, None], self.next_token_given.log(), 0)

    @property
    def n_grammars(self) -> int:
        """How many grammars were asked for."""
        return len(self.metadata)

    def posterior(
        self, known_levels: int = 0, metadata: Any = None
    ) -> Float[Tensor, "sentences positions_and_end grammars"]:
        """Return how probable each grammar is given the prefix.

        Grammars that were not asked for count as excluded.

        Args:
            known_levels: of how many levels, from the root's on, the choices are known.
            metadata: these choices, for each sentence or for all; only the first ``known_levels`` columns count.

        Raises:
            ValueError: more levels than there are, or levels known without metadata.
        """
        prior = self._log_prior(known_levels, metadata)
        return torch.where(self.mask[..., None], _normalised(self.prefix_log_prob + prior[:, None]), 0)

    def sentence_posterior(self, known_levels: int = 0, metadata: Any = None) -> Float[Tensor, "sentences grammars"]:
        """Return how probable each grammar is given that the sentence ends where it does.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.
        """
        return _normalised(self.log_prob + self._log_prior(known_levels, metadata))

    def level_posterior(
        self, known_levels: int = 0, metadata: Any = None
    ) -> list[Float[Tensor, "sentences positions_and_end choices"]]:
        """Return for each level how probable each of its choices is given the prefix.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.
        """
        return self._by_level(self.posterior(known_levels, metadata))

    def sentence_level_posterior(
        self, known_levels: int = 0, metadata: Any = None
    ) -> list[Float[Tensor, "sentences choices"]]:
        """Return for each level how probable each of its choices is given the finished sentence.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.
        """
        return self._by_level(self.sentence_posterior(known_levels, metadata))

    def next_token_probs(
        self, known_levels: int = 0, metadata: Any = None
    ) -> Float[Tensor, "sentences positions_and_end tokens_and_end"]:
        """Return what the best predictor says comes next, the end of the sentence last.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.
        """
        posterior = self.posterior(known_levels, metadata).to(self.next_token_given.dtype)
        return (posterior[..., None, :] @ self.next_token_given)[..., 0, :]

    def optimal_loss(self, known_levels: int = 0, metadata: Any = None) -> Float[Tensor, "sentences positions_and_end"]:
        """Return the loss of the best predictor at every position (nats), the end of the sentence counted.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.

        Returns:
            ``[s, k]`` is the loss on token k of sentence s; at its length that on the end; behind it 0. It is infinite
            from where on the sentence is impossible.
        """
        n_tokens = self.next_token_given.shape[-1] - 1
        known = self.tokens.clamp(max=n_tokens)
        targets = torch.cat([known, known.new_full((len(known), 1), n_tokens)], 1)
        targets = torch.where(self.mask & (targets < 0), n_tokens, targets).clamp(min=0)
        probs = self.next_token_probs(known_levels, metadata)
        chosen = probs.gather(2, targets[..., None])[..., 0]
        unknown = torch.cat([self.tokens >= n_tokens, self.tokens.new_zeros(len(known), 1, dtype=torch.bool)], 1)
        return torch.where(self.mask, -torch.where(unknown, 0, chosen).log(), 0)

    def best_accuracy(self, known_levels: int = 0, metadata: Any = None) -> Float[Tensor, "positions_and_end levels"]:
        """Return how often the most probable choice of each level is right, by position.

        It is the mean of its probability over those sentences that are as long and possible; no probe can do better
        on average.

        Args:
            known_levels: see :meth:`posterior`.
            metadata: see :meth:`posterior`.

        Returns:
            One column a level; 0 where no sentence is that long.
        """
        best = torch.stack([level.amax(-1) for level in self.level_posterior(known_levels, metadata)], -1)
        counted = best[..., 0] > 0
        return (best * counted[..., None]).sum(0) / counted.sum(0).clamp(min=1)[:, None]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers and nested lists; the family by its name."""
        fields = ("metadata", "tokens", "lengths", "prefix_log_prob", "next_token_given")
        return {"family": self.family.name, **{name: getattr(self, name).tolist() for name in fields}}

    def __len__(self) -> int:
        return len(self.lengths)

    def __repr__(self) -> str:
        longest = int(self.lengths.max()) if len(self) else 0
        grammars = f"{self.n_grammars} grammar{'s' if self.n_grammars > 1 else ''}"
        return f"Inference({len(self)} sentences of up to {longest} tokens, {grammars})"

    def _log_prior(self, known_levels: int, metadata: Any) -> Float[Tensor, "sentences grammars"]:
        """Return the log-probability of each grammar before the sentence; those that contradict what is known: −inf."""
        operation, depth = "posterior", self.family.depth
        if isinstance(known_levels, bool) or not isinstance(known_levels, int):
            reject(operation, "known_levels", "an integer", repr(known_levels), kind=TypeError)
        require(0 <= known_levels <= depth, operation, "known_levels", f"0 to {depth}", known_levels)
        prior = self.prefix_log_prob.new_zeros(len(self), self.n_grammars)
        for level in range(known_levels, depth):
            of_choices = torch.tensor(self.family.choice_probs[level], dtype=prior.dtype, device=prior.device).log()
            prior = prior + of_choices[self.metadata[:, level]]
        if not known_levels:
            return prior
        if metadata is None:
            reject(operation, "metadata", f"the choices of the first {known_levels} levels", None)
        known = self._known(operation, metadata, known_levels).to(prior.device)
        agree = (self.metadata[None, :, :known_levels] == known[:, None]).all(-1)
        return prior.masked_fill(~agree, -torch.inf)

    def _known(self, operation: str, metadata: Any, known_levels: int) -> Int[Tensor, "sentences known"]:
        given = torch.as_tensor(metadata)
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            reject(operation, "metadata", "integers", given.dtype, kind=TypeError)
        given = given[None] if given.ndim == 1 else given
        fits = given.ndim == 2 and given.shape[0] in (1, len(self)) and given.shape[1] >= known_levels
        expected = f"shape [{len(self)}, {self.family.depth}]"
        require(fits, operation, "metadata", expected, f"shape {list(given.shape)}")
        known = given[:, :known_levels].to(torch.int64)
        for level in range(known_levels):
            n, column = self.family.n_choices[level], known[:, level]
            inside = bool(((column >= 0) & (column < n)).all())
            require(inside, operation, "metadata", f"0 to {n - 1} at level {level}", sorted(set(column.tolist()))[:10])
        return known.expand(len(self), -1)

    def _by_level(self, posterior: Tensor) -> list[Tensor]:
        found = []
        for level, n in enumerate(self.family.n_choices):
            of_level = posterior.new_zeros(*posterior.shape[:-1], n)
            found.append(of_level.index_add_(-1, self.metadata[:, level], posterior))
        return found


def _normalised(log_weights: Tensor) -> Tensor:
    """Return weights that add up to 1 in the last axis, or zeros where all are."""
    highest = log_weights.amax(-1, keepdim=True)
    weights = (log_weights - highest.clamp(min=torch.finfo(log_weights.dtype).min)).exp()
    return torch.where(highest > -torch.inf, weights / weights.sum(-1, keepdim=True), 0)
