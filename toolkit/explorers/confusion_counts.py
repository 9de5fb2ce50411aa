"""Counts of classes against clusters as a part of a picture: colours, numbers, and one column framed."""

from collections.abc import Sequence

import matplotlib

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.imsat.evaluation import AlignedConfusion
from toolkit.lessons import style

_SMALL, _WORDS = 11.0, 12.0
_LONGEST_NAME = 84.0


def draw_counts(
    picture: Svg,
    confusion: AlignedConfusion,
    names: Sequence[str],
    column: int | None,
    box: tuple[float, float, float, float],
    words: str = "number of the cluster; columns sorted by matched class",
) -> None:
    """Draw counts as colours, written into the cells where there is room, zeros left out.

    Args:
        picture: to draw into.
        confusion: the counts, the clusters beside the classes that they match.
        names: of the rows.
        column: framed; ``None`` for none.
        box: left, top, width with the names of the rows, and height of the cells; the names of the clusters stand 40
            pixels below.
        words: what those names are.
    """
    counts = confusion.counts
    (n_rows, n_columns), (left, top, width, height) = counts.shape, box
    room = min(max(text_width(name, _WORDS) for name in names), _LONGEST_NAME) + 10
    left, wide, tall = left + room, (width - room) / n_columns, height / n_rows
    colours, most = matplotlib.colormaps[style.SEQUENTIAL], int(counts.max())
    longest = max(text_width(f"{count}", _SMALL) for count in counts.ravel().tolist())
    written = wide >= longest + 1 and tall >= _SMALL + 3
    for row, name in enumerate(names):
        y = top + row * tall
        if tall >= _WORDS:
            picture.text(left - 6, y + tall / 2 + 4, shorten(name, room - 6, _WORDS), size=_WORDS, anchor="end")
        for place, count in enumerate(counts[row].tolist()):
            shade = colours(count / most)[:3]
            colour = "#" + "".join(f"{round(255 * part):02x}" for part in shade)
            x = left + place * wide
            picture.rectangle(x, y, wide, tall, fill=colour, stroke=colour, stroke_width=0.4)
            if written and count:
                dark = 0.2126 * shade[0] + 0.7152 * shade[1] + 0.0722 * shade[2] < 0.5
                fill = "#ffffff" if dark else style.INK
                picture.text(x + wide / 2, y + tall / 2 + 4, f"{count}", size=_SMALL, anchor="middle", fill=fill)
    clusters = [f"{cluster}" for cluster in confusion.clusters]
    if wide >= max(text_width(name, _WORDS, bold=True) for name in clusters) + 1:
        for place, name in enumerate(clusters):
            x = left + (place + 0.5) * wide
            picture.text(x, top + height + 16, name, size=_WORDS, anchor="middle", bold=place == column)
    picture.text(left + n_columns * wide / 2, top + height + 36, words, size=_WORDS, anchor="middle")
    if column is not None:
        x = left + column * wide
        picture.rectangle(x, top, wide, height, fill="none", stroke="#ffffff", stroke_width=5)
        picture.rectangle(x, top, wide, height, fill="none", stroke=style.VERMILION, stroke_width=3)
