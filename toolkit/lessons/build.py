"""Execute notebooks and store them so that the same notebook is always the same file.

``python -m toolkit.lessons.build notebooks/*.ipynb`` runs each notebook from top to bottom in a fresh kernel of this
Python, drops what differs from run to run or does not belong into a file, and puts the result in place whole. With
``--check`` nothing is written: it says whether a build would change the file.
"""

import argparse
import base64
import os
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT = 120  # seconds a cell
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# As in the tests, which compare with what a build stores.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOOLKIT_QUIET": "1", "TOOLKIT_OFFLINE": "1"}
_KEPT_CELL_METADATA = frozenset({"tags", "jupyter", "slideshow"})
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"})  # program names, dates, cameras


class BuildError(RuntimeError):
    """A notebook that cannot be stored: which one, which cell, and what went wrong."""


def execute(notebook: Any, folder: Path, *, timeout: int = TIMEOUT) -> None:
    """Run every cell of ``notebook`` in place, in a fresh kernel of this Python with ``folder`` as working directory.

    Args:
        notebook: an nbformat 4 notebook; its outputs are replaced.
        folder: the kernel's working directory.
        timeout: seconds that one cell may take.

    Raises:
        BuildError: a cell raised, ran out of time, or took the kernel with it.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    class ThisPython(AsyncKernelManager):
        # A "python3" that the reader once installed may be another Python: run the one that builds.
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**get_kernel_dict(["--IPKernelApp.log_level=ERROR"]))

    root = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory(prefix="toolkit-build-") as private:
        environment = os.environ | {
            **_ENVIRONMENT,
            "IPYTHONDIR": private,  # no start-up files of the reader's
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        }
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            kernel_manager_class=ThisPython,
            timeout=timeout,
            store_widget_state=False,
            record_timing=False,
            allow_errors=False,
            resources={"metadata": {"path": str(folder)}},
        )
        place = {"cell": -1}
        client.on_cell_start = lambda cell, cell_index: place.update(cell=cell_index)
        try:
            client.execute(env=environment)
        except CellExecutionError as error:
            raise BuildError(f"cell {place['cell'] + 1}: {error.ename}: {error.evalue}") from error
        except CellTimeoutError as error:
            raise BuildError(f"cell {place['cell'] + 1}: not done after {timeout} s") from error
        except DeadKernelError as error:
            raise BuildError(f"cell {place['cell'] + 1}: the kernel died") from error


def scrub(notebook: Any) -> None:
    """Drop in place what a rebuild would change: widget state and views, timings, ids, versions, dates in pictures."""
    notebook.metadata.clear()
    notebook.metadata.update(_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index + 1:02d}"
        for key in set(cell.metadata) - _KEPT_CELL_METADATA:
            del cell.metadata[key]
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
            cell.execution_count = count
        else:
            cell.execution_count = None
        cell.outputs = _merged(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            output.pop("transient", None)
            data = output.get("data", {})
            data.pop(WIDGET_VIEW, None)
            if "image/png" in data:
                data["image/png"] = _bare_png(data["image/png"])


def _merged(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of one stream: where a kernel cuts them depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else None
        if output.output_type == "stream" and before and before.output_type == "stream" and before.name == output.name:
            before.text += output.text
        elif not (output.output_type == "stream" and not output.text):
            joined.append(output)
    return joined


def _bare_png(encoded: str) -> str:
    """Return base64 PNG without the chunks that hold a program's name or a date."""
    data = base64.b64decode(encoded)
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return encoded
    kept, place = [data[:8]], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] not in _TEXT_CHUNKS:
            kept.append(data[place : place + 12 + length])
        place += 12 + length
    return base64.b64encode(b"".join(kept)).decode()


def complaints(notebook: Any) -> list[str]:
    """Return what may not be stored: error outputs, stderr, widgets that show nothing without a kernel."""
    found = []
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if output.output_type == "error":
                found.append(f"cell {index + 1}: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"cell {index + 1}: wrote to stderr: {output.text.strip()[:200]}")
            elif WIDGET_VIEW in data and not set(data) & {"image/png", "image/svg+xml", "text/html", "text/markdown"}:
                shown = data.get("text/plain", "")[:200]
                found.append(f"cell {index + 1}: a widget without a picture (an error in a view?): {shown}")
    return found


def build(path: Path, *, timeout: int = TIMEOUT) -> str:
    """Return the text of the notebook at ``path``, executed and scrubbed; nothing is written.

    Raises:
        BuildError: the notebook cannot be read, a cell failed, or an output may not be stored.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise BuildError(f"cannot be read as a notebook: {error}") from error
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index + 1:02d}"
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook, path.resolve().parent, timeout=timeout)
    problems = complaints(notebook)
    if problems:
        raise BuildError("; ".join(problems))
    scrub(notebook)
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Build or check notebooks from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m toolkit.lessons.build", description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a build would change a file")
    parser.add_argument("--timeout", type=int, default=TIMEOUT, help="seconds a cell may take (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    failed = 0
    for path in chosen.notebooks:
        try:
            text = build(path, timeout=chosen.timeout)
        except BuildError as error:
            print(f"{path}: {re.sub(chr(27) + r'[^m]*m', '', str(error))}", file=sys.stderr)
            failed += 1
            continue
        same = path.read_text(encoding="utf-8") == text
        if chosen.check:
            print(f"{path}: {'up to date' if same else 'a build would change it'}")
            failed += not same
        elif same:
            print(f"{path}: unchanged")
        else:
            from toolkit.core.files import atomic_write

            with atomic_write(path) as file:
                file.write(text.encode())
            print(f"{path}: built, {len(text) / 1e6:.2f} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
