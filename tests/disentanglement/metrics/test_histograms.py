"""Binned informations against NumPy's histograms and scikit-learn's loop."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import KBinsDiscretizer

from tests.disentanglement.metrics.point_sets import aligned, random_codes, random_points
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.histograms import binned_informations, discretise


def numpy_bins(points, n_bins=20):
    """As disentanglement_lib has it, counted from 0."""
    return np.stack([np.digitize(z, np.histogram(z, n_bins)[1][:-1]) for z in points.T], 1) - 1


def loop(points, factors, n_bins=20):
    bins = numpy_bins(points, n_bins)
    return np.array([[mutual_info_score(factor, z) for factor in factors.T] for z in bins.T])


def variants():
    points, _ = random_points(n=2000)
    yield "float64", points
    yield "float32", points.astype(np.float32)
    yield "on the edges", np.round(points * 4) / 4
    yield "huge", points * 1e6
    yield "beyond what can be squared", points * 1e200
    yield "tiny", points * 1e-9
    yield "far from zero", points.astype(np.float32) + np.float32(1e4)
    yield "few different numbers", np.round(points).astype(np.float32) / 3
    yield "discontiguous", np.repeat(points, 2, axis=1)[:, ::2]


@pytest.mark.parametrize(
    ("name", "points"), list(variants()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("n_bins", [1, 7, 20])
def test_equal_width_is_numpys_histogram_and_scikit_learns_information(name, points, n_bins):
    _, factors = random_points(n=2000)
    codes = PointCodes(points, factors)
    assert np.array_equal(discretise(codes, n_bins=n_bins).numpy(), numpy_bins(points, n_bins))
    found = binned_informations(codes, n_bins=n_bins)
    assert found.information.numpy() == pytest.approx(loop(points, factors, n_bins), abs=1e-12)
    entropy = [mutual_info_score(factor, factor) for factor in factors.T]
    assert found.factor_entropy.numpy() == pytest.approx(entropy, abs=1e-12)
    assert found.normalised.numpy() == pytest.approx(loop(points, factors, n_bins) / entropy, abs=1e-12)
    own = [mutual_info_score(z, z) for z in numpy_bins(points, n_bins).T]
    assert found.latent_entropy.numpy() == pytest.approx(own, abs=1e-12)


def test_a_range_of_a_few_roundings_is_cut_where_the_rounded_edges_are():
    points = np.float32(1e6) + np.arange(64, dtype=np.float32)[:, None] % 7 * np.float32(0.0625)
    edges = np.linspace(points.min(), points.max(), 21, dtype=np.float32)[1:-1]
    bins = discretise(PointCodes(points, np.arange(64)[:, None] % 2)).numpy()
    assert np.array_equal(bins, np.digitize(points, edges))
    assert len(np.unique(bins)) == 7


def test_the_whole_range_of_numbers_is_cut():
    points = np.array([[-3e38], [-1e38], [0.0], [1e38], [3e38]], dtype=np.float32)
    codes = PointCodes(points, np.array([[0], [1], [0], [1], [0]]))
    assert discretise(codes, n_bins=3)[:, 0].tolist() == [0, 1, 1, 2, 2]


def test_equal_frequency_is_scikit_learns_quantile_binning():
    points, factors = random_points(n=1003)
    options = {"encode": "ordinal", "strategy": "quantile", "quantile_method": "linear"}
    expected = KBinsDiscretizer(10, **options).fit_transform(points)
    assert np.array_equal(discretise(PointCodes(points, factors), n_bins=10, binning="equal_frequency"), expected)


def test_equal_frequency_keeps_equal_numbers_together_and_ignores_monotone_maps():
    points, factors = random_points(n=500)
    rounded = np.round(points)
    bins = discretise(PointCodes(rounded, factors), binning="equal_frequency").numpy()
    for column, cut in zip(rounded.T, bins.T, strict=True):
        assert all(len(set(cut[column == value])) == 1 for value in set(column))
    one = binned_informations(PointCodes(points[:481], factors[:481]), binning="equal_frequency")
    # 481 points: the 20 quantiles are points, so that no interpolation depends on the map.
    other = binned_informations(PointCodes(np.exp(points[:481]), factors[:481]), binning="equal_frequency")
    assert torch.equal(one.information, other.information)


def test_informations_of_aligned_factors_are_their_entropies():
    found = binned_informations(aligned((3, 4, 5)))
    assert found.information.numpy() == pytest.approx(np.diag(np.log([3, 4, 5])), abs=1e-12)


def test_a_categorical_latent_is_its_category():
    points, factors = random_points(n=400)
    category = (factors[:, 1] + (np.arange(400) % 5 == 0)) % 4
    codes = PointCodes(np.concatenate([points[:, :2], np.eye(4)[category]], 1), factors, groups=(1, 1, 4))
    found = binned_informations(codes)
    assert np.array_equal(discretise(codes)[:, 2], category)
    expected = [mutual_info_score(factor, category) for factor in factors.T]
    assert found.information.shape == (3, 3)
    assert found.information[2].numpy() == pytest.approx(expected, abs=1e-12)
    assert found.information[:2].numpy() == pytest.approx(loop(points[:, :2], factors), abs=1e-12)


def test_more_categories_than_bins():
    category = np.arange(120) % 30
    codes = PointCodes(np.eye(30)[category], category[:, None], groups=(30,))
    assert float(binned_informations(codes, n_bins=5).information) == pytest.approx(np.log(30), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, -3.25, 1e9, 1e300])
@pytest.mark.parametrize("binning", ["equal_width", "equal_frequency"])
def test_a_constant_latent_has_exactly_no_information(value, binning):
    points, factors = random_points(n=301)
    points[:, 1] = value
    found = binned_informations(PointCodes(points, factors), binning=binning)
    assert found.information[1].tolist() == [0, 0, 0]
    assert float(found.latent_entropy[1]) == 0
    without = binned_informations(PointCodes(np.delete(points, 1, 1), factors), binning=binning)
    assert found.information[[0, 2, 3, 4]].numpy() == pytest.approx(without.information.numpy(), abs=1e-15)


def test_values_of_a_factor_that_do_not_occur_change_nothing():
    points, factors = random_points(n=300)
    spread = factors * np.array([1, 7, 100_000])
    one, other = (binned_informations(PointCodes(points, f)) for f in (factors, spread))
    assert one.information.numpy() == pytest.approx(other.information.numpy(), abs=1e-14)


def test_informations_are_never_negative():
    codes = random_codes(n=200, noise=100.0)
    assert bool((binned_informations(codes).information >= 0).all())


def test_result_says_what_it_is():
    found = binned_informations(random_codes(), n_bins=5)
    assert repr(found) == "BinnedInformations(5 latents, 3 factors)"
    written = json.loads(json.dumps(found.to_dict()))
    assert written["options"] == {"n_bins": 5, "binning": "equal_width"}
    assert written["information"] == found.information.tolist()


def test_bad_arguments():
    codes = random_codes(n=50)
    with pytest.raises(ValueError, match="n_bins"):
        discretise(codes, n_bins=0)
    with pytest.raises(ValueError, match="binning"):
        discretise(codes, binning="kmeans")
    with pytest.raises(TypeError):
        discretise(codes, n_bins=2.5)
    with pytest.raises(ValueError, match="two values of 'factor 2'"):
        binned_informations(PointCodes(codes.points, codes.factors * torch.tensor([1, 0, 1])))
    with pytest.raises(ValueError, match="two values"):
        binned_informations(PointCodes(np.zeros((1, 2)), np.zeros((1, 1), dtype=int)))
