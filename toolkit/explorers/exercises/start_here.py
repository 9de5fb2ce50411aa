"""Checks of the answers in ``00_start_here``."""

import statistics
from typing import Any

import torch

from toolkit.datasets import load
from toolkit.lessons import Verdict, exercise, expect_choice, expect_function, expect_number

SECONDS = (893.1, 899.6, 902.3)
"""The invented training times of the first exercise."""
_PAPER, _TOLERANCE = 897.9, 3.3


@exercise
def ledger_line(mean: Any, spread: Any, verdict: Any) -> Verdict:
    """Check mean, spread over seeds and verdict for ``SECONDS`` beside the paper's 897.9 ± 3.3 s."""
    expected = statistics.fmean(SECONDS)
    first = expect_number(mean, expected, tolerance=0.051, slips={899.6: "that is the median of the three."})
    if not first.right:
        return Verdict(False, f"The mean: {first.sentence}")
    population = {statistics.pstdev(SECONDS): "you divided by n; over few seeds the ledger divides by n − 1."}
    second = expect_number(spread, statistics.stdev(SECONDS), tolerance=0.051, slips=population)
    if not second.right:
        return Verdict(False, f"The spread: {second.sentence}")
    slip = (
        "The verdict compares the means: they differ by 0.4 s, less than the tolerance of 3.3 s. That single runs lie "
        "further off is what the spread says."
    )
    right = f"898.3 ± 4.7 s lies {expected - _PAPER:.1f} s from the paper's mean, within its {_TOLERANCE} s."
    return expect_choice(verdict, "within", right=right, slips={"outside": slip})


@exercise
def nearest(answer: Any) -> Verdict:
    """Check ``answer(centres, images)``: for each image the index of the nearest centre."""
    digits = load("digits")
    images, labels = digits.train.as_float(flat=True), digits.train.labels
    centres = torch.stack([images[labels == digit].mean(0) for digit in range(10)])
    held_out = digits.test.as_float(flat=True)
    small = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.5], [0.5, 2.5], [2.5, 0.0]])
    named = torch.cdist(held_out, centres).argmin(1)
    right = (
        f"It names {int((named == digits.test.labels).sum())} of {len(named)} held-out digits right. No gradient was "
        "needed; 50 steps of descent do a little better."
    )
    hint = (
        "Distances first: centres[None] - images[:, None] has one row an image and one column a centre; argmin over "
        "the columns then answers."
    )
    cases = [(small, torch.tensor([0, 2, 1])), ((centres, held_out), named)]
    return expect_function(answer, cases, right=right, hint=hint)


@exercise
def same_orientations(first: Any, second: Any) -> Verdict:
    """Check which two orientation indices of dSprites give the same heart."""
    pair = {int(first), int(second)}
    if pair == {0, 39}:
        return Verdict(
            True,
            "Index 0 is an angle of 0, index 39 a whole turn. A model that is asked for the orientation cannot tell "
            "them apart, and one image in 40 occurs twice.",
        )
    if len(pair) == 1:
        return Verdict(False, "Expected two different indices.")
    if not pair <= set(range(40)):
        return Verdict(False, "Expected indices from 0 to 39.")
    if max(pair) - min(pair) == 20:
        return Verdict(False, "Half a turn brings an ellipse back, not a heart.")
    return Verdict(
        False, f"Images {min(pair)} and {max(pair)} differ. Compare every pair: torch.equal(hearts[i], hearts[j])."
    )
