"""What is bundled in ``data/samples``: read whole, checked against the recorded sha256 of the arrays, never written."""

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from toolkit.core.errors import argument_error
from toolkit.core.paths import data_directory
from toolkit.datasets.download import cache_directory
from toolkit.datasets.lookup import Attempt, DatasetUnavailable, say
from toolkit.datasets.verification import DamagedFile, require_regular

CHECKSUMS = "checksums.json"
# The most that a header of the npy format and the directory of a zip file add to the arrays.
_SLACK = 1 << 16


def array_sha256(array: np.ndarray) -> str:
    """Return the sha256 of the array's bytes in C order: the same whatever file the array came in."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def folder() -> Path:
    """Return the folder of the bundled samples."""
    return data_directory() / "samples"


def recorded(file: str) -> dict[str, dict]:
    """Return what ``checksums.json`` says about the parts of a bundled file.

    Args:
        file: its name.

    Returns:
        For each part ``sha256``, and what else is recorded.

    Raises:
        OSError: the list cannot be read.
        ValueError: it is damaged or does not know the file.
    """
    everything = json.loads((folder() / CHECKSUMS).read_text(encoding="utf-8"))
    if not isinstance(everything, dict) or file not in everything:
        raise DamagedFile(f"{CHECKSUMS} does not name {file}")
    return everything[file]


def _read(path: Path, most: int) -> bytes:
    require_regular(path)
    with open(path, "rb") as handle:
        raw = handle.read(most + 1)
    if len(raw) > most:
        raise DamagedFile(f"{path.name}: more than {most:,} bytes")
    return raw


def read_arrays(file: str, path: Path | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a bundled ``.npz`` file; what it holds beside the recorded arrays is not touched.

    Args:
        file: its name, ``"mnist5k.npz"``.
        path: a copy, or a folder with one, to read instead. The checksums are always the bundled ones.

    Returns:
        The arrays, and the sha256 of the bytes of each.

    Raises:
        OSError: the file or the list of checksums cannot be read.
        DamagedFile: it is no npz file, or an array is missing or differs from the recorded one.
    """
    wanted = recorded(file)
    sizes = {name: int(np.prod(about["shape"])) * np.dtype(about["dtype"]).itemsize for name, about in wanted.items()}
    path = folder() / file if path is None else path / file if path.is_dir() else path
    raw = _read(path, sum(sizes.values()) + _SLACK)
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for name, size in sizes.items():
                member = archive.getinfo(f"{name}.npy")
                if member.file_size > size + _SLACK:
                    raise DamagedFile(f"array {name!r} claims {member.file_size:,} bytes, expected {size:,}")
                arrays[name] = np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
    except Exception as error:  # a damaged zip raises anything from BadZipFile to zlib.error and KeyError
        raise DamagedFile(f"{path.name} is damaged ({type(error).__name__}: {error})") from error
    sums = {name: about["sha256"] for name, about in wanted.items()}
    for name, array in arrays.items():
        if list(array.shape) != wanted[name]["shape"] or array_sha256(array) != sums[name]:
            found = f"sha256 {array_sha256(array)} of shape {array.shape}"
            raise DamagedFile(f"{path.name}: array {name!r} has {found}, expected {sums[name]}")
    return arrays, sums


def unavailable_sample(name: str, file: str, error: Exception, place: str | Path | None = None) -> DatasetUnavailable:
    """Build the one error for a bundled file that is missing or damaged.

    Args:
        name: the data set.
        file: the bundled file.
        error: what went wrong.
        place: the copy that was read, if not the bundled one.

    Returns:
        The error, to be raised by the caller.
    """
    try:
        wanted = {f"{file} {part}": f"sha256:{about['sha256']}" for part, about in recorded(file).items()}
    except (OSError, ValueError):
        wanted = {}
    kind = f"bundled {file}" if place is None else f"given path {place}"
    ways = ["install the package again: a bundled file is missing or damaged"]
    if place is not None:
        ways = [f"put {file} there", "leave path out to use the bundled copy"]
    ways.append("rebuild the file: python -m toolkit.datasets.rebuild --help")
    return DatasetUnavailable(name, "subset", [Attempt(kind, say(error))], wanted, cache_directory() / name, ways)


@dataclass(frozen=True, eq=False)
class Photograph:
    """One bundled photograph.

    Attributes:
        name: ``"coffee"``.
        image: RGB, 0 to 255, channels first. Yours to change.
        licence: of the picture.
        credit: who took it.
        description: what is done to the original.
        sha256: of the pixels as stored, (height, width, 3).
    """

    name: str
    image: UInt8[Tensor, "3 height width"]
    licence: str
    credit: str
    description: str
    sha256: str

    @property
    def caption(self) -> str:
        """One sentence for under a figure."""
        return f"{self.name}: {self.credit}, {self.licence}; {self.description}."

    def __repr__(self) -> str:
        return f"Photograph({self.name}, {'×'.join(map(str, self.image.shape))}, {self.licence})"

    def to_dict(self) -> dict:
        """Return everything but the pixels, as plain types."""
        return {
            "name": self.name,
            "shape": list(self.image.shape),
            "licence": self.licence,
            "credit": self.credit,
            "description": self.description,
            "sha256": self.sha256,
        }


PHOTOGRAPHS = {
    "chelsea": "Chelsea the cat, photographed by Stéfan van der Walt",
    "coffee": "a cup of espresso, photographed by Rachel Michetti, courtesy of Pikolo Espresso Bar",
}


def photograph(name: str) -> Photograph:
    """Return a bundled photograph, a square of 256×256 pixels.

    Args:
        name: ``"chelsea"`` (a cat) or ``"coffee"`` (a cup of espresso).

    Returns:
        The picture with its origin. Every call returns pixels of its own.

    Raises:
        ValueError: there is no such photograph.
        DatasetUnavailable: its file is missing or differs from the recorded one.

    Source: scikit-image's bundled pictures, CC0.
    """
    from PIL import Image

    if name not in PHOTOGRAPHS:
        raise argument_error("photograph", "name", "one of " + ", ".join(PHOTOGRAPHS), repr(name))
    file = f"{name}_256.png"
    try:
        about = recorded(file)["pixels"]
        with Image.open(io.BytesIO(_read(folder() / file, 1 << 20)), formats=["PNG"]) as picture:
            if [picture.height, picture.width, len(picture.getbands())] != about["shape"]:
                raise DamagedFile(f"{file}: {picture.width}×{picture.height} pixels of {picture.mode}")
            pixels = np.asarray(picture)
        if array_sha256(pixels) != about["sha256"]:
            raise DamagedFile(f"{file}: its pixels have sha256 {array_sha256(pixels)}, expected {about['sha256']}")
    except (OSError, ValueError, SyntaxError, zlib.error) as error:
        raise unavailable_sample(name, file, error) from error
    return Photograph(
        name=name,
        image=torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        licence="CC0 1.0",
        credit=PHOTOGRAPHS[name],
        description="the largest central square, resized to 256×256",
        sha256=about["sha256"],
    )


def imagenet_classes() -> tuple[str, ...]:
    """Return the 1,000 class names of ImageNet in the order of the usual output units.

    Returns:
        ``names[i]``, synonyms separated by commas: ``names[967] == "espresso"``.

    Raises:
        DatasetUnavailable: the file is missing or differs from the recorded one.

    Source: package imagenet-classes, MIT.
    """
    file = "imagenet_classes.json"
    try:
        raw = _read(folder() / file, 1 << 20)
        found, wanted = hashlib.sha256(raw).hexdigest(), recorded(file)["bytes"]["sha256"]
        if found != wanted:
            raise DamagedFile(f"{file} has sha256 {found}, expected {wanted}")
    except (OSError, ValueError) as error:
        raise unavailable_sample("imagenet_classes", file, error) from error
    return tuple(json.loads(raw))
