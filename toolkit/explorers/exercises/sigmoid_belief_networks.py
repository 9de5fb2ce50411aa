"""Answers to the exercises of the lesson on sigmoid belief networks."""

import math
from typing import Any

import torch
from torch import Tensor

from toolkit.lessons import Verdict, exercise, expect_choice, expect_number
from toolkit.lessons.checks import in_short, stopped

PRIOR, LIKELIHOOD, GUESS = 0.5, (0.2, 0.9), 0.7
"""The net of ``one_bit_bound``: p(z = 1); p(x = 1) given z = 0 and z = 1; q(z = 1) given x = 1."""

SIZES = (200, 100)
"""Latent variables of each layer of the net of ``as_dear_as_ram``."""


@exercise
def one_bit_bound(answer: Any) -> Verdict:
    """Judge the lower bound on log p(x = 1) of a net with one latent bit."""
    q = (1 - GUESS, GUESS)
    p_z = (1 - PRIOR, PRIOR)
    without_prior = sum(q[z] * math.log(LIKELIHOOD[z]) for z in (0, 1))
    joint = sum(q[z] * (math.log(p_z[z]) + math.log(LIKELIHOOD[z])) for z in (0, 1))
    entropy = -sum(q[z] * math.log(q[z]) for z in (0, 1))
    bound = joint + entropy
    truth = math.log(sum(p_z[z] * LIKELIHOOD[z] for z in (0, 1)))
    return expect_number(
        answer,
        bound,
        tolerance=5e-4,
        withhold=True,
        right=f"It is −{-bound:.3f}; log p(x) itself is −{-truth:.3f}. The difference is what the guess q gets wrong.",
        slips={
            joint: "that is the mean log joint probability; the entropy of q comes on top.",
            without_prior + entropy: "p(x, z) is p(z) times p(x | z): the odds of the coin itself, 0.5, are missing.",
            without_prior: "p(x, z) is p(z) times p(x | z), and the entropy of q comes on top.",
            joint - entropy: "the entropy is added, not taken away: the bound has −log q.",
            truth: "that is log p(x) itself, which the bound stays below.",
            entropy: "that is the entropy of q alone.",
            bound / math.log(2): "those are bits; the lesson counts in nats, with the natural logarithm.",
        },
    )


@exercise
def importance_weighted(answer: Any) -> Verdict:
    """Judge a function from log weights ``[K, images]`` to the bound of each image, log of their mean weight."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of log weights, got {in_short(answer)}.")
    generator = torch.Generator().manual_seed(0)
    cases = (
        ("one sample", torch.randn(1, 3, generator=generator, dtype=torch.float64)),
        ("five samples", 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)),
        ("log weights near −900", -900 + torch.randn(4, 2, generator=generator, dtype=torch.float64)),
        ("log weights near +900", 900 + torch.randn(4, 2, generator=generator, dtype=torch.float64)),
    )
    for name, log_weights in cases:
        right = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
        try:
            came = answer(log_weights.clone())
        except NotImplementedError:
            raise
        except Exception as error:
            return Verdict(False, stopped(error, f"(That was with {name}.)"))
        if came is None or came is ...:
            raise NotImplementedError
        try:
            found = torch.as_tensor(came, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"Expected one number an image, got {in_short(came)}.")
        if found.shape != right.shape:
            return Verdict(False, f"For {name}: expected shape {tuple(right.shape)}, got {tuple(found.shape)}.")
        if not torch.allclose(found, right, rtol=0, atol=1e-8):
            return Verdict(False, f"For {name}: {_slip(found, log_weights)}")
    return Verdict(True, "All four cases agree, those beyond the range of exp too.")


def _slip(found: Tensor, log_weights: Tensor) -> str:
    if not torch.isfinite(found).all():
        return "the weights themselves are beyond the range of numbers: use torch.logsumexp on their logarithms."
    if torch.allclose(found, log_weights.mean(0), atol=1e-8):
        return "that is the mean of the log weights, the plain bound; take the logarithm of the mean weight."
    if torch.allclose(found, torch.logsumexp(log_weights, 0), atol=1e-8):
        return "that is the logarithm of the sum; the mean has a 1/K in it, log K to take away."
    if torch.allclose(found, log_weights.max(0).values, atol=1e-8):
        return "that is the largest log weight."
    return "the numbers differ from log((w_1 + … + w_K) / K)."


@exercise
def left_out(answer: Any) -> Verdict:
    """Judge which term the signal of the second latent layer may leave out."""
    return expect_choice(
        answer,
        "log p(x | z1)",
        right="z2 comes after z1 and x: it cannot change log p(x | z1). Left in, the term would only add noise.",
        slips={
            "log p(z1 | z2)": "z2 stands in that term, so it changes it.",
            "log p(z2)": "that is the probability of z2 itself.",
            "log q(z2 | z1)": "that is the probability that z2 was drawn with.",
        },
    )


@exercise
def as_dear_as_ram(answer: Any) -> Verdict:
    """Judge how many tosses of leave-one-out cost as many evaluations as one RAM estimate of two layers, ``SIZES``."""
    total = 1 + sum(SIZES)
    return expect_number(
        answer,
        total,
        tolerance=0.5,
        withhold=True,
        right=f"One for the toss and one for each of the {sum(SIZES)} coins.",
        slips={
            sum(SIZES): "and one for the toss itself.",
            1 + SIZES[0]: "that is one of the two layers.",
            1 + SIZES[1]: "that is one of the two layers.",
            1 + 2 * sum(SIZES): "the value that was tossed need not be evaluated again for every coin.",
            2 * total: "a toss of leave-one-out is one evaluation; its baseline comes from the others.",
            SIZES[0] * SIZES[1]: "each coin is turned over by itself, not each pair.",
        },
    )
