"""Bits one by one: shares, informations and the surest images against plain formulas over made-up codes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_hash_bits
from toolkit.explorers.hash_bits import describe, draw, look_at
from toolkit.explorers.hash_runs import ITQ, PLAIN, VAT, make_code


def h(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


@pytest.mark.parametrize(("method", "bit"), [(VAT, 1), (PLAIN, 7)])
def test_shares_and_informations(small_hash_runs, method, bit):
    found = look_at(small_hash_runs, bit, method)
    s = small_hash_runs.codes[method].logits.sigmoid().numpy()
    labels = small_hash_runs.gallery_labels.numpy()
    for label in range(3):
        np.testing.assert_allclose(found.shares[label], s[labels == label].mean(0), atol=1e-14)
    np.testing.assert_allclose(found.information, h(s.mean(0)) - h(s).mean(0), atol=1e-12)
    for first in range(7):
        for second in range(7):
            if first == second:
                assert found.shared[first, first] == 0
                continue
            joint = [[(u * v).mean() for v in (s[:, second], 1 - s[:, second])] for u in (s[:, first], 1 - s[:, first])]
            joint = np.array(joint)
            apart = joint.sum(1, keepdims=True) * joint.sum(0)
            assert float(found.shared[first, second]) == pytest.approx((joint * np.log(joint / apart)).sum(), abs=1e-12)


def test_the_surest_images(small_hash_runs):
    found = look_at(small_hash_runs, 4, VAT)
    order = np.argsort(small_hash_runs.codes[VAT].logits[:, 3].numpy())
    np.testing.assert_array_equal(found.zeros, small_hash_runs.gallery_images[order[:10]])
    np.testing.assert_array_equal(found.ones, small_hash_runs.gallery_images[order[::-1][:10].copy()])
    assert found.zero_labels.tolist() == (order[:10] % 3).tolist()
    assert found.one_labels.tolist() == (order[::-1][:10] % 3).tolist()


def test_what_it_says_of_classes_and_neighbours(small_hash_runs):
    found = look_at(small_hash_runs, 2, VAT)
    share = found.shares[:, 1].numpy()
    names = np.array(small_hash_runs.class_names)
    assert found.on == tuple(names[share > 0.5]) and found.mixed == tuple(names[(share >= 0.1) & (share <= 0.9)])
    other, most = found.closest
    row = found.shared[1].numpy()
    assert other != 2 and most == row.max() and row[other - 1] == most
    text = describe(found)
    assert f"tells {float(found.information[1]):.3f} of at most 0.693 nats; with bit {other} it shares most" in text
    total, pairs = float(found.information.sum()), float(found.shared.sum()) / 2
    assert f"All 7 bits alone tell {total:.2f} nats, all pairs share {pairs:.2f}" in text


def made(runs, logits):
    query = torch.zeros(runs.n_queries, logits.shape[1], dtype=torch.bool)
    code = make_code(VAT, query, logits > 0, runs.query_labels, runs.gallery_labels, logits)
    return replace(runs, codes={VAT: code})


def test_copies_and_dead_bits(small_hash_runs):
    sure = 1000.0 * (2 * (small_hash_runs.gallery_labels == 1) - 1).double()
    logits = torch.stack((sure, sure, torch.full_like(sure, -1000.0)), 1)
    found = look_at(made(small_hash_runs, logits), 1, VAT)
    told = h(np.array(1 / 3))
    assert found.information.tolist() == pytest.approx([told, told, 0.0])
    assert found.closest == (2, pytest.approx(told)) and found.on == ("one",) and found.mixed == ()
    assert "mostly 1 for one; it cuts no class in two" in describe(found)
    dead = look_at(made(small_hash_runs, logits), 3, VAT)
    assert "0 for most of each class" in describe(dead) and "0.00 of 0.69 nats" in draw(dead).to_string()


def test_a_single_bit(small_hash_runs):
    runs = made(small_hash_runs, torch.linspace(-2, 2, 60, dtype=torch.float64)[:, None])
    view = explore_hash_bits(runs)
    assert view.error is None and "shares most" not in view.text and "bit" not in view.controls


def test_every_bit_draws(small_hash_runs):
    view = explore_hash_bits(small_hash_runs)
    start = view.controls["bit"].value
    assert start == int(look_at(small_hash_runs, 1, VAT).information.argmax()) + 1
    pictures = set()
    for method in (VAT, PLAIN):
        view.controls["method"].value = method
        for bit in range(1, 8):
            view.controls["bit"].value = bit
            assert view.error is None and f"bit {bit} = 0" in view.drawn.svg.to_string()
            pictures.add(view.drawn.svg.to_string())
    assert len(pictures) == 14 and view.png.startswith(b"\x89PNG")
    view.reset()
    assert view.result.bit == start and view.result.method == VAT


def test_codes_without_probabilities_are_not_offered(small_hash_runs):
    assert [value for _, value in explore_hash_bits(small_hash_runs).controls["method"].options] == [VAT, PLAIN]
    with pytest.raises(ValueError, match="method"):
        look_at(small_hash_runs, 1, ITQ)
    with pytest.raises(ValueError, match="runs"):
        explore_hash_bits(replace(small_hash_runs, codes={ITQ: small_hash_runs.codes[ITQ]}))


@pytest.mark.parametrize("bit", [0, 8])
def test_out_of_range(small_hash_runs, bit):
    with pytest.raises(ValueError, match="bit"):
        look_at(small_hash_runs, bit, VAT)


def test_the_ceiling_is_marked(small_hash_runs):
    assert f"{math.log(2):.2f}" in draw(look_at(small_hash_runs, 1, VAT)).to_string()
