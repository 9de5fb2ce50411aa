"""The estimators that the study of sigmoid belief networks compares, by the names of its tables."""

import difflib
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import argument_error
from toolkit.estimators.antithetic import ARM, DisARM
from toolkit.estimators.baselines import MovingAverage
from toolkit.estimators.control_network import ControlVariate
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.estimator import Estimator, GradientSamples
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.likelihood_ratio import LikelihoodRatio, SelfCritical
from toolkit.estimators.marginalized import RAM, LocalExpectation
from toolkit.estimators.multi_sample import VIMCO, LeaveOneOut
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.problems import Problem
from toolkit.estimators.relaxed import GumbelRao, GumbelSoftmax, ReinMax, StraightThrough, StraightThroughGumbel
from toolkit.estimators.tuning import Tuner

_STEPS_BETWEEN_TUNINGS = 10


@dataclass(frozen=True)
class Setting:
    """What an estimator with something to learn is told.

    Attributes:
        learning_rate: of networks inside it.
        generator: source of their first weights, and of noise that they learn from.
        problem: one of those to come; gives the sizes of networks.
    """

    learning_rate: float
    generator: torch.Generator
    problem: Problem


@dataclass(frozen=True)
class Method:
    """An estimator as the study uses it.

    Attributes:
        name: as on the command line and in tables.
        make: returns the estimator, with whatever it learns at its start.
        entropy: ``"sampled"`` or ``"analytic"``: which form of the bound it is usually given.
        demanded: whether it is never given the other.
    """

    name: str
    make: Callable[[Setting], Estimator]
    entropy: str = "sampled"
    demanded: bool = False

    def entropy_for(self, asked: str) -> str:
        """Return the form of the bound that it is given in a configuration that asks for one, or for the usual."""
        return self.entropy if self.demanded or asked == "usual" else asked


class Learner:
    """An estimator and what it learns from its own estimates, as one thing that can be saved.

    Args:
        method: the estimator's method.
        setting: for what it learns.
    """

    def __init__(self, method: Method, setting: Setting) -> None:
        self.method = method
        self._generator = setting.generator
        self._estimator = method.make(setting)
        self._learning: Any = getattr(self._estimator, "baseline", None)
        if isinstance(self._estimator, REBAR | RELAX):
            self._learning = _Tuning(self._estimator, setting)

    @property
    def estimator(self) -> Estimator:
        """The estimator as it is now."""
        return self._learning.estimator if isinstance(self._learning, _Tuning) else self._estimator

    @property
    def learns(self) -> bool:
        """Whether an estimate teaches it anything."""
        return self._learning is not None

    def observe(self, problem: Problem, samples: GradientSamples) -> None:
        """Learn from an estimate, for those to come."""
        if self._learning is not None:
            self._learning.observe(problem, samples)

    def learn(self, problem: Problem, n_samples: int, noise: torch.Generator) -> None:
        """Learn from an estimate that serves nothing else."""
        if isinstance(self._learning, _Tuning):  # it draws for itself
            self._learning.advance(problem)
        elif self._learning is not None:
            self._learning.observe(problem, self.estimator(problem, n_samples, noise))

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt."""
        if self._learning is None:
            return {}
        return {"learnt": self._learning.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        if self._learning is not None:
            self._learning.load_state_dict(state["learnt"])
            self._generator.set_state(state["generator"])


class _Tuning:
    """REBAR's and RELAX's settings, moved now and then a step down the variance that the present problem shows."""

    def __init__(self, estimator: REBAR | RELAX, setting: Setting) -> None:
        self._tuner: Tuner = Tuner(estimator, setting.problem)
        self._generator = setting.generator
        self._count = 0
        self.estimator: Estimator = estimator

    def observe(self, problem: Problem, samples: GradientSamples) -> None:
        self.advance(problem)

    def advance(self, problem: Problem) -> None:
        self._count += 1
        if self._count % _STEPS_BETWEEN_TUNINGS == 0:
            self._tuner.step(problem, 1, self._generator)
            self.estimator = self._tuner.estimator

    def state_dict(self) -> dict[str, Any]:
        return {"count": self._count, "tuner": self._tuner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        self._tuner.load_state_dict(state["tuner"])
        self.estimator = self._tuner.estimator


def _always(estimator: Estimator) -> Callable[[Setting], Estimator]:
    return lambda setting: estimator


def _nvil(setting: Setting) -> Estimator:
    adam = functools.partial(torch.optim.Adam, lr=setting.learning_rate)
    return LikelihoodRatio(InputDependent(optimizer=adam, generator=setting.generator))


# What multiplies a score is usually log p - log q, whose terms' noises cancel in part. RAM has the entropies summed
# out in its authors' code, and a derivative by the values sees noise in sampled terms that means nothing.
_METHODS = {
    method.name: method
    for method in (
        Method("LR", _always(LikelihoodRatio())),
        Method("LR+C", lambda setting: LikelihoodRatio(MovingAverage())),
        Method("NVIL", _nvil),
        Method("self-critical", _always(SelfCritical())),
        Method("MuProp", _always(MuProp())),
        Method("MuProp+C", lambda setting: MuProp(MovingAverage())),
        Method("LEG", _always(LocalExpectation()), "analytic"),
        Method("RAM", _always(RAM()), "analytic"),
        Method("RAM-sampled", _always(RAM()), demanded=True),
        Method("RAM-fresh", _always(RAM(noise="fresh")), "analytic"),
        Method("RAM-antithetic", _always(RAM(noise="antithetic")), "analytic"),
        Method("DisARM", _always(DisARM())),
        Method("ARM", _always(ARM())),
        Method("REBAR", _always(REBAR())),
        Method("RELAX", lambda setting: RELAX(ControlVariate(setting.problem, generator=setting.generator))),
        Method("ST", _always(StraightThrough()), "analytic"),
        Method("Gumbel-softmax", _always(GumbelSoftmax()), "analytic"),
        Method("ST-Gumbel", _always(StraightThroughGumbel()), "analytic"),
        Method("Gumbel-Rao", _always(GumbelRao()), "analytic"),
        Method("ReinMax", _always(ReinMax()), "analytic"),
    )
}
_COUNTED: dict[str, Callable[[int], Method]] = {
    "RLOO": lambda n: Method(f"RLOO-{n}", _always(LeaveOneOut(n))),
    # The bound of several samples has log weights, in which no entropy stands for a sampled term.
    "VIMCO": lambda n: Method(f"VIMCO-{n}", _always(VIMCO(n)), demanded=True),
}
_BY_FOLDED = {name.casefold(): name for name in (*_METHODS, *_COUNTED)}


def find_method(name: str) -> Method:
    """Return a method by name, upper or lower case; ``RLOO-4`` and ``VIMCO-4`` draw four samples.

    Raises:
        ValueError: there is none; the message names the nearest ones.
    """
    stem, _, count = name.strip().rpartition("-")
    counted = _BY_FOLDED.get(stem.casefold())
    if counted in _COUNTED and re.fullmatch(r"[1-9]\d{0,5}", count) and int(count) >= 2:
        return _COUNTED[counted](int(count))
    plain = _BY_FOLDED.get(name.strip().casefold())
    if plain in _METHODS:
        return _METHODS[plain]
    known = [*_METHODS, *(f"{stem}-N" for stem in _COUNTED)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    expected = f"one of {', '.join(known)} (N samples, 2 or more)"
    raise argument_error("SbnConfig", "estimators", expected, f"{name!r}" + (f"; like {near[0]}?" if near else ""))


def parse_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as tables have them; commas separate names as spaces do."""
    parts = [part for name in names for part in name.split(",") if part.strip()]
    return tuple(find_method(part).name for part in parts)


def default_methods(scale: str, data: str, n_variables: int) -> tuple[str, ...]:
    """Return what is compared unless something else is asked for.

    Args:
        scale: ``"quick"``: a few; ``"laptop"``: all; ``"paper"``: those of the paper.
        data: with MNIST, where a step takes a hundred times as long, fewer.
        n_variables: in all latent layers; leave-one-out with so many samples and one costs what RAM costs.
    """
    if scale == "paper":
        return ("LR", "LR+C", "NVIL", "MuProp+C", "LEG", "RAM", "RLOO-2", "DisARM")
    if scale == "quick" or data == "mnist":
        return ("LR", "NVIL", "RLOO-2", "DisARM", "RAM")
    return (
        "LR", "LR+C", "NVIL", "self-critical", "RLOO-2", f"RLOO-{n_variables + 1}", "VIMCO-2", "MuProp", "MuProp+C",
        "LEG", "RAM", "RAM-sampled", "RAM-fresh", "ARM", "DisARM", "REBAR", "RELAX",
        "ST", "Gumbel-softmax", "ST-Gumbel", "Gumbel-Rao", "ReinMax",
    )  # fmt: skip
