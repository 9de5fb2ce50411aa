"""Trees of sampled documents."""

import torch

from toolkit.core.errors import reject, require
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.trees import Tree


def document_tree(documents: Documents, family: GrammarFamily, index: int = 0) -> Tree:
    """Return the tree that one document was read off.

    Args:
        documents: sampled with their trees and metadata.
        family: that they were sampled from.
        index: which document.

    Raises:
        ValueError: no trees or no metadata were kept, or they are of another family.
        IndexError: there is no such document.
    """
    operation, depth = "document_tree", family.depth
    levels, metadata = documents.levels, documents.metadata
    require(len(levels) == depth + 1, operation, "documents", f"trees of {depth + 1} levels", len(levels))
    if metadata is None:
        reject(operation, "documents", "metadata", "none")
    if not -len(documents) <= index < len(documents):
        raise IndexError(f"document {index} of {len(documents)}")
    choices = family.check_metadata(operation, metadata[index])[0].tolist()
    first, last = index % len(documents), index % len(documents) + 1
    rows = []  # of each level: symbols, alternatives, and which node of the level above is the parent
    for level, nodes in enumerate(levels):
        above = first
        if level:
            ends = nodes.parents.new_tensor([first, last])
            first, last = torch.searchsorted(nodes.parents, ends).tolist()
        parents = nodes.parents[first:last].sub(above).tolist() if level else [0]
        alternatives = nodes.alternatives[first:last].tolist() if level < depth else []
        rows.append((nodes.symbols[first:last].tolist(), alternatives, parents))
    symbols, _, parents = rows[depth]
    below: list[tuple[int, Tree | str]] = [
        (parent, family.symbol_name(depth, symbol)) for symbol, parent in zip(symbols, parents, strict=True)
    ]
    for level in reversed(range(depth)):
        symbols, alternatives, parents = rows[level]
        children: list[list[Tree | str]] = [[] for _ in symbols]
        for parent, child in below:
            children[parent].append(child)
        probs = family.probs[level][choices[level]]
        below = [
            (parent, Tree(family.symbol_name(level, symbol), under, level, symbol, probs[symbol][alternative]))
            for parent, symbol, alternative, under in zip(parents, symbols, alternatives, children, strict=True)
        ]
    root = below[0][1]
    assert isinstance(root, Tree)
    return root
