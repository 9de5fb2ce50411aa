"""CITATION.cff follows format 1.2.0 and cites the six papers."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PAPERS = {
    "1908.00213": ("Chainer", 10, 2019),
    "1611.01239": ("Reparameterization trick", 2, 2016),
    "1702.08720": ("Information Maximizing", 5, 2017),
    "1804.00097": ("Attacks and Defences", 23, 2018),
    "2108.13753": ("Partial Information Decomposition", 2, 2022),
    "2504.17562": ("Metadata Conditioning", 10, 2025),
}
REFERENCE_KEYS = {
    *("type", "title", "authors", "collection-title", "year", "month", "volume", "start", "end"),
    *("doi", "identifiers", "notes", "publisher"),
}


def arxiv(reference: dict) -> str:
    (identifier,) = reference["identifiers"]
    assert identifier["type"] == "other"
    return identifier["value"].removeprefix("arXiv:")


def test_file_itself() -> None:
    required = {"cff-version", "message", "title", "authors"}
    assert required <= set(CITATION) <= required | {"type", "version", "license", "keywords", "references"}
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert CITATION["authors"] == [{"name": "The toolkit authors"}]


def test_version_and_licence_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert str(CITATION["version"]) == toolkit.__version__
    assert CITATION["license"] == project["license"] == "MIT"
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License")
    assert "The toolkit authors" in licence


def test_six_papers_are_cited_once_each() -> None:
    assert sorted(arxiv(reference) for reference in CITATION["references"]) == sorted(PAPERS)


@pytest.mark.parametrize("reference", CITATION["references"], ids=arxiv)
def test_reference_is_whole(reference: dict) -> None:
    words, n_authors, year = PAPERS[arxiv(reference)]
    assert {"type", "title", "authors", "year", "doi"} <= set(reference) <= REFERENCE_KEYS
    assert reference["type"] in {"article", "conference-paper"}
    assert words in reference["title"]
    assert reference["year"] == year
    assert len(reference["authors"]) == n_authors
    assert all(set(author) == {"family-names", "given-names"} for author in reference["authors"])
    assert {"family-names": "Tokui", "given-names": "Seiya"} in reference["authors"]
    assert re.fullmatch(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9]+", reference["doi"])
    if reference["doi"].startswith("10.48550/"):
        assert reference["doi"].endswith(arxiv(reference))
    if "start" in reference:
        assert reference["start"] < reference["end"]
