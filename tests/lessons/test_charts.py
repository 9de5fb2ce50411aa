import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.lines import Line2D

from toolkit.core.text_width import text_width
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, limits, power_name, tick_names, ticks
from toolkit.lessons.svg import Series, Svg, bar_chart, image_grid, line_chart


def parsed(picture: Svg):
    return ET.fromstring(picture.to_string())


def words(picture: Svg) -> list[str]:
    return [element.text for element in parsed(picture).iter() if element.tag.endswith("text")]


def texts_inside(picture: Svg):
    boxes = []
    for element in parsed(picture).iter():
        if not element.tag.endswith("text"):
            continue
        size = float(element.get("font-size"))
        assert size >= 12
        wide = text_width(element.text, size, bold=element.get("font-weight") == "bold")
        start = {"start": 0, "middle": -wide / 2, "end": -wide}[element.get("text-anchor")]
        x, y = float(element.get("x")), float(element.get("y"))
        box = (x + start, y - size, x + start + wide, y)
        if element.get("transform"):
            box = (x - size, y - wide / 2, x, y + wide / 2)
        assert box[0] >= -0.5 and box[1] >= -0.5 and box[2] <= picture.width + 0.5 and box[3] <= picture.height, (
            element.text
        )
        boxes.append(box)
    return boxes


def chart(**options):
    x = np.linspace(0, 6, 50)
    series = [Series("the exact value", x, np.sin(x), "truth"), Series("ours", x, np.sin(x) + 0.01, "ours")]
    return line_chart(series, x_label="angle (rad)", y_label="value", title="They agree", **options)


def test_a_chart_has_names_title_ticks_and_labels_and_cuts_none():
    picture = chart()
    assert {"angle (rad)", "value", "They agree", "the exact value", "ours", "0", "6", "−1.0", "1.0"} <= set(
        words(picture)
    )
    texts_inside(picture)
    assert picture.alt == "They agree"


def test_a_chart_is_the_same_text_every_time_and_small():
    assert chart().to_string() == chart().to_string()
    assert len(chart().to_string()) < 12_000


def test_named_lines_keep_their_colour_and_dash():
    text = chart().to_string()
    assert f'stroke="{style.MEANINGS["truth"].color}"' in text and f'stroke="{style.MEANINGS["ours"].color}"' in text
    assert "stroke-dasharray" in text
    with pytest.raises(ValueError, match="meaning"):
        line_chart([Series("x", [0], [0], "nobody")], x_label="x", y_label="y")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1], [5]),
        ([1, 1], [2, 2]),
        ([0, 1, 2], [np.nan, np.nan, np.nan]),
        ([0, 1, 2], [1, np.inf, 2]),
        ([0, 1], [1e-300, 1e300]),
        ([0, 1], [0, 1e-12]),
        (torch.arange(3.0), torch.arange(3.0)),
        ([-1e9, 1e9], [-5, 5]),
    ],
)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("markers", [False, True])
def test_extreme_values_still_give_a_chart(x, y, log, markers):
    picture = line_chart([Series("line", x, y, markers=markers)], x_label="x", y_label="y", log_y=log)
    texts_inside(picture)
    assert "nan" not in picture.to_string().lower() and "inf" not in picture.to_string().replace("line", "").lower()


@pytest.mark.parametrize(
    ("linestyle", "pattern"),
    [("-", None), (":", (2.0, 3.3)), ("--", (7.4, 3.2)), ("-.", (12.8, 3.2, 2.0, 3.2)), ((0, (1.0, 2.0)), (2.0, 4.0))],
)
def test_dashes_are_drawn_as_matplotlib_draws_them(linestyle, pattern):
    look = style.Line(style.BLUE, linestyle, "", 2.0)
    picture = line_chart([Series("one", [0, 1], [0, 1], look)], x_label="x", y_label="y")
    (drawn,) = [e for e in parsed(picture).iter() if e.get("stroke") == style.BLUE]
    found = drawn.get("stroke-dasharray")
    assert found is None if pattern is None else [float(x) for x in found.replace(",", " ").split()] == list(pattern)
    assert (Line2D([], [], **look.to_dict())._dash_pattern[1] or ()) == pytest.approx(look.dashes)


def test_a_dash_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match="linestyle"):
        line_chart([Series("one", [0], [0], style.Line(style.BLUE, "..", ""))], x_label="x", y_label="y")


def test_charts_below_each_other_start_alike():
    def left(high, like):
        picture = line_chart([], x_label="x", y_label="y", y_limits=(0, high), y_names_like=like)
        return max(float(e.get("x")) for e in parsed(picture).iter() if e.get("text-anchor") == "end")

    assert left(3, "100") == left(100, "") > left(3, "")


def test_no_series_at_all():
    texts_inside(line_chart([], x_label="x", y_label="y"))


def test_lengths_and_limits_are_checked():
    with pytest.raises(ValueError, match="as many x as y"):
        line_chart([Series("a", [1, 2], [1])], x_label="x", y_label="y")
    for bad in ((1.0, 1.0), (2.0, 1.0), (0.0, math.nan)):
        with pytest.raises(ValueError, match="limits"):
            chart(y_limits=bad)
    with pytest.raises(ValueError, match="positive"):
        chart(y_limits=(0.0, 1.0), log_y=True)


def test_points_outside_fixed_limits_are_not_drawn_as_markers():
    picture = line_chart(
        [Series("p", [0.5, 5.0], [0.5, 0.5], markers=True)], x_label="x", y_label="y", x_limits=(0, 1), y_limits=(0, 1)
    )
    assert picture.to_string().count(f'fill="{style.BLUE}" stroke="#ffffff"') == 1


def test_marks_and_long_words_stay_inside():
    long = "a very long label that would never fit into the room beside the chart at all " * 2
    picture = line_chart(
        [Series(long, [0, 1], [0, 1])], x_label=long, y_label=long, title=long, marks=[(0.1, "early"), (0.9, "late")]
    )
    boxes = texts_inside(picture)
    assert len(boxes) > 10 and any("…" in word for word in words(picture))


def test_labels_of_lines_do_not_overlap():
    series = [Series(f"line {number}", [0, 1], [0, 1 + 1e-3 * number]) for number in range(5)]
    picture = line_chart(series, x_label="x", y_label="y")
    places = [float(e.get("y")) for e in parsed(picture).iter() if e.tag.endswith("text") and "line" in e.text]
    assert len(places) == 5 and np.diff(sorted(places)).min() >= 12


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
@example(0.0625, 1e-6)
@example(999_990.0, 100.0)
@example(-5.0, 1e6)
def test_ticks_are_few_round_and_inside(low, span):
    high = low + span
    if high - low < 1e-9 * max(abs(low), 1):
        return
    found = ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value in found)
    assert len(set(tick_names(found))) == len(found) or span < 1e-5 * abs(low)


def test_logarithmic_ticks_are_powers_of_ten():
    assert ticks(1e-3, 1e3, log=True) == pytest.approx([1e-3, 1e-1, 1e1, 1e3])
    assert ticks(2.0, 9.0, log=True) == [2, 4, 6, 8]
    assert tick_names([1e-4, 1.0, 1e4]) == ["10⁻⁴", "1", "10⁴"]
    assert tick_names([0.1, 1.0, 1e3, 1e4]) == ["0.1", "1", "10³", "10⁴"]
    assert tick_names([-2.5e6, 0.0, 1e-5]) == ["−2.5 × 10⁶", "0", "10⁻⁵"]
    assert [power_name(value, 2) for value in (0.0, -1e-5, 123.0, 9.99e7)] == ["0", "−10⁻⁵", "1.2e+02", "10⁸"]
    assert tick_names([-1.0, -0.5, 0.0]) == ["−1.0", "−0.5", "0.0"]
    assert tick_names([]) == []


def test_scales():
    straight, log = Scale(0, 10, 100, 200, False), Scale(1, 100, 0, 100, True)
    assert straight(5) == 150 and log(10) == pytest.approx(50)
    assert math.isnan(log(0)) and math.isnan(log(-1))
    assert limits([np.array([1.0, 2.0])], None, False, 0.1) == pytest.approx((0.9, 2.1))
    assert limits([np.array([0.0])], None, False, 0.1) == (-0.5, 0.5)


def test_bars():
    picture = bar_chart(
        ["REINFORCE", "ours", "a name that is much too long to stand before its bar in any chart whatsoever, really"],
        [3.0, -1.0, 0.0],
        value_label="bias (nats)",
        title="Less",
        highlight=1,
        reference=(2.0, "exact"),
    )
    texts_inside(picture)
    assert {"REINFORCE", "3", "−1", "0", "exact", "bias (nats)"} <= set(words(picture))
    assert style.VERMILION in picture.to_string()


@pytest.mark.parametrize("values", [[0.0], [-1.0, -2.0], [math.nan, 1.0], [math.inf, 2.0], [1e-12, 1e12]])
def test_bars_of_extreme_values(values):
    picture = bar_chart([f"bar {number}" for number in range(len(values))], values, value_label="x", value_limits=None)
    texts_inside(picture)


def test_bars_need_a_name_each():
    with pytest.raises(ValueError, match="labels"):
        bar_chart(["a"], [1.0, 2.0], value_label="x")
    with pytest.raises(ValueError, match="labels"):
        bar_chart([], [], value_label="x")


def test_image_grid():
    images = torch.rand(7, 8, 8, generator=torch.Generator().manual_seed(0))
    picture = image_grid(images, captions=[f"digit {n}" for n in range(7)], columns=3, title="Seven", marked=[2])
    texts_inside(picture)
    assert picture.to_string().count("<image ") == 7
    places = {(e.get("x"), e.get("y")) for e in parsed(picture) if e.tag.endswith("image")}
    assert len(places) == 7 and len({y for _, y in places}) == 3


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 28, 28), (2, 5, 9), (3, 4, 4, 3)])
def test_image_grids_of_all_shapes_fit_the_page(shape):
    picture = image_grid(np.random.default_rng(0).random(shape))
    assert picture.width <= 700
    for element in parsed(picture):
        if element.tag.endswith("image"):
            assert float(element.get("x")) + float(element.get("width")) <= picture.width
            assert float(element.get("y")) + float(element.get("height")) <= picture.height


def test_signed_images_share_one_scale_about_zero():
    import io

    from PIL import Image

    picture = image_grid(np.stack([np.full((2, 2), -1.0), np.full((2, 2), 0.5), np.zeros((2, 2))]), signed=True)
    colors = [np.asarray(Image.open(io.BytesIO(shape.png)))[0, 0] for shape in picture._shapes if hasattr(shape, "png")]
    assert colors[0][2] > colors[0][0], "negative is blue"
    assert colors[1][0] > colors[1][2] and colors[1].tolist() != colors[0].tolist(), "positive is red, and paler"
    assert min(colors[2][:3]) > 240, "zero is white"


def test_image_grids_refuse_what_is_no_stack():
    for bad in (np.zeros((3, 3)), np.zeros((0, 3, 3))):
        with pytest.raises(ValueError, match="image_grid"):
            image_grid(bad)
    with pytest.raises(ValueError, match="captions"):
        image_grid(np.zeros((2, 3, 3)), captions=["one"])


def test_a_band_is_shaded_behind_the_lines_with_gaps_and_moves_the_axis():
    x, y = [0, 1, 2, 3, 4], [1.0, 2.0, 2.0, 2.0, 3.0]

    def shaded(picture):
        return [e for e in parsed(picture).iter() if e.tag.endswith("path") and e.get("opacity") == "0.16"]

    labels = {"x_label": "step", "y_label": "value"}
    band = ([0.5, 1.5, math.nan, 1.5, 2.5], [1.5, 2.5, 2.5, 2.5, 40.0])
    picture = line_chart([Series("a", x, y, "paper", band=band)], **labels)
    assert len(shaded(picture)) == 2 and "40" in words(picture)
    assert all(path.get("fill") == style.BLUE for path in shaded(picture))
    paths = [e for e in parsed(picture).iter() if e.tag.endswith("path")]
    places = {kind: [i for i, e in enumerate(paths) if e.get(kind) == style.BLUE] for kind in ("fill", "stroke")}
    assert max(places["fill"]) < min(places["stroke"])
    # What a logarithmic axis cannot show reaches down to its end, instead of tearing the band.
    assert len(shaded(line_chart([Series("a", x, y, band=([-1, 0, 1, 1, 1], [2] * 5))], log_y=True, **labels))) == 1
    assert not shaded(line_chart([Series("a", x, y)], **labels))
    with pytest.raises(ValueError, match="band"):
        line_chart([Series("a", x, y, band=([1, 2], [3, 4]))], **labels)
