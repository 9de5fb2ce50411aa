"""The tables that the study of disentanglement prints."""

import statistics
from collections.abc import Sequence

from toolkit.disentanglement.bounds import PARTS
from toolkit.disentanglement.metrics.registry import METRICS
from toolkit.experiments.disentanglement_models import SYNTHETIC, find_model
from toolkit.experiments.disentanglement_pairs import bars_of, best_half, same_score_pairs
from toolkit.experiments.disentanglement_scores import MEAN
from toolkit.experiments.records import Record, SeedResult
from toolkit.experiments.tables import Table

MAIN = ("unibound", "mig", "beta_vae", "factor_vae", "dci_disentanglement", "sap", "information")
CURVES = ("unibound", "mig", "beta_vae", "factor_vae", "dci_disentanglement", "sap")
TOLERANCE = 0.02
"""Scores that differ by less count as the same."""

_MOST_PAIRS = 3


def report(records: Sequence[Record]) -> str:
    """Show scores, parts, attacks, and pairs that scores cannot tell apart.

    Args:
        records: of this study, all of one run.

    Returns:
        Text for a terminal.
    """
    trained = [record for record in records if record.variant != SYNTHETIC]
    synthetic = [record for record in records if record.variant == SYNTHETIC]
    first = records[0]
    n_seeds = len(first.seeds)
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    lines = [f"disentanglement at {first.scale} scale, {seeds}, {first.environment.device}"]
    for record in synthetic:
        lines += ["", *_synthetic(record)]
    if trained:
        about = trained[0].results[0].tables["trained"]
        lines += ["", f"{about['images'][0]}; {about['architecture'][0]} networks, {about['n_steps'][0]:,} steps"]
        lines += ["", *_scores(trained), "", *_parts(trained), "", *_attacks(trained), "", *_pairs(trained)]
    whose = {"authors": "the authors' code", "library": "disentanglement_lib"}[first.config["variant"]]
    lines += ["", f"BetaVAE and FactorVAE among the scores: the metrics of these names, as in {whose}"]
    lines.append("parts, UniBound, MIG and information: shares of H(factor), averaged over factors")
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    return "\n".join(lines)


def _scores(records: Sequence[Record]) -> list[str]:
    tables = []
    for caption, half in (
        ("all seeds", False),
        ("the better half of the seeds, rounded up, by each score itself", True),
    ):
        rows = []
        for record in records:
            cells = []
            for metric in MAIN:
                values = [result.metrics[metric] for result in record.results if metric in result.metrics]
                chosen = [values[index] for index in best_half(values)] if half and values else values
                cells.append(_cell(chosen))
            rows.append((find_model(record.variant).title, *cells))
        columns = ("model", *(METRICS[metric].title for metric in MAIN))
        tables += [f"Scores, {caption}", Table(columns, tuple(rows), caption).to_text(width=30), ""]
    return tables[:-1] if len(records[0].seeds) > 1 else tables[:2]


def _parts(records: Sequence[Record]) -> list[str]:
    rows = []
    for record in records:
        cells = []
        for part in PARTS:
            ends = [_mean_row(result, part) for result in record.results]
            low, high, point = (_mean([end[index] for end in ends]) for index in range(3))
            cells.append(f"{low:.3f}–{high:.3f} ({point:.3f})")
        total = [result.metrics["total_correlation"] for result in record.results]
        rows.append((find_model(record.variant).title, *cells, _cell(total, 2)))
    columns = ("model", *(f"{part} (I_min)" for part in PARTS), "total correlation, nats")
    caption = "Parts of the information about a factor: from the lower to the upper bound, means over seeds"
    lines = [caption, Table(columns, tuple(rows), caption).to_text(width=30)]
    every = [result.metrics for record in records for result in record.results]
    if len(every) > 2:
        pairs = [(metrics["total_correlation"], metrics["redundant_lower"]) for metrics in every]
        agreement = _rank_correlation(*zip(*pairs, strict=True))
        if agreement is not None:
            what = "total correlation against the least redundant part"
            lines.append(f"{what}, {len(every)} runs: rank correlation {agreement:.2f}")
    return lines


def _attacks(records: Sequence[Record]) -> list[str]:
    rows = []
    for record in records:
        table = record.results[0].tables["attacks"]
        alphas = sorted(set(table["alpha"]))
        for alpha in {alphas[0]: None, alphas[-1]: None}:
            cells = [_cell([score_under(result, metric, alpha) for result in record.results]) for metric in CURVES]
            rows.append((f"{find_model(record.variant).title}, α = {alpha:g}", *cells))
    columns = ("model, strength", *(METRICS[metric].title for metric in CURVES))
    caption = "Under the redundancy attack"
    return [caption, Table(columns, tuple(rows), caption).to_text(width=30)]


def score_under(result: SeedResult, metric: str, alpha: float, attack: str = "redundancy") -> float:
    """Return a score under attack from a run's table ``attacks``; NaN if it does not exist.

    Args:
        result: of one seed.
        metric: name of the score.
        alpha: strength, as recorded.
        attack: its name, as recorded.
    """
    table = result.tables["attacks"]
    rows = zip(table["attack"], table["alpha"], table["metric"], table["score"], strict=True)
    return next((score for *where, score in rows if where == [attack, alpha, metric]), float("nan"))


def _pairs(records: Sequence[Record]) -> list[str]:
    runs = bars_of(records)
    lines = [f"Same score, different profile: scores less than {TOLERANCE} apart, bars apart beyond sampling error"]
    for score in ("mig", "unibound"):
        found = same_score_pairs(runs, score=score, tolerance=TOLERANCE)
        n_pairs = len(runs) * (len(runs) - 1) // 2
        ending = "; the furthest apart:" if found else ""
        lines.append(f"{METRICS[score].title}: {len(found)} of {n_pairs} pairs of runs{ending}")
        for pair in found[:_MOST_PAIRS]:
            ends = [
                f"{low:.2f}–{high:.2f}" for low, high in (pair.first.parts[pair.part], pair.second.parts[pair.part])
            ]
            who = [f"{run.name} (seed {run.seed})" for run in (pair.first, pair.second)]
            values = [f"{run.scores[score]:.3f}" for run in (pair.first, pair.second)]
            lines.append(f"  {who[0]} {values[0]}, {who[1]} {values[1]}: {pair.part} {ends[0]} against {ends[1]}")
    return lines


def _synthetic(record: Record) -> list[str]:
    table = record.results[0].tables["attacks"]
    rows = []
    for attack, alpha in dict.fromkeys(zip(table["attack"], table["alpha"], strict=True)):
        exact = _exact(record.results[0], attack, alpha)
        cells = [_cell([score_under(result, metric, alpha, attack) for result in record.results]) for metric in CURVES]
        name = f"{attack}, {alpha:g}" if alpha else attack
        rows.append((name, "–" if exact is None else f"{exact:.3f}", *cells))
    columns = ("code, strength", "UniBound, exactly", *(METRICS[metric].title for metric in CURVES))
    caption = "Encoders that nobody trained; seeds are those of the evaluation"
    return [caption, Table(columns, tuple(rows), caption).to_text(width=30)]


def _exact(result: SeedResult, attack: str, alpha: float) -> float | None:
    table = result.tables["exact"]
    rows = zip(table["attack"], table["alpha"], table["metric"], table["score"], strict=True)
    return next((score for *where, score in rows if where == [attack, alpha, "unibound"]), None)


def _mean_row(result: SeedResult, part: str) -> tuple[float, float, float]:
    table = result.tables["profile"]
    rows = zip(table["factor"], table["part"], table["lower"], table["upper"], table["i_min"], strict=True)
    return next((low, high, point) for factor, name, low, high, point in rows if (factor, name) == (MEAN, part))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cell(values: Sequence[float], digits: int = 3) -> str:
    known = [value for value in values if value == value]
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    return f"{_mean(known):.{digits}f} ± {statistics.stdev(known):.{digits}f}"


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)
