import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from toolkit.lessons import table


def test_html_has_a_caption_headers_with_scope_and_escaped_cells():
    made = table(["name", "error (%)"], [["a <b>", 1.23456], ["c", None]], caption="Two & two", strong=[1])
    root = ET.fromstring(made._repr_html_())
    assert root.find("caption").text == "Two & two"
    assert [(cell.text, cell.get("scope")) for cell in root.iter("th")] == [("name", "col"), ("error (%)", "col")]
    assert [cell.text for cell in root.iter("td")] == ["a <b>", "1.23", "c", None]
    aligned = ["right" if "text-align:right" in cell.get("style") else "left" for cell in root.iter("td")]
    assert aligned == ["left", "right", "left", "right"]
    assert "font-weight:bold" in list(root.iter("td"))[2].get("style")


def test_no_colour_is_fixed_so_that_both_themes_read():
    html = table(["a"], [[1]])._repr_html_()
    assert "color:inherit" in html and "#" not in html


def test_text():
    made = table(["name", "n"], [["a", 1], ["long name", 1000]], caption="Title")
    assert repr(made).splitlines() == [
        "Title",
        "name          n",
        "---------  ----",
        "a             1",
        "long name  1000",
    ]


def test_numbers_of_every_kind():
    rows = [[np.float32(0.5), torch.tensor(2.0), 3, True], [np.float64("nan"), torch.tensor(7), 4, False]]
    made = table(["a", "b", "c", "d"], rows, digits=2)
    assert made.rows == (("0.5", "2", "3", "True"), ("nan", "7", "4", "False"))
    assert made.right == (True, True, True, False)


def test_empty_and_wrong():
    assert "<tbody></tbody>" in table(["a"], [])._repr_html_()
    with pytest.raises(ValueError, match=r"rows\[1\]"):
        table(["a", "b"], [[1, 2], [1]])
    with pytest.raises(ValueError, match="headers"):
        table([], [])
