"""What REBAR and RELAX can learn: temperature, scale and a network, by descent on the estimator's own variance."""

import dataclasses
import math
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.pathwise import recording
from toolkit.estimators.problems import Problem

TEMPERATURES = (0.01, 100.0)
"""Between these :func:`tune` looks for a temperature."""


Tuned = TypeVar("Tuned", REBAR, RELAX)


def tune(
    estimator: Tuned,
    problem: Problem,
    generator: torch.Generator | None = None,
    *,
    n_samples: int = 100,
    steps: int = 200,
    learning_rate: float = 0.02,
) -> Tuned:
    """Lower an estimator's variance by gradient descent on it.

    The expectation does not depend on the settings, so the derivative of the variance is that of the mean square,
    which one block of samples estimates without bias (both papers' method). Adam on the logarithm of the temperature,
    the scale (unless it is 0, which leaves the cost out) and the parameters of RELAX's control variate.

    Args:
        estimator: where to start.
        problem: the expectation; its cost is differentiated twice.
        generator: source of the noise; ``None`` makes a new one.
        n_samples: samples a step.
        steps: of the optimizer.
        learning_rate: of the optimizer.

    Returns:
        A new estimator with other numbers. **The parameters of the control variate are updated in place**: the new
        estimator has the same module. The parameters behind the problem are left alone.

    Raises:
        ValueError: the variance is not finite, or an argument is out of range.
        TypeError: an estimator without such settings, or a cost without the derivative.
    """
    if not isinstance(estimator, REBAR | RELAX):
        reject("tune", "estimator", "a REBAR or RELAX estimator", type(estimator).__name__, kind=TypeError)
    if not isinstance(problem, Problem):
        reject("tune", "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
    for name, number in (("n_samples", n_samples), ("steps", steps)):
        if isinstance(number, bool) or not isinstance(number, int):
            reject("tune", name, "an integer", repr(number), kind=TypeError)
        require(number >= 1, "tune", name, ">= 1", number)
    if isinstance(learning_rate, bool) or not isinstance(learning_rate, int | float):
        reject("tune", "learning_rate", "a number", repr(learning_rate), kind=TypeError)
    require(0 < learning_rate < math.inf, "tune", "learning_rate", "> 0 and finite", learning_rate)
    tuner = Tuner(estimator, problem, learning_rate=learning_rate)
    generator = resolve_generator(generator)
    for _ in range(steps):
        tuner.step(problem, n_samples, generator)
    return tuner.estimator


class Tuner(Generic[Tuned]):
    """What :func:`tune` does, step by step: for problems that change on the way, as a training's do.

    Args:
        estimator: where to start. The parameters of its control variate are updated in place.
        problem: gives device and dtype of the settings.
        learning_rate: of Adam, whose moments are kept from step to step.
    """

    def __init__(self, estimator: Tuned, problem: Problem, *, learning_rate: float = 0.02) -> None:
        self._start: Tuned = estimator
        place: dict[str, Any] = {"device": problem.device, "dtype": problem.dtype}
        with recording():
            self._log_temperature = torch.tensor(math.log(estimator.temperature), **place, requires_grad=True)
            scale = float(estimator.scale)
            self._scale = torch.tensor(scale, **place, requires_grad=True) if scale != 0 else None
        self._tuned = [self._log_temperature] + ([] if self._scale is None else [self._scale])
        if isinstance(estimator.control, nn.Module):
            self._tuned += [parameter for parameter in estimator.control.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(self._tuned, lr=learning_rate)

    @property
    def estimator(self) -> Tuned:
        """The estimator as it is now."""
        return dataclasses.replace(
            self._start,
            temperature=float(self._log_temperature.detach().exp()),
            scale=0.0 if self._scale is None else float(self._scale.detach()),
        )

    def step(self, problem: Problem, n_samples: int, generator: torch.Generator) -> None:
        """Move one step of the optimizer down the variance.

        Args:
            problem: the expectation; its cost is differentiated twice.
            n_samples: samples behind the step.
            generator: source of the noise.

        Raises:
            ValueError: the variance is not finite.
            TypeError: a cost without the derivative.
        """
        estimator = self._start
        with recording():
            noise = estimator.draw(problem, n_samples, generator)
            temperature = self._log_temperature.exp()
            parts = estimator.controlled(problem.counted(), noise, temperature, self._scale, create_graph=True)
            square = torch.stack([part.square().sum() for part in parts.contributions]).sum()
            square = square / max(parts.cost.numel(), 1)
            expected = "a finite variance on the way"
            require(bool(torch.isfinite(square)), "tune", "estimator", expected, "NaN or infinite")
            found = torch.autograd.grad(square, self._tuned, allow_unused=True)
            for parameter, gradient in zip(self._tuned, found, strict=True):
                parameter.grad = gradient
            self._optimizer.step()
            with torch.no_grad():
                self._log_temperature.clamp_(*map(math.log, TEMPERATURES))
            for parameter in self._tuned:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the optimizer's moments."""
        return {
            "settings": [parameter.detach().clone() for parameter in self._tuned],
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        with torch.no_grad():
            for parameter, value in zip(self._tuned, state["settings"], strict=True):
                parameter.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
