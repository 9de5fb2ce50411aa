"""From examples to a batch of arrays where the model is."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from toolkit.autograd.places import Place, is_array, named_place, place_of
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error


def concat_examples(batch: Any, device: Any = None, padding: Any = None) -> Any:
    """Make one batch of arrays from a list of examples.

    Examples that are tuples give a tuple of arrays, dictionaries a dictionary of arrays, arrays and numbers one array;
    the new first axis counts the examples. A batch that an iterator has already cut from whole arrays (a tuple, a
    dictionary or an array) is only brought to the device. Nothing is copied that is there already.

    Args:
        batch: a list of examples, or a tuple, dictionary or array that is a batch.
        device: where it goes: a device of torch (``"cpu"``, ``"cuda:1"``: torch tensors), ``"numpy"``, ``"cupy"``, or
            a :class:`~toolkit.autograd.places.Place`. ``None`` leaves arrays where they are; numbers become NumPy's.
        padding: fills up examples of different shapes, at the end of each axis; one number, or one for each part of
            the examples. ``None`` requires equal shapes.

    Returns:
        Arrays of shape (examples, …), in the examples' dtype; Python's floats become float32.

    Raises:
        ValueError: no examples, examples of different lengths, keys or (without ``padding``) shapes.
        TypeError: an example is no array, number, tuple or dictionary of these.
    """
    place = _place(device)
    if not isinstance(batch, list):
        return _each(batch, lambda array: _put(array, place))
    if not batch:
        raise argument_error("concat_examples", "batch", "at least one example", "none")
    first = batch[0]
    if isinstance(first, tuple):
        if any(not isinstance(example, tuple) or len(example) != len(first) for example in batch):
            raise argument_error("concat_examples", "batch", f"tuples of {len(first)} parts", "others among them")
        paddings = padding if isinstance(padding, tuple) else (padding,) * len(first)
        if len(paddings) != len(first):
            expected = f"one for each of the {len(first)} parts"
            raise argument_error("concat_examples", "padding", expected, f"{len(paddings)}")
        return tuple(
            _put(_stack([example[part] for example in batch], filler), place) for part, filler in enumerate(paddings)
        )
    if isinstance(first, Mapping):
        if any(not isinstance(example, Mapping) or example.keys() != first.keys() for example in batch):
            raise argument_error("concat_examples", "batch", f"dictionaries of {list(first)}", "others among them")
        fillers = padding if isinstance(padding, Mapping) else dict.fromkeys(first, padding)
        return {name: _put(_stack([example[name] for example in batch], fillers.get(name)), place) for name in first}
    return _put(_stack(batch, padding), place)


def place_of_model(model: Any, known: Place | None = None) -> Place | None:
    """Return where a model's first initialised parameter lives; ``None`` if it has none.

    Args:
        model: a link, or anything else.
        known: where it lived before; returned if that has not changed.
    """
    if not hasattr(model, "params"):
        return None
    for parameter in model.params():
        data = parameter.data
        if data is not None:
            if known is not None and type(data) is type(known.sample) and data.device == known.sample.device:
                return known
            return place_of(data)
    return None


def _place(device: Any) -> Place | None:
    return device if device is None or isinstance(device, Place) else _named(device)


@functools.lru_cache(maxsize=16)
def _named(device: Any) -> Place:
    if isinstance(device, str) and device in ("numpy", "cupy", "torch"):
        return named_place(device)
    return named_place("torch", device)


def _each(batch: Any, put: Any) -> Any:
    if isinstance(batch, tuple):
        return tuple(_each(part, put) for part in batch)
    if isinstance(batch, Mapping):
        return {name: _each(part, put) for name, part in batch.items()}
    return put(batch)


def _put(array: Any, place: Place | None) -> Any:
    if isinstance(array, Variable):
        array = array.data
    if place is None or not is_array(array):
        return array
    sample = place.sample
    if isinstance(sample, torch.Tensor) and isinstance(array, torch.Tensor):
        return array if array.device == sample.device else array.to(sample.device, non_blocking=True)
    return place.put(array, keep_dtype=True)


def _stack(examples: Sequence[Any], filler: Any) -> Any:
    """Stack the same part of all examples."""
    first = examples[0]
    if isinstance(first, Variable):
        examples = [example.data if isinstance(example, Variable) else example for example in examples]
        first = examples[0]
    if filler is not None:
        examples = _padded(examples, filler)
        first = examples[0]
    if isinstance(first, (bool, int, float, np.generic)):
        array = np.array(examples)
        if array.dtype.kind not in "biufc" or array.ndim != 1:
            raise argument_error("concat_examples", "batch", "numbers throughout", "others among them", kind=TypeError)
        return array.astype(np.float32) if isinstance(first, float) and not isinstance(first, np.generic) else array
    if not is_array(first):
        expected = "examples of arrays and numbers, or tuples or dictionaries of these"
        raise argument_error("concat_examples", "batch", expected, type(first).__name__, kind=TypeError)
    shapes = {tuple(getattr(example, "shape", ())) for example in examples}
    if len(shapes) > 1:
        expected = "examples of one shape, or padding=…"
        raise argument_error("concat_examples", "batch", expected, ", ".join(map(str, sorted(shapes))))
    if isinstance(first, torch.Tensor):
        return torch.stack(list(examples))
    if isinstance(first, np.ndarray):
        return np.stack(examples)
    namespace = first.__array_namespace__() if hasattr(first, "__array_namespace__") else None
    if namespace is None:
        import cupy

        return cupy.stack(examples)
    return namespace.stack(list(examples))


def _padded(examples: Sequence[Any], filler: Any) -> list[Any]:
    arrays = [example if is_array(example) else np.asarray(example) for example in examples]
    if len({array.ndim for array in arrays}) > 1:
        expected = "examples with the same number of axes"
        raise argument_error("concat_examples", "batch", expected, ", ".join(str(array.ndim) for array in arrays))
    longest = tuple(max(lengths) for lengths in zip(*(array.shape for array in arrays), strict=True))
    padded = []
    for array in arrays:
        if isinstance(array, torch.Tensor):
            whole: Any = torch.full(longest, filler, dtype=array.dtype, device=array.device)
        elif isinstance(array, np.ndarray):
            whole = np.full(longest, filler, dtype=array.dtype)
        else:
            import cupy

            whole = cupy.full(longest, filler, dtype=array.dtype)
        whole[tuple(slice(0, length) for length in array.shape)] = array
        padded.append(whole)
    return padded
