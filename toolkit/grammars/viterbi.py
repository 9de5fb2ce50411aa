"""The most probable derivation of a sentence."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from toolkit.grammars.chart import InsideChart, best_inside
from toolkit.grammars.compiled import SparseLogMap, Tables, sparse_from_logs
from toolkit.grammars.rules import Rule
from toolkit.grammars.trees import Tree

Step = tuple[str, int]
"""Which rule is applied: ``"binary"``, ``"unary"``, ``"lexical"`` or ``"empty"``, and its place among those."""


@dataclass(frozen=True, eq=False)
class Parse:
    """The best derivation of a sentence.

    Attributes:
        tree: None for a sentence outside the language.
        log_prob: of the tree, in nats; −∞ where there is none.
    """

    tree: Tree | None
    log_prob: float

    def __repr__(self) -> str:
        written = "no tree" if self.tree is None else self.tree.bracketed()
        return f"Parse({written if len(written) <= 60 else written[:57] + '...'}, log_prob={self.log_prob:.6g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the tree as bracketed text."""
        return {"tree": None if self.tree is None else self.tree.bracketed(), "log_prob": self.log_prob}


@dataclass(frozen=True, eq=False)
class BestTables:
    """The best chains of empty and unary rules, and how they go.

    Attributes:
        null: for each column the best log-probability of the empty string.
        null_steps: the rule that begins it.
        chains: ``[upper, lower]``, the best log-probability of unary steps from one column down to the other.
        first_steps: the step that begins each chain, by its place in ``steps``.
        steps: rules that leave the tokens to one child; ``"left"`` and ``"right"`` are binary ones and name that child.
        token_logs, pair_map: see :func:`~toolkit.grammars.chart.best_inside`.
    """

    null: Float64[Tensor, " columns"]
    null_steps: dict[int, Step]
    chains: Float64[Tensor, "columns columns"]
    first_steps: Int[Tensor, "columns columns"]
    steps: list[Step]
    token_logs: Float64[Tensor, "tokens_and_unknown columns"]
    pair_map: SparseLogMap


def best_tables(tables: Tables) -> BestTables:
    """Return the best chains of a grammar; its tables are those on the CPU."""
    null, null_steps = _best_null(tables)
    chains, first_steps, steps = _best_chains(tables, null)
    n, v, lexical, binary = tables.n_columns, tables.n_terminals, tables.lexical, tables.binary
    columns = (tables.token_of >= 0).nonzero().flatten()
    parents = torch.cat([lexical.parents, columns])
    tokens = torch.cat([lexical.children[:, 0], tables.token_of[columns]])
    logs = torch.cat([lexical.probabilities.log(), torch.zeros(len(columns), dtype=torch.float64)])
    token_logs = torch.full((n, v + 1), -torch.inf, dtype=torch.float64)
    token_logs.scatter_reduce_(1, tokens.expand(n, -1), chains[:, parents] + logs, "amax")
    kept = tables.pair_of >= 0
    pair_logs = torch.full((n, len(tables.pairs)), -torch.inf, dtype=torch.float64)
    below = chains[:, binary.parents[kept]] + binary.probabilities[kept].log()
    pair_logs.scatter_reduce_(1, tables.pair_of[kept].expand(n, -1), below, "amax")
    pair_map = sparse_from_logs(pair_logs)
    return BestTables(null, null_steps, chains, first_steps, steps, token_logs.T.contiguous(), pair_map)


def best_parse(
    tables: Tables, best: BestTables, rules: tuple[Rule, ...], names: tuple[str, ...], tokens: Int[Tensor, " positions"]
) -> Parse:
    """Return the most probable derivation; the first found where several are.

    Args:
        tables: of the grammar, on the CPU.
        best: of the tables.
        rules: of the grammar.
        names: of the terminals.
        tokens: of the sentence, on the CPU.
    """
    chart = best_inside(best.token_logs, best.pair_map, best.null, tables, tokens[None])
    log_prob = float(chart.columns[0, tables.start, 0, len(tokens)])
    if log_prob == -torch.inf:
        return Parse(None, log_prob)
    return Parse(_Walk(tables, best, rules, names, tokens.tolist(), chart).tree(), log_prob)


def _best_null(tables: Tables) -> tuple[Tensor, dict[int, Step]]:
    binary, unary, empty = tables.binary, tables.unary, tables.empty
    parents = torch.cat([empty.parents, unary.parents, binary.parents])
    logs = torch.cat([empty.probabilities, unary.probabilities, binary.probabilities]).log()
    steps: list[Step] = [
        (shape, place)
        for shape, edges in (("empty", empty), ("unary", unary), ("binary", binary))
        for place in range(len(edges.parents))
    ]
    null = torch.full((tables.n_columns,), -torch.inf, dtype=torch.float64)
    found: dict[int, Step] = {}
    while True:
        value = logs + torch.cat(
            [torch.zeros(len(empty.parents)), null[unary.children[:, 0]], null[binary.children].sum(1)]
        )
        better = null.scatter_reduce(0, parents, value, "amax")
        # A derivation that contains itself is never better, so what a column's step refers to was found before it.
        changed = (better > null)[parents] & (value == better[parents])
        for index in changed.nonzero().flatten().tolist():
            found[int(parents[index])] = steps[index]
        if bool((better == null).all()):
            return null, found
        null = better


def _best_chains(tables: Tables, null: Tensor) -> tuple[Tensor, Tensor, list[Step]]:
    binary, unary = tables.binary, tables.unary
    left, right = binary.children.unbind(1)
    upper = torch.cat([unary.parents, binary.parents, binary.parents])
    lower = torch.cat([unary.children[:, 0], left, right])
    logs = torch.cat(
        [unary.probabilities.log(), binary.probabilities.log() + null[right], binary.probabilities.log() + null[left]]
    )
    steps: list[Step] = [("unary", place) for place in range(len(unary.parents))]
    steps += [("left", place) for place in range(len(left))] + [("right", place) for place in range(len(left))]
    n = tables.n_columns
    chains = torch.full((n, n), -torch.inf, dtype=torch.float64)
    first = torch.full((n, n), -1, dtype=torch.int64)
    for index, (above, below, value) in enumerate(zip(upper.tolist(), lower.tolist(), logs.tolist(), strict=True)):
        if value > -torch.inf and value > chains[above, below]:
            chains[above, below], first[above, below] = value, index
    chains.fill_diagonal_(0.0)
    for via in sorted(set(lower[logs > -torch.inf].tolist()) & set(upper.tolist())):
        longer = chains[:, via, None] + chains[via]
        better = longer > chains
        chains = torch.where(better, longer, chains)
        first = torch.where(better, first[:, via, None], first)
    return chains, first, steps


class _Walk:
    """Reads the tree off the chart, from the root down, without recursion."""

    def __init__(
        self,
        tables: Tables,
        best: BestTables,
        rules: tuple[Rule, ...],
        names: tuple[str, ...],
        tokens: list[int],
        chart: InsideChart,
    ) -> None:
        self.tables, self.best, self.rules, self.names, self.tokens = tables, best, rules, names, tokens
        self.token_of = tables.token_of.tolist()
        self.columns, self.pairs = chart.columns[0], chart.pairs[0]
        self.nodes: list[tuple[Rule, list[Any]]] = []
        self.waiting: list[tuple[int, int, int, list[Any], Any]] = []

    def tree(self) -> Tree:
        top: list[Any] = []
        self.waiting.append((self.tables.start, 0, len(self.tokens), top, None))
        while self.waiting:
            column, start, end, siblings, aim = self.waiting.pop()
            if self.token_of[column] >= 0:
                siblings.append(self.names[self.token_of[column]])
            elif start == end:
                self._apply(self.best.null_steps[column], start, (start, end), siblings, None)
            else:
                aim = aim or self._lowest(column, start, end)
                lowest, last = aim
                if column == lowest:
                    split = self._split(last[1], start, end) if last[0] == "binary" else start
                    self._apply(last, split, (start, end), siblings, None)
                else:
                    step = self.best.steps[int(self.best.first_steps[column, lowest])]
                    self._apply(step, start, (start, end), siblings, aim)
        built: list[Tree] = []
        # Parents were noted before their children.
        for rule, children in reversed(self.nodes):
            built.append(
                Tree(
                    rule.parent.name,
                    [c if isinstance(c, str) else built[len(self.nodes) - 1 - c] for c in children],
                    probability=rule.probability,
                )
            )
        return built[-1]

    def _lowest(self, column: int, start: int, end: int) -> tuple[int, Step]:
        """Return the column at the end of the chain of unary steps, and the rule applied there."""
        lexical, binary, chains = self.tables.lexical, self.tables.binary, self.best.chains
        if end == start + 1:
            fits = lexical.children[:, 0] == self.tokens[start]
            value = torch.where(fits, chains[column, lexical.parents] + lexical.probabilities.log(), -torch.inf)
            index = int(value.argmax()) if len(value) else -1
            if self.tokens[start] in self.token_of:
                itself = self.token_of.index(self.tokens[start])
                if index < 0 or float(chains[column, itself]) > float(value[index]):
                    return itself, ("token", itself)
            return int(lexical.parents[index]), ("lexical", index)
        kept = (self.tables.pair_of >= 0).nonzero().flatten()
        value = chains[column, binary.parents[kept]] + binary.probabilities[kept].log()
        index = int(kept[(value + self.pairs[self.tables.pair_of[kept], start, end]).argmax()])
        return int(binary.parents[index]), ("binary", index)

    def _split(self, binary: int, start: int, end: int) -> int:
        left, right = self.tables.binary.children[binary].tolist()
        both = self.columns[left, start, start + 1 : end] + self.columns[right, start + 1 : end, end]
        return start + 1 + int(both.argmax())

    def _apply(self, step: Step, split: int, span: tuple[int, int], siblings: list[Any], aim: Any) -> None:
        """Note a node and put its children on the list of what waits, the leftmost on top."""
        shape, place = step
        tables, (start, end) = self.tables, span
        edges = getattr(tables, "binary" if shape in ("left", "right") else shape)
        rule = int(edges.rules[place])
        if rule >= 0:
            siblings.append(len(self.nodes))
            siblings = []
            self.nodes.append((self.rules[rule], siblings))
        if shape == "lexical":
            siblings.append(self.names[self.tokens[start]])
            return
        children = edges.children[place].tolist()
        if shape == "unary":
            self.waiting.append((children[0], start, end, siblings, aim))
        elif shape != "empty":
            split = {"left": end, "right": start}.get(shape, split)
            self.waiting.append((children[1], split, end, siblings, aim if shape == "right" else None))
            self.waiting.append((children[0], start, split, siblings, aim if shape == "left" else None))
