"""Which words of a picture leave it."""

from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width


def words_outside(picture: Svg) -> list[str]:
    """Return the level lines of text that begin or end outside the picture."""
    found = []
    for shape in picture._shapes:
        if not hasattr(shape, "string") or shape.rotate:
            continue
        width = text_width(shape.string, shape.size, bold=shape.bold)
        start = shape.x - {"start": 0.0, "middle": width / 2, "end": width}[shape.anchor]
        if start < 0 or start + width > picture.width:
            found.append(shape.string)
    return found
