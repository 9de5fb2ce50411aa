"""The numbers of an optimizer, which the update rules of its parameters fall back to."""

import math
from typing import Any

from toolkit.core.errors import argument_error

__all__ = ["Hyperparameter", "Hyperparameters"]


class Hyperparameter:
    """An attribute of an :class:`~toolkit.autograd.optimizers.Optimizer` that each parameter may override.

    Args:
        below: what it must be less than; it must be finite and 0 or more in any case.
    """

    name: str

    def __init__(self, below: float = math.inf) -> None:
        self.below = below

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        return self if optimizer is None else optimizer.hyperparameters[self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        optimizer.hyperparameters[self.name] = self.checked(type(optimizer).__name__, value)

    def checked(self, operation: str, value: Any) -> float:
        """Return ``value`` as a Python number.

        Raises:
            TypeError: no number.
            ValueError: not allowed.
        """
        expected = "a finite number, 0 or more" + ("" if self.below == math.inf else f" and less than {self.below:g}")
        try:
            if isinstance(value, bool | str | bytes):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError):
            raise argument_error(operation, self.name, expected, repr(value), kind=TypeError) from None
        if not (math.isfinite(number) and 0 <= number < self.below):
            raise argument_error(operation, self.name, expected, repr(value))
        return number


class Hyperparameters(dict[str, Any]):
    """The values by name, shared by an optimizer and the update rules of its parameters.

    Args:
        kind: the optimizer's class, which says what each of them may be.
        values: by name.
    """

    def __init__(self, kind: Any, values: dict[str, Any]) -> None:
        self.kind = kind
        super().__init__({name: self.checked(name, value) for name, value in values.items()})

    def checked(self, name: str, value: Any) -> float:
        """Return a value for ``name`` as a Python number, or raise as :meth:`Hyperparameter.checked` does."""
        return self.kind.kinds[name].checked(self.kind.__name__, value)
