"""Trained weights on disk: those that ship, and a cache of those trained here, found by what they were trained with.

All are rounded to half precision, in the shipped files as in the cache, so that a network is the same wherever it comes
from. A file that is damaged counts as absent.
"""

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from toolkit.core.errors import require
from toolkit.core.files import atomic_write
from toolkit.core.paths import data_directory
from toolkit.datasets.download import cache_directory
from toolkit.experiments.shipped_files import BROKEN, fingerprint_of, read_shipped

FORMAT = "toolkit-weights/1"
KIND = "weights"
_META = "meta"


@dataclass(frozen=True)
class Origin:
    """Where a network's weights came from.

    Attributes:
        place: ``"shipped"``, ``"cache"`` or ``"trained"``.
        cpu_seconds: what the training took, wherever it ran.
    """

    place: str
    cpu_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"place": self.place, "cpu_seconds": self.cpu_seconds}


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return what stands for all that a training is defined by."""
    return fingerprint_of(FORMAT, settings)


def shipped_weights() -> Path:
    """Return the folder of the weights that come with the toolkit."""
    return data_directory() / "weights"


def cached_weights() -> Path:
    """Return the folder that weights trained here are kept in: beside the data sets."""
    return cache_directory() / "weights"


def round_weights(module: nn.Module) -> None:
    """Round the floating-point parameters and buffers of a module to half precision, in place.

    Raises:
        ValueError: one is not finite, or too large for half precision; the module is left as it was.
    """
    state = {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
    for name, tensor in state.items():
        fits = bool(tensor.half().isfinite().all())
        require(fits, "round_weights", name, "finite numbers within ±65,504", "others")
    with torch.no_grad():
        for tensor in state.values():
            tensor.copy_(tensor.half())


def find_weights(name: str, key: str, module: nn.Module) -> Origin | None:
    """Put stored weights into a module.

    Args:
        name: of the network.
        key: its fingerprint.
        module: of the right shapes; untouched unless weights are found.

    Returns:
        Where they were found; ``None`` if nowhere, or only damaged.
    """
    cpu_seconds = read_shipped(shipped_weights(), KIND, name, key, lambda content: _restore(content, key, module))
    if cpu_seconds is not None:
        return Origin("shipped", cpu_seconds)
    try:
        return Origin("cache", _restore(_cache_file(name, key).read_bytes(), key, module))
    except BROKEN:
        return None


def keep_weights(name: str, key: str, module: nn.Module, cpu_seconds: float) -> None:
    """Write rounded weights to the cache; where that fails, warn."""
    try:
        write_weights(_cache_file(name, key), key, module, cpu_seconds)
    except OSError as error:
        warnings.warn(f"the weights of {name} are not kept for the next time: {error}", stacklevel=2)


def write_weights(file: Path, key: str, module: nn.Module, cpu_seconds: float) -> None:
    """Write a module's weights to one file, whole or not at all.

    Args:
        file: what to write; a zip file of arrays, half precision where they are floating-point.
        key: the fingerprint.
        module: with rounded weights.
        cpu_seconds: what its training took.

    Raises:
        WriteError: it cannot be written.
    """
    arrays: dict[str, Any] = {
        n: (t.half() if t.is_floating_point() else t).cpu().numpy() for n, t in module.state_dict().items()
    }
    meta = json.dumps({"format": FORMAT, "key": key, "cpu_seconds": round(cpu_seconds, 2)})
    buffer = io.BytesIO()
    arrays[_META] = np.frombuffer(meta.encode(), np.uint8)
    np.savez_compressed(buffer, **arrays)
    with atomic_write(file) as handle:
        handle.write(buffer.getbuffer())


def _cache_file(name: str, key: str) -> Path:
    return cached_weights() / f"{name}-{key}.npz"


def _restore(content: bytes, key: str, module: nn.Module) -> float:
    """Put the weights of a file into a module, and return what their training took."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(arrays.pop(_META).tobytes())
    if meta["format"] != FORMAT or meta["key"] != key:
        raise ValueError("weights of another training")
    wanted = module.state_dict()
    if {n: tuple(t.shape) for n, t in wanted.items()} != {n: a.shape for n, a in arrays.items()}:
        raise ValueError("weights of another network")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("weights that are not finite")
    module.load_state_dict({n: torch.from_numpy(a).to(wanted[n].dtype) for n, a in arrays.items()})
    return float(meta["cpu_seconds"])
