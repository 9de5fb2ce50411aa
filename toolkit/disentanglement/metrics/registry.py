"""The table of all scores: what each is computed by, what that needs, where it was defined, and how to read it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.disentanglement.bounds import Profile, profile
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.information import Informations, informations
from toolkit.disentanglement.metrics.beta_vae import beta_vae_score
from toolkit.disentanglement.metrics.dci import dci
from toolkit.disentanglement.metrics.explicitness import explicitness
from toolkit.disentanglement.metrics.factor_vae import factor_vae_score
from toolkit.disentanglement.metrics.gaps import mutual_information_gap, mutual_information_gap_sup
from toolkit.disentanglement.metrics.irs import irs
from toolkit.disentanglement.metrics.modularity import modularity
from toolkit.disentanglement.metrics.sap import sap
from toolkit.disentanglement.metrics.unsupervised import latent_dependence
from toolkit.disentanglement.sources import AttackedCodes


@dataclass(frozen=True, eq=False)
class Job:
    """What a computation may use.

    Attributes:
        codes: as they came.
        points: the same codes as points.
        generator: of this computation alone.
        options: by name, see :func:`toolkit.disentanglement.evaluation.evaluate`.
    """

    codes: GaussianCodes | AttackedCodes | PointCodes
    points: PointCodes
    generator: torch.Generator
    options: dict[str, Any]


@dataclass(frozen=True, eq=False)
class PartialInformation:
    """The informations of a code and what follows from them.

    Attributes:
        informations: with all that is known of each draw.
        profile: the scores and the bounds of all parts.
    """

    informations: Informations
    profile: Profile

    def to_dict(self) -> dict[str, Any]:
        """Return the profile and the tables of informations as plain values."""
        return {"profile": self.profile.to_dict(), "informations": self.informations.to_dict()}


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: the key in :data:`METRICS` and in ``Evaluation.scores``.
        title: what figures and tables call it.
        function: what computes it, and often others with it.
        needs: "posterior" of every image of a complete grid, or "points" of any representation.
        run: calls ``function`` for a :class:`Job`.
        read: takes the score out of what ``run`` returns.
        source: where it was defined.
        range: least and largest value.
        higher_is_better: whether a more disentangled code has a larger score.
        meaning: one sentence.
    """

    name: str
    title: str
    function: Callable[..., Any]
    needs: str
    run: Callable[[Job], Any]
    read: Callable[[Any], float]
    source: str
    range: tuple[float, float]
    higher_is_better: bool
    meaning: str

    @property
    def family(self) -> str:
        """Name of the function. Scores of one family are computed together, and may be asked for by this name."""
        return self.function.__name__

    def to_dict(self) -> dict[str, Any]:
        """Return what is to be said of the score, as plain values; an open end of the range is None."""
        low, high = (end if math.isfinite(end) else None for end in self.range)
        said = {name: getattr(self, name) for name in ("name", "title", "family", "needs", "source", "meaning")}
        return said | {"range": [low, high], "higher_is_better": self.higher_is_better}


def _partial_information(job: Job) -> PartialInformation:
    assert isinstance(job.codes, GaussianCodes | AttackedCodes)
    options = {name: job.options[name] for name in ("n_samples", "incomplete")}
    found = informations(job.codes, generator=job.generator, **options)
    return PartialInformation(found, profile(found))


def _of_posteriors(
    name: str,
    title: str,
    read: Callable[[Profile], float],
    meaning: str,
    *,
    source: str = "",
    ends: tuple[float, float] = (0.0, 1.0),
    higher_is_better: bool = True,
) -> Metric:
    def from_profile(found: PartialInformation) -> float:
        return read(found.profile)

    run, source = _partial_information, source or _TOKUI
    return Metric(name, title, informations, "posterior", run, from_profile, source, ends, higher_is_better, meaning)


def _bound(name: str, title: str, end: str, higher_is_better: bool, meaning: str) -> Metric:
    part = name.partition("_")[0]

    def read(found: Profile) -> float:
        return float(getattr(found.mean(part), end))

    return _of_posteriors(name, title, read, meaning, higher_is_better=higher_is_better)


def _of_points(
    name: str,
    title: str,
    function: Callable[..., Any],
    run: Callable[[Job], Any],
    source: str,
    meaning: str,
    *,
    attribute: str = "score",
    ends: tuple[float, float] = (0.0, 1.0),
    higher_is_better: bool = True,
) -> Metric:
    def read(found: Any) -> float:
        return float(getattr(found, attribute))

    return Metric(name, title, function, "points", run, read, source, ends, higher_is_better, meaning)


def _dci(part: str, meaning: str) -> Metric:
    def run(job: Job) -> Any:
        return dci(job.points, classifier=job.options["dci"], generator=job.generator)

    return _of_points(f"dci_{part}", f"DCI {part}", dci, run, _EASTWOOD, meaning, attribute=part)


def _dependence(name: str, title: str, attribute: str, meaning: str) -> Metric:
    def run(job: Job) -> Any:
        return latent_dependence(job.points)

    function, open_end = latent_dependence, (0.0, math.inf)
    return _of_points(
        name, title, function, run, _LOCATELLO, meaning, attribute=attribute, ends=open_end, higher_is_better=False
    )


_TOKUI = "Tokui and Sato 2022, Disentanglement analysis with partial information decomposition (arXiv 2108.13753)"
_LOCATELLO = "Locatello et al. 2019, Challenging common assumptions (arXiv 1811.12359), unsupervised scores"
_CHEN = "Chen, Li, Grosse and Duvenaud 2018, Isolating sources of disentanglement in VAEs (arXiv 1802.04942)"
_RIDGEWAY = "Ridgeway and Mozer 2018, Learning deep disentangled embeddings (arXiv 1802.05312)"
_EASTWOOD = "Eastwood and Williams 2018, A framework for the evaluation of disentangled representations (ICLR)"

_ALL = (
    _of_posteriors(
        "unibound",
        "UniBound",
        lambda found: found.unibound,
        "The least share of a factor that one latent alone must know, and the others together do not.",
    ),
    _bound(
        "unique_upper",
        "Unique, at most",
        "upper",
        True,
        "The largest share of a factor that one latent alone can know, and the others together do not.",
    ),
    _bound(
        "redundant_lower",
        "Redundant, at least",
        "lower",
        False,
        "The least share of a factor that a latent and the others must know twice.",
    ),
    _bound(
        "redundant_upper",
        "Redundant, at most",
        "upper",
        False,
        "The largest share of a factor that a latent and the others can know twice.",
    ),
    _bound(
        "complementary_lower",
        "Complementary, at least",
        "lower",
        False,
        "The least share of a factor that must show only in a latent and the others together.",
    ),
    _bound(
        "complementary_upper",
        "Complementary, at most",
        "upper",
        False,
        "The largest share of a factor that can show only in a latent and the others together.",
    ),
    _of_posteriors(
        "mig",
        "MIG",
        lambda found: found.mig,
        "How much more of a factor its best latent knows than the second best, from the posteriors' mixture.",
        source=_CHEN,
    ),
    _of_posteriors(
        "information",
        "Information",
        lambda found: found.information,
        "The share of a factor that all latents together know; a code may know much and be entangled.",
    ),
    _of_posteriors(
        "total_correlation",
        "Total correlation",
        lambda found: found.total_correlation,
        "The latents' entropies added up less their joint one, in nats: 0 if they are independent.",
        source=_CHEN,
        ends=(0.0, math.inf),
        higher_is_better=False,
    ),
    _of_points(
        "mig_binned",
        "MIG (binned)",
        mutual_information_gap,
        lambda job: mutual_information_gap(job.points),
        _CHEN,
        "How much more of a factor its best latent knows than the second best, latents cut into 20 bins.",
    ),
    _of_points(
        "mig_sup",
        "MIG-sup",
        mutual_information_gap_sup,
        lambda job: mutual_information_gap_sup(job.points),
        "Li, Murkute, Gyawali and Wang 2020, Progressive learning and disentanglement (arXiv 2002.10549)",
        "How much more a latent knows of its best factor than of the second best.",
    ),
    _of_points(
        "modularity",
        "Modularity",
        modularity,
        lambda job: modularity(job.points),
        _RIDGEWAY,
        "Whether a latent knows of one factor only.",
    ),
    _dci("disentanglement", "Whether a latent matters to one factor only, by the importances of boosted trees."),
    _dci("completeness", "Whether one latent only matters to a factor, by the importances of boosted trees."),
    _dci("informativeness", "How often boosted trees name a factor's value from all latents."),
    _of_points(
        "sap",
        "SAP",
        sap,
        lambda job: sap(job.points, generator=job.generator),
        "Kumar, Sattigeri and Balakrishnan 2018, Variational inference of disentangled latents (arXiv 1711.00848)",
        "How much better the best latent alone classifies a factor linearly than the second best.",
    ),
    _of_points(
        "explicitness",
        "Explicitness",
        explicitness,
        lambda job: explicitness(job.points, generator=job.generator),
        _RIDGEWAY,
        "How well a factor's values are told apart linearly from all latents; 0 is chance.",
        ends=(-1.0, 1.0),
    ),
    _of_points(
        "irs",
        "IRS",
        irs,
        lambda job: irs(job.points),
        "Suter, Miladinovic, Schölkopf and Bauer 2019, Robustly disentangled causal mechanisms (arXiv 1811.00007)",
        "How little other factors move a latent while the factor it is about is held.",
    ),
    _of_points(
        "beta_vae",
        "BetaVAE",
        beta_vae_score,
        lambda job: beta_vae_score(job.codes, variant=job.options["variant"], generator=job.generator),
        "Higgins et al. 2017, beta-VAE (ICLR)",
        "How often the factor that pairs of images share is named from how far apart their codes are.",
    ),
    _of_points(
        "factor_vae",
        "FactorVAE",
        factor_vae_score,
        lambda job: factor_vae_score(job.codes, variant=job.options["variant"], generator=job.generator),
        "Kim and Mnih 2018, Disentangling by factorising (arXiv 1802.05983)",
        "How often the factor that a group of images shares is named from the latent that varies least.",
    ),
    _dependence(
        "gaussian_total_correlation",
        "Gaussian total correlation",
        "total_correlation",
        "Total correlation of a Gaussian with the latents' covariance, in nats.",
    ),
    _dependence(
        "gaussian_wasserstein",
        "Gaussian Wasserstein",
        "wasserstein_correlation",
        "Squared Wasserstein distance of that Gaussian from independence, in the unit of the codes squared.",
    ),
    _dependence(
        "gaussian_wasserstein_normalised",
        "Gaussian Wasserstein, normalised",
        "normalised_wasserstein_correlation",
        "The same, divided by the sum of the variances.",
    ),
    _dependence(
        "latent_information",
        "Information between latents",
        "mutual_information",
        "Mean information between two latents, in nats, latents cut into 20 bins.",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
