"""Cut a document and let a perfect reader go on: it knows all rules, but not which of them served."""

import functools
import random
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.example_families import (
    SMALL,
    TOY,
    derive,
    draw_metadata,
    example_family,
    level_line,
    metadata_words,
    tokens_of,
)
from toolkit.explorers.level_knowledge import SAMPLED, all_sentences
from toolkit.grammars.enumeration import Enumeration
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.tree_drawing import draw_tree
from toolkit.grammars.trees import Tree
from toolkit.lessons import View, controls, style

N_SHOWN = 6
"""Completions that are drawn."""
FAMILIES = tuple(name for name in SMALL if name not in SAMPLED)


@dataclass(frozen=True)
class Completion:
    """One way to go on.

    Attributes:
        tokens: the whole sentence.
        own: whether the grammar of the document that was cut has this sentence.
        metadata: of the grammar that is most probable, given the whole sentence.
        belief: how probable that grammar is.
    """

    tokens: tuple[int, ...]
    own: bool
    metadata: tuple[int, ...]
    belief: float


@dataclass(frozen=True, eq=False, repr=False)
class Completed:
    """A prompt, and how a perfect reader goes on.

    Attributes:
        name: of the family.
        family: of grammars.
        document: the number of the document that was cut.
        metadata: its choices.
        tokens: its tokens.
        length: of the prompt, in tokens.
        n_sentences: how many sentences begin like that.
        chance: how probable it is that a completion is a sentence of the document's own grammar.
        completions: drawn ones.
        number: which of them has its tree drawn, from 1.
        tree: of that one.
    """

    name: str
    family: GrammarFamily
    document: int
    metadata: tuple[int, ...]
    tokens: tuple[int, ...]
    length: int
    n_sentences: int
    chance: float
    completions: tuple[Completion, ...]
    number: int
    tree: Tree

    @property
    def chosen(self) -> Completion:
        """The completion whose tree is drawn."""
        return self.completions[self.number - 1]

    def __repr__(self) -> str:
        return f"Completed(document {self.document}, {self.length} tokens: {self.chance:.3f} of the own grammar)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        plain = {"family": repr(self.family), "tree": self.tree.bracketed()}
        return vars(self) | plain | {"completions": [dict(vars(one)) for one in self.completions]}


@functools.cache
def _grammar(name: str, metadata: tuple[int, ...]) -> PCFG:
    return example_family(name).grammar(metadata).to_pcfg()


def compute(name: str = TOY, document: int = 9, length: int = 6, number: int = 1) -> Completed:
    """Cut a document and go on from there.

    Args:
        name: of a family whose sentences can be written down.
        document: which, from 1.
        length: of the prompt in tokens; more than there are: all of them.
        number: which completion has its tree drawn, 1 to ``N_SHOWN``.

    Raises:
        ValueError: another family, a negative length, a number that is not there.
    """
    require(name in FAMILIES, "compute", "name", f"one of {FAMILIES}", repr(name))
    require(length >= 0, "compute", "length", ">= 0", length)
    require(1 <= number <= N_SHOWN, "compute", "number", f"1 to {N_SHOWN}", number)
    family, every = example_family(name), all_sentences(name)
    metadata = draw_metadata(family, document)
    tokens = tuple(tokens_of(family, derive(family, metadata, document)))
    length = min(length, len(tokens))
    rows = every.documents.padded()
    fits = (rows[:, :length] == rows.new_tensor(tokens[:length])).all(1).nonzero()[:, 0]
    weights = every.probability[fits]
    index = int(family.metadata_index(rows.new_tensor([metadata]))[0])
    member = every.log_prob[fits, index] > -float("inf")
    draws = random.Random(document)
    chosen = draws.choices(fits.tolist(), weights.tolist(), k=N_SHOWN)
    completions = tuple(_completion(every, family, place, index) for place in chosen)
    shown = completions[number - 1]
    parse = _grammar(name, shown.metadata).viterbi([family.terminals[token] for token in shown.tokens])
    assert parse.tree is not None  # the grammar is possible, given the sentence
    chance = float((weights * member).sum() / weights.sum())
    return Completed(
        name, family, document, metadata, tokens, length, len(fits), chance, completions, number, parse.tree
    )


def _completion(every: Enumeration, family: GrammarFamily, place: int, index: int) -> Completion:
    posterior = (every.log_prob[place] + family.metadata_log_prob).softmax(0)
    best = int(posterior.argmax())
    return Completion(
        tuple(every.documents[place].tolist()),
        bool(every.log_prob[place, index] > -float("inf")),
        tuple(family.all_metadata[best].tolist()),
        float(posterior[best]),
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _LINE = 720.0, 38.0, 20.0


def draw(found: Completed) -> Svg:
    """Draw the completions one below the other, and the tree of one of them."""
    levels = range(found.family.depth)
    tree = draw_tree(
        found.tree,
        level_colours=[level_line(found.family, level).color for level in levels],
        metadata=found.chosen.metadata,
        cut=found.length,
        width=_WIDTH,
        frame=False,
    )
    below = _TOP + 22 + _LINE * (N_SHOWN + 1) + 14
    picture = Svg(_WIDTH, below + 18 + tree.height)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    _draw_rows(picture, found)
    who = "the document's own grammar" if found.chosen.metadata == found.metadata else "another grammar"
    belief = "" if found.chosen.belief > 0.9995 else f", probability {found.chosen.belief + 1e-9:.2f}"
    head = f"tree of completion {found.number}, by {who}{belief}; dashed: end of the prompt"
    picture.text(14, below + 12, head, size=12.5, bold=True)
    picture.place(0, below + 16, tree)
    return picture


def _draw_rows(picture: Svg, found: Completed) -> None:
    left, right = 112.0, _WIDTH - 200
    longest = max(len(found.tokens), *(len(one.tokens) for one in found.completions))
    cell = min(16.0, (right - left) / longest)
    head = _TOP + 14
    picture.text(left, head, "prompt and completion", size=12.5, bold=True)
    picture.text(right + 14, head, "fits its grammar?", size=12.5, bold=True)
    names = found.family.terminals
    rows = [("the document", found.tokens, None), *((str(n), c.tokens, c) for n, c in enumerate(found.completions, 1))]
    top = head + 8
    picture.rectangle(left - 3, top, cell * found.length + 4, _LINE * len(rows), fill="#e4e4e4")
    for number, (name, tokens, completion) in enumerate(rows):
        y = top + _LINE * number + 14
        chosen = number == found.number
        picture.text(left - 12, y, name, size=12, anchor="end", bold=chosen)
        for place, token in enumerate(tokens):
            ink = style.BLACK if completion is None or place < found.length else style.INK
            x = left + cell * (place + 0.5)
            picture.text(x, y, names[token], size=12.5, anchor="middle", bold=completion is None or chosen, fill=ink)
        if completion is None:
            picture.text(right + 14, y, f"metadata {metadata_words(found.metadata)}", size=12, fill=style.GREY)
            continue
        mark, words = ("✓", "yes") if completion.own else ("✗", f"no, {metadata_words(completion.metadata)}")
        picture.text(right + 14, y, mark, size=13, bold=True, fill=style.INK if completion.own else style.VERMILION)
        picture.text(right + 14 + text_width("✓", 13, bold=True), y, words, size=12, bold=chosen)


def _percent(share: float) -> str:
    return f"{100 * share + 1e-9:.0f} %"


def _tokens(n: int) -> str:
    return f"{n} token{'s' * (n != 1)}"


def _finding(found: Completed) -> str:
    return f"After {_tokens(found.length)}, {_percent(found.chance)} of perfect completions fit the document's grammar"


def describe(found: Completed) -> str:
    """Say the prompt, how many sentences begin like that, the chance to hit the own grammar, and one completion."""
    names = found.family.terminals
    prompt = " ".join(names[token] for token in found.tokens[: found.length]) or "nothing"
    rest = " ".join(names[token] for token in found.chosen.tokens[found.length :]) or "the end at once"
    own = sum(one.own for one in found.completions)
    begin = f"{found.n_sentences:,} sentences begin" if found.n_sentences > 1 else "1 sentence begins"
    return (
        f"{found.name}; document {found.document}, metadata {metadata_words(found.metadata)}, cut after "
        f"{_tokens(found.length)} ({prompt}). {begin} like this. Every completion is a sentence of some grammar, "
        f"and of the document's with probability {found.chance + 1e-11:.3f}: {own} of the {N_SHOWN} drawn here. "
        f"Completion {found.number}: {rest}."
    )


def explore_perfect_completions(name: str = TOY, document: int = 9, length: int = 6) -> View:
    """Return a view of a prompt and how a perfect reader goes on.

    Args:
        name: of the family to begin with.
        document: to cut.
        length: of the prompt.
    """
    first = compute(name, document, length)
    family = controls.choice("family", list(FAMILIES), name)
    prompt = controls.int_slider("prompt", first.length, 0, len(first.tokens), unit="tokens")

    def at(name: str, document: int, length: int, number: int) -> Completed:
        found = compute(name, document, length, number)
        prompt.max = len(found.tokens)
        return found

    chosen = {
        "name": family,
        "document": controls.int_slider("document", document, 1, 40),
        "length": prompt,
        "number": controls.int_slider("tree of completion", 1, 1, N_SHOWN),
    }
    return View(chosen, at, draw, describe)
