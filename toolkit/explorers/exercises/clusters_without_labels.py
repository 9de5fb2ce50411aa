"""Answers to the exercises of the lesson on clusters without labels."""

from typing import Any

import torch
from torch import Tensor

from toolkit.imsat.exact import expected_batch_entropy
from toolkit.imsat.losses import mutual_information
from toolkit.lessons import Verdict, exercise, expect_choice, expect_number
from toolkit.lessons.checks import in_short, stopped

COUNTS = ((50, 0, 30), (40, 6, 0), (10, 34, 30))
"""Points of each class (rows) in each cluster (columns), for ``best_match``."""

N_CLUSTERS, BATCH_SIZE = 10, 250
"""Of ``batch_bias``: equal clusters, certain predictions."""


@exercise
def information(answer: Any) -> Verdict:
    """Judge a function from probabilities ``[n, K]`` to the mutual information of points and clusters."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of probabilities, got {in_short(answer)}.")
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    cases = (
        ("soft predictions", logits.softmax(1)),
        ("uniform predictions", torch.full((5, 3), 1 / 3, dtype=torch.float64)),
        ("certain predictions, with zeros in them", torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]]),
    )
    for name, probabilities in cases:
        right = mutual_information(probabilities.clamp_min(1e-300).log())
        try:
            came = answer(probabilities.clone())
        except NotImplementedError:
            raise
        except Exception as error:
            return Verdict(False, stopped(error, f"(That was with {name}.)"))
        if came is None or came is ...:
            raise NotImplementedError
        try:
            found = torch.as_tensor(came, dtype=torch.float64).reshape(())
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"Expected one number, got {in_short(came)}.")
        if not torch.allclose(found, right, rtol=0, atol=1e-6):
            return Verdict(False, f"For {name}: {_slip(found, probabilities)}")
    return Verdict(True, "All three cases agree, the one with zeros too.")


def _slip(found: Tensor, probabilities: Tensor) -> str:
    marginal = torch.special.entr(probabilities.mean(0)).sum()
    conditional = torch.special.entr(probabilities).sum(1)
    slips = (
        (marginal, "that is H(Y) alone; take the mean entropy of the rows away."),
        (conditional.mean(), "that is H(Y|X) alone; take it away from H(Y)."),
        (mutual_information(probabilities), "imsat's functions read logits, not probabilities; give them p.log()."),
        (conditional.mean() - marginal, "the sign is turned: H(Y) − H(Y|X)."),
        (marginal - conditional.sum(), "take the mean over the points of their entropies, not the sum."),
        ((marginal - conditional.mean()) / torch.log(torch.tensor(2.0)), "those are bits; use the natural logarithm."),
    )
    if not torch.isfinite(found):
        return "0 · log 0 came out as NaN; it counts as 0, as torch.special.entr has it."
    for value, words in slips:
        if torch.isclose(found, value, rtol=0, atol=1e-6):
            return words
    return "the number differs from H(Y) − H(Y|X)."


@exercise
def best_match(answer: Any) -> Verdict:
    """Judge the accuracy of the clustering in ``COUNTS``, in per cent, under the best one-to-one match."""
    total = sum(map(sum, COUNTS))
    best = 100 * (30 + 40 + 34) / total
    majority = 100 * (50 + 34 + 30) / total
    return expect_number(
        answer,
        best,
        tolerance=0.05,
        withhold=True,
        right="Class a takes cluster 2, class b cluster 0, class c cluster 1: 30 + 40 + 34 of 200.",
        slips={
            majority: "there each cluster takes its majority class; here no two clusters may take the same class.",
            100 * (50 + 34) / total: "that takes the largest counts first; there is a better match.",
            100 * (50 + 6 + 30) / total: "that is the diagonal; the numbers of the clusters mean nothing.",
            best / 100: "in per cent, please.",
            30 + 40 + 34: "that is the number of points; divide by all of them.",
        },
    )


@exercise
def batch_bias(answer: Any) -> Verdict:
    """Judge by how many nats a batch of 250 makes ten equal clusters look less equal than they are, on average."""
    shares = torch.full((N_CLUSTERS,), 1 / N_CLUSTERS, dtype=torch.float64)
    exact = float(torch.log(torch.tensor(float(N_CLUSTERS), dtype=torch.float64)))
    gap = exact - float(expected_batch_entropy(shares, BATCH_SIZE))
    rule = (N_CLUSTERS - 1) / (2 * BATCH_SIZE)
    return expect_number(
        answer,
        gap,
        tolerance=1.5e-3,
        withhold=True,
        right=f"Counting every possible batch gives {gap:.4f}; the rule (K − 1)/2n gives {rule:.4f}.",
        slips={
            0.0: "a batch never has exactly 25 of each cluster; each departure from that costs entropy.",
            (N_CLUSTERS - 1) / BATCH_SIZE: "that is twice as much: the entropy's second derivative comes with a ½.",
            N_CLUSTERS / (2 * BATCH_SIZE): "nearly: the ten shares add up to one, so only K − 1 of them are free.",
            -rule: "how much too low: a positive number.",
            exact - rule: "that is the batch's entropy; how much below log 10 is it?",
            exact: "that is the entropy itself, log 10.",
        },
    )


@exercise
def why_balance(answer: Any) -> Verdict:
    """Judge which useless answer makes the loss 0 if μ is 0: a word."""
    return expect_choice(
        answer,
        "one cluster",
        right="Certain and never changing: one cluster for all makes H(Y|X) and R_SAT 0. Only H(Y) speaks against it.",
        slips={
            "stripes": "Across a stripe's border a small step changes the prediction, so R_SAT is not 0.",
            "undecided everywhere": "That never changes, but it is not certain: H(Y|X) is log K.",
            "one cluster a point": "There are only K clusters, and neighbours in different ones make R_SAT large.",
        },
    )
