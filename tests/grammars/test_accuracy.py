"""Grammatical accuracy and its bounds: judged texts, perfect and hopeless writers, and the public example."""

import math

import pytest
import torch

from toolkit.grammars.accuracy import attainable_accuracy, exact_attainable_accuracy, grammatical_accuracy, judge
from toolkit.grammars.decoding import Generated
from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer
from toolkit.grammars.named import toy_family
from toolkit.grammars.text import from_text

FAMILY = from_text("01|10//11|001//02|20;01|1/10|0/2|12//20|2/11|0/0|21")
PROMPTS = (0, 1, 2, 3, 4, 6, 9)


@pytest.fixture(scope="module")
def every():
    return enumerate_sentences(FAMILY)


@pytest.fixture(scope="module")
def fresh():
    return FAMILY.sample(3000, generator=torch.Generator().manual_seed(0))


def generated(rows, ended=None):
    documents = as_documents("test", rows)
    ended = torch.ones(len(documents), dtype=torch.bool) if ended is None else torch.tensor(ended)
    return Generated(documents, ended, torch.zeros(len(documents), dtype=torch.int64))


def test_every_sentence_is_judged_as_the_enumeration_says(every):
    for index, metadata in enumerate(FAMILY.all_metadata):
        rows = metadata.expand(len(every), 2)
        found = judge(FAMILY, every.documents, torch.ones(len(every), dtype=torch.bool), rows)
        assert found.any.all() and torch.equal(found.true, every.log_prob[:, index] > -math.inf)


def test_what_is_no_sentence():
    sentence = enumerate_sentences(FAMILY).documents[0].tolist()
    texts = [[], [0], sentence, sentence, [*sentence, 2, 2, 2], [0] * 40, [2, 7]]
    ended = torch.tensor([True, True, True, False, True, True, True])
    found = judge(FAMILY, texts, ended, torch.zeros(len(texts), 2, dtype=torch.int64))
    assert found.any.tolist() == [False, False, True, False, False, False, False]
    none = judge(FAMILY, [], torch.zeros(0, dtype=torch.bool), torch.zeros(0, 2, dtype=torch.int64))
    assert len(none.any) == 0 and none.to_dict() == {"any": [], "true": []}
    with pytest.raises(ValueError, match="judge"):
        judge(FAMILY, [[0], [1]], torch.tensor([True]), torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="metadata"):
        judge(FAMILY, [[0], [1]], torch.tensor([True, True]), torch.zeros(1, 2, dtype=torch.int64))


class PerfectSampler:
    """Draws the whole sentence from those that begin like the prompt, by their probability."""

    def __init__(self, every, seed):
        self.every, self.generator = every, torch.Generator().manual_seed(seed)
        self.rows = every.documents.padded()

    def __call__(self, prompts, most):
        length = int(prompts.lengths[0])
        same = (self.rows[:, :length][None] == prompts.padded()[:, None]).all(-1)
        long_enough = self.every.documents.lengths >= length
        chosen = torch.multinomial(same * long_enough * self.every.probability, 1, generator=self.generator)[:, 0]
        assert int(self.every.documents.lengths[chosen].max()) - length + 1 <= most
        return generated([self.every.documents[i].tolist() for i in chosen.tolist()])


def test_a_perfect_sampler_gets_what_can_be_got(every, fresh):
    found = grammatical_accuracy(PerfectSampler(every, 0), FAMILY, fresh, PROMPTS)
    exact = exact_attainable_accuracy(FAMILY, PROMPTS)
    assert exact.exact and exact.sampler_error == (0.0,) * 6 + (pytest.approx(math.nan, nan_ok=True),)
    inference = infer(FAMILY, fresh)
    estimated = attainable_accuracy(inference.posterior(), inference.member, fresh, PROMPTS)
    assert found.n == estimated.n and found.n[0] == 3000 and found.n[-1] == 0
    for i, length in enumerate(PROMPTS[:-1]):
        assert found.acc_any[i] == 1 and found.unfinished[i] == 0, length
        assert abs(found.acc_true[i] - exact.sampler[i]) < 4.5 * found.acc_true_error[i] + 1e-12, length
        assert abs(estimated.sampler[i] - exact.sampler[i]) < 4.5 * estimated.sampler_error[i] + 1e-12, length
        assert estimated.sampler_error[i] < 0.02 and estimated.best_error[i] < 0.02
        assert exact.sampler[i] <= exact.best[i] + 1e-12
        assert estimated.sampler[i] <= estimated.best[i] <= exact.best[i] + 4.5 * estimated.best_error[i]
    for values in (found.acc_any, found.acc_true, estimated.sampler, exact.sampler, exact.best):
        assert math.isnan(values[-1])
    assert estimated.to_dict()["exact"] is False and len(found.to_dict()["acc_any_error"]) == len(PROMPTS)


def test_bounds_by_hand():
    # One token each: choice 0 says a or b, choice 1 says b or c; a prompt of one token is the whole sentence.
    family = from_text("0|1//1|2")
    found = exact_attainable_accuracy(family, (0, 1))
    # Prompt "": b is accepted by both, a and c by one of two equally probable grammars.
    assert found.sampler == pytest.approx((0.25 * 0.5 + 0.5 * 1 + 0.25 * 0.5, 1.0))
    assert found.best == pytest.approx((1.0, 1.0))
    assert found.n == (3, 3)


def test_metadata_that_are_never_chosen_do_not_count():
    family = GrammarFamily((1, 3), from_text("0|1//2").rules, choice_probs=[[1.0, 0.0]])
    found = exact_attainable_accuracy(family, (0, 1))
    assert found.sampler == found.best == (1.0, 1.0) and found.n == (2, 2)


def test_the_public_example_has_the_ceiling_that_was_computed_elsewhere():
    lengths = (0, 2, 4, 6, 8, 10, 12, 16, 20)
    found = exact_attainable_accuracy(toy_family(), lengths)
    # Rounded, and averages over a sample there: half a unit of the last digit and sampling error.
    assert found.sampler == pytest.approx((0.134, 0.248, 0.335, 0.459, 0.573, 0.699, 0.861, 0.987, 1.0), abs=0.02)


def test_hopeless_writers(fresh):
    def endless(prompts, most):
        rows = [[*prompts[i].tolist(), *[0] * most] for i in range(len(prompts))]
        return generated(rows, [False] * len(rows))

    found = grammatical_accuracy(endless, FAMILY, fresh, (0, 2), most=50)
    assert found.n == (50, 50) and found.unfinished == (1.0, 1.0)
    assert found.acc_any == found.acc_true == found.acc_any_error == (0.0, 0.0)

    def silent(prompts, most):
        return generated([prompts[i].tolist() for i in range(len(prompts))])

    found = grammatical_accuracy(silent, FAMILY, fresh, (2,))
    ends_there = (fresh.lengths == 2)[fresh.lengths >= 2].double().mean()
    assert found.acc_any[0] >= float(ends_there) > 0


def test_prompts_carry_the_metadata_and_room_for_the_longest_document(fresh):
    seen = []

    def write(prompts, most):
        seen.append((prompts.lengths.unique().tolist(), most))
        assert isinstance(prompts, Documents) and prompts.metadata is not None
        assert len(prompts.metadata) == len(prompts)
        return generated([[] for _ in range(len(prompts))])

    grammatical_accuracy(write, FAMILY, fresh, (0, 3), most=10)
    assert seen == [([0], FAMILY.longest + 1), ([3], FAMILY.longest - 2)]


def test_documents_must_know_their_metadata(fresh):
    with pytest.raises(ValueError, match="metadata"):
        grammatical_accuracy(PerfectSampler, FAMILY, as_documents("test", fresh.padded()), (0,))


def test_negative_numbers_and_shapes_that_do_not_agree(fresh):
    found = infer(FAMILY, fresh)
    posterior, member = found.posterior(), found.member
    for bounds in (
        lambda: grammatical_accuracy(PerfectSampler, FAMILY, fresh, (-1,)),
        lambda: attainable_accuracy(posterior, member, fresh, (0, -1)),
        lambda: exact_attainable_accuracy(FAMILY, (-1,)),
    ):
        with pytest.raises(ValueError, match="prompt_lengths"):
            bounds()
    with pytest.raises(ValueError, match="most"):
        grammatical_accuracy(PerfectSampler, FAMILY, fresh, (0,), most=-1)
    with pytest.raises(ValueError, match="posterior"):
        attainable_accuracy(posterior[:5], member[:5], fresh, (0,))
