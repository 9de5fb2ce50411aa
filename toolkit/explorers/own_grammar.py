"""Write a probabilistic grammar: is it sound, how long do its sentences get, and what are they?"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.explorers.grammar_control import GRAMMARS, GrammarControl
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.moments import GrammarChecks
from toolkit.grammars.tree_drawing import draw_tree
from toolkit.grammars.trees import Tree
from toolkit.lessons import View, controls, style

N_DRAWN, SHOWN, MOST_TOKENS = 400, 8, 500
"""Sentences drawn, how many of them are shown, and after how many tokens one is given up."""
_LONGEST_PARSED, _LONGEST_WEIGHED, _WEIGHED = 40, 80, 30
_MOST_LETTERS, _MOST_SYMBOLS, _MOST_STEPS = 6000, 400, 1000


class NotAGrammar(ValueError):
    """What was written is no grammar yet; says in a sentence what is missing."""


@dataclass(frozen=True, eq=False, repr=False)
class Written:
    """A grammar as it was written, and what follows from it.

    Attributes:
        grammar: the grammar.
        checks: whether it is sound.
        mass: how probable it is that a derivation ends.
        length: expected number of tokens.
        entropy: of the derivations, in nats.
        n_cut: how many of the drawn sentences were given up as too long.
        drawn_length: mean length of the others, and its standard error; None where none ended.
        drawn_surprise: mean of −log p of some of them, and its standard error; None where they are too long.
        sentences: the first different ones that ended, as tokens.
        number: which of them is parsed, from 1.
        tree: its most probable tree; None where it is too long, or where there is none.
        best: the share of that tree in the probability of its sentence.
    """

    grammar: PCFG
    checks: GrammarChecks
    mass: float
    length: float
    entropy: float
    n_cut: int
    drawn_length: tuple[float, float] | None
    drawn_surprise: tuple[float, float] | None
    sentences: tuple[tuple[str, ...], ...]
    number: int
    tree: Tree | None
    best: float

    def __repr__(self) -> str:
        return f"Written({self.grammar!r}: length {self.length:.4g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        plain = {"grammar": str(self.grammar), "checks": self.checks.to_dict()}
        return vars(self) | plain | {"tree": None if self.tree is None else self.tree.bracketed()}


def read_grammar(text: str) -> PCFG:
    """Read a grammar in NLTK's format, or a family in the compact form as one grammar.

    Args:
        text: what was written.

    Raises:
        NotAGrammar: it is neither; says what is missing.
    """
    if len(text) > _MOST_LETTERS:
        raise NotAGrammar(f"expected at most {_MOST_LETTERS:,} letters; found {len(text):,}.")
    compact = "->" not in text and "/" in text
    try:
        found = GrammarFamily.from_text(text).to_pcfg() if compact else PCFG.fromstring(text)
    except (ValueError, TypeError) as error:
        said = vars(error)
        if "expected" not in said:
            raise NotAGrammar(" ".join(str(error).split())) from error
        raise NotAGrammar(f"expected {said['expected']}; found {str(said['actual'])[:120] or 'nothing'}.") from error
    if len(found.nonterminals) > _MOST_SYMBOLS:
        raise NotAGrammar(f"expected at most {_MOST_SYMBOLS} nonterminals; found {len(found.nonterminals)}.")
    return found


@functools.lru_cache(maxsize=32)
def _drawn(text: str) -> dict[str, Any]:
    grammar = read_grammar(text)
    generator = torch.Generator().manual_seed(0)
    limits = {"max_tokens": MOST_TOKENS, "max_steps": _MOST_STEPS}
    sample = grammar.sample(N_DRAWN if grammar.total_mass() > 0 else 0, generator=generator, device="cpu", **limits)
    documents = sample.documents
    lengths = documents.lengths.double()
    first = [documents[index] for index in range(min(_WEIGHED, len(documents)))]
    weighed = None
    if first and max(len(one) for one in first) <= _LONGEST_WEIGHED:
        weighed = _mean(-grammar.log_prob(first))
    return {
        "grammar": grammar,
        "checks": grammar.checks(),
        "mass": grammar.total_mass(),
        "length": grammar.expected_length(),
        "entropy": grammar.entropy(),
        "n_cut": N_DRAWN - len(documents),
        "drawn_length": _mean(lengths) if len(documents) else None,
        "drawn_surprise": weighed,
        "sentences": _different(grammar, documents),
    }


def _different(grammar: PCFG, documents: Documents) -> tuple[tuple[str, ...], ...]:
    """Return the first sentences that are not the same, by name."""
    found: dict[tuple[str, ...], None] = {}
    for index in range(len(documents)):
        found.setdefault(tuple(grammar.decode(documents[index])))
        if len(found) == SHOWN:
            break
    return tuple(found)


def _mean(values: torch.Tensor) -> tuple[float, float]:
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return float(values.mean()), error


def compute(text: str = next(iter(GRAMMARS.values())), number: int = 1) -> Written:
    """Check a grammar, draw sentences, and parse one of them.

    Args:
        text: in NLTK's format, or a family in the compact form.
        number: which of the drawn sentences is parsed, from 1; too large: the last.

    Raises:
        NotAGrammar: the text is no grammar.
        ValueError: a number below 1.
    """
    require(number >= 1, "compute", "number", ">= 1", number)
    found = _drawn(text)
    sentences = found["sentences"]
    number = min(number, max(len(sentences), 1))
    tree, best = None, math.nan
    if sentences and len(sentences[number - 1]) <= _LONGEST_PARSED:
        sentence = list(sentences[number - 1])
        parse = found["grammar"].viterbi(sentence)
        tree, best = parse.tree, math.exp(parse.log_prob - float(found["grammar"].log_prob(sentence)))
    return Written(**found, number=number, tree=tree, best=min(best, 1.0) if not math.isnan(best) else best)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _LINE = 720.0, 38.0, 18.0


def draw(found: Written) -> Svg:
    """Draw the checks, exact numbers beside drawn ones, sentences, and the tree of one of them."""
    tree = None if found.tree is None else draw_tree(found.tree, by_level=_forks(found.tree), width=_WIDTH, frame=False)
    upper = _TOP + 22 + _LINE * max(SHOWN, 8) + 6
    picture = Svg(_WIDTH, upper + (tree.height + 22 if tree else 40))
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _draw_checks(picture, found, 14, 282)
    _draw_numbers(picture, found, 14, _TOP + 22 + _LINE * 4 + 12)
    _draw_sentences(picture, found, 330)
    if tree is None:
        words = "No sentence ended." if not found.sentences else "This sentence is too long to draw its tree."
        picture.text(14, upper + 18, words, size=12.5, fill=style.GREY)
        return picture
    which = f"tree of sentence {found.number}"
    share = f"most probable {which}, {_percent(found.best)} of the sentence's probability"
    picture.text(14, upper + 12, share if found.best < 0.9995 else f"{which}, the only one", size=12.5, bold=True)
    picture.place(0, upper + 16, tree)
    return picture


def _forks(tree: Tree) -> int:
    """Return the level where a tree has several nodes or tokens for the first time, or 1."""
    level, node = 1, tree
    while len(node.children) == 1 and isinstance(node.children[0], Tree):
        level, node = level + 1, node.children[0]
    return level if len(node.children) > 1 else 1


def _draw_checks(picture: Svg, found: Written, left: float, width: float) -> None:
    checks = found.checks
    lost, dead = (", ".join(map(str, symbols)) for symbols in (checks.unreachable, checks.unproductive))
    radius = checks.spectral_radius
    lines = [
        (not lost, f"cannot be reached: {lost}" if lost else "every symbol can be reached"),
        (not dead, f"can never end: {dead}" if dead else "every symbol can end"),
        (radius <= 1 + 1e-9, f"spectral radius {radius:.3f}{' > 1' if radius > 1 + 1e-9 else ''}"),
        (checks.consistent, f"a derivation ends with probability {_share(found.mass)}"),
    ]
    picture.text(left, _TOP + 12, "checks", size=12.5, bold=True)
    for number, (fine, words) in enumerate(lines):
        y = _TOP + 12 + _LINE * (number + 1)
        picture.text(left, y, "✓" if fine else "✗", size=13, bold=True, fill=style.INK if fine else style.VERMILION)
        picture.text(left + 20, y, shorten(words, width - 20, 12.5), size=12.5)


def _draw_numbers(picture: Svg, found: Written, left: float, top: float) -> None:
    columns = (left + 138, left + 216)
    for x, words in zip(columns, ("exact", "drawn"), strict=True):
        picture.text(x, top + 12, words, size=12.5, bold=True, anchor="end" if words == "exact" else "start")
    rows = (
        ("mean length", "tokens", found.length, found.drawn_length),
        ("tree entropy", "nats", found.entropy, found.drawn_surprise),
    )
    for number, (name, unit, exact, drawn) in enumerate(rows):
        y = top + 12 + _LINE * (number + 1)
        picture.text(left, y, name, size=12.5)
        value = "∞" if math.isinf(exact) else f"{exact:.2f}"
        picture.text(columns[0], y, value, size=12.5, bold=True, anchor="end")
        picture.text(columns[0] + 8, y, unit, size=12, fill=style.GREY)
        said = _missing(found) if drawn is None else f"{drawn[0]:.2f} ± {drawn[1]:.2f}"
        picture.text(columns[1], y, said, size=12.5)


def _draw_sentences(picture: Svg, found: Written, left: float) -> None:
    n = N_DRAWN - found.n_cut
    picture.text(left, _TOP + 12, f"drawn: {n} of {N_DRAWN} ended, such as", size=12.5, bold=True)
    for number, sentence in enumerate(found.sentences, 1):
        y = _TOP + 12 + _LINE * number
        chosen = number == found.number
        picture.text(left + 16, y, number, size=12, anchor="end", fill=style.GREY)
        words = shorten(" ".join(sentence) or "(no token)", _WIDTH - left - 38, 12.5, bold=chosen)
        picture.text(left + 24, y, words, size=12.5, bold=chosen)


def _missing(found: Written) -> str:
    """Say why there is no mean of what was drawn."""
    return "none ended" if not found.sentences else "too long"


def _share(p: float) -> str:
    return "1" if p > 1 - 1e-9 else "0" if p == 0 else f"{p:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _finding(found: Written) -> str:
    checks = found.checks
    if found.mass == 0:
        return "No derivation ends: there are no sentences"
    if not checks.consistent:
        return f"Not consistent: a derivation ends with probability {_share(found.mass)}"
    if math.isinf(found.length):
        return "Every derivation ends, but the expected length is infinite"
    spare = f"; {', '.join(map(str, checks.unreachable))} not reached" if checks.unreachable else ""
    tokens = f"{found.length:.4g} token{'s' * (f'{found.length:.4g}' != '1')}"
    return f"Consistent: sentences of {tokens} on average{spare}"


def describe(found: Written) -> str:
    """Say whether the grammar is sound, the exact numbers beside the drawn ones, and the sentence that is parsed."""
    length = "infinite" if math.isinf(found.length) else f"{found.length:.3f} tokens"
    entropy = "infinite" if math.isinf(found.entropy) else f"{found.entropy:.3f} nats"
    text = f"{_finding(found)}. Expected length {length}, entropy of derivations {entropy}."
    if found.drawn_length is not None:
        mean, error = found.drawn_length
        text += f" {N_DRAWN - found.n_cut} drawn sentences: {mean:.2f} ± {error:.2f} tokens."
    if found.drawn_surprise is not None:
        mean, error = found.drawn_surprise
        count = min(_WEIGHED, N_DRAWN - found.n_cut)
        text += f" −log p of {count} of them, on average: {mean:.2f} ± {error:.2f} nats"
        text += "; expected is that entropy, or less where sentences have several trees."
    if found.n_cut and found.mass > 0:
        text += f" {found.n_cut} of {N_DRAWN} were given up, longer than {MOST_TOKENS} tokens or endless."
    if found.tree is not None:
        text += f" Sentence {found.number}: {' '.join(found.tree.leaves()) or 'no token at all'}."
    return text


def explore_own_grammar(name: str = next(iter(GRAMMARS))) -> View:
    """Return a view of a grammar that the reader writes.

    Args:
        name: of the grammar to begin with.

    Raises:
        ValueError: no such grammar.
    """
    require(name in GRAMMARS, "explore_own_grammar", "name", f"one of {list(GRAMMARS)}", repr(name))
    sentence = controls.int_slider("sentence", 1, 1, SHOWN)

    def at(text: str, number: int) -> Written:
        found = compute(text, number)
        n = len(found.sentences)
        sentence.max, sentence.disabled = max(n, 2), n < 2
        sentence.tooltip = "there is no second sentence" if n < 2 else None
        return found

    return View({"text": GrammarControl(name), "number": sentence}, at, draw, describe)
