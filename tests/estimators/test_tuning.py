"""Tuning lowers the variance, changes no expectation, and touches nothing else."""

from typing import Any

import pytest
import torch

from tests.estimators.problems import categorical_chain, six_bits, waves
from toolkit.estimators.chains import Factorized
from toolkit.estimators.control_network import ControlVariate
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.problems import Problem
from toolkit.estimators.tuning import TEMPERATURES, Tuner, tune


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variance(estimator: Estimator, problem: Problem) -> float:
    samples = estimator(problem, 20_000, generator(99))
    for mean, spread, truth in zip(samples.mean(), samples.variance(), exact(problem).gradients, strict=True):
        assert ((mean - truth) / (spread / 20_000).sqrt()).abs().max() < 4.5
    return float(sum(part.sum() for part in samples.variance()))


@pytest.mark.parametrize("tied", [False, True])
def test_rebar_finds_a_better_temperature_and_scale(tied: bool):
    problem = six_bits()
    start = REBAR(3.0, 0.3, tied)
    tuned = tune(start, problem, generator(1), steps=150, learning_rate=0.05)
    assert type(tuned) is REBAR and tuned.tied is tied
    assert start == REBAR(3.0, 0.3, tied)
    assert variance(tuned, problem) < 0.4 * variance(start, problem)


def test_rebar_in_a_chain():
    problem = categorical_chain()
    start = REBAR(0.1, 1.0)
    assert variance(tune(start, problem, generator(2), steps=60, learning_rate=0.05), problem) < 0.5 * variance(
        start, problem
    )


def test_the_gradient_of_the_variance_is_right():
    problem = six_bits()
    estimator = REBAR(0.7, 0.8)
    noise = estimator.draw(problem, 20, generator(3))

    def square(temperature: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        parts = estimator.controlled(problem, noise, temperature, scale, create_graph=True)
        return parts.contributions[0].square().mean()

    places = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (0.7, 0.8)]
    assert torch.autograd.gradcheck(square, places)


def test_a_network_beside_a_black_box():
    problem = six_bits()
    control = ControlVariate(problem, 16, generator(4))
    before = control.weight.detach().clone()
    start = RELAX(control, 1.0, scale=0.0)
    plain = variance(LikelihoodRatio(), problem)
    tuned = tune(start, problem, generator(5), steps=300)
    assert tuned.control_variate is control and tuned.scale == 0
    assert not torch.equal(control.weight, before)
    assert all(parameter.grad is None for parameter in control.parameters())
    assert variance(tuned, problem) < 0.5 * plain


@pytest.mark.parametrize("networked", [False, True])
def test_a_tuner_goes_on_where_it_was_saved(networked: bool):
    problem = six_bits()

    def start() -> Tuner:
        return Tuner(RELAX(ControlVariate(problem, 4, generator(4))) if networked else REBAR(), problem)

    through, broken, resumed = start(), start(), start()
    noises = generator(1), generator(1)
    for _ in range(6):
        through.step(problem, 10, noises[0])
    for _ in range(3):
        broken.step(problem, 10, noises[1])
    resumed.load_state_dict(broken.state_dict())
    for _ in range(3):
        resumed.step(problem, 10, noises[1])
    assert resumed.estimator.temperature == through.estimator.temperature != broken.estimator.temperature
    assert resumed.estimator.scale == through.estimator.scale != broken.estimator.scale
    if networked:
        assert torch.equal(resumed.estimator.control.weight, through.estimator.control.weight)


def test_a_tuner_does_what_tune_does():
    tuner, noise = Tuner(REBAR(), six_bits(), learning_rate=0.05), generator(7)
    for _ in range(3):
        tuner.step(six_bits(), 20, noise)
    assert tuner.estimator == tune(REBAR(), six_bits(), generator(7), n_samples=20, steps=3, learning_rate=0.05)


def test_nothing_behind_the_problem_moves():
    logits = waves(1, 3).requires_grad_()
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    problem = Factorized(logits, lambda z: (weight * z.sum(-1) - 1) ** 2)
    with torch.no_grad():
        tune(REBAR(), problem, generator(6), steps=2)
    assert logits.grad is None and weight.grad is None


def test_the_same_generator_gives_the_same_numbers():
    first, second = (tune(REBAR(), six_bits(), generator(7), steps=3) for _ in range(2))
    assert first == second != REBAR()


def test_temperatures_stay_in_range():
    linear = Factorized(torch.zeros(2), lambda z: z.sum(-1))
    tuned = tune(REBAR(0.011), linear, generator(8), steps=20, learning_rate=1.0)
    assert TEMPERATURES[0] * 0.999 <= tuned.temperature <= TEMPERATURES[1] * 1.001


def test_the_initial_network_adds_nothing_and_comes_from_its_generator():
    problem = categorical_chain()
    first, second = (ControlVariate(problem, 4, generator(9)) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and first.weight.dtype == torch.float64
    values = [torch.rand(5, *layer.shape, dtype=torch.float64) for layer in problem.layers]
    assert torch.equal(first(*values), torch.zeros(5, dtype=torch.float64))
    assert repr(first) == "ControlVariate(18 inputs, 4 hidden units)"


def test_the_callers_mode_changes_nothing():
    problem = six_bits()
    expected = tune(REBAR(), problem, generator(7), steps=3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert tune(REBAR(), problem, generator(7), steps=3) == expected


@pytest.mark.parametrize(
    ("name", "number"),
    [("n_samples", 0), ("steps", 0), ("learning_rate", 0.0), ("learning_rate", float("nan"))],
)
def test_arguments_out_of_range(name: str, number: float):
    with pytest.raises(ValueError, match=name):
        tune(REBAR(), six_bits(), **{name: number})


@pytest.mark.parametrize(
    ("name", "thing"), [("n_samples", 1.5), ("steps", True), ("learning_rate", "0.1"), ("problem", None)]
)
def test_arguments_of_another_kind(name: str, thing: Any):
    arguments = {"problem": six_bits(), name: thing}
    with pytest.raises(TypeError, match=name):
        tune(REBAR(), **arguments)


def test_estimators_without_settings_to_tune():
    with pytest.raises(TypeError, match="estimator"):
        tune(LikelihoodRatio(), six_bits())
