"""The informations as the paper's authors estimate them: differences of entropies, each from samples of its own.

Kept as a reference, and to show what one pass over the images with posteriors (``informations``) saves. It also takes
attacked codes, as Gaussians with a full covariance matrix, which is what the reductions in ``attacks`` avoid.
Source: the authors' code, ``disen/evaluation/mi.py`` in github.com/beam2d/disen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from toolkit.core.devices import draw_integers, draw_permutation, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.entangled_codes import EntangledCodes

KINDS = ("single", "without", "joint")
_ELEMENTS = 2**20
"""Numbers in one block of (points, images), so that a block stays in the cache."""


@dataclass(frozen=True, repr=False, eq=False)
class EntropyInformations:
    """Informations in nats, estimated as H(z_S) − H(z_S | y_k); noise may take them below 0 or above H(y_k).

    ``pid_bounds(found.single, found.without, found.joint)`` are the bounds that follow.

    Attributes:
        single: I(y_k; z_l), (latents, factors).
        without: I(y_k; all latents but l), (latents, factors).
        joint: I(y_k; z), (factors).
        entropy: H(y_k), (factors).
        standard_errors: of ``single``, ``without`` and ``joint`` by name, as if the images were drawn one by one.
        total_correlation: the latents' entropies added up less their joint one.
        n_samples: most points in one entropy.
        n_densities: how often the density of a latent, or of a full Gaussian, was evaluated: what it cost.
    """

    single: Float64[Tensor, "latents factors"]
    without: Float64[Tensor, "latents factors"]
    joint: Float64[Tensor, " factors"]
    entropy: Float64[Tensor, " factors"]
    standard_errors: dict[str, Tensor]
    total_correlation: float
    n_samples: int
    n_densities: int

    def __repr__(self) -> str:
        shape = "{} latents, {} factors".format(*self.single.shape)
        return f"EntropyInformations({shape}, {self.n_samples:,} samples, {self.n_densities:,} densities)"

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as lists, ready for JSON."""
        tables = {name: getattr(self, name).tolist() for name in (*KINDS, "entropy")}
        errors = {name: table.tolist() for name, table in self.standard_errors.items()}
        numbers = {name: getattr(self, name) for name in ("total_correlation", "n_samples", "n_densities")}
        return {**tables, "standard_errors": errors, **numbers}


def entropy_informations(
    codes: GaussianCodes | EntangledCodes,
    *,
    n_samples: int = 10_000,
    generator: torch.Generator | None = None,
) -> EntropyInformations:
    """Estimate all informations as the authors of the paper do.

    Each is H(z_S) minus the mean over v of H(z_S | y_k = v); an entropy is the mean of −log q(z_S) at points drawn from
    the mixture q, which is summed over all its images. The marginal's images are stratified: each factor runs through
    its values equally often, in an order of its own. Those of a value are drawn without replacement. Single latents,
    all but one, and all together are three sweeps with samples of their own.

    Args:
        codes: of a complete grid; attacked codes need a density, so noise in every direction of the code.
        n_samples: points of an entropy, if its mixture has as many images; else as many as it has.
        generator: of all draws.

    Returns:
        The tables in nats, with their standard errors.

    Raises:
        ValueError: the grid is not complete, or the attacked code has no density.
    """
    operation = "entropy_informations"
    require(n_samples >= 1, operation, "n_samples", ">= 1", n_samples)
    require(codes.complete, operation, "codes", "a complete grid of factors", f"{codes!r}, which is not")
    generator = resolve_generator(generator)
    every = torch.arange(codes.n_images, device=codes.factors.device)
    least = min(n_samples, codes.n_images)
    tables, errors, n_densities, correlation = {}, {}, 0, 0.0
    for kind in KINDS:
        images = stratified_images(codes, least, generator=generator)
        entropy, variance, count = _entropies(codes, kind, images, every, generator)
        correlation += {"single": 1.0, "without": 0.0, "joint": -1.0}[kind] * float(entropy.sum())
        information = entropy[:, None].repeat(1, len(codes.factor_sizes))
        uncertainty = variance[:, None].repeat(1, len(codes.factor_sizes))
        n_densities += count
        for k, size in enumerate(codes.factor_sizes):
            for value in range(size):
                mixture = every[codes.factors[:, k] == value]
                images = mixture[draw_permutation(len(mixture), generator=generator, device=every.device)[:n_samples]]
                entropy, variance, count = _entropies(codes, kind, images, mixture, generator)
                information[:, k] -= entropy / size
                uncertainty[:, k] += variance / size**2
                n_densities += count
        tables[kind], errors[kind] = information, uncertainty.sqrt()
    entropy = torch.tensor([math.log(size) for size in codes.factor_sizes], dtype=torch.float64, device=every.device)
    tables["joint"], errors["joint"] = tables["joint"][0], errors["joint"][0]
    return EntropyInformations(
        **tables,
        entropy=entropy,
        standard_errors=errors,
        total_correlation=correlation,
        n_samples=least,
        n_densities=n_densities,
    )


def stratified_images(
    codes: GaussianCodes | EntangledCodes, n: int, *, generator: torch.Generator
) -> Int64[Tensor, " draws"]:
    """Draw images of a complete grid so that each factor takes each of its values equally often.

    Args:
        codes: of a complete grid.
        n: how many; if a factor's size does not divide it, its first values come once more.
        generator: of the order of each factor's values, and of the image where several have the same factors.

    Returns:
        Indices of images, with repetitions.
    """
    device = codes.factors.device
    wanted, present = torch.zeros(n, dtype=torch.int64, device=device), torch.zeros_like(codes.factors[:, 0])
    for k, size in enumerate(codes.factor_sizes):
        balanced = torch.arange(n, device=device) % size
        wanted = wanted * size + balanced[draw_permutation(n, generator=generator, device=device)]
        present = present * size + codes.factors[:, k]
    repeats = codes.n_images // math.prod(codes.factor_sizes)
    place = wanted * repeats + draw_integers(0, repeats, (n,), generator=generator, device=device)
    return present.argsort(stable=True)[place]


def _entropies(
    codes: GaussianCodes | EntangledCodes, kind: str, images: Tensor, mixture: Tensor, generator: torch.Generator
) -> tuple[Float64[Tensor, " sets"], Float64[Tensor, " sets"], int]:
    """Return the entropy of each set of latents under a mixture, its squared standard error, and what it cost."""
    real, categories = codes.draw_latents(images, generator=generator)
    rows = max(1, _ELEMENTS // len(mixture))
    logs = []
    for start in range(0, len(images), rows):
        block = slice(start, start + rows)
        parts = log_densities(codes, kind, real[block], categories[block], mixture)
        logs.append(torch.stack([torch.logsumexp(part, dim=1).double() for part in parts]))
    log = torch.cat(logs, dim=1) - math.log(len(mixture))
    variance = log.var(dim=1, correction=0) / max(1, len(images) - 1)
    return -log.mean(dim=1), variance, len(log) * len(images) * len(mixture)


def log_densities(
    codes: GaussianCodes | EntangledCodes,
    kind: str,
    real: Float[Tensor, "points real"],
    categories: Int64[Tensor, "points categorical"],
    images: Int64[Tensor, " images"],
) -> Iterator[Float[Tensor, "points images"]]:
    """Yield log q(z_S | x) of points under images, for each set S of a kind.

    Args:
        codes: attacked codes are taken as Gaussians with a full covariance matrix, whatever their structure.
        kind: "single" latents, all "without" one, or the "joint" one.
        real: values of the real latents.
        categories: of the categorical latents.
        images: indices.

    Yields:
        One table a set: a latent each, in order, or one for "joint".

    Raises:
        ValueError: an attacked code has no density because it lacks noise in some direction.
    """
    require(kind in KINDS, "log_densities", "kind", f"one of {KINDS}", repr(kind))
    chosen = [log_prob[images].T for log_prob in codes.categorical_log_prob]
    discrete = [log_prob[categories[:, k]] for k, log_prob in enumerate(chosen)]
    if isinstance(codes, EntangledCodes):
        yield from _full_log_densities(codes, kind, real, discrete, images)
        return
    mean, deviation = codes.mean[images], codes.standard_deviation[images]
    terms = discrete
    if mean.shape[1]:
        scale, offset = 1 / deviation, -deviation.log() - 0.5 * math.log(2 * math.pi)
        standard = ((real[:, i, None] - mean[:, i]) * scale[:, i] for i in range(mean.shape[1]))
        terms = [offset[:, i] - 0.5 * each * each for i, each in enumerate(standard)] + discrete
    if kind == "single":
        yield from terms
        return
    joint = torch.stack(terms).sum(0)
    if kind == "joint":
        yield joint
    else:
        yield from (joint - term for term in terms)


def _full_log_densities(
    codes: EntangledCodes, kind: str, real: Tensor, discrete: list[Tensor], images: Tensor
) -> Iterator[Tensor]:
    n_real, n_latents = codes.n_real, codes.n_real + len(discrete)
    mean, covariance = codes.mean(images), codes.covariance(images)
    latents = [*range(n_latents)]
    sets = {"single": [[i] for i in latents], "joint": [latents]}
    sets["without"] = [[j for j in latents if j != i] for i in latents]
    for chosen in sets[kind]:
        continuous = [i for i in chosen if i < n_real]
        total = real.new_zeros(len(real), len(images))
        for i in chosen[len(continuous) :]:
            total = total + discrete[i - n_real]
        if continuous:
            part = covariance[:, continuous][:, :, continuous]
            factor, failed = torch.linalg.cholesky_ex(part)
            # What rounding leaves of a variance that is none is no noise either.
            left = factor.diagonal(dim1=1, dim2=2).square() / part.diagonal(dim1=1, dim2=2)
            if bool(failed.any()) or float(left.min()) < 10 * len(continuous) * torch.finfo(part.dtype).eps:
                names = ", ".join(codes.latent_names[i] for i in continuous)
                reject("log_densities", "codes", "noise in every direction of the code", f"none in some of {names}")
            apart = (real[:, None, continuous] - mean[:, continuous]).permute(1, 2, 0)
            squares = torch.linalg.solve_triangular(factor, apart, upper=False).square().sum(1).T
            volume = factor.diagonal(dim1=1, dim2=2).log().sum(1) + 0.5 * len(continuous) * math.log(2 * math.pi)
            total = total - 0.5 * squares - volume
        yield total
