"""Steps divided by the size of past gradients: AdaGrad and RMSprop."""

from typing import Any

import torch
from torch.optim import adagrad, rmsprop

from toolkit.autograd.optimizers.hyperparameters import Hyperparameter
from toolkit.autograd.optimizers.optimizer import Optimizer, TensorGroup

__all__ = ["AdaGrad", "RMSprop"]


class AdaGrad(Optimizer):
    """``s += g * g; p -= lr * g / (sqrt(s) + eps)``, with ``g += weight_decay * p`` before (Duchi et al. 2011).

    Args:
        lr: learning rate.
        eps: keeps the division finite. torch's default; Chainer's is 1e-8, and its rate 0.001.
        weight_decay: share of the parameter added to its gradient.
    """

    lr = Hyperparameter()
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    state_names = ("sum",)

    def __init__(self, lr: float = 0.01, eps: float = 1e-10, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, eps=eps, weight_decay=weight_decay)

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        if values["weight_decay"]:
            gradient = gradient + values["weight_decay"] * data
        total = state["sum"]
        total += gradient * gradient
        state["sum"] = total
        data -= values["lr"] * (gradient / (xp.sqrt(total) + values["eps"]))
        return data

    def fuses(self, data: torch.Tensor) -> bool:
        return data.device.type == "cpu"

    def update_tensors(self, group: TensorGroup) -> None:
        adagrad.adagrad(
            group.data,
            group.gradients,
            group.state("sum"),
            _uncounted(group),
            foreach=not group.fused,
            fused=group.fused,
            lr=group.values["lr"],
            eps=group.values["eps"],
            weight_decay=group.values["weight_decay"],
            lr_decay=0.0,
            maximize=False,
        )


class RMSprop(Optimizer):
    """``s = alpha * s + (1 - alpha) * g * g; p -= lr * g / (sqrt(s) + eps)`` (Tieleman and Hinton 2012).

    With ``g += weight_decay * p`` before. ``eps`` is added to the root, as torch does and Chainer does by default
    (its ``eps_inside_sqrt`` is not here).

    Args:
        lr: learning rate.
        alpha: share of ``s`` that stays.
        eps: keeps the division finite.
        weight_decay: share of the parameter added to its gradient.
    """

    lr = Hyperparameter()
    alpha = Hyperparameter(below=1.0)
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    state_names = ("square_avg",)

    def __init__(self, lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        if values["weight_decay"]:
            gradient = gradient + values["weight_decay"] * data
        mean = state["square_avg"]
        mean *= values["alpha"]
        mean += (1.0 - values["alpha"]) * (gradient * gradient)
        state["square_avg"] = mean
        data -= values["lr"] * (gradient / (xp.sqrt(mean) + values["eps"]))
        return data

    def update_tensors(self, group: TensorGroup) -> None:
        rmsprop.rmsprop(
            group.data,
            group.gradients,
            group.state("square_avg"),
            [],
            [],
            _uncounted(group),
            foreach=True,
            lr=group.values["lr"],
            alpha=group.values["alpha"],
            eps=group.values["eps"],
            weight_decay=group.values["weight_decay"],
            momentum=0.0,
            centered=False,
        )


def _uncounted(group: TensorGroup) -> list[torch.Tensor]:
    """Return the step counters that torch asks for; these two methods do not use them."""
    return [torch.zeros(())] * len(group.data)
