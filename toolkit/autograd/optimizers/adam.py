"""Adam, and AdamW, which keeps the decay of the weights out of the moments."""

import math
from typing import Any

import torch
from torch.optim import adam

from toolkit.autograd.optimizers.hyperparameters import Hyperparameter
from toolkit.autograd.optimizers.optimizer import Optimizer, TensorGroup
from toolkit.core.errors import argument_error

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps along a running mean of gradients, divided by their running size (Kingma and Ba 2015).

    ``m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g * g``;
    ``p -= lr / (1 - beta1**t) * m / (sqrt(v / (1 - beta2**t)) + eps)``, with ``g += weight_decay * p`` before.
    ``t`` counts the parameter's own updates. This is the paper's and torch's ``eps``; Chainer adds it to ``sqrt(v)``
    before the correction of ``v``, so that early steps are a little shorter there.

    Args:
        lr: learning rate (Chainer's ``alpha``).
        beta1: share of ``m`` that stays.
        beta2: share of ``v`` that stays.
        eps: keeps the division finite.
        weight_decay: share of the parameter added to its gradient.
        amsgrad: divide by the largest ``v`` so far (Reddi et al. 2018). The same for all parameters.
    """

    lr = Hyperparameter()
    beta1 = Hyperparameter(below=1.0)
    beta2 = Hyperparameter(below=1.0)
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    decoupled = False

    def __init__(
        self,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
        if not isinstance(amsgrad, bool):
            raise argument_error(type(self).__name__, "amsgrad", "True or False", repr(amsgrad), kind=TypeError)
        self.amsgrad = amsgrad
        self.state_names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if amsgrad else ()))

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        beta1, beta2, decay = values["beta1"], values["beta2"], values["weight_decay"]
        if decay and self.decoupled:
            data *= 1.0 - values["lr"] * decay
        elif decay:
            gradient = gradient + decay * data
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean *= beta1
        mean += (1.0 - beta1) * gradient
        term = gradient * gradient
        term *= 1.0 - beta2
        square *= beta2
        square += term
        state["exp_avg"], state["exp_avg_sq"] = mean, square
        if self.amsgrad:
            square = state["max_exp_avg_sq"] = xp.maximum(state["max_exp_avg_sq"], square)
        size = xp.sqrt(square)
        size /= math.sqrt(1.0 - beta2**t)
        size += values["eps"]
        step = mean / size
        step *= values["lr"] / (1.0 - beta1**t)
        data -= step
        return data

    def fuses(self, data: torch.Tensor) -> bool:
        return data.device.type in ("cpu", "cuda")

    def update_tensors(self, group: TensorGroup) -> None:
        values = group.values
        adam.adam(
            group.data,
            group.gradients,
            group.state("exp_avg"),
            group.state("exp_avg_sq"),
            group.state("max_exp_avg_sq") if self.amsgrad else [],
            [_step(rule, data, group.fused) for rule, data in zip(group.rules, group.data, strict=True)],
            foreach=not group.fused,
            fused=group.fused,
            lr=values["lr"],
            beta1=values["beta1"],
            beta2=values["beta2"],
            eps=values["eps"],
            weight_decay=values["weight_decay"],
            amsgrad=self.amsgrad,
            decoupled_weight_decay=self.decoupled,
            maximize=False,
        )


class AdamW(Adam):
    """Adam with ``p *= 1 - lr * weight_decay`` in place of a decay in the gradient (Loshchilov and Hutter 2019).

    Args:
        lr: learning rate.
        beta1: share of ``m`` that stays.
        beta2: share of ``v`` that stays.
        eps: keeps the division finite.
        weight_decay: share of ``lr`` by which a parameter shrinks at each step.
        amsgrad: divide by the largest ``v`` so far.
    """

    decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        *,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps, weight_decay=weight_decay, amsgrad=amsgrad)


def _step(rule: Any, data: torch.Tensor, fused: bool) -> torch.Tensor:
    """Return the rule's count as the tensor that torch's kernel counts on; the fused one wants it beside the data."""
    if rule.step is None:
        rule.step = torch.tensor(float(rule.t), device=data.device if fused else "cpu")
    return rule.step
