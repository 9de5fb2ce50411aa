"""What REBAR and RELAX can learn: temperature, scale and a network, by descent on the estimator's own variance."""

import dataclasses
import math
from typing import Any, TypeVar

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
    generator = resolve_generator(generator)
    place: dict[str, Any] = {"device": problem.device, "dtype": problem.dtype}
    with recording():
        log_temperature = torch.tensor(math.log(estimator.temperature), **place, requires_grad=True)
        scale = torch.tensor(float(estimator.scale), **place, requires_grad=True) if estimator.scale != 0 else None
        tuned = [log_temperature] if scale is None else [log_temperature, scale]
        if isinstance(estimator.control, nn.Module):
            tuned += [parameter for parameter in estimator.control.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(tuned, lr=learning_rate)
        for _ in range(steps):
            noise = estimator.draw(problem, n_samples, generator)
            parts = estimator.controlled(problem.counted(), noise, log_temperature.exp(), scale, create_graph=True)
            square = torch.stack([part.square().sum() for part in parts.contributions]).sum()
            square = square / max(parts.cost.numel(), 1)
            require(
                bool(torch.isfinite(square)), "tune", "estimator", "a finite variance on the way", "NaN or infinite"
            )
            found = torch.autograd.grad(square, tuned, allow_unused=True)
            for parameter, gradient in zip(tuned, found, strict=True):
                parameter.grad = gradient
            optimizer.step()
            with torch.no_grad():
                log_temperature.clamp_(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
        for parameter in tuned:
            parameter.grad = None
    return dataclasses.replace(
        estimator,
        temperature=float(log_temperature.detach().exp()),
        scale=0.0 if scale is None else float(scale.detach()),
    )
