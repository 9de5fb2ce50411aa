"""The array libraries that the engine's tests run on, and the calls that the registry offers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import torch

from toolkit.autograd import Variable


@dataclass(frozen=True)
class Library:
    """One array library: how its arrays are made from NumPy's and read back.

    Attributes:
        name: of the library.
        array: makes an array, in memory of its own, from anything NumPy takes.
        array_type: what it makes.
    """

    name: str
    array: Callable[..., Any]
    array_type: type

    def __repr__(self) -> str:
        return self.name

    def leaf(self, values: Any, dtype: str = "float64", name: str | None = None) -> Variable:
        """Return a Variable that wants a gradient."""
        return Variable(self.array(np.array(values, dtype=dtype)), requires_grad=True, name=name)

    def constant(self, values: Any, dtype: str = "float64") -> Variable:
        """Return a Variable without a gradient."""
        return Variable(self.array(np.array(values, dtype=dtype)))

    @staticmethod
    def host(array: Any) -> np.ndarray:
        """Return an array or a Variable's data as NumPy's."""
        return (array if isinstance(array, Variable) else Variable(array)).numpy()


LIBRARIES = {
    library.name: library
    for library in (
        Library("numpy", lambda values: np.array(values), np.ndarray),
        Library("torch", lambda values: torch.from_numpy(np.array(values)), torch.Tensor),
        Library("array_api_strict", lambda values: strict.asarray(np.array(values)), type(strict.asarray(0.0))),
    )
}


@pytest.fixture(params=LIBRARIES, scope="session")
def library(request: pytest.FixtureRequest) -> Library:
    """Each array library in turn."""
    return LIBRARIES[request.param]


@pytest.fixture(scope="session")
def libraries() -> dict[str, Library]:
    """All array libraries by name."""
    return LIBRARIES
