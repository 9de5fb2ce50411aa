"""The training that a reader starts is the study's, the same everywhere, and stays beside the two first runs."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.datasets import load
from toolkit.estimators.bounds import evidence_lower_bound
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound
from toolkit.experiments.sbn_methods import default_methods
from toolkit.explorers import explore_sbn_training, sbn_training
from toolkit.explorers.sbn_looks import BIASED, image_rows, leaders, look_of
from toolkit.explorers.sbn_training import ESTIMATORS, Comparison, describe, draw, start, times, train
from toolkit.lessons.svg import Series


def short(estimator="RAM", sizes="64-32", rate=3e-3, n_steps=8):
    return list(train(estimator, sizes, rate, n_steps))


@pytest.fixture(scope="module")
def first():
    return short("RAM")[-1], short("LR")[-1]


def test_it_follows_a_loop_by_hand():
    curves = short(n_steps=3)[-1]
    training = start()
    model = training.model
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        problem = SigmoidBeliefBound(model, training.next_images(), entropy="analytic")
        samples = RAM()(problem, 1, training.noise)
        optimizer.zero_grad()
        (-surrogate(problem, samples) / 100).backward()
        optimizer.step()
    assert curves.bound == sbn_training.held_out_bound(training)
    many = evidence_lower_bound(model, training.images.test, 400, torch.Generator().manual_seed(1))
    assert curves.bound == pytest.approx(many.mean, abs=0.15)
    assert curves.variances[-1][1:] == tuple(training.variances(3)[f"{kind} variance"] for kind in ("fixed", "total"))


def test_everything_is_in_double_precision_on_the_cpu():
    training = start("NVIL", "64-32-32")
    training.step(0)
    kinds = {(part.dtype, part.device.type) for part in training.model.state_dict().values()}
    assert kinds == {(torch.float64, "cpu")} and training.images.test.dtype == torch.float64
    assert training.model.sizes == (64, 32, 32) and training.settings.learning_rate == 3e-3


def test_curves_grow_and_variances_are_measured_at_quarters():
    moments = short("LR", n_steps=22)
    assert [curves.done for curves in moments] == [0, 5, 6, 10, 12, 15, 18, 20, 22]
    assert [row[0] for row in moments[-1].variances] == [0, 6, 12, 18, 22]
    assert moments[-1].bound > moments[0].bound + 5
    assert moments[0].evaluations == 0 and moments[-1].evaluations == 1
    assert short("RAM")[-1].evaluations == 33
    again = short("LR", n_steps=22)[-1]
    assert again.bounds == moments[-1].bounds and again.variances == moments[-1].variances


def test_the_digits_shown_are_one_of_each_class():
    curves = short(n_steps=1)[-1]
    assert curves.digits.shape == curves.reconstructed.shape == curves.generated.shape == (10, 8, 8)
    assert set(np.unique(curves.digits)) == {0.0, 1.0}
    assert all(part.min() > 0 and part.max() < 1 for part in (curves.reconstructed, curves.generated))
    test = sbn_training._images().test
    assert load("digits").test.labels[list(sbn_training._shown())].tolist() == list(range(10))
    assert torch.equal(torch.from_numpy(curves.digits).reshape(10, 64), test[list(sbn_training._shown())])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_trains_the_deep_network(estimator):
    curves = short(estimator, "64-32-32", 1e-2, n_steps=2)[-1]
    assert curves.done == 2 and np.isfinite(curves.bound)
    assert all(value > 0 for row in curves.variances for value in row[1:])


def test_the_point_of_the_first_picture(first):
    ram, lr = first
    assert lr.variances[-1][1] > 1e4 * ram.variances[-1][1] and ram.bound > lr.bound
    comparison = Comparison(ram, first)
    picture = draw(comparison).to_string()
    assert "LR: " in picture and "× RAM&#x27;s variance" in picture and "RAM, fresh" in picture
    text = describe(comparison)
    assert "33 evaluations" in text and "LR in the first run" in text and "RAM in the first run" not in text


def test_pictures_and_sentences_of_every_moment(first):
    for moment in short("RAM", "64-32", 1e-3, n_steps=12):
        comparison = Comparison(moment, first)
        picture, text = draw(comparison).to_string(), describe(comparison)
        assert "first RAM" in picture and "…" not in picture
        assert f"after {moment.done} of 12 steps" in text
    assert "variance" in picture and "RAM, 12 steps" in picture


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_label_is_cut(first, estimator):
    ram, _ = first
    for setting in (ram, replace(ram, sizes="64-32-32")):
        now = replace(setting, estimator=estimator, variances=((8, 1e-5, 2e-5),))
        picture = draw(Comparison(now, first)).to_string()
        assert f"{estimator}, fresh" in picture and "…" not in picture


@pytest.mark.parametrize(
    ("argument", "values"),
    [("estimators", {"estimator": "magic"}), ("sizes", {"sizes": "65-3"}), ("n_steps", {"n_steps": 0})],
)
def test_bad_arguments_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        next(train(**values))


def test_ratios_have_one_digit():
    written = [times(value) for value in (0.5, 3.14, 16.0, 949.0, 170_000.0, 0.0, float("inf"))]
    assert written == ["0.5", "3.1", "20", "900", "200,000", "?", "?"]


def test_looks_tell_estimators_apart_and_say_their_family():
    names = default_methods("laptop", "digits", 64)
    looks = {(look.color, look.dashes) for look in map(look_of, names)}
    assert len(looks) == len(names)
    assert len({look_of(name).color for name in BIASED}) == 1 and look_of("RAM").color == look_of("RAM-fresh").color
    assert look_of("RLOO-33") == look_of("RLOO-65")
    with pytest.raises(ValueError, match="estimator"):
        look_of("magic")


def test_leaders_go_from_a_line_to_the_edge():
    lines = [Series("a", [0, 1], [2, 3]), Series("b", [0, 4], [5, 6]), Series("c", [], [])]
    (leader,) = leaders(lines, 4)
    assert (leader.x, leader.y, leader.label) == ([1, 4], [3, 3], "")


def test_rows_need_as_many_images():
    images = np.zeros((2, 8, 8))
    assert image_rows([("a", images), ("b", images)]).to_string().count("<image") == 4
    with pytest.raises(ValueError, match="rows"):
        image_rows([("a", images), ("b", images[:1])])


def test_the_view_trains_stops_and_comes_back(monkeypatch, first):
    monkeypatch.setattr(sbn_training, "first_runs", lambda: first)
    view = explore_sbn_training()
    assert view.error is None and view.text.startswith("RAM, network 64-32") and view.drawn is not None
    assert view.text == describe(Comparison(first[0], first))
    view.controls["estimator"].value = "DisARM"
    view.run()
    deadline = time.monotonic() + 30
    while "DisARM" not in view.text and time.monotonic() < deadline:
        time.sleep(0.01)
    view.stop()
    assert view.join(30) and view.error is None and "DisARM" in view.text and "LR in the first run" in view.text
    view.reset()
    assert "DisARM" not in view.text
