"""Answers to the exercises of the lesson on gradients through coin flips."""

from typing import Any

import torch
from torch import Tensor

from toolkit.estimators import Factorized, exact
from toolkit.estimators.problems import Problem
from toolkit.lessons import Verdict, exercise, expect_number
from toolkit.lessons.checks import in_short, stopped

HEADS, COST_HEADS, COST_TAILS = 0.8, 3.0, 1.0
"""The coin of ``best_baseline``: its probability of 1, and the cost of 1 and of 0."""

SIZES, ARITIES = (4, 3, 2), (2, 2, 5)
"""The net of ``price``: variables of each layer, and how many values each of them has."""


@exercise
def best_baseline(answer: Any) -> Verdict:
    """Judge the baseline that leaves no variance for one coin: probability 0.8 of 1, cost 3 for 1 and 1 for 0."""
    mu, one, zero = HEADS, COST_HEADS, COST_TAILS
    best, mean = (1 - mu) * one + mu * zero, mu * one + (1 - mu) * zero
    return expect_number(
        answer,
        best,
        tolerance=1e-6,
        withhold=True,
        right=f"Both outcomes now give {mu * (1 - mu) * (one - zero):.2f}, which is the gradient.",
        slips={
            mean: "that is the mean cost. The best baseline weighs the cost of 1 by the probability of 0.",
            (one + zero) / 2: "that is right for a fair coin; this one is not.",
            mu * (1 - mu) * (one - zero): "that is the gradient, not the baseline.",
        },
    )


def _cost_of(seed: int, size: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(size, generator=generator, dtype=torch.float64)
    b = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1)


@exercise
def flip_each(answer: Any) -> Verdict:
    """Judge a function ``ram(f, mu, z)``: for bits ``z`` the estimate for every bit, the others left as they are."""
    if not callable(answer):
        return Verdict(False, f"Expected a function ram(f, mu, z), got {in_short(answer)}.")
    for seed, size in ((1, 4), (0, 1), (2, 12)):
        generator = torch.Generator().manual_seed(seed)
        mu = torch.rand(size, generator=generator, dtype=torch.float64)
        z = (torch.rand(size, generator=generator, dtype=torch.float64) < mu).double()
        f, before = _cost_of(seed, size), z.clone()
        try:
            came = answer(f, mu, z)
        except NotImplementedError:
            raise
        except Exception as error:
            return Verdict(False, stopped(error, f"(That was with {size} bit{'s' * (size > 1)}.)"))
        if came is None or came is ...:
            raise NotImplementedError
        if not torch.equal(z, before):
            return Verdict(False, "The bits that went in were changed: turn a copy over, z.clone().")
        verdict = _compare(came, f, mu, z)
        if verdict is not None:
            return verdict
    return Verdict(True, "Three functions of 1, 4 and 12 bits agree. For 1 bit the estimate is the exact gradient.")


def _compare(came: Any, f: Any, mu: Tensor, z: Tensor) -> Verdict | None:
    size = len(z)
    eye = torch.eye(size, dtype=z.dtype)
    ones, zeros = f(z * (1 - eye) + eye), f(z * (1 - eye))
    right = mu * (1 - mu) * (ones - zeros)
    try:
        found = torch.as_tensor(came, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return Verdict(False, f"Expected {size} numbers, one a bit, got {in_short(came)}.")
    if found.shape != right.shape:
        return Verdict(False, f"For {size} bits expected shape ({size},), got {tuple(found.shape)}.")
    if torch.allclose(found, right, rtol=0, atol=1e-9):
        return None
    slips = {
        "the factor μ(1 − μ) is missing.": ones - zeros,
        "the sign is turned round: the cost with the bit 1, minus the cost with it 0.": -right,
        "that is the flipped minus the present cost: where the bit is 1 that has the wrong sign.": (
            mu * (1 - mu) * (f((z - eye).abs()) - f(z))
        ),
        "that is the likelihood ratio, f(z)(z − μ).": f(z) * (z - mu),
        "that sets all the bits at once: set one, and leave the others as they are.": (
            mu * (1 - mu) * (f(torch.ones_like(z)) - f(torch.zeros_like(z)))
        ),
    }
    for sentence, wrong in slips.items():
        if torch.allclose(found, wrong, rtol=0, atol=1e-9):
            return Verdict(False, f"For {size} bit{'s' * (size > 1)}: {sentence}")
    return Verdict(False, f"For {size} bit{'s' * (size > 1)} the numbers differ: expected μ(1 − μ)(f(1) − f(0)).")


@exercise
def price(answer: Any) -> Verdict:
    """Judge how many evaluations one RAM estimate takes for layers of 4 and 3 bits and of 2 variables of 5 values."""
    alternatives = [size * (arity - 1) for size, arity in zip(SIZES, ARITIES, strict=True)]
    every = [size * arity for size, arity in zip(SIZES, ARITIES, strict=True)]
    total = 1 + sum(alternatives)
    return expect_number(
        answer,
        total,
        tolerance=1e-6,
        withhold=True,
        right=f"One for the sample, {sum(alternatives)} for what each variable might have been instead.",
        slips={
            total - 1: "and one for the sample itself.",
            1 + sum(SIZES): "a variable with five values might have been four others.",
            2 * sum(SIZES): "the value drawn is the sample itself; with five values there are four others.",
            sum(every): "the value that was drawn need not be evaluated again for every variable.",
            1 + sum(every): "the value that was drawn need not be evaluated again for every variable.",
            2 ** (SIZES[0] + SIZES[1]) * 5 ** SIZES[2]: "that is every configuration: the exact gradient.",
        },
    )


@exercise
def coupled_bits(logits: Any, f: Any) -> Verdict:
    """Judge two logits and a cost of two bits that needs both: the bits coupled, and RAM left with some variance."""
    if not callable(f):
        return Verdict(False, f"Expected a function of z with shape […, 2], got {in_short(f)}.")
    try:
        tensor = torch.as_tensor(logits, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return Verdict(False, f"Expected two logits, got {in_short(logits)}.")
    if tensor.shape != (2,):
        return Verdict(False, f"Expected two logits, got shape {tuple(tensor.shape)}.")

    def cost(z: Tensor) -> Tensor:
        return torch.as_tensor(f(z)).to(z)  # a comparison of bits is a cost as well

    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    costs = cost(corners)
    if costs.shape != (4,):
        return Verdict(
            False,
            f"For z of shape (4, 2) expected 4 costs, shape (4,), got {tuple(costs.shape)}: write z[..., 0].",
        )
    problem: Problem = Factorized(tensor, cost)
    truth = exact(problem).gradients[0]
    coupling = float(costs[0] - costs[1] - costs[2] + costs[3])
    if abs(coupling) <= 1e-9 * float(costs.abs().max()):
        return Verdict(False, "That cost is a sum of one term a bit: RAM has no variance there. Multiply the two bits.")
    mu = torch.sigmoid(tensor)
    share = float(((mu * (1 - mu)) ** 2 * (mu * (1 - mu)).flip(0)).sum())
    if share < 1e-9:
        return Verdict(False, "The bits are coupled, but one of them is all but certain: take logits nearer to zero.")
    along = [0.0 if abs(part) < 1e-12 else part for part in truth.tolist()]
    return Verdict(
        True,
        f"f(1,1) − f(1,0) − f(0,1) + f(0,0) = {coupling:.3g}: the effect of one bit depends on the other, so RAM's "
        f"variance is {share * coupling**2:.3g}, about a gradient of ({along[0]:.3g}, {along[1]:.3g}).",
    )
