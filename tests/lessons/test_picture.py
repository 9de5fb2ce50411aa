import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from toolkit.core.svg import Svg
from toolkit.lessons import style
from toolkit.lessons.picture import LiveFigure, Picture, as_picture, smallest


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def chart(height=0.5):
    axes = style.axes(width=4, height=3)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, 1], [0, height], **style.line("paper"))
    return axes


def test_a_figure_becomes_png_at_one_and_a_half_pixels_a_pixel_in_a_frame():
    picture = as_picture(chart().figure)
    shown = pixels(picture.png)
    assert (picture.width, picture.height) == (384, 288) and shown.shape == (432, 576, 3)
    for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]):
        assert (edge == 208).all()
    assert (shown[1:-1, 1:3] == 255).all(), "white behind the figure, on a dark page too"


def test_axes_stand_for_their_figure():
    axes = chart()
    assert as_picture(axes).png == as_picture(axes.figure).png


def test_the_same_figure_is_the_same_bytes():
    assert as_picture(chart().figure).png == as_picture(chart().figure).png


def test_other_kinds():
    svg = Svg(50, 40, alt="own")
    assert as_picture(svg).to_html("sentence").count("<title>sentence</title>") == 1
    text = as_picture('<?xml version="1.0"?><svg width="5"></svg>')
    assert text.to_html('say "it"').startswith("<div style") and 'aria-label="say &quot;it&quot;"' in text.to_html(
        'say "it"'
    )
    assert text.to_bundle("s") == ({"image/svg+xml": '<svg width="5"></svg>', "text/plain": "s"}, {})
    raw = as_picture(svg.to_png(scale=1))
    assert (raw.width, raw.height) == (50, 40) and raw.to_html("<a>").startswith('<img alt="&lt;a&gt;" width="50"')
    assert as_picture(raw) is raw
    assert repr(raw) == "Picture(50 x 40, png)"


@pytest.mark.parametrize("bad", [None, 3, np.zeros((2, 2)), [1]])
def test_anything_else_is_refused(bad):
    with pytest.raises(TypeError, match="Figure, Svg"):
        as_picture(bad)


@pytest.mark.parametrize("bad", [b"", b"GIF89a" + bytes(40), "plain text"])
def test_bytes_and_text_that_are_no_picture_are_refused(bad):
    with pytest.raises(ValueError, match="draw"):
        as_picture(bad)


def test_a_wide_picture_scrolls_and_can_be_reached_by_keyboard():
    html = as_picture(Svg(900, 40)).to_html("wide")
    assert 'tabindex="0"' in html and "overflow-x:auto" in html
    assert "tabindex" not in as_picture(Svg(600, 40)).to_html("narrow")


def test_smallest_keeps_what_is_seen_and_drops_the_rest():
    png = as_picture(chart().figure).png
    small = smallest(png)
    assert len(small) < 0.6 * len(png)
    assert np.abs(pixels(small).astype(int) - pixels(png)).max() <= 10
    assert smallest(png) == small and Image.open(io.BytesIO(small)).info.keys() <= {"transparency"}


def test_smallest_does_not_touch_photographs():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "png")
    assert (pixels(smallest(buffer.getvalue())) == noise).all()
    transparent = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 100)).save(transparent, "png")
    assert Image.open(io.BytesIO(smallest(transparent.getvalue()))).mode == "RGBA"


def test_bundle_of_a_picture():
    bundle, metadata = as_picture(chart().figure).to_bundle("A line.")
    assert set(bundle) == {"image/png", "text/plain"} and metadata["image/png"]["width"] == 384


class Counting:
    """A live line that counts how often its figure is built and its background drawn."""

    def __init__(self, **axes_options):
        self.built = self.backgrounds = 0
        self.live = LiveFigure(self.build, self.update)
        draw = self.live._draw_background

        def counted(*arguments):
            self.backgrounds += 1
            draw(*arguments)

        self.live._draw_background = counted

    def build(self):
        self.built += 1
        self.axes = style.axes(width=4, height=3)
        self.axes.set(xlim=(0, 1), ylim=(0, 1))
        (line,) = self.axes.plot([0, 1], [0, 0], **style.line("paper"))
        return {"line": line, "words": [self.axes.text(0.1, 0.9, "")]}

    def update(self, artists, result):
        artists["line"].set_ydata([0, result["height"]])
        artists["words"][0].set_text(f"height {result['height']}")
        if "limit" in result:
            self.axes.set_ylim(0, result["limit"])


def test_a_live_figure_is_built_once_and_its_background_drawn_once():
    counting = Counting()
    shown = [counting.live({"height": height}).png for height in (0.1, 0.5, 0.9, 0.1)]
    assert (counting.built, counting.backgrounds) == (1, 1)
    assert len(set(shown)) == 3 and shown[0] == shown[3], "nothing of the earlier lines stays"


def test_a_changed_limit_is_seen():
    counting = Counting()
    first = counting.live({"height": 0.5}).png
    second = counting.live({"height": 0.5, "limit": 2}).png
    assert counting.backgrounds == 2
    labels = pixels(first)[:, :60] != pixels(second)[:, :60]
    assert labels.any(), "the ticks' names changed"
    back = counting.live({"height": 0.5, "limit": 1}).png
    assert np.abs(pixels(first).astype(int) - pixels(back)).mean() < 1.0


def test_a_live_figure_shows_what_a_drawn_figure_shows():
    counting = Counting()
    live = pixels(counting.live({"height": 0.7}).png).astype(int)
    axes = style.axes(width=4, height=3)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, 1], [0, 0.7], **style.line("paper"))
    axes.text(0.1, 0.9, "height 0.7")
    whole = pixels(as_picture(axes).png).astype(int)
    assert (np.abs(live - whole).max(axis=2) > 60).mean() < 0.002


@pytest.mark.parametrize("built", [{}, None, []])
def test_a_build_that_returns_nothing_to_change_is_refused(built):
    with pytest.raises(ValueError, match="the artists that change"):
        LiveFigure(lambda: built, lambda artists, result: None)(1)


def test_artists_without_a_figure_are_refused():
    from matplotlib.lines import Line2D

    with pytest.raises(ValueError, match="belong to a figure"):
        LiveFigure(lambda: Line2D([], []), lambda artists, result: None)(1)


def test_the_figure_can_be_reached():
    assert isinstance(Counting().live.figure, Figure)
    assert isinstance(as_picture(chart()), Picture)
