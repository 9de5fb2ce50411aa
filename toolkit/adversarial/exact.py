"""Where the worst case is known: linear classifiers exactly, networks from the safe side by interval bounds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from toolkit.adversarial.attacks.base import Norm, check_epsilon, check_images, check_labels
from toolkit.adversarial.models import Residual, SmallClassifier
from toolkit.core.errors import reject, require


@dataclass(frozen=True)
class LinearClassifier:
    """Logits ``weight · image + bias``, of which everything about small changes is known.

    The margin of a label y over a competitor j is (w_y - w_j)·x + b_y - b_j. A change within epsilon lowers it by at
    most epsilon times the dual norm of w_y - w_j: the L1 norm for changes in L∞, the L2 norm for those in L2. Pixels
    that must stay in [0, 1] move as far as they may; that is still solved exactly. An image is robust if its smallest
    margin stays positive. All is computed in float64.

    Attributes:
        weight: ``[classes, *pixels]``.
        bias: ``[classes]``.
        box: whether changed pixels must stay in [0, 1].
    """

    weight: Float[Tensor, "classes *pixels"]
    bias: Float[Tensor, " classes"]
    box: bool = True

    def __post_init__(self) -> None:
        shapes = f"weight {list(self.weight.shape)}, bias {list(self.bias.shape)}"
        fits = self.weight.ndim >= 2 and self.bias.shape == self.weight.shape[:1]
        require(fits, "LinearClassifier", "weight", "shape [classes, *pixels] beside a bias [classes]", shapes)

    def __call__(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch classes"]:
        """Return the logits, in the precision of the images."""
        return F.linear(images.flatten(1), self.weight.flatten(1).to(images), self.bias.to(images))

    def margins(
        self,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        epsilon: float | Tensor = 0.0,
        *,
        norm: Norm = "linf",
    ) -> Float[Tensor, "batch classes"]:
        """Return the smallest margin over each competitor that a change within epsilon reaches; infinite for the label.

        Args:
            images: pixels in [0, 1].
            labels: what they show.
            epsilon: one for all images or one each; 0 gives the margins as they are.
            norm: in which epsilon is measured.
        """
        found = []
        bound = self._prepare(images, labels, epsilon, norm)
        for j in range(len(self.weight)):
            slope, margin, room = self._towards(images, labels, j)
            found.append(margin - (slope.abs() * _moves(slope, room, bound, norm)).sum(1))
        return torch.stack(found, 1).scatter(1, labels.to(images.device, torch.int64)[:, None], math.inf)

    def worst_images(
        self,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        epsilon: float | Tensor,
        *,
        competitors: Int[Tensor, " batch"] | None = None,
        norm: Norm = "linf",
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the images within epsilon whose margin is smallest.

        Args:
            images: pixels in [0, 1].
            labels: what they show.
            epsilon: one for all images or one each.
            competitors: the class that shall win; default: for each image the one whose margin becomes smallest.
            norm: in which epsilon is measured.

        Returns:
            Float64; pixels to which the margin does not react stay as they are.
        """
        bound = self._prepare(images, labels, epsilon, norm)
        if competitors is None:
            competitors = self.margins(images, labels, epsilon, norm=norm).argmin(1)
        else:
            self._check_classes("competitors", competitors, len(images))
        slope, _, room = self._towards(images, labels, competitors)
        change = -slope.sign() * _moves(slope, room, bound, norm)
        return images.double() + change.view_as(images)

    def distances(
        self, images: Float[Tensor, "batch *pixels"], labels: Int[Tensor, " batch"], *, norm: Norm = "linf"
    ) -> Float[Tensor, "batch classes"]:
        """Return how far the boundary to each competitor is.

        Returns:
            0 where the margin is not positive, infinity where no change makes it so and for the label itself.
        """
        self._prepare(images, labels, 0.0, norm)
        found = []
        for j in range(len(self.weight)):
            slope, margin, room = self._towards(images, labels, j)
            speed = _speed(slope, norm)
            time = _solve(margin.clamp(min=0), slope.abs() * speed, slope.abs() * room)
            moves = _at_time(time, speed, room)
            length = moves.amax(1) if norm == "linf" else moves.norm(dim=1)
            found.append(torch.where(time.isinf(), time, length))
        return torch.stack(found, 1).scatter(1, labels.to(images.device, torch.int64)[:, None], math.inf)

    def robust(
        self,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        epsilon: float | Tensor,
        *,
        norm: Norm = "linf",
    ) -> Bool[Tensor, " batch"]:
        """Return which images keep their label whatever the change; a margin of exactly 0 is none."""
        return (self.margins(images, labels, epsilon, norm=norm) > 0).all(1)

    def robust_accuracy(
        self,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        epsilon: float | Tensor,
        *,
        norm: Norm = "linf",
    ) -> float:
        """Return the share of :meth:`robust` images: the accuracy under the best of all attacks; NaN without images."""
        return float(self.robust(images, labels, epsilon, norm=norm).double().mean())

    def _prepare(self, images: Tensor, labels: Tensor, epsilon: float | Tensor, norm: Norm) -> Tensor:
        require(norm in ("linf", "l2"), "LinearClassifier", "norm", "'linf' or 'l2'", repr(norm))
        check_images("LinearClassifier", images)
        shape = self.weight.shape[1:]
        fits = images.shape[1:] == shape
        require(fits, "LinearClassifier", "images", f"shape [batch, {str(list(shape))[1:]}", list(images.shape))
        self._check_classes("labels", labels, len(images))
        return check_epsilon("LinearClassifier", epsilon, images.double(), optional=True).flatten()

    def _check_classes(self, argument: str, labels: Tensor, n: int) -> None:
        check_labels("LinearClassifier", argument, labels, n)
        n_classes, largest = len(self.weight), int(labels.max()) if n else 0
        require(largest < n_classes, "LinearClassifier", argument, f"classes 0 to {n_classes - 1}", largest)

    def _towards(self, images: Tensor, labels: Tensor, j: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return w_y - w_j, the margin, and how far each pixel may move to lower it."""
        labels = labels.to(images.device, torch.int64)
        weight, bias = self.weight.flatten(1).to(images.device).double(), self.bias.to(images.device).double()
        x = images.detach().flatten(1).double()
        slope = weight[labels] - weight[j]
        margin = (slope * x).sum(1) + bias[labels] - bias[j]
        room = torch.where(slope > 0, x, 1 - x) if self.box else torch.full_like(x, math.inf)
        return slope, margin, torch.where(slope == 0, torch.zeros_like(x), room)


def _speed(slope: Tensor, norm: Norm) -> Tensor:
    """Return how fast pixels move along the cheapest way down: all alike in L∞, like the slope in L2."""
    return (slope != 0).to(slope) if norm == "linf" else slope.abs()


def _at_time(time: Tensor, speed: Tensor, room: Tensor) -> Tensor:
    """Return how far each pixel has moved."""
    moved = torch.minimum(time[:, None] * speed, room)
    return torch.where(speed > 0, moved, torch.zeros_like(room))


def _moves(slope: Tensor, room: Tensor, epsilon: Tensor, norm: Norm) -> Tensor:
    """Return how far each pixel moves where the margin is smallest."""
    speed = _speed(slope, norm)
    epsilon = epsilon.expand(len(slope))
    # A pixel that meets the side of the box leaves its share of a Euclidean length to the others (Karush-Kuhn-Tucker).
    time = epsilon if norm == "linf" else _solve(epsilon**2, speed**2, room**2).sqrt()
    moves = _at_time(time, speed, room)
    return torch.where(epsilon[:, None] > 0, moves, torch.zeros_like(moves))


def _solve(level: Float[Tensor, " batch"], rate: Tensor, most: Tensor) -> Float[Tensor, " batch"]:
    """Return the time at which Σ min(time · rate, most) reaches the level; infinity if it never does."""
    most = torch.where(rate > 0, most, torch.zeros_like(most))
    full, order = torch.where(rate > 0, most / rate, torch.zeros_like(most)).sort(1)
    rate, most = rate.gather(1, order), most.gather(1, order)
    before = F.pad(most.cumsum(1), (1, 0))
    still = F.pad(rate.flip(1).cumsum(1).flip(1), (0, 1))
    reached = torch.where(full.isinf(), full, before[:, :-1] + full * still[:, :-1])
    at = torch.searchsorted(reached, level[:, None].contiguous())
    time = (level[:, None] - before.gather(1, at)) / still.gather(1, at)
    never = (still.gather(1, at) == 0) & (level[:, None] > 0)
    time = torch.where(level[:, None] > 0, time, torch.zeros_like(time))
    return torch.where(never, torch.full_like(time, math.inf), time)[:, 0]


@dataclass(frozen=True)
class Bounds:
    """An interval for each number.

    Attributes:
        lower: no image of the ball comes below.
        upper: none comes above.
    """

    lower: Tensor
    upper: Tensor


def certified_bounds(model: nn.Module, images: Float[Tensor, "batch *pixels"], epsilon: float | Tensor) -> Bounds:
    """Return bounds of the logits over all images within epsilon (L∞) and [0, 1], by interval propagation.

    Each layer takes intervals to intervals that hold all its values, and a little more than rounding adds: the result
    is safe, exact for one linear layer, and the wider the deeper the network is.

    Args:
        model: in evaluation mode, of the layers that :func:`~toolkit.adversarial.models.classifier` is made of.
        images: pixels in [0, 1].
        epsilon: one for all images or one each.

    Raises:
        ValueError: a layer without a rule, batch normalisation in training mode, or a bad argument.
    """
    with torch.no_grad():
        bounds = _ball(images, epsilon)
        for layer in _layers(model):
            bounds = _through(layer, bounds)
    return bounds


def certified_margins(
    model: nn.Module,
    images: Float[Tensor, "batch *pixels"],
    labels: Int[Tensor, " batch"],
    epsilon: float | Tensor,
    *,
    batch_size: int = 250,
) -> Float[Tensor, "batch classes"]:
    """Return lower bounds of the logit of the label minus each other; infinite for the label itself.

    A last linear layer is applied to the difference, which is tighter than the difference of two bounds. Arguments and
    errors as those of :func:`certified_bounds`; ``batch_size`` images at a time.
    """
    require(batch_size >= 1, "certified_margins", "batch_size", ">= 1", batch_size)
    check_images("certified_margins", images)
    check_labels("certified_margins", "labels", labels, len(images))
    each = check_epsilon("certified_margins", epsilon, images).expand(len(images), *(1,) * (images.ndim - 1)).flatten()
    labels = labels.to(images.device, torch.int64)
    found = []
    with torch.no_grad():
        for start in range(0, max(len(images), 1), batch_size):
            part = slice(start, start + batch_size)
            found.append(_margins(model, images[part], labels[part], each[part]))
    return torch.cat(found)


def certified_accuracy(
    model: nn.Module,
    images: Float[Tensor, "batch *pixels"],
    labels: Int[Tensor, " batch"],
    epsilon: float | Tensor,
    *,
    batch_size: int = 250,
) -> float:
    """Return the share of images that provably keep their label within epsilon; NaN without images.

    No attack, known or not, brings the accuracy below it. Arguments as those of :func:`certified_margins`.
    """
    margins = certified_margins(model, images, labels, epsilon, batch_size=batch_size)
    return float((margins > 0).all(1).double().mean())


def _margins(model: nn.Module, images: Tensor, labels: Tensor, epsilon: Tensor) -> Tensor:
    *layers, last = _layers(model)
    bounds = _ball(images, epsilon)
    for layer in layers:
        bounds = _through(layer, bounds)
    linear = last if type(last) is nn.Linear else None
    if linear is None:
        bounds = _through(last, bounds)
    n_classes = bounds.lower.shape[1] if linear is None else linear.out_features
    largest = int(labels.max()) if len(labels) else 0
    require(largest < n_classes, "certified_margins", "labels", f"classes 0 to {n_classes - 1} of the model", largest)
    if linear is not None:
        weight = linear.weight[labels][:, None] - linear.weight
        centre, radius = _halves(bounds)
        lower = (weight @ centre[:, :, None] - weight.abs() @ radius[:, :, None])[:, :, 0]
        if linear.bias is not None:
            lower = lower + linear.bias[labels][:, None] - linear.bias
    else:
        lower = bounds.lower.gather(1, labels[:, None]) - bounds.upper
    return lower.scatter(1, labels[:, None], math.inf)


def _ball(images: Tensor, epsilon: float | Tensor) -> Bounds:
    check_images("certified_bounds", images)
    bound = check_epsilon("certified_bounds", epsilon, images)
    images = images.detach()
    return Bounds((images - bound).clamp_(min=0), (images + bound).clamp_(max=1))


def _layers(model: nn.Module) -> list[nn.Module]:
    if type(model) is SmallClassifier:
        return [*_layers(model.body), *_layers(model.head)]
    if type(model) is nn.Sequential:
        return [layer for part in model for layer in _layers(part)]
    return [model]


def _through(layer: nn.Module, bounds: Bounds) -> Bounds:
    rule = _RULES.get(type(layer))
    if rule is None:
        known = ", ".join(kind.__name__ for kind in _RULES)
        reject("certified_bounds", "model", f"layers of {known}", type(layer).__name__)
    return rule(layer, bounds)


def _halves(bounds: Bounds) -> tuple[Tensor, Tensor]:
    """Return centres and radii, the radii widened by more than rounding in the next layer adds."""
    centre, radius = (bounds.upper + bounds.lower) / 2, (bounds.upper - bounds.lower) / 2
    return centre, radius + _slack(bounds)


def _slack(bounds: Bounds) -> Tensor:
    return 8 * torch.finfo(bounds.lower.dtype).eps * torch.maximum(bounds.lower.abs(), bounds.upper.abs())


def _widened(lower: Tensor, upper: Tensor) -> Bounds:
    slack = _slack(Bounds(lower, upper))
    return Bounds(lower - slack, upper + slack)


def _linear(layer: Any, bounds: Bounds) -> Bounds:
    centre, radius = _halves(bounds)
    sizes = {"weight": layer.weight.abs()}
    if layer.bias is not None:
        sizes["bias"] = torch.zeros_like(layer.bias)
    middle, spread = layer(centre), functional_call(layer, sizes, radius)
    return _widened(middle - spread, middle + spread)


def _batch_norm(layer: Any, bounds: Bounds) -> Bounds:
    fixed = not layer.training and layer.running_var is not None
    require(fixed, "certified_bounds", "model", "eval() mode: fixed statistics of batches", "training mode")
    ends = torch.stack([layer(bounds.lower), layer(bounds.upper)])  # increasing or decreasing in each channel
    return _widened(ends.amin(0), ends.amax(0))


def _increasing(layer: Any, bounds: Bounds) -> Bounds:
    return Bounds(layer(bounds.lower), layer(bounds.upper))


def _average(layer: Any, bounds: Bounds) -> Bounds:
    return _widened(layer(bounds.lower), layer(bounds.upper))


def _gelu(layer: Any, bounds: Bounds) -> Bounds:
    """Falls to its only minimum and rises from there."""
    lowest = bounds.lower.new_tensor(_GELU_LOWEST[layer.approximate])
    ends = torch.stack([layer(bounds.lower), layer(bounds.upper)])
    within = (bounds.lower <= lowest) & (lowest <= bounds.upper)
    return _widened(torch.where(within, layer(lowest), ends.amin(0)), ends.amax(0))


def _residual(layer: Any, bounds: Bounds) -> Bounds:
    branch, skip = bounds, bounds
    for part in _layers(layer.branch):
        branch = _through(part, branch)
    for part in _layers(layer.skip):
        skip = _through(part, skip)
    return _widened(torch.relu(branch.lower + skip.lower), torch.relu(branch.upper + skip.upper))


_GELU_LOWEST = {"none": -0.7517915246935645, "tanh": -0.7524614220710163}
"""Where x Φ(x), and its approximation by tanh, are smallest."""

_RULES: dict[type[nn.Module], Callable[[Any, Bounds], Bounds]] = {
    nn.Linear: _linear,
    nn.Conv2d: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: _increasing,
    nn.GELU: _gelu,
    nn.MaxPool2d: _increasing,
    nn.AdaptiveAvgPool2d: _average,
    nn.Flatten: _increasing,
    nn.Identity: _increasing,
    Residual: _residual,
}
