"""``export_onnx``: from a network and examples of its inputs to a checked ONNX model."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.autograd.backends import backend_of
from toolkit.autograd.configuration import using_config
from toolkit.autograd.links import Link
from toolkit.autograd.onnx_export.examples import Examples, named_inputs, varied
from toolkit.autograd.onnx_export.merging import Length, Merged, Program, merge
from toolkit.autograd.onnx_export.tracing import Trace, Tracer, places
from toolkit.autograd.places import is_array
from toolkit.autograd.randomness import noted
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error, require
from toolkit.core.files import atomic_write

_OLDEST, _NEWEST = 18, 23
_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class ONNXModel:
    """An exported network.

    Attributes:
        proto: the ``onnx.ModelProto``.
        inputs: names of its inputs, in the order of the examples.
        outputs: names of its outputs.
        opset: version of the ONNX operators.
        n_parameters: elements of all parameters and persistent arrays in it.
        path: the file it was written to, if any.
    """

    proto: Any = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    n_parameters: int
    path: str | None

    def to_bytes(self) -> bytes:
        """Return what the file holds, for ``onnxruntime.InferenceSession``."""
        return self.proto.SerializeToString()

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the graph, as plain types."""
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "opset": self.opset,
            "n_parameters": self.n_parameters,
            "path": self.path,
            "operators": [node.op_type for node in self.proto.graph.node],
        }


def export_onnx(
    chain: Callable[..., Any],
    example_inputs: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 20,
    batch_axis: int | None = 0,
) -> ONNXModel:
    """Write a network as an ONNX model.

    The network runs in evaluation mode (running statistics, no dropout): on the examples, on other values with, unless
    ``batch_axis`` is ``None``, more samples, and on values low, high and beyond the examples' range. So lengths that
    follow the number of samples stay free in the model, and a network whose operations or constants are not the same
    in all these runs is refused instead of being written wrongly. (A branch that none of them takes stays unseen.)
    Parameters keep their paths as names (``/l1/W``), and inputs the names that ``forward`` gives them.

    Args:
        chain: a Link, or any function of Variables.
        example_inputs: an array or Variable, a tuple or list of them, or a dictionary of keyword arguments. One sample
            is enough. Integers become 64 bits wide.
        path: the file; it appears whole or not at all. ``None`` writes nothing.
        opset: version of the ONNX operators, 18 to 23.
        batch_axis: the axis of all inputs along which the samples lie (inputs without it are left alone); ``None``
            fixes all lengths.

    Returns:
        The model, which ``onnx.checker`` has checked. Its arrays have the dtypes of the network; onnxruntime's CPU
        kernels are for float32.

    Raises:
        ImportError: the package ``onnx`` is not installed.
        NotImplementedError: an operation has no ONNX form; the message names it and the link.
        ValueError: the program depends on the values of the inputs, or on their number in a way that is no multiple.
        TypeError: an input or a result that is no array, a dtype that NumPy lacks.
        WriteError: the file cannot be written.
    """
    _onnx()
    whole = isinstance(opset, int) and _OLDEST <= opset <= _NEWEST
    require(whole, "export_onnx", "opset", f"an integer from {_OLDEST} to {_NEWEST}", repr(opset))
    inputs = named_inputs(chain, example_inputs)
    keywords = isinstance(example_inputs, Mapping)
    examples = varied(inputs, batch_axis)
    if isinstance(chain, Link) and not all(parameter.is_initialized for parameter in chain.params()):
        # A run gives parameters of open size their shape.
        _run(chain, examples.given, keywords)
        _forget_states(chain)
    program = _program(chain, examples, keywords)
    arrays = _arrays_of(chain) if isinstance(chain, Link) else {}
    host = {name: backend_of(array, "export_onnx", "chain").to_numpy(array) for name, array in arrays.items()}
    free = None if examples.samples is None else batch_axis
    shapes = {name: _input_shape(array.shape, free) for name, array in examples.given.items()}
    model, n_parameters = _build(program, examples.given, shapes, host, examples.samples, opset, type(chain).__name__)
    if path is not None:
        with atomic_write(path) as handle:
            handle.write(model.SerializeToString())
    outputs = tuple(value.name for value in model.graph.output)
    return ONNXModel(model, tuple(inputs), outputs, opset, n_parameters, None if path is None else os.fspath(path))


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install 'tokui-toolkit[onnx]'") from error
    return onnx


def _program(chain: Callable, examples: Examples, keywords: bool) -> Program:
    """Run the network on all examples and return what the runs have in common; what it draws is put back."""
    with noted() as states:
        try:
            first = _run(chain, examples.given, keywords)
            program = merge(first, _run(chain, examples.longer, keywords), examples.sizes)
            for values in examples.others:
                try:
                    other = _run(chain, values, keywords)
                except Exception:
                    continue  # a network may refuse such values
                merge(first, other, None)
        finally:
            for generator, state in states:
                generator.set_state(state)
    return program


def _run(chain: Callable, run: dict[str, Any], keywords: bool) -> Trace:
    links: dict[str, Any] = {}
    known: list[tuple[str, str, Any]] = []
    if isinstance(chain, Link):
        # A copy on the same arrays, so that a link that keeps a state from call to call keeps its own.
        chain = chain.copy("share") if all(p.is_initialized for p in chain.params()) else chain
        _forget_states(chain)
        links = dict(chain.namedlinks())
        known = [("parameter", name, array) for name, array in _arrays_of(chain).items()]
    variables = {name: Variable(array) for name, array in run.items()}
    known += [("input", name, variable.data) for name, variable in variables.items()]
    with places(links) as place, using_config(train=False, enable_backprop=False), Tracer(known, place) as tracer:
        result = chain(**variables) if keywords else chain(*variables.values())
    return Trace(tuple(tracer.steps), {name: tracer.operand(value) for name, value in _named_outputs(result).items()})


def _forget_states(chain: Link) -> None:
    for link in chain.links():
        reset = getattr(link, "reset_state", None)
        if reset is not None:
            reset()


def _named_outputs(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        found = {str(name): value for name, value in result.items()}
    elif isinstance(result, Sequence):
        found = {f"output_{k}": value for k, value in enumerate(result)}
    else:
        found = {"output": result}
    for name, value in found.items():
        if not isinstance(value, Variable) and not is_array(value):
            expected = "a function that returns a Variable, or a sequence or dictionary of them"
            raise argument_error("export_onnx", "chain", expected, f"{name}: {type(value).__name__}", kind=TypeError)
    return found


def _arrays_of(chain: Link) -> dict[str, Any]:
    """Return the arrays of parameters and persistent values by path."""
    arrays = {path: parameter.data for path, parameter in chain.namedparams() if parameter.data is not None}
    return {**arrays, **{path: value for path, value in chain.namedpersistents() if is_array(value)}}


def _input_shape(shape: tuple[int, ...], axis: int | None) -> list[int | str]:
    return ["batch" if k == axis else n for k, n in enumerate(shape)]


def _dimensions(shape: tuple[Length, ...]) -> list[int | str]:
    return [n if isinstance(n, int) else str(n) for n in shape]


def _build(
    program: Program,
    run: dict[str, Any],
    shapes: dict[str, list[int | str]],
    arrays: dict[str, np.ndarray],
    samples: tuple[str, int] | None,
    opset: int,
    title: str,
) -> tuple[Any, int]:
    onnx = _onnx()
    from onnx import helper

    from toolkit import __version__
    from toolkit.autograd.onnx_export import indexing, neural  # noqa: F401  they enter their forms
    from toolkit.autograd.onnx_export.elementary import FORMS, NoForm
    from toolkit.autograd.onnx_export.graph import GraphBuilder, element_type

    builder = GraphBuilder(samples, arrays)
    for number, step in program.steps.items():
        builder.place = step.place
        try:
            if step.name not in FORMS:
                raise NoForm(step.name)
            builder.results[number] = FORMS[step.name](builder, step)
        except NoForm as error:
            raise NotImplementedError(
                f"export_onnx: no ONNX form\n  operation: {error}\n  link:      {step.place}"
            ) from None
    builder.place = "/"
    outputs = []
    for name, operand in program.outputs.items():
        # An output has a node of its own: two may be one array, and one may be an input.
        builder.nodes.append(helper.make_node("Identity", [builder.value(operand)], [_free(name, shapes, arrays)]))
        dimensions = _dimensions(operand.shape or ())
        outputs.append(helper.make_tensor_value_info(builder.nodes[-1].output[0], _element(operand), dimensions))
    inputs = []
    for name, shape in shapes.items():
        host = backend_of(run[name], "export_onnx", name).to_numpy(run[name])
        inputs.append(helper.make_tensor_value_info(name, element_type(host.dtype), shape))
    tensors = builder.tensors()
    graph = helper.make_graph(builder.nodes, title, inputs, outputs, initializer=tensors)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph, opset_imports=imports, producer_name="tokui-toolkit", producer_version=__version__,
        ir_version=helper.find_min_ir_version_for(imports),
    )  # fmt: skip
    require(model.ByteSize() < _LIMIT, "export_onnx", "chain", "a model below 2 GB", f"{model.ByteSize():,} bytes")
    onnx.checker.check_model(model, full_check=True)
    return model, sum(arrays[tensor.name].size for tensor in tensors if tensor.name in arrays)


def _element(operand: Merged) -> int:
    from toolkit.autograd.onnx_export.graph import element_type

    return element_type(operand.dtype)


def _free(name: str, *taken: Mapping[str, Any]) -> str:
    while any(name in names for names in taken):
        name += "_out"
    return name
