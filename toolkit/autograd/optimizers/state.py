"""The state of an optimizer: gathered by parameter path, and put back after everything has been looked at."""

from collections.abc import Mapping
from typing import Any

from toolkit.autograd.backends import backend_of
from toolkit.autograd.optimizers.hyperparameters import Hyperparameters
from toolkit.autograd.places import is_array
from toolkit.autograd.states import LoadReport, nest_state
from toolkit.core.errors import argument_error

__all__ = ["load_state", "saved_state"]


def saved_state(optimizer: Any) -> dict[str, Any]:
    """Carry out :meth:`Optimizer.state_dict`."""
    parameters = {}
    for path, parameter in _named(optimizer):
        rule = parameter.update_rule
        if rule is not None and rule.shared is optimizer.hyperparameters:
            parameters[path] = _saved_rule(rule)
    return {
        "t": optimizer.t,
        "epoch": optimizer.epoch,
        "hyperparameters": dict(optimizer.hyperparameters),
        "hooks": optimizer.hooks.state_dict(),
        "parameters": nest_state(parameters),
    }


def _saved_rule(rule: Any) -> dict[str, Any]:
    return {
        "t": rule.t,
        "enabled": rule.enabled,
        "hyperparameters": dict(rule.overrides),
        "state": {name: _copied(array) for name, array in rule.state.items()},
        "hooks": rule.hooks.state_dict(),
    }


def load_state(optimizer: Any, state: Any, strict: bool) -> LoadReport:
    """Carry out :meth:`Optimizer.load_state_dict`."""
    operation = "load_state_dict"
    if optimizer.target is None:
        raise RuntimeError(f"{operation}: the optimizer has no target\n  expected: setup(link) first\n  actual:   none")
    if not isinstance(state, Mapping):
        raise argument_error(operation, "state", "a dict of state_dict()", type(state).__name__, kind=TypeError)
    survey = _Survey()
    survey.counts("", state, ("t", "epoch"))
    survey.hyperparameters("hyperparameters/", state.get("hyperparameters"), optimizer.hyperparameters, full=True)
    survey.hooks("hooks/", state.get("hooks"), optimizer.hooks)
    rules = {}
    saved_rules = state.get("parameters")
    remaining = _Tree(saved_rules if isinstance(saved_rules, Mapping) else {})
    for path, parameter in _named(optimizer):
        saved = remaining.take(path)
        if saved is None:
            survey.missing.append(f"parameters/{path}")
        elif parameter.update_rule is None or parameter.update_rule.shared is optimizer.hyperparameters:
            if survey.rule(f"parameters/{path}/", saved, parameter, optimizer):
                rules[path] = (parameter, saved)
        else:
            survey.unexpected.append(f"parameters/{path} (another optimizer has it)")
    survey.unexpected += [f"parameters/{path}" for path in remaining.left()]
    known = {"t", "epoch", "hyperparameters", "hooks", "parameters"}
    survey.unexpected += [str(name) for name in state if name not in known]
    report = survey.report()
    if strict and not report.complete:
        expected = f"the state of this {type(optimizer).__name__} and its parameters (nothing has been changed)"
        raise argument_error(operation, "state", expected, report.problems())
    if isinstance(state.get("t"), int):
        optimizer.t = state["t"]
    if isinstance(state.get("epoch"), int):
        optimizer.epoch = state["epoch"]
    optimizer.hyperparameters.update(survey.accepted.get("hyperparameters/", {}))
    optimizer.hooks.load_state_dict(_mapping(state.get("hooks")))
    for path, (parameter, saved) in rules.items():
        _restore_rule(optimizer, parameter, saved, survey.accepted.get(f"parameters/{path}/hyperparameters/", {}))
    return report


def _restore_rule(optimizer: Any, parameter: Any, saved: Mapping[str, Any], overrides: dict[str, float]) -> None:
    rule = parameter.update_rule or optimizer._join(parameter)
    rule.t = saved["t"]
    if isinstance(saved.get("enabled"), bool):
        parameter.update_enabled = saved["enabled"]
    rule.overrides = dict(overrides)
    # Copies, which the next step brings to where the parameter is then.
    rule.state = {name: _copied(array) for name, array in _mapping(saved.get("state")).items()}
    rule.forget()
    rule.hooks.load_state_dict(_mapping(saved.get("hooks")))


class _Survey:
    """What of a saved state fits, by path."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.misshapen: list[str] = []
        self.accepted: dict[str, dict[str, float]] = {}

    def report(self) -> LoadReport:
        return LoadReport(tuple(self.loaded), tuple(self.missing), tuple(self.unexpected), tuple(self.misshapen))

    def counts(self, prefix: str, state: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for name in names:
            value = state.get(name)
            fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            (self.loaded if fits else self.missing).append(prefix + name)

    def hyperparameters(self, prefix: str, saved: Any, own: Hyperparameters, *, full: bool) -> None:
        saved = _mapping(saved)
        accepted = self.accepted[prefix] = {}
        for name, value in saved.items():
            try:
                accepted[name] = own.checked(name, value)
            except (KeyError, TypeError, ValueError):
                self.unexpected.append(f"{prefix}{name}")
            else:
                self.loaded.append(f"{prefix}{name}")
        if full:
            self.missing += [f"{prefix}{name}" for name in own if name not in saved]

    def hooks(self, prefix: str, saved: Any, own: Any) -> None:
        report = own.compare(prefix, _mapping(saved))
        self.loaded += report.loaded
        self.missing += report.missing
        self.unexpected += report.unexpected

    def rule(self, prefix: str, saved: Mapping[str, Any], parameter: Any, optimizer: Any) -> bool:
        """Note what of a parameter's saved rule fits; return whether it can be put back."""
        found = len(self.missing) + len(self.misshapen)
        loaded = len(self.loaded)
        self.counts(prefix, saved, ("t",))
        arrays = _mapping(saved.get("state"))
        for name in optimizer.state_names:
            path = f"{prefix}state/{name}"
            if name not in arrays:
                if saved.get("t"):
                    self.missing.append(path)
            elif not is_array(arrays[name]) or not _same_shape(arrays[name], parameter):
                self.misshapen.append(path)
            else:
                self.loaded.append(path)
        fits = len(self.missing) + len(self.misshapen) == found
        extra = [name for name in arrays if name not in optimizer.state_names]
        self.unexpected += [f"{prefix}state/{name}" for name in extra]
        self.hyperparameters(
            f"{prefix}hyperparameters/", saved.get("hyperparameters"), optimizer.hyperparameters, full=False
        )
        hooks = parameter.update_rule.hooks if parameter.update_rule is not None else type(optimizer.hooks)()
        self.hooks(f"{prefix}hooks/", saved.get("hooks"), hooks)
        if extra or not fits:
            # Half a state would be worse than a fresh one.
            del self.loaded[loaded:]
        return fits and not extra


class _Tree:
    """Saved rules nested by path, each taken out once."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._rules: dict[str, Mapping[str, Any]] = {}
        pending = [("", tree)]
        while pending:
            prefix, inner = pending.pop()
            for name, value in inner.items():
                if not isinstance(value, Mapping) or ("t" in value and not isinstance(value["t"], Mapping)):
                    self._rules[f"{prefix}{name}"] = _mapping(value)
                else:
                    pending.append((f"{prefix}{name}/", value))

    def take(self, path: str) -> Mapping[str, Any] | None:
        return self._rules.pop(path, None)

    def left(self) -> list[str]:
        return sorted(self._rules)


def _named(optimizer: Any) -> list[tuple[str, Any]]:
    if optimizer.target is None:
        return []
    return [(path.lstrip("/"), parameter) for path, parameter in optimizer.target.namedparams()]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _same_shape(array: Any, parameter: Any) -> bool:
    return not parameter.is_initialized or tuple(array.shape) == tuple(parameter.data.shape)


def _copied(array: Any) -> Any:
    return backend_of(array, "state_dict", "state").copy(array)
