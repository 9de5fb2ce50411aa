"""Sampling from a grammar of any shape: all pending symbols of all documents are rewritten at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from toolkit.core.devices import draw_uniform
from toolkit.grammars.documents import Documents
from toolkit.grammars.rules import Nonterminal, Rule

_NODES = 2**22
"""About how many nodes are held at a time."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Documents drawn from a grammar.

    Attributes:
        documents: those that ended within the limits; a fair sample of all such documents.
        n_cut: how many were given up because they went beyond a limit. They are left out.
    """

    documents: Documents
    n_cut: int

    def __repr__(self) -> str:
        return f"Sample({len(self.documents)} of {self.documents.n_tokens} tokens, {self.n_cut} cut)"

    def to_dict(self) -> dict[str, Any]:
        """Return the sentences as lists of tokens, and how many were cut."""
        sentences = [self.documents[index].tolist() for index in range(len(self.documents))]
        return {"documents": sentences, "n_cut": self.n_cut}


@dataclass(frozen=True, eq=False)
class RuleTable:
    """The rules by parent, ready for drawing.

    Attributes:
        n_nonterminals: symbols from here on are tokens.
        start: the start symbol.
        thresholds: the parent's number plus the cumulated probability, rule by rule.
        last: for each nonterminal its last rule that can be drawn.
        arity: how many children each rule has.
        offsets: where they start in ``children``.
        children: of all rules.
    """

    n_nonterminals: int
    start: int
    thresholds: Float64[Tensor, " rules"]
    last: Int[Tensor, " nonterminals"]
    arity: Int[Tensor, " rules"]
    offsets: Int[Tensor, " rules"]
    children: Int[Tensor, " children"]

    def to(self, device: torch.device) -> "RuleTable":
        """Return the same table on another device."""
        moved = (self.thresholds, self.last, self.arity, self.offsets, self.children)
        return RuleTable(self.n_nonterminals, self.start, *(tensor.to(device) for tensor in moved))


def rule_table(
    start: Nonterminal,
    nonterminals: Sequence[Nonterminal],
    terminals: Sequence[str],
    rules: Sequence[Rule],
    masses: Sequence[float],
) -> RuleTable:
    """Return the table of a grammar whose derivations all end, on the CPU.

    Args:
        start: the start symbol.
        nonterminals: in the order of ``masses``.
        terminals: in the order of their ids.
        rules: of the grammar.
        masses: how likely the derivations of each nonterminal end. The table's are drawn as if they were sure to.
    """
    ends: dict[Nonterminal | str, float] = dict(zip(nonterminals, masses, strict=True))
    codes: dict[Nonterminal | str, int] = {symbol: index for index, symbol in enumerate(nonterminals)}
    codes |= {token: len(nonterminals) + index for index, token in enumerate(terminals)}
    thresholds: list[float] = []
    last: list[int] = []
    children: list[int] = []
    arity: list[int] = []
    by_parent: dict[Nonterminal, list[tuple[Rule, float]]] = {symbol: [] for symbol in nonterminals}
    for rule in rules:
        weight = rule.probability * math.prod(ends.get(child, 1.0) for child in rule.children)
        if weight > 0:
            by_parent[rule.parent].append((rule, weight))
    for index, group in enumerate(by_parent.values()):
        cumulated = torch.tensor([weight for _, weight in group], dtype=torch.float64).cumsum(0)
        thresholds += (index + cumulated / cumulated[-1:]).tolist()
        arity += [len(rule.children) for rule, _ in group]
        children += [codes[child] for rule, _ in group for child in rule.children]
        last.append(len(thresholds) - 1)
    sizes = torch.tensor(arity, dtype=torch.int64)
    return RuleTable(
        len(nonterminals),
        codes[start],
        torch.tensor(thresholds, dtype=torch.float64),
        torch.tensor(last, dtype=torch.int64),
        sizes,
        sizes.cumsum(0) - sizes,
        torch.tensor(children, dtype=torch.int64),
    )


def draw_documents(
    table: RuleTable,
    n: int,
    *,
    generator: torch.Generator,
    max_tokens: int,
    max_steps: int,
    expected_length: float,
    total_mass: float,
) -> Sample:
    """Draw documents.

    Args:
        table: where the documents shall be.
        n: how many to draw.
        generator: draws on its own device.
        max_tokens: of one document.
        max_steps: rewritings of one document.
        expected_length: of a document; decides how many are worked on at a time.
        total_mass: how likely a derivation ends. How many do is drawn first, and only those are rewritten.
    """
    device = table.children.device
    n_ending = n
    if total_mass < 1:
        drawn = draw_uniform((n,), generator=generator, device=device, dtype=torch.float64)
        n_ending = int((drawn < total_mass).sum())
    at_once = max(1, int(_NODES / (1 + min(expected_length, float(max_tokens)))))
    parts = [
        _draw(table, min(at_once, n_ending - first), generator, max_tokens, max_steps)
        for first in range(0, n_ending, at_once)
    ]
    values = torch.cat([torch.zeros(0, dtype=torch.int64, device=device), *(tokens for tokens, _ in parts)])
    lengths = torch.cat([torch.zeros(1, dtype=torch.int64, device=device), *(sizes for _, sizes in parts)])
    return Sample(Documents(values, lengths.cumsum(0)), n - (len(lengths) - 1))


def _draw(
    table: RuleTable, n: int, generator: torch.Generator, max_tokens: int, max_steps: int
) -> tuple[Tensor, Tensor]:
    """Return the tokens and the lengths of the documents that ended within the limits."""
    device = table.children.device
    generations: list[tuple[Tensor, Tensor]] = []
    symbols, documents = torch.full((n,), table.start, device=device), torch.arange(n, device=device)
    parents = torch.zeros(n, dtype=torch.int64, device=device)
    n_tokens, n_steps = torch.zeros_like(parents), torch.zeros_like(parents)
    chained = False
    while len(symbols):
        if not chained:
            generations.append((symbols, parents))
            places = torch.arange(len(symbols), device=device)
        pending = (symbols < table.n_nonterminals).nonzero().flatten()
        n_steps += documents[pending].bincount(minlength=n)
        pending = pending[(n_steps <= max_steps)[documents[pending]]]
        rules = _draw_rules(table, symbols[pending], generator)
        arity = table.arity[rules]
        rows = pending.repeat_interleave(arity)
        before = (arity.cumsum(0) - arity).repeat_interleave(arity)
        nth = torch.arange(len(rows), device=device) - before
        symbols = table.children[table.offsets[rules].repeat_interleave(arity) + nth]
        documents, places = documents[rows], places[rows]
        n_tokens += documents[symbols >= table.n_nonterminals].bincount(minlength=n)
        kept = (n_tokens <= max_tokens)[documents]
        symbols, documents, places = symbols[kept], documents[kept], places[kept]
        # Chains of unary rules, however long, are kept in one place; what becomes nothing has no children.
        chained = bool((arity <= 1).all())
        if chained:
            generations[-1][0][places] = symbols
        parents = places
    finished = (n_tokens <= max_tokens) & (n_steps <= max_steps)
    return _in_order(table, generations, n, finished)


def _draw_rules(table: RuleTable, symbols: Tensor, generator: torch.Generator) -> Tensor:
    drawn = draw_uniform((len(symbols),), generator=generator, device=symbols.device, dtype=torch.float64)
    found = torch.searchsorted(table.thresholds, symbols + drawn, right=True)
    # A draw close to 1 may round up to the next symbol's.
    return torch.minimum(found, table.last[symbols])


def _in_order(
    table: RuleTable, generations: list[tuple[Tensor, Tensor]], n: int, finished: Tensor
) -> tuple[Tensor, Tensor]:
    """Read off the tokens from left to right: sizes from the leaves up, then places from the root down."""
    sizes = [(symbols >= table.n_nonterminals).long() for symbols, _ in generations]
    for level in range(len(generations) - 1, 0, -1):
        sizes[level - 1].index_add_(0, generations[level][1], sizes[level])
    if not sizes:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    lengths = torch.where(finished, sizes[0], 0)
    values = torch.empty(int(lengths.sum()), dtype=torch.int64, device=lengths.device)
    places = lengths.cumsum(0) - lengths
    keeps = finished
    for level, (symbols, parents) in enumerate(generations):
        if level:
            ends = sizes[level].cumsum(0)
            first = torch.ones_like(parents, dtype=torch.bool)
            first[1:] = parents[1:] != parents[:-1]
            start = torch.where(first, ends - sizes[level], 0).cummax(0).values
            places = places[parents] + ends - sizes[level] - start
            keeps = keeps[parents]
        leaves = (symbols >= table.n_nonterminals) & keeps
        values[places[leaves]] = symbols[leaves] - table.n_nonterminals
    return values, lengths[finished]
