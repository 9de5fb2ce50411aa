"""States come back from files as they were, and what is no state is refused with one clear error."""

import io
import json
import math
import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toolkit.autograd.links as L
from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd import optimizers as O
from toolkit.autograd.serializers import (
    LoadReport,
    load_npz,
    load_safetensors,
    save_npz,
    save_safetensors,
)
from toolkit.autograd.states import flatten_state, nest_state
from toolkit.core.errors import CheckpointError

try:
    import safetensors
except ImportError:
    safetensors = None


def same(ours, theirs):
    """Whether two leaves are the same, to the type and to the bits."""
    if isinstance(theirs, torch.Tensor):
        bits = (
            torch.equal(ours.reshape(-1).view(torch.uint8), theirs.flatten().contiguous().view(torch.uint8))
            if theirs.numel()
            else True
        )
        return type(ours) is torch.Tensor and ours.dtype is theirs.dtype and ours.shape == theirs.shape and bits
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
    if isinstance(theirs, float) and math.isnan(theirs):
        return isinstance(ours, float) and math.isnan(ours)
    return type(ours) is type(theirs) and ours == theirs and repr(ours) == repr(theirs)


def round_trip(form, path, state):
    save, load = form
    save(path, state)
    report = load(path)
    read, written = flatten_state(report.state), flatten_state(state)
    assert set(read) == set(written) == set(report.loaded)
    for key, value in written.items():
        assert same(read[key], value), (key, read[key], value)
    return report


KEYS = st.text(st.characters(exclude_characters="/\\", exclude_categories=["C", "Z"]), min_size=1, max_size=5)
DTYPES = ["float64", "float32", "float16", "int64", "int8", "uint16", "bool"]


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    dtype = draw(st.sampled_from(DTYPES))
    bits = draw(st.binary(min_size=64, max_size=64))
    count = math.prod(shape) * np.dtype(dtype).itemsize
    array = np.frombuffer((bits * 4)[:count], dtype="bool" if dtype == "bool" else dtype).reshape(shape)
    array = array != 0 if dtype == "bool" else array.copy()
    return torch.from_numpy(np.array(array)) if draw(st.booleans()) else np.array(array)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
LEAVES = arrays() | PLAIN | st.lists(st.integers() | st.none() | st.text(max_size=2), max_size=3)
STATES = st.dictionaries(KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(state=STATES)
def test_any_state_comes_back(form, tmp_path, state):
    round_trip(form, tmp_path / "state", state)


def test_extremes(form, tmp_path):
    state = {
        "empty": np.zeros((0, 3)),
        "vast": torch.zeros(10**12, 0),
        "number": torch.tensor(-0.0),
        "special": np.array([math.nan, math.inf, -math.inf, 5e-324]),
        "half": torch.tensor([1.0, 65504.0, 1e-7], dtype=torch.bfloat16),
        "half number": torch.tensor(1.5, dtype=torch.bfloat16),
        "no half": torch.zeros(0, 2, dtype=torch.bfloat16),
        "quarter": torch.tensor([1.0, 2.0]).to(torch.float8_e5m2),
        "generator": torch.Generator().manual_seed(5).get_state(),
        "conv1.weight": {"": 1}[""],
        "empty dict": {},
        "big": 2**200,
        "text": "ä\n\0\ud83d\\/",
        "list": [1, 2.5, None, "x", [], {"a": [True]}],
        "file": np.ones(1),
        "self": {"file": 3.0},
        "ключ": np.ones(2),
    }
    round_trip(form, tmp_path / "state", state)


def test_an_empty_state(form, tmp_path):
    assert round_trip(form, tmp_path / "state", {}).state == {}


def test_deep_nesting(form, tmp_path):
    state = inner = {}
    for _ in range(3000):
        inner["n"] = inner = {}
    inner["leaf"] = np.ones(2)
    save, load = form
    save(tmp_path / "state", state)
    read = load(tmp_path / "state").state
    for _ in range(3000):
        read = read["n"]
    assert read["leaf"].tolist() == [1, 1]


def test_views_and_shared_memory(form, tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"whole": whole, "again": whole, "turned": whole.T, "part": whole[1:, ::2], "grown": whole[:1].expand(5, 4)}
    state |= {"host": np.arange(6.0).reshape(2, 3).T, "back": np.arange(4.0)[::-1]}
    round_trip(form, tmp_path / "state", state)


def test_foreign_byte_order(form, tmp_path):
    save, load = form
    save(tmp_path / "state", {"a": np.array([1.0, 2.0], dtype=">f8")})
    assert load(tmp_path / "state").state["a"].tolist() == [1.0, 2.0]


def test_arrays_of_every_library(form, tmp_path, library):
    save, load = form
    save(tmp_path / "state", {"a": library.array(np.arange(3.0))})
    np.testing.assert_array_equal(load(tmp_path / "state").state["a"], [0, 1, 2])
    target = {"a": library.array(np.zeros(3, dtype="float32"))}
    assert load(tmp_path / "state", target).complete
    assert isinstance(target["a"], library.array_type) and "float32" in str(target["a"].dtype)
    np.testing.assert_array_equal(np.asarray(target["a"]), [0, 1, 2])


@pytest.mark.parametrize("compression", [False, True])
def test_numpy_reads_an_npz_without_pickle(tmp_path, compression):
    save_npz(tmp_path / "m", {"l1": {"W": torch.ones(2, 3), "b": np.zeros(2)}}, compression)
    with np.load(tmp_path / "m", allow_pickle=False) as archive:
        assert archive["l1/W"].tolist() == [[1.0] * 3] * 2
        assert archive["l1/b"].shape == (2,)


def test_compression_is_smaller_and_equal_states_give_equal_files(tmp_path):
    state = {"a": np.zeros(10_000), "b": 3}
    for name, compression in (("one", False), ("two", False), ("small", True)):
        save_npz(tmp_path / name, state, compression)
    one, two, small = ((tmp_path / name).read_bytes() for name in ("one", "two", "small"))
    assert one == two and len(small) < len(one) / 50
    assert load_npz(tmp_path / "small").state["a"].shape == (10_000,)


@pytest.mark.skipif(safetensors is None, reason="the safetensors package is not installed")
def test_other_programs_read_the_safetensors(tmp_path):
    from safetensors.torch import load_file, save_file

    save_safetensors(tmp_path / "m", {"l1": {"W": torch.ones(2, dtype=torch.bfloat16)}, "n": 3})
    read = load_file(tmp_path / "m")
    assert list(read) == ["l1/W"] and read["l1/W"].dtype is torch.bfloat16
    save_file({"W": torch.full((2, 3), 2.0), "b": torch.ones(2)}, tmp_path / "foreign")
    link = L.Linear(3, 2)
    assert load_safetensors(tmp_path / "foreign", link).complete
    assert link.W.data.tolist() == [[2.0] * 3] * 2


class Net(L.Chain):
    """Two layers, the second sized by its input, and a counter."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(3, 4)
            self.l2 = L.Linear(None, 2)
        self.add_persistent("n_seen", 0)

    def forward(self, x):
        return self.l2(F.relu(self.l1(x)))


X = Variable(torch.linspace(-1, 1, 6).reshape(2, 3))


def test_models(form, tmp_path):
    save, load = form
    first, second = Net(), Net()
    first(X)
    first.n_seen = 7
    save(tmp_path / "m", first)
    report = load(tmp_path / "m", second)
    assert sorted(report.loaded) == ["l1/W", "l1/b", "l2/W", "l2/b", "n_seen"] and report.complete
    assert torch.equal(first(X).data, second(X).data) and second.n_seen == 7
    assert type(second.n_seen) is int


def test_models_without_all_sizes(form, tmp_path):
    save, load = form
    save(tmp_path / "m", Net())
    second = Net()
    load(tmp_path / "m", second)
    assert not second.l2.W.is_initialized


def test_models_that_do_not_fit(form, tmp_path):
    save, load = form
    first = Net()
    first(X)
    save(tmp_path / "m", {"l1": {"W": torch.ones(4, 5), "b": torch.ones(4)}, "l3": {"W": torch.ones(1)}})
    before = first.l1.b.data.clone()
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "m", first)
    for path in ("l2/W", "l2/b", "n_seen", "l3/W", "l1/W"):
        assert path in str(caught.value)
    assert torch.equal(first.l1.b.data, before)
    report = load(tmp_path / "m", first, strict=False)
    assert report == LoadReport(("l1/b",), ("l2/W", "l2/b", "n_seen"), ("l3/W",), ("l1/W",))
    assert first.l1.b.data.tolist() == [1.0] * 4
    assert not report.complete and "l2/W" in repr(report) and report.to_dict()["misshapen"] == ["l1/W"]


def test_complex_numbers_do_not_lose_a_part(tmp_path):
    net = L.Linear(3, 2)
    before = net.W.data.clone()
    save_npz(tmp_path / "m", {"W": np.full((2, 3), 1 + 2j), "b": np.zeros(2)})
    with pytest.raises(CheckpointError, match="complex128"):
        load_npz(tmp_path / "m", net)
    assert torch.equal(net.W.data, before)
    assert load_npz(tmp_path / "m", net, strict=False).misshapen == ("W",)
    assert load_npz(tmp_path / "m", {"W": np.zeros((2, 3)), "b": np.ones(2)}, strict=False).misshapen == ("W",)


def test_optimizers_go_on_exactly(form, tmp_path):
    save, load = form
    first = Net()
    optimizer = O.Adam(lr=0.1).setup(first)

    def train(model, optimizer):
        optimizer.update(lambda: F.sum(model(X) ** 2))

    train(first, optimizer)
    train(first, optimizer)
    save(tmp_path / "m", first)
    save(tmp_path / "o", optimizer)
    second = Net()
    resumed = O.Adam().setup(second)
    assert load(tmp_path / "o", resumed).complete  # before the model has its sizes
    load(tmp_path / "m", second)
    train(first, optimizer)
    train(second, resumed)
    assert all(torch.equal(a.data, b.data) for a, b in zip(first.params(), second.params(), strict=True))
    assert resumed.t == 3 and resumed.lr == 0.1
    with pytest.raises(CheckpointError, match="hyperparameters/beta1"):
        load(tmp_path / "o", O.SGD().setup(second))


def test_torch_modules(form, tmp_path):
    save, load = form
    first, second = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)) for _ in range(2))
    first(X.data)
    save(tmp_path / "m", first)
    assert load(tmp_path / "m", second).complete
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    report = load(tmp_path / "m", torch.nn.Sequential(torch.nn.Linear(3, 2)), strict=False)
    assert "1.running_mean" in report.unexpected


@pytest.mark.parametrize("compressed", [False, True])
def test_chainers_files(tmp_path, compressed):
    """Chainer's ``save_npz``: parameters by path, persistents as arrays without axes."""
    rng = np.random.default_rng(0)
    values = {
        "l1/W": rng.normal(size=(4, 3)).astype("f"),
        "l1/b": np.zeros(4, "f"),
        "l2/W": rng.normal(size=(2, 4)).astype("f"),
        "l2/b": np.ones(2, "f"),
        "n_seen": np.array(12),
    }
    (np.savez_compressed if compressed else np.savez)(tmp_path / "chainer.npz", **values)
    net = Net()
    assert load_npz(tmp_path / "chainer.npz", net).complete
    hidden = np.maximum(X.numpy() @ values["l1/W"].T, 0)
    np.testing.assert_allclose(net(X).numpy(), hidden @ values["l2/W"].T + 1, rtol=1e-5)
    assert net.n_seen == 12 and type(net.n_seen) is int


def test_dicts_are_filled_or_left(form, tmp_path):
    save, load = form
    save(tmp_path / "m", {"a": np.ones(2), "b": {"c": 3}})
    target = {"a": torch.zeros(2), "b": {"c": 0}}
    assert load(tmp_path / "m", target).loaded
    assert torch.equal(target["a"], torch.ones(2)) and target["b"] == {"c": 3}
    other = {"a": torch.zeros(3), "b": {"d": 0}}
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "m", other)
    assert all(path in str(caught.value) for path in ("missing b/d", "unexpected b/c", "of another shape a"))
    assert other["b"] == {"d": 0}


@pytest.mark.parametrize("key", ["", "a/b", "/", "a\\b", "a\0b", "line\n", "\ud800"])
def test_keys_that_cannot_be_paths(form, tmp_path, key):
    with pytest.raises(ValueError, match="keys"):
        form[0](tmp_path / "m", {"l": {key: np.ones(1)}})
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_no_text(form, tmp_path):
    with pytest.raises(TypeError, match="keys of text"):
        form[0](tmp_path / "m", {1: np.ones(1)})


def test_the_name_of_the_notes_is_taken(form, tmp_path):
    with pytest.raises(ValueError, match="__toolkit__"):
        form[0](tmp_path / "m", {"__toolkit__": np.ones(1)})


@pytest.mark.parametrize(
    "leaf",
    [
        object(),
        np.array([None]),
        np.array(["text"]),
        np.array(["2020"], dtype="datetime64[Y]"),
        np.ma.masked_array([1.0], [True]),
        torch.ones(2).to_sparse(),
        torch.empty(2, device="meta"),
        {"a": {1, 2}},
        [np.ones(1)],
        b"bytes",
        lambda: None,
        Variable(torch.ones(1)),
        np.dtype("f4"),
    ],
)
def test_leaves_that_cannot_be_stored(form, tmp_path, leaf):
    with pytest.raises(TypeError, match="x"):
        form[0](tmp_path / "m", {"deep": {"x": leaf}})
    assert list(tmp_path.iterdir()) == []


def test_saving_what_has_no_state(form, tmp_path):
    with pytest.raises(TypeError, match="state_dict"):
        form[0](tmp_path / "m", 3)


def test_numpy_reads_every_entry_as_an_array(tmp_path):
    save_npz(tmp_path / "m", {"a": torch.zeros(2, 3), "text": "é", "none": None})
    with np.load(tmp_path / "m", allow_pickle=False) as file:
        arrays = dict(file.items())
    assert {name: array.shape for name, array in arrays.items() if name != "__toolkit__"} == {"a": (2, 3)}
    assert arrays["__toolkit__"].dtype == np.uint8
    notes = json.loads(arrays["__toolkit__"].tobytes())
    assert notes["plain"] == {"text": "é", "none": None}
    np.savez(tmp_path / "again.npz", **arrays)  # what NumPy writes again is the same state
    assert load_npz(tmp_path / "again.npz").state["text"] == "é"
    arrays["__toolkit__"] = np.zeros(3)
    np.savez(tmp_path / "spoilt.npz", **arrays)
    with pytest.raises(CheckpointError, match="notes of float64"):
        load_npz(tmp_path / "spoilt.npz")


def test_notes_of_earlier_files_are_read(tmp_path):
    save_npz(tmp_path / "m", {"a": torch.zeros(2), "text": "é"})
    with zipfile.ZipFile(tmp_path / "m") as new, zipfile.ZipFile(tmp_path / "old", "w") as old:
        old.writestr("a.npy", new.read("a.npy"))
        old.writestr("__toolkit__.json", np.load(io.BytesIO(new.read("__toolkit__.npy"))).tobytes())
    state = load_npz(tmp_path / "old").state
    assert state["text"] == "é"
    assert isinstance(state["a"], torch.Tensor)


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: save_safetensors(tmp_path / "m", {}), lambda: load_safetensors(tmp_path / "m")):
        with pytest.raises(ImportError, match="tokui-toolkit"):
            call()


def test_paths_and_trees():
    state = {"a": {"b": 1, "c": {"d": 2}}, "e": {}, "f.g": 3}
    flat = {"a/b": 1, "a/c/d": 2, "e": {}, "f.g": 3}
    assert flatten_state(state) == flat and nest_state(flat) == state
    for clash in ({"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}, {"a": {}, "a/b": 1}):
        with pytest.raises(ValueError, match="through another"):
            nest_state(clash)
