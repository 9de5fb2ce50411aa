"""An estimate on its way into parameters, and what a call of an estimator promises."""

import pytest
import torch

from tests.estimators.problems import PROBLEMS, bernoulli_chain, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import Enumeration, exact
from toolkit.estimators.marginalized import RAM


def _parametrized():
    """Return a two-layer problem made of parameters, and the parameters: of both layers' logits and of the cost."""
    w0 = waves(30, 4, 3).requires_grad_()
    w1 = waves(31, 3, 2).requires_grad_()
    a = waves(32, 3).requires_grad_()
    x = waves(33, 5, 4)
    problem = Layered(
        x @ w0, [lambda z: z @ w1], lambda y, z: (y @ a - z.sum(-1)) ** 2 + torch.tanh(y[..., 0] * z[..., 1] * a[0])
    )
    return problem, (w0, w1, a)


def _truth(problem, parameters):
    """Differentiate the enumerated expectation, everything included, by autograd."""
    values = problem.layers[0].all_values(torch.float64), problem.layers[1].all_values(torch.float64)
    total = 0
    for y in values[0]:
        for z in values[1]:
            y_all, z_all = y.expand(5, 3), z.expand(5, 2)
            log_prob = problem.layers[0].log_prob(y_all, problem.logits(0, None)).sum(-1)
            log_prob = log_prob + problem.layers[1].log_prob(z_all, problem.logits(1, y_all)).sum(-1)
            total = total + (log_prob.exp() * problem.f(y_all, z_all)).sum()
    return torch.autograd.grad(total, parameters, retain_graph=True), total.detach()


def test_surrogate_of_the_exact_gradient_is_the_exact_gradient_of_every_parameter():
    problem, parameters = _parametrized()
    expected, value = _truth(problem, parameters)
    scalar = surrogate(problem, Enumeration()(problem, 2))
    scalar.backward()
    assert scalar.item() == pytest.approx(value.item(), abs=1e-12)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-12)


def test_surrogate_of_an_estimate_is_unbiased_for_every_parameter():
    problem, parameters = _parametrized()
    expected, _ = _truth(problem, parameters)
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(60):
        for parameter in parameters:
            parameter.grad = None
        surrogate(problem, RAM()(problem, 500, generator)).backward(retain_graph=True)
        found.append(torch.cat([parameter.grad.flatten() for parameter in parameters]))
    found = torch.stack(found)
    z = (found.mean(0) - torch.cat([g.flatten() for g in expected])) / (found.std(0) / len(found) ** 0.5)
    assert z.abs().max() < 4.5


def test_surrogate_without_the_costs_own_parameters_leaves_them_alone():
    problem, (w0, w1, a) = _parametrized()
    samples = RAM()(problem, 3, torch.Generator().manual_seed(0))
    surrogate(problem, samples, through_cost=False).backward()
    assert a.grad is None and w0.grad is not None and w1.grad is not None


def test_gradient_of_the_logits_is_the_mean_of_the_samples():
    logits = waves(34, 6).requires_grad_()
    problem = Factorized(logits, lambda z: z.prod(-1))
    samples = RAM()(problem, 7, torch.Generator().manual_seed(0))
    surrogate(problem, samples).backward()
    assert torch.allclose(logits.grad, samples.mean()[0], atol=1e-15)


def test_surrogate_refuses_samples_of_another_problem_and_logits_without_a_graph():
    samples = RAM()(six_bits(), 2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="samples of this problem"):
        surrogate(bernoulli_chain(), samples)
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        surrogate(six_bits(), samples)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_same_noise_gives_the_same_numbers(name):
    problem, ram = PROBLEMS[name], RAM()
    noise = ram.draw(problem, 11, torch.Generator().manual_seed(5))
    again = [ram(problem, noise=noise).gradients for _ in range(2)]
    drawn = ram(problem, 11, torch.Generator().manual_seed(5)).gradients
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*again, drawn, strict=True))


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    RAM()(six_bits(), 5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("n_samples", "kind"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_bad_numbers_of_samples(n_samples, kind):
    with pytest.raises(kind, match="n_samples"):
        RAM()(six_bits(), n_samples)


def test_bad_problem_and_generator():
    with pytest.raises(TypeError, match="problem"):
        RAM()(torch.zeros(3))
    with pytest.raises(TypeError, match="generator"):
        RAM()(six_bits(), 1, 0)


def test_samples_print_in_one_line_and_as_plain_values():
    samples = RAM()(bernoulli_chain(), 2, torch.Generator().manual_seed(0))
    assert repr(samples).startswith(
        "GradientSamples(unbiased, gradients (2, 2, 3), (2, 2, 2), (2, 2, 3), 9 evaluations"
    )
    assert samples.to_dict()["evaluations"] == 9
    assert samples.n_samples == 2 and exact(bernoulli_chain()).gradients[0].shape == samples.mean()[0].shape


def test_the_variance_of_a_single_sample_is_unknown_and_says_so_quietly(recwarn):
    (variance,) = RAM()(six_bits(), 1).variance()
    assert torch.isnan(variance).all() and variance.shape == (6,) and not recwarn.list
    (variance,) = RAM()(Factorized(torch.zeros(0, 3), lambda z: z.sum(-1)), 5).variance()
    assert variance.shape == (0, 3) and not recwarn.list


def test_things_that_are_neither_samples_nor_noise():
    with pytest.raises(TypeError, match="samples"):
        surrogate(six_bits(), RAM()(six_bits(), 2).gradients)
    with pytest.raises(TypeError, match="problem"):
        surrogate(None, RAM()(six_bits(), 2))
    with pytest.raises(TypeError, match="noise"):
        RAM()(six_bits(), noise=[torch.rand(2, 6)])


def test_a_surrogate_has_a_graph_whether_the_caller_records_one_or_not():
    logits = waves(1, 3).requires_grad_()
    problem = Factorized(logits, lambda z: z.sum(-1) ** 2)
    with torch.no_grad():
        samples = RAM()(problem, 4)
        loss = surrogate(problem, samples)
    loss.backward()
    torch.testing.assert_close(logits.grad, samples.mean()[0])
