"""All estimators by name: what each is unbiased for, what it costs, what it asks of the cost, and where it is from."""

import difflib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from toolkit.estimators.antithetic import ARM, ARSM, DisARM
from toolkit.estimators.baselines import MovingAverage
from toolkit.estimators.control_variates import REBAR, RELAX
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import Enumeration
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.likelihood_ratio import LikelihoodRatio, OptimalConstant, SelfCritical
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.multi_sample import VIMCO, LeaveOneOut
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.problems import Problem
from toolkit.estimators.relaxed import GumbelRao, GumbelSoftmax, ReinMax, StraightThrough, StraightThroughGumbel
from toolkit.estimators.without_replacement import SumAndSample, UnorderedSet


@dataclass(frozen=True)
class Entry:
    """One way to estimate a gradient.

    Attributes:
        name: for tables and the command line, ``"ram"``.
        make: returns the estimator with its usual settings; those with networks inside are sized for the problem.
        kind: its class, which carries the facts below.
        evaluations: the price of one sample by formula; N variables in all, K values, L layers.
        setting: what sets it apart from another entry of its class.
    """

    name: str
    make: Callable[[Problem], Estimator]
    kind: type[Estimator]
    evaluations: str
    setting: str = ""

    @property
    def title(self) -> str:
        """As the field calls it, with the setting."""
        return f"{self.kind.title}, {self.setting}" if self.setting else self.kind.title

    @property
    def unbiased(self) -> bool:
        """Whether its expectation is the gradient."""
        return self.kind.unbiased

    @property
    def needs_gradient(self) -> bool:
        """Whether the cost must have a gradient by the variables."""
        return self.kind.needs_gradient

    @property
    def reference(self) -> str:
        """Where it comes from."""
        return self.kind.reference

    def supports(self, problem: Problem) -> bool:
        """Whether the estimator has a form for a problem."""
        try:
            self.make(problem).check(problem)
        except ValueError:
            return False
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "unbiased": self.unbiased,
            "objective": self.kind.objective,
            "variables": sorted(self.kind.variables),
            "deep": self.kind.deep,
            "needs_gradient": self.needs_gradient,
            "evaluations": self.evaluations,
            "reference": self.reference,
        }


# Functions with names, so that other processes can be sent an entry.
def _the_same(estimator: Estimator, problem: Problem) -> Estimator:
    return estimator


def _with_moving_average(problem: Problem) -> Estimator:
    return LikelihoodRatio(MovingAverage())


def _nvil(problem: Problem) -> Estimator:
    return LikelihoodRatio(InputDependent())


def _entry(name: str, estimator: Estimator, evaluations: str, setting: str = "") -> Entry:
    return Entry(name, functools.partial(_the_same, estimator), type(estimator), evaluations, setting)


_ENTRIES = (
    _entry("exact", Enumeration(), "all Kᴺ"),
    _entry("lr", LikelihoodRatio(), "1"),
    Entry("lr-c", _with_moving_average, LikelihoodRatio, "1", "moving average"),
    Entry("nvil", _nvil, LikelihoodRatio, "1", "NVIL"),
    _entry("self-critical", SelfCritical(), "2"),
    _entry("optimal-constant", OptimalConstant(), "1"),
    _entry("rloo", LeaveOneOut(2), "n"),
    _entry("vimco", VIMCO(2), "n"),
    _entry("muprop", MuProp(), "2"),
    _entry("leg", LocalExpectation(), "1 + Σ(K − 1)"),
    _entry("ram", RAM(), "1 + Σ(K − 1)"),
    _entry("ram-fresh", RAM(noise="fresh"), "1 + Σ(K − 1)", "fresh noise"),
    _entry("ram-antithetic", RAM(noise="antithetic"), "1 + Σ(K − 1)", "antithetic noise"),
    _entry("ram-gumbel", RAM(coupling="gumbel"), "1 + Σ(K − 1)", "Gumbel coupling"),
    _entry("flip-one", FlipOneCoordinate(), "K"),
    _entry("arm", ARM(), "1 + L"),
    _entry("disarm", DisARM(), "1 + L"),
    _entry("arsm", ARSM(), "1 + L K(K − 1)/2"),
    _entry("straight-through", StraightThrough(), "1"),
    _entry("gumbel-softmax", GumbelSoftmax(), "1"),
    _entry("straight-through-gumbel", StraightThroughGumbel(), "1"),
    _entry("gumbel-rao", GumbelRao(), "1"),
    _entry("reinmax", ReinMax(), "1"),
    _entry("rebar", REBAR(), "1 + 2 L"),
    Entry("relax", RELAX.sized_for, RELAX, "1 + 2 L"),
    _entry("sum-and-sample", SumAndSample(), "m + 1"),
    _entry("unordered-set", UnorderedSet(), "k"),
)


class UnknownEstimator(ValueError):
    """No estimator has this name."""


def entries() -> tuple[Entry, ...]:
    """Return all entries: the exact one, then by family."""
    return _ENTRIES


def find_entry(name: str) -> Entry:
    """Return an entry by name.

    Raises:
        UnknownEstimator: there is none; the message names the nearest ones.
    """
    known = {entry.name: entry for entry in _ENTRIES}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
        raise UnknownEstimator(f"unknown estimator {name!r}; {hint}")
    return known[name]


def suitable(problem: Problem) -> Iterator[tuple[Entry, Estimator]]:
    """Yield the entries that have a form for a problem, each with its estimator."""
    for entry in _ENTRIES:
        if entry.supports(problem):
            yield entry, entry.make(problem)
