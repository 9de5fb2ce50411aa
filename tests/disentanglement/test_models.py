"""The models have the published shape, take images by one rule, and draw only from the generator they are given."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from toolkit.datasets import sprites
from toolkit.disentanglement.codes import Posterior, encode
from toolkit.disentanglement.models import VAE, Discriminator, convolutional_vae, multilayer_vae


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(**options) -> VAE:
    return multilayer_vae((4, 5), 3, hidden=(7,), device="cpu", generator=generator(), **options)


# Sizes


@pytest.mark.parametrize(("shape", "count"), [((64, 64), 761_165), ((1, 64, 64), 761_165), ((3, 64, 64), 763_215)])
def test_the_convolutional_model_has_the_published_number_of_parameters(shape, count):
    assert n_parameters(convolutional_vae(shape, device="cpu")) == count


def test_the_small_convolutional_model_lacks_one_convolution_on_each_side():
    large, small = convolutional_vae((64, 64), device="cpu"), convolutional_vae((32, 32), device="cpu")
    assert n_parameters(large) - n_parameters(small) == 2 * (64 * 64 * 16 + 64)


@pytest.mark.parametrize("size", [32, 64])
def test_the_convolutional_model_is_the_one_of_the_authors_written_down_again(size):
    """The reference is built anew with torch's own layers, and takes over the weights in order."""
    model = convolutional_vae((3, size, size), 6, generator=generator(1), device="cpu", dtype=torch.float64)
    fourth = [nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU()] if size == 64 else []
    encoder = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1),
        nn.ReLU(), *fourth, nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(),
    )  # fmt: skip
    first = [nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU()] if size == 64 else []
    decoder = nn.Sequential(
        nn.Linear(6, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)), *first,
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, 2, 1),
    )  # fmt: skip
    for ours, theirs in ((model.encoder, encoder.double()), (model.decoder, decoder.double())):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.data.copy_(mine.data)
    images = torch.rand(2, 3, size, size, generator=generator(2), dtype=torch.float64)
    head = model.head(encoder(images))
    posterior = model.posterior(images)
    assert torch.equal(posterior.mean, head[:, :6])
    assert torch.allclose(posterior.standard_deviation, torch.log1p(head[:, 6:].exp()), rtol=1e-12)
    assert torch.equal(model.decode(head[:, :6]), decoder(head[:, :6]))


def test_the_multilayer_model_has_relu_before_and_tanh_after_the_codes():
    model = multilayer_vae((32, 32), device="cpu")
    sizes = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sorted(sizes) == sorted([(1024, 256), (256, 256), (256, 12), (6, 256), (256, 256), (256, 1024)])
    assert sum(isinstance(layer, nn.ReLU) for layer in model.encoder) == 2
    assert sum(isinstance(layer, nn.Tanh) for layer in model.decoder) == 2


@pytest.mark.parametrize("shape", [(9,), (4, 5), (1, 4, 5), (3, 2, 2), (2, 2, 2, 2)])
def test_shapes_of_any_number_of_axes_come_back_from_the_decoder(shape):
    model = multilayer_vae(shape, 4, hidden=(5, 3), device="cpu")
    posterior = model(torch.rand(3, *shape))
    codes = model.reparameterize(posterior)
    assert posterior.mean.shape == posterior.standard_deviation.shape == codes.shape == (3, 4)
    assert model.decode(codes).shape == (3, *shape)


def test_a_categorical_latent_takes_the_place_of_a_real_one():
    model = convolutional_vae((64, 64), 6, 3, device="cpu")
    posterior = model(torch.rand(2, 64, 64))
    assert (model.n_latents, model.n_real, model.n_columns) == (6, 5, 8)
    assert posterior.mean.shape == (2, 5)
    (log_prob,) = posterior.categorical_log_prob
    assert torch.allclose(log_prob.exp().sum(1), torch.ones(2))
    assert model.decode(model.reparameterize(posterior)).shape == (2, 1, 64, 64)


def test_the_discriminator_is_six_linear_layers_with_nothing_before_the_last():
    discriminator = Discriminator(6, device="cpu")
    kinds = [type(layer).__name__ for layer in discriminator.layers]
    assert kinds == ["Linear", *["LeakyReLU", "Linear"] * 4, "Linear"]
    assert n_parameters(discriminator) == 6 * 1000 + 1000 + 4 * (1000 * 1000 + 1000) + 1000 + 1
    assert {layer.negative_slope for layer in discriminator.layers if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert discriminator(torch.zeros(5, 6)).shape == (5,)


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: convolutional_vae((28, 28)), "image_shape"),
        (lambda: convolutional_vae((64, 32)), "image_shape"),
        (lambda: convolutional_vae((64, 64, 1)), "image_shape"),
        (lambda: multilayer_vae(()), "image_shape"),
        (lambda: multilayer_vae((0, 3)), "image_shape"),
        (lambda: multilayer_vae((3, 3), 0), "n_latents"),
        (lambda: multilayer_vae((3, 3), 1, 3), "n_latents"),
        (lambda: multilayer_vae((3, 3), 3, 1), "categories"),
        (lambda: multilayer_vae((3, 3), hidden=()), "hidden"),
        (lambda: multilayer_vae((3, 3), white=2), "white"),
        (lambda: Discriminator(0), "n_latents"),
        (lambda: Discriminator(2, depth=1), "depth"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build, argument):
    with pytest.raises(ValueError, match=argument):
        build()


# Weights


def test_weights_are_drawn_as_torch_draws_them():
    model = convolutional_vae((64, 64), generator=generator(3), device="cpu")
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)
            bound = 1 / math.sqrt(inputs)
            weight = layer.weight.detach()
            assert 0.97 * bound < float(weight.abs().max()) <= bound
            assert float(layer.bias.detach().abs().max()) <= bound
            assert abs(float(weight.mean())) < 5 * bound / math.sqrt(3 * weight.numel())


@pytest.mark.parametrize("build", [convolutional_vae, multilayer_vae])
def test_weights_come_from_the_generator_alone(build):
    before = torch.random.get_rng_state()
    first, again, other = (build((32, 32), generator=generator(seed), device="cpu") for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(one, two) for one, two, _ in pairs)
    assert not any(torch.equal(one, three) for one, _, three in pairs)


def test_dtype_is_that_of_the_weights_and_of_what_comes_out():
    model = small(dtype=torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    posterior = model(torch.rand(2, 4, 5))
    assert posterior.mean.dtype == model.decode(model.reparameterize(posterior)).dtype == torch.float64


# Images


def test_masks_bytes_booleans_and_floats_of_one_picture_are_the_same_picture():
    mask = torch.rand(6, 4, 5, generator=generator()) < 0.4
    by_mask, by_bytes = small(white=1), small()
    expected = by_mask(mask.float()).mean
    assert torch.equal(by_mask(mask.to(torch.uint8)).mean, expected)
    assert torch.equal(by_bytes(mask.to(torch.uint8) * 255).mean, expected)
    for model in (by_mask, by_bytes):
        assert torch.equal(model(mask).mean, expected)
        assert torch.equal(model(mask.double()).mean, expected)


def test_grey_bytes_are_divided_by_255():
    model, images = small(), torch.arange(20, dtype=torch.uint8).reshape(1, 4, 5)
    assert torch.equal(model.pixels(images), torch.arange(20.0).reshape(1, 4, 5) / 255)


def test_a_channel_axis_of_one_may_be_there_or_not():
    without, within = small(), multilayer_vae((1, 4, 5), 3, hidden=(7,), device="cpu", generator=generator())
    images = torch.rand(2, 4, 5)
    expected = without(images).mean
    assert torch.equal(without(images[:, None]).mean, expected)
    assert torch.equal(within(images).mean, expected)
    assert torch.equal(within(images[:, None]).mean, expected)


def test_no_images_give_no_posteriors():
    posterior = small()(torch.rand(0, 4, 5))
    assert posterior.mean.shape == posterior.standard_deviation.shape == (0, 3)


def test_images_need_not_lie_in_order_in_memory():
    images = torch.rand(5, 4, 2, generator=generator()).permute(2, 1, 0)
    assert torch.equal(small()(images).mean, small()(images.contiguous()).mean)


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        (torch.full((1, 4, 5), 2, dtype=torch.uint8), ValueError),
        (torch.full((1, 4, 5), 1.01), ValueError),
        (torch.full((1, 4, 5), -0.01), ValueError),
        (torch.full((1, 4, 5), math.nan), ValueError),
        (torch.zeros(1, 5, 4), ValueError),
        (torch.zeros(4, 5), ValueError),
        (torch.zeros(1, 3, 4, 5), ValueError),
        (torch.zeros(1, 4, 5, dtype=torch.int64), TypeError),
    ],
)
def test_other_images_are_refused(images, kind):
    with pytest.raises(kind, match="images"):
        small(white=1).posterior(images)


def test_masks_for_a_model_of_bytes_are_refused_because_they_would_be_nearly_black():
    mask = torch.tensor([0, 1] * 10, dtype=torch.uint8).reshape(1, 4, 5)
    with pytest.raises(ValueError, match="white=1"):
        small(white=255).posterior(mask)
    assert float(small(white=255).pixels(2 * mask).max()) == pytest.approx(2 / 255)
    assert not bool(small(white=255).pixels(0 * mask).any())


def test_encode_scores_a_model_on_a_grid():
    grid = sprites.GRID.subgrid(scale=1, orientation=2, position_x=2, position_y=2)
    model = multilayer_vae((16, 16), 4, 3, hidden=(8,), white=1, generator=generator(), device="cpu")
    codes = encode(model, grid, sprites.render, image_size=16, batch_size=5)
    images = sprites.render(grid.indices(device="cpu"), grid=grid, image_size=16)
    assert codes.complete
    assert codes.n_latents == 4
    assert torch.allclose(codes.mean, model(images).mean.detach(), atol=1e-6)


# Codes


def test_codes_have_the_posteriors_moments():
    mean = torch.tensor([[1.0, -2.0]], dtype=torch.float64).expand(40_000, 2)
    deviation = torch.tensor([[0.5, 2.0]], dtype=torch.float64).expand(40_000, 2)
    codes = multilayer_vae((2,), 2, device="cpu").reparameterize(Posterior(mean, deviation), generator=generator())
    assert torch.allclose(codes.mean(0), mean[0], atol=0.04)
    assert torch.allclose(codes.std(0), deviation[0], rtol=0.02)


def test_codes_carry_the_gradient_of_mean_and_deviation():
    mean = torch.zeros(3, 2, requires_grad=True)
    deviation = torch.ones(3, 2, requires_grad=True)
    codes = small().reparameterize(Posterior(mean, deviation), generator=generator(4))
    codes.sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))
    assert torch.equal(deviation.grad, codes.detach())


def test_relaxed_categories_are_gumbel_softmax_and_their_largest_has_the_posteriors_probabilities():
    model = multilayer_vae((2,), 2, 3, device="cpu")
    log_prob = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().expand(30_000, 3)
    flat = torch.zeros(30_000, 1, dtype=torch.float64)
    posterior = Posterior(flat, flat + 1, (log_prob,))
    relaxed = model.reparameterize(posterior, generator=generator(1), temperature=0.67)[:, 1:]
    hard = model.reparameterize(posterior, generator=generator(1), temperature=0)[:, 1:]
    assert torch.allclose(relaxed.sum(1), torch.ones(30_000, dtype=torch.float64))
    assert torch.equal(hard, functional.one_hot(relaxed.argmax(1), 3).double())
    assert torch.allclose(hard.mean(0), log_prob[0].exp(), atol=0.012)
    # The log of a ratio of two relaxed categories is logistic noise around the log-ratio, divided by the temperature.
    ratio = 0.67 * (relaxed[:, 0] / relaxed[:, 1]).log() - math.log(0.2 / 0.5)
    assert abs(float(ratio.mean())) < 0.05
    assert float(ratio.var()) == pytest.approx(math.pi**2 / 3, rel=0.05)


def test_draws_come_from_the_generator_alone():
    model = multilayer_vae((4,), 3, 4, hidden=(5,), device="cpu", generator=generator())
    posterior = model(torch.rand(3, 4, generator=generator()))
    before = torch.random.get_rng_state()
    first, again, other = (model.reparameterize(posterior, generator=generator(seed)) for seed in (1, 1, 2))
    model.reparameterize(posterior)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_a_saturated_encoder_has_a_positive_deviation_and_finite_gradients(logit):
    model = small()
    with torch.no_grad():
        model.head.bias.fill_(logit)
    posterior = model(torch.rand(2, 4, 5))
    assert float(posterior.standard_deviation.detach().min()) > 0
    (model.reparameterize(posterior, generator=generator()).sum() + posterior.standard_deviation.log().sum()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_codes_of_another_width_are_refused():
    with pytest.raises(ValueError, match="codes"):
        small().decode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="temperature"):
        small().reparameterize(small()(torch.rand(1, 4, 5)), temperature=-1.0)
