"""Codes of principal components against NumPy's eigenvectors, all angles tried, and scikit-learn's checks."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from toolkit.imsat.hash_baselines import PCAHash
from toolkit.imsat.retrieval import evaluate_retrieval


@parametrize_with_checks([PCAHash(n_bits=1), PCAHash(n_bits=2, rotation="itq")])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def points(n=300, features=8, seed=0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, features)) @ generator.normal(size=(features, features)) + 50


@pytest.mark.parametrize("shape", [(300, 8), (9, 30)])
def test_plain_bits_are_the_signs_of_the_components(shape):
    X = points(*shape)
    model = PCAHash(5).fit(X)
    # Independently: eigenvectors of the covariance, whose signs are free.
    vectors = np.linalg.eigh(np.cov(X.T))[1][:, ::-1][:, :5]
    signs = np.sign((vectors * model.components_.T).sum(0))
    np.testing.assert_allclose(model.components_, (vectors * signs).T, atol=1e-9)
    np.testing.assert_array_equal(model.transform(X), (X - X.mean(0)) @ (vectors * signs) > 0)
    np.testing.assert_allclose(model.mean_, X.mean(0))
    assert model.transform(X).dtype == bool and model.transform(X).shape == (len(X), 5)
    assert model.n_iter_ == 0 and model.quantization_errors_.shape == (0,)
    np.testing.assert_array_equal(model.rotation_, np.eye(5))


@pytest.mark.parametrize("seed", range(3))
def test_each_rotation_lowers_the_error_and_ends_where_neither_step_helps(seed):
    X = points(400, 10, seed)
    model = PCAHash(4, rotation="itq", n_iterations=1000, random_state=seed).fit(X)
    assert 1 < model.n_iter_ < 1000
    assert (np.diff(model.quantization_errors_) <= 1e-12 * model.quantization_errors_[0]).all()
    np.testing.assert_allclose(model.rotation_ @ model.rotation_.T, np.eye(4), atol=1e-12)
    projected = PCA(4).fit_transform(X)
    projected *= np.sign((PCA(4).fit(X).components_ * (model.rotation_ @ model.components_)).sum(1))
    rotated = projected @ model.rotation_
    corners = np.where(model.transform(X), 1.0, -1.0)
    np.testing.assert_array_equal(rotated > 0, corners > 0)
    assert model.quantization_errors_[-1] == pytest.approx(((rotated - corners) ** 2).sum(1).mean())
    # The paper's rotation for these corners: Ŝ Sᵀ of the decomposition S Ω Ŝᵀ of BᵀV.
    left, _, right = np.linalg.svd(corners.T @ projected)
    np.testing.assert_allclose(right.T @ left.T, model.rotation_, atol=1e-8)


def test_the_best_of_several_starts_is_the_best_of_all_angles():
    X = points(200, 2, 3)
    centred = X - X.mean(0)
    errors = []
    for angle in np.linspace(0, 2 * np.pi, 3601):
        cosine, sine = np.cos(angle), np.sin(angle)
        rotated = centred @ [[cosine, -sine], [sine, cosine]]
        errors.append(((rotated - np.where(rotated > 0, 1, -1)) ** 2).sum(1).mean())
    found = min(PCAHash(2, rotation="itq", random_state=seed).fit(X).quantization_errors_[-1] for seed in range(8))
    assert found == pytest.approx(min(errors), rel=1e-4)


def test_the_rotation_finds_clusters_at_the_corners_of_a_square():
    # The components of a slightly stretched square are its diagonals, which cut two of its clusters in half.
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(4), 100)
    square = np.array([[1.1, 0], [0, 1], [-1.1, 0], [0, -1]])[cluster]
    X = square + 0.05 * generator.normal(size=(400, 2))
    codes = PCAHash(2, rotation="itq", random_state=0).fit_transform(X)
    assert len(np.unique(codes, axis=0)) == 4
    assert all(len(np.unique(codes[cluster == one], axis=0)) == 1 for one in range(4))
    plain = PCAHash(2).fit_transform(X)
    assert max(len(np.unique(plain[cluster == one], axis=0)) for one in range(4)) == 2


def test_on_digits_the_rotation_helps_retrieval():
    X, y = load_digits(return_X_y=True)
    found = {}
    for rotation in ("none", "itq"):
        codes = PCAHash(16, rotation=rotation, random_state=0).fit(X[200:]).transform(X)
        found[rotation] = evaluate_retrieval(codes[:200], y[:200], codes[200:], y[200:]).mean_average_precision
    assert 0.2 < found["none"] < found["itq"] - 0.15


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    X = points(100, 12)
    one, same, other = (
        PCAHash(8, rotation="itq", n_iterations=1, random_state=seed).fit(X).rotation_ for seed in (0, 0, 1)
    )
    assert (one == same).all() and not (one == other).all()
    state = np.random.get_state()[1].copy()
    first, second = (PCAHash(8, rotation="itq", n_iterations=1).fit(X).rotation_ for _ in range(2))
    assert not (first == second).all()
    assert (np.random.get_state()[1] == state).all()


def test_it_takes_part_in_pipelines():
    model = make_pipeline(StandardScaler(), PCAHash(3, rotation="itq", random_state=0))
    X = points()
    assert model.fit_transform(X).tolist() == clone(model).fit(X).transform(X).tolist()
    assert list(model.get_feature_names_out()) == ["pcahash0", "pcahash1", "pcahash2"]


@pytest.mark.parametrize("rotation", ["none", "itq"])
def test_constant_points_and_single_precision(rotation):
    constant = PCAHash(3, rotation=rotation, random_state=0).fit(np.ones((5, 4)))
    assert not constant.transform(np.ones((5, 4))).any()
    X = points().astype(np.float32)
    single, double = (PCAHash(4, rotation=rotation, random_state=0).fit(part) for part in (X, X.astype(np.float64)))
    np.testing.assert_allclose(single.components_, double.components_, atol=1e-12)
    np.testing.assert_array_equal(single.transform(X), double.transform(X.astype(np.float64)))


def test_a_common_offset_does_not_disturb_the_directions():
    X = points()
    far = PCAHash(4).fit(X + 1e6)
    np.testing.assert_allclose(far.components_, PCAHash(4).fit(X).components_, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "kind", "match"),
    [
        ({"n_bits": 9}, ValueError, "n_features = 8"),
        ({"n_bits": 0}, ValueError, "'n_bits'"),
        ({"n_bits": 2.0}, TypeError, "'n_bits'"),
        ({"n_bits": True}, TypeError, "'n_bits'"),
        ({"rotation": "ITQ"}, ValueError, "'rotation'"),
        ({"rotation": "itq", "n_iterations": 0}, ValueError, "'n_iterations'"),
        ({"rotation": "itq", "n_iterations": None}, TypeError, "'n_iterations'"),
        ({"rotation": "itq", "random_state": "seed"}, ValueError, "seed"),
    ],
)
def test_bad_parameters_give_one_clear_error(parameters, kind, match):
    model = PCAHash(2, random_state=0).set_params(**parameters)
    with pytest.raises(kind, match=match):
        model.fit(points())


def test_bad_points_give_one_clear_error():
    X = points()
    with pytest.raises(ValueError, match="n_samples = 3"):
        PCAHash(4).fit(X[:3])
    with pytest.raises(ValueError, match="8 features"):
        PCAHash(4).fit(X).transform(X[:, :5])
    with pytest.raises(ValueError, match="minimum of 2"):
        PCAHash(1).fit(X[:1])
