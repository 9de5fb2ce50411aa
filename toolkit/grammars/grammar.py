"""Probabilistic context-free grammars of any shape, and what can be computed of them exactly."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toolkit.core.errors import reject, require
from toolkit.grammars.nltk_text import read_rules, write_rules
from toolkit.grammars.rules import Nonterminal, Rule

_EXACT = 1e-9
"""How far probabilities may miss 1 without a change."""

_ROUNDED = 1e-5
"""How far six written digits may miss 1: such probabilities are divided by their sum."""


@dataclass(frozen=True, init=False, repr=False)
class PCFG:
    """A probabilistic context-free grammar.

    Recursion to the left and to the right, cycles of unary rules, empty right-hand sides, ambiguity and rules of
    probability 0 are all allowed, and every quantity is a sum over all derivations.

    Attributes:
        start: the symbol that every derivation starts from.
        rules: in the order they were given; the same right-hand side may come twice.
        terminals: the tokens: the id of each is its place here.
    """

    start: Nonterminal
    rules: tuple[Rule, ...]
    terminals: tuple[str, ...]

    def __init__(self, start: Any, rules: Iterable[Rule], *, terminals: Sequence[str] | None = None) -> None:
        """Check and keep the rules.

        Args:
            start: a nonterminal, or its name.
            rules: at least one. The probabilities of a parent's rules must add up to 1; where they miss it by no more
                than what writing them with six digits loses (1e-5), they are divided by their sum.
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
