"""Can learned bits find similar images? Hash codes of one method after another, scored by retrieval.

A query finds the images whose codes differ from its own in the fewest bits; those of its class are right. Codes come
from principal components, with and without a learned rotation, from information maximisation alone, and from IMSAT (Hu
et al., arXiv 1702.08720). Queries are held out of training; the authors' code trains on them too, which is the protocol
"official".
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History, Series
from toolkit.experiments.imsat_data import ImagesConfig, Points, distance_cache
from toolkit.experiments.records import Record
from toolkit.experiments.study import ConfigurationError, Measurement, Study, StudyConfig, Task, by_scale
from toolkit.experiments.tables import Table
from toolkit.imsat.exact import MOST_BITS, exact_hash_information
from toolkit.imsat.hash_baselines import PCAHash
from toolkit.imsat.hash_losses import bit_information, pairwise_information
from toolkit.imsat.hashing import IMSATHash
from toolkit.imsat.retrieval import QuerySplit, RetrievalScores, evaluate_retrieval, split_queries

METHODS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "PCA": ("principal components, signs", {}),
    "ITQ": ("principal components, rotated (ITQ)", {}),
    "no-SAT": ("information alone", {"perturbation": None}),
    "RPT": ("IMSAT (RPT)", {"perturbation": "rpt"}),
    "VAT": ("IMSAT (VAT)", {"perturbation": "vat"}),
    "VAT-c1": ("IMSAT (VAT), pairs once", {"perturbation": "vat", "pair_weight": 1.0}),
}
"""By their names on the command line: the titles of the methods, and what they tell IMSATHash."""

_CURVE = 60
_N = 500
_RADIUS = 2
_ROTATIONS = {"PCA": "none", "ITQ": "itq"}
_N_CLASSES = 10
_PIXELS = {"digits": 64, "mnist": 784, "fashion_mnist": 784}


@dataclass(frozen=True)
class ImsatHashingConfig(ImagesConfig):
    """Which codes are learned, from what, and how they are asked.

    Left open, the hidden layers are 400-400, 200-200 on digits; there are 3, 15 or 50 epochs.
    """

    seeds: tuple[int, ...] = by_scale(quick=(0,), laptop=(0, 1, 2, 3, 4), paper=(0, 1, 2))
    """The seeds themselves, each once; each draws its own queries."""

    data: Literal["digits", "mnist", "fashion_mnist"] = by_scale(quick="mnist", laptop="mnist", paper="mnist")
    """scikit-learn's 1,797 digits of 8×8 pixels, MNIST or Fashion-MNIST."""

    methods: tuple[str, ...] = tuple(METHODS)
    """Names, as VAT ITQ or VAT,ITQ."""

    n_bits: int = 16
    """D."""

    queries_per_class: int = by_scale(quick=10, laptop=20, paper=100)
    """So many images of each class ask; the others are the gallery."""

    protocol: Literal["held-out", "official"] = by_scale(quick="held-out", laptop="held-out", paper="official")
    """held-out: queries are not trained on; official: they are."""

    alpha: float = 0.25
    """ε of VAT in units of the distance to the 10th neighbour."""

    random_alpha: float = 2.0
    """ε of RPT, likewise."""

    lam: float = 0.1
    """λ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        self.check_choice("protocol", "held-out", "official")
        for field, least in (("n_bits", 1), ("queries_per_class", 1), ("alpha", 0), ("random_alpha", 0), ("lam", 0)):
            self.check_least(field, least)
        folded = {method.casefold(): method for method in METHODS}
        given = [part.strip() for names in self.methods for part in names.split(",") if part.strip()]
        unknown = [part for part in given if part.casefold() not in folded]
        require(not unknown, name, "methods", f"among {', '.join(METHODS)}", unknown)
        methods = tuple(folded[part.casefold()] for part in given)
        require(0 < len(methods) == len(set(methods)), name, "methods", "one or more, each once", methods)
        object.__setattr__(self, "methods", methods)
        # Said now, and not when the networks are trained.
        most = _PIXELS[self.data]
        fine = self.n_bits <= most or not set(methods) & set(_ROTATIONS)
        require(fine, name, "n_bits", f"<= {most} for PCA and ITQ, the pixels of {self.data}", self.n_bits)

    def complete(self) -> "ImsatHashingConfig":
        """Return the configuration with everything filled in that depends on the data."""
        hidden = self.hidden or ("200-200" if self.data == "digits" else "400-400")
        return replace(self, hidden=hidden, epochs=self.epochs or {"quick": 3, "laptop": 15, "paper": 50}[self.scale])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, everything filled in."""
        return StudyConfig.to_dict(self.complete())


def variants(config: ImsatHashingConfig) -> tuple[str, ...]:
    """Return the names of the methods."""
    return config.methods


def check(config: ImsatHashingConfig) -> None:
    """Raise a ``ConfigurationError`` if some class has too few images to ask so many queries of each."""
    points = config.load()
    sizes = points.labels.bincount(minlength=len(points.class_names))
    label = int(sizes.argmin())
    if config.queries_per_class >= sizes[label]:
        name = points.class_names[label]
        expected = f"fewer than the images of each class: {name} has {sizes[label]}"
        reject(type(config).__name__, "queries_per_class", expected, config.queries_per_class, kind=ConfigurationError)


def measure(task: Task) -> Measurement:
    """Learn codes with one method and one seed, and ask them.

    Args:
        task: the configuration, the seed, and a method's name as variant.

    Returns:
        mAP and precisions from 0 to 1, the number of distinct codes in the gallery; for networks the information of
        the bits, of their pairs, and of the whole codes (nats, over all that was trained on) and curves of the
        loss's parts over the steps; as tables precision and recall by radius, and which images.
    """
    config: ImsatHashingConfig = task.config.complete()
    points = config.load()
    split = split_queries(points.labels, config.queries_per_class, resolve_generator(seed=task.seed))
    if task.variant in _ROTATIONS:
        return _components(task, config, points, split)
    return _train(task, config, points, split)


def _trained_on(config: ImsatHashingConfig, points: Points, split: QuerySplit) -> torch.Tensor:
    return points.inputs if config.protocol == "official" else points.inputs[split.gallery]


def _components(task: Task, config: ImsatHashingConfig, points: Points, split: QuerySplit) -> Measurement:
    started = time.process_time()
    model = PCAHash(config.n_bits, rotation=_ROTATIONS[task.variant], random_state=task.seed)
    model.fit(_trained_on(config, points, split).numpy())
    seconds = time.process_time() - started
    return _measurement(points, split, model.transform(points.inputs.numpy()), {"CPU seconds of training": seconds})


def _train(task: Task, config: ImsatHashingConfig, points: Points, split: QuerySplit) -> Measurement:
    device = resolve_device(config.device)
    _, parameters = METHODS[task.variant]
    assert config.hidden is not None and config.epochs is not None
    model = IMSATHash(
        config.n_bits,
        **parameters,
        alpha=config.random_alpha if parameters["perturbation"] == "rpt" else config.alpha,
        lam=config.lam,
        hidden=tuple(int(part) for part in config.hidden.split("-")),
        epochs=config.epochs,
        initialization=config.initialization,
        random_state=task.seed,
        device=str(device),
        cache=distance_cache(),
    )
    inputs = _trained_on(config, points, split).numpy()
    model.fit(inputs, checkpoint=task.checkpoint, stop=task.stop)
    history = model.history_
    if history.interrupted:
        return Measurement({}, interrupted=True)
    logits = torch.from_numpy(model.logits(inputs)).double()
    metrics = {
        "loss on all data": model.loss_,
        "CPU seconds of training": history.cpu_seconds,
        "information of the bits": float(bit_information(logits).sum()),
        "information of pairs": float(pairwise_information(logits).sum()) / 2,
    }
    if config.n_bits <= MOST_BITS:
        metrics["information of the codes"] = float(exact_hash_information(logits))
    return _measurement(points, split, model.transform(points.inputs.numpy()), metrics, history)


def _measurement(
    points: Points,
    split: QuerySplit,
    codes: np.ndarray,
    metrics: Mapping[str, float],
    history: History | None = None,
) -> Measurement:
    bits = torch.from_numpy(codes).bool()
    scores: RetrievalScores = evaluate_retrieval(
        bits[split.queries],
        points.labels[split.queries],
        bits[split.gallery],
        points.labels[split.gallery],
        n=min(_N, len(split.gallery)),
        radius=_RADIUS,
    )
    found = {
        "mAP": scores.mean_average_precision,
        f"precision at {_N}": scores.precision_at_n,
        f"precision within radius {_RADIUS}": scores.precision_within_radius,
        "share of empty balls": scores.n_empty / scores.n_queries,
        "distinct codes": len(bits[split.gallery].unique(dim=0)),
    }
    table = {
        "radius": list(range(len(scores.precision_by_radius))),
        "precision": scores.precision_by_radius.tolist(),
        "recall": scores.recall_by_radius.tolist(),
    }
    curves: dict[str, Series] = {}
    if history is not None:
        for name, series in history.metrics.items():
            thin = series.thin(_CURVE)
            curves[name] = Series(thin.steps, tuple(float(f"{value:.6g}") for value in thin.values))
    return Measurement(
        found | dict(metrics),
        curves,
        {"retrieval": table, "data": points.source},
        seconds=None if history is None else history.seconds,
        cpu_seconds=None if history is None else history.cpu_seconds,
    )


def report(records: Sequence[Record]) -> str:
    """Show how well the codes retrieve.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    config = records[0].config
    data = records[0].results[0].tables["data"]
    n_seeds = len(records[0].results)
    title = (
        f"imsat-hashing at {records[0].scale} scale: {config['n_bits']} bits, {data['n_points'][0]:,} images of "
        f"{config['data']}, {config['hidden']}, {config['epochs']} epochs, {n_seeds} seed{'s' if n_seeds > 1 else ''}, "
        f"{records[0].environment.device}"
    )
    names = ("mAP", f"precision at {_N}", f"precision within radius {_RADIUS}", "distinct codes")
    order = list(METHODS)
    rows = tuple(
        (METHODS[record.variant][0], *(str(record.summary[name]) for name in names))
        for record in sorted(records, key=lambda record: order.index(record.variant))
    )
    lines = [title, "", Table(("method", *names), rows, title).to_text(), "", f"images: {data['description'][0]}"]
    trained = "trained on too" if config["protocol"] == "official" else "held out of training"
    lines.append(f"queries: {config['queries_per_class']} of each class at random, {trained}; all others are searched")
    searched = data["n_points"][0] - config["queries_per_class"] * _N_CLASSES
    if searched < _N:
        lines.append(f"precision at {_N}: among all {searched}, as there are no more to search")
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    return "\n".join(lines)


STUDY = Study(
    name="imsat-hashing",
    summary="Can learned bits find similar images? Hash codes by IMSAT and by principal components",
    config=ImsatHashingConfig,
    measure=measure,
    variants=variants,
    report=report,
    check=check,
)
run = STUDY.run
