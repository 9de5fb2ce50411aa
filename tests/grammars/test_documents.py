"""Sentences of different lengths in one tensor."""

import pytest
import torch

from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.named import toy_family


def test_rows_and_back():
    documents = as_documents("test", [[2, 0, 1], [], [5]])
    assert len(documents) == 3 and documents.n_tokens == 4 and documents.lengths.tolist() == [3, 0, 1]
    assert [documents[i].tolist() for i in (0, 1, -1)] == [[2, 0, 1], [], [5]]
    rows = documents.padded()
    assert rows.tolist() == [[2, 0, 1], [-1, -1, -1], [5, -1, -1]]
    again = as_documents("test", rows)
    assert torch.equal(again.values, documents.values) and torch.equal(again.offsets, documents.offsets)
    assert documents.padded(5)[2].tolist() == [5, -1, -1, -1, -1]
    assert as_documents("test", documents) is documents


def test_padded_rows_of_drawn_documents():
    documents = toy_family().sample(50, device="cpu", generator=torch.Generator().manual_seed(0))
    rows = documents.padded()
    assert rows.dtype == torch.int64 and rows.shape == (50, int(documents.lengths.max()))
    for row, length, index in zip(rows, documents.lengths.tolist(), range(50), strict=True):
        assert row[:length].tolist() == documents[index].tolist() and (row[length:] == -1).all()
    with pytest.raises(ValueError, match="longest"):
        documents.padded(7)


@pytest.mark.parametrize("empty", [[], torch.zeros((0, 3), dtype=torch.int64), torch.zeros((0, 0))])
def test_no_sentences(empty):
    documents = as_documents("test", empty)
    assert len(documents) == 0 and documents.n_tokens == 0 and documents.padded().shape == (0, 0)


@pytest.mark.parametrize("one", [[1, 0, 2], torch.tensor([1, 0, 2]), torch.tensor([1, 0, 2], dtype=torch.uint8)])
def test_one_sentence(one):
    documents = as_documents("test", one)
    assert len(documents) == 1 and documents[0].tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("sentences", "kind"),
    [
        ([[0, -1]], ValueError),
        (torch.tensor([[0, -1, 1]]), ValueError),
        (torch.tensor([[0, -2]]), ValueError),
        (torch.zeros((2, 2, 2), dtype=torch.int64), ValueError),
        (torch.tensor([[0.5]]), TypeError),
        (torch.tensor([[True]]), TypeError),
        ("abc", TypeError),
        (3, TypeError),
    ],
)
def test_what_are_no_sentences(sentences, kind):
    with pytest.raises(kind, match="sentences"):
        as_documents("test", sentences)


def test_documents_that_are_not_there():
    documents = as_documents("test", [[1]])
    for index in (1, -2):
        with pytest.raises(IndexError):
            documents[index]


def test_documents_move_with_all_they_have():
    documents = toy_family().sample(2, device="cpu", return_trees=True)
    moved = documents.to("meta")
    assert isinstance(moved, Documents) and moved.values.device.type == "meta" and len(moved.levels) == 4
    assert "with trees" in repr(documents)
