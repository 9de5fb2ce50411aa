"""The training loop: update, count, extensions, until the stop trigger fires."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from toolkit.autograd.training.manager import ExtensionsManager
from toolkit.core.errors import argument_error
from toolkit.core.interrupts import deferred_interrupts


class Trainer(ExtensionsManager):
    """An :class:`~toolkit.autograd.training.manager.ExtensionsManager` with the loop written.

    ::

        trainer = Trainer(StandardUpdater(iterator, optimizer), stop_trigger=(20, "epoch"))
        trainer.extend(LogReport())
        trainer.run()

    Args:
        updater: does the updates.
        stop_trigger: when training is over; ``(20, "epoch")``: as soon as 20 epochs are reached. ``None``: when the
            data end (an iterator that does not repeat) or :meth:`stop` is called.
        out: folder for what the extensions write, made by the first that writes. An extension of your own finds it
            there.
        extensions: registered as by :meth:`extend`.
        generators: further random generators by name whose state belongs to the run.
    """

    def __init__(
        self,
        updater: Any,
        stop_trigger: Any = None,
        out: str | os.PathLike[str] = "result",
        extensions: Iterable[Any] = (),
        *,
        generators: Mapping[str, torch.Generator] | None = None,
    ) -> None:
        if not hasattr(updater, "update") or not hasattr(updater, "advance"):
            expected = "an Updater: StandardUpdater(iterator, optimizer)"
            raise argument_error("Trainer", "updater", expected, type(updater).__name__, kind=TypeError)
        self._prepare(updater, extensions, out, stop_trigger, generators)

    def run(self) -> None:
        """Train until the stop trigger fires, the data end, or :meth:`stop` is called.

        A second call goes on where the first one was stopped. The first Ctrl-C lets the running iteration end, so that
        nothing is left half updated, and then raises ``KeyboardInterrupt``; a second one breaks the iteration off.

        Any exception goes through every extension's ``on_error``, then all are finalised, and it is raised again
        with its own traceback.

        Raises:
            RuntimeError: an earlier call has come to the end that the stop trigger sets.
        """
        self._refuse_when_ended()
        updater = self.updater
        with deferred_interrupts() as interrupted:
            self.start()
            while not self._over and not self._stop_asked.is_set():
                self._begin()
                try:
                    updater.update()
                except StopIteration as error:
                    if not self._exhausted():
                        self._abandon(error)
                        raise
                    self._abandon(None)
                    break
                except BaseException as error:
                    self._abandon(error)
                    raise
                self._end()
                if interrupted.is_set():
                    interruption = KeyboardInterrupt()
                    self._fail(interruption)
                    raise interruption
        self._stop_asked.clear()
        self._ended = self._over
        self.finalize()

    def _exhausted(self) -> bool:
        return any(getattr(iterator, "repeat", None) is False for iterator in self.iterators.values())
