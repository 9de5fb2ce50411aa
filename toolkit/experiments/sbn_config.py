"""What the study of sigmoid belief networks can be told."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from toolkit.core.errors import require
from toolkit.experiments.sbn_methods import default_methods, parse_methods
from toolkit.experiments.study import StudyConfig, by_scale

_PIXELS = {"digits": 64, "mnist": 784}


@dataclass(frozen=True)
class SbnConfig(StudyConfig):
    """How the networks are trained and what is measured.

    What is left open (None) depends on the data as well as the scale; records hold what it came to.
    """

    seeds: tuple[int, ...] = by_scale(quick=(0, 1), laptop=(0, 1, 2, 3, 4), paper=(0,))
    """The seeds themselves, each once."""

    data: Literal["digits", "mnist"] = by_scale(quick="digits", laptop="digits", paper="mnist")
    """scikit-learn's 1,797 digits of 8×8 pixels, or MNIST."""

    images: Literal["subset", "full"] = by_scale(quick="subset", laptop="subset", paper="full")
    """Which MNIST: the 5,000 bundled images or all 70,000."""

    sizes: str | None = None
    """Pixels, then variables of each latent layer, "64-32-32"; default: 64-32 or 784-200 at quick, 64-32-32 or 784-200
    at laptop, 784-200-200 (64-32-32) at paper scale."""

    nonlinear: bool = False
    """Two tanh layers inside each conditional, as wide as its input."""

    estimators: tuple[str, ...] | None = None
    """Names, as RAM DisARM RLOO-2 or RAM,DisARM,RLOO-2; default: a few at quick, all at laptop (five on MNIST), those
    of the paper with leave-one-out and DisARM at paper scale."""

    snapshots: int = by_scale(quick=2, laptop=4, paper=10)
    """At so many points, the start among them, all estimators are compared at the parameters of a training with RAM;
    0: not at all."""

    n_steps: int | None = None
    """Updates; default: 150, 1,500 (2,000 on MNIST) or 2,000,000; 20 on MNIST at quick."""

    batch_size: int = 100
    """Images in a minibatch."""

    n_samples: int = 1
    """Samples of the gradient averaged in an update."""

    optimizer: Literal["adam", "rmsprop"] = by_scale(quick="adam", laptop="adam", paper="rmsprop")
    """RMSprop with decay 0.99, as in the paper, or Adam."""

    learning_rate: float | None = None
    """Default: 3e-3 on digits, 1e-3 on MNIST."""

    weight_decay: float = by_scale(quick=0.0, laptop=0.0, paper=1e-3)
    """Times the parameters, added to the gradient of the mean negative bound, which is descended."""

    entropy: Literal["usual", "analytic", "sampled"] = "usual"
    """Whether entropies stand for the sampled terms of the inference network. Usual: for RAM, LEG and the estimators
    that differentiate by the values, but not for those that multiply a score, which vary less without."""

    n_evaluations: int = by_scale(quick=5, laptop=15, paper=100)
    """Points of the curves over training."""

    bound_samples: int = by_scale(quick=5, laptop=10, paper=5)
    """Samples an image of the bounds on test and training images."""

    curve_samples: int = by_scale(quick=20, laptop=25, paper=50)
    """Samples an image of the importance-weighted bound over training."""

    test_samples: int = by_scale(quick=50, laptop=500, paper=50_000)
    """Samples an image of the importance-weighted bound after training."""

    n_variances: int = by_scale(quick=1, laptop=2, paper=40)
    """How often, beside at the start, an estimator's variance is measured in its own training."""

    variance_repeats: int = by_scale(quick=20, laptop=50, paper=1000)
    """Gradients behind each variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = "SbnConfig"
        choices = {
            "data": ("digits", "mnist"),
            "images": ("subset", "full"),
            "optimizer": ("adam", "rmsprop"),
            "entropy": ("usual", "analytic", "sampled"),
        }
        for field, allowed in choices.items():
            require(getattr(self, field) in allowed, name, field, " or ".join(allowed), repr(getattr(self, field)))
        if self.sizes is not None:
            parts = self.sizes.split("-")
            numbers = all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts)
            expected = 'the pixels and at least one latent layer, "64-32"'
            require(numbers and len(parts) >= 2, name, "sizes", expected, repr(self.sizes))
            pixels = _PIXELS[self.data]
            require(int(parts[0]) == pixels, name, "sizes", f"{pixels} pixels first for {self.data}", repr(self.sizes))
        if self.estimators is not None:
            methods = parse_methods(self.estimators)
            require(0 < len(methods) == len(set(methods)), name, "estimators", "one or more, each once", methods)
            object.__setattr__(self, "estimators", methods)
        least = {"n_evaluations": 1, "bound_samples": 1, "curve_samples": 1, "test_samples": 1, "variance_repeats": 2}
        least |= {"batch_size": 1, "n_samples": 1, "snapshots": 0, "n_variances": 0}
        for field, smallest in least.items():
            require(getattr(self, field) >= smallest, name, field, f">= {smallest}", getattr(self, field))
        require(self.n_steps is None or self.n_steps >= 1, name, "n_steps", ">= 1 or None", self.n_steps)
        rate = self.learning_rate
        finite = rate is None or 0 < rate < math.inf
        require(finite, name, "learning_rate", "> 0 and finite, or None", rate)
        require(0 <= self.weight_decay < math.inf, name, "weight_decay", ">= 0 and finite", self.weight_decay)

    def complete(self) -> "SbnConfig":
        """Return the configuration with everything filled in that depends on the data."""
        small = self.data == "digits"
        sizes = {"quick": ("64-32", "784-200"), "laptop": ("64-32-32", "784-200"), "paper": ("64-32-32", "784-200-200")}
        steps = {"quick": (150, 20), "laptop": (1500, 2000), "paper": (2_000_000, 2_000_000)}
        chosen: dict[str, Any] = {
            "sizes": self.sizes or sizes[self.scale][not small],
            "n_steps": self.n_steps or steps[self.scale][not small],
            "learning_rate": self.learning_rate or (3e-3 if small else 1e-3),
        }
        n_variables = sum(int(part) for part in chosen["sizes"].split("-")[1:])
        chosen["estimators"] = self.estimators or default_methods(self.scale, self.data, n_variables)
        return replace(self, **chosen)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Pixels and variables of each latent layer as numbers."""
        return tuple(int(part) for part in (self.sizes or self.complete().sizes or "").split("-"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, everything filled in."""
        return StudyConfig.to_dict(self.complete())
