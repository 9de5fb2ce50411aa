"""The sweep's slopes are right on each piece, and its jumps are where the depth changes."""

import numpy as np

from toolkit.explorers import explore_brightness
from toolkit.explorers.brightness import compute, describe, sweep_brightness


def test_slopes_are_those_of_the_curve_between_the_jumps():
    sweep = sweep_brightness()
    step = sweep.brightness[1] - sweep.brightness[0]
    inside = np.flatnonzero(sweep.repetitions[2:] == sweep.repetitions[:-2]) + 1
    central = (sweep.loss[inside + 1] - sweep.loss[inside - 1]) / (2 * step)
    np.testing.assert_allclose(sweep.slope[inside], central, atol=5e-4)


def test_at_each_jump_the_loss_goes_up_although_the_slope_goes_down():
    sweep = sweep_brightness()
    assert len(sweep.jumps) == 3
    for jump in sweep.jumps:
        assert sweep.repetitions[jump] != sweep.repetitions[jump + 1]
        assert sweep.slope[jump] < 0 < sweep.loss[jump + 1] - sweep.loss[jump]


def test_words_before_between_and_after_the_jumps():
    assert "from 5 to 4" in describe(compute(0.4))
    assert "from 4 to 3" in describe(compute(0.9))
    assert "No jump lies ahead" in describe(compute(1.4))


def test_view():
    view = explore_brightness()
    assert view.error is None and "from 5 to 4" in view.text
    before = view.drawn.svg.to_string()
    view.controls["brightness"].value = 0.76
    assert view.error is None and "repeated 4 times" in view.text
    assert view.drawn.svg.to_string() != before
