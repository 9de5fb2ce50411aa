"""What the trainings of this package share: Adam with one cycle of the learning rate, on the common training loop."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.core.batches import Minibatches
from toolkit.core.devices import resolve_device
from toolkit.core.errors import reject, require
from toolkit.core.history import History
from toolkit.core.training import train

Metrics = Mapping[str, Any]


def fit(
    network: nn.Module,
    n_images: int,
    loss: Callable[[Tensor], tuple[Tensor, Metrics]],
    *,
    operation: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    config: Mapping[str, Any],
    checkpoint: str | os.PathLike[str] | None = None,
    stop: threading.Event | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> History:
    """Train a network in place with Adam; the learning rate rises to its highest value and falls to almost nothing.

    Args:
        network: in training mode at each step, in evaluation mode while ``evaluate`` runs and afterwards.
        n_images: how many there are to draw batches from.
        loss: of the images with these indices (on the CPU): what is descended, and metrics.
        operation: the name of the caller, for errors and the progress bar.
        epochs: passes over all images.
        batch_size: images in a batch; the last of an epoch holds what is left.
        learning_rate: the highest of the cycle.
        generator: draws the order, and whatever ``loss`` draws.
        config: what else the run is defined by; resuming another one is refused.
        checkpoint: the file to write, and to go on from if it exists.
        stop: set it from another thread to stop after the running step.
        evaluate: called with the number of finished steps; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The history, with ``learning rate`` among the metrics.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int):
            reject(operation, name, "an integer", repr(value), kind=TypeError)
    require(epochs >= 0, operation, "epochs", ">= 0", epochs)
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    require(0 < learning_rate < float("inf"), operation, "learning_rate", "a finite number > 0", learning_rate)
    require(n_images >= 1, operation, "images", "at least one image", n_images)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    require(bool(parameters), operation, "network", "a module with parameters that require gradients", "none")
    batches = Minibatches(n_images, batch_size, generator=generator)
    n_steps = epochs * batches.per_epoch
    adam = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, learning_rate, total_steps=max(n_steps, 1))

    def step(index: int) -> Metrics:
        chosen = batches.next()
        value, metrics = loss(chosen)
        adam.zero_grad()
        value.backward()
        rate = adam.param_groups[0]["lr"]
        adam.step()
        cycle.step()
        return {"loss": value.detach(), **metrics, "learning rate": rate}

    def measure(done: int) -> Metrics | None:
        assert evaluate is not None
        with evaluating([network]):
            return evaluate(done)

    network.train()
    try:
        with channels_last([network]):
            return train(
                step,
                n_steps,
                state={"network": network, "adam": adam, "cycle": cycle, "batches": batches, "generator": generator},
                evaluate=None if evaluate is None else measure,
                evaluate_every=evaluate_every,
                checkpoint=checkpoint,
                config={
                    "operation": operation,
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "learning_rate": learning_rate,
                    "n_images": n_images,
                    **config,
                },
                global_rng=True,
                stop=stop,
                metric="loss",
                description=operation,
            )
    finally:
        network.eval()
        adam.zero_grad()


@contextmanager
def evaluating(models: Iterable[object]) -> Iterator[None]:
    """Put models into evaluation mode for a while; every layer finds its own mode again.

    Args:
        models: what is no module is left alone.
    """
    modes = [(layer, layer.training) for model in models if isinstance(model, nn.Module) for layer in model.modules()]
    try:
        for layer, _ in modes:
            layer.training = False
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


@contextmanager
def frozen(models: Iterable[object]) -> Iterator[None]:
    """Put models into evaluation mode and keep gradients from their parameters for a while.

    Args:
        models: what is no module is left alone.
    """
    models = list(models)
    parameters = [p for model in models if isinstance(model, nn.Module) for p in model.parameters() if p.requires_grad]
    with evaluating(models), channels_last(models):
        try:
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)


@contextmanager
def channels_last(models: Iterable[object]) -> Iterator[None]:
    """Store the weights of convolutions with the channels last for a while: on a CPU they then run a quarter faster.

    Args:
        models: what is no module is left alone.
    """
    modules = [model for model in models if isinstance(model, nn.Module)]
    weights = [p for module in modules for p in module.parameters() if p.ndim == 4 and p.device.type == "cpu"]
    turned = [weight for weight in weights if weight.is_contiguous()]
    try:
        for weight in turned:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for weight in turned:
            weight.data = weight.data.contiguous()


def place(network: nn.Module, images: Tensor, device: torch.device | str | None) -> torch.device:
    """Move the network to the device, by default the one where it is; return it."""
    found = resolve_device(device, like=network if any(True for _ in network.parameters()) else images)
    network.to(found)
    return found


def check_pixels(operation: str, argument: str, images: Tensor) -> None:
    """Raise unless these are images as uint8, or as finite floats in [0, 1]."""
    if not isinstance(images, Tensor):
        reject(operation, argument, "a tensor", type(images).__name__, kind=TypeError)
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        reject(operation, argument, "uint8, or floats in [0, 1]", images.dtype, kind=TypeError)
    require(images.ndim >= 2, operation, argument, "a batch: [images, *pixels]", f"shape {list(images.shape)}")
    require(len(images) >= 1, operation, argument, "at least one image", f"shape {list(images.shape)}")
    if images.is_floating_point() and images.numel():
        low, high = (float(value) for value in torch.aminmax(images))
        require(low >= 0 and high <= 1, operation, argument, "finite pixels in [0, 1]", f"{low:.6g} to {high:.6g}")


def as_pixels(images: Tensor, network: nn.Module) -> Tensor:
    """Return uint8 or float images as floats in [0, 1] of the type of the network's parameters."""
    dtype = next(network.parameters()).dtype
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)
