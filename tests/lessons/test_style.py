import itertools
import re
import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest

from toolkit.lessons import style
from toolkit.lessons.picture import as_picture


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_lines_can_be_seen_on_white_and_told_apart_without_colour():
    for line in (*style.LINES, *style.MEANINGS.values()):
        assert 1.05 / (luminance(line.color) + 0.05) >= 3.0
    assert len({line.color for line in style.LINES}) == len({line.linestyle for line in style.LINES}) == 5
    assert len({line.marker for line in style.LINES}) == 5
    looks = [(line.color, line.linestyle) for line in style.MEANINGS.values()]
    assert len(set(looks)) == len(looks)


def test_words_on_white_have_contrast():
    for color in (style.INK, style.GREY):
        assert 1.05 / (luminance(color) + 0.05) >= 4.5


def test_no_setting_changes_outside_a_call():
    before = matplotlib.rcParams.copy()
    axes = style.axes(2, 2, title="All of it")
    axes[0, 0].plot([1, 2], label="one")
    axes[0, 0].set_title("A title")
    axes[0, 0].legend()
    style.heat_map(axes[0, 1], np.eye(3), signed=True, label="x", write=".1f")
    as_picture(axes[0, 0])
    assert matplotlib.rcParams.copy() == before


def test_importing_the_lessons_leaves_matplotlib_alone_and_pyplot_out():
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams.copy()\n"
        "import toolkit.lessons, toolkit.lessons.svg, toolkit.lessons.view\n"
        "toolkit.lessons.style.axes()\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_style_does_not_depend_on_the_readers_settings():
    def drawn():
        axes = style.axes(width=4, height=3)
        axes.plot([0, 1], [0, 1], label="line")
        axes.set(xlabel="x", ylabel="y")
        axes.set_title("A title")
        axes.text(0.2, 0.8, "text")
        axes.legend()
        return as_picture(axes).png

    plain = drawn()
    odd = {
        "text.color": "red",
        "lines.linewidth": 9,
        "font.size": 22,
        "axes.facecolor": "black",
        "legend.frameon": True,
    }
    with matplotlib.rc_context(odd):
        assert drawn() == plain


def test_every_text_has_at_least_nine_points():
    axes = style.axes(title="Over all")
    axes.plot([1, 2], [3, 4], label="a line")
    axes.set_xlabel("time (s)")
    axes.set_title("Title")
    axes.legend()
    style.label_lines(axes)
    as_picture(axes)
    sizes = [text.get_fontsize() for text in axes.figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert len(sizes) > 10 and min(sizes) >= 9


def test_axes_shapes():
    assert isinstance(style.axes(), style.StyledAxes)
    assert style.axes(1, 3).shape == (3,) and style.axes(2, 3).shape == (2, 3)
    assert style.figure(5, 2).get_size_inches().tolist() == [5, 2]


def test_named_lines():
    assert style.line("truth")["color"] == "#000000"
    assert style.line("ours", markers=True)["marker"] == "s"
    with pytest.raises(ValueError, match="baseline"):
        style.line("theirs")


def test_threads_do_not_leave_settings_behind():
    before = matplotlib.rcParams.copy()

    def draw():
        for _ in range(2):
            axes = style.axes(width=2, height=1)
            axes.plot([1, 2])
            as_picture(axes)

    threads = [threading.Thread(target=draw) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert matplotlib.rcParams.copy() == before


@pytest.mark.parametrize("ends", [[0, 0, 0, 0], [1, 1, 1], [0.5, 0.52, 0.9], [-5, 0.5, 7], [float("nan"), 0.2]])
def test_labels_of_lines_do_not_overlap_and_stay_inside(ends):
    axes = style.axes()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for number, end in enumerate(ends):
        axes.plot([0, 1], [0.5, end], label=f"line {number}")
    axes.plot([0, 1], [0, 1], label="_unnamed")
    labels = style.label_lines(axes)
    assert len(labels) == len(ends)
    as_picture(axes)
    boxes = [label.get_window_extent() for label in labels]
    for one, other in itertools.combinations(boxes, 2):
        assert one.y1 <= other.y0 + 1 or other.y1 <= one.y0 + 1
    assert max(box.x1 for box in boxes) <= axes.figure.bbox.x1
    colors = {label.get_text(): label.get_color() for label in labels}
    assert colors["line 0"] == style.LINES[0].color


def test_spread_keeps_order_and_distance():
    rng = np.random.default_rng(0)
    for _ in range(50):
        heights = sorted(rng.uniform(0, 1, rng.integers(1, 8)).tolist())
        placed = style.spread(heights, 0.1)
        assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(placed))
        assert placed[0] >= -1e-9 and placed[-1] <= 1 + 1e-9
    assert style.spread([0.2, 0.8], 0.1) == pytest.approx([0.2, 0.8])
    assert style.spread([], 0.1) == []


def test_centred_scale():
    norm = style.centred([-1.0, 3.0, np.nan, np.inf])
    assert norm(0.0) == 0.5 and norm(3.0) == 1.0 and norm(-3.0) == 0.0
    assert style.centred([])(0.0) == 0.5 and style.centred([0.0])(0.0) == 0.5


def test_heat_map_writes_readable_numbers():
    axes = style.axes()
    image = style.heat_map(
        axes, [[-2.0, 0.0], [np.nan, 2.0]], signed=True, rows=["a", "b"], columns=["x", "y"], write=".1f"
    )
    assert [text.get_text() for text in axes.texts] == ["-2.0", "0.0", "2.0"]
    assert {text.get_color() for text in axes.texts} == {"white", style.INK}
    assert image.norm.vcenter == 0
    with pytest.raises(ValueError, match="heat_map"):
        style.heat_map(axes, [1.0, 2.0])
    flat = style.heat_map(style.axes(), np.full((2, 2), 3.0), write=".0f")
    as_picture(flat)


def test_colours_are_hexadecimal_so_that_svg_and_matplotlib_agree():
    for color in (*style.FILLS, *(line.color for line in style.LINES)):
        assert re.fullmatch("#[0-9A-Fa-f]{6}", color)
