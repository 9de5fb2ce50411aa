"""Pictures as people have them, made into one form: colour or grey, channels first, numbers from 0 to 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.autograd.backends import backend_of
from toolkit.autograd.places import is_array
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

_FORMS = "(images, {n}, height, width), or ({n}, height, width) for one image"
_GREY_FORMS = "(images, 1, height, width), (images, height, width), or (height, width) for one image"
_SMALLEST = 8
"""Rows and columns from which (height, width, 1 or 3) is one picture rather than a heap of grey stripes."""


def as_images(images: Any, channels: int) -> list[Float[Tensor, "channels _ _"]]:
    """Return pictures one by one.

    Args:
        images: an array of any library or a Variable: (images, channels, height, width), one image without the first
            axis, grey ones also without ``channels``; or a picture of :mod:`toolkit.datasets`, a split of a data set, a
            picture of Pillow; or a sequence of those. Integers count from 0 to 255, floating-point numbers from 0 to 1.
        channels: 1 or 3 (red, green, blue). A grey picture is repeated where three are wanted.

    Returns:
        float32 tensors, or float64 where float64 was given.

    Raises:
        ValueError: another shape, or numbers out of range.
        TypeError: no pictures.
    """
    if isinstance(images, list | tuple):
        return [picture for image in images for picture in _one(image, channels)]
    return _unpacked(images, channels)


def _one(image: Any, channels: int) -> list[Tensor]:
    pictures = _unpacked(image, channels)
    if len(pictures) != 1:
        raise argument_error("predict", "images", "one image in each element of a sequence", f"{len(pictures)} in one")
    return pictures


def _unpacked(images: Any, channels: int) -> list[Tensor]:
    for attribute in ("image", "images"):
        if hasattr(images, attribute) and not is_array(images):
            images = getattr(images, attribute)
    if hasattr(images, "convert") and hasattr(images, "mode"):
        # Pillow cuts off what lies above 255 when it converts these; their numbers are judged like any others.
        if images.mode[0] not in "IF":
            images = images.convert("L" if channels == 1 else "RGB")
        images = np.asarray(images)
        images = images.transpose(2, 0, 1) if images.ndim == 3 else images
    array = images.data if isinstance(images, Variable) else images
    if not is_array(array):
        expected = "an array, a picture, or a sequence of them"
        raise argument_error("predict", "images", expected, type(images).__name__, kind=TypeError)
    tensor = backend_of(array, "predict", "images").to_torch(array).detach()
    return list(_scaled(_with_axes(tensor, channels)))


def _with_axes(tensor: Tensor, channels: int) -> Tensor:
    given = tuple(tensor.shape)
    if channels == 1:
        if len(given) == 3 and given[2] in (1, 3) and min(given[:2]) >= _SMALLEST:
            # It would pass for as many images as it has rows.
            expected = f"shape {_GREY_FORMS} (channels come first)"
            raise argument_error("predict", "images", expected, given)
        if tensor.ndim == 2:
            tensor = tensor[None]
        if tensor.ndim == 3:
            tensor = tensor[:, None]
    elif tensor.ndim == 2:
        tensor = tensor[None, None]
    elif tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim == 4 and channels > 1 and tensor.shape[1] == 1:
        tensor = tensor.expand(-1, channels, -1, -1)
    if tensor.ndim != 4 or tensor.shape[1] != channels or 0 in tensor.shape[2:]:
        expected = _GREY_FORMS if channels == 1 else _FORMS.format(n=channels)
        last = " (channels come first)" if given[-1:] in ((3,), (channels,)) else ""
        raise argument_error("predict", "images", f"shape {expected}{last}", given)
    return tensor


def _scaled(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        raise argument_error("predict", "images", "real numbers", str(tensor.dtype), kind=TypeError)
    if tensor.dtype == torch.bool:
        return tensor.float()
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        tensor = tensor.long()  # torch compares none of them
    low, high = (float(tensor.min()), float(tensor.max())) if tensor.numel() else (0.0, 0.0)
    if not tensor.is_floating_point():
        if low < 0 or high > 255:
            raise argument_error("predict", "images", "integers from 0 to 255", f"{low:g} to {high:g}")
        return tensor.float() / 255
    # A little beyond is what noise and resizing leave; far beyond is another scale.
    if not (low >= -0.5 and high <= 1.5):
        expected = "floating-point numbers from 0 to 1 (0 to 255 as integers)"
        raise argument_error("predict", "images", expected, f"{low:g} to {high:g}")
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def central_square(
    image: Float[Tensor, "channels height width"], size: int, *, margin: float = 0.875
) -> Float[Tensor, "channels size size"]:
    """Return the middle of a picture: the short side resized to ``size / margin``, the central square cut out.

    Args:
        image: numbers from 0 to 1.
        size: side of the square.
        margin: share of the short side that stays.

    Returns:
        Numbers from 0 to 1. The resizing is bicubic and antialiased, as Pillow's is (but without its rounding to 8
        bits).
    """
    short = round(size / margin)
    height, width = image.shape[1:]
    scale = short / min(height, width)
    target = [short if side == min(height, width) else max(short, round(side * scale)) for side in (height, width)]
    if target != [height, width]:
        resized = torch.nn.functional.interpolate(image[None], size=target, mode="bicubic", antialias=True)
        image = resized[0].clamp(0, 1)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return image[:, top : top + size, left : left + size]


def stacked(images: Sequence[Float[Tensor, "channels _ _"]]) -> Float[Tensor, "images channels height width"]:
    """Return pictures of one size as one tensor.

    Raises:
        ValueError: the sizes differ.
    """
    sizes = {tuple(image.shape) for image in images}
    if len(sizes) > 1:
        raise argument_error("predict", "images", "images of one size", ", ".join(map(str, sorted(sizes))))
    return torch.stack(list(images))
