"""Scores of recorded autoencoders as tables, as they are and under the paper's attack."""

from collections.abc import Sequence

import numpy as np

from toolkit.disentanglement.bounds import PARTS
from toolkit.experiments import Record
from toolkit.experiments.disentanglement_pairs import best_half
from toolkit.experiments.disentanglement_report import score_under
from toolkit.experiments.records import SeedResult
from toolkit.explorers.disentanglement_records import (
    ALL,
    SCORES,
    Run,
    chosen,
    not_recorded,
    parts_of,
    recorded_runs,
    score_title,
    score_values,
    title_of,
    where_recorded,
)
from toolkit.explorers.pid_parts import amount
from toolkit.lessons import Table, table

_NO_BREAK = "\N{NO-BREAK SPACE}"


def recorded_scores(half: bool = False, records: Sequence[Record] | None = None) -> Table:
    """Return the scores of each recorded model, mean ± standard deviation over its seeds.

    Args:
        half: of each score only the better half of the seeds by this score, rounded up, as the paper's authors did.
        records: to choose from; default: those that come with the toolkit. Without a run the table has no rows, and
            its caption says what makes one.

    Returns:
        A row a model: UniBound, MIG, the metrics of BetaVAE and FactorVAE, DCI disentanglement and SAP.
    """
    run = _run(records)
    headers = ["model", *map(_header, SCORES)]
    if run is None:
        return table(headers, [], caption=not_recorded())
    rows = []
    for record in run.records:
        columns = [[value for value in score_values(record, score) if value == value] for score in SCORES]
        if half:
            columns = [[values[place] for place in best_half(values)] if values else [] for values in columns]
        rows.append([_name(record), *map(_spread, columns)])
    which = "the better half of the seeds, by each score itself" if half else "all seeds"
    return table(headers, rows, caption=f"Mean ± standard deviation over {which}. {where_recorded(run)}")


def recorded_parts(by: str = ALL, records: Sequence[Record] | None = None) -> Table:
    """Return the three parts of the information about a factor, for each recorded model, means over seeds and factors.

    Args:
        by: ``"all"`` seeds, or the score whose better half of the seeds is taken; the authors took UniBound.
        records: as for :func:`recorded_scores`.

    Raises:
        ValueError: an unknown score.
    """
    run = _run(records)
    headers = ["model", *(name for part in PARTS for name in (part, "I_min")), "all"]
    if run is None:
        return table(headers, [], caption=not_recorded())
    rows = []
    for record in run.records:
        results = chosen(record, by)
        parts = parts_of(results)
        cells = [
            cell
            for ends in parts.values()
            for cell in (f"{ends.lower:.2f} to{_NO_BREAK}{ends.upper:.2f}", amount(ends.i_min, 2))
        ]
        known = [result.metrics["information"] for result in results if "information" in result.metrics]
        rows.append([_name(record), *cells, amount(float(np.mean(known)), 2) if known else "–"])
    which = "all seeds" if by == ALL else f"the better half of the seeds by {score_title(by)}"
    caption = (
        "Parts of the information about a factor, from the lower to the upper bound; all: what all latents know. "
        f"Shares of H(y), means over factors and {which}. {where_recorded(run)}"
    )
    return table(headers, rows, caption=caption)


def recorded_attacks(records: Sequence[Record] | None = None) -> Table:
    """Return each model's scores before and under the strongest recorded redundancy attack, means over seeds.

    Args:
        records: as for :func:`recorded_scores`.
    """
    run = _run(records)
    headers = ["model", *map(_header, SCORES)]
    if run is None:
        return table(headers, [], caption=not_recorded())
    rows, strongest = [], 0.0
    for record in run.records:
        strongest = max(strongest, *(max(result.tables["attacks"]["alpha"]) for result in record.results))
        cells = [f" →{_NO_BREAK}".join(_means(record.results, score)) for score in SCORES]
        rows.append([_name(record), *cells])
    return table(
        headers,
        rows,
        caption=f"Mean over seeds: redundancy attack of strength 0, where the new latents are noise only → of strength "
        f"{strongest:g}. "
        f"{where_recorded(run)}",
    )


def _run(records: Sequence[Record] | None) -> Run | None:
    runs = recorded_runs(records)
    return runs[0] if runs else None


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(amount(value, 2) for value in values) or "–"
    return f"{np.mean(values):.2f} ±{_NO_BREAK}{np.std(values, ddof=1):.2f}".replace("-", "−")


def _means(results: Sequence[SeedResult], score: str) -> tuple[str, str]:
    ends = []
    for extreme in (min, max):
        values = [score_under(result, score, extreme(result.tables["attacks"]["alpha"])) for result in results]
        known = [value for value in values if value == value]
        ends.append(amount(float(np.mean(known)), 2) if known else "–")
    return ends[0], ends[1]


def _name(record: Record) -> str:
    first, comma, coefficient = title_of(record.variant).partition(", ")
    return first + comma + _no_break(coefficient)


def _header(score: str) -> str:
    return "DCI" if score == "dci_disentanglement" else score_title(score)


def _no_break(text: str) -> str:
    return text.replace(" ", _NO_BREAK)
