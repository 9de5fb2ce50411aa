"""Families written to files and read again."""

import json

import pytest
import torch

from toolkit.core.errors import WriteError
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.family_files import from_json, from_physicslm4_json, to_json
from toolkit.grammars.named import cfg3b, toy_family

UNEVEN = GrammarFamily(
    (1, 2),
    [[[[(0,), (1,), (0, 1)]], [[(1, 1), (0, 0)]]]],
    [[[[0.1, 0.2, 0.7]], [[1 / 3, 2 / 3]]]],
    choice_probs=[(0.25, 0.75)],
    terminals=('a "word"', "ünïcode\n"),
    name="uneven",
)


def same(first: GrammarFamily, second: GrammarFamily) -> bool:
    fields = ("sizes", "rules", "probs", "choice_probs", "terminals", "name")
    return type(first) is type(second) and all(getattr(first, f) == getattr(second, f) for f in fields)


def released(**changes: object) -> dict:
    """Return cfg3b as the public code keeps it."""
    grammar, ids = cfg3b(), iter(range(22, 0, -1))
    nodes = [
        [
            {"depth": level, "id": next(ids), "name": "AB", "children": grammar.rules[level][0][symbol]}
            if level < 6
            else {"depth": level, "id": next(ids), "name": "AB", "children": None}
            for symbol in range(size)
        ]
        for level, size in enumerate(grammar.sizes)
    ]
    kept = {"depth": 6, "num_sym": 3, "sizes": grammar.sizes, "all": nodes, "disallow_duplicate_sym": "true"}
    return json.loads(json.dumps(kept | changes))


@pytest.mark.parametrize("family", [UNEVEN, cfg3b(), toy_family()], ids=str)
def test_nothing_is_lost(family, tmp_path):
    text = family.to_json()
    assert same(from_json(text), family) and same(from_json(json.loads(text)), family)
    assert family.to_json(tmp_path / "family.json") == text
    assert same(GrammarFamily.from_json(tmp_path / "family.json"), family)
    assert same(GrammarFamily.from_json(str(tmp_path / "family.json")), family)
    assert [entry.name for entry in tmp_path.iterdir()] == ["family.json"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        to_json(UNEVEN, tmp_path / "file" / "family.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "source",
    [
        "{",
        '{"a": 1}',
        '{"format": "levelled grammar family"}',
        '{"format": "levelled grammar family", "sizes": [1, 1], "rules": 3}',
        '{"format": "levelled grammar family", "sizes": [1, 1], "rules": [[[[[0.5]]]]]}',
        '{"format": "levelled grammar family", "sizes": [1, 1], "rules": [[[[[]]]]]}',
        '{"format": "levelled grammar family", "sizes": [1, 1], "rules": [[[[[1]]]]]}',
        '{"format": "levelled grammar family", "sizes": [1, 1], "rules": [[[[[0]]]]], "probs": [[[[0.5]]]]}',
        {"format": "another"},
    ],
)
def test_what_is_no_family(source):
    with pytest.raises(ValueError, match="bad argument"):
        from_json(source)


def test_files_that_hold_something_else(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1, 2]")
    for read in (from_json, from_physicslm4_json):
        with pytest.raises(ValueError, match="JSON object"):
            read(path)
        with pytest.raises(OSError, match="missing"):
            read(tmp_path / "missing.json")
    path.write_text(json.dumps(released())[:-40])
    with pytest.raises(ValueError, match="JSON"):
        from_physicslm4_json(path)


def test_released_files_are_read(tmp_path):
    path = tmp_path / "cfg3b.json"
    path.write_text(json.dumps(released()))
    for source in (path, str(path)):
        assert same(GrammarFamily.from_physicslm4_json(source), cfg3b())
    assert from_physicslm4_json(released()).name == "" and from_physicslm4_json(path, name="x").name == "x"
    assert isinstance(from_physicslm4_json(path.read_text()), LevelledGrammar)
    drawn = [
        read.sample(20, device="cpu", generator=torch.Generator().manual_seed(0)).values
        for read in (from_physicslm4_json(path), cfg3b())
    ]
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": "many"}, "depth, sizes and all"),
        ({"depth": 5}, "6 sizes"),
        ({"all": []}, "6 levels"),
        ({"all": None}, "depth, sizes and all"),
        ({"sizes": [1, 3, 3, 3, 3, 3, 2]}, "children from 0 to 1"),
        ({"multi_vocab": "disjoint"}, "multi_vocab"),
        ({"content_depth": 2}, "content_depth"),
        ({"all": [[{"id": 1}]] * 7}, "depth, sizes and all"),
        ({"all": [[{"children": None}]] * 7}, "lists of children"),
        ({"all": [[{"children": [[]]}]] * 7}, "children in every alternative"),
    ],
)
def test_released_files_that_are_damaged(changes, message):
    with pytest.raises(ValueError, match=message):
        from_physicslm4_json(released(**changes))
