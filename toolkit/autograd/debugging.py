"""Debug mode: where every operation was made, a NaN guard, and checksums that notice writes NumPy does not count."""

import os
import sys
from typing import Any
from zlib import crc32

import numpy as np

from toolkit.autograd.configuration import config

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def after_forward(operation: Any, backend: Any, output: Any, node: Any) -> None:
    """Note origin and checksums on a new node, and refuse a NaN."""
    where = origin()
    if node is not None:
        node.origin = (where, checksums(backend, node.saved))
        if node.version is None:
            # No counter: the pass is to compare the checksums, also where it runs outside of debug mode.
            node.version = True
    check_finite(backend, output, f"forward: the result of {operation.name}", where, False)


def origin() -> str:
    """Return file, line and function of the nearest caller outside this package and the checkers of its types."""
    frame: Any = sys._getframe(1)
    while frame is not None and _is_inside(frame):
        frame = frame.f_back
    if frame is None:
        return "unknown"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _is_inside(frame: Any) -> bool:
    name = frame.f_code.co_filename
    checker = name.startswith("<@beartype") or frame.f_globals.get("__name__", "").startswith("jaxtyping.")
    return checker or name.startswith(_PACKAGE)


def checksums(backend: Any, saved: tuple) -> tuple[int | None, ...]:
    """Return one checksum an array among the saved values."""
    return tuple(
        crc32(np.ascontiguousarray(backend.to_numpy(value)).tobytes()) if hasattr(value, "dtype") else None
        for value in saved
    )


def require_unchanged(backend: Any, node: Any) -> None:
    """Raise ``RuntimeError`` if an array saved in debug mode has other contents now."""
    from toolkit.autograd.engine import changed_in_place

    if node.origin is not None and checksums(backend, node.saved) != node.origin[1]:
        raise changed_in_place(node)


def check_finite(backend: Any, array: Any, what: str, where: str, infinities: bool) -> None:
    """Raise ``FloatingPointError`` if an array holds a NaN (or, if asked for, an infinity)."""
    if not backend.is_floating(array):
        return
    values = backend.to_numpy(array)
    bad = ~np.isfinite(values) if infinities else np.isnan(values)
    if bad.any():
        made = f"\n  made at:  {where}" if where else ""
        kind = "NaN or infinity" if infinities else "NaN"
        raise FloatingPointError(
            f"{what} holds {kind}\n  expected: numbers\n  actual:   {int(bad.sum())} of {bad.size} elements{made}"
        )


def watched_vjp(xp: Any, node: Any, gradient: Any, saved: tuple, parents: tuple, pending: dict) -> tuple:
    """Run a backward rule with hooks and debug checks around it."""
    require_unchanged(xp, node)
    for hook in config.hooks:
        hook.before_backward(node, gradient)
    gradients = node.operation.vjp(xp, gradient, saved, parents, node.params)
    if config.debug:
        where = "" if node.origin is None else node.origin[0]
        for position, value in enumerate(gradients):
            if hasattr(value, "dtype"):
                check_finite(
                    xp, value, f"backward: the gradient of {node.operation.name} by input {position}", where, False
                )
    waiting = tuple(entry[0] for entry in pending.values())
    for hook in reversed(config.hooks):
        hook.after_backward(node, gradients, waiting)
    return gradients
