"""Machines on a line against scikit-learn's solver, and against the definition of what they minimise."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from toolkit.disentanglement.metrics.line_machines import fit_line_machines


def problem(n_values, n=400, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_values, size=n)
    return labels / n_values + 0.2 * generator.normal(size=n), labels


def objective(x, own, weight, intercept, above, below):
    margin = np.maximum(0, 1 - np.where(own, 1, -1) * (weight * x + intercept))
    return (weight**2 + intercept**2) / 2 + (np.where(own, above, below) * margin**2).sum()


def objectives(x, labels, regularisation, weight, intercept):
    values, counts = np.unique(labels, return_counts=True)
    own = regularisation * len(x) / (len(values) * counts)
    if len(values) == 2:
        return [objective(x, labels == values[1], weight[0], intercept[0], own[1], own[0])]
    return [objective(x, labels == v, weight[k], intercept[k], own[k], regularisation) for k, v in enumerate(values)]


@pytest.mark.parametrize("n_values", [2, 3, 9])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (-1, 0.5), (50, 0), (0.01, 0), (1, 3)])
@pytest.mark.parametrize("regularisation", [0.01, 10.0])
def test_scikit_learn_converges_to_the_same(n_values, scale, shift, regularisation):
    x, labels = problem(n_values)
    x = x * scale + shift
    found = fit_line_machines(x, labels, regularisation)
    peer = LinearSVC(C=regularisation, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000)
    peer.fit(x[:, None], labels)
    weight = found.weight / found.unit
    ours = objectives(x, labels, regularisation, weight, found.intercept)
    theirs = objectives(x, labels, regularisation, peer.coef_[:, 0], peer.intercept_)
    assert ours == pytest.approx(theirs, rel=1e-7)
    assert (found.predict(x) == peer.predict(x[:, None])).mean() > 0.995


@pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_no_neighbour_is_better(scale, seed):
    x, labels = problem(5, n=60, seed=seed)
    x = x * scale
    found = fit_line_machines(x, labels, 1.0)
    weight, least = found.weight / found.unit, None
    least = np.array(objectives(x, labels, 1.0, weight, found.intercept))
    for step in (1e-3, -1e-3):
        aside = objectives(x, labels, 1.0, weight * (1 + step), found.intercept)
        assert (least <= np.array(aside) * (1 + 1e-12)).all()
        aside = objectives(x, labels, 1.0, weight, found.intercept + step)
        assert (least <= np.array(aside) * (1 + 1e-12)).all()


@pytest.mark.parametrize("scale", [1e6, 1e200])
def test_large_units_leave_the_slope_free_and_thus_do_not_matter(scale):
    x, labels = problem(4)
    one, other = (fit_line_machines(x * unit, labels, 0.01) for unit in (1e5, scale))
    assert np.array_equal(one.predict(x * 1e5), other.predict(x * scale))


def test_separated_values_are_told_apart():
    x = np.repeat([-1.0, 1.0], 50)
    found = fit_line_machines(x, np.repeat([3, 7], 50), 1.0)
    assert found.predict(np.array([-2.0, -0.1, 0.1, 5.0])).tolist() == [3, 3, 7, 7]


@pytest.mark.parametrize("value", [0.0, 5.0, -1e200, 1e-200])
@pytest.mark.parametrize("n_values", [2, 3])
def test_a_constant_column_gives_one_value_to_all(value, n_values):
    labels = np.arange(30) % n_values
    found = fit_line_machines(np.full(30, value), labels, 0.01)
    assert np.isfinite(found.weight).all()
    assert len(set(found.predict(np.full(4, value)).tolist())) == 1


def test_two_points():
    found = fit_line_machines(np.array([0.0, 1.0]), np.array([0, 1]), 100.0)
    assert found.predict(np.array([0.0, 1.0])).tolist() == [0, 1]


def test_it_goes_on_where_the_library_gives_up():
    x, labels = problem(9)
    x = x * 1e6
    ours = fit_line_machines(x, labels, 0.01)
    peer = LinearSVC(C=0.01, class_weight="balanced", dual=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        peer.fit(x[:, None], labels)
    least = objectives(x, labels, 0.01, ours.weight / ours.unit, ours.intercept)
    theirs = objectives(x, labels, 0.01, peer.coef_[:, 0], peer.intercept_)
    assert (np.array(least) <= np.array(theirs) * (1 + 1e-12)).all()
