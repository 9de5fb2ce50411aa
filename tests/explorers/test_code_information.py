"""Made-up codes whose information is known on paper: the explorer's three counts, and what it says of them."""

import itertools
import math

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_code_information
from toolkit.explorers.code_information import (
    BLENDS,
    MOST_BITS,
    SHARES,
    blend,
    compute,
    copies,
    describe,
    draw,
    independent,
    judged,
    measure,
    xors,
)
from toolkit.imsat.exact import duplicated_bits, xor_bits

LOG2 = math.log(2)


def entropy(codes):
    counts = np.unique(np.asarray(codes), axis=0, return_counts=True)[1]
    shares = counts / counts.sum()
    return -(shares * np.log(shares)).sum()


def by_counting(codes, weight):
    columns = [codes[:, [place]] for place in range(codes.shape[1])]
    alone = sum(map(entropy, columns))
    shared = sum(
        entropy(one) + entropy(two) - entropy(np.hstack([one, two])) for one, two in itertools.combinations(columns, 2)
    )
    return alone - weight * shared


@pytest.mark.parametrize("source", BLENDS)
@pytest.mark.parametrize(("n_bits", "share"), [(1, 0.3), (2, 0.5), (3, 1.0), (5, 0.7), (6, 0.0)])
def test_the_three_counts_are_those_of_the_codes(source, n_bits, share):
    found = compute(source, n_bits, share)
    codes = (blend(source, n_bits, share) > 0).numpy()
    assert found.here.exact == pytest.approx(entropy(codes), abs=1e-10)
    assert found.here.first == pytest.approx(by_counting(codes, 1), abs=1e-10)
    assert found.here.second == pytest.approx(by_counting(codes, 2), abs=1e-10)
    assert found.here.ceiling == pytest.approx(n_bits * LOG2)
    assert found.way[SHARES.index(share)].to_dict() == pytest.approx(found.here.to_dict())


@pytest.mark.parametrize("n_bits", [1, 2, 3, 8])
def test_copies(n_bits):
    here = compute("independent to copies", n_bits, 1.0).here
    pairs = n_bits * (n_bits - 1) / 2
    assert here.exact == pytest.approx(LOG2)
    assert here.first == pytest.approx((n_bits - pairs) * LOG2, abs=1e-12)
    assert here.second == pytest.approx((n_bits - 2 * pairs) * LOG2, abs=1e-12)
    torch.testing.assert_close(2000 * copies(n_bits) - 1000, duplicated_bits(n_bits, device="cpu"))


@pytest.mark.parametrize(("n_bits", "free"), [(2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_xors_look_independent_to_every_pair(n_bits, free):
    here = compute("independent to XORs", n_bits, 1.0).here
    assert here.exact == pytest.approx(free * LOG2)
    assert here.first == here.second == pytest.approx(n_bits * LOG2)


def test_three_xors_are_two_bits_and_their_xor():
    assert sorted(xors(3).tolist()) == sorted((xor_bits(device="cpu") > 0).double().tolist())
    codes = xors(7)
    assert torch.equal(codes[:, 6], codes[:, [0, 1, 3]].sum(1) % 2) and torch.equal(
        codes[:, 4], codes[:, [0, 3]].sum(1) % 2
    )


def test_a_blend_has_as_many_of_each_kind_as_it_says():
    logits = blend("independent to copies", 4, 0.3)
    equal = (logits[:, :1] == logits).all(1)
    assert logits.dtype == torch.float64 and len(logits) == 160
    assert int(equal.sum()) == 48 + 7 * 2  # the copies, and two of the 16 independent codes, seven times
    assert torch.equal(blend("XORs to copies", 5, 0.0)[:8] > 0, xors(5) > 0)
    assert sorted(independent(3).tolist()) == sorted(map(list, itertools.product([0.0, 1.0], repeat=3)))


def test_the_first_state_makes_the_point():
    view = explore_code_information()
    assert "too small" in view.drawn.svg.to_string() and "3 bits (copies)" in view.text
    assert "tell 0.69 of at most 2.08 nats" in view.text and "give 0.00 (c = 1, 0.69 too small)" in view.text
    assert "−2.08 (c = 2, 2.77 too small)" in view.text


def test_the_sentence_gives_the_reason():
    assert "three or more" in describe(compute("independent to XORs", 3, 1.0))
    assert "once for every pair" in describe(compute("independent to copies", 3, 0.5))
    assert "have nothing in common" in describe(compute("independent to copies", 3, 0.0))
    assert "no pairs" in describe(compute("XORs to copies", 1, 0.4))
    assert "one pair" in describe(compute("XORs to copies", 2, 0.4))
    assert "40 % copies, the others XORs" in describe(compute("XORs to copies", 4, 0.4))


def test_errors_can_cancel():
    signs = [np.sign(point.first - point.exact) for point in compute("XORs to copies", 4, 0.0).way]
    assert signs[0] > 0 > signs[-1]


def test_judgements():
    assert (
        judged(1.0, 1.004) == "right" and judged(2.0, 1.0) == "1.00 too large" and judged(-2.0, 1.0) == "3.00 too small"
    )


def test_soft_bits_are_measured_too():
    logits = torch.tensor([[0.5, -1.0, 2.0], [-0.3, 0.2, 0.1]], dtype=torch.float64)
    s = logits.sigmoid().numpy()
    joint = [np.prod(np.where(code, s, 1 - s), axis=1).mean() for code in itertools.product([0, 1], repeat=3)]
    noise = -(s * np.log(s) + (1 - s) * np.log(1 - s)).sum(1).mean()
    assert measure(logits).exact == pytest.approx(-np.dot(joint, np.log(joint)) - noise, abs=1e-12)


@pytest.mark.parametrize("source", BLENDS)
def test_every_end_of_every_control_draws(source):
    view = explore_code_information()
    view.controls["source"].value = source
    for n_bits, share in itertools.product((1, 2, MOST_BITS), (0.0, 0.1, 0.5, 1.0)):
        view.controls["n_bits"].value, view.controls["share"].value = n_bits, share
        assert view.error is None and view.result.share == share and "nan" not in view.drawn.svg.to_string()
    view.reset()
    assert "3 bits (copies)" in view.text


@pytest.mark.parametrize("values", [("copies", 3, 1.0), (BLENDS[0], 0, 1.0), (BLENDS[0], 9, 1.0), (BLENDS[0], 3, 0.25)])
def test_out_of_range(values):
    with pytest.raises(ValueError, match="blend"):
        compute(*values)


def test_pictures_hold_the_numbers():
    text = draw(compute("independent to copies", 8, 1.0)).to_string()
    assert "−13.86" in text and "−33.27" in text and "ceiling D log 2 = 5.55" in text
    assert "right amount, with either weight" in draw(compute(BLENDS[0], 4, 0.0)).to_string()


def test_one_frame_around_bars_and_lines():
    text = draw(compute("independent to copies", 3, 1.0)).to_string()
    assert text.count("#d0d0d0") == 1 and text.count("information (nats)") == 2
