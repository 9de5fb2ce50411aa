"""Operations that move elements: shapes, axes, joining, indexing."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.configuration import config
from toolkit.autograd.operation import Operation
from toolkit.autograd.operations.reductions import normalized_axis, single_axis
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error

__all__ = ["broadcast_to", "concat", "flip", "get_item", "pad", "reshape", "scatter_add", "stack", "transpose"]

_VIEW: dict[str, Any] = {"fresh": False, "shapes": True}

RESHAPE = Operation("reshape", lambda xp, g, saved, needs, p: (xp.reshape(g, p["shapes"][0]),), **_VIEW)
BROADCAST = Operation("broadcast_to", lambda xp, g, saved, needs, p: (xp.sum_to(g, p["shapes"][0]),), **_VIEW)
TRANSPOSE = Operation(
    "transpose",
    lambda xp, g, saved, needs, p: (xp.transpose(g, tuple(p["axes"].index(k) for k in range(len(p["axes"])))),),
    fresh=False,
)
_FLIP = Operation("flip", lambda xp, g, saved, needs, p: (xp.flip(g, axis=p["axis"]),), fresh=False)
_PAD = Operation(
    "pad",
    lambda xp, g, saved, needs, p: (
        xp.get_item(
            g, tuple(slice(before, before + n) for (before, _), n in zip(p["widths"], p["shapes"][0], strict=True))
        ),
    ),
    **_VIEW,
)
GET_ITEM = Operation(
    "get_item", lambda xp, g, saved, needs, p: (xp.scatter_add(g, p["index"], p["shapes"][0]),), shapes=True
)
_SCATTER_ADD = Operation("scatter_add", lambda xp, g, saved, needs, p: (xp.get_item(g, p["index"]),), fresh=False)


def _concat_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    axis, start, pieces = p["axis"], 0, []
    for shape in p["shapes"]:
        stop = start + shape[axis]
        pieces.append(xp.get_item(g, (slice(None),) * axis + (slice(start, stop),)))
        start = stop
    return tuple(pieces)


def _stack_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    lead = (slice(None),) * p["axis"]
    return tuple(xp.get_item(g, (*lead, k)) for k in range(len(needs)))


_CONCAT = Operation("concat", _concat_vjp, **_VIEW)
_STACK = Operation("stack", _stack_vjp, **_VIEW)


@differentiable(
    lambda rng: (
        [Sample((rng.normal(size=(2, 6)), shape)) for shape in ((3, 4), (-1,), (12,), (2, 1, 6), (-1, 3))]
        + [Sample((rng.normal(size=(0, 3)), (3, 0))), Sample((rng.normal(size=()), (1, 1)))]
    ),
    group="shape",
)
def reshape(x: Any, shape: int | Sequence[int]) -> Variable:
    """Return the elements in row-major order under another shape, of which one length may be -1.

    Raises:
        ValueError: the numbers of elements differ.
    """
    x = as_variable(x, "reshape", "x")
    lengths = _as_shape("reshape", shape)
    if lengths.count(-1) > 1 or any(n < -1 for n in lengths):
        raise argument_error("reshape", "shape", "lengths of which at most one is -1", shape)
    known = math.prod([n for n in lengths if n != -1])
    fits = known > 0 and x.size % known == 0 if -1 in lengths else known == x.size
    if not fits:
        raise argument_error("reshape", "shape", f"{x.size} elements, as in {x.shape}", shape)
    return apply(RESHAPE, (x,), {"shape": tuple(x.size // known if n == -1 else n for n in lengths)})


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(2, 3, 4)),)),
        Sample((rng.normal(size=(2, 3, 4)), (1, 2, 0))),
        Sample((rng.normal(size=(2, 3)), (-1, 0))),
        Sample((rng.normal(size=()),)),
    ],
    group="shape",
)
def transpose(x: Any, axes: Sequence[int] | None = None) -> Variable:
    """Return the axes in another order, reversed if ``axes`` is ``None``.

    Raises:
        ValueError: ``axes`` is no permutation.
        TypeError: ``axes`` is no sequence of integers.
    """
    x = as_variable(x, "transpose", "x")
    order = tuple(range(x.ndim))[::-1] if axes is None else _whole_numbers("transpose", "axes", axes)
    if sorted(k % x.ndim if -x.ndim <= k < x.ndim else x.ndim for k in order) != list(range(x.ndim)):
        raise argument_error("transpose", "axes", f"a permutation of {x.ndim} axes", axes)
    return apply(TRANSPOSE, (x,), {"axes": tuple(k % x.ndim for k in order)})


@differentiable(
    lambda rng: (
        [Sample((rng.normal(size=shape), (2, 3, 4))) for shape in ((4,), (3, 1), (1, 1, 1), (), (2, 3, 4), (2, 1, 4))]
        + [Sample((rng.normal(size=(1, 3)), (0, 3)))]
    ),
    group="shape",
)
def broadcast_to(x: Any, shape: Sequence[int]) -> Variable:
    """Return ``x`` repeated, without a copy, along new axes and axes of length 1.

    Raises:
        ValueError: ``x`` does not broadcast to ``shape``.
    """
    x = as_variable(x, "broadcast_to", "x")
    lengths = _as_shape("broadcast_to", shape)
    try:
        fits = np.broadcast_shapes(x.shape, lengths) == lengths
    except ValueError:
        fits = False
    if not fits:
        raise argument_error("broadcast_to", "shape", f"a shape that {x.shape} broadcasts to", shape)
    return apply(BROADCAST, (x,), {"shape": lengths})


@differentiable(lambda rng: [Sample((rng.normal(size=(2, 3)), axis)) for axis in (None, 0, -1, (0, 1))], group="shape")
def flip(x: Any, axis: int | tuple[int, ...] | None = None) -> Variable:
    """Return ``x`` reversed along ``axis`` (all axes if ``None``)."""
    x = as_variable(x, "flip", "x")
    return apply(_FLIP, (x,), {"axis": normalized_axis("flip", axis, x.ndim)})


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(2, 3)), ((1, 2), (0, 1)))),
        Sample((rng.normal(size=(2, 3)), 1), {"value": 0.5}),
        Sample((rng.normal(size=(0, 2)), ((1, 1), (0, 0)))),
    ],
    group="shape",
)
def pad(x: Any, widths: int | Sequence[Sequence[int]], *, value: float = 0.0) -> Variable:
    """Return ``x`` with a border of ``value``.

    Args:
        x: array or Variable.
        widths: elements before and after on each axis, ``((before, after), …)``, or one number for all sides.
        value: what the border holds.

    Raises:
        ValueError: negative widths, or not one pair an axis.
        TypeError: widths that are no integers.
    """
    x = as_variable(x, "pad", "x")
    sides = ((int(widths), int(widths)),) * x.ndim if isinstance(widths, int | np.integer) else widths
    if not isinstance(sides, tuple | list | np.ndarray):
        raise argument_error("pad", "widths", "an integer or pairs of them", repr(widths), kind=TypeError)
    pairs = tuple(_whole_numbers("pad", "widths", pair) for pair in sides)
    if len(pairs) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise argument_error("pad", "widths", f"{x.ndim} pairs of non-negative numbers", widths)
    return apply(_PAD, (x,), {"widths": pairs, "value": value})


@differentiable(
    lambda rng: [
        Sample(((rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(2, 0))), 1)),
        Sample(((rng.normal(size=(2, 3)), rng.normal(size=(1, 3))), -2)),
    ],
    group="shape",
)
def concat(arrays: Sequence[Any], axis: int = 0) -> Variable:
    """Return the arrays joined along an axis they have.

    Raises:
        ValueError: no arrays, or shapes that differ off the axis.
    """
    variables = _sequence("concat", arrays)
    first = variables[0]
    axis = single_axis("concat", axis, first.ndim)
    for position, variable in enumerate(variables):
        if variable.ndim != first.ndim or any(
            a != b for k, (a, b) in enumerate(zip(variable.shape, first.shape, strict=True)) if k != axis
        ):
            raise argument_error(
                "concat", f"arrays[{position}]", f"shape {first.shape} but for axis {axis}", variable.shape
            )
    return apply(_CONCAT, variables, {"axis": axis})


@differentiable(
    lambda rng: [Sample(((rng.normal(size=(2, 3)), rng.normal(size=(2, 3))), axis)) for axis in (0, 1, -1)],
    group="shape",
)
def stack(arrays: Sequence[Any], axis: int = 0) -> Variable:
    """Return the arrays, all of one shape, joined along a new axis.

    Raises:
        ValueError: no arrays, or shapes that differ.
    """
    variables = _sequence("stack", arrays)
    for position, variable in enumerate(variables):
        if variable.shape != variables[0].shape:
            raise argument_error("stack", f"arrays[{position}]", f"shape {variables[0].shape}", variable.shape)
    axis = single_axis("stack", axis, variables[0].ndim + 1)
    return apply(_STACK, variables, {"axis": axis})


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(4, 5)), index))
        for index in (
            1, -1, slice(1, 3), (slice(None), 2), (slice(None, None, 2), slice(4, 0, -2)), (Ellipsis, 1), (None, 0),
            np.asarray([0, 2, 2]), (np.asarray([0, 1]), np.asarray([3, 3])), np.arange(4) % 2 == 0,
            (slice(None), np.asarray([[0, 1], [1, 4]])), (slice(0, 0),), [3, 0], slice(None, None, -1),
        )
    ],
    group="shape",
)  # fmt: skip
def get_item(x: Any, index: Any) -> Variable:
    """Return ``x[index]`` with NumPy's rules: integers, slices, ``...``, ``None``, integer and bool arrays.

    An element picked twice gets both gradients.

    Raises:
        IndexError: out of range.
        TypeError: an index of another kind.
    """
    x = as_variable(x, "get_item", "x")
    whole = tuple(_index_part(part, x) for part in index) if isinstance(index, tuple) else _index_part(index, x)
    if isinstance(whole, tuple):
        if [part is Ellipsis for part in whole].count(True) > 1:
            raise argument_error("get_item", "index", "at most one ellipsis", repr(index), kind=IndexError)
        if type(x.data) is not np.ndarray and any(getattr(part, "shape", ()) for part in whole):
            # Beside index arrays NumPy takes an integer for an array too, which decides where the new axes go.
            whole = tuple(_index_part([part], x) if isinstance(part, int) else part for part in whole)
            place = _empty_ellipsis(whole, x.ndim)
            if place is not None:
                # NumPy takes it for what keeps two index arrays apart; the others look through it, but not through a
                # new axis, which is then taken away.
                picked = get_item(x, tuple(None if part is Ellipsis else part for part in whole))
                return reshape(picked, picked.shape[:place] + picked.shape[place + 1 :])
    x, whole = _within_bounds(x, whole)
    if x.node is not None and config.enable_backprop:
        # The gradient goes where the index points now, whatever the caller writes into it later.
        whole = tuple(_copied(part, x) for part in whole) if isinstance(whole, tuple) else _copied(whole, x)
    return apply(GET_ITEM, (x,), {"index": whole})


def scatter_add(x: Any, index: Any, shape: tuple[int, ...]) -> Variable:
    """Return zeros of ``shape`` with ``x`` added at ``index``: what :func:`get_item` is differentiated by."""
    x = as_variable(x, "scatter_add", "x")
    return apply(_SCATTER_ADD, (x,), {"index": index, "shape": tuple(shape)})


def _index_part(part: Any, x: Variable) -> Any:
    if isinstance(part, Variable):
        part = part.data
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, int) and not isinstance(part, bool):
        if not -(2**63) <= part < 2**63:
            raise argument_error("get_item", "index", "an integer within the axis", part, kind=IndexError)
        return part
    if isinstance(part, slice):
        if part.step == 0:
            raise argument_error("get_item", "index", "a slice with a step other than 0", part)
        return slice(
            *(None if bound is None else operator.index(bound) for bound in (part.start, part.stop, part.step))
        )
    if isinstance(part, list | tuple | bool | np.ndarray | np.generic):
        host = np.asarray(part)
        if host.ndim == 0 and host.dtype.kind in "iu":
            return int(host)
        if host.size == 0 and host.dtype.kind == "f":
            host = host.astype(np.int64)  # an empty list
        if host.dtype.kind not in "iub":
            raise argument_error("get_item", "index", "integers or bools", f"dtype {host.dtype}", kind=TypeError)
        if host.dtype.kind == "u":
            if (host > np.iinfo(np.int64).max).any():
                raise argument_error("get_item", "index", "integers within the axis", host.max(), kind=IndexError)
            # torch would take uint8 for a mask.
            host = host.astype(np.int64)
        return host if isinstance(x.data, np.ndarray) else x.backend.from_numpy(host, x.data)
    if type(part) is type(x.data):
        return x.backend.as_index(part)
    raise argument_error(
        "get_item", "index", "integers, slices, ..., None, integer or bool arrays", type(part).__name__, kind=TypeError
    )


def _copied(part: Any, x: Variable) -> Any:
    return x.backend.copy(part) if hasattr(part, "dtype") else part


def _within_bounds(x: Variable, index: Any) -> tuple[Variable, Any]:
    """Clip slices to their axes, as NumPy does, and reverse the axes they walk backwards, which torch cannot."""
    parts = index if isinstance(index, tuple) else (index,)
    if type(x.data) is np.ndarray or not any(isinstance(part, slice) for part in parts):
        return x, index
    taken = [0 if part is None else _axes_taken(part) for part in parts]
    skipped = x.ndim - int(np.sum([n for n, part in zip(taken, parts, strict=True) if part is not Ellipsis]))
    axis, reversed_axes, clipped = 0, [], []
    for part, n in zip(parts, taken, strict=True):
        if isinstance(part, slice) and 0 <= axis < x.ndim:
            length = x.shape[axis]
            walked = range(*part.indices(length))
            start = walked[0] if walked else 0
            if walked and walked.step < 0:
                reversed_axes.append(axis)
                start = length - 1 - start
            step = min(abs(walked.step), max(length, 1))
            part = slice(start, start + (len(walked) - 1) * step + 1 if walked else start, step)
        clipped.append(part)
        axis += skipped if part is Ellipsis else n
    return (flip(x, tuple(reversed_axes)) if reversed_axes else x), tuple(clipped)


def _empty_ellipsis(index: tuple, ndim: int) -> int | None:
    """Return where a new axis would end up in place of an ellipsis that stands for no axis between index arrays."""
    split = next((k for k, part in enumerate(index) if part is Ellipsis), None)
    if split is None or ndim != sum(0 if part is None else _axes_taken(part) for part in index):
        return None
    lead, arrays = index[:split], [part for part in index if hasattr(part, "shape")]
    if not any(hasattr(part, "shape") for part in lead) or not any(hasattr(part, "shape") for part in index[split:]):
        return None
    kept = sum(part is None or isinstance(part, slice) for part in lead)
    return kept + max(1 if "bool" in str(part.dtype) else len(part.shape) for part in arrays)


def _axes_taken(part: Any) -> int:
    if part is Ellipsis:
        return 0
    return len(part.shape) if "bool" in str(getattr(part, "dtype", "")) else 1


def _whole_numbers(operation: str, argument: str, values: Any) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, values))
    except TypeError:
        raise argument_error(operation, argument, "integers", repr(values), kind=TypeError) from None


def _as_shape(operation: str, shape: Any) -> tuple[int, ...]:
    try:
        return (operator.index(shape),) if not isinstance(shape, tuple | list) else tuple(map(operator.index, shape))
    except TypeError:
        raise argument_error(
            operation, "shape", "an integer or a sequence of integers", repr(shape), kind=TypeError
        ) from None


def _sequence(operation: str, arrays: Any) -> tuple[Variable, ...]:
    if isinstance(arrays, Variable) or not isinstance(arrays, Sequence):
        raise argument_error(operation, "arrays", "a tuple or list of arrays", type(arrays).__name__, kind=TypeError)
    if not arrays:
        raise argument_error(operation, "arrays", "at least one array", "none")
    return tuple(as_variable(array, operation, f"arrays[{k}]") for k, array in enumerate(arrays))


def install_methods() -> None:
    """Give ``Variable`` its indexing and the methods of the same names."""
    Variable.__getitem__ = get_item  # type: ignore[method-assign]
    Variable.T = property(transpose)  # type: ignore[assignment]
    Variable.reshape = _reshape_method  # type: ignore[method-assign]
    Variable.transpose = _transpose_method  # type: ignore[method-assign]


def _reshape_method(self: Variable, *shape: Any) -> Variable:
    return reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose_method(self: Variable, *axes: Any) -> Variable:
    return transpose(self, None if not axes else axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)
