"""Recorded clusterings and hash codes as tables, and what others report of them beside ours."""

from collections.abc import Sequence
from typing import Any

from toolkit.experiments import Record, read_paper_results
from toolkit.experiments.ledger import PaperResult
from toolkit.explorers.imsat_hash_recorded import name_of
from toolkit.explorers.imsat_looks import spread_text, title_of
from toolkit.explorers.imsat_records import (
    CLUSTERING,
    HASHING,
    Run,
    difference,
    pick_methods,
    recorded_runs,
    values_of,
    where_recorded,
)
from toolkit.lessons import Table, table

_PAPER = "imsat"
_ANSWERS = {
    "imsat/mnist/accuracy-vat": "VAT",
    "imsat/mnist/accuracy-vat-third-party": "VAT",
    "imsat/mnist/accuracy-vat-reproduction": "VAT-11th",
    "imsat/mnist/accuracy-k-means": "k-means",
}
_NETWORK, _EPOCHS = "1200-1200", 50
_NO_BREAK = "\N{NO-BREAK SPACE}"
_NOT_HERE = "not recorded"


def clustering_scores_table(
    data: str = "digits", n_images: int | None = None, records: Sequence[Record] | None = None
) -> Table:
    """Return the scores of each method at the end of training, the highest accuracy first.

    Args:
        data: ``"digits"``, ``"mnist"`` or ``"fashion_mnist"``.
        n_images: on so many of them; default: the most that were recorded.
        records: to choose from; default: those that come with the toolkit. Without a run the table has no rows.
    """
    metrics = {"accuracy": 1, "normalized mutual information": 3, "adjusted Rand index": 3, "loss on all data": 3}
    headers = ["accuracy (%)", "NMI", "adjusted Rand index", "loss on all data (nats)"]
    return _scores(CLUSTERING, data, n_images, metrics, headers, records)


def retrieval_scores_table(
    data: str = "mnist", n_images: int | None = None, records: Sequence[Record] | None = None
) -> Table:
    """Return how well each method's codes retrieve, the highest mean average precision first.

    Args:
        data, n_images, records: as for :func:`clustering_scores_table`.
    """
    metrics = {
        "mAP": 3,
        "precision at 500": 3,
        "precision within radius 2": 3,
        "distinct codes": 0,
        "information of the bits": 2,
        "information of pairs": 2,
    }
    names = ["mAP", "precision@500", "precision, radius 2", "distinct codes", "bits (nats)", "pairs (nats)"]
    return _scores(HASHING, data, n_images, metrics, names, records)


def _scores(
    study: str,
    data: str,
    n_images: int | None,
    metrics: dict[str, int],
    headers: list[str],
    records: Sequence[Record] | None,
) -> Table:
    run = _find(study, data, n_images, records)
    if run is None:
        wanted = f" on {n_images:,} images" if n_images is not None else ""
        return table(["method", *headers], [], caption=f"No run of {study} with {data}{wanted} is recorded here")
    first, named = next(iter(metrics)), name_of if study == HASHING else title_of
    shown = pick_methods(run, first, first, 0).records
    rows: list[list[Any]] = [
        [named(record.variant), *(_spread(record, metric, decimals) for metric, decimals in metrics.items())]
        for record in shown
    ]
    counts = [len(record.results) for record in shown]
    alike = len(set(counts)) == 1  # then the caption says it, and the table is narrower
    if not alike:
        headers = ["seeds", *headers]
        rows = [[name, count, *cells] for (name, *cells), count in zip(rows, counts, strict=True)]
    over = f"{counts[0]} seed{'s' * (counts[0] != 1)}" if alike else "the seeds"
    queries = {"held-out": "Queries held out of training. ", "official": "Queries trained on too. "}
    asked = queries.get(run.config.get("protocol", ""), "")
    caption = f"{run.label}: mean ± standard deviation over {over}. {asked}{where_recorded(run.records)}"
    strong = [place for place, record in enumerate(shown) if record.variant == "VAT"]
    return table(["method", *headers], rows, caption=caption, strong=strong)


def _find(study: str, data: str, n_images: int | None, records: Sequence[Record] | None) -> Run | None:
    """Return the largest run on some data, of several the longest, or None."""
    runs = [run for run in recorded_runs(study, records) if run.records and run.config["data"] == data]
    runs = [run for run in runs if n_images in (None, run.n_images)]
    return max(runs, key=lambda run: (run.n_images, run.config.get("epochs", 0), len(run.records)), default=None)


def _spread(record: Record, metric: str, decimals: int) -> str:
    text = spread_text(values_of(record, metric), decimals)
    return text.replace("-", "−").replace(" ", _NO_BREAK)  # else narrow columns break it after the ±


def published_table(records: Sequence[Record] | None = None) -> Table:
    """Return the accuracies that others report on MNIST, with the source as the ledger has it, beside ours.

    No number of hash codes could be read in its source.

    Args:
        records: to choose ours from; default: those that come with the toolkit. Without one the reported ones stand
            alone.

    Returns:
        A row for each reported number.
    """
    runs = [run for run in recorded_runs(CLUSTERING, records) if run.records and run.config["data"] == "mnist"]
    rows = [_reported_row(result, runs) for result in read_paper_results() if result.table == _PAPER]
    headers = ["what", "reported", "where, and how it was read", "ours", "seeds", "what differs"]
    caption = "Accuracy on MNIST as others report it, and ours; ± is the standard deviation over runs"
    return table(headers, rows, caption=caption)


def _reported_row(result: PaperResult, runs: Sequence[Run]) -> list[Any]:
    found = _answer(result, runs)
    stated = result.text.replace(" ", _NO_BREAK)
    read = f"{result.source}; {result.how_read}"
    theirs = f"theirs: {result.notes}" if result.notes else ""
    if found is None:
        return [result.description, stated, read, _NOT_HERE, "–", theirs]
    run, record, metric, factor = found
    values = factor * values_of(record, metric)
    ours = f"{spread_text(values)} {result.unit}".strip().replace(" ", _NO_BREAK)
    method = title_of(record.variant)
    setting = difference(run, hidden=_NETWORK, epochs=_EPOCHS)
    if record.variant == "k-means":
        own = {name: run.config[name] for name in ("hidden", "epochs", "initialization") if name in run.config}
        setting = difference(run, **own)
    here = f"ours: {method}, {record.scale} scale" + (f", {setting}" if setting else "")
    return [result.description, stated, read, ours, str(values.size), "; ".join(filter(None, [here, theirs]))]


def _answer(result: PaperResult, runs: Sequence[Run]) -> tuple[Run, Record, str, float] | None:
    """Return the run that answers a number, or is nearest to it: of the same method, on the most images, as long."""
    answers = []
    for run in runs:
        for record in run.records:
            quantity = record.quantities.get(result.quantity)
            nearest = _ANSWERS.get(result.quantity) == record.variant
            metric, factor = (quantity.metric, quantity.factor) if quantity else ("accuracy", 1.0)
            if (quantity or nearest) and values_of(record, metric).size:
                longer = abs((run.config.get("epochs") or 0) - _EPOCHS)
                rank = (quantity is not None, run.n_images, -longer, len(record.results))
                answers.append((rank, (run, record, metric, factor)))
    return max(answers, key=lambda answer: answer[0])[1] if answers else None
