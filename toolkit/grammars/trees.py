"""Trees of derivations: which symbol was rewritten into what, down to the tokens of the sentence.

Nothing here recurses, since a tree of a recursive grammar can be thousands of nodes deep.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import reject, require

_PLAIN = re.compile(r"[^\s()'\"\\]+")
_WORD = re.compile(r"""\s*(?:([()])|([^\s()'"\\]+)|'((?:[^'\\]|\\.)*)')""", re.DOTALL)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tree:
    """A node and what stands below it.

    Two trees are equal if their labels and children are; what the other fields say of a node does not count.

    Attributes:
        label: the name of the node's symbol.
        children: from left to right, nodes, or tokens as text; none where the symbol was rewritten into nothing.
        level: of the symbol in a grammar rewritten level by level, the root's 0; None where there are no levels.
        symbol: which symbol of its level; None where there are no levels.
        probability: of the rule that rewrote the node; None if it is not known.
    """

    label: str
    children: tuple["Tree | str", ...]
    level: int | None
    symbol: int | None
    probability: float | None

    def __init__(
        self,
        label: str,
        children: Iterable[Any] = (),
        level: int | None = None,
        symbol: int | None = None,
        probability: float | None = None,
    ) -> None:
        """Keep a node.

        Raises:
            ValueError: a probability outside [0, 1].
            TypeError: a label that is no text, children that are neither trees nor text.
        """
        if not isinstance(label, str):
            reject("Tree", "label", "text", type(label).__name__, kind=TypeError)
        if isinstance(children, str | Tree):
            reject("Tree", "children", "a sequence of trees and tokens", type(children).__name__, kind=TypeError)
        kept = tuple(children)
        for child in kept:
            if not isinstance(child, str | Tree):
                reject("Tree", "children", "trees, or tokens as text", type(child).__name__, kind=TypeError)
        if probability is not None:
            # The sum of equal parts may exceed 1 by a rounding.
            require(0 <= probability <= 1 + 1e-9, "Tree", "probability", "from 0 to 1", probability)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "children", kept)
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "symbol", symbol)
        object.__setattr__(self, "probability", None if probability is None else min(float(probability), 1.0))

    def nodes(self) -> Iterator["Tree"]:
        """Walk over all nodes, each before its children, from left to right; tokens are no nodes."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [child for child in reversed(node.children) if isinstance(child, Tree)]

    def leaves(self) -> list[str]:
        """Return the tokens from left to right."""
        found: list[str] = []
        waiting: list[Tree | str] = [self]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                found.append(node)
            else:
                waiting += reversed(node.children)
        return found

    def ancestors(self, depth: int) -> list[int]:
        """Return for each token which node ``depth`` steps below the root it hangs from.

        Args:
            depth: 0 is the root itself.

        Returns:
            Numbers from 0, counted from left to right over the nodes that have tokens. A token that hangs higher than
            ``depth`` has a number of its own.

        Raises:
            ValueError: a negative depth.
        """
        require(depth >= 0, "ancestors", "depth", ">= 0", depth)
        found: list[int] = []
        seen: dict[int, int] = {}
        waiting: list[tuple[Tree | str, int, int]] = [(self, 0, 0)]
        n_groups = 1
        while waiting:
            node, below, group = waiting.pop()
            if isinstance(node, str):
                found.append(seen.setdefault(group, len(seen)))
                continue
            groups = [group] * len(node.children)
            if below < depth:
                groups = list(range(n_groups, n_groups + len(node.children)))
                n_groups += len(node.children)
            children = zip(node.children, groups, strict=True)
            waiting += [(child, below + 1, which) for child, which in reversed(list(children))]
        return found

    @property
    def n_nodes(self) -> int:
        """How many nodes there are, tokens not counted."""
        return sum(1 for _ in self.nodes())

    @property
    def height(self) -> int:
        """The largest number of steps from the root down to a token, or to a node without children."""
        most, waiting = 0, [(self, 0)]
        while waiting:
            node, depth = waiting.pop()
            most = max(most, depth + bool(node.children))
            waiting += [(child, depth + 1) for child in node.children if isinstance(child, Tree)]
        return most

    @property
    def log_prob(self) -> float:
        """The log-probability of the derivation, in nats: the sum over its rules.

        Raises:
            ValueError: the probability of a rule is not known.
        """
        parts = []
        for node in self.nodes():
            if node.probability is None:
                reject("log_prob", "probability", "known for every rule", f"None at {node.label!r}")
            parts.append(math.log(node.probability) if node.probability else -math.inf)
        return math.fsum(parts) if -math.inf not in parts else -math.inf

    def bracketed(self) -> str:
        """Return the tree as text, ``(S (A a) (B b))``.

        Names with white space, brackets, quotes or backslashes are put in single quotes, and so is the empty name.
        """
        pieces: list[str] = []
        waiting: list[Tree | str | None] = [self]
        while waiting:
            node = waiting.pop()
            if node is None:
                pieces.append(")")
            elif isinstance(node, str):
                pieces.append(f" {_written(node)}")
            else:
                pieces.append(f" ({_written(node.label)}" + ("" if node.children else " "))
                waiting += [None, *reversed(node.children)]
        return "".join(pieces).lstrip()

    @staticmethod
    def from_bracketed(text: str) -> "Tree":
        """Read what :meth:`bracketed` wrote, or NLTK; levels and probabilities are not in it.

        Raises:
            ValueError: brackets that do not close or close too often, a node without a label, text before or behind
                the tree.
            TypeError: no text.
        """
        if not isinstance(text, str):
            reject("from_bracketed", "text", "text", type(text).__name__, kind=TypeError)
        operation, expected = "from_bracketed", "one tree like (S (A a) (B b))"
        open_nodes: list[tuple[str, list[Tree | str]]] = []
        found: Tree | None = None
        place, end = 0, len(text.rstrip())
        while place < end:
            match = _WORD.match(text, place)
            if match is None or found is not None:
                reject(operation, "text", expected, f"{text[place : place + 20]!r} at character {place}")
            place = match.end()
            bracket = match[1]
            if bracket == "(":
                named = _WORD.match(text, place)
                if named is None or named[1] is not None:
                    reject(operation, "text", "a label behind every opening bracket", f"character {place}")
                open_nodes.append((_read(named), []))
                place = named.end()
            elif not open_nodes:
                reject(operation, "text", expected, f"{match[0].strip()!r} outside of it")
            elif bracket == ")":
                node = Tree(*open_nodes.pop())
                if open_nodes:
                    open_nodes[-1][1].append(node)
                else:
                    found = node
            else:
                open_nodes[-1][1].append(_read(match))
        if found is None:
            reject(operation, "text", expected, f"{len(open_nodes)} brackets still open" if open_nodes else repr(text))
        return found

    def to_nltk(self) -> Any:
        """Return an ``nltk.Tree``.

        Raises:
            ImportError: NLTK is not installed.
        """
        try:
            from nltk.tree import Tree as NltkTree
        except ImportError as error:
            raise ImportError("to_nltk needs NLTK: pip install nltk") from error
        return self._folded(lambda node, children: NltkTree(node.label, children))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, children likewise."""
        return self._folded(
            lambda node, children: {
                "label": node.label,
                "children": children,
                "level": node.level,
                "symbol": node.symbol,
                "probability": node.probability,
            }
        )

    def _folded(self, make: Any) -> Any:
        """Return ``make(node, made children)`` of the root, children first."""
        made: dict[int, Any] = {}
        for node in reversed(list(self.nodes())):
            made[id(node)] = make(node, [c if isinstance(c, str) else made[id(c)] for c in node.children])
        return made[id(self)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        waiting: list[tuple[Tree | str, Tree | str]] = [(self, other)]
        while waiting:
            ours, theirs = waiting.pop()
            if isinstance(ours, str) or isinstance(theirs, str):
                if ours != theirs:
                    return False
            elif ours is not theirs:
                if ours.label != theirs.label or len(ours.children) != len(theirs.children):
                    return False
                waiting += zip(ours.children, theirs.children, strict=True)
        return True

    def __hash__(self) -> int:
        return hash(self.bracketed())

    def __repr__(self) -> str:
        return f"Tree({self.label}, {len(self.leaves())} leaves, height {self.height})"


def _written(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return "'" + re.sub(r"(['\\])", r"\\\1", name) + "'"


def _read(match: re.Match[str]) -> str:
    return match[2] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3], flags=re.DOTALL)
