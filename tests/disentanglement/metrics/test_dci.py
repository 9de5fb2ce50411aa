"""DCI: its formulas against SciPy's entropy, its importances against scikit-learn's, and known cases."""

import json
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

from tests.disentanglement.metrics.point_sets import aligned, random_codes, random_points, rotated, seeded
from toolkit.disentanglement.codes import PointCodes, synthetic_codes
from toolkit.disentanglement.metrics import importances
from toolkit.disentanglement.metrics.dci import concentration, dci
from toolkit.disentanglement.metrics.held_out import split_points


def published(importance):
    """Disentanglement and completeness as disentanglement_lib computes them."""
    by_code = 1 - scipy.stats.entropy(importance.T + 1e-11, base=importance.shape[1])
    by_factor = 1 - scipy.stats.entropy(importance + 1e-11, base=importance.shape[0])
    total = importance.sum()
    return (by_code * importance.sum(1)).sum() / total, (by_factor * importance.sum(0)).sum() / total


@pytest.fixture(scope="module")
def scored():
    codes = random_codes(n=600)
    return codes, dci(codes, generator=seeded())


def test_scores_are_the_published_formulas_of_the_importances(scored):
    _, found = scored
    disentanglement, completeness = published(found.importance.numpy())
    assert found.score == found.disentanglement == pytest.approx(disentanglement, abs=1e-12)
    assert found.completeness == pytest.approx(completeness, abs=1e-12)
    assert found.informativeness == pytest.approx(float(found.accuracy.mean()), abs=1e-15)
    assert found.importance.sum(0).tolist() == pytest.approx([1, 1, 1], abs=1e-12)


@pytest.mark.parametrize(("latents", "factors"), [(2, 2), (7, 3), (3, 7)])
def test_concentration_is_scipys_entropy(latents, factors):
    rows = np.random.default_rng(0).random((latents, factors)) ** 4
    rows[0] = 0
    expected = 1 - scipy.stats.entropy(rows.T + 1e-11, base=factors)
    assert concentration(torch.from_numpy(rows)).numpy() == pytest.approx(expected, abs=1e-12)


def test_concentration_of_templates():
    rows = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]], dtype=torch.float64)
    assert concentration(rows).tolist() == pytest.approx([1, 0.5, 0, 0], abs=1e-9)
    assert concentration(torch.tensor([[2.0], [0.0]], dtype=torch.float64)).tolist() == [1, 0]


def test_reference_is_scikit_learns_gradient_boosting():
    codes = random_codes(n=100, sizes=(2, 3), n_noise=1)
    found = dci(codes, classifier="reference", generator=seeded())
    split = split_points("test", codes, 1 / 3, seeded()).standardised()
    for factor in range(2):
        model = GradientBoostingClassifier(random_state=split.seed).fit(split.train, split.train_factors[:, factor])
        assert found.importance[:, factor].numpy() == pytest.approx(model.feature_importances_, abs=1e-12)
        assert float(found.accuracy[factor]) == model.score(split.test, split.test_factors[:, factor])


def test_histogram_boosting_comes_near_the_reference():
    codes = random_codes(n=360, sizes=(2, 4), n_noise=1)
    for representation in (codes, rotated(codes)):
        fast, reference = (
            dci(representation, classifier=name, generator=seeded()) for name in ("histogram", "reference")
        )
        assert fast.disentanglement == pytest.approx(reference.disentanglement, abs=0.06)
        assert fast.completeness == pytest.approx(reference.completeness, abs=0.06)
        assert fast.informativeness == pytest.approx(reference.informativeness, abs=0.06)
        assert fast.importance.numpy() == pytest.approx(reference.importance.numpy(), abs=0.1)


def test_split_gains_are_those_of_one_split_by_hand():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3))
    y = x[:, 1] > 0.3
    model = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=2, early_stopping=False, l2_regularization=0.0)
    gains = importances.split_gains(model.fit(x, y), 3)
    # One split of a log-loss: gradients p − y and curvatures p (1 − p) on both sides.
    p = y.mean()
    gradient, curvature = p - y, np.full(200, p * (1 - p))

    def value(side):
        return gradient[side].sum() ** 2 / (curvature[side].sum() + 1e-15)

    expected = value(y) + value(~y) - value(np.full(200, True))
    assert gains[[0, 2]].tolist() == [0, 0]
    assert gains[1] == pytest.approx(expected, rel=1e-4)


def test_gains_that_cannot_be_read_give_way_to_permutation(monkeypatch):
    codes = random_codes(n=200, sizes=(2, 3), n_noise=1)
    expected = dci(codes, importance="permutation", generator=seeded())
    fit = HistGradientBoostingClassifier.fit

    def fit_and_hide(self, *arguments):
        fit(self, *arguments)
        for tree in (tree for iteration in self._predictors for tree in iteration):
            assert "gain" in tree.nodes.dtype.names
        self._trees, predict = self._predictors, self.predict

        def with_trees(x):
            self._predictors = self._trees
            found = predict(x)
            del self._predictors
            return found

        self.predict = with_trees
        del self._predictors
        return self

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit_and_hide)
    with pytest.warns(UserWarning, match="split gains"):
        found = dci(codes, generator=seeded())
    assert torch.equal(found.importance, expected.importance)
    assert found.options["importance"] == expected.options["importance"] == "permutation"


def test_aligned_codes_have_all_scores_one():
    codes = aligned(repeats=6)
    for importance in ("gain", "permutation"):
        found = dci(codes, importance=importance, generator=seeded())
        assert found.disentanglement == pytest.approx(1, abs=0.02)
        assert found.completeness == pytest.approx(1, abs=0.02)
        assert found.informativeness == pytest.approx(1, abs=0.02)


def test_rotation_is_seen(scored):
    codes, found = scored
    turned = dci(rotated(codes), generator=seeded())
    assert turned.disentanglement < found.disentanglement - 0.2
    assert turned.completeness < found.completeness - 0.2


def test_the_generator_decides_the_score(scored):
    codes, found = scored
    again, other = (dci(codes, generator=seeded(seed)) for seed in (0, 5))
    assert torch.equal(found.importance, again.importance)
    assert not torch.equal(found.importance, other.importance)


@pytest.mark.parametrize("classifier", ["histogram", "reference"])
def test_units_and_places_do_not_matter(classifier):
    codes = random_codes(n=90, sizes=(2,), n_noise=2)
    found = dci(codes, classifier=classifier, generator=seeded())
    units = torch.tensor([2.0**20, 2.0**-400, 2.0**900], dtype=torch.float64)
    scaled = PointCodes(codes.points * units, codes.factors)
    assert dci(scaled, classifier=classifier, generator=seeded()).score == pytest.approx(found.score, abs=1e-6)
    moved = PointCodes(codes.points + 1e7, codes.factors)
    assert dci(moved, classifier=classifier, generator=seeded()).score == pytest.approx(found.score, abs=0.02)


def test_a_categorical_latent_collects_the_importance_of_its_columns():
    points, factors = random_points(n=400, sizes=(4, 3))
    columns = np.concatenate([np.eye(4)[factors[:, 0]], points[:, 1:2]], 1)
    found = dci(PointCodes(columns, factors, groups=(4, 1)), generator=seeded())
    assert found.importance.shape == (2, 2)
    assert float(found.importance[0, 0]) > 0.95
    assert float(found.accuracy[0]) == 1
    apart = dci(PointCodes(columns, factors), generator=seeded())
    assert found.importance[0].tolist() == pytest.approx(apart.importance[:4].sum(0).tolist(), abs=1e-12)


@pytest.mark.parametrize("importance", ["gain", "permutation"])
def test_latents_that_know_nothing_at_all_score_zero(importance):
    _, factors = random_points(n=120)
    found = dci(PointCodes(np.ones((120, 2)), factors), importance=importance, generator=seeded())
    assert (found.disentanglement, found.completeness) == (0, 0)
    assert 0 < found.informativeness < 1


def test_one_latent_and_one_factor():
    points, factors = random_points(n=200, sizes=(3, 3))
    one_factor = dci(PointCodes(points, factors[:, :1]), generator=seeded())
    assert one_factor.disentanglement == pytest.approx(1, abs=1e-12)
    one_latent = dci(PointCodes(points[:, :1], factors), generator=seeded())
    assert one_latent.completeness == pytest.approx(1, abs=1e-12)
    assert one_latent.disentanglement < 0.1  # the importances of each factor's classifier add up to 1


def test_a_value_met_only_among_the_points_held_out_is_a_mistake():
    points, factors = random_points(n=60, sizes=(2, 2))
    factors[0] = 2
    found = dci(PointCodes(points, factors), generator=seeded())
    assert 0 <= found.informativeness <= 1


def test_result_says_which_variant_it_is(scored):
    _, found = scored
    assert "classifier='histogram', importance='gain'" in repr(found)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["options"]["classifier"] == "histogram"
    assert written["importance"] == found.importance.tolist()


def test_bad_arguments():
    codes = random_codes(n=60)
    with pytest.raises(ValueError, match="classifier"):
        dci(codes, classifier="forest")
    with pytest.raises(ValueError, match="importance"):
        dci(codes, importance="weight")
    with pytest.raises(ValueError, match="two values of 'factor 3'"):
        dci(PointCodes(codes.points, codes.factors * torch.tensor([1, 1, 0])))
    with pytest.raises(TypeError):
        dci(synthetic_codes((2, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dci(codes, generator=seeded())
