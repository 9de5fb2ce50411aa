"""Explicitness against scikit-learn's one-vs-rest and multinomial regressions, and the area counted pair by pair."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from tests.disentanglement.metrics.point_sets import random_codes, random_points, rotated, seeded
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.explicitness import explicitness
from toolkit.disentanglement.metrics.held_out import split_points


def pairs(positive, score):
    """The area under the curve: how often a positive is above a negative, ties half."""
    above = score[positive][:, None] - score[~positive]
    return ((above > 0) + 0.5 * (above == 0)).mean()


@pytest.mark.parametrize("classifier", ["one_vs_rest", "multinomial"])
def test_is_the_loop(classifier):
    codes = random_codes(n=400, noise=0.7)
    found = explicitness(codes, classifier=classifier, normalised=False, generator=seeded())
    split = split_points("test", codes, 1 / 3, seeded()).standardised()
    for factor, size in enumerate((3, 4, 5)):
        truth, held_out = split.train_factors[:, factor], split.test_factors[:, factor]
        model = LogisticRegression(tol=1e-10, max_iter=10_000)
        model = OneVsRestClassifier(model) if classifier == "one_vs_rest" else model
        model.fit(split.train, truth)
        scores = model.decision_function(split.test) if classifier == "one_vs_rest" else model.predict_proba(split.test)
        expected = [pairs(held_out == value, scores[:, value]) for value in range(size)]
        assert found.area[factor, :size].numpy() == pytest.approx(expected, abs=2e-3)
        assert bool(found.area[factor, size:].isnan().all())
        assert float(found.per_factor[factor]) == pytest.approx(np.mean(found.area[factor, :size].numpy()), abs=1e-15)
        assert float(found.per_factor[factor]) == pytest.approx(roc_auc_score(np.eye(size)[held_out], scores), abs=1e-3)
    assert found.score == pytest.approx(float(found.per_factor.mean()), abs=1e-15)


def test_normalised_is_twice_the_area_less_one():
    codes = random_codes(n=300)
    area, normalised = (explicitness(codes, normalised=each, generator=seeded()) for each in (False, True))
    assert normalised.score == pytest.approx(2 * area.score - 1, abs=1e-12)
    assert torch.equal(area.area.nan_to_num(-1), normalised.area.nan_to_num(-1))


def test_it_does_not_mind_a_rotation_or_a_unit():
    codes = random_codes(n=600)
    score = explicitness(codes, generator=seeded()).score
    assert explicitness(rotated(codes), generator=seeded()).score == pytest.approx(score, abs=0.02)
    scaled = PointCodes(codes.points * 1e6, codes.factors)
    assert explicitness(scaled, generator=seeded()).score == pytest.approx(score, abs=1e-6)


def test_known_cases():
    points, factors = random_points(n=600, sizes=(2, 2), noise=0.01)
    assert explicitness(PointCodes(points, factors), generator=seeded()).score == pytest.approx(1, abs=1e-12)
    noise = PointCodes(np.random.default_rng(1).normal(size=(600, 3)), factors)
    assert abs(explicitness(noise, generator=seeded()).score) < 0.2
    constant = PointCodes(np.ones((600, 1)), factors)
    assert explicitness(constant, generator=seeded()).score == 0
    # The middle one of three values on a line: no half-line ranks it first.
    middle = PointCodes(*random_points(n=600, sizes=(3, 3), n_noise=0, noise=0.01))
    area = explicitness(middle, generator=seeded()).area
    assert area[:, [0, 2]].flatten().tolist() == pytest.approx([1] * 4, abs=1e-12)
    assert bool((area[:, 1] < 0.7).all())


def test_one_hot_columns_say_every_value():
    _, factors = random_points(n=300, sizes=(4,))
    codes = PointCodes(np.eye(4)[factors[:, 0]], factors, groups=(4,))
    assert explicitness(codes, generator=seeded()).score == 1


def test_values_that_only_one_part_has_are_left_out():
    points, factors = random_points(n=90, sizes=(2, 3))
    factors[0] = [1, 5]
    found = explicitness(PointCodes(points, factors), generator=seeded())
    assert bool(found.area[1, 3:].isnan().all())
    assert bool(found.area[1, :3].isfinite().all())
    assert np.isfinite(found.score)


def test_the_generator_decides_the_score():
    codes = random_codes(n=300, noise=0.8)
    one, again, other = (explicitness(codes, generator=seeded(seed)).score for seed in (0, 0, 1))
    assert one == again != other


def test_result_and_bad_arguments():
    codes = random_codes(n=90)
    written = json.loads(json.dumps(explicitness(codes, generator=seeded()).to_dict()))
    assert written["options"]["classifier"] == "one_vs_rest"
    with pytest.raises(ValueError, match="classifier"):
        explicitness(codes, classifier="svm")
    with pytest.raises(ValueError, match="regularisation"):
        explicitness(codes, regularisation=-1.0)
    with pytest.raises(ValueError, match="two values"):
        explicitness(PointCodes(codes.points, codes.factors * 0))
    lonely = PointCodes(np.arange(4.0)[:, None], np.array([[0], [1], [2], [3]]))
    with pytest.raises(ValueError, match="held out"):
        explicitness(lonely, generator=seeded())
