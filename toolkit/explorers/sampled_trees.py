"""Draw a document and see its tree: which rules each level may use is what the metadata say.

The same seed with another choice at one level leaves the tree above that level as it is.
"""

from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.example_families import (
    DEEP,
    LARGE,
    SMALL,
    TOY,
    choice_name,
    derive,
    example_family,
    metadata_words,
)
from toolkit.explorers.metadata_control import MetadataControl
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.tree_drawing import draw_tree
from toolkit.grammars.trees import Tree
from toolkit.lessons import View, controls, style

MOST_SEEDS = 40


@dataclass(frozen=True, eq=False, repr=False)
class Drawn:
    """A document with its tree.

    Attributes:
        name: of its family.
        family: of grammars.
        metadata: the choice of each level.
        seed: of the draw.
        by_level: whose symbols give the colours.
        tree: the tree.
    """

    name: str
    family: GrammarFamily
    metadata: tuple[int, ...]
    seed: int
    by_level: int
    tree: Tree

    def rules(self, level: int, choice: int) -> list[tuple[str, bool]]:
        """Return the rules of a set of a level, as text, and whether the tree uses each."""
        used = {
            (node.label, tuple(child if isinstance(child, str) else child.label for child in node.children))
            for node in self.tree.nodes()
            if node.level == level and choice == self.metadata[level]
        }
        found = []
        for symbol, alternatives in enumerate(self.family.rules[level][choice]):
            label = self.family.symbol_name(level, symbol)
            for children in alternatives:
                right = tuple(self.family.symbol_name(level + 1, child) for child in children)
                found.append((f"{label} → {' '.join(right)}", (label, right) in used))
        return found

    @property
    def applied(self) -> list[int]:
        """How many rules of each level the tree uses, repeats counted."""
        counts = [0] * self.family.depth
        for node in self.tree.nodes():
            counts[node.level or 0] += 1
        return counts

    def __repr__(self) -> str:
        return f"Drawn({metadata_words(self.metadata)}, seed {self.seed}: {len(self.tree.leaves())} tokens)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the family and the tree as plain values."""
        return vars(self) | {"family": repr(self.family), "tree": self.tree.to_dict()}


def compute(name: str = TOY, metadata: tuple[int, ...] = (0, 1, 1), seed: int = 1, by_level: int = 1) -> Drawn:
    """Draw a document.

    Args:
        name: of one of the example families.
        metadata: a choice for each level.
        seed: of the draw.
        by_level: whose symbols give the colours.

    Raises:
        ValueError: an unknown family, choices it has not, a level it has not.
    """
    family = example_family(name)
    (row,) = family.check_metadata("compute", list(metadata)).tolist()
    require(0 <= by_level <= family.depth, "compute", "by_level", f"0 to {family.depth}", by_level)
    return Drawn(name, family, tuple(row), seed, by_level, derive(family, tuple(row), seed))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LINE, _SIZES, _GAP = 720.0, 15.5, (12.0, 11.0, 10.0, 9.0), 10.0


def draw(found: Drawn) -> Svg:
    """Draw the tree, and below it the rules of each level: all sets if there is room, else those that were chosen."""
    several = found.family.n_grammars > 1
    tree = draw_tree(
        found.tree,
        by_level=found.by_level,
        metadata=found.metadata if several else None,
        width=_WIDTH,
        title=_finding(found),
        frame=False,
    )
    columns, size = _columns(found)
    most = max(len(found.rules(level, choice)) for level, choice in columns)
    picture = Svg(_WIDTH, tree.height + 50 + _LINE * most + 6)
    picture.place(0, 0, tree)
    wide = [_wide(found, column, size) for column in columns]
    spare = (_WIDTH - 28 - sum(wide)) / max(len(columns) - 1, 1)
    x, top = 14.0, tree.height + 16
    for place, ((level, choice), width) in enumerate(zip(columns, wide, strict=True)):
        if place == 0 or columns[place - 1][0] != level:
            picture.text(x, top, f"level {level}", size=size, bold=True)
        chosen = choice == found.metadata[level]
        if found.family.n_choices[level] > 1:
            ink = style.INK if chosen else style.GREY
            picture.text(x, top + 17, choice_name(level, choice), size=size, bold=chosen, fill=ink)
            if chosen:
                picture.line(x, top + 22, x + width - 6, top + 22, stroke=style.INK, stroke_width=1.2)
        for number, (line, used) in enumerate(found.rules(level, choice)):
            ink = style.INK if used else style.GREY
            picture.text(x, top + 36 + _LINE * number, line, size=size, bold=used, fill=ink)
        x += width + min(spare, 4 * _GAP)
    return picture


def _columns(found: Drawn) -> tuple[list[tuple[int, int]], float]:
    """Return which sets of rules are listed, and in which size."""
    depth = found.family.depth
    every = [(level, choice) for level in range(depth) for choice in range(found.family.n_choices[level])]
    chosen = list(enumerate(found.metadata))
    for columns, sizes in ((every, _SIZES[:2]), (chosen, _SIZES)):
        for size in sizes:
            needed = sum(_wide(found, column, size) for column in columns) + _GAP * (len(columns) - 1)
            if needed <= _WIDTH - 28:
                return columns, size
    return chosen, _SIZES[-1]


def _wide(found: Drawn, column: tuple[int, int], size: float) -> float:
    lines = [line for line, _ in found.rules(*column)]
    # Any rule may be in bold for another document: columns stand still.
    return max(text_width(line, size, bold=True) for line in (*lines, "level 0"))


def _finding(found: Drawn) -> str:
    applied = found.applied
    last = len(applied) - 1
    levels = range(last + 1) if last < 4 else (0, last)
    said = [f"{applied[level]} of level {level}" for level in levels]
    return f"{len(found.tree.leaves())} tokens: one rule of level 0{''.join(f', {part}' for part in said[1:])}"


def describe(found: Drawn) -> str:
    """Say the sentence, its metadata, how probable its derivation is, and how many rules of each level it used."""
    leaves = found.tree.leaves()
    sentence = " ".join(leaves[:40]) + (" …" if len(leaves) > 40 else "")
    metadata = f"metadata {metadata_words(found.metadata)}, " if found.family.n_grammars > 1 else ""
    log_prob = f"{found.tree.log_prob:.2f}".replace("-", "−")
    return (
        f"{found.name}; document {found.seed}, {metadata}{len(leaves)} tokens: {sentence}. "
        f"Rules applied, from the top level down: {', '.join(map(str, found.applied))}; the log probability of the "
        f"derivation is {log_prob} nats. In bold: the rules that it uses."
    )


def explore_sampled_trees(name: str = TOY) -> View:
    """Return a view of one document and its tree.

    Args:
        name: of the family to begin with.
    """
    family = controls.choice("family", [*SMALL, DEEP, LARGE], name)
    first = example_family(name)
    metadata = MetadataControl(first.n_choices, [min(level, 1, n - 1) for level, n in enumerate(first.n_choices)])
    seed = controls.int_slider("document", 1, 1, MOST_SEEDS)
    by_level = controls.toggle("colour by ancestor at level", list(range(1, first.depth)), 1)

    def follow(_: object) -> None:
        chosen = example_family(family.value)
        kept = by_level.value
        if len(by_level.options) != chosen.depth - 1:
            by_level.options = [(str(level), level) for level in range(1, chosen.depth)]
            by_level.value = min(kept, chosen.depth - 1)
        metadata.show(chosen.n_choices)

    family.observe(follow, "value")

    def at(name: str, metadata: tuple[int, ...], seed: int, by_level: int) -> Drawn:
        chosen = example_family(name)  # its buttons follow a moment later
        fits = len(metadata) == chosen.depth and all(c < n for c, n in zip(metadata, chosen.n_choices, strict=True))
        levels = metadata if fits else tuple(0 for _ in chosen.n_choices)
        return compute(name, levels, seed, min(by_level, chosen.depth))

    return View({"name": family, "metadata": metadata, "seed": seed, "by_level": by_level}, at, draw, describe)
