"""What all optimizers share: the parameters of a link, their update rules, hooks, one step, and the state."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch.autograd.graph import increment_version

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.optimizers.hook_list import HookList
from toolkit.autograd.optimizers.hyperparameters import Hyperparameter, Hyperparameters
from toolkit.autograd.optimizers.state import load_state, saved_state
from toolkit.autograd.optimizers.update_rule import UpdateRule
from toolkit.autograd.states import LoadReport
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["Optimizer", "TensorGroup"]

_Tensor = torch.Tensor


class TensorGroup:
    """Torch tensors that one call of ``torch.optim`` updates: their hyper-parameters are equal.

    Attributes:
        values: the hyper-parameters.
        fused: whether the kernel may pass over all arrays at once, element after element in memory.
        data: the parameters.
        gradients: theirs.
        rules: theirs.
    """

    __slots__ = ("data", "fused", "gradients", "rules", "values")

    def __init__(self, values: dict[str, float], fused: bool) -> None:
        self.values = values
        self.fused = fused
        self.data: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []
        self.rules: list[UpdateRule] = []

    def state(self, name: str) -> list[torch.Tensor]:
        """Return the arrays of this name of all rules."""
        return [rule.state[name] for rule in self.rules]


class Optimizer:
    """Changes the parameters of a link along their gradients.

    A subclass names its hyper-parameters (:class:`Hyperparameter`) and states, and says in :meth:`update_array` how
    one array is changed; torch tensors go through ``torch.optim`` where a subclass overrides :meth:`update_tensors`.

    Parameters without a gradient, without data yet, or with updates switched off are left alone, and so are their
    states. Parameters that join the link later join the optimizer at the next step; one that the link holds twice is
    updated once. Half-precision parameters keep half-precision states; there is no master copy in float32.

    Attributes:
        target: the link, after :meth:`setup`.
        t: number of steps.
        epoch: number of :meth:`new_epoch` calls.
        hyperparameters: by name; each of them is an attribute too.
        hooks: what runs before and after each step.
    """

    kinds: ClassVar[dict[str, Hyperparameter]] = {}
    state_names: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = {name: kind for name, kind in vars(cls).items() if isinstance(kind, Hyperparameter)}
        cls.kinds = {**cls.kinds, **own}

    def __init__(self, **values: float) -> None:
        self.hyperparameters = Hyperparameters(type(self), values)
        self.target: Any = None
        self.t = 0
        self.epoch = 0
        self.hooks = HookList()

    # -----------------------------------------------------------------------------------------------------------------
    # The link and the hooks

    def setup(self, link: Any) -> Any:
        """Take over the parameters of a link: each gets an update rule of its own, and ``t`` starts at 0.

        Args:
            link: a Link.

        Returns:
            The optimizer.

        Raises:
            TypeError: no link.
            ValueError: it has no parameters.
        """
        if not hasattr(link, "namedparams"):
            raise argument_error("setup", "link", "a Link", type(link).__name__, kind=TypeError)
        parameters = list(link.params())
        if not parameters:
            expected = "a link with parameters; assign them inside init_scope()"
            raise argument_error("setup", "link", expected, f"none in {type(link).__name__}")
        self.target = link
        self.t = self.epoch = 0
        for parameter in parameters:
            self._join(parameter)
        return self

    def add_hook(self, hook: Any, name: str | None = None, timing: str | None = None) -> None:
        """Call ``hook(optimizer, parameters)`` at each step, with the list of parameters that are updated in it.

        Args:
            hook: see :mod:`toolkit.autograd.optimizers.hooks`. Before the step (``"pre"``) it may change ``.grad``.
            name: to remove it by; ``None`` means the hook's own.
            timing: ``"pre"`` or ``"post"``; ``None`` means the hook's own, else ``"pre"``.

        Raises:
            TypeError: the hook cannot be called.
            ValueError: another timing, a name that is taken.
        """
        self.hooks.add(hook, name, timing)

    def remove_hook(self, name: str) -> None:
        """Take the hook of this name off again.

        Raises:
            KeyError: no hook of this name.
        """
        self.hooks.remove(name)

    def new_epoch(self) -> None:
        """Count an epoch."""
        self.epoch += 1

    # -----------------------------------------------------------------------------------------------------------------
    # A step

    def update(self, lossfun: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Make one step.

        Args:
            lossfun: called with the other arguments; gradients are cleared before and computed from the loss it
                returns. ``None`` means the gradients are there already.
            *args: for ``lossfun``.
            **kwargs: for ``lossfun``.

        Returns:
            The loss, or ``None``.

        Raises:
            RuntimeError: :meth:`setup` has not been called, or another optimizer has taken a parameter over.
            TypeError: ``lossfun`` returns no Variable.
            ValueError: a gradient does not fit its parameter; nothing has been changed.
        """
        if self.target is None:
            raise RuntimeError("update: the optimizer has no target\n  expected: setup(link) first\n  actual:   none")
        loss = None
        if lossfun is not None:
            if not callable(lossfun):
                expected = "a function that returns the loss (or nothing, where gradients are there already)"
                raise argument_error("update", "lossfun", expected, type(lossfun).__name__, kind=TypeError)
            self.target.cleargrads()
            loss = lossfun(*args, **kwargs)
            if not isinstance(loss, Variable):
                expected = "a function that returns the loss, a Variable"
                raise argument_error("update", "lossfun", expected, type(loss).__name__, kind=TypeError)
            loss.backward()
        parameters = self._ready()
        for hook in self.hooks.pre:
            hook(self, parameters)
        hooked = [parameter for parameter in parameters if parameter.update_rule.hooks.used]
        for parameter in hooked:
            for hook in parameter.update_rule.hooks.pre:
                hook(parameter.update_rule, [parameter])
        groups, others = self._grouped(parameters)
        for group in groups:
            self.update_tensors(group)
            if group.fused:
                # Fused kernels do not count their writes; a backward pass over the old graph has to notice them.
                increment_version(group.data)
            for rule in group.rules:
                rule.count()
        if others:
            self._update_others(others)
        self.t += 1
        for parameter in hooked:
            for hook in parameter.update_rule.hooks.post:
                hook(parameter.update_rule, [parameter])
        for hook in self.hooks.post:
            hook(self, parameters)
        return loss

    def update_array(
        self, xp: Any, data: Any, gradient: Any, state: dict[str, Any], t: int, values: dict[str, float]
    ) -> Any:
        """Change one array.

        Args:
            xp: the backend of its library.
            data: the parameter's array, to be changed in place where the library can.
            gradient: to be left as it is.
            state: the rule's arrays by name, to be changed in place or replaced.
            t: number of the update, from 1.
            values: the hyper-parameters.

        Returns:
            ``data``, or what takes its place.
        """
        raise NotImplementedError(f"{type(self).__name__}.update_array")

    def fuses(self, data: torch.Tensor) -> bool:
        """Return whether :meth:`update_tensors` has a kernel that changes tensors like ``data`` in one pass."""
        return False

    def update_tensors(self, group: TensorGroup) -> None:
        """Change torch tensors of equal hyper-parameters. A subclass leaves it to ``torch.optim`` where that can."""
        xp = backend_of_type(_Tensor)
        for data, gradient, rule in zip(group.data, group.gradients, group.rules, strict=True):
            self.update_array(xp, data, gradient, rule.state, rule.t + 1, group.values)

    def _join(self, parameter: Any) -> UpdateRule:
        enabled = parameter.update_enabled
        parameter.update_rule = rule = UpdateRule(self.hyperparameters)
        rule.enabled = enabled
        return rule

    def _ready(self) -> list[Any]:
        """Return the parameters to update now."""
        ready = []
        shared = self.hyperparameters
        for parameter in self.target.params():
            rule = parameter.update_rule
            if rule is None:
                rule = self._join(parameter)
            elif rule.shared is not shared:
                raise RuntimeError(
                    f"update: another optimizer has taken over parameter {self._path(parameter)}\n"
                    "  expected: each parameter in one optimizer; call setup(link) of the one that is to update it"
                    f"\n  actual:   {rule.shared.kind.__name__} has it"
                )
            if parameter.grad is not None and parameter.data is not None and parameter.update_enabled:
                ready.append(parameter)
        return ready

    def _grouped(self, parameters: list[Any]) -> tuple[list[TensorGroup], list[tuple]]:
        """Return the torch tensors in groups, and what is of other libraries with its gradient; all are checked."""
        groups: dict[Any, TensorGroup] = {}
        others = []
        for parameter in parameters:
            data, gradient, rule = parameter.data, parameter.grad, parameter.update_rule
            if gradient is None:
                continue
            if rule.seen() is not data:
                rule.fit(data, self.state_names, self.fuses)
            if type(gradient) is not type(data) or gradient.shape != rule.shape or gradient.dtype != data.dtype:
                gradient = self._fitting(parameter)
            if type(data) is not _Tensor:
                others.append((parameter, gradient))
                continue
            fused = rule.fused
            key: Any = fused
            if rule.overrides:
                key = (fused, *rule.values().values())
            group = groups.get(key)
            if group is None:
                group = groups[key] = TensorGroup(rule.values(), fused)
            group.data.append(data)
            group.gradients.append(gradient if not fused or gradient.is_contiguous() else gradient.contiguous())
            group.rules.append(rule)
        return list(groups.values()), others

    def _update_others(self, others: list[tuple]) -> None:
        shared = self.hyperparameters
        kind = xp = None
        with np.errstate(all="ignore"):  # what overflows shows in the parameters, as on torch
            for parameter, gradient in others:
                rule, data = parameter.update_rule, parameter.data
                rule.count()
                if type(data) is not kind:
                    kind = type(data)
                    xp = backend_of_type(kind)
                values = rule.values() if rule.overrides else shared
                changed = self.update_array(xp, data, gradient, rule.state, rule.t, values)
                if changed is not data:
                    parameter.data = changed

    def _fitting(self, parameter: Any) -> Any:
        """Return the gradient as an array like the parameter's, or say how it does not fit."""
        data, gradient = parameter.data, parameter.grad
        backend = backend_of_type(type(data))
        shape = tuple(data.shape)
        array = backend.as_array(gradient, data) if hasattr(gradient, "dtype") and shape == () else gradient
        if type(array) is type(data) and tuple(array.shape) == shape and array.dtype == data.dtype:
            return array
        expected = f"{backend.name} array, {data.dtype}{shape}"
        actual = f"{type(gradient).__name__}, {getattr(gradient, 'dtype', '')}{tuple(getattr(gradient, 'shape', ()))}"
        raise argument_error("update", f"grad of {self._path(parameter)}", expected, actual)

    def _path(self, parameter: Any) -> str:
        return next((path for path, known in self.target.namedparams() if known is parameter), "a parameter")

    # -----------------------------------------------------------------------------------------------------------------
    # State

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later run needs to go on from here, bit by bit; a copy, later steps do not change it.

        ``t``, ``epoch``, ``hyperparameters`` and ``hooks`` (those that have a state), and for each parameter, nested
        by its path, ``t``, its own ``hyperparameters``, ``enabled``, the arrays of its ``state``, its ``hooks``.
        """
        return saved_state(self)

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> LoadReport:
        """Go on from a saved state; call :meth:`setup` before, no step need have been made.

        Arrays may be of any library and on any device: they follow the parameters.

        Args:
            state: of :meth:`state_dict`.
            strict: all must fit: parameters, states, hyper-parameters, hooks.

        Returns:
            What was put back and what was not.

        Raises:
            RuntimeError: :meth:`setup` has not been called.
            ValueError: with ``strict``, something does not fit; the message lists all, and nothing has been changed.
        """
        return load_state(self, state, strict)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.hyperparameters.items())
        return f"{type(self).__name__}({values})"
