"""The expected score of the run with the lowest loss equals the mean over every subset."""

import itertools
import math

import numpy as np
import pytest
import torch

from toolkit.imsat.restarts import expected_selected, selection_probabilities


def by_enumeration(losses, scores, n_init):
    kept = []
    for subset in itertools.combinations(range(len(losses)), n_init):
        lowest = min(losses[run] for run in subset)
        kept.append(np.mean([scores[run] for run in subset if losses[run] == lowest]))
    return np.mean(kept)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_every_subset_counts_alike(n):
    random = np.random.default_rng(n)
    losses, scores = random.normal(size=n), random.uniform(size=n)
    for n_init in range(1, n + 1):
        assert expected_selected(losses, scores, n_init) == pytest.approx(by_enumeration(losses, scores, n_init))


def test_equal_losses_share():
    losses, scores = [1.0, 0.0, 1.0, 0.0, 2.0, 0.0], [0.1, 0.5, 0.9, 0.7, 0.2, 0.6]
    for n_init in range(1, 7):
        assert expected_selected(losses, scores, n_init) == pytest.approx(by_enumeration(losses, scores, n_init))
    np.testing.assert_allclose(selection_probabilities([3.0, 3.0, 3.0, 3.0], 2), 0.25)


def test_the_ends_are_the_mean_and_the_lowest_loss():
    losses, scores = [-2.0, -3.0, -1.0], [0.6, 0.8, 0.9]
    assert expected_selected(losses, scores, 1) == pytest.approx(np.mean(scores))
    assert expected_selected(losses, scores, 3) == 0.8
    assert selection_probabilities(losses, 3).tolist() == [0.0, 1.0, 0.0]
    assert expected_selected([math.inf, 1.0], [0.9, 0.2], 2) == 0.2


def test_many_runs_overflow_nothing():
    n = 3000
    losses = np.random.default_rng(0).permutation(n).astype(float)
    for n_init in (1, 2, n // 2, n - 1, n):
        found = selection_probabilities(losses, n_init)
        assert found.sum() == pytest.approx(1.0) and found.min() >= 0
        order = np.argsort(losses)
        for i in (0, 1, 7, n - n_init):
            exact = math.comb(n - 1 - i, n_init - 1) / math.comb(n, n_init)
            assert found[order[i]] == pytest.approx(exact, rel=1e-9)
    # the mean rank of the lowest of m among n without replacement is (n + 1) / (m + 1)
    assert expected_selected(losses, losses + 1, 9) == pytest.approx((n + 1) / 10)


def test_monotone_when_the_loss_tells_the_score():
    losses = np.random.default_rng(1).normal(size=12)
    means = [expected_selected(losses, -losses, n_init) for n_init in range(1, 13)]
    assert means == sorted(means) and means[-1] == -losses.min()


def test_tensors_integers_and_float32():
    assert expected_selected(torch.tensor([2.0, 1.0]), torch.tensor([0.25, 0.75], dtype=torch.float32), 2) == 0.75
    assert expected_selected([2, 1], [10, 20], 1) == 15.0


@pytest.mark.parametrize(
    ("losses", "scores", "n_init", "kind", "match"),
    [
        ([], [], 1, ValueError, "losses"),
        ([1.0, math.nan], [0.1, 0.2], 1, ValueError, "losses"),
        ([1.0, 2.0], [0.1, math.nan], 1, ValueError, "scores"),
        ([1.0, 2.0], [0.1, math.inf], 1, ValueError, "scores"),
        ([1.0, 2.0], [0.1], 1, ValueError, "scores"),
        ([1.0, 2.0], [0.1, 0.2], 0, ValueError, "n_init"),
        ([1.0, 2.0], [0.1, 0.2], 3, ValueError, "n_init"),
        ([1.0, 2.0], [0.1, 0.2], 1.5, TypeError, "n_init"),
        ([1.0, 2.0], [0.1, 0.2], True, TypeError, "n_init"),
        ([[1.0, 2.0]], [0.1, 0.2], 1, ValueError, "losses"),
        (["a", "b"], [0.1, 0.2], 1, TypeError, "losses"),
        ([1.0, 2.0], [1j, 2j], 1, TypeError, "scores"),
    ],
)
def test_what_is_no_run_is_refused(losses, scores, n_init, kind, match):
    with pytest.raises(kind, match=match):
        expected_selected(losses, scores, n_init)
