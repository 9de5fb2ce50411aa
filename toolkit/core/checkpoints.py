"""The state of a training run on disk: written whole, read without executing anything, refused when it does not fit."""

import dataclasses
import io
import json
import os
import random
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.core.errors import CheckpointError, reject
from toolkit.core.files import atomic_write

_FORMAT = "toolkit-checkpoint/1"
_ARRAY = "__numpy__"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds besides the state that was put back.

    Attributes:
        step: number of finished steps.
        history: the history up to there, as :meth:`toolkit.core.training.History.to_dict` gives it.
        config: the configuration it was trained with, as plain JSON values; ``None`` if none was given.
    """

    step: int
    history: dict[str, Any]
    config: Any

    def __repr__(self) -> str:
        return f"Checkpoint(step={self.step}, metrics={sorted(self.history.get('metrics', {}))})"


def save_checkpoint(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    step: int = 0,
    history: Mapping[str, Any] | None = None,
    config: object = None,
    global_rng: bool = False,
) -> None:
    """Write the state of all named objects to one file, whole or not at all.

    Args:
        path: the file.
        state: objects by name: anything with ``state_dict()``/``load_state_dict()`` (modules, optimizers, schedules,
            :class:`~toolkit.core.batches.Minibatches`), ``torch.Generator``, tensors, NumPy arrays and
            ``numpy.random.Generator``, or mappings and sequences of these.
        step: number of finished steps.
        history: metrics so far, plain values.
        config: a dataclass or plain values; compared on resume.
        global_rng: also save the global generators of torch, NumPy and Python.

    Raises:
        TypeError: a state holds something that cannot be stored without pickling code.
        WriteError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "step": step,
        "history": _plain(dict(history or {}), "history"),
        "config": json.dumps(plain_config(config)),
        "state": {name: _capture(value, name) for name, value in state.items()},
        "global_rng": _global_rng() if global_rng else None,
    }
    # Serialised in memory first: torch's own writer aborts the process when a file handle fails in its destructor.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as handle:
        handle.write(buffer.getbuffer())


def load_checkpoint(
    path: str | os.PathLike[str],
    state: Mapping[str, Any] | None = None,
    *,
    config: object = None,
    global_rng: bool = False,
) -> Checkpoint:
    """Put a saved state back into the named objects, in place.

    Args:
        path: a file of :func:`save_checkpoint`.
        state: the same names as at saving, with objects of the same shapes on any device. ``None`` restores nothing
            and only reads.
        config: if given, must equal the saved one.
        global_rng: also restore the global generators of torch, NumPy and Python.

    Returns:
        What else the checkpoint holds.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated or foreign, or does not fit ``state`` or ``config``.
    """
    path = Path(path)
    content = _read(path)
    saved_config = json.loads(content["config"])
    if config is not None:
        _compare_configs(path, saved_config, plain_config(config))
    if state is not None:
        _same_names(path, content["state"], state)
        for name, value in state.items():
            try:
                _restore(value, content["state"][name])
            except Exception as error:  # objects refuse foreign states with errors of every kind
                raise _error(path, f"a state that fits {name!r}", f"{type(error).__name__}: {error}") from error
    if global_rng:
        if content["global_rng"] is None:
            raise _error(path, "the global generators' state", "saved without it")
        _set_global_rng(content["global_rng"])
    return Checkpoint(content["step"], content["history"], saved_config)


def plain_config(config: object) -> Any:
    """Turn a configuration (dataclass, mapping, plain values) into what JSON gives back.

    Raises:
        TypeError: it holds something that JSON cannot express.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    return json.loads(json.dumps(config, default=_as_text))


def _as_text(value: object) -> Any:
    if isinstance(value, (os.PathLike, torch.device, torch.dtype)):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    reject("checkpoint", "config", "plain values", f"{type(value).__name__} {value!r}", kind=TypeError)


def _capture(value: Any, name: str) -> Any:
    """Turn one named object into tensors, plain values and containers of them."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return _plain(value.bit_generator.state, name)
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, np.ndarray):
        return _plain(value, name)
    if hasattr(value, "state_dict"):
        return _plain(value.state_dict(), name)
    if isinstance(value, Mapping):
        return {key: _capture(item, f"{name}/{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_capture(item, f"{name}/{index}") for index, item in enumerate(value)]
    expected = f"{name!r} with state_dict(), a generator, an array, or a container of these"
    reject("save_checkpoint", "state", expected, type(value).__name__, kind=TypeError)


def _restore(value: Any, saved: Any) -> None:
    """Put what :func:`_capture` gave back into the object."""
    if isinstance(value, torch.Generator):
        value.set_state(saved)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = _rebuild(saved)
    elif isinstance(value, Tensor):
        _same_array(tuple(value.shape), value.dtype, tuple(saved.shape), saved.dtype)
        with torch.no_grad():
            value.copy_(saved)
    elif isinstance(value, np.ndarray):
        array = _rebuild(saved)
        _same_array(value.shape, value.dtype, array.shape, array.dtype)
        np.copyto(value, array)
    elif hasattr(value, "load_state_dict"):
        value.load_state_dict(_rebuild(saved))
    elif isinstance(value, Mapping):
        if set(value) != set(saved):
            raise ValueError(f"names {sorted(map(str, value))}, saved {sorted(map(str, saved))}")
        for key, item in value.items():
            _restore(item, saved[key])
    else:
        if len(value) != len(saved):
            raise ValueError(f"{len(value)} items, saved {len(saved)}")
        for item, saved_item in zip(value, saved, strict=True):
            _restore(item, saved_item)


def _plain(value: Any, name: str) -> Any:
    """Keep what can be read back without running code; NumPy arrays travel as tensors."""
    if value is None or type(value) in (bool, int, float, str, torch.dtype):
        return value
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        try:
            return {_ARRAY: torch.from_numpy(np.array(value, order="C"))}
        except (TypeError, ValueError):  # of objects, of text, of foreign byte order
            reject(
                "save_checkpoint", "state", f"{name!r} as an array of numbers", f"dtype {value.dtype}", kind=TypeError
            )
    if isinstance(value, Mapping):
        kind = Counter if isinstance(value, Counter) else dict
        return kind({_plain(key, name): _plain(item, f"{name}/{key}") for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{name}/{index}") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    expected = f"{name!r} as plain values, tensors or arrays"
    reject("save_checkpoint", "state", expected, type(value).__name__, kind=TypeError)


def _rebuild(value: Any) -> Any:
    """Undo the wrapping of NumPy arrays in :func:`_plain`."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return value[_ARRAY].numpy().copy()
        return type(value)({key: _rebuild(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_rebuild(item) for item in value)
    return value


def _same_array(shape: tuple[int, ...], dtype: object, saved_shape: tuple[int, ...], saved_dtype: object) -> None:
    if (shape, dtype) != (saved_shape, saved_dtype):
        raise ValueError(f"shape {shape} of {dtype}, saved {saved_shape} of {saved_dtype}")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.is_char_device() or path.is_block_device() or path.is_fifo():
            raise OSError("a device or a pipe, which may never end")
        buffer = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _error(path, "a file that can be read", error.strerror or str(error)) from error
    # The checksums of the archive are compared here, because torch does not; damage can make both fail in any way.
    try:
        with zipfile.ZipFile(buffer) as archive:
            damaged = archive.testzip()
    except Exception as error:
        raise _error(path, "a whole file of save_checkpoint", f"truncated or foreign ({error})") from error
    if damaged is not None:
        raise _error(path, "a whole file of save_checkpoint", f"damaged at {damaged}")
    buffer.seek(0)
    try:
        content = torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _error(path, "a file of save_checkpoint", f"another archive ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise _error(path, f"format {_FORMAT!r}", f"format {found!r}")
    return content


def _same_names(path: Path, saved: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    missing, unexpected = sorted(set(state) - set(saved)), sorted(set(saved) - set(state))
    if missing or unexpected:
        raise _error(path, f"state named {sorted(state)}", f"missing {missing}, unexpected {unexpected}")


def _compare_configs(path: Path, saved: Any, given: Any) -> None:
    if json.dumps(saved, sort_keys=True) == json.dumps(given, sort_keys=True):
        return
    if not (isinstance(saved, dict) and isinstance(given, dict)):
        raise _error(path, f"config {given!r}", repr(saved))
    differing = [
        key
        for key in sorted({*saved, *given})
        if json.dumps(saved.get(key, "absent"), sort_keys=True) != json.dumps(given.get(key, "absent"), sort_keys=True)
    ]

    def show(config: dict[str, Any]) -> str:
        return ", ".join(f"{key}={config[key]!r}" if key in config else f"no {key}" for key in differing)

    raise _error(path, f"the same config: {show(given)}", f"saved with {show(saved)}")


def _error(path: Path, expected: str, actual: str) -> CheckpointError:
    return CheckpointError(f"checkpoint {path}: cannot go on from it\n  expected: {expected}\n  actual:   {actual}")


def _global_rng() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": _plain(np.random.get_state(legacy=False), "numpy"),
        "python": random.getstate(),
    }


def _set_global_rng(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(_rebuild(state["numpy"]))
    random.setstate(state["python"])
