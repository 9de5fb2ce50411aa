import base64
import io
import math
import re
import sys
import threading

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from toolkit.autograd.training.extensions import PlotReport
from toolkit.autograd.training.extensions import plot_report as module
from toolkit.core.plotting import LINES


def curves(plot):
    plot.to_png()
    return {line.get_label(): line.get_xydata().tolist() for line in plot.figure.axes[0].get_lines()}


def test_points_are_means_over_the_interval(train, tmp_path):
    plot = PlotReport(["a", "b"])
    train([plot], [{"a": 1.0, "b": torch.tensor(1.0)}, {"a": 3.0}, {"a": 5.0, "b": np.float32(2)}, {"a": 6.0}])
    assert curves(plot) == {"a": [[2, 2], [4, 5.5]], "b": [[2, 1], [4, 2]]}
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size == (950, 518)
        assert picture.info["Description"] == plot.alt
    assert plot.alt == "a and b over iteration, 2 points. Latest, at iteration 4: a 5.5, b 2."


@pytest.mark.parametrize("x_key, xs", [("epoch", [0.5, 1.0]), ("iteration", [1, 2]), ("step", [7, 8])])
def test_x_axes(train, x_key, xs):
    plot = PlotReport("a", x_key, trigger=(1, "iteration"), file_name=None)
    train([plot], [{"a": 1.0, "step": 7}, {"a": 2.0, "step": 8}])
    assert [x for x, _ in curves(plot)["a"]] == xs


@pytest.mark.parametrize("name, start", [("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.PNG", b"\x89PNG")])
def test_formats_and_same_bytes_for_the_same_curves(train, tmp_path, name, start):
    files = []
    for folder in ("one", "two"):
        train([PlotReport("a", file_name=name)], [{"a": 1.0}] * 4, out=tmp_path / folder)
        files.append((tmp_path / folder / name).read_bytes())
    assert files[0].startswith(start)
    assert files[0] == files[1]


def test_lines_can_be_told_apart(train):
    plot = PlotReport([f"k{index}" for index in range(12)], file_name=None)
    train([plot], [{f"k{index}": float(index) for index in range(12)}] * 2)
    plot.to_png()
    lines = plot.figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 12
    assert {to_hex(line.get_color()) for line in lines} == {line.color.lower() for line in LINES}
    labels = [text.get_text() for text in plot.figure.axes[0].texts]
    assert sorted(labels) == sorted(f"k{index}" for index in range(12))


def test_artists_are_updated_not_made_anew(train):
    plot = PlotReport(["a", "b"], file_name=None)
    train([plot], [{"a": 1.0, "b": 2.0}] * 4)
    plot.to_png()
    figure, lines = plot.figure, list(plot.figure.axes[0].get_lines())
    plot.to_png()
    assert plot.figure is figure
    assert plot.figure.axes[0].get_lines()[:] == lines
    assert len(plot.figure.axes[0].texts) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("values", [[math.nan] * 3, [0.0, -1.0, math.inf], [1e300, 1e-300, 1.0], [5.0], []])
def test_hard_values(train, log_y, values):
    plot = PlotReport(["a", "b"], trigger=(1, "iteration"), log_y=log_y, file_name=None)
    train([plot], [{"a": value, "b": 1.0} for value in values])
    Image.open(io.BytesIO(plot.to_png())).load()


def test_logarithmic_axis_leaves_gaps_where_there_is_no_logarithm(train):
    plot = PlotReport("a", trigger=(1, "iteration"), log_y=True, file_name=None)
    train([plot], [{"a": 1.0}, {"a": -1.0}, {"a": 100.0}])
    assert [y for _, y in curves(plot)["a"]][::2] == [1.0, 100.0]
    assert math.isnan(curves(plot)["a"][1][1])
    assert plot.figure.axes[0].get_yscale() == "log"
    assert "logarithmic" in plot.alt


def test_a_key_nobody_reports_is_warned_of_once(train):
    with pytest.warns(UserWarning, match="nothing reported as main/loss; there is loss") as caught:
        train([PlotReport(["loss", "main/loss"], file_name=None)], [{"loss": 1.0}] * 6)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="main/loss") as caught:  # too short for an epoch: at the end
        train([PlotReport("main/loss", trigger=(1, "iteration"), file_name=None)], [{"loss": 1.0}])
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
def test_a_key_of_the_evaluation_may_come_later(train):
    plot = PlotReport(["a", "late"], trigger=(1, "iteration"), file_name=None)
    train([plot], [{"a": 1.0}, {"a": 1.0, "late": 1.0}])
    assert curves(plot)["late"] == [[2, 1]]


def test_resume_gives_the_same_picture(train, tmp_path):
    values = [{"a": float(value)} for value in np.random.default_rng(0).normal(size=12)]
    values[4]["a"] = math.nan

    def plot():
        return PlotReport(["a"], trigger=(4, "iteration"))

    train([plot()], values, out=tmp_path / "whole")
    state = train([plot()], values[:6], out=tmp_path / "parts").state_dict()
    train([plot()], values[6:], out=tmp_path / "parts", state=state)
    assert (tmp_path / "whole" / "plot.png").read_bytes() == (tmp_path / "parts" / "plot.png").read_bytes()


def test_other_keys_after_a_resume(train):
    first = PlotReport(["a", "b"], file_name=None)
    train([first], [{"a": 1.0, "b": 2.0}] * 2)
    second = PlotReport(["b", "c"], file_name=None)
    second.load_state_dict(first.state_dict())
    second.load_state_dict({}, strict=False)
    assert curves(second) == {"b": [[2, 2]], "c": []}


def test_live_outside_of_a_notebook_writes_a_file(train, tmp_path):
    train([PlotReport("a", file_name=None, live=True)], [{"a": 1.0}] * 2)
    assert (tmp_path / "plot.png").exists()


def test_live_without_ipywidgets_writes_a_file(train, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(module, "has_widgets", lambda: False)
    train([PlotReport("a", file_name=None, live=True)], [{"a": 1.0}] * 2)
    assert (tmp_path / "plot.png").exists()


def test_live_in_a_notebook_from_a_thread(train, tmp_path, monkeypatch):
    import IPython.display

    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    shown = []

    class Display:
        def __init__(self, data, raw, display_id):
            shown.append(data)

        def update(self, data, raw, metadata):
            shown.append((data, metadata))

    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", Display)
    plot = PlotReport(["main/loss", "b"], file_name=None, live=True)
    observations = [{"main/loss": 1 / (1 + index), "b": 1.0} for index in range(6)]
    thread = threading.Thread(target=train, args=([plot], observations))
    thread.start()
    thread.join()
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    alt, data = re.fullmatch(r'<img alt="(.*?)" .* src="data:image/png;base64,(.*)">', plot.widget.value).groups()
    assert alt == plot.alt == shown[-1][0]["text/plain"] == shown[-1][1]["image/png"]["alt"]
    assert alt.endswith("Latest, at iteration 6: main/loss 0.1833, b 1.")
    assert base64.b64decode(data) == plot.to_png() == base64.b64decode(shown[-1][0]["image/png"])
    assert len(shown) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_widget_placed_by_hand(train):
    plot = PlotReport("a", file_name=None, live=True)
    widget = plot.widget
    assert "no points yet" in widget.value
    train([plot], [{"a": 1.0}] * 2)
    assert "a 1." in widget.value
    assert type(widget).__name__ == "HTML"


def test_pyplot_is_not_touched(train):
    train([PlotReport("a", file_name=None, live=True)], [{"a": 1.0}] * 2)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_arguments():
    with pytest.raises(ValueError, match="at least one key"):
        PlotReport([])
    with pytest.raises(ValueError, match="png, svg or pdf"):
        PlotReport("a", file_name="plot.bmp")
