"""The array libraries that the engine's tests run on, the calls that the registry offers, and the formats of files."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd.serializers import load_npz, load_safetensors, save_npz, save_safetensors


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


STATE_FORMATS = [
    pytest.param((save_npz, load_npz), id="npz"),
    pytest.param(
        (save_safetensors, load_safetensors),
        id="safetensors",
        marks=pytest.mark.skipif(not find_spec("safetensors"), reason="the safetensors package is not installed"),
    ),
]


@pytest.fixture(params=STATE_FORMATS)
def form(request):
    """``save`` and ``load`` of each format."""
    return request.param
