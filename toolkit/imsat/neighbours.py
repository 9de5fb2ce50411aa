"""How far is the k-th nearest other point? The radius within which a point's neighbours count as the same thing.

Candidates come from matrix products, whose rounding can hide the nearest ones. So each candidate is ranked by the
least distance that rounding allows it, and the distances of the best are computed again by differences. A point that
rounding leaves in doubt is done again in float64, and after that by differences from every other point.
"""

import hashlib
import math
import os
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.errors import WriteError, reject, require
from toolkit.core.files import atomic_write
from toolkit.core.progress import progress_bar

_OPERATION = "neighbour_distances"
# Candidates beyond k: with them, the k nearest of most points are sure after the first pass.
_EXTRA = 8
# Candidates are searched in groups: the best few lie in the groups with the best minima.
_GROUP = 16
_CHUNK = 1024
# Bytes of the largest temporary tensor; the others together take about half as much.
_BUFFER = 1 << 25
# Between these, no square of a number overflows, or vanishes beside the largest.
_ORDINARY = (2.0**-40, 2.0**40)
# Which of two points at the same distance is found does not matter, so their order need not be surer than this.
_TOLERANCE = {torch.float32: 1e-7, torch.float64: 1e-12}


def neighbour_distances(
    x: Shaped[Tensor, "..."],
    k: int = 10,
    *,
    chunk: int | None = None,
    device: torch.device | str | int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Float[Tensor, " points"]:
    """Return the Euclidean distance of each point to its k-th nearest other point.

    A point is not its own neighbour, but another point at the same place is. The radii that IMSAT takes are those of
    k = 10; the file that its authors published holds those of k = 11, in another order of the images
    (https://github.com/weihua916/imsat).

    Args:
        x: (points, features), float32 or float64, finite.
        k: which neighbour, 1 for the nearest.
        chunk: points that are searched for at a time; default: what keeps the memory beside ``x`` near 100 MB.
        device: where to compute, and where the result lies; default: where ``x`` is.
        cache: folder for results, which are found there by the data they were computed from; default: none are kept.
            A file that is damaged is computed anew, a folder that cannot be written is warned about.

    Returns:
        (points,) distances in the units of ``x``, of its type, without a graph. In float64, distances below some
        1e-150 of the largest number are taken for 0.

    Raises:
        ValueError: neither float32 nor float64, no matrix, not finite, ``k`` or fewer points, no such device.
        TypeError: ``x`` is no dense tensor, ``k`` or ``chunk`` no integer, ``cache`` no path.
    """
    _check(x, k, chunk)
    if not (cache is None or isinstance(cache, (str, os.PathLike))):
        reject(_OPERATION, "cache", "a folder or None", repr(cache), kind=TypeError)
    target = resolve_device(device, like=x)
    points = x.detach()
    file = None if cache is None else _cache_file(points, k, Path(cache).expanduser())
    if file is not None:
        kept = _read(file, points)
        if kept is not None:
            return kept.to(target)
    distances = _Search(points.to(target), k).run(chunk)
    if file is not None:
        try:
            with atomic_write(file) as handle:
                np.savez(handle, distances=distances.cpu().numpy(), key=file.stem)
        except OSError as error:
            why = str(error) if isinstance(error, WriteError) else f"{file}: {error.strerror or error}"
            warnings.warn(f"{_OPERATION}: the result is not kept for the next time: {why}", stacklevel=2)
    return distances


def _check(x: object, k: object, chunk: object) -> None:
    if not isinstance(x, Tensor) or x.layout != torch.strided:
        actual = x.layout if isinstance(x, Tensor) else type(x).__name__
        reject(_OPERATION, "x", "a dense tensor", actual, kind=TypeError)
    require(x.dtype in _TOLERANCE, _OPERATION, "x", "float32 or float64", x.dtype)
    for name, value in (("k", k), ("chunk", chunk)):
        if isinstance(value, bool) or not (isinstance(value, int) or (value is None and name == "chunk")):
            reject(_OPERATION, name, "an integer", repr(value), kind=TypeError)
        require(value is None or value >= 1, _OPERATION, name, "at least 1", value)
    require(x.ndim == 2, _OPERATION, "x", "(points, features)", tuple(x.shape))
    expected = f"fewer than the {len(x)} points, as a point is not its own neighbour"
    require(k < len(x), _OPERATION, "k", expected, k)  # type: ignore[operator]
    if x.numel():
        # Neither extreme is finite if any number is not; unlike isfinite, this makes no copy.
        low, high = (float(extreme) for extreme in torch.aminmax(x.detach()))
        finite = math.isfinite(low) and math.isfinite(high)
        require(finite, _OPERATION, "x", "finite numbers", f"values between {low} and {high}")


class _Search:
    """The points, and how to find the neighbours of some of them."""

    def __init__(self, points: Float[Tensor, "points features"], k: int):
        self.points, self.k = points, k
        self.n_points, self.n_features = points.shape
        self.n_candidates = min(k + _EXTRA, self.n_points - 1)
        # float64 is the last resort, and a device without it (mps) has to do with what it has.
        self.wide = points.dtype if points.device.type == "mps" else torch.float64
        self.scale = self._power_of_two()
        self.centre = self._mean()
        self._squared_lengths: dict[torch.dtype, Tensor] = {}

    def run(self, chunk: int | None) -> Float[Tensor, " points"]:
        """Return the distance of every point to its k-th neighbour."""
        if chunk is None:
            chunk = max(min(_CHUNK, _BUFFER // 4 // max(self.n_features, 8 * self.n_candidates)), 1)
        squares = torch.empty(self.n_points, dtype=self.wide, device=self.points.device)
        # What is over at once needs no bar: hence the delay.
        with torch.no_grad(), progress_bar(self.n_points, "neighbours", unit="point", delay=2) as bar:
            for rows in torch.arange(self.n_points, device=self.points.device).split(chunk):
                squares[rows] = self._squares(rows)
                bar.update(len(rows))
        return (squares.sqrt_() * self.scale).to(self.points.dtype)

    def _squares(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """Return the squared distances of some points to their k-th neighbours, in units of ``scale``."""
        result = torch.empty(len(rows), dtype=self.wide, device=rows.device)
        doubtful = torch.arange(len(rows), device=rows.device)
        for dtype in dict.fromkeys((self.points.dtype, self.wide)):
            found, sure = self._by_products(rows[doubtful], dtype)
            result[doubtful] = found
            doubtful = doubtful[~sure]
            if not len(doubtful):
                return result
        result[doubtful] = self._by_differences(rows[doubtful])
        return result

    def _by_products(self, rows: Int[Tensor, " rows"], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the squared distances (rows,) found among the likely candidates, and for which rows they are sure."""
        own = self._centred(self.points[rows], dtype)
        lengths = self._lengths(dtype)
        # |a|² + |b|² − 2ab errs by at most this share of |a|² + |b|²: d roundings in each product, and a few more.
        info = torch.finfo(dtype)
        share = (self.n_features + 8) * info.eps
        best = torch.empty((len(rows), 0), dtype=dtype, device=rows.device)
        which = torch.empty((len(rows), 0), dtype=torch.long, device=rows.device)
        width = max(_BUFFER // own.element_size() // max(len(rows), self.n_features), 1)
        width = min(width, self.n_points)
        buffer = torch.empty(len(rows) * width, dtype=dtype, device=rows.device)
        for start in range(0, self.n_points, width):
            others = self._centred(self.points[start : start + width], dtype)
            bounds = buffer[: len(rows) * len(others)].view(len(rows), len(others))
            torch.addmm(lengths[start : start + width] * (1 - share), own, others.T, alpha=-2, out=bounds)
            here = (rows >= start) & (rows < start + len(others))
            bounds[here, rows[here] - start] = math.inf
            values, columns = _smallest(bounds, self.n_candidates)
            best, which = torch.cat((best, values), 1), torch.cat((which, columns + start), 1)
            best, order = best.topk(min(self.n_candidates, best.shape[1]), 1, largest=False)
            which = which.gather(1, order)
            del others  # before the next ones are made
        lower = best + (lengths[rows, None] * (1 - share) - 8 * self.n_features * info.tiny)
        squares = self._squared_distances(rows, which)
        kth = squares.kthvalue(self.k, 1).values
        if self.n_candidates == self.n_points - 1:
            return kth, torch.ones_like(rows, dtype=torch.bool)
        sure = (kth == 0) | (lower[:, -1].to(self.wide) >= kth * (1 - _TOLERANCE[self.points.dtype]))
        # Products in reduced precision (TF32, say) break the bounds, and show it here.
        sure &= (lower <= squares * (1 + 8 * torch.finfo(self.points.dtype).eps)).all()
        return kth, sure

    def _by_differences(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """Return the squared distances (rows,), having computed those to every point by differences."""
        best = torch.empty((len(rows), 0), dtype=self.wide, device=rows.device)
        own = self._scaled(self.points[rows])
        width = max(_BUFFER // 8 // max(len(rows), self.n_features), 1)
        for start in range(0, self.n_points, width):
            others = self._scaled(self.points[start : start + width])
            distances = torch.cdist(own, others, compute_mode="donot_use_mm_for_euclid_dist")
            here = (rows >= start) & (rows < start + len(others))
            distances[here, rows[here] - start] = math.inf
            best = torch.cat((best, _smallest(distances, self.k).values), 1)
            best = _smallest(best, self.k).values
            del others, distances  # before the next ones are made
        return best.amax(1).square()

    def _squared_distances(
        self, rows: Int[Tensor, " rows"], others: Int[Tensor, "rows others"]
    ) -> Float[Tensor, "rows others"]:
        """Return the squared distances between points and those named for each, by differences, in units of scale²."""
        result = torch.empty(others.shape, dtype=self.wide, device=rows.device)
        columns = self._block()
        step = max(columns // others.shape[1], 1)
        for start in range(0, len(rows), step):
            own = self.points[rows[start : start + step], None]
            for first in range(0, others.shape[1], columns):
                part = slice(start, start + step), slice(first, first + columns)
                difference = self._scaled(self.points[others[part]].sub_(own))
                result[part] = difference.square_().sum(-1)
        return result

    def _scaled(self, numbers: Float[Tensor, "..."], dtype: torch.dtype | None = None) -> Float[Tensor, "..."]:
        """Return a copy in units of ``scale``, in the widest type unless told otherwise."""
        copy = numbers.to(self.wide if dtype is None else dtype, copy=True)
        return copy if self.scale == 1 else copy.mul_(1 / self.scale)

    def _centred(self, block: Float[Tensor, "rows features"], dtype: torch.dtype) -> Float[Tensor, "rows features"]:
        """Return points about the centre in units of ``scale``: the products of small numbers lose less."""
        return self._scaled(block, dtype).sub_(self.centre.to(dtype))

    def _lengths(self, dtype: torch.dtype) -> Float[Tensor, " points"]:
        """Return |b|² of each point about the centre."""
        if dtype not in self._squared_lengths:
            result = torch.empty(self.n_points, dtype=dtype, device=self.points.device)
            for start in range(0, self.n_points, self._block()):
                part = slice(start, start + self._block())
                result[part] = self._centred(self.points[part], dtype).square_().sum(1)
            self._squared_lengths[dtype] = result
        return self._squared_lengths[dtype]

    def _block(self) -> int:
        """Return of how many points a copy is small."""
        return max(_BUFFER // 32 // max(self.n_features, 1), 1)

    def _power_of_two(self) -> float:
        """Return what brings the largest number near 1 if it is far from it; a power of 2 rounds nothing."""
        if not self.points.numel():
            return 1.0
        largest = max(abs(float(extreme)) for extreme in torch.aminmax(self.points))
        if largest == 0 or _ORDINARY[0] <= largest <= _ORDINARY[1]:
            return 1.0
        limit = 125 if self.points.dtype == torch.float32 else 1021
        return 2.0 ** min(max(math.frexp(largest)[1], -limit), limit)

    def _mean(self) -> Float[Tensor, " features"]:
        total = torch.zeros(self.n_features, dtype=self.wide, device=self.points.device)
        for block in self.points.split(self._block()):
            total += self._scaled(block).sum(0)
        return total / self.n_points


class _Smallest(NamedTuple):
    values: Tensor
    columns: Tensor


def _smallest(values: Float[Tensor, "rows columns"], n: int) -> _Smallest:
    """Return the ``n`` smallest values of each row (all, if there are fewer) and their columns, both (rows, n)."""
    rows, columns = values.shape
    n_groups = columns // _GROUP
    if n_groups <= 2 * n:
        return _Smallest(*values.topk(min(n, columns), 1, largest=False))
    whole = n_groups * _GROUP
    # Members of a group lie n_groups apart, so that the minima are taken along memory.
    grouped = values[:, :whole].view(rows, _GROUP, n_groups)
    groups = grouped.amin(1).topk(n, 1, largest=False).indices
    members = (groups[:, None] + n_groups * torch.arange(_GROUP, device=values.device)[:, None]).flatten(1)
    rest = torch.arange(whole, columns, device=values.device).expand(rows, -1)
    candidates = torch.cat((members, rest), 1)
    found, order = values.gather(1, candidates).topk(n, 1, largest=False)
    return _Smallest(found, candidates.gather(1, order))


def _cache_file(points: Float[Tensor, "points features"], k: int, folder: Path) -> Path:
    array = np.ascontiguousarray(points.cpu().numpy())
    digest = hashlib.sha256(f"neighbour distances 1, {array.shape} {array.dtype}, k={k}\n".encode())
    digest.update(array.data)
    return folder / f"neighbours-{digest.hexdigest()}.npz"


def _read(file: Path, points: Float[Tensor, "points features"]) -> Tensor | None:
    """Return what a file of the cache holds, or nothing if it is not there or not what it should be."""
    try:
        with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as held:
            distances, key = held["distances"], held["key"]
    # What a damaged archive raises depends on where the damage is.
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile):
        return None
    expected = np.dtype(str(points.dtype).removeprefix("torch."))
    good = key.shape == () and str(key) == file.stem and distances.shape == (len(points),)
    good = good and distances.dtype == expected and bool((np.isfinite(distances) & (distances >= 0)).all())
    return torch.from_numpy(distances) if good else None
