"""Bounds of the parts: values known by hand, attained ends, and the scores made of them."""

import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import Informations, informations, mig, pid_bounds, profile, synthetic_codes, unibound
from toolkit.disentanglement.bounds import PARTS

LOG2 = math.log(2)


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "single", "without", "joint", "expected"),
    [
        ("only the latent knows", 1, 0, 1, [(1, 1), (0, 0), (0, 0)]),
        ("only the others know", 0, 1, 1, [(0, 0), (0, 0), (0, 0)]),
        ("both know the same", 1, 1, 1, [(0, 0), (1, 1), (0, 0)]),
        ("exclusive or", 0, 0, 1, [(0, 0), (0, 0), (1, 1)]),
        ("and", 0.311278, 0.311278, 0.811278, [(0, 0.311278), (0, 0.311278), (0.188722, 0.5)]),
    ],
)
def test_known_systems_in_bits(name, single, without, joint, expected):
    found = pid_bounds(table([single]), table([without]), table(joint))
    for part, (lower, upper) in zip(PARTS, expected, strict=True):
        interval = getattr(found, part)
        assert (float(interval.lower), float(interval.upper)) == pytest.approx((lower, upper), abs=1e-12), name


def test_each_end_belongs_to_a_decomposition_without_negative_parts():
    random = np.random.default_rng(0)
    shared, own, theirs, both = random.dirichlet(np.ones(4), 1000).T * 3
    single, without, joint = (
        torch.tensor(values)[:, None] for values in (shared + own, shared + theirs, shared + own + theirs + both)
    )
    found = pid_bounds(single, without, joint)
    for redundant in (found.redundant.lower, found.redundant.upper):
        parts = [redundant, single - redundant, without - redundant, joint - single - without + redundant]
        assert all(float(part.min()) >= -1e-12 for part in parts)
    for part, truth in zip(PARTS, (own, shared, both), strict=True):
        interval, truth = getattr(found, part), torch.tensor(truth)[:, None]
        assert (interval.lower <= truth + 1e-12).all() and (truth <= interval.upper + 1e-12).all()
    widths = [getattr(found, part).upper - getattr(found, part).lower for part in PARTS]
    torch.testing.assert_close(widths[0], widths[1])
    torch.testing.assert_close(widths[1], widths[2])


def test_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match="without"):
        pid_bounds(torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match="joint"):
        pid_bounds(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2))


def made_up(single, without, joint, sizes):
    """Informations with these tables: one draw whose posteriors have just the entropies asked for (binary factors)."""
    latents = len(single)
    prior = torch.cat([torch.full((size,), 1 / size, dtype=torch.float64) for size in sizes])

    def posterior(row):
        columns = []
        for share, size in zip(row, sizes, strict=True):
            if size == 1:
                columns.append(torch.ones(1, dtype=torch.float64))
                continue
            low, high = 0.5, 1.0
            for _ in range(200):
                middle = (low + high) / 2
                entropy = -sum(p * math.log(p) if p else 0 for p in (middle, 1 - middle))
                low, high = (middle, high) if 1 - entropy / LOG2 < share else (low, middle)
            columns.append(torch.tensor([low, 1 - low], dtype=torch.float64))
        return torch.cat(columns)

    rows = [*single, *without, joint]
    index = torch.tensor([range(latents), range(latents, 2 * latents), [2 * latents] * latents])
    names = tuple(f"factor {k}" for k in range(len(sizes)))
    return Informations(
        torch.stack([posterior(row) for row in rows])[:, None], index, prior, sizes, names,
        tuple(f"z{k}" for k in range(latents)), torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip


def test_the_largest_is_taken_of_each_end_by_itself():
    found = made_up(single=[[0.5, 0.2], [0.4, 0.6]], without=[[0.6, 0.7], [0.1, 0.2]], joint=[0.8, 0.9], sizes=(2, 2))
    scores = profile(found)
    # Factor 1: A − B is −.1 for the first latent, .3 for the second, which is not the one that knows most.
    assert scores.per_factor.unique.lower.tolist() == pytest.approx([0.3, 0.4], abs=1e-9)
    assert scores.unibound == unibound(found) == pytest.approx(0.35, abs=1e-9)
    assert scores.mig == mig(found) == pytest.approx((0.1 + 0.4) / 2, abs=1e-9)
    # Upper end of unique: min(A, J − B): .2 and .4; .2 and .6.
    assert scores.per_factor.unique.upper.tolist() == pytest.approx([0.4, 0.6], abs=1e-9)
    # Redundant: II = .3 and −.3; 0 and −.1; least .5 and .1; .2 and .2.
    assert scores.per_factor.redundant.lower.tolist() == pytest.approx([0.3, 0], abs=1e-9)
    assert scores.per_factor.redundant.upper.tolist() == pytest.approx([0.5, 0.2], abs=1e-9)
    # Complementary: −II = −.3 and .3; 0 and .1; J − max(A, B): .2 and .4; .2 and .3.
    assert scores.per_factor.complementary.lower.tolist() == pytest.approx([0.3, 0.1], abs=1e-9)
    assert scores.per_factor.complementary.upper.tolist() == pytest.approx([0.4, 0.3], abs=1e-9)
    assert scores.information == pytest.approx(0.85, abs=1e-9)


def test_a_factor_of_one_value_is_left_out_of_the_means():
    found = made_up(single=[[0.5, 0.0]], without=[[0.0, 0.0]], joint=[0.5, 0.0], sizes=(2, 1))
    scores = profile(found)
    assert scores.unibound == pytest.approx(0.5) and scores.mig == pytest.approx(0.5)
    assert scores.per_factor.unique.lower.isnan().tolist() == [False, True]
    assert scores.to_dict()["per_factor"]["mig"][1] is None
    nothing = made_up(single=[[0.0]], without=[[0.0]], joint=[0.0], sizes=(1,))
    with pytest.raises(ValueError, match="at least two values"):
        profile(nothing)


def test_unibound_never_exceeds_mig():
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)
        codes = synthetic_codes((3, 4), n_noise=1, standard_deviation=0.5)
        mixed = codes.mean @ torch.randn(3, 3, generator=random)
        found = informations(
            type(codes)(mixed, codes.standard_deviation, codes.factors), n_samples=300, generator=random
        )
        scores = profile(found)
        assert (scores.per_factor.unique.lower <= scores.mig_per_factor + 0.02).all()
        for part in PARTS:
            interval = scores.mean(part)
            assert float(interval.lower) <= float(interval.upper) + 1e-9
    with pytest.raises(ValueError, match="part"):
        scores.mean("synergy")
    assert "UniBound" in repr(scores) and set(PARTS) <= set(scores.to_dict())
