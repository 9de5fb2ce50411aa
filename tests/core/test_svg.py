import io
import math
import unicodedata
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font, LoadFlags
from PIL import Image

from toolkit.core.svg import Svg, png_bytes
from toolkit.core.svg_raster import _few_colours
from toolkit.core.text_width import shorten, text_width


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA").convert("RGB"))


def everything() -> Svg:
    picture = Svg(120, 80, alt="All shapes")
    picture.line(5, 5, 60, 5, stroke="#ff0000", stroke_width=4)
    picture.polyline([(5, 20), (20, 30), (math.nan, 0), (30, 20), (40, 30)], dash=(3, 2))
    picture.rectangle(50, 20, 20, 20, radius=5, fill="#00ff00")
    picture.circle(90, 30, 10, fill="#0000ff", stroke="none")
    picture.path([("M", 5, 60), ("C", 10, 40, 20, 80, 30, 60)], clip=(0, 40, 20, 40), opacity=0.5)
    picture.arrow_head(60, 60, 0.0)
    picture.text(70, 70, 'a < b & "c"')
    picture.image(100, 50, 12, 12, np.eye(3))
    return picture


def test_text_is_well_formed_with_role_and_title():
    root = ET.fromstring(everything().to_string())
    assert root.get("role") == "img"
    assert root[0].tag.endswith("title") and root[0].text == "All shapes"
    assert (root.get("width"), root.get("viewBox")) == ("120", "0 0 120 80")


def test_the_same_picture_is_the_same_text_and_has_no_ids():
    first, second = everything().to_string(), everything().to_string()
    assert first == second
    assert " id=" not in first and "url(#" not in first


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", '"><svg onload=x>', "a\x00b\x0b\ud800", "]]>&amp;", "行\u202e"]
)
def test_any_text_is_escaped(nasty):
    picture = Svg(50, 50, alt=nasty)
    picture.text(5, 20, nasty, fill=f'red"{nasty}')
    root = ET.fromstring(picture.to_string().encode("utf-8"))
    assert {element.tag.split("}")[1] for element in root.iter()} == {"svg", "title", "path", "text"}
    assert root[-1].text.replace("\ufffd", "") == "".join(c for c in nasty if c not in "\x00\x0b\ud800")


def test_numbers_are_short_and_never_minus_zero():
    picture = Svg(20, 20, frame=False, background="none")
    picture.line(1 / 3, -1e-9, 10.0, 2.5000001, stroke_width=1)
    assert 'd="M0.33 0 L10 2.5"' in picture.to_string()


@pytest.mark.parametrize("width", [0, -1, math.nan, math.inf])
def test_a_picture_has_a_size(width):
    with pytest.raises(ValueError, match="positive"):
        Svg(width, 10)


def test_coordinates_are_finite_and_commands_known():
    picture = Svg(10, 10)
    with pytest.raises(ValueError, match="finite"):
        picture.line(0, 0, math.inf, 0)
    with pytest.raises(ValueError, match="expected"):
        picture.path([("M", 0, 0), ("Q", 1, 1, 2, 2)])
    with pytest.raises(ValueError, match="an M first"):
        picture.path([("L", 0, 0)])
    with pytest.raises(ValueError, match="anchor"):
        picture.text(0, 0, "x", anchor="left")
    with pytest.raises(ValueError, match="finite"):
        picture.text(math.nan, 0, "x")


def test_png_shows_each_shape_where_the_svg_has_it():
    seen = pixels(everything().to_png(scale=2))
    assert seen.shape == (160, 240, 3)
    assert seen[10, 60].tolist() == [255, 0, 0]
    assert seen[60, 120].tolist() == [0, 255, 0]
    assert seen[60, 180].tolist() == [0, 0, 255]
    assert seen[104, 204].tolist() == [255, 255, 255] and seen[104, 212].tolist() == [0, 0, 0]  # the identity's corner
    assert (seen[100:140, 41:60] == 255).all(), "the curve is cut at x = 20"
    assert (seen[100:140, 12:40] < 255).any()
    assert (seen[120:145, 140:200] < 100).any(), "the text"


def test_png_is_reproducible_and_without_metadata():
    first, second = everything().to_png(), everything().to_png()
    assert first == second
    assert set(Image.open(io.BytesIO(first)).info) <= {"transparency"}


def test_a_palette_keeps_every_shade_and_photographs_keep_all_theirs():
    ramp = np.zeros((40, 60, 4), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(60) * 4, np.arange(40)[:, None] * 6
    ramp[..., 3] = 255
    few = _few_colours(ramp)
    assert few.mode == "P"
    assert np.abs(np.asarray(few.convert("RGBA")).astype(int) - ramp).max() <= 16
    exact = _few_colours(ramp[::8, ::8])
    assert (np.asarray(exact.convert("RGBA")) == ramp[::8, ::8]).all()
    photograph = np.random.default_rng(0).integers(256, size=(80, 80, 4), dtype=np.uint8)
    assert (np.asarray(_few_colours(photograph)) == photograph).all()


def test_scale_sets_the_number_of_pixels():
    assert pixels(Svg(33, 21).to_png(scale=1)).shape == (21, 33, 3)
    assert pixels(Svg(33, 21).to_png(scale=3)).shape == (63, 99, 3)


def test_one_picture_in_another():
    inner = everything()
    outer = Svg(200, 200, alt="outer")
    outer.place(60, 100, inner)
    placed, alone = pixels(outer.to_png())[202:358, 122:358], pixels(inner.to_png())[2:158, 2:238]
    assert np.abs(placed.astype(int) - alone).max() <= 8, "but for the shades that a palette rounds"
    assert len(inner._shapes) * 1 + 1 == len(outer._shapes)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float16, np.float32, np.float64])
def test_png_bytes_of_an_array(dtype):
    image = np.array([[0, 1], [1, 0]]).astype(dtype)
    shown = pixels(png_bytes(image))[..., 0]
    assert shown.tolist() == ([[0, 1], [1, 0]] if dtype == np.uint8 else [[0, 255], [255, 0]])


def test_png_bytes_of_tensors_colours_and_odd_values():
    assert pixels(png_bytes(torch.tensor([[0.5, 2.0], [-1.0, math.nan]], requires_grad=True)))[..., 0].tolist() == [
        [128, 255],
        [0, 0],
    ]
    assert pixels(png_bytes(np.ones((2, 3, 3)) * [1, 0, 0]))[0, 0].tolist() == [255, 0, 0]
    assert png_bytes(png_bytes(np.eye(2))) == png_bytes(np.eye(2))
    assert pixels(png_bytes(np.eye(4)[::2, ::-1])).shape == (2, 4, 3)


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 2, 2), (1, 2, 3, 3)])
def test_png_bytes_refuses_what_is_no_image(shape):
    with pytest.raises(ValueError, match="bad argument 'image'"):
        png_bytes(np.zeros(shape))


def drawn_width(text: str, size: float, bold: bool) -> float:
    path = font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))
    font = FT2Font(path)
    font.set_size(1000, 72)
    return sum(font.load_char(ord(c), flags=LoadFlags.NO_HINTING).linearHoriAdvance / 65536 for c in text) * size / 1000


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "i",
        "WWWW",
        "cross_entropy (64, 784)",
        "εθλμ∂∇Σ∫√∞≤→⊙⊗",
        "naïve café Ångström ½",
        "f'''(x) = ∂²L/∂x²",
        "Ж",
    ],
)
def test_text_width_is_never_too_small(text, bold):
    upper, true = text_width(text, 13, bold=bold), drawn_width(text, 13, bold)
    assert upper >= true - 0.01
    if text.isascii():
        assert upper <= 1.3 * true + 0.01


@pytest.mark.parametrize("bold", [False, True])
def test_no_character_in_use_is_wider_than_reckoned(bold):
    path = font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))
    for code in FT2Font(path).get_charmap():
        lessons_use = 32 <= code < 0x530 or 0x2000 <= code < 0x2400
        if lessons_use and code not in (0x2031, 0x2167) and not unicodedata.combining(chr(code)):
            assert text_width(chr(code), 100, bold=bold) >= drawn_width(chr(code), 100, bold) - 0.1, chr(code)


def test_wide_characters_count_as_wide():
    assert text_width("日本", 10) >= 20
    assert text_width("e\u0301", 10) == text_width("e", 10)


def test_shorten():
    assert shorten("short", 100, 12) == "short"
    cut = shorten("a rather long line of words", 80, 12)
    assert cut.endswith("…") and text_width(cut, 12) <= 80 and cut.startswith("a rather")
    assert shorten("anything", 0, 12) == "…"


def test_shown_by_a_notebook_as_png_and_words():
    bundle, metadata = everything()._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/plain"} and bundle["text/plain"] == "All shapes"
    assert metadata["image/png"] == {"alt": "All shapes", "width": 120, "height": 80}
    assert "Svg(120 x 80" in repr(everything())
