"""What an encoder says about images: Gaussian codes on a complete grid of factors, or points of any representation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.devices import draw_normal, draw_permutation, draw_uniform, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.datasets.factors import FactorGrid, batches
from toolkit.disentanglement.factor_labels import checked_factors, checked_matrix


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z | x) of a batch of images: independent Gaussian latents and, where a model has them, categorical ones.

    Attributes:
        mean: (images, real latents).
        standard_deviation: (images, real latents), positive.
        categorical_log_prob: one (images, categories) tensor a categorical latent.
    """

    mean: Float[Tensor, "images real"]
    standard_deviation: Float[Tensor, "images real"]
    categorical_log_prob: tuple[Float[Tensor, "images _"], ...] = ()


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PointCodes:
    """Points of a representation, one a row, with the factors of the image that each belongs to.

    Made from tensors, arrays or nested sequences, which are checked once, here.

    Attributes:
        points: (points, columns). A real latent has one column, a categorical one a column for each category (one-hot).
        factors: (points, factors) indices from 0.
        factor_sizes: number of values of each factor; default: the largest index + 1.
        factor_names: default "factor 1", …
        groups: number of columns of each latent; default: 1 each.
        latent_names: default "z1", …

    Raises:
        ValueError: lengths that do not agree, NaN, factors that are no indices.
        TypeError: factors of a floating type.
    """

    points: Float[Tensor, "points columns"]
    factors: Int64[Tensor, "points factors"]
    factor_sizes: tuple[int, ...] = ()
    factor_names: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    latent_names: tuple[str, ...] = ()

    def __init__(
        self,
        points: Any,
        factors: Any,
        factor_sizes: Sequence[int] = (),
        factor_names: Sequence[str] = (),
        groups: Sequence[int] = (),
        latent_names: Sequence[str] = (),
    ):
        points = checked_matrix("PointCodes", "points", points)
        factors, sizes, names = checked_factors(
            "PointCodes", factors, len(points), factor_sizes, factor_names, points.device
        )
        groups = tuple(groups) or (1,) * points.shape[1]
        whole = all(isinstance(size, int) and size >= 1 for size in groups) and sum(groups) == points.shape[1]
        require(whole, "PointCodes", "groups", f"positive numbers that add up to {points.shape[1]} columns", groups)
        latents = _latent_names("PointCodes", latent_names, len(groups))
        fields = {"points": points, "factors": factors, "factor_sizes": sizes, "factor_names": names}
        _set(self, **fields, groups=groups, latent_names=latents)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def n_latents(self) -> int:
        """Number of latents; a categorical one counts once."""
        return len(self.groups)

    def __repr__(self) -> str:
        return f"PointCodes({len(self):,} points, {self.n_latents} latents, {len(self.factor_sizes)} factors)"


@dataclass(frozen=True, eq=False, init=False, repr=False)
class GaussianCodes:
    """q(z | x) for the images of a whole data set, with the factors of each image.

    The informations of a stochastic code are those under "x is drawn uniformly from these images, z from q(z | x)".
    They mean what they should only if the images are a complete grid: each combination of the factors, equally often.
    Made from tensors, arrays or nested sequences, which are checked once, here.

    Attributes:
        mean: (images, real latents).
        standard_deviation: (images, real latents), positive.
        factors: (images, factors) indices from 0.
        factor_sizes: number of values of each factor; default: the largest index + 1.
        categorical_log_prob: one (images, categories) tensor a categorical latent, normalised.
        factor_names: default "factor 1", …
        latent_names: of the real latents, then the categorical ones; default "z1", …

    Raises:
        ValueError: lengths that do not agree, NaN, a standard deviation that is not positive, log-probabilities that
            do not add up to 1, factors that are no indices.
        TypeError: factors of a floating type.
    """

    mean: Float[Tensor, "images real"]
    standard_deviation: Float[Tensor, "images real"]
    factors: Int64[Tensor, "images factors"]
    factor_sizes: tuple[int, ...] = ()
    categorical_log_prob: tuple[Float[Tensor, "images _"], ...] = ()
    factor_names: tuple[str, ...] = ()
    latent_names: tuple[str, ...] = ()

    def __init__(
        self,
        mean: Any,
        standard_deviation: Any,
        factors: Any,
        factor_sizes: Sequence[int] = (),
        categorical_log_prob: Sequence[Any] = (),
        factor_names: Sequence[str] = (),
        latent_names: Sequence[str] = (),
    ):
        operation = "GaussianCodes"
        mean = checked_matrix(operation, "mean", mean, may_be_empty=len(categorical_log_prob) > 0)
        deviation = checked_matrix(operation, "standard_deviation", standard_deviation, may_be_empty=True)
        deviation = deviation.to(mean)
        same = deviation.shape == mean.shape
        require(same, operation, "standard_deviation", f"shape {tuple(mean.shape)}", tuple(deviation.shape))
        if deviation.numel():
            least = float(deviation.min())
            expected = "> 0 everywhere: without noise each image has a code of its own (score such codes as points)"
            require(least > 0, operation, "standard_deviation", expected, f"a smallest one of {least}")
        categorical = tuple(_checked_categorical(given, mean) for given in categorical_log_prob)
        factors, sizes, names = checked_factors(operation, factors, len(mean), factor_sizes, factor_names, mean.device)
        latents = _latent_names(operation, latent_names, mean.shape[1] + len(categorical))
        fields = {"mean": mean, "standard_deviation": deviation, "factors": factors, "factor_sizes": sizes}
        _set(self, **fields, categorical_log_prob=categorical, factor_names=names, latent_names=latents)

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.mean)

    @property
    def n_real(self) -> int:
        """Number of real latents."""
        return self.mean.shape[1]

    @property
    def n_latents(self) -> int:
        """Number of latents; a categorical one counts once."""
        return self.n_real + len(self.categorical_log_prob)

    @cached_property
    def complete(self) -> bool:
        """Whether each combination of the factors' values occurs, and all equally often."""
        n_combinations = math.prod(self.factor_sizes)
        if self.n_images % n_combinations:
            return False
        flat = torch.zeros(self.n_images, dtype=torch.int64, device=self.factors.device)
        for column, size in enumerate(self.factor_sizes):
            flat = flat * size + self.factors[:, column]
        counts = torch.bincount(flat, minlength=n_combinations)
        return bool((counts == self.n_images // n_combinations).all())

    def draw_images(self, n: int, *, generator: torch.Generator) -> Int64[Tensor, " draws"]:
        """Draw ``n`` images: without replacement as long as there are any, then all over again."""
        require(n >= 1, "GaussianCodes.draw_images", "n", ">= 1", n)
        rounds = -(-n // self.n_images)
        orders = [draw_permutation(self.n_images, generator=generator) for _ in range(rounds)]
        return torch.cat(orders)[:n].to(self.mean.device)

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> PointCodes:
        """Draw z from q(z | x), each of another image as long as there are any.

        Args:
            n: number of points; default: one of each image, in the order of the images.
            generator: of the images and the noise.

        Returns:
            The points; categorical latents as one-hot columns.
        """
        generator = resolve_generator(generator)
        every = torch.arange(self.n_images, device=self.mean.device)
        images = every if n is None else self.draw_images(n, generator=generator)
        return self.points_of(images, *self.draw_latents(images, generator=generator))

    def draw_latents(
        self, images: Int64[Tensor, " draws"], *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "draws real"], Int64[Tensor, "draws categorical"]]:
        """Draw the latents of the given images: values of the real ones, categories of the others."""
        shape, device = (len(images), self.n_real), self.mean.device
        noise = draw_normal(shape, generator=generator, device=device, dtype=self.mean.dtype)
        real = self.mean[images] + self.standard_deviation[images] * noise
        categories = [torch.empty(len(images), 0, dtype=torch.int64, device=device)]
        for log_prob in self.categorical_log_prob:
            below = log_prob[images].double().exp().cumsum(1)
            uniform = draw_uniform((len(images), 1), generator=generator, device=device, dtype=torch.float64)
            drawn = (uniform * below[:, -1:] >= below).sum(1, keepdim=True)
            categories.append(drawn.clamp_max(log_prob.shape[1] - 1))
        return real, torch.cat(categories, dim=1)

    def points_of(
        self,
        images: Int64[Tensor, " draws"],
        real: Float[Tensor, "draws real"],
        categories: Int64[Tensor, "draws categorical"],
    ) -> PointCodes:
        """Return drawn latents as points with the factors of their images."""
        sizes = [log_prob.shape[1] for log_prob in self.categorical_log_prob]
        one_hot = [torch.nn.functional.one_hot(categories[:, k], size) for k, size in enumerate(sizes)]
        return PointCodes(
            torch.cat([real, *(columns.to(real) for columns in one_hot)], dim=1),
            self.factors[images],
            self.factor_sizes,
            self.factor_names,
            (1,) * self.n_real + tuple(sizes),
            self.latent_names,
        )

    def means(self) -> PointCodes:
        """Return the mean of each image as a point; of a categorical latent its most probable category."""
        images = torch.arange(self.n_images, device=self.mean.device)
        best = [log_prob.argmax(1, keepdim=True) for log_prob in self.categorical_log_prob]
        none = torch.empty(self.n_images, 0, dtype=torch.int64, device=self.mean.device)
        return self.points_of(images, self.mean, torch.cat([none, *best], dim=1))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "GaussianCodes":
        """Return these codes on another device or in another floating type."""
        return GaussianCodes(
            self.mean.to(device=device, dtype=dtype),
            self.standard_deviation.to(device=device, dtype=dtype),
            self.factors.to(device=device),
            categorical_log_prob=tuple(log.to(device=device, dtype=dtype) for log in self.categorical_log_prob),
            factor_sizes=self.factor_sizes,
            factor_names=self.factor_names,
            latent_names=self.latent_names,
        )

    def __repr__(self) -> str:
        grid = "×".join(map(str, self.factor_sizes))
        return f"GaussianCodes({self.n_images:,} images, {self.n_latents} latents, factors {grid})"


def encode(
    model: Callable[..., Any],
    grid: FactorGrid,
    render: Callable[..., Tensor],
    *,
    batch_size: int = 1024,
    device: torch.device | str | None = None,
    **options: Any,
) -> GaussianCodes:
    """Show every image of a grid to an encoder and keep what it says.

    Args:
        model: has ``posterior(images) -> Posterior``, or is a function from images to a :class:`Posterior` or to the
            pair (mean, standard deviation). A ``torch.nn.Module`` is put into evaluation mode meanwhile.
        grid: the factors and their values.
        render: from factor indices to images: ``sprites.render``, ``shapes3d.render``, that of a file of real images.
            The model gets the images as ``render`` gives them.
        batch_size: images at once.
        device: default: where the model's parameters are, or the best there is.
        options: handed to ``render``, for example ``image_size=32``.

    Returns:
        The codes of all images, in the order of the grid.
    """
    module = model if isinstance(model, torch.nn.Module) else None
    where = resolve_device(device, like=module)
    ask = getattr(model, "posterior", model)
    was_training = module is not None and module.training
    if module is not None:
        module.eval()
    try:
        with torch.no_grad():
            found = [
                (factors, _as_posterior(ask(images)))
                for factors, images in batches(render, grid, batch_size=batch_size, device=where, **options)
            ]
    finally:
        if module is not None:
            module.train(was_training)
    n_categorical = len(found[0][1].categorical_log_prob)
    return GaussianCodes(
        torch.cat([posterior.mean for _, posterior in found]),
        torch.cat([posterior.standard_deviation for _, posterior in found]),
        torch.cat([factors for factors, _ in found]),
        grid.sizes,
        tuple(torch.cat([each.categorical_log_prob[k] for _, each in found]) for k in range(n_categorical)),
        grid.names,
    )


def synthetic_codes(
    factor_sizes: tuple[int, ...] = (3, 6, 10, 8, 8),
    *,
    standard_deviation: float = 0.3,
    n_noise: int = 1,
    rotation: Float[Tensor, "factors factors"] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> GaussianCodes:
    """Return codes of a perfect encoder: one latent a factor, and latents of pure noise.

    Args:
        factor_sizes: number of values of each factor; all combinations occur once, the last factor fastest.
        standard_deviation: of each latent. Its mean is the factor's index, standardised over the values
            (mean 0, variance 1; a factor of one value has mean 0).
        n_noise: latents that know nothing: mean 0, standard deviation 1.
        rotation: an orthogonal matrix that turns the means; the noise stays as it is.
        dtype: of mean and standard deviation.
        device: default: the best there is.
    """
    sizes = tuple(factor_sizes)
    whole = len(sizes) > 0 and all(isinstance(size, int) and size >= 1 for size in sizes)
    require(whole, "synthetic_codes", "factor_sizes", "positive integers", sizes)
    require(n_noise >= 0, "synthetic_codes", "n_noise", ">= 0", n_noise)
    where = resolve_device(device)
    factors = torch.cartesian_prod(*(torch.arange(size, device=where) for size in sizes)).reshape(-1, len(sizes))
    index = factors.double()
    mean = (index - index.mean(0)) / index.std(0, correction=0).clamp_min(1e-300)
    if rotation is not None:
        expected = f"an orthogonal matrix of shape {(len(sizes), len(sizes))}"
        turn = torch.as_tensor(rotation, dtype=torch.float64, device=where)
        fits = turn.shape == (len(sizes), len(sizes))
        require(fits, "synthetic_codes", "rotation", expected, tuple(turn.shape))
        error = float((turn @ turn.T - torch.eye(len(sizes), device=where, dtype=torch.float64)).abs().max())
        require(error < 1e-6, "synthetic_codes", "rotation", expected, f"R Rᵀ off the identity by {error:.2g}")
        mean = mean @ turn.T
    noise = mean.new_zeros(len(mean), n_noise)
    deviation = torch.cat([torch.full_like(mean, standard_deviation), torch.ones_like(noise)], dim=1)
    return GaussianCodes(torch.cat([mean, noise], dim=1).to(dtype), deviation.to(dtype), factors, sizes)


def _as_posterior(given: object) -> Posterior:
    if isinstance(given, Posterior):
        return given
    if isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, Tensor) for part in given):
        return Posterior(*given)
    expected = "a Posterior or the pair (mean, standard deviation) of tensors"
    reject("encode", "model", expected, type(given).__name__, kind=TypeError)


def _checked_categorical(given: object, mean: Tensor) -> Tensor:
    operation, argument = "GaussianCodes", "categorical_log_prob"
    log_prob = torch.as_tensor(np.asarray(given) if not isinstance(given, Tensor) else given).to(mean)
    shaped = log_prob.ndim == 2 and len(log_prob) == len(mean) and log_prob.shape[1] >= 1
    require(shaped, operation, argument, f"({len(mean)}, categories) each", tuple(log_prob.shape))
    error = float((log_prob.double().exp().sum(1) - 1).abs().max())
    require(error < 1e-3, operation, argument, "probabilities that add up to 1", f"sums off by {error:.3g}")
    return log_prob


def _latent_names(operation: str, given: Sequence[str], n_latents: int) -> tuple[str, ...]:
    names = tuple(given) or tuple(f"z{index + 1}" for index in range(n_latents))
    require(len(names) == n_latents, operation, "latent_names", f"{n_latents} names", len(names))
    return names


def _set(target: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)
