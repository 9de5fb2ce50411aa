"""Answers to the exercises of the lesson on disentanglement."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.disentanglement.bounds import PARTS, mig, profile, unibound
from toolkit.disentanglement.codes import GaussianCodes, synthetic_codes
from toolkit.disentanglement.information import Informations, informations
from toolkit.lessons import Verdict, exercise, expect_number
from toolkit.lessons.checks import in_short, stopped

SINGLE, ENTROPY = (1.2, 0.7, 0.1), 2.0
"""Of ``at_most_and_at_least``: what three latents tell of a factor, each alone, and what there is to tell; bits."""

NATS, N_VALUES = (1.2, 0.4), 8
"""Of ``share``: A and B in nats, and the number of values of the factor."""

COPIED = {
    "UniBound": True,
    "MIG": True,
    "SAP": True,
    "FactorVAE": False,
    "DCI": False,
    "modularity": False,
    "information": False,
}
"""Of ``second_copy``: whether the score is 0 when every latent of a code is there twice."""

ENOUGH = 0.25
"""How much more of UniBound than of MIG the attack of ``attack`` has to take away."""


@exercise
def lower_bounds(answer: Any) -> Verdict:
    """Judge a function from A, B [latents, factors], J and H [factors] to the scores' lower bounds: unique, …"""
    if not callable(answer):
        return Verdict(False, f"Expected a function of four tables, got {in_short(answer)}.")
    for words, found in _codes():
        right = [float(profile(found).mean(part).lower) for part in PARTS]
        tables = [table.clone() for table in (found.single, found.without, found.joint, found.entropy)]
        given = [table.clone() for table in tables]
        try:
            came = answer(*given)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise
            return Verdict(False, stopped(error, "A and B are [latents, factors], J and H have one value a factor."))
        if came is None or came is ...:
            raise NotImplementedError
        if any(not torch.equal(before, after) for before, after in zip(tables, given, strict=True)):
            return Verdict(False, "A table that was given has changed; work on a copy.")
        verdict = _judge_bounds(came, right, tables, words)
        if verdict is not None:
            return verdict
    return Verdict(True, "All codes agree: rotated ones, more latents than factors, and a factor of one value.")


def _judge_bounds(came: Any, right: list[float], tables: list[Tensor], words: str) -> Verdict | None:
    """Return what is wrong with three scores, or None."""
    try:
        scores = [float(score) for score in came]
    except (TypeError, ValueError, RuntimeError):
        return Verdict(False, f"Expected three numbers, got {in_short(came)}.")
    if len(scores) != 3:
        return Verdict(False, f"Expected three numbers, got {len(scores)}.")
    wrong = [part for part, score, wanted in zip(PARTS, scores, right, strict=True) if not abs(score - wanted) <= 1e-6]
    if not wrong:
        return None
    if not all(map(math.isfinite, scores)):
        return Verdict(
            False, f"{words}: NaN or infinity. A factor of one value has nothing to tell; leave it out of the mean."
        )
    for slip, sentence in _SLIPS:
        if all(abs(score - other) <= 1e-6 for score, other in zip(scores, slip(*tables), strict=True)):
            return Verdict(False, f"{words}: {sentence}")
    place = PARTS.index(wrong[0])
    return Verdict(False, f"{words}: the {wrong[0]} part is not {scores[place]:.4g}.")


def _ends(single: Tensor, without: Tensor, joint: Tensor) -> list[Tensor]:
    shared = single + without - joint
    return [(single - without).clamp(min=0), shared.clamp(min=0), (-shared).clamp(min=0)]


def _all_factors(single: Tensor, without: Tensor, joint: Tensor, entropy: Tensor) -> list[float]:
    shares = [end.amax(0) / entropy.clamp(min=1e-30) for end in _ends(single, without, joint)]
    return [float(share.mean()) for share in shares]


def _best_alone(single: Tensor, without: Tensor, joint: Tensor, entropy: Tensor) -> list[float]:
    best, known = single.argmax(0, keepdim=True), entropy > 0
    ends = [end.gather(0, best)[0] for end in _ends(single, without, joint)]
    return [float((end[known] / entropy[known]).mean()) for end in ends]


def _averaged(single: Tensor, without: Tensor, joint: Tensor, entropy: Tensor) -> list[float]:
    known = entropy > 0
    return [float((end[:, known] / entropy[known]).mean()) for end in _ends(single, without, joint)]


def _in_nats(single: Tensor, without: Tensor, joint: Tensor, entropy: Tensor) -> list[float]:
    return [float(end.amax(0)[entropy > 0].mean()) for end in _ends(single, without, joint)]


def _in_bits(*tables: Tensor) -> list[float]:
    known = tables[3] > 0
    return [float((end.amax(0)[known] / tables[3][known]).mean()) * math.log(2) for end in _ends(*tables[:3])]


_SLIPS: list[tuple[Callable[..., list[float]], str]] = [
    (_all_factors, "a factor of one value counts as 0 there; it has nothing to tell, so leave it out of the mean."),
    (_best_alone, "take the largest over latents of each part by itself, not at the latent that knows most alone."),
    (_averaged, "for each factor take the latent with the largest part, not the mean over latents."),
    (_in_nats, "these are nats; divide by H of each factor."),
    (_in_bits, "the informations are nats and so is H; nothing is to be turned into bits."),
]


def _codes() -> list[tuple[str, Informations]]:
    angle = torch.tensor(0.6, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]], dtype=torch.float64)
    plain = synthetic_codes((3, 4, 2), n_noise=2, dtype=torch.float64, device="cpu")
    turned = synthetic_codes((3, 4, 2), n_noise=0, rotation=turn, dtype=torch.float64, device="cpu")
    flat = synthetic_codes((3, 1, 4), n_noise=1, rotation=turn, dtype=torch.float64, device="cpu")
    made = [
        ("A code with more latents than factors", _copied(plain)),
        ("A rotated code", turned),
        ("A code with fewer latents than factors", _narrow(turned)),
        ("A code with a factor of one value", flat),
    ]
    return [
        (words, informations(codes, n_samples=60, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        for words, codes in made
    ]


def _copied(codes: GaussianCodes) -> GaussianCodes:
    """Append a noisier view of the sum of the first two latents."""
    mean = torch.cat([codes.mean, codes.mean[:, :2].sum(1, keepdim=True)], 1)
    deviation = torch.cat([codes.standard_deviation, codes.standard_deviation[:, :1] * 2], 1)
    return GaussianCodes(mean, deviation, codes.factors, codes.factor_sizes)


def _narrow(codes: GaussianCodes) -> GaussianCodes:
    """Keep the first two latents."""
    return GaussianCodes(codes.mean[:, :2], codes.standard_deviation[:, :2], codes.factors, codes.factor_sizes)


@exercise
def at_most_and_at_least(most: Any, least: Any) -> Verdict:
    """Judge the largest and the smallest share that UniBound may be, for ``SINGLE`` and ``ENTROPY``."""
    best, second, third = SINGLE
    upper = expect_number(
        most,
        (best - second) / ENTROPY,
        tolerance=1e-3,
        withhold=True,
        slips={
            best - second: "in bits; take the share of H(y) = 2 bits.",
            best / ENTROPY: "the others know something, too: together at least as much as the best of them.",
            (best - third) / ENTROPY: "the others include the second latent.",
            (best - second - third) / ENTROPY: "the two others may tell the same thing, which counts once.",
        },
    )
    lower = expect_number(
        least,
        0.0,
        tolerance=1e-3,
        withhold=True,
        slips={
            (best - second) / ENTROPY: "together the two others may know far more than each alone; think of XOR.",
            (best - second - third) / ENTROPY: "together the two others may know more than the sum; think of XOR.",
            (best - ENTROPY) / ENTROPY: "no part is negative.",
        },
    )
    for name, verdict in (("At most", upper), ("At least", lower)):
        if not verdict.right:
            return Verdict(False, f"{name}: {verdict.sentence[0].lower()}{verdict.sentence[1:]}")
    return Verdict(
        True,
        "The others together know at least what the best of them knows: so UniBound is at most MIG, 0.25. They may "
        "know all 2 bits, and MIG is 0.25 all the same.",
    )


@exercise
def second_copy(answer: Any) -> Verdict:
    """Judge which scores are 0 once every latent is there twice: a set of keys of ``COPIED``."""
    if isinstance(answer, str) or not isinstance(answer, (set, frozenset, list, tuple)):
        return Verdict(False, f'Expected a set of names, for example {{"DCI"}}, got {in_short(answer)}.')
    known = {name.casefold(): name for name in COPIED}
    words = [str(name).strip().casefold() for name in answer]
    unknown = [name for name in words if name not in known]
    if unknown:
        return Verdict(False, f"{in_short(unknown[0])} is none of {', '.join(COPIED)}.")
    given, right = {known[name] for name in words}, {name for name, zero in COPIED.items() if zero}
    hints = {
        "FactorVAE": "FactorVAE asks which factor a latent follows; two latents may follow the same one.",
        "DCI": "DCI asks whether a latent serves one factor only; a copy does, too.",
        "modularity": "Modularity asks whether a latent knows one factor only; a copy does, too.",
        "information": "What all latents know together does not change.",
    }
    for name in COPIED:
        if name in given - right:
            return Verdict(False, hints[name])
    if given != right:
        missing = len(right - given)
        return Verdict(False, f"{missing} more. Which scores are a gap between the best latent and others?")
    return Verdict(
        True,
        "The three gaps see an exact copy: the runner-up is as good as the best. The others do not look for copies. "
        "Mix the copy, and of the three only UniBound falls nearly all the way.",
    )


@exercise
def share(answer: Any) -> Verdict:
    """Judge what a latent adds to UniBound for one factor of ``N_VALUES`` values, with A and B = ``NATS``."""
    alone, others = NATS
    gap = alone - others
    return expect_number(
        answer,
        gap / math.log(N_VALUES),
        tolerance=2e-3,
        withhold=True,
        right="0.8 nats of log 8 = 2.08 nats. In bits it is 1.15 of 3: the same share.",
        slips={
            gap / math.log2(N_VALUES): "nats over bits: H(y) is 3 bits, but log 8 nats.",
            gap: "that is in nats; UniBound is a share of H(y).",
            gap / math.log(2): "that is in bits; UniBound is a share of H(y).",
            gap / N_VALUES: "H(y) is not the number of values, but its logarithm.",
            gap / alone: "the share is of what there is to know, H(y), not of what the latent knows.",
            alone / math.log(N_VALUES): "what the others know is to be taken away.",
        },
    )


@exercise
def attack(answer: Any) -> Verdict:
    """Judge a function from bits [points, latents] to attacked latents that costs UniBound more than MIG."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of a table of latents, got {in_short(answer)}.")
    sentence = ""
    for n_factors in (3, 4, 6):
        factors = torch.cartesian_prod(*[torch.arange(2)] * n_factors)
        order = torch.randperm(8 * len(factors), generator=torch.Generator().manual_seed(n_factors))
        factors = factors.repeat(8, 1)[order]
        given = factors.clone()
        try:
            came = answer(given)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise
            return Verdict(False, stopped(error, f"It was given {len(factors)} points of {n_factors} latents."))
        if came is None or came is ...:
            raise NotImplementedError
        if not torch.equal(given, factors):
            return Verdict(False, "The points that were given have changed; work on a copy.")
        try:
            latents = torch.as_tensor(came).detach().double()
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"Expected a table of latents, got {in_short(came)}.")
        verdict, sentence = _judge_attack(latents, factors)
        if verdict is not None:
            return verdict
    return Verdict(True, sentence)


def _judge_attack(latents: Tensor, factors: Tensor) -> tuple[Verdict | None, str]:
    """Return what is wrong with attacked latents, or None and what the attack did."""
    expected = f"a table with a row for each of {len(factors)} points"
    if latents.ndim != 2 or len(latents) != len(factors) or latents.shape[1] == 0:
        return Verdict(False, f"Expected {expected}, got {in_short(latents)}."), ""
    if not bool(latents.isfinite().all()):
        return Verdict(False, "Some latents are not finite."), ""
    for number, column in enumerate(latents.T, 1):
        n_values = len(column.unique())
        if n_values > len(factors) / 4:  # any function of the factors has at most an eighth
            where = f"Latent {number} takes {n_values} different values at {len(factors)} points."
            return Verdict(False, f"{where} Counted like this it names the points; keep to few values."), ""
    found = _counted(latents, factors)
    if float((found.joint / found.entropy).min()) < 1 - 1e-9:
        return Verdict(False, "Information is lost: of all latents together a factor cannot be told any more."), ""
    scores = unibound(found), mig(found)
    said = f"Of {factors.shape[1]} factors: UniBound falls from 1 to {scores[0]:.2f}, MIG from 1 to {scores[1]:.2f}."
    if scores[1] - scores[0] >= ENOUGH:
        return None, f"{said} All the information is still there."
    if scores[0] > 1 - 1e-9:
        hint = "The other latents together do not tell a factor yet."
    elif scores[1] < 1e-9:
        hint = "Some single new latent gives a factor away. Let no single one tell anything."
    else:
        hint = f"That is to cost UniBound more, by {ENOUGH:g} at least."
    return Verdict(False, f"{said} {hint}"), ""


def _counted(latents: Tensor, factors: Tensor) -> Informations:
    """Return the exact informations of points that are drawn with equal probability, by counting."""
    n_latents, n_factors = latents.shape[1], factors.shape[1]
    values = (latents * 1e6).round()  # rounding errors are no values of their own
    every = list(range(n_latents))
    sets = [[k] for k in every] + [[k for k in every if k != left_out] for left_out in every] + [every]
    posteriors = torch.stack([_posterior(values[:, columns], factors) for columns in sets])
    rows = torch.tensor([every, [n_latents + k for k in every], [2 * n_latents] * n_latents])
    names = tuple(f"factor {k + 1}" for k in range(n_factors)), tuple(f"z{k + 1}" for k in every)
    prior = torch.full((2 * n_factors,), 0.5, dtype=torch.float64)
    return Informations(posteriors, rows, prior, (2,) * n_factors, *names, torch.arange(len(latents)))


def _posterior(values: Tensor, factors: Tensor) -> Tensor:
    """Return how probable 0 and 1 of each factor are among the points with the same values."""
    group = torch.zeros(len(values), dtype=torch.int64)
    if values.shape[1]:
        group = torch.unique(values, dim=0, return_inverse=True)[1]
    sizes = torch.bincount(group).double()
    ones = torch.zeros(len(sizes), factors.shape[1], dtype=torch.float64).index_add_(0, group, factors.double())
    shares = (ones / sizes[:, None])[group]
    return torch.stack([1 - shares, shares], -1).flatten(1)
