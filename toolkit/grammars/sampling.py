"""Documents of a family, all drawn at once."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.grammars.documents import Documents, LevelNodes
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.sampling_tables import Block, blocks


class Sampler:
    """Draws documents of one family; keeps the tables that this takes, for each device.

    Several levels are rewritten in one draw: a row of a table says what a symbol becomes some levels further down, and
    is drawn with the exact probability of that by the alias method (to the 53 bits of a double).
    """

    def __init__(self, family: GrammarFamily) -> None:
        self.family = family
        self._blocks: dict[tuple[torch.device, bool], tuple[Block, ...]] = {}
        self._bounds: dict[torch.device, Float[Tensor, "levels steps"]] = {}

    def sample(
        self,
        n: int,
        metadata: Any = None,
        *,
        device: torch.device | str | int | None = None,
        generator: torch.Generator | None = None,
        return_trees: bool = False,
    ) -> Documents:
        """Draw documents; arguments and result as :meth:`GrammarFamily.sample`."""
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            reject("sample", "n", "a number of documents", repr(n), kind=TypeError)
        n = int(n)
        require(n >= 0, "sample", "n", ">= 0", n)
        device = resolve_device(device, like=metadata if isinstance(metadata, Tensor) else None)
        generator = resolve_generator(generator, device=device)
        chosen = self._metadata(n, metadata, device, generator)
        tables = self._tables(device, return_trees)
        symbols = torch.zeros(n, dtype=torch.int32, device=device)
        starts = torch.arange(n + 1, device=device)
        levels: list[LevelNodes] = []
        parents = starts[:0]
        for block in tables:
            keys = symbols.to(torch.int32)
            if len(block.first) > self.family.sizes[block.top]:
                combination = (chosen[:, block.top : block.bottom] * block.strides).sum(1)
                of_document = (combination * self.family.sizes[block.top]).to(torch.int32)
                keys = keys + of_document.repeat_interleave(starts.diff(), output_size=len(keys))
            rows = block.draw(keys, generator)
            for pieces in block.inner:
                (nodes, alternatives, children), _ = pieces.join(rows)
                levels.append(LevelNodes(nodes, parents, alternatives))
                parents = torch.arange(len(nodes), device=device).repeat_interleave(children)
            (symbols,), ends = block.leaves.join(rows)
            starts = ends.index_select(0, starts)
        if return_trees:
            levels.append(LevelNodes(symbols.to(torch.int64), parents, parents[:0]))
        return Documents(symbols, starts, chosen, tuple(levels))

    def _tables(self, device: torch.device, trees: bool) -> tuple[Block, ...]:
        if (device, trees) not in self._blocks:
            self._blocks[device, trees] = blocks(self.family, device, trees=trees)
        return self._blocks[device, trees]

    def _metadata(
        self, n: int, metadata: Any, device: torch.device, generator: torch.Generator
    ) -> Int[Tensor, "documents levels"]:
        if metadata is not None:
            given = self.family.check_metadata("sample", metadata).to(device)
            fits = len(given) in (1, n)
            require(fits, "sample", "metadata", f"one row, or {n}: one a document", f"{len(given)} rows")
            return given.repeat(n, 1) if len(given) == 1 else given
        if self.family.n_grammars == 1:
            return torch.zeros((n, self.family.depth), dtype=torch.int64, device=device)
        if device not in self._bounds:
            self._bounds[device] = _bounds(self.family).to(device)
        shape = (n, self.family.depth, 1)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator, device=generator.device).to(device)
        return (uniform >= self._bounds[device]).sum(-1)


def _bounds(family: GrammarFamily) -> Float[Tensor, "levels steps"]:
    """Return where the unit interval is cut into the choices of each level."""
    most = max(family.n_choices)
    rows = []
    for probs in family.choice_probs:
        cuts = torch.tensor(probs, dtype=torch.float64).cumsum(0)
        # A sum may end below 1 by rounding; what lies behind the last choice that can occur must not be drawn.
        last = max(choice for choice, p in enumerate(probs) if p > 0)
        cuts[last:] = torch.inf
        rows.append(pad(cuts, (0, most - len(probs)), value=torch.inf))
    return torch.stack(rows)[:, :-1]
