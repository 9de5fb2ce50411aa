"""A training in a notebook, in its cell and on a thread: the table grows, the picture moves, both have words."""

import json
import re

SETUP = """
import threading, tempfile
import torch
from toolkit.autograd.training import ExtensionsManager, report
from toolkit.autograd.training import extensions as E

def train(plot, table):
    manager = ExtensionsManager(
        extensions=[E.LogReport(), table, plot, E.ProgressBar()], out=tempfile.mkdtemp(), iterations_per_epoch=10,
        stop_trigger=(12, "epoch"),
    )
    while not manager.finished:
        with manager.run_iteration():
            report({"main/loss": 1 / (1 + manager.iteration), "main/accuracy": torch.tensor(0.5)})

def parts():
    keys = ["main/loss", "main/accuracy"]
    return E.PlotReport(keys, "epoch", live=True, file_name=None), E.PrintReport(["epoch", *keys])
"""
CELLS = [
    SETUP,
    "train(*parts())",
    """
import ipywidgets
plot, table = parts()
ipywidgets.VBox([plot.widget, table.widget])
""",
    "thread = threading.Thread(target=train, args=(plot, table)); thread.start()",
    "thread.join()",
]


def test_a_training_is_seen_in_its_cell_and_from_a_thread(lab, open_notebook, tmp_path):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": text}
        for i, text in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (lab.folder / "training.ipynb").write_text(json.dumps(content))
    notebook = open_notebook("training.ipynb")
    notebook.run_all()
    page = notebook.page
    assert notebook.problems() == []
    words = [image.get_attribute("alt") for image in page.query_selector_all(".jp-OutputArea img")]
    assert len(words) == 2
    for text in words:
        assert re.search(r"12 points\. Latest, at epoch 12: main/loss 0\.\d+, main/accuracy 0\.5\.$", text)
    tables = page.query_selector_all(".jp-OutputArea table")
    assert [len(table.query_selector_all("tbody tr")) for table in tables] == [12, 12]
    page.screenshot(path=tmp_path / "training.png")
    assert notebook.strangers == []
