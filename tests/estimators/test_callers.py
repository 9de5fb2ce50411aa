"""What callers bring along: the mode they are in, and functions that do what they should not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import bernoulli_chain, categorical_chain, one_categorical, waves
from toolkit.estimators.baselines import Constant, MovingAverage
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import exact
from toolkit.estimators.exact_variance import baseline_ladder, exact_variance
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.likelihood_ratio import OptimalConstant, SelfCritical
from toolkit.estimators.marginalized import RAM, LocalExpectation
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.multi_sample import exact_bound
from toolkit.estimators.problems import Problem
from toolkit.estimators.registry import entries, suitable
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def estimators(problem: Problem) -> dict[str, Estimator]:
    # RELAX makes a new network each time; that of REBAR is the same code.
    return {entry.name: estimator for entry, estimator in suitable(problem) if entry.name != "relax"}


def belief_bound() -> SigmoidBeliefBound:
    """A problem whose cost depends on the logits directly too."""
    network = SigmoidBeliefNetwork((4, 3, 2), generator=generator(), device="cpu", dtype=torch.float64)
    return SigmoidBeliefBound(network, (waves(2, 2, 4) > 0).double(), entropy="sampled")


@pytest.mark.parametrize("make", [bernoulli_chain, categorical_chain, one_categorical, belief_bound])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_changes_no_number(make: Callable[[], Problem], mode: Callable[[], Any]) -> None:
    problem = make()
    for name, estimator in estimators(problem).items():
        expected = estimator(problem, 3, generator())
        with mode():
            found = estimator(problem, 3, generator())
        for ours, theirs in zip(found.gradients, expected.gradients, strict=True):
            assert torch.equal(ours, theirs), name


def test_logits_made_in_inference_mode_serve_as_well() -> None:
    def problem() -> Problem:
        return Factorized(2 * waves(1, 2, 3), lambda z: (z.sum(-1) - 1.3) ** 2)

    for name, estimator in estimators(problem()).items():
        expected = estimator(problem(), 3, generator())
        with torch.inference_mode():
            inside = problem()
            found = [estimator(inside, 3, generator())]
        found.append(estimator(inside, 3, generator()))
        for samples in found:
            assert torch.equal(samples.gradients[0], expected.gradients[0]), name


def halved_in_place(*values: Tensor) -> Tensor:
    values[-1].mul_(0.5)
    return sum((value.sum(-1) for value in values[1:]), values[0].sum(-1)) ** 2


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_a_cost_that_writes_over_its_values_is_refused(entry: Any) -> None:
    for problem in (
        Factorized(waves(1, 3), halved_in_place),
        Layered(waves(1, 3), [lambda z: z - 0.2], halved_in_place),
    ):
        estimator = entry.make(problem)
        if not entry.supports(problem):
            continue
        # Torch itself refuses to write to values that stand for several, or that a derivative is taken at.
        with pytest.raises((ValueError, TypeError, RuntimeError), match=r"in place|in-place|written-to tensor"):
            estimator(problem, 4, generator())


def test_a_transition_that_writes_over_its_values_is_refused() -> None:
    problem = Layered(waves(1, 3), [lambda z: z.mul_(2).sub_(1)], lambda y, z: (y * z).sum(-1))
    with pytest.raises(ValueError, match=r"transitions\[0\](.|\n)*in place"):
        RAM()(problem, 4, generator())


def test_a_transition_that_makes_nan_is_refused() -> None:
    def transition(z: Tensor) -> Tensor:
        return torch.where(z[..., :1] > 0.5, float("nan"), z)

    problem = Layered(waves(1, 3), [transition], lambda y, z: (y * z).sum(-1))
    for estimator in estimators(problem).values():
        with pytest.raises(ValueError, match=r"transitions\[0\]"):
            estimator(problem, 50, generator())
    for function in (exact, baseline_ladder, lambda p: exact_variance(p, RAM())):
        with pytest.raises(ValueError, match=r"transitions\[0\]"):
            function(problem)


def test_infinite_logits_of_later_layers_are_values_that_are_certain() -> None:
    def transition(z: Tensor) -> Tensor:
        return torch.where(z[..., :1] > 0.5, torch.tensor([float("inf"), -float("inf"), 0.3], dtype=z.dtype), z)

    problem = Layered(waves(1, 3), [transition], lambda y, z: (y * z).sum(-1) ** 2)
    samples = RAM()(problem, 50, generator())
    assert all(torch.isfinite(gradient).all() for gradient in samples.gradients)
    first, second = (values[0] for values in samples.parts.values)
    assert (second[first[:, 0] > 0.5][:, :2] == torch.tensor([1.0, 0.0])).all()


def markov_chain(transition: Callable[[Tensor], Tensor]) -> Layered:
    """Two chains with three states; what is not allowed has the logit −inf."""
    weights = waves(3, 2, 3)

    def cost(y: Tensor, z: Tensor) -> Tensor:
        return ((y - z) * weights).sum((-2, -1)) ** 2 + (y * z).sum((-2, -1))

    return Layered(waves(2, 2, 3), [transition], cost, variables="categorical")


def test_a_matrix_of_transition_probabilities_with_zeros() -> None:
    moves = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.0, 0.0, 1.0]], dtype=torch.float64)
    problem = markov_chain(lambda z: (z @ moves).log())
    eye = torch.eye(3, dtype=torch.float64)
    y, z = (eye[torch.cartesian_prod(*[torch.arange(3)] * 4)[:, part]] for part in ([0, 1], [2, 3]))
    start = torch.softmax(problem.logits(0, None), -1)
    chances = (y * start).sum(-1).prod(-1) * torch.einsum("cni,ij,cnj->cn", y, moves, z).prod(-1)
    truth = exact(problem)
    torch.testing.assert_close(truth.value, (chances * problem.f(y, z)).sum())
    samples = RAM()(problem, 4000, generator())
    for gradient, mean in zip(samples.gradients, truth.gradients, strict=True):
        assert ((gradient.mean(0) - mean).abs() <= 4.5 * (gradient.var(0) / 4000).sqrt() + 1e-12).all()


def test_transitions_can_rule_values_out() -> None:
    forbidden = torch.tensor([[False, True, False], [False, False, True]])
    problem = markov_chain(lambda z: (z @ waves(6, 3, 3)).masked_fill(forbidden, -float("inf")))
    truth = exact(problem)
    for entry, estimator in suitable(problem):
        samples = estimator(problem, 4000, generator())
        for gradient, mean in zip(samples.gradients, truth.gradients, strict=True):
            assert torch.isfinite(gradient).all(), entry.name
            error = (gradient.var(0) / 4000).sqrt()
            if entry.unbiased and entry.name != "vimco":
                assert ((gradient.mean(0) - mean).abs() <= 4.5 * error + 1e-12).all(), entry.name


def test_a_transition_of_another_precision_is_converted() -> None:
    def chain(transition: Callable[[Tensor], Tensor]) -> Layered:
        return Layered(waves(1, 2, 3), [transition], lambda y, z: (y * z).sum(-1) ** 2)

    single, double = chain(lambda z: 2 * z.float() - 1), chain(lambda z: 2 * z - 1)
    for (name, ours), theirs in zip(estimators(single).items(), estimators(double).values(), strict=True):
        found, expected = ours(single, 3, generator()), theirs(double, 3, generator())
        for gradient, truth in zip(found.gradients, expected.gradients, strict=True):
            assert gradient.dtype == torch.float64, name
            torch.testing.assert_close(gradient, truth, rtol=1e-6, atol=1e-7)
    for ours, theirs in zip(baseline_ladder(single), baseline_ladder(double), strict=True):
        torch.testing.assert_close(ours.total(1), theirs.total(1), rtol=1e-6, atol=1e-7)


def test_a_transition_that_stops_to_make_floats_is_refused() -> None:
    problem = Layered(waves(1, 3), [lambda z: z if not z.any() else z.long()], lambda y, z: (y * z).sum(-1))
    with pytest.raises(TypeError, match=r"transitions\[0\]"):
        RAM()(problem, 4, generator())


@pytest.mark.parametrize(
    "make",
    [
        lambda: SelfCritical(from_parents=1),
        lambda: OptimalConstant(per_component="all"),
        lambda: REBAR(tied=1),
        lambda: RELAX(tied=None),
        lambda: MovingAverage("0.2"),
        lambda: InputDependent(hidden=1.5),
        lambda: Layered(waves(1, 3), None, lambda y, z: y.sum(-1)),
        lambda: Layered(waves(1, 3), lambda z: z, lambda y, z: y.sum(-1)),
        lambda: LocalExpectation((1.0,))(one_categorical()),
        lambda: exact(None),
        lambda: exact_bound(None, 2),
        lambda: Constant.optimal(None),
    ],
)
def test_arguments_of_another_kind(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        make()


def test_a_constant_of_another_precision_is_converted() -> None:
    problem = Layered(torch.zeros(3), [lambda z: z], lambda y, z: (y * z).sum(-1))
    estimator = LocalExpectation((torch.ones(3, dtype=torch.float64),) * 2)
    assert [gradient.dtype for gradient in estimator(problem, 2).gradients] == [torch.float32] * 2


def test_the_truth_about_a_bound_in_inference_mode() -> None:
    truth = exact_bound(one_categorical(), 2)
    with torch.inference_mode():
        found = exact_bound(one_categorical(), 2)
    assert torch.equal(found.value, truth.value) and torch.equal(found.gradients[0], truth.gradients[0])
