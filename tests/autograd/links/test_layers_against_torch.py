"""Every layer equals torch's in float64, values and gradients, on every array library."""

from typing import Any

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, using_config
from toolkit.autograd import functions as F

NEAR = {"rtol": 1e-10, "atol": 1e-10}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """Fill a torch module with numbers that are nowhere 0 or 1, in float64."""
    generator = torch.Generator().manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return module


def host(value: Any) -> np.ndarray:
    return np.array((value if isinstance(value, Variable) else Variable(value)).numpy())


def in_library(library: Any) -> Any:
    """Make parameters where the library's float64 arrays are."""
    return L.default_arrays(library.array(np.zeros(0)))


def filled(link: L.Link, values: dict[str, torch.Tensor]) -> L.Link:
    """Write a torch module's parameters into a link, by path."""
    for path, parameter in link.namedparams():
        parameter.assign(values.pop(path).detach().numpy())
    assert not values
    return link


def compare(
    link: L.Link, module: Any, pairs: dict[str, str], library: Any, *inputs: np.ndarray, call: Any = None
) -> None:
    """Compare result, input gradients and parameter gradients of a link and a torch module."""
    named = dict(module.named_parameters())
    filled(link, {path: named[name] for path, name in pairs.items()})
    ours_in = [library.leaf(x) for x in inputs]
    theirs_in = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    ours, theirs = link(*ours_in), (call or module)(*theirs_in)
    np.testing.assert_allclose(host(ours), theirs.detach().numpy(), **NEAR)
    weights = rng(9).normal(size=tuple(theirs.shape))
    F.sum(ours * library.constant(weights)).backward()
    (theirs * torch.from_numpy(weights)).sum().backward()
    for mine, yours in zip(ours_in, theirs_in, strict=True):
        np.testing.assert_allclose(host(mine.grad), yours.grad.numpy(), **NEAR)
    parameters = dict(link.namedparams())
    for path, name in pairs.items():
        assert type(parameters[path].grad) is library.array_type
        np.testing.assert_allclose(host(parameters[path].grad), named[name].grad.numpy(), **NEAR, err_msg=path)


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (0, 3), (3,)])
@pytest.mark.parametrize("lazy", [False, True])
def test_linear(library, shape, lazy):
    with in_library(library):
        link = L.Linear(None if lazy else 3, 5)
    if lazy:
        link(library.constant(np.ones((1, 3))))
    x = rng().normal(size=shape)
    compare(link, drawn(torch.nn.Linear(3, 5)), {"/W": "weight", "/b": "bias"}, library, x)


def test_linear_without_bias_and_over_joined_axes(library):
    with in_library(library):
        link = L.Linear(12, 5, nobias=True, n_batch_axes=1)
    module = drawn(torch.nn.Linear(12, 5, bias=False))
    x = rng().normal(size=(2, 3, 2, 2))
    compare(link, module, {"/W": "weight"}, library, x, call=lambda t: module(t.flatten(1)))


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1}, {"dilation": (2, 1), "padding": (0, 2)}, {"groups": 2}, {"nobias": True}],
    ids=str,
)
@pytest.mark.parametrize("lazy", [False, True])
def test_conv2d(library, options, lazy):
    with in_library(library):
        link = L.Conv2d(None if lazy else 4, 6, 3, **options)
    x = rng().normal(size=(2, 4, 6, 7))
    if lazy:
        link(library.constant(x))
    torchs = {name: value for name, value in options.items() if name != "nobias"}
    module = drawn(torch.nn.Conv2d(4, 6, 3, bias="nobias" not in options, **torchs))
    pairs = {"/W": "weight"} if "nobias" in options else {"/W": "weight", "/b": "bias"}
    compare(link, module, pairs, library, x)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_normalization(library, shape, train):
    with in_library(library):
        link = L.BatchNormalization(3, decay=0.7, eps=1e-3)
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d}[len(shape)]
    module = drawn(kind(3, momentum=0.3, eps=1e-3))
    start = rng(3).normal(size=3), rng(4).uniform(0.5, 2.0, size=3)
    for name, mine, values in zip(("avg_mean", "avg_var"), ("running_mean", "running_var"), start, strict=True):
        getattr(module, mine).copy_(torch.from_numpy(values))
        link.load_state_dict({**link.state_dict(), name: values})
    module.train(train)
    with using_config(train=train):
        compare(link, module, {"/gamma": "weight", "/beta": "bias"}, library, rng().normal(size=shape))
    np.testing.assert_allclose(host(link.avg_mean), module.running_mean.numpy(), **NEAR)
    np.testing.assert_allclose(host(link.avg_var), module.running_var.numpy(), **NEAR)


@pytest.mark.parametrize("size", [4, (3, 4)])
def test_layer_normalization(library, size):
    with in_library(library):
        link = L.LayerNormalization(size, eps=1e-4)
    module = drawn(torch.nn.LayerNorm(size, eps=1e-4))
    compare(link, module, {"/gamma": "weight", "/beta": "bias"}, library, rng().normal(size=(2, 3, 4)))


def test_embedding(library):
    ids = np.array([[0, 4, 2], [2, 2, 1]])
    with in_library(library):
        plain, padded = L.Embedding(5, 3), L.Embedding(5, 3, ignore_label=2)
    for link, module in ((plain, torch.nn.Embedding(5, 3)), (padded, torch.nn.Embedding(5, 3, padding_idx=2))):
        module = drawn(module)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[2] = 0.0
        filled(link, {"/W": module.weight})
        y, expected = link(ids), module(torch.from_numpy(ids))
        np.testing.assert_allclose(host(y), expected.detach().numpy(), **NEAR)
        (expected**2).sum().backward()
        F.sum(y * y).backward()
        np.testing.assert_allclose(host(link.W.grad), module.weight.grad.numpy(), **NEAR)


@pytest.mark.parametrize("ignored", [-1, 7, 1])
def test_embedding_ignores_labels_wherever_they_lie(library, ignored):
    with in_library(library):
        link = L.Embedding(5, 3, ignore_label=ignored)
    rows = host(link(library.array(np.array([0, ignored, 3]))))
    assert not rows[1].any() and rows[0].any() and rows[2].any()
    F.sum(link([[ignored, 0]])).backward()
    assert host(link.W.grad)[0].all() and not host(link.W.grad)[1:].any()


def test_lstm_cell(library):
    with in_library(library):
        link = L.LSTMCell(3, 4)
    module = drawn(torch.nn.LSTMCell(3, 4))
    with torch.no_grad():
        # One bias where torch has two that are only ever added.
        module.bias_hh.zero_()
    pairs = {"/upward/W": "weight_ih", "/upward/b": "bias_ih", "/lateral/W": "weight_hh"}
    inputs = [rng(k).normal(size=(5, n)) for k, n in enumerate((3, 4, 4))]

    class Joined(L.Chain):
        def __init__(self):
            super().__init__(upward=link.upward, lateral=link.lateral)

        def forward(self, x, h, c):
            return F.concat(link(x, (h, c)), axis=1)

    compare(Joined(), module, pairs, library, *inputs, call=lambda x, h, c: torch.cat(module(x, (h, c)), 1))


def test_gru_cell(library):
    with in_library(library):
        link = L.GRUCell(3, 4)
    pairs = {"/upward/W": "weight_ih", "/upward/b": "bias_ih", "/lateral/W": "weight_hh", "/lateral/b": "bias_hh"}
    inputs = [rng(k).normal(size=(5, n)) for k, n in enumerate((3, 4))]
    compare(link, drawn(torch.nn.GRUCell(3, 4)), pairs, library, *inputs)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("lazy", [False, True])
def test_recurrent_links_over_a_sequence(library, kind, lazy):
    with in_library(library):
        link = getattr(L, kind)(None if lazy else 3, 4)
    module = drawn(getattr(torch.nn, kind)(3, 4))
    if kind == "LSTM":
        with torch.no_grad():
            module.bias_hh_l0.zero_()
    if lazy:
        link(library.constant(np.ones((1, 3))))
        link.reset_state()
    pairs = {"/upward/W": "weight_ih_l0", "/upward/b": "bias_ih_l0", "/lateral/W": "weight_hh_l0"}
    if kind == "GRU":
        pairs["/lateral/b"] = "bias_hh_l0"

    class Unrolled(L.Chain):
        def __init__(self):
            super().__init__(upward=link.upward, lateral=link.lateral)

        def forward(self, x):
            return F.stack([link(x[t]) for t in range(x.shape[0])])

    compare(Unrolled(), module, pairs, library, rng().normal(size=(6, 2, 3)), call=lambda x: module(x)[0])


def attention_pair(library: Any, module: Any, **options: Any) -> L.MultiHeadAttention:
    with in_library(library):
        link = L.MultiHeadAttention(module.embed_dim, module.num_heads, **options)
    if module.in_proj_weight is None:
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    else:
        weights = list(module.in_proj_weight.chunk(3))
    values = dict(zip(("/query/W", "/key/W", "/value/W"), weights, strict=True))
    values.update(zip(("/query/b", "/key/b", "/value/b"), module.in_proj_bias.chunk(3), strict=True))
    values.update({"/output/W": module.out_proj.weight, "/output/b": module.out_proj.bias})
    return filled(link, values)


ALLOWED = rng(5).random((4, 6)) < 0.6
ALLOWED[:, 0] = True


@pytest.mark.parametrize(
    ("mask", "theirs"),
    [(None, None), (ALLOWED, ~ALLOWED), (np.where(ALLOWED, 0.3, -2.0), np.where(ALLOWED, 0.3, -2.0))],
    ids=["no mask", "bools", "numbers"],
)
@pytest.mark.parametrize("sizes", [(8, 8, 8), (8, 3, 5)])
def test_multi_head_attention(library, mask, theirs, sizes):
    module = drawn(torch.nn.MultiheadAttention(8, 2, batch_first=True, kdim=sizes[1], vdim=sizes[2]))
    link = attention_pair(library, module, key_size=sizes[1], value_size=sizes[2])
    arrays = [rng(k).normal(size=(3, n, size)) for k, (n, size) in enumerate(zip((4, 6, 6), sizes, strict=True))]
    ours = [library.leaf(x) for x in arrays]
    yours = [torch.from_numpy(x).requires_grad_() for x in arrays]
    y, weights = link(*ours, mask=mask, return_weights=True)
    torchs = None if theirs is None else torch.from_numpy(theirs)
    expected, their_weights = module(*yours, attn_mask=torchs, average_attn_weights=False)
    np.testing.assert_allclose(host(y), expected.detach().numpy(), **NEAR)
    np.testing.assert_allclose(host(weights), their_weights.detach().numpy(), **NEAR)
    F.sum(y * y).backward()
    (expected**2).sum().backward()
    for mine, their in zip(ours, yours, strict=True):
        np.testing.assert_allclose(host(mine.grad), their.grad.numpy(), **NEAR)
    if module.in_proj_weight is not None:
        grads = np.concatenate([host(part.W.grad) for part in (link.query, link.key, link.value)])
        np.testing.assert_allclose(grads, module.in_proj_weight.grad.numpy(), **NEAR)
    np.testing.assert_allclose(host(link.output.W.grad), module.out_proj.weight.grad.numpy(), **NEAR)


def test_causal_self_attention(library):
    module = drawn(torch.nn.MultiheadAttention(8, 4, batch_first=True))
    link = attention_pair(library, module, causal=True)
    x = rng().normal(size=(2, 5, 8))
    t = torch.from_numpy(x)
    expected = module(t, t, t, attn_mask=~torch.ones(5, 5, dtype=torch.bool).tril())[0].detach().numpy()
    np.testing.assert_allclose(host(link(library.constant(x))), expected, **NEAR)
    np.testing.assert_allclose(host(link(library.constant(x[0]))), expected[0], **NEAR)
    changed = x.copy()
    changed[:, 3:] += 1.0
    np.testing.assert_array_equal(host(link(library.constant(changed)))[:, :3], host(link(library.constant(x)))[:, :3])


def test_padding_masks_for_each_sample(library):
    module = drawn(torch.nn.MultiheadAttention(8, 2, batch_first=True))
    link = attention_pair(library, module)
    x = rng().normal(size=(3, 4, 8))
    lengths = np.array([4, 2, 1])
    there = np.arange(4) < lengths[:, None]
    t = torch.from_numpy(x)
    expected = module(t, t, t, key_padding_mask=torch.from_numpy(~there))[0].detach().numpy()
    for mask in (there[:, None, :], there[:, None, None, :], library.array(there[:, None, :])):
        np.testing.assert_allclose(host(link(library.constant(x), mask=mask)), expected, **NEAR)
