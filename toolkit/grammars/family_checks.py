"""What a family of grammars must fulfil, and the errors that say so."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from toolkit.core.errors import argument_error, require

Children = tuple[int, ...]
"""The right-hand side of a rule: which symbols of the next level, from 0."""


def readable(operation: str, argument: str, expected: str, read: Callable[[], Any]) -> Any:
    """Return what is read, with one clear error where something is no number or no sequence."""
    try:
        return read()
    except TypeError as error:
        if str(error).startswith(f"{operation}: bad argument"):
            raise
        raise argument_error(operation, argument, expected, str(error), kind=TypeError) from error


def checked_rules(
    operation: str, sizes: tuple[int, ...], given: Any
) -> tuple[tuple[tuple[tuple[Children, ...], ...], ...], ...]:
    require(len(given) == len(sizes) - 1, operation, "rules", f"{len(sizes) - 1} levels", len(given))
    return tuple(_checked_level(operation, level, sizes, of_level) for level, of_level in enumerate(given))


def _checked_level(
    operation: str, level: int, sizes: tuple[int, ...], given: Any
) -> tuple[tuple[tuple[Children, ...], ...], ...]:
    require(len(given) >= 1, operation, "rules", f"a set of rules at level {level}", "none")
    for choice, symbols in enumerate(given):
        where = f"level {level}, choice {choice}"
        require(len(symbols) == sizes[level], operation, "rules", f"{sizes[level]} symbols at {where}", len(symbols))
        for symbol, alternatives in enumerate(symbols):
            here = f"{where}, symbol {symbol}"
            require(len(alternatives) >= 1, operation, "rules", f"an alternative at {here}", "none")
            for children in alternatives:
                require(len(children) >= 1, operation, "rules", f"children in every alternative at {here}", "none")
                inside = all(0 <= _index(operation, here, child) < sizes[level + 1] for child in children)
                expected = f"children from 0 to {sizes[level + 1] - 1} at {here}"
                require(inside, operation, "rules", expected, list(children))
    return tuple(
        tuple(tuple(tuple(int(c) for c in children) for children in alternatives) for alternatives in symbols)
        for symbols in given
    )


def checked_probs(operation: str, rules: Any, probs: Any) -> Any:
    if probs is None:
        return tuple(
            tuple(tuple((1 / len(alternatives),) * len(alternatives) for alternatives in symbols) for symbols in level)
            for level in rules
        )
    require(len(probs) == len(rules), operation, "probs", f"{len(rules)} levels", len(probs))
    for level, (of_level, given) in enumerate(zip(rules, probs, strict=True)):
        require(len(given) == len(of_level), operation, "probs", f"{len(of_level)} sets at level {level}", len(given))
        for choice, (symbols, given_symbols) in enumerate(zip(of_level, given, strict=True)):
            here = f"level {level}, choice {choice}"
            n = len(symbols)
            require(len(given_symbols) == n, operation, "probs", f"{n} symbols at {here}", len(given_symbols))
            for symbol, (alternatives, p) in enumerate(zip(symbols, given_symbols, strict=True)):
                what = f"{len(alternatives)} probabilities that add up to 1 at {here}, symbol {symbol}"
                right = len(p) == len(alternatives) and all(v >= 0 for v in p) and abs(math.fsum(p) - 1) < 1e-9
                require(right, operation, "probs", what, list(p))
    return tuple(tuple(tuple(tuple(map(float, p)) for p in symbols) for symbols in level) for level in probs)


def checked_choices(operation: str, rules: Any, choice_probs: Any) -> tuple[tuple[float, ...], ...]:
    if choice_probs is None:
        return tuple((1 / len(level),) * len(level) for level in rules)
    require(len(choice_probs) == len(rules), operation, "choice_probs", f"{len(rules)} levels", len(choice_probs))
    for level, (sets, p) in enumerate(zip(rules, choice_probs, strict=True)):
        right = len(p) == len(sets) and all(v >= 0 for v in p) and abs(math.fsum(p) - 1) < 1e-9
        what = f"{len(sets)} probabilities that add up to 1 at level {level}"
        require(right, operation, "choice_probs", what, list(p))
    return tuple(tuple(map(float, p)) for p in choice_probs)


def checked_names(operation: str, n: int, terminals: Sequence[str] | None) -> tuple[str, ...]:
    if terminals is None:
        return tuple("abcdefghijklmnopqrstuvwxyz"[:n]) if n <= 26 else tuple(f"t{i}" for i in range(n))
    names = tuple(terminals)
    right = len(set(names)) == len(names) == n and all(isinstance(name, str) and name for name in names)
    require(right, operation, "terminals", f"{n} different names", list(names)[:30])
    return names


def _index(operation: str, here: str, child: Any) -> int:
    try:
        return operator.index(child)
    except TypeError as error:
        raise argument_error(operation, "rules", f"children as integers at {here}", child, kind=TypeError) from error
