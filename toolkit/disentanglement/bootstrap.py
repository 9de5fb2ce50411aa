"""How sure the scores of a code are: intervals from resampled draws, at the cost of one matrix product."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.bounds import PARTS, pid_bounds
from toolkit.disentanglement.i_min_of_codes import redundancy, specific_terms
from toolkit.disentanglement.information import Informations


@dataclass(frozen=True, eq=False)
class ScoreInterval:
    """A score, and between which values it may lie: a number, or one a factor.

    Attributes:
        estimate: from all draws, as in the profile.
        lower: end of the interval.
        upper: end of the interval.
        standard_error: standard deviation over the resamples.
    """

    estimate: Float64[Tensor, "*shape"]
    lower: Float64[Tensor, "*shape"]
    upper: Float64[Tensor, "*shape"]
    standard_error: Float64[Tensor, "*shape"]

    def to_dict(self) -> dict[str, Any]:
        """Return all four as plain Python; what does not exist is None."""
        names = ("estimate", "lower", "upper", "standard_error")
        return {name: _without_nan(getattr(self, name).tolist()) for name in names}

    def __repr__(self) -> str:
        if self.estimate.ndim:
            return f"ScoreInterval({len(self.estimate)} factors)"
        return f"{float(self.estimate):.3f} ({float(self.lower):.3f}–{float(self.upper):.3f})"


@dataclass(frozen=True, eq=False, repr=False)
class ScoreIntervals:
    """Intervals of every score of a code.

    Names: "unibound", "mig", "information"; "unique lower", "unique upper" and so on for the ends of the three parts;
    with I_min also "unique I_min", "redundant I_min", "complementary I_min". "unibound" is "unique lower".

    Attributes:
        scores: averaged over factors.
        per_factor: one value a factor; NaN for a factor of one value.
        level: the share of intervals that are meant to hold the truth.
        n_resamples: how often the draws were drawn again.
        factor_names: names of the factors.
    """

    scores: dict[str, ScoreInterval]
    per_factor: dict[str, ScoreInterval]
    level: float
    n_resamples: int
    factor_names: tuple[str, ...]

    def __getitem__(self, name: str) -> ScoreInterval:
        require(name in self.scores, "ScoreIntervals", "name", f"one of {sorted(self.scores)}", repr(name))
        return self.scores[name]

    def to_dict(self) -> dict[str, Any]:
        """Return all intervals as plain Python, ready for JSON."""
        tables = {"scores": self.scores, "per_factor": self.per_factor}
        found = {name: {key: each.to_dict() for key, each in table.items()} for name, table in tables.items()}
        return found | {"level": self.level, "n_resamples": self.n_resamples, "factor_names": list(self.factor_names)}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {self.scores[name]}" for name in ("unibound", "mig"))
        return f"ScoreIntervals({self.level:.0%}: {shown})"


def bootstrap(
    found: Informations,
    *,
    n_resamples: int = 500,
    level: float = 0.9,
    i_min: bool = True,
    generator: torch.Generator | None = None,
) -> ScoreIntervals:
    """Return intervals of all scores by drawing the draws again, with replacement.

    They say how much the scores would move with other draws of the latents, for the same images and the same model;
    another training seed is another matter. A score that is 0 in every draw has an interval without width.

    Args:
        found: informations of clean or attacked codes.
        n_resamples: how often.
        level: the share of intervals that are meant to hold the truth, between 0 and 1. The ends are percentiles.
        i_min: whether also of the parts by I_min.
        generator: of the resamples.

    Returns:
        The intervals.

    Raises:
        ValueError: a number out of its range, or no factor with two values.
        TypeError: ``n_resamples`` is no integer.
    """
    if isinstance(n_resamples, bool) or not isinstance(n_resamples, int):
        reject("bootstrap", "n_resamples", "an integer", repr(n_resamples), kind=TypeError)
    require(n_resamples >= 2, "bootstrap", "n_resamples", ">= 2", n_resamples)
    require(0 < level < 1, "bootstrap", "level", "between 0 and 1", level)
    some = bool((found.entropy > 0).any())
    require(some, "bootstrap", "found", "a factor of at least two values", f"sizes {found.factor_sizes}")
    counts = resample_counts(found.n_samples, n_resamples, generator=generator, device=found.per_draw.device)
    # The first row is the sample itself: its scores are the estimates.
    weights = torch.cat([torch.ones_like(counts[:1]), counts]).double() / found.n_samples
    tables = _score_tables(found, weights, i_min)
    known = found.entropy > 0
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=weights.device)

    def interval(values: Tensor) -> ScoreInterval:
        ends = torch.quantile(values[1:], tails, dim=0)
        return ScoreInterval(values[0], ends[0], ends[1], values[1:].std(0))

    per_factor = {name: interval(table) for name, table in tables.items()}
    scores = {name: interval(table[:, known].mean(1)) for name, table in tables.items()}
    return ScoreIntervals(scores, per_factor, float(level), n_resamples, found.factor_names)


def resample_counts(
    n: int,
    n_resamples: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "resamples n"]:
    """Return how often each of ``n`` draws is in each resample of ``n`` draws with replacement."""
    generator = resolve_generator(generator)
    shape = (n_resamples, n)
    chosen = torch.randint(n, shape, generator=generator, device=generator.device).to(device or generator.device)
    counts = torch.zeros(shape, device=chosen.device)
    return counts.scatter_add_(1, chosen, torch.ones_like(counts))


def _score_tables(found: Informations, weights: Tensor, i_min: bool) -> dict[str, Float64[Tensor, "rows factors"]]:
    """Return each score as a share of H(y_k), for each row of weights and each factor."""
    n_rows, n_factors = len(weights), len(found.factor_sizes)
    per_draw = found.per_draw.double()
    informations = (weights @ per_draw.transpose(0, 1).flatten(1)).view(n_rows, -1, n_factors)
    divisor = torch.where(found.entropy > 0, found.entropy, torch.nan)
    # Rows beside factors: the bounds are those of so many factors at once.
    shares = (informations / divisor).clamp(0, 1).transpose(0, 1).flatten(1)
    single, without, joint = shares[found.rows[0]], shares[found.rows[1]], shares[found.rows[2, 0]]
    bounds = pid_bounds(single, without, joint)
    parts = {
        f"{part} {end}": getattr(getattr(bounds, part), end).amax(0) for part in PARTS for end in ("lower", "upper")
    }
    best = torch.cat([single, torch.zeros_like(single[:1])]).topk(2, dim=0).values
    gap = torch.where(joint.isnan(), torch.nan, best[0] - best[1])
    tables = {"unibound": parts["unique lower"], "mig": gap, "information": joint, **parts}
    found_tables = {name: table.view(n_rows, n_factors) for name, table in tables.items()}
    return found_tables | (_i_min_tables(found, weights, informations, divisor) if i_min else {})


def _i_min_tables(found: Informations, weights: Tensor, informations: Tensor, divisor: Tensor) -> dict[str, Tensor]:
    # In single precision: seven digits of a number whose second is uncertain, in half the time.
    terms = specific_terms(found).float().transpose(0, 1).flatten(1)
    specific = (weights.float() @ terms).double().view(len(weights), len(found.posteriors), -1)
    alone, others = specific[:, found.rows[0]], specific[:, found.rows[1]]
    redundant = redundancy(alone, others, found.prior, found.factor_sizes)
    single, without, joint = (informations[:, rows] for rows in found.rows)
    parts = {
        "unique": single - redundant,
        "redundant": redundant,
        "complementary": redundant - single - without + joint,
    }
    return {f"{part} I_min": (table / divisor).amax(1) for part, table in parts.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if value != value else value
