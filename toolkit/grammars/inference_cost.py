"""What a plan costs for sentences of some length, and the cheapest one.

Unit: a multiplication with addition along bands, about a nanosecond on one thread of a processor.
"""

from functools import lru_cache

import torch

from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_levels import Band, LevelPlan, Metadata
from toolkit.grammars.inference_plan import Plan, make_plan
from toolkit.grammars.inference_vectors import Combine

_A_CALL = 8000
"""What a call of a function costs beside its arithmetic."""
_FASTER = 12
"""How much faster matrix products are, by the number of multiplications."""
_MOST_VECTORS = 20_000
_CACHED_BYTES = 2**21
_GPU_BYTES = 2**31


def cheapest(
    family: GrammarFamily, metadata: Metadata, n_positions: int, n_sentences: int, form: str
) -> tuple[Plan, str]:
    """Return the plan that is estimated to cost least, and its form.

    Args:
        family: the grammars.
        metadata: which of them.
        n_positions: of the longest sentence.
        n_sentences: in a batch; the fewer, the more a call costs.
        form: ``"dense"``, ``"banded"``, or ``"auto"`` for the cheaper one.
    """
    plan, chosen, _ = _cheapest(family, metadata, n_positions, 2 ** n_sentences.bit_length(), form)
    return plan, chosen


def fitting(
    family: GrammarFamily, metadata: Metadata, n_positions: int, form: str, dtype: torch.dtype, device: torch.device
) -> int:
    """Return how many sentences of a length are best taken at a time.

    As many as the processor's cache holds, but at least 8; on a GPU, as many as fill a few gigabytes.
    """
    plan, chosen, _ = _cheapest(family, metadata, n_positions, 64, form)
    places = n_positions + 1
    numbers = plan.n_vectors * places
    for level in plan.levels:
        width = places if chosen == "dense" else _width(level.band, n_positions)
        numbers += len(level.items) * width * places
    room = _CACHED_BYTES if device.type == "cpu" else _GPU_BYTES
    return max(8, room // (numbers * dtype.itemsize))


@lru_cache(maxsize=4096)
def _cheapest(
    family: GrammarFamily, metadata: Metadata, n_positions: int, n_sentences: int, form: str
) -> tuple[Plan, str, float]:
    found: list[tuple[float, int, str, Plan]] = []
    for cut in range(1, family.depth + 1):
        plan = make_plan(family, metadata, cut)
        for each in ("dense", "banded") if form == "auto" else (form,):
            found.append((cost(plan, n_positions, n_sentences, each), cut, each, plan))
        too_many = cut < family.depth and plan.n_vectors * _growth(family, cut) > _MOST_VECTORS
        if too_many or min(found)[1] < cut - 1:
            break
    least, _, chosen, plan = min(found, key=lambda entry: entry[:3])
    return plan, chosen, least


def _growth(family: GrammarFamily, level: int) -> float:
    """Return how many vectors a vector becomes that passes through the rules of a level instead of through charts."""
    symbols = [symbol for choice in family.rules[level] for symbol in choice]
    return sum(len({rule[:end] for rule in rules for end in range(1, len(rule) + 1)}) for rules in symbols) / len(
        symbols
    )


def cost(plan: Plan, n_positions: int, n_sentences: int, form: str) -> float:
    """Return the estimated cost of a plan for each sentence of a batch.

    Args:
        plan: what is to be done.
        n_positions: of the longest sentence.
        n_sentences: in the batch.
        form: ``"dense"`` or ``"banded"``.
    """
    places = n_positions + 1
    dense = form == "dense"
    work, calls = 0.0, 0
    depth = plan.cut + len(plan.levels)
    widths = {depth: 1}
    band: Band = (1, 1)
    for level, planned in zip(reversed(range(plan.cut, depth)), plan.levels, strict=True):
        widths[level] = _width(planned.band, n_positions)
        products = _products(planned, band, n_positions)
        if dense:
            work += sum(n for n, _, _ in products) * places**2 * (places / _FASTER + 3)
            calls += 4 * len(products)
        else:
            work += sum(n * (left * right + 2 * right + left) for n, left, right in products) * places
            calls += sum(left + 4 for _, left, _ in products)
        band = planned.band
    for step in plan.steps:
        if isinstance(step, Combine):
            if step.as_matrix:
                work += places * len(step.sources) * (1 + step.n / _FASTER)
                calls += 2
            else:
                work += 2 * places * sum(map(len, step.sources))
                calls += 2 * len(step.sources)
        elif dense:
            work += step.n * places * (places / _FASTER + 3)
            calls += 4
        else:
            work += step.n * places * (widths[step.level] + 3)
            calls += widths[step.level] + 3
    return work + _A_CALL * calls / n_sentences


def _products(planned: LevelPlan, below: Band, n_positions: int) -> list[tuple[int, int, int]]:
    """Return how many products there are of which widths."""
    width = _width(below, n_positions)
    found = []
    right = width
    for pairs, band in zip(planned.tails, planned.tail_bands, strict=True):
        found.append((len(pairs.left), width, right))
        right = _width(band, n_positions)
    for firsts, (_, band) in zip(planned.firsts, planned.rests, strict=True):
        found.append((len(firsts), width, _width(band, n_positions)))
    return found


def _width(band: Band, n_positions: int) -> int:
    return max(0, min(band[1], n_positions) - band[0] + 1)
