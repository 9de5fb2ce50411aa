"""What is bundled in ``data/samples``: read whole, checked against the recorded sha256 of the arrays, never written."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from toolkit.core.errors import argument_error
from toolkit.core.paths import data_directory

CHECKSUMS = "checksums.json"


def array_sha256(array: np.ndarray) -> str:
    """Return the sha256 of the array's bytes in C order: the same whatever file the array came in."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def folder() -> Path:
    """Return the folder of the bundled samples."""
    return data_directory() / "samples"


def _expected(file: str, directory: Path) -> dict[str, str]:
    recorded = json.loads((directory / CHECKSUMS).read_text(encoding="utf-8"))
    return {name: about["sha256"] for name, about in recorded[file].items()}


def read_arrays(file: str, directory: Path | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a bundled ``.npz`` file.

    Args:
        file: its name, ``"mnist5k.npz"``.
        directory: where it lies; default: the bundled samples. Its checksums are always the bundled ones.

    Returns:
        The arrays, and the sha256 of the bytes of each.

    Raises:
        OSError: the file or the list of checksums cannot be read.
        ValueError: it is no npz file, or an array is missing or differs from the recorded one.
    """
    wanted = _expected(file, folder())
    raw = ((directory or folder()) / file).read_bytes()
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in wanted}
    except Exception as error:  # a damaged zip raises anything from BadZipFile to zlib.error and KeyError
        raise ValueError(f"{file} is damaged ({type(error).__name__}: {error})") from error
    for name, array in arrays.items():
        if array_sha256(array) != wanted[name]:
            raise ValueError(f"{file}: array {name!r} has sha256 {array_sha256(array)}, expected {wanted[name]}")
    return arrays, wanted


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
        ValueError: there is no such photograph, or its file differs from the recorded one.
        FileNotFoundError: the installation lacks it.

    Source: scikit-image's bundled pictures, CC0.
    """
    from PIL import Image

    if name not in PHOTOGRAPHS:
        raise argument_error("photograph", "name", "one of " + ", ".join(PHOTOGRAPHS), repr(name))
    file = f"{name}_256.png"
    wanted = _expected(file, folder())["pixels"]
    try:
        with Image.open(io.BytesIO((folder() / file).read_bytes()), formats=["PNG"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"photograph: {file} is damaged ({error})") from error
    if array_sha256(pixels) != wanted:
        raise ValueError(f"photograph: {file} has pixels of sha256 {array_sha256(pixels)}, expected {wanted}")
    return Photograph(
        name=name,
        image=torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        licence="CC0 1.0",
        credit=PHOTOGRAPHS[name],
        description="the largest central square, resized to 256×256",
        sha256=wanted,
    )


def imagenet_classes() -> tuple[str, ...]:
    """Return the 1,000 class names of ImageNet in the order of the usual output units.

    Returns:
        ``names[i]``, synonyms separated by commas: ``names[967] == "espresso"``.

    Raises:
        ValueError: the file differs from the recorded one.
        OSError: the installation lacks it.

    Source: package imagenet-classes, MIT.
    """
    file = "imagenet_classes.json"
    raw = (folder() / file).read_bytes()
    wanted = _expected(file, folder())["bytes"]
    if hashlib.sha256(raw).hexdigest() != wanted:
        raise ValueError(f"imagenet_classes: {file} has sha256 {hashlib.sha256(raw).hexdigest()}, expected {wanted}")
    return tuple(json.loads(raw))
