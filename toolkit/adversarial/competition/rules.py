"""The rules (section 3) without submissions: batches and their epsilons, seeds, what counts as an image, the ball."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from toolkit.core.devices import draw_integers, resolve_generator
from toolkit.core.errors import reject, require

PAPER_EPSILONS = (4, 8, 12, 16)
"""The competition's epsilons, in units of a uint8 pixel; small pictures need larger ones."""

Assignment = Literal["round-robin", "random"]


class BrokenRuleError(ValueError):
    """An output that counts as missing; the message says why."""


@dataclass(frozen=True)
class Batch:
    """Images that a submission gets at once.

    Attributes:
        number: from 0 on.
        start: first image.
        stop: one past the last image.
        epsilon: largest change of a pixel, in units of a uint8 pixel.
    """

    number: int
    start: int
    stop: int
    epsilon: int

    @property
    def part(self) -> slice:
        """The rows of the images."""
        return slice(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start


def plan_batches(
    n_images: int,
    epsilons: Sequence[int] = PAPER_EPSILONS,
    *,
    batch_size: int = 100,
    assignment: Assignment = "round-robin",
    seed: int = 0,
) -> tuple[Batch, ...]:
    """Cut the images into batches, in order, and give each an epsilon.

    Args:
        n_images: how many; the last batch may be smaller.
        epsilons: allowed ones, integers from 0 to 255.
        batch_size: 100 in the competition.
        assignment: ``"round-robin"`` over the number of the batch, as the competition's program did, or ``"random"``,
            as the chapter says.
        seed: of the random assignment.

    Raises:
        ValueError: no epsilon or one out of range, an unknown assignment, an empty batch.
        TypeError: epsilons that are no sequence, a size that is no integer.
    """
    operation = "plan_batches"
    require(n_images >= 0, operation, "n_images", ">= 0", n_images)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        reject(operation, "batch_size", "an integer", repr(batch_size), kind=TypeError)
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    if not isinstance(epsilons, Iterable) or not hasattr(epsilons, "__len__"):
        reject(operation, "epsilons", "integers from 0 to 255, a list of them", repr(epsilons), kind=TypeError)
    whole = all(isinstance(e, (int, np.integer)) and not isinstance(e, bool) and 0 <= e <= 255 for e in epsilons)
    require(whole and len(epsilons) > 0, operation, "epsilons", "integers from 0 to 255", epsilons)
    require(assignment in ("round-robin", "random"), operation, "assignment", "'round-robin' or 'random'", assignment)
    starts = range(0, n_images, batch_size)
    if assignment == "random":
        generator = resolve_generator(seed=derive_seed(seed, "epsilons"))
        chosen = draw_integers(0, len(epsilons), (len(starts),), generator=generator).tolist()
    else:
        chosen = [number % len(epsilons) for number in range(len(starts))]
    return tuple(
        Batch(number, start, min(start + batch_size, n_images), int(epsilons[index]))
        for number, (start, index) in enumerate(zip(starts, chosen, strict=True))
    )


def draw_targets(labels: Int[Tensor, " n"], n_classes: int, *, seed: int = 0) -> Int[Tensor, " n"]:
    """Draw for each image a class that is not its label, all the others alike.

    Raises:
        ValueError: fewer than two classes, or a label that is none of them.
    """
    require(n_classes >= 2, "draw_targets", "n_classes", ">= 2", n_classes)
    inside = not len(labels) or (int(labels.min()) >= 0 and int(labels.max()) < n_classes)
    require(inside, "draw_targets", "labels", f"classes 0 to {n_classes - 1}", "others")
    generator = resolve_generator(seed=derive_seed(seed, "targets"))
    shift = draw_integers(1, n_classes, (len(labels),), generator=generator, device=labels.device)
    return (labels + shift) % n_classes


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed that depends on all parts and on nothing else, so that the order of submissions is no matter."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def read_images(
    output: Any, image_shape: tuple[int, int, int]
) -> tuple[UInt8[Tensor, "n channels height width"], Bool[Tensor, " n"], bool]:
    """Turn what an attack returned into 8-bit images of the right size.

    Floats count as [0, 1] and are rounded to the nearest of the 256 levels, integers as 0 to 255; what lies outside is
    clipped. Another height or width is resized bicubically.

    Args:
        output: a tensor or array ``[n, channels, any height, any width]``.
        image_shape: channels, height and width as they must be.

    Returns:
        The images; which of them are finite and so count; whether they were resized.

    Raises:
        BrokenRuleError: no tensor or array, no numbers, another number of axes or channels.
    """
    if isinstance(output, np.ndarray):
        if output.dtype.kind not in "fiu":
            raise BrokenRuleError(f"pixels of type {output.dtype}")
        output = torch.from_numpy(np.ascontiguousarray(output, dtype=output.dtype.newbyteorder("=")))
    if not isinstance(output, Tensor):
        raise BrokenRuleError(f"{type(output).__name__} instead of images")
    if output.is_complex() or output.dtype == torch.bool or output.is_quantized or output.layout != torch.strided:
        raise BrokenRuleError(f"pixels of type {output.dtype}, {output.layout}")
    channels, *size = image_shape
    if output.ndim != 4 or output.shape[1] != channels:
        raise BrokenRuleError(f"shape {list(output.shape)} instead of [images, {channels}, {size[0]}, {size[1]}]")
    if 0 in output.shape[1:] and 0 not in image_shape:
        raise BrokenRuleError(f"images without pixels: shape {list(output.shape)}")
    output = output.detach().cpu()
    if output.is_floating_point():
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        finite = output.isfinite().flatten(1).all(1)
        levels = output.mul(255).nan_to_num_(0.0, 255.0, 0.0).round_().clamp_(0, 255)
    else:
        finite = torch.ones(len(output), dtype=torch.bool)
        levels = output.to(torch.int64).clamp_(0, 255) if output.dtype != torch.uint8 else output
    resized = list(output.shape[2:]) != size
    if resized:
        levels = F.interpolate(levels.float(), size, mode="bicubic", antialias=True).round_().clamp_(0, 255)
    return levels.to(torch.uint8), finite, resized


def project(
    images: UInt8[Tensor, "n channels height width"], clean: UInt8[Tensor, "n channels height width"], epsilon: int
) -> UInt8[Tensor, "n channels height width"]:
    """Return the images, each pixel within ``epsilon`` levels of the clean one; done in integers, so it is exact."""
    low, high = clean.to(torch.int16) - epsilon, clean.to(torch.int16) + epsilon
    return images.to(torch.int16).clamp(low.clamp_(min=0), high.clamp_(max=255)).to(torch.uint8)


def read_label(output: Any) -> int:
    """Turn what a defence said of one image into a class; one that does not exist is a wrong answer, not a missing one.

    Raises:
        BrokenRuleError: no integer.
    """
    if isinstance(output, (Tensor, np.ndarray)) and output.ndim == 0:
        output = output.item()
    if isinstance(output, str):
        try:
            output = int(output)
        except ValueError:
            raise BrokenRuleError(f"{output[:40]!r} instead of an integer") from None
    if isinstance(output, (bool, np.bool_)) or not isinstance(output, (int, np.integer)):
        raise BrokenRuleError(f"{type(output).__name__} instead of an integer")
    # No class is negative, so all that int64 cannot hold may share one wrong answer.
    return int(output) if -(2**63) <= output < 2**63 else -1


def check_data(images: Tensor, labels: Tensor, targets: Tensor | None) -> None:
    """Raise unless these are 8-bit images, each with a label and perhaps a target."""
    operation = "Competition.run"
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        actual = images.dtype if isinstance(images, Tensor) else type(images).__name__
        reject(operation, "images", "a tensor of uint8 pixels, 0 to 255", actual, kind=TypeError)
    fits = images.ndim == 4 and min(images.shape[1:]) >= 1
    require(fits, operation, "images", "shape [n, channels, height, width]", list(images.shape))
    for name, given in (("labels", labels), ("targets", targets)):
        if given is None:
            continue
        integers = isinstance(given, Tensor) and not given.is_floating_point() and given.dtype != torch.bool
        if not integers or given.is_complex():
            actual = given.dtype if isinstance(given, Tensor) else type(given).__name__
            reject(operation, name, "a tensor of integers", actual, kind=TypeError)
        require(given.shape == (len(images),), operation, name, f"shape [{len(images)}]", list(given.shape))
        require(not len(given) or int(given.min()) >= 0, operation, name, "classes from 0 on", "a negative number")
    if targets is not None:
        require(not bool((targets == labels).any()), operation, "targets", "other classes than the labels", "a label")
