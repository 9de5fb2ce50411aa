"""How good an estimator is on a problem: mean, variance, the sureness of both, bias, and price."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import Exact
from toolkit.estimators.problems import Problem

BLOCK_ELEMENTS = 2_000_000
"""Most numbers in a block's samples of the gradient, unless told otherwise."""
BLOCK_VALUES = 2**25
"""Most numbers in all the values at which a block evaluates the cost, likewise: 256 MB in double precision."""


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """What many samples of a gradient show. Tensors are per layer, ``[*batch, n(, K)]``, in double precision.

    Attributes:
        estimator: its class and settings.
        n_samples: how many samples.
        mean: of the samples.
        variance: of one sample, unbiased.
        standard_error: of the mean.
        variance_standard_error: of the variance, from the samples' fourth moment.
        total_variance_standard_error: of :attr:`total_variance`, from the spread of the samples' squared distances.
        exact: the truth that was given, or ``None``.
        evaluations: of the cost, counted, for one sample and example.
        seconds: CPU time for one sample of the whole batch (on a GPU wall time), when drawn in blocks.
        unbiased: what the estimator claims.
        examples: the size of the batch.
        rounding: differences from the truth, relative to 1 + the truth, that are rounding and not bias.
    """

    estimator: str
    n_samples: int
    mean: tuple[Tensor, ...]
    variance: tuple[Tensor, ...]
    standard_error: tuple[Tensor, ...]
    variance_standard_error: tuple[Tensor, ...]
    total_variance_standard_error: float
    exact: tuple[Tensor, ...] | None
    evaluations: float
    seconds: float
    unbiased: bool
    examples: int = 1
    rounding: float = 1e-12

    @property
    def bias(self) -> tuple[Tensor, ...] | None:
        """The mean minus the truth; ``None`` without a truth."""
        if self.exact is None:
            return None
        return tuple(mean - truth for mean, truth in zip(self.mean, self.exact, strict=True))

    @property
    def z(self) -> tuple[Tensor, ...] | None:
        """The bias in standard errors: beyond 4.5 anywhere, chance is no explanation. 0 where both are rounding."""
        if self.bias is None or self.exact is None:
            return None
        found = []
        for bias, error, truth in zip(self.bias, self.standard_error, self.exact, strict=True):
            # A sample without variance differs from the truth by the rounding of its sum, whatever its standard error.
            rounding = self.rounding * (1 + truth.abs())
            found.append(torch.where(bias.abs() <= rounding, 0.0, bias / error))
        return tuple(found)

    @property
    def largest_z(self) -> float | None:
        """The largest absolute :attr:`z`; ``None`` without a truth."""
        return None if self.z is None else max((float(z.abs().max()) for z in self.z if z.numel()), default=0.0)

    @property
    def bias_norm(self) -> float | None:
        """The Euclidean norm of the bias over all layers; ``None`` without a truth."""
        return None if self.bias is None else float(sum((bias**2).sum() for bias in self.bias)) ** 0.5

    @property
    def total_variance(self) -> float:
        """The variances of all components of all layers, summed; over a batch, the mean of its examples' sums."""
        return float(sum(variance.sum() for variance in self.variance)) / max(self.examples, 1)

    @property
    def variance_times_evaluations(self) -> float:
        """The variance left after one evaluation's worth of averaging: lower is better at equal evaluations."""
        return self.total_variance * self.evaluations

    @property
    def variance_times_seconds(self) -> float:
        """The variance left after one second's worth of averaging."""
        return self.total_variance * self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            "estimator": self.estimator,
            "n_samples": self.n_samples,
            "unbiased": self.unbiased,
            "total_variance": self.total_variance,
            "total_variance_standard_error": self.total_variance_standard_error,
            "bias_norm": self.bias_norm,
            "largest_z": self.largest_z,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "variance_times_evaluations": self.variance_times_evaluations,
            "variance_times_seconds": self.variance_times_seconds,
        }

    def __repr__(self) -> str:
        found = "" if self.largest_z is None else f", largest z {self.largest_z:.1f}"
        return (
            f"Report({self.estimator}: variance {self.total_variance:.4g} ± {self.total_variance_standard_error:.1g}"
            f"{found}, {self.evaluations:g} evaluations)"
        )


def report(
    estimator: Estimator,
    problem: Problem,
    n_samples: int,
    generator: torch.Generator | None = None,
    *,
    exact: Exact | None = None,
    block: int | None = None,
) -> Report:
    """Draw many samples of a gradient and say what they show.

    Args:
        estimator: the estimator.
        problem: the expectation.
        n_samples: at least 2.
        generator: source of the noise; ``None`` makes a new one.
        exact: the truth, ``toolkit.estimators.exact(problem)``, to measure the bias with.
        block: most samples held at once; default: what keeps a block's gradients below 2 million numbers, and all the
            values at which it evaluates the cost below 2**25.

    Returns:
        The report; its standard errors say how far to trust it.

    Raises:
        ValueError: fewer than 2 samples, an estimator without a form for the problem, a truth of another problem.
        TypeError: an argument of the wrong kind.
    """
    if not isinstance(estimator, Estimator):
        reject("report", "estimator", "an Estimator", type(estimator).__name__, kind=TypeError)
    if not isinstance(problem, Problem):
        reject("report", "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
    for name, number in (("n_samples", n_samples), ("block", 1 if block is None else block)):
        if isinstance(number, bool) or not isinstance(number, int):
            reject("report", name, "an integer", repr(number), kind=TypeError)
    require(n_samples >= 2, "report", "n_samples", ">= 2, to have a variance", n_samples)
    require(block is None or block >= 1, "report", "block", ">= 1", block)
    generator = resolve_generator(generator)
    shapes = [(*problem.batch_shape, *layer.shape) for layer in problem.layers]
    if exact is not None:
        if not isinstance(exact, Exact):
            reject("report", "exact", "what toolkit.estimators.exact returns", type(exact).__name__, kind=TypeError)
        found = [tuple(gradient.shape) for gradient in exact.gradients]
        require(found == shapes, "report", "exact", f"the truth of this problem: gradients {shapes}", found)
    if block is None:
        numbers = sum(torch.Size(shape).numel() for shape in shapes)
        values = max(numbers, 1) * max(estimator.expected_evaluations(problem), 1)
        block = max(1, min(BLOCK_ELEMENTS // max(numbers, 1), int(BLOCK_VALUES // values)))
    moments = _Moments()
    evaluations = seconds = 0.0
    drawn = 0
    while drawn < n_samples:
        count = min(block, n_samples - drawn)
        started = _clock(problem.device)
        samples = estimator(problem, count, generator)
        seconds += _clock(problem.device) - started
        evaluations += samples.evaluations * count
        moments.add(samples.gradients)
        drawn += count
    return moments.report(
        {
            "estimator": repr(estimator),
            "n_samples": n_samples,
            "exact": None if exact is None else tuple(gradient.double() for gradient in exact.gradients),
            "evaluations": evaluations / n_samples,
            "seconds": seconds / n_samples,
            "unbiased": estimator.unbiased,
            "rounding": 1000 * torch.finfo(problem.dtype).eps,
            "examples": problem.batch_shape.numel(),
        }
    )


class _Moments:
    """The first four power sums of samples about a fixed centre, the first block's mean."""

    def __init__(self) -> None:
        self.count = 0
        self.centres: tuple[Tensor, ...] = ()
        self.sums: list[list[Tensor]] = []
        self.distances: list[Tensor] = []

    def add(self, gradients: tuple[Tensor, ...]) -> None:
        """Take in a block of samples, ``[n_samples, *batch, n(, K)]`` each."""
        if not self.count:
            self.centres = tuple(gradient.double().mean(0) for gradient in gradients)
            self.sums = [[torch.zeros_like(centre) for _ in range(4)] for centre in self.centres]
        distance = torch.zeros(len(gradients[0]), dtype=torch.float64, device=gradients[0].device)
        for gradient, centre, sums in zip(gradients, self.centres, self.sums, strict=True):
            deviation = gradient.double() - centre
            square = deviation**2
            distance += square.flatten(1).sum(1)
            for total, power in zip(sums, (deviation, square, square * deviation, square**2), strict=True):
                total += power.sum(0)
        self.distances.append(distance)
        self.count += len(gradients[0])

    def report(self, facts: Mapping[str, Any]) -> Report:
        """Return the report of all that was added."""
        n = self.count
        means, variances, errors, variance_errors = [], [], [], []
        for centre, sums in zip(self.centres, self.sums, strict=True):
            first, second, third, fourth = (total / n for total in sums)
            spread = (second - first**2).clamp(min=0)
            about_mean = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
            variance = spread * n / (n - 1)
            means.append(centre + first)
            variances.append(variance)
            errors.append((variance / n).sqrt())
            variance_errors.append(((about_mean - spread**2 * (n - 3) / (n - 1)).clamp(min=0) / n).sqrt())
        spread_of_distances = torch.cat(self.distances).var().item()
        return Report(
            total_variance_standard_error=(spread_of_distances / n) ** 0.5 / max(facts["examples"], 1),
            mean=tuple(means),
            variance=tuple(variances),
            standard_error=tuple(errors),
            variance_standard_error=tuple(variance_errors),
            **facts,
        )


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
