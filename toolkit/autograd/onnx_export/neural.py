"""ONNX forms of layers, normalizations, losses and products of matrices."""

import numpy as np

from toolkit.autograd.onnx_export.elementary import NoForm, form, operands
from toolkit.autograd.onnx_export.graph import GraphBuilder
from toolkit.autograd.onnx_export.merging import MergedStep


@form("linear")
def _linear(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Gemm", *operands(g, step), transB=1)


@form("einsum")
def _einsum(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Einsum", *operands(g, step), equation=step.params["subscripts"])


@form("embedding")
def _embedding(g: GraphBuilder, step: MergedStep) -> str:
    ids, weight = (g.value(value) for value in step.inputs if value is not None)
    return g.node("Gather", weight, ids, axis=0)


@form("conv2d")
def _conv2d(g: GraphBuilder, step: MergedStep) -> str:
    p = step.params
    return g.node(
        "Conv", *operands(g, step), strides=p["stride"], pads=p["padding"] * 2, dilations=p["dilation"],
        group=p["groups"],
    )  # fmt: skip


def _windows(step: MergedStep) -> dict:
    p = step.params
    return {"kernel_shape": p["window"], "strides": p["stride"], "pads": p["padding"] * 2}


@form("max_pool2d")
def _max_pool2d(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("MaxPool", *operands(g, step), **_windows(step))


@form("average_pool2d")
def _average_pool2d(g: GraphBuilder, step: MergedStep) -> str:
    counted = int(step.params["count_include_padding"])
    return g.node("AveragePool", *operands(g, step), **_windows(step), count_include_pad=counted)


@form("batch_normalization")
def _batch_normalization(g: GraphBuilder, step: MergedStep) -> str:
    if step.params["train"]:
        raise NoForm("batch_normalization with the statistics of the batch")
    x, gamma, beta, mean, variance = operands(g, step)
    channels = (step.inputs[3].shape if step.inputs[3] is not None else None) or ()
    gamma = gamma or g.constant(np.ones([int(str(n)) for n in channels]), step.output.dtype)
    beta = beta or g.constant(np.zeros([int(str(n)) for n in channels]), step.output.dtype)
    return g.node("BatchNormalization", x, gamma, beta, mean, variance, epsilon=step.params["eps"])


@form("layer_normalization")
def _layer_normalization(g: GraphBuilder, step: MergedStep) -> str:
    x, gamma, beta = operands(g, step)
    n_axes = step.params["n_axes"]
    own = (step.output.shape or ())[-n_axes:]
    gamma = gamma or g.expand(g.constant(1, step.output.dtype), own)
    return g.node("LayerNormalization", x, gamma, beta, axis=-n_axes, epsilon=step.params["eps"])


@form("softmax")
def _softmax(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("Softmax", *operands(g, step), axis=step.params["axis"])


@form("log_softmax")
def _log_softmax(g: GraphBuilder, step: MergedStep) -> str:
    return g.node("LogSoftmax", *operands(g, step), axis=step.params["axis"])


def _reduced(g: GraphBuilder, losses: str, reduction: str) -> str:
    kinds = {"mean": "ReduceMean", "sum": "ReduceSum"}
    return losses if reduction == "none" else g.node(kinds[reduction], losses, keepdims=0)


@form("cross_entropy")
def _cross_entropy(g: GraphBuilder, step: MergedStep) -> str:
    logits, labels = (g.value(value) for value in step.inputs if value is not None)
    axis = g.integers([1])
    likely = g.node("LogSoftmax", logits, axis=1)
    chosen = g.node("GatherElements", likely, g.node("Unsqueeze", labels, axis), axis=1)
    return _reduced(g, g.node("Neg", g.node("Squeeze", chosen, axis)), step.params["reduction"])


@form("mse")
def _mse(g: GraphBuilder, step: MergedStep) -> str:
    difference = g.node("Sub", *operands(g, step))
    return _reduced(g, g.node("Mul", difference, difference), step.params["reduction"])


def _part(g: GraphBuilder, gates: str, number: int, step: MergedStep) -> str:
    """Return one of the four parts of the gates, each as wide as the state, behind its nonlinearity."""
    units = (step.output.shape or ())[-1]
    assert isinstance(units, int)
    bounds = ([number * units], [(number + 1) * units], [-1])
    part = g.node("Slice", gates, *(g.integers(values) for values in bounds))
    return g.node("Tanh" if number == 2 else "Sigmoid", part)


@form("lstm_cell")
def _lstm_cell(g: GraphBuilder, step: MergedStep) -> str:
    cell, gates = operands(g, step)
    kept = g.node("Mul", _part(g, gates, 1, step), cell)
    return g.node("Add", kept, g.node("Mul", _part(g, gates, 0, step), _part(g, gates, 2, step)))


@form("lstm_hidden")
def _lstm_hidden(g: GraphBuilder, step: MergedStep) -> str:
    cell, gates = operands(g, step)
    return g.node("Mul", _part(g, gates, 3, step), g.node("Tanh", cell))
