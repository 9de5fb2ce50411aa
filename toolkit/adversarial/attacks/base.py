"""What every attack shares: one call, checks of what it is given, the ball it may not leave, the loss it raises."""

import math
import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require

Norm = Literal["linf", "l2"]
Classifier = Callable[[Tensor], Tensor]
"""Images with pixels in [0, 1], shaped ``[batch, *pixels]``, to logits ``[batch, classes]``."""


@dataclass(frozen=True)
class Attack(ABC):
    """Changes images a little so that a classifier errs.

    A subclass is a frozen dataclass of its settings and says how in :meth:`perturb`; the goal, the size of the
    perturbation and the model belong to the call.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf",)
    """In which norms ``epsilon`` may be measured."""

    needs_gradient: ClassVar[bool] = True
    """Whether the model must be differentiable."""

    finds_smallest: ClassVar[bool] = False
    """Whether the attack looks for the smallest change; only then ``epsilon`` may be ``None``, which sets no bound."""

    requires_targets: ClassVar[bool] = False
    """Whether the attack is defined with targets only."""

    accepts_targets: ClassVar[bool] = True
    """Whether the attack can aim at a class."""

    @property
    def ball(self) -> Norm:
        """The norm that bounds the change."""
        return getattr(self, "norm", "linf")

    def __call__(
        self,
        model: Classifier,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        epsilon: float | Tensor | None,
        targets: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch *pixels"]:
        """Attack a batch.

        Args:
            model: the classifier; one with a method ``losses(images, labels)`` is attacked through that instead of the
                cross-entropy of its logits. Its parameters and their gradients stay as they are.
            images: pixels in [0, 1].
            labels: what the images show; default: what the model says, as the competition demands.
            epsilon: largest change, in units of the pixels: one for all images or one each. ``None`` sets no bound, for
                attacks that look for the smallest change.
            targets: the classes the images shall be taken for; default: any wrong one.
            generator: for random draws; default: a new one.

        Returns:
            Images in [0, 1] within ``epsilon`` (up to rounding) of the given ones, without a gradient.

        Raises:
            ValueError: pixels outside [0, 1] or not finite, a negative ``epsilon``, labels or targets that are not
                classes of the model, a model without a gradient, targets for an attack that cannot aim, or none for
                one that must.
            TypeError: images or labels of the wrong type.
        """
        with torch.inference_mode(False), torch.enable_grad():
            task = prepare(self, model, images, labels, epsilon, targets, generator)
            if not len(images):
                return images.detach().clone()
            changed = task.project(self.perturb(task)).detach()
            if labels is not None or targets is not None:
                task.check_classes()
            return changed

    @abstractmethod
    def perturb(self, task: "Task") -> Float[Tensor, "batch *pixels"]:
        """Return the changed images; the caller puts them into the ball."""


class Task:
    """A batch to attack: what was asked for, checked, and what all attacks need of the model.

    Attributes:
        images: the clean images, without a gradient.
        labels: the classes to leave, or to reach if ``targeted``.
        targeted: whether ``labels`` are to be reached.
        epsilon: one for each image, in a shape that multiplies images; infinite where there is no bound.
        norm: in which ``epsilon`` is measured.
        generator: for random draws.
    """

    def __init__(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor | None,
        targets: Tensor | None,
        epsilon: Tensor,
        norm: Norm,
        generator: torch.Generator,
        operation: str,
    ) -> None:
        self.model, self.images, self.epsilon, self.norm, self.generator = model, images, epsilon, norm, generator
        self._operation, self._checked = operation, False
        self._projected, self._version = images, -1
        self.targeted = targets is not None
        if targets is not None:
            self.labels = targets
        elif labels is not None:
            self.labels = labels
        elif not len(images):
            self.labels = torch.zeros(0, dtype=torch.int64, device=images.device)
        else:
            with torch.no_grad():
                self.labels = self.logits(images).argmax(1)

    @cached_property
    def low(self) -> Float[Tensor, "batch *pixels"]:
        """The smallest value that each pixel may take in the ball of the largest change."""
        return (self.images - self.epsilon).clamp_(min=0)

    @cached_property
    def high(self) -> Float[Tensor, "batch *pixels"]:
        """The largest value that each pixel may take in the ball of the largest change."""
        return (self.images + self.epsilon).clamp_(max=1)

    def logits(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch classes"]:
        """Return what the model says of other images."""
        logits = self.model(images)
        if not self._checked:
            self._check(logits)
        return logits

    def check_classes(self) -> None:
        """Raise unless the labels are classes of the model; nothing to do once it was asked."""
        if not self._checked:
            with torch.no_grad():
                self.logits(self.images)

    def losses(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, " batch"]:
        """Return for each image what an attack raises: the loss of the label, or minus the loss of the target."""
        own = getattr(self.model, "losses", None)
        if own is None:
            found = F.cross_entropy(self.logits(images), self.labels, reduction="none")
        else:
            self.check_classes()
            found = own(images, self.labels)
        return -found if self.targeted else found

    def gradient(
        self, images: Float[Tensor, "batch *pixels"], objective: Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the gradient of each image's loss; where it is not a number, zero.

        Args:
            images: where to take it.
            objective: instead of :meth:`losses`: a number for each image.

        Raises:
            ValueError: the loss does not depend on the images in a way that torch can differentiate.
        """
        at = images.detach().requires_grad_()
        total = (objective or self.losses)(at).sum()
        if not total.requires_grad:
            expected = "a differentiable model; BPDA in toolkit.adversarial gives one a gradient"
            reject(self._operation, "model", expected, f"logits of {type(self.model).__name__} without a gradient")
        (gradient,) = torch.autograd.grad(total, at, materialize_grads=True)
        return gradient.nan_to_num(0.0, 0.0, 0.0)  # not in place: gradients of sums are expanded

    def project(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *pixels"]:
        """Return the nearest images within ``epsilon`` of the clean ones and within [0, 1].

        What was returned last and has not changed since is there already and is returned as it is.
        """
        if images is not self._projected or images._version != self._version:
            return self._remember(self._nearest(images))
        return images

    def clip(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *pixels"]:
        """Put images that cannot be farther than ``epsilon`` from the clean ones into [0, 1], in place."""
        return self._remember(images.clamp_(0, 1))

    def _remember(self, projected: Tensor) -> Tensor:
        self._projected, self._version = projected, projected._version
        return projected

    def _nearest(self, images: Tensor) -> Tensor:
        if self.norm == "l2":
            length = image_norm(images - self.images)
            # Weight 0 leaves images inside exactly as they are: one that has just crossed a boundary stays there.
            back = torch.where(length > self.epsilon, 1 - self.epsilon / length, 0.0)
            return torch.lerp(images, self.images, back).clamp_(0, 1)
        return torch.clamp(images, self.low, self.high)

    def succeeded(self, logits: Float[Tensor, "batch classes"]) -> Tensor:
        """Return which images have left their label, or reached their target."""
        hit = logits.argmax(1) == self.labels
        return hit if self.targeted else ~hit

    def _check(self, logits: object) -> None:
        expected = f"logits of shape [{len(self.images)}, classes]"
        if not isinstance(logits, Tensor):
            reject(self._operation, "model", expected, type(logits).__name__, kind=TypeError)
        wrong = logits.ndim != 2 or len(logits) != len(self.images) or not logits.is_floating_point()
        require(not wrong, self._operation, "model", expected, f"{logits.dtype} of shape {list(logits.shape)}")
        if hasattr(self, "labels"):
            name = "targets" if self.targeted else "labels"
            largest, n_classes = int(self.labels.max()), logits.shape[1]
            require(largest < n_classes, self._operation, name, f"classes 0 to {n_classes - 1} of the model", largest)
            self._checked = True


def prepare(
    attack: Attack,
    model: Classifier,
    images: Tensor,
    labels: Tensor | None,
    epsilon: float | Tensor | None,
    targets: Tensor | None,
    generator: torch.Generator | None,
) -> Task:
    """Check what an attack was called with, and put it together."""
    name = type(attack).__name__
    require(attack.ball in attack.norms, name, "norm", f"one of {', '.join(attack.norms)}", attack.ball)
    check_images(name, images)
    for argument, given in (("labels", labels), ("targets", targets)):
        if given is not None:
            check_labels(name, argument, given, len(images))
    require(not (targets is None and attack.requires_targets), name, "targets", "a class for each image", None)
    if targets is not None and not attack.accepts_targets:
        reject(name, "targets", "None: this attack cannot aim", "targets")
    if isinstance(model, torch.nn.Module) and model.training:
        warnings.warn(
            f"{name}: the model is in training mode, where dropout and batch statistics act; call model.eval() first",
            stacklevel=3,
        )
    images = _usable(images)
    return Task(
        model,
        images,
        None if labels is None else _usable(labels).to(images.device, torch.int64),
        None if targets is None else _usable(targets).to(images.device, torch.int64),
        check_epsilon(name, epsilon, images, attack.finds_smallest),
        attack.ball,
        resolve_generator(generator),
        name,
    )


def check_images(operation: str, images: Tensor) -> None:
    """Raise unless these are floats in [0, 1], an image a row."""
    if not isinstance(images, Tensor):
        reject(operation, "images", "a tensor", type(images).__name__, kind=TypeError)
    if not images.is_floating_point():
        reject(operation, "images", "floats in [0, 1]; divide integers by 255", images.dtype, kind=TypeError)
    require(images.ndim >= 2, operation, "images", "a batch: [batch, *pixels]", f"shape {list(images.shape)}")
    if images.numel():
        low, high = (float(v) for v in torch.aminmax(images.detach()))
        inside = math.isfinite(low) and math.isfinite(high) and low >= 0 and high <= 1
        hint = "; divide by 255?" if 1 < high <= 255 and low >= 0 else ""
        require(inside, operation, "images", "finite pixels in [0, 1]", f"{low:.6g} to {high:.6g}{hint}")


def check_labels(operation: str, argument: str, labels: Tensor, n: int) -> None:
    """Raise unless there is one non-negative integer for each image."""
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        actual = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        reject(operation, argument, "a tensor of integers", actual, kind=TypeError)
    require(
        labels.shape == (n,), operation, argument, f"shape [{n}], one for each image", f"shape {list(labels.shape)}"
    )
    require(not n or int(labels.min()) >= 0, operation, argument, "classes from 0 on", "a negative number")


def image_norm(change: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *ones"]:
    """Return the Euclidean length of each image, in a shape that multiplies images."""
    return change.flatten(1).norm(dim=1).view(-1, *(1,) * (change.ndim - 1))


def _usable(given: Tensor) -> Tensor:
    """Return it without a gradient; a copy if it was made where autograd is off for good."""
    return given.clone() if given.is_inference() else given.detach()


def check_epsilon(operation: str, epsilon: float | Tensor | None, images: Tensor, optional: bool = False) -> Tensor:
    """Return one for each image, or one for all, in a shape that multiplies images.

    Args:
        operation: for the error.
        epsilon: a number, or one for each image.
        images: whose changes it bounds.
        optional: whether ``None`` and infinity are allowed, for no bound.

    Raises:
        ValueError: negative, not a number, infinite, or of the wrong shape.
        TypeError: something else.
    """
    shape = (-1, *(1,) * (images.ndim - 1))
    if epsilon is None:
        if not optional:
            reject(operation, "epsilon", "a number, or one for each image", None)
        return images.new_full((1,), math.inf).view(shape)
    if isinstance(epsilon, bool) or not isinstance(epsilon, (numbers.Real, Tensor)):
        reject(operation, "epsilon", "a number, or one for each image", type(epsilon).__name__, kind=TypeError)
    given = epsilon.detach() if isinstance(epsilon, Tensor) else float(epsilon)
    values = torch.as_tensor(given, dtype=images.dtype, device=images.device)
    fits = values.ndim == 0 or values.shape == (len(images),)
    require(fits, operation, "epsilon", f"a number, or shape [{len(images)}]", f"shape {list(values.shape)}")
    right = bool((values >= 0).all()) and not bool(values.isnan().any())
    require(right, operation, "epsilon", "numbers >= 0", epsilon)
    if math.isinf(float(values.max())) if values.numel() else False:
        require(optional, operation, "epsilon", "finite numbers", epsilon)
    return values.reshape(shape)
