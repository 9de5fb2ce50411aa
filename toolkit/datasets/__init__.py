"""Real data, and the two renderers that stand in for data too large to ship.

``load("mnist")`` answers with a few thousand real images that come with the package; ``load("mnist", variant="full")``
looks for the whole set on this machine and downloads it when it is nowhere. Every file is checked against a recorded
checksum before it is parsed, nothing is unpickled, and no archive is ever extracted. A result says where it came from.

* :mod:`~toolkit.datasets.images`: ``load`` and what it returns;
* :mod:`~toolkit.datasets.samples`: what is bundled; :mod:`~toolkit.datasets.rebuild` rebuilds it;
* :mod:`~toolkit.datasets.catalogue`: addresses, checksums and licences, in terms of :mod:`~toolkit.datasets.registry`;
* :mod:`~toolkit.datasets.lookup`: the order in which places are tried, ``fetch``, and the one error at its end;
* :mod:`~toolkit.datasets.download`, :mod:`~toolkit.datasets.verification`: from an address to a verified file;
* :mod:`~toolkit.datasets.formats`, :mod:`~toolkit.datasets.archives`: from a verified file to arrays;
* :mod:`~toolkit.datasets.inventory`: ``overview``, what is here and what is not;
* :mod:`~toolkit.datasets.sprites`, :mod:`~toolkit.datasets.shapes3d`: renderers, over the grids of factors in
  :mod:`~toolkit.datasets.factors`; :mod:`~toolkit.datasets.stored` gives images kept in a file the same interface.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.datasets.factors import FactorGrid as FactorGrid
    from toolkit.datasets.factors import batches as batches
    from toolkit.datasets.images import Dataset as Dataset
    from toolkit.datasets.images import Split as Split
    from toolkit.datasets.images import load as load
    from toolkit.datasets.inventory import Availability as Availability
    from toolkit.datasets.inventory import overview as overview
    from toolkit.datasets.lookup import DatasetUnavailable as DatasetUnavailable
    from toolkit.datasets.lookup import fetch as fetch
    from toolkit.datasets.samples import Photograph as Photograph
    from toolkit.datasets.samples import imagenet_classes as imagenet_classes
    from toolkit.datasets.samples import photograph as photograph
    from toolkit.datasets.stored import StoredImages as StoredImages
    from toolkit.datasets.stored import from_arrays as from_arrays

_HOMES = {
    "Availability": "inventory",
    "Dataset": "images",
    "DatasetUnavailable": "lookup",
    "FactorGrid": "factors",
    "Split": "images",
    "StoredImages": "stored",
    "batches": "factors",
    "fetch": "lookup",
    "from_arrays": "stored",
    "load": "images",
    "overview": "inventory",
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
