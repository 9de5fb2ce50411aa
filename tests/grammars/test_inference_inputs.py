"""Sentences in every form, odd ones, and what is refused."""

import numpy as np
import pytest
import torch

from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer
from toolkit.grammars.text import from_text

FAMILY = from_text(
    "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22"
)
SENTENCE = [2, 1, 0, 1, 2, 2, 1, 0]


@pytest.fixture(scope="module")
def member():
    """A sentence of the last grammar, built by always taking the first alternative."""
    symbols = [0]
    for level in range(FAMILY.depth):
        symbols = [child for symbol in symbols for child in FAMILY.rules[level][-1][symbol][0]]
    return symbols


def same(a, b, rows=slice(None)):
    for name in ("log_prob", "prefix_log_prob", "next_token_given"):
        x, y = getattr(a, name), getattr(b, name)[rows]
        if name != "log_prob":
            n = min(x.shape[1], y.shape[1])
            x, y = x[:, :n], y[:, :n]
        torch.testing.assert_close(x, y, rtol=1e-12, atol=0)


def test_every_form_of_sentences_gives_the_same(member):
    expected = infer(FAMILY, [member, SENTENCE])
    width = max(len(member), len(SENTENCE)) + 2
    rows = torch.full((2, width), -1)
    rows[0, : len(member)], rows[1, : len(SENTENCE)] = torch.tensor(member), torch.tensor(SENTENCE)
    wide = torch.full((2, 2 * width), -1)
    wide[:, ::2] = rows
    assert not wide[:, ::2].is_contiguous()
    values = torch.tensor([*member, *SENTENCE], dtype=torch.uint8)
    documents = Documents(values, torch.tensor([0, len(member), len(values)]))
    for given in (
        rows,
        rows.to(torch.int16),
        rows.T.contiguous().T,
        wide[:, ::2],
        rows.numpy(),
        documents,
        [torch.tensor(member), torch.tensor(SENTENCE)],
        (np.array(member), np.array(SENTENCE, dtype=np.uint8)),
        [[np.int64(token) for token in member], tuple(SENTENCE)],
    ):
        same(infer(FAMILY, given), expected)
    for alone in (member, tuple(member), torch.tensor(member), np.array(member), [np.int32(t) for t in member]):
        same(infer(FAMILY, alone), expected, slice(0, 1))


@pytest.mark.parametrize("form", ["dense", "banded", "auto"])
def test_an_empty_batch(form):
    found = infer(FAMILY, [], form=form)
    assert len(found) == 0 and found.prefix_log_prob.shape == (0, 1, 8) and found.log_prob.shape == (0, 8)
    assert found.posterior().shape == (0, 1, 8) and found.sentence_posterior().shape == (0, 8)
    assert found.next_token_probs().shape == (0, 1, 4) and found.optimal_loss().shape == (0, 1)
    assert found.best_accuracy().shape == (1, 3) and not found.best_accuracy().any()
    assert [level.shape for level in found.level_posterior()] == [(0, 1, 2)] * 3
    assert "0 sentences" in repr(found)
    assert len(infer(FAMILY, torch.zeros(0, 5, dtype=torch.int64), form=form)) == 0


@pytest.mark.parametrize("form", ["dense", "banded", "auto"])
def test_empty_sentences_and_single_tokens(form):
    found = infer(FAMILY, [[], [0], []], form=form)
    assert found.prefix_log_prob.shape == (3, 2, 8)
    assert found.prefix_log_prob[:, 0].tolist() == [[0.0] * 8] * 3
    assert found.member.tolist() == [[False] * 8] * 3
    assert found.posterior()[0, 1].tolist() == [0] * 8
    torch.testing.assert_close(found.posterior()[0, 0], torch.full((8,), 1 / 8, dtype=torch.float64))
    assert found.optimal_loss()[0].tolist() == [float("inf"), 0]
    only_empty = infer(FAMILY, [[]], form=form)
    torch.testing.assert_close(only_empty.next_token_given[0, 0], found.next_token_given[1, 0])


@pytest.mark.parametrize("form", ["dense", "banded"])
def test_impossible_sentences_are_zeros_and_never_nan(member, form):
    unknown = [*member[:3], 3, *member[3:]]
    huge = [2**62, *member]
    too_long = [0, 1, 2] * 30
    behind = [*member, member[0]]
    found = infer(FAMILY, [unknown, huge, too_long, behind, member], form=form)
    assert found.member.any(1).tolist() == [False, False, False, False, True]
    for name in ("prefix_log_prob", "next_token_given", "next_token_log_prob", "log_prob"):
        assert not getattr(found, name).isnan().any()
    for known in (0, 2):
        for name in ("posterior", "next_token_probs", "optimal_loss", "sentence_posterior", "best_accuracy"):
            assert not getattr(found, name)(known, [0, 0, 0]).isnan().any()
    assert found.prefix_log_prob[0, 4:10].eq(-torch.inf).all()
    assert not found.next_token_given[0, 4:].any() and not found.posterior()[0, 4:].any()
    assert found.posterior()[0, 3].sum() == pytest.approx(1)
    losses = found.optimal_loss()
    assert losses[0, 3:10].eq(torch.inf).all() and losses[0, :3].isfinite().all()
    assert losses[1, 0] == torch.inf
    assert losses[3, len(member)] == torch.inf and losses[4, : len(member) + 1].isfinite().all()
    assert not losses[4, len(member) + 1 :].any()


def test_behind_the_end_there_are_zeros_and_a_mask(member):
    found = infer(FAMILY, [member, [0, 1, 2] * 15])
    behind = ~found.mask
    assert behind[0].sum() == 45 - len(member) and not behind[1].any()
    for values in (
        found.prefix_log_prob,
        found.next_token_given,
        found.next_token_log_prob,
        found.posterior(),
        found.next_token_probs(),
        found.optimal_loss(),
        *found.level_posterior(),
    ):
        assert not values[behind].any()


def test_chunks_and_company_change_nothing(member):
    generator = torch.Generator().manual_seed(0)
    given = [member[:k] for k in range(len(member) + 1)]
    given += [torch.randint(3, (n,), generator=generator).tolist() for n in (1, 40, 7, 26, 300)]
    expected = infer(FAMILY, given)
    for size in (1, 2, 5, 1000):
        same(infer(FAMILY, given, chunk_size=size), expected)
    for index in (0, 3, len(given) - 4):
        same(infer(FAMILY, [given[index]]), expected, slice(index, index + 1))


def test_single_precision_agrees_to_its_digits(member):
    single, double = infer(FAMILY, [member], dtype=torch.float32), infer(FAMILY, [member])
    assert single.next_token_given.dtype == torch.float32
    torch.testing.assert_close(single.next_token_given.double(), double.next_token_given, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(single.log_prob, double.log_prob, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single.next_token_probs().double(), double.next_token_probs(), rtol=1e-5, atol=1e-6)


def test_results_in_short_and_as_plain_values(member):
    found = infer(FAMILY, [member])
    assert repr(found) == f"Inference(1 sentences of up to {len(member)} tokens, 8 grammars)"
    plain = found.to_dict()
    assert plain["lengths"] == [len(member)] and len(plain["metadata"]) == 8
    assert set(plain) == {"family", "metadata", "tokens", "lengths", "prefix_log_prob", "next_token_given"}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([[0, -1]], ValueError),
        ([[0, -2, 1]], ValueError),
        (torch.tensor([[0, -1, 1]]), ValueError),
        (torch.zeros(2, 2, 2, dtype=torch.int64), ValueError),
        (torch.zeros(2, 3), TypeError),
        ([[0.5, 1.0]], TypeError),
        (torch.ones(2, 3, dtype=torch.bool), TypeError),
        ("abc", TypeError),
        (None, TypeError),
        (3, TypeError),
    ],
)
def test_what_is_no_sentence_is_refused(given, kind):
    with pytest.raises(kind):
        infer(FAMILY, given)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"metadata": [0, 0]}, ValueError),
        ({"metadata": [[0, 0, 2]]}, ValueError),
        ({"metadata": [[0, 0, 1], [0, 0, 1]]}, ValueError),
        ({"metadata": torch.zeros(0, 3, dtype=torch.int64)}, ValueError),
        ({"metadata": [0.0, 1.0, 0.0]}, TypeError),
        ({"form": "sparse"}, ValueError),
        ({"dtype": torch.float16}, TypeError),
        ({"chunk_size": 0}, ValueError),
        ({"device": "nowhere"}, ValueError),
    ],
)
def test_options_that_are_refused(options, kind):
    with pytest.raises(kind):
        infer(FAMILY, [SENTENCE], **options)


@pytest.mark.parametrize(
    ("known", "metadata", "kind"),
    [
        (4, [0, 0, 0], ValueError),
        (-1, [0, 0, 0], ValueError),
        (1, None, ValueError),
        (1, [[0, 0, 0]] * 3, ValueError),
        (2, [0], ValueError),
        (2, [0, 2], ValueError),
        (1, [0.0], TypeError),
        (True, [0, 0, 0], TypeError),
    ],
)
def test_knowledge_that_is_refused(known, metadata, kind):
    found = infer(FAMILY, [SENTENCE, SENTENCE])
    with pytest.raises(kind):
        found.posterior(known, metadata)


def test_choices_of_levels_that_are_not_known_do_not_count():
    found = infer(FAMILY, [SENTENCE, SENTENCE])
    expected = found.optimal_loss(1, [[0, 0, 0], [1, 0, 0]])
    for metadata in ([[0], [1]], torch.tensor([[0, 1, 1], [1, 1, 0]]), [[0, -1, -1], [1, 99, -5]]):
        assert torch.equal(found.optimal_loss(1, metadata), expected)


def test_levels_with_one_choice_and_levels_with_three():
    family = GrammarFamily(
        [1, 1, 2],
        [[[[[0, 0]]]], [[[[0], [1, 1]]], [[[1]]], [[[0, 1, 0]]]]],
        choice_probs=[[1.0], [0.2, 0.7, 0.1]],
    )
    found = infer(family, [[1, 1], [0, 0], [0, 1, 0, 0, 1, 0]])
    assert [level.shape[-1] for level in found.level_posterior()] == [1, 3]
    expected = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(found.sentence_level_posterior()[1], expected)
    prior = torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64)
    torch.testing.assert_close(found.level_posterior()[1][0, 0], prior)
    two = torch.tensor([0.1, 0.7, 0], dtype=torch.float64)
    torch.testing.assert_close(found.level_posterior()[1][0, 1], two / two.sum())


def test_numbers_that_are_no_tokens_or_no_sizes_are_one_clear_error():
    family = from_text("01|1;0|10/11")
    for wrong in (["a", "b"], [2**70], [[0], ["a"]]):
        with pytest.raises(TypeError, match="bad argument 'sentences'"):
            infer(family, wrong)
    for wrong in (1.5, True):
        with pytest.raises(TypeError):
            infer(family, [[0]], chunk_size=wrong)
