"""One call for every metric: what is accepted, what is skipped and why, and that the numbers are the metrics' own."""

import inspect
import json
import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import evaluation
from toolkit.disentanglement.attacks import Redundancy
from toolkit.disentanglement.bounds import profile
from toolkit.disentanglement.codes import GaussianCodes, PointCodes, Posterior, synthetic_codes
from toolkit.disentanglement.evaluation import evaluate
from toolkit.disentanglement.evaluation_inputs import as_codes, factors_from_labels
from toolkit.disentanglement.metrics.dci import dci
from toolkit.disentanglement.metrics.gaps import mutual_information_gap
from toolkit.disentanglement.metrics.registry import METRICS

POSTERIOR = [name for name, metric in METRICS.items() if metric.needs == "posterior"]
POINTS = [name for name, metric in METRICS.items() if metric.needs == "points"]
QUICK = {"n_samples": 200, "n_points": 1500, "n_resamples": 50, "variant": "library"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def codes():
    return synthetic_codes((3, 4, 5))


@pytest.fixture(scope="module")
def scored(codes):
    return evaluate(codes, generator=generator(), **QUICK)


def test_a_clean_code_has_every_score_and_none_is_skipped(scored):
    assert list(scored.scores) == list(METRICS)
    assert scored.skipped == {}
    assert scored.left_out == ()
    for name, score in scored.scores.items():
        least, largest = METRICS[name].range
        assert least - 0.01 <= score <= largest, name
    assert scored["unibound"] <= scored["mig"] + 1e-9
    assert scored["beta_vae"] == scored["factor_vae"] == 1.0


def test_the_scores_are_the_metrics_own(codes, scored):
    found = profile(scored.details["informations"].informations)
    assert scored["unibound"] == found.unibound
    assert scored["mig"] == found.mig
    assert scored["redundant_upper"] == float(found.mean("redundant").upper)
    assert scored["complementary_lower"] == float(found.mean("complementary").lower)
    assert scored["unique_upper"] == float(found.mean("unique").upper)
    assert scored["total_correlation"] == found.total_correlation
    assert scored["dci_completeness"] == scored.details["dci"].completeness
    assert scored["sap"] == scored.details["sap"].score
    points = codes.means()
    by_call = evaluate(points, metrics=["mig_binned"])
    assert by_call["mig_binned"] == mutual_information_gap(points).score


def test_intervals_hold_the_scores_of_posteriors(scored):
    assert {"unibound", "mig", "information", "redundant_upper"} <= set(scored.intervals)
    assert not {*scored.intervals} & {*POINTS}
    for name, (low, high) in scored.intervals.items():
        assert low - 0.02 <= scored[name] <= high + 0.02
    assert scored.intervals["unibound"][0] < scored.intervals["unibound"][1]


def test_points_have_the_scores_of_points_and_the_reason_for_the_rest(codes):
    found = evaluate(codes.sample(600, generator=generator()), generator=generator(), **QUICK)
    assert list(found.scores) == POINTS
    assert list(found.skipped) == POSTERIOR
    assert all("mean and standard deviation" in reason for reason in found.skipped.values())
    with pytest.raises(ValueError, match="complete grid"):
        evaluate(codes.means(), metrics="unibound")


def test_a_strangers_arrays_are_scored_in_three_lines():
    rng = np.random.default_rng(0)
    factors = np.stack(np.meshgrid(range(4), range(3), range(5), indexing="ij"), -1).reshape(-1, 3)
    latents = (factors @ rng.normal(size=(3, 5)) + rng.normal(size=(60, 5))).astype(np.float32)
    result = evaluate(latents, factors)
    assert set(result.scores) == set(POINTS)
    assert "Evaluation of PointCodes" in repr(result)


@pytest.mark.parametrize("kind", ["numpy", "float64", "torch", "lists", "posterior", "strided"])
def test_arrays_of_any_kind_give_the_codes_scores(codes, scored, kind):
    mean, deviation, factors = codes.mean, codes.standard_deviation, codes.factors
    if kind == "numpy":
        given, labels = (mean.numpy(), deviation.numpy()), factors.numpy()
    elif kind == "float64":
        given, labels = (mean.double().numpy(), deviation.double().numpy()), factors.numpy().astype(np.uint8)
    elif kind == "torch":
        given, labels = (mean, deviation), factors.int()
    elif kind == "lists":
        given, labels = (mean.tolist(), deviation.tolist()), factors.tolist()
    elif kind == "posterior":
        given, labels = Posterior(mean, deviation), factors
    else:
        given, labels = (mean.numpy().T.copy().T, deviation.numpy()[::-1][::-1]), np.asfortranarray(factors.numpy())
    found = evaluate(given, labels, "informations", generator=generator(), **QUICK)
    # Numbers in float64 are other draws.
    tolerance = 0.05 if kind in ("float64", "lists") else 1e-6
    assert list(found.scores) == POSTERIOR
    for name in found.scores:
        assert found[name] == pytest.approx(scored[name], abs=tolerance), name


def test_a_score_is_the_same_whatever_else_is_computed(codes, scored):
    for chosen in (["sap"], ["factor_vae", "dci_completeness"], ["mig"], "latent_dependence"):
        found = evaluate(codes, metrics=chosen, generator=generator(), **QUICK)
        assert 1 <= len(found.scores) <= 4 or chosen == ["mig"]
        for name, score in found.scores.items():
            assert score == scored[name], name


def test_names_and_families_choose(codes):
    found = evaluate(codes.means(), metrics="dci", generator=generator())
    assert list(found.scores) == ["dci_disentanglement", "dci_completeness", "dci_informativeness"]
    assert list(evaluate(codes.means(), metrics=("sap", "irs")).scores) == ["sap", "irs"]
    for wrong in ("unibond", ["sap", "mutual"], []):
        with pytest.raises(ValueError, match="unibound, unique_upper"):
            evaluate(codes, metrics=wrong)


def test_options_reach_the_metrics(codes):
    points = codes.sample(300, generator=generator())
    found = evaluate(points, metrics=["dci", "beta_vae"], dci="reference", variant="library")
    assert found.details["dci"].options["classifier"] == "reference"
    assert found.details["beta_vae_score"].options["n_pairs"] == 64
    assert isinstance(found.details["dci"], type(dci(points)))
    as_means = evaluate(codes, metrics="gaussian_wasserstein", representation="means", n_points=60)
    assert as_means["gaussian_wasserstein"] == pytest.approx(0.0, abs=1e-6)  # a grid's means are uncorrelated
    assert (
        evaluate(codes, metrics="mig", n_samples=77, n_resamples=0).details["informations"].informations.n_samples == 77
    )
    assert evaluate(codes, metrics="mig", n_samples=77, n_resamples=0).intervals == {}
    for option in ("dci", "variant", "representation", "incomplete"):
        with pytest.raises(ValueError, match=option):
            evaluate(codes, metrics="mig", **{option: "best"})
    with pytest.raises(ValueError, match="n_points"):
        evaluate(codes, n_points=1)
    with pytest.raises(ValueError, match="n_resamples"):
        evaluate(codes, n_resamples=1)


def test_attacked_codes_are_scored_with_all_their_latents(codes, scored):
    found = evaluate(Redundancy(2.0)(codes), generator=generator(), **QUICK)
    assert found.skipped == {"total_correlation": "not defined for these codes"}
    assert found["unibound"] < scored["unibound"] - 0.1
    assert found["gaussian_total_correlation"] > 1.0
    assert len(found.details["sap"].latent_names) == 8


def test_the_mixing_of_latents_lowers_what_it_should(scored):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(3), dtype=torch.float64))[0]
    turned = evaluate(synthetic_codes((3, 4, 5), rotation=turn), generator=generator(), **QUICK)
    for name in ("unibound", "mig", "mig_binned", "mig_sup", "dci_disentanglement", "dci_completeness", "sap"):
        assert turned[name] < scored[name] - 0.1, name
    assert turned["complementary_upper"] > scored["complementary_upper"] + 0.1


def test_an_incomplete_grid_is_refused_for_informations_only(codes):
    part = GaussianCodes(codes.mean[:50], codes.standard_deviation[:50], codes.factors[:50], codes.factor_sizes)
    found = evaluate(part, generator=generator(), **QUICK)
    assert list(found.skipped) == POSTERIOR
    assert all("seem to know far more" in reason for reason in found.skipped.values())
    assert "mig" in evaluate(part, metrics="mig", incomplete="allow", n_samples=50).scores
    with pytest.raises(ValueError, match="equally often"):
        evaluate(part, metrics="mig")


def test_factors_of_one_value_are_left_out_and_named(codes):
    factors = torch.cat([torch.zeros(60, 1, dtype=torch.int64), codes.factors], 1)
    names = ("colour", "shape", "size", "place")
    with_constant = GaussianCodes(codes.mean, codes.standard_deviation, factors, factor_names=names)
    found = evaluate(with_constant, generator=generator(), **QUICK)
    plain = evaluate(codes, generator=generator(), **QUICK)
    assert found.left_out == ("colour",)
    assert "colour" in repr(found)
    assert found.skipped == {}
    for name in ("unibound", "mig", "sap", "mig_binned", "dci_completeness", "explicitness"):
        assert found[name] == pytest.approx(plain[name], abs=1e-6), name
    with pytest.raises(ValueError, match="two values or more"):
        evaluate(codes.mean, torch.zeros(60, 2, dtype=torch.int64))


def test_factor_indices_with_gaps_are_renumbered(codes, scored):
    found = evaluate(
        (codes.mean, codes.standard_deviation), codes.factors * 3 + 1, "unibound", generator=generator(), **QUICK
    )
    assert found["unibound"] == scored["unibound"]


def test_one_factor_may_be_a_vector(codes):
    found = evaluate(codes.mean, codes.factors[:, 1], ["mig_binned", "sap"], factor_names=("size",))
    assert found["mig_binned"] > 0.5
    assert found.details["sap"].factor_names == ("size",)


@pytest.mark.parametrize("latent", [0.1, 0.0])
def test_constant_latents_do_no_harm(codes, scored, latent):
    columns = torch.cat([codes.means().points[:, :3], torch.full((60, 1), latent)], 1)
    found = evaluate(columns, codes.factors, generator=generator(), **QUICK)
    assert list(found.scores) == POINTS
    assert found["mig_binned"] == pytest.approx(1.0)
    assert found["gaussian_total_correlation"] == pytest.approx(0.0, abs=1e-6)
    every = evaluate(torch.full((60, 2), latent), codes.factors, generator=generator(), **QUICK)
    assert every["mig_binned"] == 0.0
    assert abs(every["beta_vae"] - 1 / 3) < 0.1
    assert abs(every["factor_vae"] - 1 / 3) < 0.1


def test_one_latent(codes):
    found = evaluate(codes.means().points[:, :1], codes.factors, generator=generator(), **QUICK)
    assert found["mig_binned"] == pytest.approx(1 / 3, abs=0.05)
    assert found.skipped["latent_information"] == "not defined for these codes"
    gaussian = evaluate(
        (codes.mean[:, :1], codes.standard_deviation[:, :1]), codes.factors, generator=generator(), **QUICK
    )
    assert gaussian["unibound"] == pytest.approx(gaussian["mig"], abs=1e-6)


def test_codes_of_any_size(codes):
    points = codes.sample(500, generator=generator())
    plain = evaluate(points, generator=generator(), **QUICK)
    large = PointCodes(points.points.double() * 1e6 + 1e6, points.factors)
    found = evaluate(large, generator=generator(), **QUICK)
    assert not found.skipped.keys() & set(POINTS)
    for name in ("mig_binned", "mig_sup", "modularity", "factor_vae", "irs", "gaussian_total_correlation"):
        assert found[name] == pytest.approx(plain[name], abs=0.02), name


def test_bad_input_is_one_clear_error(codes):
    mean = codes.mean
    with pytest.raises(TypeError, match="return_inverse"):
        evaluate(mean, codes.factors.float())
    with pytest.raises(ValueError, match="factors"):
        evaluate(mean)
    with pytest.raises(ValueError, match=r"shape \(60, factors\)"):
        evaluate(mean, codes.factors[:59])
    with pytest.raises(ValueError, match="NaN"):
        evaluate(torch.where(mean > 1, torch.nan, mean), codes.factors)
    with pytest.raises(ValueError, match="indices from 0"):
        evaluate(mean, codes.factors - 1)
    with pytest.raises(ValueError, match="bring theirs"):
        evaluate(codes, codes.factors)
    with pytest.raises(ValueError, match="> 0 everywhere"):
        evaluate((mean, torch.zeros_like(mean)), codes.factors)
    with pytest.raises(ValueError, match="standard_deviation"):
        evaluate((mean, torch.ones(60, 2)), codes.factors)
    with pytest.raises(ValueError, match="two values or more"):
        evaluate(mean[:1], codes.factors[:1])
    with pytest.raises(TypeError, match="numbers"):
        evaluate(np.array([["a", "b"]]), codes.factors[:1])
    with pytest.raises(ValueError, match="one row an image"):
        evaluate(mean[:0], codes.factors[:0])
    # As outside these tests, where nobody looks at annotations.
    unhooked = inspect.unwrap(evaluate)
    for option in ({"n_points": 2.5}, {"n_samples": 300.0}, {"n_resamples": "9"}):
        with pytest.raises(TypeError, match=r"bad argument .*\n.*an integer"):
            unhooked(codes, **option)
    with pytest.raises(TypeError, match="a name or several"):
        inspect.unwrap(evaluation._chosen)(None)


def test_few_points_skip_what_needs_more(codes):
    found = evaluate(codes.mean[:4], np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), generator=generator(), **QUICK)
    assert "mig_binned" in found.scores
    assert {*found.scores, *found.skipped} == {*METRICS}
    assert all(reason for reason in found.skipped.values())


def test_labels_become_indices():
    labels = [["red", "2"], ["blue", "10"], ["red", "10"]]
    assert factors_from_labels(labels).tolist() == [[1, 1], [0, 0], [1, 0]]
    assert factors_from_labels(np.array([0.5, 0.25, 0.5])).tolist() == [[1], [0], [1]]
    assert factors_from_labels(torch.tensor([[7], [3]])).tolist() == [[1], [0]]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"hue": [0.5, 0.1], "name": ["b", "a"]})
    assert factors_from_labels(frame).tolist() == [[1, 1], [0, 0]]
    with pytest.raises(ValueError, match="column 0"):
        factors_from_labels(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match=r"\[images, factors\]"):
        factors_from_labels(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="at least one image"):
        factors_from_labels([])


def test_codes_are_returned_as_they_are(codes):
    assert as_codes(codes) is codes
    attacked = Redundancy(1.0)(codes)
    assert as_codes(attacked) is attacked


def test_everything_can_be_written(codes, scored):
    attacked = evaluate(Redundancy(1.0)(codes), metrics=["total_correlation", "irs"], generator=generator(), **QUICK)
    for found in (scored, attacked):
        read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert read["scores"] == pytest.approx(found.scores)
    copied = evaluate(torch.cat([codes.mean, codes.mean[:, :1]], 1), codes.factors, "latent_dependence")
    assert copied["gaussian_total_correlation"] == math.inf
    assert copied.to_dict()["scores"]["gaussian_total_correlation"] is None


def test_the_frame_has_a_row_a_score(codes, scored):
    frame = scored.to_frame()
    assert list(frame.index) == list(METRICS)
    assert frame.loc["unibound", "score"] == scored["unibound"]
    assert frame.loc["unibound", "low"] <= frame.loc["unibound", "high"]
    assert frame["source"].str.len().min() > 10
    skipped = evaluate(codes.means(), generator=generator(), **QUICK).to_frame()
    assert skipped.loc["mig", "skipped"]
    assert np.isnan(skipped.loc["mig", "score"])


def test_the_registry_says_where_every_score_comes_from():
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.needs in ("posterior", "points")
        assert metric.meaning.endswith(".")
        assert metric.range[0] < metric.range[1]
        assert any(year in metric.source for year in map(str, range(2017, 2023)))
        json.dumps(metric.to_dict(), allow_nan=False)
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_the_global_generators_are_left_alone(codes):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    evaluate(codes, **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
