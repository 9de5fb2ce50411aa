"""The inequality on random networks, as the lesson shows it."""

import pytest
import torch

from toolkit.estimators import exact, report
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.explorers.theorem import on_random_networks, random_networks


def test_no_inequality_is_violated_and_the_last_layer_is_equal():
    found = on_random_networks(150)
    assert found.inequalities == 150 * 6 * 3 and found.violated == 0
    assert found.equal_in_last_layer == found.models == 150
    assert 0.8 < found.common_better / found.first_layer_units < 1
    assert found.median_ratio > 2


def test_the_networks_are_a_problem_like_any_other():
    problem = random_networks(4)
    truth = exact(problem)
    assert problem.batch_shape == (4,) and truth.gradients[0].shape == (4, 3)
    found = report(LikelihoodRatio(), problem, 40_000, torch.Generator().manual_seed(0), exact=truth)
    assert found.largest_z < 4.5


def test_another_seed_gives_other_networks_and_the_same_verdict():
    first, second = (on_random_networks(20, seed) for seed in (0, 1))
    assert first != second and second.violated == 0


def test_bad_number_of_networks():
    with pytest.raises(ValueError, match="n_models"):
        random_networks(0)
