"""Every lesson run in JupyterLab: no errors, each slider has a name and an effect, axe finds nothing in the outputs."""

import textwrap
from importlib.resources import files
from pathlib import Path

import nbformat
import pytest

LESSONS = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
SLIDER = ".jp-OutputArea .noUi-handle"
SEEN = """node => {
  const view = node.closest('.toolkit-view') || node.closest('.jp-OutputArea');
  return [...view.querySelectorAll('img')].map(one => one.src).join()
    + [...view.querySelectorAll('svg')].map(one => one.innerHTML).join()
    + [...view.querySelectorAll('[role=status], [role=alert]')].map(one => one.textContent).join();
}"""
# From the key press to the painted picture, as the page itself sees it.
STOPWATCH = """node => {
  const view = node.closest('.toolkit-view') || node.closest('.jp-OutputArea');
  window.milliseconds = null;
  let start = null;
  node.addEventListener('keydown', () => { start = performance.now(); }, {capture: true, once: true});
  const watch = new MutationObserver(changes => {
    const picture = changes.some(one => one.target.querySelector?.('img, svg') || one.target.closest?.('svg'));
    if (start === null || !picture) return;
    watch.disconnect();
    const ready = Promise.all([...view.querySelectorAll('img')].map(one => one.decode().catch(() => null)));
    ready.then(() => requestAnimationFrame(() => { window.milliseconds = performance.now() - start; }));
  });
  watch.observe(view, {childList: true, subtree: true, attributes: true, attributeFilter: ['src']});
}"""


def axe_findings(page) -> list[str]:
    """Return what axe-core finds inside the outputs, one line a rule and element."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    page_rules = ["region", "landmark-one-main", "page-has-heading-one", "bypass"]
    found = page.evaluate(
        """async rules => {
          const off = Object.fromEntries(rules.map(rule => [rule, {enabled: false}]));
          const report = await axe.run({include: [['.jp-OutputArea-output']]}, {rules: off});
          return report.violations.flatMap(one => one.nodes.map(
            node => `${one.id} (${one.impact}): ${node.html.slice(0, 200)}`));
        }""",
        page_rules,
    )
    return list(found)


def move(page, handle) -> float | None:
    """Move a slider by one key press; return the milliseconds to the new picture, or None if nothing changed."""
    before = handle.evaluate(SEEN)
    at_end = handle.evaluate("node => node.getAttribute('aria-valuenow') === node.getAttribute('aria-valuemax')")
    handle.evaluate(STOPWATCH)
    handle.focus()
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    try:
        page.wait_for_function(
            "([node, before]) => (" + SEEN + ")(node) !== before", arg=[handle, before], polling=20, timeout=8_000
        )
    except Exception as error:
        if "Timeout" not in type(error).__name__:
            raise
        return None
    page.wait_for_timeout(150)
    return page.evaluate("() => window.milliseconds") or 0.0


def examine(notebook, shots: Path, name: str) -> None:
    """Hold one open notebook to everything that every lesson promises."""
    page = notebook.page
    notebook.run_all()
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shots / f"{name}-before.png")
    assert notebook.problems() == []
    unnamed, dead, times = [], [], []
    handles = page.query_selector_all(SLIDER)
    for index, handle in enumerate(handles):
        label = handle.get_attribute("aria-label")
        if not label:
            unnamed.append(f"slider {index + 1}")
        if handle.evaluate("node => !!node.closest('.toolkit-background-view')"):
            continue  # counts from the next run on
        if handle.evaluate("node => !!node.closest('.noUi-target[disabled]')"):
            continue  # of no use in the present setting, and shown so
        took = move(page, handle)
        if took is None:
            dead.append(label or f"slider {index + 1}")
        elif took:
            times.append(took)
    for run in page.query_selector_all(".toolkit-background-view .toolkit-run:not([disabled])"):
        before = run.evaluate(SEEN)
        run.click()
        page.wait_for_function(
            "([node, before]) => (" + SEEN + ")(node) !== before", arg=[run, before], polling=50, timeout=30_000
        )
        stop = run.evaluate_handle("node => node.closest('.toolkit-view').querySelector('.toolkit-stop')").as_element()
        if stop.is_enabled():
            stop.click()
        page.wait_for_function("node => !node.disabled", arg=run, polling=50, timeout=30_000)
    page.screenshot(path=shots / f"{name}.png")
    for index, view in enumerate(page.query_selector_all(".toolkit-view")):
        view.scroll_into_view_if_needed()
        view.screenshot(path=shots / f"{name}-view-{index + 1}.png")
    assert unnamed == [], "sliders without an accessible name"
    assert dead == [], "sliders that change neither picture nor sentence"
    assert notebook.problems() == []
    assert axe_findings(page) == []
    assert notebook.strangers == []
    if times:
        middle = sorted(times)[len(times) // 2]
        print(
            f"\n{name}: {len(handles)} sliders, key to new picture: median {middle:.0f} ms, slowest {max(times):.0f} ms"
        )


@pytest.mark.parametrize("name", LESSONS)
def test_lesson(name, open_notebook, tmp_path):
    examine(open_notebook(name), tmp_path / "shots", Path(name).stem)


GOOD = [
    """
    import math, time
    from toolkit.lessons import BackgroundView, LiveFigure, Progress, Svg, View, controls, predict, show, style, table

    def chart(number):
        picture = Svg(300, 120)
        picture.text(20, 60, f"number {number}")
        return picture

    View({"number": controls.int_slider("how many", 3, 0, 10)}, lambda number: number, chart, lambda n: f"{n} there.")
    """,
    """
    def build():
        axes = style.axes()
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        return axes.plot([0, 1], [0, 0], **style.line("paper"))

    def update(lines, slope):
        lines[0].set_ydata([0, slope])

    sliders = {
        "slope": controls.float_slider("slope", 0.5, -1, 1, unit="m/s"),
        "rate": controls.log_slider("λ", 0.1, 0.01, 10),
    }
    live = LiveFigure(build, update)
    View(sliders, lambda slope, rate: slope * math.tanh(rate), live, lambda s: f"The slope is {s:.2f}.")
    """,
    """
    def work(steps):
        for step in range(steps):
            time.sleep(0.02)
            yield Progress((step + 1) / steps, step, f"step {step}")

    BackgroundView({"steps": controls.int_slider("steps", 20, 5, 50)}, work, chart, lambda n: f"Step {n}.", initial=-1)
    """,
    "predict('Which one?', ['this', 'that'], 'that', 'Because.')",
    "show(build()[0], alt='A flat line.')\ntable(['name', 'value'], [['a', 1.5], ['b', 2.5]], caption='Two values')",
]


def write(folder: Path, name: str, cells: list[str]) -> None:
    sources = [textwrap.dedent(cell).strip() for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / name)


def test_a_notebook_of_our_own_passes(lab, open_notebook, tmp_path):
    write(lab.folder, "good.ipynb", GOOD)
    notebook = open_notebook("good.ipynb")
    examine(notebook, tmp_path / "shots", "good")
    handle = notebook.page.get_by_role("slider", name="slope (m/s)").first
    handle.focus()
    notebook.page.keyboard.press("End")
    alt = "document.querySelectorAll('.toolkit-view')[1].querySelector('img').alt"
    notebook.page.wait_for_function(f"() => {alt} === 'The slope is 0.13.'")
    notebook.page.get_by_role("button", name="Reset").nth(1).click()
    notebook.page.wait_for_function(
        "() => document.querySelectorAll('.toolkit-view')[1].textContent.includes('The slope is 0.05.')"
    )


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("1 / 0", "cell 1: ZeroDivisionError"),
        ("import sys\nprint('x', file=sys.stderr)", "stderr: x"),
        (
            "from toolkit.lessons import View, Svg, controls\n"
            "View({'n': controls.int_slider('n', 0, 0, 5)}, lambda n: 1 / n, lambda r: Svg(9, 9), str)",
            "in a widget: ZeroDivisionError",
        ),
    ],
)
def test_the_harness_sees_a_broken_cell(cell, complaint, lab, open_notebook):
    write(lab.folder, "bad.ipynb", [cell])
    notebook = open_notebook("bad.ipynb")
    notebook.run_all()
    assert any(complaint in problem for problem in notebook.problems()), notebook.problems()


def test_the_harness_sees_what_a_reader_cannot_use(lab, open_notebook):
    write(
        lab.folder,
        "mute.ipynb",
        [
            "import ipywidgets\nipywidgets.IntSlider(description='no effect')",
            "import ipywidgets\nfrom toolkit.lessons import Svg\nipywidgets.Image(value=Svg(20, 20).to_png())",
        ],
    )
    notebook = open_notebook("mute.ipynb")
    notebook.run_all()
    handle = notebook.page.query_selector(SLIDER)
    assert not handle.get_attribute("aria-label")
    assert move(notebook.page, handle) is None
    findings = " ".join(axe_findings(notebook.page))
    assert "aria-input-field-name" in findings and "image-alt" in findings


def test_callbacks_during_a_running_cell_take_nothing_from_it(lab, open_notebook):
    cells = [
        *GOOD[:2],
        """
        for number in range(8):
            axes = style.axes(width=2, height=1)
            time.sleep(0.1)
            axes.set_title(f"cell {number}")
            show(axes, alt=f"Picture {number} of the cell.")
        """,
    ]
    write(lab.folder, "busy.ipynb", cells)
    notebook = open_notebook("busy.ipynb")
    notebook.run_all()
    page = notebook.page
    handle = page.get_by_role("slider", name="slope (m/s)").first
    page.evaluate(
        "() => { const notebook = jupyterapp.shell.currentWidget.content; notebook.activeCellIndex = 2;"
        " window.finished = false;"
        " jupyterapp.commands.execute('notebook:run-cell').then(() => { window.finished = true; }); }"
    )
    handle.focus()
    presses = 0
    while not page.evaluate("() => window.finished"):
        page.keyboard.press("ArrowLeft" if presses % 2 else "ArrowRight")
        presses += 1
        page.wait_for_timeout(40)
    assert presses >= 8
    outputs = page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[2].model.outputs.toJSON()")
    assert [one["data"]["text/plain"] for one in outputs] == [f"Picture {number} of the cell." for number in range(8)]
    assert all("image/png" in one["data"] for one in outputs) and notebook.problems() == []
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelectorAll('.toolkit-view')[1].textContent.includes('slope is -0.10')")
