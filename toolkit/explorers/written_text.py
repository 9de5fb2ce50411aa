"""What trained decoders write behind the beginning of a document, and which grammars accept it."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.example_families import (
    derive,
    draw_metadata,
    example_family,
    level_line,
    metadata_words,
    tokens_of,
)
from toolkit.explorers.level_knowledge import all_sentences
from toolkit.explorers.live_decoders import BASELINE_LOOK, STEPS, TOLD_LOOK, Run, Setting, opening_run
from toolkit.grammars.accuracy import judge
from toolkit.grammars.documents import as_documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.inference import infer
from toolkit.grammars.predictions import writer
from toolkit.grammars.tree_drawing import draw_tree
from toolkit.grammars.trees import Tree
from toolkit.lessons import View, controls, style

N_WRITTEN, N_SHOWN = 50, 8
"""Continuations that each model is judged by, and that are shown of one of them."""
BASELINE, TOLD = "baseline", "metadata"
DOCUMENTS = 40


@dataclass(frozen=True)
class Written:
    """One text.

    Attributes:
        tokens: prompt and continuation.
        ended: whether the model ended it.
        accepting: the metadata of the grammars that accept it, the most probable first; none if it is no sentence.
        own: whether the grammar of the prompt's document is among them.
    """

    tokens: tuple[int, ...]
    ended: bool
    accepting: tuple[tuple[int, ...], ...]
    own: bool


@dataclass(frozen=True)
class Scores:
    """How many of a writer's texts are sentences, as shares.

    Attributes:
        any: of some grammar.
        own: of the grammar of the prompt's document.
    """

    any: float
    own: float


@dataclass(frozen=True, eq=False, repr=False)
class Texts:
    """A prompt, and what two models write behind it.

    Attributes:
        family: of grammars.
        document: number of the document that the prompt is from.
        metadata: its choices.
        tokens: its tokens.
        length: of the prompt.
        writer: ``BASELINE`` or ``TOLD``: whose texts are shown.
        texts: of this one.
        number: of the text whose tree is drawn, from 1.
        tree: of that one; None if no grammar accepts it.
        scores: of both models, and of a perfect reader, whose are exact.
        n: how many texts of each model were judged.
        step: how long the models were trained.
    """

    family: GrammarFamily
    document: int
    metadata: tuple[int, ...]
    tokens: tuple[int, ...]
    length: int
    writer: str
    texts: tuple[Written, ...]
    number: int
    tree: Tree | None
    scores: dict[str, Scores]
    perfect: Scores
    n: int
    step: int

    @property
    def chosen(self) -> Written:
        """The text whose tree is drawn."""
        return self.texts[self.number - 1]

    def __repr__(self) -> str:
        return f"Texts(document {self.document}, {self.length} tokens, {self.writer}: {self.scores[self.writer]})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        plain = {"family": repr(self.family), "tree": None if self.tree is None else self.tree.bracketed()}
        scores = {name: dict(vars(one)) for name, one in self.scores.items()}
        texts = [dict(vars(one)) for one in self.texts]
        return vars(self) | plain | {"texts": texts, "scores": scores, "perfect": dict(vars(self.perfect))}


@functools.lru_cache(maxsize=512)
def _write(
    run: Run, who: str, metadata: tuple[int, ...], prompt: tuple[int, ...]
) -> tuple[tuple[Written, ...], Scores]:
    """Let a model go on from a prompt, many times; the texts that are shown, and the scores of all."""
    require(run.models is not None, "compute", "run", "one whose training has ended", repr(run))
    assert run.models is not None
    family = example_family(run.setting.name)
    model = run.models[who == TOLD]
    rows = torch.tensor([prompt] * N_WRITTEN, dtype=torch.int64).reshape(N_WRITTEN, len(prompt))
    write = writer(model, generator=torch.Generator().manual_seed(len(prompt)))
    written = write(as_documents("written_text", rows), family.longest + 1 - len(prompt))
    judged = judge(family, written.documents, written.ended, torch.tensor([metadata] * N_WRITTEN))
    scores = Scores(float(judged.any.double().mean()), float(judged.true.double().mean()))
    shown = [tuple(written.documents[place].tolist()) for place in range(N_SHOWN)]
    accepting = _accepting(family, [tokens for tokens, fine in zip(shown, judged.any.tolist(), strict=False) if fine])
    flags = zip(written.ended.tolist(), judged.any.tolist(), judged.true.tolist(), strict=True)
    texts = tuple(
        Written(tokens, ended, accepting[tokens] if fine else (), own)
        for tokens, (ended, fine, own) in zip(shown, flags, strict=False)
    )
    return texts, scores


def _accepting(
    family: GrammarFamily, texts: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Return for each text the metadata of the grammars that accept it, the most probable first."""
    if not texts:
        return {}
    found = {}
    for tokens, beliefs in zip(texts, infer(family, [list(text) for text in texts]).sentence_posterior(), strict=True):
        order = beliefs.argsort(descending=True, stable=True)[: int((beliefs > 0).sum())]
        found[tokens] = tuple(tuple(family.all_metadata[index].tolist()) for index in order)
    return found


@functools.lru_cache(maxsize=512)
def _perfect(name: str, metadata: tuple[int, ...], prompt: tuple[int, ...]) -> Scores:
    """Return how often a perfect reader's continuations are of the own grammar; of some grammar they always are."""
    every, family = all_sentences(name), example_family(name)
    rows = every.documents.padded()
    fits = (rows[:, : len(prompt)] == rows.new_tensor(prompt)).all(1)
    index = int(family.metadata_index(torch.tensor([metadata]))[0])
    own = (every.log_prob[:, index] > -torch.inf) & fits
    return Scores(1.0, float(every.probability[own].sum() / every.probability[fits].sum()))


@functools.cache
def _grammar(name: str, metadata: tuple[int, ...]) -> PCFG:
    return example_family(name).grammar(metadata).to_pcfg()


def compute(run: Run, document: int = 9, length: int = 6, writer: str = BASELINE, number: int = 1) -> Texts:
    """Cut a document and let a trained model go on.

    Args:
        run: with the two models; its training has ended.
        document: which, from 1.
        length: of the prompt in tokens; more than there are: all of them.
        writer: ``BASELINE`` or ``TOLD``.
        number: which text has its tree drawn, 1 to ``N_SHOWN``.

    Raises:
        ValueError: an unknown writer, a negative length, a number that is not there, models still being trained.
    """
    require(writer in (BASELINE, TOLD), "compute", "writer", f"{BASELINE!r} or {TOLD!r}", repr(writer))
    require(length >= 0, "compute", "length", ">= 0", length)
    require(1 <= number <= N_SHOWN, "compute", "number", f"1 to {N_SHOWN}", number)
    name = run.setting.name
    family = example_family(name)
    metadata = draw_metadata(family, document)
    tokens = tuple(tokens_of(family, derive(family, metadata, document)))
    length = min(length, len(tokens))
    found = {who: _write(run, who, metadata, tokens[:length]) for who in (BASELINE, TOLD)}
    texts, shown = found[writer][0], found[writer][0][number - 1]
    tree = None
    if shown.accepting:
        tree = _grammar(name, shown.accepting[0]).viterbi([family.terminals[token] for token in shown.tokens]).tree
    scores = {who: of for who, (_, of) in found.items()}
    perfect = _perfect(name, metadata, tokens[:length])
    return Texts(
        family, document, metadata, tokens, length, writer, texts, number, tree, scores, perfect, N_WRITTEN, run.step
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _LINE, _BAR = 720.0, 38.0, 20.0, 22.0
_LOOKS = {BASELINE: BASELINE_LOOK, TOLD: TOLD_LOOK}


def draw(found: Texts) -> Svg:
    """Draw how often the texts are sentences, the texts of one model, and the tree of one of them."""
    tree = None
    if found.tree is not None:
        tree = draw_tree(
            found.tree,
            level_colours=[level_line(found.family, level).color for level in range(found.family.depth)],
            metadata=found.chosen.accepting[0],
            cut=found.length,
            width=_WIDTH,
            frame=False,
        )
    bars = _TOP + 24 + 3 * _BAR + 16
    below = bars + 22 + _LINE * (N_SHOWN + 1) + 14
    picture = Svg(_WIDTH, below + 24 + (12 if tree is None else tree.height))
    picture.text(14, 24, _finding(found), size=14, bold=True)
    _draw_bars(picture, found)
    _draw_rows(picture, found, bars)
    if tree is None:
        ended = "no grammar accepts it" if found.chosen.ended else "the model did not end it"
        picture.text(14, below + 12, f"text {found.number} has no tree: {ended}", size=12.5, bold=True)
        return picture
    who = "the document's own grammar" if found.chosen.accepting[0] == found.metadata else "another grammar"
    head = f"tree of text {found.number}, by {who}; dashed: end of the prompt"
    picture.text(14, below + 12, head, size=12.5, bold=True)
    picture.place(0, below + 16, tree)
    return picture


def _draw_bars(picture: Svg, found: Texts) -> None:
    """Draw for each writer the share of sentences of some grammar, pale, and of the own grammar, full."""
    left, right = 112.0, _WIDTH - 284
    picture.text(14, _TOP + 14, "share of texts that are sentences", size=12.5, bold=True)
    rows = [("perfect", found.perfect, style.BLACK)]
    rows += [(who, found.scores[who], _LOOKS[who].color) for who in (BASELINE, TOLD)]
    for number, (name, scores, color) in enumerate(rows):
        y = _TOP + 22 + _BAR * number
        picture.text(left - 12, y + 14, name, size=12, anchor="end", bold=name == found.writer, fill=color)
        picture.rectangle(left, y + 3, (right - left) * scores.any, _BAR - 7, fill=color, opacity=0.28)
        picture.rectangle(left, y + 3, (right - left) * scores.own, _BAR - 7, fill=color)
        words = f"{_percent(scores.any)} of some grammar, {_percent(scores.own)} of its own"
        picture.text(right + 14, y + 14, words, size=12)
    picture.line(left, _TOP + 22, left, _TOP + 22 + 3 * _BAR, stroke="#8c8c8c", stroke_width=1)


def _draw_rows(picture: Svg, found: Texts, top: float) -> None:
    left, right = 112.0, _WIDTH - 200
    names = found.family.terminals
    longest = max(len(found.tokens), *(len(one.tokens) for one in found.texts))
    cell = min(16.0, (right - left) / longest)
    picture.text(left, top + 14, f"prompt, and what {_model(found.writer)} wrote", size=12.5, bold=True)
    picture.text(right + 14, top + 14, "of which grammar?", size=12.5, bold=True)
    rows = [("the document", found.tokens, None), *((str(n), one.tokens, one) for n, one in enumerate(found.texts, 1))]
    picture.rectangle(left - 3, top + 22, cell * found.length + 4, _LINE * len(rows), fill="#e4e4e4")
    for number, (name, tokens, text) in enumerate(rows):
        y = top + 22 + _LINE * number + 14
        chosen = number == found.number
        picture.text(left - 12, y, name, size=12, anchor="end", bold=chosen)
        for place, token in enumerate(tokens):
            ink = style.BLACK if text is None or place < found.length else style.INK
            x, size = left + cell * (place + 0.5), min(12.5, cell * 1.2)
            picture.text(x, y, names[token], size=size, anchor="middle", bold=text is None or chosen, fill=ink)
        if text is None:
            picture.text(right + 14, y, f"metadata {metadata_words(found.metadata)}", size=12, fill=style.GREY)
            continue
        mark, words, color = _verdict(text)
        picture.text(right + 14, y, mark, size=13, bold=True, fill=color)
        picture.text(right + 18 + text_width(mark, 13, bold=True), y, words, size=12, bold=chosen)


def _verdict(text: Written) -> tuple[str, str, str]:
    if text.own:
        others = len(text.accepting) - 1
        return "✓", (f"of its own and {others} more" if others else "of its own grammar"), style.INK
    if text.accepting:
        others = len(text.accepting) - 1
        return "✗", f"of {metadata_words(text.accepting[0])}" + (f" and {others} more" if others else ""), style.INK
    return "✗", "of no grammar" if text.ended else "never ended", style.VERMILION


def _model(writer: str) -> str:
    return "the baseline" if writer == BASELINE else "the metadata-trained model"


def _percent(share: float) -> str:
    return f"{100 * share + 1e-9:.0f} %"


def _tokens(n: int) -> str:
    return f"{n} token{'s' * (n != 1)}"


def _finding(found: Texts) -> str:
    baseline, told = (_percent(found.scores[who].any) for who in (BASELINE, TOLD))
    return f"Sentences after {_tokens(found.length)}: baseline {baseline}, metadata {told}, perfect 100 %"


def describe(found: Texts) -> str:
    """Say the prompt, how many texts of each model are sentences beside a perfect reader, and one text."""
    names = found.family.terminals
    prompt = " ".join(names[token] for token in found.tokens[: found.length]) or "nothing"
    rest = " ".join(names[token] for token in found.chosen.tokens[found.length :]) or "the end at once"
    scores = "; ".join(
        f"{who} {_percent(of.any)} (± {_percent(_error(of.any, found.n))}) and {_percent(of.own)}"
        for who, of in found.scores.items()
    )
    _, verdict, _ = _verdict(found.chosen)
    return (
        f"Document {found.document}, metadata {metadata_words(found.metadata)}, cut after {_tokens(found.length)} "
        f"({prompt}). Of {found.n} texts of each model, trained for {found.step:,} steps and shown no metadata, some "
        f"grammar and the document's own accept: {scores}. A perfect reader has 100 % and "
        f"{_percent(found.perfect.own)}. Text {found.number} of {_model(found.writer)}: {rest}; {verdict}."
    )


def _error(share: float, n: int) -> float:
    return (share * (1 - share) / n) ** 0.5


def explore_written_text(live: Any = None, *, document: int = 9, length: int = 6) -> View:
    """Return a view of what the decoders of a live training write.

    Args:
        live: the view of :func:`toolkit.explorers.live_decoders.explore_live_decoders` whose models write: those of its
            last finished training, from the next change of a control on. Default: the models that a page begins with.
        document: that the prompt is cut from.
        length: of the prompt.
    """
    source = _source(live)
    first = compute(source(), document, length)
    number = next((place for place, text in enumerate(first.texts, 1) if text.accepting), 1)
    prompt = controls.int_slider("prompt", first.length, 0, len(first.tokens), unit="tokens")

    def at(document: int, length: int, writer: str, number: int) -> Texts:
        found = compute(source(), document, length, writer, number)
        prompt.max = len(found.tokens)
        return found

    chosen = {
        "document": controls.int_slider("document", document, 1, DOCUMENTS),
        "length": prompt,
        "writer": controls.toggle("writer", [BASELINE, TOLD]),
        "number": controls.int_slider("tree of text", number, 1, N_SHOWN),
    }
    return View(chosen, at, draw, describe)


def _source(live: Any) -> Callable[[], Run]:
    """Return a function that gives the newest finished run."""
    kept: list[Run] = []

    def newest() -> Run:
        run = None if live is None else live.result
        if isinstance(run, Run) and run.models is not None:
            kept[:] = [run]
        if not kept:
            kept[:] = [opening_run(Setting(n_steps=STEPS[0]))]
        return kept[0]

    return newest
