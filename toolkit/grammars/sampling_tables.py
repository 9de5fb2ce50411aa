"""Tables from which documents are put together: all that a symbol can become several levels further down.

A row is one way to rewrite a symbol down to the block's last level; drawing a row takes the place of a draw at every
node between.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

from toolkit.grammars.families import GrammarFamily

MOST_SYMBOLS = 2**19
"""What all rows of a block may hold together: what a core's own cache keeps."""
SAME = 1e-12
"""Probabilities that differ by less, relatively, are one: they are products of the same factors."""
ROWS_AT_ONCE = 2**16
"""Of a processor: what belongs to so many rows stays in its cache from one step to the next."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """What each row holds at one level, one row after the other.

    Attributes:
        starts: where each row starts in ``values``.
        lengths: how many nodes it has at the level.
        values: the nodes' symbols; for trees also their alternatives and numbers of children.
    """

    starts: Int[Tensor, " rows"]
    lengths: Int[Tensor, " rows"]
    values: tuple[Shaped[Tensor, " entries"], ...]

    def join(
        self, rows: Int[Tensor, " drawn"]
    ) -> tuple[tuple[Shaped[Tensor, " nodes"], ...], Int[Tensor, " boundaries"]]:
        """Put rows one after the other.

        Returns:
            The values, and where each row starts in them; at the end their number.
        """
        lengths, starts = self.lengths.index_select(0, rows), self.starts.index_select(0, rows)
        ends = pad(lengths.cumsum(0), (1, 0))
        # Within a row the next value is the next entry; from row to row there is a jump. Sums of steps beat an index
        # repeated for every value.
        jumps = starts.clone()
        jumps[1:] -= starts[:-1] + lengths[:-1] - 1
        step = ROWS_AT_ONCE if rows.device.type == "cpu" else max(1, len(rows))
        first_rows = [*range(0, len(rows), step), len(rows)]
        bounds = ends[torch.tensor(first_rows, device=ends.device)].tolist()
        joined = tuple(torch.empty(bounds[-1], dtype=value.dtype, device=value.device) for value in self.values)
        for first, last, begin, end in zip(first_rows[:-1], first_rows[1:], bounds[:-1], bounds[1:], strict=True):
            steps = torch.ones(end - begin, dtype=torch.int32, device=rows.device)
            steps.scatter_(0, ends[first:last] - begin, jumps[first:last])
            steps[0] = starts[first]
            source = steps.cumsum_(0)
            for value, out in zip(self.values, joined, strict=True):
                torch.index_select(value, 0, source, out=out[begin:end])
        return joined, ends


@dataclass(frozen=True, eq=False)
class Block:
    """Some levels of a family, rewritten in one draw.

    Attributes:
        top: the level whose symbols are rewritten.
        bottom: the level that they become.
        strides: what a choice of each level of the block adds to the number of its combination.
        first: the first row of each combination and symbol, the symbol changing fastest.
        count: how many rows it has.
        threshold: the alias method's: below it the row itself, above it the alias; none where all are equally likely.
        alias: the row to take instead.
        leaves: the symbols of the last level.
        inner: for trees, symbols, alternatives and numbers of children at the levels before; else empty.
    """

    top: int
    bottom: int
    strides: Int[Tensor, " levels"]
    first: Int[Tensor, " keys"]
    count: Float[Tensor, " keys"]
    threshold: Float[Tensor, " rows"] | None
    alias: Int[Tensor, " rows"] | None
    leaves: Pieces
    inner: tuple[Pieces, ...]

    def draw(self, keys: Int[Tensor, " nodes"], generator: torch.Generator) -> Int[Tensor, " nodes"]:
        """Draw a row for each combination and symbol."""
        uniform = torch.rand(len(keys), dtype=torch.float64, generator=generator, device=generator.device)
        place = uniform.to(keys.device) * self.count.index_select(0, keys)
        column = place.to(torch.int32)
        rows = column + self.first.index_select(0, keys)
        if self.threshold is None or self.alias is None:
            return rows
        stays = place - column < self.threshold.index_select(0, rows)
        return torch.where(stays, rows, self.alias.index_select(0, rows))


def blocks(family: GrammarFamily, device: torch.device, *, trees: bool) -> tuple[Block, ...]:
    """Return the tables of a family, from the root down.

    Args:
        family: whose documents are to be drawn.
        device: where the tables go.
        trees: whether to keep what stands between a block's first and last level. The rows are the same in any case.
    """
    spans, bottom = [], family.depth
    while bottom > 0:
        top = _highest_top(family, bottom)
        spans.append((top, bottom))
        bottom = top
    return tuple(_block(family, top, bottom, device, trees) for top, bottom in reversed(spans))


def integer_dtype(size: int) -> torch.dtype:
    """Return the smallest integer type that numbers so many things."""
    if size <= 2**8:
        return torch.uint8
    return torch.int16 if size <= 2**15 else torch.int32


@np.errstate(over="ignore", invalid="ignore")
def _highest_top(family: GrammarFamily, bottom: int) -> int:
    """Return the level from which a block down to ``bottom`` can be made without growing too large."""
    rows, entries = np.ones((1, family.sizes[bottom])), np.ones((1, family.sizes[bottom]))
    for level in reversed(range(bottom)):
        if len(family.rules[level]) * len(rows) * family.sizes[level] > MOST_SYMBOLS and level < bottom - 1:
            return level + 1
        shape = (family.n_choices[level] * len(rows), family.sizes[level])
        next_rows, next_entries = np.zeros(shape), np.zeros(shape)
        for choice, symbol, _, children, _ in _alternatives(family, level):
            ways = np.stack([rows[:, child] for child in children])
            of_all = ways.prod(0)
            here = slice(choice * len(rows), (choice + 1) * len(rows))
            next_rows[here, symbol] += of_all
            next_entries[here, symbol] += sum(entries[:, child] * (of_all / rows[:, child]) for child in children)
        rows, entries = next_rows, next_entries
        if not rows.sum() + entries.sum() <= MOST_SYMBOLS and level < bottom - 1:
            return level + 1
    return 0


def _alternatives(family: GrammarFamily, level: int) -> Iterator[tuple[int, int, int, tuple[int, ...], float]]:
    """Yield choice, symbol, number, children and probability of a level's alternatives that can occur."""
    for choice, symbols in enumerate(family.rules[level]):
        for symbol, alternatives in enumerate(symbols):
            for number, children in enumerate(alternatives):
                p = family.probs[level][choice][symbol][number]
                if p > 0:
                    yield choice, symbol, number, children, p


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes of rows at one level, while tables are built: as many rows of ``values`` as kinds of values."""

    lengths: ndarray
    values: ndarray

    def join(self, rows: ndarray, parts: ndarray) -> "_Nodes":
        """Return new rows, each of ``parts`` old ones put one after the other."""
        lengths = self.lengths[rows]
        ends = lengths.cumsum()
        starts = (self.lengths.cumsum() - self.lengths)[rows]
        source = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
        last = parts.cumsum()
        return _Nodes(np.diff(ends[last - 1], prepend=0), self.values[:, source])


def _block(family: GrammarFamily, top: int, bottom: int, device: torch.device, trees: bool) -> Block:
    size = family.sizes[bottom]
    leaves = _Nodes(np.ones(size, dtype=np.int64), np.arange(size)[None])
    inner: list[_Nodes] = []
    first, count, p = np.arange(size)[None], np.ones((1, size), dtype=np.int64), np.ones(size)
    for level in reversed(range(top, bottom)):
        grouped: dict[tuple[int, int, int], list[tuple[ndarray, ndarray, ndarray]]] = {}
        for (choice, symbol, number, children, probability), below in product(
            _alternatives(family, level), range(len(first))
        ):
            picked = _every_way(first[below, children], count[below, children])
            node = np.array([[symbol], [number], [len(children)]])
            way = (picked, probability * p[picked].prod(1), np.repeat(node, len(picked), 1))
            grouped.setdefault((choice, below, symbol), []).append(way)
        keys = list(product(range(family.n_choices[level]), range(len(first)), range(family.sizes[level])))
        ways = [way for key in keys for way in grouped[key]]
        rows = np.concatenate([picked.ravel() for picked, _, _ in ways])
        parts = np.concatenate([np.full(len(picked), picked.shape[1]) for picked, _, _ in ways])
        p = np.concatenate([probability for _, probability, _ in ways])
        leaves = leaves.join(rows, parts)
        if trees:
            node = np.concatenate([node for _, _, node in ways], axis=1)
            inner = [_Nodes(np.ones(len(p), dtype=np.int64), node), *(nodes.join(rows, parts) for nodes in inner)]
        count = np.array([sum(len(picked) for picked, _, _ in grouped[key]) for key in keys])
        first = (count.cumsum() - count).reshape(-1, family.sizes[level])
        count = count.reshape(first.shape)
    strides = [math.prod(family.n_choices[level + 1 : bottom]) for level in range(top, bottom)]
    threshold, alias = _alias(p, first.ravel(), count.ravel())
    return Block(
        top,
        bottom,
        torch.tensor(strides, device=device),
        torch.tensor(first.ravel(), dtype=torch.int32, device=device),
        torch.tensor(count.ravel(), dtype=torch.float64, device=device),
        None if threshold is None else torch.tensor(threshold, device=device),
        None if alias is None else torch.tensor(alias, dtype=torch.int32, device=device),
        _pieces(leaves, [integer_dtype(size)], device),
        tuple(_pieces(nodes, [torch.int64] * 3, device) for nodes in inner),
    )


def _every_way(first: ndarray, count: ndarray) -> ndarray:
    """Return all combinations of one row for each child, one combination a row."""
    number = np.arange(count.prod())
    columns = []
    for start, n in zip(first[::-1], count[::-1], strict=True):
        number, column = np.divmod(number, n)
        columns.append(start + column)
    return np.stack(columns[::-1], axis=1)


def _pieces(nodes: _Nodes, dtypes: list[torch.dtype], device: torch.device) -> Pieces:
    starts = nodes.lengths.cumsum() - nodes.lengths
    return Pieces(
        torch.tensor(starts, dtype=torch.int32, device=device),
        torch.tensor(nodes.lengths, dtype=torch.int32, device=device),
        tuple(torch.tensor(v, dtype=d, device=device) for v, d in zip(nodes.values, dtypes, strict=True)),
    )


def _alias(p: ndarray, first: ndarray, count: ndarray) -> tuple[ndarray | None, ndarray | None]:
    """Return Vose's tables, each group of rows for itself; none where the rows of every group are equally likely."""
    groups = [slice(start, start + n) for start, n in zip(first.tolist(), count.tolist(), strict=True)]
    threshold, alias = np.ones(len(p)), np.arange(len(p))
    for group in groups:
        weights = p[group] / p[group].mean()
        if np.ptp(weights) <= SAME:
            continue
        scaled = weights.tolist()
        small = [i for i, weight in enumerate(scaled) if weight < 1]
        large = [i for i, weight in enumerate(scaled) if weight >= 1]
        while small and large:
            low, high = small.pop(), large[-1]
            threshold[group.start + low], alias[group.start + low] = scaled[low], group.start + high
            scaled[high] -= 1 - scaled[low]
            if scaled[high] < 1:
                small.append(large.pop())
    return (None, None) if bool((threshold == 1).all()) else (threshold, alias)
