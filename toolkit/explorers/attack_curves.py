"""Scores of a code under an attack: informations from the same draws at every strength, other scores from points."""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, Redundancy, Synergy
from toolkit.disentanglement.bounds import Profile, profile
from toolkit.disentanglement.codes import GaussianCodes, PointCodes, synthetic_codes
from toolkit.disentanglement.entangled_codes import EntangledCodes
from toolkit.disentanglement.factorised import factorised_scores
from toolkit.disentanglement.fixed_draws import FixedDraws
from toolkit.disentanglement.metrics.beta_vae import BetaVAEVariant, beta_vae_score
from toolkit.disentanglement.metrics.dci import dci
from toolkit.disentanglement.metrics.factor_vae import FactorVAEVariant, factor_vae_score
from toolkit.disentanglement.metrics.gaps import mutual_information_gap_sup
from toolkit.disentanglement.metrics.irs import irs
from toolkit.disentanglement.metrics.modularity import modularity
from toolkit.disentanglement.metrics.sap import sap

ATTACKS: dict[str, Callable[[float], Any]] = {
    "redundancy": Redundancy,
    "masked copy": MaskedCopy,
    "synergy": Synergy,
    "mixing": lambda strength: Mixing(strength / (1 + strength)),
}
"""By name, from a strength of 0 or more; mixing takes strength / (1 + strength), which is below 1."""
STRENGTHS = (0.0, 0.2, 0.6, 1.0, 2.0, 4.0, 6.0)
"""Where curves have their points. A weak attack is not none: it has new latents, which some scores notice at once."""
PAPER = ("unibound", "mig", "beta_vae", "factor_vae")
"""The scores that the paper attacks."""
OTHERS = ("unibound", "sap", "dci", "mig_sup", "modularity", "irs")
SIZES = (3, 4, 4, 4, 4)
"""Values of the made-up codes' factors, and most values of a factor of any code here."""
STANDARD_DEVIATION = 0.3
N_DRAWS, N_POINTS = 250, 2000

# As the authors compute the two, but on points, from fewer votes, and with a classifier that is fitted to the end.
_PAIRS = BetaVAEVariant("samples", 100, 1000, 500, "logistic", True)
_GROUPS = FactorVAEVariant("samples", 100, 400, 400, 65_536, 0.0, True)
_OF_POINTS: dict[str, Callable[[PointCodes, torch.Generator], float]] = {
    "beta_vae": lambda points, generator: _beta_vae(points, generator),
    "factor_vae": lambda points, generator: factor_vae_score(points, variant=_GROUPS, generator=generator).score,
    "sap": lambda points, generator: sap(points, generator=generator).score,
    "dci": lambda points, generator: dci(points, generator=generator).disentanglement,
    "mig_sup": lambda points, generator: mutual_information_gap_sup(points).score,
    "modularity": lambda points, generator: modularity(points).score,
    "irs": lambda points, generator: irs(points).score,
}


def _beta_vae(points: PointCodes, generator: torch.Generator) -> float:
    with warnings.catch_warnings():
        # The fit may end at its most iterations: for a curve it is near enough.
        warnings.filterwarnings("ignore", "lbfgs failed to converge")
        return beta_vae_score(points, variant=_PAIRS, generator=generator).score


def ideal_code() -> GaussianCodes:
    """Return made-up codes: each factor in a latent of its own, with noise, and one latent that is noise only."""
    return synthetic_codes(SIZES, standard_deviation=STANDARD_DEVIATION, dtype=torch.float64, device="cpu")


def rotated_code() -> GaussianCodes:
    """Return the ideal code with the latents of the last two factors rotated by 45°."""
    turn = torch.eye(len(SIZES), dtype=torch.float64)
    turn[-2:, -2:] = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64) * 0.5**0.5
    options: dict[str, Any] = {"standard_deviation": STANDARD_DEVIATION, "rotation": turn, "device": "cpu"}
    return synthetic_codes(SIZES, dtype=torch.float64, **options)


def smaller_grid(codes: GaussianCodes, most: int = max(SIZES)) -> GaussianCodes:
    """Return the codes of the images that keep at most so many, evenly spread values of each factor.

    What is left is a complete grid again; a part of the images at random would not be, and would spoil the scores.

    Args:
        codes: of a complete grid.
        most: values that a factor keeps.
    """
    kept = torch.ones(codes.n_images, dtype=torch.bool, device=codes.factors.device)
    factors, sizes = codes.factors.clone(), []
    for number, size in enumerate(codes.factor_sizes):
        step = -(-size // most)
        kept &= codes.factors[:, number] % step == 0
        factors[:, number] //= step
        sizes.append(-(-size // step))
    log_probs = [log_prob[kept].double() for log_prob in codes.categorical_log_prob]
    parts = (codes.mean[kept].double(), codes.standard_deviation[kept].double(), factors[kept], tuple(sizes))
    return GaussianCodes(*parts, log_probs, codes.factor_names, codes.latent_names)


class Bench:
    """One code under one attack after another; what was computed once is kept.

    Args:
        codes: of a complete grid, in float64.
        levels: for each factor the means of the one latent that holds it, where the code is ideal: then most attacks
            have exact scores.
        seed: of all draws; every attack and strength gets the same ones.
        note: what else to say of the code.
    """

    def __init__(self, codes: GaussianCodes, levels: Sequence[Tensor] = (), seed: int = 0, note: str = ""):
        self.codes, self.levels, self.note, self._seed = codes, tuple(levels), note, seed
        self._draws = FixedDraws(codes, n_samples=N_DRAWS, generator=self._generator(), dtype=torch.float64)
        self._lock = threading.Lock()
        self._profiles: dict[tuple[str, float], Profile] = {}
        self._points: dict[tuple[str, float], PointCodes] = {}
        self._scores: dict[tuple[str, str, float], float] = {}
        self._exact: dict[tuple[str, tuple[float, ...]], tuple[float, ...]] = {}

    @classmethod
    def ideal(cls) -> "Bench":
        """Return the bench of the ideal code."""
        codes = ideal_code()
        return cls(codes, [codes.mean[:, number].unique() for number in range(len(SIZES))])

    @classmethod
    def trained(cls, codes: GaussianCodes) -> "Bench":
        """Return the bench of a trained code, on a grid that is small enough for a slider."""
        small = smaller_grid(codes)
        if small.n_images == codes.n_images:
            return cls(small)
        kept = "×".join(map(str, small.factor_sizes))
        return cls(small, note=f"Of {codes.n_images:,} images a smaller complete grid is scored, {kept}")

    def attacked(self, attack: str, strength: float) -> GaussianCodes | EntangledCodes:
        """Return the attacked codes; at strength 0, those that nobody attacked.

        Raises:
            ValueError: an unknown attack, or a strength below 0.
        """
        require(attack in ATTACKS, "Bench", "attack", f"one of {', '.join(ATTACKS)}", repr(attack))
        require(strength >= 0, "Bench", "strength", ">= 0", strength)
        return ATTACKS[attack](strength)(self.codes) if strength > 0 else self.codes

    def profile(self, attack: str, strength: float) -> Profile:
        """Return UniBound, MIG and the intervals of the three parts."""
        attacked: Any = self.attacked(attack, strength)
        key = _key(attack, strength)
        with self._lock:
            if key not in self._profiles:
                self._profiles[key] = profile(self._draws.informations(attacked))
            return self._profiles[key]

    def score(self, metric: str, attack: str, strength: float) -> float:
        """Return a score of ``PAPER`` or ``OTHERS``."""
        if metric in ("unibound", "mig"):
            return getattr(self.profile(attack, strength), metric)
        require(metric in _OF_POINTS, "Bench", "metric", f"one of {', '.join(_OF_POINTS)}", repr(metric))
        where = _key(attack, strength)
        key = (metric, *where)
        if key not in self._scores:
            if where not in self._points:
                drawn = self.attacked(attack, strength).sample(N_POINTS, generator=self._generator())
                self._points[where] = drawn
            self._scores[key] = _OF_POINTS[metric](self._points[where], self._generator())
        return self._scores[key]

    def known(self, metric: str, attack: str, strength: float) -> bool:
        """Return whether a score is at hand."""
        where = _key(attack, strength)
        return where in self._profiles if metric in ("unibound", "mig") else (metric, *where) in self._scores

    def exact_unibound(self, attack: str, strengths: tuple[float, ...]) -> tuple[float, ...] | None:
        """Return UniBound by quadrature, where there is a short cut: no draws are in it."""
        if not self.levels or attack == "mixing":
            return None
        key = (attack, strengths)
        if key not in self._exact:
            given = torch.tensor(strengths, dtype=torch.float64)
            exact = factorised_scores(self.levels, STANDARD_DEVIATION, given, attack.replace(" ", "_")).unibound
            if attack == "masked copy":  # at strength 0 nobody attacks
                clean = factorised_scores(self.levels, STANDARD_DEVIATION, 0.0).unibound
                exact = torch.where(given > 0, exact, clean)
            self._exact[key] = tuple(exact.tolist())
        return self._exact[key]

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)


def _key(attack: str, strength: float) -> tuple[str, float]:
    return (attack, strength) if strength > 0 else ("", 0.0)


class Filler:
    """Computes the missing points of curves in a thread, strength by strength; a new wish ends the one before.

    Args:
        answer: called after each strength.
        fail: called with an error.
    """

    def __init__(self, answer: Callable[[], object], fail: Callable[[Exception], object]):
        self._answer, self._fail = answer, fail
        self._gate = threading.Lock()
        self._wish: tuple[Bench, str, tuple[str, ...]] | None = None
        self._thread: threading.Thread | None = None

    def want(self, bench: Bench, attack: str, metrics: tuple[str, ...]) -> None:
        """Ask for curves, unless they are there or asked for already."""
        with self._gate:
            self._wish = (bench, attack, metrics) if missing(bench, attack, metrics) else None
            if self._wish and self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until there is nothing left to do."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        try:
            while True:
                with self._gate:
                    wish = self._wish
                    left = missing(*wish) if wish else []
                    if wish is None or not left:
                        self._thread = None
                        return
                fill(*wish, strengths=left[:1])
                self._answer()
        except Exception as error:
            with self._gate:
                self._thread = self._wish = None
            self._fail(error)


def missing(bench: Bench, attack: str, metrics: Sequence[str]) -> list[float]:
    """Return the strengths at which a curve lacks its point."""
    return [strength for strength in STRENGTHS if not all(bench.known(metric, attack, strength) for metric in metrics)]


def fill(bench: Bench, attack: str, metrics: Sequence[str], *, strengths: Sequence[float] = STRENGTHS) -> None:
    """Compute the points of curves at these strengths."""
    for strength in strengths:
        for metric in metrics:
            bench.score(metric, attack, strength)
