import math

import ipywidgets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.lessons import controls


def test_int_slider():
    slider = controls.int_slider("steps", 20, 0, 1000, unit="updates")
    assert (slider.value, slider.min, slider.max, slider.step) == (20, 0, 1000, 20)
    assert slider.description == "steps (updates)"
    assert slider.style.description_width == "initial" and slider.layout.min_width == "300px"
    assert controls.int_slider("n", 7, 0, 10).step == 1
    assert controls.int_slider("n", 7, 0, 10, continuous=False).continuous_update is False


def test_float_slider_finds_a_round_step_and_shows_its_digits():
    slider = controls.float_slider("ε", 0.3, 0.0, 1.0)
    assert slider.step == pytest.approx(0.02) and slider.readout_format == ".2f"
    assert controls.float_slider("x", 0, -3, 3).step == pytest.approx(0.2)
    assert controls.float_slider("x", 8 / 255, 0, 16 / 255, step=1 / 255, format=".3f").readout_format == ".3f"


@given(st.integers(-20, 20), st.integers(1, 50), st.integers(0, 50), st.sampled_from([0.001, 0.01, 0.1, 0.25, 1, 10]))
def test_an_automatic_step_meets_the_ends_and_the_value(low, steps, at, size):
    start, end, value = low * size, (low + steps) * size, (low + min(at, steps)) * size
    try:
        slider = controls.float_slider("x", value, start, end)
    except ValueError as error:
        assert "no round step" in str(error)  # and then the caller is told to give one
        return
    count = (slider.max - slider.min) / slider.step
    assert count <= 50 + 1e-6 and abs(count - round(count)) < 1e-6
    place = (slider.value - slider.min) / slider.step
    assert abs(place - round(place)) < 1e-5 and slider.value == pytest.approx(value)


def test_log_slider():
    slider = controls.log_slider("λ", 0.1, 1e-3, 10)
    assert slider.value == pytest.approx(0.1) and (slider.min, slider.max) == pytest.approx((-3, 1))
    assert (slider.max - slider.min) / slider.step <= 50
    place = (math.log10(slider.value) - slider.min) / slider.step
    assert place == pytest.approx(round(place))
    odd = controls.log_slider("λ", 0.3, 1e-3, 10)
    place = (math.log10(0.3) - odd.min) / odd.step
    assert place == pytest.approx(round(place)) and 20 <= (odd.max - odd.min) / odd.step <= 50
    assert controls.log_slider("λ", 0.001, 1e-3, 7).value == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: controls.int_slider("n", 5, 0, 100, step=1), "at most 50 steps"),
        (lambda: controls.int_slider("n", 5, 0, 10, step=2), "on the grid"),
        (lambda: controls.int_slider("n", 11, 0, 10), r"in \[0, 10\]"),
        (lambda: controls.int_slider("n", 5, 5, 5), "low < high"),
        (lambda: controls.int_slider(" ", 5, 0, 10), "a name"),
        (lambda: controls.float_slider("x", 0.0, 0.0, math.nan), "finite"),
        (lambda: controls.float_slider("x", 0.0, 0.0, 1.0, step=0.0), "positive"),
        (lambda: controls.float_slider("x", 0.0, 0.0, 1.0, step=0.001), "at most 50 steps"),
        (lambda: controls.float_slider("x", 0.031, 0.0, 0.3), "no round step"),
        (lambda: controls.log_slider("x", 1.0, 0.0, 10.0), "positive"),
        (lambda: controls.log_slider("x", 1.0, 1e-5, 10.0, steps_per_decade=20), "at most 50 steps"),
        (lambda: controls.choice("c", []), "at least one"),
        (lambda: controls.choice("c", {"no": None, "yes": 1.0}, 1.0), "any value but None"),
        (lambda: controls.toggle("c", ["a", None]), "any value but None"),
    ],
)
def test_controls_that_a_reader_could_not_use_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_choices():
    assert controls.choice("data", ["digits", "fashion"]).value == "digits"
    assert controls.choice("data", {"Digits": 1, "Fashion": 2}, 2).label == "Fashion"
    assert controls.choice("layers", [1, 2, 3], 2).value == 2
    assert controls.toggle("view", ["a", "b"], "b").value == "b"
    assert controls.checkbox("noise", True).value is True


def test_buttons():
    pressed = []
    controls.button("Again", lambda: pressed.append(1)).click()
    assert pressed == [1]
    slider = controls.int_slider("step", 0, 0, 3)
    back, forward = controls.step_buttons(slider).children
    for _ in range(5):
        forward.click()
    assert slider.value == 3
    for _ in range(9):
        back.click()
    assert slider.value == 0 and "step" in back.tooltip


def test_two_sliders_do_not_share_a_layout():
    one, other = controls.int_slider("a", 0, 0, 5), controls.int_slider("b", 0, 0, 5)
    one.layout.width = "100px"
    assert other.layout.width == "320px"


def test_without_anywidget_views_still_work(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert controls.accessible_names() == []


def test_everything_is_a_stock_widget():
    assert type(controls.int_slider("a", 0, 0, 5)) is ipywidgets.IntSlider
    assert type(controls.log_slider("a", 1, 1, 10)) is ipywidgets.FloatLogSlider


def test_a_list_is_as_wide_as_its_longest_option():
    long = "MNIST, 10,000 images, 1200-1200, 50 epochs, initialization official"
    width = int(controls.choice("data", ["short", long]).layout.width.removesuffix("px"))
    assert width > 7 * len(long) and controls.choice("data", ["short"]).layout.width == "320px"
    assert controls.choice("data", [long]).layout.max_width == "100%"


def test_a_control_is_of_use_only_while_another_one_says_so():
    kind, count = controls.toggle("kind", ["plain", "dotted"]), controls.int_slider("dots", 3, 0, 9)
    controls.only_while(count, kind, lambda value: value == "dotted", otherwise="a plain line has no dots")
    assert count.disabled and count.tooltip == "a plain line has no dots"
    kind.value = "dotted"
    assert not count.disabled and not count.tooltip
    kind.value = "plain"
    assert count.disabled
