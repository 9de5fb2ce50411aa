"""Stochastic gradient descent, plain, with momentum, and with Nesterov's look ahead."""

from typing import Any

import torch
from torch.optim import sgd

from toolkit.autograd.optimizers.hyperparameters import Hyperparameter
from toolkit.autograd.optimizers.optimizer import Optimizer, TensorGroup

__all__ = ["SGD", "MomentumSGD", "Nesterov", "NesterovAG"]


class SGD(Optimizer):
    """``p -= lr * g``, with ``g += weight_decay * p`` before.

    Args:
        lr: learning rate.
        weight_decay: share of the parameter added to its gradient.
    """

    lr = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(self, lr: float = 0.01, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay)

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        if values["weight_decay"]:
            gradient = gradient + values["weight_decay"] * data
        data -= values["lr"] * gradient
        return data

    def fuses(self, data: torch.Tensor) -> bool:
        # In half precision torch's fused kernel for the CPU computes wrong numbers (2.13: decay and momentum).
        device = data.device.type
        return device == "cuda" or (device == "cpu" and data.dtype.itemsize > 2)

    def update_tensors(self, group: TensorGroup) -> None:
        if group.values["weight_decay"]:
            _torch_sgd(group, [None] * len(group.data), momentum=0.0, nesterov=False)
        else:
            # All that torch.optim.SGD does then, without its detours.
            torch._foreach_add_(group.data, group.gradients, alpha=-group.values["lr"])


class MomentumSGD(SGD):
    """``v = momentum * v + g; p -= lr * v``, with ``g += weight_decay * p`` before.

    This is torch's form, without dampening. Chainer keeps ``lr * v`` in place of ``v``: the same while ``lr`` stays,
    but there a new rate takes hold only as the old steps fade out.

    Args:
        lr: learning rate.
        momentum: share of ``v`` that stays.
        weight_decay: share of the parameter added to its gradient.
    """

    momentum = Hyperparameter()
    state_names = ("momentum_buffer",)
    nesterov = False

    def __init__(self, lr: float = 0.01, momentum: float = 0.9, *, weight_decay: float = 0.0) -> None:
        Optimizer.__init__(self, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        if values["weight_decay"]:
            gradient = gradient + values["weight_decay"] * data
        velocity = state["momentum_buffer"]
        velocity *= values["momentum"]
        velocity += gradient
        state["momentum_buffer"] = velocity
        data -= values["lr"] * (gradient + values["momentum"] * velocity if self.nesterov else velocity)
        return data

    def update_tensors(self, group: TensorGroup) -> None:
        # Starting from zeros is what torch's first step does; without momentum there is no state to change.
        momentum = group.values["momentum"]
        _torch_sgd(group, group.state("momentum_buffer"), momentum, nesterov=self.nesterov and momentum > 0)


class Nesterov(MomentumSGD):
    """``v = momentum * v + g; p -= lr * (g + momentum * v)``: Nesterov's accelerated gradient as torch has it.

    Chainer's ``NesterovAG`` is the same while ``lr`` stays; see :class:`MomentumSGD`.

    Args:
        lr: learning rate.
        momentum: share of ``v`` that stays.
        weight_decay: share of the parameter added to its gradient.
    """

    nesterov = True


NesterovAG = Nesterov


def _torch_sgd(group: TensorGroup, velocities: list[Any], momentum: float, nesterov: bool) -> None:
    sgd.sgd(
        group.data,
        group.gradients,
        velocities,
        foreach=not group.fused,
        fused=group.fused,
        lr=group.values["lr"],
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=group.values["weight_decay"],
        dampening=0.0,
        maximize=False,
    )
