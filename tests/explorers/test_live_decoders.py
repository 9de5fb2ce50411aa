"""Two decoders in step: they read the same documents, are measured as the package measures, and start alike."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_live_decoders, live_decoders
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.live_decoders import (
    NINE,
    STEPS,
    Measured,
    Setting,
    describe,
    draw,
    held_out,
    loss,
    start,
    train,
)
from toolkit.grammars.conditioning import Vocabulary
from toolkit.grammars.inference import infer
from toolkit.grammars.metrics import kl_by_position, losses_by_position
from toolkit.grammars.predictions import predict
from toolkit.lessons import style


@pytest.fixture(scope="module")
def short():
    """Twelve steps, measured at 0, 5, 10 and 12."""
    return list(train(Setting(n_steps=12), between=5))


def test_both_begin_alike_and_read_the_same_documents(short):
    assert [run.step for run in short] == [0, 5, 10, 12]
    first = short[0]
    assert torch.equal(first.baseline.kl, first.told.kl) and "both models are the same" in draw(first).to_string()
    hidden, told = next(live_decoders._pairs(Setting()))
    behind = slice(1 + hidden.prefix_length, None)
    assert torch.equal(hidden.tokens[:, behind], told.tokens[:, behind]) and torch.equal(
        hidden.targets[:, 4:], told.targets[:, 4:]
    )
    mask = Vocabulary.of(example_family(NINE)).mask
    assert bool((hidden.tokens[:, 1:4] == mask).all())
    assert torch.equal((told.tokens[:, 1:4] != mask).all(1), told.shown) and 0 < int(told.shown.sum()) < len(told)
    _, top = next(live_decoders._pairs(Setting(depth=1)))
    assert torch.equal(top.tokens[:, 2:], hidden.tokens[:, 2:]) and not torch.equal(
        top.tokens[:, 1], hidden.tokens[:, 1]
    )


def test_the_loss_in_groups_is_that_of_whole_rows():
    model = start(Setting(seed=3))
    read, _ = next(live_decoders._pairs(Setting(seed=3)))
    with torch.no_grad():
        whole = functional.cross_entropy(model(read.tokens)[read.loss_mask], read.targets[read.loss_mask])
        assert float(loss(model, read)) == pytest.approx(float(whole), rel=1e-5)


def test_models_are_measured_against_exact_inference(short):
    run = short[-1]
    assert run.models is not None and short[1].models is None
    documents = held_out(NINE).documents
    found = infer(example_family(NINE), documents)
    for model, measured, curve in zip(run.models, (run.baseline, run.told), run.curves, strict=True):
        said = predict(model, documents)
        kl = kl_by_position(found.next_token_probs(), said, documents)
        assert curve[-1] == pytest.approx(kl.overall)
        assert run.kl(measured is run.told) == pytest.approx(kl.mean[: len(run.lengths)].tolist())
        drawn = losses_by_position(said, documents)
        assert abs(measured.loss - drawn.overall) < 4 * drawn.overall_standard_error
    shown = losses_by_position(predict(run.models[1], documents, depth=3), documents)
    assert run.told.loss_shown is not None and run.baseline.loss_shown is None
    assert abs(run.told.loss_shown - shown.overall) < 4 * shown.overall_standard_error


def test_it_learns_and_repeats(short):
    assert all(curve[-1] < 0.6 * curve[0] for curve in short[-1].curves)
    again = list(train(Setting(n_steps=12), between=5))[-1]
    assert again.curves == short[-1].curves
    other = list(train(Setting(n_steps=12, seed=1), between=20))[-1]
    assert other.curves[0][-1] != again.curves[0][-1] and other.steps == (0, 12)


def test_what_is_further_off_is_said_to_be(short):
    run = short[-1]
    twice = replace(run, told=Measured(2 * run.baseline.kl, 1.0))
    worse, better = twice.sides()
    n = len(run.lengths)
    assert len(worse) == n and better == ()
    assert f"worse at {n} of {n}" in draw(twice).to_string() and "the second is worse after 0 to" in describe(twice)
    turned = replace(run, baseline=twice.told, told=run.baseline)
    assert turned.sides() == ((), worse) and f"better at {n} of {n}" in draw(turned).to_string()
    same = replace(run, told=run.baseline)
    assert same.sides() == ((), ()) and "no clear difference" in draw(same).to_string()
    assert "not apart at any prompt length" in describe(same)


@pytest.mark.parametrize(
    ("setting", "words"),
    [(Setting(depth=0), "depth"), (Setting(depth=4), "depth"), (Setting(n_steps=-1), "n_steps"), (Setting("no"), "no")],
)
def test_bad_settings(setting, words):
    with pytest.raises(ValueError, match=words):
        next(train(setting))


def test_the_view_trains_and_stops():
    view = explore_live_decoders(n_steps=4)
    assert view.error is None and view.result.step == 4 and "Start trains" in view.text
    assert view.drawn.width <= style.WIDEST
    opening = view.result
    for name, depth, seed in ((TOY, 1, 3), (NINE, 2, 0)):
        view.controls["name"].value, view.controls["depth"].value = name, depth
        view.controls["seed"].value = seed
        view.run()
        assert view.join(120)
        assert view.error is None, view.text
        assert view.result.setting == Setting(name, depth, 4, seed) and view.result.step == 4
        assert "Start trains" not in view.text and "nan" not in view.text
        assert not words_outside(view.drawn.svg) and "nan" not in view.drawn.svg.to_string()
    view.reset()
    assert view.result is opening
    view.controls["n_steps"].value = STEPS[-1]
    view.run()
    view.stop(wait=True, timeout=120)
    assert not view.running and view.result.setting.n_steps == STEPS[-1]
    assert view.result.to_dict()["setting"]["seed"] == 0 and "D_M = 3" in repr(view.result)
    view.close()
