"""What a method's clusters hold: counts of classes against clusters, and the images of one cluster.

The clusters stand in the order of the classes that they match under the best one-to-one match, the one that accuracy
is measured with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments.imsat_data import Points
from toolkit.explorers.clusterings import Clustering, examine
from toolkit.explorers.confusion_counts import draw_counts
from toolkit.lessons import View, controls, style

SHOWN, _ACROSS = 20, 5
ALL, WRONG = "all", "of another class"
ORDERS = ("most certain first", "least certain first")
_BY_DISTANCE = {ORDERS[0]: "nearest to the cluster's centre first", ORDERS[1]: "farthest from it first"}
_WIDTH, _HALF, _TOP, _SIDE, _IMAGE = 712.0, 376.0, 66.0, 330.0, 48.0
_SMALL, _WORDS, _TITLE = 11.0, 12.0, 14.0


@dataclass(frozen=True, repr=False, eq=False)
class ClusterLook:
    """One cluster of one method, and some of its images.

    Attributes:
        clustering: all clusters of the method.
        class_names: of all classes.
        wanted: the class whose cluster was asked for, ``None`` for one of those without a class.
        column: its column of the counts; ``None``: no cluster of the method matches the class.
        which: ``ALL``, ``WRONG`` or a class' name.
        order: one of ``ORDERS``.
        found: how many images of the cluster ``which`` means.
        images: those shown, pixels from 0 to 1.
        labels: their classes.
        certainty: of each; ``None`` where the method gives none.
    """

    clustering: Clustering
    class_names: tuple[str, ...]
    wanted: int | None
    column: int | None
    which: str
    order: str
    found: int
    images: Float[np.ndarray, "shown height width"]
    labels: tuple[int, ...]
    certainty: Float[np.ndarray, " shown"] | None

    @property
    def match(self) -> int | None:
        """The class that the cluster matches, or None."""
        return None if self.column is None else self.clustering.confusion.matches[self.column]

    def __repr__(self) -> str:
        return f"ClusterLook({self.clustering.method}, column {self.column}: {len(self.labels)} of {self.found} images)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def look_at(
    points: Points,
    clustering: Clustering,
    wanted: int | None,
    further: int = 0,
    which: str = ALL,
    order: str = ORDERS[0],
) -> ClusterLook:
    """Pick a cluster and some of its images.

    Args:
        points: the images.
        clustering: a method's clusters on them.
        wanted: the class whose cluster is looked at; ``None`` for one that matches no class.
        further: which of those, from 0.
        which: ``ALL``, ``WRONG`` (of another class than the matched one) or the name of a class.
        order: one of ``ORDERS``; images of equal certainty, to six digits, stay in the order of the data.

    Raises:
        ValueError: an unknown class, choice or order.
    """
    names = points.class_names
    require(wanted is None or 0 <= wanted < len(names), "look_at", "wanted", f"0 to {len(names) - 1} or None", wanted)
    require(which in (ALL, WRONG, *names), "look_at", "which", f"{ALL!r}, {WRONG!r} or a class", repr(which))
    require(order in ORDERS, "look_at", "order", f"one of {ORDERS}", repr(order))
    matches = clustering.confusion.matches
    columns = [column for column, match in enumerate(matches) if match == wanted]
    place = further if wanted is None else 0
    column = columns[place] if 0 <= place < len(columns) else None
    labels = points.labels.numpy()
    chosen = np.empty(0, dtype=int)
    if column is not None:
        inside = clustering.clusters == clustering.confusion.clusters[column]
        if which == WRONG:
            inside = inside & (labels != (-1 if wanted is None else wanted))
        elif which != ALL:
            inside = inside & (labels == names.index(which))
        chosen = np.flatnonzero(inside)
        if clustering.certainty is not None:
            sign = 1 if order == ORDERS[1] else -1
            chosen = chosen[np.argsort(sign * clustering.certainty[chosen].round(6), kind="stable")]
    shown = chosen[:SHOWN]
    images = ((points.inputs[shown].numpy() + 1) / 2).reshape(-1, *points.image_shape)
    certainty = None if clustering.certainty is None else clustering.certainty[shown]
    classes = tuple(labels[shown].tolist())
    return ClusterLook(clustering, names, wanted, column, which, order, len(chosen), images, classes, certainty)


def draw(look: ClusterLook) -> Svg:
    """Draw the counts on the left, the cluster framed, and its images on the right, those of other classes framed."""
    picture = Svg(_WIDTH, _TOP + _SIDE + 52)
    picture.text(14, 24, shorten(_finding(look), _WIDTH - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    picture.text(14, _TOP - 18, "images of each class (row) in each cluster", size=_WORDS, fill=style.GREY)
    confusion = look.clustering.confusion
    names = [look.class_names[label] for label in confusion.classes]
    draw_counts(picture, confusion, names, look.column, (12.0, _TOP, _HALF - 12, _SIDE))
    _draw_images(picture, look, _HALF + 22, _TOP)
    return picture


def _draw_images(picture: Svg, look: ClusterLook, left: float, top: float) -> None:
    picture.text(left, top - 18, shorten(_shown(look), _WIDTH - left - 6, _WORDS), size=_WORDS, fill=style.GREY)
    height, width = look.images.shape[1:]
    scale = _IMAGE / max(height, width)
    step_x, step_y = (_WIDTH - left - 8) / _ACROSS, _IMAGE + 32
    certain = look.certainty is not None and look.clustering.measure.startswith("p(")
    for place, (image, label) in enumerate(zip(look.images, look.labels, strict=True)):
        x, y = left + step_x * (place % _ACROSS), top + step_y * (place // _ACROSS)
        wrong = label != look.match
        picture.image(x, y, scale * width, scale * height, image)
        picture.rectangle(
            x,
            y,
            scale * width,
            scale * height,
            fill="none",
            stroke=style.VERMILION if wrong else "#b0b0b0",
            stroke_width=3 if wrong else 1,
        )
        caption = look.class_names[label]
        if look.certainty is not None and certain:
            longer = f"{caption}: {look.certainty[place]:.2f}"
            caption = longer if text_width(longer, _SMALL, bold=wrong) <= step_x - 2 else caption
        caption = shorten(caption, step_x - 2, _SMALL, bold=wrong)
        picture.text(x, y + _IMAGE + 15, caption, size=_SMALL, bold=wrong)
    if look.labels:
        words = f"true class{': p(cluster | image)' if certain else ''}; framed: another"
        words = shorten(words, _WIDTH - left - 6, _WORDS)
        picture.text(left, top + _SIDE + 36, words, size=_WORDS, fill=style.GREY)
    else:
        picture.text(left, top + 14, "none of its images" if look.column is not None else "no cluster", size=_WORDS)


def _shown(look: ClusterLook) -> str:
    if not look.labels:
        return ""
    kind = {ALL: "images", WRONG: "of another class"}.get(look.which, f"of {look.which}")
    count = f"{len(look.labels)} of its {look.found} {kind}"
    return f"{count}, {_order(look)}" if look.certainty is not None else count


def _order(look: ClusterLook) -> str:
    return look.order if look.clustering.measure.startswith("p(") else _BY_DISTANCE[look.order]


def _finding(look: ClusterLook) -> str:
    text = f"{look.clustering.method}: {100 * look.clustering.scores.accuracy:.1f} % in the right cluster"
    if look.column is None:
        return text if look.wanted is None else f"{text}; no cluster matches {look.class_names[look.wanted]}"
    own, total = _own(look)
    match = look.match
    if match is None:
        return f"{text}; this one matches no class"
    name = look.class_names[match]
    return f"{text}; in that of {name}, {100 * own / total:.0f} % are {name}"


def _own(look: ClusterLook) -> tuple[int, int]:
    """Return how many images of the matched class the cluster holds, and how many in all."""
    column = look.clustering.confusion.counts[:, look.column]
    classes = look.clustering.confusion.classes
    own = 0 if look.match is None else int(column[classes.index(look.match)])
    return own, int(column.sum())


def describe(look: ClusterLook) -> str:
    """Say how good the clusters are, what the chosen one holds, and which of its images are shown."""
    clustering, confusion = look.clustering, look.clustering.confusion
    n, scores = int(confusion.counts.sum()), clustering.scores
    trained = f", after {clustering.training}," if clustering.training else ""
    text = (
        f"{clustering.method}{trained} puts {round(scores.accuracy * n):,} of {n:,} images into the right cluster "
        f"({100 * scores.accuracy:.1f} %); normalised mutual information {scores.normalized_mutual_information:.2f}."
    )
    if look.column is None:
        return f"{text} {_without(look)}"
    own, total = _own(look)
    cluster = confusion.clusters[look.column]
    if look.match is None:
        holds = f"Cluster {cluster} matches no class; it holds {total:,} images"
    else:
        holds = f"Cluster {cluster}, matched with {look.class_names[look.match]}, holds {total:,} images"
    return f"{text} {holds}: {_contents(look, own, total)}. {_which(look)}"


def _contents(look: ClusterLook, own: int, total: int) -> str:
    column = look.clustering.confusion.counts[:, look.column]
    names = [look.class_names[label] for label in look.clustering.confusion.classes]
    listed = []
    if look.match is not None:
        name = look.class_names[look.match]
        listed.append(f"{own:,} of {name} ({100 * own / total:.0f} %)" if own else f"none of {name}")
    others = [
        (int(count), name, label)
        for count, name, label in zip(column, names, look.clustering.confusion.classes, strict=True)
        if count and label != look.match
    ]
    others.sort(key=lambda entry: -entry[0])
    listed += [f"{count:,} of {name}" for count, name, _ in others[:3]]
    rest = sum(count for count, *_ in others[3:])
    if rest:
        listed.append(f"{rest:,} of {len(others) - 3} more")
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]


def _which(look: ClusterLook) -> str:
    n = len(look.labels)
    if n == 0:
        kind = "of another class" if look.which == WRONG else f"of {look.which}"
        return f"None of them is {kind}."
    first = f"{n} of the {look.found}" if n < look.found else f"all {n}"
    kinds = {ALL: "", WRONG: " of another class"}
    which = f"Shown: {first}{kinds.get(look.which, f' of {look.which}')}"
    if look.certainty is None:
        return f"{which}, in the order of the data: labels alone say nothing of certainty."
    text = f"{which}, {_order(look)}"
    if not look.clustering.measure.startswith("p("):
        return f"{text}."
    return f"{text}: {look.clustering.measure} from {look.certainty[0]:.2f} to {look.certainty[-1]:.2f}."


def _without(look: ClusterLook) -> str:
    if look.wanted is None:
        return "It has no such further cluster."
    confusion = look.clustering.confusion
    row = confusion.counts[confusion.classes.index(look.wanted)]
    largest = int(row.argmax())
    return (
        f"None of its {row.size} clusters matches {look.class_names[look.wanted]}; most images of that class, "
        f"{row[largest]:,} of {row.sum():,}, are in cluster {confusion.clusters[largest]}."
    )


def explore_cluster_images(points: Points, models: Mapping[str, Any]) -> View:
    """Return a view of methods' clusters: pick a method, a cluster by its class, and which of its images.

    Args:
        points: the images, as from :func:`toolkit.experiments.imsat_data.load_points`.
        models: by the name shown, a fitted estimator or the cluster of each image.

    Raises:
        ValueError: no model, or not one label for each image.
    """
    require(len(models) > 0, "explore_cluster_images", "models", "at least one", dict(models))
    found = {name: examine(name, model, points) for name, model in models.items()}
    first = next(iter(found.values()))
    classes = first.confusion.classes
    names = {points.class_names[label]: label for label in classes}
    without = max(one.confusion.matches.count(None) for one in found.values())
    places = {f"that of {name}": (label, 0) for name, label in names.items()}
    places |= {f"without a class, {number + 1}": (None, number) for number in range(without)}
    least = min(classes, key=lambda label: _purity(first, label))

    def compute(method: str, place: tuple[int | None, int], which: str, order: str) -> ClusterLook:
        wanted, further = place
        return look_at(points, found[method], wanted, further, which, order)

    kinds = {"all its images": ALL, "those of another class": WRONG} | {f"those of {name}": name for name in names}
    choices = {
        "method": controls.choice("method", list(found)),
        "place": controls.choice("cluster", places, (least, 0)),
        "which": controls.choice("show", kinds),
        "order": controls.choice("order", ORDERS),
    }
    return View(choices, compute, draw, describe)


def _purity(clustering: Clustering, label: int) -> float:
    confusion = clustering.confusion
    if label not in confusion.matches:
        return 2.0
    column = confusion.counts[:, confusion.matches.index(label)]
    return float(column[confusion.classes.index(label)] / column.sum())
