"""How far a training is and how fast it goes, as one bar in a terminal or a notebook."""

import time
from typing import Any

from toolkit.autograd.training.extension import Extension
from toolkit.core.errors import require

_SECONDS_BETWEEN_UPDATES = 0.1
_SECONDS_OF_RATE = 3.0


class ProgressBar(Extension):
    """Shows progress, epoch and iterations per second; hidden by ``TOOLKIT_QUIET=1``.

    Args:
        training_length: how long the training takes, ``(20, "epoch")``. Default: the trainer's stop trigger, if it
            says; otherwise only counts are shown.
        description: shown before the bar.
        options: further options of ``tqdm``, such as ``file``.
    """

    trigger = (1, "iteration")

    def __init__(
        self, training_length: tuple[float, str] | None = None, *, description: str = "train", **options: Any
    ) -> None:
        if training_length is not None:
            fits = isinstance(training_length, tuple | list) and len(training_length) == 2
            fits = fits and training_length[1] in ("epoch", "iteration")
            require(fits, "ProgressBar", "training_length", '(n, "epoch") or (n, "iteration")', training_length)
        self._length = training_length
        self._description = description
        self._options = options
        self._bar: Any = None
        self._trainer: Any = None
        self._unit = "iteration"
        self._shown_at = 0.0
        self._counts: list[tuple[float, int]] = []

    def initialize(self, trainer: Any) -> None:
        """Open the bar where the training stands."""
        from toolkit.core.progress import progress_bar

        self.finalize()
        self._trainer = trainer
        total, self._unit = self._length or _length(getattr(trainer, "stop_trigger", None)) or (None, "iteration")
        done = self._done(trainer)
        # Epochs are counted in fractions; tqdm's own rate would be of epochs.
        count = "{n:.2f}" if self._unit == "epoch" else "{n:.0f}"
        ends = "" if total is None else f"/{total:g}"
        bar = "{desc}" if total is None else "{desc}: {percentage:3.0f}%|{bar}|"
        time_left = "[{elapsed}]" if total is None else "[{elapsed}<{remaining}]"
        look = f"{bar} {self._unit} {count}{ends} {time_left}{{postfix}}"
        options = {"bar_format": look, "mininterval": 0.0} | self._options
        self._bar = progress_bar(total, self._description, initial=done, unit=self._unit, **options)
        self._shown_at = time.monotonic()
        self._counts = [(self._shown_at, trainer.iteration)]

    def __call__(self, trainer: Any) -> None:
        """Move the bar, at most ten times a second."""
        now = time.monotonic()
        if now - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._show(trainer, now)

    def _show(self, trainer: Any, now: float) -> None:
        if self._bar is None:
            self.initialize(trainer)
        self._shown_at = now
        if self._bar.disable:
            return
        texts = [] if self._unit == "epoch" else [f"epoch {trainer.epoch_detail:.2f}"]
        texts += self._rate(now, trainer.iteration)
        self._bar.set_postfix_str(", ".join(texts), refresh=False)
        self._bar.n = self._done(trainer)
        self._bar.refresh()

    def _rate(self, now: float, iteration: int) -> list[str]:
        """Return the rate of the last seconds in words: that of the whole training would hide a change."""
        if now - self._counts[-1][0] > _SECONDS_OF_RATE:
            self._counts = [self._counts[-1], (now, iteration)]
        since, before = self._counts[0]
        return [f"{(iteration - before) / (now - since):.3g} iterations/s"] if iteration > before else []

    def _done(self, trainer: Any) -> float:
        done = trainer.epoch_detail if self._unit == "epoch" else trainer.iteration
        total = None if self._bar is None else self._bar.total
        return done if total is None else min(done, total)

    def on_error(self, trainer: Any, error: BaseException, traceback: Any) -> None:
        """Close the bar, so that the error's message stands on a line of its own."""
        self.finalize()

    def finalize(self) -> None:
        """Show where the training stands, and close the bar."""
        if self._bar is not None:
            self._show(self._trainer, time.monotonic())
            self._bar.close()
            self._bar = self._trainer = None


def _length(trigger: Any) -> tuple[float, str] | None:
    """Return length and unit of a stop trigger that fires after a known number of epochs or iterations."""
    ask = getattr(trigger, "get_training_length", None)
    length = None if ask is None else ask()
    return length if length is not None and length[1] in ("epoch", "iteration") else None
