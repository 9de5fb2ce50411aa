"""Recorded decoders by the length of the prompt: do those that saw metadata in training predict better or worse?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.plotting import Line
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.experiments import Record
from toolkit.experiments.metadata_conditioning_comparison import Difference
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER
from toolkit.experiments.records import Spread
from toolkit.explorers.metadata_panels import Curve, draw_lengths, room_for
from toolkit.explorers.metadata_records import (
    ALL,
    ANY,
    KL,
    LOSS,
    MEASURES,
    TRUE,
    Array,
    Run,
    counting_error,
    depth_choice,
    depth_of,
    difference,
    fitting,
    follow_run,
    in_words,
    length_slider,
    measured,
    name_of,
    not_recorded,
    number,
    only_paired,
    recorded_runs,
    spread,
    title_of,
    where_recorded,
)
from toolkit.lessons import View, controls, style

EACH = "each model"
"""Stands among the baselines for no comparison."""
AGAINST = {EACH: EACH, "against the baseline": BASELINE, "against fewer steps": FEWER}
_NAMES = {
    KL: "KL from the best predictor (nats a token, logarithmic)",
    LOSS: "loss without metadata (nats a token)",
    ANY: "completions that some grammar accepts (%)",
    TRUE: "completions that the prompt's own grammar accepts (%)",
}
_SHORT = {KL: "KL", LOSS: "loss", ANY: "acc_any", TRUE: "acc_true"}


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """One model after prompts of each length.

    Attributes:
        name: in pictures.
        depth: how many levels it was shown, 0 for a baseline.
        values: mean over seeds; in a comparison ratio or difference.
        low, high: a standard deviation over seeds below and above it; NaN for a single seed.
        look: its line.
        differences: to the baseline that it is compared with, one a length; empty for baselines.
    """

    name: str
    depth: int
    values: Float[Array, " lengths"]
    low: Float[Array, " lengths"]
    high: Float[Array, " lengths"]
    look: Line
    differences: tuple[Difference, ...]

    def __repr__(self) -> str:
        return f"Model({self.name})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        arrays = {name: getattr(self, name).tolist() for name in ("values", "low", "high")}
        return {"name": self.name, "depth": self.depth} | arrays


@dataclass(frozen=True, eq=False, repr=False)
class ByLength:
    """Models beside each other, by the length of the prompt.

    Attributes:
        run: they are from; None if nothing is recorded.
        measure: one of ``MEASURES``.
        against: ``EACH``, or the name of the baseline by whose KL theirs is divided, or from which they differ.
        models: those shown metadata first, then the baselines.
        place: which of the run's lengths is looked at.
        where: where this was recorded, or how to record it.
    """

    run: Run | None
    measure: str
    against: str
    models: tuple[Model, ...]
    place: int
    where: str

    @property
    def length(self) -> int:
        """Of the prompt that is looked at."""
        return self.run.lengths[self.place] if self.run else 0

    @property
    def deepest(self) -> Model:
        """Of the models shown, that with the most metadata."""
        return max(self.models, key=lambda model: model.depth)

    @property
    def is_ratio(self) -> bool:
        """Whether values are ratios to a baseline."""
        return self.against != EACH and self.measure == KL

    def __repr__(self) -> str:
        return f"ByLength({_SHORT[self.measure]}, {self.length} tokens, {', '.join(m.name for m in self.models)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        about = {name: getattr(self, name) for name in ("measure", "against", "place", "length", "where")}
        lengths = list(self.run.lengths) if self.run else []
        return about | {"lengths": lengths, "models": [model.to_dict() for model in self.models]}


def compute(run: Run | None, length: int = 0, measure: str = KL, depth: int = ALL, against: str = EACH) -> ByLength:
    """Take curves from a recorded run.

    Args:
        run: None if nothing is recorded.
        length: of the prompt, tokens; the nearest that was measured is taken.
        measure: one of ``MEASURES``.
        depth: how many levels the model was shown in training, or ``ALL``; one that the run lacks: the most.
        against: ``EACH``, ``"baseline"`` or ``"fewer-steps"``.

    Raises:
        ValueError: an unknown measure or comparison, a negative length, a baseline that the run lacks.
    """
    require(measure in MEASURES, "compute", "measure", f"one of {MEASURES}", repr(measure))
    require(against in AGAINST.values(), "compute", "against", f"one of {list(AGAINST.values())}", repr(against))
    require(length >= 0, "compute", "length", ">= 0", length)
    if run is None:
        return ByLength(None, measure, against, (), 0, not_recorded())
    nearest, depth = fitting(run, length, depth)
    control = run.baseline if against == EACH else run.control(against)
    shown = [record for record in run.arms if depth in (ALL, depth_of(record))]
    models = [_model(run, record, measure, control, against) for record in shown]
    if against == EACH:
        models += [_model(run, record, measure, None, against) for record in run.controls]
    return ByLength(run, measure, against, tuple(models), run.lengths.index(nearest), where_recorded(run))


def _model(run: Run, record: Record, measure: str, control: Record | None, against: str) -> Model:
    values = measured(record, measure, run.lengths)
    differences: tuple[Difference, ...] = ()
    if control is not None:
        mine, other = only_paired(record, control, values, measured(control, measure, run.lengths))
        least = counting_error(record, control, measure, run.lengths).tolist()
        columns = (mine - other).T.tolist()
        differences = tuple(difference(*column) for column in zip(columns, least, strict=True))
        if against != EACH:
            values = mine - other
            if measure == KL:
                with np.errstate(divide="ignore", invalid="ignore"):
                    values = np.log(mine / other)
                values[~np.isfinite(values)] = math.nan
    if len(values):
        mean, deviation = spread(values)
    else:
        mean = deviation = np.full(len(run.lengths), math.nan)
    low, high = mean - deviation, mean + deviation
    if against != EACH and measure == KL:
        mean, low, high = np.exp(mean), np.exp(low), np.exp(high)
    return Model(title_of(record), depth_of(record), mean, low, high, run.look(record), differences)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL, _BELOW = 720.0, 34.0, 258.0, 128.0
_TRUTH = style.MEANINGS["truth"]
_BOUND = Line(_TRUTH.color, (0, (1.2, 1.6)), "", 1.8)


def draw(found: ByLength) -> Svg:
    """Draw the models' curves, and below them what the prompt has revealed of the metadata."""
    run = found.run
    if run is None:
        return nothing_recorded()
    picture = Svg(_WIDTH, _TOP + _TALL + _BELOW + 24)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    curves = [Curve(m.name, m.values.tolist(), m.look, _ranges(m), marked=True) for m in found.models]
    bounds, depths = _bounds(found, run), {model.name: model.depth for model in found.models}
    curves = [*bounds, *sorted(curves, key=lambda curve: depths[curve.label])]  # the deepest on top
    room = room_for([curve.label for curve in curves] + ["revealed"])
    limits, log = _limits(found, curves)
    names = {"short prompts": "short", "long prompts": "long"}
    zones = [(words, [k for k in run.lengths if _chosen(run, name, k)]) for words, name in names.items()]
    heading = _heading(found)
    draw_lengths(
        picture,
        (14.0, _TOP + 2, _WIDTH - 22, _TALL),
        curves,
        run.lengths,
        heading=heading,
        y_limits=limits,
        room=room,
        log_y=log,
        percent=found.measure in (ANY, TRUE),
        mark=found.length,
        zones=[("", inside) for _, inside in zones],
        level=None if found.against == EACH else 1.0 if found.is_ratio else 0.0,
    )
    draw_lengths(
        picture,
        (14.0, _TOP + _TALL + 4, _WIDTH - 22, _BELOW - 6),
        [Curve("revealed", run.exact("revealed").tolist(), _TRUTH, marked=False)],
        run.lengths,
        heading="what the prompt has revealed of the metadata (% of their entropy)",
        y_limits=(0.0, 1.04),
        room=room,
        x_label="tokens of the prompt",
        percent=True,
        mark=found.length,
        zones=zones,
    )
    return picture


def nothing_recorded() -> Svg:
    """Return a picture that says that nothing is recorded."""
    picture = Svg(640, 80)
    picture.text(20, 45, "No decoders with and without metadata are recorded here.")
    return picture


def fitted(*titles: str) -> str:
    """Return the first of some titles that fits above a picture of 720 pixels, or the last."""
    return next((title for title in titles if text_width(title, 14, bold=True) <= _WIDTH - 28), titles[-1])


def _chosen(run: Run, name: str, length: int) -> bool:
    flags = dict(zip(run.optimum["position"], run.optimum[name], strict=True))
    return bool(flags.get(length, False))


def _ranges(model: Model) -> list[tuple[float, float]]:
    return list(zip(model.low.tolist(), model.high.tolist(), strict=True))


def _bounds(found: ByLength, run: Run) -> list[Curve]:
    if found.against != EACH or found.measure == KL:
        return []
    if found.measure == LOSS:
        return [Curve("optimum", run.exact("loss, 0 known").tolist(), _TRUTH)]
    if found.measure == ANY:
        return [Curve("attainable", [1.0] * len(run.lengths), _TRUTH)]
    exact = run.baseline.results[0].tables["prompts"]["attainable, exact"][0]
    sampler, best = _attainable(run)
    name = "attainable" if exact else "attainable, at least"
    return [Curve(name, best, _BOUND), Curve("perfect sampler", sampler, _TRUTH)]


def _attainable(run: Run) -> tuple[list[float], list[float]]:
    """Return what a perfect sampler has after each prompt, and the best there is, where that is not exact a bound."""
    prompts = run.baseline.results[0].tables["prompts"]
    sampler = prompts["attainable by a sampler"]
    # A bound from sentences that were drawn may fall below the sampler, who shows that so much can be had.
    return sampler, list(map(max, sampler, prompts["attainable at best"]))


def _heading(found: ByLength) -> str:
    if found.against == EACH:
        return _NAMES[found.measure]
    other = "the baseline's" if found.against == BASELINE else "that of the baseline with fewer steps"
    if found.is_ratio:
        return f"KL divided by {other}: above 1 is worse"
    unit = "nats a token" if found.measure == LOSS else "percentage points"
    sense = "above 0 is worse" if found.measure == LOSS else "below 0 is worse"
    return f"{_SHORT[found.measure]} less {other} ({unit}): {sense}"


def _limits(found: ByLength, curves: Sequence[Curve]) -> tuple[tuple[float, float], bool]:
    ends = [[*curve.values, *(end for pair in curve.ranges for end in pair)] for curve in curves]
    values = [value for column in ends for value in column if math.isfinite(value)]
    if found.against == EACH:
        if found.measure in (ANY, TRUE):
            return (0.0, 1.04), False
        if found.measure == LOSS:
            return (0.0, 1.06 * max([*values, 1e-9])), False
        middles = [value for curve in curves for value in curve.values if value > 0 and math.isfinite(value)] or [1.0]
        return (0.6 * min(middles), 1.25 * max([*middles, *values])), True
    if found.is_ratio:
        reach = max([abs(math.log(value)) for value in values if value > 0] + [math.log(1.3)])
        reach = min(reach, math.log(20.0))
        low, high = min([*values, 1.0]), max([*values, 1.0])
        least = math.log(1.15)
        return (
            math.exp(max(min(1.08 * math.log(low), -least) if low > 0 else -reach, -1.08 * reach)),
            math.exp(min(max(1.08 * math.log(high), least), 1.08 * reach)),
        ), True
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = 0.08 * (high - low) or 0.02
    return (low - room, high + room), False


def _finding(found: ByLength) -> str:
    """Return the title: the deepest model after this prompt, beside the baseline, and whether the seeds tell."""
    model, place = found.deepest, found.place
    told = model.differences[place]
    verdict = in_words(told, less_is_better=found.measure in (KL, LOSS))
    after = f"{found.length} token{'s' * (found.length != 1)}"
    if not math.isfinite(model.values[place]):
        return f"{after}, {model.name}: {_SHORT[found.measure]} was not measured"
    other = "fewer steps" if found.against == FEWER else "baseline"
    if found.against == EACH:
        baseline = next(one for one in found.models if one.name == other)
        values = [number(float(one.values[place]), found.measure) for one in (model, baseline)]
        text = f"{after}, {model.name}: {_SHORT[found.measure]} {values[0]}, {other} {values[1]}"
    elif found.is_ratio:
        text = f"{after}, {model.name}: KL {model.values[place]:.2f} × that of {_the(other)}"
    else:
        text = f"{after}, {model.name}: {_SHORT[found.measure]} {_change(found, told)} against {_the(other)}"
    return fitted(f"{text}: {verdict}", f"{text}: {'unclear' if told.sign == 0 else verdict}", text)


def _the(name: str) -> str:
    return "the baseline" if name == "baseline" else "fewer steps"


def _change(found: ByLength, told: Difference) -> str:
    if not math.isfinite(told.mean):
        return "–"
    if found.measure in (ANY, TRUE):
        return f"{100 * told.mean:+.0f} points".replace("-", "−")
    return f"{told.mean:+.2g} nats".replace("-", "−")


def describe(found: ByLength) -> str:
    """Say every model's value after the prompt with its spread, the verdict over seeds, and where it was recorded."""
    run, place = found.run, found.place
    if run is None:
        return found.where
    listed = "; ".join(f"{model.name} {_with_spread(found, model)}{_told(found, model)}" for model in found.models)
    arms = [model for model in found.models if model.depth]
    share, revealed, truth = (
        float(run.exact(column)[place]) for column in ("share reaching", "revealed", "posterior of the truth")
    )
    exact = {
        KL: "",
        LOSS: f" The best predictor has {number(float(run.exact('loss, 0 known')[place]), LOSS)}.",
        ANY: " A perfect sampler has 100 %.",
        TRUE: _attainable_in_words(run, place),
    }[found.measure]
    what = _heading(found).partition(" (")[0].partition(":")[0]
    reached = f"{100 * share:.0f} % of documents are as long; " if share < 0.9995 else ""
    start = f"{reached}the prompt" if reached else "The prompt"
    return (
        f"After {found.length} token{'s' * (found.length != 1)}, {what}: {listed}. "
        f"{start} has revealed {100 * revealed:.0f} % of the metadata's entropy, the right metadata have probability "
        f"{truth:.2f}.{exact} Bars: a standard deviation over seeds; better or worse is what is beyond Student's 95 % "
        f"interval over {_seeds(arms[-1], place)}. {_controls(run)}{found.where}"
    )


def _controls(run: Run) -> str:
    if FEWER not in [name_of(record) for record in run.controls]:
        return ""
    return "Fewer steps: a baseline that reads only as many documents as the others read without metadata. "


def _seeds(model: Model, place: int) -> str:
    n = model.differences[place].n
    return f"{n} seed{'s' * (n != 1)}"


def _attainable_in_words(run: Run, place: int) -> str:
    sampler, best = (100 * values[place] for values in _attainable(run))
    least = "" if run.baseline.results[0].tables["prompts"]["attainable, exact"][place] else "at least "
    return f" A perfect sampler has {sampler:.0f} %; attainable are {least}{best:.0f} %."


def _told(found: ByLength, model: Model) -> str:
    if not model.differences:
        return ""
    told = model.differences[found.place]
    verdict = in_words(told, less_is_better=found.measure in (KL, LOSS))
    return f" ({_change(found, told)} against the baseline: {verdict})" if found.against == EACH else f" ({verdict})"


def _with_spread(found: ByLength, model: Model) -> str:
    value, high = float(model.values[found.place]), float(model.high[found.place])
    if not math.isfinite(value):
        return "–"
    if found.is_ratio:
        low = float(model.low[found.place])
        return f"{value:.2f} ×" + (f" ({low:.2f} to {high:.2f})" if math.isfinite(high) else "")
    sign = "+" if found.against != EACH and value > 0 else ""
    if found.measure in (ANY, TRUE):
        unit = "%" if found.against == EACH else "points"
        spread_text = f" ± {100 * (high - value):.0f}" if math.isfinite(high) else ""
        return f"{sign}{100 * value:.0f}{spread_text} {unit}".replace("-", "−")
    told = Spread(value, high - value if math.isfinite(high) else None, 0)
    return f"{sign}{told} nats".replace("-", "−")


def explore_prompt_length(records: Sequence[Record] | None = None) -> View:
    """Return a view of recorded decoders by the length of the prompt, with and without metadata in training.

    Args:
        records: to choose from; default: those that come with the toolkit. Without one the view says what makes one.
    """
    runs = {run.label: run for run in recorded_runs(records)}
    if not runs:
        return View({}, lambda: compute(None), draw, describe)
    first = next(iter(runs.values()))
    length, depth = length_slider(first), depth_choice(first, every=True)
    against = {words: name for words, name in AGAINST.items() if _has(runs.values(), name)}
    chosen: dict[str, Any] = {
        "length": length,
        "measure": controls.choice("measure", list(MEASURES)),
        "depth": depth,
        "against": controls.toggle("show", against),
    }
    if len(runs) == 1:
        return View(chosen, lambda **values: compute(first, **values), draw, describe)
    which = controls.choice("record", list(runs))
    follow_run(which, runs, length, depth, True)

    def compute_one(run: str, against: str, **values: Any) -> ByLength:
        one = runs[run]
        known = against == EACH or against in [name_of(record) for record in one.controls]
        return compute(one, against=against if known else EACH, **values)

    return View({"run": which} | chosen, compute_one, draw, describe)


def _has(runs: Any, name: str) -> bool:
    return name == EACH or any(name == name_of(record) for run in runs for record in run.controls)
