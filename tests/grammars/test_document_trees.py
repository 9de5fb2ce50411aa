"""Trees of sampled documents: nodes, probabilities, and what they cannot be read off."""

import math

import pytest
import torch

from toolkit.grammars.document_trees import document_tree
from toolkit.grammars.documents import Documents, LevelNodes
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer
from toolkit.grammars.named import toy_family


def family_and_documents():
    family = GrammarFamily(
        [1, 2, 2],
        [[[[(0, 1), (1,)]], [[(1, 1)]]], [[[(0,), (0, 1)], [(1, 1), (1, 0)]]]],
        probs=[[[[0.25, 0.75]], [[1.0]]], [[[0.5, 0.5], [0.1, 0.9]]]],
        terminals=["x", "y"],
    )
    # S → A0 A1, A0 → x y, A1 → y y; and the other grammar's S → A1 A1, A1 → y x, A1 → y y
    documents = Documents(
        torch.tensor([0, 1, 1, 1, 1, 0, 1, 1]),
        torch.tensor([0, 4, 8]),
        torch.tensor([[0, 0], [1, 0]]),
        (
            LevelNodes(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([0, 0])),
            LevelNodes(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]), torch.tensor([1, 0, 1, 0])),
            LevelNodes(
                torch.tensor([0, 1, 1, 1, 1, 0, 1, 1]),
                torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]),
                torch.tensor([], dtype=torch.int64),
            ),
        ),
    )
    return family, documents


def test_trees_of_documents():
    family, documents = family_and_documents()
    first, second = (document_tree(documents, family, index) for index in (0, 1))
    assert first.bracketed() == "(S (A0 x y) (A1 y y))"
    assert second.bracketed() == "(S (A1 y x) (A1 y y))"
    assert first.log_prob == pytest.approx(math.log(0.25 * 0.5 * 0.1), abs=1e-14)
    assert second.log_prob == pytest.approx(math.log(1.0 * 0.9 * 0.1), abs=1e-14)
    assert [(node.level, node.symbol) for node in first.nodes()] == [(0, 0), (1, 0), (1, 1)]
    assert document_tree(documents, family, -1) == second


def test_documents_without_trees():
    family, documents = family_and_documents()
    with pytest.raises(ValueError, match="documents"):
        document_tree(Documents(documents.values, documents.offsets, documents.metadata), family)
    with pytest.raises(ValueError, match="metadata"):
        document_tree(Documents(documents.values, documents.offsets, None, documents.levels), family)
    for index in (2, -3):
        with pytest.raises(IndexError):
            document_tree(documents, family, index)


def test_trees_of_sampled_documents_have_the_sentences_as_leaves():
    family = toy_family()
    documents = family.sample(50, generator=torch.Generator().manual_seed(0), device="cpu", return_trees=True)
    found = infer(family, documents)
    index = family.metadata_index(documents.metadata)
    for number in range(50):
        tree = document_tree(documents, family, number)
        tokens = [family.terminals[token] for token in documents[number].tolist()]
        assert tree.leaves() == tokens and tree.height == 3
        # The sentence may have other trees too.
        assert tree.log_prob <= float(found.log_prob[number, index[number]]) + 1e-9
        for node in tree.nodes():
            children = [child if isinstance(child, str) else child.symbol for child in node.children]
            children = tuple(family.terminals.index(c) if isinstance(c, str) else c for c in children)
            assert children in family.rules[node.level][int(documents.metadata[number, node.level])][node.symbol]
