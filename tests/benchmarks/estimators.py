"""Speed of the gradient estimators beside storchastic's: ``python -m tests.benchmarks.estimators``.

Contenders take turns in one process on one thread; what is compared is CPU time. Ends with status 1 if a budget is
missed in every attempt. storchastic returns wrong gradients for some of these (DisARM, REBAR, the unordered set): only
its time is taken here.

The budget is a tenth of storchastic's time, in blocks everywhere. One sample at a time four rows keep a wider one:
small operations take their microseconds however few the samples. Gumbel-softmax: the cost and its derivative by
themselves take most of a tenth of storchastic's time. REBAR and RELAX: such a derivative and two evaluations among some
hundred operations. The unordered set: some 140 operations on the table of all configurations. What storchastic puts
in the place of methods of ``torch.Tensor`` is taken out again, for both.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import tyro
from torch import Tensor
from torch.distributions import Bernoulli, OneHotCategorical

from tests.benchmarks.budgets import ATTEMPTS, Row, report
from tests.benchmarks.timing import measure
from toolkit import estimators
from toolkit.estimators import Factorized, SigmoidBeliefBound, SigmoidBeliefNetwork, surrogate

BLOCK = 10_000
"""Samples drawn at once where a single one is not asked for."""
ONE_AT_A_TIME = {"REBAR": 0.15, "RELAX": 0.17, "Gumbel-softmax": 0.25, "unordered set, k = 2": 0.15}
"""Budgets that are not a tenth; the module's docstring says why."""


def coupled_bits() -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return logits and cost of the function of twelve coupled bits, in single precision."""
    d = torch.arange(1.0, 13.0)
    a, b = torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)
    return torch.cos(0.9 * d), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1)


def one_categorical() -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return logits ``[1, 16]`` and the cost of one variable with sixteen values."""
    costs = torch.cos(torch.arange(16.0))
    return torch.sin(torch.arange(16.0))[None], lambda z: (z[..., 0, :] @ costs) ** 2


def twenty_thousand_marginalized() -> Row:
    """Measure 20,000 RAM estimates of the twelve-bit function: error bars for a slider."""
    problem = Factorized(*coupled_bits())
    generator = torch.Generator().manual_seed(0)
    best = min(_seconds(lambda: estimators.RAM()(problem, 20_000, generator)) for _ in range(ATTEMPTS * 3))
    return Row("20,000 RAM estimates, 12 coupled bits", best, 0.4, " s")


def marginalized_against_likelihood_ratio(quick: bool) -> Row:
    """Measure the gradient of all parameters of a belief network 784-200-200, batch 100: RAM over likelihood ratio."""
    generator = torch.Generator().manual_seed(0)
    network = SigmoidBeliefNetwork((784, 200, 200), generator=generator)
    x = (torch.rand(100, 784, generator=generator) < 0.3).float()

    def step(estimator: estimators.Estimator) -> Callable[[], None]:
        def run() -> None:
            problem = SigmoidBeliefBound(network, x)
            surrogate(problem, estimator(problem, 1, generator)).backward()
            network.zero_grad()

        return run

    ram, ratio = step(estimators.RAM()), step(estimators.LikelihoodRatio())
    rounds = 3 if quick else 8
    slow = min(_seconds(ram) for _ in range(rounds))
    fast = min(_seconds(ratio) for _ in range(rounds * 10))
    detail = f"{slow * 1e3:.0f} ms against {fast * 1e3:.1f} ms"
    return Row("RAM / likelihood ratio, 784-200-200, batch 100", slow / fast, 100, "", detail)


def against_storchastic(quick: bool) -> list[Row]:
    """Measure the time of an estimate over storchastic's, one at a time and in blocks."""
    here = {name: getattr(Tensor, name) for name in ("to", "le", "gt")}
    import storch

    # It has replaced these by slower ones in the whole process; its own estimators do without.
    for name, ours in here.items():
        setattr(Tensor, name, ours)
    method = storch.method
    bits, one = coupled_bits(), one_categorical()

    def theirs(make: Callable[[], Callable], problem: tuple, distribution: type) -> Callable[[], None]:
        def run() -> None:
            logits = problem[0].clone().requires_grad_()
            sample = make()(distribution(logits=logits))
            storch.add_cost(problem[1](sample * 1.0), "cost")
            storch.backward()

        return run

    e = estimators
    pairs: dict[str, tuple[estimators.Estimator, Callable[[], Callable], str]] = {
        "likelihood ratio": (e.LikelihoodRatio(), lambda: method.ScoreFunction("z", n_samples=1), "bits"),
        "RLOO-2": (e.LeaveOneOut(2), lambda: _leave_one_out(method, 2), "bits"),
        "RLOO-13": (e.LeaveOneOut(13), lambda: _leave_one_out(method, 13), "bits"),
        "ARM": (e.ARM(), lambda: method.ARM("z", n_samples=1), "bits"),
        "DisARM": (e.DisARM(), lambda: method.DisARM("z", n_samples=1), "bits"),
        "REBAR": (e.REBAR(), lambda: method.REBAR("z", n_samples=1), "bits"),
        "RELAX": (_relax(bits), lambda: method.RELAX("z", in_dim=(12,), n_samples=1), "bits"),
        "Gumbel-softmax": (e.GumbelSoftmax(), lambda: method.GumbelSoftmax("z", n_samples=1), "bits"),
        "exact enumeration": (e.Enumeration(), lambda: method.Expect("z"), "bits"),
        "unordered set, k = 2": (e.UnorderedSet(2), lambda: method.UnorderedSetEstimator("z", k=2), "one"),
    }
    rows = []
    for name, (estimator, make, which) in pairs.items():
        numbers = bits if which == "bits" else one
        problem = Factorized(*numbers, variables="bernoulli" if which == "bits" else "categorical")
        generator = torch.Generator().manual_seed(0)
        block = 200 if isinstance(estimator, e.Enumeration) else BLOCK
        kept: dict[str, Row] = {}
        for _ in range(ATTEMPTS):
            timings = measure(
                {
                    "ours": lambda problem=problem, run=estimator, g=generator: run(problem, 1, g),
                    "theirs": theirs(make, numbers, Bernoulli if which == "bits" else OneHotCategorical),
                },
                rounds=5 if quick else 15,
                seconds=0.02 if quick else 0.1,
            )
            apart = min(_seconds(lambda run=estimator, p=problem, b=block, g=generator: run(p, b, g)) for _ in range(5))
            other = timings["theirs"].best
            for kind, spent in (("one at a time", timings["ours"].best), (f"in blocks of {block:,}", apart / block)):
                detail = f"{spent * 1e6:.2f} us against {other * 1e6:.0f} us"
                budget = ONE_AT_A_TIME.get(name, 0.1) if kind == "one at a time" else 0.1
                row = Row(f"{name}, {kind}: ours / storchastic", spent / other, budget, "", detail)
                if kind not in kept or row.value < kept[kind].value:
                    kept[kind] = row
            if all(row.met for row in kept.values()):
                break
        rows += kept.values()
    return rows


def _leave_one_out(method, n: int) -> Callable:
    return method.ScoreFunction("z", n_samples=n, baseline_factory="batch_average")


def _relax(problem: tuple) -> estimators.Estimator:
    return estimators.find_entry("relax").make(Factorized(*problem))


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def main(quick: bool = False, out: Path | None = None) -> int:
    """Measure and print.

    Args:
        quick: fewer and shorter rounds: a look, not a result.
        out: folder to write a record to.

    Returns:
        0, or 1 if a budget is missed.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torch")

    def rows() -> Iterator[Row]:
        yield twenty_thousand_marginalized()
        yield marginalized_against_likelihood_ratio(quick)
        yield from against_storchastic(quick)

    return report("estimator-speed", rows(), quick=quick, out=out)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
