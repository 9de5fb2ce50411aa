"""The assignment is the best of all, the latents are released in turn, and the decoder's categories can be scored."""

import itertools
import math

import pytest
import torch

from toolkit.datasets import sprites
from toolkit.disentanglement import losses
from toolkit.disentanglement.cascade import CascadeVAE, assign_categories
from toolkit.disentanglement.codes import encode
from toolkit.disentanglement.models import VAE, multilayer_vae
from toolkit.disentanglement.objectives import BetaVAE, JointVAE
from toolkit.disentanglement.training import train_vae

GRID = sprites.GRID.subgrid(scale=2, orientation=2, position_x=3, position_y=3)
IMAGES = sprites.render(GRID.indices(device="cpu"), grid=GRID, image_size=16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(seed: int = 0, **options) -> VAE:
    settings = {"hidden": (16,), "white": 1, "inference": "decoder", "generator": generator(seed), "device": "cpu"}
    return multilayer_vae((16, 16), 4, 3, **(settings | options))


def total(costs, chosen, penalty) -> float:
    pairs = sum(one == two for one, two in itertools.combinations(chosen, 2))
    return sum(float(costs[image, category]) for image, category in enumerate(chosen)) + penalty * pairs


@pytest.mark.parametrize("penalty", [0.0, 0.001, 0.3, 5.0])
@pytest.mark.parametrize("shape", [(1, 2), (5, 2), (6, 3)])
def test_the_assignment_is_the_best_of_all(penalty, shape):
    costs = torch.rand(shape, generator=generator(3), dtype=torch.float64)
    best = min(total(costs, chosen, penalty) for chosen in itertools.product(range(shape[1]), repeat=shape[0]))
    assert total(costs, assign_categories(costs, penalty).tolist(), penalty) == pytest.approx(best, rel=1e-12)


def test_without_a_penalty_each_image_takes_what_explains_it_best_and_with_a_large_one_all_are_even():
    costs = torch.rand(12, 3, generator=generator(1))
    assert torch.equal(assign_categories(costs, 0.0), costs.argmin(1))
    assert torch.bincount(assign_categories(costs, 100.0)).tolist() == [4, 4, 4]
    assert assign_categories(costs[:0], 1.0).shape == (0,)


def test_costs_that_are_no_numbers_and_negative_penalties_are_refused():
    with pytest.raises(ValueError, match="costs"):
        assign_categories(torch.full((2, 2), math.nan))
    with pytest.raises(ValueError, match="duplicate_penalty"):
        assign_categories(torch.zeros(2, 2), -1.0)


def test_costs_are_those_of_decoding_each_category():
    model = small(dtype=torch.float64)
    pixels, real = model.pixels(IMAGES[:4]), torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    costs = model.category_costs(pixels, real)
    for category in range(3):
        one_hot = torch.eye(3, dtype=torch.float64)[category].expand(4, 3)
        expected = losses.bernoulli_reconstruction(model.decode(torch.cat([real, one_hot], 1)), pixels)
        assert torch.allclose(costs[:, category], expected.detach(), rtol=1e-12)


def test_latents_are_released_in_turn():
    model, objective = small(dtype=torch.float64), CascadeVAE(10.0, 2.0, release_every=5, warm_up=100)
    batch = objective.reconstruct(model, model.pixels(IMAGES[:6]), generator=generator())
    kl = losses.gaussian_kl(batch.posterior.mean, batch.posterior.standard_deviation)
    for step, betas in ((0, (10, 10, 10)), (3, (10, 10, 10)), (4, (2, 10, 10)), (9, (2, 2, 10)), (50, (2, 2, 2))):
        batch_loss = objective(batch, step=step)
        expected = batch_loss.reconstruction + (kl * torch.tensor(betas)).sum(1) + math.log(3)
        assert torch.allclose(batch_loss.loss, expected, rtol=1e-12)
        assert torch.allclose(batch_loss.kl, kl.sum(1) + math.log(3), rtol=1e-12)


def test_the_decoder_sees_no_category_at_first_and_the_assigned_ones_then():
    model, objective = small(), CascadeVAE(warm_up=2, duplicate_penalty=0.5)
    pixels = model.pixels(IMAGES[:10])
    before = objective.reconstruct(model, pixels, generator=generator(2), step=1)
    after = objective.reconstruct(model, pixels, generator=generator(2), step=2)
    assert not bool(before.codes[:, 3:].any())
    real = after.codes[:, :3].detach()
    assert torch.equal(after.codes[:, 3:].argmax(1), assign_categories(model.category_costs(pixels, real), 0.5))
    assert torch.equal(after.codes[:, 3:].sum(1), torch.ones(10))
    assert torch.equal(before.codes[:, :3], after.codes[:, :3])


def test_a_short_training_raises_the_bound_goes_on_after_a_break_and_can_be_scored(tmp_path):
    objective = CascadeVAE(4.0, 1.0, release_every=15, warm_up=20)
    options = {"batch_size": 24, "learning_rate": 5e-3}
    whole = train_vae(small(), objective, IMAGES, n_steps=90, generator=generator(1), **options)
    bound = whole.history["ELBO"]
    assert bound[-10:].mean() > 0.7 * bound[:3].mean()
    path = tmp_path / "run.pt"
    train_vae(small(), objective, IMAGES, n_steps=30, generator=generator(1), checkpoint=path, **options)
    again = train_vae(small(4), objective, IMAGES, n_steps=90, generator=generator(5), checkpoint=path, **options)
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)
    codes = encode(whole.model, GRID, sprites.render, image_size=16)
    assert codes.n_latents == 4
    (log_prob,) = codes.categorical_log_prob
    costs = whole.model.category_costs(whole.model.pixels(IMAGES), codes.mean)
    assert torch.equal(log_prob.argmax(1), costs.argmin(1))
    assert bool(codes.sample(generator=generator()).points.isfinite().all())


def test_model_and_objective_must_belong_together():
    with pytest.raises(ValueError, match="inference"):
        train_vae(small(inference="encoder"), CascadeVAE(), IMAGES, n_steps=1)
    for objective in (BetaVAE(), JointVAE()):
        with pytest.raises(ValueError, match="inference"):
            train_vae(small(), objective, IMAGES, n_steps=1)
    with pytest.raises(ValueError, match="inference"):
        multilayer_vae((4,), 3, inference="decoder")
    with pytest.raises(ValueError, match="beta_low"):
        CascadeVAE(beta_low=-1.0)


def test_settings_are_those_of_the_earlier_code():
    found = CascadeVAE.settings("dsprites")
    assert CascadeVAE(**found.objective) == CascadeVAE()
    assert (found.learning_rate, found.batch_size, found.n_steps) == (3e-4, 64, 576_000)
    assert found.model()["inference"] == "decoder"
    with pytest.raises(ValueError, match="dsprites"):
        CascadeVAE.settings("3dshapes")
