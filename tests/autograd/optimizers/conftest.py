"""Links with parameters of given values, and gradients put there by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from toolkit.autograd.links import Link, Parameter


class Bare(Link):
    """Parameters ``p0``, ``p1``, … and nothing else."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        super().__init__()
        with self.init_scope():
            for number, array in enumerate(arrays):
                setattr(self, f"p{number}", Parameter(array))


@pytest.fixture(scope="session")
def bare() -> Callable[[Sequence[Any]], Link]:
    """Make a link of parameters of these arrays."""
    return Bare


@pytest.fixture(scope="session")
def host() -> Callable[[Any], np.ndarray]:
    """Return an array of any library as NumPy's."""
    return lambda array: np.asarray(array)
