"""Bars of the three parts: what is certain, what is open, points inside and outside, and no word that is cut off."""

import math

import pytest

from tests.explorers.inside import words_outside
from toolkit.core.svg import Svg
from toolkit.disentanglement.exact import interval, pid
from toolkit.disentanglement.systems import named_system
from toolkit.explorers.pid_parts import (
    CHOSEN,
    MEASURES,
    PARTS,
    Bar,
    amount,
    bars_of,
    draw_bar,
    draw_point,
    parts_panel,
    span,
    value_limits,
)
from toolkit.lessons import style
from toolkit.lessons.axis import Scale

TO_Y = Scale(0.0, 1.0, 100.0, 0.0, False)


def and_bars(redundant=None):
    joint = named_system("AND")
    bounds = interval(joint, "bits")
    measures = {name: pid(joint, name, "bits") for name in MEASURES}
    return bars_of(bounds, measures, None if redundant is None else bounds.at(redundant))


def paths(picture, color):
    """The outlines of all shapes of one fill or line colour, as points."""
    found = []
    for shape in picture._shapes:
        if hasattr(shape, "commands") and color in (shape.paint.fill, shape.paint.stroke):
            found.append([command[1:3] for command in shape.commands if len(command) > 1])
    return found


def test_the_parts_are_told_apart_without_colour():
    assert [part.color for part in PARTS.values()] == [style.BLUE, style.VERMILION, style.GREEN]
    for field in ("color", "hatch", "symbol", "name"):
        assert len({getattr(part, field) for part in PARTS.values()}) == 3


def test_bars_of_and():
    first, second, redundant, complementary = and_bars(0.2)
    assert (first.part, second.part) == ("unique", "unique")
    assert (first.label, second.label) == ("unique to a", "unique to b")
    assert (redundant.lower, redundant.upper) == pytest.approx((0.0, 0.311278), abs=1e-6)
    assert (complementary.lower, complementary.upper) == pytest.approx((0.188722, 0.5), abs=1e-6)
    assert redundant.chosen == pytest.approx(0.2) and complementary.chosen == pytest.approx(0.388722, abs=1e-6)
    assert redundant.points["mmi"] == pytest.approx(0.311278, abs=1e-6) and list(first.points) == list(MEASURES)
    assert bars_of(interval(named_system("XOR")))[0].chosen is None
    assert bars_of(interval(named_system("XOR")), sources=("z1", "the others"))[1].label == "unique to the others"
    assert first.to_dict()["points"] == first.points


def test_only_one_system_at_a_time():
    batch = named_system("AND").expand(2, 2, 2, 2)
    with pytest.raises(ValueError, match="one system"):
        bars_of(interval(batch))


@pytest.mark.parametrize(
    "wrong",
    [("synergy", 0.0, 1.0), ("unique", math.nan, 1.0), ("unique", 0.0, math.inf), ("redundant", 0.5, 0.2)],
)
def test_no_such_bar(wrong):
    with pytest.raises(ValueError, match="Bar"):
        Bar(*wrong)


def test_a_bar_is_filled_up_to_what_is_certain_and_outlined_up_to_what_is_possible():
    picture = Svg(100, 120)
    draw_bar(picture, Bar("complementary", 0.25, 0.75), 10, 40, TO_Y)
    heights = [{y for _, y in outline} for outline in paths(picture, style.GREEN)]
    assert {75.0, 100.0} in heights and {25.0, 75.0} in heights


@pytest.mark.parametrize("part", PARTS)
def test_ends_that_rounding_parts_are_one(part):
    assert not Bar(part, 0.5, 0.5 + 1e-13).open and Bar(part, 0.5, 0.51).open
    assert not Bar(part, 0.5 + 1e-13, 0.5).outside(0.5 - 1e-12) and Bar(part, 0.2, 0.3).outside(0.31)
    picture = Svg(100, 120)
    draw_bar(picture, Bar(part, 0.0, 1e-13), 10, 40, TO_Y)
    (line,) = paths(picture, PARTS[part].color)  # nothing at all is a line, not a gap
    assert [y for _, y in line] == [100.0, 100.0]


def test_points_outside_are_filled_tied_and_explained():
    inside, outside = Bar("redundant", 0.2, 0.4, points={"ccs": 0.3}), Bar("redundant", 0.2, 0.4, points={"ccs": 0.6})
    pictures = [parts_panel([bar], width=400, height=260) for bar in (inside, outside)]
    texts = [picture.to_string() for picture in pictures]
    assert "filled: outside" not in texts[0] and "filled: outside" in texts[1]
    ties = [
        [shape for shape in picture._shapes if hasattr(shape, "paint") and shape.paint.dash == (3, 2)]
        for picture in pictures
    ]
    assert not ties[0] and len(ties[1]) == 1
    assert texts[0].count(f'fill="{style.INK}" stroke="{style.INK}"') == 0
    assert texts[1].count(f'fill="{style.INK}" stroke="{style.INK}"') == 2  # the point, and its sample in the key


def test_each_measure_has_its_own_marker():
    drawn = []
    for measure in MEASURES:
        picture = Svg(20, 20, frame=False, background="none")
        draw_point(picture, 10, 10, measure)
        drawn.append(picture.to_string())
    assert len(set(drawn)) == 4


def test_limits_hold_bars_points_and_zero():
    low, high = value_limits([Bar("unique", 0.2, 0.4, points={"ccs": -0.1, "other": math.nan}, chosen=0.3)])
    assert low < -0.1 and high > 0.4
    assert value_limits([Bar("unique", 0.2, 0.4)])[0] == 0.0
    low, high = value_limits([Bar("unique", 0.0, 0.0)])
    assert low == 0.0 < high


def test_the_chosen_value_is_one_line_through_all_bars():
    picture = parts_panel(and_bars(0.1), width=560, height=320, chosen_label="your R = 0.100")
    lines = [line for line in paths(picture, CHOSEN.color) if len(line) > 2]
    assert len(lines) == 1 and len(lines[0]) == 8
    heights = [y for _, y in lines[0][::2]]
    assert heights[0] == heights[1] < heights[2] > heights[3]  # 0.211, 0.211, 0.1, 0.289; pixels grow downwards
    assert "your R = 0.100" in picture.to_string()


@pytest.mark.parametrize("width", [560, 300, 140])
def test_no_word_is_cut_off(width):
    picture = parts_panel(and_bars(0.1), width=width, height=320)
    assert not words_outside(picture)
    assert ("complementary" in picture.to_string()) == (width == 560)


def test_groups_stand_apart_with_letters_and_names():
    bars = [Bar("unique", 0.1, 0.3), Bar("redundant", 0.0, 0.2), Bar("complementary", 0.2, 0.4)]
    picture = parts_panel({f"seed {n}": bars for n in range(6)}, width=640, height=220, value_label="share of H(y)")
    text = picture.to_string()
    assert not words_outside(picture) and "seed 5" in text and "share of H(y)" in text
    assert text.count(">U<") == text.count(">R<") == text.count(">C<") == 6
    long = parts_panel({"a name that is much too long " * 3: bars, "b": bars}, width=300, height=220)
    assert not words_outside(long) and "…" in long.to_string()


def test_without_bars_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="at least one bar"):
        parts_panel([], width=100, height=100)


def test_numbers_are_written_without_noise():
    assert amount(-1e-17) == amount(0.0) == amount(0.0004) == "0"
    assert amount(-0.1041) == "−0.104" and amount(0.311278) == "0.311" and amount(0.25, 1) == "0.2"
    assert amount(0.1875 - 1e-13) == amount(0.1875 + 1e-13) == "0.188"
    assert span(0.0, 0.311278) == "0 to 0.311" and span(0.5, 0.5 + 1e-13) == "0.500"
