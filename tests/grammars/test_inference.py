"""Every quantity of exact inference against sums over all sentences, for small families of every shape."""

import math

import pytest
import torch

from tests.grammars.language_by_hand import any_family, choice_prior, languages, prefix_probs
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer

TOLERANCE = 1e-9
SEEDS = [seed for seed in range(60) if any_family(seed).longest <= 14 and any_family(seed).n_grammars <= 12][:16]


def strings(family, seed, most=25):
    """Some sentences, some of their beginnings, and some that are neither."""
    members = sorted(set().union(*languages(family)))
    generator = torch.Generator().manual_seed(seed)
    chosen = [members[i] for i in torch.randperm(len(members), generator=generator)[:most].tolist()]
    cut_off = [sentence[: len(sentence) // 2] for sentence in chosen[:6]]
    swapped = [sentence[::-1] for sentence in chosen[:6]]
    longer = [sentence + sentence[:1] for sentence in chosen[:6]]
    unknown = [(*sentence[:1], family.n_terminals + 3, *sentence[1:]) for sentence in chosen[:3]]
    return [(), *chosen, *cut_off, *swapped, *longer, *unknown]


@pytest.mark.parametrize("form", ["dense", "banded", "auto"])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_sum_over_all_sentences(seed, form):
    family = any_family(seed)
    known = languages(family)
    prefixes = [prefix_probs(sentences) for sentences in known]
    prior = torch.tensor(choice_prior(family), dtype=torch.float64)
    given = strings(family, seed)
    found = infer(family, given, form=form)
    posteriors, predictions, losses = found.posterior(), found.next_token_probs(), found.optimal_loss()
    of_levels, logs, n_tokens = found.level_posterior(), found.next_token_log_prob, family.n_terminals
    for s, sentence in enumerate(given):
        length = len(sentence)
        whole = torch.tensor([sentences.get(sentence, 0.0) for sentences in known], dtype=torch.float64)
        close(found.log_prob[s].exp(), whole)
        assert found.member[s].tolist() == (whole > 0).tolist()
        assert found.mask[s].tolist() == [k <= length for k in range(found.mask.shape[1])]
        for k in range(length + 1):
            start = sentence[:k]
            of_prefix = torch.tensor([of.get(start, 0.0) for of in prefixes], dtype=torch.float64)
            close(found.prefix_log_prob[s, k].exp(), of_prefix)
            joint = torch.tensor(
                [
                    [of.get((*start, token), 0.0) for token in range(n_tokens)] + [sentences.get(start, 0.0)]
                    for of, sentences in zip(prefixes, known, strict=True)
                ],
                dtype=torch.float64,
            )
            expected = torch.where(of_prefix[:, None] > 0, joint / of_prefix[:, None], 0)
            close(logs[s, k].exp(), expected)
            close(found.next_token_given[s, k].sum(-1), (of_prefix > 0).double())
            weights = prior * of_prefix
            posterior = weights / weights.sum() if weights.sum() else weights
            close(posteriors[s, k], posterior)
            mixed = (posterior[:, None] * expected).sum(0)
            close(predictions[s, k], mixed)
            assert math.isclose(float(mixed.sum()), float(weights.sum() > 0), abs_tol=TOLERANCE)
            token = n_tokens if k == length else sentence[k]
            p = float(mixed[token]) if token <= n_tokens else 0.0
            assert math.isclose(
                float(losses[s, k]), -math.log(p) if p else math.inf, rel_tol=TOLERANCE, abs_tol=TOLERANCE
            )
            for level, of_level in enumerate(of_levels):
                by_hand = [
                    float(posterior[family.all_metadata[:, level] == choice].sum())
                    for choice in range(family.n_choices[level])
                ]
                close(of_level[s, k], torch.tensor(by_hand, dtype=torch.float64))
        weights = prior * whole
        close(found.sentence_posterior()[s], weights / weights.sum() if weights.sum() else weights)
        for level, of_level in enumerate(found.sentence_level_posterior()):
            assert float(of_level[s].sum()) == pytest.approx(float(weights.sum() > 0), abs=TOLERANCE)
            assert of_level.shape == (len(given), family.n_choices[level])


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_what_is_known_of_the_metadata_excludes_the_other_grammars(seed):
    family = any_family(seed)
    known = languages(family)
    prefixes = [prefix_probs(sentences) for sentences in known]
    rows = family.all_metadata.tolist()
    given = strings(family, seed, most=12)
    generator = torch.Generator().manual_seed(seed)
    true = torch.stack([family.all_metadata[torch.randint(len(rows), (), generator=generator)] for _ in given])
    found = infer(family, given)
    for depth in range(family.depth + 1):
        loss, mixed = found.optimal_loss(depth, true), found.next_token_probs(depth, true)
        posterior, ended = found.posterior(depth, true), found.sentence_posterior(depth, true)
        for s, sentence in enumerate(given):
            agree = [row[:depth] == true[s, :depth].tolist() for row in rows]
            prior = [
                math.prod(family.choice_probs[level][row[level]] for level in range(depth, family.depth)) * fits
                for row, fits in zip(rows, agree, strict=True)
            ]
            for k in range(len(sentence) + 1):
                weights = [p * of.get(sentence[:k], 0.0) for p, of in zip(prior, prefixes, strict=True)]
                total = sum(weights)
                close(posterior[s, k], torch.tensor(weights, dtype=torch.float64) / (total or 1))
                longer = sentence[: k + 1]
                end = k == len(sentence)
                after = [
                    p * (sentences.get(sentence, 0.0) if end else of.get(longer, 0.0))
                    for p, of, sentences in zip(prior, prefixes, known, strict=True)
                ]
                expected = -math.log(sum(after) / total) if total and sum(after) else math.inf
                assert math.isclose(float(loss[s, k]), expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
                if end:
                    close(ended[s], torch.tensor(after, dtype=torch.float64) / (sum(after) or 1))
            assert float(mixed[s].sum()) <= len(sentence) + 1 + TOLERANCE
            assert loss[s, len(sentence) + 1 :].count_nonzero() == 0


def test_the_losses_of_a_sentence_add_up_to_its_surprise():
    family = any_family(SEEDS[5])
    known, prior = languages(family), choice_prior(family)
    given = sorted(set().union(*known))[:40]
    losses = infer(family, given).optimal_loss().sum(1)
    for sentence, loss in zip(given, losses.tolist(), strict=True):
        p = sum(q * sentences.get(sentence, 0.0) for q, sentences in zip(prior, known, strict=True))
        assert loss == pytest.approx(-math.log(p) if p else math.inf, rel=TOLERANCE)


def test_only_the_grammars_that_were_asked_for():
    family = GrammarFamily(
        [1, 2, 2],
        [[[[[0, 1], [1]]], [[[1, 1]]], [[[0, 0, 0]]]], [[[[0, 1]], [[1], [0, 0]]]]],
        choice_probs=[[0.5, 0.3, 0.2], [1]],
    )
    given = [[0, 1, 1], [1, 1], [0, 1, 0, 1, 0, 1]]
    everything, some = infer(family, given), infer(family, given, metadata=[[2, 0], [0, 0]])
    assert torch.equal(some.metadata, torch.tensor([[2, 0], [0, 0]]))
    close(some.log_prob.exp(), everything.log_prob[:, [2, 0]].exp())
    weights = everything.sentence_posterior()[:, [2, 0]]
    close(some.sentence_posterior(), weights / weights.sum(1, keepdim=True).clamp(min=1e-300))
    assert some.level_posterior()[0].shape == (3, 7, 3)
    assert some.level_posterior()[0][:, :, 1].count_nonzero() == 0
    one = infer(family, given, metadata=[0, 0])
    assert one.n_grammars == 1 and one.posterior()[0, 0].tolist() == [1.0]


def test_a_set_of_rules_that_never_serves_can_still_be_asked_about():
    family = GrammarFamily([1, 2], [[[[[0]]], [[[1]]]]], choice_probs=[[1.0, 0.0]])
    found = infer(family, [[0], [1]])
    assert found.log_prob.exp().tolist() == [[1, 0], [0, 1]]
    assert found.posterior()[1, 1].tolist() == [0, 0]
    assert found.posterior(1, [1])[1, 1].tolist() == [0, 1]
    assert found.optimal_loss(1, [[0], [1]])[:, 0].tolist() == [0, 0]
    assert infer(family, [[1]], metadata=[1]).posterior(1, [1])[0, 1].tolist() == [1]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=1e-15)
