"""What changes gradients before a step: clipping, decay, noise. Each works on all parameters at once, on their device.

A hook is anything that can be called as ``hook(owner, parameters)``, where ``owner`` is the optimizer or the update
rule it was added to and ``parameters`` those that are updated in this step. No hook here waits for a GPU.

A NaN among the gradients passes through them all: :class:`GradientClipping` then makes every gradient NaN, as torch
does, so that the failure shows at the next step and not as a slow loss of accuracy.
"""

import math
from typing import Any

import torch

from toolkit.autograd.optimizers.gradients import add_scaled, by_library, norms, rescale, total_norm
from toolkit.autograd.optimizers.update_rule import UpdateRule
from toolkit.autograd.places import place_of
from toolkit.autograd.randomness import source
from toolkit.core.errors import argument_error, require

__all__ = [
    "GradientClipping",
    "GradientHardClipping",
    "GradientLARS",
    "GradientNoise",
    "Lasso",
    "Scheduled",
    "WeightDecay",
]


class GradientClipping:
    """Scale all gradients together so that their norm is at most ``threshold`` (Pascanu et al. 2013).

    Args:
        threshold: largest length of all gradients seen as one vector. Gradients of an infinite norm become 0 where
            they are finite and NaN where they are not.
    """

    name = "GradientClipping"

    def __init__(self, threshold: float) -> None:
        self.threshold = _checked("GradientClipping", "threshold", threshold)
        require(threshold > 0, "GradientClipping", "threshold", "a number above 0", repr(threshold))

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        for group, norm in total_norm(parameters):
            threshold = group.backend.full((), self.threshold, norm)
            rescale(group, threshold / group.backend.maximum(norm, threshold))


class GradientHardClipping:
    """Bring each element of the gradients between two bounds. NaN stays NaN.

    Args:
        lower: smallest value.
        upper: largest value.
    """

    name = "GradientHardClipping"

    def __init__(self, lower: float, upper: float) -> None:
        self.lower = _number("GradientHardClipping", "lower", lower)
        self.upper = _number("GradientHardClipping", "upper", upper)
        if not self.lower <= self.upper:
            raise argument_error("GradientHardClipping", "upper", f"a number, at least lower={lower}", repr(upper))

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        for group in by_library(parameters):
            if group.is_torch:
                torch._foreach_clamp_min_(group.gradients, self.lower)
                torch._foreach_clamp_max_(group.gradients, self.upper)
            else:
                group.replace([group.backend.clip(gradient, self.lower, self.upper) for gradient in group.gradients])


class WeightDecay:
    """Add ``rate * p`` to the gradient of each parameter: the gradient of ``rate / 2 * sum(p**2)``.

    The ``weight_decay`` of an optimizer does the same within the step (not that of AdamW, which shrinks the parameter
    itself); this hook can also stand before a clipping, or on one parameter alone.

    Args:
        rate: share of the parameter.
    """

    name = "WeightDecay"

    def __init__(self, rate: float) -> None:
        self.rate = _checked("WeightDecay", "rate", rate)

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        for group in by_library(parameters):
            add_scaled(group, group.data, self.rate)


class Lasso:
    """Add ``rate * sign(p)`` to the gradient of each parameter: a subgradient of ``rate * sum(|p|)``, 0 at 0.

    Args:
        rate: pull towards 0.
    """

    name = "Lasso"

    def __init__(self, rate: float) -> None:
        self.rate = _checked("Lasso", "rate", rate)

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        for group in by_library(parameters):
            add_scaled(group, [group.backend.sign(data) for data in group.data], self.rate)


class GradientNoise:
    """Add normal noise of variance ``eta / (1 + t) ** 0.55`` to the gradients (Neelakantan et al. 2015).

    ``t`` is the owner's number of steps so far, 0 at the first.

    Args:
        eta: variance at the first step.
        generator: where the numbers come from; ``None`` means ``config.generator``, or one private to the thread.
            One that is given here is part of the optimizer's state. The numbers do not depend on the array library.
    """

    name = "GradientNoise"

    def __init__(self, eta: float, *, generator: torch.Generator | None = None) -> None:
        if generator is not None and not isinstance(generator, torch.Generator):
            expected = "a torch.Generator or None"
            raise argument_error("GradientNoise", "generator", expected, type(generator).__name__, kind=TypeError)
        self.eta = _checked("GradientNoise", "eta", eta)
        self.generator = generator

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        deviation = math.sqrt(self.eta / (1 + owner.t) ** 0.55)
        generator = source(self.generator)
        for group in by_library(parameters):
            noise = []
            for gradient in group.gradients:
                place = place_of(gradient)
                dtype = getattr(torch, place.dtype)
                drawn = torch.randn(tuple(gradient.shape), generator=generator, device=generator.device, dtype=dtype)
                noise.append(place.put(drawn))
            add_scaled(group, noise, deviation)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the hook's own generator, ``None`` if it has none."""
        return {"generator": None if self.generator is None else self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the state of the hook's own generator back."""
        saved = state.get("generator")
        if self.generator is not None and saved is not None:
            self.generator.set_state(torch.as_tensor(saved, dtype=torch.uint8, device="cpu"))


class GradientLARS:
    """Scale each gradient to the size of its parameter: layer-wise adaptive rates (You et al. 2017).

    ``g = (g + weight_decay * p) * |p| / (|g| + weight_decay * |p| + eps)``; a parameter whose norm is not above
    ``threshold`` keeps its gradient's size.

    Args:
        threshold: smallest norm of a parameter that is scaled by.
        weight_decay: share of the parameter added to its gradient.
        eps: keeps the division finite.
    """

    name = "GradientLARS"

    def __init__(self, threshold: float = 1e-2, weight_decay: float = 0.0, eps: float = 1e-9) -> None:
        self.threshold = _checked("GradientLARS", "threshold", threshold)
        self.weight_decay = _checked("GradientLARS", "weight_decay", weight_decay)
        self.eps = _checked("GradientLARS", "eps", eps)

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        for group in by_library(parameters):
            backend = group.backend
            sizes = norms(group, group.data)
            slopes = norms(group, group.gradients)
            if self.weight_decay:
                add_scaled(group, group.data, self.weight_decay)
            rates = []
            for size, slope in zip(sizes, slopes, strict=True):
                rate = size / (slope + self.weight_decay * size + self.eps)
                rates.append(backend.where(size > self.threshold, rate, backend.ones_like(rate)))
            rescale(group, rates)


class Scheduled:
    """Set a hyper-parameter from a schedule before each step.

    ``optimizer.add_hook(Scheduled(schedules.Cosine(0.1, n_steps=1000)))`` does in one line what
    ``optimizer.lr = schedule(optimizer.t)`` does at each step of a plain loop.

    Args:
        schedule: called with the owner's number of steps so far, 0 at the first; returns the value.
        hyperparameter: its name.
    """

    def __init__(self, schedule: Any, hyperparameter: str = "lr") -> None:
        if not callable(schedule):
            expected = "a function of time, as in optimizers.schedules"
            raise argument_error("Scheduled", "schedule", expected, repr(schedule), kind=TypeError)
        self.schedule = schedule
        self.hyperparameter = hyperparameter
        self.name = f"Scheduled({hyperparameter})"

    def __call__(self, owner: Any, parameters: list[Any]) -> None:
        names = owner.shared if isinstance(owner, UpdateRule) else owner.hyperparameters
        if self.hyperparameter not in names:
            expected = f"one of {', '.join(names)}"
            raise argument_error("Scheduled", "hyperparameter", expected, repr(self.hyperparameter))
        setattr(owner, self.hyperparameter, self.schedule(owner.t))


def _checked(operation: str, argument: str, value: float) -> float:
    """Return a number, 0 or more."""
    number = _number(operation, argument, value)
    if not number >= 0:
        raise argument_error(operation, argument, "a number, 0 or more", repr(value))
    return number


def _number(operation: str, argument: str, value: float) -> float:
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise argument_error(operation, argument, "a number", repr(value), kind=TypeError) from None
