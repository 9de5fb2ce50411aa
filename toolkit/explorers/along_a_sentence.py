"""Read a document token by token: what is known of its metadata, and what comes next, exactly."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.example_families import (
    DEEP,
    SMALL,
    TOY,
    choice_name,
    derive,
    draw_metadata,
    example_family,
    level_line,
    metadata_words,
    tokens_of,
)
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer
from toolkit.grammars.tree_drawing import draw_tree, token_places
from toolkit.grammars.trees import Tree
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import draw_marker

MOST_DOCUMENTS = 40
CERTAIN = 0.9995


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """A document, and what a reader of all rules knows after so many tokens.

    Attributes:
        name: of its family.
        family: of grammars.
        document: its number.
        metadata: its choices.
        tree: its tree.
        known: of how many levels, from the top on, the choices were told beforehand.
        place: how many tokens are read; one more than there are: the end of the document too.
        posterior: for each level ``[place][choice]``, up to the end of the document.
        following: ``[place][token]`` for places before the end, the end of the document last.
    """

    name: str
    family: GrammarFamily
    document: int
    metadata: tuple[int, ...]
    tree: Tree
    known: int
    place: int
    posterior: tuple[tuple[tuple[float, ...], ...], ...]
    following: tuple[tuple[float, ...], ...]

    @property
    def n_tokens(self) -> int:
        """How long the document is."""
        return len(self.following) - 1

    @property
    def names(self) -> tuple[str, ...]:
        """The tokens, and the end."""
        return (*self.family.terminals, "end")

    def truth(self, level: int) -> list[float]:
        """Return the probability of the right choice of a level at each place."""
        return [row[self.metadata[level]] for row in self.posterior[level]]

    @property
    def now(self) -> list[float]:
        """The probability of the right choice of each level at this place."""
        return [self.truth(level)[self.place] for level in range(self.family.depth)]

    @property
    def next_token(self) -> int | None:
        """What does come next, as a place in :attr:`names`; None at the end of the document."""
        if self.place > self.n_tokens:
            return None
        return (*tokens_of(self.family, self.tree), self.family.n_terminals)[self.place]

    def __repr__(self) -> str:
        return f"Reading(document {self.document}, {self.place} of {self.n_tokens} tokens)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the family and the tree as plain values."""
        return vars(self) | {"family": repr(self.family), "tree": self.tree.to_dict()}


@functools.lru_cache(maxsize=256)
def _read(name: str, document: int, known: int) -> tuple[Any, ...]:
    family = example_family(name)
    metadata = draw_metadata(family, document)
    tree = derive(family, metadata, document)
    found = infer(family, torch.tensor(tokens_of(family, tree)), device="cpu")
    told: dict[str, Any] = {"known_levels": known, "metadata": metadata if known else None}
    along, whole = found.level_posterior(**told), found.sentence_level_posterior(**told)
    posterior = tuple(
        tuple(map(tuple, [*level[0].tolist(), *end.tolist()])) for level, end in zip(along, whole, strict=True)
    )
    following = tuple(map(tuple, found.next_token_probs(**told)[0].tolist()))
    return family, metadata, tree, posterior, following


def compute(name: str = TOY, document: int = 9, place: int = 4, known: int = 0) -> Reading:
    """Read the beginning of a document.

    Args:
        name: of one of the example families with metadata.
        document: which, from 1.
        place: how many tokens; more than there are: all of them, and that it ends there.
        known: of how many levels the choices are told beforehand.

    Raises:
        ValueError: an unknown family, a negative place, more levels than there are.
    """
    family = example_family(name)
    require(place >= 0, "compute", "place", ">= 0", place)
    require(0 <= known <= family.depth, "compute", "known", f"0 to {family.depth}", known)
    family, metadata, tree, posterior, following = _read(name, document, known)
    place = min(place, len(following))
    return Reading(name, family, document, metadata, tree, known, place, posterior, following)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TREE, _TOP, _TALL, _BAR = 720.0, 530.0, 34.0, 150.0, 17.0


def draw(found: Reading) -> Svg:
    """Draw the tree with a line behind what is read, what comes next beside it, and the beliefs below it."""
    levels = range(found.family.depth)
    tree = draw_tree(
        found.tree,
        level_colours=[level_line(found.family, level).color for level in levels],
        metadata=found.metadata,
        cut=min(found.place, found.n_tokens),
        width=_TREE,
        frame=False,
    )
    bars = 46 + _BAR * len(found.names)
    middle = _TOP + max(tree.height, bars)
    picture = Svg(_WIDTH, middle + 26 + _TALL + 44)
    picture.place(0, _TOP, tree)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    _draw_following(picture, found, _TREE + 26, _TOP)
    _draw_beliefs(picture, found, middle + 26)
    return picture


def _draw_following(picture: Svg, found: Reading, left: float, top: float) -> None:
    picture.text(left, top + 14, "what comes next", size=12.5, bold=True)
    right, names = _WIDTH - 14, found.names
    beside = max(text_width(name, 12.5, bold=True) for name in names) + 8
    start, room = left + beside, right - left - beside - 42
    if found.next_token is None:
        picture.text(left, top + 38, "nothing: the end", size=12.5, fill=style.GREY)
        return
    for number, (name, p) in enumerate(zip(names, found.following[found.place], strict=True)):
        y = top + 24 + _BAR * number
        true = number == found.next_token
        picture.text(start - 6, y + 12, name, size=12.5, anchor="end", bold=true)
        picture.rectangle(start, y + 2, room * p, _BAR - 4, fill=style.BLACK if true else "#b4b4b4")
        picture.text(start + room * p + 5, y + 12, _share(p), size=12, bold=true)
    picture.line(start, top + 24, start, top + 24 + _BAR * len(names), stroke="#8c8c8c", stroke_width=1)
    picture.text(left, top + 38 + _BAR * len(names), "black: what does come", size=12, fill=style.GREY)


def _draw_beliefs(picture: Svg, found: Reading, top: float) -> None:
    edges = token_places(found.tree, metadata=found.metadata, width=_TREE)
    places = [*edges, edges[-1] + 24]
    bottom = top + _TALL
    to_y = Scale(0.0, 1.0, bottom, top + 6, False)
    picture.text(
        14, top - 8, "probability of the right choice of each level, given the tokens read", size=12.5, bold=True
    )
    for value, name in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        picture.line(edges[0], to_y(value), places[-1], to_y(value), stroke="#8c8c8c" if value == 0 else "#e6e6e6")
        picture.text(edges[0] - 8, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    step = next(step for step in (1, 2, 5, 10, 20) if step * (edges[-1] - edges[0]) / found.n_tokens >= 20)
    for number in range(0, found.n_tokens + 1, step):
        picture.text(places[number], bottom + 16, number, size=12, anchor="middle", fill=style.GREY)
    picture.text(places[-1], bottom + 16, "end", size=12, anchor="middle", fill=style.GREY)
    picture.text((edges[0] + edges[-1]) / 2, bottom + 34, "tokens read", size=12.5, anchor="middle")
    at = places[found.place]
    picture.line(at, top - 2, at, bottom, stroke=style.INK, stroke_width=1.6, dash=(5, 3))
    ends = []
    for level in range(found.family.depth):
        look, heights = level_line(found.family, level), [to_y(p) for p in found.truth(level)]
        points = list(zip(places, heights, strict=True))
        picture.polyline(points, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        ends.append(((bottom - heights[-1]) / _TALL, level))
    for level in range(found.family.depth):
        draw_marker(picture, at, to_y(found.now[level]), level_line(found.family, level))
    ends.sort()
    for height, (_, level) in zip(style.spread([h for h, _ in ends], 15 / _TALL), ends, strict=True):
        place = {0: ", top", found.family.depth - 1: ", bottom"}.get(level, "")
        label = f"{choice_name(level)}  level {level}{place}"
        picture.text(
            places[-1] + 12,
            bottom - height * _TALL + 4,
            label,
            size=12,
            bold=True,
            fill=level_line(found.family, level).color,
        )


def _share(p: float) -> str:
    # A shade more than it is: the last bit must not decide how a half is rounded.
    return "0" if p == 0 else "1" if p > CERTAIN else f"{p + 1e-9:.2f}" if p >= 0.005 else "< 0.01"


def _when(found: Reading) -> str:
    if found.place > found.n_tokens:
        return f"After all {found.n_tokens} tokens and the end"
    return f"After {found.place} of {found.n_tokens} tokens"


def _finding(found: Reading) -> str:
    certain = [level for level, p in enumerate(found.now) if p > CERTAIN]
    open_ = [level for level in range(found.family.depth) if level not in certain]
    told = [level for level in certain if level < found.known]
    learnt = [level for level in certain if level >= found.known]
    parts = []
    if told:
        parts.append(f"{_listed(told)} told")
    if learnt:
        parts.append(f"{_listed(learnt)} certain")
    if open_:
        parts.append(", ".join(f"{choice_name(level)} at {_share(found.now[level])}" for level in open_))
    return f"{_when(found)}: {'; '.join(parts)}"


def _listed(levels: list[int]) -> str:
    names = [choice_name(level) for level in levels]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe(found: Reading) -> str:
    """Say what was read, what is believed of each level's choice, and how probable what comes next was."""
    leaves = found.tree.leaves()
    read = " ".join(leaves[: found.place]) or "nothing"
    beliefs = ", ".join(
        f"{choice_name(level, found.metadata[level])} with probability {_share(p)}" for level, p in enumerate(found.now)
    )
    text = f"Document {found.document}, metadata {metadata_words(found.metadata)}. {_when(found)} ({read}): {beliefs}."
    if found.known:
        text += f" The choices of the first {found.known} levels were told." if found.known > 1 else " j₀ was told."
    if found.next_token is not None:
        p = found.following[found.place][found.next_token]
        what = "The end" if found.next_token == found.family.n_terminals else found.names[found.next_token]
        text += f" {what} comes next; that had probability {_share(p)}, a loss of {-math.log(p) + 0.0:.2f} nats."
    return text


def explore_along_a_sentence(name: str = TOY, document: int = 9, place: int = 4) -> View:
    """Return a view that reads a document token by token.

    Args:
        name: of the family to begin with.
        document: to begin with.
        place: how many tokens are read at first.
    """
    first = compute(name, document, place)
    family = controls.choice("family", [*SMALL, DEEP], name)
    number = controls.int_slider("document", document, 1, MOST_DOCUMENTS)
    read = controls.int_slider("tokens read", first.place, 0, first.n_tokens + 1)
    known = controls.toggle("metadata told beforehand", _told(first.family.depth), 0)
    steps = controls.step_buttons(read)

    def at(name: str, document: int, place: int, known: int) -> Reading:
        depth = example_family(name).depth
        found = compute(name, document, place, min(known, depth))
        if len(told := _told(depth)) != len(known_levels.options):
            known_levels.options = list(told.items())
            known_levels.value = min(known, depth)
        read.max = found.n_tokens + 1
        return found

    known_levels = known
    chosen = {"name": family, "document": number, "place": read, "known": known}
    return View(chosen, at, draw, describe, extra=(steps,))


def _told(depth: int) -> dict[str, int]:
    return {"none": 0, **{_listed(list(range(n))): n for n in range(1, depth)}, "all": depth}
