"""Answers to the exercises of the lesson on metadata conditioning."""

import math
from collections.abc import Sequence
from typing import Any

from toolkit.lessons import Verdict, exercise, expect_array, expect_number
from toolkit.lessons.checks import expect_function, in_short

POSTERIOR = (0.5, 0.3, 0.2)
"""Of ``ceiling``: how probable three grammars are after a prompt, if no sentence is of two of them."""

ACCEPTS = ((1.0, 0.5, 0.0), (0.25, 1.0, 0.0), (0.0, 0.0, 1.0))
"""Of ``ceiling``: how often a sentence that grammar i writes behind the prompt is one of grammar j, too: row i."""

SEQUENCE = ("<begin>", "<0:1>", "<mask>", "<mask>", "b", "a", "c")
"""Of ``counted``: what a model reads; the sentence b a c ends there."""

DOCUMENTS, P_META, BATCH = 128_000, 0.4, 128
"""Of ``control_steps``: documents that both models read, the share of them with metadata, and how many make a step."""

BELIEFS, MODEL_BELIEFS = (0.9, 0.1), (0.5, 0.5)
NEXT, MODEL_NEXT = ((0.8, 0.2), (0.3, 0.7)), ((0.7, 0.3), (0.3, 0.7))
"""Of ``parts``: two grammars after a prompt and what comes next in each, exactly and as a model has it."""


@exercise
def ceiling(apart: Any, overlapping: Any) -> Verdict:
    """Judge how often a perfect reader's continuation is of the document's own grammar: two cases.

    First ``POSTERIOR`` where no sentence is of two grammars, then where ``ACCEPTS`` says how they overlap.
    """
    first, second = sum(p * p for p in POSTERIOR), _accepted()
    verdict = expect_number(
        apart,
        first,
        tolerance=5e-4,
        slip_share=1e-3,
        withhold=True,
        slips={
            max(POSTERIOR): "that is a writer who always takes the most probable grammar; a perfect reader draws one.",
            1.0: "every continuation is a sentence of some grammar, but not always of the document's own.",
            1 / 3: "the three grammars are not equally probable.",
        },
    )
    if not verdict.right:
        return Verdict(False, f"Without overlap: {verdict.sentence}")
    verdict = expect_number(
        overlapping,
        second,
        tolerance=5e-4,
        slip_share=1e-3,
        withhold=True,
        slips={first: "now a sentence of one grammar may be one of another, too: that can only help."},
    )
    if not verdict.right:
        return Verdict(False, f"With overlap: {verdict.sentence}")
    return Verdict(
        True,
        f"{first:.2f} and {second:.3f}: the document and the reader each draw a grammar. That, not 1, is what "
        "acc_true of a model is measured against.",
    )


def _accepted() -> float:
    """Return the sum over the document's grammar j and the reader's grammar i of p(j) p(i) accepts[i][j]."""
    return sum(p * q * ACCEPTS[i][j] for i, q in enumerate(POSTERIOR) for j, p in enumerate(POSTERIOR))


@exercise
def counted(positions: Any) -> Verdict:
    """Judge at which positions of ``SEQUENCE``, counted from 0, what comes next counts in the loss."""
    depth, length = 3, len(SEQUENCE) - 4
    right = list(range(depth, depth + length + 1))
    try:
        came = sorted({int(position) for position in positions})
        whole = all(int(position) == position for position in positions)
    except (TypeError, ValueError):
        return Verdict(False, f"Expected a list of positions, got {in_short(positions)}.")
    if not whole:
        return Verdict(False, "Positions are whole numbers.")
    slips = (
        (list(range(len(SEQUENCE))), "metadata and masks are read, but never predicted: their loss does not count."),
        (right[1:], "the first token of the sentence is predicted, too, from the last token of the prefix."),
        (right[:-1], "the end of the sentence is predicted, too, from its last token."),
        (right[1:-1], "the first token and the end are predicted, too: each by the position before it."),
        (
            [position + 1 for position in right],
            "those are the targets; a position predicts what comes behind it.",
        ),
    )
    if came == right:
        return Verdict(
            True, "Three tokens and the end: position D reads the last token of the prefix and predicts the first one."
        )
    for wrong, words in slips:
        if came == wrong:
            return Verdict(False, f"Got {came}: {words}")
    return Verdict(False, f"Not {came}. Which positions have a terminal or the end right behind them?")


@exercise
def control_steps(steps: Any) -> Verdict:
    """Judge how many steps a baseline takes that reads as many documents without metadata as the other model does."""
    total = DOCUMENTS / BATCH
    right = round(total * (1 - P_META))
    return expect_number(
        steps,
        right,
        tolerance=0.5,
        slip_share=1e-6,
        withhold=True,
        slips={
            total: "that is as many documents in all; the other model reads some of them with metadata.",
            total * P_META: "that is what the other model reads with metadata.",
            DOCUMENTS * (1 - P_META): "those are documents; a step takes a batch of them.",
        },
        right=f"{right}: beside this baseline the documents with metadata come on top, so a gain says that they teach "
        "something. It does not say that the metadata do.",
    )


@exercise
def parts(answer: Any) -> Verdict:
    """Judge a function that splits a divergence: from beliefs and predictions, exact and a model's, to three numbers.

    The function is called as ``split(beliefs, model_beliefs, next_tokens, model_next_tokens)``: ``[grammars]`` twice,
    then ``[grammars][tokens]`` twice. It returns the divergence of the beliefs, that of the predictions within the
    grammars, and that of the mixtures.
    """
    cases: list[tuple[tuple, Any]] = [
        ((BELIEFS, MODEL_BELIEFS, NEXT, MODEL_NEXT), split(BELIEFS, MODEL_BELIEFS, NEXT, MODEL_NEXT)),
        ((BELIEFS, BELIEFS, NEXT, NEXT), (0.0, 0.0, 0.0)),
        (((1.0, 0.0), (0.6, 0.4), NEXT, MODEL_NEXT), split((1.0, 0.0), (0.6, 0.4), NEXT, MODEL_NEXT)),
        (((0.2, 0.3, 0.5), (0.5, 0.3, 0.2), *_THREE), split((0.2, 0.3, 0.5), (0.5, 0.3, 0.2), *_THREE)),
    ]
    if callable(answer):
        came = answer(*cases[0][0])
        problem = _slip(came)
        if problem:
            return Verdict(False, problem)
    return expect_function(
        answer,
        cases,
        tolerance=1e-6,
        right="The third number is never more than the sum of the first two: mixing can only hide errors.",
        hint="Where a probability is 0, its term is 0.",
    )


_THREE = (((0.5, 0.5, 0.0), (0.1, 0.2, 0.7), (0.0, 1.0, 0.0)), ((0.4, 0.4, 0.2), (0.2, 0.2, 0.6), (0.1, 0.8, 0.1)))


def split(
    beliefs: Sequence[float],
    model_beliefs: Sequence[float],
    next_tokens: Sequence[Sequence[float]],
    model_next_tokens: Sequence[Sequence[float]],
) -> tuple[float, float, float]:
    """Return which grammar, what next, and the divergence of the mixtures, in nats."""
    which = _divergence(beliefs, model_beliefs)
    pairs = zip(beliefs, next_tokens, model_next_tokens, strict=True)
    what = sum(p * _divergence(true, model) for p, true, model in pairs if p > 0)
    mixtures = (
        [sum(p * row[token] for p, row in zip(weights, rows, strict=True)) for token in range(len(rows[0]))]
        for weights, rows in ((beliefs, next_tokens), (model_beliefs, model_next_tokens))
    )
    return which, what, _divergence(*mixtures)


def _divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def _slip(came: Any) -> str:
    right = split(BELIEFS, MODEL_BELIEFS, NEXT, MODEL_NEXT)
    unweighted = sum(_divergence(true, model) for true, model in zip(NEXT, MODEL_NEXT, strict=True))
    by_model = sum(q * _divergence(t, m) for q, t, m in zip(MODEL_BELIEFS, NEXT, MODEL_NEXT, strict=True))
    known = (
        ((_divergence(MODEL_BELIEFS, BELIEFS), right[1], right[2]), "the divergence runs from the exact beliefs."),
        ((right[0], unweighted, right[2]), "each grammar counts as often as it is believed in, exactly."),
        ((right[0], by_model, right[2]), "grammars are weighted by the exact beliefs, not by the model's."),
        (tuple(value / math.log(2) for value in right), "these are bits; nats are wanted."),
        ((right[0], right[1], right[0] + right[1]), "the third is the divergence of the mixtures, not the sum."),
    )
    for wrong, words in known:
        if expect_array(came, wrong, tolerance=1e-6).right:
            return f"Got three numbers, but {words}"
    return ""
