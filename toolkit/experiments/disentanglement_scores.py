"""What the study of disentanglement records of a code: its scores, the parts of its information, both under attack."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.disentanglement.attacks import Redundancy
from toolkit.disentanglement.bootstrap import bootstrap
from toolkit.disentanglement.bounds import PARTS
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.evaluation import Evaluation, evaluate
from toolkit.disentanglement.information import Informations
from toolkit.experiments.study import StudyInterrupted

ATTACKED = (
    *("unibound", "unique_upper", "redundant_lower", "redundant_upper", "complementary_lower", "complementary_upper"),
    *("mig", "mig_binned", "beta_vae", "factor_vae", "dci_disentanglement", "dci_completeness", "sap"),
)
"""Scores that are followed under attack."""

MEAN = "mean"
"""Stands among the factors for their mean."""

_LEVEL = 0.95


@dataclass(frozen=True)
class Effort:
    """How thoroughly codes are scored.

    Attributes:
        n_samples: draws behind the informations.
        n_points: points behind the other scores.
        attack_points: the same under attack.
        n_resamples: of the bootstrap.
        alphas: strengths of the attacks.
        variant: of the BetaVAE and FactorVAE metrics: "authors", or "library", which takes a tenth of the time.
    """

    n_samples: int
    n_points: int
    attack_points: int
    n_resamples: int
    alphas: tuple[float, ...]
    variant: str = "authors"


@dataclass(frozen=True)
class Scored:
    """What is recorded of a code.

    Attributes:
        metrics: scores by name; those that do not exist are left out.
        tables: ``profile`` and ``informations``.
    """

    metrics: dict[str, float]
    tables: dict[str, dict[str, list]]


def score_codes(codes: GaussianCodes, effort: Effort, generators: Callable[[str], torch.Generator]) -> Scored:
    """Score a code by every metric, and split its information.

    Args:
        codes: of a complete grid.
        effort: how thoroughly.
        generators: gives a generator for a name.

    Returns:
        The scores, and the tables of :func:`profile_rows` and :func:`information_rows`.
    """
    found = evaluate(
        codes,
        n_samples=effort.n_samples,
        n_points=effort.n_points,
        variant=effort.variant,
        generator=generators("scores"),
    )
    informations = informations_of(found)
    tables = {
        "profile": profile_rows(informations, effort.n_resamples, generators("bootstrap")),
        "informations": information_rows(informations),
    }
    return Scored(dict(found.scores), tables)


def informations_of(found: Evaluation) -> Informations:
    """Return the informations behind an evaluation's scores."""
    informations: Informations = found.details["informations"].informations
    return informations


def attack_rows(
    codes: GaussianCodes,
    effort: Effort,
    generators: Callable[[str], torch.Generator],
    *,
    stop: threading.Event | None = None,
) -> dict[str, list]:
    """Score a code under the paper's attack at each strength.

    Args:
        codes: of a complete grid.
        effort: how thoroughly; its strengths.
        generators: gives a generator for a name.
        stop: set from another thread to stop.

    Returns:
        Columns ``attack``, ``alpha``, ``metric``, ``score``.

    Raises:
        StudyInterrupted: stopped.
    """
    rows: dict[str, list] = {"attack": [], "alpha": [], "metric": [], "score": []}
    for alpha in effort.alphas:
        if stop is not None and stop.is_set():
            raise StudyInterrupted("stopped")
        # The same draws at each strength, so that curves are smooth: what differs is the attack.
        found = evaluate(
            Redundancy(alpha)(codes),
            metrics=ATTACKED,
            n_samples=effort.n_samples,
            n_points=effort.attack_points,
            variant=effort.variant,
            generator=generators("attack"),
        )
        add_rows(rows, found.scores, attack="redundancy", alpha=alpha)
    return short(rows)


def add_rows(rows: dict[str, list], scores: dict[str, float], **where: Any) -> None:
    """Append one row a score to a table whose last columns are ``metric`` and ``score``."""
    for metric, score in scores.items():
        for column, value in (where | {"metric": metric, "score": score}).items():
            rows[column].append(value)


def short(rows: Mapping[str, list]) -> dict[str, list]:
    """Return a table with floats of six digits, which is more than any of them is sure of."""
    return {
        name: [float(f"{value:.6g}") if isinstance(value, float) else value for value in column]
        for name, column in rows.items()
    }


def profile_rows(found: Informations, n_resamples: int, generator: torch.Generator) -> dict[str, list]:
    """Return the parts of the information about each factor, and their means over factors, as shares of H(y_k).

    Args:
        found: the informations of a code.
        n_resamples: of the bootstrap over draws.
        generator: of the resamples.

    Returns:
        Columns ``factor``, ``part``; ``lower`` and ``upper``, the bounds, each the largest over latents; from
        ``lower_low`` to ``lower_high`` and from ``upper_low`` to ``upper_high``, their 95 % intervals; ``i_min``, the
        part by I_min, likewise the largest over latents.
    """
    intervals = bootstrap(found, n_resamples=n_resamples, level=_LEVEL, generator=generator)
    columns = ("factor", "part", "lower", "upper", "lower_low", "lower_high", "upper_low", "upper_high", "i_min")
    rows = []
    for part in PARTS:
        lower, upper, point = (intervals.per_factor[f"{part} {name}"] for name in ("lower", "upper", "I_min"))
        values = (lower.estimate, upper.estimate, lower.lower, lower.upper, upper.lower, upper.upper, point.estimate)
        rows += [(name, part, *(float(v[k]) for v in values)) for k, name in enumerate(found.factor_names)]
        lower, upper, point = (intervals[f"{part} {name}"] for name in ("lower", "upper", "I_min"))
        values = (lower.estimate, upper.estimate, lower.lower, lower.upper, upper.lower, upper.upper, point.estimate)
        rows.append((MEAN, part, *map(float, values)))
    return short({name: list(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)})


def information_rows(found: Informations) -> dict[str, list]:
    """Return what each latent and the others know of each factor, in nats.

    Returns:
        Columns ``latent``, ``factor``, ``single``, ``without``, ``joint``, ``entropy``.
    """
    single, without, joint, entropy = found.single, found.without, found.joint, found.entropy
    rows = [
        (latent, factor, float(single[l, k]), float(without[l, k]), float(joint[k]), float(entropy[k]))
        for l, latent in enumerate(found.latent_names)  # noqa: E741
        for k, factor in enumerate(found.factor_names)
    ]
    columns = ("latent", "factor", "single", "without", "joint", "entropy")
    return short({name: list(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)})
