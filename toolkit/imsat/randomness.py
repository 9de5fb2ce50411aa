"""Randomness of a fit: seeds for its starts, and global generators that are as before when it is over."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state

from toolkit.core.errors import reject


def draw_seeds(operation: str, random_state: object, n: int) -> list[int]:
    """Return seeds for so many starts.

    Args:
        operation: for the error.
        random_state: an integer, a ``numpy.random.RandomState``, which goes on, or ``None``: what the operating system
            gives, not NumPy's global generator.
        n: how many.

    Returns:
        Integers that fit 31 bits.

    Raises:
        ValueError: another ``random_state``.
    """
    if random_state is None:
        random_state = np.random.RandomState(np.random.MT19937())
    try:
        drawn = check_random_state(random_state)
    except ValueError:
        expected = "an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None"
        reject(operation, "random_state", expected, repr(random_state))
    return [int(drawn.randint(np.iinfo(np.int32).max)) for _ in range(n)]


@contextmanager
def global_generators_kept(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators for layers that draw from them, such as dropout; put all generators back after.

    Those of NumPy and Python too: going on from a checkpoint sets them.

    Args:
        device: whose generator is seeded beside the CPU's.
        seed: of torch's generators.
    """
    numpys, pythons = np.random.get_state(), random.getstate()
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)
