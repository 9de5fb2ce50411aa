"""Progress bars of long work, in a terminal and in a notebook; ``TOOLKIT_QUIET=1`` hides them."""

import os
import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():  # without ipywidgets a notebook gets the bar of a terminal, which needs no excuse
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm


def quiet() -> bool:
    """Return whether ``TOOLKIT_QUIET`` asks for silence: set to anything but nothing and ``0``."""
    return os.environ.get("TOOLKIT_QUIET", "") not in ("", "0")


def progress_bar(total: float | None, description: str, *, initial: float = 0, unit: str = "it", **options) -> tqdm:
    """Open a progress bar.

    Args:
        total: number of units, ``None`` if unknown.
        description: shown before the bar.
        initial: units done already, after a resume.
        unit: name of one unit; ``"B"`` with ``unit_scale=True`` for downloads.
        options: further options of ``tqdm``.

    Returns:
        A ``tqdm.auto`` bar: use it as a context manager, ``update(n)`` it, ``set_postfix_str(text, refresh=False)``.
    """
    return tqdm(total=total, desc=description, initial=initial, unit=unit, disable=quiet(), leave=False, **options)
