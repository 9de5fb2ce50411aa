"""Memory for images in quantity, and how many of them to compute together."""

import math

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor


def zero_images(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Shaped[Tensor, "images ..."]:
    """Return zeros, as ``torch.zeros`` does, in a third of its time where the memory comes fresh from the system.

    On the CPU the memory is NumPy's, which asks Linux for large pages; with torch's small ones, getting the memory
    takes as long as drawing into it.

    Args:
        shape: of the result.
        dtype: of the result.
        device: of the result.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


def images_at_once(device: torch.device, image_size: int, *, in_cache: int, elsewhere: int) -> int:
    """Return how many images to compute together.

    Args:
        device: where.
        image_size: height and width of an image; the other arguments are for 64.
        in_cache: on one thread of the CPU, where temporaries should stay in the second-level cache. Several threads
            get sixteen times as many: they wait for one another after every operation, on a busy machine for long.
        elsewhere: on another device.
    """
    on_cpu = in_cache if torch.get_num_threads() == 1 else 16 * in_cache
    images = on_cpu if device.type == "cpu" else elsewhere
    return max(1, round(images * min(1.0, (64 / image_size) ** 2)))
