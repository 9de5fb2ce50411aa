"""Answers to the exercises of the lesson on grammars."""

import math
from collections.abc import Mapping
from typing import Any

from toolkit.explorers.level_knowledge import prefix_beliefs
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.families import GrammarFamily
from toolkit.lessons import Verdict, exercise, expect_number
from toolkit.lessons.checks import in_short, stopped

P = 0.4
"""Of ``brackets``: how often a bracket opens."""

LANGUAGES: tuple[Mapping[str, float], Mapping[str, float]] = ({"ab": 0.5, "aa": 0.5}, {"ab": 0.25, "ba": 0.75})
"""Of ``two_grammars``: the sentences of each."""

_MOST = 20_000
_HINTS: Mapping[type[Exception], str] = {
    ZeroDivisionError: "What if no sentence begins like this?",
    IndexError: "What if a sentence ends here?",
}


@exercise
def brackets(length: Any, least: Any) -> Verdict:
    """Judge the mean length of ``S -> '(' S ')' S [p] | [1 - p]`` at ``P``, and the p from which on it is infinite."""
    slips = {
        2 * P: "that counts the outermost pair of brackets only; the two S inside and behind it have sentences too.",
        P / (1 - 2 * P): "that counts pairs; each pair is two tokens.",
        2 * P / (1 - P): "that counts one S on the right-hand side; there are two.",
    }
    first = expect_number(length, 2 * P / (1 - 2 * P), tolerance=1e-3, slips=slips, withhold=True)
    if not first.right:
        return Verdict(False, f"The mean length: {first.sentence}")
    slips = {1.0: "long before that each S is rewritten into more than one S on average.", P: "at 0.4 it is still 4."}
    second = expect_number(least, 0.5, tolerance=1e-3, slips=slips, withhold=True)
    if not second.right:
        return Verdict(False, f"The smallest p: {second.sentence}")
    return Verdict(
        True, "L = p (2 + 2 L), so L = 2 p / (1 − 2 p): 4 tokens at p = 0.4, and no finite mean from 0.5 on."
    )


@exercise
def next_token(answer: Any) -> Verdict:
    """Judge a function from a language and a prefix to the probabilities of what comes next.

    A language is a dictionary from sentences, as text of letters, to their probabilities. The answer is a dictionary
    from letters to probabilities, ``""`` for the end; empty where no sentence begins like that.
    """
    if not callable(answer):
        return Verdict(False, f"Expected a function of a language and a prefix, got {in_short(answer)}.")
    for language, prefix in _cases():
        right = next_token_of(language, prefix)
        given = dict(language)
        case = f"For next_token({language}, {prefix!r})" if len(language) < 5 else f"For a language, {prefix!r}"
        try:
            came = answer(given, prefix)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise
            hint = _HINTS.get(type(error), "")
            return Verdict(False, f"{case}: {stopped(error, hint)}")
        if came is None or came is ...:
            raise NotImplementedError
        if given != language:
            return Verdict(False, "The language that was given has changed; work on a copy.")
        problem = _problem(came, right, language, prefix)
        if problem:
            return Verdict(False, f"{case}: {problem}")
    return Verdict(True, "All prefixes agree, also where a sentence ends and where none begins like that.")


def next_token_of(language: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return how probable each letter, and the end, is behind a prefix."""
    found: dict[str, float] = {}
    for sentence, p in language.items():
        if sentence.startswith(prefix) and p > 0:
            letter = sentence[len(prefix) : len(prefix) + 1]
            found[letter] = found.get(letter, 0.0) + p
    total = math.fsum(found.values())
    return {letter: p / total for letter, p in found.items()}


def _problem(came: Any, right: dict[str, float], language: Mapping[str, float], prefix: str) -> str:
    if not isinstance(came, Mapping):
        return f"expected a dictionary, got {in_short(came)}."
    try:
        numbers = {str(letter): float(p) for letter, p in came.items()}
    except (TypeError, ValueError, RuntimeError):
        return "expected one number for each letter."
    numbers = {letter: p for letter, p in numbers.items() if p != 0}
    if all(abs(numbers.get(x, 0.0) - right.get(x, 0.0)) <= 1e-9 for x in {*numbers, *right}):
        return ""
    total = math.fsum(right.values())
    mass = math.fsum(p for sentence, p in language.items() if sentence.startswith(prefix))
    if not right:
        return "no sentence begins like this: expected an empty dictionary."
    if "" in right and "" not in numbers:
        return 'a sentence may end here: that is the key "".'
    if all(abs(numbers.get(x, 0.0) - right[x] * mass / total) <= 1e-9 for x in right):
        return "these add up to the probability of the prefix; divide by it."
    wrong = next(x for x in sorted({*numbers, *right}) if not abs(numbers.get(x, 0.0) - right.get(x, 0.0)) <= 1e-9)
    return f"{wrong!r} should have probability {right.get(wrong, 0.0):.4g}, not {numbers.get(wrong, 0.0):.4g}."


def _cases() -> list[tuple[dict[str, float], str]]:
    small = {"a": 0.5, "ab": 0.25, "abb": 0.125, "b": 0.125}
    longer = {"ab" * n + "c" * m: 2.0 ** -(n + m) for n in range(1, 6) for m in range(1, 6)}
    total = math.fsum(longer.values())
    longer = {sentence: p / total for sentence, p in longer.items()}
    return [
        (small, ""),
        (small, "a"),
        (small, "b"),
        (small, "ab"),
        (small, "ba"),
        ({"": 0.25, "a": 0.75}, ""),
        (longer, "ab"),
        (longer, "ababc"),
        (longer, "x"),
    ]


@exercise
def two_grammars(after_one: Any, after_two: Any) -> Verdict:
    """Judge how probable the first of two equally frequent grammars is after the token a, and after the tokens ab."""
    right = [_posterior(prefix) for prefix in ("a", "ab")]
    slips = (
        {0.5: "the first grammar always begins with a, the second rarely: that is evidence.", 1.0: _MAY_TOO},
        {
            right[0]: "b is less usual in the first grammar behind a: there it may be a as well.",
            0.5: "ab is twice as frequent in the first grammar.",
            1.0: _MAY_TOO,
        },
    )
    for answer, expected, words, known in zip((after_one, after_two), right, ("a", "ab"), slips, strict=True):
        verdict = expect_number(answer, expected, tolerance=5e-4, slips=known, slip_share=1e-3, withhold=True)
        if not verdict.right:
            return Verdict(False, f"After {words}: {verdict.sentence}")
    return Verdict(True, "0.8, then 0.667: more tokens do not always make the right answer more certain.")


_MAY_TOO = "the second grammar may begin like this, too."


def _posterior(prefix: str) -> float:
    first, second = (sum(p for x, p in language.items() if x.startswith(prefix)) for language in LANGUAGES)
    return first / (first + second)


@exercise
def top_shows_first(text: Any) -> Verdict:
    """Judge a family in the compact form: the top level is certain after some tokens, the bottom level not yet."""
    if not isinstance(text, str):
        return Verdict(False, f"Expected a text in the compact form, got {in_short(text)}.")
    family = GrammarFamily.from_text(text)
    if family.depth < 2 or family.n_choices[0] < 2 or family.n_choices[-1] < 2:
        return Verdict(False, f"Expected two levels or more, and // at the top and at the bottom; got {family!r}.")
    sentences = enumerate_sentences(family, most=_MOST)
    share, beliefs = prefix_beliefs(sentences, family)
    top, bottom = beliefs[:, 0].tolist(), beliefs[:, family.depth - 1].tolist()
    everywhere = [place for place in range(len(share)) if float(share[place]) > 1 - 1e-9]
    places = [place for place in everywhere if top[place] > 1 - 1e-9 and bottom[place] < 1 - 1e-6]
    if places:
        tokens = f"{places[0]} token{'s' * (places[0] != 1)}"
        return Verdict(
            True,
            f"After {tokens} the top level is certain in every document; the best guess of the bottom level is right "
            f"in {100 * bottom[places[0]]:.0f} %.",
        )
    known = next((place for place in everywhere if top[place] > 1 - 1e-9), None)
    if known is not None:
        return Verdict(False, f"After {known} tokens the top level is certain, but the bottom level is, too.")
    last = everywhere[-1]
    return Verdict(
        False,
        f"The shortest document has {last} tokens, and after {last} the best guess of the top level is right in "
        f"{100 * top[last]:.0f} %. Which tokens could tell at once which rule of the top level served?",
    )
