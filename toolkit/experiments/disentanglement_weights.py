"""Codes and decoders of trained models on disk: those that ship, and a cache of those trained here.

Codes are kept in half precision, and the study scores them as they are kept. So what a lesson computes from shipped
codes is what the record of their training says, but for sampling error. A file that is damaged counts as absent.
"""

import io
import json
import warnings
import zipfile
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
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.experiments.shipped_files import BROKEN, fingerprint_of, read_shipped

FORMAT = "toolkit-codes/1"
KIND = "codes"
_FOLDER = "disentanglement"
_DECODER = "decoder."
_SMALLEST = 2.0**-14  # the smallest normal number of half precision


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """What is kept of a trained model.

    Attributes:
        codes: of the whole grid, rounded to half precision.
        decoder: its weights by name, rounded too; ``None`` if it was not kept.
        settings: all that the training was defined by.
    """

    codes: GaussianCodes
    decoder: Mapping[str, torch.Tensor] | None
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        kept = "with" if self.decoder is not None else "without"
        return f"Trained({self.settings['training']['model']}, {self.codes!r}, {kept} decoder)"


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return what stands for all that a training is defined by."""
    return fingerprint_of(FORMAT, settings)


def shipped_folder() -> Path:
    """Return the folder of what comes with the toolkit."""
    return data_directory() / "weights" / _FOLDER


def cache_folder() -> Path:
    """Return the folder that what was trained here is kept in: beside the data sets."""
    return cache_directory() / "weights" / _FOLDER


def round_codes(codes: GaussianCodes) -> GaussianCodes:
    """Return codes with all numbers rounded to half precision, in their own type.

    Raises:
        ValueError: a mean that is too large for half precision.
    """
    largest = float(codes.mean.abs().max()) if codes.n_real else 0.0
    require(largest < 65_504, "round_codes", "codes", "means within ±65,504", largest)
    return GaussianCodes(
        codes.mean.half().to(codes.mean),
        codes.standard_deviation.half().clamp_min(_SMALLEST).to(codes.mean),
        codes.factors,
        codes.factor_sizes,
        tuple(_round_log_prob(log_prob) for log_prob in codes.categorical_log_prob),
        codes.factor_names,
        codes.latent_names,
    )


def write_trained(file: Path, trained: Trained) -> None:
    """Write one model, whole or not at all.

    Args:
        file: a zip file of arrays: codes in half precision, and the decoder's weights if there are any.
        trained: of a complete grid in its order.

    Raises:
        WriteError: it cannot be written.
    """
    codes = trained.codes
    in_order = torch.equal(codes.factors, _in_order(codes.factor_sizes).to(codes.factors))
    require(in_order, "write_trained", "trained", "codes of a complete grid in its order", repr(codes))
    arrays = {"mean": codes.mean, "standard_deviation": codes.standard_deviation}
    arrays |= {f"categorical_log_prob.{index}": log for index, log in enumerate(codes.categorical_log_prob)}
    arrays |= {f"{_DECODER}{name}": weight for name, weight in (trained.decoder or {}).items()}
    meta = {
        "format": FORMAT,
        "key": fingerprint(trained.settings),
        "settings": dict(trained.settings),
        "factor_sizes": codes.factor_sizes,
        "factor_names": codes.factor_names,
    }
    halves: dict[str, np.ndarray] = {name: array.half().cpu().numpy() for name, array in arrays.items()}
    halves["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    # As numpy.savez_compressed, but for a compression that takes a tenth less; numpy.load reads it all the same.
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, half in halves.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_LZMA
            with archive.open(member, "w") as stream:
                np.lib.format.write_array(stream, half, allow_pickle=False)
    with atomic_write(file) as handle:
        handle.write(buffer.getbuffer())


def keep_trained(name: str, trained: Trained) -> None:
    """Write a model to the cache; where that fails, warn."""
    try:
        write_trained(_cache_file(name, fingerprint(trained.settings)), trained)
    except OSError as error:
        warnings.warn(f"the codes of {name} are not kept for the next time: {error}", stacklevel=2)


def find_trained(name: str, settings: Mapping[str, Any]) -> Trained | None:
    """Return a model from what ships or from the cache.

    Args:
        name: of the model.
        settings: all that its training is defined by, the seed among them.

    Returns:
        ``None`` if it is nowhere, or only damaged.
    """
    key = fingerprint(settings)
    shipped = read_shipped(shipped_folder(), KIND, name, key, lambda content: _restore(content, key))
    if shipped is not None:
        return shipped
    try:
        return _restore(_cache_file(name, key).read_bytes(), key)
    except BROKEN:
        return None


def restore_decoder(decoder: nn.Module, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """Put kept weights into a decoder, and return it in evaluation mode, without gradients."""
    decoder.load_state_dict(dict(weights))
    return decoder.eval().requires_grad_(False)


def _in_order(sizes: tuple[int, ...]) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))


def _cache_file(name: str, key: str) -> Path:
    return cache_folder() / f"{name}-{key}.npz"


def _round_log_prob(log_prob: torch.Tensor) -> torch.Tensor:
    return log_prob.clamp_min(-60_000.0).half().to(log_prob).log_softmax(1)


def _restore(content: bytes, key: str) -> Trained:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    if meta["format"] != FORMAT or meta["key"] != key or fingerprint(meta["settings"]) != key:
        raise ValueError("codes of another training")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("numbers that are not finite")
    tensors = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
    sizes = tuple(meta["factor_sizes"])
    categorical = [tensors[name].log_softmax(1) for name in sorted(tensors) if name.startswith("categorical")]
    codes = GaussianCodes(
        tensors["mean"],
        tensors["standard_deviation"],
        _in_order(sizes),
        sizes,
        tuple(categorical),
        tuple(meta["factor_names"]),
    )
    decoder = {name.removeprefix(_DECODER): array for name, array in tensors.items() if name.startswith(_DECODER)}
    return Trained(codes, decoder or None, meta["settings"])
