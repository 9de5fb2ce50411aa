"""Complaints have one form."""

import pickle

import pytest

from toolkit.core.errors import CheckpointError, WriteError, argument_error, reject, require

MESSAGE = "conv2d: bad argument 'weight'\n  expected: 4 axes\n  actual:   3"


def test_the_form():
    assert str(argument_error("conv2d", "weight", "4 axes", 3)) == MESSAGE
    assert isinstance(argument_error("f", "x", "a", "b", kind=TypeError), TypeError)
    with pytest.raises(ValueError) as caught:
        require(False, "conv2d", "weight", "4 axes", 3)
    assert str(caught.value) == MESSAGE
    assert require(True, "conv2d", "weight", "4 axes", 3) is None
    with pytest.raises(TypeError):
        reject("conv2d", "weight", "4 axes", 3, kind=TypeError)


@pytest.mark.parametrize("kind", [WriteError, CheckpointError])
def test_errors_cross_process_borders(kind):
    # Workers of a sweep send their errors home pickled.
    assert str(pickle.loads(pickle.dumps(kind("text\nmore")))) == "text\nmore"
