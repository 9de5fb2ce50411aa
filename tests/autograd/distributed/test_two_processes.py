"""Two processes, started once, that run every check of ``workers`` together."""

import subprocess
from typing import Any

import pytest

from tests.autograd.distributed import workers
from toolkit.autograd.distributed import Launched, launch

started: list[subprocess.Popen] = []


class Noted(subprocess.Popen):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        started.append(self)


@pytest.fixture(scope="module")
def launched() -> Launched:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Noted)
        return launch(workers.run_all, 2, timeout=240, communication_timeout=60)


def test_processes_end_well(launched: Launched) -> None:
    assert [process.returncode for process in started] == [0, 0]
    assert launched.outputs == ("", "")


@pytest.mark.parametrize("name", workers.CHECKS)
def test_both_ranks_pass(launched: Launched, name: str) -> None:
    assert [result[name] for result in launched.results] == [None, None]
