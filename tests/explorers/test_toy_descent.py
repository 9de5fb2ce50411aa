"""The runs are honest descents: RAM follows the exact gradient, LR goes astray where the signal is faint."""

import math

import numpy as np
import pytest
import torch

from toolkit.estimators.chains import Factorized
from toolkit.explorers import explore_toy_descent, toy_descent
from toolkit.explorers.toy_descent import EVERY, LEARNERS, RATES, RUNS, STEPS, Descent, compute, describe, draw, learn

SHORT = 200


def test_ram_is_the_exact_descent():
    """One coin's RAM has no variance: every run follows the gradient μ (1 − μ) (1 − 2 t)."""
    runs = learn("RAM", SHORT)
    for place, (t, rate) in enumerate(RATES.items()):
        logit = 0.0
        for step in range(SHORT + 1):
            mean = 1 / (1 + math.exp(-logit))
            if step % EVERY == 0:
                np.testing.assert_allclose(runs[place, step // EVERY], mean, rtol=1e-9)
            logit -= rate * mean * (1 - mean) * (1 - 2 * t)


@pytest.mark.parametrize("name", ["LR", "Gumbel-softmax 0.5"])
def test_a_run_follows_a_loop_by_hand(name):
    """The batch is nothing but many runs: the first steps again, from the same generator, target by target."""
    generator = torch.Generator().manual_seed(0)
    targets, rates = torch.tensor(list(RATES), dtype=torch.float64), list(RATES.values())
    logits = torch.zeros(len(rates), RUNS, 1, dtype=torch.float64)
    for _ in range(EVERY):
        found = LEARNERS[name](Factorized(logits, lambda z: (z[..., 0] - targets[:, None]) ** 2), 1, generator)
        logits = torch.stack([at - rate * g for at, rate, g in zip(logits, rates, found.gradients[0][0], strict=True)])
    np.testing.assert_allclose(learn(name, EVERY)[:, 1], torch.sigmoid(logits)[..., 0].numpy(), rtol=1e-12)


def test_lr_goes_astray_where_the_signal_is_faint():
    clear, middle, faint = (Descent(t, {"RAM": runs, "LR": runs}) for t, runs in zip(RATES, learn("LR"), strict=True))
    assert clear.n_steps == STEPS and clear.ends("LR") == (RUNS, 0, 0)
    assert np.median(clear.cost("LR")[-1]) == pytest.approx(0.20289, abs=1e-4)
    assert 0 < middle.ends("LR")[2] < RUNS / 4
    right, _, wrong = faint.ends("LR")
    assert min(right, wrong) > RUNS / 4 and right + wrong > 0.9 * RUNS


@pytest.mark.parametrize("name", ["Gumbel-softmax 0.5", "straight-through"])
def test_biased_ones_stall(name):
    for t, runs in zip(RATES, learn(name, SHORT), strict=True):
        found = Descent(t, {"RAM": runs, name: runs})
        assert found.ends(name)[1] > 0.75 * RUNS


def test_costs():
    runs = learn("RLOO-2", SHORT)[1]
    found = Descent(0.49, {"RAM": runs, "RLOO-2": runs})
    assert found.best == pytest.approx(0.49**2) and sum(found.ends("RLOO-2")) == RUNS
    np.testing.assert_allclose(found.cost("RLOO-2"), (1 - runs) * 0.49**2 + runs * 0.51**2)
    assert runs.shape == (SHORT // EVERY + 1, RUNS) and (runs[0] == 0.5).all()


def test_unknown():
    with pytest.raises(ValueError, match=r"0\.3"):
        compute(0.3)
    with pytest.raises(ValueError, match="name"):
        learn("Magic")


def test_view(monkeypatch):
    monkeypatch.setattr(toy_descent, "learn", lambda name: learn(name, SHORT))
    view = explore_toy_descent()
    assert "t = 0.499, 64 runs of 200 steps" in view.text and "Where the coins end: RAM:" in view.text
    for t in RATES:
        view.controls["t"].value = t
        assert view.error is None and f"t = {t:g}" in view.text
        assert all(name in view.drawn.svg.to_string() for name in LEARNERS)
    view.reset()
    assert view.text == describe(compute())


def test_the_title_says_what_became_of_them():
    def runs(*ends):
        return np.stack([np.full(RUNS, 0.5), np.repeat(ends, RUNS // len(ends))])

    fates = {"RAM": runs(0.01), "LR": runs(0.01, 0.99), "Gumbel-softmax 0.5": runs(0.5)}
    found = Descent(0.45, {name: fates.get(name, runs(0.3)) for name in LEARNERS})
    assert found.ends("LR") == (RUNS // 2, 0, RUNS // 2)
    assert "RAM: all right; LR: many wrong; RLOO-2: nearly all open" in describe(found)
    text = draw(found).to_string()
    assert f"RAM arrives, LR fails {RUNS // 2} of {RUNS} times, Gumbel-softmax 0.5 stalls" in text
