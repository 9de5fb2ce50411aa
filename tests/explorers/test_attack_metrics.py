"""A code under attack: scores against quadrature and against the package, curves that fill, every control."""

import math

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.disentanglement import Redundancy, bootstrap, factorised_unibound, informations, profile
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.metrics.sap import sap
from toolkit.explorers import attack_curves, explore_attack_metrics
from toolkit.explorers.attack_curves import (
    ATTACKS,
    OTHERS,
    PAPER,
    SIZES,
    STANDARD_DEVIATION,
    STRENGTHS,
    Bench,
    Filler,
    fill,
    missing,
    rotated_code,
    smaller_grid,
)
from toolkit.explorers.attack_metrics import GROUPS, IDEAL, MOST, ROTATED, compute, describe, draw, find_codes


@pytest.fixture(scope="module")
def ideal():
    bench = Bench.ideal()
    fill(bench, "redundancy", PAPER)
    return bench


@pytest.fixture(scope="module")
def trained():
    """Codes as a model with a categorical latent gives them: 3 × 8 × 5 images."""
    factors = torch.cartesian_prod(torch.arange(3), torch.arange(8), torch.arange(5))
    mean = torch.stack([factors[:, 1] / 2.3 - 1.5, factors[:, 2] / 1.4 - 1.4], 1).float()
    categories = (4.0 * torch.nn.functional.one_hot(factors[:, 0], 3)).log_softmax(1).float()
    names = ("shape", "x", "y")
    return GaussianCodes(mean, torch.full_like(mean, 0.4), factors, (3, 8, 5), [categories], names)


def levels():
    rows = []
    for size in SIZES:
        row = torch.arange(size, dtype=torch.float64)
        rows.append((row - row.mean()) / row.std(correction=0))
    return rows


def test_estimates_meet_quadrature(ideal):
    exact = factorised_unibound(levels(), STANDARD_DEVIATION, torch.tensor(STRENGTHS, dtype=torch.float64)).tolist()
    for strength, truth in zip(STRENGTHS, exact, strict=True):
        found = informations(
            ideal.attacked("redundancy", strength), n_samples=250, generator=torch.Generator().manual_seed(5)
        )
        again = bootstrap(found, n_resamples=200, i_min=False, generator=torch.Generator().manual_seed(1))
        spread = float(again["unibound"].standard_error)
        assert ideal.profile("redundancy", strength).unibound == pytest.approx(truth, abs=max(3 * spread, 0.004))
    assert ideal.exact_unibound("redundancy", STRENGTHS) == pytest.approx(exact, abs=1e-12)


def test_exact_lines_by_another_road(ideal):
    """The duality: what synergy hides is complementary, what it leaves is as redundant under the inverse strength."""
    clean = factorised_unibound(levels(), STANDARD_DEVIATION, 0.0).item()
    for strength in (0.4, 1.0, 4.0):
        left = factorised_unibound(levels(), STANDARD_DEVIATION, 1 / strength).item()
        assert ideal.exact_unibound("synergy", (strength,))[0] == pytest.approx(clean - left, abs=1e-12)
    assert ideal.exact_unibound("masked copy", (0.0, 0.2, 6.0)) == pytest.approx((clean, 0.0, 0.0), abs=1e-12)
    assert ideal.exact_unibound("mixing", (1.0,)) is None
    assert Bench(rotated_code()).exact_unibound("redundancy", (1.0,)) is None


def test_same_draws_give_the_package_the_same_parts(ideal):
    again = profile(ideal._draws.informations(Redundancy(2.0)(ideal.codes)))
    found = compute(ideal, strength=2.0)
    assert found.now.unibound == again.unibound and found.scores["mig"] == again.mig
    assert found.curves["unibound"][STRENGTHS.index(2.0)] == found.now.unibound
    points = ideal.attacked("redundancy", 2.0).sample(
        attack_curves.N_POINTS, generator=torch.Generator().manual_seed(0)
    )
    assert ideal.score("sap", "redundancy", 2.0) == sap(points, generator=torch.Generator().manual_seed(0)).score


def test_the_default_makes_the_point(ideal):
    found = compute(ideal)
    assert found.kept("unibound") < 0.2 and 0.7 < found.kept("mig") < 0.85
    assert found.scores["beta_vae"] == found.scores["factor_vae"] == 1.0
    unique, redundant = found.now.mean("unique"), found.now.mean("redundant")
    assert float(unique.upper) < 0.15 and float(redundant.lower) > 0.65
    assert float(unique.lower + redundant.lower) == pytest.approx(found.clean.unibound, abs=0.02)


def test_masked_copy_separates_unibound_and_mig(ideal):
    weak, strong = (compute(ideal, attack="masked copy", strength=strength) for strength in (0.2, 6.0))
    assert weak.now.unibound == pytest.approx(0, abs=1e-9) == strong.now.unibound
    assert weak.scores["mig"] < 0.25 * weak.clean.mig < 0.97 * strong.clean.mig < strong.scores["mig"]


def test_synergy_moves_what_is_known_into_the_complementary_part(ideal):
    found = compute(ideal, attack="synergy", strength=6.0)
    assert found.now.unibound < 0.03 and float(found.now.mean("complementary").lower) > 0.75
    assert found.now.information == pytest.approx(found.clean.information, abs=1e-9)


def test_missing_points_are_left_out():
    bench = Bench.ideal()
    found = compute(bench, attack="synergy", strength=1.0)
    assert found.n_missing == len(STRENGTHS) and found.scores["unibound"] == found.now.unibound
    assert math.isnan(found.scores["beta_vae"])
    text = describe(found)
    assert "being computed (0 of 7 strengths)" in text and "nan" not in text and "BetaVAE" not in text
    picture = draw(found).to_string()
    assert "nan" not in picture and "BetaVAE" not in picture and "exact" in picture
    fill(bench, "synergy", PAPER, strengths=(1.0,))
    assert missing(bench, "synergy", PAPER) == [at for at in STRENGTHS if at not in (1.0,)]
    assert "(1 of 7 strengths)" in describe(compute(bench, attack="synergy", strength=1.0))


def test_a_score_between_two_points_is_on_the_line(ideal):
    found = compute(ideal, strength=3.0)
    first, last = (found.curves["beta_vae"][STRENGTHS.index(at)] for at in (2.0, 4.0))
    assert found.scores["beta_vae"] == pytest.approx((first + last) / 2)
    assert found.scores["unibound"] != pytest.approx(sum(found.curves["unibound"][4:6]) / 2, abs=1e-4)


def test_smaller_grids_are_complete(trained):
    small = smaller_grid(trained)
    assert small.complete and small.factor_sizes == (3, 4, 3) and small.n_images == 36
    assert small.mean.dtype == torch.float64 and small.factor_names == ("shape", "x", "y")
    for row, factors in enumerate(small.factors.tolist()):
        old = [factors[0], 2 * factors[1], 2 * factors[2]]
        (match,) = (trained.factors == torch.tensor(old)).all(1).nonzero().tolist()
        assert torch.equal(small.mean[row].float(), trained.mean[match[0]])
    assert smaller_grid(small).n_images == small.n_images
    assert Bench.trained(trained).note == "Of 120 images a smaller complete grid is scored, 3×4×3"
    assert Bench.trained(small).note == ""


def test_the_view(trained):
    view = explore_attack_metrics(codes={"JointVAE-10": trained})
    assert view.error is None and view.result.n_missing == 0
    assert "UniBound 0.84 → 0.13 (exact 0.13), MIG 0.84 → 0.66, BetaVAE 1.00 → 1.00" in view.text
    assert "UniBound keeps 16 %, MIG 78 %, BetaVAE and FactorVAE 100 %" in view.drawn.svg.to_string()
    names = [name for name, _ in view.controls["code"].options]
    assert names[-1] == "trained: JointVAE 10" and len(names) == 3
    view.controls["attack"].value = "masked copy"
    view.filler.wait()
    assert view.error is None and view.result.n_missing == 0 and "being computed" not in view.text
    view.controls["code"].value = "JointVAE-10"
    view.filler.wait()
    assert view.result.n_missing == 0 and view.result.exact is None
    assert "1 categorical latent stays as it is" in view.text  # and so does what it knows of the shape
    assert "smaller complete grid is scored, 3×4×3" in view.text
    per_factor = view.result.now.per_factor.unique.lower.tolist()
    assert per_factor[0] > 0.5 and max(per_factor[1:]) < 1e-9
    assert words_outside(view.drawn.svg) == []


def test_every_state_has_its_words_and_picture(monkeypatch, trained):
    monkeypatch.setattr(attack_curves, "N_DRAWS", 40)
    seen = set()
    for code, bench in {
        IDEAL: Bench.ideal(),
        ROTATED: Bench(rotated_code()),
        "x": Bench(smaller_grid(trained)),
    }.items():
        for attack in ATTACKS:
            for strength in (0.0, 0.2, MOST):
                found = compute(bench, code, attack, strength)
                seen.add(describe(found))
                picture = draw(found)
                assert words_outside(picture) == [] and "nan" not in picture.to_string()
    assert len(seen) == 3 * (1 + 2 * len(ATTACKS))


def test_every_control_has_an_effect(monkeypatch, trained):
    monkeypatch.setattr(attack_curves, "N_DRAWS", 40)
    monkeypatch.setattr(attack_curves, "N_POINTS", 400)
    view = explore_attack_metrics(codes={"JointVAE-10": trained})
    for name, value in {"strength": MOST, "attack": "mixing", "code": "JointVAE-10", "scores": "others"}.items():
        before = view.text
        view.controls[name].value = value
        view.filler.wait()
        assert view.error is None and view.text != before
        assert words_outside(view.drawn.svg) == [] and "nan" not in view.drawn.svg.to_string()
    assert all(name in view.text for name in ("SAP", "DCI", "MIG-sup", "modularity", "IRS"))
    assert "others" in view.drawn.svg.to_string() and set(view.result.curves) == set(OTHERS)


def test_no_attack_says_so(ideal):
    found = compute(ideal, strength=0.0)
    assert describe(found).startswith("Nobody attacks this code (ideal): UniBound 0.84")
    text = draw(found).to_string()
    assert "No attack: UniBound 0.84" in text and "redundancy, 0" in text


def test_a_code_with_nothing_unique_has_no_share_to_keep():
    silent = rotated_code()
    codes = GaussianCodes(0 * silent.mean, silent.standard_deviation, silent.factors, silent.factor_sizes)
    found = compute(Bench(codes), strength=2.0)
    assert math.isnan(found.kept("unibound"))
    assert "UniBound was 0.00 before the attack and is 0.00 now" in draw(found).to_string()


def test_an_error_in_the_thread_is_told():
    told = []
    filler = Filler(lambda: None, told.append)
    bench = Bench.ideal()
    filler.want(bench, "redundancy", ("unibound", "no such score"))
    filler.wait()
    assert isinstance(told[0], ValueError) and "metric" in str(told[0])
    filler.want(bench, "redundancy", ("unibound",))
    filler.wait()
    assert missing(bench, "redundancy", ("unibound",)) == [] and len(told) == 1


def test_a_new_wish_ends_the_one_before():
    bench = Bench.ideal()
    filler = Filler(lambda: filler.want(bench, "mixing", ("unibound",)), pytest.fail)
    filler.want(bench, "synergy", ("unibound",))
    filler.wait()
    assert missing(bench, "mixing", ("unibound",)) == []
    assert missing(bench, "synergy", ("unibound",)) == list(STRENGTHS[1:])  # without an attack all are one


@pytest.mark.parametrize(
    ("values", "word"),
    [({"attack": "rotation"}, "attack"), ({"strength": -0.2}, "strength"), ({"strength": 7.0}, "strength")],
)
def test_out_of_range(ideal, values, word):
    with pytest.raises(ValueError, match=word):
        compute(ideal, **values)


def test_trained_codes_are_those_at_hand():
    found = find_codes()
    assert all(isinstance(codes, GaussianCodes) and codes.complete for codes in found.values())


def test_results_in_words(ideal):
    found = compute(ideal)
    assert repr(found).startswith("Attacked(ideal, redundancy 4: UniBound 0.13")
    assert found.to_dict()["now"]["unibound"] == found.now.unibound and set(GROUPS["others"]) == set(OTHERS)
