"""Training steps by torch eager and by ours on one device, timed in turns, and captured whole in a CUDA graph."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.benchmarks.autograd_tasks import CONVNET_A, CONVNET_B, _dense, _mlp
from toolkit.autograd import Variable
from toolkit.autograd import functions as F

RATE = 0.01
SEQUENCE, FEATURES, HEADS = 64, 128, 4


def _swapped(x: Any) -> Any:
    return x.permute(0, 2, 1, 3) if isinstance(x, torch.Tensor) else x.transpose(0, 2, 1, 3)


def _attention(f: Any, p: list[Any], x: Any) -> Any:
    """Self-attention in several heads, and a linear map of all positions together."""
    samples, depth = x.shape[0], FEATURES // HEADS
    query, key, value = (
        _swapped(f.linear(x, p[2 * k], p[2 * k + 1]).reshape(samples, SEQUENCE, HEADS, depth)) for k in range(3)
    )
    keys = key.mT if isinstance(key, torch.Tensor) else key.transpose(0, 1, 3, 2)
    weights = f.softmax((query @ keys) * depth**-0.5, -1)
    mixed = _swapped(weights @ value).reshape(samples, SEQUENCE, FEATURES)
    out = f.linear(mixed, p[6], p[7])
    return f.linear(out.reshape(samples, SEQUENCE * FEATURES), p[8], p[9])


_PROJECTIONS: list[tuple[int, ...]] = [(FEATURES, FEATURES), (FEATURES,)] * 4
NETWORKS: dict[str, tuple[Any, list[tuple[int, ...]], tuple[int, ...]]] = {
    "MLP 784-1000-1000-10": (_mlp, _dense(784, 1000, 1000, 10), (100, 784)),
    "MLP 10-32-32-2": (_mlp, _dense(10, 32, 32, 2), (16, 10)),
    "convnet A, 28 x 28": CONVNET_A,
    "convnet B, 32 x 32": CONVNET_B,
    "attention": (_attention, [*_PROJECTIONS, (10, SEQUENCE * FEATURES), (10,)], (32, SEQUENCE, FEATURES)),
}


@dataclass(frozen=True)
class Training:
    """One engine's training on fixed data.

    Attributes:
        step: forward, backward, and an update in place; returns the loss, an array on the device.
        parameters: the tensors it changes.
    """

    step: Callable[[], torch.Tensor]
    parameters: list[torch.Tensor]


def training(engine: str, name: str, device: str) -> Training:
    """Return a training of a network by ``"torch"`` or ``"ours"``, both from the same parameters."""
    network, shapes, inputs = NETWORKS[name]
    rng = np.random.default_rng(0)
    arrays = [(rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for shape in shapes]
    x = torch.tensor(rng.normal(size=inputs).astype(np.float32), device=device)
    labels = torch.arange(inputs[0], device=device) % shapes[-1][0]
    tensors = [torch.tensor(array, device=device) for array in arrays]
    if engine == "torch":
        leaves: list[Any] = [tensor.requires_grad_() for tensor in tensors]
        functions: Any = torch.nn.functional
        images: Any = x
    else:
        leaves = [Variable(tensor, requires_grad=True) for tensor in tensors]
        functions, images = F, Variable(x)

    def step() -> torch.Tensor:
        loss = functions.cross_entropy(network(functions, leaves, images), labels)
        loss.backward()
        with torch.no_grad():
            for tensor, leaf in zip(tensors, leaves, strict=True):
                tensor.add_(leaf.grad, alpha=-RATE)
                leaf.grad = None
        return loss.detach() if engine == "torch" else loss.data

    return Training(step, tensors)


def seconds_a_step(steps: dict[str, Callable[[], Any]], device: str, *, rounds: int, calls: int) -> dict[str, float]:
    """Return wall-clock seconds of each step: the best of several rounds in turns, the device's queue empty after."""
    best = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            _wait(device)
            start = time.perf_counter()
            for _ in range(calls):
                step()
            _wait(device)
            best[name] = min(best[name], (time.perf_counter() - start) / calls)
    return best


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def captured(one: Training) -> tuple[Callable[[], None], torch.Tensor]:
    """Return what replays a whole step as one CUDA graph, and the loss it writes."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            one.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = one.step()
    return graph.replay, loss


def replays_agree(name: str, device: str, replays: int = 5) -> float:
    """Return the largest relative difference of the parameters after replays and after as many steps without."""
    plain, graphed = training("ours", name, device), training("ours", name, device)
    replay, _ = captured(graphed)
    for _ in range(replays):
        replay()
    # Three steps warmed the capture up; the captured one itself computes nothing.
    for _ in range(3 + replays):
        plain.step()
    torch.cuda.synchronize()
    pairs = zip(plain.parameters, graphed.parameters, strict=True)
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-6)) for a, b in pairs)
