"""Variational autoencoders with Gaussian and categorical latents and Bernoulli pixels; FactorVAE's discriminator."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.devices import draw_normal, draw_uniform, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import Posterior

# Below this a standard deviation gives densities whose gradients overflow in single precision.
SMALLEST_STANDARD_DEVIATION = 1e-8
Inference = Literal["encoder", "decoder"]


class VAE(nn.Module):
    """An encoder q(z | x), a decoder p(x | z) of Bernoulli pixels and the prior N(0, 1) and uniform categories.

    The rule for images, wherever a method takes them: booleans are black and white; of unsigned bytes ``white`` is
    white, and masks of 0 and 1 are refused where that is 255; floats lie in [0, 1]. A channel axis of one may be left
    out, or be there where ``image_shape`` has none.

    The standard deviation is softplus of a linear head, as in the authors' code (github.com/beam2d/disen).

    Args:
        encoder: images ``[images, *image_shape]`` to features ``[images, n_features]``.
        decoder: codes ``[images, n_columns]`` to logits ``[images, *image_shape]``.
        image_shape: of one image.
        n_features: what the encoder gives.
        n_latents: number of latents, categorical ones included.
        categories: how many categories each categorical latent has; the other latents are real.
        white: the value of a white pixel in images of unsigned bytes: 255, or 1 for masks of 0 and 1 such as
            ``sprites.render`` draws.
        inference: what says which category an image has: the "encoder", with a probability for each; or the "decoder",
            by the category that explains the image best where the real latents are at their means, with certainty
            (CascadeVAE; one categorical latent).
        generator: draws the weights of the head.

    Attributes:
        n_real: number of real latents.
        n_columns: of a code: a column for each real latent, then one for each category.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        image_shape: Sequence[int],
        n_features: int,
        n_latents: int = 6,
        categories: int | Sequence[int] | None = None,
        white: int = 255,
        inference: Inference = "encoder",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = _checked_shape("VAE", image_shape)
        self.n_real, self.categories = _split_latents("VAE", n_latents, categories)
        require(white in (1, 255), "VAE", "white", "1 or 255", white)
        decided = inference == "decoder" and len(self.categories) == 1
        expected = "'encoder', or 'decoder' with one categorical latent"
        require(decided or inference == "encoder", "VAE", "inference", expected, repr(inference))
        self.n_latents, self.white, self.inference = n_latents, white, inference
        self.encoder, self.decoder = encoder, decoder
        self.head = _linear(n_features, 2 * self.n_real + (0 if decided else sum(self.categories)))
        draw_weights(self.head, resolve_generator(generator))

    @property
    def n_columns(self) -> int:
        """Number of columns of a code."""
        return self.n_real + sum(self.categories)

    def extra_repr(self) -> str:
        """Return what the layers do not say."""
        return f"image_shape={self.image_shape}, n_real={self.n_real}, categories={self.categories}, white={self.white}"

    def forward(self, images: Shaped[Tensor, "images *pixels"]) -> Posterior:
        """Return q(z | x); the same as :meth:`posterior`."""
        return self.posterior(images)

    def posterior(self, images: Shaped[Tensor, "images *pixels"]) -> Posterior:
        """Return q(z | x) of a batch of images.

        Args:
            images: see the rule above; they are brought to the model's device.

        Raises:
            ValueError: another shape, or pixels out of range.
            TypeError: another type.
        """
        return self.posterior_of_pixels(self.pixels(images))

    def posterior_of_pixels(self, pixels: Float[Tensor, "images *pixels"]) -> Posterior:
        """Return q(z | x) of what :meth:`pixels` gave; nothing is checked."""
        if self.inference == "decoder":
            real = self.real_posterior(self.head(self.encoder(pixels)))
            best = self.category_costs(pixels, real.mean).argmin(1)
            certain = functional.one_hot(best, self.categories[0]).to(pixels)
            return Posterior(real.mean, real.standard_deviation, (certain.log(),))
        outputs, *logits = self.head(self.encoder(pixels)).split([2 * self.n_real, *self.categories], 1)
        real = self.real_posterior(outputs)
        log_prob = tuple(functional.log_softmax(each, 1) for each in logits)
        return Posterior(real.mean, real.standard_deviation, log_prob)

    def real_posterior(self, outputs: Float[Tensor, "images outputs"]) -> Posterior:
        """Return the posterior of the real latents from what the head gave for them."""
        mean, scale = outputs.split(self.n_real, 1)
        return Posterior(mean, functional.softplus(scale).clamp_min(SMALLEST_STANDARD_DEVIATION))

    @torch.no_grad()
    def category_costs(
        self, pixels: Float[Tensor, "images *pixels"], real: Float[Tensor, "images real"]
    ) -> Float[Tensor, "images categories"]:
        """Return −log p(x | z, c) of each image for each category c of the only categorical latent."""
        columns = []
        for one_hot in torch.eye(self.categories[0], dtype=real.dtype, device=real.device):
            logits = self.decode(torch.cat([real, one_hot.expand(len(real), -1)], 1))
            cost = functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none")
            columns.append(cost.flatten(1).sum(1))
        return torch.stack(columns, 1)

    def decode(self, codes: Float[Tensor, "images columns"]) -> Float[Tensor, "images *pixels"]:
        """Return the logits of the pixels.

        Args:
            codes: the real latents, then for each categorical latent the weights of its categories (one-hot, or
                relaxed while training).

        Raises:
            ValueError: another number of columns.
        """
        require(codes.shape[1] == self.n_columns, "VAE.decode", "codes", f"{self.n_columns} columns", codes.shape[1])
        return self.decoder(codes)

    def reparameterize(
        self, posterior: Posterior, *, generator: torch.Generator | None = None, temperature: float = 0.67
    ) -> Float[Tensor, "images columns"]:
        """Draw codes that can be differentiated with respect to the posterior: one for each image.

        Args:
            posterior: of this model.
            generator: draws the noise, on its own device.
            temperature: of the relaxed categories (Gumbel-softmax); 0 gives one-hot draws without a gradient.

        Returns:
            The codes, as :meth:`decode` takes them.

        Raises:
            ValueError: a negative temperature.
        """
        require(0 <= temperature < math.inf, "VAE.reparameterize", "temperature", "a number >= 0", temperature)
        generator = resolve_generator(generator)
        mean, deviation = posterior.mean, posterior.standard_deviation
        noise = queued_to(draw_normal(mean.shape, generator=generator, dtype=mean.dtype), mean.device)
        real = torch.addcmul(mean, deviation, noise)
        if not posterior.categorical_log_prob:
            return real
        drawn = [_draw_category(log_prob, generator, temperature) for log_prob in posterior.categorical_log_prob]
        return torch.cat([real, *drawn], 1)

    def pixels(self, images: Shaped[Tensor, "images *given"]) -> Float[Tensor, "images *pixels"]:
        """Return images as floats in [0, 1] of the model's type, on its device, in the shape that the encoder takes.

        Raises:
            ValueError: another shape, or pixels out of range.
            TypeError: another type.
        """
        return self.unchecked_pixels(self.checked_images("VAE.pixels", images))

    def checked_images(
        self, operation: str, images: Shaped[Tensor, "images *given"]
    ) -> Shaped[Tensor, "images *pixels"]:
        """Return the images in the shape that the encoder takes, otherwise as they are, or complain.

        Args:
            operation: in whose name.
            images: see the rule above.
        """
        if not isinstance(images, Tensor):
            reject(operation, "images", "a tensor", type(images).__name__, kind=TypeError)
        if not (images.is_floating_point() or images.dtype in (torch.uint8, torch.bool)):
            reject(operation, "images", "booleans, uint8 or floats", images.dtype, kind=TypeError)
        shape = tuple(images.shape[1:])
        fits = images.ndim >= 1 and _without_ones(shape) == _without_ones(self.image_shape)
        expected = f"[images, {', '.join(map(str, self.image_shape))}]"
        require(fits, operation, "images", expected, list(images.shape))
        if images.numel() and images.dtype != torch.bool:
            low, high = (float(value) for value in images.detach().aminmax())
            most = 1 if images.is_floating_point() else self.white
            expected = f"pixels from 0 to {most}" + ("" if images.is_floating_point() else ", the model's white")
            require(low >= 0 and high <= most, operation, "images", expected, f"{low:g} to {high:g}")
            # Somebody's masks of 0 and 1 would be 255 times too dark, and nothing else would tell.
            masks = high == 1 and most == 255
            require(not masks, operation, "images", "pixels up to 255, or a model with white=1", "bytes of 0 and 1")
        return images.reshape(-1 if len(images) else 0, *self.image_shape)

    def unchecked_pixels(self, images: Shaped[Tensor, "images *pixels"]) -> Float[Tensor, "images *pixels"]:
        """Return what :meth:`checked_images` gave as floats in [0, 1], on the model's device."""
        weight = self.head.weight
        pixels = images.to(weight.device).to(weight.dtype)
        return pixels / 255 if images.dtype == torch.uint8 and self.white == 255 else pixels


class Discriminator(nn.Module):
    """Tells codes of the aggregate posterior (positive) from codes whose columns were shuffled (negative).

    Source: the authors' code (github.com/beam2d/disen): linear layers with LeakyReLU of slope 0.2 between them, and
    none before the last one.

    Args:
        n_latents: columns of a code.
        width: units of the hidden layers.
        depth: number of linear layers, at least 2.
        generator: draws the weights.
        dtype: of the weights; default: torch's.
        device: default: the best there is.
    """

    def __init__(
        self,
        n_latents: int,
        *,
        width: int = 1000,
        depth: int = 6,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("n_latents", n_latents, 1), ("width", width, 1), ("depth", depth, 2)):
            require(value >= least, "Discriminator", name, f">= {least}", value)
        layers: list[nn.Module] = [_linear(n_latents, width)]
        for _ in range(depth - 2):
            layers += [nn.LeakyReLU(0.2), _linear(width, width)]
        self.layers = nn.Sequential(*layers, _linear(width, 1))
        draw_weights(self, resolve_generator(generator))
        self.to(resolve_device(device), dtype)

    def forward(self, codes: Float[Tensor, "images latents"]) -> Float[Tensor, " images"]:
        """Return the logit of "this is a code of the aggregate posterior"."""
        return self.layers(codes).squeeze(1)


def convolutional_vae(
    image_shape: Sequence[int] = (1, 64, 64),
    n_latents: int = 6,
    categories: int | Sequence[int] | None = None,
    *,
    white: int = 255,
    inference: Inference = "encoder",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> VAE:
    """Build the convolutional model of the paper.

    Encoder: 4×4 convolutions of stride 2 with 32, 32, 64 and 64 maps, a layer of 256; ReLU after each. Decoder: layers
    of 256 and 1024, transposed convolutions with 64, 32, 32 maps and the channels. Images of 32×32 do without the last
    convolution of the encoder and the first of the decoder.

    Source: the authors' code (github.com/beam2d/disen), ``nn/conv_net.py``.

    Args:
        image_shape: channels, height and width; a pair means one channel. 64×64 or 32×32 pixels.
        n_latents: number of latents, categorical ones included: 6 in the paper.
        categories: of the categorical latent, or of several; JointVAE has one of 3 (dSprites) or 4 (3dshapes).
        white: see :class:`VAE`.
        inference: see :class:`VAE`.
        generator: draws the weights as torch's layers do, on the CPU, so that they are the same for every device.
        dtype: of the weights; default: torch's.
        device: default: the best there is.

    Returns:
        The model.

    Raises:
        ValueError: another size, or numbers of latents and categories that do not fit.
    """
    operation = "convolutional_vae"
    shape = _checked_shape(operation, image_shape)
    shape = (1, *shape) if len(shape) == 2 else shape
    fits = len(shape) == 3 and shape[1] == shape[2] and shape[1] in (32, 64)
    require(fits, operation, "image_shape", "(channels, 64, 64) or (channels, 32, 32)", tuple(image_shape))
    n_real, sizes = _split_latents(operation, n_latents, categories)
    generator = resolve_generator(generator)
    maps = [shape[0], 32, 32, 64, 64][: 5 if shape[1] == 64 else 4]
    encoder: list[nn.Module] = []
    for before, after in itertools.pairwise(maps):
        encoder += [nn.utils.skip_init(nn.Conv2d, before, after, 4, 2, 1), nn.ReLU()]
    decoder: list[nn.Module] = []
    for before, after in itertools.pairwise(reversed(maps)):
        decoder += [nn.ReLU(), nn.utils.skip_init(nn.ConvTranspose2d, before, after, 4, 2, 1)]
    network = VAE(
        nn.Sequential(*encoder, nn.Flatten(), _linear(1024, 256), nn.ReLU()),
        nn.Sequential(
            _linear(n_real + sum(sizes), 256), nn.ReLU(), _linear(256, 1024), nn.Unflatten(1, (64, 4, 4)), *decoder
        ),
        image_shape=shape,
        n_features=256,
        n_latents=n_latents,
        categories=sizes,
        white=white,
        inference=inference,
        generator=generator,
    )
    draw_weights(network, generator)
    return network.to(resolve_device(device), dtype)


def multilayer_vae(
    image_shape: Sequence[int] = (32, 32),
    n_latents: int = 6,
    categories: int | Sequence[int] | None = None,
    *,
    hidden: Sequence[int] = (256, 256),
    white: int = 255,
    inference: Inference = "encoder",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> VAE:
    """Build a small fully connected model, which a core trains on small sprites in under a minute.

    The encoder's hidden layers have ReLU, the decoder's, in reverse order, tanh.

    Args:
        image_shape: of one image, of any number of axes.
        n_latents: number of latents, categorical ones included.
        categories: of the categorical latent, or of several.
        hidden: units of the encoder's hidden layers, at least one.
        white: see :class:`VAE`.
        inference: see :class:`VAE`.
        generator: draws the weights as torch's layers do, on the CPU, so that they are the same for every device.
        dtype: of the weights; default: torch's.
        device: default: the best there is.

    Returns:
        The model.

    Raises:
        ValueError: sizes below 1, or numbers of latents and categories that do not fit.
    """
    operation = "multilayer_vae"
    shape = _checked_shape(operation, image_shape)
    require(len(hidden) >= 1 and min(hidden) >= 1, operation, "hidden", "at least one positive size", tuple(hidden))
    n_real, sizes = _split_latents(operation, n_latents, categories)
    generator = resolve_generator(generator)
    encoder: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise((math.prod(shape), *hidden)):
        encoder += [_linear(before, after), nn.ReLU()]
    decoder: list[nn.Module] = []
    for before, after in itertools.pairwise((n_real + sum(sizes), *reversed(hidden))):
        decoder += [_linear(before, after), nn.Tanh()]
    network = VAE(
        nn.Sequential(*encoder),
        nn.Sequential(*decoder, _linear(hidden[0], math.prod(shape)), nn.Unflatten(1, shape)),
        image_shape=shape,
        n_features=hidden[-1],
        n_latents=n_latents,
        categories=sizes,
        white=white,
        inference=inference,
        generator=generator,
    )
    draw_weights(network, generator)
    return network.to(resolve_device(device), dtype)


@torch.no_grad()
def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases of linear and convolutional layers as torch does: evenly within ±1/√inputs.

    Args:
        module: its linear and convolutional layers are drawn in order, the others stay.
        generator: draws on its own device.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            # torch counts the second axis of a transposed convolution as its inputs, too.
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters():
                drawn = draw_uniform(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(bound * (2 * drawn - 1))


def queued_to(drawn: Shaped[Tensor, "..."], device: torch.device) -> Shaped[Tensor, "..."]:
    """Move fresh draws to a device without waiting for what is queued there.

    CUDA copies ordinary memory aside before it returns, so the draws may go away at once. Other devices wait.
    """
    return drawn.to(device, non_blocking=device.type == "cuda")


def _linear(n_in: int, n_out: int) -> nn.Linear:
    return nn.utils.skip_init(nn.Linear, n_in, n_out)


def _draw_category(log_prob: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    """Draw from the relaxed categorical distribution of Maddison et al. and Jang et al. (2017)."""
    uniform = queued_to(draw_uniform(log_prob.shape, generator=generator, dtype=log_prob.dtype), log_prob.device)
    gumbel = -(-uniform.clamp_min(torch.finfo(log_prob.dtype).tiny).log()).log()
    noisy = log_prob + gumbel
    if temperature == 0:
        return functional.one_hot(noisy.argmax(1), log_prob.shape[1]).to(log_prob)
    return functional.softmax(noisy / temperature, 1)


def _checked_shape(operation: str, image_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(image_shape)
    require(len(shape) >= 1 and min(shape) >= 1, operation, "image_shape", "positive sizes", shape)
    return shape


def _split_latents(
    operation: str, n_latents: int, categories: int | Sequence[int] | None
) -> tuple[int, tuple[int, ...]]:
    """Return the number of real latents and the sizes of the categorical ones."""
    sizes = (categories,) if isinstance(categories, int) else tuple(categories or ())
    require(all(size >= 2 for size in sizes), operation, "categories", "2 or more in each latent", sizes)
    expected = f"more than the {len(sizes)} categorical latents" if sizes else ">= 1"
    require(n_latents > len(sizes), operation, "n_latents", expected, n_latents)
    return n_latents - len(sizes), sizes


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
