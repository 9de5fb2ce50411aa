"""First values of parameters, under the field's names.

Random ones draw in float64 on the generator's device and are then rounded and moved, so that one generator gives one
set of numbers in every dtype, library and device.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends import backend_of
from toolkit.autograd.places import Place, current_place, is_array, place_of
from toolkit.autograd.randomness import source
from toolkit.core.devices import draw_normal, draw_uniform
from toolkit.core.errors import argument_error

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "One",
    "Orthogonal",
    "Uniform",
    "Zero",
    "fans",
    "get_initializer",
]


class Initializer:
    """Makes an array of a given shape. A subclass overrides :meth:`draw`.

    Attributes:
        random: whether :meth:`draw` uses the generator.
    """

    random = True

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Return the values as a tensor, float64 (its device does not matter)."""
        raise NotImplementedError(f"{type(self).__name__}.draw")

    def __call__(
        self, shape: int | Sequence[int], *, generator: torch.Generator | None = None, like: Any = None
    ) -> Any:
        """Return a new array.

        Args:
            shape: its shape.
            generator: draws the numbers; ``None`` means ``config.generator``, or one private to the thread.
            like: an array, Variable or :class:`~toolkit.autograd.places.Place` whose library, device and dtype the
                result gets; ``None`` means :func:`~toolkit.autograd.links.default_arrays`.

        Raises:
            ValueError: a shape that it cannot fill.
        """
        lengths = as_shape(type(self).__name__, shape)
        place = current_place() if like is None else like if isinstance(like, Place) else place_of(_raw(like))
        if not self.random:
            drawn = self.draw(lengths, _UNUSED)
        else:
            if generator is not None and not isinstance(generator, torch.Generator):
                name = type(self).__name__
                raise argument_error(name, "generator", "a torch.Generator or None", repr(generator), kind=TypeError)
            drawn = self.draw(lengths, source(generator))
        return place.put(drawn, copy=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


_UNUSED = torch.Generator()


def _raw(value: Any) -> Any:
    return value if is_array(value) else getattr(value, "data", value)


def as_shape(operation: str, shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of integers.

    Raises:
        TypeError: not integers.
        ValueError: a negative length.
    """
    parts = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if any(isinstance(length, bool) or not isinstance(length, int | np.integer) for length in parts):
        raise argument_error(operation, "shape", "integers", repr(shape), kind=TypeError)
    if any(length < 0 for length in parts):
        raise argument_error(operation, "shape", "lengths of at least 0", repr(shape))
    return tuple(int(length) for length in parts)


def fans(operation: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input, for a weight of ``shape``.

    Args:
        operation: for errors.
        shape: ``(outputs, inputs, ...)``, the rest being a convolution's window.

    Returns:
        ``(inputs * window, outputs * window)``.

    Raises:
        ValueError: fewer than two axes.
    """
    if len(shape) < 2:
        raise argument_error(operation, "shape", "(outputs, inputs, ...): at least two axes", shape)
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


class Constant(Initializer):
    """One number everywhere, or the values of an array.

    Args:
        value: a number, or an array of the shape asked for.
    """

    random = False

    def __init__(self, value: Any) -> None:
        if not is_array(value) and (isinstance(value, bool) or not isinstance(value, int | float | np.number)):
            raise argument_error("Constant", "value", "a number or an array", repr(value), kind=TypeError)
        self.value = value

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        if not is_array(self.value):
            return torch.full(shape, float(self.value), dtype=torch.float64)
        if tuple(self.value.shape) != shape:
            raise argument_error("Constant", "value", f"an array of shape {shape}", f"shape {tuple(self.value.shape)}")
        backend = backend_of(self.value, "Constant", "value")
        return backend.to_torch(backend.adopt(self.value)).double()

    def __repr__(self) -> str:
        return f"Constant({'array of shape ' + str(tuple(self.value.shape)) if is_array(self.value) else self.value})"


class Zero(Constant):
    """Zeros."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __repr__(self) -> str:
        return "Zero()"


class One(Constant):
    """Ones."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def __repr__(self) -> str:
        return "One()"


class Identity(Initializer):
    """``scale`` on the diagonal, 0 elsewhere. Shape ``(rows, columns)``."""

    random = False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = _finite("Identity", "scale", scale)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        if len(shape) != 2:
            raise argument_error("Identity", "shape", "(rows, columns)", shape)
        return self.scale * torch.eye(*shape, dtype=torch.float64)


class Normal(Initializer):
    """The normal distribution.

    Args:
        scale: standard deviation.
        mean: its mean.
    """

    def __init__(self, scale: float = 0.05, mean: float = 0.0) -> None:
        self.scale = _finite("Normal", "scale", scale, least=0.0)
        self.mean = _finite("Normal", "mean", mean)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return _normal(shape, generator) * self.scale + self.mean


class Uniform(Initializer):
    """The uniform distribution from ``-scale`` to ``scale``."""

    def __init__(self, scale: float = 0.05) -> None:
        self.scale = _finite("Uniform", "scale", scale, least=0.0)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return _uniform(shape, generator) * self.scale


class _Scaled(Initializer):
    """A distribution whose variance follows from the shape.

    Args:
        scale: factor of the standard deviation.
    """

    _variance = staticmethod(lambda inputs, outputs: 1.0 / inputs)
    _uniformly = False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = _finite(type(self).__name__, "scale", scale, least=0.0)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        inputs, outputs = fans(type(self).__name__, shape)
        if math.prod(shape) == 0:
            return torch.zeros(shape, dtype=torch.float64)
        deviation = self.scale * math.sqrt(self._variance(inputs, outputs))
        if self._uniformly:
            return _uniform(shape, generator) * (math.sqrt(3.0) * deviation)
        return _normal(shape, generator) * deviation


class LeCunNormal(_Scaled):
    """Normal with variance ``scale² / inputs`` (LeCun et al. 1998, section 4.6)."""


class LeCunUniform(_Scaled):
    """Uniform with variance ``scale² / inputs`` (LeCun et al. 1998, section 4.6)."""

    _uniformly = True


class GlorotNormal(_Scaled):
    """Normal with variance ``2 scale² / (inputs + outputs)`` (Glorot and Bengio 2010, equation 12)."""

    _variance = staticmethod(lambda inputs, outputs: 2.0 / (inputs + outputs))


class GlorotUniform(GlorotNormal):
    """Uniform with variance ``2 scale² / (inputs + outputs)`` (Glorot and Bengio 2010, equation 16)."""

    _uniformly = True


class _He(_Scaled):
    """For rectified units.

    Args:
        scale: factor of the standard deviation.
        mode: ``"fan_in"`` keeps the variance forward, ``"fan_out"`` backward.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in") -> None:
        super().__init__(scale)
        if mode not in ("fan_in", "fan_out"):
            raise argument_error(type(self).__name__, "mode", "'fan_in' or 'fan_out'", repr(mode))
        self.mode = mode

    def _variance(self, inputs: int, outputs: int) -> float:  # type: ignore[override]
        return 2.0 / (inputs if self.mode == "fan_in" else outputs)


class HeNormal(_He):
    """Normal with variance ``2 scale² / inputs`` (He et al. 2015, equation 10), or by outputs (equation 14)."""


class HeUniform(_He):
    """Uniform with variance ``2 scale² / inputs`` (He et al. 2015, equation 10), or by outputs (equation 14)."""

    _uniformly = True


class Orthogonal(Initializer):
    """Orthonormal rows, or columns if there are more rows than columns, times ``scale`` (Saxe et al. 2014).

    All axes but the first count as one. The signs are fixed so that the distribution is uniform (Mezzadri 2007).
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = _finite("Orthogonal", "scale", scale)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        if len(shape) < 2:
            raise argument_error("Orthogonal", "shape", "at least two axes", shape)
        rows, columns = shape[0], math.prod(shape[1:])
        if rows * columns == 0:
            return torch.zeros(shape, dtype=torch.float64)
        # On the CPU whatever the generator: two libraries' factorizations differ in the last bits.
        drawn = _normal((max(rows, columns), min(rows, columns)), generator).cpu()
        basis, triangle = torch.linalg.qr(drawn)
        basis = basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
        return self.scale * (basis.T if rows < columns else basis).reshape(shape)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return draw_normal(shape, generator=generator, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 2.0 * draw_uniform(shape, generator=generator, dtype=torch.float64) - 1.0


def _finite(operation: str, argument: str, value: Any, least: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise argument_error(operation, argument, "a number", repr(value), kind=TypeError)
    if not math.isfinite(value) or value < least:
        raise argument_error(operation, argument, f"a finite number{', 0 or more' if least == 0.0 else ''}", value)
    return float(value)


def get_initializer(value: Any, default: Any = None) -> Initializer:
    """Return ``value`` as an initializer: an initializer, a number or an array; ``None`` means ``default``.

    Raises:
        TypeError: something else.
    """
    if value is None:
        value = default
    if isinstance(value, Initializer):
        return value
    raw = _raw(value)
    if is_array(raw) or (isinstance(raw, int | float | np.number) and not isinstance(raw, bool)):
        return Constant(raw)
    expected = "an Initializer, a number or an array"
    raise argument_error("initializer", "initializer", expected, repr(value), kind=TypeError)
