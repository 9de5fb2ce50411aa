"""Answers to the exercises of the lesson on partial information."""

import math
from typing import Any

import torch
from torch import Tensor

from toolkit.disentanglement.discrete import as_joint, marginals
from toolkit.disentanglement.exact import interval, interval_of, pid
from toolkit.disentanglement.systems import named_system
from toolkit.explorers.pid_parts import MEASURES, span
from toolkit.lessons import Verdict, exercise, expect_number
from toolkit.lessons.checks import in_short, stopped

INFORMATIONS = (0.7, 0.5, 0.9)
"""Of ``parts``: A, B and J in bits."""

REDUNDANT = 0.5
"""Of ``redundant_for_certain``, in bits."""

_NEAR = 0.005


@exercise
def by_hand(copy: Any, xor: Any) -> Verdict:
    """Judge I(y; a), I(y; b) and I(y; a, b) of COPY and of XOR, in bits."""
    for name, answer in (("COPY", copy), ("XOR", xor)):
        bounds = interval(named_system(name), unit="bits")
        right = [float(bounds.information_1), float(bounds.information_2), float(bounds.information_joint)]
        verdict = _judge_triple(name, answer, right)
        if verdict is not None:
            return verdict
    return Verdict(
        True,
        "Each coin of COPY tells its own bit, and both tell two. A coin of XOR tells nothing alone; both tell the bit.",
    )


def _judge_triple(name: str, answer: Any, right: list[float]) -> Verdict | None:
    came = _numbers(answer)
    if came is None or len(came) != 3:
        return Verdict(False, f"Expected three numbers for {name}, got {in_short(answer)}.")
    if all(abs(found - wanted) <= _NEAR for found, wanted in zip(came, right, strict=True)):
        return None
    if all(abs(found - wanted * math.log(2)) <= _NEAR for found, wanted in zip(came, right, strict=True)):
        return Verdict(False, f"{name}: these are nats; take bits.")
    slips = {
        ("COPY", 2): "Count the values of y, and how probable each is: how many bits settle the pair?",
        ("COPY", 0): "What does one coin tell of the pair of coins?",
        ("XOR", 2): "If both coins are known, what is still open about y?",
        ("XOR", 0): "Look at one coin that shows 1: what does y show then, how often?",
    }
    wrong = next(place for place in (0, 1, 2) if not abs(came[place] - right[place]) <= _NEAR)
    names = ("I(y; a)", "I(y; b)", "I(y; a, b)")
    return Verdict(False, f"{name}: {names[wrong]} is not {came[wrong]:g}. {slips[name, 2 * (wrong == 2)]}")


@exercise
def information(answer: Any) -> Verdict:
    """Judge a function from a table p(a, y) to I(y; a) in bits."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of a table, got {in_short(answer)}.")
    for words, table in _tables():
        p = as_joint(table[:, None, :])
        right = float(interval(p, unit="bits").information_1)
        given = table.clone()
        try:
            came = answer(given)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise
            return Verdict(
                False, stopped(error, "The table is a float64 tensor, a row for each a, a column for each y.")
            )
        if came is None or came is ...:
            raise NotImplementedError
        if not torch.equal(given, table):
            return Verdict(False, "The table that was given has changed; work on a copy.")
        verdict = expect_number(came, right, tolerance=1e-6, withhold=True, slips=_slips_of_information(p, right))
        if not verdict.right:
            return Verdict(False, f"{words}: {verdict.sentence[0].lower()}{verdict.sentence[1:]}{_of_nan(came)}")
    return Verdict(True, "All tables agree, those with zeros and with a single row too.")


def _slips_of_information(p: Tensor, right: float) -> dict[float, str]:
    both = marginals(p)

    def entropy(table: Tensor) -> float:
        return float(torch.special.entr(table).sum()) / math.log(2)

    joint, source, target = entropy(both.source_1_target), entropy(both.source_1), entropy(both.target)
    slips = {
        right * math.log(2): "these are nats; take logarithms to base 2.",
        joint: "that is the entropy of the pair.",
        target: "that is H(y); what is still open once a is known?",
        target - right: "that is what stays open about y once a is known; how much less is it than before?",
        -right: "the sign is turned round.",
        source + target: "that adds the two entropies; the pair's is not taken away.",
    }
    return {wrong: words for wrong, words in slips.items() if abs(wrong - right) > 1e-5}


def _of_nan(came: Any) -> str:
    found = _numbers([came])
    return " In a cell of probability 0, 0 · log 0 is to be 0." if found and math.isnan(found[0]) else ""


def _tables() -> list[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int, columns: int) -> Tensor:
        table = torch.rand(rows, columns, generator=generator, dtype=torch.float64) + 0.02
        return table / table.sum()

    sparse = draw(4, 3)
    sparse[0, 1:], sparse[2], sparse[:, 2] = 0.0, 0.0, 0.0
    return [
        ("A table of 2 × 2", draw(2, 2)),
        ("A table of 3 × 5", draw(3, 5)),
        ("A table of 1 × 4", draw(1, 4)),
        ("A table with zeros", sparse / sparse.sum()),
        ("The diagonal of 3 × 3", torch.eye(3, dtype=torch.float64) / 3),
    ]


@exercise
def parts(redundant: Any, unique: Any, complementary: Any) -> Verdict:
    """Judge the intervals of R, of what is unique to a, and of C, for ``INFORMATIONS``."""
    bounds = interval_of(*(torch.tensor(value, dtype=torch.float64) for value in INFORMATIONS), unit="bits")
    given = (
        ("The redundant part", redundant, bounds.redundant),
        ("The part unique to a", unique, bounds.unique_1),
        ("The complementary part", complementary, bounds.complementary),
    )
    for name, answer, ends in given:
        came = _numbers(answer)
        if came is None or len(came) != 2:
            return Verdict(False, f"{name}: expected a lower and an upper end, got {in_short(answer)}.")
        right = (float(ends.lower), float(ends.upper))
        if all(abs(found - wanted) <= _NEAR for found, wanted in zip(came, right, strict=True)):
            continue
        if all(abs(found - wanted) <= _NEAR for found, wanted in zip(came, right[::-1], strict=True)):
            return Verdict(False, f"{name}: the lower end comes first.")
        return Verdict(False, f"{name}: {_hint_of_part(name, came, right)}")
    return Verdict(
        True,
        f"{float(bounds.redundant.lower):.1f} bits are told twice for certain. All three intervals are "
        f"{float(bounds.width):.1f} bits long, as one number moves them all.",
    )


def _hint_of_part(name: str, came: list[float], right: tuple[float, float]) -> str:
    if not abs(came[0] - right[0]) <= _NEAR:
        end, value = "lower", came[0]
    else:
        end, value = "upper", came[1]
    hints = {
        ("The redundant part", "lower"): "Both together know less than A + B. Why?",
        ("The redundant part", "upper"): "Neither can share more than it knows.",
        ("The part unique to a", "lower"): "Take R as large as it can be.",
        ("The part unique to a", "upper"): "Take R as small as it can be.",
        ("The complementary part", "lower"): "C = J − A − B + R; take R as small as it can be.",
        ("The complementary part", "upper"): "C = J − A − B + R; take R as large as it can be.",
    }
    return f"the {end} end is not {value:g}. {hints[name, end]}"


@exercise
def redundant_for_certain(answer: Any) -> Verdict:
    """Judge a joint distribution of two bits and a bit y: ``REDUNDANT`` bits redundant, whatever the measure."""
    try:
        joint = torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return Verdict(False, f"Expected a table of probabilities, got {in_short(answer)}.")
    if tuple(joint.shape) != (2, 2, 2):
        return Verdict(False, f"Expected shape (2, 2, 2), p[a, b, y], got {tuple(joint.shape)}.")
    if not bool((joint >= 0).all()):
        return Verdict(False, "Some cells are no probabilities: negative, or NaN.")
    if not abs(float(joint.sum()) - 1) <= 1e-6:
        return Verdict(False, f"The cells add up to {float(joint.sum()):.4g}, not to 1.")
    bounds = interval(joint, unit="bits")
    low, high = float(bounds.redundant.lower), float(bounds.redundant.upper)
    if abs(low - REDUNDANT) <= _NEAR and abs(high - REDUNDANT) <= _NEAR:
        return Verdict(True, f"Nothing is open, and {low:.3f} bits are redundant.")
    if low - _NEAR <= REDUNDANT <= high + _NEAR:
        return Verdict(
            False,
            f"{REDUNDANT:g} bits are possible, but nothing is certain: R may be {span(low, high)} bits. Choose a, b "
            "and y so that one of them tells all that both tell.",
        )
    if high < REDUNDANT:
        return Verdict(False, f"Too little: R is {span(low, high)} bits. Each of the two bits has to tell more of y.")
    return Verdict(False, f"Too much: R is {span(low, high)} bits. Add noise, or make one value of y rarer.")


@exercise
def nothing_unique(same_pairs: Any, copy: Any) -> Verdict:
    """Judge which measures say that nothing is unique: where p(a, y) = p(b, y), and in COPY; sets of names."""
    for words, answer, systems, why in (
        (
            "The same pairs",
            same_pairs,
            ("AND", "OR", "SUM", "NOISY"),
            "CCS looks at a, b and y all at once; the others need the two pairs only",
        ),
        ("COPY", copy, ("COPY",), "the pairs differ here, and one measure that looks at pairs sees it"),
    ):
        right = {title for name, title in MEASURES.items() if all(_idle(name, system) for system in systems)}
        verdict = _judge_names(words, answer, right, why)
        if verdict is not None:
            return verdict
    return Verdict(
        True,
        "Who looks only at p(a, y) and p(b, y) cannot tell a from b if the two are the same. I_min and MMI do not even "
        "notice that the coins of COPY tell different bits.",
    )


def _idle(measure: str, system: str) -> bool:
    found = pid(named_system(system), measure)
    return max(abs(float(found.unique_1)), abs(float(found.unique_2))) < 1e-6


def _judge_names(words: str, answer: Any, right: set[str], why: str) -> Verdict | None:
    if isinstance(answer, str) or not isinstance(answer, (set, frozenset, list, tuple)):
        return Verdict(False, f'{words}: expected a set of names, for example {{"MMI"}}, got {in_short(answer)}.')
    known = {_plain(title): title for title in MEASURES.values()}
    unknown = [name for name in answer if _plain(name) not in known]
    if unknown:
        return Verdict(False, f"{words}: {in_short(unknown[0])} is none of {', '.join(MEASURES.values())}.")
    given = {known[_plain(name)] for name in answer}
    if given == right:
        return None
    if given - right:
        extra = [title for title in MEASURES.values() if title in given - right]
        return Verdict(False, f"{words}: {' and '.join(extra)} should not be there: {why}.")
    return Verdict(False, f"{words}: {len(right - given)} more. Compute pid(…, measure) for each.")


def _plain(name: Any) -> str:
    return str(name).strip().casefold().replace("_", "").replace(" ", "")


def _numbers(answer: Any) -> list[float] | None:
    """Return a sequence, array or tensor as plain numbers, or None."""
    try:
        return [float(value) for value in answer]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
