"""ONNX forms of arithmetic, elementwise functions, reductions and what moves elements."""

from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.autograd.onnx_export.graph import GraphBuilder
from toolkit.autograd.onnx_export.merging import MergedStep

Form = Callable[[GraphBuilder, MergedStep], str]
FORMS: dict[str, Form] = {}
"""How each operation is written in ONNX, by its name."""


class NoForm(Exception):
    """An operation has no ONNX form for these arguments; the message says which."""


def form(*names: str) -> Callable[[Form], Form]:
    """Enter a function as the form of the operations of these names."""

    def enter(function: Form) -> Form:
        for name in names:
            FORMS[name] = function
        return function

    return enter


def operands(g: GraphBuilder, step: MergedStep, dtype: Any = None) -> list[str]:
    """Return the names of all inputs in one dtype, by default the output's; an empty name for one left out."""
    dtype = step.output.dtype if dtype is None else dtype
    return ["" if value is None else g.value(value, dtype) for value in step.inputs]


def _same(kind: str) -> Form:
    return lambda g, step: g.node(kind, *operands(g, step))


for _name, _kind in {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "negative": "Neg",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sigmoid": "Sigmoid",
    "relu": "Relu", "abs": "Abs", "erf": "Erf", "maximum": "Max", "minimum": "Min", "matmul": "MatMul",
}.items():  # fmt: skip
    FORMS[_name] = _same(_kind)


@form("remainder")
def _remainder(g: GraphBuilder, step: MergedStep) -> str:
    dtype = step.output.dtype
    a, b = operands(g, step)
    if dtype is None or dtype.kind != "f":
        return g.node("Mod", a, b)
    # With fmod the rest has the sign of the dividend; ours has that of the divisor.
    rest = g.node("Mod", a, b, fmod=1)
    other_sign = g.node("Less", g.node("Mul", rest, b), g.constant(0, dtype))
    return g.node("Where", other_sign, g.node("Add", rest, b), rest)


@form("expm1")
def _expm1(g: GraphBuilder, step: MergedStep) -> str:
    # exp(x) - 1 loses the digits of a small x; tanh(x / 2) (exp(x) + 1) is the same and does not.
    (x,) = operands(g, step)
    half, one = (g.constant(value, step.output.dtype) for value in (0.5, 1))
    return g.node("Mul", g.node("Tanh", g.node("Mul", x, half)), g.node("Add", g.node("Exp", x), one))


@form("log1p")
def _log1p(g: GraphBuilder, step: MergedStep) -> str:
    (x,) = operands(g, step)
    half, one, two = (g.constant(value, step.output.dtype) for value in (0.5, 1, 2))
    small = g.node("Mul", g.node("Atanh", g.node("Div", x, g.node("Add", x, two))), two)
    return g.node("Where", g.node("Less", g.node("Abs", x), half), small, g.node("Log", g.node("Add", x, one)))


@form("softplus")
def _softplus(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Softplus", *operands(g, step))


@form("clip")
def _clip(g: GraphBuilder, step: MergedStep) -> str:
    (x,) = operands(g, step)
    limits = [step.params["low"], step.params["high"]]
    return g.node("Clip", x, *("" if limit is None else g.constant(limit, step.output.dtype) for limit in limits))


@form("where")
def _where(g: GraphBuilder, step: MergedStep) -> str:
    condition, *choices = step.inputs
    assert condition is not None
    named = [g.value(choice, step.output.dtype) for choice in choices if choice is not None]
    return g.node("Where", g.value(condition), *named)


@form("masked_scale")
def _masked_scale(g: GraphBuilder, step: MergedStep) -> str:
    x, mask = operands(g, step)
    return g.node("Mul", g.node("Mul", x, mask), g.constant(step.params["scale"], step.output.dtype))


# ---------------------------------------------------------------------------------------------------------------------
# Operators without a derivative


def _common(step: MergedStep) -> np.dtype:
    arrays = [value.dtype for value in step.inputs if value is not None and value.dtype is not None]
    numbers = [value.value for value in step.inputs if value is not None and value.dtype is None]
    dtype = np.result_type(*arrays)
    if dtype.kind != "f" and any(isinstance(number, float) for number in numbers):
        return np.dtype(np.float32)
    return dtype


def _comparison(kind: str) -> Form:
    return lambda g, step: g.node(kind, *operands(g, step, _common(step)))


for _name, _kind in {"<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual", "==": "Equal"}.items():
    FORMS[_name] = _comparison(_kind)


@form("!=")
def _different(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Not", g.node("Equal", *operands(g, step, _common(step))))


@form("//")
def _whole_times(g: GraphBuilder, step: MergedStep) -> str:
    dtype = step.output.dtype
    if dtype is None or dtype.kind != "f":
        raise NoForm("// of integers")
    return g.node("Floor", g.node("Div", *operands(g, step)))


def _of_bits(logical: str, bitwise: str) -> Form:
    def write(g: GraphBuilder, step: MergedStep) -> str:
        truth = step.output.dtype == np.dtype(bool)
        return g.node(logical if truth else bitwise, *operands(g, step))

    return write


FORMS["&"] = _of_bits("And", "BitwiseAnd")
FORMS["|"] = _of_bits("Or", "BitwiseOr")
FORMS["^"] = _of_bits("Xor", "BitwiseXor")
FORMS["~"] = _of_bits("Not", "BitwiseNot")


# ---------------------------------------------------------------------------------------------------------------------
# Reductions


def _axes(g: GraphBuilder, step: MergedStep) -> list[str]:
    axis = step.params["axis"]
    return [] if axis is None else [g.integers(axis if isinstance(axis, tuple) else (axis,))]


def _reduction(kind: str) -> Form:
    def write(g: GraphBuilder, step: MergedStep) -> str:
        (x,) = operands(g, step)
        return g.node(kind, x, *_axes(g, step), keepdims=int(step.params["keepdims"]), noop_with_empty_axes=_noop(step))

    return write


def _noop(step: MergedStep) -> int:
    """No axes at all mean all of them, an empty tuple none."""
    return int(step.params["axis"] == ())


for _name, _kind in {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "logsumexp": "ReduceLogSumExp",
}.items():  # fmt: skip
    FORMS[_name] = _reduction(_kind)


@form("var")
def _var(g: GraphBuilder, step: MergedStep) -> str:
    (x,), axes, noop = operands(g, step), _axes(g, step), _noop(step)
    deviation = g.node("Sub", x, g.node("ReduceMean", x, *axes, keepdims=1, noop_with_empty_axes=noop))
    squares = g.node("Mul", deviation, deviation)
    settings = {"keepdims": int(step.params["keepdims"]), "noop_with_empty_axes": noop}
    correction = step.params["correction"]
    if not correction:
        return g.node("ReduceMean", squares, *axes, **settings)
    total = g.node("ReduceSum", squares, *axes, **settings)
    count = g.cast(g.node("Div", g.node("Size", x), g.node("Size", total)), step.output.dtype)
    return g.node("Div", total, g.node("Sub", count, g.constant(correction, step.output.dtype)))


@form("cumsum")
def _cumsum(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("CumSum", *operands(g, step), g.constant(step.params["axis"], np.int64))


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


@form("reshape")
def _reshape(g: GraphBuilder, step: MergedStep) -> str:
    (x,) = operands(g, step)
    return g.reshape(x, step.params["shape"])


@form("broadcast_to")
def _broadcast_to(g: GraphBuilder, step: MergedStep) -> str:
    (x,) = operands(g, step)
    return g.expand(x, step.params["shape"])


@form("transpose")
def _transpose(g: GraphBuilder, step: MergedStep) -> str:
    (x,), axes = operands(g, step), list(step.params["axes"])
    return g.node("Transpose", x, perm=axes) if axes else g.node("Identity", x)


@form("flip")
def _flip(g: GraphBuilder, step: MergedStep) -> str:
    (x,) = operands(g, step)
    axis = step.params["axis"]
    axes = range(len(step.output.shape or ())) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    n = len(axes)
    if not n:
        return g.node("Identity", x)
    start, stop = [np.iinfo(np.int64).max] * n, [np.iinfo(np.int64).min] * n
    return g.node("Slice", x, g.integers(start), g.integers(stop), g.integers(list(axes)), g.integers([-1] * n))


@form("pad")
def _pad(g: GraphBuilder, step: MergedStep) -> str:
    widths = step.params["widths"]
    sides = [before for before, _ in widths] + [after for _, after in widths]
    return g.node("Pad", *operands(g, step), g.integers(sides), g.constant(step.params["value"], step.output.dtype))


@form("concat")
def _concat(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Concat", *operands(g, step), axis=step.params["axis"])


@form("stack")
def _stack(g: GraphBuilder, step: MergedStep) -> str:
    axis = step.params["axis"]
    pieces = [g.node("Unsqueeze", x, g.integers([axis])) for x in operands(g, step)]
    return g.node("Concat", *pieces, axis=axis)
