"""The first study: our engine and torch, side by side on real digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.core.batches import Minibatches
from toolkit.core.devices import resolve_generator
from toolkit.core.training import train
from toolkit.datasets import load
from toolkit.experiments import mnist_mlp
from toolkit.experiments.cli import main
from toolkit.experiments.mnist_mlp import MnistMlpConfig, initial_parameters, run
from toolkit.experiments.records import load_records
from toolkit.experiments.study import Task

SMALL = MnistMlpConfig(n_units=50, n_epochs=2, seeds=(0, 1), device="cpu")
TIMES = ("milliseconds/autograd", "milliseconds/torch", "time ratio")


def _numbers(record) -> list[dict]:
    return [{k: v for k, v in result.metrics.items() if k not in TIMES} for result in record.results]


@pytest.fixture(scope="module", params=["torch", "numpy"])
def record(request):
    (record,) = run(replace(SMALL, backend=request.param))
    return record


def test_the_losses_are_the_same(record):
    for result in record.results:
        metrics = result.metrics
        assert metrics["largest loss difference"] <= 1e-10
        assert metrics["loss/autograd"] == pytest.approx(metrics["loss/torch"], abs=1e-10)
        assert metrics["held-out accuracy/autograd"] == metrics["held-out accuracy/torch"]


def test_it_learns(record):
    assert record.summary["held-out accuracy/autograd"].mean > 80
    values = record.results[0].histories["loss/autograd"].values
    assert values[0] == pytest.approx(np.log(10), abs=0.8)
    assert values[-1] < 1


def test_times_are_positive_and_their_ratio_is_kept(record):
    for result in record.results:
        ours, theirs, ratio = (result.metrics[name] for name in TIMES)
        assert ours > 0
        assert theirs > 0
        assert ratio == pytest.approx(ours / theirs)


def test_the_record_says_what_it_ran_on(record):
    assert record.results[0].tables["data"] == {"name": ["mnist"], "variant": ["subset"], "source": ["bundled"]}
    assert record.environment.device.startswith("cpu")
    assert record.scale == "quick"
    assert set(record.results[0].histories) >= {"loss/autograd", "held-out accuracy/torch", "loss difference"}
    assert record.results[0].histories["held-out accuracy/torch"].steps == (40, 80)


def test_an_independent_torch_training_gives_the_same_losses(record):
    data = load("mnist")
    generator = resolve_generator(seed=0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(784, 50),
        torch.nn.ReLU(),
        torch.nn.Linear(50, 50),
        torch.nn.ReLU(),
        torch.nn.Linear(50, 10),
    ).double()
    with torch.no_grad():
        initial = initial_parameters(50, generator, torch.device("cpu"), torch.float64)
        for parameter, value in zip(network.parameters(), initial, strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.Adam(network.parameters())
    batches = Minibatches(4000, 100, generator=generator)
    images, labels = data.train.images.double() / 255, data.train.labels

    def step(index):
        batch = batches.next()
        loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss}

    losses = train(step, 80)["loss"]
    histories = record.results[0].histories
    for name in ("loss/autograd", "loss/torch"):
        assert np.allclose(losses, histories[name].values, atol=1e-10, rtol=0)
    predictions = network(data.test.images.double() / 255).argmax(1)
    accuracy = 100 * (predictions == data.test.labels).sum().item() / 1000
    assert record.results[0].metrics["held-out accuracy/torch"] == accuracy


def test_a_wrong_engine_is_noticed(monkeypatch):
    relu = mnist_mlp.F.relu
    monkeypatch.setattr(mnist_mlp.F, "relu", lambda x: relu(x) * 1.01)
    (record,) = run(replace(SMALL, seeds=(0,)))
    assert record.summary["largest loss difference"].mean > 1e-4
    assert "NOT the same" in mnist_mlp.report([record])


def test_float32_begins_alike_and_the_report_explains_a_drift():
    config = replace(SMALL, seeds=(0,), dtype="float32")
    (record,) = run(config)
    series = record.results[0].histories["loss difference"]
    assert max(series.values[:10]) <= 1e-5
    drifted = replace(record.results[0], metrics={**record.results[0].metrics, "largest loss difference": 0.01})
    assert "--dtype float64 tells" in mnist_mlp.report([replace(record, results=(drifted,))])


def test_both_types_start_from_the_same_numbers():
    single, double = (
        initial_parameters(20, resolve_generator(seed=0), torch.device("cpu"), dtype)
        for dtype in (torch.float32, torch.float64)
    )
    for a, b in zip(single, double, strict=True):
        assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
        assert torch.equal(a.double(), b)


def test_the_report_names_difference_and_ratio(record):
    text = mnist_mlp.report([record])
    assert "the same (tolerance 0.0001)" in text
    assert "NOT" not in text
    assert "time of a step, ours / torch: " in text
    assert record.config["backend"] in text
    assert "2 seeds" in text


@pytest.mark.parametrize("seed", [0, 1])
def test_the_report_sees_nan_in_any_seed(record, seed):
    results = list(record.results)
    results[seed] = replace(results[seed], metrics={**results[seed].metrics, "largest loss difference": np.nan})
    assert "NOT the same" in mnist_mlp.report([replace(record, results=tuple(results))])


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_interrupted_and_resumed_equals_unbroken(tmp_path, monkeypatch, backend):
    config = replace(SMALL, seeds=(0,), n_epochs=1, backend=backend)
    (unbroken,) = run(config)
    task = Task(config, 0, checkpoint=tmp_path / "c")
    steps = 0
    original = torch.optim.Adam.step

    def step(self, *arguments, **options):
        nonlocal steps
        steps += 1
        if steps == 2 * 17:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", step)
        patch.setattr("toolkit.core.training._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        assert mnist_mlp.measure(task).interrupted
    resumed = mnist_mlp.measure(task)
    assert resumed.metrics["largest loss difference"] == unbroken.results[0].metrics["largest loss difference"]
    assert resumed.histories["loss/autograd"] == unbroken.results[0].histories["loss/autograd"]
    assert resumed.histories["held-out accuracy/torch"] == unbroken.results[0].histories["held-out accuracy/torch"]


def test_the_same_seed_gives_the_same_numbers():
    config = replace(SMALL, seeds=(3,), n_epochs=1)
    assert _numbers(run(config)[0]) == _numbers(run(config)[0])


def test_initial_parameters_are_scaled_by_the_inputs():
    parameters = initial_parameters(400, resolve_generator(seed=0), torch.device("cpu"), torch.float32)
    assert [tuple(parameter.shape) for parameter in parameters] == [
        (400, 784),
        (400,),
        (400, 400),
        (400,),
        (10, 400),
        (10,),
    ]
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        assert weight.std() * weight.shape[1] ** 0.5 == pytest.approx(1, abs=0.05)
        assert not bias.any()


def test_scales_and_chainers_settings():
    assert MnistMlpConfig().data == "subset"
    assert MnistMlpConfig(scale="laptop").n_epochs == 20
    paper = MnistMlpConfig(scale="paper")
    assert (paper.data, paper.n_epochs, paper.n_units, paper.batch_size) == ("full", 20, 1000, 100)
    assert MnistMlpConfig(backend="numpy").device == "cpu"


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_epochs": 0},
        {"n_units": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"backend": "numpy", "device": "cuda"},
    ],
)
def test_impossible_settings(arguments):
    with pytest.raises(ValueError, match="MnistMlpConfig: bad argument"):
        MnistMlpConfig(**arguments)


def test_the_command_line_prints_difference_and_ratio(tmp_path, capsys):
    arguments = ["--n-units", "20", "--n-epochs", "1", "--seeds", "0", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["run", "mnist-mlp", *arguments]) == 0
    out = capsys.readouterr().out
    assert "largest difference of the two losses" in out
    assert "ours / torch" in out
    assert len(load_records(tmp_path, "mnist-mlp")) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda():
    (record,) = run(replace(SMALL, device="cuda", seeds=(0,)))
    assert record.summary["largest loss difference"].mean <= 1e-8
    assert record.environment.device.startswith("cuda:0: ")
