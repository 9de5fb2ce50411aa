"""Small networks trained here and now for the lessons: three methods on the same images, the same on every machine.

They are trained in double precision and stopped while rounding errors are still small: information maximisation alone
blows them up soonest, until clusters differ from machine to machine, so it gets fewer passes (and larger first weights,
with which it is as good sooner). The study ``imsat-clustering`` trains longer.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from toolkit.core.errors import require
from toolkit.experiments.imsat_data import Points, load_points
from toolkit.experiments.imsat_methods import Settings, find_method
from toolkit.imsat.clustering import IMSAT
from toolkit.imsat.neighbours import neighbour_distances

SETTINGS = MappingProxyType(
    {
        "digits": Settings((200, 200), 30, alpha=0.4, lam=0.3, random_alpha=1.0, random_lam=0.2),
        "mnist": Settings((100, 100), 10),
    }
)
"""As in the study at laptop scale, but for fewer passes and, on MNIST, fewer units."""

METHODS = ("VAT", "RPT", "RIM")
_PASSES = {"digits": 15, "mnist": 10}
_WEIGHT_DECAY = 0.005


@dataclass(frozen=True, repr=False, eq=False)
class Trained:
    """Images, and one fitted estimator a method.

    Attributes:
        points: the images.
        models: by the method's title.
    """

    points: Points
    models: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Trained({len(self.points.inputs):,} images: {', '.join(self.models)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def trained_clusterings(data: str = "digits") -> Trained:
    """Cluster bundled images with VAT, RPT with a radius of its own, information maximisation, and k-means.

    Args:
        data: ``"digits"`` (1,797 images, about 9 CPU seconds) or ``"mnist"`` (5,000 images, about 14). The second call
            costs nothing.

    Returns:
        The images and the models, from seed 0.

    Raises:
        ValueError: other data.
    """
    from sklearn.cluster import KMeans

    require(data in SETTINGS, "trained_clusterings", "data", " or ".join(map(repr, SETTINGS)), repr(data))
    points, settings = load_points(data), SETTINGS[data]
    inputs = points.inputs.double()
    radii = neighbour_distances(inputs, 10).numpy()
    n_clusters = len(points.class_names)
    models: dict[str, Any] = {}
    for name in METHODS:
        method = find_method(name)
        parameters = method.parameters(settings, points.image_shape, _WEIGHT_DECAY) | {"epochs": settings.epochs}
        if method.information_only:
            parameters |= {"epochs": _PASSES[data], "initialization": "official"}
        model = IMSAT(n_clusters, **parameters, random_state=0, device="cpu", dtype="float64")
        models[method.title] = model.fit(inputs.numpy(), radii=radii if method.perturbations else None)
    models["k-means"] = KMeans(n_clusters, n_init=10, random_state=0).fit(inputs.numpy())
    return Trained(points, MappingProxyType(models))
