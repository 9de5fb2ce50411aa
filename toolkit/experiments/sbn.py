"""Does less variance train better models? Sigmoid belief networks, trained with one gradient estimator after another.

All estimators start from the same weights and see the same binary images in the same order. Each has a record of its
own, with bounds over training and the variance of its gradient at its own parameters. The record ``snapshots`` compares
the variances at shared parameters: those that a training with RAM goes through.

The model, the batch, RMSprop and the metrics of the paper scale are those of Tokui and Sato (arXiv 1611.01239, ICML
2017) as their code has them; on scikit-learn's digits Adam replaces RMSprop. What their tables say could not be read:
no number of ours stands beside one of theirs.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.core.history import History, Series
from toolkit.core.training import train
from toolkit.experiments.records import Quantity, Record, Spread
from toolkit.experiments.sbn_config import SbnConfig
from toolkit.experiments.sbn_methods import find_method
from toolkit.experiments.sbn_snapshots import SnapshotTraining, tables
from toolkit.experiments.sbn_training import SbnTraining
from toolkit.experiments.study import Measurement, Study, Task
from toolkit.experiments.tables import Table

SNAPSHOTS = "snapshots"
_TOLERANCE = 0.5
REPORTED = {"Gumbel-softmax": "concrete", "NVIL": "nvil", "MuProp+C": "muprop", "REBAR": "rebar", "RELAX": "relax"}
"""Methods whose training bounds others have published, with the name that stands in the ids of these numbers."""


def variants(config: SbnConfig) -> tuple[str, ...]:
    """Return the estimators, and the comparison at shared parameters if it is asked for."""
    return (*(config.complete().estimators or ()), *((SNAPSHOTS,) if config.snapshots else ()))


def measure(task: Task) -> Measurement:
    """Train with one estimator, or compare all at the parameters of a training with RAM.

    Args:
        task: the configuration, the seed, and as variant an estimator or :data:`SNAPSHOTS`.

    Returns:
        For an estimator the bounds and variances after training, in nats, and what a step takes; the same over training
        (evaluations an example and seconds of training are among the curves, to plot against). For the comparison the
        tables of :func:`toolkit.experiments.sbn_snapshots.tables`, and the last snapshot's variances as metrics; its
        importance-weighted bound has the samples of a curve's.
    """
    config: SbnConfig = task.config.complete()
    return _compare(task, config) if task.variant == SNAPSHOTS else _train(task, config)


def _train(task: Task, config: SbnConfig) -> Measurement:
    training = SbnTraining(config, find_method(task.variant), task.seed)
    every = _evaluate_every(config)
    measured_at = _spread(config, config.n_variances)

    def evaluate(done: int) -> dict[str, float]:
        found = training.evaluate(done)
        return found | training.variances(done) if done in measured_at else found

    start = training.evaluate(0) | (training.variances(0) if config.n_variances else {})
    history = _run(task, config, training.step, training.state(), evaluate, every)
    if history.interrupted:
        return Measurement({}, interrupted=True)
    histories = _with_start(history, start)
    last = {name: series.values[-1] for name, series in histories.items()}
    metrics = last | {
        "highest training bound": max(histories["training bound"].values),
        "importance-weighted bound": training.importance_weighted(config.test_samples),
        "evaluations a step": last["evaluations"] / history.n_steps,
        "milliseconds a step": 1e3 * last["seconds"] / history.n_steps,
    }
    return _measurement(metrics, histories, {"data": training.images.source}, history)


def _compare(task: Task, config: SbnConfig) -> Measurement:
    comparison = SnapshotTraining(config, config.estimators or (), task.seed)
    training = comparison.training
    points = _spread(config, config.snapshots - 1)

    def evaluate(done: int) -> dict[str, float]:
        found = training.evaluate(done)
        return found | comparison.compare(done, config.variance_repeats) if done in points else found

    start = training.evaluate(0) | comparison.compare(0, config.variance_repeats)
    history = _run(task, config, comparison.step, comparison.state(), evaluate, _evaluate_every(config))
    if history.interrupted:
        return Measurement({}, interrupted=True)
    histories = _with_start(history, start)
    found = tables(histories, len(config.layer_sizes) - 1)
    ours = {name: series for name, series in histories.items() if name in start and " | " not in name}
    metrics = {name: series.values[-1] for name, series in ours.items()}
    rows = found["snapshots"]
    for position, name in enumerate(rows["estimator"]):  # the last snapshot's rows come last
        metrics[f"fixed variance/{name}"] = rows["fixed variance"][position]
        metrics[f"total variance/{name}"] = rows["total variance"][position]
    return _measurement(metrics, ours, {"data": training.images.source, **found}, history)


def _measurement(
    metrics: Mapping[str, float], histories: Mapping[str, Series], found: dict[str, dict[str, list]], history: History
) -> Measurement:
    return Measurement(
        {name: _short(value) for name, value in metrics.items()},
        {name: Series(series.steps, tuple(map(_short, series.values))) for name, series in histories.items()},
        {name: {key: [*map(_short, column)] for key, column in table.items()} for name, table in found.items()},
        seconds=history.seconds,
        cpu_seconds=history.cpu_seconds,
    )


def _short(value: Any) -> Any:
    """Leave a number the digits that single precision and sampling give it: records of many numbers halve."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _run(
    task: Task,
    config: SbnConfig,
    step: Callable[[int], None],
    state: Mapping[str, Any],
    evaluate: Callable[[int], dict[str, float]],
    every: int,
) -> History:
    assert config.n_steps is not None, "a complete configuration"
    return train(
        step,
        config.n_steps,
        state=state,
        evaluate=evaluate,
        evaluate_every=every,
        checkpoint=task.checkpoint,
        config=config.identity(),
        stop=task.stop,
        metric="test bound",
        description=f"sbn, {task.variant}, seed {task.seed}",
    )


def _evaluate_every(config: SbnConfig) -> int:
    return -(-(config.n_steps or 0) // config.n_evaluations)


def _spread(config: SbnConfig, count: int) -> set[int]:
    """Return steps at which to measure, evenly spread over those of the evaluations, the last among them."""
    if count < 1:
        return set()
    steps, every = config.n_steps or 0, _evaluate_every(config)
    points = [*range(every, steps, every), steps]
    count = min(count, len(points))
    return {points[-1 - round(number * len(points) / count)] for number in range(count)}


def _with_start(history: History, start: Mapping[str, float]) -> dict[str, Series]:
    """Return the curves with what was measured before the first step in front; that may be all there is of one."""
    later = {name: history.metrics.get(name, Series((), ())) for name in start}
    return {name: Series((0, *later[name].steps), (value, *later[name].values)) for name, value in start.items()}


def trained(
    config: SbnConfig | None = None, estimator: str = "RAM", seed: int = 0, *, stop: threading.Event | None = None
) -> SbnTraining:
    """Train a network without measuring anything, for its samples and reconstructions: records hold no parameters.

    Args:
        config: default: quick. ``dataclasses.replace(config, n_steps=…)`` makes it shorter or longer.
        estimator: its name.
        seed: with that of a record and its configuration, the network is the record's.
        stop: set from another thread to stop early.

    Returns:
        The training; its ``model`` can ``sample`` and ``reconstruct``.
    """
    config = (SbnConfig() if config is None else config).complete()
    training = SbnTraining(config, find_method(estimator), seed)
    assert config.n_steps is not None, "a complete configuration"
    train(training.step, config.n_steps, stop=stop, description=f"sbn, {estimator}, seed {seed}")
    return training


def quantities(config: SbnConfig, variant: str) -> Mapping[str, Quantity]:
    """Return which reported bounds a run answers: those of the same networks on all of MNIST, trained as long."""
    config = config.complete()
    reported = REPORTED.get(variant)
    depth = {"784-200": 1, "784-200-200": 2}.get(config.sizes or "")
    same = config.data == "mnist" and config.images == "full" and not config.nonlinear
    if reported is None or depth is None or not same or (config.n_steps or 0) < 2_000_000:
        return {}
    name = f"discrete_reparameterization/mnist-linear-{depth}/training-bound-{reported}"
    return {name: Quantity("highest training bound", _TOLERANCE)}


def report(records: Sequence[Record]) -> str:
    """Show bounds, variances and times of the estimators, and the comparison at shared parameters.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    config = records[0].config
    n_seeds = len(records[0].results)
    data = records[0].results[0].tables["data"]
    images = f"{config['images']} MNIST" if config["data"] == "mnist" else "digits"
    network = config["sizes"] + (", nonlinear" if config["nonlinear"] else "")
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    device = records[0].environment.device
    title = f"sbn at {records[0].scale} scale: {network}, {images}, {config['n_steps']:,} steps, {seeds}, {device}"
    columns = ("evaluations a step", "test bound", "importance-weighted bound", "fixed variance", "total variance")
    rows = []
    for record in sorted(records, key=lambda record: -_bound(record)):
        if record.variant != SNAPSHOTS:
            found = record.summary
            cells = (_cell(found, column) for column in (*columns, "milliseconds a step"))
            rows.append((record.variant, *cells))
    lines = [title, ""]
    if rows:
        lines += [Table(("estimator", *columns, "ms a step"), tuple(rows), title).to_text(), ""]
    for record in records:
        if record.variant == SNAPSHOTS:
            lines += [_snapshot_text(record), ""]
    lines.append(f"bounds in nats on held-out images: {data['description'][0]}")
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    return "\n".join(lines)


def _bound(record: Record) -> float:
    bound = record.summary["test bound"].mean
    return bound if math.isfinite(bound) else -math.inf


def _cell(summary: Mapping[str, Spread], name: str) -> str:
    if name not in summary:
        return "–"
    if "variance" in name:
        return f"{summary[name].mean:.2g}"
    return f"{summary[name].mean:.3g}" if name.endswith("a step") else str(summary[name])


def _snapshot_text(record: Record) -> str:
    """Return the last snapshot: means over the seeds, sorted by variance."""
    by_name: dict[str, dict[str, float]] = {}
    step = max(record.results[0].tables["snapshots"]["step"])
    columns = ("evaluations", "fixed variance", "total variance", "to RAM", "to RAM, times evaluations", "milliseconds")
    for result in record.results:
        table = result.tables["snapshots"]
        for position, name in enumerate(table["estimator"]):
            if table["step"][position] == step:
                sums = by_name.setdefault(name, dict.fromkeys(columns, 0.0))
                for column in columns:
                    sums[column] += table[column][position] / len(record.results)
    rows = tuple(
        (name, *(f"{means[column]:.3g}" for column in columns))
        for name, means in sorted(by_name.items(), key=lambda entry: entry[1]["fixed variance"])
    )
    title = f"variance of the inference network's gradient at shared parameters, after {step:,} steps with RAM"
    return "\n".join([title, "", Table(("estimator", *columns), rows, title).to_text()])


STUDY = Study(
    name="sbn",
    summary="Does less variance train better models? Sigmoid belief networks, one gradient estimator after another",
    config=SbnConfig,
    measure=measure,
    variants=variants,
    quantities=quantities,
    report=report,
)
run = STUDY.run
