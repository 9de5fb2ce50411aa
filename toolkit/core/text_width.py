"""How wide a line of text gets on a screen whose fonts we do not know.

The widths are those of DejaVu Sans (Verdana's are the same), the widest of the usual screen fonts: what fits here fits
everywhere.
"""

import unicodedata

_WIDTHS = (  # of the characters 32 to 126, in thousandths of the font size
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip


_RANGES = (  # first and last code point, and the widest character between them
    (0xA0, 0x17F, 1070),  # Latin with accents
    (0x370, 0x3FF, 940),  # Greek
    (0x2010, 0x2027, 1010),  # dashes, quotation marks, the ellipsis
    (0x2070, 0x209F, 640),  # superscripts and subscripts
    (0x2190, 0x21FF, 840),  # arrows
    (0x2200, 0x22D7, 1060),  # mathematics
)
_WIDEST = 1450
_BOLDER = 1.27  # the largest ratio of a bold character's width to the plain one's


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return an upper bound, in pixels, of the width of one line of text at ``size`` pixels."""
    return sum(_width(character) for character in text) * size / 1000 * (_BOLDER if bold else 1.0)


def _width(character: str) -> int:
    code = ord(character)
    if 32 <= code < 127:
        return _WIDTHS[code - 32]
    if unicodedata.combining(character):
        return 0
    return next((widest for first, last, widest in _RANGES if first <= code <= last), _WIDEST)


def shorten(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Return ``text``, or as much of its beginning with an ellipsis as fits into ``width`` pixels."""
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"
