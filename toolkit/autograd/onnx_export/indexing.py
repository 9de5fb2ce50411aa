"""The ONNX form of ``x[index]`` with NumPy's rules."""

from typing import Any

import numpy as np

from toolkit.autograd.onnx_export.elementary import NoForm, form
from toolkit.autograd.onnx_export.graph import GraphBuilder
from toolkit.autograd.onnx_export.merging import Length, Merged, MergedStep

_FIRST, _LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@form("get_item")
def _get_item(g: GraphBuilder, step: MergedStep) -> str:
    source = step.inputs[0]
    assert source is not None
    shape = source.shape or ()
    index = step.params["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [piece for part in parts for piece in _without_masks(part)]
    arrays = any(isinstance(part, Merged) for part in parts)
    apart = arrays and _apart(parts)
    parts = _whole(parts, len(shape))
    x = _sliced(g, g.value(source), parts, shape)
    if arrays:
        return _gathered(g, x, parts, apart)
    numbers = [(axis, part) for axis, part in enumerate(p for p in parts if p is not None) if isinstance(part, int)]
    if numbers:
        x = g.node("Squeeze", x, g.integers([axis for axis, _ in numbers]))
    return _with_new_axes(g, x, [part for part in parts if not isinstance(part, int)])


def _without_masks(part: Any) -> list[Any]:
    """Return the places where a mask holds, one array an axis of the mask; other parts as they are."""
    if not isinstance(part, Merged) or part.dtype != np.dtype(bool):
        return [part]
    if part.source is not None or part.value.shape != part.shape or not part.shape:
        raise NoForm("x[mask] with a mask that is computed")
    return [Merged(None, places, places.shape, places.dtype) for places in np.nonzero(part.value)]


def _apart(parts: list[Any]) -> bool:
    """Return whether something stands between the arrays (and integers), whose axes then come first."""
    chosen = [k for k, part in enumerate(parts) if isinstance(part, Merged | int)]
    return chosen[-1] - chosen[0] + 1 != len(chosen)


def _whole(parts: list[Any], n_axes: int) -> list[Any]:
    """Spell out the ellipsis, or the axes left out at the end."""
    missing = n_axes - sum(part is not None and part is not Ellipsis for part in parts)
    place = next((k for k, part in enumerate(parts) if part is Ellipsis), None)
    filling = [slice(None)] * missing
    return parts + filling if place is None else parts[:place] + filling + parts[place + 1 :]


def _sliced(g: GraphBuilder, x: str, parts: list[Any], shape: tuple[Length, ...]) -> str:
    """Apply the slices, and the integers as slices of length one where there are no arrays."""
    arrays = any(isinstance(part, Merged) for part in parts)
    starts: list[Length] = []
    stops: list[Length] = []
    axes, steps = [], []
    for axis, part in enumerate(part for part in parts if part is not None):
        if isinstance(part, int) and not arrays:
            part = slice(part, part + 1 if part != -1 else None, 1)
        if not isinstance(part, slice) or part == slice(None):
            continue
        step = 1 if part.step is None else part.step
        stop = None if step > 0 and part.stop == shape[axis] else part.stop
        starts.append((0 if step > 0 else _LAST) if part.start is None else part.start)
        stops.append((_LAST if step > 0 else _FIRST) if stop is None else stop)
        axes.append(axis)
        steps.append(step)
    return g.node("Slice", x, *(g.integers(values) for values in (starts, stops, axes, steps))) if axes else x


def _gathered(g: GraphBuilder, x: str, parts: list[Any], apart: bool) -> str:
    """Pick along the axes that have arrays or integers: one array by Gather, several by GatherND."""
    on_axes = [part for part in parts if part is not None]
    chosen = [axis for axis, part in enumerate(on_axes) if not isinstance(part, slice)]
    indices = [on_axes[axis] for axis in chosen]
    if len(chosen) == 1:
        x = g.node("Gather", x, g.value(indices[0], np.int64), axis=chosen[0])
        rank = len(indices[0].shape)
    else:
        rest = [axis for axis in range(len(on_axes)) if axis not in chosen]
        x = g.node("Transpose", x, perm=chosen + rest) if chosen + rest != sorted(chosen + rest) else x
        places, rank = _coordinates(g, indices)
        x = g.node("GatherND", x, places)
        first = 0 if apart else chosen[0]
        # The picked axes lie in front; they belong where the first array stood.
        before = list(range(rank, rank + first))
        order = before + list(range(rank)) + list(range(rank + first, rank + len(rest)))
        x = g.node("Transpose", x, perm=order) if order != sorted(order) else x
    layout: list[Any] = []
    placed = False
    if apart:
        layout, placed = [slice(None)] * rank, True
    for part in parts:
        if part is None or isinstance(part, slice):
            layout.append(part)
        elif not placed:
            layout += [slice(None)] * rank
            placed = True
    return _with_new_axes(g, x, layout)


def _coordinates(g: GraphBuilder, indices: list[Any]) -> tuple[str, int]:
    """Return the arrays and integers broadcast and stacked along a last axis, and their number of axes."""
    if all(isinstance(index, int) or (index.source is None and index.value.shape == index.shape) for index in indices):
        values = np.broadcast_arrays(*(index if isinstance(index, int) else index.value for index in indices))
        return g.constant(np.stack(values, -1), np.int64), values[0].ndim
    shape = _broadcast([() if isinstance(index, int) else index.shape for index in indices])
    last = g.integers([len(shape)])
    columns = []
    for index in indices:
        name = g.constant(index, np.int64) if isinstance(index, int) else g.value(index, np.int64)
        name = g.expand(name, shape) if isinstance(index, int) or index.shape != shape else name
        columns.append(g.node("Unsqueeze", name, last))
    return g.node("Concat", *columns, axis=len(shape)), len(shape)


def _broadcast(shapes: list[tuple[Length, ...]]) -> tuple[Length, ...]:
    """Return the common shape, a length of 1 giving way to any other."""
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in lengths if n != 1), 1) for lengths in zip(*aligned, strict=True))


def _with_new_axes(g: GraphBuilder, x: str, layout: list[Any]) -> str:
    new = [axis for axis, part in enumerate(layout) if part is None]
    if new:
        return g.node("Unsqueeze", x, g.integers(new))
    return x
