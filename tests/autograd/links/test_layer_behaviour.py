"""What layers do beyond their formula: sizes from the first input, running statistics, states, masks, errors."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, checkpoint, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd import initializers as I


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LAZY = {
    "linear": (lambda: L.Linear(4), (2, 3)),
    "linear, joined axes": (lambda: L.Linear(None, 4, n_batch_axes=1), (2, 3, 2, 2)),
    "conv2d": (lambda: L.Conv2d(4, 3), (2, 3, 5, 5)),
    "conv2d, one sample": (lambda: L.Conv2d(None, 4, (1, 2), groups=3 - 1), (4, 5, 5)),
    "batch norm": (lambda: L.BatchNormalization(), (4, 3)),
    "batch norm without parameters": (lambda: L.BatchNormalization(use_gamma=False, use_beta=False), (4, 3)),
    "layer norm": (lambda: L.LayerNormalization(), (4, 3)),
    "lstm": (lambda: L.LSTM(4), (2, 3)),
    "gru": (lambda: L.GRU(4), (2, 3)),
}


@pytest.mark.parametrize("name", LAZY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_library_and_dtype_come_from_the_first_input(library, name, dtype):
    make, shape = LAZY[name]
    link = make()
    assert all(not parameter.is_initialized for parameter in link.params())
    repr(link)
    x = library.array(rng().normal(size=shape).astype(dtype))
    y = link(x)
    assert dtype in str(y.dtype) and type(y.data) is library.array_type
    for parameter in link.params():
        assert parameter.is_initialized and type(parameter.data) is library.array_type and dtype in str(parameter.dtype)
    for path, value in link.namedpersistents():
        assert path == "/N" or type(value) is library.array_type
    assert "None" not in repr(link)


def test_short_forms():
    assert L.Linear(7).out_size == 7 and L.Linear(7).in_size is None
    conv = L.Conv2d(7, 3)
    assert (conv.in_channels, conv.out_channels, conv.ksize) == (None, 7, (3, 3))
    assert L.LSTMCell(7).out_size == 7 and L.GRU(3, 7).in_size == 3
    assert L.Conv2d(4, 6, (3, 2), groups=2).W.shape == (6, 2, 3, 2)


def test_defaults_are_those_of_chainer():
    with L.default_arrays("numpy", dtype="float64"):
        linear, conv = L.Linear(400, 300, generator=seeded()), L.Conv2d(16, 64, 3, generator=seeded())
        cell = L.LSTMCell(50, 40, generator=seeded())
    assert linear.W.data.std() == pytest.approx(400**-0.5, rel=0.02) and not linear.b.data.any()
    assert conv.W.data.std() == pytest.approx((16 * 9) ** -0.5, rel=0.05) and not conv.b.data.any()
    assert cell.upward.b.data.reshape(4, 40).tolist() == [[v] * 40 for v in (0.0, 1.0, 0.0, 0.0)]
    assert cell.upward.W.data.std() == pytest.approx(50**-0.5, rel=0.05)
    norm = L.BatchNormalization(3)
    assert (norm.decay, norm.eps) == (0.9, 2e-5)
    with L.default_arrays("numpy"):
        orthogonal = L.GRUCell(3, 5, initial_lateral=I.Orthogonal()).lateral.W.data.reshape(3, 5, 5)
    for block in orthogonal:
        np.testing.assert_allclose(block @ block.T, np.eye(5), atol=1e-6)


def test_a_generator_decides_all_weights():
    def make(seed: int) -> L.Chain:
        generator = seeded(seed)
        return L.Chain(
            a=L.Linear(None, 4, generator=generator), b=L.LSTM(4, 3, generator=generator),
            c=L.MultiHeadAttention(4, 2, generator=generator), d=L.Embedding(3, 2, generator=generator),
        )  # fmt: skip

    def numbers(net: L.Chain) -> np.ndarray:
        return np.concatenate([p.numpy().ravel() for p in net.params(include_uninitialized=False)])

    np.testing.assert_array_equal(numbers(make(0)), numbers(make(0)))
    assert not np.array_equal(numbers(make(0)), numbers(make(1)))


def test_given_initial_values():
    values = rng().normal(size=(2, 3))
    linear = L.Linear(3, 2, initialW=values, initial_bias=np.array([1.0, 2.0]))
    np.testing.assert_allclose(linear.W.numpy(), values.astype("float32"))
    lazy = L.Linear(None, 2, initialW=values, initial_bias=0.5)
    with pytest.raises(ValueError, match="shape"):
        lazy(np.ones((1, 4)))
    assert not lazy.W.is_initialized
    np.testing.assert_allclose(lazy(np.ones((1, 3))).numpy()[0], values.sum(1) + 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalization


def test_running_statistics_move_by_one_minus_decay_and_only_in_training(library):
    link = L.BatchNormalization(decay=0.75)
    x = rng().normal(2.0, 3.0, size=(8, 2))
    link(library.array(x))
    np.testing.assert_allclose(library.host(link.avg_mean), 0.25 * x.mean(0))
    np.testing.assert_allclose(library.host(link.avg_var), 0.75 + 0.25 * x.var(0, ddof=1))
    kept = library.host(link.avg_mean).copy()
    with using_config(train=False):
        y = link(library.array(x))
    np.testing.assert_array_equal(library.host(link.avg_mean), kept)
    expected = (x - kept) / np.sqrt(library.host(link.avg_var) + link.eps)
    np.testing.assert_allclose(library.host(y), expected)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("finetune", [False, True])
def test_a_checkpoint_updates_running_statistics_once(library, lazy, finetune):
    x = rng().normal(size=(6, 3))
    found = []
    for wrap in (lambda f, v: f(v), checkpoint):
        with L.default_arrays(library.array(np.zeros(0))):
            link = L.BatchNormalization(None if lazy else 3)
        leaf = library.leaf(x)
        y = wrap(lambda v, link=link: F.tanh(link(v, finetune=finetune)), leaf)
        F.sum(y * y).backward()
        found.append([library.host(value) for value in (link.avg_mean, link.avg_var, leaf.grad, link.gamma.grad)])
        assert (link.N == 1) is finetune
    for direct, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, direct, rtol=1e-12)


def test_a_checkpoint_draws_the_same_mask_although_its_first_run_made_the_weights(library):
    x = rng().normal(size=(4, 3))
    found = []
    for wrap in (lambda f, v: f(v), checkpoint):
        with using_config(generator=seeded()):
            net = L.Sequential(L.Linear(None, 5), lambda v: F.dropout(v, 0.5), L.Linear(None, 5), F.dropout)
            leaf = library.leaf(x)
            F.sum(wrap(net, leaf) ** 2).backward()
        found.append([library.host(leaf.grad), *(library.host(p.grad) for p in net.params())])
    for direct, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, direct, rtol=1e-12)


def test_finetuning_averages_over_all_batches():
    with L.default_arrays("numpy", dtype="float64"):
        link = L.BatchNormalization(2)
    batches = [rng(k).normal(size=(5, 2)) for k in range(4)]
    link(batches[0] + 100.0)
    link.start_finetuning()
    for batch in batches:
        link(batch, finetune=True)
    assert link.N == 4
    np.testing.assert_allclose(link.avg_mean, np.mean([b.mean(0) for b in batches], axis=0), atol=1e-12)
    with using_config(train=False):
        link(batches[0], finetune=True)
    assert link.N == 4


def test_statistics_are_saved_and_not_trained():
    link = L.BatchNormalization(2)
    link(torch.randn(8, 2, generator=seeded()))
    assert {path for path, _ in link.namedparams()} == {"/gamma", "/beta"}
    twin = L.BatchNormalization()
    twin.load_state_dict(link.state_dict())
    assert torch.equal(twin.avg_var, link.avg_var) and twin.avg_var is not link.avg_var
    pickled = pickle.loads(pickle.dumps(link))
    assert torch.equal(pickled.avg_mean, link.avg_mean)


# ---------------------------------------------------------------------------------------------------------------------
# Recurrent links


def steps(link: L.Link, xs: np.ndarray) -> list[np.ndarray]:
    return [link(x).numpy() for x in xs]


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU])
class TestStatefulLinks:
    xs = rng().normal(size=(4, 3, 2)).astype("float32")

    def make(self, kind):
        return kind(2, 5, generator=seeded()).to_device(library="numpy")

    def test_state_is_kept_and_reset(self, kind):
        link = self.make(kind)
        first = steps(link, self.xs)
        assert not np.array_equal(steps(link, self.xs)[0], first[0])
        link.reset_state()
        assert link.h is None
        np.testing.assert_array_equal(steps(link, self.xs), first)

    def test_state_can_be_set(self, kind):
        link, other = self.make(kind), self.make(kind)
        steps(link, self.xs[:2])
        state = (link.c, link.h) if kind is L.LSTM else (link.h,)
        other.set_state(*state)
        np.testing.assert_array_equal(steps(other, self.xs[2:]), steps(link, self.xs[2:]))
        wrong = [np.zeros((3, 4), dtype="float32")] * len(state)
        with pytest.raises(ValueError, match="samples, 5"):
            link.set_state(*wrong)
        with pytest.raises(TypeError):
            link.set_state(*[np.zeros((3, 5))] * len(state))

    def test_state_survives_a_snapshot_and_is_no_part_of_the_model(self, kind):
        link, other = self.make(kind), self.make(kind)
        steps(link, self.xs[:2])
        other.load_state_dict(copy.deepcopy(link.state_dict()))
        assert other.h.data is not link.h.data and other.h.node is None
        np.testing.assert_array_equal(steps(other, self.xs[2:]), steps(link, self.xs[2:]))
        weights = {name: value for name, value in link.state_dict().items() if name in ("upward", "lateral")}
        other.load_state_dict(weights)
        assert other.h is None
        other.copyparams(link)
        assert other.h is None
        link.load_state_dict(other.state_dict())
        assert link.h is None

    def test_copies_have_no_history(self, kind):
        link = self.make(kind)
        link(self.xs[0])
        assert link.h.node is not None
        assert link.copy("init").h is None
        for twin in (link.copy("copy"), link.copy("share"), pickle.loads(pickle.dumps(link))):
            assert twin.h.node is None
            np.testing.assert_array_equal(twin.h.data, link.h.data)
        assert link.h.node is not None

    def test_smaller_batches_leave_the_other_states_waiting(self, kind):
        link, whole = self.make(kind), self.make(kind)
        xs = [self.xs[0], self.xs[1][:2], self.xs[2][:1]]
        ys = [link(x) for x in xs]
        expected = steps(whole, self.xs[:3])
        for y, full, n in zip(ys, expected, (3, 2, 1), strict=True):
            assert y.shape == (n, 5)
            np.testing.assert_allclose(y.numpy(), full[:n], rtol=1e-6)
        np.testing.assert_array_equal(link.h.numpy()[2], expected[0][2])
        with pytest.raises(ValueError, match="h"):
            link(np.zeros((4, 2), dtype="float32"))

    def test_truncated_backpropagation(self, kind):
        link = self.make(kind)
        early = Variable(self.xs[0].copy(), requires_grad=True)
        loss = F.sum(link(early))
        loss.unchain_backward()
        late = Variable(self.xs[1].copy(), requires_grad=True)
        F.sum(link(late)).backward()
        assert early.grad is None and late.grad is not None

    def test_history_is_cut_after_the_backward_pass_as_well(self, kind):
        link, other = self.make(kind), self.make(kind)
        other.copyparams(link)
        for x in self.xs:
            link.cleargrads()
            loss = F.sum(link(x))
            loss.backward()
            loss.unchain_backward()
            other.cleargrads()
            F.sum(other(x)).backward()
            for name in other._state:
                setattr(other, name, getattr(other, name).detach())
        for ours, theirs in zip(link.params(), other.params(), strict=True):
            np.testing.assert_array_equal(ours.grad, theirs.grad)

    def test_moves_take_the_state_along(self, kind):
        link = self.make(kind)
        steps(link, self.xs[:1])
        link.to_device(library="torch")
        assert isinstance(link.h.data, torch.Tensor)
        link(torch.from_numpy(self.xs[1]))
        link.astype("float64")
        assert link.h.dtype is torch.float64
        link(torch.from_numpy(self.xs[1]).double())

    def test_no_samples(self, kind):
        assert self.make(kind)(np.zeros((0, 2), dtype="float32")).shape == (0, 5)


# ---------------------------------------------------------------------------------------------------------------------
# Attention


@pytest.mark.parametrize("added", [False, True])
def test_a_query_that_may_look_nowhere_finds_nothing_and_makes_no_nan(library, added):
    with L.default_arrays(library.array(np.zeros(0))):
        link = L.MultiHeadAttention(4, 2)
    x = library.leaf(rng().normal(size=(1, 3, 4)))
    mask = np.array([[True, True, False], [False, False, False], [True, False, True]])
    if added:
        mask = library.array(np.where(mask, 0.0, -np.inf))
    y, weights = link(x, mask=mask, return_weights=True)
    F.sum(y * y).backward()
    np.testing.assert_array_equal(library.host(weights)[0, :, 1], np.zeros((2, 3)))
    np.testing.assert_array_equal(library.host(y)[0, 1], library.host(link.output.b))
    assert np.isfinite(library.host(x.grad)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_masks_in_narrow_dtypes(dtype):
    with L.default_arrays(dtype=dtype):
        link = L.MultiHeadAttention(4, 2, causal=True, generator=seeded())
    x = torch.randn(2, 3, 4, generator=seeded()).to(getattr(torch, dtype)) * 30
    y = link(x)
    assert y.dtype is x.dtype and bool(torch.isfinite(y.data).all())


@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (2, 0), (0, 0)])
def test_attention_over_nothing(library, queries, keys):
    with L.default_arrays(library.array(np.zeros(0))):
        link = L.MultiHeadAttention(4, 2)
    y = link(library.constant(np.ones((2, queries, 4))), library.constant(np.ones((2, keys, 4))))
    assert y.shape == (2, queries, 4)
    if queries:
        np.testing.assert_allclose(library.host(y), np.broadcast_to(library.host(link.output.b), y.shape))


def test_attention_drops_weights_in_training_alone():
    link = L.MultiHeadAttention(4, 2, dropout=0.5)
    x = torch.randn(1, 6, 4, generator=seeded())
    first, again, other = (link(x, generator=seeded(k)).numpy() for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    with using_config(train=False), no_grad():
        np.testing.assert_array_equal(link(x).numpy(), link(x).numpy())


def test_masks_of_a_few_shapes_agree():
    link = L.MultiHeadAttention(4, 2).astype("float64")
    x = torch.randn(2, 3, 4, generator=seeded(), dtype=torch.float64)
    mask = np.tril(np.ones((3, 3), dtype=bool))
    expected = link(x, mask=mask).numpy()
    for shape in ((1, 3, 3), (2, 3, 3), (1, 1, 3, 3), (2, 2, 3, 3)):
        np.testing.assert_array_equal(link(x, mask=np.broadcast_to(mask, shape).copy()).numpy(), expected)
    np.testing.assert_array_equal(link(x, mask=mask.tolist()).numpy(), expected)
    np.testing.assert_array_equal(link(x, mask=torch.from_numpy(mask)).numpy(), expected)
    heads = np.broadcast_to(mask, (2, 3, 3)).copy()
    np.testing.assert_allclose(link(x[0], mask=heads).numpy(), expected[0], rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def of_float32(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype="float32")


with L.default_arrays("numpy"):
    READY = {
        "linear": L.Linear(3, 2),
        "conv": L.Conv2d(3, 2, 3),
        "norm": L.BatchNormalization(3),
        "layer": L.LayerNormalization(3),
        "table": L.Embedding(3, 2),
        "lstm": L.LSTM(3, 2),
        "cell": L.LSTMCell(3, 2),
        "gru": L.GRUCell(3, 2),
        "attention": L.MultiHeadAttention(4, 2),
    }


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("linear", (of_float32(2, 4),), ValueError),
        ("linear", (of_float32(),), ValueError),
        ("linear", (of_float32(2, 3).astype("float64"),), TypeError),
        ("linear", (torch.ones(2, 3),), TypeError),
        ("linear", ([[1.0, 2.0, 3.0]],), TypeError),
        ("linear", (of_float32(2, 3), 0), ValueError),
        ("linear", (of_float32(3), 2), ValueError),
        ("conv", (of_float32(2, 4, 5, 5),), ValueError),
        ("conv", (of_float32(2, 3),), ValueError),
        ("conv", (of_float32(2, 3, 2, 2),), ValueError),
        ("norm", (of_float32(2, 4),), ValueError),
        ("norm", (of_float32(3),), ValueError),
        ("norm", (of_float32(1, 3),), ValueError),
        ("layer", (of_float32(2, 4),), ValueError),
        ("layer", (of_float32(2, 3).astype("float64"),), TypeError),
        ("table", (np.array([3]),), ValueError),
        ("table", (np.array([-1]),), ValueError),
        ("table", (of_float32(2),), TypeError),
        ("lstm", (of_float32(2, 4),), ValueError),
        ("lstm", (of_float32(2, 3, 3),), ValueError),
        ("lstm", (of_float32(2, 3).astype("float64"),), TypeError),
        ("cell", (of_float32(2, 3), (of_float32(2, 3), of_float32(2, 2))), ValueError),
        ("cell", (of_float32(2, 3), of_float32(2, 2)), TypeError),
        ("gru", (of_float32(2, 3), of_float32(3, 2)), ValueError),
        ("attention", (of_float32(2, 3, 5),), ValueError),
        ("attention", (of_float32(2, 3, 4), of_float32(1, 3, 4)), ValueError),
        ("attention", (of_float32(2, 3, 4), of_float32(3, 4)), ValueError),
        ("attention", (of_float32(2, 3, 4), of_float32(2, 3, 4), of_float32(2, 5, 4)), ValueError),
        ("attention", (of_float32(4),), ValueError),
        ("attention", (of_float32(2, 3, 4), None, None, np.ones((2, 2), dtype=bool)), ValueError),
        ("attention", (of_float32(2, 3, 4), None, None, np.ones((3, 3), dtype=int)), TypeError),
    ],
)
def test_wrong_inputs_name_the_link(name, arguments, kind):
    net = L.Chain(layer=copy.deepcopy(READY[name]))
    net.forward = lambda *inputs: net.layer(*inputs)
    with pytest.raises(kind) as caught:
        net(*arguments)
    assert "/layer" in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("link", "x", "kind"),
    [
        (L.Linear(2), np.ones((2, 3, 4, 4)), ValueError),
        (L.Linear(2), np.ones(()), ValueError),
        (L.Linear(2), np.ones((2, 3), dtype=int), TypeError),
        (L.Conv2d(2, 3), np.ones((2, 3)), ValueError),
        (L.Conv2d(2, 3), np.ones((2, 0, 4, 4)), ValueError),
        (L.Conv2d(None, 2, 3, groups=2), np.ones((2, 3, 4, 4)), ValueError),
        (L.BatchNormalization(), np.ones(3), ValueError),
        (L.BatchNormalization(), np.ones((2, 3), dtype=int), TypeError),
        (L.LayerNormalization(), np.ones(()), ValueError),
        (L.LSTM(2), np.ones(3), ValueError),
        (L.LSTM(2), np.ones((2, 3), dtype=int), TypeError),
    ],
)
def test_wrong_first_inputs_size_nothing(link, x, kind):
    with pytest.raises(kind):
        link(x)
    assert all(not parameter.is_initialized for parameter in link.params())
    assert all(value is None or value == 0 for _, value in link.namedpersistents())


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: L.Linear(3, -1), ValueError),
        (lambda: L.Linear(3, 2.5), TypeError),
        (lambda: L.Linear(None), TypeError),
        (lambda: L.Linear(3, 2, n_batch_axes=0), ValueError),
        (lambda: L.Conv2d(3, 4, 0), ValueError),
        (lambda: L.Conv2d(3, 4, (3, 3, 3)), ValueError),
        (lambda: L.Conv2d(3, 4, 3, groups=2), ValueError),
        (lambda: L.Conv2d(3, 4, 3, padding=-1), ValueError),
        (lambda: L.BatchNormalization(3, decay=1.5), ValueError),
        (lambda: L.BatchNormalization(3, initial_gamma=np.ones(4)), ValueError),
        (lambda: L.BatchNormalization(3, eps=-1.0), ValueError),
        (lambda: L.LayerNormalization(()), ValueError),
        (lambda: L.LayerNormalization(eps=float("inf")), ValueError),
        (lambda: L.Embedding(3, None), TypeError),
        (lambda: L.Embedding(3, 2, ignore_label=1.5), TypeError),
        (lambda: L.LSTM(3, 0), ValueError),
        (lambda: L.MultiHeadAttention(5, 2), ValueError),
        (lambda: L.MultiHeadAttention(4, 2, dropout=1.0), ValueError),
    ],
)
def test_wrong_options(make, kind):
    with pytest.raises(kind):
        make()


def test_threads_have_defaults_of_their_own():
    found = {}

    def work() -> None:
        found["other"] = L.Linear(1, 1).array_library

    with L.default_arrays("numpy"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert L.Linear(1, 1).array_library == "numpy"
    assert found["other"] == "torch"


def test_the_default_of_the_process():
    L.set_default_arrays("numpy", dtype="float64")
    try:
        assert L.Linear(1, 1).W.dtype == np.float64
    finally:
        L.set_default_arrays("torch", device="cpu", dtype="float32")
    assert L.Linear(1, 1).W.dtype is torch.float32
