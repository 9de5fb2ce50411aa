"""A code after an attack: a linear map of its real latents with Gaussian noise, and exact sources of information."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from toolkit.core.devices import draw_normal, resolve_generator
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.sources import Draws, SourceTable


@dataclass(frozen=True, eq=False, repr=False)
class EntangledCodes:
    """A code after an attack: real latents ``matrix @ z + noise_matrix @ e``, e standard normal, then the categorical.

    Attributes:
        codes: the clean code.
        matrix: from the real latents to the new ones.
        noise_matrix: from the attack's own noise to the new ones.
        latent_names: of the new real latents, then of the categorical ones.
        table: from draws of the clean code and the attack's noise in them to the sources of all latents.
    """

    codes: GaussianCodes
    matrix: Float64[Tensor, "new real"]
    noise_matrix: Float64[Tensor, "new noise"]
    latent_names: tuple[str, ...]
    table: Callable[[Draws, Tensor], SourceTable]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.codes.n_images

    @property
    def n_real(self) -> int:
        """Number of real latents."""
        return len(self.matrix)

    @property
    def n_latents(self) -> int:
        """Number of latents; a categorical one counts once."""
        return len(self.latent_names)

    @property
    def factors(self) -> Int64[Tensor, "images factors"]:
        """Factors of each image."""
        return self.codes.factors

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of values of each factor."""
        return self.codes.factor_sizes

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors."""
        return self.codes.factor_names

    @property
    def categorical_log_prob(self) -> tuple[Float[Tensor, "images _"], ...]:
        """Log-probabilities of the categorical latents, which the attack leaves alone."""
        return self.codes.categorical_log_prob

    @property
    def complete(self) -> bool:
        """Whether the images are a complete grid of factors."""
        return self.codes.complete

    def sources(self, draws: Draws, *, generator: torch.Generator) -> SourceTable:
        """Return the sources of all latents; the generator draws the attack's noise, (draws, columns of its matrix)."""
        return self.table(draws, self._noise(len(draws), generator))

    def draw_latents(
        self, images: Int64[Tensor, " draws"], *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "draws new"], Int64[Tensor, "draws categorical"]]:
        """Draw the attacked latents of the given images: values of the real ones, categories of the others."""
        real, categories = self.codes.draw_latents(images, generator=generator)
        noise = self._noise(len(images), generator)
        moved = real.double() @ self.matrix.T + noise.double() @ self.noise_matrix.T
        return moved.to(real), categories

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> PointCodes:
        """Draw points with all latents of the attacked code, each of another image as long as there are any.

        Args:
            n: number of points; default: one of each image, in the order of the images.
            generator: of the images, the code's noise and the attack's noise, in this order.

        Returns:
            The points; categorical latents as one-hot columns.
        """
        generator = resolve_generator(generator)
        every = torch.arange(self.n_images, device=self.factors.device)
        images = every if n is None else self.codes.draw_images(n, generator=generator)
        real, categories = self.draw_latents(images, generator=generator)
        sizes = [log_prob.shape[1] for log_prob in self.categorical_log_prob]
        one_hot = [torch.nn.functional.one_hot(categories[:, k], size).to(real) for k, size in enumerate(sizes)]
        return PointCodes(
            torch.cat([real, *one_hot], dim=1),
            self.factors[images],
            self.factor_sizes,
            self.factor_names,
            (1,) * self.n_real + tuple(sizes),
            self.latent_names,
        )

    def mean(self, images: Int64[Tensor, " images"]) -> Float[Tensor, "images new"]:
        """Return the mean of the new real latents given each image."""
        return (self.codes.mean[images].double() @ self.matrix.T).to(self.codes.mean)

    def covariance(self, images: Int64[Tensor, " images"]) -> Float[Tensor, "images new new"]:
        """Return the covariance matrix of the new real latents given each image; singular if noise is lacking."""
        scaled = self.matrix * self.codes.standard_deviation[images].double()[:, None, :]
        return (scaled @ scaled.mT + self.noise_matrix @ self.noise_matrix.T).to(self.codes.mean)

    def _noise(self, n: int, generator: torch.Generator) -> Tensor:
        shape = (n, self.noise_matrix.shape[1])
        return draw_normal(shape, generator=generator, device=self.codes.mean.device, dtype=self.codes.mean.dtype)

    def __repr__(self) -> str:
        grid = "×".join(map(str, self.factor_sizes))
        latents = f"{self.n_latents} latents for {self.codes.n_latents}"
        return f"EntangledCodes({self.n_images:,} images, {latents}, factors {grid})"
