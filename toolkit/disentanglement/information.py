"""What latents know about factors: each alone, all others without it, and all together, from one pass over the images.

For a drawn z the weights q(z | x) of all images x, summed by the values of a factor, are the exact posterior of that
factor; the information is how much less uncertain it is than the factor itself, on average over the draws. The same
draws serve every latent, every factor and all three kinds of sources, so that their errors cancel in differences.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.sources import AttackedCodes, Draws, Source, SourceTable, Terms, clean_sources

_ELEMENTS_ON_CPU, _ELEMENTS_ELSEWHERE = 2**18, 2**26
_SAFE_RANGE = 1e4
_NEGLIGIBLE = -80.0


@dataclass(frozen=True, eq=False, repr=False)
class Informations:
    """Mutual informations between sets of latents and factors, in nats, with all that is known of each draw.

    Attributes:
        posteriors: p(y_k = v | source) of each distinct source and draw; columns are the values of the first factor,
            then of the second, …
        rows: which source is latent l alone (rows[0, l]), all but l (rows[1, l]) and everything (rows[2, l]).
        prior: how often each factor takes each value, columns as in ``posteriors``.
        factor_sizes: number of values of each factor.
        factor_names: their names.
        latent_names: the latents' names.
        images: of which image each draw is.
        total_correlation: the latents' entropies added up less their joint one; NaN for attacked codes.
    """

    posteriors: Float[Tensor, "sources draws values"]
    rows: Int64[Tensor, "3 latents"]
    prior: Float[Tensor, " values"]
    factor_sizes: tuple[int, ...]
    factor_names: tuple[str, ...]
    latent_names: tuple[str, ...]
    images: Int64[Tensor, " draws"]
    total_correlation: float = float("nan")

    def __post_init__(self) -> None:
        per_draw = self.entropy[None, None] - self._by_factor(_entropy_terms(self.posteriors))
        object.__setattr__(self, "_per_draw", per_draw)

    @property
    def n_samples(self) -> int:
        """Number of draws."""
        return self.posteriors.shape[1]

    @property
    def per_draw(self) -> Float[Tensor, "sources draws factors"]:
        """What each draw of each source tells about each factor; its mean over draws is the information."""
        return self._per_draw  # type: ignore[attr-defined,no-any-return]

    @property
    def entropy(self) -> Float[Tensor, " factors"]:
        """H(y_k), the most that can be known; 0 for a factor of one value."""
        return self._by_factor(_entropy_terms(self.prior))

    @property
    def single(self) -> Float[Tensor, "latents factors"]:
        """I(y_k; z_l)."""
        return self._mean(self.rows[0])

    @property
    def without(self) -> Float[Tensor, "latents factors"]:
        """I(y_k; all latents but l)."""
        return self._mean(self.rows[1])

    @property
    def joint(self) -> Float[Tensor, " factors"]:
        """I(y_k; all latents)."""
        return self._mean(self.rows[2, 0])

    @property
    def standard_error(self) -> Float[Tensor, "3 latents factors"]:
        """Standard errors of ``single``, ``without`` and ``joint`` (the same for each latent)."""
        spread = self.per_draw.std(1) if self.n_samples > 1 else torch.full_like(self.per_draw[:, 0], torch.nan)
        return (spread / self.n_samples**0.5)[self.rows]

    def _mean(self, rows: Tensor) -> Tensor:
        return self.per_draw.mean(1)[rows]

    def _by_factor(self, values: Tensor) -> Tensor:
        return torch.stack([part.sum(-1) for part in values.split(list(self.factor_sizes), dim=-1)], dim=-1)

    def to_dict(self) -> dict[str, Any]:
        """Return the three tables, the entropies and the names as plain Python, ready for JSON."""
        tables = ("single", "without", "joint", "entropy")
        names = {"factor_names": list(self.factor_names), "latent_names": list(self.latent_names)}
        return {name: getattr(self, name).tolist() for name in tables} | names | {"n_samples": self.n_samples}

    def __repr__(self) -> str:
        shape = f"{len(self.latent_names)} latents, {len(self.factor_names)} factors, {self.n_samples:,} draws"
        return f"Informations({shape})"


def informations(
    codes: GaussianCodes | AttackedCodes,
    *,
    n_samples: int = 2000,
    generator: torch.Generator | None = None,
    incomplete: str = "refuse",
    chunk_size: int | None = None,
    dtype: torch.dtype | None = None,
) -> Informations:
    """Estimate I(y_k; z_l), I(y_k; all but z_l) and I(y_k; z) for every latent and factor.

    The inner sum goes over all images, so each estimate is unbiased for these images; it lies between 0 and H(y_k).

    Args:
        codes: of a complete factor grid, clean or attacked.
        n_samples: draws of the outer average.
        generator: of the draws. The same generator gives the same draws on every device.
        incomplete: "refuse" or "allow" images that are not a complete grid. Of a subset of a grid several latents
            together identify each image, and what they know together comes out much too high; what single latents
            know hardly changes. Thin out the factors' values instead of the images.
        chunk_size: draws at once; default: so many that the work fits the processor's cache, or the GPU.
        dtype: to compute in. Default: float32, and float64 if a latent's values spread over more than 10,000 of its
            smallest standard deviations. What is summed up in the end is float64.

    Returns:
        The informations, on the device of the codes.

    Raises:
        ValueError: the grid is not complete, or ``n_samples`` is not positive.

    Source: the informations of "Disentanglement Analysis with Partial Information Decomposition"; the estimator is
    this toolkit's (the authors' own is :func:`toolkit.disentanglement.entropies.entropy_informations`).
    """
    clean = codes if isinstance(codes, GaussianCodes) else codes.codes
    if isinstance(n_samples, bool) or not isinstance(n_samples, int):
        reject("informations", "n_samples", "an integer", repr(n_samples), kind=TypeError)
    require(n_samples >= 1, "informations", "n_samples", ">= 1", n_samples)
    require(incomplete in ("refuse", "allow"), "informations", "incomplete", "'refuse' or 'allow'", incomplete)
    if incomplete == "refuse" and not clean.complete:
        _refuse(clean)
    generator = resolve_generator(generator)
    images = clean.draw_images(n_samples, generator=generator)
    draws = Draws(images, *clean.draw_latents(images, generator=generator))
    if isinstance(codes, GaussianCodes):
        table = clean_sources(codes.n_latents)
    else:
        table = codes.sources(draws, generator=generator)
    dtype = dtype or sufficient_dtype(clean)
    return assemble(codes, draws, table, lambda sources: posteriors_of(clean, draws, sources, dtype, chunk_size))


def assemble(
    codes: GaussianCodes | AttackedCodes,
    draws: Draws,
    table: SourceTable,
    evaluate: Callable[[list[Source]], tuple[Tensor, Tensor]],
) -> Informations:
    """Evaluate each distinct source of a table once, and put the informations together.

    Args:
        codes: clean or attacked.
        draws: of the clean code.
        table: what is asked for.
        evaluate: returns posteriors and log-densities of sources, as :func:`posteriors_of` does.
    """
    clean = codes if isinstance(codes, GaussianCodes) else codes.codes
    asked: list[Source] = [*table.single, *table.without, *[table.joint] * len(table.single)]
    distinct = list({id(source): source for source in asked}.values())
    position = {id(source): row for row, source in enumerate(distinct)}
    rows = torch.tensor([position[id(source)] for source in asked], device=draws.images.device).view(3, -1)
    posteriors, log_density = evaluate(distinct)
    prior = _membership(clean, torch.float64).mean(0)
    entropy = -log_density.mean(1)
    correlation = float(entropy[rows[0]].sum() - entropy[rows[2, 0]]) if codes is clean else float("nan")
    return Informations(
        posteriors,
        rows,
        prior,
        clean.factor_sizes,
        clean.factor_names,
        codes.latent_names,
        draws.images,
        correlation,
    )


def posteriors_of(
    codes: GaussianCodes, draws: Draws, sources: list[Source], dtype: torch.dtype, chunk_size: int | None = None
) -> tuple[Float[Tensor, "sources draws values"], Float[Tensor, "sources draws"]]:
    """Return the posterior of each value of each factor given each source and draw, and log q(observed) of each."""
    device = codes.mean.device
    if chunk_size is None:
        elements = _ELEMENTS_ON_CPU if device.type == "cpu" else _ELEMENTS_ELSEWHERE
        chunk_size = max(1, elements // codes.n_images)
    require(chunk_size >= 1, "informations", "chunk_size", ">= 1", chunk_size)
    group_sums = _GroupSums(codes, dtype)
    posteriors = torch.empty(len(sources), len(draws), sum(codes.factor_sizes), dtype=torch.float64, device=device)
    log_density = torch.empty(len(sources), len(draws), dtype=torch.float64, device=device)
    first = codes.factor_sizes[0]
    lowest = torch.finfo(dtype).min / 2
    terms = Terms(codes, draws, dtype)
    for start in range(0, len(draws), chunk_size):
        rows = slice(start, min(start + chunk_size, len(draws)))
        terms.at(rows)
        for index, source in enumerate(sources):
            log_weights = source.log_density(rows, terms)
            highest = log_weights.amax(1, keepdim=True).clamp_min(lowest)
            # Below it exp gives denormal numbers, which are up to a hundred times slower and count for nothing.
            weights = (log_weights - highest).clamp_min_(_NEGLIGIBLE).exp_()
            sums = group_sums(weights).double()
            total = sums[:, :first].sum(1, keepdim=True)
            posteriors[index, rows] = sums / total
            log_density[index, rows] = (total.log() + highest)[:, 0]
    return posteriors, log_density - torch.tensor(float(codes.n_images)).double().log()


class _GroupSums:
    """Sums of the images' weights by the values of each factor, all factors side by side."""

    def __init__(self, codes: GaussianCodes, dtype: torch.dtype):
        self._sizes = codes.factor_sizes
        in_order = torch.cartesian_prod(*(torch.arange(size, device=codes.mean.device) for size in self._sizes))
        self._in_order = torch.equal(in_order.reshape(-1, len(self._sizes)), codes.factors)
        self._membership = None if self._in_order else _membership(codes, dtype)

    def __call__(self, weights: Float[Tensor, "rows images"]) -> Float[Tensor, "rows values"]:
        if self._membership is not None:
            return weights @ self._membership
        return torch.cat(self._marginals(weights, self._sizes), dim=1)

    def _marginals(self, weights: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
        # Halving the axes reads the large tensor twice, however many factors there are.
        if len(sizes) == 1:
            return [weights]
        half = len(sizes) // 2
        table = weights.view(len(weights), math.prod(sizes[:half]), math.prod(sizes[half:]))
        return self._marginals(table.sum(2), sizes[:half]) + self._marginals(table.sum(1), sizes[half:])


def _membership(codes: GaussianCodes, dtype: torch.dtype) -> Float[Tensor, "images values"]:
    columns = [
        torch.nn.functional.one_hot(codes.factors[:, k], size).to(dtype) for k, size in enumerate(codes.factor_sizes)
    ]
    return torch.cat(columns, dim=1)


def sufficient_dtype(codes: GaussianCodes) -> torch.dtype:
    """Return the least precise type whose rounding does not matter for these codes."""
    if codes.n_real == 0:
        return torch.float32
    spread = codes.mean.amax(0) - codes.mean.amin(0)
    ratio = float((spread / codes.standard_deviation.amin(0)).max())
    return torch.float32 if ratio <= _SAFE_RANGE else torch.float64


def _entropy_terms(probabilities: Tensor) -> Tensor:
    return -torch.special.xlogy(probabilities, probabilities)


def _refuse(codes: GaussianCodes) -> None:
    grid = "×".join(map(str, codes.factor_sizes))
    expected = (
        f"each combination of the factors ({grid}) equally often: of a part of them the latents together identify "
        "each image, and seem to know far more than they do. Keep fewer values of the factors instead, or say "
        "incomplete='allow'"
    )
    reject("informations", "codes", expected, f"{codes.n_images:,} images")
