"""The split into points to learn from and points held out."""

import numpy as np
import pytest
import torch

from tests.disentanglement.metrics.point_sets import random_codes, random_points, seeded
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.held_out import split_points


def test_every_point_is_in_one_part_with_its_factors():
    codes = random_codes(n=100)
    split = split_points("test", codes, 0.3, seeded())
    assert (len(split.train), len(split.test)) == (70, 30)
    both = np.concatenate([split.train, split.test]), np.concatenate([split.train_factors, split.test_factors])
    together = np.concatenate(both, 1)
    whole = torch.cat([codes.points, codes.factors], 1).numpy()
    assert np.array_equal(together[np.lexsort(together.T)], whole[np.lexsort(whole.T)])


def test_the_generator_decides_it():
    codes = random_codes(n=100)
    first, again, other = (split_points("test", codes, 0.3, seeded(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.train, again.train)
    assert first.seed == again.seed != other.seed
    assert not np.array_equal(first.train, other.train)
    state = torch.get_rng_state()
    split_points("test", codes, 0.3, None)
    assert torch.equal(state, torch.get_rng_state())


def test_columns_of_each_latent():
    points, factors = random_points(n=60)
    split = split_points("test", PointCodes(points, factors, groups=(1, 3, 1)), 0.5, seeded())
    assert split.columns == (slice(0, 1), slice(1, 4), slice(4, 5))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e6, 1e307])
def test_standardised_by_the_points_to_learn_from(scale):
    points, factors = random_points(n=200)
    points[:, 2] = 0.1
    split = split_points("test", PointCodes(points * scale, factors), 0.25, seeded()).standardised()
    others = [0, 1, 3, 4]
    assert split.train.mean(0) == pytest.approx(np.zeros(5), abs=1e-12)
    assert split.train[:, others].std(0) == pytest.approx(np.ones(4), abs=1e-12)
    assert split.test[:, 2] == pytest.approx(np.zeros(50), abs=1e-12)
    plain = split_points("test", PointCodes(points, factors), 0.25, seeded())
    expected = (plain.test - plain.train.mean(0))[:, others] / plain.train.std(0)[others]
    assert split.test[:, others] == pytest.approx(expected, abs=1e-10)


def test_too_few_points():
    with pytest.raises(ValueError, match="hold"):
        split_points("test", PointCodes(np.zeros((2, 1)), np.array([[0], [1]])), 0.1, seeded())
    with pytest.raises(ValueError, match="to learn from"):
        split_points("test", PointCodes(np.zeros((2, 1)), np.array([[0], [1]])), 0.5, seeded())
    with pytest.raises(ValueError, match="two values"):
        split_points("test", PointCodes(np.zeros((1, 1)), np.array([[0]])), 0.5, seeded())
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="test_fraction"):
            split_points("test", random_codes(n=10), fraction, seeded())
