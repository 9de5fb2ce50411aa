import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from PIL import Image, PngImagePlugin

from toolkit.lessons import build

ROOT = Path(__file__).resolve().parents[2]
LESSON = [
    "from toolkit.lessons import LiveFigure, View, check, controls, predict, show, style, svg",
    """
def build():
    axes = style.axes()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return axes.plot([0, 1], [0, 0], **style.line("ours"))

def update(lines, slope):
    lines[0].set_ydata([0, slope])

View({"slope": controls.float_slider("slope", 0.5, 0, 1)}, lambda slope: slope, LiveFigure(build, update), str)
""",
    "show(svg.bar_chart(['a'], [1.0], value_label='x'), alt='One bar.')",
    "check('half', 0.5, exact=0.5, tolerance=0.01)",
    "",
    "predict('Which?', ['a', 'b'], 'a')",
    "import os, sys\nprint(os.environ['TOOLKIT_QUIET'], os.environ['OMP_NUM_THREADS'], os.path.basename(os.getcwd()))",
]


def write(path: Path, sources: list[str], **metadata) -> Path:
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), *(v4.new_code_cell(s.strip()) for s in sources)])
    notebook.metadata.update(metadata)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    path = write(folder / "lesson.ipynb", LESSON, kernelspec={"name": "elsewhere", "display_name": "x"})
    assert build.main([str(path)]) == 0
    return path


def test_a_built_lesson_has_pictures_words_and_nothing_random(built):
    notebook = nbformat.read(built, 4)
    assert notebook.metadata.kernelspec.name == "python3" and "version" not in notebook.metadata.language_info
    assert [cell.id for cell in notebook.cells] == [f"cell-{n:02d}" for n in range(1, 9)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, None, 5, 6]
    assert all(set(cell.metadata) == set() for cell in code)
    view, bars, question = code[1].outputs[0], code[2].outputs[0], code[5].outputs[0]
    assert set(view.data) == {"image/png", "text/plain"} and view.data["text/plain"] == "0.5"
    assert bars.data["text/plain"] == "One bar." and bars.metadata["image/png"]["alt"] == "One bar."
    assert set(question.data) == {"text/markdown", "text/plain"}
    assert code[3].outputs[0].text == "half: 0.50, within 0.01 of the exact 0.5\n"
    assert code[6].outputs[0].text == f"1 1 {built.parent.name}\n"
    assert len(built.read_bytes()) < 100_000


def test_a_rebuild_is_byte_for_byte_the_same(built, capsys):
    before, time = built.read_bytes(), built.stat().st_mtime_ns
    assert build.main([str(built)]) == 0
    assert built.read_bytes() == before and built.stat().st_mtime_ns == time
    assert "unchanged" in capsys.readouterr().out


def test_check_says_whether_a_build_would_change_it_and_writes_nothing(built, tmp_path, capsys):
    assert build.main(["--check", str(built)]) == 0
    stale = write(tmp_path / "stale.ipynb", ["1 + 1"])
    before = stale.read_bytes()
    assert build.main(["--check", str(stale)]) == 1
    assert stale.read_bytes() == before
    out = capsys.readouterr().out
    assert "lesson.ipynb: up to date" in out and "stale.ipynb: a build would change it" in out


def test_a_built_lesson_passes_strict_nbval(built):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "-c"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*command, os.devnull, "--rootdir", str(built.parent), str(built)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert "7 passed" in run.stdout


@pytest.mark.parametrize(
    ("sources", "options", "complaint"),
    [
        (["1 + 1", "{}['key']"], [], "cell 3: KeyError: 'key'"),
        (["import warnings\nwarnings.warn('careful')"], [], "cell 2: wrote to stderr"),
        (["import time\ntime.sleep(60)"], ["--timeout", "1"], "cell 2: not done after 1 s"),
        (["import os\nos._exit(3)"], [], "cell 2: the kernel died"),
        (["import ipywidgets\nipywidgets.IntSlider()"], [], "cell 2: a widget without a picture"),
        (
            [
                "from toolkit.lessons import View, Svg, controls\n"
                "View({'n': controls.int_slider('n', 0, 0, 5)}, lambda n: 1 // n, lambda r: Svg(9, 9), str)"
            ],
            [],
            "ZeroDivisionError",
        ),
    ],
)
def test_a_failure_leaves_the_old_file_and_says_notebook_and_cell(sources, options, complaint, tmp_path, capsys):
    path = write(tmp_path / "bad.ipynb", sources)
    before = path.read_bytes()
    assert build.main([*options, str(path)]) == 1
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["bad.ipynb"]
    message = capsys.readouterr().err
    assert "bad.ipynb" in message and complaint in message and "\x1b" not in message


def test_one_bad_notebook_does_not_keep_the_others_from_being_built(tmp_path, capsys):
    bad = tmp_path / "bad.ipynb"
    bad.write_text("{not json")
    good = write(tmp_path / "good.ipynb", ["1 + 1"])
    assert build.main([str(bad), str(tmp_path / "missing.ipynb"), str(good)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("cannot be read as a notebook") == 2 and "good.ipynb: built" in captured.out


def tagged_png() -> str:
    information = PngImagePlugin.PngInfo()
    information.add_text("Software", "Matplotlib")
    information.add_itxt("Creation Time", "now")
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "png", pnginfo=information)
    return base64.b64encode(buffer.getvalue()).decode()


def test_scrub_drops_what_differs_from_run_to_run():
    output = v4.new_output(
        "execute_result",
        {"image/png": tagged_png(), "text/plain": "x", build.WIDGET_VIEW: {"model_id": "random"}},
        execution_count=9,
    )
    pieces = [v4.new_output("stream", name="stdout", text=text) for text in ("a", "", "b\n")]
    cell = v4.new_code_cell(
        "x",
        outputs=[*pieces, v4.new_output("stream", name="stderr", text="w"), output],
        execution_count=9,
        metadata={"execution": {"iopub.status.busy": "2026"}, "collapsed": True, "tags": ["keep"], "trusted": True},
    )
    notebook = v4.new_notebook(
        cells=[cell], metadata={"widgets": {"state": 1}, "language_info": {"name": "python", "version": "3.1"}, "x": 1}
    )
    build.scrub(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and dict(cell.metadata) == {"tags": ["keep"]}
    assert [piece.text for piece in cell.outputs[:2]] == ["ab\n", "w"]
    kept = cell.outputs[2]
    assert set(kept.data) == {"image/png", "text/plain"} and kept.execution_count == cell.execution_count == 1
    image = Image.open(io.BytesIO(base64.b64decode(kept.data["image/png"])))
    image.load()
    assert image.info == {} and image.getpixel((0, 0)) == (255, 0, 0)
    nbformat.validate(notebook)


def test_scrub_twice_is_scrub_once():
    notebook = v4.new_notebook(cells=[v4.new_code_cell("x", outputs=[v4.new_output("stream", text="a")])])
    build.scrub(notebook)
    once = nbformat.writes(notebook)
    build.scrub(notebook)
    assert nbformat.writes(notebook) == once


def test_help_names_the_command():
    run = subprocess.run(
        [sys.executable, "-m", "toolkit.lessons.build", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0 and "python -m toolkit.lessons.build" in run.stdout and "--check" in run.stdout
