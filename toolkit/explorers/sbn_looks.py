"""How sigmoid belief networks and their estimators look in pictures: a colour a family, a dash each, rows of digits."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.lessons import style
from toolkit.lessons.svg import Series

_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5.0, 1.6),
    (1.2, 1.2),
    (6.0, 1.5, 1.2, 1.5),
    (9.0, 2.0),
    (3.0, 3.0),
    (6.0, 1.5, 1.2, 1.5, 1.2, 1.5),
)
_FAMILIES = {
    style.BLUE: ("RAM", "RAM-fresh", "RAM-sampled", "RAM-antithetic"),
    style.PURPLE: ("LR", "LR+C", "NVIL", "RLOO-2", "self-critical", "VIMCO", "RLOO"),
    style.GREEN: ("DisARM", "REBAR", "MuProp+C", "RELAX", "ARM", "MuProp"),
    style.GREY: ("LEG",),
    style.VERMILION: ("ST", "Gumbel-softmax", "ReinMax", "ST-Gumbel", "Gumbel-Rao"),
}
BIASED = _FAMILIES[style.VERMILION]
"""Estimators whose expectation is not the gradient."""
_WORDS, _TITLE = 13.0, 14.0
_LEADER = style.Line("#b0b0b0", (0, (1.0, 3.0)), "", 1.0)


def look_of(estimator: str) -> style.Line:
    """Return the line of an estimator: RAM is blue, baselines are purple, the biased are vermilion.

    Args:
        estimator: its name in the study; ``RLOO-33`` and ``VIMCO-4`` are known by their stem.

    Raises:
        ValueError: an unknown one.
    """
    for name in (estimator, estimator.rpartition("-")[0]):
        for color, members in _FAMILIES.items():
            if name in members:
                place = members.index(name)
                width = 2.6 if name == "RAM" else 1.8
                return style.Line(color, (0, _DASHES[place]) if place else "-", "o", width)
    require(False, "look_of", "estimator", "one of the study's", estimator)
    raise AssertionError


def nats(value: float) -> str:
    """Write a bound, with a minus and two digits."""
    return f"{value:.2f}".replace("-", "−")


def leaders(lines: Sequence[Series], x_end: float) -> list[Series]:
    """Return faint lines from the ends of lines to the chart's edge, where their labels stand."""
    ends = [(one.x[-1], one.y[-1]) for one in lines if len(one.x) and one.x[-1] < x_end]
    return [Series("", [x, x_end], [y, y], _LEADER) for x, y in ends]


def image_rows(
    rows: Sequence[tuple[str, Float[np.ndarray, "count height width"]]],
    *,
    title: str = "",
    size: float = 46.0,
    width: float = 640.0,
) -> Svg:
    """Draw rows of images, each with its name before it.

    Args:
        rows: name and images with values in [0, 1]; all rows have as many.
        title: the finding.
        size: of an image, in pixels.
        width: of the picture, in pixels.
    """
    counts = [len(images) for _, images in rows]
    require(len(set(counts)) == 1 and counts[0] > 0, "image_rows", "rows", "as many images in each, 1 or more", counts)
    top, step = (38.0 if title else 12.0), size + 8
    picture = Svg(width, top + step * len(rows) + 4)
    if title:
        picture.text(14, 23, title, size=_TITLE, bold=True)
    left = 24 + max(text_width(name, _WORDS) for name, _ in rows)
    gap = (width - left - 12) / counts[0]
    for number, (name, images) in enumerate(rows):
        y = top + step * number
        picture.text(left - 10, y + size / 2 + 5, name, size=_WORDS, anchor="end")
        for place, image in enumerate(images):
            x = left + gap * place
            picture.image(x, y, size, size, image)
            picture.rectangle(x, y, size, size, fill="none", stroke="#b0b0b0", stroke_width=1)
    return picture
