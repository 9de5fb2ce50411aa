"""Clusters without labels: k-means, information maximisation alone, and IMSAT with one perturbation after another.

Each method is trained on all images of a data set without their labels, and scored by them at the end of training: the
share of images in the right cluster under the best one-to-one match, as in Hu et al. (arXiv 1702.08720). Networks of
one seed start alike. Weights, radii and λ of the scaled-down settings were chosen by accuracy, VAT's and RPT's with
more care than the weight decay of RIM; the paper's own setting is that of the authors' code.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from toolkit.core.devices import resolve_device
from toolkit.core.errors import require
from toolkit.core.history import Series
from toolkit.experiments.imsat_data import ImagesConfig, Points, distance_cache, original_order
from toolkit.experiments.imsat_methods import METHODS, Settings, find_method, parse_methods
from toolkit.experiments.records import Quantity, Record
from toolkit.experiments.study import Measurement, Study, StudyConfig, Task, by_scale
from toolkit.experiments.tables import Table
from toolkit.imsat.clustering import IMSAT
from toolkit.imsat.evaluation import aligned_confusion, evaluate_clustering
from toolkit.imsat.neighbours import neighbour_distances

_CURVE = 60


@dataclass(frozen=True)
class ImsatClusteringConfig(ImagesConfig):
    """What is clustered, and how.

    Left open, the hidden layers are 200-200 on digits, else 400-400, 1200-1200 at paper scale; there are 20 or 60
    epochs on digits, else 5 or 20, 50 at paper scale.
    """

    seeds: tuple[int, ...] = by_scale(quick=(0, 1, 2), laptop=tuple(range(10)), paper=(0, 1, 2, 3, 4))
    """The seeds themselves, each once."""

    methods: tuple[str, ...] | None = None
    """Names, as VAT RPT k-means or VAT,RPT,k-means; default: a few at quick, most at laptop, VAT at paper scale."""

    alpha: float | None = None
    """ε of VAT in units of the distance to the 10th neighbour; default: 0.25 as in the authors' code, on digits 0.4."""

    lam: float | None = None
    """λ with VAT; default: 0.1 as in the authors' code, on digits 0.3."""

    random_alpha: float | None = None
    """ε of RPT, likewise; default: 2, on digits 1. What the paper used is not known."""

    random_lam: float | None = None
    """λ with RPT; default: 0.1, on digits 0.2."""

    weight_decay: float = 0.005
    """Of regularised information maximisation."""

    n_evaluations: int = by_scale(quick=5, laptop=20, paper=20)
    """Points of the curves of accuracy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.methods is not None:
            methods = parse_methods(self.methods)
            expected = "one or more, each once"
            require(0 < len(methods) == len(set(methods)), "ImsatClusteringConfig", "methods", expected, methods)
            object.__setattr__(self, "methods", methods)
        self.check_least("n_evaluations", 1)
        for field in ("alpha", "lam", "random_alpha", "random_lam", "weight_decay"):
            self.check_least(field, 0)

    def complete(self) -> "ImsatClusteringConfig":
        """Return the configuration with everything filled in that depends on the data."""
        small, paper = self.data == "digits", self.scale == "paper"
        default = {"quick": ("k-means", "RIM", "RPT", "VAT"), "paper": ("VAT",)}
        most = ("k-means", "linear-RIM", "RIM", "RPT-same", "RPT", "linear-VAT", "VAT", "affine", "VAT+affine")
        hidden = "200-200" if small else "1200-1200" if paper else "400-400"
        epochs = {"quick": 20 if small else 5, "laptop": 60 if small else 20, "paper": 60 if small else 50}
        open_ones: dict[str, Any] = {
            "methods": default.get(self.scale, most),
            "hidden": hidden,
            "epochs": epochs[self.scale],
            "alpha": 0.4 if small else 0.25,
            "lam": 0.3 if small else 0.1,
            "random_alpha": 1.0 if small else 2.0,
            "random_lam": 0.2 if small else 0.1,
        }
        return replace(self, **{name: value for name, value in open_ones.items() if getattr(self, name) is None})

    @property
    def settings(self) -> Settings:
        """What the methods are told."""
        full = self.complete()
        assert full.hidden is not None and full.epochs is not None and full.alpha is not None and full.lam is not None
        assert full.random_alpha is not None and full.random_lam is not None
        hidden = tuple(int(part) for part in full.hidden.split("-"))
        return Settings(hidden, full.epochs, full.alpha, full.lam, full.random_alpha, full.random_lam)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, everything filled in."""
        return StudyConfig.to_dict(self.complete())


def variants(config: ImsatClusteringConfig) -> tuple[str, ...]:
    """Return the names of the methods."""
    return config.complete().methods or ()


def measure(task: Task) -> Measurement:
    """Cluster with one method and one seed.

    Args:
        task: the configuration, the seed, and a method's name as variant.

    Returns:
        Accuracy in per cent, normalised mutual information, adjusted Rand index after the last step; for networks also
        the loss on all data and the parts of the loss in the last batch (nats), curves of them and of the accuracy over
        the steps; as tables the counts of classes in aligned clusters, and which images.
    """
    config: ImsatClusteringConfig = task.config.complete()
    points = config.load()
    if task.variant == "k-means":
        return _k_means(points, task.seed)
    return _train(task, config, points)


def _k_means(points: Points, seed: int) -> Measurement:
    from sklearn.cluster import KMeans

    started = time.process_time()
    model = KMeans(len(points.class_names), n_init=10, random_state=seed).fit(points.inputs.numpy())
    seconds = time.process_time() - started
    return _measurement(points, model.labels_, {"CPU seconds of training": seconds})


def _train(task: Task, config: ImsatClusteringConfig, points: Points) -> Measurement:
    method, settings = find_method(task.variant), config.settings
    device = resolve_device(config.device)
    model = IMSAT(
        len(points.class_names),
        **method.parameters(settings, points.image_shape, config.weight_decay),
        epochs=settings.epochs,
        initialization=config.initialization,
        random_state=task.seed,
        device=str(device),
    )
    inputs, labels = points.inputs.numpy(), points.labels.numpy()
    n_steps = settings.epochs * (len(inputs) // min(model.batch_size, len(inputs)))

    def evaluate(done: int) -> dict[str, float]:
        scores = evaluate_clustering(labels, model.predict(inputs))
        return {"accuracy": 100 * scores.accuracy}

    in_balls = {"vat", "rpt"} & set(method.perturbations)
    model.fit(
        inputs,
        radii=_radii(points, method.radii, device) if in_balls else None,
        checkpoint=task.checkpoint,
        evaluate=evaluate,
        evaluate_every=-(-n_steps // config.n_evaluations),
        stop=task.stop,
    )
    history = model.history_
    if history.interrupted:
        return Measurement({}, interrupted=True)
    last = {name: history.last(name) for name in history.metrics if name not in ("accuracy", "loss")}
    curves = {name: series.thin(_CURVE) for name, series in history.metrics.items()}
    metrics = {"loss on all data": model.loss_, "CPU seconds of training": history.cpu_seconds, **last}
    return _measurement(points, model.labels_, metrics, curves, history.seconds, history.cpu_seconds)


def _radii(points: Points, which: str, device: torch.device) -> torch.Tensor:
    distances = neighbour_distances(points.inputs, 11 if which == "11th" else 10, device=device, cache=distance_cache())
    if which == "scrambled":
        return distances[original_order(points.n_training, points.labels)]
    return distances.mean().expand_as(distances) if which == "mean" else distances


def _measurement(
    points: Points,
    clusters: Any,
    metrics: Mapping[str, float],
    curves: Mapping[str, Series] | None = None,
    seconds: float | None = None,
    cpu_seconds: float | None = None,
) -> Measurement:
    labels = points.labels.numpy()
    scores = evaluate_clustering(labels, clusters)
    confusion = aligned_confusion(labels, clusters)
    rows, columns = confusion.counts.shape
    table = {
        "class": [row for row in range(rows) for _ in range(columns)],
        "cluster": [column for _ in range(rows) for column in range(columns)],
        "count": confusion.counts.ravel().tolist(),
    }
    found = {
        "accuracy": 100 * scores.accuracy,
        "normalized mutual information": scores.normalized_mutual_information,
        "adjusted Rand index": scores.adjusted_rand_index,
    }
    short = {name: Series(c.steps, tuple(float(f"{v:.6g}") for v in c.values)) for name, c in (curves or {}).items()}
    tables = {"confusion": table, "data": points.source}
    return Measurement(found | dict(metrics), short, tables, seconds=seconds, cpu_seconds=cpu_seconds)


def quantities(config: ImsatClusteringConfig, variant: str) -> Mapping[str, Quantity]:
    """Return which published accuracies a run answers: those on all of MNIST, of the authors' setting."""
    config = config.complete()
    whole = config.data == "mnist" and config.images == "full" and config.n_points is None
    if not whole:
        return {}
    if variant == "k-means":
        return {"imsat/mnist/accuracy-k-means": Quantity("accuracy", 1.0)}
    weights = (config.hidden, config.initialization) == ("1200-1200", "official")
    setting = weights and (config.epochs or 0) >= 50 and (config.alpha, config.lam) == (0.25, 0.1)
    if variant == "VAT" and setting:
        return {"imsat/mnist/accuracy-vat": Quantity("accuracy", 1.0)}
    if variant == "VAT-11th" and setting:  # the distances that the reader of the authors' code computed
        return {"imsat/mnist/accuracy-vat-reproduction": Quantity("accuracy")}
    return {}


def report(records: Sequence[Record]) -> str:
    """Show the scores of the methods.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    config = records[0].config
    data = records[0].results[0].tables["data"]
    n_seeds = len(records[0].results)
    title = (
        f"imsat-clustering at {records[0].scale} scale: {data['n_points'][0]:,} images of {config['data']}, "
        f"{config['hidden']}, {config['epochs']} epochs, {n_seeds} seed{'s' if n_seeds > 1 else ''}, "
        f"{records[0].environment.device}"
    )
    order = {method.name: place for place, method in enumerate(METHODS)}
    names = ("accuracy", "normalized mutual information", "adjusted Rand index", "CPU seconds of training")
    rows = tuple(
        (find_method(record.variant).title, *(str(record.summary[name]) for name in names))
        for record in sorted(records, key=lambda record: order[record.variant])
    )
    columns = ("method", "accuracy, %", "NMI", "adjusted Rand", "CPU s")
    lines = [title, "", Table(columns, rows, title).to_text(), "", f"images: {data['description'][0]}"]
    lines.append("accuracy on the images themselves after the last step, under the best one-to-one match")
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    return "\n".join(lines)


STUDY = Study(
    name="imsat-clustering",
    summary="Clusters without labels: k-means, information maximisation, and IMSAT with its perturbations",
    config=ImsatClusteringConfig,
    measure=measure,
    variants=variants,
    quantities=quantities,
    report=report,
)
run = STUDY.run
