"""How well hash codes retrieve points of the same class: Hamming distances, and scores over queries.

Distances between codes of a few bits are mostly ties, so nothing is sorted: for each query the gallery points and
those of its class are counted at every distance, and all scores follow from the two counts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from toolkit.core.devices import draw_permutation, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.imsat.hamming import distance_blocks, pack_codes, read_codes
from toolkit.imsat.labels import NAMES, read_labels

TIES = ("expected", "order")
_NAMES_OF_SCORES = ("mean_average_precision", "precision_at_n", "precision_within_radius")


@dataclass(frozen=True, repr=False, eq=False)
class RetrievalScores:
    """Means over queries, and how sure they are.

    A query whose class is not in the gallery scores 0 in everything.

    Attributes:
        mean_average_precision: each tied distance is one step of a query's precision-recall curve, as in
            ``sklearn.metrics.average_precision_score(same_class, 1 / (1 + distance))``.
        precision_at_n: share of the query's class among its ``n`` nearest points.
        precision_within_radius: share of it among the points at distance ``radius`` or less; 0 if there are none.
        standard_errors: of these three by name, over queries; NaN for a single query.
        precision_by_radius: ``precision_within_radius`` at 0, 1, …, all bits.
        recall_by_radius: share of the class's gallery points within each radius.
        precision_standard_errors: of ``precision_by_radius``, over queries.
        recall_standard_errors: of ``recall_by_radius``, over queries.
        retrieved_by_radius: mean number of points within each radius.
        average_precisions: of each query.
        n: how many nearest points: what was asked for, or the whole gallery if that is fewer.
        radius: as asked for.
        n_queries: how many queries.
        n_gallery: how many gallery points.
        n_empty: queries with no point within ``radius``.
        n_without_relevant: queries whose class is not in the gallery.
    """

    mean_average_precision: float
    precision_at_n: float
    precision_within_radius: float
    standard_errors: dict[str, float]
    precision_by_radius: Float64[Tensor, " radii"]
    recall_by_radius: Float64[Tensor, " radii"]
    precision_standard_errors: Float64[Tensor, " radii"]
    recall_standard_errors: Float64[Tensor, " radii"]
    retrieved_by_radius: Float64[Tensor, " radii"]
    average_precisions: Float64[Tensor, " queries"]
    n: int
    radius: int
    n_queries: int
    n_gallery: int
    n_empty: int
    n_without_relevant: int

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={getattr(self, name):.4f} ± {self.standard_errors[name]:.4f}" for name in _NAMES_OF_SCORES
        )
        return f"RetrievalScores({values}; {self.n_queries} queries, {self.n_gallery} points)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, tensors as lists."""
        return {
            name: value.tolist() if isinstance(value, Tensor) else dict(value) if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True, repr=False, eq=False)
class QuerySplit:
    """Which points ask and which are searched.

    Attributes:
        queries: indices of the queries, class by class.
        gallery: indices of all the other points, in ascending order.
    """

    queries: Int64[Tensor, " queries"]
    gallery: Int64[Tensor, " gallery"]

    def __repr__(self) -> str:
        return f"QuerySplit({len(self.queries)} queries, {len(self.gallery)} points in the gallery)"

    def to_dict(self) -> dict[str, list[int]]:
        """Return the fields by name, as lists."""
        return {"queries": self.queries.tolist(), "gallery": self.gallery.tolist()}


def evaluate_retrieval(
    query_codes: object,
    query_labels: object,
    gallery_codes: object,
    gallery_labels: object,
    *,
    n: int = 500,
    radius: int = 2,
    ties: str = "expected",
    device: torch.device | str | None = None,
) -> RetrievalScores:
    """Search the gallery for points of each query's class by the distance of the codes.

    A query that is also in the gallery finds itself: keep them apart, as :func:`split_queries` does.

    Args:
        query_codes: codes ``[queries, bits]`` as for :func:`~toolkit.imsat.hamming.pack_codes`.
        query_labels: class of each query, ``[queries]``: integers or strings.
        gallery_codes: codes ``[gallery, bits]``.
        gallery_labels: class of each gallery point, ``[gallery]``.
        n: how many nearest points count in ``precision_at_n``; all, if the gallery has fewer.
        radius: largest distance that counts in ``precision_within_radius``.
        ties: which of the points at the distance where the n nearest end count among them. ``"expected"``: each in
            part, the mean over all orders of the tied points. ``"order"``: the first in the gallery's order, as a
            stable sort by distance gives; the score then depends on that order.
        device: where to compute; default: where the codes are.

    Returns:
        The scores; tensors are on the CPU.

    Raises:
        ValueError: no queries or gallery, shapes that do not fit, bad labels, codes with other values than 0 and 1.
        TypeError: codes or labels that are none, ``n`` or ``radius`` no integer.
    """
    operation = "evaluate_retrieval"
    _check_integer(operation, "n", n, 1)
    _check_integer(operation, "radius", radius, 0)
    require(ties in TIES, operation, "ties", " or ".join(map(repr, TIES)), repr(ties))
    queries = read_codes(operation, "query_codes", query_codes)
    gallery = read_codes(operation, "gallery_codes", gallery_codes)
    n_bits = queries.shape[1]
    require(gallery.shape[1] == n_bits, operation, "gallery_codes", f"{n_bits} bits as the queries", gallery.shape[1])
    classes, members = _read_classes(operation, (query_labels, len(queries)), (gallery_labels, len(gallery)))
    place = resolve_device(device, like=[queries, gallery] if device is None else None)

    order = torch.from_numpy(np.argsort(members, kind="stable"))
    ends = torch.from_numpy(np.cumsum(np.bincount(members, minlength=int(classes.max()) + 1)))
    starts = torch.cat((ends.new_zeros(1), ends[:-1]))
    queries, gallery = pack_codes(queries.to(place)), pack_codes(gallery.to(place))[order.to(place)]
    n, radius = min(int(n), len(gallery)), int(radius)
    spans = torch.stack((starts, ends), 1)[torch.from_numpy(classes)].tolist()
    counts, relevant, picked = _count(queries, gallery, spans, n_bits, n, order.to(place) if ties == "order" else None)
    return _scores(counts, relevant, picked, n, radius)


def split_queries(labels: object, per_class: int = 100, generator: torch.Generator | None = None) -> QuerySplit:
    """Draw queries at random, as many from each class; all other points are the gallery.

    Args:
        labels: class of each point, ``[points]``: integers or strings.
        per_class: queries from each class; 100 in the authors' code.
        generator: draws them; the default is a new one.

    Returns:
        The indices of both, on the CPU.

    Raises:
        ValueError: a class has no more than ``per_class`` points, or bad labels.
        TypeError: ``per_class`` is no integer.
    """
    operation = "split_queries"
    _check_integer(operation, "per_class", per_class, 1)
    generator = resolve_generator(generator)
    names, members = np.unique(read_labels(operation, "labels", labels), return_inverse=True)
    sizes = np.bincount(members)
    smallest = int(sizes.argmin())
    expected = f"fewer than the points of the smallest class: class {names[smallest]} has {sizes[smallest]}"
    require(per_class < sizes[smallest].item(), operation, "per_class", expected, per_class)
    points = torch.from_numpy(np.argsort(members, kind="stable"))
    queries = torch.cat(
        [
            group[draw_permutation(len(group), generator=generator, device="cpu")[:per_class]]
            for group in points.split(sizes.tolist())
        ]
    )
    left = torch.ones(len(members), dtype=torch.bool)
    left[queries] = False
    return QuerySplit(queries, left.nonzero()[:, 0])


def _check_integer(operation: str, argument: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        reject(operation, argument, "an integer", repr(value), kind=TypeError)
    require(bool(value >= least), operation, argument, f">= {least}", value)


def _read_classes(
    operation: str, queries: tuple[object, int], gallery: tuple[object, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Number the classes of both sets of labels together; each comes with how many there must be."""
    read = []
    for argument, (labels, expected) in (("query_labels", queries), ("gallery_labels", gallery)):
        found = read_labels(operation, argument, labels)
        require(len(found) == expected, operation, argument, f"one for each code: {expected}", len(found))
        read.append(found)
    named = [values.dtype.kind in NAMES for values in read]
    require(
        named[0] == named[1], operation, "gallery_labels", f"labels like the queries', {read[0].dtype}", read[1].dtype
    )
    members = np.unique(np.concatenate(read), return_inverse=True)[1]
    return members[: len(read[0])], members[len(read[0]) :]


def _count(
    queries: Tensor, gallery: Tensor, spans: list[list[int]], n_bits: int, n: int, order: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Count the points of a gallery sorted by class at each distance.

    Args:
        queries: packed codes.
        gallery: packed codes, sorted by class.
        spans: for each query where its class begins and ends in the gallery.
        n_bits: bits of a code.
        n: how many nearest points to pick.
        order: each gallery point's place before sorting; ``None`` if nothing need be picked.

    Returns:
        ``[queries, n_bits + 1]`` counts of all points and of those of the query's class, and ``[queries]`` how many of
        the class are among the ``n`` nearest, ties in their order (``None`` without an order).
    """
    counts = torch.empty(len(queries), n_bits + 1, dtype=torch.int64, device=queries.device)
    relevant = torch.empty_like(counts)
    picked = None if order is None else counts.new_empty(len(queries))
    query = 0
    for block in distance_blocks(queries, gallery):
        for row in block:
            start, end = spans[query]
            counts[query] = torch.bincount(row, minlength=n_bits + 1)
            relevant[query] = torch.bincount(row[start:end], minlength=n_bits + 1)
            if order is not None and picked is not None:
                cut = int((counts[query].cumsum(0) < n).sum())
                missing = n - int(counts[query, :cut].sum())
                tied = row == cut
                last = order[tied].kthvalue(missing).values
                first = tied[start:end] & (order[start:end] <= last)
                picked[query] = relevant[query, :cut].sum() + first.sum()
            query += 1
    return counts.cpu(), relevant.cpu(), None if picked is None else picked.cpu()


def _scores(counts: Tensor, relevant: Tensor, picked: Tensor | None, n: int, radius: int) -> RetrievalScores:
    within, found = counts.cumsum(1), relevant.cumsum(1)
    total = found[:, -1:]
    # 0 / 0 is 0 throughout: an empty ball, or no point of the class.
    precision = found.double() / within.clamp(min=1)
    recall = found.double() / total.clamp(min=1)
    average = (relevant.double() / total.clamp(min=1) * precision).sum(1)
    if picked is None:
        cut = (within < n).sum(1, keepdim=True)
        tied, tied_relevant = counts.gather(1, cut), relevant.gather(1, cut)
        missing = n - (within.gather(1, cut) - tied)
        expected = found.gather(1, cut) - tied_relevant + missing * tied_relevant.double() / tied
        at_n = expected[:, 0] / n
    else:
        at_n = picked.double() / n
    ball = min(radius, counts.shape[1] - 1)
    values = dict(zip(_NAMES_OF_SCORES, (average, at_n, precision[:, ball]), strict=True))
    return RetrievalScores(
        **{name: float(value.mean()) for name, value in values.items()},
        standard_errors={name: float(_standard_error(value)) for name, value in values.items()},
        precision_by_radius=precision.mean(0),
        recall_by_radius=recall.mean(0),
        precision_standard_errors=_standard_error(precision),
        recall_standard_errors=_standard_error(recall),
        retrieved_by_radius=within.double().mean(0),
        average_precisions=average,
        n=n,
        radius=radius,
        n_queries=len(counts),
        n_gallery=int(within[0, -1]),
        n_empty=int((within[:, ball] == 0).sum()),
        n_without_relevant=int((total == 0).sum()),
    )


def _standard_error(values: Tensor) -> Tensor:
    if len(values) == 1:
        return torch.full_like(values[0], float("nan"))
    return values.std(0) / len(values) ** 0.5
