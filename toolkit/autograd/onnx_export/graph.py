"""An ONNX graph in the making: nodes, constants, and lengths that follow the number of samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.onnx_export.merging import Batch, Length, Merged
from toolkit.autograd.onnx_export.tracing import Source


class GraphBuilder:
    """Collects nodes and constants under names of their own.

    Args:
        samples: where the number of samples is read: an input's name and its axis; ``None`` if no length varies.
        parameters: arrays of the parameters and persistent values by path.
    """

    def __init__(self, samples: tuple[str, int] | None, parameters: dict[str, np.ndarray]) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.results: dict[int, str] = {}
        self.place = "/"
        self._samples = samples
        self._parameters = parameters
        self._names: dict[str, int] = {}
        self._constants: dict[tuple, str] = {}
        self._lengths: dict[Length, str] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        from onnx import helper

        stem = f"{self.place.rstrip('/')}/{kind}"
        number = self._names[stem] = self._names.get(stem, -1) + 1
        name = f"{stem}_{number}"
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any) -> str:
        """Return the name of a constant array; equal ones are kept once."""
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers[self._constants[key]] = array
        return self._constants[key]

    def integers(self, values: Sequence[Length]) -> str:
        """Return the name of a vector of integers, some of which may be multiples of the number of samples."""
        if not any(isinstance(value, Batch) for value in values):
            return self.constant(list(values), np.int64)
        parts: list[str] = []
        fixed: list[int] = []
        for value in values:
            if isinstance(value, Batch):
                parts += [self.constant(fixed, np.int64)] if fixed else []
                parts.append(self._length(value))
                fixed = []
            else:
                fixed.append(value)
        parts += [self.constant(fixed, np.int64)] if fixed else []
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def value(self, operand: Merged, dtype: Any = None) -> str:
        """Return the name of an operand, cast to ``dtype`` if that is given and another."""
        if operand.source is None:
            array = np.asarray(operand.value, dtype=dtype or operand.dtype)
            name = self.constant(array, array.dtype)
            return name if operand.shape in (None, array.shape) else self.expand(name, operand.shape or ())
        name = self._named(operand.source)
        return name if dtype is None or operand.dtype == np.dtype(dtype) else self.cast(name, dtype)

    def cast(self, name: str, dtype: Any) -> str:
        """Return the name of an array converted to another dtype."""
        return self.node("Cast", name, to=element_type(dtype))

    def expand(self, name: str, shape: Sequence[Length]) -> str:
        """Return the name of an array broadcast to a shape."""
        return self.node("Expand", name, self.integers(shape))

    def reshape(self, name: str, shape: Sequence[Length]) -> str:
        """Return the name of an array under another shape."""
        if sum(isinstance(length, Batch) for length in shape) == 1 and 0 not in shape:
            return self.node(
                "Reshape", name, self.constant([-1 if isinstance(n, Batch) else n for n in shape], np.int64)
            )
        return self.node("Reshape", name, self.integers(shape), allowzero=1)

    def _length(self, length: Batch) -> str:
        if length not in self._lengths:
            place, self.place = self.place, "/"
            assert self._samples is not None
            if length.offset:
                whole = self._length(Batch(length.multiple))
                self._lengths[length] = self.node("Add", whole, self.constant([length.offset], np.int64))
            elif length.multiple > 1:
                one = self._length(Batch(1))
                self._lengths[length] = self.node("Mul", one, self.constant([length.multiple], np.int64))
            else:
                name, axis = self._samples
                self._lengths[length] = self.node("Shape", name, start=axis, end=axis + 1)
            self.place = place
        return self._lengths[length]

    def _named(self, source: Source) -> str:
        if source.kind == "result":
            return self.results[int(source.key)]
        if source.kind == "parameter":
            self.initializers[str(source.key)] = self._parameters[str(source.key)]
        return str(source.key)

    def tensors(self) -> list[Any]:
        """Return the constants and the parameters that are used, as ``onnx.TensorProto``."""
        from onnx import numpy_helper

        return [
            numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), n) for n, a in self.initializers.items()
        ]


def element_type(dtype: Any) -> int:
    """Return ONNX's number for a NumPy dtype."""
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
