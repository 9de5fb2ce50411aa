"""What can be hung into a training loop, and how a plain function becomes such a thing."""

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, ClassVar

from toolkit.core.errors import argument_error

PRIORITY_WRITER = 300
"""For extensions that report values which others read: an evaluator."""
PRIORITY_EDITOR = 200
"""For extensions that change what was reported."""
PRIORITY_READER = 100
"""For extensions that only read: a log."""


class Extension:
    """Something done beside the updates: evaluate, log, draw, save, change the learning rate.

    Subclass it and write :meth:`__call__`; every other method has a default that does nothing. Any other callable
    that takes the trainer is an extension too; :func:`make_extension` gives it a trigger and a priority.

    The ``trainer`` it is called with is a :class:`~toolkit.autograd.training.trainer.Trainer` or an
    :class:`~toolkit.autograd.training.manager.ExtensionsManager`, which offer the same facts: ``iteration``,
    ``epoch``, ``epoch_detail``, ``previous_epoch_detail``, ``is_new_epoch``, ``elapsed_time``, ``observation``,
    ``reporter``, ``models``, ``optimizers``, ``iterators``, ``out``, ``stop_trigger``, ``updater``,
    ``get_extension(name)`` and ``stop()``.

    Attributes:
        trigger: when it is called; anything that :func:`~toolkit.autograd.training.triggers.get_trigger` takes.
        priority: those with a higher one are called first; among equals, in the order of registration.
        name: what it is registered under; ``None`` takes :attr:`default_name`.
    """

    trigger: Any = (1, "iteration")
    priority: int = PRIORITY_READER
    name: str | None = None

    @property
    def default_name(self) -> str:
        """The name it is registered under unless another is given: that of its class."""
        return type(self).__name__

    def initialize(self, trainer: Any) -> None:
        """Get ready. Called once before the first iteration of a run, after a snapshot has been loaded.

        What :meth:`load_state_dict` has put back must be left as it is.
        """

    def __call__(self, trainer: Any) -> Any:
        """Do the work. Called after an iteration whenever the trigger fires."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to do: write its __call__(trainer)")

    def on_error(self, trainer: Any, error: BaseException, traceback: TracebackType | None) -> None:
        """React to an exception that ends training. Called before :meth:`finalize`."""

    def finalize(self) -> None:
        """Clean up. Called once after the last iteration of a run, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: nested dictionaries of arrays, numbers, strings, booleans and ``None``."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take back a state of :meth:`state_dict`."""


def make_extension(
    trigger: Any = None,
    default_name: str | None = None,
    priority: int | None = None,
    initializer: Callable[..., Any] | None = None,
    finalizer: Callable[..., Any] | None = None,
    on_error: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function what an extension needs, as a decorator.

    Args:
        trigger: when it is called; default: after every iteration.
        default_name: the name it is registered under; default: the function's.
        priority: default: ``PRIORITY_READER``.
        initializer: ``initializer(trainer)`` is called before the first iteration.
        finalizer: ``finalizer()`` is called after the last one.
        on_error: ``on_error(trainer, error, traceback)`` is called when an exception ends training.

    Returns:
        A decorator, which returns the function itself with these attributes.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__dict__.update(
            trigger=Extension.trigger if trigger is None else trigger,
            default_name=default_name or getattr(function, "__name__", type(function).__name__),
            priority=Extension.priority if priority is None else priority,
        )
        hooks = {"initialize": initializer, "finalize": finalizer, "on_error": on_error}
        function.__dict__.update({name: hook for name, hook in hooks.items() if hook is not None})
        return function

    return decorate


class Entry:
    """One registered extension: itself, and under which name, when and before whom it is called."""

    __slots__ = ("call_before_training", "extension", "name", "priority", "trigger")
    _hooks: ClassVar = ("resume", "initialize", "on_error", "finalize")

    def __init__(self, extension: Any, name: str, trigger: Any, priority: int, call_before_training: bool) -> None:
        self.extension, self.name, self.trigger = extension, name, trigger
        self.priority, self.call_before_training = priority, call_before_training

    @property
    def is_foreign(self) -> bool:
        """Whether it is no extension of the toolkit."""
        module = getattr(self.extension, "__module__", None) or ""
        return module.partition(".")[0] != __name__.partition(".")[0]

    def warn_of_serialize(self) -> None:
        """Say that Chainer's way of saving a state is not used."""
        own = getattr(type(self.extension), "state_dict", None)
        if hasattr(self.extension, "serialize") and own in (None, Extension.state_dict):
            warnings.warn(
                f"extend: {self.name} has the method serialize, which is not called, so that a resumed run lacks its "
                "state: write state_dict and load_state_dict",
                stacklevel=3,
            )

    def hook(self, name: str, *arguments: Any) -> None:
        """Call a method that the extension may or may not have."""
        method = getattr(self.extension, name, None)
        if method is not None:
            method(*arguments)


def name_of(extension: Any, name: str | None) -> str:
    """Return the name an extension asks for.

    Raises:
        TypeError: it is not callable.
    """
    if not callable(extension):
        actual = f"{type(extension).__name__} {extension!r}"
        raise argument_error("extend", "extension", "an Extension or a callable(trainer)", actual, kind=TypeError)
    if isinstance(extension, type):
        actual = f"the class {extension.__name__}"
        raise argument_error("extend", "extension", "an Extension object", actual, kind=TypeError)
    for candidate in (
        name,
        getattr(extension, "name", None),
        getattr(extension, "default_name", None),
        getattr(extension, "__name__", None),
    ):
        if isinstance(candidate, str) and candidate:
            return candidate
    return type(extension).__name__
