"""Clipping one gradient in place: the naive tape spoils the other, ours does not."""

import numpy as np
import pytest

from toolkit.explorers import explore_shared_gradients
from toolkit.explorers.shared_gradients import clip_one_gradient


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 1.0])
def test_ours_is_exact_and_naive_is_clipped_too(limit):
    result = clip_one_gradient(limit)
    clipped = np.minimum(result.exact, limit)
    for first in (result.naive[0], result.ours[0], result.naive[1]):
        np.testing.assert_array_equal(first, clipped)
    np.testing.assert_array_equal(result.ours[1], result.exact)
    assert result.corrupted == (int((result.exact > limit).sum()), 0)


def test_the_exact_gradient_is_a_real_digit():
    exact = clip_one_gradient(0.5).exact
    assert exact.shape == (8, 8) and exact.min() == 0 and 0.9 < exact.max() <= 1


def test_view():
    view = explore_shared_gradients()
    assert view.error is None and "21 of the 64" in view.text and "ours none" in view.text
    framed = view.drawn.svg.to_string()
    view.controls["limit"].value = 1.0
    assert view.error is None and "both tapes agree" in view.text
    assert view.drawn.svg.to_string().count("#D55E00") < framed.count("#D55E00"), "no frame when nothing is wrong"
