"""The clustering methods that the study of IMSAT compares, by the names of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import argument_error
from toolkit.imsat.affine import AffineAugmentation


@dataclass(frozen=True)
class Settings:
    """What is tuned for a data set; the values were chosen by accuracy, that is with labels.

    Attributes:
        hidden: units of the hidden layers.
        epochs: passes over the data.
        alpha: ε of VAT in units of the distance to the 10th neighbour.
        lam: λ with VAT.
        random_alpha: ε of RPT, likewise, its own.
        random_lam: λ with RPT.
    """

    hidden: tuple[int, ...]
    epochs: int
    alpha: float = 0.25
    lam: float = 0.1
    random_alpha: float = 2.0
    random_lam: float = 0.1


@dataclass(frozen=True)
class Method:
    """A way to cluster.

    Attributes:
        name: as on the command line.
        title: as in tables.
        perturbations: the names of what predictions must survive.
        linear: without hidden layers.
        information_only: regularised information maximisation.
        same_epsilon: RPT with the radius of VAT.
        radii: which neighbour distances: those of the 10th neighbour, of the 11th as in the authors' file, those of
            the 10th in the order of that file beside images in today's, or their mean for every image.
    """

    name: str
    title: str
    perturbations: tuple[str, ...] = ()
    linear: bool = False
    information_only: bool = False
    same_epsilon: bool = False
    radii: str = "10th"

    def parameters(self, settings: Settings, image_shape: tuple[int, int], weight_decay: float) -> dict[str, Any]:
        """Return the parameters of the estimator.

        Args:
            settings: of the data set.
            image_shape: height and width of the images.
            weight_decay: of regularised information maximisation.

        Returns:
            Keyword arguments of :class:`~toolkit.imsat.clustering.IMSAT`.
        """
        hidden = () if self.linear else settings.hidden
        if self.information_only:
            return {"perturbation": None, "lam": 1.0, "mu": 1.0, "weight_decay": weight_decay, "hidden": hidden}
        random = "rpt" in self.perturbations
        own = random and not self.same_epsilon
        perturbations: list[Any] = [name for name in self.perturbations if name != "affine"]
        if "affine" in self.perturbations:
            perturbations.append(AffineAugmentation(image_shape=image_shape, shift=min(image_shape) / 14, fill=-1.0))
        return {
            "perturbation": tuple(perturbations),
            "hidden": hidden,
            "alpha": settings.random_alpha if own else settings.alpha,
            "lam": settings.random_lam if own else settings.lam,
        }


METHODS = (
    Method("k-means", "k-means"),
    Method("linear-RIM", "linear RIM", linear=True, information_only=True),
    Method("RIM", "deep RIM", information_only=True),
    Method("RPT-same", "IMSAT (RPT), ε of VAT", ("rpt",), same_epsilon=True),
    Method("RPT", "IMSAT (RPT), own ε", ("rpt",)),
    Method("linear-VAT", "linear IMSAT (VAT)", ("vat",), linear=True),
    Method("VAT", "IMSAT (VAT)", ("vat",)),
    Method("affine", "IMSAT (affine)", ("affine",)),
    Method("VAT+affine", "IMSAT (VAT + affine)", ("vat", "affine")),
    Method("VAT-11th", "IMSAT (VAT), distances to the 11th neighbour", ("vat",), radii="11th"),
    Method("VAT-scrambled", "IMSAT (VAT), distances of other images", ("vat",), radii="scrambled"),
    Method("VAT-mean", "IMSAT (VAT), one distance for all images", ("vat",), radii="mean"),
)
_BY_NAME = {method.name.casefold(): method for method in METHODS}


def find_method(name: str) -> Method:
    """Return a method by name, in capitals or not.

    Raises:
        ValueError: there is none; the message names them.
    """
    folded = name.strip().casefold()
    if folded not in _BY_NAME:
        expected = f"among {', '.join(method.name for method in METHODS)}"
        raise argument_error("ImsatClusteringConfig", "methods", expected, repr(name))
    return _BY_NAME[folded]


def parse_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names one by one, given one by one or joined with commas, each checked."""
    return tuple(find_method(part).name for name in names for part in name.split(",") if part.strip())
