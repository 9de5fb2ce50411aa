"""The engine of a training run: it counts, calls the extensions when it is time, and knows the state of everything."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch

from toolkit.autograd import randomness
from toolkit.autograd.training import state as states
from toolkit.autograd.training.extension import PRIORITY_READER, Entry, name_of
from toolkit.autograd.training.facts import RunFacts
from toolkit.autograd.training.interval_triggers import get_trigger, has_come
from toolkit.autograd.training.reporter import Reporter
from toolkit.autograd.training.state import ResumeReport
from toolkit.autograd.training.updaters import Updater, require_iterator
from toolkit.core.errors import argument_error

_OUTSIDE, _UPDATE, _EXTENSIONS = range(3)


class ExtensionsManager(RunFacts):
    """Extensions for a training loop of your own.

    ::

        manager = ExtensionsManager(model, optimizer, iterator, extensions=[LogReport()], stop_trigger=(20, "epoch"))
        while not manager.finished:
            with manager.run_iteration():
                x, t = next(iterator)
                optimizer.update(model, x, t)

    After the body of :meth:`run_iteration` the iteration is counted, then every extension whose trigger fires is
    called, in descending priority; among equals, in the order of registration. Last the stop trigger is asked.
    :class:`~toolkit.autograd.training.trainer.Trainer` is this with the loop written.

    In a loop of the form ``for batch in iterator`` call :meth:`start` before it if a snapshot is to be resumed from.

    Args:
        models: one (``"main"``) or several by name; default: what the optimizers update. They may report as
            ``main/…``, their children as ``main/child/…``.
        optimizers: one or several by name.
        iterator: one or several by name; epochs are counted by ``"main"``.
        extensions: registered as by :meth:`extend`.
        out: folder for what the extensions write, made by the first that writes. An extension of your own finds it
            there.
        stop_trigger: when training is over; ``(20, "epoch")``: as soon as 20 epochs are reached. ``None``: never.
        iterations_per_epoch: counts epochs where there is no iterator that knows them.
        generators: further random generators by name whose state belongs to the run. Those of the iterators, of the
            links and extensions (as attributes) and the default one of this thread need not be named.

    Attributes:
        observation: what was reported during the latest iteration.
        reporter: the reporter it came through.
        out: the folder.
        updater: counts the iterations and holds models, optimizers and iterators by name.
        resume_report: of the latest :meth:`load_state_dict`; ``None`` before.
    """

    def __init__(
        self,
        models: Any = None,
        optimizers: Any = None,
        iterator: Any = None,
        *,
        extensions: Iterable[Any] = (),
        out: str | os.PathLike[str] = "result",
        stop_trigger: Any = None,
        iterations_per_epoch: int | None = None,
        generators: Mapping[str, torch.Generator] | None = None,
    ) -> None:
        for part in iterator.values() if isinstance(iterator, Mapping) else [iterator]:
            if part is not None:
                require_iterator(type(self).__name__, part)
        updater = Updater(iterator, optimizers, models, iterations_per_epoch=iterations_per_epoch)
        self._prepare(updater, extensions, out, stop_trigger, generators)

    def _prepare(
        self,
        updater: Any,
        extensions: Iterable[Any],
        out: str | os.PathLike[str],
        stop_trigger: Any,
        generators: Mapping[str, torch.Generator] | None,
    ) -> None:
        self.updater = updater
        self.out = os.fspath(out)
        self.reporter = Reporter()
        self.observation: dict[str, Any] = {}
        self.generators = dict(generators or {})
        self.resume_report: ResumeReport | None = None
        self.keeps_beginning = False
        self._entries: list[Entry] = []
        self._deferred: list[Callable[[], object]] = []
        self._beginning: dict[str, Any] | None = None
        self._running = self._over = self._ended = self._was_called = False
        self._stop_asked = threading.Event()
        self._elapsed = self._started_at = 0.0
        self._outer: Any = None
        self._counted = 0
        self._phase = _OUTSIDE
        self._resumed_random: tuple[torch.Generator, Any] | None = None
        self._iteration = _Iteration(self)
        self.stop_trigger = stop_trigger
        self._introduce()
        if not isinstance(extensions, Iterable):
            actual = type(extensions).__name__
            raise argument_error(type(self).__name__, "extensions", "a list of extensions", actual, kind=TypeError)
        for extension in extensions:
            self.extend(extension)

    # -----------------------------------------------------------------------------------------------------------------
    # Facts

    @property
    def in_update(self) -> bool:
        """Whether an update is running: models and iterators may be anywhere between two iterations."""
        return self._phase == _UPDATE

    @property
    def elapsed_time(self) -> float:
        """Seconds of training, those of earlier sessions included."""
        return self._elapsed + (time.perf_counter() - self._started_at if self._running else 0.0)

    @property
    def stop_trigger(self) -> Any:
        """The trigger that ends training. A new one may be set to train longer."""
        return self._stop_trigger

    @stop_trigger.setter
    def stop_trigger(self, trigger: Any) -> None:
        self._stop_trigger = get_trigger(trigger)
        self._over = self._ended = False

    @property
    def finished(self) -> bool:
        """Whether the stop trigger has fired or :meth:`stop` was called. Asking starts the run if need be."""
        if self._stop_asked.is_set() or self._ended:
            return True
        self.start()
        return self._over

    # -----------------------------------------------------------------------------------------------------------------
    # Extensions

    def extend(
        self,
        extension: Callable[..., Any],
        name: str | None = None,
        trigger: Any = None,
        priority: int | None = None,
        *,
        call_before_training: bool = False,
    ) -> None:
        """Register an extension.

        Args:
            extension: an :class:`~toolkit.autograd.training.extension.Extension` or a callable that takes the trainer.
            name: default: its own; a name that is taken gets ``_1``, ``_2``, … at its end.
            trigger: when it is called; default: its own, else after every iteration.
            priority: default: its own, else ``PRIORITY_READER``.
            call_before_training: call it also once before the first iteration (not after a resume).

        Raises:
            TypeError: ``extension`` is not callable, or ``trigger`` no trigger.
        """
        name = wanted = name_of(extension, name)
        taken = {entry.name for entry in self._entries}
        ordinal = 0
        while name in taken:
            ordinal += 1
            name = f"{wanted}_{ordinal}"
        if trigger is None:
            trigger = getattr(extension, "trigger", None) or (1, "iteration")
        if priority is None:
            priority = getattr(extension, "priority", None)
        if priority is not None and (isinstance(priority, bool) or not isinstance(priority, (int, float))):
            raise argument_error("extend", "priority", "a number", repr(priority), kind=TypeError)
        entry = Entry(
            extension, name, get_trigger(trigger), PRIORITY_READER if priority is None else priority,
            call_before_training,
        )  # fmt: skip
        entry.warn_of_serialize()
        # A new list, because an extension may add another one while the old list is gone through.
        self._entries = sorted([*self._entries, entry], key=lambda entry: -entry.priority)
        if self._running:
            entry.hook("initialize", self)

    def get_extension(self, name: str) -> Any:
        """Return the extension registered under ``name``.

        Raises:
            ValueError: there is none.
        """
        return self._entry(name).extension

    def get_trigger(self, name: str) -> Any:
        """Return the trigger of the extension registered under ``name``."""
        return self._entry(name).trigger

    def _entry(self, name: str) -> Entry:
        for entry in self._entries:
            if entry.name == name:
                return entry
        names = ", ".join(sorted(entry.name for entry in self._entries)) or "none registered"
        raise argument_error("get_extension", "name", f"one of the extensions: {names}", repr(name))

    # -----------------------------------------------------------------------------------------------------------------
    # The run

    def run_iteration(self) -> "_Iteration":
        """Return the context manager in whose body one update is done.

        Raises:
            RuntimeError: on entry, if the stop trigger has fired.
        """
        return self._iteration

    def start(self) -> None:
        """Begin the run: resume from a snapshot where an extension does so, then initialise the extensions.

        Called by itself before the first iteration; calling it again does nothing.
        """
        if self._running:
            return
        try:
            self._introduce()
            self._running = True
            self._started_at = time.perf_counter()
            self._resume()
            # The toolkit's own extensions make it when they write; others may rely on it.
            if any(entry.is_foreign for entry in self._entries):
                with suppress(OSError):  # who writes there says so better
                    os.makedirs(self.out, exist_ok=True)
            for entry in self._entries:
                entry.hook("initialize", self)
            if self.iteration == 0 and not self._was_called:
                self._was_called = True
                with self.reporter.scope(self.observation):
                    for entry in self._entries:
                        if entry.call_before_training:
                            entry.extension(self)
            self._over = has_come(self._stop_trigger, self)
        except BaseException as error:
            self._fail(error)
            raise

    def _resume(self) -> None:
        earlier, taken = self.resume_report, self.updater.position()
        ahead = taken != self.updater.progress
        for entry in self._entries:
            entry.hook("resume", self)
        if ahead and self.resume_report is not earlier:
            raise RuntimeError(
                "run_iteration: a batch was taken before the run was resumed from a snapshot\n"
                "  expected: manager.start() before `for batch in iterator`\n"
                f"  actual:   {taken[0]} items taken by then"
            )
        if self._resumed_random is not None:
            loaded, saved = self._resumed_random
            if loaded is not randomness.default():  # of another thread, or outside of `using_config(generator=…)`
                states.restore_default_generator(saved)
            self._resumed_random = None

    def _begin(self) -> None:
        if not self._running:
            self._refuse_when_ended()
            self.start()
        if self._over:
            self._ended = True
            self.finalize()
            self._refuse_when_ended()
        if self.keeps_beginning:
            self._beginning = states.beginning(self)
        self._phase = _UPDATE
        self._counted = self.updater.iteration
        self.observation = {}
        self._outer = self.reporter.enter(self.observation)

    def _end(self) -> None:
        try:
            updater = self.updater
            if updater.iteration == self._counted:
                updater.advance()
            self._phase = _EXTENSIONS
            self._beginning = None
            for entry in self._entries:
                if entry.trigger(self):
                    entry.extension(self)
            self._over = has_come(self._stop_trigger, self)
            while self._deferred:
                self._deferred.pop(0)()
        except BaseException as error:
            self.reporter.leave(self._outer)
            self._phase = _OUTSIDE
            self._fail(error)
            raise
        self.reporter.leave(self._outer)
        self._phase = _OUTSIDE

    def _abandon(self, error: BaseException | None) -> None:
        """Leave an iteration that did not come to its end."""
        self.reporter.leave(self._outer)
        if error is not None:
            self._fail(error)
        self._phase = _OUTSIDE
        self._beginning = None

    def defer(self, action: Callable[[], object]) -> None:
        """Call ``action`` when the running iteration is over and all extensions have been called; now if none is.

        Snapshots are written this way, so that they hold everything that the iteration changed.
        """
        if self._phase == _EXTENSIONS:
            self._deferred.append(action)
        else:
            action()

    def stop(self) -> None:
        """End training after the running iteration. May be called from another thread and from extensions."""
        self._stop_asked.set()

    def finalize(self) -> None:
        """End the run: finalise the extensions and let the iterators' processes go. Does nothing without a run.

        A loop of your own that is left before the stop trigger fires should call it, or use the manager in a
        ``with`` block.
        """
        errors = self._finalize()
        if errors:
            raise errors[0]

    def _finalize(self) -> list[Exception]:
        if not self._running:
            return []
        self._elapsed = self.elapsed_time
        self._running = False
        self._deferred.clear()
        errors = []
        for action in [*(entry.hook for entry in self._entries), None]:
            try:
                if action is None:
                    self.updater.finalize()
                else:
                    action("finalize")
            except Exception as error:
                errors.append(error)
        return errors

    def _fail(self, error: BaseException) -> None:
        """Tell the extensions about an exception and finalise them; what they raise is noted on it."""
        if not self._running:
            return
        for entry in self._entries:
            try:
                entry.hook("on_error", self, error, error.__traceback__)
            except Exception as second:
                error.add_note(f"extension {entry.name!r} failed on this error: {type(second).__name__}: {second}")
        for further in self._finalize():
            error.add_note(f"finalizing failed: {type(further).__name__}: {further}")

    def _refuse_when_ended(self) -> None:
        if self._ended:
            raise RuntimeError(
                f"{type(self).__name__}: training is over\n"
                "  expected: a stop trigger that has not fired (set stop_trigger to train longer)\n"
                f"  actual:   {self._stop_trigger!r} fired at iteration {self.iteration}{self._standing()}"
            )

    def _standing(self) -> str:
        iterator = self.updater.iterators.get("main")
        epoch = getattr(iterator, "epoch", None)
        if epoch is None:
            return ""
        return f"; the iterator, a {type(iterator).__name__}, is at epoch {epoch} (a new one, or reset(), begins anew)"

    def __enter__(self) -> "ExtensionsManager":
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._fail(error)
        else:
            self.finalize()

    def _introduce(self) -> None:
        """Let the reporter know the models and their children."""
        for name, model in self.models.items():
            self.reporter.add_observer(name, model)
            if hasattr(model, "namedlinks"):
                for path, link in model.namedlinks():
                    self.reporter.add_observer(name + path.rstrip("/"), link)

    # -----------------------------------------------------------------------------------------------------------------
    # State

    def state_dict(self) -> dict[str, Any]:
        """Return the state of everything that a resumed run needs, nested by part.

        Models, optimizers, iterators, extensions, triggers, random generators, and how far it has come.
        """
        return states.capture(self)

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> ResumeReport:
        """Take back a state of :meth:`state_dict`.

        Args:
            state: a state, possibly of a run with other extensions, other frozen layers or another iterator.
            strict: refuse a state that does not fit in every part.

        Returns:
            What was loaded, what was missing, what was left over, and what refused its state.

        Raises:
            ValueError: arrays of a model have other shapes (all are listed; nothing has been changed), or with
                ``strict`` something is missing or left over.
        """
        return states.restore(self, state, strict=strict)

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self._entries)
        return f"{type(self).__name__}(iteration={self.iteration}, epoch_detail={self.epoch_detail:.6g}, [{names}])"


class _Iteration:
    """The body of one iteration of a plain loop."""

    __slots__ = ("_manager",)

    def __init__(self, manager: ExtensionsManager) -> None:
        self._manager = manager

    def __enter__(self) -> None:
        self._manager._begin()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        manager = self._manager
        if error is not None:
            manager._abandon(error)
            return
        manager._end()
        if manager._over:
            manager._ended = True
            manager.finalize()
