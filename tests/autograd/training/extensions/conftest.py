import pytest

from toolkit.autograd.training.manager import ExtensionsManager
from toolkit.autograd.training.reporter import report


@pytest.fixture
def train(tmp_path):
    """Run a plain loop that reports what it is given, one mapping an iteration; return the manager."""

    def run(extensions, observations, *, iterations_per_epoch=2, state=None, **options):
        options = {"out": tmp_path, "iterations_per_epoch": iterations_per_epoch} | options
        manager = ExtensionsManager(extensions=extensions, **options)
        if state is not None:
            manager.load_state_dict(state, strict=False)
        with manager:
            for values in observations:
                with manager.run_iteration():
                    report(values)
        return manager

    return run
