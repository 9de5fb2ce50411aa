"""Where random operations get their numbers from, and how a recomputation gets the same ones again."""

import contextlib
import threading
from collections.abc import Iterator

import torch

from toolkit.autograd.configuration import config

_local = threading.local()


def source(generator: torch.Generator | None = None) -> torch.Generator:
    """Return the generator to draw from: the caller's, else ``config.generator``, else one private to the thread.

    The global generators of torch and NumPy are never used. A checkpoint that is running its function takes note of
    the generator's state, so that the second run draws the same numbers.
    """
    chosen = generator if generator is not None else default()
    for states in getattr(_local, "noting", ()):
        if not any(known is chosen for known, _ in states):
            states.append((chosen, chosen.get_state()))
    return chosen


def default() -> torch.Generator:
    """Return the generator that operations draw from when given none: ``config.generator``, or the thread's own."""
    chosen = config.generator
    if chosen is None:
        chosen = getattr(_local, "private", None)
        if chosen is None:
            chosen = _local.private = torch.Generator()
            chosen.seed()
    return chosen


@contextlib.contextmanager
def noted() -> Iterator[list[tuple[torch.Generator, torch.Tensor]]]:
    """Collect every generator drawn from in the body, with its state before."""
    states: list[tuple[torch.Generator, torch.Tensor]] = []
    outer = getattr(_local, "noting", ())
    _local.noting = (*outer, states)
    try:
        yield states
    finally:
        _local.noting = outer


@contextlib.contextmanager
def replayed(states: list[tuple[torch.Generator, torch.Tensor]]) -> Iterator[None]:
    """Put generators back to earlier states for the body, and forward again after it."""
    now = [(generator, generator.get_state()) for generator, _ in states]
    try:
        for generator, state in states:
            generator.set_state(state)
        yield
    finally:
        for generator, state in now:
            generator.set_state(state)
