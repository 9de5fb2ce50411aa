import base64
import io
import threading
import time
from types import SimpleNamespace

import ipywidgets
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.core.svg import Svg
from toolkit.lessons import style
from toolkit.lessons.controls import choice, float_slider, int_slider
from toolkit.lessons.picture import LiveFigure
from toolkit.lessons.view import View


def bar(number) -> Svg:
    picture = Svg(120, 40)
    picture.rectangle(5, 5, 10 * number + 1, 20, fill="#0072B2")
    return picture


def counted(**options):
    calls = []

    def compute(number):
        calls.append(number)
        return number

    view = View({"number": int_slider("Number", 3, 0, 10)}, compute, bar, lambda n: f"There are {n} & more.", **options)
    return view, calls


def decoded(view) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(view.png)).convert("RGB"))


def test_the_first_picture_is_there_before_anything_is_touched():
    view, calls = counted()
    assert calls == [3] and view.text == "There are 3 & more." and view.error is None and view.result == 3
    assert "<title>There are 3 &amp; more.</title>" in view.picture.value
    assert view.status.value.startswith('<div role="status"') and "&amp; more" in view.status.value


def test_a_change_gives_a_new_picture_and_sentence():
    view, calls = counted()
    before = decoded(view)
    view.controls["number"].value = 7
    assert calls == [3, 7] and view.text.startswith("There are 7")
    assert not np.array_equal(before, decoded(view))


def test_a_message_of_the_page_does_the_same_and_is_clamped():
    view, calls = counted()
    view.controls["number"].set_state({"value": 5})
    view.controls["number"].value = 99
    assert calls == [3, 5, 10]


def test_no_change_is_not_computed_again():
    view, calls = counted()
    view.controls["number"].value = 3
    assert calls == [3]


def test_reset_brings_every_first_value_back_with_one_computation():
    calls = []
    controls = {"a": int_slider("a", 1, 0, 9), "b": choice("b", ["x", "y"])}
    view = View(controls, lambda a, b: calls.append((a, b)) or (a, b), lambda r: bar(r[0]), str)
    view.controls["a"].value, view.controls["b"].value = 5, "y"
    del calls[:]
    view.reset_button.click()
    assert calls == [(1, "x")] and view.values() == {"a": 1, "b": "x"}
    view.controls["a"].value = 2
    assert calls[-1] == (2, "x"), "alive after a reset"


def test_one_output_for_three_readers():
    view, _ = counted()
    data, metadata = view._repr_mimebundle_()
    assert data["text/plain"] == "There are 3 & more."
    assert "application/vnd.jupyter.widget-view+json" in data
    assert metadata["image/png"] == {"alt": "There are 3 & more.", "width": 120, "height": 40}
    stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB"))
    assert stored.shape == (80, 240, 3) and np.array_equal(stored, decoded(view))


def test_svg_text_has_no_png():
    view = View({"n": int_slider("n", 1, 0, 5)}, lambda n: n, lambda n: f'<svg width="{n}"></svg>', str)
    assert view.png is None and view._repr_mimebundle_()[0]["image/svg+xml"] == '<svg width="1"></svg>'
    assert 'aria-label="1"' in view.picture.value


@pytest.mark.parametrize("where", ["compute", "draw", "describe"])
def test_an_error_is_shown_and_kept_and_goes_away(where):
    def stage(name):
        def run(number):
            if name == where and number == 4:
                raise ArithmeticError("<four> is too much")
            return {"compute": number, "draw": bar(number), "describe": f"{number}"}[name]

        return run

    view = View(
        {"number": int_slider("n", 3, 0, 10)}, lambda number: stage("compute")(number), stage("draw"), stage("describe")
    )
    view.controls["number"].value = 4
    assert isinstance(view.error, ArithmeticError)
    assert 'role="alert"' in view.status.value and "&lt;four&gt; is too much" in view.status.value
    assert "opacity" in view.picture.value, "the old picture is dimmed"
    data, _ = view._repr_mimebundle_()
    assert data["text/plain"] == "ArithmeticError: <four> is too much" and "image/png" not in data
    view.controls["number"].value = 5
    assert view.error is None and 'role="status"' in view.status.value and "opacity" not in view.picture.value


def test_an_error_in_the_first_computation_is_shown_too():
    view = View({"n": int_slider("n", 0, 0, 5)}, lambda n: 1 // n, bar, str)
    assert isinstance(view.error, ZeroDivisionError) and view.drawn is None
    view.controls["n"].value = 1
    assert view.error is None and view.drawn is not None


def test_a_drawing_that_is_none_is_an_error():
    view = View({"n": int_slider("n", 0, 0, 5)}, lambda n: n, lambda n: None, str)
    assert isinstance(view.error, TypeError) and "NoneType" in view.text


def test_controls_have_values():
    with pytest.raises(ValueError, match="controls\\['n'\\]"):
        View({"n": ipywidgets.Button()}, lambda n: n, bar, str)


def test_an_interrupt_does_not_leave_the_view_deaf():
    def compute(number):
        if number == 4:
            raise KeyboardInterrupt
        return number

    view = View({"number": int_slider("n", 3, 0, 10)}, compute, bar, str)
    with pytest.raises(KeyboardInterrupt):
        view.controls["number"].value = 4
    view.controls["number"].value = 5
    assert view.text == "5"


def test_three_threads_at_once_end_with_the_last_values():
    controls = {name: int_slider(name, 0, 0, 50) for name in "abc"}
    busy, overlaps = threading.Lock(), []

    def compute(a, b, c):
        overlaps.append(not busy.acquire(blocking=False))
        time.sleep(0.001)
        busy.release()
        return (a, b, c)

    view = View(controls, compute, lambda r: bar(r[0]), str)

    def drag(name):
        for value in range(1, 51):
            view.controls[name].value = value

    threads = [threading.Thread(target=drag, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert view.result == (50, 50, 50) and view.error is None
    assert not any(overlaps), "two computations at the same time"


def test_of_a_burst_only_the_last_value_is_computed():
    started, go_on = threading.Event(), threading.Event()
    calls = []

    def compute(number):
        calls.append(number)
        if number == 1:
            started.set()
            assert go_on.wait(10)
        return number

    view = View({"number": int_slider("n", 0, 0, 50)}, compute, bar, str)
    slow = threading.Thread(target=lambda: setattr(view.controls["number"], "value", 1))
    slow.start()
    assert started.wait(10)
    for value in range(2, 31):
        view.controls["number"].value = value  # returns at once
    go_on.set()
    slow.join()
    assert calls == [0, 1, 30] and view.text == "30"


def test_compute_may_set_its_own_controls():
    controls = {"low": int_slider("low", 2, 0, 10), "high": int_slider("high", 5, 0, 10)}

    def compute(low, high):
        if low > high:
            controls["high"].value = low
        return low, controls["high"].value

    view = View(controls, compute, lambda r: bar(r[0]), str)
    controls["low"].value = 8
    assert view.result == (8, 8)


def test_a_computation_that_never_settles_ends():
    control = int_slider("n", 0, 0, 50)

    def compute(n):
        control.value = (n + 1) % 50
        return n

    view = View({"n": control}, compute, bar, str)
    control.value = 7
    assert view.error is None


def test_gradient_mode_inside_a_callback_is_that_of_its_thread():
    modes = []
    view = View({"n": int_slider("n", 0, 0, 5)}, lambda n: modes.append(torch.is_grad_enabled()) or n, bar, str)
    with torch.no_grad():
        thread = threading.Thread(target=lambda: setattr(view.controls["n"], "value", 1))
        thread.start()
        thread.join()
    assert modes == [True, True] and view.text == "1"


def lines():
    def build():
        axes = style.axes()
        axes.set(xlim=(0, 1), ylim=(-1, 1), xlabel="x", title="A line")
        return SimpleNamespace(line=axes.plot([0, 1], [0, 0], **style.line("paper"))[0], axes=axes)

    return build


def test_a_matplotlib_view_never_touches_pyplot():
    live = LiveFigure(lines(), lambda artists, slope: artists.line.set_ydata([0, slope]))
    view = View({"slope": float_slider("slope", 0.0, -1, 1)}, lambda slope: slope, live, lambda s: f"slope {s:.2f}")
    first = decoded(view)
    view.controls["slope"].value = 1.0
    assert not np.array_equal(first, decoded(view)) and "<img alt=" in view.picture.value
    import sys

    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []
    assert matplotlib.rcParams["axes.spines.top"] is True, "global settings are as they were"


def test_repr_shows_the_values():
    assert repr(counted()[0]) == "View(number=3)"


def test_title_and_extra_widgets_are_shown():
    button = ipywidgets.Button(description="Draw again")
    view, _ = counted(title="A <title>", extra=(button,))
    assert "A &lt;title&gt;" in view.children[0].value
    assert button in view.children[1].children


def test_the_naming_widget_is_part_of_every_view():
    view, _ = counted()
    assert "aria-label" in view.children[-1]._esm
    assert "toolkit-view" in view._dom_classes
