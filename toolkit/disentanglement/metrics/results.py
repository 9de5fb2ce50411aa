"""What the metrics on points have in common: the checks of what they are given, and the form of what they return."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import PointCodes


@dataclass(frozen=True, repr=False, eq=False)
class MetricResult:
    """A score, and what it was computed with.

    Attributes:
        score: the metric's one number.
        options: the metric's arguments by name, as they were used.
        factor_names: of the factors, in the order of every ``[..., factors]`` field.
        latent_names: of the latents, in the order of every ``[latents, ...]`` field.
        source: where the definition comes from.
    """

    score: float
    options: dict[str, Any]
    factor_names: tuple[str, ...]
    latent_names: tuple[str, ...]

    source: ClassVar[str] = ""

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}(score={self.score:.4f}; {options})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name and the source, tensors as lists."""
        return {name: _plain(value) for name, value in vars(self).items()} | {"source": self.source}


def checked_points(operation: str, codes: PointCodes) -> PointCodes:
    """Return ``codes`` if a metric can score them.

    Raises:
        ValueError: a factor has the same value at all points.
        TypeError: these are no point codes.
    """
    if not isinstance(codes, PointCodes):
        expected = "PointCodes: of Gaussian codes their sample() or means()"
        reject(operation, "codes", expected, type(codes).__name__, kind=TypeError)
    least, largest = codes.factors.amin(0), codes.factors.amax(0)
    for name, low, high in zip(codes.factor_names, least.tolist(), largest.tolist(), strict=True):
        expected = f"at least two values of {name!r} among the points, or codes without this factor"
        require(low != high, operation, "factors", expected, f"the value {low} at all {len(codes)} points")
    return codes


def check_choice(operation: str, argument: str, given: object, choices: tuple[str, ...]) -> None:
    """Raise a ``ValueError`` unless ``given`` is one of ``choices``."""
    require(given in choices, operation, argument, " or ".join(map(repr, choices)), repr(given))


def check_integer(operation: str, argument: str, given: object, least: int) -> None:
    """Raise a ``TypeError`` unless ``given`` is an integer, and a ``ValueError`` if it is below ``least``."""
    if isinstance(given, bool) or not isinstance(given, int):
        reject(operation, argument, "an integer", repr(given), kind=TypeError)
    require(given >= least, operation, argument, f">= {least}", given)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
