"""Boxes folded away behind a button can be reached and ticked with the keyboard alone."""

import textwrap

import nbformat
import pytest

CELL = """
from toolkit.explorers.ticks import Ticks
from toolkit.lessons import Svg, View

groups = {"Attacks": ["no-op", "noise", "iwiwi"], "Defences": ["lenet", "resnet"]}
ticks = Ticks("Who takes part", groups, {"All": (), "No noise": ["noise"]})
View({"out": ticks}, lambda out: out, lambda _: Svg(99, 9), lambda out: f"Left out: {', '.join(out) or 'nobody'}.")
"""


@pytest.fixture
def page(lab, open_notebook):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(CELL).strip())])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.folder / "ticks.ipynb")
    opened = open_notebook("ticks.ipynb")
    opened.run_all()
    return opened.page


def says(page, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('.toolkit-view [role=status]').textContent.includes(text)", arg=text
    )


def test_boxes_unfold_and_tick_by_keyboard(page):
    view = page.query_selector(".toolkit-view")
    assert not any(box.is_visible() for box in view.query_selector_all("input[type=checkbox]"))
    view.query_selector("button").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(".toolkit-view input[type=checkbox]", state="visible")
    assert len(view.query_selector_all("input[type=checkbox]")) == 5
    for _ in range(4):  # past the buttons, to the second box
        page.keyboard.press("Tab")
    for _ in range(3):  # however many stops the buttons are
        if page.evaluate("() => document.activeElement.type") != "checkbox":
            page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function(
        "() => document.querySelector('.toolkit-view button').textContent.includes('4 of 5')",
    )
    view.query_selector_all("button")[2].click()
    says(page, "Left out: noise.")
    view.query_selector_all("button")[1].click()
    says(page, "Left out: nobody.")
    assert all(box.is_checked() for box in view.query_selector_all("input[type=checkbox]"))
