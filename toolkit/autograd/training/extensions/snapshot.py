"""Files from which a training run that was killed goes on as if it had not been."""

import json
import os
import re
import string
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from toolkit.autograd.serializers import load_npz, save_npz
from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.subjects import formatted
from toolkit.autograd.training.state import ResumeReport, restore
from toolkit.core.errors import CheckpointError, argument_error, require

PRIORITY_SNAPSHOT = -100
"""After all extensions of the usual priorities. One of the whole run has one less: it knows those of its parts."""


class Snapshot(Extension):
    """Writes the state of the whole run to an NPZ file: models, optimizers, place in the data, random numbers, logs.

    The file is written after all extensions have been called, beside its place first, and takes it only when it is
    whole. If that fails (``WriteError``: the disk is full, …), the earlier snapshots stay as they are and the
    training stops with that error, as in Chainer: better than hours that nobody can go back to.

    Args:
        filename: in the trainer's ``out``; may use ``{iteration}``, ``{epoch}`` and ``{epoch_detail}``, with a format
            (``{iteration:06d}``), or Chainer's ``{.updater.iteration}``.
        target: save only this object's state, a model say.
        n_retains: keep the newest so many of the files that this extension has written, in earlier sessions too;
            ``None`` keeps all. No other file is ever touched.
        autoload: at the beginning of a run go on from the newest file of this name pattern that can be read. Each that
            cannot is skipped with a warning. What does not fit a run that has changed since is left out with one
            warning; see ``trainer.resume_report``.
        snapshot_on_error: write one also when an exception ends training. An update that was broken off counts as not
            begun: the resumed run takes its batch again. (What a forward pass changes by itself, such as running means,
            stays changed.) It never replaces a snapshot of the same iteration.
        condition: ``condition(trainer)`` returns whether to write at all; for one of many processes, say.
        compression: smaller files, slower.
        trigger: when to write; default: once an epoch.

    Raises:
        ValueError: ``n_retains`` below 1, a file name with other fields or with fields in the folder.
        TypeError: ``target`` without ``state_dict``, no file name.
    """

    def __init__(
        self,
        filename: str = "snapshot_iter_{iteration}.npz",
        *,
        target: Any = None,
        n_retains: int | None = None,
        autoload: bool = False,
        snapshot_on_error: bool = False,
        condition: Callable[[Any], Any] | None = None,
        compression: bool = False,
        trigger: Any = (1, "epoch"),
    ) -> None:
        n_retains = None if n_retains == -1 else n_retains
        fits = n_retains is None or (isinstance(n_retains, Integral) and n_retains >= 1)
        require(fits, "Snapshot", "n_retains", "a whole number >= 1 or None", repr(n_retains))
        zeros: dict[str, Any] = {"iteration": 0, "epoch": 0, "epoch_detail": 0.0, "elapsed_time": 0.0}
        self._formatted(filename, SimpleNamespace(updater=SimpleNamespace(**zeros), **zeros))
        if target is not None and not hasattr(target, "state_dict"):
            expected, actual = "an object with state_dict()", type(target).__name__
            raise argument_error("Snapshot", "target", expected, actual, kind=TypeError)
        self.filename, self.target, self.n_retains = filename, target, n_retains
        self.autoload, self.snapshot_on_error = autoload, snapshot_on_error
        self.condition, self.compression, self.trigger = condition, compression, trigger
        self.priority = PRIORITY_SNAPSHOT - (target is None)
        self._folder, last = os.path.split(filename)
        require("{" not in self._folder, "Snapshot", "filename", "no fields in the folder", repr(filename))
        self._pattern = _pattern(last)
        self._written: list[str] = []
        self._looked = False

    def resume(self, trainer: Any) -> None:
        """Go on from the newest file that can be read, if ``autoload``. The trainer calls it as a run begins."""
        if self._looked or not self.autoload:
            return
        self._looked = True
        for path in self.candidates(trainer.out):
            try:
                saved = load_npz(path).state or {}
                if self.target is None:
                    _resume(trainer, saved, path)
                else:
                    self.target.load_state_dict(saved)
                return
            except (CheckpointError, OSError) as error:
                reason = "; ".join(line.strip() for line in str(error).splitlines())
                _warn(f"snapshot {os.fspath(path)!r} is skipped: {reason}")

    def initialize(self, trainer: Any) -> None:
        """Remove what a killed session had no time to.

        If an update that is broken off is to be saved, have the trainer take note of where each begins.
        """
        self._remove_surplus(trainer)
        trainer.keeps_beginning = trainer.keeps_beginning or (self.snapshot_on_error and self.target is None)

    def __call__(self, trainer: Any) -> None:
        """Write a snapshot, as soon as the other extensions have been called."""
        if self.condition is None or self.condition(trainer):
            trainer.defer(lambda: self.save(trainer))

    def on_error(self, trainer: Any, error: BaseException, traceback: TracebackType | None) -> None:
        """Write a snapshot, if ``snapshot_on_error``."""
        wanted = self.snapshot_on_error and (self.condition is None or self.condition(trainer))
        # One that was written after the same iteration, all extensions done, is better than what is left now.
        if wanted and not (self._name(trainer) in self._written and (Path(trainer.out) / self._name(trainer)).exists()):
            self.save(trainer)

    def save(self, trainer: Any) -> Path:
        """Write a snapshot now, and remove what is not retained.

        Returns:
            The file.

        Raises:
            WriteError: it cannot be written; nothing has changed then.
        """
        name = self._name(trainer)
        path = Path(trainer.out) / name
        earlier = list(self._written)
        # Noted before, so that the snapshot knows itself: the run that goes on from it will remove it in time.
        self._written = [known for known in earlier if known != name] + [name]
        try:
            save_npz(path, trainer if self.target is None else self.target, compression=self.compression)
        except BaseException:
            self._written = earlier
            raise
        self._remove_surplus(trainer)
        return path

    def _remove_surplus(self, trainer: Any) -> None:
        while self.n_retains is not None and len(self._written) > self.n_retains:
            with suppress(OSError):  # removed by others, or not removable: no reason to stop training
                os.unlink(Path(trainer.out) / self._written.pop(0))

    def candidates(self, out: str | os.PathLike[str]) -> list[Path]:
        """Return the files in ``out`` whose names fit the pattern, the newest first."""
        found = []
        with suppress(OSError):
            for entry in os.scandir(Path(out) / self._folder):
                match = self._pattern.fullmatch(entry.name)
                if match and entry.is_file():
                    numbers = tuple(float(number) for number in match.groups())
                    found.append((entry.stat().st_mtime_ns, numbers, Path(entry.path)))
        return [path for *_, path in sorted(found, reverse=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the names of the files it has written and not removed."""
        return {"written": json.dumps(self._written)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take back a state of :meth:`state_dict`."""
        names = [name for name in json.loads(str(state["written"])) if isinstance(name, str)]
        # Only names of its own kind: no file's content can make it remove others.
        self._written = [
            name
            for name in names
            if os.path.dirname(name) == self._folder and self._pattern.fullmatch(os.path.basename(name))
        ]

    def _name(self, trainer: Any) -> str:
        return self._formatted(self.filename, trainer)

    @staticmethod
    def _formatted(filename: str, facts: Any) -> str:
        counts = {name: getattr(facts, name) for name in ("iteration", "epoch", "epoch_detail")}
        return formatted("Snapshot", "filename", filename, facts, **counts)


def snapshot_object(
    target: Any, filename: str = "model_iter_{iteration}.npz", *, trigger: Any = (1, "epoch"), **options: Any
) -> Snapshot:
    """Return a :class:`Snapshot` of one object, a model say, without the rest of the run.

    Args:
        target: anything with ``state_dict()``.
        filename: as of :class:`Snapshot`.
        trigger: when to write; a ``MaxValueTrigger`` keeps the best model.
        **options: of :class:`Snapshot`.
    """
    return Snapshot(filename, target=target, trigger=trigger, **options)


def resume_from(path: str | os.PathLike[str], trainer: Any) -> ResumeReport:
    """Go on from a certain snapshot: call it before ``trainer.run()`` or the loop.

    Args:
        path: a file that a :class:`Snapshot` has written.
        trainer: a trainer or manager of the same models; extensions, iterators and frozen layers may be others.

    Returns:
        What was loaded and what was not. If something was not, there is a warning too.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it is truncated, or no snapshot of a training run.
        ValueError: the models have other shapes; all are listed, and nothing has been changed.
    """
    return _resume(trainer, load_npz(path).state or {}, Path(path))


def _resume(trainer: Any, saved: Mapping[str, Any], path: Path) -> ResumeReport:
    report = restore(trainer, saved, strict=False, source=os.fspath(path))
    if not report.complete:
        _warn(f"resumed from {os.fspath(path)!r}, but not everything fits:\n{report.describe()}")
    return report


def _pattern(filename: str) -> re.Pattern[str]:
    """Return the expression for the names that a format string gives; its groups are the numbers."""
    expression = ""
    for literal, field, _, _ in string.Formatter().parse(filename):
        expression += re.escape(literal)
        if field is not None:
            expression += r"(\d+)" if field.endswith(("iteration", "epoch")) else r"(\d+(?:\.\d+)?)"
    return re.compile(expression)


def _warn(message: str) -> None:
    """Warn where the user's own code is, however deep below it we are."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("toolkit.", "jaxtyping", "<")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
