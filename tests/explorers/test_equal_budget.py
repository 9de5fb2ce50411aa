"""The budgets are counted and measured, the variances the known ones, and the words do not depend on the machine."""

import pytest

from toolkit.estimators.exact_variance import exact_variance
from toolkit.explorers import equal_budget, explore_equal_budget
from toolkit.explorers.baseline_ladder import compute as ladder
from toolkit.explorers.coin_objectives import coin_problem
from toolkit.explorers.equal_budget import BUDGETS, PROBLEMS, Comparison, compute, describe, draw, prices, seconds

COINS, NETWORK = PROBLEMS


def test_all_contenders_are_unbiased_and_priced_as_their_formula_says():
    for name, make in PROBLEMS.items():
        problem = make()
        for contender, estimator in equal_budget.contenders(problem).items():
            assert estimator.unbiased
            assert prices(name).evaluations[contender] == pytest.approx(estimator.expected_evaluations(problem))


def test_variances_are_the_exact_ones():
    found, problem = prices(COINS).variances, coin_problem()
    for name, rung in {"LR": "lr", "LR, b = E f": "lr_mean", "RAM": "ram"}.items():
        exactly = float(exact_variance(problem, rung).total(0))
        assert found[name] == pytest.approx(exactly, rel=1e-6), name
    known = {"RLOO-2": 19.70, "RLOO-13": 1.57, "ARM": 16.65, "DisARM": 14.03, "MuProp": 12.57, "one random flip": 25.97}
    for name, variance in known.items():
        assert found[name] == pytest.approx(variance, rel=0.04), name
    totals = {name: sum(layers) for name, layers in ladder().totals.items()}
    names = {"LR": "lr", "LR, b = E f": "lr_mean", "RAM": "ram", "RAM, fresh noise": "ram_fresh", "LEG": "leg"}
    for name, rung in names.items():
        assert prices(NETWORK).variances[name] == pytest.approx(totals[rung], rel=1e-6), name


def test_per_sample_ram_wins_and_per_evaluation_it_is_about_even():
    sample, evaluation = compute(COINS, "sample"), compute(COINS, "evaluation")
    assert sample.relative["RAM"] == evaluation.relative["RAM"] == 1
    assert sample.relative["LR"] > 20 and min(sample.relative.values()) == 1
    assert evaluation.relative["LR"] < 2.1 and 1.1 < evaluation.relative["RLOO-13"] < 1.35
    assert sample.relative["RLOO-13"] == pytest.approx(evaluation.relative["RLOO-13"])
    for name, ratio in sample.relative.items():
        expected = ratio * prices(COINS).evaluations[name] / prices(COINS).evaluations["RAM"]
        assert evaluation.relative[name] == pytest.approx(expected)


def test_measured_times_enter_the_picture_only():
    found = compute(NETWORK, "second")
    assert all(value > 0 for value in seconds(NETWORK).values())
    product = {name: prices(NETWORK).variances[name] * value for name, value in seconds(NETWORK).items()}
    assert found.relative["LR"] == pytest.approx(product["LR"] / product["RAM"])
    assert found.best_other in found.relative and "measured on this machine" in draw(found).to_string()
    slow = Comparison(NETWORK, "second", {name: 2 * value for name, value in found.relative.items()}, found.evaluations)
    assert describe(found) == describe(slow)


def test_a_better_one_is_said_to_be_better():
    found = compute(COINS, "evaluation")
    other = Comparison(COINS, "evaluation", found.relative | {"DisARM": 0.03}, found.evaluations)
    assert other.best_other == "DisARM"
    assert "Per evaluation DisARM varies less than RAM: 0.03 ×" in draw(other).to_string()


@pytest.mark.parametrize("arguments", [{"problem": "13 coins"}, {"budget": "day"}])
def test_unknown(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        compute(**arguments)


def test_view():
    view = explore_equal_budget()
    assert "LR 2" in view.text and "RLOO-13 1.2 ×" in view.text and "13 evaluations" in view.text
    for problem in PROBLEMS:
        for budget in BUDGETS:
            view.controls["problem"].value, view.controls["budget"].value = problem, budget
            assert view.error is None and problem in view.text
            assert "…" not in view.drawn.svg.to_string()
    view.reset()
    assert view.text == describe(compute())
