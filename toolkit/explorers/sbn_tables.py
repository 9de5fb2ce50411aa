"""Recorded trainings of sigmoid belief networks as tables, and the bounds that others published beside ours."""

from collections.abc import Sequence
from typing import Any

from toolkit.core.errors import require
from toolkit.experiments import Record, read_paper_results
from toolkit.experiments.ledger import PaperResult
from toolkit.experiments.records import Spread
from toolkit.experiments.sbn import REPORTED
from toolkit.explorers.sbn_looks import BIASED
from toolkit.explorers.sbn_runs import Run, find_run, recorded_runs
from toolkit.lessons import Table, table
from toolkit.lessons.axis import power_name

_PAPER = "discrete_reparameterization"
_NETWORKS = {"mnist-linear-1": "784-200", "mnist-linear-2": "784-200-200"}
_THEIRS = {key: method for method, key in REPORTED.items()}
_THEIR_NAMES = {"concrete": "Concrete", "nvil": "NVIL", "muprop": "MuProp", "rebar": "REBAR", "relax": "RELAX"}
_OURS_ONLY = ("RAM", "DisARM", "RLOO-2")


def final_bounds_table(
    data: str = "digits", sizes: str | None = None, records: Sequence[Record] | None = None
) -> Table:
    """Return bounds and variances at the end of each estimator's own training, the highest bound first.

    Args:
        data: ``"digits"`` or ``"mnist"``.
        sizes: pixels and variables of each latent layer; default: whatever was recorded.
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is no such run.
    """
    run = find_run(data, sizes, records)
    summaries = sorted(
        ((record.variant, len(record.results), record.summary) for record in run.records),
        key=lambda entry: -_sortable(entry[2].get("test bound")),
    )
    rows = [
        [
            _named(name),
            f"{found['evaluations a step'].mean:g}" if "evaluations a step" in found else "–",
            n_seeds,
            _spread(found.get("test bound")),
            _spread(found.get("importance-weighted bound")),
            _variance(found.get("fixed variance")),
            _variance(found.get("total variance")),
        ]
        for name, n_seeds, found in summaries
    ]
    bounds = ["held-out bound (nats)", "importance-weighted bound (nats)"]
    headers = ["estimator", "evaluations", "seeds", *bounds, "variance, fixed batch", "variance, fresh batches"]
    caption = f"{run.label}: mean ± standard deviation over the seeds, each at the parameters it came to"
    return table(headers, rows, caption=caption, strong=[i for i, row in enumerate(rows) if row[0] == "RAM"])


def shared_parameters_table(
    data: str = "digits", sizes: str | None = None, records: Sequence[Record] | None = None
) -> Table:
    """Return variances at the same parameters, those of a training with RAM, divided by RAM's: at its start and end.

    Args:
        data, sizes, records: as for :func:`final_bounds_table`.

    Raises:
        ValueError: there is no such run, or none with a comparison at shared parameters.
    """
    for run in [find_run(data, sizes, records), *recorded_runs(records)]:
        if run.snapshots is not None and run.config["data"] == data and sizes in (None, run.config["sizes"]):
            return _shared(run, run.snapshots)
    require(False, "shared_parameters_table", "records", "a run with snapshots", "none")
    raise AssertionError


def _shared(run: Run, record: Record) -> Table:
    found = _mean_ratios(record)
    steps = sorted({step for step, _ in found})
    ends = [steps[0], steps[-1]] if len(steps) > 1 else steps
    names = [name for step, name in found if step == ends[-1]]
    names.sort(key=lambda name: found[ends[-1], name]["to RAM"])
    ram = {step: found[step, "RAM"]["evaluations"] for step in ends}
    rows = [
        [
            _named(name),
            f"{found[ends[-1], name]['evaluations']:g}",
            *(_ratio(found[step, name]["to RAM"]) for step in ends),
            *(_ratio(found[step, name]["to RAM, times evaluations"] / ram[step]) for step in ends),
        ]
        for name in names
    ]
    headers = ["estimator", "evaluations"]
    headers += [f"{what}, step {step:,}" for what in ("variance of one estimate", "× evaluations") for step in ends]
    caption = (
        f"{run.label}: variance of the gradient of one batch, divided by RAM's, at the parameters of a training with "
        f"RAM; mean over {_counted(len(record.results), 'seed')}. × evaluations: for as many evaluations as RAM takes, "
        "derivatives not counted"
    )
    if ends[0] == 0:
        caption += ". At step 0 no baseline has learnt anything"
    return table(headers, rows, caption=caption, strong=[i for i, row in enumerate(rows) if row[0] == "RAM"])


def _mean_ratios(record: Record) -> dict[tuple[int, str], dict[str, float]]:
    """Return the columns of the comparison, mean over the seeds, by step and estimator."""
    columns = ("evaluations", "to RAM", "to RAM, times evaluations")
    gathered: dict[tuple[int, str], dict[str, list[float]]] = {}
    for result in record.results:
        rows = result.tables["snapshots"]
        for position, (step, name) in enumerate(zip(rows["step"], rows["estimator"], strict=True)):
            entry = gathered.setdefault((step, name), {column: [] for column in columns})
            for column in columns:
                entry[column].append(rows[column][position])
    return {key: {name: sum(values) / len(values) for name, values in entry.items()} for key, entry in gathered.items()}


def published_bounds_table(records: Sequence[Record] | None = None) -> Table:
    """Return the training bounds on MNIST that REBAR's and RELAX's authors report, beside ours of the same networks.

    Args:
        records: to choose ours from; default: those that come with the toolkit. Without one of such a network the
            published ones stand alone.
    """
    published = [result for result in read_paper_results() if result.table == _PAPER]
    try:
        runs = recorded_runs(records)
    except ValueError:
        runs = ()
    rows: list[list[Any]] = []
    sources = set()
    for network, sizes in _NETWORKS.items():
        mine = [run for run in runs if run.config["data"] == "mnist" and run.config["sizes"] == sizes]
        mine = [run for run in mine if not run.config.get("nonlinear")]
        run = min(mine, key=lambda run: (run.config["images"] != "full", -run.config["n_steps"]), default=None)
        for result in published:
            start, _, key = result.quantity.partition("/training-bound-")
            if start == f"{_PAPER}/{network}" and key in _THEIRS:
                rows.append(_published_row(sizes, _THEIR_NAMES[key], result, run, _THEIRS[key]))
                sources.add(result.source)
        rows += [
            _published_row(sizes, name, None, run, name) for name in _OURS_ONLY if run is not None and run.record(name)
        ]
    headers = ("network", "estimator", "theirs (nats)", "ours (nats)", "what differs in ours")
    caption = f"Highest training bound on MNIST. Theirs: {'; '.join(sorted(sources))}"
    return table(headers, rows, caption=caption)


def _published_row(sizes: str, name: str, theirs: PaperResult | None, run: Run | None, estimator: str) -> list[Any]:
    record = run.record(estimator) if run is not None else None
    stated = "–" if theirs is None else f"{theirs.value:.10g}".replace("-", "−")
    if run is None or record is None:
        return [sizes, name, stated, "not run", ""]
    return [sizes, name, stated, _spread(record.summary.get("highest training bound")), _difference(run)]


def _difference(run: Run) -> str:
    config = run.config
    steps = f"{config['n_steps']:,} steps of {config['batch_size']} images, not 2,000,000 of 24"
    images = "" if config["images"] == "full" else "; the 5,000 bundled images, not all"
    return steps + images


def _named(name: str) -> str:
    if name.startswith("VIMCO"):  # no estimate of what the others estimate
        return f"{name} (tighter bound)"
    return f"{name} (biased)" if name in BIASED else name


def _sortable(spread: Spread | None) -> float:
    return spread.mean if spread is not None and spread.mean == spread.mean else -float("inf")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    text = f"{spread.mean:.2f}" if spread.sd is None else str(spread)
    return text.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}")  # else narrow columns break it after the ±


def _variance(spread: Spread | None) -> str:
    return "–" if spread is None else power_name(spread.mean, 2)


def _ratio(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
