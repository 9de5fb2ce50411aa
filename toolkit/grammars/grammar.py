"""Probabilistic context-free grammars of any shape, and what can be computed of them exactly."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.grammars import chart, counts, moments, work_list
from toolkit.grammars import prefixes as prefix_pass
from toolkit.grammars.compiled import Tables, compile_rules
from toolkit.grammars.documents import Documents
from toolkit.grammars.nltk_text import read_rules, write_rules
from toolkit.grammars.rules import Nonterminal, Rule
from toolkit.grammars.sentences import batches, encode_tokens, read_sentences
from toolkit.grammars.viterbi import BestTables, Parse, best_parse, best_tables

_EXACT = 1e-14
"""How far the sum of exact probabilities may miss 1 by rounding."""

_ROUNDED = 1e-5
"""How far six written digits may miss 1: such probabilities are divided by their sum."""


@dataclass(frozen=True, init=False, repr=False)
class PCFG:
    """A probabilistic context-free grammar.

    Recursion to the left and to the right, cycles of unary rules, empty right-hand sides, ambiguity and rules of
    probability 0 are all allowed, and every quantity is a sum over all derivations, in float64 and nats.

    Sentences are sequences of names or of integers (the ids), tensors of integers, or batches of those: a sequence of
    sentences, rows filled with −1 behind the end, or :class:`~toolkit.grammars.documents.Documents`. One sentence gives
    results without a batch dimension. Tensors are worked on where they are. What is no terminal, or an id of V and
    above, has probability 0.

    Attributes:
        start: the symbol that every derivation starts from.
        rules: in the order they were given; the same right-hand side may come twice.
        terminals: the tokens: the id of each is its place here.
    """

    start: Nonterminal
    rules: tuple[Rule, ...]
    terminals: tuple[str, ...]

    def __init__(self, start: Any, rules: Iterable[Any], *, terminals: Sequence[str] | None = None) -> None:
        """Check and keep the rules.

        Args:
            start: a nonterminal, or its name.
            rules: at least one :class:`Rule`. The probabilities of a parent's rules must add up to 1; where they miss
                it by no more than what writing them with six digits loses (1e-5), they are divided by their sum.
            terminals: all tokens in the order of their ids; default: in the order in which the rules name them.

        Raises:
            ValueError: no rules, a nonterminal without rules, probabilities that do not add up to 1, names of
                terminals that are the same or do not include all tokens of the rules.
            TypeError: no rules but something else.
        """
        kept = tuple(rules)
        require(bool(kept), "PCFG", "rules", "at least one rule", "none")
        for rule in kept:
            if not isinstance(rule, Rule):
                reject("PCFG", "rules", "Rules", type(rule).__name__, kind=TypeError)
        start = Nonterminal(start) if isinstance(start, str) else start
        if not isinstance(start, Nonterminal):
            reject("PCFG", "start", "a nonterminal, or its name", type(start).__name__, kind=TypeError)
        parents = {rule.parent for rule in kept}
        require(start in parents, "PCFG", "start", "a nonterminal with rules", start.name)
        for rule in kept:
            for child in rule.children:
                defined = isinstance(child, str) or child in parents
                require(defined, "PCFG", "rules", "rules for every nonterminal", f"none for {child!s} in {rule!s}")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "rules", _adding_up(kept))
        object.__setattr__(self, "terminals", _checked_terminals(kept, terminals))

    @classmethod
    def fromstring(cls, text: str, *, terminals: Sequence[str] | None = None) -> "PCFG":
        """Read a grammar in NLTK's format.

        Each line is a nonterminal, ``->``, and alternatives separated by ``|``. An alternative is nonterminals and
        terminals in single or double quotes (everything between the quotes counts as it stands), then its
        probability in brackets; nothing but the probability is ε. The start symbol is the first line's, or that of a
        line ``%start S``. ``#`` starts a comment; a backslash at the end of a line joins the next one.

        Args:
            text: ``"S -> A B [0.5] | 'a' [0.5]"`` and so on.
            terminals: see :class:`PCFG`.

        Raises:
            ValueError: a line that is no rule, or one of the reasons of :class:`PCFG`.
            TypeError: no text.
        """
        start, rules = read_rules(text)
        return cls(start, rules, terminals=terminals)

    def tostring(self) -> str:
        """Write the grammar in NLTK's format, with all digits, a line a parent.

        Raises:
            ValueError: a name that the format has no room for: a terminal with both kinds of quotes or a line break,
                or a nonterminal with other characters than letters, digits and ``_ / ^ < > -``.
        """
        return write_rules(self.start, self.rules)

    @cached_property
    def nonterminals(self) -> tuple[Nonterminal, ...]:
        """The nonterminals, in the order in which their first rules were given."""
        return tuple(dict.fromkeys(rule.parent for rule in self.rules))

    @property
    def n_terminals(self) -> int:
        """How many different tokens there are, V; also the id of the end of a sentence."""
        return len(self.terminals)

    def encode(self, tokens: Any) -> Int[Tensor, " positions"]:
        """Return the ids of tokens given by name; V for each that is no terminal, so that it has probability 0.

        Args:
            tokens: a sequence of names; where every terminal is one character, a text will do.

        Raises:
            TypeError: no names.
        """
        return encode_tokens("encode", self.terminals, tokens)

    def decode(self, ids: Any) -> list[str]:
        """Return the names of the tokens of one sentence.

        Raises:
            ValueError: an id that no terminal has.
            TypeError: no integers.
        """
        documents, single = read_sentences("decode", self.terminals, ids)
        require(single, "decode", "ids", "one sentence", f"{len(documents)} sentences")
        found = documents.values.tolist()
        known = all(index < self.n_terminals for index in found)
        require(known, "decode", "ids", f"0 to {self.n_terminals - 1}", found[:20])
        return [self.terminals[index] for index in found]

    def checks(self) -> moments.GrammarChecks:
        """Return what of the grammar cannot be reached or does not end, and whether its derivations end."""
        return self._checks

    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        max_tokens: int = 10_000,
        max_steps: int = 100_000,
    ) -> work_list.Sample:
        """Draw documents; all pending symbols of all documents are rewritten at once.

        Where derivations need not end, how many do is drawn first; the others count as cut.

        Args:
            n: how many to draw.
            generator: default: a new one. The same seed gives the same documents.
            device: where the documents shall be; default: the best there is.
            max_tokens: documents with more tokens are cut.
            max_steps: documents that take more applications of rules are cut.

        Returns:
            The documents that were not cut, and how many were.

        Raises:
            ValueError: a negative number.
            TypeError: no integers.
        """
        for name, value in (("n", n), ("max_tokens", max_tokens), ("max_steps", max_steps)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                reject("sample", name, "an integer", repr(value), kind=TypeError)
            require(value >= 0, "sample", name, ">= 0", value)
        where = resolve_device(device)
        return work_list.draw_documents(
            self._rule_table.to(where),
            int(n),
            generator=resolve_generator(generator, device=where),
            max_tokens=max_tokens,
            max_steps=max_steps,
            expected_length=self._expected_length,
            total_mass=1.0 if self._checks.consistent else self.total_mass(),
        )

    def log_prob(self, sentences: Any) -> Float64[Tensor, "*batch"]:
        """Return the log-probability of sentences, summed over their derivations; −∞ outside the language."""
        documents, single = read_sentences("log_prob", self.terminals, sentences)
        found = torch.empty(len(documents), dtype=torch.float64, device=documents.values.device)
        for chosen, tables, tokens, lengths in self._batches(documents):
            columns = chart.inside(tables, tokens).columns
            found[chosen] = columns[torch.arange(len(chosen), device=found.device), tables.start, 0, lengths]
        return found[0] if single else found

    def prefix_log_prob(self, prefixes: Any) -> Float64[Tensor, "*batch"]:
        """Return the log-probability that a finite sentence begins with these tokens."""
        return self._continuations("prefix_log_prob", prefixes).logsumexp(-1)

    def next_token_probs(self, prefixes: Any) -> Float64[Tensor, "*batch tokens_and_end"]:
        """Return how probable each token, and in the last column the end, is after these tokens.

        Zeros where no sentence begins with them.
        """
        return prefix_pass.next_token_probs(self._continuations("next_token_probs", prefixes))

    def next_token_table(self, sentences: Any) -> Float64[Tensor, "*batch positions_and_end tokens_and_end"]:
        """Return :meth:`next_token_probs` before each token and behind the last one.

        Zeros where no sentence begins with the tokens before the position, and behind the end of shorter sentences.
        """
        documents, single = read_sentences("next_token_table", self.terminals, sentences)
        longest = int(documents.lengths.max()) if len(documents) else 0
        shape = (len(documents), longest + 1, self.n_terminals + 1)
        found = torch.zeros(shape, dtype=torch.float64, device=documents.values.device)
        for chosen, tables, tokens, lengths in self._batches(documents):
            logs = prefix_pass.continuations(tables, chart.inside(tables, tokens))
            present = torch.arange(logs.shape[1], device=found.device) <= lengths[:, None]
            found[chosen, : logs.shape[1]] = prefix_pass.next_token_probs(logs) * present[..., None]
        return found[0] if single else found

    def viterbi(self, sentence: Any) -> Parse:
        """Return the most probable derivation of one sentence; no tree and −∞ outside the language."""
        documents, single = read_sentences("viterbi", self.terminals, sentence)
        require(single, "viterbi", "sentence", "one sentence", f"{len(documents)} sentences")
        return best_parse(self._tables, self._best_tables, self.rules, self.terminals, documents.values.cpu())

    def inside(self, sentences: Any) -> Float64[Tensor, "*batch starts ends nonterminals"]:
        """Return the log-probability that each nonterminal derives each span.

        Returns:
            ``[start, end, nonterminal]`` for positions 0 to the length, nonterminals as in :attr:`nonterminals`. Where
            start and end are the same it is that of the empty string; −∞ where the end comes first.
        """
        return self._spans("inside", sentences)

    def outside(self, sentences: Any) -> Float64[Tensor, "*batch starts ends nonterminals"]:
        """Return the log-weight of everything around each nonterminal at each span.

        That is the sum over all derivations of the tokens before the span, the nonterminal, and the tokens behind it.
        Together with :meth:`inside` it gives how often the nonterminal stands there:
        ``exp(inside + outside − log_prob)``.

        Returns:
            As for :meth:`inside`; −∞ for nonterminals without finite derivations, +∞ where those of the empty string
            are endless on average.
        """
        return self._spans("outside", sentences)

    def expected_counts(self, sentences: Any) -> Float64[Tensor, " rules"]:
        """Return how often each rule is used in the derivations of the sentences, on average, summed over sentences.

        Sentences outside the language count nothing. Rules of empty derivations that are endless on average give +∞.
        """
        return self._counted("expected_counts", sentences)[0]

    def em_step(self, sentences: Any) -> "PCFG":
        """Return the grammar whose probabilities are the expected counts' shares: one step of the EM algorithm.

        The likelihood of the sentences never becomes lower (Baker 1979; Lari and Young 1990). Sentences outside the
        language do not count; parents that no derivation uses keep their probabilities.

        Raises:
            ValueError: no sentence is in the language.
        """
        expected, n_possible = self._counted("em_step", sentences)
        require(n_possible > 0, "em_step", "sentences", "at least one of the language", "none")
        numbers = expected.tolist()
        totals: dict[Nonterminal, float] = dict.fromkeys(self.nonterminals, 0.0)
        for rule, number in zip(self.rules, numbers, strict=True):
            totals[rule.parent] += number
        rules = [
            Rule(rule.parent, rule.children, min(number / totals[rule.parent], 1.0))
            if 0 < totals[rule.parent] < math.inf
            else rule
            for rule, number in zip(self.rules, numbers, strict=True)
        ]
        return PCFG(self.start, rules, terminals=self.terminals)

    def expected_length(self) -> float:
        """Return the mean number of tokens of a sentence; +∞ where derivations need not end, or only end so slowly."""
        return self._expected_length

    def entropy(self) -> float:
        """Return the entropy of derivations in nats: that of sentences, where no two derivations give the same one.

        +∞ for grammars whose derivations need not end, or are endless on average.
        """
        return self._mean_sum(self._means.entropy)

    def total_mass(self) -> float:
        """Return the probability that a derivation ends: 1 for consistent grammars, otherwise less."""
        return float(self._tables.masses[self._tables.start])

    @cached_property
    def _tables(self) -> Tables:
        return compile_rules(self.start, self.nonterminals, self.terminals, self.rules)

    @cached_property
    def _best_tables(self) -> BestTables:
        return best_tables(self._tables)

    @cached_property
    def _rule_table(self) -> work_list.RuleTable:
        n = len(self.nonterminals)
        masses = [1.0] * n if self._checks.consistent else self._tables.masses[:n].tolist()
        return work_list.rule_table(self.start, self.nonterminals, self.terminals, self.rules, masses)

    @cached_property
    def _means(self) -> moments.Means:
        return moments.mean_rewriting(self.start, self.nonterminals, self.rules)

    @cached_property
    def _checks(self) -> moments.GrammarChecks:
        return moments.check_grammar(self.start, self.nonterminals, self.rules)

    @cached_property
    def _expected_length(self) -> float:
        return self._mean_sum(self._means.tokens)

    def _mean_sum(self, each: Tensor) -> float:
        return moments.total_from_start(self._means, each) if self._checks.consistent else math.inf

    def _batches(self, documents: Documents) -> Iterator[tuple[Tensor, Tables, Tensor, Tensor]]:
        tables = self._tables.to(documents.values.device)
        size = tables.n_columns + len(tables.pairs)
        for chosen, tokens, lengths in batches(documents, size, self.n_terminals):
            yield chosen, tables, tokens, lengths

    def _continuations(self, operation: str, sentences: Any) -> Tensor:
        documents, single = read_sentences(operation, self.terminals, sentences)
        shape = (len(documents), self.n_terminals + 1)
        found = torch.empty(shape, dtype=torch.float64, device=documents.values.device)
        for chosen, tables, tokens, lengths in self._batches(documents):
            logs = prefix_pass.continuations(tables, chart.inside(tables, tokens))
            found[chosen] = logs[torch.arange(len(chosen), device=found.device), lengths]
        return found[0] if single else found

    def _spans(self, operation: str, sentences: Any) -> Tensor:
        documents, single = read_sentences(operation, self.terminals, sentences)
        n_cells = int(documents.lengths.max()) + 1 if len(documents) else 1
        shape = (len(documents), n_cells, n_cells, len(self.nonterminals))
        found = torch.full(shape, -torch.inf, dtype=torch.float64, device=documents.values.device)
        for chosen, tables, tokens, lengths in self._batches(documents):
            filled = chart.inside(tables, tokens)
            columns = filled.columns
            if operation == "outside":
                columns = chart.outside(tables, filled, lengths)
                places = torch.arange(columns.shape[-1], device=columns.device)
                columns[:, :, places, places] = counts.empty_outside(tables, filled, columns, lengths)
            present = torch.arange(columns.shape[-1], device=columns.device) <= lengths[:, None]
            columns = columns[:, : len(self.nonterminals)].masked_fill(~present[:, None, None], -torch.inf)
            found[chosen, : columns.shape[2], : columns.shape[3]] = columns.permute(0, 2, 3, 1)
        return found[0] if single else found

    def _counted(self, operation: str, sentences: Any) -> tuple[Tensor, int]:
        documents, _ = read_sentences(operation, self.terminals, sentences)
        found = torch.zeros(len(self.rules), dtype=torch.float64, device=documents.values.device)
        n_possible = 0
        for chosen, tables, tokens, lengths in self._batches(documents):
            filled = chart.inside(tables, tokens)
            which = torch.arange(len(chosen), device=found.device)
            n_possible += int((filled.columns[which, tables.start, 0, lengths] > -torch.inf).sum())
            around = chart.outside(tables, filled, lengths)
            found += counts.expected_counts(tables, filled, around, tokens, lengths, len(self.rules))
        return found, n_possible

    def __repr__(self) -> str:
        counts = f"{len(self.rules)} rules, {len(self.nonterminals)} nonterminals, {self.n_terminals} terminals"
        return f"PCFG({self.start}: {counts})"

    def __str__(self) -> str:
        return "\n".join(map(str, self.rules))


def _adding_up(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Return the rules with probabilities that add up to 1 for each parent, or raise."""
    probabilities: dict[Nonterminal, list[float]] = {}
    for rule in rules:
        probabilities.setdefault(rule.parent, []).append(rule.probability)
    sums = {parent: math.fsum(p) for parent, p in probabilities.items()}
    for parent, total in sums.items():
        expected = f"probabilities that add up to 1 for {parent}"
        require(abs(total - 1) <= _ROUNDED, "PCFG", "rules", expected, f"{total:.10g}")
    return tuple(
        rule
        if abs(sums[rule.parent] - 1) <= _EXACT
        else Rule(rule.parent, rule.children, rule.probability / sums[rule.parent])
        for rule in rules
    )


def _checked_terminals(rules: tuple[Rule, ...], terminals: Sequence[str] | None) -> tuple[str, ...]:
    used = dict.fromkeys(child for rule in rules for child in rule.children if isinstance(child, str))
    if terminals is None:
        return tuple(used)
    if isinstance(terminals, str) or not all(isinstance(name, str) for name in terminals):
        reject("PCFG", "terminals", "a sequence of names", repr(terminals)[:80], kind=TypeError)
    names = tuple(terminals)
    require(len(set(names)) == len(names), "PCFG", "terminals", "different names", list(names)[:30])
    missing = [name for name in used if name not in set(names)]
    require(not missing, "PCFG", "terminals", "all tokens of the rules", f"without {missing[:10]}")
    return names
