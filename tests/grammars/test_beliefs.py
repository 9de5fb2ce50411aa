"""Beliefs about metadata, calibration, decomposition and the sandbox, against sums over all sentences."""

import itertools
import math

import pytest
import torch

from toolkit.grammars.calibration import calibrate
from toolkit.grammars.decomposition import decompose
from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.inference import infer
from toolkit.grammars.metrics import by_position, divergences, reached
from toolkit.grammars.named import toy_family
from toolkit.grammars.posteriors import (
    group_log_prior,
    group_metadata,
    group_next_tokens,
    group_posterior,
    implied_log_posterior,
    level_accuracy,
    n_groups,
)
from toolkit.grammars.sandbox import temper
from toolkit.grammars.text import from_text

FAMILY = from_text("01|10//11|001//02|20;01|1/10|0/2|12//20|2/11|0/0|21")
"""Three choices of the root's rules, two below: six grammars whose sentences have 2 to 6 tokens."""


class Exact:
    """Posterior and next-token probabilities after every prefix of every sentence, by adding up sentences."""

    def __init__(self, family):
        every = enumerate_sentences(family)
        self.family, self.documents, self.probability = family, every.documents, every.probability
        self.mask = reached(self.documents)
        mass: dict[tuple, torch.Tensor] = {}
        sentences = [tuple(self.documents[i].tolist()) for i in range(len(every))]
        joint = (every.log_prob + family.metadata_log_prob).exp()
        for sentence, row in zip(sentences, joint, strict=True):
            for k in range(len(sentence) + 1):
                mass[sentence[:k]] = mass.get(sentence[:k], 0) + row
            mass[(*sentence, "end")] = row
        n, width = self.mask.shape
        columns = [*range(family.n_terminals), "end"]
        self.posterior = torch.zeros(n, width, family.n_grammars, dtype=torch.float64)
        self.next = torch.zeros(n, width, family.n_grammars, len(columns), dtype=torch.float64)
        for i, sentence in enumerate(sentences):
            for k in range(len(sentence) + 1):
                here = mass[sentence[:k]]
                self.posterior[i, k] = here / here.sum()
                for column, token in enumerate(columns):
                    there = mass.get((*sentence[:k], token), torch.zeros_like(here))
                    self.next[i, k, :, column] = torch.where(here > 0, there / here.clamp_min(1e-300), 0.0)

    @property
    def optimal(self):
        return (self.posterior[..., None] * self.next).sum(2)


@pytest.fixture(scope="module")
def exact():
    return Exact(FAMILY)


def noisy(exact, seed, known_levels, scale=0.5):
    """Return a made-up model's log-probabilities, shown each value of the first levels' choices."""
    generator = torch.Generator().manual_seed(seed)
    groups = group_next_tokens(exact.posterior, exact.next, exact.family, known_levels).movedim(2, 0)
    noise = scale * torch.randn(groups.shape, generator=generator, dtype=torch.float64)
    return ((groups + 0.01).log() + noise).log_softmax(-1)


def test_groups_are_values_of_the_first_choices():
    assert [n_groups(FAMILY, known) for known in (0, 1, 2)] == [1, 3, 6]
    assert group_metadata(FAMILY, 1).tolist() == [[0, 0], [1, 0], [2, 0]]
    assert torch.equal(group_metadata(FAMILY, 2), FAMILY.all_metadata)
    assert group_log_prior(FAMILY, 1).exp().tolist() == pytest.approx([1 / 3] * 3)
    summed = group_posterior(torch.arange(6.0), FAMILY, 1)
    assert summed.tolist() == [1, 5, 9] and group_posterior(torch.arange(6.0), FAMILY, 0).tolist() == [15]
    for known in (-1, 3):
        with pytest.raises(ValueError, match="known_levels"):
            n_groups(FAMILY, known)
    # Three grammars would make three groups of one each, of which two are wrong.
    with pytest.raises(ValueError, match="group_posterior"):
        group_posterior(torch.arange(3.0), FAMILY, 1)
    with pytest.raises(ValueError, match="group_next_tokens"):
        group_next_tokens(torch.ones(3), torch.ones(3, 4), FAMILY, 1)


def test_what_comes_next_in_a_group(exact):
    for known in (0, 1, 2):
        found = group_next_tokens(exact.posterior, exact.next, FAMILY, known)
        possible = group_posterior(exact.posterior, FAMILY, known) > 0
        assert torch.allclose(found.sum(-1), possible.double(), atol=1e-12)
        mixed = (group_posterior(exact.posterior, FAMILY, known)[..., None] * found).sum(2)
        assert torch.allclose(mixed, exact.optimal, atol=1e-12)
    assert torch.allclose(group_next_tokens(exact.posterior, exact.next, FAMILY, 2), exact.next, atol=1e-12)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_a_perfect_models_implied_posterior_is_the_exact_one(exact, known):
    log_probs = group_next_tokens(exact.posterior, exact.next, FAMILY, known).movedim(2, 0).log()
    log_probs = torch.where(exact.mask[..., None], log_probs, 0.0)
    implied = implied_log_posterior(log_probs, exact.documents, group_log_prior(FAMILY, known))
    expected = group_posterior(exact.posterior, FAMILY, known)
    assert torch.allclose(implied.exp()[exact.mask], expected[exact.mask], atol=1e-12)
    index = torch.arange(exact.mask.shape[1])
    at_end = implied[torch.arange(len(implied)), exact.documents.lengths]
    behind = index > exact.documents.lengths[:, None]
    assert torch.allclose(implied[behind], at_end[behind.nonzero()[:, 0]])


def test_an_implied_posterior_is_bayes_rule_on_products():
    documents = as_documents("test", [[0, 1, 1]])
    tables = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]], dtype=torch.float64).log()
    log_probs = tables[:, None, None].expand(2, 1, 4, 3)
    prior = torch.tensor([0.9, 0.1], dtype=torch.float64)
    found = implied_log_posterior(log_probs, documents, prior.log())[0].exp()
    joint = torch.tensor([[0.9, 0.1], [0.45, 0.01], [0.135, 0.008], [0.0405, 0.0064]], dtype=torch.float64)
    assert torch.allclose(found, joint / joint.sum(1, keepdim=True), atol=1e-14)
    excluded = torch.full((2, 1, 4, 3), -math.inf, dtype=torch.float64)
    assert implied_log_posterior(excluded, documents, prior.log())[0, 1:].eq(-math.inf).all()


def test_best_accuracy_of_each_level(exact):
    found = level_accuracy(exact.posterior, FAMILY, exact.mask)
    assert [len(levels) for levels in found] == [exact.mask.shape[1]] * 2
    for k, level in itertools.product(range(3), range(2)):
        best = []
        for i in exact.mask[:, k].nonzero()[:, 0].tolist():
            shares = [0.0] * FAMILY.n_choices[level]
            for row, p in zip(FAMILY.all_metadata.tolist(), exact.posterior[i, k].tolist(), strict=True):
                shares[row[level]] += p
            best.append(max(shares))
        assert float(found[level].mean[k]) == pytest.approx(sum(best) / len(best), abs=1e-12)


# Calibration


def test_a_perfect_model_is_calibrated(exact):
    truth = torch.zeros(len(exact.documents), dtype=torch.int64)
    found = calibrate(exact.posterior, exact.posterior.log(), truth, exact.documents)
    assert found.error == pytest.approx(0, abs=1e-12) and found.kl.overall == pytest.approx(0, abs=1e-12)
    assert int(found.n.sum()) == int(exact.mask.sum()) * FAMILY.n_grammars
    assert torch.allclose(found.truth.mean, found.exact_truth.mean)


def test_reliability_is_counted_by_hand():
    documents = as_documents("test", [[], []])
    exact = torch.tensor([[[0.5, 0.5]], [[0.8, 0.2]]], dtype=torch.float64)
    implied = torch.tensor([[[0.95, 0.05]], [[1.0, 0.0]]], dtype=torch.float64)
    found = calibrate(exact, implied.log(), torch.tensor([1, 0]), documents, n_bins=2)
    assert found.n.tolist() == [2, 2] and found.bins.tolist() == [0, 0.5, 1]
    assert found.predicted.tolist() == pytest.approx([0.025, 0.975])
    assert found.exact.tolist() == pytest.approx([0.35, 0.65])
    assert found.observed.tolist() == pytest.approx([0.5, 0.5])
    assert found.error == pytest.approx(0.325)
    assert math.isinf(found.kl.overall)
    assert found.truth.overall == pytest.approx((0.05 + 1) / 2)
    assert found.exact_truth.overall == pytest.approx((0.5 + 0.8) / 2)
    assert set(found.to_dict()) >= {"kl", "truth", "exact_truth", "bins", "n", "error"}
    none = calibrate(exact[:0], implied[:0], torch.zeros(0, dtype=torch.int64), as_documents("test", []), n_bins=2)
    assert math.isnan(none.error) and none.n.tolist() == [0, 0]
    with pytest.raises(ValueError, match="n_bins"):
        calibrate(exact, implied.log(), torch.tensor([1, 0]), documents, n_bins=0)
    for truth in ([1, 2], [-1, 0]):
        with pytest.raises(ValueError, match="truth"):
            calibrate(exact, implied.log(), torch.tensor(truth), documents)
    with pytest.raises(ValueError, match="'exact'"):
        calibrate(exact, implied.log(), torch.tensor([1, 0]), as_documents("test", [[0], []]))


# Decomposition


@pytest.mark.parametrize("known", [1, 2])
def test_the_two_parts_bound_the_mixture_in_every_prediction(exact, known):
    log_probs = noisy(exact, known, known)
    implied = implied_log_posterior(log_probs, exact.documents, group_log_prior(FAMILY, known))
    beliefs = group_posterior(exact.posterior, FAMILY, known)
    within = group_next_tokens(exact.posterior, exact.next, FAMILY, known)
    found = decompose(beliefs, within, implied, log_probs, exact.documents, direct=log_probs[0])
    for i, k in exact.mask.nonzero().tolist()[::7]:
        which = what = 0.0
        mixture = torch.zeros(FAMILY.n_terminals + 1, dtype=torch.float64)
        for j in range(len(log_probs)):
            p, q = float(beliefs[i, k, j]), float(implied[i, k, j].exp())
            mixture += q * log_probs[j, i, k].exp()
            if p > 0:
                which += p * math.log(p / q)
                what += p * float(divergences(within[i, k, j], log_probs[j, i, k]))
        total = float(divergences(exact.optimal[i, k], mixture.log()))
        assert total <= which + what + 1e-12
    bound = found.which_grammar.mean + found.what_next.mean
    assert (found.mixture.mean <= bound + 1e-12).all() and (found.mixture.mean > 0).all()
    direct = by_position(divergences(exact.optimal, log_probs[0]), exact.mask)
    assert torch.allclose(found.direct.mean, direct.mean)


def test_the_parts_are_the_sums_they_claim_to_be(exact):
    log_probs = noisy(exact, 5, 2)
    implied = implied_log_posterior(log_probs, exact.documents, group_log_prior(FAMILY, 2))
    found = decompose(exact.posterior, exact.next, implied, log_probs, exact.documents)
    assert found.direct is None and found.to_dict()["direct"] is None
    assert float(found.which_grammar.mean[0]) == pytest.approx(0, abs=1e-12)  # nothing read: the prior
    k = 2
    expected = []
    for i in exact.mask[:, k].nonzero()[:, 0].tolist():
        terms = (float(p) * float(divergences(exact.next[i, k, j], log_probs[j, i, k]))
                 for j, p in enumerate(exact.posterior[i, k]) if p > 0)  # fmt: skip
        expected.append(sum(terms))
    assert float(found.what_next.mean[k]) == pytest.approx(sum(expected) / len(expected), abs=1e-12)


def test_a_perfect_model_has_nothing_to_decompose(exact):
    log_probs = torch.where(exact.mask[..., None], exact.next.movedim(2, 0).log(), 0.0)
    implied = implied_log_posterior(log_probs, exact.documents, FAMILY.metadata_log_prob)
    found = decompose(exact.posterior, exact.next, implied, log_probs, exact.documents)
    for part in (found.which_grammar, found.what_next, found.mixture):
        assert part.overall == pytest.approx(0, abs=1e-12) and part.mean.isfinite().all()
    some = as_documents("test", [[0]])
    with pytest.raises(ValueError, match="exact_posterior"):
        decompose(exact.posterior, exact.next, implied, log_probs, some)


# The sandbox


def test_undistorted_beliefs_are_the_optimum(exact):
    found = temper(exact.posterior, exact.next)
    assert torch.allclose(found.exp()[exact.mask], exact.optimal[exact.mask], atol=1e-12)
    assert (found[~exact.mask] == 0).all()


def test_temper_by_hand():
    posterior = torch.tensor([0.8, 0.2, 0.0], dtype=torch.float64)
    within = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    hasty = temper(posterior, within, temperature=3.0).exp()
    assert hasty.tolist() == pytest.approx([0.512 / 0.52, 0.008 / 0.52])
    assert temper(posterior, within, temperature=0.0).exp().tolist() == pytest.approx([0.5, 0.5])
    assert temper(posterior, within, epsilon=1.0).exp().tolist() == pytest.approx([0.5, 0.5])
    blind = temper(posterior, within, epsilon=0.1).exp()
    assert blind.tolist() == pytest.approx([0.9 * 0.8 + 0.05, 0.9 * 0.2 + 0.05])
    tiny = torch.tensor([1e-200, 1e-210, 0.0], dtype=torch.float64)
    assert temper(tiny, within, temperature=50.0).exp().tolist() == pytest.approx([1.0, 0.0])
    even = torch.full((8,), 1 / 8, dtype=torch.float64)
    assert temper(even, within[:1].expand(8, 2), temperature=1e308).exp().tolist() == pytest.approx([1.0, 0.0])


def test_a_hasty_reader_is_worse_for_short_prompts_and_better_for_long_ones():
    family = toy_family()
    documents = family.sample(600, generator=torch.Generator().manual_seed(0))
    found = infer(family, documents)
    optimal, beliefs, within = found.next_token_probs(), found.posterior(), found.next_token_given

    def distance(**distortion):
        return divergences(optimal, temper(beliefs, within, **distortion))

    careful, hasty = distance(temperature=1.0, epsilon=0.02), distance(temperature=3.0, epsilon=0.01)
    difference = by_position(hasty - careful, found.mask)
    z = difference.mean / difference.standard_error
    assert (z[[1, 3, 4]] > 3).all() and (z[[14, 16, 20]] < -4).all()
    # Computed elsewhere from 1,500 sentences, to the digits given.
    by_length = by_position(careful, found.mask).mean
    for k, value in {0: 0.0050, 2: 0.0134, 4: 0.0104, 8: 0.0093, 12: 0.0116, 20: 0.0133}.items():
        assert float(by_length[k]) == pytest.approx(value, abs=0.0006)
    by_length = by_position(hasty, found.mask).mean
    for k, value in {0: 0.0025, 1: 0.0919, 4: 0.0142, 14: 0.0069, 20: 0.0066}.items():
        assert float(by_length[k]) == pytest.approx(value, rel=0.2)


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"temperature": math.inf}, {"epsilon": 1.1}])
def test_bad_distortions_are_refused(options):
    with pytest.raises(ValueError, match="temper"):
        temper(torch.ones(1), torch.ones(1, 2), **options)


def test_documents_of_the_enumeration_are_documents(exact):
    assert isinstance(exact.documents, Documents) and float(exact.probability.sum()) == pytest.approx(1)
