"""The live model learns as the package trains, its frames are scored right, and the reader can start and stop it."""

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.disentanglement import BetaVAE, GaussianCodes, informations, profile, train_vae
from toolkit.explorers import explore_live_vae
from toolkit.explorers.live_vae import BETAS, BETWEEN, GRID, SEEDS, Run, Setting, describe, draw, images, start, train
from toolkit.lessons import style


@pytest.fixture(scope="module")
def short():
    """The first 110 steps: scored at 0, 50, 100 and 110."""
    return list(train(Setting(1.0, 1), n_steps=110))


def test_it_trains_as_the_package_does(short):
    setting = Setting(1.0, 1)
    model, generator = start(setting)
    train_vae(model, BetaVAE(1.0), images(), n_steps=110, batch_size=64, learning_rate=2e-3, generator=generator)
    with torch.no_grad():
        posterior = model.posterior(images())
        shown = model.decode(posterior.mean[[0, 191]]).sigmoid()
    torch.testing.assert_close(short[-1].reconstructions[[0, -1]], shown, rtol=1e-9, atol=1e-12)
    factors = torch.cartesian_prod(*(torch.arange(size) for size in (1, 3, 1, 8, 8)))
    codes = GaussianCodes(posterior.mean, posterior.standard_deviation, factors)
    scores = profile(informations(codes, n_samples=400, generator=torch.Generator().manual_seed(0)))
    last = short[-1]
    assert last.unibound[-1] == pytest.approx(scores.unibound, abs=1e-9)
    assert last.mig[-1] == pytest.approx(scores.mig, abs=1e-9)
    assert last.information[-1] == pytest.approx(scores.information, abs=1e-9)


def test_frames(short):
    assert [run.step for run in short] == [0, 50, 100, 110]
    assert short[-1].steps == (0, 50, 100, 110)
    assert short[1].unibound == short[-1].unibound[:2]
    assert short[0].information[0] < 0.02
    assert BETWEEN == 50
    for run in short:
        assert run.rows.shape == (4, 5, 16, 16)
        assert all(low <= high + 1e-9 for low, high in zip(run.unibound, run.mig, strict=True))
        assert words_outside(draw(run)) == []


def test_it_learns():
    *_, run = train(Setting(1.0, 0), n_steps=400)
    assert run.information[-1] > 0.5
    originals = images()[[0, 191]].double()
    assert float((run.reconstructions[[0, -1]] - originals).square().mean()) < 0.03
    assert any(role.kind != "dead" for role in run.roles)


def test_the_same_setting_gives_the_same_run(short):
    again = list(train(Setting(1.0, 1), n_steps=110))[-1]
    assert again.unibound == short[-1].unibound
    assert torch.equal(again.rows, short[-1].rows)
    other = list(train(Setting(1.0, 2), n_steps=50))[-1]
    assert other.mig != short[1].mig


def test_the_grid_is_complete_and_visible():
    assert len(images()) == len(GRID) == 192
    assert images().dtype == torch.uint8 and int(images().max()) == 1
    assert bool((images().flatten(1).sum(1) > 0).all())
    assert len(torch.unique(images().flatten(1), dim=0)) == 192


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n_steps"):
        next(train(Setting(), n_steps=-1))
    with pytest.raises(ValueError, match="beta"):
        next(train(Setting(-1.0)))
    with pytest.raises(ValueError, match="first"):
        explore_live_vae(n_steps=10, first=11)


def with_scores(run, unibound, mig, information):
    values = {"unibound": unibound, "mig": mig, "information": information}
    return Run(**{**vars(run), **{name: (*getattr(run, name)[:-1], value) for name, value in values.items()}})


def test_the_title_follows_the_scores(short):
    last = short[-1]
    for scores, words in (
        ((0.0, 0.0, 0.01), "next to nothing"),
        ((0.4, 0.4, 0.45), "UniBound 0.40: no latent needs another"),
        ((0.1, 0.3, 0.9), "MIG 0.30, but UniBound 0.10"),
        ((0.0, 0.02, 0.9), "UniBound only 0"),
        ((1.0, 1.0, 1.0), "UniBound 1.00: no latent"),
    ):
        picture = draw(with_scores(last, *scores))
        assert words in picture.to_string()
        assert words_outside(picture) == []


def test_the_sentence(short):
    text = describe(short[-1])
    assert text.startswith("β = 1, seed 1, step 110 of 3,000. UniBound ")
    assert all(name in text for name in ("z1", "z2", "z3", "z4", "unique", "redundant", "complementary"))
    fallen = with_scores(short[-1], 0.0, 0.1, 0.9)
    fallen = Run(**{**vars(fallen), "unibound": (0.0, 0.3, 0.1, 0.0)})
    assert "UniBound was 0.30 at step 50 and fell." in describe(fallen)


def test_the_view_trains_and_stops():
    view = explore_live_vae(n_steps=100, first=50)
    assert view.error is None and view.result.step == 50
    assert "Start trains from step 0" in view.text
    assert view.drawn.width <= style.WIDEST
    opening = view.result
    for beta, seed in ((BETAS[0], SEEDS[-1]), (BETAS[-1], SEEDS[0])):
        view.controls["beta"].value, view.controls["seed"].value = beta, seed
        view.run()
        assert view.join(120)
        assert view.error is None
        assert view.result.setting == Setting(beta, seed) and view.result.step == 100
        assert view.progress.value == 1.0
        assert "Start trains" not in view.text
    view.reset()
    assert view.result is opening
    view.run()
    view.stop(wait=True, timeout=120)
    assert not view.running
    assert view.result.setting == Setting() and view.result.n_steps == 100
    assert view.result.unibound[0] == opening.unibound[0]
    view.close()


def test_the_stored_state_is_what_training_gives():
    view = explore_live_vae(n_steps=3000, first=100)
    *_, run = train(Setting(), n_steps=100)
    assert view.result.unibound == run.unibound
    assert view.result.n_steps == 3000 and view.result.opening
    assert run.to_dict()["setting"] == {"beta": 2.0, "seed": 0}
    assert repr(run) == "Run(β = 2, seed 0: step 100 of 3000)"
