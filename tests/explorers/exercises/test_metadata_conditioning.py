"""Right answers are right, likely slips are named, and nothing raises."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit.explorers.exercises import metadata_conditioning as exercises
from toolkit.grammars.conditioning import Conditioning, Vocabulary, condition
from toolkit.grammars.decomposition import decompose
from toolkit.grammars.documents import as_documents
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.named import toy_family


def solution(beliefs, model_beliefs, next_tokens, model_next_tokens):
    """As the lesson prints it."""

    def divergence(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)

    def mixture(weights, rows):
        return [sum(w * row[t] for w, row in zip(weights, rows, strict=True)) for t in range(len(rows[0]))]

    which = divergence(beliefs, model_beliefs)
    rows = zip(beliefs, next_tokens, model_next_tokens, strict=True)
    what = sum(p * divergence(true, model) for p, true, model in rows)
    return which, what, divergence(mixture(beliefs, next_tokens), mixture(model_beliefs, model_next_tokens))


@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(answer):
    assert exercises.ceiling(answer, 0.5).right is None and exercises.ceiling(0.38, answer).right is None
    assert exercises.counted(answer).right is None
    assert exercises.control_steps(answer).right is None
    assert exercises.parts(answer).right is None
    assert exercises.parts(lambda *_: answer).right is None


def test_the_ceiling_is_that_of_a_draw():
    apart, overlapping = 0.25 + 0.09 + 0.04, 0.0
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor(exercises.POSTERIOR)
    own, reader = (torch.multinomial(p, 200_000, True, generator=generator) for _ in range(2))
    drawn = float(torch.tensor(exercises.ACCEPTS)[reader, own].mean())
    for i, a in enumerate(exercises.POSTERIOR):
        for j, b in enumerate(exercises.POSTERIOR):
            overlapping += a * b * exercises.ACCEPTS[i][j]
    assert abs(drawn - overlapping) < 0.004
    verdict = exercises.ceiling(apart, overlapping)
    assert verdict.right and "0.38 and" in verdict.sentence


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((0.5, 0.4), "always takes the most probable"),
        ((1, 0.4), "document's own"),
        ((1 / 3, 0.4), "not equally"),
        ((0.38, 0.38), "only help"),
        ((0.2, 0.4), "Without overlap"),
        ((0.38, 0.9), "With overlap"),
        (("x", 0.4), "one number"),
        ((0.38, float("nan")), "With overlap"),
    ],
)
def test_slips_of_the_ceiling(answers, words):
    verdict = exercises.ceiling(*answers)
    assert verdict.right is False and words in verdict.sentence


def test_positions_are_those_of_the_package():
    family = toy_family()
    vocabulary = Vocabulary.of(family)
    documents = replace(as_documents("test", [[1, 0, 2]]), metadata=torch.tensor([[1, 0, 0]]))
    read = condition(documents, vocabulary, depth=1)
    assert tuple(vocabulary.name(int(token), family.terminals) for token in read.tokens[0]) == exercises.SEQUENCE
    right = read.loss_mask[0].nonzero()[:, 0]
    assert right.tolist() == [3, 4, 5, 6]
    for answer in (right.tolist(), right, range(3, 7), (6, 5, 4, 3), {3, 4, 5, 6}):
        assert exercises.counted(answer).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (range(7), "never predicted"),
        ([4, 5, 6], "first token"),
        ([3, 4, 5], "the end"),
        ([4, 5], "the end"),
        ([4, 5, 6, 7], "targets"),
        ([0, 1], "Which positions"),
        ([], "Which positions"),
        ([3.5, 4], "whole"),
        (4, "list"),
        ("ab", "list"),
    ],
)
def test_slips_of_positions(answer, words):
    verdict = exercises.counted(answer)
    assert verdict.right is False and words in verdict.sentence


def test_steps_are_those_of_the_control():
    often = float(Conditioning(1, exercises.P_META).probability())
    steps = exercises.DOCUMENTS // exercises.BATCH
    assert exercises.control_steps(round((1 - often) * steps)).right
    for answer, words in (
        (1000, "in all"),
        (400, "with metadata"),
        (76_800, "documents"),
        (601, "not 601"),
        ("?", "one"),
    ):
        verdict = exercises.control_steps(answer)
        assert verdict.right is False and words in verdict.sentence


def test_parts_are_those_of_the_package():
    assert exercises.parts(solution).right
    every = enumerate_sentences(toy_family())
    document = as_documents("test", [every.documents[0].tolist()[:0]])
    tensors = [
        torch.tensor(values, dtype=torch.float64)[None, None]
        for values in (exercises.BELIEFS, exercises.MODEL_BELIEFS, exercises.NEXT, exercises.MODEL_NEXT)
    ]
    found = decompose(tensors[0], tensors[2], tensors[1].log(), tensors[3].log().movedim(2, 0), document)
    ours = (found.which_grammar.overall, found.what_next.overall, found.mixture.overall)
    assert solution(exercises.BELIEFS, exercises.MODEL_BELIEFS, exercises.NEXT, exercises.MODEL_NEXT) == pytest.approx(
        ours
    )
    assert ours[2] <= ours[0] + ours[1]


def test_parts_may_be_computed_in_single_precision():
    assert exercises.parts(lambda *tables: torch.tensor(solution(*tables))).right


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, b, c, d: solution(b, a, c, d), "wrong"),
        (lambda a, b, c, d: [value / math.log(2) for value in solution(a, b, c, d)], "bits"),
        (lambda a, b, c, d: (*solution(a, b, c, d)[:2], sum(solution(a, b, c, d)[:2])), "not the sum"),
        (lambda a, b, c, d: (solution(b, a, c, d)[0], *solution(a, b, c, d)[1:]), "exact beliefs"),
        (lambda a, b, c, d: 1.0, "shape"),
        (lambda a, b, c, d: {}[1], "KeyError"),
    ],
)
def test_slips_of_parts(change, words):
    verdict = exercises.parts(change)
    assert verdict.right is False and (words == "wrong" or words in verdict.sentence)


def test_no_function():
    assert exercises.parts(3.0).right is False and "function" in exercises.parts(3.0).sentence
