"""Lists and rows of options belong to the reader's arrow keys, not to JupyterLab, which would go to another cell."""

import textwrap

import nbformat
import pytest

CELLS = [
    "from toolkit.lessons import predict\npredict('Which one?', ['this', 'that', 'both'], 'that', 'Because.')",
    """
    from toolkit.lessons import Svg, View, controls

    choices = {"name": controls.choice("name", ["one", "two", "three"]), "n": controls.int_slider("n", 3, 0, 20)}
    View(choices, lambda name, n: (name, n), lambda _: Svg(99, 9), lambda chosen: f"{chosen[0]} and {chosen[1]}.")
    """,
    "1 + 1",
    """
    import ipywidgets

    sliders = {
        "fine": controls.float_slider("fine", 0.745, 0.7, 0.8, step=0.005),
        "ends": ipywidgets.FloatRangeSlider(value=(0.25, 0.74), max=1.0, step=0.01, description="ends"),
    }
    play = ipywidgets.Play(tooltip="frames", max=50, interval=100)
    View(
        sliders,
        lambda fine, ends: (fine, ends),
        lambda _: Svg(99, 9),
        lambda chosen: f"At {chosen[0]:.3f}.",
        extra=(play,),
    )
    """,
]
WHERE = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"


@pytest.fixture
def page(lab, open_notebook):
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(source).strip()) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab.folder / "keys.ipynb")
    opened = open_notebook("keys.ipynb")
    opened.run_all()
    return opened.page


def says(page, number: int, text: str) -> None:
    page.wait_for_function(
        "([number, text]) => document.querySelectorAll('.toolkit-view')[number].querySelector('[role=status]')"
        ".textContent.includes(text)",
        arg=[number, text],
    )


def test_a_list_goes_up_and_down(page):
    chosen = page.query_selector_all(".toolkit-view")[1].query_selector("select")
    chosen.focus()
    here = page.evaluate(WHERE)
    for key, text in (("ArrowDown", "two and 3."), ("ArrowDown", "three and 3."), ("ArrowUp", "two and 3.")):
        page.keyboard.press(key)
        says(page, 1, text)
    assert page.evaluate(WHERE) == here
    assert page.evaluate("() => document.activeElement.tagName") == "SELECT"


def test_options_go_up_and_down_and_the_answer_opens(page):
    view = page.query_selector_all(".toolkit-view")[0]
    view.query_selector("input[type=radio]").focus()
    here = page.evaluate(WHERE)
    page.keyboard.press("ArrowDown")
    says(page, 0, "Noted.")
    assert [option.is_checked() for option in view.query_selector_all("input[type=radio]")] == [False, True, False]
    assert page.evaluate(WHERE) == here
    page.wait_for_function("view => !view.querySelector('button').disabled", arg=view)
    for _ in range(3):  # ipywidgets makes every option a stop of its own
        if page.evaluate("() => document.activeElement.tagName") != "BUTTON":
            page.keyboard.press("Tab")
    page.keyboard.press("Space")
    says(page, 0, "As you predicted: that. Because.")


def test_tab_leads_from_a_cell_through_its_controls_and_keys_with_shift_still_run_it(page):
    page.evaluate(
        "() => { const all = jupyterapp.shell.currentWidget.content; all.activeCellIndex = 1; all.mode = 'command';"
        " all.activate(); }"
    )
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("() => document.activeElement.getAttribute('aria-label') || document.activeElement.tagName")
        )
    assert seen.index("SELECT") < seen.index("n") < seen.index("BUTTON")
    page.query_selector_all(".toolkit-view")[1].query_selector("select").focus()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(f"() => ({WHERE})() === 2")


def test_sliders_take_large_steps_and_go_to_their_ends(page):
    handle = page.get_by_role("slider", name="n").first
    handle.focus()
    value = int(float(handle.get_attribute("aria-valuenow")))
    for key, expected in (("ArrowRight", value + 1), ("Home", 0), ("PageUp", None), ("End", 20)):
        page.keyboard.press(key)
        if expected is None:
            page.wait_for_function("node => +node.getAttribute('aria-valuenow') > 1", arg=handle.element_handle())
        else:
            says(page, 1, f"and {expected}.")


def test_a_slider_with_small_steps_says_the_value_that_its_label_shows(page):
    handle = page.get_by_role("slider", name="fine").first
    assert handle.get_attribute("aria-valuetext") == "0.745"
    ends = page.get_by_role("slider", name="ends")
    assert [end.get_attribute("aria-valuetext") for end in ends.all()] == ["0.25", "0.74"]
    handle.focus()
    page.keyboard.press("ArrowRight")
    says(page, 2, "At 0.750.")
    page.wait_for_function("node => node.getAttribute('aria-valuetext') === '0.750'", arg=handle.element_handle())


def test_the_buttons_of_an_animation_say_what_each_does_and_when_it_changes(page):
    def names() -> list[str]:
        shown = page.locator(".widget-play button:visible").all()
        return [button.get_attribute("aria-label") for button in shown]

    at_rest = ["frames: play", "frames: stop and go back", "frames: repeat"]
    assert names() == at_rest
    page.get_by_role("button", name="frames: play").click()
    page.get_by_role("button", name="frames: pause").wait_for()
    assert names() == ["frames: pause", *at_rest[1:]]
    page.get_by_role("button", name="frames: stop and go back").click()
    page.get_by_role("button", name="frames: play").wait_for()
    assert names() == at_rest
