import io
import math

import pytest

from toolkit.autograd.training.extensions import LogReport, PrintReport
from toolkit.autograd.training.extensions import print_report as module
from toolkit.autograd.training.extensions.print_report import cell


def test_columns_are_aligned(train):
    out = io.StringIO()
    table = PrintReport(["epoch", "validation/main/loss", "lr", "absent"], out=out)
    observations = [{"validation/main/loss": 1e-7 / 3, "lr": 0.1}, {"validation/main/loss": -1234567.0}]
    with pytest.warns(UserWarning, match=r"PrintReport: nothing logged as absent; there is elapsed_time, epoch, .*lr"):
        train([LogReport(), table], observations, iterations_per_epoch=1)
    assert out.getvalue().splitlines() == [
        "epoch       validation/main/loss  lr          absent",
        "1           3.33333e-08           0.1",
        "2           -1.23457e+06",
    ]
    assert table.to_text() == out.getvalue().rstrip("\n")


def test_a_column_that_is_filled_late_is_not_warned_of(train, recwarn):
    train([LogReport(), PrintReport(["a", "late"], out=io.StringIO())], [{"a": 1.0}] * 4 + [{"late": 1.0}] * 4)
    assert not [warning for warning in recwarn if "PrintReport" in str(warning.message)]


def test_a_log_that_was_not_registered_is_asked_for(train):
    with pytest.raises(ValueError, match=r"extend\(LogReport\(\)\) first\)\n.*'LogReport', and there is none"):
        train([PrintReport(["a"], out=io.StringIO())], [{"a": 1.0}])


@pytest.mark.parametrize(
    "value, text",
    [
        (None, ""),
        (3, "3"),
        (10**14, "100000000000000"),
        (0.5, "0.5"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (-1.2345678e-10, "-1.235e-10"),
        ("NaN", "NaN"),
        (True, "True"),
    ],
)
def test_values_fit_their_column_where_they_can(value, text):
    assert cell(value, 10) == text


def test_a_log_of_its_own(train, tmp_path):
    out = io.StringIO()
    log = LogReport(trigger=(1, "iteration"), log_name="own")
    train([PrintReport(["iteration", "a"], log, out=out)], [{"a": 1.0}, {"a": 2.0}])
    assert out.getvalue().splitlines()[1:] == ["1           1", "2           2"]
    assert (tmp_path / "own").exists()


def test_earlier_rows_come_first_after_a_resume(train):
    def extensions(out):
        return [LogReport(), PrintReport(["epoch", "a"], out=out)]

    state = train(extensions(io.StringIO()), [{"a": 1.0}] * 4).state_dict()
    out = io.StringIO()
    train(extensions(out), [{"a": 2.0}] * 2, state=state)
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["epoch", "a"],
        ["1", "1"],
        ["2", "1"],
        ["3", "2"],
    ]


def test_without_a_log(train):
    with pytest.raises(ValueError, match="LogReport"):
        train([PrintReport(["a"], out=io.StringIO())], [{"a": 1.0}])


def test_the_order_of_registration_does_not_matter(train):
    out = io.StringIO()
    train([PrintReport("iteration", out=out), LogReport(trigger=(1, "iteration"))], [{}] * 3)
    assert out.getvalue().split() == ["iteration", "1", "2", "3"]


def test_standard_output_is_looked_up_when_written(train, capsys):
    train([LogReport(), PrintReport(["a"])], [{"a": 1.5}] * 2)
    assert capsys.readouterr().out == "a\n1.5\n"


class Display:
    """What IPython's display would show."""

    def __init__(self):
        self.shown = []

    def __call__(self, data, raw, display_id):
        self.shown.append(data)
        return self

    def update(self, data, raw, metadata=None):
        self.shown.append(data)


def test_a_notebook_gets_one_table_that_is_updated(train, monkeypatch, capsys):
    import IPython.display

    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    page = Display()
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", page)
    table = PrintReport(["epoch", "a<b"])
    train([LogReport(), table], [{"a<b": 1.0}] * 4)
    assert capsys.readouterr().out == ""
    assert "application/vnd.jupyter.widget-view+json" in page.shown[0]
    assert "<td" not in page.shown[0].get("text/html", "")
    assert page.shown[-1]["text/html"] == table.widget.value == table.to_html()
    assert table.to_html().count("<tr>") == 2
    assert "a&lt;b</th>" in table.to_html()


def test_a_notebook_without_ipywidgets(train, monkeypatch):
    import IPython.display

    from toolkit.autograd.training.extensions import notebook

    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    page = Display()
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "has_widgets", lambda: False)
    monkeypatch.setattr(IPython.display, "display", page)
    table = PrintReport(["epoch", "a"])
    train([LogReport(), table], [{"a": 1.0}] * 4)
    assert [shown["text/html"].count("<tr>") for shown in page.shown] == [0, 1, 2, 2]


@pytest.mark.parametrize("widgets", [True, False])
def test_where_nobody_watches_the_whole_table_is_shown_once(train, monkeypatch, widgets):
    import IPython.display

    from toolkit.autograd.training.extensions import notebook

    monkeypatch.setenv("TOOLKIT_QUIET", "1")
    shown = []
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "has_widgets", lambda: widgets)
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw, metadata: shown.append(bundle))
    table = PrintReport(["epoch", "a"])
    train([LogReport(), table], [{"a": 1.0}] * 4)
    assert [bundle["text/html"] for bundle in shown] == [table.to_html()]
    assert ("application/vnd.jupyter.widget-view+json" in shown[0]) is widgets


def test_of_a_long_table_the_newest_rows_are_on_the_page(train):
    table = PrintReport(["iteration"], out=io.StringIO())
    train([LogReport(trigger=(1, "iteration")), table], [{}] * 100)
    page = table.to_html()
    assert page.count("<tr>") == 40
    assert ">100</td>" in page
    assert "the last 40 of 100 rows" in page


def test_a_widget_placed_by_hand(train, monkeypatch, capsys):
    table = PrintReport(["epoch", "a"])
    widget = table.widget
    assert "epoch</th>" in widget.value
    train([LogReport(), table], [{"a": 1.5}] * 2)
    assert "1.5</td>" in widget.value
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(module, "has_widgets", lambda: False)
    table = PrintReport(["epoch", "a"])
    assert table.widget is None
    train([LogReport(), table], [{"a": 1.5}] * 2)
    assert capsys.readouterr().out.split() == ["epoch", "a", "1", "1.5"]
