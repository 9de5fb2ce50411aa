import subprocess
import sys

import pytest

from toolkit.core.svg import Svg
from toolkit.lessons import show, style


@pytest.fixture
def shown(monkeypatch):
    """Return a function that shows and returns what would be published."""
    published = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: published.append((data, options)))

    def run(drawn, alt):
        show(drawn, alt)
        return published.pop()

    return run


def test_one_output_with_picture_words_and_a_live_alt(shown):
    data, options = shown(Svg(40, 30), "A blank <square>.")
    assert set(data) == {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"}
    assert data["text/plain"] == "A blank <square>." and options["raw"] is True
    assert options["metadata"]["image/png"] == {"alt": "A blank <square>.", "width": 40, "height": 30}


def test_figures_and_axes(shown):
    axes = style.axes(width=2, height=2)
    for drawn in (axes, axes.figure):
        assert shown(drawn, "Empty axes.")[1]["metadata"]["image/png"]["width"] == 192


def test_words_are_required():
    with pytest.raises(ValueError, match="alt"):
        show(Svg(4, 4), "  ")
    with pytest.raises(TypeError):
        show(3, "three")


def test_without_the_notebooks_extra_everything_but_widgets_is_there():
    code = """
import sys
for name in ("ipywidgets", "anywidget", "IPython"):
    sys.modules[name] = None
import toolkit.lessons as lessons
import toolkit.lessons.svg
lessons.check("one", 1.0, exact=1.0, tolerance=0.1)
lessons.style.axes()
lessons.Svg(10, 10).to_png()
for name in ("View", "BackgroundView", "controls", "predict", "Progress"):
    try:
        getattr(lessons, name)
    except ImportError as error:
        assert "notebooks extra" in str(error), error
    else:
        raise SystemExit(name)
try:
    lessons.nothing
except AttributeError:
    pass
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_public_name_is_there():
    import toolkit.lessons as lessons

    for name in lessons.__all__:
        assert getattr(lessons, name) is not None
