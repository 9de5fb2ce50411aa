"""Likelihood-ratio estimators: the cost times the score, and what may be subtracted from the cost first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from toolkit.core.errors import reject
from toolkit.estimators.baselines import Baseline, Constant, centred_signal
from toolkit.estimators.estimator import Estimator, Noise, Parts, single
from toolkit.estimators.problems import Problem, Values


@dataclass(frozen=True)
class LikelihoodRatio(Estimator):
    """The likelihood-ratio estimator, also called REINFORCE or score-function estimator.

    ``(f_l(z) − b_l) ∇ log q(z_l | z_{l−1})`` for each layer, with ``∇ log q = z − σ(logits)`` (categorical:
    ``z − softmax(logits)``). ``f_l`` is the layer's own signal: the cost without what the layer cannot change. One
    evaluation; Bernoulli and categorical variables, any depth.

    Williams (1992), Simple statistical gradient-following algorithms for connectionist reinforcement learning. With
    :class:`~toolkit.estimators.input_dependent.InputDependent` it is NVIL (arXiv 1402.0030).

    Attributes:
        baseline: what is subtracted; ``None`` for nothing. One that learns is an object of its own that the estimator
            holds: an estimate reads it, and only ``baseline.observe(problem, samples)``, called afterwards, changes it.
    """

    title: ClassVar[str] = "likelihood ratio"
    reference: ClassVar[str] = "Williams 1992, doi:10.1007/BF00992696; baselines: arXiv 1402.0030"

    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        """Take over whether the baseline keeps the expectation."""
        take_baseline(self, self.baseline)

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Multiply signals less the baseline with scores."""
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        return _estimate(problem, values, logits, signals, self.baseline)

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class OptimalConstant(Estimator):
    """The likelihood-ratio estimator with the constant baseline of least variance.

    ``(f_l(z) − b_i) ∇_i log q(z_l | z_{l−1})`` with ``b_i = E[f_l s_i²] / E[s_i²]``, s the score. An oracle: the
    constants come from enumerating at most 2**16 configurations anew at each call, which is not counted; the one
    evaluation of the sample is. For many calls on one problem enumerate once:
    ``LikelihoodRatio(Constant.optimal(problem))`` is the same. Bernoulli and categorical variables, any depth.

    Attributes:
        per_component: a constant for each component of the gradient, else one for each layer,
            ``E[f_l ‖s‖²] / E[‖s‖²]``.
    """

    title: ClassVar[str] = "likelihood ratio, optimal constant baseline"
    reference: ClassVar[str] = "Greensmith, Bartlett and Baxter 2004, JMLR 5; Weaver and Tao 2001, arXiv 1301.2315"

    per_component: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.per_component, bool):
            reject("OptimalConstant", "per_component", "True or False", repr(self.per_component), kind=TypeError)

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Enumerate for the baseline, then estimate with it."""
        baseline = Constant.optimal(problem, per_component=self.per_component, operation="OptimalConstant")
        return LikelihoodRatio(baseline).estimate(problem, noise)

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 1: the enumeration is not counted."""
        return 1.0


@dataclass(frozen=True)
class SelfCritical(Estimator):
    """The likelihood-ratio estimator whose baseline is the cost of the most probable values.

    ``(f_l(z) − f_l(ẑ)) ∇ log q(z_l | z_{l−1})``. The greedy values ẑ take each layer's mode given the greedy layer
    before; no draw enters, so the baseline cannot bias the estimate. Two evaluations.

    With ``from_parents`` each layer's greedy pass starts from the sampled values of the layers before, which the
    layer's score is given anyway: still unbiased, and the baseline follows what has been drawn so far, which mostly but
    not always leaves less variance. That takes a pass for each layer, ``1 + L`` evaluations. For one layer the two are
    the same. Bernoulli and categorical variables, any depth.

    Rennie et al. 2017, arXiv 1612.00563 (one greedy pass).

    Attributes:
        from_parents: start each layer's greedy pass from the layers drawn before it.
    """

    title: ClassVar[str] = "likelihood ratio, self-critical baseline"
    reference: ClassVar[str] = "Rennie et al. 2017, arXiv 1612.00563"

    from_parents: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.from_parents, bool):
            reject("SelfCritical", "from_parents", "True or False", repr(self.from_parents), kind=TypeError)

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Multiply signals less those of greedy passes with scores."""
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        # The same for all samples.
        greedy = problem.signals(*_greedy(problem, (), ()), shared_by=len(values[0]))
        advantages = []
        for layer, signal in enumerate(signals):
            if layer and self.from_parents:
                greedy = problem.signals(*_greedy(problem, values[:layer], logits[: layer + 1]))
            advantages.append(signal - greedy[layer])
        parts = _estimate(problem, values, logits, advantages, None)
        return single(values, tuple(part[0] for part in parts.contributions), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 2, or 1 + L with a greedy pass for each layer."""
        return 1.0 + (problem.depth if self.from_parents else 1)


def take_baseline(estimator: Estimator, baseline: Baseline | None) -> None:
    """Check an estimator's baseline, and have the estimator say it is biased if that is the baseline's doing.

    Raises:
        TypeError: it is no baseline.
    """
    if baseline is None:
        return
    if not isinstance(baseline, Baseline):
        expected = "a Baseline (MovingAverage(), Constant([…]), …) or None"
        reject(type(estimator).__name__, "baseline", expected, type(baseline).__name__, kind=TypeError)
    if not baseline.unbiased:
        # The dataclass is frozen, and for all other settings this is a fact of the class.
        object.__setattr__(estimator, "unbiased", False)


def _estimate(
    problem: Problem, values: Values, logits: Values, signals: Sequence[Tensor], baseline: Baseline | None
) -> Parts:
    contributions = []
    for number, layer in enumerate(problem.layers):
        centred = centred_signal(baseline, problem, number, values, logits, signals)
        contributions.append((centred * layer.score(values[number], logits[number]))[None])
    drawn = tuple(value[None] for value in values)
    return Parts(drawn, tuple(contributions), signals[0], signals=tuple(signals))


def _greedy(problem: Problem, given: Values, given_logits: Values) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the modes of the layers that are not given, each given the one before, and the logits."""
    values: list[Tensor] = [*given]
    logits: list[Tensor] = [*given_logits]
    for number in range(len(values), problem.depth):
        if number == len(logits):
            made = problem.logits(number, values[-1] if number else None)
            logits.append(made if number else torch.unsqueeze(made, 0))
        values.append(problem.layers[number].mode(logits[number]))
    return tuple(values), tuple(logits)
