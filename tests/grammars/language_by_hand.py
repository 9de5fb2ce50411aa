"""All sentences of small families with their probabilities, by plain Python: what exact inference is held against."""

import itertools
import math
import random
from collections import defaultdict

from toolkit.grammars.families import GrammarFamily

Sentence = tuple[int, ...]
Language = dict[Sentence, float]


def language(family: GrammarFamily, metadata: Sentence) -> Language:
    """Return every sentence of one grammar with its probability."""
    yields: list[Language] = [{(token,): 1.0} for token in range(family.n_terminals)]
    for level in reversed(range(family.depth)):
        rules, probs = family.rules[level][metadata[level]], family.probs[level][metadata[level]]
        above = []
        for alternatives, of_symbol in zip(rules, probs, strict=True):
            found: Language = defaultdict(float)
            for children, p in zip(alternatives, of_symbol, strict=True):
                for parts in itertools.product(*(yields[child].items() for child in children)):
                    weight = p * math.prod(q for _, q in parts)
                    if weight:
                        found[sum((part for part, _ in parts), ())] += weight
            above.append(dict(found))
        yields = above
    return yields[0]


def languages(family: GrammarFamily) -> list[Language]:
    """Return that of every grammar, as in ``all_metadata``."""
    return [language(family, tuple(row)) for row in family.all_metadata.tolist()]


def prefix_probs(sentences: Language) -> dict[Sentence, float]:
    """Return the probability of every prefix, the empty one and whole sentences included."""
    found: Language = defaultdict(float)
    for sentence, p in sentences.items():
        for length in range(len(sentence) + 1):
            found[sentence[:length]] += p
    return dict(found)


def choice_prior(family: GrammarFamily) -> list[float]:
    """Return how often metadata choose each grammar."""
    rows = family.all_metadata.tolist()
    return [math.prod(p[c] for p, c in zip(family.choice_probs, row, strict=True)) for row in rows]


def any_family(seed: int) -> GrammarFamily:
    """Draw a small family: one to four children, unequal probabilities and some of 0, one to three sets a level."""
    draw = random.Random(seed)
    depth = draw.choice((1, 2, 3)) if seed else 1
    sizes = [1] + [draw.choice((1, 2, 3)) for _ in range(depth)]
    lengths = {1: (1, 2, 3, 4, 5), 2: (1, 2, 3), 3: (1, 1, 2)}[depth]
    rules, probs, choices = [], [], []
    for level in range(depth):
        n_sets = draw.choice((1, 2, 3))
        choices.append(_probs(draw, n_sets))
        sets, set_probs = [], []
        for _ in range(n_sets):
            symbols = [
                [
                    [draw.randrange(sizes[level + 1]) for _ in range(draw.choice(lengths))]
                    for _ in range(draw.choice((1, 2, 3)))
                ]
                for _ in range(sizes[level])
            ]
            sets.append(symbols)
            set_probs.append([_probs(draw, len(alternatives)) for alternatives in symbols])
        rules.append(sets)
        probs.append(set_probs)
    return GrammarFamily(sizes, rules, probs, choices)


def _probs(draw: random.Random, n: int) -> list[float]:
    weights = [draw.choice((0.0, draw.random(), draw.random(), 1.0)) for _ in range(n)]
    weights = weights if sum(weights) else [1.0] * n
    return [weight / sum(weights) for weight in weights]
