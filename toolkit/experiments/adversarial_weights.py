"""Trained weights on disk: those that ship, and a cache of those trained here, found by what they were trained with.

All are rounded to half precision, in the shipped files as in the cache, so that a network is the same wherever it comes
from. A file that is damaged counts as absent.
"""

import hashlib
import io
import json
import warnings
import zipfile
import zlib
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

FORMAT = "toolkit-weights/1"
INDEX = "index.json"
_META = "meta"
_BROKEN = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error),
)


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
    text = json.dumps({"format": FORMAT, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
    try:
        entry = read_index().get(f"{name}-{key}")
    except _BROKEN as error:
        warnings.warn(f"the index of the weights that ship is damaged: {error}", stacklevel=2)
        entry = None
    if entry is not None:
        try:
            content = (shipped_weights() / entry["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise ValueError("its checksum is another one")
            return Origin("shipped", _restore(content, key, module))
        except _BROKEN as error:
            warnings.warn(f"the weights of {name} that ship are damaged and not used: {error}", stacklevel=2)
    try:
        return Origin("cache", _restore(_cache_file(name, key).read_bytes(), key, module))
    except _BROKEN:
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


def write_index(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index of a folder of weights that ship.

    Args:
        folder: with the files.
        entries: for each network and fingerprint its ``file`` and how it was made; the checksum is added.

    Raises:
        WriteError: it cannot be written.
    """
    sums = {name: hashlib.sha256((folder / str(e["file"])).read_bytes()).hexdigest() for name, e in entries.items()}
    weights = {name: {**entry, "sha256": sums[name]} for name, entry in entries.items()}
    with atomic_write(folder / INDEX, "w") as handle:
        json.dump({"format": FORMAT, "weights": weights}, handle, indent=1, ensure_ascii=False)
        handle.write("\n")


def read_index() -> dict[str, dict[str, Any]]:
    """Return what ships: for each network and fingerprint the file, its checksum, and how it was made."""
    file = shipped_weights() / INDEX
    if not file.is_file():
        return {}
    index = json.loads(file.read_text(encoding="utf-8"))["weights"]
    if not (isinstance(index, dict) and all(isinstance(entry, dict) for entry in index.values())):
        raise ValueError("weights by name expected")
    return index


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
