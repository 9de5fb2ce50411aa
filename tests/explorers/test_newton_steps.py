"""Products stand in for the Hessian exactly, Newton's steps arrive, and no step of either method goes up."""

import numpy as np
import pytest

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.explorers import explore_newton_steps, newton_steps
from toolkit.explorers.newton_steps import STEPS, SURFACES, compute, descend, describe, draw, newton_direction


@pytest.mark.parametrize("name", SURFACES)
def test_the_surface_drawn_is_the_surface_differentiated(name):
    surface = SURFACES[name]
    points = np.random.default_rng(0).normal(size=(5, 2))
    ours = [float(surface.function(Variable(point))) for point in points]
    np.testing.assert_allclose(surface.values(points), ours, rtol=1e-10)


@pytest.mark.parametrize("name", SURFACES)
def test_both_go_down_and_newton_arrives(name):
    descent = descend(name)
    assert descent.newton.shape == descent.slope.shape == (STEPS + 1, 2)
    assert (np.diff(descent.newton_values) <= 0).all() and (np.diff(descent.slope_values) <= 1e-12).all()
    assert descent.newton_values[-1] < descent.slope_values[-1]
    gradient = newton_steps._gradient(SURFACES[name], descent.newton[-1])[1]
    assert np.linalg.norm(gradient) < 1e-8
    assert descent.error < 1e-10 and descent.condition > 10


def test_rosenbrocks_lowest_point():
    np.testing.assert_allclose(descend("Rosenbrock valley").newton[-1], [1, 1], atol=1e-8)
    assert descend("Rosenbrock valley").condition == pytest.approx(2508, rel=1e-3)


def test_conjugate_gradients_solve_a_quadratic():
    root = np.random.default_rng(0).normal(size=(5, 5))
    matrix = root @ root.T + np.eye(5)
    w = np.arange(5.0)
    direction, asked = newton_direction(lambda v: 0.5 * F.sum(F.linear(v.reshape(1, 5), matrix) * v), w, matrix @ w)
    np.testing.assert_allclose(direction, -w, atol=1e-9)
    assert len(asked) == 5
    for vector, product in asked:
        np.testing.assert_allclose(product, matrix @ vector, rtol=1e-10)


def test_where_the_surface_bends_down_the_slope_is_followed():
    gradient = np.array([2.0, -1.0])
    direction, asked = newton_direction(lambda v: -F.sum(v * v), np.array([-1.0, 0.5]), gradient)
    assert direction.tolist() == [-2.0, 1.0] and len(asked) == 1
    direction, asked = newton_direction(lambda v: -F.sum(v * v), np.zeros(2), np.zeros(2))
    assert not direction.any() and not asked


@pytest.mark.parametrize("arguments", [("plane",), ("Rosenbrock valley", -1)])
def test_out_of_range(arguments):
    with pytest.raises(ValueError, match="descend"):
        descend(*arguments)


def test_view():
    view = explore_newton_steps()
    assert view.error is None and "After 4 steps" in view.text
    view.controls["surface"].value = "Rosenbrock valley"
    view.controls["step"].value = 0
    assert view.error is None and "After 0 steps" in view.text
    view.controls["step"].value = STEPS
    assert view.error is None and "Newton's method is 0 above" in view.text
    assert "802   −400" in draw(compute("Rosenbrock valley", STEPS)).to_string()


@pytest.mark.parametrize("name", SURFACES)
def test_a_closed_line_of_equal_height_goes_round_the_lowest_point(name):
    lowest = descend(name).newton[-1]
    closed = [line for line in newton_steps._contours(name) if (line[0] == line[-1]).all()]
    for line in closed:
        turns = np.unwrap(np.arctan2(*(line - lowest).T[::-1]))
        assert abs(turns[-1] - turns[0]) == pytest.approx(2 * np.pi)


def test_view_and_picture_say_how_products_suffice_and_that_steps_are_halved():
    moment = compute("Rosenbrock valley", 3)
    text, picture = describe(moment), draw(moment).to_string()
    assert "H p = −g" in text and "would go up, it is halved" in text
    assert "H p = −g" in picture and "would go up, it is halved" in picture
    steps = [newton_steps.newton_direction(SURFACES["Rosenbrock valley"].function, w, g)[0]
             for w in moment.descent.newton[:5]
             for g in [newton_steps._gradient(SURFACES["Rosenbrock valley"], w)[1]]]  # fmt: skip
    taken = np.diff(moment.descent.newton[:6], axis=0)
    shares = np.linalg.norm(taken, axis=1) / np.linalg.norm(np.stack(steps), axis=1)
    assert shares.min() < 0.6 and np.allclose(np.log2(shares), np.round(np.log2(shares)))


def test_the_words_are_the_same_each_time():
    first = describe(compute())
    descend.cache_clear()
    assert describe(compute()) == first
