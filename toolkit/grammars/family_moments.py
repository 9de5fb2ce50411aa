"""Lengths and entropies of the documents of a family, without drawing any."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.grammars.families import GrammarFamily

_LARGEST_DENOMINATOR = 10**6


def expected_length(family: GrammarFamily) -> Fraction:
    """Return the mean number of tokens of a document, over metadata too; see :meth:`GrammarFamily.expected_length`."""
    below = [Fraction(1)] * family.n_terminals
    for level in reversed(range(family.depth)):
        choices = _fractions(family.choice_probs[level])
        below = [
            sum(
                (
                    choice_prob * p * sum(below[child] for child in children)
                    for choice, choice_prob in enumerate(choices)
                    for children, p in zip(
                        family.rules[level][choice][symbol],
                        _fractions(family.probs[level][choice][symbol]),
                        strict=True,
                    )
                ),
                Fraction(0),
            )
            for symbol in range(family.sizes[level])
        ]
    return below[0]


def derivation_entropy(family: GrammarFamily) -> float:
    """Return the entropy of derivations given the metadata; see :meth:`GrammarFamily.entropy`."""
    # The choices of the levels are independent, so that what lies below may be averaged before it is added up.
    below = [0.0] * family.n_terminals
    for level in reversed(range(family.depth)):
        below = [
            math.fsum(
                choice_prob * p * (-math.log(p) + math.fsum(below[child] for child in children))
                for choice, choice_prob in enumerate(family.choice_probs[level])
                for children, p in zip(
                    family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True
                )
                if p > 0
            )
            for symbol in range(family.sizes[level])
        ]
    return below[0]


def length_distribution(family: GrammarFamily) -> Float[Tensor, " lengths"]:
    """Return the probability of each length from 0 on; see :meth:`GrammarFamily.length_distribution`."""
    # below[choices of the levels from here on][symbol]; symbols of one document share these choices, so that only the
    # root's distributions may be averaged
    below = [[np.array([0.0, 1.0])] * family.n_terminals]
    for level in reversed(range(family.depth)):
        below = [
            [
                _mixture(
                    [
                        (p, [parts[child] for child in children])
                        for children, p in zip(
                            family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True
                        )
                        if p > 0
                    ]
                )
                for symbol in range(family.sizes[level])
            ]
            for choice, parts in product(range(family.n_choices[level]), below)
        ]
    weights = family.metadata_log_prob.exp().tolist()
    mixed = np.zeros(family.longest + 1)
    for weight, roots in zip(weights, below, strict=True):
        mixed[: len(roots[0])] += weight * roots[0]
    return torch.from_numpy(mixed)


def _mixture(alternatives: list[tuple[float, list[np.ndarray]]]) -> np.ndarray:
    sums = []
    for p, parts in alternatives:
        joined = np.array([p])
        for part in parts:
            joined = np.convolve(joined, part)
        sums.append(joined)
    mixed = np.zeros(max(map(len, sums)))
    for joined in sums:
        mixed[: len(joined)] += joined
    return mixed


def _fractions(probs: tuple[float, ...]) -> list[Fraction]:
    """Return what floating-point probabilities stand for: simple fractions where those add up to 1."""
    if len(set(probs)) == 1:
        return [Fraction(1, len(probs))] * len(probs)
    simple = [Fraction(p).limit_denominator(_LARGEST_DENOMINATOR) for p in probs]
    if sum(simple) == 1 and all(float(fraction) == p for fraction, p in zip(simple, probs, strict=True)):
        return simple
    total = sum(map(Fraction, probs))
    return [Fraction(p) / total for p in probs]
