"""Properties of a grammar as a whole: is it consistent, how long are its sentences, how uncertain its derivations."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.grammars.closures import CRITICAL, reachable, spectral_radius
from toolkit.grammars.compiled import useful_rules
from toolkit.grammars.rules import Nonterminal, Rule


@dataclass(frozen=True)
class GrammarChecks:
    """What is worth knowing of a grammar before working with it.

    Attributes:
        unreachable: nonterminals that no derivation from the start symbol contains.
        unproductive: nonterminals that no finite derivation rewrites into terminals.
        proper: whether the probabilities of each parent add up to 1.
        spectral_radius: of the matrix of how many of each nonterminal a rewritten one becomes on average; over what can
            be reached.
        consistent: whether a derivation ends with probability 1. So it is if everything that can be reached is
            productive and the spectral radius is at most 1 (Booth and Thompson, IEEE Trans. Computers 22, 1973).
    """

    unreachable: tuple[Nonterminal, ...]
    unproductive: tuple[Nonterminal, ...]
    proper: bool
    spectral_radius: float
    consistent: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, nonterminals as text."""
        plain = asdict(self)
        plain["unreachable"] = [symbol.name for symbol in self.unreachable]
        plain["unproductive"] = [symbol.name for symbol in self.unproductive]
        return plain


@dataclass(frozen=True, eq=False)
class Means:
    """What one rewriting of each nonterminal leads to on average.

    Attributes:
        symbols: ``[nonterminals, nonterminals]`` how many of each nonterminal.
        tokens: how many tokens.
        entropy: of the choice of the rule, in nats.
        reached: from which nonterminals the start symbol leads to (1 where it does).
        start: which nonterminal the start symbol is.
    """

    symbols: Float64[Tensor, "nonterminals nonterminals"]
    tokens: Float64[Tensor, " nonterminals"]
    entropy: Float64[Tensor, " nonterminals"]
    reached: Float64[Tensor, " nonterminals"]
    start: int


def mean_rewriting(start: Nonterminal, nonterminals: Sequence[Nonterminal], rules: Sequence[Rule]) -> Means:
    """Return the averages of one rewriting."""
    places = {symbol: index for index, symbol in enumerate(nonterminals)}
    n = len(nonterminals)
    symbols = torch.zeros(n, n, dtype=torch.float64)
    tokens, entropy = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for rule in rules:
        if rule.probability == 0:
            continue
        parent = places[rule.parent]
        entropy[parent] -= rule.probability * math.log(rule.probability)
        for child in rule.children:
            if isinstance(child, Nonterminal):
                symbols[parent, places[child]] += rule.probability
            else:
                tokens[parent] += rule.probability
    reached = reachable(symbols)[places[start]].double()
    return Means(symbols, tokens, entropy, reached, places[start])


def check_grammar(start: Nonterminal, nonterminals: tuple[Nonterminal, ...], rules: tuple[Rule, ...]) -> GrammarChecks:
    """Return the checks of a grammar; see :class:`GrammarChecks`."""
    means = mean_rewriting(start, nonterminals, rules)
    productive = {rules[index].parent for index in useful_rules(rules)}
    unproductive = tuple(symbol for symbol in nonterminals if symbol not in productive)
    unreachable = tuple(s for s, reached in zip(nonterminals, means.reached.tolist(), strict=True) if not reached)
    radius = spectral_radius(means.symbols * means.reached * means.reached[:, None])
    consistent = radius <= 1 + CRITICAL and set(unproductive) <= set(unreachable)
    # Probabilities that do not add up never get this far.
    return GrammarChecks(unreachable, unproductive, True, radius, consistent)


def total_from_start(means: Means, each: Float64[Tensor, " nonterminals"]) -> float:
    """Return the mean of a sum over all nodes of a derivation; infinite where derivations are endless on average.

    Args:
        means: of a consistent grammar.
        each: ``>= 0``, what every node of a nonterminal adds.
    """
    # Endless parts that add nothing do not count.
    adds = (reachable(means.symbols) & (each > 0)).any(1) & (means.reached > 0)
    if not bool(adds[means.start]):
        return 0.0
    members = adds.nonzero().flatten()
    symbols = means.symbols[members][:, members]
    if spectral_radius(symbols) >= 1 - CRITICAL:
        return math.inf
    identity = torch.eye(len(members), dtype=torch.float64)
    totals = torch.linalg.solve(identity - symbols, each[members])
    return float(totals[members == means.start])
