"""Recorded decoders as tables: their losses, and the paper's claims beside what the record says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import require
from toolkit.experiments import Record
from toolkit.experiments.metadata_conditioning_comparison import Difference
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER
from toolkit.explorers.metadata_probes import mean_accuracy
from toolkit.explorers.metadata_records import (
    ANY,
    Run,
    counting_error,
    difference,
    in_words,
    name_of,
    not_recorded,
    only_paired,
    run_with,
    title_of,
    where_recorded,
)
from toolkit.lessons import Table, table

_NO_BREAK = "\N{NO-BREAK SPACE}"
_LOSSES = {
    "loss": "loss without metadata",
    "loss, levels shown": "loss with metadata",
}
_DIVERGENCES = {"KL": "KL", "KL, short prompts": "KL, short prompts", "KL, long prompts": "KL, long prompts"}
_ACCURACIES = {
    "acc_any short (%)": "acc_any, short prompts",
    "acc_any long (%)": "acc_any, long prompts",
}


@dataclass(frozen=True)
class Unit:
    """How numbers of one kind are written.

    Attributes:
        scale: that they are multiplied by.
        name: behind each.
        digits: decimals, then those of differences.
    """

    scale: float
    name: str
    digits: tuple[int, int]


_NATS, _MILLINATS = Unit(1.0, "", (3, 4)), Unit(1000.0, "", (2, 2))
_PERCENT = Unit(100.0, f"{_NO_BREAK}%", (0, 1))

NAMES = {BASELINE: "the baseline", FEWER: "fewer steps"}
SHORT, LONG = "short", "long"


@dataclass(frozen=True)
class Answer:
    """What a record says to one claim of the paper.

    Attributes:
        claim: the paper's, in a few words.
        measure: what is compared here, and with which baseline.
        control: mean of the baseline over seeds.
        arm: of the model that is shown metadata in training.
        difference: of the second less the first, seed by seed.
        expected: the sign that the claim gives the difference; 0 where it says that there is none.
        unit: that they are written in.
        verdict: what the record says.
    """

    claim: str
    measure: str
    control: float
    arm: float
    difference: Difference
    expected: int
    unit: Unit
    verdict: str


def recorded_losses(run: Run | None = None, **settings: Any) -> Table:
    """Return losses, divergences and accuracies of each recorded model, mean ± standard deviation over its seeds.

    Args:
        run: of the study; default: the first recorded one. Where there is none the table has no rows, and its caption
            says what makes one.
        settings: instead of a run, those that it was trained with, such as ``n_steps=1500``.

    Returns:
        The best predictor, then a row a model: nats a token, the end counted, divergences in thousandths of it;
        accuracies in per cent.
    """
    headers = ["model", *_LOSSES, *_DIVERGENCES, *_ACCURACIES]
    run = run or run_with(**settings)
    if run is None:
        return table(headers, [], caption=not_recorded(**settings))
    best = run.baseline.results[0].metrics["optimal loss"]
    deepest = run.arms[-1].results[0].metrics.get("optimal loss with metadata", math.nan)
    shown = f"{deepest:.3f}" if math.isfinite(deepest) else "–"
    rows = [["optimum", f"{best:.3f}", shown, "0", "0", "0", *["100"] * len(_ACCURACIES)]]
    groups = ((_LOSSES, _NATS), (_DIVERGENCES, _MILLINATS), (_ACCURACIES, _PERCENT))
    for record in run.records:
        cells = [_spread(_metrics(record, name), unit) for names, unit in groups for name in names.values()]
        rows.append([title_of(record).replace(" = ", f"{_NO_BREAK}={_NO_BREAK}"), *cells])
    short, long = (_ends(run, part) for part in (SHORT, LONG))
    caption = (
        f"Losses in nats a token, KL in thousandths of a nat: mean ± standard deviation over seeds. "
        f"Short prompts: {short}; long ones: {long}. "
        f"The optimum with levels shown is that of D_M = {run.depths[-1]}. {where_recorded(run)}"
    )
    return table(headers, rows, caption=caption)


def claims(run: Run | None = None, depth: int | None = None, **settings: Any) -> Table:
    """Return the paper's qualitative claims beside what a record says, each with a verdict.

    Args:
        run: as for :func:`recorded_losses`.
        depth: how many levels of metadata the model is shown in training; default: the most that is recorded.
        settings: as for :func:`recorded_losses`.

    Returns:
        A row a comparison: the claim, what is compared, baseline and model, their difference ± its standard error over
        seeds, and whether it is as the paper says, the other way, or not clear.

    Raises:
        ValueError: no model that was shown so many levels.
    """
    headers = ["the paper claims", "compared here", "baseline", "metadata", "difference", "this record"]
    run = run or run_with(**settings)
    if run is None:
        return table(headers, [], caption=not_recorded(**settings))
    depth = run.depths[-1] if depth is None else depth
    rows, before = [], ""
    for answer in answers(run, depth):
        unit, ends = answer.unit, (answer.control, answer.arm)
        values = [f"{unit.scale * v:.{unit.digits[0]}f}{unit.name}" if math.isfinite(v) else "–" for v in ends]
        claim = answer.claim if answer.claim != before else ""
        rows.append([claim, answer.measure, *values, _difference(answer), answer.verdict])
        before = answer.claim
    caption = (
        f"The paper's claims in words, and this record, D_M = {depth}; losses in nats a token, KL in thousandths of a "
        f"nat. Short prompts: "
        f"{_ends(run, SHORT)}; long ones: {_ends(run, LONG)}. Our control, fewer steps: as many documents as the model "
        f"reads without metadata. ± at a difference: its standard error over seeds; it is clear where "
        f"Student's 95 % interval leaves out zero. "
        f"{where_recorded(run)}"
    )
    return table(headers, rows, caption=caption)


def answers(run: Run, depth: int) -> tuple[Answer, ...]:
    """Return what a run says to the paper's four claims.

    Args:
        run: of the study.
        depth: how many levels of metadata the model is shown in training.

    Raises:
        ValueError: no such model.
    """
    require(depth in run.depths, "answers", "depth", f"one of {list(run.depths)}", depth)
    arm, found = run.arm(depth), []

    def add(claim: str, words: str, expected: int, control: Record, arms: list[float], controls: list[float], **how):
        mine, others = only_paired(arm, control, np.array(arms), np.array(controls))
        told = difference((mine - others).tolist(), how.get("least", 0.0))
        measure = f"{words}, beside {NAMES[name_of(control)]}"
        means = [float(values.mean()) if len(values) else math.nan for values in (others, mine)]
        verdict = _verdict(told, expected)
        if control is not run.baseline:  # not the paper's comparison
            verdict = in_words(told, less_is_better=expected < 0)
        found.append(Answer(claim, measure, means[0], means[1], told, expected, how.get("unit", _NATS), verdict))

    baseline = run.baseline
    plain: Callable[[Record], list[float]] = lambda record: _metrics(record, "loss without metadata")  # noqa: E731
    claim = "1. shown metadata, the loss is better"
    add(claim, "loss with metadata", -1, baseline, _metrics(arm, "loss with metadata"), plain(baseline))
    claim = "… without, the average loss is not"
    add(claim, "loss without metadata", 0, baseline, plain(arm), plain(baseline))
    claim = "2. short prompts: probes recover the metadata less well"
    short = [mean_accuracy(record, run, SHORT) for record in (arm, baseline)]
    add(claim, "probes, last layer", -1, baseline, short[0], short[1], unit=_PERCENT)
    name = "acc_any, {} prompts"
    both = (arm, baseline)
    claim = "3. short prompts: completions are less often grammatical"
    values = [_metrics(record, name.format(SHORT)) for record in both]
    add(claim, "acc_any", -1, baseline, *values, unit=_PERCENT, least=_least(arm, baseline, run, SHORT))
    values = [_metrics(record, "KL, short prompts") for record in both]
    add(claim, "KL (ours)", 1, baseline, *values, unit=_MILLINATS)
    for control in run.controls:
        both = (arm, control)
        claim = "4. long prompts: metadata help" if control is baseline else "… also beside our control?"
        values = [_metrics(record, name.format(LONG)) for record in both]
        add(claim, "acc_any", 1, control, *values, unit=_PERCENT, least=_least(arm, control, run, LONG))
        add(
            claim, "KL (ours)", -1, control, *(_metrics(record, "KL, long prompts") for record in both), unit=_MILLINATS
        )
    return tuple(found)


def _verdict(told: Difference, expected: int) -> str:
    if told.n < 2 or math.isnan(told.mean):
        return in_words(told, less_is_better=True)
    if expected == 0:
        return {0: "as claimed: no clear difference", 1: "as claimed: worse", -1: "otherwise: better"}[told.sign]
    if told.sign == 0:
        return "no clear difference"
    return "as claimed" if told.sign == expected else "the other way"


def _least(arm: Record, control: Record, run: Run, part: str) -> float:
    lengths = _lengths(run, part)
    errors = counting_error(arm, control, ANY, lengths)
    errors = errors[np.isfinite(errors)]
    return float(np.sqrt((errors**2).sum()) / len(errors)) if len(errors) else 0.0


def _lengths(run: Run, part: str) -> list[int]:
    flags = dict(zip(run.optimum["position"], run.optimum[part], strict=True))
    return [length for length in run.lengths if flags.get(length)]


def _ends(run: Run, part: str) -> str:
    flags = zip(run.optimum["position"], run.optimum[part], strict=True)
    chosen = [position for position, flag in flags if flag]
    return f"{chosen[0]} to {chosen[-1]} tokens" if chosen else "none"


def _difference(answer: Answer) -> str:
    told, scale, digits = answer.difference, answer.unit.scale, answer.unit.digits[1]
    if not math.isfinite(told.mean):
        return "–"
    error = (
        "" if math.isnan(told.standard_error) else f"{_NO_BREAK}±{_NO_BREAK}{scale * told.standard_error:.{digits}f}"
    )
    mean = f"{scale * told.mean:+.{digits}f}"
    return (mean if float(mean) else mean[1:]).replace("-", "−") + error


def _metrics(record: Record, name: str) -> list[float]:
    return [float(result.metrics.get(name, math.nan)) for result in record.results]


def _spread(values: Sequence[float], unit: Unit) -> str:
    digits = unit.digits[0]
    known = [unit.scale * value for value in values if math.isfinite(value)]
    if not known:
        return "–"
    mean = f"{np.mean(known):.{digits}f}"
    return mean if len(known) < 2 else f"{mean} ±{np.std(known, ddof=1):.{digits}f}"
