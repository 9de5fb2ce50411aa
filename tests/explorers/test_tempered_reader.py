"""Readers that err on purpose: their errors are those of exact inference, and the picture says what was computed."""

import itertools

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_tempered_reader
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.tempered_reader import (
    BASELINE,
    NOISES,
    TAUS,
    TOLD,
    Reader,
    compute,
    describe,
    draw,
    errors,
    situations,
    spans,
)
from toolkit.grammars.inference import infer
from toolkit.grammars.metrics import divergences, kl_by_position
from toolkit.grammars.sandbox import temper


@pytest.mark.parametrize("reader", [TOLD, BASELINE, Reader(0.0, 0.1), Reader(5.0, 0.0)])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_errors_are_those_of_every_short_prefix(reader, place):
    # The shortest document has 8 tokens: each prefix up to there counts with its own probability.
    family = example_family(TOY)
    prefixes = [list(prefix) for prefix in itertools.product(range(3), repeat=place)]
    found = infer(family, prefixes)
    weights = found.prefix_log_prob[:, place].exp().mean(1)  # grammars are equally frequent
    said = temper(found.posterior(), found.next_token_given, temperature=reader.tau, epsilon=reader.noise)[:, place]
    kl = divergences(found.next_token_probs()[:, place], said)
    assert float(weights.sum()) == pytest.approx(1)
    expected = sum(float(w) * float(d) for w, d in zip(weights, kl, strict=True) if float(w) > 0)
    assert errors(reader).total[place] == pytest.approx(expected, abs=1e-12)


def test_errors_are_the_mean_of_drawn_documents():
    family = example_family(TOY)
    documents = family.sample(1000, generator=torch.Generator().manual_seed(1), device="cpu")
    found = infer(family, documents)
    said = temper(found.posterior(), found.next_token_given, temperature=TOLD.tau, epsilon=TOLD.noise)
    drawn = kl_by_position(found.next_token_probs(), said, documents)
    exact = torch.tensor(errors(TOLD).total, dtype=torch.float64)[: len(drawn)]
    often = drawn.n > 50
    assert bool(((drawn.mean - exact).abs() <= 4.5 * drawn.standard_error + 1e-9)[often].all())
    assert int(often.sum()) > 20


def test_situations_are_all_there_is():
    known = situations()
    assert torch.allclose(known.weights.sum(1), torch.ones(28, dtype=torch.float64))
    assert torch.allclose(known.posterior.sum(1), torch.ones(len(known.posterior), dtype=torch.float64))
    assert known.share[[0, 8, 12, 16, 20]].tolist() == pytest.approx([1, 1, 0.87792969, 0.47753906, 0.24847412])
    mass = known.following.sum(-1)
    assert bool((((mass - 1).abs() < 1e-9) | (mass == 0)).all())
    assert torch.equal(mass > 0, known.posterior > 0)


@pytest.mark.parametrize("reader", [TOLD, BASELINE, Reader(0.0, 0.05), Reader(2.0, 0.0)])
def test_the_parts_bound_the_whole(reader):
    found = errors(reader)
    for total, which, what in zip(found.total, found.which, found.what, strict=True):
        assert total <= which + what + 1e-12
    assert (max(found.which) < 1e-12) == (reader.tau == 1) and (max(found.what) < 1e-12) == (reader.noise == 0)


def test_the_best_reader_does_not_err():
    found = compute(1.0, 0.0, 1.0, 0.0)
    assert max(found.told.total) < 1e-12 and found.worse == found.better == () and found.better_from is None
    assert "err alike" in draw(found).to_string() and "as far off" in describe(found)


def test_haste_costs_short_prompts_and_skill_pays_on_long_ones():
    found = compute()
    assert 1 in found.worse and 0 in found.better
    assert found.better_from is not None and set(range(found.better_from, 28)) <= set(found.better)
    picture = draw(found).to_string()
    assert f"worse after {spans(found.worse)} tokens, better from {found.better_from} tokens on" in picture
    turned = compute(BASELINE.tau, BASELINE.noise, TOLD.tau, TOLD.noise)
    assert turned.worse == found.better and turned.better == found.worse


def test_numbers_in_words():
    assert [spans(n) for n in ((), (3,), (0, 1), (0, 2, 3, 7))] == ["", "3", "0 to 1", "0, 2 to 3 and 7"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"told_tau": -1.0}, "told_tau"), ({"baseline_tau": float("nan")}, "baseline_tau"), ({"told_noise": 1.5}, "1.5")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(**arguments)


def test_the_view_at_every_corner():
    view = explore_tempered_reader()
    assert view.error is None and view.result.told.reader == TOLD and view.result.baseline.reader == BASELINE
    assert "not evidence" in view.text
    for corner in itertools.product(TAUS, NOISES, TAUS, NOISES):
        for name, value in zip(view.controls, corner, strict=True):
            view.controls[name].value = value
        assert view.error is None, view.text
        assert view.result.told.reader == Reader(*corner[:2]) and view.result.baseline.reader == Reader(*corner[2:])
        assert not words_outside(view.drawn.svg) and "nan" not in view.drawn.svg.to_string() + view.text
    view.reset()
    assert view.result.told.reader == TOLD
    assert view.result.to_dict()["told"]["reader"] == {"tau": 3.0, "noise": 0.01} and "worse after" in repr(view.result)
