"""Families as grammars without levels: the root chooses the metadata, and symbols with the same rules are one."""

from itertools import product

from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.rules import Nonterminal, Rule

_Right = tuple[Nonterminal | str, ...]
_Alternatives = tuple[tuple[_Right, float], ...]


def to_pcfg(family: GrammarFamily) -> PCFG:
    """Write a family as one probabilistic context-free grammar.

    A symbol needs a nonterminal for each combination of choices from its level down, for all nodes of a document share
    these; combinations in which all its rules agree share one. With several grammars the start symbol ``S`` first
    chooses a root ``S_…``, named after its choices (of levels that have several), with the probability of the
    metadata.

    Args:
        family: one or several grammars. The number of nonterminals grows with the number of grammars.

    Returns:
        A grammar of the same sentences with the same probabilities; ids of tokens are those of the family.
    """
    made: dict[tuple[int, int, _Alternatives], Nonterminal] = {}
    levels: list[list[Rule]] = []
    # below[choices of the levels from here on][symbol]
    below: dict[tuple[int, ...], list[Nonterminal | str]] = {(): list(family.terminals)}
    for level in reversed(range(family.depth)):
        rules: list[Rule] = []
        here: dict[tuple[int, ...], list[Nonterminal | str]] = {}
        for choice, rest in product(range(family.n_choices[level]), below):
            choices = (choice, *rest)
            here[choices] = []
            for symbol in range(family.sizes[level]):
                alternatives: _Alternatives = tuple(
                    (tuple(below[rest][child] for child in children), p)
                    for children, p in zip(
                        family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True
                    )
                )
                key = (level, symbol, alternatives)
                if key not in made:
                    kinds = zip(choices, family.n_choices[level:], strict=True)
                    suffix = "".join(f"_{c}" for c, n in kinds if n > 1)
                    made[key] = Nonterminal(family.symbol_name(level, symbol) + suffix)
                    rules += [Rule(made[key], right, p) for right, p in alternatives]
                here[choices].append(made[key])
        below = here
        levels.append(rules)
    start = Nonterminal(family.symbol_name(0, 0))
    if family.n_grammars > 1:
        weights: dict[Nonterminal | str, float] = {}
        for choices, (root,) in below.items():
            p = 1.0
            for level, choice in enumerate(choices):
                p *= family.choice_probs[level][choice]
            weights[root] = weights.get(root, 0.0) + p
        levels.append([Rule(start, [root], min(p, 1.0)) for root, p in weights.items()])
    # from the root down, as grammars are read
    return PCFG(start, [rule for level in reversed(levels) for rule in level], terminals=family.terminals)
