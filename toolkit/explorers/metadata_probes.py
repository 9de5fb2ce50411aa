"""Recorded decoders: what linear probes read of each level's metadata, beside the best guess that there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.plotting import GREY, Line
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.experiments import Record
from toolkit.experiments.metadata_conditioning_comparison import Difference
from toolkit.experiments.metadata_conditioning_config import BASELINE
from toolkit.explorers.example_families import choice_name
from toolkit.explorers.metadata_panels import Curve, draw_key, draw_lengths
from toolkit.explorers.metadata_records import (
    Array,
    Run,
    depth_choice,
    difference,
    fitting,
    follow_run,
    in_words,
    length_slider,
    name_of,
    not_recorded,
    only_paired,
    paired,
    recorded_runs,
    spread,
    title_of,
    where_recorded,
)
from toolkit.explorers.prompt_length import fitted, nothing_recorded
from toolkit.lessons import View, controls, style

LENGTHS, LAYERS = "prompt length", "layer"
"""What runs along the x axis."""
_CLEAR = ("worse", "better")


@dataclass(frozen=True, eq=False, repr=False)
class Level:
    """What probes read of one level's choice, along the x axis.

    Attributes:
        level: from 0 at the top.
        shown: whether the model was shown it in training.
        best: how often the best guess from the tokens is right.
        chance: how often the best guess from nothing is right.
        values, spreads: mean and standard deviation over seeds of the accuracies of the model and of the baseline.
        difference: of the model less the baseline, at the layer and length that are looked at.
        here: mean accuracies there, of the model and of the baseline.
        best_here: how often the best guess is right there.
    """

    level: int
    shown: bool
    best: Float[Array, " places"]
    chance: float
    values: tuple[Float[Array, " places"], Float[Array, " places"]]
    spreads: tuple[Float[Array, " places"], Float[Array, " places"]]
    difference: Difference
    here: tuple[float, float]
    best_here: float

    @property
    def name(self) -> str:
        """``j₀``."""
        return choice_name(self.level)

    def __repr__(self) -> str:
        return f"Level({self.level}: {self.here[0]:.3f} and {self.here[1]:.3f}, best {self.best_here:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        about = {name: getattr(self, name) for name in ("level", "shown", "chance", "here", "best_here")}
        arrays = {name: [one.tolist() for one in getattr(self, name)] for name in ("values", "spreads")}
        return about | arrays | {"best": self.best.tolist()}


@dataclass(frozen=True, eq=False, repr=False)
class Probed:
    """Probes of two models.

    Attributes:
        run: they are from; None if nothing is recorded.
        along: ``LENGTHS`` or ``LAYERS``.
        places: lengths or layers.
        length, layer: that are looked at; layer 0 are the embeddings.
        arm, control: the model that is shown metadata in training, and the baseline.
        levels: those that have a choice, from the top.
        where: where this was recorded, or how to record it.
    """

    run: Run | None
    along: str
    places: tuple[int, ...]
    length: int
    layer: int
    arm: Record | None
    control: Record | None
    levels: tuple[Level, ...]
    where: str

    def __repr__(self) -> str:
        return f"Probed({self.length} tokens, layer {self.layer}, {len(self.levels)} levels)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        about = {name: getattr(self, name) for name in ("along", "places", "length", "layer", "where")}
        return about | {"levels": [level.to_dict() for level in self.levels]}


def compute(
    run: Run | None,
    length: int = 0,
    layer: int | None = None,
    depth: int = 1,
    control: str = BASELINE,
    along: str = LENGTHS,
) -> Probed:
    """Take the accuracies of probes from a recorded run.

    Args:
        run: None if nothing is recorded.
        length: of the prompt, tokens; the nearest that was probed is taken.
        layer: 0 for the embeddings; default, and for one that is too high: the last.
        depth: how many levels the model was shown in training; one that the run lacks: the most.
        control: ``"baseline"`` or ``"fewer-steps"``.
        along: ``LENGTHS`` or ``LAYERS``.

    Raises:
        ValueError: an unknown direction, a negative length or layer, a baseline that the run lacks.
    """
    require(along in (LENGTHS, LAYERS), "compute", "along", f"{LENGTHS!r} or {LAYERS!r}", repr(along))
    require(length >= 0, "compute", "length", ">= 0", length)
    require(layer is None or layer >= 0, "compute", "layer", ">= 0", layer)
    if run is None:
        return Probed(None, along, (), 0, 0, None, None, (), not_recorded())
    _, depth = fitting(run, length, depth)
    arm, other = run.arm(depth), run.control(control)
    lengths, layers = probed_lengths(run), range(n_layers(run))
    length = min(lengths, key=lambda one: (abs(one - length), one))
    layer = layers[-1] if layer is None else min(layer, layers[-1])
    places = lengths if along == LENGTHS else tuple(layers)
    known = dict(zip(run.optimum["position"], range(len(run.optimum["position"])), strict=True))
    levels = []
    for level in run.open_levels:
        exact = run.optimum[f"best accuracy, level {level}"]
        at = [(layer, one) if along == LENGTHS else (one, length) for one in places]
        values = [_accuracies(record, level, [*at, (layer, length)]) for record in (arm, other)]
        pairs = only_paired(arm, other, *(value[:, -1:] for value in values))
        found = difference((pairs[0] - pairs[1])[:, 0].tolist(), _counting_error(arm, other, level, layer, length))
        means, deviations = zip(*(spread(value) for value in values), strict=True)
        best = np.array([exact[known[one]] if one in known else math.nan for _, one in at])
        levels.append(
            Level(
                level,
                level < depth,
                best,
                float(exact[0]),
                (means[0][:-1], means[1][:-1]),
                (deviations[0][:-1], deviations[1][:-1]),
                found,
                (float(means[0][-1]), float(means[1][-1])),
                float(exact[known[length]]) if length in known else math.nan,
            )
        )
    return Probed(run, along, places, length, layer, arm, other, tuple(levels), where_recorded(run))


def n_layers(run: Run) -> int:
    """Return how many layers were probed, the embeddings counted."""
    return max(run.baseline.results[0].tables["probes"]["layer"]) + 1


def probed_lengths(run: Run) -> tuple[int, ...]:
    """Return after how many tokens probes were trained."""
    return tuple(sorted(set(run.baseline.results[0].tables["probes"]["position"])))


def probe_values(record: Record, column: str = "accuracy") -> list[dict[tuple[int, int, int], float]]:
    """Return, for each seed, a column of the probes by level, layer and length."""
    rows = []
    for result in record.results:
        table = result.tables["probes"]
        keys = zip(table["level"], table["layer"], table["position"], strict=True)
        rows.append(dict(zip(keys, table[column], strict=True)))
    return rows


def _accuracies(record: Record, level: int, at: Sequence[tuple[int, int]]) -> Float[Array, "seeds places"]:
    rows = probe_values(record)
    return np.array([[float(row.get((level, *place), math.nan)) for place in at] for row in rows])


def _counting_error(arm: Record, control: Record, level: int, layer: int, length: int) -> float:
    seeds = {arm_result.seed for arm_result, _ in paired(arm, control)}
    if not seeds:
        return 0.0
    errors = [
        row.get((level, layer, length), 0.0)
        for record in (arm, control)
        for seed, row in zip(record.seeds, probe_values(record, "standard error"), strict=True)
        if seed in seeds
    ]
    return math.sqrt(sum(error**2 for error in errors if error == error)) / len(seeds)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP = 720.0, 62.0
_TRUTH, _CHANCE = style.MEANINGS["truth"], Line(GREY, (0, (3.0, 3.0)), "", 1.2)


def draw(found: Probed) -> Svg:
    """Draw one panel a level: the probes of both models, the best guess, and chance."""
    run, arm, control = found.run, found.arm, found.control
    if run is None or arm is None or control is None:
        return nothing_recorded()
    n = len(found.levels)
    columns = n if n <= 3 else -(-n // 2)
    n_rows = -(-n // columns)
    tall = 216.0 if n_rows == 1 else 188.0
    picture = Svg(_WIDTH, _TOP + n_rows * tall + 26)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    looks = run.look(arm), run.look(control)
    names = [("best guess", _TRUTH), (title_of(arm), looks[0]), (title_of(control), looks[1]), ("chance", _CHANCE)]
    right = "how often is it right?"
    picture.text(14, 48, right, size=12.5)
    draw_key(picture, 14 + text_width(right, 12.5) + 18, 48, names)
    wide = (_WIDTH - 16) / columns
    lowest = min(
        [level.chance for level in found.levels]
        + [float(v) for level in found.levels for value in level.values for v in value if math.isfinite(v)]
    )
    for place, level in enumerate(found.levels):
        row, column = divmod(place, columns)
        lines = [Curve("", level.best.tolist(), _TRUTH), Curve("", [level.chance] * len(found.places), _CHANCE)]
        for values, deviation, look in zip(level.values[::-1], level.spreads[::-1], looks[::-1], strict=True):
            ranges = list(zip((values - deviation).tolist(), (values + deviation).tolist(), strict=True))
            lines.append(Curve("", values.tolist(), look, ranges, marked=len(found.places) * columns <= 40))
        words = f"{level.name}{_place(level.level, run.n_levels)}{'' if level.shown else ', never shown'}"
        last = row == n_rows - 1 or place + columns >= n
        draw_lengths(
            picture,
            (10.0 + column * wide, _TOP + row * tall, wide - 4, tall),
            lines,
            found.places,
            heading=f"{words} (%)",
            y_limits=(max(0.95 * lowest, 0.0), 1.03),
            room=4.0,
            percent=True,
            mark=found.length if found.along == LENGTHS else found.layer,
            x_label=_axis(found) if last else "",
            even=found.along == LAYERS,
        )
    return picture


def _place(level: int, n: int) -> str:
    return {0: " top", n - 1: " bottom"}.get(level, "") if n > 1 else ""


def _axis(found: Probed) -> str:
    return "tokens of the prompt" if found.along == LENGTHS else "layer (0: embeddings)"


def _finding(found: Probed) -> str:
    assert found.arm is not None
    groups: dict[str, list[str]] = {}
    for level in found.levels:
        groups.setdefault(in_words(level.difference, less_is_better=False), []).append(level.name)
    order = sorted(
        groups, key=lambda verdict: ["worse", "better"].index(verdict) if verdict in ("worse", "better") else 2
    )
    start = f"{found.length} token{'s' * (found.length != 1)}, layer {found.layer}"
    model = f"probes of {title_of(found.arm)}"
    if len(groups) == 1:
        ends = {"worse": " on every level", "better": " on every level", "no clear difference": " on any level"}
        return fitted(f"{start}, {model}: {order[0]}{ends.get(order[0], '')}")
    parts = "; ".join(f"{verdict} on {', '.join(groups[verdict])}" for verdict in order)
    clear = "; ".join(f"{verdict} on {', '.join(groups[verdict])}" for verdict in order if verdict in _CLEAR)
    return fitted(
        f"{start}, {model}: {parts}",
        f"{start}, {title_of(found.arm)}: {parts}",
        f"{start}, {model}: {clear}",
        f"{start}, {title_of(found.arm)}: {clear}",
    )


def describe(found: Probed) -> str:
    """Say how often the probes of both models are right at the layer and length, beside the best guess."""
    arm, control = found.arm, found.control
    if arm is None or control is None:
        return found.where
    listed = "; ".join(
        f"{level.name}{'' if level.shown else ' (never shown)'} {' and '.join(map(_percent, level.here))}, "
        f"best guess {_percent(level.best_here)} ({in_words(level.difference, less_is_better=False)})"
        for level in found.levels
    )
    layer = "the embeddings" if found.layer == 0 else f"layer {found.layer}"
    n = found.levels[0].difference.n if found.levels else 0
    return (
        f"Linear probes of {layer} after {found.length} token{'s' * (found.length != 1)} without metadata, held-out "
        f"sentences; right with {title_of(arm)} and with {_the(control)}: {listed}. Chance: "
        f"{', '.join(_percent(level.chance) for level in found.levels)}. The best guess is exact, over other held-out "
        f"sentences. Bars: a standard deviation over seeds; better "
        f"or worse is what is beyond Student's 95 % interval over {n} seed{'s' * (n != 1)}. {found.where}"
    )


def _the(control: Record) -> str:
    return "the baseline" if name_of(control) == BASELINE else "the baseline of fewer steps"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def explore_metadata_probes(records: Sequence[Record] | None = None) -> View:
    """Return a view of what probes read of the metadata, of a recorded model with metadata and of a baseline.

    Args:
        records: to choose from; default: those that come with the toolkit. Without one the view says what makes one.
    """
    runs = {run.label: run for run in recorded_runs(records)}
    if not runs:
        return View({}, lambda: compute(None), draw, describe)
    first = next(iter(runs.values()))
    length, depth = length_slider(first), depth_choice(first)
    most = max(n_layers(run) for run in runs.values()) - 1
    layer = controls.int_slider("layer", n_layers(first) - 1, 0, max(most, 1))
    chosen: dict[str, Any] = {
        "length": length,
        "layer": layer,
        "depth": depth,
        "along": controls.toggle("by", [LENGTHS, LAYERS]),
    }
    if len(runs) == 1:
        return View(chosen, lambda **values: compute(first, **values), draw, describe)
    which = controls.choice("record", list(runs))
    follow_run(which, runs, length, depth, False)

    def compute_one(run: str, **values: Any) -> Probed:
        return compute(runs[run], **values)

    return View({"run": which} | chosen, compute_one, draw, describe)


def mean_accuracy(record: Record, run: Run, part: str) -> list[float]:
    """Return, for each seed, how often probes of the last layer are right, over open levels and a part of the lengths.

    Args:
        record: of the model.
        run: that it belongs to.
        part: ``"short"`` or ``"long"``, a column of the best predictor's table.
    """
    flags = dict(zip(run.optimum["position"], run.optimum[part], strict=True))
    wanted = [length for length in probed_lengths(run) if flags.get(length)]
    last = n_layers(run) - 1
    found = []
    for row in probe_values(record):
        values = [row.get((level, last, length), math.nan) for level in run.open_levels for length in wanted]
        known = [value for value in values if value == value]
        found.append(float(np.mean(known)) if known else math.nan)
    return found
