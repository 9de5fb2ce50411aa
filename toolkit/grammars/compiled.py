"""A grammar as tables of numbers: rules with at most two children, and what chains of empty and unary rules add up to.

A rule with more children is split from the left, ``A → B H`` with a helper ``H`` for the rest. Columns of a chart are
the nonterminals, then the helpers, then those terminals that stand beside something else in a rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from toolkit.grammars.closures import CRITICAL, classes, least_fixed_point, reachable, spectral_radius, star
from toolkit.grammars.rules import Nonterminal, Rule

UNBOUNDED = 2**40


@dataclass(frozen=True, eq=False)
class Edges:
    """Rules of one shape, or the steps that they were split into.

    Attributes:
        parents: the column of each left-hand side.
        children: the columns of each right-hand side; of lexical rules the tokens.
        probabilities: of each.
        rules: which rule of the grammar each is; −1 for what only completes a split rule.
    """

    parents: Int[Tensor, " edges"]
    children: Int[Tensor, "edges arity"]
    probabilities: Float64[Tensor, " edges"]
    rules: Int[Tensor, " edges"]


@dataclass(frozen=True, eq=False)
class SparseLogMap:
    """A matrix of log-weights that maps log-weights to log-weights, row by row.

    Attributes:
        rows: the rows that have entries.
        columns: of the entries of each such row, filled with 0.
        weights: their logarithms, filled with −∞.
        n_rows: of the whole matrix.
    """

    rows: Int[Tensor, " filled"]
    columns: Int[Tensor, "filled entries"]
    weights: Float64[Tensor, "filled entries"]
    n_rows: int

    def apply(self, values: Float64[Tensor, "batch columns *rest"]) -> Float64[Tensor, "batch rows *rest"]:
        """Return the logarithm of matrix times vector, along the second dimension."""
        shape = (values.shape[0], self.n_rows, *values.shape[2:])
        out = torch.full(shape, -torch.inf, dtype=torch.float64, device=values.device)
        if len(self.rows):
            found = values[:, self.columns]
            found = found + self.weights.reshape(*self.weights.shape, *(1,) * (values.ndim - 2))
            out[:, self.rows] = found[:, :, 0] if found.shape[2] == 1 else found.logsumexp(2)
        return out

    def maximum(self, values: Float64[Tensor, "batch columns *rest"]) -> Float64[Tensor, "batch rows *rest"]:
        """Return the largest of the products instead of the logarithm of their sum."""
        shape = (values.shape[0], self.n_rows, *values.shape[2:])
        out = torch.full(shape, -torch.inf, dtype=torch.float64, device=values.device)
        if len(self.rows):
            found = values[:, self.columns]
            out[:, self.rows] = (found + self.weights.reshape(*self.weights.shape, *(1,) * (values.ndim - 2))).amax(2)
        return out

    def to(self, device: torch.device) -> "SparseLogMap":
        """Return the same map on another device."""
        return SparseLogMap(self.rows.to(device), self.columns.to(device), self.weights.to(device), self.n_rows)


def sparse_log_map(weights: Float64[Tensor, "rows columns"]) -> SparseLogMap:
    """Return a matrix ≥ 0 as a map of logarithms."""
    return sparse_from_logs(weights.log())


def sparse_from_logs(logs: Float64[Tensor, "rows columns"]) -> SparseLogMap:
    """Return a matrix of logarithms, −∞ where there is no entry, as a map."""
    present = logs > -torch.inf
    rows = present.any(1).nonzero().flatten()
    widest = int(present.sum(1).max()) if present.numel() else 0
    order = (~present[rows]).to(torch.int8).argsort(dim=1, stable=True)[:, :widest]
    columns = torch.where(present[rows].gather(1, order), order, 0)
    kept = logs[rows].gather(1, order)
    return SparseLogMap(rows, columns, kept, len(logs))


@dataclass(frozen=True, eq=False)
class Tables:
    """What the algorithms on charts need of a grammar.

    Attributes:
        n_nonterminals: the first columns of a chart.
        n_columns: all of them.
        n_terminals: V; the id V stands for every unknown token.
        start: the column of the start symbol.
        token_of: for each column the token that it is, or −1.
        binary, unary, lexical, empty: the rules by shape, without those that no finite derivation uses.
        masses: for each column the probability of all finite strings.
        null: for each column the probability of the empty string.
        shortest, longest: bounds of how many tokens a column has where it has any; ``UNBOUNDED`` for no bound.
        endless: columns that derive the empty string alone, in derivations that are infinitely long on average.
        pairs: the different right-hand sides of binary rules, without endless columns.
        pair_of: for each binary rule its place in ``pairs``, or −1.
        unary_weights: from a column to what has the same tokens one step below; the rest below is empty.
        pair_rules: ``[columns, pairs]``, the probability of each pair below each column.
        inside_pairs: from pairs to columns, with all chains of unary steps above.
        token_rules: ``[columns, V]``, the probability of each token below each column.
        above: from columns to what stands below them at the end of a chain of unary steps.
        outside_pairs: from columns to the pairs below them.
        outside_children: from pairs, twice, to their left and to their right children.
        inside_tokens: ``[V + 1, columns]`` log-probability that a column is the token.
        first_pairs, first_tokens: log-weights of what the start symbol can begin with, by pairs and by tokens.
        next_pairs, next_tokens: the same for what can begin once a pair's left child is complete.
    """

    n_nonterminals: int
    n_columns: int
    n_terminals: int
    start: int
    token_of: Int[Tensor, " columns"]
    binary: Edges
    unary: Edges
    lexical: Edges
    empty: Edges
    masses: Float64[Tensor, " columns"]
    null: Float64[Tensor, " columns"]
    shortest: Int[Tensor, " columns"]
    longest: Int[Tensor, " columns"]
    endless: Bool[Tensor, " columns"]
    pairs: Int[Tensor, "pairs 2"]
    pair_of: Int[Tensor, " binary"]
    unary_weights: Float64[Tensor, "columns columns"]
    pair_rules: Float64[Tensor, "columns pairs"]
    token_rules: Float64[Tensor, "columns tokens"]
    inside_pairs: SparseLogMap
    above: SparseLogMap
    outside_pairs: SparseLogMap
    outside_children: SparseLogMap
    inside_tokens: Float64[Tensor, "tokens_and_unknown columns"]
    first_pairs: Float64[Tensor, " pairs"]
    first_tokens: Float64[Tensor, " tokens"]
    next_pairs: Float64[Tensor, "pairs pairs"]
    next_tokens: Float64[Tensor, "pairs tokens"]

    def to(self, device: torch.device) -> "Tables":
        """Return the same tables on another device."""
        if self.masses.device == device:
            return self
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Edges):
                moved[field.name] = Edges(*(getattr(value, part.name).to(device) for part in fields(value)))
            elif isinstance(value, Tensor | SparseLogMap):
                moved[field.name] = value.to(device)
        return replace(self, **moved)


def compile_rules(
    start: Nonterminal, nonterminals: Sequence[Nonterminal], terminals: Sequence[str], rules: Sequence[Rule]
) -> Tables:
    """Return the tables of a grammar, on the CPU."""
    split = _Splitter(nonterminals, terminals)
    for index in useful_rules(rules):
        split.add(rules[index], index)
    n, v = len(split.columns), len(terminals)
    binary, unary, lexical, empty = (split.edges(arity) for arity in ("binary", "unary", "lexical", "empty"))
    terminal_columns = torch.tensor(split.terminal_columns, dtype=torch.int64)
    own_tokens = torch.tensor([split.tokens[c] for c in split.terminal_columns], dtype=torch.int64)

    zeros = torch.zeros(n, n, dtype=torch.float64)
    b_parents, (b_left, b_right), b_p = binary.parents, binary.children.unbind(1), binary.probabilities
    one_step = zeros.index_put((unary.parents, unary.children[:, 0]), unary.probabilities, accumulate=True)
    nothing = torch.zeros(n, dtype=torch.float64)
    ended = nothing.index_add(0, empty.parents, empty.probabilities)
    with_token = nothing.index_add(0, lexical.parents, lexical.probabilities).index_fill(0, terminal_columns, 1.0)
    null = least_fixed_point(ended, one_step, b_parents, b_left, b_right, b_p)
    masses = least_fixed_point(ended + with_token, one_step, b_parents, b_left, b_right, b_p)

    leads = one_step.index_put((b_parents, b_left), b_p, accumulate=True)
    leads = leads.index_put((b_parents, b_right), b_p, accumulate=True)
    same = one_step.index_put((b_parents, b_left), b_p * null[b_right], accumulate=True)
    same = same.index_put((b_parents, b_right), b_p * null[b_left], accumulate=True)
    # With e the null probabilities and z the masses, z − e = L (z − e) + the tokens for the left-corner matrix L below,
    # and z > e where a column has tokens: so L, and the smaller matrix of unary steps, have spectral radius < 1 there.
    # Elsewhere both are the slope of the equation for e, whose radius is 1 only where e is a double root.
    endless = ~(reachable(leads) & (with_token > 0)).any(1)
    for members in classes(reachable(same)):
        if bool(endless[members[0]]):
            endless[members] = spectral_radius(same[members][:, members]) >= 1 - CRITICAL
    both = (~endless[:, None] & ~endless).double()
    corner = one_step.index_put((b_parents, b_left), b_p * masses[b_right], accumulate=True)
    corner = corner.index_put((b_parents, b_right), b_p * null[b_left], accumulate=True)
    chains, corners = star(same * both), star(corner * both)

    shortest, longest = _bounds(leads, with_token > 0, (unary, binary), empty)
    tokened = ~endless[b_left] & ~endless[b_right]
    pairs, place = binary.children[tokened].unique(dim=0, return_inverse=True)
    pair_of = torch.full_like(b_parents, -1)
    pair_of[tokened] = place.flatten()
    pair_rules = torch.zeros(n, len(pairs), dtype=torch.float64)
    pair_rules.index_put_((b_parents[tokened], pair_of[tokened]), b_p[tokened], accumulate=True)
    token_rules = torch.zeros(n, v, dtype=torch.float64)
    token_rules.index_put_((lexical.parents, lexical.children[:, 0]), lexical.probabilities, accumulate=True)
    token_rules.index_put_((terminal_columns, own_tokens), torch.ones(len(own_tokens), dtype=torch.float64))
    unknown = torch.zeros(1, n, dtype=torch.float64)
    root = nonterminals.index(start)
    begun = corners[pairs[:, 1]]
    to_children = torch.zeros(n, 2, len(pairs), dtype=torch.float64)
    which = torch.arange(len(pairs))
    to_children[pairs[:, 0], 0, which] = 1.0
    to_children[pairs[:, 1], 1, which] = 1.0
    return Tables(
        n_nonterminals=len(nonterminals),
        n_columns=n,
        n_terminals=v,
        start=root,
        token_of=torch.full((n,), -1).index_put((terminal_columns,), own_tokens),
        binary=binary,
        unary=unary,
        lexical=lexical,
        empty=empty,
        masses=masses,
        null=null,
        shortest=shortest.clamp(min=1),
        longest=longest,
        endless=endless,
        pairs=pairs,
        pair_of=pair_of,
        unary_weights=same,
        pair_rules=pair_rules,
        token_rules=token_rules,
        inside_pairs=sparse_log_map(chains @ pair_rules),
        above=sparse_log_map(chains.T.contiguous()),
        outside_pairs=sparse_log_map(pair_rules.T.contiguous()),
        outside_children=sparse_log_map(to_children.flatten(1)),
        inside_tokens=torch.cat([(chains @ token_rules).T, unknown]).log(),
        first_pairs=(corners[root] @ pair_rules).log(),
        first_tokens=(corners[root] @ token_rules).log(),
        next_pairs=(begun @ pair_rules).log(),
        next_tokens=(begun @ token_rules).log(),
    )


def useful_rules(rules: Sequence[Rule]) -> list[int]:
    """Return which rules can be part of a finite derivation of positive probability."""
    productive: set[Nonterminal] = set()
    waiting = [index for index, rule in enumerate(rules) if rule.probability > 0]
    useful: list[int] = []
    while True:
        ready = [
            index for index in waiting if all(isinstance(c, str) or c in productive for c in rules[index].children)
        ]
        if not ready:
            return sorted(useful)
        useful += ready
        productive |= {rules[index].parent for index in ready}
        done = set(ready)
        waiting = [index for index in waiting if index not in done]


def _bounds(leads: Tensor, with_token: Tensor, steps: Sequence[Edges], empty: Edges) -> tuple[Tensor, Tensor]:
    """Return how many tokens each column has at least, and at most."""
    shortest = torch.where(with_token, 1, UNBOUNDED).index_fill(0, empty.parents, 0)
    while True:
        shorter = shortest
        for edges in steps:
            whole = shortest[edges.children].sum(1).clamp(max=UNBOUNDED)
            shorter = shorter.scatter_reduce(0, edges.parents, whole, "amin")
        if bool((shorter == shortest).all()):
            break
        shortest = shorter
    longest = with_token.long()
    for members in classes(reachable(leads)):
        if len(members) > 1 or bool(leads[members[0], members[0]] > 0):
            longest[members] = UNBOUNDED
            continue
        for edges in steps:
            whole = longest[edges.children[edges.parents == members]].sum(1)
            longest[members] = torch.cat([longest[members], whole]).amax().clamp(max=UNBOUNDED)
    return shortest, longest


class _Splitter:
    def __init__(self, nonterminals: Sequence[Nonterminal], terminals: Sequence[str]) -> None:
        self.token_ids = {token: index for index, token in enumerate(terminals)}
        self.columns: dict[Nonterminal | str | tuple[Nonterminal | str, ...], int] = {
            symbol: index for index, symbol in enumerate(nonterminals)
        }
        self.terminal_columns: list[int] = []
        self.tokens: dict[int, int] = {}
        self.found: dict[str, list[tuple[int, list[int], float, int]]] = {
            "binary": [],
            "unary": [],
            "lexical": [],
            "empty": [],
        }

    def add(self, rule: Rule, index: int) -> None:
        children, parent, p = rule.children, self.columns[rule.parent], rule.probability
        if not children:
            self.found["empty"].append((parent, [], p, index))
        elif len(children) == 1:
            (child,) = children
            if isinstance(child, str):
                self.found["lexical"].append((parent, [self.token_ids[child]], p, index))
            else:
                self.found["unary"].append((parent, [self.columns[child]], p, index))
        while len(children) > 1:
            rest = children[1:]
            known = len(rest) > 1 and rest in self.columns
            right = self._column(rest if len(rest) > 1 else rest[0])
            self.found["binary"].append((parent, [self._column(children[0]), right], p, index))
            if known:
                break
            children, parent, p, index = rest, right, 1.0, -1

    def edges(self, shape: str) -> Edges:
        found = self.found[shape]
        arity = {"binary": 2, "unary": 1, "lexical": 1, "empty": 0}[shape]
        return Edges(
            torch.tensor([parent for parent, *_ in found], dtype=torch.int64),
            torch.tensor([children for _, children, *_ in found], dtype=torch.int64).reshape(len(found), arity),
            torch.tensor([p for *_, p, _ in found], dtype=torch.float64),
            torch.tensor([index for *_, index in found], dtype=torch.int64),
        )

    def _column(self, symbol: Nonterminal | str | tuple[Nonterminal | str, ...]) -> int:
        if symbol not in self.columns:
            column = self.columns[symbol] = len(self.columns)
            if isinstance(symbol, str):
                self.terminal_columns.append(column)
                self.tokens[column] = self.token_ids[symbol]
        return self.columns[symbol]
