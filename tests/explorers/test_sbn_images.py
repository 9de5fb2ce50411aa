"""The images over training are those of one training, computed once, and the slider only looks them up."""

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_sbn_images, sbn_images
from toolkit.explorers.sbn_images import RATE, compute, describe, draw, snapshots
from toolkit.explorers.sbn_training import held_out_bound, look_at, start


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(sbn_images, "STEPS", 20)
    monkeypatch.setattr(sbn_images, "BETWEEN", 10)
    snapshots.cache_clear()
    yield
    snapshots.cache_clear()


def test_they_are_moments_of_one_training():
    found = snapshots("LR")
    assert list(found) == [0, 10, 20]
    training = start("LR", rate=RATE)
    for step in range(10):
        training.step(step)
    assert found[10].bound == held_out_bound(training)
    for ours, theirs in zip(
        (found[10].digits, found[10].reconstructed, found[10].generated), look_at(training), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert snapshots("LR") is found


def test_wrong_pixels_are_an_expectation():
    snapshot = snapshots("RAM")[20]
    training = start("RAM", rate=RATE)
    for step in range(20):
        training.step(step)
    generator = torch.Generator().manual_seed(3)
    test = training.images.test
    drawn = [(training.model.reconstruct(test, generator).images != test).sum(1).double().mean() for _ in range(30)]
    assert snapshot.wrong == pytest.approx(float(torch.stack(drawn).mean()), abs=0.15)
    assert snapshots("RAM")[0].wrong > snapshot.wrong + 5


def test_sentences_compare_at_the_same_step():
    assert "as many with RLOO-2" in describe(compute("RAM", 20))
    assert "as many with RLOO-2" in describe(compute("LR", 10))
    assert "as many with RAM" in describe(compute("RLOO-2", 10))
    assert describe(compute("RAM", 0)).startswith("Before training") and "noise" in describe(compute("RAM", 0))
    assert "After 10 steps with LR" in draw(compute("LR", 10)).to_string()


def test_rounding_errors_do_not_reach_the_sentence(monkeypatch):
    monkeypatch.setattr(sbn_images, "STEPS", 60)
    first = describe(compute("RAM", 60))

    def shaken(*arguments, **options):
        training = start(*arguments, **options)
        with torch.no_grad():
            for parameter in training.model.parameters():
                parameter.mul_(1 + 1e-14)
        return training

    snapshots.cache_clear()
    monkeypatch.setattr(sbn_images, "start", shaken)
    assert describe(compute("RAM", 60)) == first


@pytest.mark.parametrize(("argument", "values"), [("estimator", {"estimator": "NVIL"}), ("step", {"step": 15})])
def test_out_of_range(argument, values):
    with pytest.raises(ValueError, match=argument):
        compute(**values)


def test_the_view_walks_over_the_steps_without_training_again(monkeypatch):
    view = explore_sbn_images()
    assert view.error is None and "After 20 steps with RAM" in view.text
    monkeypatch.setattr(sbn_images, "start", None)
    pictures = set()
    for step in (0, 10, 20):
        view.controls["step"].value = step
        assert view.error is None
        pictures.add(view.drawn.svg.to_string())
    assert len(pictures) == 3
    view.controls["step"].value = 0
    view.reset()
    assert "After 20 steps with RAM" in view.text
