"""Two processes, started once, that run every check of ``workers`` together."""

import pytest

from tests.autograd.distributed import workers
from toolkit.autograd.distributed import Launched, launch


@pytest.fixture(scope="module")
def launched() -> Launched:
    return launch(workers.run_all, 2, timeout=240, communication_timeout=60)


@pytest.mark.parametrize("name", workers.CHECKS)
def test_both_ranks_pass(launched: Launched, name: str) -> None:
    assert [result[name] for result in launched.results] == [None, None]
