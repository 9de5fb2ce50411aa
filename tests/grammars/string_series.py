"""References for grammars of any shape: what each nonterminal derives, string by string, by plain repetition.

Nothing here is clever: start from nothing, apply all rules to all strings found so far, and repeat until the numbers
stand still. Strings are kept up to a length; longer ones are collected under what they begin with, or dropped.
"""

import functools
import itertools
import random
from typing import Any

import numpy as np

from toolkit.grammars.grammar import PCFG, Nonterminal, Rule

Key = tuple[tuple[str, ...], bool]
"""A string, and whether more came behind it."""


@functools.cache
def series(
    grammar: PCFG,
    length: int,
    *,
    longer: bool = True,
    counting: bool = False,
    best: bool = False,
    marked: Nonterminal | None = None,
) -> dict[Nonterminal, dict[Key, np.ndarray]]:
    """Return for each nonterminal the weights of its strings.

    Args:
        grammar: with quickly falling weights.
        length: of the longest strings kept whole.
        longer: collect longer strings under their first tokens; otherwise drop them.
        counting: behind each weight, the weighted count of every rule.
        best: the best derivation's weight in place of the sum.
        marked: a nonterminal that may also end as the token ``#``, once.
    """
    n = 1 + (len(grammar.rules) if counting else 0)

    def times(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        both = x[0] * y + y[0] * x
        both[0] = x[0] * y[0]
        return both

    def join(x: dict[Key, Any], y: dict[Key, Any]) -> dict[Key, Any]:
        found: dict[Key, Any] = {}
        for (a, more_a), p in x.items():
            for (b, more_b), q in y.items():
                both = a if more_a else a + b
                key = (both[:length], more_a or more_b or len(both) > length)
                if (key[1] and not longer) or both.count("#") > 1:
                    continue
                add(found, key, times(p, q))
        return found

    def add(found: dict[Key, Any], key: Key, value: np.ndarray) -> None:
        if key in found:
            found[key] = np.maximum(found[key], value) if best else found[key] + value
        else:
            found[key] = value

    weights = []
    for index, rule in enumerate(grammar.rules):
        weight = np.zeros(n)
        weight[0] = rule.probability
        if counting:
            weight[1 + index] = rule.probability
        weights.append(weight)
    one = np.eye(1, n)[0]
    values: dict[Nonterminal, dict[Key, np.ndarray]] = {symbol: {} for symbol in grammar.nonterminals}
    for _ in range(3000):
        following: dict[Nonterminal, dict[Key, np.ndarray]] = {symbol: {} for symbol in grammar.nonterminals}
        if marked is not None:
            following[marked][("#",), False] = one.copy()
        for rule, weight in zip(grammar.rules, weights, strict=True):
            if rule.probability == 0:
                continue
            whole: dict[Key, np.ndarray] = {((), False): weight}
            for child in rule.children:
                whole = join(whole, {((child,), False): one} if isinstance(child, str) else values[child])
            for key, value in whole.items():
                add(following[rule.parent], key, value)
        change = max(
            (
                float(np.abs(value - values[symbol].get(key, np.zeros(n))).max())
                for symbol, of_symbol in following.items()
                for key, value in of_symbol.items()
            ),
            default=0.0,
        )
        values = following
        if change < 1e-14:
            return values
    raise AssertionError("the numbers do not stand still")


def prefix_mass(strings: dict[Key, np.ndarray], prefix: tuple[str, ...]) -> float:
    """Return the weight of all strings that begin with these tokens."""
    return float(sum(weight[0] for (string, _), weight in strings.items() if string[: len(prefix)] == prefix))


def random_grammar(seed: int, n_nonterminals: int = 3, terminals: str = "ab") -> PCFG:
    """Draw a grammar with empty and unary rules, cycles, recursion, and a rule of probability 0."""
    draw = random.Random(seed)
    names = [Nonterminal(name) for name in "SABCDE"[:n_nonterminals]]

    def side() -> tuple[Any, ...]:
        size = draw.choice((0, 1, 1, 2, 2, 3))
        return tuple(draw.choice((*names, *terminals)) for _ in range(size))

    while True:
        rules = []
        for name in names:
            weights = [draw.random() + 0.1 for _ in range(draw.choice((2, 3)))]
            # One way out for everybody keeps the weights falling.
            sides = [(draw.choice(terminals),), *(side() for _ in weights)]
            shares = [0.4, *(0.6 * weight / sum(weights) for weight in weights)]
            rules += [Rule(name, children, p) for children, p in zip(sides, shares, strict=True)]
            rules.append(Rule(name, side(), 0.0))
        grammar = PCFG(names[0], rules, terminals=tuple(terminals))
        if grammar.checks().spectral_radius < 0.85:
            return grammar


def all_strings(terminals: tuple[str, ...], longest: int) -> list[tuple[str, ...]]:
    """Return every string up to a length, the short ones first."""
    return [string for n in range(longest + 1) for string in itertools.product(terminals, repeat=n)]
