"""The engine on a GPU does what it does on NumPy, and a whole step can be captured; the script is tried on the CPU."""

import math

import numpy as np
import pytest
import torch

from tests.gpu import run, steps, suite
from toolkit.experiments.records import load_records

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_the_script_runs_on_the_cpu(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(steps, "NETWORKS", {"MLP 10-32-32-2": steps.NETWORKS["MLP 10-32-32-2"]})
    monkeypatch.setattr(suite, "REGISTRY", {name: suite.REGISTRY[name] for name in ("linear", "lstm", "dropout")})
    assert run.main("cpu", out=tmp_path, quick=True) == 0
    (record,) = load_records(tmp_path)
    (result,) = record.results
    assert result.metrics["torch on cpu: differing"] == 0 and result.metrics["torch on cpu: calls"] >= 8
    assert math.isfinite(result.metrics["MLP 10-32-32-2: ours"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a CUDA device")
def test_without_a_gpu_the_script_says_so(capsys):
    assert run.main() == 0 and "nothing was run" in capsys.readouterr().out


def test_a_wrong_result_is_found():
    def broken(array):
        return torch.tensor(array * 1.001 if array.dtype.kind == "f" else array)

    findings = suite.compare("broken", broken, ["exp"])
    assert findings and not all(finding.agrees for finding in findings)
    failing = suite.compare("failing", lambda array: array.tolist(), ["exp"])
    assert all("TypeError" in finding.problem and not finding.agrees for finding in failing)


@pytest.mark.parametrize("name", steps.NETWORKS)
def test_both_engines_train_alike(name):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ours, theirs = (steps.training(engine, name, device) for engine in ("ours", "torch"))
    for _ in range(2):
        found, expected = float(ours.step()), float(theirs.step())
        assert found == pytest.approx(expected, rel=1e-3)
    for a, b in zip(ours.parameters, theirs.parameters, strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.detach().cpu().numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@needs_cuda
def test_every_function_agrees_with_numpy():
    for library, lift in suite.libraries("cuda").items():
        assert [finding for finding in suite.compare(library, lift) if not finding.agrees] == []


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", steps.NETWORKS)
def test_a_whole_step_is_captured(name):
    assert steps.replays_agree(name, "cuda") < 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_gradients_are_averaged_over_nccl():
    from toolkit.autograd.distributed import launch

    launched = launch(averaged_rank, 2, communicator="pure_nccl")
    assert list(launched.results) == [0.5, 0.5]


def averaged_rank(communicator):
    """Return the mean of the ranks, computed on the GPUs."""
    from toolkit.autograd.links import Linear

    link = Linear(1, 1, nobias=True).to_device(f"cuda:{communicator.intra_rank}")
    link.W.grad = torch.full_like(link.W.data, float(communicator.rank))
    communicator.mean_gradients(link)
    return float(link.W.grad)
