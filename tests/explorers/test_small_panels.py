"""Small charts: nothing is drawn outside their box, labels are told apart."""

import math
import re

import pytest

from toolkit.core.svg import Svg
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import style
from toolkit.lessons.svg import Series

LOOK = style.LINES[0]


def drawn(series, **options):
    picture = Svg(400, 300)
    settings = {"heading": "height (m)", "x_limits": (0, 10), "y_limits": (0, 4)} | options
    draw_panel(picture, (20, 30, 300, 150), series, **settings)
    return picture.to_string()


def test_labels_stand_apart_at_the_ends_of_their_lines():
    text = drawn([Series("a", [0, 10], [1, 2], LOOK), Series("b", [0, 10], [1, 2.01], LOOK)], x_label="time (s)")
    heights = [float(re.search(rf'y="([\d.]+)"[^>]*>{name}</text>', text).group(1)) for name in "ab"]
    assert heights[0] - heights[1] >= 12 and "time (s)" in text and "height (m)" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 100.0])
def test_values_that_do_not_fit_leave_the_picture_whole(value):
    text = drawn([Series("a", [0, 5, 10], [1, value, 2], LOOK), Series("", [5], [value], LOOK, markers=True)])
    assert "nan" not in text and "inf" not in text and ">a</text>" in text
    assert drawn([Series("a", [], [], LOOK)]).count(">a</text>") == 0


def test_markers_and_marks():
    plain = drawn([Series("a", [0, 10], [1, 2], LOOK)])
    for look in (LOOK, style.LINES[1]):
        text = drawn([Series("a", [0, 10], [1, 2], LOOK), Series("", [5], [2], look, markers=True)], mark=3)
        assert text.count("<path") == plain.count("<path") + 2


def test_every_kind_of_marker_has_a_shape_of_its_own():
    shapes = set()
    for marker in ("o", "s", "D", "^", "v"):
        look = style.Line(style.GREY, "-", marker)
        text = drawn([Series("", [5], [2], look, markers=True)])
        shapes.add(re.findall(r' d="([^"]+)"', text)[-1])
    assert len(shapes) == 5


def test_logarithmic():
    text = drawn(
        [Series("a", [1, 100], [1e-3, 1], LOOK)], x_limits=(1, 100), y_limits=(1e-3, 1), log_x=True, log_y=True
    )
    assert ">100</text>" in text and ">10⁻³</text>" in text


def test_what_is_counted_has_no_fractions_on_its_axis():
    line = [Series("", [0, 11], [1, 2], LOOK)]
    assert ">2.5</text>" in drawn(line, x_limits=(0, 11), y_limits=(0, 40))
    counted = drawn(line, x_limits=(0, 11), y_limits=(0, 40), whole_x=True)
    assert ">2.5</text>" not in counted and ">5</text>" in counted and ">10</text>" in counted
    for most in range(1, 40):
        text = drawn(line, x_limits=(0, most), y_limits=(0, 40), whole_x=True)
        names = re.findall(r'text-anchor="middle"[^>]*>([^<]*)</text>', text)
        assert len(names) >= 2 and all(name.isdigit() for name in names)
