"""The convolutional study: our Trainer and torch, from the same weights on the same batches."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.autograd import models
from toolkit.datasets import load
from toolkit.experiments import find_study, mnist_convnet
from toolkit.experiments.cli import main
from toolkit.experiments.mnist_convnet import MnistConvnetConfig, measure, report, run, shifted, torch_network
from toolkit.experiments.records import load_records
from toolkit.experiments.study import StudyInterrupted, Task

SMALL = MnistConvnetConfig(n_epochs=2, batch_size=30, learning_rate=3e-3, seeds=(0,), device="cpu", dtype="float64")
CONTENDERS = ("autograd", "torch")


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """100 digits to train on and 50 held out, so that a training takes a moment; 100 is no multiple of the batch."""

    def small(name, variant):
        data = load(name, variant=variant)
        return replace(data, train=data.train[::40], test=data.test[::20])

    monkeypatch.setattr(mnist_convnet, "load", small)


@pytest.fixture(scope="module")
def unbroken():
    return {}


def measured(cache):
    if "whole" not in cache:
        cache["whole"] = measure(Task(SMALL, 0))
    return cache["whole"]


def test_both_trainings_are_the_same_in_double_precision(unbroken):
    metrics = measured(unbroken).metrics
    for name in ("loss", "accuracy", "held-out loss", "held-out accuracy"):
        assert metrics[f"{name}/autograd"] == pytest.approx(metrics[f"{name}/torch"], abs=1e-8), name
    assert metrics["accuracy difference"] == 0


def test_it_learns_and_the_curves_say_so(unbroken):
    histories = measured(unbroken).histories
    for contender in CONTENDERS:
        losses = histories[f"loss/{contender}"]
        assert losses.steps == histories[f"held-out accuracy/{contender}"].steps == (4, 7)
        assert losses.values[-1] < losses.values[0]
        assert histories[f"held-out accuracy/{contender}"].values[-1] > 20
    assert measured(unbroken).tables["data"]["variant"] == ["subset"]


def test_a_wrong_network_is_noticed(monkeypatch):
    def wrong(ours):
        network = torch_network(ours)
        with torch.no_grad():
            network[0].weight.mul_(1.5)
        return network

    monkeypatch.setattr(mnist_convnet, "torch_network", wrong)
    metrics = measure(Task(replace(SMALL, n_epochs=1), 0)).metrics
    assert abs(metrics["loss/autograd"] - metrics["loss/torch"]) > 1e-4


@pytest.mark.parametrize("after", [2, 5, 9])
def test_interrupted_and_resumed_equals_unbroken(unbroken, tmp_path, monkeypatch, after):
    whole = measured(unbroken)
    stop = threading.Event()
    moved, calls = mnist_convnet._Data.moved, []

    def counting(self, images, generator):
        calls.append(None)
        if len(calls) == after:
            stop.set()
        return moved(self, images, generator)

    with monkeypatch.context() as patch:
        patch.setattr(mnist_convnet._Data, "moved", counting)
        assert measure(Task(SMALL, 0, checkpoint=tmp_path / "c", stop=stop)).interrupted
    assert len(calls) == after
    again = measure(Task(SMALL, 0, checkpoint=tmp_path / "c"))
    assert again.metrics == whole.metrics
    assert again.histories == whole.histories


def test_a_stopped_study_says_so(tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StudyInterrupted):
        run(SMALL, out=tmp_path, stop=stop)


def test_the_copy_of_torch_has_the_same_weights():
    ours = models.ConvNet(generator=torch.Generator().manual_seed(3))
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    expected = ours.predict(x).probabilities
    theirs = torch_network(ours)
    assert torch.allclose(torch.softmax(theirs(x), 1), expected, atol=1e-6)
    theirs[0].weight.data.zero_()
    assert torch.equal(ours.predict(x).probabilities, expected)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_digits_are_moved_by_whole_pixels(most):
    images = torch.rand(40, 1, 6, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    result = shifted(images, most, torch.Generator().manual_seed(1))
    found = set()
    for image, moved in zip(images[:, 0].numpy(), result[:, 0].numpy(), strict=True):
        fits = []
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                expected = np.zeros((6, 5), np.float32)
                to_y, to_x = slice(max(down, 0), 6 + min(down, 0)), slice(max(right, 0), 5 + min(right, 0))
                from_y, from_x = slice(max(-down, 0), 6 - max(down, 0)), slice(max(-right, 0), 5 - max(right, 0))
                expected[to_y, to_x] = image[from_y, from_x]
                if np.array_equal(expected, moved):
                    fits.append((down, right))
        assert len(fits) == 1
        found.update(fits)
    assert len(found) > (1 if most else 0)
    assert torch.equal(result, shifted(images, most, torch.Generator().manual_seed(1)))


def test_the_command_line_runs_it_and_the_report_names_both(tmp_path, capsys):
    options = ["--seeds", "0", "1", "--n-epochs", "1", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["run", "mnist-convnet", *options]) == 0
    text = capsys.readouterr().out
    (record,) = load_records(tmp_path)
    assert record.study == "mnist-convnet"
    assert report([record]) in text
    assert "held-out images of the bundled 5,000" in text
    assert "2 seeds" in text
    assert record.config["dtype"] == "float32"
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set()


def test_it_is_listed_with_its_scales():
    study = find_study("mnist-convnet")
    assert study.config(scale="laptop").seeds == (0, 1, 2)
    assert study.config(scale="paper").data == "full"
    assert study.config(scale="quick").n_epochs == 1


@pytest.mark.parametrize(
    "options",
    [{"data": "half"}, {"dtype": "float16"}, {"n_epochs": 0}, {"batch_size": 0}, {"shift": 28}, {"shift": -1},
     {"learning_rate": 0.0}],
)  # fmt: skip
def test_bad_settings(options):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=name if name not in ("data", "dtype") else "MnistConvnetConfig"):
        MnistConvnetConfig(**options)
