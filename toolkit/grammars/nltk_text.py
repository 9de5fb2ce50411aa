"""Grammars as text in NLTK's format: ``S -> A B [0.5] | 'a' [0.5]``."""

import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NoReturn

from toolkit.core.errors import reject, require
from toolkit.grammars.rules import Nonterminal, Rule

_NAME = r"[\w/][\w/^<>-]*"
_PARENT = re.compile(rf"({_NAME})\s*->")
_START = re.compile(rf"%start\s+({_NAME})\s*(?:#.*)?")
_PIECE = re.compile(
    rf"""\s*(?:(?P<probability>\[[^\]]*\])|(?P<terminal>"[^"]*"|'[^']*')|(?P<bar>\|)|(?P<comment>\#.*)|(?P<name>{_NAME}))""",
    re.DOTALL,
)


def read_rules(text: str) -> tuple[Nonterminal, list[Rule]]:
    """Read the rules and the start symbol of a grammar.

    Args:
        text: see :meth:`~toolkit.grammars.grammar.PCFG.fromstring`.

    Returns:
        The start symbol and the rules in the text's order.

    Raises:
        ValueError: a line is no rule, or there is none.
        TypeError: no text.
    """
    if not isinstance(text, str):
        reject("fromstring", "text", "a grammar as text", type(text).__name__, kind=TypeError)
    start: Nonterminal | None = None
    rules: list[Rule] = []
    carried = ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = carried + raw.strip()
        carried = ""
        if not line or line.startswith("#"):
            continue
        if line.endswith("\\"):
            carried = line[:-1].rstrip() + " "
        elif line.startswith("%"):
            directive = _START.fullmatch(line)
            if directive is None:
                _complain(number, "%start and a nonterminal", line)
            start = Nonterminal(directive[1])
        else:
            rules += _read_line(number, line)
    if carried:
        reject("fromstring", "text", "a line after the last backslash", "the end")
    require(bool(rules), "fromstring", "text", "at least one rule", "none")
    return start or rules[0].parent, rules


def write_rules(start: Nonterminal, rules: Sequence[Rule]) -> str:
    """Write rules as text that :func:`read_rules` and NLTK read, without loss.

    Args:
        start: the start symbol; told by a directive where it is not the first rule's parent.
        rules: neighbours with the same parent share a line.

    Raises:
        ValueError: a name that the format has no room for.
    """
    lines = [] if rules[0].parent == start else [f"%start {_written_name(start)}"]
    for parent, group in itertools.groupby(rules, key=lambda rule: rule.parent):
        lines.append(f"{_written_name(parent)} -> {' | '.join(_written_side(rule) for rule in group)}")
    return "\n".join(lines) + "\n"


def _read_line(number: int, line: str) -> list[Rule]:
    head = _PARENT.match(line)
    if head is None:
        _complain(number, "a nonterminal, then ->", line)
    rules: list[Rule] = []
    children: list[Nonterminal | str] = []
    probability: float | None = None
    position, kind = head.end(), "bar"
    while line[position:].strip():
        piece = _PIECE.match(line, position)
        if piece is None or piece.lastgroup is None:
            _complain(number, "names, quoted terminals, | and a probability in brackets", line[position:].strip())
        position, kind, found = piece.end(), piece.lastgroup, piece[piece.lastgroup]
        if kind == "comment":
            break
        if kind == "bar":
            rules.append(_rule(number, head[1], children, probability, line))
            children, probability = [], None
        elif probability is not None:
            _complain(number, "| or the end behind a probability", line)
        elif kind == "probability":
            probability = _read_probability(number, found)
        elif kind == "terminal":
            if len(found) == 2:
                _complain(number, "terminals with a name (write nothing for an empty right-hand side)", found)
            children.append(found[1:-1])
        else:
            children.append(Nonterminal(found))
    return [*rules, _rule(number, head[1], children, probability, line)]


def _rule(number: int, parent: str, children: list[Nonterminal | str], probability: float | None, line: str) -> Rule:
    if probability is None:
        _complain(number, "a probability in brackets behind each alternative", line)
    return Rule(Nonterminal(parent), tuple(children), probability)


def _read_probability(number: int, found: str) -> float:
    try:
        value = float(found[1:-1])
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        _complain(number, "a probability from 0 to 1 in the brackets", found)
    return value


def _complain(number: int, expected: str, actual: str) -> NoReturn:
    reject("fromstring", "text", f"{expected} (line {number})", actual)


def _written_side(rule: Rule) -> str:
    children = [
        _written_name(child) if isinstance(child, Nonterminal) else _written_terminal(child) for child in rule.children
    ]
    # NLTK knows no exponents.
    return " ".join([*children, f"[{Decimal(repr(rule.probability)):f}]"])


def _written_name(symbol: Nonterminal) -> str:
    fits = re.fullmatch(_NAME, symbol.name) is not None
    require(fits, "tostring", "rules", "nonterminals of letters, digits and _ / ^ < > -", repr(symbol.name))
    return symbol.name


def _written_terminal(token: str) -> str:
    require("\n" not in token, "tostring", "rules", "terminals without a line break", repr(token))
    quote = '"' if "'" in token else "'"
    require(quote not in token, "tostring", "rules", "terminals without both kinds of quotes", token)
    return f"{quote}{token}{quote}"
