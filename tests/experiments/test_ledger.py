"""The ledger: only numbers that were read, each beside the newest run of each scale."""

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.experiments.test_records import make_record
from toolkit.experiments.ledger import COLUMNS, PaperResultError, read_ledger, read_paper_results
from toolkit.experiments.records import Quantity, RecordError, save_record

HEAD = ",".join(COLUMNS)
ROW = "paper/accuracy,Accuracy,90,1.5,%,Table 1,read in the full text,note"


def _folder(tmp_path: Path, *rows: str, name: str = "paper.csv") -> Path:
    folder = tmp_path / "paper_results"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    return folder


def _ledger(tmp_path, *records, rows=(ROW,), paper=None):
    for record in records:
        save_record(record, tmp_path / "runs")
    return read_ledger(paper, paper_results=_folder(tmp_path, *rows), runs=[tmp_path / "runs"])


def _record(*values, tolerance=0.5, factor=100.0, metric="accuracy", **changes):
    return make_record(*values, quantities={"paper/accuracy": Quantity(metric, tolerance, factor)}, **changes)


def test_the_shipped_results_are_valid_and_quote_chainer():
    results = {result.quantity: result for result in read_paper_results()}
    time = results["chainer/resnet50-1024-gpus/seconds"]
    assert (time.value, time.uncertainty, time.unit) == (897.9, 3.3, "s")
    assert time.text == "897.9 ± 3.3 s"
    assert results["chainer/resnet50-1024-gpus/efficiency-against-one-gpu"].value == 70
    assert results["chainer/resnet50-1024-gpus/efficiency-against-one-node"].value == 80
    assert results["chainer/chainermn-128-gpus/efficiency"].value == 90
    assert "1710.11351" in results["chainer/chainermn-128-gpus/efficiency"].source
    assert results["chainer/resnet50-1024-gpus/gpus"].text == "1,024"


def test_a_number_without_a_run_says_so(tmp_path):
    ledger = _ledger(tmp_path)
    assert [row.verdict for row in ledger.rows] == ["not run here"]
    assert "not run here" in ledger.to_text()
    assert "not run here" in ledger.to_html()


@pytest.mark.parametrize(
    ("values", "tolerance", "verdict"),
    [
        ((0.9,), 0.0, "within"),
        ((0.905,), 0.5, "within"),
        ((0.9051,), 0.5, "outside"),
        ((0.8949,), 0.5, "outside"),
        ((0.91,), None, "within"),
        ((0.92,), None, "outside"),
        ((math.nan,), 5.0, "outside"),
        ((math.inf,), 5.0, "outside"),
        ((0.85, 0.95), 0.5, "within"),
    ],
)
def test_verdicts(tmp_path, values, tolerance, verdict):
    (row,) = _ledger(tmp_path, _record(*values, tolerance=tolerance)).rows
    assert row.verdict == verdict
    assert row.tolerance == (1.5 if tolerance is None else tolerance)


def test_a_difference_of_exactly_the_tolerance_is_within_whatever_the_rounding(tmp_path):
    row = "paper/accuracy,Accuracy,0.3,,,Table 1,read,"
    assert 0.4 - 0.3 > 0.1
    (found,) = _ledger(tmp_path, _record(0.4, tolerance=0.1, factor=1.0), rows=(row,)).rows
    assert found.verdict == "within"


def test_our_number_comes_in_the_papers_unit_with_spread_and_seeds(tmp_path):
    (row,) = _ledger(tmp_path, _record(0.8, 1.0)).rows
    assert row.ours.mean == pytest.approx(90)
    assert row.ours.sd == pytest.approx(100 * math.sqrt(0.02))
    assert row.ours.n == 2
    assert row.record.scale == "quick"


def test_without_any_tolerance(tmp_path):
    row = ROW.replace(",1.5,", ",,")
    (found,) = _ledger(tmp_path, _record(0.5, tolerance=None), rows=(row,)).rows
    assert found.verdict == "no tolerance stated"
    assert found.paper.uncertainty is None


def test_a_metric_that_the_run_does_not_have(tmp_path):
    (row,) = _ledger(tmp_path, _record(0.9, metric="other")).rows
    assert row.verdict == "not run here"
    assert row.ours is None


def test_the_newest_run_of_each_scale_counts_and_the_papers_scale_comes_first(tmp_path):
    ledger = _ledger(
        tmp_path,
        _record(0.1, date="2025-01-01T00:00:00Z"),
        _record(0.2, date="2025-01-02T00:00:00Z"),
        _record(0.9, scale="paper", date="2024-01-01T00:00:00Z"),
        _record(0.5, scale="laptop", date="2026-01-01T00:00:00Z"),
    )
    assert [(row.record.scale, round(row.ours.mean)) for row in ledger.rows] == [
        ("paper", 90),
        ("laptop", 50),
        ("quick", 20),
    ]


def test_a_run_that_answers_nothing_known_is_named(tmp_path):
    ledger = _ledger(tmp_path, make_record(quantities={"nobody/knows": Quantity("accuracy")}))
    assert ledger.unknown == ("nobody/knows",)
    assert "nobody/knows" in ledger.to_text()


def test_only_one_paper(tmp_path):
    rows = (ROW, ROW.replace("paper/", "paperless/"))
    assert len(_ledger(tmp_path, rows=rows).rows) == 2
    assert [row.paper.quantity for row in _ledger(tmp_path, rows=rows, paper="paper").rows] == ["paper/accuracy"]
    assert _ledger(tmp_path, rows=rows, paper="absent").to_text() == "no numbers of papers here"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROW.replace("read in the full text", "recollection"), "how_read"),
        (ROW.replace("read in the full text", ""), "how_read"),
        (ROW.replace("read in the full text", "not read"), "how_read"),
        (ROW.replace("read in the full text", "readable guess"), "how_read"),
        (ROW.replace(",90,", ",ninety,"), "finite number"),
        (ROW.replace(",90,", ",,"), "finite number"),
        (ROW.replace(",90,", ",nan,"), "finite number"),
        (ROW.replace(",90,", ",inf,"), "finite number"),
        (ROW.replace(",1.5,", ",-1,"), "uncertainty"),
        (ROW.replace(",1.5,", ",x,"), "uncertainty"),
        (ROW.replace("Table 1", " "), "source"),
        (ROW.replace("paper/accuracy", ""), "quantity"),
        (ROW + ",more", "8 cells"),
        ("only,three,cells", "8 cells"),
        ('"unclosed', "CSV"),
    ],
)
def test_rows_that_break_the_rules(tmp_path, row, complaint):
    with pytest.raises(PaperResultError, match=complaint) as caught:
        read_paper_results(_folder(tmp_path, row))
    assert "paper.csv" in str(caught.value)


def test_files_that_break_the_rules(tmp_path):
    folder = _folder(tmp_path)
    for content in (b"", b"a,b\n1,2\n", b"\xff\xfe\x00", HEAD.replace("how_read,", "").encode()):
        (folder / "paper.csv").write_bytes(content)
        with pytest.raises(PaperResultError, match=r"paper\.csv"):
            read_paper_results(folder)


def test_an_id_given_twice(tmp_path):
    with pytest.raises(PaperResultError, match="given twice"):
        read_paper_results(_folder(tmp_path, ROW, ROW))
    _folder(tmp_path, ROW)
    with pytest.raises(PaperResultError, match=r"stands in another\.csv already"):
        read_paper_results(_folder(tmp_path, ROW, name="another.csv"))


def test_what_spreadsheets_do_to_a_file_is_harmless(tmp_path):
    folder = _folder(tmp_path)
    (folder / "paper.csv").write_bytes(b"\xef\xbb\xbf" + f"{HEAD}\r\n{ROW}\r\n\r\n".encode())
    (result,) = read_paper_results(folder)
    assert result.quantity == "paper/accuracy"


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.json").write_text("{")
    with pytest.raises(RecordError, match=r"x\.json"):
        _ledger(tmp_path)


def test_html_is_accessible(tmp_path):
    ledger = _ledger(tmp_path, _record(0.9, 0.91), rows=(ROW.replace("Accuracy", "Accuracy <b>&"),))
    root = ElementTree.fromstring(ledger.to_html())
    assert root.find("caption").text
    assert {head.get("scope") for head in root.iter("th")} == {"col", "row"}
    assert next(head.text for head in root.iter("th") if head.get("scope") == "row") == "Accuracy <b>&"
    assert ledger._repr_html_() == ledger.to_html()


def test_frame_dict_and_repr(tmp_path):
    ledger = _ledger(tmp_path, _record(0.9))
    assert repr(ledger) == "Ledger(1 rows: 1 within)"
    assert ledger.to_dict()["rows"][0]["n_seeds"] == 1
    pytest.importorskip("pandas")
    frame = ledger.to_frame()
    assert frame.loc[0, "value"] == 90
    assert frame.loc[0, "verdict"] == "within"
    assert frame.loc[0, "scale"] == "quick"


def test_many_open_numbers_of_a_source_are_counted_instead_of_listed(tmp_path):
    open_ones = [f"paper/other-{i},Other {i},1,,,Table 2,read in the full text," for i in range(5)]
    found = _ledger(tmp_path, _record(0.9), rows=(ROW, *open_ones))
    whole, folded = found.to_text(), found.to_text(most=4)
    assert "Other 4" in whole and "Other" not in folded and "Accuracy" in folded
    assert "Table 2: 5 numbers that no run here answers" in folded
    assert found.to_text(most=5) == whole
    only_open = read_ledger(paper_results=_folder(tmp_path, *open_ones), runs=[tmp_path / "nowhere"])
    assert only_open.to_text(most=0) == "Table 2: 5 numbers that no run here answers"
