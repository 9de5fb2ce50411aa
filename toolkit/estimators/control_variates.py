"""REBAR and RELAX: relaxations as control variates, so that the derivative of the cost helps and leaves no bias."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.conditional_noise import (
    conditional_pull,
    perturb,
    perturb_given,
    relax,
    require_temperature,
)
from toolkit.estimators.control_network import ControlVariate
from toolkit.estimators.estimator import Estimator, Noise, Parts, single
from toolkit.estimators.layers import Layer
from toolkit.estimators.pathwise import attached, differentiate, record_signals, recording, require_finite
from toolkit.estimators.problems import Problem
from toolkit.estimators.relaxed import squash_slope


class RelaxedControl(Estimator):
    """The score function estimator with a control variate c on relaxed values.

    ``[f(z) − c(ỹ)] score + ∂c(y) − ∂c(ỹ)``, derivatives with respect to the logits at fixed noise: y is relaxed with
    the noise that gave z, ỹ with noise drawn given z. Any c that is differentiable leaves the expectation as it is.

    The noise given z may be drawn afresh, or be the very noise that gave z (``tied``), which has the same law: then ỹ
    equals y, only the derivatives differ, and one evaluation of c does for both.

    In a chain each layer has a control variate of its own, given the sampled values before it: the layers after it
    are relaxed too, driven by the noise that drove their values. That noise is the same in all three places and
    independent of the layer's, so each layer's estimate is unbiased given everything else.
    """

    needs_gradient: ClassVar[bool] = True
    temperature: float
    scale: float
    tied: bool

    @property
    @abstractmethod
    def control(self) -> Callable[..., Tensor] | None:
        """What is added to ``scale · f`` in the control variate."""

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw ``"values"``, one tensor a layer, and ``"conditional"`` likewise: the noise given them, unless tied."""
        values = problem.draw_noise((n_samples,), generator, "gumbel")
        if self.tied:
            return {"values": values}
        return {"values": values, "conditional": problem.draw_noise((n_samples,), generator, "gumbel")}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Compute the estimates at the estimator's temperature and scale."""
        return self.controlled(problem, noise, self.temperature, self.scale if self.scale != 0 else None)

    def controlled(
        self,
        problem: Problem,
        noise: Noise,
        temperature: float | Tensor,
        scale: float | Tensor | None,
        *,
        create_graph: bool = False,
    ) -> Parts:
        """Compute estimates.

        Args:
            problem: the expectation.
            noise: as :meth:`draw` returns it.
            temperature: of the relaxation; a scalar tensor may require a gradient.
            scale: of the cost in the control variate, likewise; ``None`` leaves the cost out, unevaluated.
            create_graph: whether the contributions are to be differentiable with respect to temperature, scale and
                the control variate's parameters.

        Returns:
            The parts; ``values`` are the samples, ``cost`` is the cost there.
        """
        with torch.inference_mode(False), torch.no_grad():
            values, logits = problem.sample(noise["values"], "gumbel")
            signals = problem.signals(values, logits)
            logits = tuple(made.expand_as(value) for made, value in zip(logits, values, strict=True))
        contributions = []
        for number, kind in enumerate(problem.layers):
            with recording():
                perturbed = self._perturbed(kind, logits[number], values[number], noise, number)
                relaxed = relax(kind, perturbed, temperature)
                driven = [value.expand(len(perturbed), *value.shape) for value in values[:number]]
                driven_logits = [made.expand(len(perturbed), *made.shape) for made in logits[: number + 1]]
                # What is behind the relaxed values is differentiated by hand, without a graph.
                driven.append(relaxed if relaxed.requires_grad else attached(relaxed))
                for later in range(number + 1, problem.depth):
                    made = problem.logits(later, driven[-1])
                    driven_logits.append(made)
                    further = perturb(problem.layers[later], made, noise["values"][later])
                    driven.append(relax(problem.layers[later], further, temperature))
                control, gradient = self._control_variate(
                    problem, number, driven, driven_logits, scale, create_graph=create_graph
                )
            with recording() if create_graph else torch.no_grad():
                gradient = squash_slope(kind, driven[number], gradient) / temperature
                given = conditional_pull(kind, logits[number], values[number], perturbed[0], gradient[0])
                weight = (signals[number] - control)[(..., *(None,) * len(kind.shape))]
                contribution = weight * kind.score(values[number], logits[number]) + gradient[-1] - given
            contributions.append(contribution)
        return single(values, tuple(contributions), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 1 + 2 L for L layers, 1 + L if tied; 1 if the cost has no part in the control variate."""
        each = 1 if self.tied else 2
        return 1.0 + each * problem.depth if self.scale != 0 else 1.0

    def _perturbed(self, kind: Layer, logits: Tensor, values: Tensor, noise: Noise, number: int) -> Tensor:
        """Return a layer's perturbed logits: given the values and not, ``[2, n_samples, …]``.

        If tied ``[1, n_samples, …]``: the one number that both are.
        """
        free = perturb(kind, logits, noise["values"][number])
        if self.tied:
            return free[None]
        return torch.stack((perturb_given(kind, logits, values, noise["conditional"][number]), free))

    def _control_variate(
        self,
        problem: Problem,
        number: int,
        values: list[Tensor],
        logits: list[Tensor],
        scale: float | Tensor | None,
        *,
        create_graph: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return c(ỹ), ``[n_samples, *batch]``, and the derivatives of c at ỹ and y, like the relaxed values."""
        operation = type(self).__name__
        required = number == 0
        relaxed = values[number]
        controls, gradients = [], []
        if scale is not None:
            cost = record_signals(problem, values, logits, operation=operation, relaxed=True)[number]
            found = differentiate(
                cost, values, [relaxed], operation=operation, required=required, create_graph=create_graph
            )
            require_finite(found, operation=operation, relaxed=True)
            whole = not isinstance(scale, Tensor) and scale == 1
            cost = cost if create_graph else cost.detach()
            controls.append(cost[0] if whole else scale * cost[0])
            gradients.append(found[0] if whole else scale * found[0])
        if self.control is not None:
            function, slope = self.control, None
            # By formula where nothing else depends on the values. A subclass may compute something else.
            if type(function) is ControlVariate and number == problem.depth - 1:
                with torch.set_grad_enabled(create_graph):
                    free, slope = function.with_slope(*values)
            else:
                free = function(*values)
            shape = (*relaxed.shape[:2], *problem.batch_shape)
            actual = tuple(free.shape) if isinstance(free, Tensor) else type(free).__name__
            argument = "control_variate"
            require(actual == shape, operation, argument, f"a number for each sample: {shape}", actual)
            if slope is None:
                (slope,) = differentiate(
                    free,
                    values,
                    [relaxed],
                    operation=operation,
                    argument=argument,
                    required=required,
                    create_graph=create_graph,
                )
            require_finite((slope,), operation=operation, argument=argument, relaxed=True)
            controls.append(free[0] if create_graph else free[0].detach())
            gradients.append(slope)
        if not controls:
            return relaxed.new_zeros(()), torch.zeros_like(relaxed)
        return sum(controls[1:], controls[0]), sum(gradients[1:], gradients[0])


@dataclass(frozen=True)
class REBAR(RelaxedControl):
    """The score function estimator with the relaxed cost as its control variate; unbiased at any setting.

    ``[f(z) − η f(ỹ)] score + η ∂f(y) − η ∂f(ỹ)``, see :class:`RelaxedControl`; ``y = sigmoid((logit + L)/τ)`` for
    Bernoulli variables, ``y = softmax((logits + G)/τ)`` for categorical ones. One layer takes 3 evaluations and a
    derivative, L layers 1 + 2 L (tied: 2 and 1 + L). The cost needs a meaning between the values.
    :func:`~toolkit.estimators.tuning.tune` finds temperature and scale.

    Attributes:
        temperature: τ > 0 of the relaxation.
        scale: η of the control variate; 0 leaves the plain score function estimator.
        tied: whether the noise given the sample is the noise that led to it: fewer evaluations, some more variance.
    """

    temperature: float = 0.5
    scale: float = 1.0
    tied: bool = False

    title: ClassVar[str] = "REBAR"
    reference: ClassVar[str] = "Tucker et al. 2017, arXiv 1703.07370"

    def __post_init__(self) -> None:
        _check_settings(self)

    @property
    def control(self) -> None:
        """Nothing beside the cost."""
        return None


@dataclass(frozen=True)
class RELAX(RelaxedControl):
    """REBAR with a free function added to its control variate: ``c(y) = scale · f(y) + control_variate(y)``.

    See :class:`RelaxedControl`. The function is usually a small network
    (:class:`~toolkit.estimators.control_network.ControlVariate`), trained by :func:`~toolkit.estimators.tuning.tune` to
    lower the variance. With ``scale = 0`` the cost is evaluated once, at the sample, and may be a black box without
    derivatives; else one layer takes 3 evaluations, L layers 1 + 2 L (tied: 2 and 1 + L).

    Attributes:
        control_variate: takes the values of all the layers like the cost, sampled ones and relaxed ones, with any
            leading axes, and returns ``[*leading, *batch]``, differentiable. ``None``: nothing is added.
        temperature: τ > 0 of the relaxation.
        scale: of the cost in the control variate.
        tied: as for :class:`REBAR`.
    """

    control_variate: Callable[..., Tensor] | None = None
    temperature: float = 0.5
    scale: float = 1.0
    tied: bool = False

    title: ClassVar[str] = "RELAX"
    reference: ClassVar[str] = "Grathwohl et al. 2018, arXiv 1711.00123"

    def __post_init__(self) -> None:
        _check_settings(self)
        if self.control_variate is not None and not callable(self.control_variate):
            actual = type(self.control_variate).__name__
            reject("RELAX", "control_variate", "a function of the values, or None", actual, kind=TypeError)

    @classmethod
    def sized_for(cls, problem: Problem) -> "RELAX":
        """Return an estimator with a network of the problem's sizes.

        Until :func:`~toolkit.estimators.tuning.tune` has trained it, it adds nothing to the cost.
        """
        return cls(ControlVariate(problem))

    @property
    def control(self) -> Callable[..., Tensor] | None:
        """The free function."""
        return self.control_variate


def _check_settings(estimator: RelaxedControl) -> None:
    name = type(estimator).__name__
    require_temperature(name, estimator.temperature)
    if isinstance(estimator.scale, bool) or not isinstance(estimator.scale, Real):
        reject(name, "scale", "a number", type(estimator.scale).__name__, kind=TypeError)
    require(math.isfinite(float(estimator.scale)), name, "scale", "a finite number", estimator.scale)
    if not isinstance(estimator.tied, bool):
        reject(name, "tied", "True or False", repr(estimator.tied), kind=TypeError)
