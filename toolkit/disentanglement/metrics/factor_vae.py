"""The FactorVAE metric: which latent varies least where a factor is fixed, and does that name the factor?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolkit.core.devices import draw_permutation, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.metrics.results import MetricResult
from toolkit.disentanglement.metrics.shared_values import ImageCodes, SharedValues, with_images
from toolkit.disentanglement.sources import AttackedCodes

_CHUNK = 2**20  # images looked up at once


@dataclass(frozen=True)
class FactorVAEVariant:
    """How the metric is computed.

    Attributes:
        representation: "samples" or "means" of the posterior; points are what they are.
        group_size: images behind one vote, all with one value of one factor.
        n_train: votes that fill the table.
        n_test: votes that are scored.
        n_variance: images that the latents' overall variances are taken over; all, if there are fewer.
        least_deviation: latents with a smaller overall standard deviation are left out, and constant ones always.
        distinct: no image is twice in a group, where a value has as many images; else they are drawn independently.
    """

    representation: str
    group_size: int
    n_train: int
    n_test: int
    n_variance: int
    least_deviation: float
    distinct: bool


FACTOR_VAE_VARIANTS = {
    "authors": FactorVAEVariant("samples", 100, 800, 800, 65_536, 0.0, True),
    "library": FactorVAEVariant("means", 64, 10_000, 5_000, 10_000, 0.05, False),
}


@dataclass(frozen=True, eq=False, repr=False)
class FactorVAEScore(MetricResult):
    """The accuracy of a majority vote.

    Attributes:
        train_score: the score of the votes that filled the table.
        chance: what guessing gives: 1 / number of factors that vary.
        per_factor: share right of the new votes of each factor; NaN where there were none, as for one of one value.
        votes: ``[latents, factors]``, the table: how often the latent varied least while the factor was fixed.
        majority: the factor that the table names for each latent.
        active: latents that vary enough to be in the vote.
    """

    train_score: float
    chance: float
    per_factor: Float[Tensor, " factors"]
    votes: Int64[Tensor, "latents factors"]
    majority: Int64[Tensor, " latents"]
    active: Bool[Tensor, " latents"]

    source: ClassVar[str] = (
        "Kim and Mnih 2018, Disentangling by factorising (arXiv 1802.05983); variants as in "
        "github.com/beam2d/disen, disen/evaluation/factor_vae.py, and in google-research/disentanglement_lib, "
        "evaluation/metrics/factor_vae.py"
    )

    def __repr__(self) -> str:
        active = int(self.active.sum())
        of = f"{active} of {len(self.active)} latents"
        return f"FactorVAEScore(score={self.score:.4f}, chance={self.chance:.4f}, {of})"


def factor_vae_score(
    codes: GaussianCodes | PointCodes | AttackedCodes,
    *,
    variant: str | FactorVAEVariant = "authors",
    generator: torch.Generator | None = None,
) -> FactorVAEScore:
    """Name the factor that a group of images shares by the latent that varies least among them.

    For a vote a factor and one of its values are drawn, and images with that value. The latent with the least variance,
    relative to its variance over all images, casts the vote. A table says which factor each latent's votes mostly
    belong to; it is scored on new votes. A categorical latent's variance is Gini's. With no latent that varies, every
    vote is the same one, and the score is about ``chance``.

    Args:
        codes: of images whose factors are known. Groups are drawn among them: on points, among the points; of
            attacked codes, among 65,536 samples, which also stand for means.
        variant: "authors" as in the experiments of Tokui & Sato (2022), "library" as in disentanglement_lib
            (Locatello et al., 2019), or settings of your own.
        generator: draws the votes and, with "samples", the codes.

    Returns:
        The accuracy in [0, 1].

    Raises:
        ValueError: an unknown variant; no factor varies, or one that does has no value that two images share.
    """
    operation = "factor_vae_score"
    if isinstance(variant, str):
        if variant not in FACTOR_VAE_VARIANTS:
            reject(operation, "variant", f"one of {list(FACTOR_VAE_VARIANTS)} or a FactorVAEVariant", repr(variant))
        variant = FACTOR_VAE_VARIANTS[variant]
    least = min(variant.group_size, variant.n_variance)
    require(least >= 2, operation, "variant", "a group_size and n_variance of two or more", least)
    least = min(variant.n_train, variant.n_test)
    require(least >= 1, operation, "variant", "at least one training vote and one test vote", least)
    generator = resolve_generator(generator)
    codes = with_images(codes, generator)
    images = ImageCodes(codes, variant.representation, operation, own_unit=True)
    shared = SharedValues.of(codes, operation)

    order = draw_permutation(len(codes.factors), generator=generator, device=codes.factors.device)
    everywhere = images.take(order[: variant.n_variance], generator)
    variance = images.variance(everywhere, 0)
    moves = images.by_latent((everywhere.amax(0) > everywhere.amin(0)).float()) > 0
    deviation = images.variance(everywhere * images.unit, 0).sqrt()
    active = moves & (deviation >= variant.least_deviation)
    scale = torch.where(active, variance, torch.nan)

    train_factor, train_latent = _votes(images, shared, variant, scale, variant.n_train, generator)
    test_factor, test_latent = _votes(images, shared, variant, scale, variant.n_test, generator)
    n_factors, n_latents = shared.n_factors, len(active)
    table = torch.bincount(train_latent * n_factors + train_factor, minlength=n_latents * n_factors)
    votes = table.reshape(n_latents, n_factors)
    majority = votes.argmax(1)
    right = majority[test_latent] == test_factor
    tried = torch.bincount(test_factor, minlength=n_factors)
    return FactorVAEScore(
        options=vars(variant).copy(),
        factor_names=codes.factor_names,
        latent_names=codes.latent_names,
        score=float(right.double().mean()),
        train_score=float((majority[train_latent] == train_factor).double().mean()),
        chance=shared.chance,
        per_factor=torch.bincount(test_factor[right], minlength=n_factors).double() / tried,
        votes=votes,
        majority=majority,
        active=active,
    )


def _votes(
    images: ImageCodes,
    shared: SharedValues,
    variant: FactorVAEVariant,
    scale: Float[Tensor, " latents"],
    n: int,
    generator: torch.Generator,
) -> tuple[Int64[Tensor, " votes"], Int64[Tensor, " votes"]]:
    factor = shared.draw_factors(n, generator)
    latents = []
    for part in factor.split(max(1, _CHUNK // variant.group_size)):
        group = images.take(shared.draw_groups(part, variant.group_size, variant.distinct, generator), generator)
        latents.append((images.variance(group, 1) / scale).nan_to_num(nan=torch.inf).argmin(1))
    return factor, torch.cat(latents)
