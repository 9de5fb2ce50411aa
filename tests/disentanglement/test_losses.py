"""Losses against slow loops and torch.distributions, identities between objectives, and gradients at the extremes."""

import math

import pytest
import torch
from torch import Tensor, distributions

from toolkit.disentanglement import losses
from toolkit.disentanglement.codes import Posterior
from toolkit.disentanglement.models import Discriminator, convolutional_vae
from toolkit.disentanglement.objectives import (
    DIPVAE,
    AnnealedVAE,
    BetaTCVAE,
    BetaVAE,
    FactorVAE,
    JointVAE,
    Reconstruction,
)

REAL_OBJECTIVES = [
    BetaVAE(3.0),
    AnnealedVAE(gamma=5.0, maximum=4.0, capacity_steps=10),
    BetaTCVAE(),
    BetaTCVAE(scheme="weighted"),
    FactorVAE(2.0),
    DIPVAE("I"),
    DIPVAE("II"),
    JointVAE(),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def posterior(n: int = 5, latents: int = 3, categories: int | None = None, seed: int = 0, dtype=torch.float64):
    draw = generator(seed)
    mean = torch.randn(n, latents, generator=draw, dtype=dtype)
    deviation = torch.rand(n, latents, generator=draw, dtype=dtype) + 0.1
    if categories is None:
        return Posterior(mean, deviation)
    log_prob = torch.randn(n, categories, generator=draw, dtype=dtype).log_softmax(1)
    return Posterior(mean, deviation, (log_prob,))


def batch(found: Posterior, seed: int = 1, shape=(2, 3), codes: Tensor | None = None) -> Reconstruction:
    draw, n = generator(seed), len(found.mean)
    if codes is None:
        noise = torch.randn(found.mean.shape, generator=draw, dtype=found.mean.dtype)
        codes = found.mean + found.standard_deviation * noise
    logits = 3 * torch.randn(n, *shape, generator=draw, dtype=found.mean.dtype)
    pixels = (torch.rand(n, *shape, generator=draw, dtype=found.mean.dtype) < 0.5).to(found.mean.dtype)
    return Reconstruction(pixels, found, codes, logits)


def discriminate(codes: Tensor) -> Tensor:
    return codes.sin().sum(1)


# Parts


def test_reconstruction_is_the_negative_log_probability_of_bernoulli_pixels():
    logits = 4 * torch.randn(3, 2, 5, generator=generator(), dtype=torch.float64)
    pixels = (torch.rand(3, 2, 5, generator=generator(1)) < 0.5).double()
    expected = -distributions.Bernoulli(logits=logits).log_prob(pixels).sum((1, 2))
    assert torch.allclose(losses.bernoulli_reconstruction(logits, pixels), expected, rtol=1e-13)


def test_grey_pixels_count_as_probabilities():
    logits = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    grey = torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    p = logits.sigmoid()
    expected = -(grey * p.log() + (1 - grey) * (1 - p).log()).sum()
    assert float(losses.bernoulli_reconstruction(logits, grey)) == pytest.approx(float(expected), rel=1e-12)


def test_gaussian_divergence_is_that_of_torch_distributions():
    found = posterior(20)
    one = distributions.Normal(found.mean, found.standard_deviation)
    expected = distributions.kl_divergence(one, distributions.Normal(0.0, 1.0))
    assert torch.allclose(losses.gaussian_kl(found.mean, found.standard_deviation), expected, rtol=1e-12)


def test_categorical_divergence_is_that_of_torch_distributions():
    (log_prob,) = posterior(20, categories=4).categorical_log_prob
    flat = distributions.Categorical(logits=torch.zeros(20, 4, dtype=torch.float64))
    expected = distributions.kl_divergence(distributions.Categorical(logits=log_prob), flat)
    assert torch.allclose(losses.categorical_kl(log_prob), expected, rtol=1e-12)


def test_a_certain_category_diverges_by_log_k_and_has_a_finite_gradient():
    log_prob = torch.tensor([[0.0, -math.inf, -math.inf]], dtype=torch.float64)
    assert float(losses.categorical_kl(log_prob)) == math.log(3)
    logits = torch.tensor([[0.0, -1e4, -1e4]], requires_grad=True)
    losses.categorical_kl(logits.log_softmax(1)).sum().backward()
    assert bool(logits.grad.isfinite().all())


def test_pairwise_densities_are_those_of_torch_distributions():
    found, codes = posterior(4), torch.randn(6, 3, generator=generator(2), dtype=torch.float64)
    density = losses.pairwise_log_density(codes, found.mean, found.standard_deviation)
    for latent in range(3):
        for point in range(6):
            for image in range(4):
                normal = distributions.Normal(found.mean[image, latent], found.standard_deviation[image, latent])
                expected = float(normal.log_prob(codes[point, latent]))
                assert float(density[latent, point, image]) == pytest.approx(expected, rel=1e-12)


def test_permuted_columns_hold_the_same_numbers_and_are_shuffled_apart():
    codes = torch.randn(500, 4, generator=generator(), dtype=torch.float64)
    codes = codes[:, :1] + 0.1 * codes
    permuted = losses.permute_columns(codes, generator=generator(1))
    assert torch.equal(permuted.sort(0).values, codes.sort(0).values)
    assert float(torch.corrcoef(codes.T)[0, 1]) > 0.9
    off = torch.corrcoef(permuted.T) - torch.eye(4, dtype=torch.float64)
    assert float(off.abs().max()) < 0.2


def test_every_order_of_a_column_is_equally_likely():
    draw, codes = generator(3), torch.arange(3.0)[:, None].expand(3, 1)
    orders = [tuple(losses.permute_columns(codes, generator=draw)[:, 0].tolist()) for _ in range(1200)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 150


def test_the_discriminators_loss_is_the_logistic_one():
    aggregate, permuted = torch.tensor([0.3, -1.0]), torch.tensor([2.0, 0.1, -4.0])
    expected = -(aggregate.sigmoid().log().sum() + (1 - permuted.sigmoid()).log().sum()) / 5
    assert float(losses.discriminator_loss(aggregate, permuted)) == pytest.approx(float(expected), rel=1e-6)


def test_covariance_and_its_penalty_by_loops():
    values = torch.randn(7, 3, generator=generator(), dtype=torch.float64)
    moments = losses.covariance(values)
    assert torch.allclose(moments, torch.cov(values.T, correction=0), rtol=1e-12)
    expected = 0.0
    for i in range(3):
        for j in range(3):
            c = float(moments[i, j])
            expected += 2.5 * (c - 1) ** 2 if i == j else 0.7 * c**2
    assert float(losses.moment_penalty(moments, 0.7, 2.5)) == pytest.approx(expected, rel=1e-12)


def test_capacity_rises_linearly_and_stays():
    assert [losses.capacity(step, 4.0, 8) for step in (0, 2, 8, 100)] == [0.0, 1.0, 4.0, 4.0]
    assert losses.capacity(0, 4.0, 0) == 4.0


# The split of the divergence


def split_by_loops(codes, found, n_data, scheme):
    """Return the three parts of one code after the other, each weight and density on its own."""
    n, latents = codes.shape

    def density(point, image, latent):
        mean, deviation = float(found.mean[image, latent]), float(found.standard_deviation[image, latent])
        z = (float(codes[point, latent]) - mean) / deviation
        return math.exp(-z * z / 2) / (deviation * math.sqrt(2 * math.pi))

    rows = []
    for point in range(n):
        joint, single = 0.0, [0.0] * latents
        for image in range(n):
            if scheme == "weighted":
                weight = 1 / (n * n_data)
            elif image == point:
                weight = 1 / n_data
            else:
                weight = (n_data - 1) / ((n - 1) * n_data)
            each = [density(point, image, latent) for latent in range(latents)]
            joint += weight * math.prod(each)
            single = [so_far + weight * one for so_far, one in zip(single, each, strict=True)]
        own = math.log(math.prod(density(point, point, latent) for latent in range(latents)))
        prior = sum(-(float(z) ** 2) / 2 - math.log(2 * math.pi) / 2 for z in codes[point])
        marginals = sum(map(math.log, single))
        rows.append([own - math.log(joint), math.log(joint) - marginals, marginals - prior])
    return torch.tensor(rows, dtype=torch.float64).T


@pytest.mark.parametrize("scheme", ["stratified", "weighted"])
@pytest.mark.parametrize("n_data", [5, 6, 1000])
def test_the_split_is_that_of_a_double_loop(scheme, n_data):
    found = posterior(5)
    codes = batch(found).codes
    split = losses.split_kl(codes, found, n_data, scheme)
    mutual, total, single = split_by_loops(codes, found, n_data, scheme)
    assert torch.allclose(split.mutual_information, mutual, rtol=1e-10, atol=1e-12)
    assert torch.allclose(split.total_correlation, total, rtol=1e-10, atol=1e-12)
    assert torch.allclose(split.dimension_kl, single, rtol=1e-10, atol=1e-12)


def test_a_batch_of_all_images_gives_the_exact_mixture():
    found = posterior(8)
    codes = batch(found).codes
    parts = distributions.Categorical(torch.ones(8, dtype=torch.float64))
    each = distributions.Normal(found.mean, found.standard_deviation)
    joint = distributions.MixtureSameFamily(parts, distributions.Independent(each, 1)).log_prob(codes)
    single = torch.zeros(8, dtype=torch.float64)
    for latent in range(3):
        normal = distributions.Normal(found.mean[:, latent], found.standard_deviation[:, latent])
        single += distributions.MixtureSameFamily(parts, normal).log_prob(codes[:, latent])
    split = losses.split_kl(codes, found, 8)
    assert torch.allclose(split.total_correlation, joint - single, rtol=1e-10, atol=1e-12)
    assert torch.allclose(split.mutual_information, each.log_prob(codes).sum(1) - joint, rtol=1e-10, atol=1e-12)


def test_stratified_weights_make_the_mixture_density_unbiased_and_weighted_ones_do_not():
    """The mean over every batch that holds the image itself is the mixture of all six images."""
    from itertools import combinations

    found, point = posterior(6, 1), torch.tensor(0.4, dtype=torch.float64)
    density = distributions.Normal(found.mean, found.standard_deviation).log_prob(point).exp()[:, 0]
    means = {}
    for scheme in ("stratified", "weighted"):
        weights = losses.mixture_log_weights(3, 6, scheme, dtype=torch.float64).exp()
        estimates = [float((weights[0] * density[[0, *others]]).sum()) for others in combinations(range(1, 6), 2)]
        means[scheme] = sum(estimates) / len(estimates)
    exact = float(density.mean())
    assert means["stratified"] == pytest.approx(exact, rel=1e-12)
    assert means["weighted"] < 0.5 * exact


def test_the_parts_add_up_to_the_density_ratio_whatever_the_weights():
    found = posterior(6)
    codes = batch(found).codes
    own = distributions.Normal(found.mean, found.standard_deviation).log_prob(codes).sum(1)
    prior = distributions.Normal(0.0, 1.0).log_prob(codes).sum(1)
    for scheme, n_data in (("stratified", 6), ("stratified", 99), ("weighted", 7)):
        split = losses.split_kl(codes, found, n_data, scheme)
        total = split.mutual_information + split.total_correlation + split.dimension_kl
        assert torch.allclose(total, own - prior, rtol=1e-11, atol=1e-11)


def test_total_correlation_of_one_latent_is_nothing():
    found = posterior(6, 1)
    assert float(losses.split_kl(batch(found).codes, found, 50).total_correlation.abs().max()) < 1e-12


def test_the_order_of_the_latents_does_not_matter():
    found, order = posterior(6, 4), torch.tensor([2, 0, 3, 1])
    turned = Posterior(found.mean[:, order], found.standard_deviation[:, order])
    given = batch(found)
    other = Reconstruction(given.pixels, turned, given.codes[:, order], given.logits)
    for objective in REAL_OBJECTIVES:
        one = objective(given, n_data=50, step=3, discriminator=discriminate).loss
        two = objective(other, n_data=50, step=3, discriminator=discriminate).loss
        assert torch.allclose(one, two, rtol=1e-12)


@pytest.mark.parametrize("arguments", [(4, 3, "stratified"), (0, 3, "stratified"), (4, 3, "weighted"), (4, 8, "other")])
def test_weights_that_make_no_sense_are_refused(arguments):
    with pytest.raises((ValueError, TypeError)):
        losses.mixture_log_weights(*arguments)


# Objectives


def elbo_loss(given: Reconstruction) -> Tensor:
    found = given.posterior
    kl = distributions.kl_divergence(
        distributions.Normal(found.mean, found.standard_deviation), distributions.Normal(0.0, 1.0)
    ).sum(1)
    return losses.bernoulli_reconstruction(given.logits, given.pixels) + kl


@pytest.mark.parametrize(
    "objective",
    [
        BetaVAE(1.0),
        DIPVAE("I", 0.0),
        DIPVAE("II", 0.0),
        AnnealedVAE(gamma=1.0, maximum=7.0, per_image=True),
        JointVAE(gamma=1.0),
        FactorVAE(0.0),
    ],
)
def test_what_is_the_plain_autoencoder_at_the_start_or_without_penalty(objective):
    given = batch(posterior(6))
    found = objective(given, step=0, discriminator=discriminate)
    assert torch.allclose(found.loss, elbo_loss(given), rtol=1e-12)
    assert torch.allclose(found.elbo, -elbo_loss(given), rtol=1e-12)


def test_tc_autoencoder_with_all_coefficients_one_is_the_plain_one_in_expectation():
    found = posterior(4, 2)
    codes = Posterior(found.mean.repeat(30_000, 1), found.standard_deviation.repeat(30_000, 1))
    drawn = batch(codes, shape=(1,)).codes.reshape(30_000, 4, 2)
    mixture = distributions.Normal(found.mean, found.standard_deviation)
    ratio = (mixture.log_prob(drawn) - distributions.Normal(0.0, 1.0).log_prob(drawn)).sum(2)
    split = losses.split_kl(drawn[0], found, 4)
    one = BetaTCVAE(1.0, 1.0, 1.0)(batch(found, codes=drawn[0]), n_data=4)
    assert torch.allclose(one.loss - one.reconstruction, ratio[0], rtol=1e-10)
    assert torch.allclose(split.mutual_information + split.total_correlation + split.dimension_kl, ratio[0], rtol=1e-10)
    error = ratio.std(0) / math.sqrt(30_000)
    assert bool(((ratio.mean(0) - one.kl).abs() < 4 * error).all())


def test_joint_autoencoder_adds_the_categories_own_capacity():
    found = posterior(6, 2, categories=3)
    given = batch(found, codes=torch.zeros(6, 5, dtype=torch.float64))
    objective = JointVAE(gamma=7.0, real_capacity=10.0, categorical_capacity=1.1, capacity_steps=100)
    result = objective(given, step=50)
    real = losses.gaussian_kl(found.mean, found.standard_deviation).sum(1)
    categorical = losses.categorical_kl(found.categorical_log_prob[0])
    for image in range(6):
        excess = abs(float(real[image]) - 5.0) + abs(float(categorical[image]) - 0.55)
        expected = float(result.reconstruction[image]) + 7.0 * excess
        assert float(result.loss[image]) == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(result.kl, real + categorical)
    assert torch.allclose(result.categorical_kl, categorical)


def test_joint_autoencoder_without_categories_is_the_annealed_one_image_by_image():
    given = batch(posterior(6))
    joint = JointVAE(gamma=3.0, real_capacity=9.0, capacity_steps=20)(given, step=5)
    annealed = AnnealedVAE(3.0, 9.0, 20, per_image=True)(given, step=5)
    assert torch.equal(joint.loss, annealed.loss)


def test_annealed_autoencoder_compares_the_mean_divergence():
    given = batch(posterior(6))
    found = AnnealedVAE(3.0, 8.0, 10)(given, step=5)
    expected = found.reconstruction.mean() + 3.0 * (found.kl.mean() - 4.0).abs()
    assert float(found.loss.mean()) == pytest.approx(float(expected), rel=1e-12)


def test_dip_forms_differ_by_the_mean_variance():
    given = batch(posterior(9))
    moments = torch.cov(given.posterior.mean.T, correction=0)
    first = DIPVAE("I", 2.0)(given)
    second = DIPVAE("II", 2.0)(given)
    assert float(first.penalty[0]) == pytest.approx(float(losses.moment_penalty(moments, 2.0, 20.0)), rel=1e-12)
    moments = moments + given.posterior.standard_deviation.square().mean(0).diag()
    assert float(second.penalty[0]) == pytest.approx(float(losses.moment_penalty(moments, 2.0, 2.0)), rel=1e-12)
    assert torch.allclose(first.loss, elbo_loss(given) + first.penalty, rtol=1e-12)


def test_factor_autoencoder_adds_the_discriminators_logit():
    given = batch(posterior(4))
    found = FactorVAE(5.0)(given, discriminator=discriminate)
    assert torch.allclose(found.loss, elbo_loss(given) + 5.0 * discriminate(given.codes), rtol=1e-12)
    with pytest.raises(ValueError, match="discriminator"):
        FactorVAE(5.0)(given)


@pytest.mark.parametrize("objective", [BetaTCVAE(), FactorVAE(), DIPVAE()])
def test_objectives_of_real_latents_refuse_categorical_ones(objective):
    given = batch(posterior(4, categories=3), codes=torch.zeros(4, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match="real latents only"):
        objective(given, discriminator=discriminate)


@pytest.mark.parametrize(
    "build",
    [
        lambda: BetaVAE(-1.0),
        lambda: BetaVAE(math.nan),
        lambda: BetaVAE(math.inf),
        lambda: DIPVAE("I", -2.0),
        lambda: AnnealedVAE(capacity_steps=-1),
        lambda: JointVAE(temperature=0.0),
    ],
)
def test_coefficients_out_of_range_are_refused(build):
    with pytest.raises(ValueError, match="bad argument"):
        build()


@pytest.mark.parametrize("objective", REAL_OBJECTIVES, ids=repr)
@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_objective_is_finite_for_a_few_images_and_keeps_the_type(objective, n, dtype):
    found = objective(batch(posterior(n, dtype=dtype)), n_data=100, step=3, discriminator=discriminate)
    assert found.loss.shape == found.reconstruction.shape == found.kl.shape == (n,)
    assert found.loss.dtype == dtype
    assert bool(found.loss.isfinite().all())


@pytest.mark.parametrize("objective", REAL_OBJECTIVES, ids=repr)
@pytest.mark.parametrize("deviation", [0.0, 1e-30, 1e-8, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_are_finite_at_the_extremes(objective, deviation, scale):
    found = posterior(5, dtype=torch.float32)
    leaves = [
        (scale * found.mean).requires_grad_(),
        torch.full((5, 3), deviation, requires_grad=True),
        (1e4 * torch.randn(5, 2, 3, generator=generator(8)).sign()).requires_grad_(),
    ]
    given = batch(found)
    noise = torch.randn(5, 3, generator=generator(9))
    codes = leaves[0] + leaves[1] * noise
    objective(
        Reconstruction(given.pixels, Posterior(leaves[0], leaves[1]), codes, leaves[2]),
        n_data=100,
        step=3,
        discriminator=discriminate,
    ).loss.mean().backward()
    for leaf in leaves:
        assert bool(leaf.grad.isfinite().all())


def test_breakdown_tells_its_means():
    found = BetaTCVAE()(batch(posterior(4)), n_data=10)
    plain = found.to_dict()
    assert plain["loss"] == pytest.approx(float(found.loss.mean()))
    assert plain["ELBO"] == pytest.approx(float(found.elbo.mean()))
    assert set(plain) == {
        "loss", "reconstruction", "KL", "mutual information", "total correlation", "dimension KL", "ELBO",
    }  # fmt: skip
    assert "4 images" in repr(found)
    with pytest.raises(AttributeError):
        found.loss = found.kl


# Settings


@pytest.mark.parametrize(
    ("objective", "data_set", "expected"),
    [
        (BetaVAE, "dsprites", ({"beta": 4.0}, 5e-4, 64, 300_000)),
        (BetaVAE, "3dshapes", ({"beta": 4.0}, 1e-4, 64, 500_000)),
        (FactorVAE, "dsprites", ({"gamma": 35.0}, 1e-4, 64, 300_000)),
        (FactorVAE, "3dshapes", ({"gamma": 20.0}, 1e-4, 64, 500_000)),
        (BetaTCVAE, "dsprites", ({"alpha": 1.0, "beta": 6.0, "gamma": 1.0}, 1e-3, 2048, 30_000)),
        (BetaTCVAE, "3dshapes", ({"alpha": 1.0, "beta": 4.0, "gamma": 1.0}, 1e-3, 2048, 50_000)),
    ],
)
def test_settings_are_the_authors(objective, data_set, expected):
    found = objective.settings(data_set)
    assert (found.objective, found.learning_rate, found.batch_size, found.n_steps) == expected
    assert "beam2d/disen" in found.source
    assert objective(**found.objective).settings(data_set) == found


def test_settings_of_the_two_models_that_differ_in_more():
    factor = [FactorVAE.settings(name) for name in ("dsprites", "3dshapes")]
    assert [each.discriminator_learning_rate for each in factor] == [1e-4, 1e-5]
    assert {(each.betas, each.discriminator_betas) for each in factor} == {((0.9, 0.999), (0.5, 0.9))}
    joint = [JointVAE.settings(name) for name in ("dsprites", "3dshapes")]
    assert [(each.categories, each.n_latents, each.learning_rate) for each in joint] == [(3, 6, 5e-4), (4, 6, 1e-4)]
    assert all(JointVAE(**each.objective) == JointVAE() for each in joint)


@pytest.mark.parametrize("objective", REAL_OBJECTIVES, ids=repr)
def test_settings_build_their_model_and_fill_the_training(objective):
    import inspect

    from toolkit.disentanglement.training import train_vae

    for data_set in ("dsprites", "3dshapes"):
        found = objective.settings(data_set)
        model = convolutional_vae(**found.model(), device="cpu")
        assert model.n_latents == found.n_latents
        assert set(found.training()) <= set(inspect.signature(train_vae).parameters)
        assert type(objective)(**found.objective).settings(data_set) == found
    with pytest.raises(ValueError, match="data_set"):
        objective.settings("mnist")


def test_a_discriminator_takes_the_codes():
    given = batch(posterior(4, dtype=torch.float32))
    discriminator = Discriminator(3, width=5, device="cpu")
    assert FactorVAE()(given, discriminator=discriminator).total_correlation.shape == (4,)
