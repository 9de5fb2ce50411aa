"""The one training loop of the studies: it counts, keeps metrics, saves, resumes exactly, and can be stopped."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.core.checkpoints import load_checkpoint, save_checkpoint
from toolkit.core.errors import CheckpointError, reject, require
from toolkit.core.history import History, Series
from toolkit.core.interrupts import deferred_interrupts
from toolkit.core.progress import progress_bar

Metrics = Mapping[str, Any]
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_SECONDS_BETWEEN_READINGS = 0.2
_MOST_UNREAD = 1000


def train(
    step: Callable[[int], Metrics | None],
    n_steps: int,
    *,
    state: Mapping[str, Any] | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    config: object = None,
    global_rng: bool = False,
    resume: bool = True,
    stop: threading.Event | None = None,
    metric: str | None = None,
    description: str = "train",
) -> History:
    """Run a step function, keep its metrics, and survive being stopped.

    A run that is stopped and resumed gives bit for bit what an unbroken run gives, provided ``state`` names everything
    that changes from step to step: models, optimizers, schedules, minibatch orders, generators, arrays.

    The first Ctrl-C (or kernel interrupt) lets the running step end, writes the checkpoint and returns. A second one,
    or a ``KeyboardInterrupt`` out of ``step`` itself, breaks the step off: nothing is written, the returned history
    ends with the last finished step, and the objects may hold half a step, so go on from the checkpoint.
    Any other exception propagates; the last checkpoint stays.

    Args:
        step: called with 0, …, n_steps − 1. Does one update and returns metrics: floats, 0-d tensors or arrays by name.
            Tensors on a GPU are read now and then, not at every step, so that the queue stays full.
        n_steps: steps in all, those of earlier sessions included; 0 does nothing.
        state: named objects to save and restore; see :func:`toolkit.core.checkpoints.save_checkpoint`.
        evaluate: called with the number of finished steps, after each ``evaluate_every`` steps and after the last.
            Must not change the state in ways that are not saved.
        evaluate_every: default: only after the last step.
        checkpoint: the file to write and, if it exists and ``resume``, to go on from.
        checkpoint_every: in steps. Default: once a minute. Always after the last step and when stopped.
        config: what the run is defined by (dataclass or plain values); resuming with another one is refused.
            Leave ``n_steps`` out of it to be able to train longer.
        global_rng: also save and restore the global generators of torch, NumPy and Python, for code that draws
            from them (``torch.nn.Dropout``).
        resume: ``False`` starts anew and replaces the checkpoint.
        stop: set it from another thread to stop after the running step.
        metric: shown in the progress bar; default: the first one.
        description: shown before the progress bar.

    Returns:
        The history, that of earlier sessions included.

    Raises:
        ValueError: negative or inconsistent counts.
        CheckpointError: the checkpoint is broken, of another configuration, or has gone further than ``n_steps``.
        WriteError: the checkpoint cannot be written.
    """
    if not isinstance(n_steps, int):
        reject("train", "n_steps", "an integer", repr(n_steps), kind=TypeError)
    require(n_steps >= 0, "train", "n_steps", ">= 0", n_steps)
    for name, every in (("evaluate_every", evaluate_every), ("checkpoint_every", checkpoint_every)):
        require(every is None or every >= 1, "train", name, ">= 1 or None", every)
    if evaluate_every is not None:
        require(evaluate is not None, "train", "evaluate", "a function with evaluate_every", evaluate)
    if checkpoint_every is not None:
        require(checkpoint is not None, "train", "checkpoint", "a path with checkpoint_every", checkpoint)
    state = dict(state or {})
    log = _Log()
    if checkpoint is not None and resume and Path(checkpoint).exists():
        loaded = load_checkpoint(checkpoint, state, config=config, global_rng=global_rng)
        if loaded.step > n_steps:
            raise CheckpointError(
                f"checkpoint {checkpoint}: cannot go on from it\n  expected: at most n_steps = {n_steps} finished steps"
                f"\n  actual:   {loaded.step}"
            )
        log = _Log(History.from_dict(loaded.history))

    def save() -> None:
        if checkpoint is not None:
            history = log.history(interrupted=log.n_steps < n_steps).to_dict()
            save_checkpoint(checkpoint, state, step=log.n_steps, history=history, config=config, global_rng=global_rng)

    if log.n_steps == n_steps:
        return log.history(interrupted=False)
    saved_at = time.monotonic()
    bar = progress_bar(n_steps, description, initial=log.n_steps, unit="step")
    with deferred_interrupts() as interrupted, bar:
        shown_at = 0.0
        for index in range(log.n_steps, n_steps):
            if interrupted.is_set() or (stop is not None and stop.is_set()):
                break
            try:
                metrics = step(index)
                done = index + 1
                measured = None
                if evaluate is not None and (done == n_steps or (evaluate_every and done % evaluate_every == 0)):
                    measured = evaluate(done)
            except KeyboardInterrupt:
                return log.history(interrupted=True)
            log.add(done, metrics)
            log.add(done, measured)
            bar.update()
            now = time.monotonic()
            if not bar.disable and now - shown_at > _SECONDS_BETWEEN_READINGS:
                bar.set_postfix_str(log.latest(metric), refresh=False)
                shown_at = now
            due = done % checkpoint_every == 0 if checkpoint_every else now - saved_at > _SECONDS_BETWEEN_CHECKPOINTS
            if due and done < n_steps:
                save()
                saved_at = time.monotonic()
        save()
    return log.history(interrupted=log.n_steps < n_steps)


class _Log:
    """Collects metrics; values on a GPU wait until somebody reads."""

    def __init__(self, earlier: History | None = None):
        earlier = earlier or History()
        self.n_steps = earlier.n_steps
        self._series = {name: (list(s.steps), list(s.values)) for name, s in earlier.metrics.items()}
        self._pending: list[tuple[list[float], int, torch.Tensor]] = []
        self._seconds, self._cpu_seconds = earlier.seconds, earlier.cpu_seconds
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def add(self, done: int, metrics: object) -> None:
        if not (metrics is None or isinstance(metrics, Mapping)):
            reject("train", "step", "metrics by name, or None", repr(metrics), kind=TypeError)
        self.n_steps = done
        for name, value in (metrics or {}).items():
            steps, values = self._series.setdefault(name, ([], []))
            steps.append(done)
            if isinstance(value, torch.Tensor) and value.device.type != "cpu" and value.numel() == 1:
                # Copied, because a captured graph writes its next loss to the same place.
                self._pending.append((values, len(values), value.detach().clone()))
                values.append(float("nan"))
            else:
                values.append(_number(name, value))
        if len(self._pending) >= _MOST_UNREAD:
            self._read()

    def latest(self, name: str | None) -> str:
        self._read()
        name = name or next(iter(self._series), None)
        if name is None or name not in self._series:
            return ""
        return f"{name}={self._series[name][1][-1]:.4g}"

    def history(self, *, interrupted: bool) -> History:
        self._read()
        metrics = {name: Series(tuple(steps), tuple(values)) for name, (steps, values) in self._series.items()}
        seconds = self._seconds + time.perf_counter() - self._started
        cpu_seconds = self._cpu_seconds + time.process_time() - self._cpu_started
        return History(metrics, self.n_steps, interrupted, seconds, cpu_seconds)

    def _read(self) -> None:
        for values, position, tensor in self._pending:
            values[position] = float(tensor)
        self._pending.clear()


def _number(name: str, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        shape = getattr(value, "shape", None)
        actual = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
        reject("train", "step", f"metric {name!r} to be one number", actual, kind=TypeError)
