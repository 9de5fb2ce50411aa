"""Does what a model writes belong to the language? Grammatical accuracy by prompt length, and what can be attained.

A model continues the first tokens of a sentence until it ends it. ``acc_any`` counts what some grammar of the family
accepts, ``acc_true`` what the prompt's own grammar accepts. A sentence that has not ended within the longest document
of the family, its end included, is wrong.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import argument_error, require
from toolkit.grammars.decoding import Generated
from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer
from toolkit.grammars.metrics import reached

Writer = Callable[[Documents, int], Generated]
"""Gets beginnings of sentences, with the metadata of each, and how many tokens it may add, the end counted; returns
the whole sentences. :func:`toolkit.grammars.predictions.writer` makes one of a decoder."""


@dataclass(frozen=True)
class GrammaticalAccuracy:
    """Shares of continuations that are sentences, by prompt length.

    Attributes:
        prompt_lengths: in tokens.
        n: how many continuations were judged.
        acc_any: share that some grammar accepts; NaN where no sentence is long enough.
        acc_any_error: its standard error.
        acc_true: share that the prompt's own grammar accepts.
        acc_true_error: its standard error.
        unfinished: share without an end within the longest document.
    """

    prompt_lengths: tuple[int, ...]
    n: tuple[int, ...]
    acc_any: tuple[float, ...]
    acc_any_error: tuple[float, ...]
    acc_true: tuple[float, ...]
    acc_true_error: tuple[float, ...]
    unfinished: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return one list a field."""
        return {name: list(values) for name, values in asdict(self).items()}

    def __repr__(self) -> str:
        rows = zip(self.prompt_lengths, self.acc_any, self.acc_true, strict=True)
        return f"GrammaticalAccuracy({', '.join(f'{k}: {any_:.3f}/{true:.3f}' for k, any_, true in rows)})"


@dataclass(frozen=True)
class Attainable:
    """What ``acc_true`` can be, by prompt length; ``acc_any`` can be 1.

    Attributes:
        prompt_lengths: in tokens.
        n: how many sentences were averaged over; in an enumeration, all possible ones that are long enough.
        sampler: what a perfect sampler of continuations gets: the sum over grammars of their posterior after the prompt
            times how often they accept the whole sentence.
        sampler_error: its standard error; 0 if it is exact.
        best: the most that any writer can get; where the sentences were not all enumerated, a lower bound of it: the
            probability of the most probable grammar, or of those that accept the sentence if that is more.
        best_error: its standard error; 0 if it is exact.
        exact: whether all sentences were enumerated.
    """

    prompt_lengths: tuple[int, ...]
    n: tuple[int, ...]
    sampler: tuple[float, ...]
    sampler_error: tuple[float, ...]
    best: tuple[float, ...]
    best_error: tuple[float, ...]
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Return one list a field."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def __repr__(self) -> str:
        rows = zip(self.prompt_lengths, self.sampler, self.best, strict=True)
        return f"Attainable({', '.join(f'{k}: {sampler:.3f} to {best:.3f}' for k, sampler, best in rows)})"


@dataclass(frozen=True, eq=False)
class Judgement:
    """Which texts are sentences.

    Attributes:
        any: some grammar accepts the text.
        true: the grammar of the given metadata accepts it.
    """

    any: Bool[Tensor, " texts"]
    true: Bool[Tensor, " texts"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"any": self.any.tolist(), "true": self.true.tolist()}

    def __repr__(self) -> str:
        return f"Judgement({len(self.any)} texts, {int(self.any.sum())} sentences, {int(self.true.sum())} true ones)"


def judge(
    family: GrammarFamily, texts: Any, ended: Bool[Tensor, " decisions"], metadata: Int[Tensor, "rows levels"]
) -> Judgement:
    """Decide by exact inference which texts are sentences.

    Args:
        family: whose grammars count.
        texts: tokens in any form, without their ends.
        ended: whether each has an end; one that has not is no sentence.
        metadata: of the grammar that ``true`` asks for.

    Raises:
        ValueError: not one decision and one row of metadata for each text.
    """
    documents = as_documents("judge", texts)
    n = len(documents)
    require(len(ended) == n, "judge", "ended", f"one a text: {n}", len(ended))
    require(len(metadata) == n, "judge", "metadata", f"one row a text: {n}", len(metadata))
    lengths = documents.lengths
    device = lengths.device
    # Nothing of another length is a sentence, and what never ended may be far too long to parse.
    candidates = ended.to(device) & (lengths >= family.shortest) & (lengths <= family.longest)
    chosen = candidates.nonzero()[:, 0]
    found = torch.zeros(2, n, dtype=torch.bool, device=device)
    if len(chosen):
        rows = documents.padded()[chosen, : int(lengths[chosen].max())]
        member = infer(family, rows).member.to(device)
        index = family.metadata_index(metadata.to(device)[chosen])
        found[0, chosen] = member.any(1)
        found[1, chosen] = member.gather(1, index[:, None])[:, 0]
    return Judgement(found[0], found[1])


def grammatical_accuracy(
    write: Writer,
    family: GrammarFamily,
    documents: Documents,
    prompt_lengths: Sequence[int],
    *,
    most: int | None = None,
) -> GrammaticalAccuracy:
    """Let a model continue the beginnings of sentences, and judge what comes out.

    Args:
        write: the model, see :data:`Writer`.
        family: whose grammars count.
        documents: fresh sentences with their metadata; each is the source of one prompt of each length it reaches.
        prompt_lengths: how many tokens the model is given.
        most: sentences behind each length, from the first on; default: all.

    Raises:
        ValueError: documents without metadata, or a negative number.
    """
    metadata = documents.metadata
    if metadata is None:
        raise argument_error("grammatical_accuracy", "documents", "documents that know their metadata", "none")
    _check_lengths("grammatical_accuracy", prompt_lengths)
    require(most is None or most >= 0, "grammatical_accuracy", "most", ">= 0 or None", most)
    rows = documents.padded()
    found: list[tuple[int, float, float, float, float, float]] = []
    for length in prompt_lengths:
        chosen = (documents.lengths >= length).nonzero()[:most, 0]
        prompts = replace(as_documents("grammatical_accuracy", rows[chosen, :length]), metadata=metadata[chosen])
        if len(chosen):
            written = write(prompts, family.longest + 1 - length)
            judged = judge(family, written.documents, written.ended, metadata[chosen])
            shares = [float(values.double().mean()) for values in (judged.any, judged.true, ~written.ended)]
        else:
            shares = [math.nan] * 3
        errors = [math.sqrt(p * (1 - p) / len(chosen)) if len(chosen) else math.nan for p in shares]
        found.append((len(chosen), shares[0], errors[0], shares[1], errors[1], shares[2]))
    any_, any_error, true, true_error, unfinished = (tuple(row[i] for row in found) for i in range(1, 6))
    n = tuple(row[0] for row in found)
    return GrammaticalAccuracy(tuple(prompt_lengths), n, any_, any_error, true, true_error, unfinished)


def attainable_accuracy(
    posterior: Float[Tensor, "sentences positions grammars"],
    member: Bool[Tensor, "sentences grammars"],
    documents: Documents,
    prompt_lengths: Sequence[int],
) -> Attainable:
    """Estimate what ``acc_true`` can be, from sentences alone.

    A fresh sentence is itself what a perfect sampler writes behind its own beginning, so nothing need be generated: the
    estimate is the mean over sentences of the posterior probability, after the prompt, of the grammars that accept the
    whole sentence.

    Args:
        posterior: after every prefix of the sentences.
        member: which grammars accept them.
        documents: the sentences.
        prompt_lengths: how many tokens are given.

    Raises:
        ValueError: a negative length, or shapes that do not agree.
    """
    operation = "attainable_accuracy"
    _check_lengths(operation, prompt_lengths)
    shape = (*reached(documents).shape, member.shape[1])
    require(posterior.shape == shape, operation, "posterior", f"shape {list(shape)}", list(posterior.shape))
    accepted = (posterior * member[:, None, :]).sum(-1)
    # One can write what the most probable grammar accepts, or the sentence itself; the better is no more than the best.
    surest = torch.maximum(posterior.amax(-1), accepted)
    found: list[_Row] = []
    for length in prompt_lengths:
        chosen = (documents.lengths >= length).nonzero()[:, 0]
        by_sampler, by_best = (part[chosen, length] if len(chosen) else part[:0, 0] for part in (accepted, surest))
        found.append((len(chosen), _mean(by_sampler), _error(by_sampler), _mean(by_best), _error(by_best)))
    return _attainable(prompt_lengths, found, exact=False)


def exact_attainable_accuracy(
    family: GrammarFamily, prompt_lengths: Sequence[int], *, most: int = 200_000
) -> Attainable:
    """Compute what ``acc_true`` can be, from all sentences of a small family.

    Args:
        family: a small one.
        prompt_lengths: how many tokens are given.
        most: sentences that a symbol may have.

    Raises:
        ValueError: the family has more, or a negative length.
    """
    _check_lengths("exact_attainable_accuracy", prompt_lengths)
    every = enumerate_sentences(family, most=most)
    joint = (every.log_prob + family.metadata_log_prob).exp()
    member = (every.log_prob > -torch.inf).double()
    rows, lengths = every.documents.padded(), every.documents.lengths
    found: list[_Row] = []
    for length in prompt_lengths:
        # What only metadata of probability 0 can give is no prompt.
        chosen = ((lengths >= length) & (every.probability > 0)).nonzero()[:, 0]
        if not len(chosen):
            found.append((0, math.nan, math.nan, math.nan, math.nan))
            continue
        _, prompt = rows[chosen, :length].unique(dim=0, return_inverse=True) if length else (None, chosen * 0)
        n_prompts = int(prompt.max()) + 1
        mass = joint.new_zeros(n_prompts, joint.shape[1]).index_add_(0, prompt, joint[chosen])
        total = mass.sum()
        # A text's chance to be accepted is the posterior, given its prompt, of the grammars that accept it.
        chance = (mass[prompt] * member[chosen]).sum(1) / mass.sum(1)[prompt]
        sampler = (every.probability[chosen] * chance).sum() / total
        best = joint.new_zeros(n_prompts).scatter_reduce_(0, prompt, chance, "amax")
        found.append((len(chosen), float(sampler), 0.0, float((mass.sum(1) * best).sum() / total), 0.0))
    return _attainable(prompt_lengths, found, exact=True)


_Row = tuple[int, float, float, float, float]


def _attainable(prompt_lengths: Sequence[int], rows: list[_Row], *, exact: bool) -> Attainable:
    sampler, sampler_error, best, best_error = (tuple(row[i] for row in rows) for i in range(1, 5))
    return Attainable(
        tuple(prompt_lengths), tuple(row[0] for row in rows), sampler, sampler_error, best, best_error, exact
    )


def _check_lengths(operation: str, prompt_lengths: Sequence[int]) -> None:
    require(min(prompt_lengths, default=0) >= 0, operation, "prompt_lengths", ">= 0", prompt_lengths)


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else math.nan


def _error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
