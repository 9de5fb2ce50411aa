"""The log of a training: means of what was reported, one entry an epoch, in a JSON file that is always whole."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.subjects import formatted, keys_of
from toolkit.autograd.training.interval_triggers import get_trigger, load_into, state_of
from toolkit.autograd.training.summaries import DictSummary
from toolkit.core.errors import argument_error
from toolkit.core.files import atomic_write

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class LogReport(Extension):
    """Averages observations between two firings of its trigger and writes them, with all earlier ones, to a file.

    The file holds a JSON list of objects: the means, and ``epoch``, ``iteration`` and ``elapsed_time`` in seconds. It
    is replaced as a whole each time. A mean that is no number is written as the string ``"NaN"``, ``"Infinity"`` or
    ``"-Infinity"``, which JSON has no numbers for and which ``float()`` and JavaScript's ``Number()`` read back;
    :func:`read_log` does so. In :attr:`log` it is a float.

    Values are read from their device once, when an entry is written.

    When a training goes on without this extension's own state (it was added later), the entries up to the present
    iteration are taken from the file.

    Args:
        keys: what to log, a key or several; default: everything that is reported.
        trigger: when to write an entry.
        postprocess: called with the new entry, a dict, which it may change, before it is written.
        log_name: file name in the trainer's ``out``; may use ``{epoch}``, ``{iteration}`` and the like of the entry.
            ``None`` writes no file.

    Attributes:
        log: the entries so far, a list of dicts.
    """

    trigger = (1, "iteration")

    def __init__(
        self,
        keys: str | Iterable[str] | None = None,
        trigger: Any = (1, "epoch"),
        *,
        postprocess: Callable[[dict[str, Any]], None] | None = None,
        log_name: str | None = "log",
    ) -> None:
        self._keys = None if keys is None else keys_of("LogReport", "keys", keys)
        if log_name is not None and not isinstance(log_name, str):
            raise argument_error("LogReport", "log_name", "a file name or None", repr(log_name), kind=TypeError)
        self._every = get_trigger(trigger)
        self._postprocess = postprocess
        self._log_name = log_name
        self._means = DictSummary()
        self._restored = False
        self.log: list[dict[str, Any]] = []

    def initialize(self, trainer: Any) -> None:
        """Go on with the file's entries if the training goes on and no state was loaded."""
        if not self._restored and trainer.iteration > 0 and not self.log and self._log_name is not None:
            path = Path(trainer.out) / self._log_name
            if "{" not in self._log_name and path.exists():
                self.log = [entry for entry in read_log(path) if entry.get("iteration", 0) <= trainer.iteration]

    def __call__(self, trainer: Any) -> None:
        """Add the iteration's observation, and write if it is time.

        Raises:
            WriteError: the file cannot be written; the earlier one is untouched.
            ValueError: ``log_name`` has fields that the entry has not.
        """
        observation = trainer.observation
        if self._keys is not None:
            observation = {key: observation[key] for key in self._keys if key in observation}
        self._means.add(observation)
        if self._every(trainer):
            self._write(trainer)

    def _write(self, trainer: Any) -> None:
        entry: dict[str, Any] = {**self._means.compute_mean()}
        entry["epoch"] = trainer.epoch
        entry["iteration"] = trainer.iteration
        entry["elapsed_time"] = trainer.elapsed_time
        if self._postprocess is not None:
            self._postprocess(entry)
        self.log.append(entry)
        self._means = DictSummary()
        if self._log_name is not None:
            text = dump_log(self.log)
            name = formatted("LogReport", "log_name", self._log_name, **entry)
            with atomic_write(Path(trainer.out) / name, "w") as file:
                file.write(text)

    def state_dict(self) -> dict[str, Any]:
        """Return the entries and the half-filled mean."""
        return {"log": dump_log(self.log), "means": self._means.state_dict(), "trigger": state_of(self._every)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned; parts that are missing stay as they are."""
        if "log" in state:
            self.log = parse_log(str(state["log"]), "LogReport.load_state_dict", "the state's log")
            self._restored = True
        if "means" in state:
            self._means.load_state_dict(state["means"])
        load_into(self._every, state.get("trigger"))


def dump_log(log: list[dict[str, Any]]) -> str:
    """Return a log as JSON, one entry a line; what JSON has no number for becomes a string."""
    entries = ",\n".join("  " + json.dumps(_encoded(entry), allow_nan=False) for entry in log)
    return f"[\n{entries}\n]\n" if log else "[]\n"


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the file a :class:`LogReport` wrote.

    Returns:
        The entries, with NaN and infinities as floats.

    Raises:
        ValueError: the file is not a log.
        OSError: it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    return parse_log(text, "read_log", os.fspath(path))


def parse_log(text: str, operation: str, argument: str) -> list[dict[str, Any]]:
    """Return the entries of a log's text; the error names ``operation`` and ``argument``."""
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        entries = f"{text[:40]!r} ({error})"
    if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
        actual = entries if isinstance(entries, str) else f"{text[:40]!r}"
        raise argument_error(operation, argument, "a JSON list of objects, as LogReport writes it", actual)
    return [_decoded(entry) for entry in entries]


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _encoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(part) for part in value]
    if hasattr(value, "tolist"):  # an array or a number of an array library
        return _encoded(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decoded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return _WORDS.get(value, value) if isinstance(value, str) else value
