"""Dependence between latents against closed forms and scipy; ranking without factors against a loop and known cases."""

import json
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso
from sklearn.metrics import mutual_info_score

from toolkit.disentanglement.codes import GaussianCodes, PointCodes, synthetic_codes
from toolkit.disentanglement.metrics.udr import udr
from toolkit.disentanglement.metrics.unsupervised import (
    covariance_of,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    latent_dependence,
    mutual_information_between_latents,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_covariance(size, seed=0):
    root = torch.randn(size, size + 2, generator=generator(seed), dtype=torch.float64)
    return root @ root.T


def points_of(columns, groups=()):
    columns = torch.as_tensor(columns)
    return PointCodes(columns, torch.zeros(len(columns), 1, dtype=torch.int64), groups=groups)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_gaussian_scores_are_those_of_scipy(size):
    covariance = random_covariance(size).numpy()
    diagonal = np.diag(np.diag(covariance))
    divergence = 0.5 * (np.log(np.linalg.det(diagonal)) - np.log(np.linalg.det(covariance)))
    root = scipy.linalg.sqrtm(diagonal)
    between = scipy.linalg.sqrtm(root @ covariance @ root)
    distance = np.trace(covariance + diagonal - 2 * np.real(between))
    given = torch.from_numpy(covariance)
    assert gaussian_total_correlation(given) == pytest.approx(divergence, abs=1e-9)
    assert gaussian_wasserstein_correlation(given) == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.99])
def test_two_latents_have_the_closed_forms(correlation):
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    assert gaussian_total_correlation(covariance) == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=1e-12)
    distance = 4 - 2 * ((1 + correlation) ** 0.5 + (1 - correlation) ** 0.5)
    assert gaussian_wasserstein_correlation(covariance) == pytest.approx(distance, abs=1e-12)


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e200, 1e300])
def test_the_wasserstein_distance_is_in_the_covariances_unit(unit):
    covariance = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    expected = gaussian_wasserstein_correlation(covariance)
    assert gaussian_wasserstein_correlation(covariance * unit) == pytest.approx(expected * unit, rel=1e-9)


def test_total_correlation_does_not_depend_on_units_nor_on_a_constant_latent():
    covariance = random_covariance(4)
    unit = torch.tensor([1e-9, 1.0, 1e9, 3.0], dtype=torch.float64)
    plain = gaussian_total_correlation(covariance)
    assert gaussian_total_correlation(covariance * unit * unit[:, None]) == pytest.approx(plain, rel=1e-9)
    with_constant = torch.nn.functional.pad(covariance, (0, 1, 0, 1))
    assert gaussian_total_correlation(with_constant) == pytest.approx(plain, rel=1e-9)
    assert gaussian_wasserstein_correlation(with_constant) == pytest.approx(
        gaussian_wasserstein_correlation(covariance), rel=1e-9
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_copied_latent_makes_the_total_correlation_infinite(dtype):
    columns = torch.randn(500, 3, generator=generator(), dtype=dtype)
    for copied in (columns[:, :1], 2 * columns[:, :1] - columns[:, 1:2]):
        found = latent_dependence(points_of(torch.cat([columns, copied], 1)))
        assert found.total_correlation == math.inf
        assert found.wasserstein_correlation > 0.1
    assert latent_dependence(points_of(columns)).total_correlation < 0.05


def test_nearly_singular_is_not_taken_as_singular():
    columns = torch.randn(5000, 2, generator=generator(), dtype=torch.float64)
    nearly = torch.cat([columns, columns[:, :1] + 1e-5 * columns[:, 1:]], 1)
    alone = torch.cat([columns[:, :1], columns[:, :1] + 1e-5 * columns[:, 1:]], 1)
    assert latent_dependence(points_of(nearly)).total_correlation == math.inf
    assert latent_dependence(points_of(alone)).total_correlation == pytest.approx(math.log(1e5), abs=0.05)


def test_fewer_points_than_latents_are_singular():
    assert latent_dependence(points_of(torch.randn(3, 5, generator=generator()))).total_correlation == math.inf


def test_the_covariance_is_numpys():
    columns = torch.randn(50, 3, generator=generator()) * 1e3 + 1e5
    assert np.allclose(covariance_of(columns), np.cov(columns.double().numpy().T), rtol=1e-9)


def test_columns_of_one_categorical_latent_do_not_depend_on_one_another():
    category = torch.randint(0, 3, (4000,), generator=generator())
    one_hot = torch.nn.functional.one_hot(category, 3).double()
    real = torch.randn(4000, 1, generator=generator(1), dtype=torch.float64)
    independent = latent_dependence(points_of(torch.cat([real, one_hot], 1), (1, 3)))
    assert independent.total_correlation < 0.005
    assert independent.wasserstein_correlation < 0.005
    shifted = torch.cat([real + 2 * category[:, None], one_hot], 1)
    dependent = latent_dependence(points_of(shifted, (1, 3)))
    # Regression of the real latent on the category: −½ log(1 − R²).
    explained = 4 * category.double().var() / (1 + 4 * category.double().var())
    assert dependent.total_correlation == pytest.approx(-0.5 * math.log(1 - explained), abs=0.05)


def test_information_between_latents_is_that_of_scikit_learn():
    columns = torch.randn(2000, 4, generator=generator(), dtype=torch.float64)
    columns[:, 1] += columns[:, 0]
    labels = [np.digitize(column, np.histogram(column, 20)[1][:-1]) for column in columns.numpy().T]
    pairs = [mutual_info_score(labels[i], labels[j]) for i in range(4) for j in range(4) if i != j]
    assert mutual_information_between_latents(points_of(columns)) == pytest.approx(np.mean(pairs), rel=1e-9)


def test_information_between_latents_at_the_edge():
    constant = torch.cat([torch.full((100, 1), 0.1), torch.randn(100, 1, generator=generator())], 1)
    assert mutual_information_between_latents(points_of(constant)) == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(mutual_information_between_latents(points_of(torch.rand(10, 1))))
    assert mutual_information_between_latents(points_of(torch.rand(1, 2))) == pytest.approx(0.0, abs=1e-12)
    category = torch.arange(90) % 3
    twice = torch.nn.functional.one_hot(category, 3).double()
    both = points_of(torch.cat([twice, twice], 1), (3, 3))
    assert mutual_information_between_latents(both) == pytest.approx(math.log(3))


def test_bad_covariances_are_refused():
    with pytest.raises(ValueError, match="square"):
        gaussian_total_correlation(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="finite"):
        gaussian_wasserstein_correlation(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match="columns in all"):
        gaussian_total_correlation(torch.eye(3), groups=(1, 1))
    with pytest.raises(ValueError, match="two points"):
        latent_dependence(points_of(torch.rand(1, 2)))
    with pytest.raises(ValueError, match=">= 1"):
        latent_dependence(points_of(torch.rand(5, 2)), n_bins=0)


def test_constant_codes_do_not_depend_on_one_another():
    found = latent_dependence(points_of(torch.full((20, 3), 0.1)))
    assert found.total_correlation == 0.0
    assert found.wasserstein_correlation == pytest.approx(0.0, abs=1e-15)
    assert found.normalised_wasserstein_correlation == 0.0


def loop_udr(columns, method):
    """The ranking as published: a loop over pairs of models and of latents."""
    standard = [(one - one.mean(0)) / one.std(0) for one in columns]
    pairwise = np.full((len(columns), len(columns)), np.nan)
    for i, one in enumerate(standard):
        for j, other in enumerate(standard):
            if i == j:
                continue
            similarity = np.zeros((one.shape[1], other.shape[1]))
            for a in range(one.shape[1]):
                for b in range(other.shape[1]):
                    if method == "spearman":
                        similarity[a, b] = abs(spearmanr(one[:, a], other[:, b])[0])
                    else:
                        similarity[a, b] = abs(Lasso(alpha=0.1).fit(one, other[:, b]).coef_[a])
            halves = []
            for table in (similarity, similarity.T):
                ratio = [row.max() ** 2 / row.sum() if row.sum() > 0 else 0.0 for row in table]
                halves.append(np.mean(ratio))
            pairwise[i, j] = np.mean(halves)
    return pairwise


@pytest.mark.parametrize("method", ["lasso", "spearman"])
def test_ranking_is_that_of_a_loop(method):
    draws = np.random.default_rng(0)
    base = draws.normal(size=(300, 3))
    columns = [base @ draws.normal(size=(3, 3)) + 0.2 * draws.normal(size=(300, 3)) for _ in range(4)]
    found = udr([points_of(one) for one in columns], method=method)
    pairwise = loop_udr(columns, method)
    assert np.allclose(found.pairwise.numpy(), pairwise, atol=1e-6, equal_nan=True)
    medians = [np.median([pairwise[i, j] for i in range(4) if i != j]) for j in range(4)]
    assert np.allclose(found.scores, medians, atol=1e-6)
    json.dumps(found.to_dict(), allow_nan=False)


def test_aligned_models_rank_above_rotated_ones():
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator(), dtype=torch.float64))[0]
    sizes = (3, 4, 5, 4)
    aligned = synthetic_codes(sizes)
    turned = synthetic_codes(sizes, rotation=turn)
    permuted = GaussianCodes(-aligned.mean.flip(1), aligned.standard_deviation.flip(1), aligned.factors)
    for method, least in (("lasso", 0.85), ("spearman", 0.95)):
        found = udr([aligned, permuted, aligned, turned], method=method)
        assert found.scores[:3].min() > least
        assert found.scores[3] < 0.6
    assert [int(one.sum()) for one in found.active] == [4, 4, 4, 4]  # the latent of noise has no divergence
    assert found.active[1].tolist() == [False, True, True, True, True]


def test_a_collapsed_model_scores_nothing():
    codes = synthetic_codes((3, 4))
    collapsed = GaussianCodes(torch.zeros(12, 3), torch.ones(12, 3), codes.factors)
    assert udr([codes, codes, collapsed]).scores[2] == 0.0
    assert udr([codes, codes, collapsed], method="spearman").scores[2] == 0.0


def test_bad_models_are_refused():
    codes = synthetic_codes((3, 4))
    with pytest.raises(ValueError, match="two models"):
        udr([codes])
    with pytest.raises(ValueError, match="same images"):
        udr([codes, synthetic_codes((3, 5))])
    with pytest.raises(ValueError, match="'lasso' or 'spearman'"):
        udr([codes, codes], method="pearson")
