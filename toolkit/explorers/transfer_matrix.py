"""Who fools whom: errors of each target under attacks made on each source, and on several sources at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.experiments.adversarial_published import PublishedTransfer, published_transfer
from toolkit.experiments.adversarial_transfer import ATTACKS, FUSED, WITH, WITHOUT, Paired, matrix, momentum_pairs
from toolkit.explorers.adversarial_records import (
    TRANSFER,
    WORDS,
    adversarial_run,
    not_recorded,
    short_name,
    where_recorded,
)
from toolkit.lessons import View, controls, style

NOISE = ATTACKS[0]
GAIN = f"{WITH} less {WITHOUT}"
"""What momentum changes, to be chosen like an attack."""
CHOICES = (*ATTACKS[1:], GAIN)
OURS = "ours"
PAPER = {"the paper's Figure 4: targets hit": "hit", "the paper's Figure 5: labelled rightly": "correct"}
_FUSED_ROW, _NOISE_ROW, _CLEAN_ROW = "the others, fused", "random signs", "no attack"
_ONE, _SEVERAL = "from one plain network to another", "from all other plain ones, fused"
_PAPER_NAMES = (("ens-adv-", "ens-adv "), ("inception-resnet-v2", "IncRes v2"), ("inception", "Inc"), ("resnet", "Res"))


@dataclass(frozen=True, repr=False, eq=False)
class Transfer:
    """A matrix, ready to be drawn.

    Attributes:
        kind: ``"errors"``, ``"gain"``, ``"hit"``, ``"correct"``, or ``""``: nothing is recorded.
        attack: the attack, or ``GAIN``.
        epsilon: in grey levels.
        rows: sources; below them, apart, rows for comparison.
        columns: targets.
        values: in per cent, or percentage points; NaN where nothing was measured.
        n_sources: how many rows are single networks.
        known: the row of each column whose network is the target itself, or -1.
        means: mean values of the groups of networks, by a few words.
        paired: in how many pairs momentum errs the target more often, from one network and from several.
        where: where the numbers come from, or how to record them.
    """

    kind: str
    attack: str
    epsilon: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[np.ndarray, "rows columns"]
    n_sources: int
    known: tuple[int, ...]
    means: Mapping[str, float]
    paired: tuple[Paired, Paired] | None
    where: str

    def __repr__(self) -> str:
        return f"Transfer({self.kind or 'not recorded'}: {len(self.rows)} × {len(self.columns)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def _nothing(where: str) -> Transfer:
    return Transfer("", "", 0, (), (), np.zeros((0, 0)), 0, (), {}, None, where)


def error_rates(record: Record, attack: str, epsilon: int) -> Transfer:
    """Return the error rates of a record in per cent, means over its casts.

    Args:
        record: of the study ``adversarial-transfer``.
        attack: one of ``CHOICES``; with ``GAIN`` the difference in percentage points.
        epsilon: one of the record's, in grey levels.

    Raises:
        ValueError: another attack or epsilon.
    """
    require(attack in CHOICES, "error_rates", "attack", f"one of {CHOICES}", repr(attack))
    known_epsilons = record.config["epsilons"]
    require(epsilon in known_epsilons, "error_rates", "epsilon", f"one of {list(known_epsilons)}", epsilon)
    if attack == GAIN:
        before, after = (error_rates(record, one, epsilon) for one in (WITHOUT, WITH))
        n = before.n_sources + 1
        means = {words: after.means[words] - before.means[words] for words in after.means if words in before.means}
        means.pop(_NOISE_ROW, None)
        values = (after.values - before.values)[:n]
        return _replaced(after, kind="gain", attack=attack, rows=after.rows[:n], values=values, means=means)
    counts = [matrix(result.tables["errors"]) for result in record.results]
    numbers = [result.tables["data"]["n_images"][0] for result in record.results]
    clean = record.results[0].tables["clean"]
    targets = list(clean["target"])
    keys = list(counts[0])
    sources = [s for s in dict.fromkeys(s for a, e, s, _ in keys if (a, e) == (attack, epsilon)) if s in targets]
    plain = [s for s in targets if f"{FUSED} {s}" in {source for _, _, source, _ in keys}]

    def rate(key: tuple[str, int, str, str]) -> float:
        found = [100 * count[key] / n for count, n in zip(counts, numbers, strict=True) if key in count]
        return float(np.mean(found)) if found else float("nan")

    values = [[rate((attack, epsilon, source, target)) for target in targets] for source in sources]
    fused = [rate((attack, epsilon, f"{FUSED} {target}", target)) for target in targets]
    noise = [rate((NOISE, epsilon, "", target)) for target in targets]
    bare = [
        [100 * errors / n for errors in result.tables["clean"]["errors"]]
        for result, n in zip(record.results, numbers, strict=True)
    ]
    table = np.array([*values, fused, noise, np.mean(bare, 0)], dtype=float)
    known = tuple(sources.index(target) if target in sources else -1 for target in targets)
    names = (*map(short_name, sources), _FUSED_ROW, _NOISE_ROW, _CLEAN_ROW)
    return Transfer(
        "errors",
        attack,
        epsilon,
        names,
        tuple(map(short_name, targets)),
        table,
        len(sources),
        known,
        _means(table, sources, targets, plain),
        (_paired(record, epsilon, "single"), _paired(record, epsilon, "fused")),
        f"Attackers know the labels. {where_recorded(record)}",
    )


def _replaced(found: Transfer, **changes: Any) -> Transfer:
    return Transfer(**(vars(found) | changes))


def _paired(record: Record, epsilon: int, group: str) -> Paired:
    each = [momentum_pairs(result.tables["errors"], epsilon, group) for result in record.results]
    return Paired(sum(p.better for p in each), sum(p.same for p in each), sum(p.worse for p in each))


def _means(
    values: np.ndarray, sources: Sequence[str], targets: Sequence[str], plain: Sequence[str]
) -> dict[str, float]:
    pairs = [(s, t) for s in range(len(sources)) for t in range(len(targets)) if targets[t] in plain]
    columns = [t for t, target in enumerate(targets) if target in plain]
    groups = {
        "on itself": [values[s, t] for s, t in pairs if sources[s] == targets[t]],
        _ONE: [values[s, t] for s, t in pairs if sources[s] in plain and sources[s] != targets[t]],
        _SEVERAL: [values[len(sources), t] for t in columns],
        _NOISE_ROW: [values[len(sources) + 1, t] for t in columns],
    }
    finite = {words: [value for value in found if np.isfinite(value)] for words, found in groups.items()}
    return {words: float(np.mean(found)) for words, found in finite.items() if found}


def paper_matrix(which: str, published: PublishedTransfer | None = None) -> Transfer:
    """Return Figure 4 or 5 of the paper in per cent.

    Args:
        which: ``"hit"`` or ``"correct"``.
        published: the figure; default: as it comes with the toolkit.
    """
    require(which in PAPER.values(), "paper_matrix", "which", "'hit' or 'correct'", repr(which))
    figure = published_transfer()[which] if published is None else published
    values = np.array(figure.counts, dtype=float) / 10
    known = tuple(figure.attacked.index(name) if name in figure.attacked else -1 for name in figure.defenders)
    itself = np.zeros(values.shape, dtype=bool)
    for column, row in enumerate(known):
        if row >= 0:
            itself[row, column] = True
    means = {"on itself": float(values[itself].mean()), "on another": float(values[~itself].mean())}
    return Transfer(
        which,
        "",
        0,
        tuple(map(_paper_name, figure.attacked)),
        tuple(map(_paper_name, figure.defenders)),
        values,
        len(figure.attacked),
        known,
        means,
        None,
        f"ImageNet networks, 1,000 images, targeted attacks of 10 iterations on one network: {figure.source}.",
    )


def _paper_name(name: str) -> str:
    for long, short in _PAPER_NAMES:
        name = name.replace(long, short)
    return name.replace("-v", " v").replace("adv-", "adv ").replace("ens3-", "ens3 ").replace("ens4-", "ens4 ")


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_CELL, _ROW = 47.0, 26.0
_ACROSS, _UP = math.cos(math.radians(40)), math.sin(math.radians(40))


def draw(found: Transfer) -> Svg:
    """Draw a cell for each source and target, with its value; a frame marks a network attacked through itself."""
    if not found.kind:
        picture = Svg(640, 80)
        picture.text(20, 45, "not recorded")
        return picture
    gap = 10.0 if len(found.rows) > found.n_sources else 0.0
    left = 44 + max(text_width(name, 13) for name in found.rows)
    names = [text_width(name, 12.5) for name in found.columns]
    reach = max(_CELL * (column + 0.5) + _ACROSS * name for column, name in enumerate(names))
    head = 62 + _UP * max(names)
    width = max(left + max(_CELL * len(names), reach + 10) + 14, text_width(_finding(found), 14, bold=True) + 32)
    height = head + _ROW * len(found.rows) + gap + 34
    picture = Svg(width, height)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    picture.text(left, 48, "shown to", size=12.5, fill=style.GREY)
    for column, name in enumerate(found.columns):
        picture.text(left + _CELL * (column + 0.5) + 4, head - 8, name, size=12.5, rotate=-40)
    tall = _ROW * found.n_sources
    picture.text(18, head + tall / 2, "made on", size=12.5, anchor="middle", fill=style.GREY, rotate=-90)
    paint = _paint(found)
    for row, name in enumerate(found.rows):
        y = head + _ROW * row + gap * (row >= found.n_sources)
        picture.text(left - 10, y + 17.5, name, anchor="end")
        for column, value in enumerate(found.values[row].tolist()):
            x = left + _CELL * column
            if not np.isfinite(value):
                picture.text(x + _CELL / 2, y + 17, "–", anchor="middle", fill=style.GREY)
                continue
            fill, ink = paint(value)
            picture.rectangle(x + 1, y + 1, _CELL - 2, _ROW - 2, fill=fill)
            picture.text(x + _CELL / 2, y + 17, _write(found, value), size=12.5, anchor="middle", fill=ink)
    for column, row in enumerate(found.known):
        if 0 <= row < len(found.rows):
            corner = (left + _CELL * column + 2, head + _ROW * row + 2)
            picture.rectangle(*corner, _CELL - 4, _ROW - 4, fill="none", stroke=style.VERMILION, stroke_width=2.4)
    caption = f"{_UNITS[found.kind].format(attack=found.attack)}; framed: the attacker has the target itself"
    picture.text(14, height - 12, shorten(caption, width - 24, 12), size=12, fill=style.GREY)
    return picture


_UNITS = {
    "errors": "wrong answers under {attack}, %",
    "gain": "wrong answers, percentage points more with momentum",
    "hit": "taken for the target, %",
    "correct": "labelled rightly, %",
}


def _paint(found: Transfer) -> Any:
    signed = found.kind == "gain"
    colours = matplotlib.colormaps[style.DIVERGING if signed else style.SEQUENTIAL]
    norm = style.centred(found.values) if signed else matplotlib.colors.Normalize(0.0, 100.0)

    def paint(value: float) -> tuple[str, str]:
        shade = colours(float(norm(value)))
        dark = 0.2126 * shade[0] + 0.7152 * shade[1] + 0.0722 * shade[2] < 0.5
        return matplotlib.colors.to_hex(shade), "#ffffff" if dark else style.INK

    return paint


def _write(found: Transfer, value: float) -> str:
    if found.kind == "gain":
        return f"{value:+.1f}".replace("-", "−") if round(value, 1) else "0.0"
    return f"{value:.1f}" if found.kind in PAPER.values() else f"{value:.0f}"


def _finding(found: Transfer) -> str:
    means = found.means
    if found.kind == "hit":
        return f"Targets are hit through the network itself ({means['on itself']:.0f} %), hardly through another"
    if found.kind == "correct":
        return (
            f"Through another network {means['on another']:.0f} % stay right, through itself {means['on itself']:.0f} %"
        )
    if found.kind == "gain":
        assert found.paired is not None
        pairs = found.paired[0]
        total = pairs.better + pairs.same + pairs.worse
        return (
            f"At {found.epsilon}/255 momentum adds errors in {pairs.better} of {total} pairs of networks, "
            f"takes some away in {pairs.worse}"
        )
    one, several = (means.get(words, float("nan")) for words in (_ONE, _SEVERAL))
    others = int(np.isfinite(found.values[found.n_sources]).sum()) - 1
    return f"At {found.epsilon}/255: {one:.0f} % wrong through one network, {several:.0f} % through {others} fused"


def describe(found: Transfer) -> str:
    """Say the means of the groups of networks, in how many pairs momentum helps, and where this was recorded."""
    if not found.kind:
        return found.where
    if found.kind in PAPER.values():
        what = "Taken for the target" if found.kind == "hit" else "Labelled rightly"
        means = "; ".join(f"{words} {value:.1f} %" for words, value in found.means.items())
        return f"{what}, mean over networks: {means}. Nothing to choose: the paper shows one attack. {found.where}"
    unit = "percentage points" if found.kind == "gain" else "%"
    means = "; ".join(f"{words} {value:.1f}".replace(" -", " −") for words, value in found.means.items())
    what = "More wrong answers with momentum" if found.kind == "gain" else f"Wrong answers under {found.attack}"
    pairs = ""
    if found.paired is not None:
        pairs = (
            f" {WITH} against {WITHOUT}: {found.paired[0]} from one plain network to another; {found.paired[1]} fused."
        )
    return f"{what} at {found.epsilon}/255, {unit}, means over plain networks: {means}.{pairs} {found.where} {WORDS}."


def explore_transfer_matrix(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded transfer: pick the attack and its size, or the paper's figures.

    Args:
        records: to choose from; default: those that come with the toolkit.
    """
    record = adversarial_run(TRANSFER, records)
    found: dict[tuple[str, int], Transfer] = {}
    epsilons = [0] if record is None else list(record.config["epsilons"])
    if record is not None:
        found = {(attack, epsilon): error_rates(record, attack, epsilon) for attack in CHOICES for epsilon in epsilons}
    figures = {which: paper_matrix(which) for which in PAPER.values()}

    def compute(attack: str, epsilon: int, show: str) -> Transfer:
        require(show == OURS or show in figures, "compute", "show", f"one of {[OURS, *figures]}", repr(show))
        if show != OURS:
            return figures[show]
        return found.get((attack, epsilon)) or _nothing(not_recorded(TRANSFER))

    chosen = {
        "attack": controls.choice("attack", CHOICES, WITH),
        "epsilon": controls.choice("ε", {f"{level}/255": level for level in epsilons}, max(epsilons)),
        "show": controls.choice("show", {OURS: OURS} | PAPER),
    }
    for name in ("attack", "epsilon"):
        controls.only_while(
            chosen[name],
            chosen["show"],
            lambda show: show == OURS and record is not None,
            otherwise="The paper's figures show one attack only" if record is not None else "nothing is recorded",
        )
    return View(chosen, compute, draw, describe)
