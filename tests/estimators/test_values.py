"""Estimators, entries and results as values: compared, hashed, copied and sent to other processes."""

import copy
import pickle
from typing import Any

import pytest
import torch

from tests.estimators.problems import bernoulli_chain, one_categorical, six_bits
from toolkit.estimators.chains import Factorized
from toolkit.estimators.exact import exact
from toolkit.estimators.exact_variance import baseline_ladder, exact_variance
from toolkit.estimators.marginalized import RAM, LocalExpectation
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.registry import entries
from toolkit.estimators.report import report


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_entries_and_estimators_survive_a_journey(entry: Any) -> None:
    there = pickle.loads(pickle.dumps(entry))
    assert there.to_dict() == entry.to_dict()
    problem = bernoulli_chain() if entry.supports(bernoulli_chain()) else one_categorical()
    estimator = entry.make(problem)
    expected = estimator(problem, 3, generator())
    for other in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)):
        assert other.unbiased == estimator.unbiased and repr(other) == repr(estimator)
        found = other(problem, 3, generator())
        for ours, theirs in zip(found.gradients, expected.gradients, strict=True):
            assert torch.equal(ours, theirs)
    assert hash(estimator) == hash(estimator) and estimator == estimator
    assert type(there.make(problem)) is type(estimator)


def test_local_expectations_are_equal_if_their_baselines_are() -> None:
    one, same, other = (LocalExpectation((torch.tensor([1.0, number]),)) for number in (2.0, 2.0, 3.0))
    assert one == same and hash(one) == hash(same)
    assert one != other and one != LocalExpectation() and one != LocalExpectation((torch.ones(3),))
    assert one != LocalExpectation((torch.tensor([1.0, 2.0]),) * 2) and one != RAM()
    assert LocalExpectation() == LocalExpectation() and len({LocalExpectation(), LocalExpectation(), one, same}) == 2


def test_results_can_be_looked_for_in_lists() -> None:
    problem = six_bits()
    network = SigmoidBeliefNetwork((4, 2), generator=generator(), device="cpu")

    def results() -> list[Any]:
        return [
            exact(problem),
            exact_variance(problem, "lr"),
            baseline_ladder(problem),
            report(RAM(), problem, 3, generator()),
            network.sample(2, generator()),
            RAM()(problem, 2, generator()),
        ]

    found = results()
    for number, (result, again) in enumerate(zip(found, results(), strict=True)):
        assert found.index(result) == number and again not in found and len({result, again}) == 2


def test_reports_of_many_variables_stay_small() -> None:
    """All 400 flips of a block of 5,000 samples would be 3 GB."""
    sizes = []

    def cost(z: torch.Tensor) -> torch.Tensor:
        sizes.append(z.numel())
        return z.mean(-1) ** 2

    report(RAM(), Factorized(torch.zeros(400), cost), 600, generator())
    assert max(sizes) <= 2**25


def test_problems_say_what_their_variables_are() -> None:
    assert repr(bernoulli_chain()) == "Layered(3 bernoulli, 2 bernoulli, 3 bernoulli; batch (2,))"
    assert repr(one_categorical()) == "Factorized(1 categorical with 4 values; batch ())"
