"""What is left of praised defences when the attack knows them: recorded accuracies, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.explorers.adversarial_records import ADAPTIVE, adversarial_run, not_recorded, where_recorded
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import draw_marker

BLIND = {
    "on public networks": "transferred",
    "on a network that no denoiser met": "held-out",
    "on its weights alone": "unaware",
}
"""Attacks that do not know the defence, by the name shown: the kinds of the study."""
ITSELF = {"held-out": "bits"}
"""By kind of attack the defence whose own network it is made on: that attack is not blind, and the row is left out."""
KNOWING = "adaptive"
BESIDE = "resnet"
"""The network without a defence, beside which the others are read."""
COLLAPSE = 0.5
"""A defence collapses if it keeps less than this share of what it had under the attack that does not know it."""


@dataclass(frozen=True)
class Row:
    """One defence, accuracies as means over the casts.

    Attributes:
        name: short.
        title: what it is.
        clean: without an attack.
        blind: under the attack that does not know it.
        known: under the one that does.
    """

    name: str
    title: str
    clean: float
    blind: float
    known: float

    @property
    def collapses(self) -> bool:
        """Whether little is left under the attack that knows it."""
        return self.known < COLLAPSE * self.blind


@dataclass(frozen=True, repr=False)
class Adaptive:
    """The defences under two attacks.

    Attributes:
        record: where the numbers are from; None if there is none.
        blind: what the attack that does not know them looks at: a key of ``BLIND``.
        epsilon: in grey levels.
        rows: from the highest accuracy under that attack to the lowest.
    """

    record: Record | None
    blind: str
    epsilon: int
    rows: tuple[Row, ...]

    @property
    def collapsed(self) -> list[Row]:
        """The rows that collapse."""
        return [row for row in self.rows if row.collapses]

    def find(self, name: str) -> Row | None:
        """Return a row by name."""
        return next((row for row in self.rows if row.name == name), None)

    def __repr__(self) -> str:
        return f"Adaptive({self.blind}, {self.epsilon}/255: {len(self.rows)} defences)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compare(record: Record | None, blind: str, epsilon: int) -> Adaptive:
    """Read a record of the study.

    Args:
        record: of ``adaptive-attacks``.
        blind: a key of ``BLIND``.
        epsilon: in grey levels.
    """
    if record is None:
        return Adaptive(None, blind, epsilon, ())
    table = record.results[0].tables["defences"]

    def mean(metric: str) -> float:
        return float(np.mean([result.metrics[metric] for result in record.results]))

    rows = [
        Row(
            name,
            title,
            mean(f"{name} clean"),
            mean(f"{name} {BLIND[blind]} {epsilon}"),
            mean(f"{name} {KNOWING} {epsilon}"),
        )
        for name, title in zip(table["name"], table["title"], strict=True)
        if ITSELF.get(BLIND[blind]) != name
    ]
    return Adaptive(record, blind, epsilon, tuple(sorted(rows, key=lambda row: (-row.blind, row.name))))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _ROW = 700.0, 80.0, 25.0
_CLEAN = style.Line(style.GREY, "-", "o", 1.0)
_BLIND = style.Line(style.BLUE, "-", "s", 2.0)
_KNOWN = style.Line(style.VERMILION, "-", "D", 2.0)


def draw(found: Adaptive) -> Svg:
    """Draw for each defence where the accuracy is without an attack, under one that is blind, and one that is not."""
    picture = Svg(_WIDTH, max(110.0, _TOP + _ROW * len(found.rows) + 50))
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    if found.record is None:
        for number, sentence in enumerate(not_recorded(ADAPTIVE).split(". ")):
            picture.text(14, 60 + 20 * number, shorten(sentence, _WIDTH - 24, 12), size=12)
        return picture
    x = 14.0
    for look, words in (
        (_CLEAN, "no attack"),
        (_BLIND, f"attack {found.blind}"),
        (_KNOWN, "through the defence"),
    ):
        draw_marker(picture, x + 6, 46, look)
        picture.text(x + 16, 50, words, size=12.5, fill=look.color, bold=True)
        x += 16 + text_width(words, 12.5, bold=True) + 22
    left = 24 + max(text_width(row.title, 12.5, bold=True) for row in found.rows)
    bottom = _TOP + _ROW * len(found.rows)
    to_x = Scale(0, 100, left, _WIDTH - 62, False)
    for tick in range(0, 101, 20):
        picture.line(to_x(tick), _TOP - 10, to_x(tick), bottom, stroke="#e6e6e6", stroke_width=1)
        picture.text(to_x(tick), bottom + 16, str(tick), size=12, anchor="middle", fill=style.GREY)
    picture.text((left + _WIDTH - 62) / 2, bottom + 36, "accuracy (%)", size=12.5, anchor="middle")
    for number, row in enumerate(found.rows):
        y = _TOP + _ROW * number + 4
        strong = row.collapses and row.name != BESIDE  # those that the title counts
        picture.text(left - 14, y + 4, row.title, size=12.5, anchor="end", bold=strong)
        a, b = to_x(100 * row.blind), to_x(100 * row.known)
        picture.line(a, y, b, y, stroke=style.VERMILION if row.collapses else "#b0b0b0", stroke_width=2)
        for value, look in ((row.clean, _CLEAN), (row.blind, _BLIND), (row.known, _KNOWN)):
            draw_marker(picture, to_x(100 * value), y, look)
        points = round(100 * (row.known - row.blind))
        change = f"{points:+d}".replace("-", "−") if points else "0"
        picture.text(_WIDTH - 14, y + 4, change, size=12.5, anchor="end", bold=strong)
    picture.text(_WIDTH - 14, _TOP - 14, "change", size=12, anchor="end", fill=style.GREY)
    return picture


def _finding(found: Adaptive) -> str:
    if found.record is None:
        return "Adaptive attacks are not recorded yet"
    gone, n = (sum(row.name != BESIDE for row in rows) for rows in (found.collapsed, found.rows))
    return f"{gone} of {n} defences lose over half to an attack that knows them, ε = {found.epsilon}/255"


def describe(found: Adaptive) -> str:
    """Say which defences collapse and which do not, how the network without a defence does, and where it is from."""
    if found.record is None:
        return not_recorded(ADAPTIVE)
    stay = [row for row in found.rows if not row.collapses]
    words = f"ε = {found.epsilon}/255, attack {found.blind} against attack through the defence. "
    words += "Less than half is left of: " + (_listed(found.collapsed) or "none") + ". "
    words += "More is left of: " + (_listed(stay) or "none") + ". "
    beside = found.find(BESIDE)
    if beside is not None:
        words += f"The ResNet without a defence: {_pair(beside)}. "
    left_out = ITSELF.get(BLIND[found.blind])
    if left_out is not None:
        words += f"Left out: {left_out}, because that attack is made on its own network. "
    return words + where_recorded(found.record)


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(f"{row.name} {_pair(row)}" for row in rows if row.name != BESIDE)


def _pair(row: Row) -> str:
    return f"{100 * row.blind:.0f} → {100 * row.known:.0f} %"


def explore_adaptive_attacks(records: Sequence[Record] | None = None) -> View:
    """Return a view of defences under attacks that know them and attacks that do not.

    Args:
        records: to take the study's record from; default: those that come with the toolkit.
    """
    record = adversarial_run(ADAPTIVE, records)
    epsilons = (16,) if record is None else tuple(record.config["epsilons"])
    chosen: dict[str, Any] = {
        "blind": controls.choice("beside an attack", tuple(BLIND)),
        "epsilon": controls.toggle("ε", {f"{value}/255": value for value in epsilons}, max(epsilons)),
    }
    if record is None:
        for control in chosen.values():
            control.disabled, control.tooltip = True, "nothing is recorded"
    if len(epsilons) == 1:
        chosen["epsilon"].disabled, chosen["epsilon"].tooltip = True, "recorded for one ε alone"
    return View(chosen, lambda blind, epsilon: compare(record, blind, epsilon), draw, describe)
