"""Where the project's own files lie: beside the package in a checkout, inside it once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def data_directory() -> Path:
    """Return the folder with ``samples/``, ``paper_results/`` and ``runs/``.

    Returns:
        ``data/`` of the repository when the package runs from a checkout (an editable install included),
        else the copy that the wheel carries inside the package.

    Raises:
        FileNotFoundError: neither is there, so the installation is broken.
    """
    for candidate in (_PACKAGE / "data", _PACKAGE.parent / "data"):
        if (candidate / "samples").is_dir():
            return candidate
    raise FileNotFoundError(
        "toolkit: its data folder is missing\n"
        f"  expected: {_PACKAGE / 'data'} (installed) or {_PACKAGE.parent / 'data'} (checkout)"
    )
