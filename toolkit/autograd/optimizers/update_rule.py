"""How one parameter is updated: its switch, its own hyper-parameters, its hooks, and the state of its optimizer."""

import weakref
from collections.abc import Callable
from typing import Any

import torch

from toolkit.autograd.optimizers.hook_list import HookList
from toolkit.autograd.optimizers.hyperparameters import Hyperparameters
from toolkit.autograd.places import place_of
from toolkit.core.errors import argument_error

__all__ = ["UpdateRule"]

_OWN = frozenset({"enabled", "fused", "hooks", "overrides", "seen", "shape", "shared", "state", "step", "t"})


def _nothing() -> None:
    """Stand in for a weak reference to nothing."""


class UpdateRule:
    """One parameter's part of an optimizer, at ``parameter.update_rule``.

    A hyper-parameter that is set here (``parameter.update_rule.lr = 0.1``) holds for this parameter alone; one that
    is not set, or was deleted again, is the optimizer's.

    Args:
        shared: the optimizer's hyper-parameters.

    Attributes:
        enabled: whether the parameter is updated.
        t: number of updates it has had.
        state: arrays that the optimizer keeps for it, by name; empty before the first update.
        overrides: hyper-parameters of its own, by name.
        hooks: what runs before and after its update.
        shared: the optimizer's hyper-parameters.
        step: ``t`` as a tensor, where a kernel wants it.
        seen: the array that the state was made to fit, weakly.
        shape: of that array.
        fused: whether it is a tensor that a fused kernel can change.
    """

    enabled: bool
    t: int
    state: dict[str, Any]
    overrides: dict[str, float]
    hooks: HookList
    shared: Hyperparameters
    step: Any
    seen: Any
    shape: Any
    fused: bool

    def __init__(self, shared: Hyperparameters) -> None:
        self.__dict__.update(enabled=True, t=0, state={}, overrides={}, hooks=HookList(), shared=shared, step=None)
        self.forget()

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for values in (own.get("overrides", {}), own.get("shared", {})):
            if name in values:
                return values[name]
        raise AttributeError(f"UpdateRule has no {name!r}; hyper-parameters: {', '.join(own.get('shared', {}))}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            self.__dict__[name] = value
        elif name in self.shared:
            self.overrides[name] = self.shared.checked(name, value)
        else:
            expected = f"one of {', '.join(self.shared)}, enabled"
            raise argument_error("UpdateRule", name, expected, name, kind=AttributeError)

    def __delattr__(self, name: str) -> None:
        if name not in self.overrides:
            raise AttributeError(f"UpdateRule has no {name!r} of its own")
        del self.overrides[name]

    def add_hook(self, hook: Any, name: str | None = None, timing: str | None = None) -> None:
        """Call ``hook(rule, [parameter])`` at each update; arguments as for :meth:`Optimizer.add_hook`."""
        self.hooks.add(hook, name, timing)

    def remove_hook(self, name: str) -> None:
        """Take the hook of this name off again."""
        self.hooks.remove(name)

    def values(self) -> dict[str, float]:
        """Return the hyper-parameters that hold for this parameter."""
        return {**self.shared, **self.overrides} if self.overrides else self.shared

    def count(self) -> None:
        """Count an update."""
        self.__dict__["t"] += 1

    def forget(self) -> None:
        """Look at the parameter's array anew at the next step."""
        self.__dict__.update(seen=_nothing, shape=None, fused=False, step=None)

    def fit(self, data: Any, names: tuple[str, ...], fuses: Callable[[torch.Tensor], bool]) -> None:
        """Bring the state to the library, device and dtype of ``data``; what is not there yet starts at zero."""
        place = place_of(data)
        for name in names:
            saved = self.state.get(name)
            if saved is None:
                self.state[name] = place.backend.zeros(tuple(data.shape), data)
            elif tuple(saved.shape) != tuple(data.shape):
                expected = f"the shape of {name} in its update rule, {tuple(saved.shape)}"
                raise argument_error("update", "parameter", expected, f"data of shape {tuple(data.shape)}")
            elif type(saved) is not type(data) or saved.device != data.device or saved.dtype != data.dtype:
                self.state[name] = place.put(saved, copy=True)
        # A fused kernel walks through memory, so that nothing but the elements may lie there, in order.
        fused = isinstance(data, torch.Tensor) and data.is_contiguous() and not data.is_inference() and fuses(data)
        self.__dict__.update(seen=weakref.ref(data), shape=data.shape, fused=fused, step=None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "seen": _nothing, "step": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        own = "".join(f", {name}={value:g}" for name, value in self.overrides.items())
        return f"UpdateRule({self.shared.kind.__name__}, t={self.t}, enabled={self.enabled}{own})"
