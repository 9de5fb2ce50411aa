"""Every public differentiable function with the inputs it is tested on, so that none can be added untested."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One call to try: every floating-point array among ``arguments`` is differentiated.

    Attributes:
        arguments: positional arguments; arrays are NumPy's and converted to the array library under test.
        keywords: keyword arguments, passed as they are.
        smooth: the function has derivatives of every order near here (False on piecewise linear functions,
            whose second derivative is zero and whose third need not be tried).
        label: what is special about this call.
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    label: str = ""


@dataclass(frozen=True)
class Differentiable:
    """A public function, its samples, and how it is grouped in tables.

    Called, it returns one Variable: results that are several, of one shape, are stacked.
    """

    name: str
    function: Callable[..., Any]
    samples: Callable[[np.random.Generator], Sequence[Sample]]
    group: str

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        result = self.function(*arguments, **keywords)
        if not isinstance(result, tuple):
            return result
        from toolkit.autograd.operations import stack

        return stack(result)


REGISTRY: dict[str, Differentiable] = {}


def differentiable(
    samples: Callable[[np.random.Generator], Sequence[Sample]], *, group: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a public function with the samples its tests use, and enter it in ``REGISTRY``.

    Args:
        samples: makes the calls to try from a NumPy generator, away from kinks.
        group: the heading under which tables list it.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        if name in REGISTRY:
            raise ValueError(f"differentiable: {name!r} is registered already")
        REGISTRY[name] = Differentiable(name, function, samples, group)
        return function

    return enter
