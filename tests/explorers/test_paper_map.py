"""The map agrees with the lessons that are there, with the README and with CITATION.cff."""

import re
from pathlib import Path

import pytest
import yaml

import toolkit
from toolkit.explorers import paper_map
from toolkit.explorers.paper_map import PAPERS, describe, draw, find_paper

ROOT = Path(toolkit.__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_twelve_lessons_in_order_all_of_them_there():
    lessons = [lesson for paper in PAPERS for lesson in paper.lessons]
    assert [lesson[:2] for lesson in lessons] == [f"{number:02d}" for number in range(1, 13)]
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} == {"00_start_here", *lessons}


def test_the_readme_tells_the_same():
    told = dict(zip(re.findall(r"`(\d\d_\w+)`", README), re.findall(r"`\d\d_\w+`", README), strict=True))
    assert set(told) == {"00_start_here", *(lesson for paper in PAPERS for lesson in paper.lessons)}
    for paper in PAPERS:
        rows = [row for row in README.splitlines() if row.startswith("|") and paper.lessons[0] in row]
        assert len(rows) == 1 and f"`{paper.package}`" in rows[0]
        assert paper.where.removeprefix("arXiv ") in rows[0]


def test_every_paper_is_cited():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    assert len(cited) == len(PAPERS)
    for paper, reference in zip(PAPERS, sorted(cited, key=lambda one: _lesson_of(one["title"])), strict=True):
        year = int(paper.where[-4:])
        assert abs(reference["year"] - year) <= 1  # the book on the competition came out a year later


def _lesson_of(title: str) -> int:
    words = ["Chainer", "Reparameterization", "Self-Augmented", "Adversarial", "Disentanglement", "Metadata"]
    return next(number for number, word in enumerate(words) if word in title)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_picture_and_sentence_name_everything(paper):
    text, picture = describe(paper), draw(paper).to_string()
    assert paper.question in text and paper.answer in text and paper.package in text
    for lesson in paper.lessons:
        assert lesson in text
        assert lesson.replace("_", " ") in picture
    assert paper.question in picture  # its <title>


def test_the_lessons_to_open_are_named():
    assert "Open 01_define_by_run and 02_training_the_chainer_way" in describe(find_paper("Chainer"))


def test_the_chosen_paper_alone_stands_out():
    pictures = [draw(paper).to_string() for paper in PAPERS]
    assert {picture.count(paper_map._CHOSEN) for picture in pictures} == {10}
    assert len(set(pictures)) == len(PAPERS)


def test_unknown_paper():
    with pytest.raises(ValueError, match="Chainer"):
        find_paper("Torch")
