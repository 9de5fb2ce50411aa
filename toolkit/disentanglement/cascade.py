"""CascadeVAE: categories are assigned to the images of a batch jointly, and real latents are released one by one."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import require
from toolkit.disentanglement import losses
from toolkit.disentanglement.codes import Posterior
from toolkit.disentanglement.losses import Breakdown
from toolkit.disentanglement.models import VAE
from toolkit.disentanglement.objectives import Discriminate, Reconstruction
from toolkit.disentanglement.training_settings import TrainingSettings, find_settings


def assign_categories(
    costs: Float[Tensor, "images categories"], duplicate_penalty: float = 0.001
) -> Int64[Tensor, " images"]:
    """Choose a category for each image so that Σ cost + penalty · (pairs of images that share a category) is least.

    The s-th image of a category pays s − 1 penalties, so the least-cost flow is an assignment of images to places; it
    is solved exactly, in a time that grows with the cube of the batch.

    Args:
        costs: −log p(x | z, c) of each image for each category.
        duplicate_penalty: of each pair, at least 0.

    Returns:
        The categories, on the device of the costs.

    Raises:
        ValueError: a negative penalty, or costs that are not finite.
    """
    operation = "assign_categories"
    require(0 <= duplicate_penalty < math.inf, operation, "duplicate_penalty", "a number >= 0", duplicate_penalty)
    table = costs.detach().double().cpu().numpy()
    require(bool(np.isfinite(table).all()), operation, "costs", "finite numbers", "NaN or infinity")
    n_images, n_categories = table.shape
    places = table[:, :, None] + duplicate_penalty * np.arange(n_images)
    _, chosen = linear_sum_assignment(places.reshape(n_images, n_categories * n_images))
    return torch.from_numpy(chosen // max(n_images, 1)).to(costs.device, torch.int64)


@dataclass(frozen=True)
class CascadeVAE:
    """reconstruction + Σ β_l(t) · KL_l + log K for real latents and one of K categories (Jeong & Song 2019).

    Every β_l is high at first; the l-th latent is released after l · ``release_every`` updates. For ``warm_up`` updates
    the decoder sees no category; then the batch's categories are those that :func:`assign_categories` finds. The
    model needs ``inference="decoder"``. Source: the authors' code (github.com/beam2d/disen), ``models/cascade_vae.py``,
    which leaves this model out of the comparison.

    Attributes:
        beta_high: β of a latent that is held back.
        beta_low: β of a released one.
        release_every: updates from one release to the next.
        warm_up: updates without categories.
        duplicate_penalty: of each pair of images in a batch that share a category.
    """

    beta_high: float = 10.0
    beta_low: float = 2.0
    release_every: int = 20_000
    warm_up: int = 100_000
    duplicate_penalty: float = 0.001

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(0 <= value < math.inf, "CascadeVAE", name, "a finite number >= 0", value)

    def reconstruct(
        self,
        model: VAE,
        pixels: Float[Tensor, "images *pixels"],
        *,
        generator: torch.Generator | None = None,
        step: int = 0,
    ) -> Reconstruction:
        """Encode a batch, draw the real latents, choose the categories and decode.

        Args:
            model: with ``inference="decoder"``.
            pixels: what ``model.pixels(images)`` gave.
            generator: draws the noise.
            step: number of updates so far.

        Returns:
            The reconstruction; its posterior has the real latents only.

        Raises:
            ValueError: another model.
        """
        require(model.inference == "decoder", "CascadeVAE", "model", "inference='decoder'", repr(model.inference))
        posterior = model.real_posterior(model.head(model.encoder(pixels)))
        real = model.reparameterize(posterior, generator=generator)
        if step < self.warm_up:
            weights = real.new_zeros(len(real), model.categories[0])
        else:
            chosen = assign_categories(model.category_costs(pixels, real.detach()), self.duplicate_penalty)
            weights = functional.one_hot(chosen, model.categories[0]).to(real)
        codes = torch.cat([real, weights], 1)
        return Reconstruction(pixels, posterior, codes, model.decode(codes))

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`toolkit.disentanglement.objectives.Objective`; the batch is of :meth:`reconstruct`."""
        posterior: Posterior = batch.posterior
        n_real = posterior.mean.shape[1]
        n_categories = batch.codes.shape[1] - n_real
        require(n_categories >= 2, "CascadeVAE", "batch", "codes with two categories or more", n_categories)
        reconstruction = losses.bernoulli_reconstruction(batch.logits, batch.pixels)
        each = losses.gaussian_kl(posterior.mean, posterior.standard_deviation)
        released = [step + 1 >= (latent + 1) * self.release_every for latent in range(n_real)]
        beta = each.new_tensor([self.beta_low if free else self.beta_high for free in released])
        categorical = torch.full_like(reconstruction, math.log(n_categories))
        return Breakdown(
            reconstruction + each @ beta + categorical, reconstruction, each.sum(1) + categorical, categorical
        )

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the authors' settings for "dsprites"; there are none for "3dshapes"."""
        return find_settings("CascadeVAE", data_set)
