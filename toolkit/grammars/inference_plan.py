"""Which charts to fill and which vectors to send through them, worked out once for a family and its metadata.

A chart of level l holds the probability that a symbol of that level yields the tokens from one position to another.
It depends on the choices of the levels from l on only, so grammars that agree there share it: they have the same unit.
Charts are filled from the tokens up to the level ``cut``. Above it none are needed: what a prefix can be followed by
is found by sending a vector over positions (how probable it is that a symbol starts there) from the root down through
the rules, and through the charts of level ``cut`` wherever a whole symbol is passed over.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_levels import Band, LevelPlan, Metadata, plan_level, units
from toolkit.grammars.inference_vectors import START, Combine, Through, Vectors


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that does not depend on the sentences.

    Attributes:
        cut: the uppermost level with charts.
        levels: the plans of the levels ``depth - 1`` down to ``cut``, in this order.
        steps: of the vectors, in this order.
        n_vectors: room for all of them.
        next_tokens: which vector says that a token comes next, a row of V a grammar.
        sentences: which vector says that the sentence ends, one a grammar.
    """

    cut: int
    levels: tuple[LevelPlan, ...]
    steps: tuple[Through | Combine, ...]
    n_vectors: int
    next_tokens: tuple[tuple[int, ...], ...]
    sentences: tuple[int, ...]
    tables: dict[tuple, Tensor] = field(default_factory=dict)

    def table(self, values: tuple, like: Tensor) -> Tensor:
        """Return a part of this plan as a tensor, made once: floats of the type of ``like``, integers as they are."""
        key = (id(values), like.dtype, like.device)
        if key not in self.tables:
            whole = not torch.tensor(values).is_floating_point()
            # Not from the default type: its 32 bits would cut the probabilities short.
            self.tables[key] = torch.tensor(values, dtype=torch.int64 if whole else like.dtype, device=like.device)
        return self.tables[key]


@lru_cache(maxsize=64)
def make_plan(family: GrammarFamily, metadata: Metadata, cut: int) -> Plan:
    """Return the plan for these grammars of a family, with charts from the tokens up to level ``cut`` (1 to depth)."""
    all_units = units(metadata, family.depth)
    items = {family.depth: {(0, token): token for token in range(family.n_terminals)}}
    bands: tuple[Band, ...] = ((1, 1),) * family.n_terminals
    levels = []
    for level in reversed(range(cut, family.depth)):
        planned = plan_level(family, level, all_units[level], items[level + 1], bands)
        levels.append(planned)
        items[level], bands = planned.items, planned.bands
    vectors = Vectors(family, all_units, items, cut)
    following = [vectors.next_tokens(grammar) for grammar in range(len(metadata))]
    ends = [vectors.through(START, 0, unit, 0) for unit in all_units[0].of_grammar]
    steps, room, place = vectors.in_steps()
    return Plan(
        cut,
        tuple(levels),
        steps,
        room,
        tuple(tuple(place[vector] for vector in row) for row in following),
        tuple(place[vector] for vector in ends),
    )
