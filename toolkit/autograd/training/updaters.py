"""One update of the model: batch, loss, backward, step. And what an update is counted by."""

import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from torch.utils.data import DataLoader

from toolkit.autograd.links import Sequential
from toolkit.autograd.training.converters import concat_examples, place_of_model
from toolkit.core.errors import argument_error

Progress = tuple[int, int]
"""Items seen, and items an epoch; the second is 0 where nobody knows."""


class Updater:
    """The parts of a training run, by name, and how far it has come. Write :meth:`update_core` for your own update.

    How far it has come is kept in whole numbers (items seen, items an epoch), so that no epoch is missed by rounding.

    Args:
        iterator: one or several by name; ``"main"`` is the one epochs are counted by.
        optimizer: one or several by name.
        model: one or several by name; default: what the optimizers update.
        iterations_per_epoch: counts epochs where there is no main iterator.

    Attributes:
        iteration: finished updates, those of earlier sessions included.
    """

    def __init__(
        self, iterator: Any = None, optimizer: Any = None, model: Any = None, *, iterations_per_epoch: int | None = None
    ) -> None:
        self.iterators = _named(iterator)
        self.optimizers = _named(optimizer)
        if model is None:
            targets = {name: getattr(optimizer, "target", None) for name, optimizer in self.optimizers.items()}
            model = {name: target for name, target in targets.items() if target is not None}
        self.models = _named(model)
        if iterations_per_epoch is not None and (type(iterations_per_epoch) is not int or iterations_per_epoch < 1):
            expected = "a whole number >= 1"
            raise argument_error("Updater", "iterations_per_epoch", expected, repr(iterations_per_epoch))
        self.iterations_per_epoch = iterations_per_epoch
        self.iteration = 0
        self.progress: Progress = self.position()
        self.previous_progress: Progress = self.progress

    def get_iterator(self, name: str = "main") -> Any:
        """Return the iterator of that name."""
        return _get(self.iterators, name, "get_iterator")

    def get_optimizer(self, name: str = "main") -> Any:
        """Return the optimizer of that name."""
        return _get(self.optimizers, name, "get_optimizer")

    def get_model(self, name: str = "main") -> Any:
        """Return the model of that name."""
        return _get(self.models, name, "get_model")

    def update(self) -> None:
        """Do one update and count it."""
        self.update_core()
        self.advance()

    def update_core(self) -> None:
        """Do one update."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to update: write its update_core()")

    def advance(self) -> None:
        """Count one finished update, and tell the optimizers when it finished an epoch."""
        self.iteration += 1
        self.previous_progress, self.progress = self.progress, self.position()
        if self.optimizers and self.is_new_epoch:
            for optimizer in self.optimizers.values():
                if hasattr(optimizer, "new_epoch"):
                    optimizer.new_epoch()

    def position(self) -> Progress:
        """Return how far the data have been read, which may be further than the last finished update."""
        iterator = self.iterators.get("main")
        if iterator is None:
            return self.iteration, self.iterations_per_epoch or 0
        try:
            return iterator.progress
        except AttributeError:  # an iterator of another make
            detail = Fraction(getattr(iterator, "epoch_detail", None) or 0.0).limit_denominator(1_000_000)
            return detail.numerator, detail.denominator

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        items, size = self.progress
        return items // size if size else 0

    @property
    def epoch_detail(self) -> float:
        """Epochs done, with the fraction of the running one."""
        items, size = self.progress
        return items / size if size else 0.0

    @property
    def previous_epoch_detail(self) -> float:
        """:attr:`epoch_detail` before the latest update; 0 before the first."""
        items, size = self.previous_progress
        return items / size if size else 0.0

    @property
    def is_new_epoch(self) -> bool:
        """Whether the latest update finished an epoch."""
        (items, size), (earlier, earlier_size) = self.progress, self.previous_progress
        return bool(size and earlier_size) and items // size > earlier // earlier_size

    def finalize(self) -> None:
        """Let the iterators' processes go."""
        for iterator in self.iterators.values():
            if hasattr(iterator, "finalize"):
                iterator.finalize()

    def state_dict(self) -> dict[str, Any]:
        """Return how far it has come. The parts are saved beside it, each with its own state."""
        return {
            "iteration": self.iteration,
            "items": self.progress[0],
            "size": self.progress[1],
            "previous_items": self.previous_progress[0],
            "previous_size": self.previous_progress[1],
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take back a state of :meth:`state_dict`."""
        self.iteration = int(state["iteration"])
        self.progress = (int(state["items"]), int(state["size"]))
        self.previous_progress = (int(state["previous_items"]), int(state["previous_size"]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(iteration={self.iteration}, epoch_detail={self.epoch_detail:.6g})"


class StandardUpdater(Updater):
    """The usual update: next batch, loss of the model, backward, step of the optimizer.

    A batch that is a tuple becomes the positional arguments of the loss, a dictionary its keyword arguments,
    anything else its only argument.

    Args:
        iterator: one or several by name; batches come from ``"main"``.
        optimizer: one, set up with its model, or several by name; the loss is minimised by ``"main"``.
        converter: ``converter(batch, device)`` makes arrays of a batch.
        device: where the batch goes: a device of torch, ``"numpy"`` or ``"cupy"``. Default: where the model's first
            parameter is; a model that has none yet takes the batch as it comes.
        loss_function: called with the batch; default: the model.
        model: default: what the optimizers update.

    Raises:
        ValueError: there is no main iterator or no main optimizer, or it has no model.
        TypeError: the iterator is none, the converter no function.
    """

    def __init__(
        self,
        iterator: Any,
        optimizer: Any,
        *,
        converter: Callable[..., Any] = concat_examples,
        device: Any = None,
        loss_function: Callable[..., Any] | None = None,
        model: Any = None,
    ) -> None:
        super().__init__(iterator, optimizer, model)
        batches = self.get_iterator("main")
        require_iterator("StandardUpdater", batches)
        if _is_of_a_data_loader(batches):
            raise _data_loader_error("StandardUpdater", batches)
        main = self.get_optimizer("main")
        if loss_function is None and getattr(main, "target", None) is None:
            expected = "an optimizer with a model: optimizer.setup(model)"
            raise argument_error("StandardUpdater", "optimizer", expected, "one without")
        if not callable(converter):
            raise argument_error("StandardUpdater", "converter", "a function", repr(converter), kind=TypeError)
        self.converter, self.device, self.loss_function = converter, device, loss_function
        self._place: Any = None

    def update_core(self) -> None:
        """Do one update with the next batch of the main iterator."""
        iterator, optimizer = self.iterators["main"], self.optimizers["main"]
        if self.device is None:
            self._place = place_of_model(self.models.get("main"), self._place)
        batch = self.converter(next(iterator), self._place if self.device is None else self.device)
        loss = self.loss_function if self.loss_function is not None else optimizer.target
        if isinstance(batch, tuple):
            arguments, named = batch, {}
        elif isinstance(batch, dict):
            arguments, named = (), batch
        else:
            arguments, named = (batch,), {}
        try:
            optimizer.update(loss, *arguments, **named)
        except Exception as error:
            if not _takes(loss, arguments, named):
                error.add_note(
                    f"StandardUpdater calls the model, here {type(loss).__name__}, with the whole batch "
                    f"({len(arguments) + len(named)} arrays) and expects a loss: wrap a network that knows no labels "
                    "in models.Classifier, or give a loss_function"
                )
            raise


def require_iterator(operation: str, value: Any) -> None:
    """Refuse what is no iterator of batches.

    Raises:
        TypeError: it is none, but a data set, a number or a DataLoader of torch.
    """
    if not hasattr(value, "__next__"):
        if _is_of_a_data_loader(value):
            raise _data_loader_error(operation, value)
        expected = "an iterator: SerialIterator(dataset, batch_size)"
        actual = type(value).__name__
        if isinstance(value, int | float):
            actual = f"{value!r} (the number of iterations in an epoch is named: iterations_per_epoch)"
        raise argument_error(operation, "iterator", expected, actual, kind=TypeError)


def _is_of_a_data_loader(value: Any) -> bool:
    return type(value).__module__.startswith("torch.utils.data.dataloader") or isinstance(value, DataLoader)


def _data_loader_error(operation: str, value: Any) -> Exception:
    expected = "an iterator that knows its epochs: SerialIterator(dataset, batch_size), or a MultiprocessIterator"
    actual = f"{type(value).__name__}, of torch's DataLoader (its data set is loader.dataset)"
    if operation == "ExtensionsManager":
        expected += "; or none, and iterations_per_epoch=len(loader)"
    return argument_error(operation, "iterator", expected, actual, kind=TypeError)


def _takes(loss: Any, arguments: tuple, named: dict) -> bool:
    """Return whether this may be a loss that can be called with these arguments."""
    while isinstance(loss, Sequential) and len(loss):  # which hands on whatever it gets
        loss = loss[0]
    if type(loss).__module__.startswith(Sequential.__module__.rpartition(".")[0]):
        return False  # a layer, which may take labels for one of its settings
    try:
        inspect.signature(getattr(loss, "forward", loss)).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:  # of compiled code
        pass
    return True


def _named(parts: Any) -> dict[str, Any]:
    if parts is None:
        return {}
    return dict(parts) if isinstance(parts, Mapping) else {"main": parts}


def _get(parts: dict[str, Any], name: str, operation: str) -> Any:
    if name not in parts:
        raise argument_error(operation, "name", f"one of {sorted(parts)}", repr(name))
    return parts[name]
