"""Encoders that nobody trained: codes whose true scores are known, clean, rotated, and under every attack."""

import math
import threading
import time
from collections.abc import Callable, Iterator

import torch

from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.codes import GaussianCodes, synthetic_codes
from toolkit.disentanglement.entangled_codes import EntangledCodes
from toolkit.disentanglement.evaluation import evaluate
from toolkit.disentanglement.gaussian import mixture_information
from toolkit.experiments.disentanglement_scores import (
    Effort,
    add_rows,
    information_rows,
    informations_of,
    profile_rows,
    short,
)
from toolkit.experiments.study import Measurement, StudyInterrupted

STANDARD_DEVIATION = 0.3
CLEAN, PAIR, ALL = "clean", "two factors rotated", "all factors rotated"


def representations(
    sizes: tuple[int, ...], alphas: tuple[float, ...], *, device: torch.device | str | None = None
) -> Iterator[tuple[str, float, GaussianCodes | EntangledCodes]]:
    """Go through the codes that are scored.

    Each factor has a latent of its own, standardised, with noise of standard deviation 0.3; one more latent is noise.
    Rotated ones mix the last two of the factors' latents by 45°, or all of them by the Householder reflection that the
    paper's attack uses.

    Args:
        sizes: number of values of each factor.
        alphas: strengths of the attacks; 0 is left out. Mixing takes alpha / (1 + alpha), the noised copy takes alpha
            as the standard deviation of its noise.
        device: where the codes go.

    Returns:
        An iterator over name, strength as the attack takes it (0 for none), and codes.
    """
    clean = synthetic_codes(sizes, standard_deviation=STANDARD_DEVIATION, device=device)
    yield CLEAN, 0.0, clean
    if len(sizes) > 1:
        for name, rotation in ((PAIR, _turn_of_last_two(len(sizes))), (ALL, _reflection(len(sizes)))):
            turned = synthetic_codes(sizes, standard_deviation=STANDARD_DEVIATION, rotation=rotation, device=device)
            yield name, 0.0, turned
    for alpha in alphas:
        if alpha > 0:
            mixed = alpha / (1 + alpha)
            yield "redundancy", alpha, Redundancy(alpha)(clean)
            yield "masked copy", alpha, MaskedCopy(alpha)(clean)
            yield "synergy", alpha, Synergy(alpha)(clean)
            yield "mixing", mixed, Mixing(mixed)(clean)
            yield "noised copy", alpha, NoisedCopy(len(sizes) - 1, alpha)(clean)


def measure_synthetic(
    sizes: tuple[int, ...],
    effort: Effort,
    generators: Callable[[str], torch.Generator],
    *,
    device: torch.device | str | None = None,
    stop: threading.Event | None = None,
) -> Measurement:
    """Score every synthetic code by every metric.

    Args:
        sizes: number of values of each factor.
        effort: how thoroughly.
        generators: gives a generator for a name.
        device: where to compute.
        stop: set from another thread to stop.

    Returns:
        Metrics: the scores of the clean code. Tables: ``attacks`` with all scores of all codes; ``profile`` and
        ``informations`` of the clean code; ``profiles`` with the parts of all codes; ``exact`` with what quadrature
        says of the clean code and of the attacks that it covers.

    Raises:
        StudyInterrupted: stopped.
    """
    started = time.process_time()
    rows: dict[str, list] = {"attack": [], "alpha": [], "metric": [], "score": []}
    profiles: dict[str, list] = {}
    metrics: dict[str, float] = {}
    tables: dict[str, dict[str, list]] = {}
    for name, alpha, codes in representations(sizes, effort.alphas, device=device):
        if stop is not None and stop.is_set():
            raise StudyInterrupted("stopped")
        found = evaluate(
            codes,
            n_samples=effort.n_samples,
            n_points=effort.attack_points,
            variant=effort.variant,
            generator=generators("scores"),
        )
        add_rows(rows, found.scores, attack=name, alpha=alpha)
        informations = informations_of(found)
        parts = profile_rows(informations, effort.n_resamples, generators("bootstrap"))
        where: dict[str, list] = {"attack": [name] * len(parts["factor"]), "alpha": [alpha] * len(parts["factor"])}
        for column, values in (where | parts).items():
            profiles.setdefault(column, []).extend(values)
        if name == CLEAN:
            metrics = dict(found.scores)
            tables = {"profile": parts, "informations": information_rows(informations)}
    metrics["CPU seconds of evaluation"] = time.process_time() - started
    tables |= {"attacks": short(rows), "profiles": profiles, "exact": exact_rows(sizes, effort.alphas)}
    return Measurement(metrics, tables=tables)


def _turn_of_last_two(n: int) -> torch.Tensor:
    turn = torch.eye(n, dtype=torch.float64)
    c = math.sqrt(0.5)
    turn[-2:, -2:] = torch.tensor([[c, -c], [c, c]], dtype=torch.float64)
    return turn


def _reflection(n: int) -> torch.Tensor:
    return torch.eye(n, dtype=torch.float64) - 2 / n


def exact_rows(sizes: tuple[int, ...], alphas: tuple[float, ...]) -> dict[str, list]:
    """Return the scores that follow from one integral a factor.

    A factor is one latent's and nobody else's, so both bounds of each part are the same, and under an attack the parts
    are informations of one noisy latent. Rotations and mixing have no such short cut.

    Args:
        sizes: number of values of each factor.
        alphas: strengths, as of :func:`representations`.

    Returns:
        Columns ``attack``, ``alpha``, ``metric``, ``score``.
    """
    several = [size for size in sizes if size > 1]

    def shares(deviation: float) -> list[float]:
        noise = math.hypot(STANDARD_DEVIATION, deviation)
        return [float(mixture_information(_levels(size), noise)) / math.log(size) for size in several]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    rows: dict[str, list] = {"attack": [], "alpha": [], "metric": [], "score": []}
    clean = shares(0.0)
    known = mean(clean)
    add_rows(rows, {"unibound": known, "mig": known, "information": known}, attack=CLEAN, alpha=0.0)
    for alpha in alphas:
        if alpha > 0:
            view, hidden = mean(shares(1 / alpha)), mean(shares(alpha))
            found = {"unibound": known - view, "information": known}
            add_rows(rows, found, attack="redundancy", alpha=alpha)
            add_rows(rows, {"unibound": 0.0, "information": known}, attack="masked copy", alpha=alpha)
            add_rows(rows, {"unibound": hidden, "information": known}, attack="synergy", alpha=alpha)
            if sizes[-1] > 1:
                copied = {"unibound": known - shares(alpha)[-1] / len(several), "information": known}
                add_rows(rows, copied, attack="noised copy", alpha=alpha)
    return rows


def _levels(n: int) -> torch.Tensor:
    levels = torch.arange(n, dtype=torch.float64)
    return (levels - levels.mean()) / levels.std(correction=0)
