"""Per-thread settings of the engine, each with a process-wide default (Chainer's ``config`` and ``global_config``)."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

from toolkit.core.errors import argument_error

RECORD, COMPUTE, WATCH = 0, 1, 2
"""What an operation does besides its arithmetic: record itself, nothing, or let hooks and debugging look on."""

_DEFAULTS: dict[str, Any] = {
    "train": True,
    "enable_backprop": True,
    "debug": False,
    "in_recomputing": False,
    "generator": None,
}

_SETTINGS = {
    "train": "bool: dropout drops, batch normalization uses the statistics of the batch",
    "enable_backprop": "bool: operations are recorded",
    "debug": "bool: NaN guard, origin of every operation, checksums against in-place changes",
    "in_recomputing": "bool: a checkpoint runs its function for the second time",
    "generator": "torch.Generator or None: what random operations draw from when given none",
}


class _Configuration(threading.local):
    """The settings of the calling thread, and ``mode``, which sums up for the hot path what they ask for."""

    mode: int
    train: bool
    enable_backprop: bool
    debug: bool
    in_recomputing: bool
    generator: Any
    hooks: tuple

    def __init__(self) -> None:
        self.__dict__.update(_DEFAULTS)
        self.hooks = ()
        self.refresh()

    def refresh(self) -> None:
        if self.debug or self.hooks:
            self.mode = WATCH
        else:
            self.mode = RECORD if self.enable_backprop else COMPUTE

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS) + ")"


config = _Configuration()


@contextlib.contextmanager
def using_config(**settings: Any) -> Iterator[None]:
    """Change settings of the calling thread for the body of a ``with`` block or a decorated function.

    Args:
        **settings: any of ``train``, ``enable_backprop``, ``debug``, ``in_recomputing``, ``generator``.

    Raises:
        ValueError: a setting of another name.
        TypeError: a flag that is no ``bool``, a generator that is none.
    """
    _check("using_config", settings)
    before = {name: getattr(config, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(config, name, value)
        config.refresh()
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
        config.refresh()


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Record nothing for the body of a ``with`` block or a decorated function (Chainer's ``no_backprop_mode``)."""
    return using_config(enable_backprop=False)


def set_default(**settings: Any) -> None:
    """Set what threads started from now on begin with, and the calling thread at once.

    Raises:
        ValueError: a setting of another name.
        TypeError: a flag that is no ``bool``, a generator that is none.
    """
    _check("set_default", settings)
    _DEFAULTS.update(settings)
    for name, value in settings.items():
        setattr(config, name, value)
    config.refresh()


def _check(operation: str, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _SETTINGS:
            raise argument_error(operation, name, f"one of {', '.join(_SETTINGS)}", name)
        fits = value is None or isinstance(value, torch.Generator) if name == "generator" else isinstance(value, bool)
        if not fits:
            raise argument_error(operation, name, _SETTINGS[name], repr(value), kind=TypeError)
