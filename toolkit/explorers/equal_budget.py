"""Which estimator leaves the least variance after the same number of samples, of evaluations, or of seconds?

An average over a budget has the variance of one sample times the price of one sample, divided by the budget; so that
product is what counts. Only unbiased estimators stand here: with a bias, variance says little.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import reject
from toolkit.core.svg import Svg
from toolkit.estimators.antithetic import ARM, DisARM
from toolkit.estimators.baselines import Constant
from toolkit.estimators.control_variates import REBAR
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import exact
from toolkit.estimators.exact_variance import exact_variance
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.problems import Problem
from toolkit.estimators.report import report
from toolkit.explorers.baseline_ladder import small_network
from toolkit.explorers.coin_objectives import coin_problem
from toolkit.explorers.log_bars import Panel, log_bars
from toolkit.lessons import View, controls, style

PROBLEMS: Mapping[str, Callable[[], Problem]] = {
    "12 coupled coins": coin_problem,
    "belief network, 4 + 4 bits": small_network,
}
BUDGETS = ("sample", "evaluation", "second")
SAMPLES, _BLOCK, _ROUNDS = 40_000, 1_000, 7
_SAMPLED = (ARM, DisARM, REBAR)  # enumerating their noise takes seconds, or is not possible
_FAMILIES = {LikelihoodRatio: style.PURPLE, LeaveOneOut: style.PURPLE, RAM: style.BLUE}


def contenders(problem: Problem) -> dict[str, Estimator]:
    """Return the unbiased estimators to compare, by name; one of them takes as many evaluations as RAM.

    Args:
        problem: at most 2**16 joint configurations, since one baseline is the exact mean of the cost.
    """
    ram = RAM()
    many = round(ram.expected_evaluations(problem))
    mean = Constant([float(exact(problem).value)] * problem.depth)
    found: dict[str, Estimator] = {
        "LR": LikelihoodRatio(),
        "LR, b = E f": LikelihoodRatio(mean),
        "RLOO-2": LeaveOneOut(2),
        f"RLOO-{many}": LeaveOneOut(many),
        "MuProp": MuProp(),
        "ARM": ARM(),
        "DisARM": DisARM(),
        "REBAR": REBAR(),
        "one random flip": FlipOneCoordinate(),
    }
    if problem.depth > 1:  # in one layer they are RAM
        found |= {"LEG": LocalExpectation(), "RAM, fresh noise": RAM("fresh")}
    return found | {"RAM": ram}


@dataclass(frozen=True)
class Prices:
    """What one sample of each contender brings and takes on one problem.

    Attributes:
        variances: of one sample, summed over all the variables: exact, or (ARM, DisARM, REBAR) of many samples.
        evaluations: of the cost, counted.
    """

    variances: dict[str, float]
    evaluations: dict[str, float]

    def __repr__(self) -> str:
        return f"Prices({len(self.variances)} estimators)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _problem(name: str) -> tuple[Problem, dict[str, Estimator]]:
    problem = PROBLEMS[name]()
    return problem, contenders(problem)


@functools.cache
def prices(problem: str) -> Prices:
    """Find the variance of every contender on one of :data:`PROBLEMS`; half a second at first, then remembered."""
    made, estimators = _problem(problem)
    variances, evaluations = {}, {}
    for number, (name, estimator) in enumerate(estimators.items()):
        generator = torch.Generator().manual_seed(number)
        if isinstance(estimator, _SAMPLED):
            variances[name] = report(estimator, made, SAMPLES, generator, block=_BLOCK).total_variance
        else:
            exactly = exact_variance(made, estimator)
            variances[name] = sum(float(exactly.total(layer)) for layer in range(made.depth))
        evaluations[name] = estimator(made, 2, generator).evaluations
    return Prices(variances, evaluations)


@functools.cache
def seconds(problem: str) -> dict[str, float]:
    """Measure the CPU time of one sample of every contender, drawn in blocks, in turns; then remembered.

    Args:
        problem: a name of :data:`PROBLEMS`.

    Returns:
        Seconds by contender, each its quickest of several blocks.
    """
    made, estimators = _problem(problem)
    generator = torch.Generator().manual_seed(0)
    best = dict.fromkeys(estimators, float("inf"))
    for _ in range(_ROUNDS):
        for name, estimator in estimators.items():
            started = time.process_time()
            estimator(made, _BLOCK, generator)
            best[name] = min(best[name], (time.process_time() - started) / _BLOCK)
    return best


@dataclass(frozen=True)
class Comparison:
    """Contenders at one budget.

    Attributes:
        problem: a name of :data:`PROBLEMS`.
        budget: one of :data:`BUDGETS`.
        relative: for each contender its variance at that budget, divided by RAM's.
        evaluations: of the cost for one sample of each.
    """

    problem: str
    budget: str
    relative: dict[str, float]
    evaluations: dict[str, float]

    @property
    def best_other(self) -> str:
        """The contender with the least variance, RAM and its relatives left out."""
        others = [name for name in self.relative if not name.startswith("RAM")]
        return min(others, key=self.relative.__getitem__)

    def __repr__(self) -> str:
        return f"Comparison({self.problem!r}, per {self.budget}: {self.best_other} comes next to RAM)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compute(problem: str = "12 coupled coins", budget: str = "sample") -> Comparison:
    """Compare the contenders at equal numbers of samples, evaluations or seconds.

    Args:
        problem: a name of :data:`PROBLEMS`.
        budget: one of :data:`BUDGETS`; seconds are of CPU time, measured here once.

    Raises:
        ValueError: an unknown problem or budget.
    """
    if problem not in PROBLEMS:
        reject("compute", "problem", f"one of {list(PROBLEMS)}", problem)
    if budget not in BUDGETS:
        reject("compute", "budget", f"one of {BUDGETS}", budget)
    found = prices(problem)
    price = {"sample": dict.fromkeys(found.variances, 1.0), "evaluation": found.evaluations}.get(budget)
    if price is None:
        price = seconds(problem)
    products = {name: variance * price[name] for name, variance in found.variances.items()}
    relative = {name: product / products["RAM"] for name, product in products.items()}
    return Comparison(problem, budget, relative, found.evaluations)


_UNITS = {"sample": "samples", "evaluation": "evaluations of the cost", "second": "seconds of CPU time"}


def draw(comparison: Comparison) -> Svg:
    """Draw each contender's variance at the budget beside RAM's: a bar to the right means more, to the left less."""
    names = list(comparison.relative)
    _, estimators = _problem(comparison.problem)
    looks = [
        style.Line(_FAMILIES.get(type(estimators[name]), style.GREEN), "-" if name != "RAM, fresh noise" else "--", "")
        for name in names
    ]
    values = list(comparison.relative.values())
    dear = _as_dear_as_ram(comparison)
    notes = [f"In brackets: evaluations of the cost for one sample; {dear} takes as many as RAM."]
    if comparison.budget == "second":
        notes.append(f"CPU time was measured on this machine, {_BLOCK:,} samples at once.")
    return log_bars(
        [f"{name} ({comparison.evaluations[name]:.0f})" for name in names],
        [Panel("", values, [_number(value) for value in values])],
        looks=looks,
        decades=(min(math.floor(math.log10(min(values)) + 1e-9), 0), max(math.ceil(math.log10(max(values))), 2)),
        value_label=f"variance after equally many {_UNITS[comparison.budget]}, RAM = 1",
        title=_finding(comparison),
        strong=[names.index("RAM")],
        reference=1.0,
        notes=notes,
    )


def _number(value: float) -> str:
    return f"{value:.0f} ×" if value >= 9.95 else f"{value:.2g} ×"


def _as_dear_as_ram(comparison: Comparison) -> str:
    return next(name for name in comparison.relative if name.startswith("RLOO") and name != "RLOO-2")


def _finding(comparison: Comparison) -> str:
    unit, other = comparison.budget, comparison.best_other
    ratio = comparison.relative[other]
    if unit == "sample":
        plain, dear = _number(comparison.relative["LR"]), _as_dear_as_ram(comparison)
        return f"Per sample LR varies {plain} as much as RAM, {dear} {_number(comparison.relative[dear])}"
    if ratio < 0.95:
        return f"Per {unit} {other} varies less than RAM: {_number(ratio)}"
    if ratio < 1.3:
        return f"Per {unit} RAM and {other} are about even ({_number(ratio)})"
    return f"Per {unit} RAM varies least; next is {other}, {_number(ratio)}"


def describe(comparison: Comparison) -> str:
    """Say who varies least at the budget; measured times stay in the picture, since they differ by machine."""
    if comparison.budget == "second":
        return (
            f"{comparison.problem}, after equally many seconds of CPU time: the picture shows what this machine "
            f"measured. An evaluation that shares its work with others costs little, so the order need not be that "
            f"of the evaluations."
        )
    named = ["LR", *(name for name in comparison.relative if name.startswith("RLOO")), "DisARM"]
    ratios = ", ".join(f"{name} {_number(comparison.relative[name])}" for name in named)
    return (
        f"{comparison.problem}, after equally many {_UNITS[comparison.budget]}: variance relative to RAM's: {ratios}. "
        f"A sample of RAM takes {comparison.evaluations['RAM']:.0f} evaluations."
    )


def explore_equal_budget() -> View:
    """Return a view of the estimators' variances after the same samples, evaluations or seconds."""
    for name in PROBLEMS:  # so that no click waits for it
        prices(name)
        seconds(name)
    chosen = {
        "problem": controls.toggle("problem", list(PROBLEMS)),
        "budget": controls.toggle("equal", {f"{unit}s": unit for unit in BUDGETS}),
    }
    return View(chosen, compute, draw, describe)
