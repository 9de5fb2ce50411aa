"""LSTM and GRU as links that keep their state from call to call, for sequences fed one step at a time."""

from typing import Any

from toolkit.autograd.links.recurrent import GRUCell, LSTMCell, Recurrent
from toolkit.autograd.links.state import Slot
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.operations.shaping import concat
from toolkit.autograd.places import Place, is_array
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["GRU", "LSTM"]


class _Stateful(Recurrent):
    """Keeps its state from call to call.

    The state is saved by ``state_dict``, so that a run can go on where it stopped, but is no part of the model:
    ``copyparams`` leaves it, and a state without it loads and resets it. Copies and pickles hold it without history.
    """

    _state: tuple[str, ...] = ()

    def reset_state(self) -> None:
        """Forget the state: the next call starts from zeros."""
        for name in self._state:
            self.__dict__[name] = None

    def reset_persistents(self) -> None:
        """Forget the state: a copy that starts anew has none."""
        self.reset_state()

    def _advance(self, x: Any) -> Variable:
        x = self._checked(x)
        before = [self.__dict__[name] for name in self._state]
        rest: list[Any] = []
        if before[0] is not None and before[0].shape[0] > x.shape[0]:
            # Sorted by length, sequences end from the back: their states wait.
            rest = [value[x.shape[0] :] for value in before]
            before = [value[: x.shape[0]] for value in before]
        started = [self._start(name, value, x) for name, value in zip(self._state, before, strict=True)]
        after = self._step(x, *started)
        states = after if isinstance(after, tuple) else (after,)
        for k, name in enumerate(self._state):
            self.__dict__[name] = concat((states[k], rest[k])) if rest else states[k]
        return states[0]

    def _set(self, **values: Any) -> None:
        place = self.place
        name = type(self).__name__
        checked = {argument: floating(name, argument, value) for argument, value in values.items()}
        shapes = {value.shape for value in checked.values()}
        for argument, value in checked.items():
            if value.ndim != 2 or value.shape[1] != self.out_size or len(shapes) != 1:
                raise argument_error(name, argument, f"shape (samples, {self.out_size})", value.shape)
            if self.upward.W.is_initialized:
                floating(name, argument, value, like=Variable(place.sample))
        self.__dict__.update(checked)

    def device_resident(self, place: Place) -> None:
        for name in self._state:
            value = self.__dict__[name]
            if value is not None:
                self.__dict__[name] = Variable(self.place.put(value.data))

    def __getstate__(self) -> dict[str, Any]:
        values = dict(self.__dict__)
        for name in self._state:
            if values[name] is not None:
                values[name] = values[name].detach()
        return values

    def _running_slots(self) -> dict[str, Slot]:
        return {name: self._slot(name) for name in self._state}

    def _slot(self, name: str) -> Slot:
        def expected(value: Any) -> str | None:
            if value is None or (is_array(value) and len(value.shape) == 2 and value.shape[1] == self.out_size):
                return None
            return f"shape (samples, {self.out_size}) or None"

        def store(value: Any, dtype: str | None) -> None:
            self.__dict__[name] = None if value is None else Variable(self.place.put(value, copy=True))

        def read() -> Any:
            current = self.__dict__[name]
            return None if current is None else current.data

        return Slot(read, expected, store, optional=True)


class LSTM(_Stateful, LSTMCell):
    """A long short-term memory that keeps its state (Chainer's ``LSTM``): ``h = lstm(x)``.

    Arguments, formula and parameters are those of :class:`LSTMCell`. A batch smaller than the last one goes on with
    the first states, and the others wait, for sequences sorted by length, the longest first.

    Attributes:
        h: output state, shape ``(samples, out_size)``; ``None`` before the first call and after ``reset_state()``.
        c: cell state, likewise.
    """

    _state = ("h", "c")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.h: Variable | None = None
        self.c: Variable | None = None

    def forward(self, x: Any) -> Variable:  # type: ignore[override]
        """Return the next output, shape ``(samples, out_size)``, for an input of shape ``(samples, in_size)``.

        Raises:
            ValueError: other shapes, more samples than the state has.
            TypeError: another array library, device or dtype than the parameters'.
        """
        return self._advance(x)

    def set_state(self, c: Any, h: Any) -> None:
        """Set cell and output state, arrays or Variables of shape ``(samples, out_size)``.

        Raises:
            ValueError: other shapes.
            TypeError: another array library or dtype than the parameters'.
        """
        self._set(c=c, h=h)


class GRU(_Stateful, GRUCell):
    """A gated recurrent unit that keeps its state (Chainer's ``StatefulGRU``): ``h = gru(x)``.

    Arguments, formula and parameters are those of :class:`GRUCell`; smaller batches as in :class:`LSTM`.

    Attributes:
        h: state, shape ``(samples, out_size)``; ``None`` before the first call and after ``reset_state()``.
    """

    _state = ("h",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.h: Variable | None = None

    def forward(self, x: Any) -> Variable:  # type: ignore[override]
        """Return the next state, shape ``(samples, out_size)``, for an input of shape ``(samples, in_size)``.

        Raises:
            ValueError: other shapes, more samples than the state has.
            TypeError: another array library, device or dtype than the parameters'.
        """
        return self._advance(x)

    def set_state(self, h: Any) -> None:
        """Set the state, an array or Variable of shape ``(samples, out_size)``.

        Raises:
            ValueError: another shape.
            TypeError: another array library or dtype than the parameters'.
        """
        self._set(h=h)
