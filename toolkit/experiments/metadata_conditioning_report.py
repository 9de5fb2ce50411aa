"""What the study of metadata conditioning prints: every model, and metadata beside both baselines by prompt length."""

import math
from collections.abc import Sequence

from toolkit.experiments.metadata_conditioning_comparison import Comparison, compare
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER
from toolkit.experiments.records import Record
from toolkit.experiments.tables import Table

_SCORES = {
    "loss": "loss without metadata",
    "with": "loss with metadata",
    "KL": "KL",
    "KL, short": "KL, short prompts",
    "KL, long": "KL, long prompts",
    "acc_any, short": "acc_any, short prompts",
    "acc_any, long": "acc_any, long prompts",
}
_TITLES = {BASELINE: "as many steps", FEWER: "as many documents without metadata"}


def report(records: Sequence[Record]) -> str:
    """Return tables for a terminal.

    Args:
        records: of this study; those without numbers, of processes that only helped to train, are left out.
    """
    records = [record for record in records if record.results[0].metrics]
    if not records:
        return "this process took part in the training; the first one measures and records"
    config = records[0].config
    n_seeds = len(records[0].results)
    device = records[0].environment.device
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    title = f"metadata-conditioning at {records[0].scale} scale: {config['n_steps']:,} steps of {config['batch_size']} "
    lines = [f"{title}documents, {config['size']}, p_meta {config['p_meta']:g}, {seeds}, {device}"]
    for family in dict.fromkeys(record.variant.rpartition("/")[0] for record in records):
        lines += ["", *_family(family, [r for r in records if r.variant.rpartition("/")[0] == family])]
    if n_seeds > 1:
        lines += ["", "a ± b: mean and standard deviation over seeds; of differences, mean and its standard error"]
    return "\n".join(lines)


def _family(family: str, records: Sequence[Record]) -> list[str]:
    first = records[0].results[0]
    optimum = first.tables["optimum"]
    rows = []
    for record in records:
        summary = record.summary
        cells = [str(summary[name]) if name in summary else "–" for name in _SCORES.values()]
        rows.append((record.variant.rpartition("/")[2], *cells))
    best = first.metrics["optimal loss"]
    caption = f"{family}: nats a token, the end counted; the best predictor has {best:.4f} without metadata"
    ends = {}
    for part in ("short", "long"):
        places = [k for k, chosen in zip(optimum["position"], optimum[part], strict=True) if chosen]
        ends[part] = f"{places[0]} to {places[-1]} tokens" if places else "none"
    lines = [caption, Table(("model", *_SCORES), tuple(rows), caption).to_text(width=24)]
    lines.append(f"short prompts: {ends['short']}; long prompts: {ends['long']}")
    by_name = {record.variant.rpartition("/")[2]: record for record in records}
    arms = [name for name in by_name if name not in (BASELINE, FEWER)]
    for control in (BASELINE, FEWER):
        if control in by_name and arms:
            found = [compare(by_name[name], by_name[control]) for name in arms]
            lines += ["", *_comparison(found, control, optimum)]
    return lines


def _comparison(found: Sequence[Comparison], control: str, optimum: dict) -> list[str]:
    caption = f"KL divided by that of the baseline with {_TITLES[control]}, by prompt length"
    reach, truth = optimum["share reaching"], optimum["posterior of the truth"]
    rows = []
    for k in found[0].prompt_lengths:
        cells = [_ratio(comparison.ratio[k], comparison.ratio_spread[k]) for comparison in found]
        rows.append((str(k), f"{reach[k]:.2f}", f"{truth[k]:.2f}", *cells))
    columns = ("tokens", "reached by", "p(truth)", *(comparison.arm for comparison in found))
    lines = [caption, Table(columns, tuple(rows), caption).to_text(), ""]
    caption = f"Metadata less that baseline: difference in acc_any ({_TITLES[control]})"
    rows = []
    for i, k in enumerate(found[0].prompt_lengths):
        rows.append((str(k), *(str(comparison.acc_any[i]) for comparison in found)))
    lines += [caption, Table(("tokens", *(comparison.arm for comparison in found)), tuple(rows), caption).to_text()]
    for comparison in found:
        ends = f"KL {comparison.short} for short prompts, {comparison.long} for long ones"
        change = "the sign changes" if comparison.changes_sign else "no change of sign was shown"
        told = f"; {change}" if comparison.short.n > 1 else ""
        lines.append(f"{comparison.arm} less {control}: {ends} ({comparison.verdict}{told})")
    return lines


def _ratio(ratio: float, spread: float) -> str:
    if math.isnan(ratio):
        return "–"
    return f"{ratio:.2f}" if math.isnan(spread) else f"{ratio:.2f} ± {ratio * spread:.2f}"
