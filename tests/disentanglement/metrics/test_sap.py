"""SAP against loops over scikit-learn's machine and NumPy's covariances."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC

from tests.disentanglement.metrics.point_sets import random_codes, random_points, seeded
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.held_out import split_points
from toolkit.disentanglement.metrics.sap import sap


def gap(matrix):
    ordered = np.sort(matrix, 0)
    return ordered[-1] - ordered[-2]


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_is_the_loop_of_disentanglement_lib(seed):
    codes = random_codes(n=500, seed=seed)
    split = split_points("test", codes, 1 / 3, seeded())
    expected = np.zeros((5, 3))
    for i in range(5):
        for j in range(3):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0, tol=1e-8, max_iter=100_000)
            machine.fit(split.train[:, [i]], split.train_factors[:, j])
            expected[i, j] = np.mean(machine.predict(split.test[:, [i]]) == split.test_factors[:, j])
    found = sap(codes, generator=seeded())
    assert found.prediction.numpy() == pytest.approx(expected, abs=0.007)  # one point in 167 may change sides
    assert found.per_factor.numpy() == pytest.approx(gap(found.prediction.numpy()), abs=1e-15)
    assert found.score == pytest.approx(float(found.per_factor.mean()), abs=1e-15)
    assert found.best_latent == (0, 1, 2)


def test_r_squared_is_the_loop_of_disentanglement_lib():
    points, factors = random_points(n=300)
    expected = np.zeros((5, 3))
    for i in range(5):
        for j in range(3):
            covariance = np.cov(points[:, i], factors[:, j], ddof=1)
            expected[i, j] = covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    found = sap(PointCodes(points, factors), prediction="r_squared")
    assert found.prediction.numpy() == pytest.approx(expected, abs=1e-12)
    assert found.score == pytest.approx(gap(expected).mean(), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e6, 1e200])
def test_r_squared_does_not_depend_on_units(scale):
    points, factors = random_points(n=300)
    expected = sap(PointCodes(points, factors), prediction="r_squared").prediction.numpy()
    found = sap(PointCodes(points * scale, factors), prediction="r_squared").prediction.numpy()
    assert found == pytest.approx(expected, abs=1e-12)


def test_standardised_accuracy_does_not_depend_on_units():
    points, factors = random_points(n=300)
    units = [1e6, 1e-6, 1, 100, 3]
    one, other = (sap(PointCodes(z, factors), standardise=True, generator=seeded()) for z in (points, points * units))
    assert torch.equal(one.prediction, other.prediction)


def test_a_categorical_latent_predicts_with_all_its_columns():
    points, factors = random_points(n=300, sizes=(4, 3))
    columns = np.concatenate([np.eye(4)[factors[:, 0]], points[:, 1:2]], 1)
    codes = PointCodes(columns, factors, groups=(4, 1))
    found = sap(codes, generator=seeded())
    assert found.prediction.shape == (2, 2)
    assert float(found.prediction[0, 0]) == 1
    squared = sap(codes, prediction="r_squared").prediction
    line = LinearRegression().fit(columns[:, :4], factors).predict(columns[:, :4])
    expected = 1 - ((factors - line) ** 2).sum(0) / ((factors - factors.mean(0)) ** 2).sum(0)
    assert squared[0].numpy() == pytest.approx(expected, abs=1e-10)


def test_a_constant_latent_explains_nothing():
    points, factors = random_points(n=200)
    points[:, 3] = 0.1
    codes = PointCodes(points, factors)
    assert sap(codes, prediction="r_squared").prediction[3].tolist() == [0, 0, 0]
    assert bool(sap(codes, generator=seeded()).prediction[3].lt(0.5).all())


def test_known_cases():
    points, factors = random_points(n=600, sizes=(2, 2), n_noise=0, noise=0.01)
    clean = PointCodes(points, factors)
    assert sap(clean, generator=seeded()).score > 0.4  # 1 against a coin's 1/2
    assert sap(clean, prediction="r_squared").score > 0.95
    twice = PointCodes(np.concatenate([points, points], 1), factors)
    assert sap(twice, generator=seeded()).score == 0
    assert sap(twice, prediction="r_squared").score == 0
    turned = PointCodes(points @ np.array([[1, -1], [1, 1]]), factors)
    assert sap(turned, prediction="r_squared").score < 0.1


def test_the_generator_decides_the_score():
    codes = random_codes(n=300, noise=0.8)
    one, again, other = (sap(codes, generator=seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.prediction, again.prediction)
    assert not torch.equal(one.prediction, other.prediction)


def test_result_says_what_it_was_computed_with():
    written = json.loads(json.dumps(sap(random_codes(n=90), generator=seeded()).to_dict()))
    assert written["options"]["prediction"] == "accuracy"
    assert written["options"]["regularisation"] == 0.01
    assert sap(random_codes(n=90), prediction="r_squared").options == {"prediction": "r_squared"}


def test_bad_arguments():
    codes = random_codes(n=60)
    with pytest.raises(ValueError, match="prediction"):
        sap(codes, prediction="f1")
    with pytest.raises(ValueError, match="regularisation"):
        sap(codes, regularisation=0.0)
    with pytest.raises(ValueError, match="two latents"):
        sap(PointCodes(codes.points[:, :1], codes.factors))
    with pytest.raises(ValueError, match="two values"):
        sap(PointCodes(codes.points, codes.factors * 0), prediction="r_squared")
