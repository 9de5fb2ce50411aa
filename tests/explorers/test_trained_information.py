"""The information of a learned code's first bits against a sum over all codes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_trained_information
from toolkit.explorers.hash_runs import ITQ, PLAIN, VAT, make_code
from toolkit.explorers.trained_information import HARD, SOFT, grow


def truth(s):
    s = np.clip(s, 1e-300, 1 - 1e-16)
    codes = itertools.product([0, 1], repeat=s.shape[1])
    joint = np.array([np.prod(np.where(code, s, 1 - s), axis=1).mean() for code in codes])
    noise = -(s * np.log(s) + (1 - s) * np.log1p(-s)).sum(1).mean()
    return -(joint[joint > 1e-12] * np.log(joint[joint > 1e-12])).sum() - noise


@pytest.mark.parametrize("method", [VAT, PLAIN])
def test_every_number_of_bits(small_hash_runs, method):
    code = small_hash_runs.codes[method]
    for kind, values in ((SOFT, code.probabilities), (HARD, code.gallery.double())):
        growth = grow(code.logits, kind)
        assert len(growth) == 7
        for count, point in enumerate(growth, 1):
            assert point.exact == pytest.approx(truth(values[:, :count].numpy()), abs=1e-9)
            assert point.ceiling == pytest.approx(count * math.log(2))
        assert growth[1].first == pytest.approx(growth[1].exact, abs=1e-10)  # one pair, counted once
        exact = [point.exact for point in growth]
        assert exact == sorted(exact)  # another bit never tells less


def made(runs, bits):
    logits = 1000.0 * (2 * bits.double() - 1)
    query = torch.zeros(runs.n_queries, bits.shape[1], dtype=torch.bool)
    code = make_code(VAT, query, bits, runs.query_labels, runs.gallery_labels, logits)
    return replace(runs, codes={VAT: code})


def test_xors_and_what_so_many_images_can_tell(small_hash_runs):
    x = torch.arange(60) % 4
    bits = torch.stack((x % 2, x // 2, (x % 2) ^ (x // 2)), 1).bool()
    view = explore_trained_information(made(small_hash_runs, bits))
    assert "tell 1.39 nats, 67 % of D log 2 = 2.08" in view.text
    assert "(c = 1, 0.69 too large)" in view.text and "off by 0.05 or more from 3 bits on" in view.text
    assert "error +0.69 (c = 1), +0.69 (c = 2)" in view.drawn.svg.to_string() and "told apart" not in view.text
    view.controls["n_bits"].value = 2
    assert "the count by pairs is right" in view.drawn.svg.to_string()
    below = torch.arange(60)[:, None] & torch.arange(1, 13)
    parities = sum(below >> place for place in range(6)) % 2 == 1
    assert f"than 60 images can be told apart by: {math.log(60):.2f}" in (
        explore_trained_information(made(small_hash_runs, parities)).text
    )


def test_copies_are_counted_too_small(small_hash_runs):
    view = explore_trained_information(made(small_hash_runs, (torch.arange(60) % 2).bool()[:, None].repeat(1, 4)))
    assert "−1.39 (c = 1, 2.08 too small)" in view.text and "error −2.08 (c = 1)" in view.drawn.svg.to_string()


def test_every_control_draws(small_hash_runs):
    view = explore_trained_information(small_hash_runs)
    assert view.error is None and view.result.n_bits == 7 and view.result.kind == SOFT
    pictures = set()
    for method, kind, n_bits in itertools.product((VAT, PLAIN), (SOFT, HARD), (1, 2, 7)):
        for name, value in (("method", method), ("kind", kind), ("n_bits", n_bits)):
            view.controls[name].value = value
        assert view.error is None and view.result.here is view.result.growth[n_bits - 1]
        assert f"The first {n_bits} of 7 bits by {method}" in view.text
        pictures.add(view.drawn.svg.to_string())
    assert len(pictures) == 12 and view.png.startswith(b"\x89PNG")
    view.reset()
    assert view.result.method == VAT


def test_one_bit(small_hash_runs):
    view = explore_trained_information(made(small_hash_runs, (torch.arange(60) % 2).bool()[:, None]))
    assert view.error is None and "never off" in view.text and "n_bits" not in view.controls


def test_long_codes_are_counted_as_far_as_enumeration_goes():
    logits = torch.randn(5, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert len(grow(logits, SOFT)) == 16


def test_what_cannot_be_measured_is_refused(small_hash_runs):
    with pytest.raises(ValueError, match="kind"):
        grow(torch.zeros(2, 2), "bits")
    with pytest.raises(ValueError, match="runs"):
        explore_trained_information(replace(small_hash_runs, codes={ITQ: small_hash_runs.codes[ITQ]}))
