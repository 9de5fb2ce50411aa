"""A rank that ends or hangs ends the others, in time, with a message that says where to look."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.autograd.distributed import workers
from toolkit.autograd.distributed import LaunchError, launch


def failure(function: Callable[..., None], monkeypatch: pytest.MonkeyPatch, folder: Path, **limits: float) -> str:
    """Return the message of a launch that fails, and see that it leaves neither process nor file."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    started: list[subprocess.Popen] = []
    real = subprocess.Popen

    def noted(*arguments, **options):
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(LaunchError) as caught:
        launch(function, 2, **limits)
    assert len(started) == 2
    for process in started:
        # Reaped, so no zombie either.
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_a_killed_rank_ends_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = failure(workers.killed, monkeypatch, tmp_path, timeout=120, communication_timeout=40)
    assert "rank 1 was killed by SIGKILL" in message
    assert "rank 0: CommunicationError: allreduce: rank 0 lost contact" in message
    assert "look at: the last output of rank 1" in message


def test_an_error_in_a_rank_ends_the_other_and_is_named_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = failure(workers.raising, monkeypatch, tmp_path, timeout=120, communication_timeout=40)
    assert message.index("rank 1 raised") < message.index("rank 0: CommunicationError")
    assert "workers.py" in message and "ValueError: shard 7 is broken" in message
    assert "rank 1 ended with ValueError: shard 7 is broken" in message


def test_a_rank_that_never_comes_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = time.monotonic()
    message = failure(workers.hanging, monkeypatch, tmp_path, timeout=120, communication_timeout=1.5)
    # It sleeps for ten minutes.
    assert time.monotonic() - started < 100
    assert "rank 0: CommunicationError: barrier" in message and "(timeout 1.5 s)" in message
    assert "did not come to this call in time" in message
    assert "rank 1 had not ended and was stopped" in message


def test_torchrun(tmp_path: Path) -> None:
    command = (
        "-m torch.distributed.run --standalone --nproc_per_node=2 -m toolkit.autograd.distributed.example --steps 3"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, *command.split()], cwd=root, env=environment, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    assert "501 + 501 (equal by repeating), 500 + 501 (exact)" in ran.stdout
    assert "67 + 33 samples" in ran.stdout
    facts = dict(line.rsplit("  ", 1) for line in ran.stdout.splitlines() if "  " in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    assert float(facts["weighed by samples"]) < 1e-6 < 1e-3 < float(facts["plain mean of unequal parts"])
    assert float(facts["one step before"]) == 0.0 < float(facts["in the same step"])
    assert facts["replicas after training"] == "equal in every bit"
