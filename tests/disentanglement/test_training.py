"""A short training raises the evidence lower bound; a broken one goes on bit for bit; nothing global is touched."""

import threading
from functools import partial

import pytest
import torch

from toolkit.core.checkpoints import CheckpointError
from toolkit.datasets import sprites
from toolkit.disentanglement import losses
from toolkit.disentanglement.models import VAE, convolutional_vae, multilayer_vae
from toolkit.disentanglement.objectives import DIPVAE, AnnealedVAE, BetaTCVAE, BetaVAE, FactorVAE, JointVAE
from toolkit.disentanglement.training import evidence_bound, reconstruct, train_vae

GRID = sprites.GRID.subgrid(scale=2, orientation=2, position_x=4, position_y=4)
IMAGES = sprites.render(GRID.indices(device="cpu"), grid=GRID, image_size=16)
OBJECTIVES = [
    BetaVAE(2.0),
    AnnealedVAE(2.0, 5.0, 10),
    BetaTCVAE(),
    FactorVAE(3.0, width=8, depth=3),
    DIPVAE("I"),
    DIPVAE("II"),
    JointVAE(gamma=2.0, capacity_steps=10),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(objective=None, seed: int = 0, **options) -> VAE:
    categories = 3 if isinstance(objective, JointVAE) else None
    settings = {"hidden": (16,), "white": 1, "generator": generator(seed), "device": "cpu"} | options
    return multilayer_vae((16, 16), 3, categories, **settings)


def parameters(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_short_training_raises_the_bound(objective):
    trained = train_vae(
        small(objective), objective, IMAGES, n_steps=150, batch_size=32, learning_rate=5e-3, generator=generator(1)
    )
    bound = trained.history["ELBO"]
    assert bound[-20:].mean() > 0.7 * bound[:3].mean()
    assert not trained.model.training
    assert trained.history.n_steps == 150
    assert (trained.discriminator is not None) == isinstance(objective, FactorVAE)
    assert trained.to_dict()["objective"]["name"] == type(objective).__name__
    assert all(parameter.grad is None for parameter in trained.model.parameters())


def test_a_training_learns_what_the_images_show():
    """After a few seconds the reconstructions are nearer to their own images than to those of others."""
    trained = train_vae(
        small(hidden=(64,)), BetaVAE(1.0), IMAGES, n_steps=600, batch_size=48, learning_rate=5e-3, generator=generator()
    )
    model = trained.model
    means = model(IMAGES).mean
    logits = model.decode(means)
    pixels = model.pixels(IMAGES)
    own = losses.bernoulli_reconstruction(logits, pixels).mean()
    others = losses.bernoulli_reconstruction(logits, pixels.roll(48, 0)).mean()
    blind = losses.bernoulli_reconstruction(pixels.mean(0).clamp(1e-4, 1 - 1e-4).logit().expand_as(pixels), pixels)
    assert own < 0.5 * blind.mean()
    assert own < 0.5 * others


def test_the_convolutional_model_trains():
    images = sprites.render(GRID.indices(device="cpu")[:32], grid=GRID, image_size=32)
    model = convolutional_vae((32, 32), 4, white=1, generator=generator(), device="cpu")
    trained = train_vae(
        model, BetaVAE(1.0), images, n_steps=12, batch_size=16, learning_rate=2e-3, generator=generator()
    )
    assert trained.history["ELBO"][-3:].mean() > 0.8 * trained.history["ELBO"][0]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_resumed_training_is_the_unbroken_one_bit_for_bit(objective, tmp_path):
    options = {"batch_size": 20, "learning_rate": 1e-3}
    whole = train_vae(small(objective), objective, IMAGES, n_steps=14, generator=generator(2), **options)
    path = tmp_path / "run.pt"
    train_vae(small(objective), objective, IMAGES, n_steps=6, generator=generator(2), checkpoint=path, **options)
    resumed = train_vae(
        small(objective, seed=7), objective, IMAGES, n_steps=14, generator=generator(9), checkpoint=path, **options
    )
    assert same(parameters(whole.model), parameters(resumed.model))
    for name in whole.history.metrics:
        assert list(whole.history[name]) == list(resumed.history[name])
    if whole.discriminator is not None:
        assert same(parameters(whole.discriminator), parameters(resumed.discriminator))


def test_a_checkpoint_of_another_objective_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    train_vae(small(), BetaVAE(2.0), IMAGES, n_steps=2, checkpoint=path)
    with pytest.raises(CheckpointError, match="beta"):
        train_vae(small(), BetaVAE(3.0), IMAGES, n_steps=4, checkpoint=path)
    with pytest.raises(CheckpointError, match="batch_size"):
        train_vae(small(), BetaVAE(2.0), IMAGES, n_steps=4, batch_size=3, checkpoint=path)


def test_a_training_stops_when_told_and_goes_on(tmp_path):
    stop, path, seen = threading.Event(), tmp_path / "run.pt", []

    def watch(done, metrics):
        seen.append((done, float(metrics["loss"])))
        if done == 5:
            stop.set()

    options = {"batch_size": 20, "checkpoint": path}
    broken = train_vae(
        small(), BetaVAE(), IMAGES, n_steps=9, generator=generator(3), stop=stop, on_step=watch, **options
    )
    assert broken.history.interrupted
    assert broken.history.n_steps == 5
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5]
    assert [loss for _, loss in seen] == list(broken.history["loss"])
    resumed = train_vae(small(seed=5), BetaVAE(), IMAGES, n_steps=9, generator=generator(4), **options)
    whole = train_vae(small(), BetaVAE(), IMAGES, n_steps=9, generator=generator(3), batch_size=20)
    assert same(parameters(resumed.model), parameters(whole.model))


def test_a_grid_with_a_renderer_gives_what_its_images_give():
    by_images = train_vae(small(), BetaVAE(), IMAGES, n_steps=5, batch_size=50, generator=generator(1))
    render = partial(sprites.render, image_size=16)
    by_grid = train_vae(small(), BetaVAE(), GRID, render=render, n_steps=5, batch_size=50, generator=generator(1))
    assert same(parameters(by_images.model), parameters(by_grid.model))


def test_masks_bytes_and_floats_train_alike():
    found = [
        parameters(train_vae(small(white=white), BetaVAE(), images, n_steps=4, generator=generator(1)).model)
        for images, white in ((IMAGES, 1), (IMAGES * 255, 255), (IMAGES.float(), 255), (IMAGES.bool()[:, None], 1))
    ]
    assert all(same(found[0], other) for other in found[1:])


def test_the_global_generators_are_neither_read_nor_changed():
    before = torch.random.get_rng_state()
    runs = []
    for objective in (BetaVAE(), FactorVAE(width=8, depth=3), JointVAE()):
        for seed in (0, 1):
            torch.manual_seed(seed)
            state = torch.random.get_rng_state()
            trained = train_vae(small(objective), objective, IMAGES, n_steps=3, generator=generator(1))
            assert torch.equal(torch.random.get_rng_state(), state)
            runs.append(parameters(trained.model))
        assert same(runs[-1], runs[-2])
    torch.random.set_rng_state(before)


def test_one_step_of_the_factor_autoencoder_by_hand():
    """The model descends its loss through the discriminator as it was, and only then the discriminator learns."""
    objective = FactorVAE(3.0, width=8, depth=3)
    model, seen = small(dtype=torch.float64), {}
    start = parameters(model)
    trained = train_vae(
        model, objective, IMAGES, n_steps=1, batch_size=10, learning_rate=1e-2, generator=generator(5),
        discriminator_learning_rate=2e-2, on_step=lambda done, metrics: seen.update(metrics),
    )  # fmt: skip
    from toolkit.core.batches import Minibatches
    from toolkit.disentanglement.models import Discriminator

    draw, again = generator(5), small(dtype=torch.float64)
    assert same(parameters(again), start)
    batches = Minibatches(len(IMAGES), 10, generator=draw)
    discriminator = Discriminator(3, width=8, depth=3, generator=draw, dtype=torch.float64, device="cpu")
    adam = torch.optim.Adam(again.parameters(), lr=1e-2)
    other_adam = torch.optim.Adam(discriminator.parameters(), lr=2e-2, betas=(0.5, 0.9))
    batch = reconstruct(again, again.pixels(IMAGES[batches.next()]), generator=draw)
    loss = BetaVAE(1.0)(batch).loss + 3.0 * discriminator(batch.codes)
    loss.mean().backward()
    adam.step()
    discriminator.zero_grad()
    second = again.posterior(IMAGES[batches.next()])
    permuted = losses.permute_columns(again.reparameterize(second, generator=draw).detach(), generator=draw)
    d_loss = losses.discriminator_loss(discriminator(batch.codes.detach()), discriminator(permuted))
    d_loss.backward()
    other_adam.step()
    assert float(seen["loss"]) == pytest.approx(float(loss.mean().detach()), rel=1e-12)
    assert float(seen["discriminator loss"]) == pytest.approx(float(d_loss.detach()), rel=1e-12)
    for ours, expected in ((trained.model, again), (trained.discriminator, discriminator)):
        for one, two in zip(ours.parameters(), expected.parameters(), strict=True):
            assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)


def test_one_step_descends_the_gradient_of_the_mean_loss():
    model, again = small(dtype=torch.float64), small(dtype=torch.float64)
    train_vae(model, BetaTCVAE(), IMAGES, n_steps=1, batch_size=12, learning_rate=1e-2, generator=generator(5))
    from toolkit.core.batches import Minibatches

    draw = generator(5)
    chosen = Minibatches(len(IMAGES), 12, generator=draw).next()
    batch = reconstruct(again, again.pixels(IMAGES[chosen]), generator=draw)
    adam = torch.optim.Adam(again.parameters(), lr=1e-2)
    BetaTCVAE()(batch, n_data=len(IMAGES)).loss.mean().backward()
    adam.step()
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)


def test_evaluation_sees_the_model_in_evaluation_mode():
    modes = []
    train_vae(
        model := small(), BetaVAE(), IMAGES, n_steps=4, generator=generator(), evaluate_every=2,
        evaluate=lambda done: modes.append((done, model.training)),
    )  # fmt: skip
    assert modes == [(2, False), (4, False)]


def test_one_image_and_batches_larger_than_the_data_are_enough():
    for objective in OBJECTIVES:
        trained = train_vae(small(objective), objective, IMAGES[:1], n_steps=3, batch_size=64, generator=generator())
        assert trained.history["loss"][-1] == trained.history["loss"][-1]
    # 2 + 2 + 1: the last batch of a pass is one image
    trained = train_vae(small(), BetaTCVAE(), IMAGES[:5], n_steps=6, batch_size=2, generator=generator())
    assert bool(torch.isfinite(torch.tensor(trained.history["loss"])).all())


def test_no_steps_leave_the_model_as_it_was():
    model = small()
    before = parameters(model)
    assert train_vae(model, BetaVAE(), IMAGES, n_steps=0).history.n_steps == 0
    assert same(before, parameters(model))


@pytest.mark.parametrize(
    ("options", "kind", "argument"),
    [
        ({"n_steps": -1}, ValueError, "n_steps"),
        ({"n_steps": 1, "batch_size": 0}, ValueError, "batch_size"),
        ({"n_steps": 1, "learning_rate": 0.0}, ValueError, "learning_rate"),
        ({"n_steps": 1, "learning_rate": float("nan")}, ValueError, "learning_rate"),
        ({"n_steps": 1, "images": IMAGES[:0]}, ValueError, "images"),
        ({"n_steps": 1, "images": IMAGES[:, :8]}, ValueError, "images"),
        ({"n_steps": 1, "images": IMAGES * 255}, ValueError, "images"),
        ({"n_steps": 1, "images": IMAGES.float() - 0.5}, ValueError, "images"),
        ({"n_steps": 1, "images": IMAGES.long()}, TypeError, "images"),
        ({"n_steps": 1, "images": GRID}, TypeError, "render"),
        ({"n_steps": 1, "render": sprites.render}, ValueError, "render"),
    ],
)
def test_what_does_not_fit_is_refused(options, kind, argument):
    given = {"images": IMAGES} | options
    with pytest.raises(kind, match=argument):
        train_vae(small(), BetaVAE(), given.pop("images"), **given)


def test_masks_for_a_model_of_bytes_are_refused_because_they_would_be_nearly_black():
    with pytest.raises(ValueError, match="white=1"):
        train_vae(small(white=255), BetaVAE(), IMAGES, n_steps=1)
    with pytest.raises(ValueError, match="white=1"):
        train_vae(small(white=255), BetaVAE(), GRID, render=partial(sprites.render, image_size=16), n_steps=1)


def test_an_objective_that_does_not_fit_the_latents_is_refused():
    with pytest.raises(ValueError, match="real latents only"):
        train_vae(small(JointVAE()), BetaTCVAE(), IMAGES, n_steps=1)


@pytest.mark.parametrize("categories", [None, 3])
def test_the_bound_of_all_images_is_the_mean_over_images_one_by_one(categories):
    model = multilayer_vae((16, 16), 3, categories, hidden=(5,), white=1, generator=generator(), device="cpu").double()
    found = evidence_bound(model, IMAGES, batch_size=1, generator=generator(1))
    draw, terms = generator(1), []
    for image in IMAGES:
        posterior = model(image[None])
        logits = model.decode(model.reparameterize(posterior, generator=draw, temperature=0))
        reconstruction = losses.bernoulli_reconstruction(logits, image[None].double())
        real, categorical = losses.posterior_kl(posterior)
        terms.append(
            [float(reconstruction.detach()), float((real if categorical is None else real + categorical).detach())]
        )
    expected = torch.tensor(terms, dtype=torch.float64).mean(0)
    assert [found.reconstruction, found.kl] == pytest.approx(expected.tolist(), rel=1e-12)
    assert found.elbo == pytest.approx(-float(expected.sum()))
    whole = evidence_bound(model, GRID, render=partial(sprites.render, image_size=16), generator=generator(1))
    assert whole.kl == pytest.approx(found.kl, rel=1e-9)
    assert whole.to_dict()["n_images"] == len(IMAGES)
    assert model.training
