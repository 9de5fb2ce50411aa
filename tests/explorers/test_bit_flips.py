"""A flip is driven honestly: the same noise moves only what its logits move, and both ways have one mean."""

import itertools

import numpy as np
import pytest
import torch

from toolkit.explorers import bit_flips, explore_bit_flips
from toolkit.explorers.bit_flips import DRAWS, SHOWN, SIZES, WAYS, compute, describe, draw, net


def test_one_draw_by_hand():
    """Values follow from the noise by ``u < sigmoid(logit)``; after the flip with the same or with other noise."""
    problem = net(0.75)
    noise = [part.numpy() for part in problem.draw_noise((DRAWS,), torch.Generator().manual_seed(0))]
    other = problem.draw_noise((SIZES[0], DRAWS), torch.Generator().manual_seed(1))

    def drive(values, noise):
        found = [values]
        for transition, uniform in zip(problem.transitions, noise, strict=True):
            logits = transition(torch.tensor(found[-1])).numpy()
            found.append((uniform < 1 / (1 + np.exp(-logits))).astype(float))
        return found

    for bit, at in itertools.product((1, SIZES[0]), (1, 7, SHOWN)):
        flip = compute(bit, at)
        first = (noise[0][at - 1] < 1 / (1 + np.exp(-problem.logits(0, None).numpy()))).astype(float)
        flipped = first.copy()
        flipped[bit - 1] = 1 - first[bit - 1]
        below = [part[at - 1] for part in noise[1:]]
        fresh = [part[bit - 1, at - 1].numpy() for part in other[1:]]
        before = drive(first, below)
        for way, after in (("common", drive(flipped, below)), ("fresh", drive(flipped, fresh))):
            for found, expected in zip(flip.after[way], after, strict=True):
                np.testing.assert_array_equal(found, expected)
            moved = sum((old != new).sum() for old, new in zip(before[1:], after[1:], strict=True))
            assert flip.moved[way] == moved
            costs = [float(problem.f(*map(torch.tensor, values))) for values in (before, after)]
            sign = 1 if flipped[bit - 1] else -1
            assert flip.change[way] == pytest.approx(sign * (costs[1] - costs[0]))


@pytest.mark.parametrize("bit", range(1, SIZES[0] + 1))
def test_both_ways_have_the_exact_mean_and_common_noise_varies_less(bit):
    flip = compute(bit)
    for way in WAYS:
        error = flip.deviation[way] / DRAWS**0.5
        mean = float(bit_flips._flips(0.75, way, DRAWS).change[bit - 1].mean())
        assert abs(mean - flip.mean_change) < 4.5 * error
    assert flip.mean_moved["common"] < flip.mean_moved["fresh"]
    assert flip.deviation["common"] < flip.deviation["fresh"]


def test_how_many_of_the_next_layer_move_on_average():
    """A bit moves with probability |μ − μ'| under common noise and μ (1 − μ') + μ' (1 − μ) under fresh noise."""
    problem = net(0.75)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=SIZES[0])), dtype=torch.float64)
    mean = torch.sigmoid(problem.logits(0, None))
    weight = torch.where(states > 0, mean, 1 - mean).prod(-1)
    flipped = states.clone()
    flipped[:, 1] = 1 - flipped[:, 1]
    here, there = (torch.sigmoid(problem.transitions[0](part)) for part in (states, flipped))
    expected = {"common": (here - there).abs(), "fresh": here * (1 - there) + there * (1 - here)}
    for way in WAYS:
        flips = bit_flips._flips(0.75, way, DRAWS)
        counted = (flips.after[1][1] != flips.before[1]).double().sum(-1)
        exact = float((weight[:, None] * expected[way]).sum())
        assert float(counted.mean()) == pytest.approx(exact, abs=4.5 * float(counted.std()) / DRAWS**0.5)


def test_layers_cut_apart():
    flip = compute(3, 2, 0.0)
    assert flip.mean_moved["common"] == 0 and flip.deviation["common"] < 1e-9
    assert flip.mean_moved["fresh"] == pytest.approx(4.0, abs=0.1) and "does not vary" in describe(flip)


@pytest.mark.parametrize("arguments", [{"bit": 0}, {"bit": SIZES[0] + 1}, {"draw": 0}, {"draw": SHOWN + 1}])
def test_out_of_range(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        compute(**arguments)


def test_view():
    view = explore_bit_flips()
    assert view.error is None and "Bit 1 of the first layer" in view.text
    assert "Common noise moves" in view.drawn.svg.to_string()
    ends = {"bit": (1, SIZES[0]), "draw": (1, SHOWN), "scale": (0.0, 3.0)}
    for values in itertools.product(*ends.values()):
        for name, value in zip(ends, values, strict=True):
            view.controls[name].value = value
        assert view.error is None and f"Bit {values[0]} of" in view.text
    view.reset()
    assert (
        view.text == describe(compute()) and "0→1" in draw(compute(1, 1)).to_string() + draw(compute(1, 2)).to_string()
    )
