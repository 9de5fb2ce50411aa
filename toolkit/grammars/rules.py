"""Nonterminals and rules: what a probabilistic grammar is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import reject, require


@dataclass(frozen=True, order=True)
class Nonterminal:
    """A symbol that rules rewrite. Terminals are plain text.

    Attributes:
        name: how it is written.

    Raises:
        ValueError: an empty name.
        TypeError: no text.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            reject("Nonterminal", "name", "text", type(self.name).__name__, kind=TypeError)
        require(bool(self.name), "Nonterminal", "name", "at least one letter", "''")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Nonterminal({self.name!r})"


@dataclass(frozen=True, init=False)
class Rule:
    """What a nonterminal is rewritten into, and how often.

    Attributes:
        parent: the symbol on the left-hand side.
        children: the right-hand side: nonterminals, and terminals as text; empty for ε.
        probability: among all rules of the parent.
    """

    parent: Nonterminal
    children: tuple[Nonterminal | str, ...]
    probability: float

    def __init__(self, parent: Any, children: Iterable[Any], probability: Any) -> None:
        """Check and keep a rule.

        Args:
            parent: a nonterminal, or its name.
            children: nonterminals, and terminals as text.
            probability: from 0 to 1.

        Raises:
            ValueError: a probability outside [0, 1] or NaN, a terminal without a name.
            TypeError: children that are neither nonterminals nor text, a probability that is no number.
        """
        parent = Nonterminal(parent) if isinstance(parent, str) else parent
        if not isinstance(parent, Nonterminal):
            reject("Rule", "parent", "a nonterminal, or its name", type(parent).__name__, kind=TypeError)
        if isinstance(children, str) or not isinstance(children, Iterable):
            reject("Rule", "children", "a sequence of nonterminals and terminals", repr(children), kind=TypeError)
        children = tuple(children)
        for child in children:
            if not isinstance(child, Nonterminal | str):
                reject("Rule", "children", "nonterminals, and terminals as text", type(child).__name__, kind=TypeError)
            require(child != "", "Rule", "children", "terminals with a name; no children at all for ε", "''")
        try:
            value = float(probability)
        except (TypeError, ValueError):
            reject("Rule", "probability", "a number", repr(probability), kind=TypeError)
        require(0 <= value <= 1, "Rule", "probability", f"from 0 to 1, for a rule of {parent}", value)
        object.__setattr__(self, "parent", parent)
        object.__setattr__(self, "children", children)
        object.__setattr__(self, "probability", value)

    def __str__(self) -> str:
        children = " ".join(child.name if isinstance(child, Nonterminal) else repr(child) for child in self.children)
        return f"{self.parent} -> {children or 'ε'} [{self.probability:g}]"
