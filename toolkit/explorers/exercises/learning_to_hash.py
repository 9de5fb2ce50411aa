"""Answers to the exercises of the lesson on learning to hash."""

import math
from typing import Any

import torch

from toolkit.imsat.exact import exact_hash_information
from toolkit.imsat.hash_losses import hash_information
from toolkit.lessons import Verdict, exercise, expect_choice, expect_number
from toolkit.lessons.checks import in_short, stopped

N_BITS, RADIUS = 16, 2
"""Of ``codes_in_a_ball``."""

RANKING = (True, False, True, True, False)
"""Whether the retrieved items of ``average_precision`` are of the query's class, the nearest first; no others are."""


@exercise
def codes_in_a_ball(answer: Any) -> Verdict:
    """Judge how many codes of 16 bits differ from a given one in at most two bits."""
    counts = [math.comb(N_BITS, r) for r in range(RADIUS + 1)]
    return expect_number(
        answer,
        sum(counts),
        tolerance=0.5,
        withhold=True,
        right="The code itself, 16 that differ in one bit, 120 in two: 137 places to look up in any gallery.",
        slips={
            sum(counts) - 1: "the code itself belongs to the ball.",
            1 + counts[1]: "those differ in at most one bit.",
            counts[2]: "those differ in exactly two bits.",
            1 + 16 + 16 * 15: "each pair of bits is counted twice there.",
            2**RADIUS: "that many codes share the other fourteen bits; which two bits differ is open.",
        },
    )


@exercise
def hamming(answer: Any) -> Verdict:
    """Judge a function from two tables of bits ``[q, D]`` and ``[g, D]`` to their Hamming distances ``[q, g]``."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of two tables of bits, got {in_short(answer)}.")
    generator = torch.Generator().manual_seed(0)
    for n_queries, n_gallery, n_bits in ((3, 5, 8), (1, 1, 1), (4, 2, 70)):
        queries = torch.rand(n_queries, n_bits, generator=generator) < 0.5
        gallery = torch.rand(n_gallery, n_bits, generator=generator) < 0.5
        right = (queries[:, None] != gallery).sum(2)
        try:
            came = answer(queries.clone(), gallery.clone())
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise  # the dots of the lesson; torch's own says what it cannot do with booleans
            return Verdict(False, stopped(error, "The tables are boolean tensors, one row a code."))
        if came is None or came is ...:
            raise NotImplementedError
        try:
            found = torch.as_tensor(came)
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"Expected a table of distances, got {in_short(came)}.")
        if found.shape != right.shape:
            return Verdict(False, f"Expected shape {tuple(right.shape)}, got {tuple(found.shape)}.")
        if not torch.equal(found.double(), right.double()):
            same = torch.equal(found.double(), (n_bits - right).double())
            share = torch.allclose(found.double() * n_bits, right.double(), rtol=0, atol=1e-4)
            wrong = "That counts the bits that agree." if same else "Some distances are wrong."
            return Verdict(False, "That is the share of the bits that differ; count them." if share else wrong)
    return Verdict(True, "All tables agree, those of one bit and of 70 bits too.")


@exercise
def average_precision(answer: Any) -> Verdict:
    """Judge the average precision of ``RANKING``."""
    right_ones = [position for position, right in enumerate(RANKING) if right]
    precisions = [(found + 1) / (position + 1) for found, position in enumerate(right_ones)]
    value = sum(precisions) / len(precisions)
    everywhere = [sum(RANKING[:place]) / place for place in range(1, len(RANKING) + 1)]
    return expect_number(
        answer,
        value,
        tolerance=5e-3,
        withhold=True,
        right="The precision where each right one is found, 1, 2/3 and 3/4, on average.",
        slips={
            sum(RANKING) / len(RANKING): "that is the precision of the whole list; the order should count.",
            sum(everywhere) / len(RANKING): "that is the mean over all places; take those where a right one is found.",
            sum(precisions) / len(RANKING): "the mean is over the three right ones, not over all five places.",
        },
    )


@exercise
def too_much(answer: Any) -> Verdict:
    """Judge by how many nats the expansion overrates three coins with the XORs of the first and of the last two."""
    coins = torch.cartesian_prod(*[torch.tensor([False, True])] * 3)
    bits = torch.cat((coins, coins[:, 1:] ^ coins[:, :-1]), 1).double().mul(2).sub(1) * 60  # logits of certain bits
    excess = float(hash_information(bits, pair_weight=1.0) - exact_hash_information(bits))
    return expect_number(
        answer,
        excess,
        tolerance=5e-3,
        withhold=True,
        right="Five bits of log 2 each, and no pair shares anything; but there are only eight codes: 2 log 2 too much.",
        slips={
            5 / 2 * excess: "that is what the expansion gives; take the exact information away.",
            3 / 2 * excess: "that is the exact information.",
            excess / 2: "that is for one XOR; here are two.",
            0.0: "the pairs share nothing, but a bit follows from two others.",
            2.0: "that is in bits; the lesson counts in nats.",
            -excess: "the expansion gives too much here, not too little.",
        },
    )


@exercise
def which_weight(answer: Any) -> Verdict:
    """Judge which coefficient makes the expansion exact for two bits: a number, 1 or 2."""
    return expect_choice(
        str(answer).removesuffix(".0"),
        "1",
        right="I(Y1, Y2; X) = I(Y1; X) + I(Y2; X) − I(Y1; Y2). The weight 2 of the authors' code asks for more.",
        slips={
            "2": "That counts the shared information of the pair twice.",
            "0": "Then nothing that is shared counts.",
        },
    )
