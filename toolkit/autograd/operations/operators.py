"""The operators of ``Variable``: arithmetic is recorded; comparisons, masks and ``//`` have no derivative to record."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.autograd.configuration import config
from toolkit.autograd.operation import Operation
from toolkit.autograd.operations import elementwise
from toolkit.autograd.recording import check_operands
from toolkit.autograd.tape import Variable, _result, as_variable
from toolkit.core.errors import argument_error

_ARITHMETIC = {
    "add": elementwise._add,
    "sub": elementwise._subtract,
    "mul": elementwise._multiply,
    "truediv": elementwise._divide,
    "pow": elementwise._power,
    "mod": elementwise._remainder,
}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_OF_BITS = frozenset("&|^")
_REFLECTED = {"floordiv": "//", "and": "&", "or": "|", "xor": "^"}


def _no_gradient(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    return (None,) * len(needs)


def _constant(function: Callable[[Any, Any], Any], symbol: str, *, reflected: bool = False) -> Any:
    """Return an operator whose result is computed and not recorded: its derivative is zero wherever it exists."""
    operation = Operation(symbol, _no_gradient, same_dtype=False)

    def call(self: Variable, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented
        if symbol in _OF_BITS:
            _require_bits(symbol, self)
        operand = other.item() if isinstance(other, np.generic) else other
        if type(operand) is bool and "bool" not in str(self.dtype):
            operand = int(operand)
        value: Any = operand
        if not isinstance(operand, int | float):
            value = as_variable(operand, symbol, "other").data
            check_operands(operation, (self.data, value))
        try:
            output = function(value, self.data) if reflected else function(self.data, value)
        except (TypeError, RuntimeError, ValueError) as error:
            expected = f"what goes with {self.dtype}{self.shape}"
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise argument_error(symbol, "other", expected, f"{value!r:.60}", kind=kind) from error
        result = _result(self.backend.as_array(output, self.data), None)
        if config.hooks:
            given = operand if isinstance(operand, int | float) else as_variable(operand, symbol, "other")
            _tell(operation, (given, self) if reflected else (self, given), result)
        return result

    return call


def _tell(operation: Operation, inputs: tuple, result: Variable) -> None:
    for hook in reversed(config.hooks):
        hook.computed(operation, inputs, None, result)


def _require_bits(symbol: str, variable: Variable) -> None:
    if "bool" not in str(variable.dtype) and "int" not in str(variable.dtype):
        raise argument_error(symbol, "self", "bools or integers", f"dtype {variable.dtype}", kind=TypeError)


_INVERSION = Operation("~", _no_gradient)


def _inverted(self: Variable) -> Variable:
    _require_bits("~", self)
    result = _result(self.backend.as_array(~self.data, self.data), None)
    _tell(_INVERSION, (self,), result)
    return result


def install() -> None:
    """Give ``Variable`` its operators."""
    for name, function in _ARITHMETIC.items():
        setattr(Variable, f"__{name}__", function)
        setattr(Variable, f"__r{name}__", _reflected(function))
    Variable.__neg__ = elementwise._negative  # type: ignore[method-assign]
    Variable.__pos__ = lambda self: self  # type: ignore[method-assign]
    Variable.__abs__ = elementwise._abs  # type: ignore[method-assign]
    Variable.__invert__ = _inverted  # type: ignore[method-assign]
    for name, symbol in _COMPARISONS.items():
        setattr(Variable, f"__{name}__", _constant(getattr(operator, name), symbol))
    for name, symbol in _REFLECTED.items():
        function = getattr(operator, f"__{name}__")
        setattr(Variable, f"__{name}__", _constant(function, symbol))
        setattr(Variable, f"__r{name}__", _constant(function, symbol, reflected=True))


def _reflected(function: Any) -> Any:
    return lambda self, other: function(other, self)
