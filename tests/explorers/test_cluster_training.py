"""The networks are trained as the paper says, their frames are measured right, and a setting is trained only once."""

import math
import time

import numpy as np
import pytest
import torch

from toolkit.explorers import cluster_training, explore_cluster_training, plane_training
from toolkit.explorers.cluster_training import FRAMES, Look, describe, draw, first_runs
from toolkit.explorers.plane_training import ARROWS, BETWEEN, CELLS, STEPS, Setting, start, train
from toolkit.imsat.evaluation import clustering_accuracy


@pytest.fixture(scope="module")
def first():
    return first_runs()


@pytest.fixture
def short(monkeypatch):
    for module in (plane_training, cluster_training):
        monkeypatch.setattr(module, "STEPS", 3 * BETWEEN)


def last(setting):
    *_, run = train(setting)
    return run


def kl(p, q):
    return (p * (p.log() - q.log())).sum(1)


@pytest.mark.parametrize("perturbation", ["none", "RPT", "VAT"])
def test_it_follows_a_loop_by_hand(short, perturbation):
    """The loss written out on probabilities, with VAT's gradient by hand for one power iteration."""
    setting = Setting(perturbation=perturbation, epsilon=0.2, lam=0.3, mu=2.0, xi=0.5)
    found = last(setting)
    training, points = start(setting)
    model, generator = training.network.train(), training.generator
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3 * BETWEEN):
        chosen = torch.randperm(len(points), generator=generator)[:200]
        x = points.inputs[chosen]
        p = model(x).softmax(1)
        mean = p.mean(0)
        loss = setting.lam * (-(p * p.log()).sum(1).mean() + setting.mu * (mean * mean.log()).sum())
        running = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in (model[1], model[4])]
        if perturbation != "none":
            direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            direction = direction / direction.norm(dim=1, keepdim=True)
            if perturbation == "VAT":
                probe = direction.requires_grad_()
                cost = kl(p.detach(), model(x + setting.xi * probe).softmax(1)).sum()
                (gradient,) = torch.autograd.grad(cost, probe)
                direction = gradient / gradient.norm(dim=1, keepdim=True)
            loss = loss + kl(p.detach(), model(x + setting.epsilon * direction.detach()).softmax(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for layer, (average, variance) in zip((model[1], model[4]), running, strict=True):
            layer.running_mean.copy_(average)
            layer.running_var.copy_(variance)
    logits = model.eval()(points.inputs).detach()
    frame = found.frames[-1]
    p = logits.softmax(1)
    assert frame.conditional_entropy == pytest.approx(float(-(p * p.log()).sum(1).mean()), rel=1e-6)
    assert frame.marginal_entropy == pytest.approx(float(-(p.mean(0) * p.mean(0).log()).sum()), rel=1e-6)
    assert frame.accuracy == clustering_accuracy(points.labels, logits.argmax(1))


def test_frames_show_the_network_as_it_is(monkeypatch):
    for module in (plane_training, cluster_training):
        monkeypatch.setattr(module, "STEPS", 5 * BETWEEN)
    setting = Setting(perturbation="RPT", epsilon=0.21)
    run = last(setting)
    assert [frame.step for frame in run.frames] == [0, 10, 20, 30, 40, 50]
    assert run.frames[0].regions.shape == (CELLS**2, 2)
    first, end = run.frames[0], run.frames[-1]
    assert first.conditional_entropy == pytest.approx(math.log(2), abs=0.01) and first.self_augmentation < 1e-4
    assert end.conditional_entropy < 0.3
    for frame in run.frames:
        np.testing.assert_allclose(frame.regions.sum(1), 1, rtol=1e-6)
        lengths = np.linalg.norm(frame.moved - run.points.inputs[:ARROWS].numpy(), axis=1)
        np.testing.assert_allclose(lengths, 0.21)
    again = last(setting)
    assert [frame.conditional_entropy for frame in again.frames] == [frame.conditional_entropy for frame in run.frames]


def test_training_is_in_double_precision_on_the_cpu():
    training, points = start(Setting(clusters=3, data="rings"))
    assert {(p.dtype, p.device.type) for p in training.network.parameters()} == {(torch.float64, "cpu")}
    assert training.network(points.inputs[:4]).shape == (4, 3)


def test_settings_that_are_the_same_run_are_the_same():
    assert Setting(perturbation="RPT", xi=10.0).plain() == Setting(perturbation="RPT").plain()
    assert Setting(perturbation="RPT", epsilon=0.1).plain() != Setting(perturbation="RPT").plain()
    same = Setting(perturbation="none", epsilon=0.03, xi=3.0).plain()
    assert same == Setting(perturbation="none").plain() != Setting(perturbation="none", mu=1.0).plain()
    assert same != Setting(perturbation="none", lam=1.0).plain(), "Adam's epsilon makes λ count even then"
    assert Setting(epsilon=0.1 + 0.2).plain() == Setting() != Setting(xi=1.0).plain()


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("data", {"data": "squares"}),
        ("perturbation", {"perturbation": "noise"}),
        ("clusters", {"clusters": 1}),
        ("epsilon", {"epsilon": -1.0}),
        ("mu", {"mu": math.inf}),
    ],
)
def test_bad_settings_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        Setting(**values)


def test_the_point(first):
    """With less information VAT finds the moons; without it the network has all of it and finds them not."""
    vat, without = (run.frames[-1] for run in first)
    assert vat.accuracy > 0.99 and without.accuracy < 0.95
    assert vat.self_augmentation < 0.1 < 0.2 < without.self_augmentation
    text = describe(Look(first[0], FRAMES, first[1]))
    assert "accuracy 100 %" in text and "without a perturbation ends at 89 %" in text
    assert f"{without.marginal_entropy - without.conditional_entropy:.2f}" in text
    picture = draw(Look(first[0], FRAMES, first[1])).to_string()
    assert "Moons, VAT: accuracy 100 %; without a perturbation 89 %" in picture and ">none</text>" in picture
    text = describe(Look(first[1], FRAMES, None))
    assert "no perturbation" in text and "ε and ξ change nothing" in text


def test_every_frame_can_be_drawn(first):
    for frame in (0, 1, FRAMES // 2, FRAMES, FRAMES + 5):
        look = Look(first[0], frame, first[1])
        picture = draw(look).to_string()
        assert "nan" not in picture and "…" not in picture
        assert ("Step" in picture) == (look.now.step < STEPS) and f"step {look.now.step} of" in describe(look)


@pytest.mark.parametrize("data", ["rings", "blobs"])
@pytest.mark.parametrize("clusters", [2, 4])
def test_other_data_and_clusters(short, data, clusters):
    run = last(Setting(data=data, clusters=clusters, mu=0.0, epsilon=0.0))
    look = Look(run, FRAMES, None)
    assert f"log {clusters}" in draw(look).to_string() and f"{clusters} clusters" in describe(look)
    assert ("No setting that we tried separates the rings" in describe(look)) == (data == "rings")


def wait_for(view, condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert view.join(60) and condition()


def test_a_setting_is_trained_once_and_frames_only_look(monkeypatch, short, first):
    monkeypatch.setattr(cluster_training, "first_runs", lambda: first)
    view = explore_cluster_training()
    started = []
    monkeypatch.setattr(cluster_training, "train", lambda setting: (started.append(setting), train(setting))[1])
    assert view.error is None and view.text == describe(Look(first[0], FRAMES, first[1])) and view.drawn is not None
    view.controls["frame"].value = 3
    assert "step 30 of" in view.text and not view.running
    view.controls["perturbation"].value = "none"
    view.controls["epsilon"].value = 0.03
    assert "no perturbation" in view.text and "step 30 of" in view.text and not started
    view.controls["perturbation"].value = "RPT"
    wait_for(view, lambda: len(view.kept) == 3)
    assert started == [Setting(perturbation="RPT", epsilon=0.03)] and "RPT with ε = 0.03" in view.text
    view.controls["perturbation"].value = "VAT"
    view.controls["data"].value = "blobs"  # the first of the two is stopped
    wait_for(view, lambda: Setting(data="blobs", epsilon=0.03) in view.kept)
    assert "Blobs, VAT" in view.text and len(started) == 3
    view.controls["data"].value = "moons"
    view.controls["perturbation"].value = "RPT"
    assert view.join(60) and "Moons, RPT" in view.text
    assert [setting.perturbation for setting in started].count("RPT") == 1
    view.reset()
    assert view.text == describe(Look(first[0], FRAMES, first[1])) and not view.running
    assert view.play.max == FRAMES and "Train" in view.run_button.description


def test_stop_keeps_the_picture_but_not_the_run(monkeypatch, first):
    monkeypatch.setattr(cluster_training, "first_runs", lambda: first)
    view = explore_cluster_training()
    view.controls["mu"].value = 1.0
    deadline = time.monotonic() + 60
    while "μ = 1" not in view.text and time.monotonic() < deadline:
        time.sleep(0.01)
    view.stop(wait=True, timeout=60)
    assert not view.running and len(view.kept) == 2 and "μ = 1" in view.text and view.error is None
    view.controls["frame"].value = 0
    assert "μ = 1" in view.text and "step 0 of" in view.text
