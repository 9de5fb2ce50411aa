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


def scrolls(made) -> bool:
    """Return whether a table stands in a group that a keyboard can scroll."""
    root = ET.fromstring(made._repr_html_())
    if root.tag == "table":
        return False
    assert (root.tag, root.get("tabindex"), root.get("role")) == ("div", "0", "group")
    assert root.get("aria-label") and root.get("style") == "overflow-x:auto"
    assert [one.tag for one in root] == ["table"]
    return True


def test_a_table_that_cannot_get_narrow_scrolls_as_a_group_that_takes_the_focus():
    words = "a cell of many words breaks its lines " * 20
    assert not scrolls(table(["a", "b"], [[words, words]], caption=words))
    assert scrolls(table(["a"], [["x" * 120]]))
    assert scrolls(table(["x" * 120], []))
    stays = words.replace(" ", "\N{NO-BREAK SPACE}")
    assert scrolls(table(["a", "b"], [["short", stays]]))
    assert not scrolls(table(["a"], [["\n".join(["x" * 30] * 9) + "\t" + "x" * 30]]))


def test_what_makes_a_table_wide():
    columns = [str(number) for number in range(10)]
    assert not scrolls(table(columns, [[""] * 10]))
    assert scrolls(table(3 * columns, [[""] * 30]))  # each has its padding
    word = "x" * 80  # as bold text wider than as plain text
    assert not scrolls(table(["a"], [[word]])) and scrolls(table(["a"], [[word]], strong=[0]))
    line = "m" * 70  # up to 80 letters a caption stays on one line, and nothing else could be so wide
    assert scrolls(table(["a"], [[1]], caption=line)) and scrolls(table(["a"], [[1]], caption=line + line))
    assert not scrolls(table(["a"], [[1]], caption="m" * 20)) and not scrolls(table(["a"], [[1]], caption="mmm " * 60))
