"""What a stored lesson must and must not hold, and proof that the rules bite."""

import base64
import io
import re
import subprocess
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 1_000_000
MOST_LINES = 15
WIDGETS = r"(?:[A-Za-z]*(?:View|Slider|Buttons?|Progress|Text|Box)|Accordion|Dropdown|HTML|Output|Play|Prediction|Tab)"
FORBIDDEN_CODE = {
    r"\bpyplot\b|\bplt\.": "pyplot: a widget's callback would take its figures",
    r"\binteract(ive|ive_output|_manual)?\s*\(|import\s+interact": "interact: use a View",
    r"\bOutput\s*\(": "Output widgets: use a View",
    r"NBVAL_|PYTEST_VALIDATE": "a mark that hides a cell from nbval",
    r"^\s*[!%]": "a shell command or magic",
}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w:/.\\<])(?:/(?:home|root|Users|tmp|usr|opt|var|work|mnt|private|srv|data)/[\w.\-]|[A-Z]:\\\\?[\w.\-])"
)


def complaints(path: Path) -> list[str]:
    """Return everything that is wrong with the notebook file at ``path``."""
    found: list[str] = []
    raw = path.read_text(encoding="utf-8")
    if len(raw.encode()) > MOST_BYTES:
        found.append(f"the file has {len(raw.encode())} bytes; at most {MOST_BYTES}")
    notebook = nbformat.reads(raw, as_version=4)
    nbformat.validate(notebook)
    if "widgets" in notebook.metadata:
        found.append("metadata.widgets: the state of widgets breaks previews")
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        found.append(f"kernelspec {kernel!r}; must be 'python3'")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("language_info.version: changes with every Python")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"execution counts {counts}; must be 1 to {len(code)}: build it")
    for index, cell in enumerate(notebook.cells, 1):
        found += [f"cell {index}: {one}" for one in _cell_complaints(cell)]
    return found + _structure_complaints(notebook)


def _cell_complaints(cell) -> list[str]:
    found = []
    tags = cell.metadata.get("tags", [])
    if any(tag.startswith(("nbval-ignore", "nbval-skip", "raises-exception")) for tag in tags):
        found.append(f"tags {tags}: every cell is compared")
    if ABSOLUTE_PATH.search(cell.source):
        found.append(f"an absolute path: {ABSOLUTE_PATH.search(cell.source).group()}")
    if cell.cell_type != "code":
        for image in re.findall(r"!\[([^\]]*)\]\(|<img(?![^>]*\balt=\"[^\"]+\")[^>]*>", cell.source):
            if not image.strip():
                found.append("an image without alt text")
        return found
    lines = cell.source.strip().splitlines()
    if len(lines) > MOST_LINES:
        found.append(f"{len(lines)} lines of code; at most {MOST_LINES}")
    for pattern, reason in FORBIDDEN_CODE.items():
        if re.search(pattern, cell.source, re.MULTILINE):
            found.append(reason)
    for output in cell.outputs:
        found += _output_complaints(output)
    return found


def _output_complaints(output) -> list[str]:
    if output.output_type == "error":
        return [f"an error output: {output.ename}"]
    if output.output_type == "stream":
        found = ["output on stderr"] if output.name == "stderr" else []
        return found + (["an absolute path in its output"] if ABSOLUTE_PATH.search(output.text) else [])
    found, data = [], output.data
    plain = data.get("text/plain", "").strip()
    if any(kind.startswith("application/vnd.jupyter.widget") for kind in data):
        found.append("a widget-view entry: its id is random")
    pictured = set(data) & {"image/png", "image/svg+xml", "image/jpeg", "text/html", "text/markdown"}
    if re.match(WIDGETS + r"\(", plain) and not pictured:
        found.append(f"a widget without a picture: {plain[:60]}")
    if re.match(r"(?:\w*Error|\w*Exception): ", plain) and not pictured:
        found.append(f"a view that shows an error: {plain[:60]}")
    if re.search(r" at 0x[0-9a-f]{6,}", plain):
        found.append(f"an address in the output: {plain[:60]}")
    for kind in data:
        if kind.startswith("image/"):
            alt = output.metadata.get(kind, {}).get("alt", "")
            if not alt and (not plain or re.match(r"<\w", plain)):
                found.append("a picture without words: use show(figure, alt=…)")
    texts = [str(text) for kind, text in data.items() if not kind.startswith("image/")]
    if any(ABSOLUTE_PATH.search(text) for text in texts):
        found.append("an absolute path in its output")
    return found


def _structure_complaints(notebook) -> list[str]:
    found = []
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    first = notebook.cells[0].source.lstrip() if notebook.cells else ""
    if not (prose and first == prose[0].lstrip() and first.startswith("# ")):
        found.append("no title: the first cell starts with '# '")
    headings = [
        line.lstrip("# ").strip().lower() for text in prose for line in text.splitlines() if re.match("##+ ", line)
    ]
    for wanted in ("exercise", "reference"):
        if not any(wanted in heading for heading in headings):
            found.append(f"no heading with '{wanted}'")
    return found


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path):
    found = complaints(path)
    if found and _worked_in(path):
        pytest.skip(f"you have worked in {path.name}; `git restore notebooks` brings the stored lesson back")
    assert found == []


def _worked_in(path: Path) -> bool:
    """Return whether the file differs from the stored lesson: JupyterLab saves by itself what a reader runs."""
    status = ["git", "-C", str(path.parent), "status", "--porcelain", "--", path.name]
    done = subprocess.run(status, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.startswith(" M")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_pictures_decode_and_are_not_blank(path):
    for cell in nbformat.read(path, 4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                image = (
                    Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGBA").convert("RGB")
                )
                assert image.width >= 40 and image.height >= 20
                assert len(image.getcolors(image.width * image.height)) > 2, "an empty picture"


def picture(**metadata):
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50), "red").save(buffer, "png")
    return v4.new_output(
        "display_data",
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": "A red square."},
        metadata={"image/png": {"alt": "A red square."} | metadata},
    )


def good() -> nbformat.NotebookNode:
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# What is red?"),
            v4.new_code_cell(
                "1 + 1", execution_count=1, outputs=[v4.new_output("execute_result", {"text/plain": "2"})]
            ),
            v4.new_code_cell("show(figure, alt='A red square.')", execution_count=2, outputs=[picture()]),
            v4.new_markdown_cell("## Exercises\nDo it again."),
            v4.new_code_cell(""),
            v4.new_markdown_cell("## References\nNobody, 2026. See https://arxiv.org/abs/1704.03453/v2"),
        ]
    )
    notebook.cells[1].outputs[0].execution_count = 1
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def spoil_output(**fields):
    def spoil(notebook):
        notebook.cells[2].outputs = [v4.new_output(**fields)]

    return spoil


def spoil_source(source):
    def spoil(notebook):
        notebook.cells[2].source = textwrap.dedent(source)

    return spoil


def remove(index):
    return lambda notebook: notebook.cells.pop(index)


def plain(text, kind="display_data"):
    return spoil_output(output_type=kind, data={"text/plain": text})


def without_words(notebook):
    notebook.cells[2].outputs[0].data["text/plain"] = "<Figure size 640x480 with 1 Axes>"
    notebook.cells[2].outputs[0].metadata = {}


def too_large(notebook):
    notebook.cells[2].outputs[0].data["image/png"] = "A" * 1_100_000


def widget_entry(notebook):
    notebook.cells[2].outputs[0].data["application/vnd.jupyter.widget-view+json"] = {"model_id": "1"}


BAD = {
    "metadata.widgets": lambda notebook: notebook.metadata.update(widgets={"state": {}}),
    "kernelspec 'mine'": lambda notebook: notebook.metadata.kernelspec.update(name="mine"),
    "kernelspec None": lambda notebook: notebook.metadata.pop("kernelspec"),
    "language_info.version": lambda notebook: notebook.metadata.update(
        language_info={"name": "python", "version": "3"}
    ),
    "execution counts [1, 3]": lambda notebook: notebook.cells[2].update(execution_count=3),
    "execution counts [1, None]": lambda notebook: notebook.cells[2].update(execution_count=None),
    "an error output: ValueError": spoil_output(output_type="error", ename="ValueError", evalue="no", traceback=[]),
    "stderr": spoil_output(output_type="stream", name="stderr", text="Warning"),
    "an absolute path in its output": spoil_output(output_type="stream", name="stdout", text="saved in /home/me/x.png"),
    "an absolute path: /root/": spoil_source("open('/root/x')"),
    "an absolute path: C:": spoil_source("open('C:\\\\Users')"),
    "an absolute path in its output ": plain("PosixPath('/tmp/x')"),
    "a widget without a picture: IntSlider": plain("IntSlider(value=1)"),
    "a widget without a picture: VBox": plain("VBox(children=(IntSlider(value=1),))", "execute_result"),
    "a widget without a picture: View": plain("View(k=1.0)"),
    "a view that shows an error": plain("ZeroDivisionError: division by zero"),
    "an address": plain("<object at 0x7f3c1bfae190>"),
    "a widget-view entry": widget_entry,
    "16 lines of code": spoil_source("\n".join("x = 1" for _ in range(16))),
    "tags ['nbval-ignore-output']": lambda notebook: notebook.cells[2].metadata.update(tags=["nbval-ignore-output"]),
    "hides a cell": spoil_source("# NBVAL_IGNORE_OUTPUT\n1"),
    "pyplot": spoil_source("import matplotlib.pyplot as plt"),
    "pyplot ": spoil_source("plt.plot([1])"),
    "interact": spoil_source("from ipywidgets import interact\ninteract(f, x=1)"),
    "Output widgets": spoil_source("import ipywidgets as W\nW.Output()"),
    "a shell command": spoil_source("!pip install x"),
    "a shell command ": spoil_source("%matplotlib inline"),
    "a picture without words": without_words,
    "bytes; at most": too_large,
    "no title": remove(0),
    "no heading with 'exercise'": remove(3),
    "no heading with 'reference'": remove(5),
    "an image without alt text": lambda notebook: notebook.cells[3].update(source="## Exercises\n![](a.png)"),
    "an image without alt text ": lambda notebook: notebook.cells[3].update(source='## Exercises\n<img src="a.png">'),
}


def test_a_good_notebook_passes(tmp_path):
    nbformat.write(good(), tmp_path / "good.ipynb")
    assert complaints(tmp_path / "good.ipynb") == []


@pytest.mark.parametrize("wanted", BAD)
def test_a_bad_notebook_is_refused(wanted, tmp_path):
    notebook = good()
    BAD[wanted](notebook)
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    found = complaints(tmp_path / "bad.ipynb")
    assert any(wanted.strip() in one for one in found), found
