"""The state of a whole training run, and how it is put back into a run that may have changed since."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from toolkit.autograd import randomness
from toolkit.core.errors import CheckpointError, argument_error

FORMAT = "toolkit-training/1"
_GROUPS = ("updater", "models", "optimizers", "iterators", "extensions", "triggers", "stop_trigger", "random")


@dataclass(frozen=True)
class ResumeReport:
    """What became of a saved state. Parts are named by paths: ``models/main/l1/W``, ``extensions/LogReport``.

    Attributes:
        source: the file, if it came from one.
        iteration: finished iterations of the saved run.
        loaded: parts that went on from their saved state.
        missing: parts of this run that the state lacks; they start afresh.
        unexpected: parts of the state that this run has no place for; they were left out.
        refused: parts that could not take their state, each with the reason; they start afresh.
    """

    source: str | None = None
    iteration: int = 0
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything found its place, so that the run goes on exactly as it would have."""
        return not (self.missing or self.unexpected or self.refused)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def describe(self) -> str:
        """Return all that did not find its place, a line each."""
        lines = [f"missing: {path}" for path in self.missing]
        lines += [f"unexpected: {path}" for path in self.unexpected]
        lines += [f"refused: {path}" for path in self.refused]
        return "\n".join(lines) or "everything was loaded"

    def __repr__(self) -> str:
        counts = f"loaded={len(self.loaded)}, missing={len(self.missing)}, unexpected={len(self.unexpected)}"
        return f"ResumeReport(iteration={self.iteration}, {counts}, refused={len(self.refused)})"


def capture(manager: Any) -> dict[str, Any]:
    """Return the state of a run; see ``ExtensionsManager.state_dict``."""
    # In the middle of an update the batch is taken and the numbers are drawn, but the iteration is not done:
    # the run goes on from before it.
    begun = manager._beginning if manager.in_update and manager._beginning is not None else beginning(manager)
    extensions, triggers = {}, {}
    for entry in manager._entries:
        extensions[_key(entry.name)] = _state_of(entry.extension)
        triggers[_key(entry.name)] = _state_of(entry.trigger)
    return {
        "format": FORMAT,
        "elapsed_time": manager.elapsed_time,
        "updater": _state_of(manager.updater),
        "models": {_key(name): _state_of(model) for name, model in manager.models.items()},
        "optimizers": {_key(name): _state_of(optimizer) for name, optimizer in manager.optimizers.items()},
        "iterators": begun["iterators"],
        "extensions": {name: state for name, state in extensions.items() if state},
        "triggers": {name: state for name, state in triggers.items() if state},
        "stop_trigger": _state_of(manager.stop_trigger),
        "random": begun["random"],
    }


def beginning(manager: Any) -> dict[str, Any]:
    """Return the part of the state that is used up while an update runs: positions in the data, random numbers."""
    return {
        "iterators": {_key(name): _state_of(iterator) for name, iterator in manager.iterators.items()},
        "random": {name: generator.get_state().numpy() for name, generator in _generators(manager).items()},
    }


def restore(manager: Any, state: Mapping[str, Any], *, strict: bool = True, source: str | None = None) -> ResumeReport:
    """Put a state back; see ``ExtensionsManager.load_state_dict``.

    Raises:
        CheckpointError: it is no state of a training run.
        ValueError: shapes differ, or with ``strict`` something is missing or left over.
    """
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        found = f"a mapping with {sorted(map(str, state))[:5]}" if isinstance(state, Mapping) else type(state).__name__
        raise CheckpointError(
            f"{source or 'load_state_dict'}: no state of a training run\n  expected: what a Snapshot writes, "
            f"format {FORMAT!r} (a model alone is loaded with load_npz(path, model))\n  actual:   {found}"
        )
    for name in _GROUPS:
        if not isinstance(state.get(name, {}), Mapping):
            actual = f"{name}: {state[name]!r}"
            raise CheckpointError(
                f"{source or 'load_state_dict'}: damaged\n  expected: a state each\n  actual:   {actual}"
            )
    loading = _Loading(manager, state)
    if strict and (loading.missing or loading.unexpected):
        report = loading.report(source)
        raise argument_error("load_state_dict", "state", "a state that fits in every part", report.describe())
    loading.run()
    manager.resume_report = loading.report(source)
    return manager.resume_report


class _Loading:
    """One loading: first everything is compared and nothing changed, then each part takes its state."""

    def __init__(self, manager: Any, state: Mapping[str, Any]) -> None:
        self.manager, self.state = manager, state
        self.loaded: list[str] = []
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.refused: list[str] = []
        self._models = self._compare_models()
        self._parts = list(self._compare_parts())

    def report(self, source: str | None) -> ResumeReport:
        iteration = int(self.state.get("updater", {}).get("iteration", 0))
        return ResumeReport(
            source, iteration, tuple(self.loaded), tuple(self.missing), tuple(self.unexpected), tuple(self.refused)
        )

    def run(self) -> None:
        for path, model, merged in self._models:
            model.load_state_dict(merged)
            self.loaded.append(path)
        for path, part, saved in self._parts:
            try:
                self._load(path, part, saved)
            except Exception as error:  # foreign parts refuse foreign states with errors of every kind
                lines = [line.strip() for line in str(error).splitlines()]
                self.refused.append(f"{path}: {'; '.join(lines) or type(error).__name__}")
        self._load_generators()
        self.manager._elapsed = float(self.state.get("elapsed_time") or 0.0)
        self.manager._over = self.manager._ended = False
        self.manager._was_called = True

    def _compare_models(self) -> list[tuple[str, Any, dict[str, Any]]]:
        pairs = []
        wrong = []
        saved_models = self.state.get("models", {})
        self._names("models", self.manager.models, saved_models)
        for name, model in self.manager.models.items():
            saved = saved_models.get(_key(name))
            if saved is None:
                continue
            path = f"models/{name}"
            ours, theirs = dict(_flat(model.state_dict())), dict(_flat(saved))
            self.unexpected += [f"{path}/{key}" for key in theirs if key not in ours]
            for key, value in ours.items():
                if key not in theirs or (theirs[key] is None and value is not None):
                    self.missing.append(f"{path}/{key}")
                    continue
                shape, saved_shape = _shape(value), _shape(theirs[key])
                if value is not None and shape != saved_shape:
                    wrong.append(f"{path}/{key}: {shape}, saved {saved_shape}")
                ours[key] = theirs[key]
            pairs.append((path, model, _nested(ours)))
        if wrong:
            expected = "the models' shapes (nothing has been changed)"
            raise argument_error("load_state_dict", "state", expected, "\n            ".join(wrong))
        return pairs

    def _compare_parts(self) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
        manager, state = self.manager, self.state
        if hasattr(manager.updater, "load_state_dict"):
            yield "updater", manager.updater, state.get("updater", {})
        for group, parts in (("optimizers", manager.optimizers), ("iterators", manager.iterators)):
            saved = state.get(group, {})
            self._names(group, parts, saved)
            for name, part in parts.items():
                if _key(name) in saved:
                    yield f"{group}/{name}", part, saved[_key(name)]
        for group, attribute in (("extensions", "extension"), ("triggers", "trigger")):
            saved = state.get(group, {})
            parts = {entry.name: getattr(entry, attribute) for entry in manager._entries}
            self._names(group, {name: part for name, part in parts.items() if _state_of(part)}, saved)
            for name, part in parts.items():
                if _key(name) in saved and hasattr(part, "load_state_dict"):
                    yield f"{group}/{name}", part, saved[_key(name)]
        if state.get("stop_trigger") and hasattr(manager.stop_trigger, "load_state_dict"):
            yield "stop_trigger", manager.stop_trigger, state["stop_trigger"]

    def _names(self, group: str, parts: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """Note parts that only one side has."""
        ours = {_key(name) for name in parts}
        self.missing += [f"{group}/{_name(key)}" for key in ours if key not in saved]
        self.unexpected += [f"{group}/{_name(key)}" for key in saved if key not in ours]

    def _load(self, path: str, part: Any, saved: Mapping[str, Any]) -> None:
        try:
            report = part.load_state_dict(saved, strict=False)
        except TypeError as error:
            if "strict" not in str(error):
                raise
            report = part.load_state_dict(saved)
        self.loaded.append(path)
        # Such an iterator takes what it can, but the run does not go on exactly.
        if path.startswith("iterators/") and "n_items" in saved and saved["n_items"] != _state_of(part).get("n_items"):
            self.refused.append(f"{path}/position: of {saved['n_items']} items; the epoch begins anew")
        for name, found in (("missing", self.missing), ("unexpected", self.unexpected)):
            found += [f"{path}/{key}" for key in getattr(report, name, None) or ()]
        self.refused += [f"{path}/{key}: another shape" for key in getattr(report, "misshapen", None) or ()]

    def _load_generators(self) -> None:
        saved = dict(self.state.get("random", {}))
        for name, generator in _generators(self.manager).items():
            path = f"random/{_name(name)}"
            if name not in saved:
                self.missing.append(path)
                continue
            try:
                _set(generator, saved.pop(name))
                self.loaded.append(path)
            except Exception as error:
                self.refused.append(f"{path}: {error}")
        self.unexpected += [f"random/{_name(name)}" for name in saved]
        if "default" in self.state.get("random", {}):
            self.manager._resumed_random = (randomness.default(), self.state["random"]["default"])


def restore_default_generator(saved: Any) -> None:
    """Put the state back into the generator this thread draws from."""
    _set(randomness.default(), saved)


def _generators(manager: Any) -> dict[str, torch.Generator]:
    """Return the generators of a run by name: the default one, those named, and those that parts carry."""
    found = {"default": randomness.default()}
    for name, generator in manager.generators.items():
        found[_key(f"generators/{name}")] = generator
    carriers = []
    for name, model in manager.models.items():
        if hasattr(model, "namedlinks"):
            carriers += [(f"models/{name}{path}", link) for path, link in model.namedlinks()]
    carriers += [(f"optimizers/{name}", optimizer) for name, optimizer in manager.optimizers.items()]
    carriers += [(f"extensions/{entry.name}", entry.extension) for entry in manager._entries]
    carriers.append(("updater", manager.updater))
    known = {id(generator) for generator in found.values()}
    for path, carrier in carriers:
        for attribute, value in getattr(carrier, "__dict__", {}).items():
            if isinstance(value, torch.Generator) and id(value) not in known:
                known.add(id(value))
                found[_key(f"{path}.{attribute}")] = value
    return found


def _set(generator: torch.Generator, saved: Any) -> None:
    generator.set_state(torch.from_numpy(np.array(saved, dtype=np.uint8)))


def _state_of(part: Any) -> dict[str, Any]:
    return part.state_dict() if hasattr(part, "state_dict") else {}


def _key(name: str) -> str:
    """Return a name as one step of a path."""
    return name.replace("%", "%25").replace("/", "%2F")


def _name(key: str) -> str:
    return key.replace("%2F", "/").replace("%25", "%")


def _flat(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *folders, last = path.split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return nested


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return an array's shape; a number's is ``()``."""
    if value is None:
        return None
    return tuple(getattr(value, "shape", ()))
