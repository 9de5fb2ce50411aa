"""Estimators side by side at shared parameters: those that a training with RAM goes through."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.core.history import Series
from toolkit.estimators.estimator import surrogate
from toolkit.experiments.sbn_config import SbnConfig
from toolkit.experiments.sbn_methods import find_method
from toolkit.experiments.sbn_training import SbnTraining, stream

GUIDE = "RAM"
_TIMED_ROUNDS = 5
_SEPARATOR = " | "


class SnapshotTraining:
    """A training with RAM in which the other estimators' baselines learn along, each from estimates of its own.

    Args:
        settings: a configuration.
        names: the estimators to compare; RAM is added if it is missing.
        seed: of everything random.

    Attributes:
        training: the training with RAM, the same as without the others.
        learners: the estimators by name.
    """

    def __init__(self, settings: SbnConfig, names: Sequence[str], seed: int) -> None:
        self.training = SbnTraining(settings, find_method(GUIDE), seed)
        self.learners = {name: self.training.new_learner(find_method(name)) for name in dict.fromkeys((*names, GUIDE))}
        self._noise = {name: stream(seed, f"{name} noise", self.training.device) for name in self._learning()}

    def state(self) -> dict[str, Any]:
        """Return all that changes from step to step."""
        learners = {name: self.learners[name] for name in self._learning()}
        return self.training.state() | {"learners": learners, "noises": self._noise}

    def step(self, index: int) -> None:
        """Let the baselines learn from one minibatch, then do one update with RAM on it."""
        images = self.training.next_images()
        for name in self._learning():
            learner = self.learners[name]
            problem = self.training.problem(images, learner)
            learner.learn(problem, self.training.settings.n_samples, self._noise[name])
        self.training.step_on(images)

    def compare(self, done: int, repeats: int) -> dict[str, float]:
        """Measure every estimator at the present parameters; names for :func:`tables`."""
        metrics: dict[str, float] = {}
        milliseconds = self._milliseconds(done)
        for name, learner in self.learners.items():
            found = self.training.variances(done, learner, repeats)
            found["milliseconds"] = milliseconds[name]
            metrics |= {f"{name}{_SEPARATOR}{key}": value for key, value in found.items()}
        return metrics

    def _milliseconds(self, done: int) -> dict[str, float]:
        """Return the time of one gradient of the inference network, the best of some rounds in turn."""
        training = self.training
        images = training.images.train_binary[: training.settings.batch_size]
        parameters = list(training.model.inference.parameters())
        generator = stream(training.seed, f"time {done}", training.device)
        best = dict.fromkeys(self.learners, float("inf"))
        for _ in range(_TIMED_ROUNDS):
            for name, learner in self.learners.items():
                started = _clock(training.device)
                problem = training.problem(images, learner)
                samples = learner.estimator(problem, training.settings.n_samples, generator)
                torch.autograd.grad(surrogate(problem, samples, through_cost=False), parameters)
                best[name] = min(best[name], 1e3 * (_clock(training.device) - started))
        return best

    def _learning(self) -> list[str]:
        return [name for name, learner in self.learners.items() if learner.learns]


def tables(histories: Mapping[str, Series], n_layers: int) -> dict[str, dict[str, list]]:
    """Sort the numbers of :meth:`SnapshotTraining.compare` over training into tables.

    Returns:
        ``"snapshots"``: for each step and estimator evaluations, milliseconds and both variances, averaged over the
        inference network's parameters, with standard errors, the ratio to RAM's on the fixed batch, and that times the
        evaluations; ``"layers"``: the variances of each layer.
    """
    by_name: dict[str, dict[str, Series]] = {}
    for key, series in histories.items():
        name, separator, metric = key.partition(_SEPARATOR)
        if separator:
            by_name.setdefault(name, {})[metric] = series
    whole: dict[str, list] = {"step": [], "estimator": []}
    layers: dict[str, list] = {"step": [], "estimator": [], "layer": []}
    columns = [f"{kind} variance{part}" for kind in ("fixed", "total") for part in ("", "/standard error")]
    for position, step in enumerate(by_name[GUIDE]["milliseconds"].steps):
        for name, metrics in by_name.items():
            row = {metric: series.values[position] for metric, series in metrics.items()}
            ratio = row["fixed variance"] / by_name[GUIDE]["fixed variance"].values[position]
            entries = {"step": step, "estimator": name, "evaluations": row["evaluations a gradient"]}
            entries |= {"milliseconds": row["milliseconds"], **{column: row[column] for column in columns}}
            entries |= {"to RAM": ratio, "to RAM, times evaluations": ratio * row["evaluations a gradient"]}
            for column, value in entries.items():
                whole.setdefault(column, []).append(value)
            for layer in range(1, n_layers + 1):
                entries = {"step": step, "estimator": name, "layer": layer}
                for column in columns:
                    kind, _, error = column.partition("/")
                    entries[column] = row[f"{kind}/layer {layer}{'/' + error if error else ''}"]
                for column, value in entries.items():
                    layers.setdefault(column, []).append(value)
    return {"snapshots": whole, "layers": layers}


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
