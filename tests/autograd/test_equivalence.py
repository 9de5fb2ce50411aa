"""Fifty training steps of four networks in float64: losses and parameters are torch's.

Each network is written once for an array of functions and trained by ours on every array library and by torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd import functions as F

STEPS, RATE, MOMENTUM = 50, 0.02, 0.9


class Torch:
    """torch's functions under our names."""

    tanh, relu, sigmoid, exp, matmul, einsum = (
        staticmethod(getattr(torch, name)) for name in ("tanh", "relu", "sigmoid", "exp", "matmul", "einsum")
    )
    linear = staticmethod(torch.nn.functional.linear)
    conv2d = staticmethod(torch.nn.functional.conv2d)
    max_pool2d = staticmethod(torch.nn.functional.max_pool2d)
    cross_entropy = staticmethod(torch.nn.functional.cross_entropy)
    softmax = staticmethod(torch.softmax)
    gelu = staticmethod(torch.nn.functional.gelu)

    @staticmethod
    def average_pool2d(x: Any, window: int) -> Any:
        return torch.nn.functional.avg_pool2d(x, window)

    @staticmethod
    def batch_normalization(x: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True)

    @staticmethod
    def layer_normalization(x: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.layer_norm(x, gamma.shape, gamma, beta)

    @staticmethod
    def mse(x: Any, y: Any) -> Any:
        return torch.nn.functional.mse_loss(x, y)

    @staticmethod
    def embedding(ids: Any, weight: Any) -> Any:
        return torch.nn.functional.embedding(ids, weight)

    @staticmethod
    def stack(arrays: Any, axis: int) -> Any:
        return torch.stack(arrays, axis)

    @staticmethod
    def transpose(x: Any, axes: tuple[int, ...]) -> Any:
        return x.permute(axes)

    @staticmethod
    def concat(arrays: Any, axis: int) -> Any:
        return torch.cat(arrays, axis)


@dataclass(frozen=True)
class Network:
    """A loss of parameters and data, written against a set of functions."""

    loss: Callable[..., Any]
    parameters: dict[str, tuple[int, ...]]
    data: Callable[[np.random.Generator], dict[str, np.ndarray]]


def mlp(f: Any, p: dict, d: dict) -> Any:
    h = f.relu(f.linear(d["x"], p["w1"], p["b1"]))
    h = f.tanh(f.linear(h, p["w2"], p["b2"]))
    return f.cross_entropy(f.linear(h, p["w3"], p["b3"]), d["t"])


def convnet(f: Any, p: dict, d: dict) -> Any:
    h = f.conv2d(d["x"], p["k1"], p["b1"], stride=1, padding=1)
    h = f.max_pool2d(f.relu(f.batch_normalization(h, p["g1"], p["s1"])), 2)
    h = f.relu(f.conv2d(h, p["k2"], None, stride=2, padding=1, groups=2))
    h = f.average_pool2d(h, 2)
    return f.cross_entropy(f.linear(h.reshape(d["x"].shape[0], -1), p["w"], p["b"]), d["t"])


def lstm(f: Any, p: dict, d: dict) -> Any:
    size = p["wh"].shape[1]
    h = c = d["start"]
    outputs = []
    for step in range(d["x"].shape[1]):
        gates = f.linear(d["x"][:, step], p["wx"], p["b"]) + f.linear(h, p["wh"])
        i, o, r, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
        c = f.sigmoid(r + 1.0) * c + f.sigmoid(i) * f.tanh(g)
        h = f.sigmoid(o) * f.tanh(c)
        outputs.append(f.linear(h, p["wo"]))
    return f.mse(f.stack(outputs, 1), d["t"])


def attention(f: Any, p: dict, d: dict) -> Any:
    x = f.embedding(d["ids"], p["tokens"]) + p["places"]
    batch, length, width = x.shape
    heads = 2

    def split(v: Any) -> Any:
        return f.transpose(v.reshape(batch, length, heads, width // heads), (0, 2, 1, 3))

    h = f.layer_normalization(x, p["g"], p["s"])
    q, k, v = (split(f.linear(h, p[name])) for name in ("wq", "wk", "wv"))
    weights = f.softmax(f.einsum("bhid,bhjd->bhij", q, k) / (width // heads) ** 0.5 + d["mask"], -1)
    mixed = f.transpose(f.matmul(weights, v), (0, 2, 1, 3)).reshape(batch, length, width)
    x = x + f.linear(mixed, p["wo"])
    x = x + f.linear(f.gelu(f.linear(x, p["w1"], p["b1"])), p["w2"])
    return f.cross_entropy(f.linear(x, p["tokens"]).reshape(batch * length, -1), d["next"])


def attention_data(rng: np.random.Generator) -> dict[str, np.ndarray]:
    ids = rng.integers(0, 7, size=(4, 6))
    mask = np.where(np.tril(np.ones((5, 5))), 0.0, -1e9)
    return {"ids": ids[:, :-1], "next": ids[:, 1:].reshape(-1), "mask": mask}


NETWORKS = {
    "MLP": Network(
        mlp,
        {"w1": (16, 8), "b1": (16,), "w2": (12, 16), "b2": (12,), "w3": (4, 12), "b3": (4,)},
        lambda rng: {"x": rng.normal(size=(20, 8)), "t": rng.integers(0, 4, size=20)},
    ),
    "convnet": Network(
        convnet,
        {"k1": (4, 2, 3, 3), "b1": (4,), "g1": (4,), "s1": (4,), "k2": (6, 2, 3, 3), "w": (3, 6), "b": (3,)},
        lambda rng: {"x": rng.normal(size=(6, 2, 8, 8)), "t": rng.integers(0, 3, size=6)},
    ),
    "LSTM": Network(
        lstm,
        {"wx": (20, 3), "wh": (20, 5), "b": (20,), "wo": (2, 5)},
        lambda rng: {"x": rng.normal(size=(4, 6, 3)), "t": rng.normal(size=(4, 6, 2)), "start": np.zeros((4, 5))},
    ),
    "attention": Network(
        attention,
        {
            "tokens": (7, 8), "places": (5, 8), "g": (8,), "s": (8,), "wq": (8, 8), "wk": (8, 8), "wv": (8, 8),
            "wo": (8, 8), "w1": (12, 8), "b1": (12,), "w2": (8, 12),
        },
        attention_data,
    ),
}  # fmt: skip


def start(network: Network) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape) / np.sqrt(shape[-1]) for name, shape in network.parameters.items()}
    return weights, network.data(rng)


def train_with_torch(network: Network) -> tuple[list[float], dict[str, np.ndarray]]:
    weights, data = start(network)
    parameters = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    arrays = {name: torch.tensor(value) for name, value in data.items()}
    optimizer = torch.optim.SGD(parameters.values(), lr=RATE, momentum=MOMENTUM)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = network.loss(Torch, parameters, arrays)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: parameter.detach().numpy() for name, parameter in parameters.items()}


def train_with_ours(network: Network, library: Any, steps: int) -> tuple[list[float], dict[str, np.ndarray]]:
    weights, data = start(network)
    parameters = {name: library.leaf(value, name=name) for name, value in weights.items()}
    arrays = {name: Variable(library.array(value)) for name, value in data.items()}
    speeds: dict[str, Any] = {}
    losses = []
    for _ in range(steps):
        loss = network.loss(F, parameters, arrays)
        loss.backward()
        for name, parameter in parameters.items():
            speeds[name] = parameter.grad if name not in speeds else speeds[name] * MOMENTUM + parameter.grad
            parameter.data = parameter.data - RATE * speeds[name]
            parameter.cleargrad()
        losses.append(loss.item())
    return losses, {name: library.host(parameter) for name, parameter in parameters.items()}


@pytest.fixture(scope="module")
def references() -> dict[str, tuple[list[float], dict[str, np.ndarray]]]:
    """Losses and final parameters of torch, by network."""
    return {name: train_with_torch(network) for name, network in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_fifty_steps_are_torchs(name, library, references):
    losses, parameters = references[name]
    assert losses[-1] < 0.95 * losses[0]
    steps = STEPS if library.name != "array_api_strict" else 5  # the same rules through slower functions
    found, trained = train_with_ours(NETWORKS[name], library, steps)
    np.testing.assert_allclose(found, losses[:steps], rtol=1e-10, atol=1e-10)
    if steps == STEPS:
        for key, expected in parameters.items():
            np.testing.assert_allclose(trained[key], expected, rtol=1e-8, atol=1e-9, err_msg=key)


def test_torchs_optimizers_train_our_variables(references):
    """Raw tensors are all that torch.optim wants: set their ``.grad`` and call ``step``."""
    network = NETWORKS["MLP"]
    weights, data = start(network)
    parameters = {name: Variable(torch.tensor(value), requires_grad=True) for name, value in weights.items()}
    arrays = {name: Variable(torch.tensor(value)) for name, value in data.items()}
    optimizer = torch.optim.SGD([p.data for p in parameters.values()], lr=RATE, momentum=MOMENTUM)
    losses = []
    for _ in range(STEPS):
        loss = network.loss(F, parameters, arrays)
        loss.backward()
        for parameter in parameters.values():
            parameter.data.grad = parameter.grad
            parameter.cleargrad()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, references["MLP"][0], rtol=1e-10, atol=1e-10)
