"""Tables keep their cells, in a terminal and for a screen reader."""

import xml.etree.ElementTree as ElementTree

import pytest

from toolkit.experiments.tables import Table

TABLE = Table(("name", "value"), (("<a & b>", "1\n2"), ("long " * 20, "")), 'A "caption" & more')


def test_text_is_aligned_and_wrapped():
    lines = TABLE.to_text(width=20).splitlines()
    assert lines[0].split() == ["name", "value"]
    assert max(map(len, lines)) <= 20 + 2 + 5
    assert sum(line.count("long") for line in lines) == 20
    starts = [line.index("1") for line in lines if "1" in line]
    assert starts == [lines[0].index("value")]


def test_html_is_escaped_and_has_caption_and_scopes():
    root = ElementTree.fromstring(TABLE.to_html().replace("<br>", "<br/>"))
    assert root.find("caption").text == 'A "caption" & more'
    assert [(head.get("scope"), head.text) for head in root.iter("th")][:3] == [
        ("col", "name"),
        ("col", "value"),
        ("row", "<a & b>"),
    ]
    assert len(list(root.iter("td"))) == 2


def test_no_rows():
    assert Table(("a",), (), "empty").to_text() == "a\n─"
    assert repr(TABLE) == "Table(2 rows: name, value)"


def test_frame():
    pytest.importorskip("pandas")
    assert TABLE.to_frame().shape == (2, 2)
