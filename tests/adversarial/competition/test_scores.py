"""Scores against loops, against numbers worked out by hand, and against what holds always."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.adversarial.competition import complete_attacks, complete_defences, kit_points, ranks, score


def integers(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64)


def test_scores_worked_out_by_hand() -> None:
    found = score(integers([[5, 2, 9], [0, 10, 3]]), torch.tensor([True, False, True]), 10)
    assert found.raw == (14, 3)
    assert found.score == (0.7, 0.15)
    assert found.worst == (0.5, 0.0)
    assert found.worst_opponent == (0, 0)


def test_without_opponents_or_images_all_is_zero() -> None:
    for points, counted, n in (
        (integers([[3], [4]]), torch.tensor([False]), 5),
        (torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool), 5),
        (integers([[0], [0]]), torch.tensor([True]), 0),
    ):
        found = score(points, counted, n)
        assert found.raw == (0, 0)
        assert found.score == found.worst == (0.0, 0.0)
        assert found.worst_opponent == (None, None)


@pytest.mark.parametrize("points", [[[-1]], [[6]]])
def test_impossible_points_are_refused(points: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="points"):
        score(integers(points), torch.tensor([True]), 5)


def test_who_is_complete() -> None:
    produced = torch.tensor([10, 9, 10])
    assert complete_attacks(produced, 10).tolist() == [True, False, True]
    labelled = integers([[10, 9, 10], [10, 8, 10], [10, 9, 9]])
    assert complete_defences(labelled, produced).tolist() == [True, False, False]


def test_equal_scores_share_a_rank() -> None:
    assert ranks([0.5, 0.9, 0.5, 0.1]) == (2, 1, 2, 4)
    assert ranks([]) == ()


matrices = st.integers(1, 5).flatmap(
    lambda n_opponents: st.lists(
        st.lists(st.integers(0, 7), min_size=n_opponents, max_size=n_opponents), min_size=1, max_size=5
    )
)


@given(matrices, st.integers(0, 31))
@settings(max_examples=150, deadline=None)
def test_the_worst_case_is_never_above_the_score(rows: list[list[int]], bits: int) -> None:
    points = integers(rows)
    counted = torch.tensor([bool(bits >> column & 1) for column in range(points.shape[1])])
    found = score(points, counted, 7)
    chosen = [column for column in range(points.shape[1]) if counted[column]]
    for i, row in enumerate(rows):
        assert found.worst[i] <= found.score[i] <= 1
        if chosen:
            assert found.score[i] == float(Fraction(sum(row[c] for c in chosen), 7 * len(chosen)))
            opponent = found.worst_opponent[i]
            assert opponent in chosen
            assert row[opponent] == min(row[c] for c in chosen) == round(found.worst[i] * 7)


@given(matrices)
@settings(max_examples=50, deadline=None)
def test_a_closed_tournament_without_targets_is_a_zero_sum_game(rows: list[list[int]]) -> None:
    """Every image is a point for one side, so the mean scores of both sides add up to one."""
    correct = integers(rows)
    everybody = [torch.ones(n, dtype=torch.bool) for n in correct.shape]
    defences = score(correct, everybody[1], 7)
    attacks = score((7 - correct).T, everybody[0], 7)
    means = [sum(found.score) / len(found.score) for found in (defences, attacks)]
    assert sum(means) == pytest.approx(1, abs=1e-12)


def test_in_the_kit_a_missing_image_helps_the_attack() -> None:
    correct, missing = integers([[6, 10]]), torch.tensor([0, 4])
    assert kit_points(correct, missing, 10).tolist() == [[4], [4]]
