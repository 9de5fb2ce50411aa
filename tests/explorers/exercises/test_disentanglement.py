"""Right answers are right, likely slips are named, and nothing raises."""

import itertools
import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import MaskedCopy, PointCodes, Redundancy, evaluate, synthetic_codes
from toolkit.explorers.exercises import disentanglement as exercises


def solution(A, B, J, H):
    """As the lesson prints it."""
    known = H > 0
    parts = A - B, A + B - J, J - A - B
    return [(part.clamp(min=0).amax(0)[known] / H[known]).mean() for part in parts]


def by_loops(A, B, J, H):
    """The definition, number by number."""
    scores = [[], [], []]
    for k in range(A.shape[1]):
        if H[k] > 0:
            rows = [(A[latent, k], B[latent, k], J[k]) for latent in range(A.shape[0])]
            scores[0].append(max(max(float(a - b), 0) for a, b, _ in rows) / float(H[k]))
            scores[1].append(max(max(float(a + b - j), 0) for a, b, j in rows) / float(H[k]))
            scores[2].append(max(max(float(j - a - b), 0) for a, b, j in rows) / float(H[k]))
    return tuple(sum(score) / len(score) for score in scores)


def xors(bits):
    """As the lesson prints it: parities of neighbours."""
    return torch.cat([bits, bits ^ bits.roll(1, 1)], 1)


@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(answer):
    assert exercises.lower_bounds(answer).right is None
    assert exercises.lower_bounds(lambda A, B, J, H: answer).right is None
    assert exercises.at_most_and_at_least(0.25, answer).right is None
    assert exercises.second_copy(answer).right is None
    assert exercises.share(answer).right is None
    assert exercises.attack(answer).right is None
    assert exercises.attack(lambda latents: answer).right is None


def test_lower_bounds_as_the_lesson_prints_it_and_by_its_definition():
    assert exercises.lower_bounds(solution).right
    assert exercises.lower_bounds(by_loops).right
    assert exercises.lower_bounds(lambda *tables: np.array(by_loops(*tables))).right


def test_the_codes_of_lower_bounds_tell_the_parts_apart():
    for words, found in exercises._codes():
        n_latents, n_factors = found.single.shape
        more = {"A code with more latents than factors": n_latents > n_factors}
        assert more.get(words, True)
        if words == "A code with fewer latents than factors":
            assert n_latents < n_factors
        if words == "A code with a factor of one value":
            assert (found.entropy == 0).sum() == 1
        scores = by_loops(found.single, found.without, found.joint, found.entropy)
        assert max(scores) > 0.05 and len({round(score, 3) for score in scores}) >= 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (exercises._best_alone, "by itself"),
        (exercises._averaged, "not the mean over latents"),
        (exercises._in_nats, "divide by H"),
        (exercises._in_bits, "turned into bits"),
        (exercises._all_factors, "leave it out"),
        (lambda A, B, J, H: [((e.amax(0)) / H).mean() for e in exercises._ends(A, B, J)], "NaN"),
        (lambda A, B, J, H: [0.0, *solution(A, B, J, H)[1:]], "unique part is not 0"),
        (lambda A, B, J, H: solution(A, B, J, H)[0], "three numbers"),
        (lambda A, B, J, H: solution(A, B, J, H)[:2], "got 2"),
        (lambda A, B, J, H: solution(A.sub_(B), B, J, H), "has changed"),
        (lambda A, B: A - B, "stopped with"),
        (lambda A, B, J, H: (A - B.T).amax(), "stopped with"),
        (lambda A, B, J, H: "abc", "three numbers"),
        (3, "function"),
    ],
)
def test_slips_of_lower_bounds(answer, words):
    verdict = exercises.lower_bounds(answer)
    assert verdict.right is False and words in verdict.sentence


def test_at_most_and_at_least():
    best, second, _ = exercises.SINGLE
    assert exercises.at_most_and_at_least((best - second) / exercises.ENTROPY, 0).right
    # What the two others know together lies between the better of them and all there is.
    together = np.linspace(second, exercises.ENTROPY, 1001)
    gaps = np.maximum(best - together, 0) / exercises.ENTROPY
    assert exercises.at_most_and_at_least(gaps.max(), gaps.min()).right


@pytest.mark.parametrize(
    ("most", "least", "words"),
    [
        (0.5, 0, "in bits"),
        (0.6, 0, "at least as much as the best"),
        (0.55, 0, "include the second"),
        (0.2, 0, "counts once"),
        (0.25, 0.25, "At least: got 0.25: together"),
        (0.25, 0.2, "think of XOR"),
        (0.25, -0.4, "negative"),
        (0.25, "none", "one number"),
        (1.0, 0, "not 1"),
    ],
)
def test_slips_of_at_most_and_at_least(most, least, words):
    verdict = exercises.at_most_and_at_least(most, least)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        ({"UniBound", "MIG", "SAP"}, True, "runner-up"),
        (["unibound", "mig ", "sap"], True, "UniBound falls"),
        ({"UniBound"}, False, "2 more"),
        ({"UniBound", "MIG", "SAP", "DCI"}, False, "one factor only"),
        ({"FactorVAE"}, False, "two latents may"),
        ({"modularity"}, False, "Modularity"),
        ({"information"}, False, "does not change"),
        (set(), False, "3 more"),
        ({"IRS"}, False, "none of"),
        ("MIG", False, "set of names"),
        (3, False, "set of names"),
    ],
)
def test_second_copy(answer, right, words):
    verdict = exercises.second_copy(answer)
    assert verdict.right is right and words in verdict.sentence


def test_second_copy_by_all_scores():
    codes = synthetic_codes((3, 4, 4), n_noise=0, dtype=torch.float64, device="cpu")
    points = codes.sample(2000, generator=torch.Generator().manual_seed(0))
    twice = PointCodes(points.points.repeat(1, 2), points.factors)
    names = {"SAP": "sap", "FactorVAE": "factor_vae", "DCI": "dci_disentanglement", "modularity": "modularity"}
    options = {"n_resamples": 0, "variant": "library"}
    once, after = (evaluate(each, metrics=list(names.values()), **options) for each in (points, twice))
    exact = evaluate(MaskedCopy(0.0)(codes), metrics=["unibound", "mig", "information"], n_samples=200, n_resamples=0)
    found = {name: after[key] for name, key in names.items()}
    found |= {"UniBound": exact["unibound"], "MIG": exact["mig"], "information": exact["information"]}
    assert {name: abs(score) < 0.01 for name, score in found.items()} == exercises.COPIED
    assert all(found[name] > 0.9 * once[names[name]] for name in ("FactorVAE", "DCI", "modularity"))
    assert once["sap"] > 0.3


def test_a_mixed_copy_costs_only_unibound_nearly_all():
    codes = synthetic_codes((3, 4, 4, 4), dtype=torch.float64, device="cpu")
    names = ["unibound", "mig", "sap"]
    options = {"n_samples": 300, "n_resamples": 0, "n_points": 2000}
    scores = [
        evaluate(each, metrics=names, generator=torch.Generator().manual_seed(0), **options)
        for each in (codes, Redundancy(4.0)(codes))
    ]
    kept = {name: scores[1][name] / scores[0][name] for name in names}
    assert kept["unibound"] < 0.25 and kept["mig"] > 0.5 and kept["sap"] > 0.5


def test_share():
    assert exercises.share((1.2 - 0.4) / math.log(8)).right
    assert exercises.share((1.2 - 0.4) / math.log(2) / 3).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.8 / 3, "nats over bits"),
        (0.8, "in nats"),
        (0.8 / math.log(2), "in bits"),
        (0.1, "logarithm"),
        (0.8 / 1.2, "of what there is"),
        (1.2 / math.log(8), "taken away"),
        (2.0, "not 2"),
        ("all", "one number"),
    ],
)
def test_slips_of_share(answer, words):
    verdict = exercises.share(answer)
    assert verdict.right is False and words in verdict.sentence and "0.385" not in verdict.sentence


def masked(latents):
    """A copy behind coins, and the coins: only both together tell."""
    coins = torch.randint(2, latents.shape, generator=torch.Generator().manual_seed(3))
    return torch.cat([latents, latents ^ coins, coins], 1)


@pytest.mark.parametrize(
    "answer",
    [
        xors,
        lambda latents: torch.cat([latents, (latents ^ latents.roll(1, 1)) * 1e-4], 1),
        lambda latents: xors(latents).numpy(),
        lambda latents: xors(latents).double() / 3,
        # all parities
        lambda latents: torch.cat(
            [latents]
            + [
                latents[:, list(columns)].sum(1, keepdim=True) % 2
                for n in (2, 3)
                for columns in itertools.combinations(range(latents.shape[1]), n)
            ],
            1,
        ),
        # a single parity of all
        lambda latents: torch.cat([latents, latents.sum(1, keepdim=True) % 2], 1),
    ],
)
def test_attacks_that_only_unibound_sees(answer):
    verdict = exercises.attack(answer)
    assert verdict.right and "UniBound falls from 1 to 0.00, MIG from 1 to 1.00" in verdict.sentence


def test_an_attack_with_coins_of_its_own():
    assert exercises.attack(masked).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda z: z, "do not tell a factor yet"),
        (lambda z: torch.cat([z, z], 1), "gives a factor away"),
        (lambda z: torch.cat([z, z.double() @ (torch.eye(z.shape[1]) - 2 / z.shape[1]).double()], 1), "UniBound falls"),
        (
            lambda z: torch.cat([z, torch.randn(z.shape, generator=torch.Generator().manual_seed(0))], 1),
            "Latent 4 takes 64 different values",
        ),
        (lambda z: z[:, 1:], "Information is lost"),
        (lambda z: z ^ z.roll(1, 1), "Information is lost"),
        (lambda z: z.roll(1, 1), "do not tell a factor yet"),
        (lambda z: z[:5], "a row for each of 64"),
        (lambda z: z[:, 0], "a row for each of 64"),
        (lambda z: z[:, :0], "a row for each of 64"),
        (lambda z: z / 0, "not finite"),
        (lambda z: z.mul_(2), "given have changed"),
        (lambda z: "far", "table of latents"),
        (lambda: 0, "stopped with"),
        (lambda z: z @ torch.eye(3), "stopped with"),
        ("xor", "function"),
    ],
)
def test_slips_of_attack(answer, words):
    verdict = exercises.attack(answer)
    assert verdict.right is False and words in verdict.sentence


def test_informations_by_counting_are_those_of_the_definition():
    factors = torch.cartesian_prod(*[torch.arange(2)] * 3)
    latents = torch.stack([factors[:, 0] & factors[:, 1], factors[:, 1] | factors[:, 2], factors[:, 2]], 1)
    found = exercises._counted(latents.double(), factors)

    def information(columns, k):
        total = 0.0
        for value in {tuple(row) for row in latents[:, columns].tolist()}:
            members = [i for i, row in enumerate(latents[:, columns].tolist()) if tuple(row) == value]
            for bit in (0, 1):
                both = sum(int(factors[i, k]) == bit for i in members) / 8
                if both:
                    total += both * math.log(both / (len(members) / 8) / 0.5)
        return total

    for k, latent in itertools.product(range(3), range(3)):
        rest = [other for other in range(3) if other != latent]
        assert float(found.single[latent, k]) == pytest.approx(information([latent], k), abs=1e-12)
        assert float(found.without[latent, k]) == pytest.approx(information(rest, k), abs=1e-12)
        assert float(found.joint[k]) == pytest.approx(information([0, 1, 2], k), abs=1e-12)
