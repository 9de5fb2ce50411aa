"""Real data, and the two renderers that stand in for data too large to ship.

``load("mnist")`` answers with a few thousand real images that come with the package; ``load("mnist", variant="full")``
looks for the whole set on this machine and downloads it when it is nowhere. Every file is checked against a recorded
checksum before it is parsed, nothing is unpickled, and no archive is ever extracted. A result says where it came from.

* :mod:`~toolkit.datasets.registry`: what is known about each data set (addresses, checksums, licences);
* :mod:`~toolkit.datasets.download`: from a recorded file to a verified path or to one clear error;
* :mod:`~toolkit.datasets.formats`: from verified bytes to arrays;
* :mod:`~toolkit.datasets.images`: ``load`` and what it returns;
* :mod:`~toolkit.datasets.samples`: what is bundled;
* :mod:`~toolkit.datasets.sprites`, :mod:`~toolkit.datasets.shapes3d`: renderers.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.datasets import shapes3d as shapes3d
    from toolkit.datasets import sprites as sprites
    from toolkit.datasets.images import Dataset as Dataset
    from toolkit.datasets.images import Split as Split
    from toolkit.datasets.images import load as load
    from toolkit.datasets.samples import Photograph as Photograph
    from toolkit.datasets.samples import imagenet_classes as imagenet_classes
    from toolkit.datasets.samples import photograph as photograph

_HOMES = {
    "Dataset": "images",
    "Split": "images",
    "load": "images",
    "Photograph": "samples",
    "imagenet_classes": "samples",
    "photograph": "samples",
}
_SUBMODULES = frozenset({"shapes3d", "sprites"})

__all__ = [*sorted(_HOMES), *sorted(_SUBMODULES)]


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
