"""The hooks of an optimizer or of one parameter's update rule, by name and in order."""

from typing import Any

from toolkit.autograd.states import LoadReport
from toolkit.core.errors import argument_error

__all__ = ["HookList"]

_TIMINGS = ("pre", "post")


class HookList:
    """Hooks that run before (``"pre"``) and after (``"post"``) an update, in the order they were added."""

    def __init__(self) -> None:
        self._hooks: dict[str, tuple[Any, str]] = {}
        self.pre: tuple[Any, ...] = ()
        self.post: tuple[Any, ...] = ()
        self.used = False

    def add(self, hook: Any, name: str | None, timing: str | None) -> None:
        """Append a hook.

        Args:
            hook: called as ``hook(owner, parameters)``.
            name: must be free; ``None`` means the hook's ``name``, else the name of the function or class.
            timing: ``"pre"``, ``"post"``; ``None`` means the hook's ``timing``, else ``"pre"``.

        Raises:
            TypeError: the hook cannot be called.
            ValueError: another timing, a name that is taken or holds a slash.
        """
        if not callable(hook):
            raise argument_error("add_hook", "hook", "something to call", type(hook).__name__, kind=TypeError)
        if name is None:
            name = getattr(hook, "name", None) or getattr(hook, "__name__", None) or type(hook).__name__
        timing = timing or getattr(hook, "timing", "pre")
        if timing not in _TIMINGS:
            raise argument_error("add_hook", "timing", "'pre' or 'post'", repr(timing))
        if not name or "/" in name:
            raise argument_error("add_hook", "name", "a name without slashes", repr(name))
        if name in self._hooks:
            raise argument_error("add_hook", "name", "a name that is not taken (give name=…)", repr(name))
        self._hooks[name] = (hook, timing)
        self._refresh()

    def remove(self, name: str) -> None:
        """Take a hook off again.

        Raises:
            KeyError: no hook of this name.
        """
        if name not in self._hooks:
            raise argument_error("remove_hook", "name", f"one of {sorted(self._hooks)}", repr(name), kind=KeyError)
        del self._hooks[name]
        self._refresh()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the hooks that have one, by name."""
        return {name: hook.state_dict() for name, hook in self._stateful().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the hooks that are named in ``state`` theirs back."""
        for name, hook in self._stateful().items():
            if name in state:
                hook.load_state_dict(state[name])

    def compare(self, prefix: str, state: dict[str, Any]) -> LoadReport:
        """Return which hooks' states ``state`` has, lacks and has too many, as paths that start with ``prefix``."""
        own = self._stateful()
        return LoadReport(
            loaded=tuple(prefix + name for name in own if name in state),
            missing=tuple(prefix + name for name in own if name not in state),
            unexpected=tuple(prefix + name for name in state if name not in own),
        )

    def _stateful(self) -> dict[str, Any]:
        return {name: hook for name, (hook, _) in self._hooks.items() if hasattr(hook, "state_dict")}

    def _refresh(self) -> None:
        self.pre, self.post = (
            tuple(hook for hook, timing in self._hooks.values() if timing == wanted) for wanted in _TIMINGS
        )
        self.used = bool(self._hooks)

    def __contains__(self, name: object) -> bool:
        return name in self._hooks

    def __repr__(self) -> str:
        return f"HookList({', '.join(self._hooks)})"
