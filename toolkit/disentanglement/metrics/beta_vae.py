"""The BetaVAE metric: can a linear classifier tell which factor a set of pairs has in common?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.metrics.results import MetricResult
from toolkit.disentanglement.metrics.shared_values import ImageCodes, SharedValues, with_images
from toolkit.disentanglement.sources import AttackedCodes

_CHUNK_ON_CPU, _CHUNK_ELSEWHERE = 2**16, 2**22  # images looked up at once; they fit the processor's cache


@dataclass(frozen=True)
class BetaVAEVariant:
    """How the metric is computed.

    Attributes:
        representation: "samples" or "means" of the posterior; points are what they are.
        n_pairs: pairs of images behind one vote.
        n_train: votes the classifier learns from.
        n_test: votes it is scored on.
        classifier: "adagrad": one pass of batches of 10 over the votes, learning rate 1, from zero weights;
            "logistic": scikit-learn's logistic regression at its defaults.
        distinct: the two images of a pair are never the same.
    """

    representation: str
    n_pairs: int
    n_train: int
    n_test: int
    classifier: str
    distinct: bool


BETA_VAE_VARIANTS = {
    "authors": BetaVAEVariant("samples", 200, 30_000, 800, "adagrad", True),
    "library": BetaVAEVariant("means", 64, 10_000, 5_000, "logistic", False),
}


@dataclass(frozen=True, eq=False, repr=False)
class BetaVAEScore(MetricResult):
    """The accuracy with which the common factor is named.

    Attributes:
        train_score: accuracy on the votes that the classifier learned from.
        chance: what guessing gives: 1 / number of factors that vary.
        per_factor: accuracy on the new votes of each factor; NaN where there were none, as for a factor of one value.
        weights: ``[factors, latents]`` of the classifier.
    """

    train_score: float
    chance: float
    per_factor: Float[Tensor, " factors"]
    weights: Float[Tensor, "factors latents"]

    source: ClassVar[str] = (
        "Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed and Lerchner 2017, beta-VAE (ICLR); "
        "variants as in github.com/beam2d/disen, disen/evaluation/beta_vae.py, and in "
        "google-research/disentanglement_lib, evaluation/metrics/beta_vae.py"
    )

    def __repr__(self) -> str:
        return f"BetaVAEScore(score={self.score:.4f}, chance={self.chance:.4f})"


def beta_vae_score(
    codes: GaussianCodes | PointCodes | AttackedCodes,
    *,
    variant: str | BetaVAEVariant = "authors",
    generator: torch.Generator | None = None,
) -> BetaVAEScore:
    """Name the factor that pairs of images share, from how far apart their codes are.

    For a vote a factor is drawn, and pairs of images that share a value of it, a new value for each pair. The mean of
    |z − z'| over the pairs is what a linear classifier sees: a latent that encodes the common factor does not move.
    A latent that never moves tells nothing; where all are such, the score is about ``chance``. Distances are in the
    unit of the codes: of codes a thousand times smaller the classifier learns less, as it is defined.

    Args:
        codes: of images whose factors are known. Pairs are drawn among them: on points, among the points; of
            attacked codes, among 65,536 samples, which also stand for means.
        variant: "authors" as in the experiments of Tokui & Sato (2022), "library" as in disentanglement_lib
            (Locatello et al., 2019), or settings of your own.
        generator: draws the votes and, with "samples", the codes.

    Returns:
        The accuracy in [0, 1].

    Raises:
        ValueError: an unknown variant; no factor varies, or one that does has no value that two images share.
    """
    operation = "beta_vae_score"
    if isinstance(variant, str):
        if variant not in BETA_VAE_VARIANTS:
            reject(operation, "variant", f"one of {list(BETA_VAE_VARIANTS)} or a BetaVAEVariant", repr(variant))
        variant = BETA_VAE_VARIANTS[variant]
    if variant.classifier not in ("adagrad", "logistic"):
        reject(operation, "variant", "the classifier 'adagrad' or 'logistic'", repr(variant.classifier))
    least = min(variant.n_pairs, variant.n_train, variant.n_test)
    require(least >= 1, operation, "variant", "at least one pair, training vote and test vote", least)
    generator = resolve_generator(generator)
    codes = with_images(codes, generator)
    images = ImageCodes(codes, variant.representation, operation)
    shared = SharedValues.of(codes, operation)
    train_factor, train = _votes(images, shared, variant, variant.n_train, generator)
    test_factor, test = _votes(images, shared, variant, variant.n_test, generator)
    fit = _adagrad if variant.classifier == "adagrad" else _logistic
    weights, offsets = fit(train, train_factor, shared.n_factors)

    right = (test @ weights.T + offsets).argmax(1) == test_factor
    tried = torch.bincount(test_factor, minlength=shared.n_factors)
    hit = torch.bincount(test_factor[right], minlength=shared.n_factors)
    return BetaVAEScore(
        options=vars(variant).copy(),
        factor_names=codes.factor_names,
        latent_names=codes.latent_names,
        score=float(right.double().mean()),
        train_score=float(((train @ weights.T + offsets).argmax(1) == train_factor).double().mean()),
        chance=shared.chance,
        per_factor=hit.double() / tried,
        weights=weights,
    )


def _votes(
    images: ImageCodes, shared: SharedValues, variant: BetaVAEVariant, n: int, generator: torch.Generator
) -> tuple[Int64[Tensor, " votes"], Float[Tensor, "votes latents"]]:
    factor = shared.draw_factors(n, generator)
    features = []
    chunk = _CHUNK_ON_CPU if factor.device.type == "cpu" else _CHUNK_ELSEWHERE
    for part in factor.split(max(1, chunk // (2 * variant.n_pairs))):
        pairs = shared.draw_pairs(part[:, None].expand(-1, variant.n_pairs), variant.distinct, generator)
        first, second = (images.take(one, generator) for one in pairs)
        features.append(images.by_latent(first.sub_(second).abs_().mean(1)))
    return factor, torch.cat(features)


def _adagrad(
    features: Float[Tensor, "votes latents"], labels: Int64[Tensor, " votes"], n_classes: int
) -> tuple[Float[Tensor, "factors latents"], Float[Tensor, " factors"]]:
    weights = features.new_zeros(n_classes, features.shape[1], requires_grad=True)
    offsets = features.new_zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.Adagrad([weights, offsets], lr=1.0)
    for some, which in zip(features.split(10), labels.split(10), strict=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(some @ weights.T + offsets, which).backward()
        optimizer.step()
    return weights.detach(), offsets.detach()


def _logistic(
    features: Float[Tensor, "votes latents"], labels: Int64[Tensor, " votes"], n_classes: int
) -> tuple[Float[Tensor, "factors latents"], Float[Tensor, " factors"]]:
    from sklearn.linear_model import LogisticRegression

    seen = labels.unique()
    weights = torch.zeros(n_classes, features.shape[1], dtype=torch.float32, device=features.device)
    offsets = torch.full((n_classes,), -torch.inf, dtype=torch.float32, device=features.device)
    if len(seen) == 1:
        offsets[seen] = 0.0
        return weights, offsets
    model = LogisticRegression(max_iter=1000).fit(features.double().cpu().numpy(), labels.cpu().numpy())
    coefficients, intercepts = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(seen) == 2:  # scikit-learn keeps the second class's row only
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    weights[seen] = torch.from_numpy(coefficients).to(weights)
    offsets[seen] = torch.from_numpy(intercepts).to(offsets)
    return weights, offsets
