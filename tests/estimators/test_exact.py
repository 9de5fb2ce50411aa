"""Enumeration: against sums written out by hand, another derivation, and its own limits."""

import pytest
import torch

from tests.estimators.problems import PROBLEMS, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.exact import Enumeration, enumerate_values, exact, joint_log_prob


def test_two_bits_by_hand():
    logits = torch.tensor([0.3, -1.1], dtype=torch.float64)
    found = exact(Factorized(logits, lambda z: 2 * z[..., 0] + 3 * z[..., 0] * z[..., 1] - z[..., 1]))
    a, b = torch.sigmoid(logits).tolist()
    assert found.value.item() == pytest.approx(2 * a + 3 * a * b - b, abs=1e-14)
    assert found.gradients[0].tolist() == pytest.approx([a * (1 - a) * (2 + 3 * b), b * (1 - b) * (3 * a - 1)])
    assert found.configurations == 4


def test_the_callers_mode_changes_nothing():
    truth = exact(six_bits())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = exact(six_bits())
        assert torch.equal(found.value, truth.value) and torch.equal(found.gradients[0], truth.gradients[0])


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_are_differences_of_values(name):
    problem = PROBLEMS[name]
    truth = exact(problem)
    step = 1e-5
    for number, layer in enumerate(problem.layers):
        direction = waves(20 + number, *layer.shape)
        slope = (truth.gradients[number] * direction).flatten(len(problem.batch_shape)).sum(-1)
        ends = [exact(_shifted(problem, number, sign * step * direction)).value for sign in (1, -1)]
        assert torch.allclose((ends[0] - ends[1]) / (2 * step), slope, atol=1e-8)


def _shifted(problem, number, offset):
    """Return the problem with one layer's logits moved."""
    first = problem.logits(0, None)
    variables = [layer.kind for layer in problem.layers]
    if isinstance(problem, Factorized):
        return Factorized(first + offset, problem.f, variables=variables[0])
    transitions = [
        (lambda z, t=transition: t(z) + offset) if place == number else transition
        for place, transition in enumerate(problem.transitions, 1)
    ]
    return Layered(first + offset if number == 0 else first, transitions, problem.f, variables=variables)


@pytest.mark.parametrize("name", PROBLEMS)
def test_probabilities_of_all_configurations_sum_to_one(name):
    problem = PROBLEMS[name]
    values = enumerate_values(problem)
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
    total = joint_log_prob(problem, values, logits).exp().sum(0)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-13)


@pytest.mark.parametrize("name", PROBLEMS)
def test_enumeration_in_an_estimators_place_is_exact_and_pays_for_it(name):
    problem = PROBLEMS[name]
    truth = exact(problem)
    samples = Enumeration()(problem, 3)
    for gradient, expected in zip(samples.gradients, truth.gradients, strict=True):
        assert torch.allclose(gradient, expected.expand_as(gradient), atol=1e-13)
    assert torch.allclose(samples.cost, truth.value.expand_as(samples.cost), atol=1e-13)
    assert samples.evaluations == Enumeration().expected_evaluations(problem) == truth.configurations


def test_too_many_configurations_are_refused_before_anything_is_computed():
    calls = []
    problem = Factorized(torch.zeros(17), lambda z: calls.append(z) or z.sum(-1))
    for refuse in (lambda: exact(problem), lambda: Enumeration()(problem)):
        with pytest.raises(ValueError, match=r"2\*\*16 = 65,536[\s\S]*2\*\*17"):
            refuse()
    assert not calls


def test_sixteen_bits_are_not_too_many():
    found = exact(Factorized(torch.zeros(16, dtype=torch.float64), lambda z: z.prod(-1)))
    assert found.value.item() == pytest.approx(2.0**-16)


def test_results_are_short_in_print_and_plain_as_a_dictionary():
    found = exact(six_bits())
    assert repr(found) == "Exact(64 configurations, gradients (6,))"
    assert found.to_dict()["gradients"] == [found.gradients[0].tolist()]
