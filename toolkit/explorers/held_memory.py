"""How much memory NumPy arrays hold while Python's cycle collector is off: exact, whatever made them."""

import contextlib
import gc
import tracemalloc
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Hold the cycle collector off; what exists is set aside, so that a run by hand looks at new objects only."""
    was_on = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Trace allocations, unless that is done already."""
    was_on = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        yield
    finally:
        if not was_on:
            tracemalloc.stop()


def array_bytes() -> int:
    """Return the bytes of NumPy arrays made while tracing and still alive."""
    domain = np.lib.tracemalloc_domain
    return sum(trace.size for trace in tracemalloc.take_snapshot().traces if trace.domain == domain)
