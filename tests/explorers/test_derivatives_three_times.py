"""Three derivatives of each function against closed forms, and the closed forms against differences."""

import numpy as np
import pytest

from toolkit.explorers import explore_derivatives_three_times
from toolkit.explorers.derivatives_three_times import FUNCTIONS, HIGHEST, differentiate_repeatedly


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_order_is_exact(function):
    result = differentiate_repeatedly(function)
    assert len(result.ours) == len(result.exact) == len(result.graph_sizes) == HIGHEST + 1
    assert max(result.largest_errors) < 1e-12
    assert all(a <= b for a, b in zip(result.graph_sizes, result.graph_sizes[1:], strict=False))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_closed_forms_are_each_others_slopes(function):
    x, h = np.linspace(-2, 2, 9), 1e-5
    for lower, higher in zip(FUNCTIONS[function].exact, FUNCTIONS[function].exact[1:], strict=False):
        np.testing.assert_allclose((lower(x + h) - lower(x - h)) / (2 * h), higher(x), atol=1e-8)


@pytest.mark.parametrize(("function", "order"), [("cosh(x)", 1), ("sin(x)", -1), ("sin(x)", 4)])
def test_refused(function, order):
    with pytest.raises(ValueError, match="differentiate_repeatedly"):
        differentiate_repeatedly(function, order)


def test_view():
    view = explore_derivatives_three_times()
    assert view.error is None and "three times" in view.text and "within 1e-12" in view.text
    for _, function in view.controls["function"].options:
        view.controls["function"].value = function
        for order, words in enumerate(("not differentiated yet", "once", "twice", "three times")):
            view.controls["order"].value = order
            assert view.error is None and words in view.text
