"""The model on data it is not trained on, measured exactly and without leaving a trace."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from toolkit.autograd.configuration import using_config
from toolkit.autograd.randomness import default, noted
from toolkit.autograd.training.converters import concat_examples, place_of_model
from toolkit.autograd.training.extension import PRIORITY_WRITER, Extension
from toolkit.autograd.training.extensions.subjects import named_links, publish, registered_name
from toolkit.autograd.training.iterators import SerialIterator
from toolkit.autograd.training.reporter import Reporter
from toolkit.autograd.training.summaries import DictSummary
from toolkit.core.errors import argument_error, require


class Evaluator(Extension):
    """Runs the model over a data set and reports the means of what it reports, as ``validation/main/loss``, ….

    Every batch counts by its size: sums are divided by counts once at the end, so the result does not depend on the
    batch size, nor on how full the last batch is. What is reported must itself be a mean over the batch.

    Meanwhile ``config.train`` and ``config.enable_backprop`` are off, so that dropout does not drop, batch
    normalization keeps its statistics, and nothing is recorded. Random draws come from a generator that begins anew
    at each evaluation; every generator that the model draws from by itself is put back to where it was. So a training
    gives the same numbers with an evaluator and without.

    Args:
        data: a data set, or an iterator with ``repeat=False``, or an iterable of batches such as a DataLoader.
        target: a Link, several, or Links by name; the one called ``"main"`` (or the only one) is evaluated. Default:
            the trainer's models.
        eval_func: called with each batch in place of the target; it reports.
        batch_size: for a data set.
        converter: ``converter(batch, device)`` makes arrays of a batch.
        device: where batches go. Default: where the target's first parameter is.
        name: what the reported names begin with. Default: the name it is registered under, ``"validation"``.
        seed: of the generator for random draws.
        trigger: when.

    Raises:
        ValueError: an iterator that never ends.
        TypeError: ``data`` is neither of these, or can be gone through only once.
    """

    priority = PRIORITY_WRITER
    trigger = (1, "epoch")

    def __init__(
        self,
        data: Any,
        target: Any = None,
        *,
        eval_func: Callable[..., Any] | None = None,
        batch_size: int = 100,
        converter: Callable[..., Any] = concat_examples,
        device: Any = None,
        name: str | None = None,
        seed: int = 0,
        trigger: Any = (1, "epoch"),
    ) -> None:
        self.trigger = trigger
        self.name = name
        self._iterator = _as_batches(data, batch_size)
        self._target, self._eval_func = target, eval_func
        self._converter, self._device, self._seed = converter, device, seed
        if target is not None:
            named_links(target, None, "Evaluator")

    @property
    def default_name(self) -> str:
        return "validation"

    def __call__(self, trainer: Any = None) -> dict[str, float]:
        """Evaluate, report the means, and return them by their full names."""
        prefix = registered_name(trainer, self) or self.name or self.default_name
        means = self.summarize(trainer).compute_mean()
        return publish(trainer, {f"{prefix}/{name}": mean for name, mean in means.items()})

    def summarize(self, trainer: Any = None) -> DictSummary:
        """Evaluate, and return the weighted sums and counts behind the means, by name without prefix.

        Args:
            trainer: where the models come from if the evaluator was given none.
        """
        targets = named_links(self._target, trainer, "Evaluator") if self._needs_targets(trainer) else {}
        main = targets.get("main") or next(iter(targets.values()), None)
        evaluate = self._eval_func or main
        reporter = Reporter()
        for name, target in targets.items():
            for path, link in target.namedlinks():
                reporter.add_observer(name + path.rstrip("/"), link)
        summary = DictSummary()
        # On the device of the generator it stands in for.
        generator = torch.Generator(default().device).manual_seed(self._seed)
        with noted() as states:
            try:
                with using_config(train=False, enable_backprop=False, generator=generator):
                    self._run(evaluate, self._device or place_of_model(main), reporter, summary)
            finally:
                for used, state in states:
                    used.set_state(state)
        return summary

    def _needs_targets(self, trainer: Any) -> bool:
        return self._eval_func is None or self._target is not None or bool(getattr(trainer, "models", None))

    def _run(self, evaluate: Any, place: Any, reporter: Reporter, summary: DictSummary) -> None:
        if hasattr(self._iterator, "reset"):
            self._iterator.reset()
        # Torch's own way of making batches puts the parts of a tuple into a list.
        collated = isinstance(self._iterator, DataLoader) and self._iterator.collate_fn is default_collate
        for batch in self._iterator:
            if collated and isinstance(batch, list):
                batch = tuple(batch)
            arrays = self._converter(batch, place)
            observation: dict[str, Any] = {}
            with reporter.scope(observation):
                if isinstance(arrays, tuple):
                    evaluate(*arrays)
                elif isinstance(arrays, dict):
                    evaluate(**arrays)
                else:
                    evaluate(arrays)
            size = _length(arrays, batch)
            summary.add({name: (value, size) for name, value in observation.items()})

    def finalize(self) -> None:
        """Let the iterator's processes go."""
        if hasattr(self._iterator, "finalize"):
            self._iterator.finalize()


def _as_batches(data: Any, batch_size: int) -> Any:
    if hasattr(data, "__next__"):
        expected = "a data set, an iterator with repeat=False, or an iterable of batches"
        if not hasattr(data, "reset"):
            actual = f"{type(data).__name__}, which can be gone through only once"
            raise argument_error("Evaluator", "data", expected, actual, kind=TypeError)
        require(not getattr(data, "repeat", False), "Evaluator", "data", expected, "an iterator with repeat=True")
        return data
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        if not len(data):  # a shard may be empty
            return ()
        return SerialIterator(data, batch_size, repeat=False, shuffle=False)
    if isinstance(data, Iterable):
        return data
    raise argument_error(
        "Evaluator", "data", "a data set, an iterator or an iterable of batches", type(data).__name__, kind=TypeError
    )


def _length(arrays: Any, batch: Any) -> int:
    """Return the number of samples in a batch."""
    first = arrays
    if isinstance(arrays, Mapping):
        first = next(iter(arrays.values()), batch)
    elif isinstance(arrays, tuple):
        first = arrays[0] if arrays else batch
    shape = getattr(first, "shape", None)
    return shape[0] if shape else len(batch)
