"""Bars are as long as the logarithm says, from the left or from a reference; what has none gets no bar."""

import math
import re

import pytest

from toolkit.explorers.log_bars import Panel, log_bars
from toolkit.lessons import style

SOLID, DASHED = style.Line("#0072B2", "-", ""), style.Line("#D55E00", "--", "")


def bars(picture, color):
    """Return left end and length of every filled rectangle of a colour."""
    found = re.findall(rf'<path d="M(\S+) \S+ L(\S+) [^"]*" fill="{color}"', picture.to_string())
    return [(float(left), float(right) - float(left)) for left, right in found]


def chart(values, **options):
    settings = {"decades": (-2, 2), "value_label": "x", "title": "t", "looks": [SOLID] * len(values)} | options
    return log_bars([f"row {n}" for n in range(len(values))], [Panel("", values, ["?"] * len(values))], **settings)


def test_lengths_are_logarithms():
    (low, first), (_, second), (_, third) = bars(chart([0.1, 1.0, 10.0]), SOLID.color)
    assert second == pytest.approx(2 * first, abs=0.05) and third == pytest.approx(3 * first, abs=0.05)
    assert len(bars(chart([0.0, math.nan, 0.001]), SOLID.color)) == 0
    clipped, whole = (bars(chart([value]), SOLID.color)[0] for value in (1e9, 100.0))
    assert clipped == whole and whole[0] == low


def test_bars_from_a_reference():
    (left, down), (right, up) = bars(chart([0.1, 10.0], reference=1.0), SOLID.color)
    assert down == pytest.approx(up, abs=0.05) and left + down == pytest.approx(right, abs=0.05)
    assert bars(chart([1.0], reference=1.0), SOLID.color) == []


def test_dashed_rows_have_an_outline_and_notes_are_written():
    text = chart([1.0, 1.0], looks=[SOLID, DASHED], notes=["a note"], strong=[1]).to_string()
    assert (
        text.count("stroke-dasharray") == 1
        and "a note" in text
        and 'font-weight="bold" xml:space="preserve">row 1' in text
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="looks"):
        chart([1.0], looks=[])
    with pytest.raises(ValueError, match="decades"):
        chart([1.0], decades=(1, 1))
    with pytest.raises(ValueError, match="panel 'p'"):
        log_bars(["a"], [Panel("p", [1.0, 2.0], ["", ""])], looks=[SOLID], decades=(0, 1), value_label="", title="")
