"""Averages by position with their errors, losses, divergences and ratios, against sums written out."""

import math
import statistics

import pytest
import torch

from toolkit.grammars.documents import as_documents
from toolkit.grammars.metrics import (
    by_position,
    divergences,
    kl_by_position,
    losses_by_position,
    next_tokens,
    ratio_by_position,
    reached,
    token_losses,
)

SENTENCES = [[0, 1], [2, 2, 1, 0], [1], []]


@pytest.fixture
def documents():
    return as_documents("test", SENTENCES)


def tables(seed, n=4, positions=5, columns=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, positions, columns, generator=generator, dtype=torch.float64).log_softmax(-1)


def test_what_comes_at_each_position(documents):
    end, none = 3, -1
    assert next_tokens(documents, 3).tolist() == [
        [0, 1, end, none, none],
        [2, 2, 1, 0, end],
        [1, end, none, none, none],
        [end, none, none, none, none],
    ]
    assert torch.equal(reached(documents), next_tokens(documents, 3) != none)
    assert next_tokens(as_documents("test", []), 3).shape == (0, 1) == tuple(reached(as_documents("test", [])).shape)


def test_losses_are_those_written_out(documents):
    log_probs = tables(0)
    found = losses_by_position(log_probs, documents)
    at = {position: [] for position in range(5)}
    for i, sentence in enumerate(SENTENCES):
        for position, token in enumerate([*sentence, 3]):
            at[position].append(-float(log_probs[i, position, token]))
    for position, values in at.items():
        n = len(values)
        assert int(found.n[position]) == n
        assert float(found.mean[position]) == pytest.approx(sum(values) / n, abs=1e-12)
        error = float(found.standard_error[position])
        if n > 1:
            assert error == pytest.approx(statistics.stdev(values) / math.sqrt(n), abs=1e-12)
        else:
            assert math.isnan(error)
    everything = [value for values in at.values() for value in values]
    assert found.overall == pytest.approx(sum(everything) / 11, abs=1e-12)
    assert token_losses(log_probs, documents)[0, 3:].tolist() == [0.0, 0.0]
    assert found.to_dict()["n"] == [4, 3, 2, 1, 1] and len(found) == 5


def test_the_overall_error_treats_sentences_as_draws():
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(4000, 8, dtype=torch.bool)
    per_sentence = torch.randn(4000, 1, generator=generator, dtype=torch.float64).expand(4000, 8)
    found = by_position(per_sentence, mask)
    assert found.overall_standard_error == pytest.approx(float(found.standard_error[0]), rel=1e-9)
    assert found.overall_standard_error == pytest.approx(1 / math.sqrt(4000), rel=0.1)


def test_positions_that_nobody_reaches_and_single_sentences():
    found = by_position(torch.tensor([[1.0, math.nan, 5.0]]), torch.tensor([[True, False, False]]))
    assert found.n.tolist() == [1, 0, 0] and found.overall == 1
    assert found.mean[0] == 1 and found.mean[1:].isnan().all()
    assert found.standard_error.isnan().all() and math.isnan(found.overall_standard_error)
    none = by_position(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.bool))
    assert math.isnan(none.overall) and none.n.tolist() == [0, 0]


def test_divergences():
    optimal, log_probs = tables(1).exp(), tables(2)
    optimal[0, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    optimal[1, 1] = 0.0
    found = divergences(optimal, log_probs)
    assert float(found[0, 0]) == pytest.approx(-float(log_probs[0, 0, 1]), abs=1e-12)
    assert float(found[1, 1]) == 0
    p, q = optimal[2, 2].tolist(), log_probs[2, 2].exp().tolist()
    assert float(found[2, 2]) == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-12)
    assert (found >= -1e-15).all()
    assert torch.allclose(divergences(log_probs.exp(), log_probs), torch.zeros(4, 5, dtype=torch.float64), atol=1e-15)
    excluded = torch.tensor([[math.log(0.5), math.log(0.5), -math.inf]], dtype=torch.float64)
    fair = torch.tensor([[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]], dtype=torch.float64)
    assert divergences(fair, excluded.expand(2, 3)).tolist() == [math.inf, 0.0]


def test_kl_leaves_out_what_lies_behind_the_end(documents):
    optimal, log_probs = tables(1).exp(), tables(2)
    before = kl_by_position(optimal, log_probs, documents)
    spoilt = torch.where(reached(documents)[..., None], log_probs, math.nan)
    after = kl_by_position(optimal, spoilt, documents)
    assert torch.equal(before.mean, after.mean) and before.overall == after.overall


def test_ratios_against_the_bootstrap():
    generator = torch.Generator().manual_seed(0)
    second = torch.rand(3000, 1, generator=generator, dtype=torch.float64) + 0.2
    first = 2 * second + 0.3 * torch.rand(3000, 1, generator=generator, dtype=torch.float64)
    mask = torch.ones(3000, 1, dtype=torch.bool)
    mask[2500:] = False
    found = ratio_by_position(first, second, mask)
    a, b = first[:2500, 0], second[:2500, 0]
    assert float(found.ratio[0]) == pytest.approx(float(a.mean() / b.mean()), rel=1e-12)
    chosen = torch.randint(0, 2500, (400, 2500), generator=generator)
    spread = (a[chosen].mean(1) / b[chosen].mean(1)).std()
    assert float(found.standard_error[0]) == pytest.approx(float(spread), rel=0.12)
    assert int(found.n[0]) == 2500


def test_shapes_that_do_not_fit_are_refused(documents):
    with pytest.raises(ValueError, match="token_losses"):
        losses_by_position(tables(0, n=3), documents)
    with pytest.raises(ValueError, match="token_losses"):
        losses_by_position(tables(0, positions=4), documents)
    with pytest.raises(ValueError, match="kl_by_position"):
        kl_by_position(tables(0, n=3).exp(), tables(0, n=3), documents)
    with pytest.raises(ValueError, match="tokens below 2"):
        losses_by_position(tables(0, columns=3), as_documents("test", [[1, 0, 0, 1], [2], [1], []]))
