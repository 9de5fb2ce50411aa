"""Checks of the answers in ``00_start_here``."""

import statistics
from collections.abc import Mapping
from typing import Any

import torch

from toolkit.datasets import load
from toolkit.lessons import Verdict, exercise, expect_array

SECONDS = (893.1, 899.6, 902.3)
"""The invented training times of the first exercise."""
_PAPER, _TOLERANCE = 897.9, 3.3
_MEAN, _SPREAD = statistics.fmean(SECONDS), statistics.stdev(SECONDS)
_ONE_DECIMAL = "rounded too far; give it to one decimal."
_MEAN_SLIPS = {
    round(_MEAN): _ONE_DECIMAL,
    statistics.median(SECONDS): "that is the median of the three.",
    _PAPER: "that is the paper's mean; the three runs have their own.",
    sum(SECONDS): "that is the sum; divide it by the number of runs.",
}
_SPREAD_SLIPS = {
    round(_SPREAD): _ONE_DECIMAL,
    _TOLERANCE: "that is the paper's own ±; the spread is how far the three runs lie apart.",
    statistics.pstdev(SECONDS): "you divided by n; over few seeds the ledger divides by n − 1.",
    statistics.variance(SECONDS): "that is the variance; take its square root.",
    max(SECONDS) - min(SECONDS): "that is the range, the largest less the smallest.",
}


def _objection(name: str, answer: Any, expected: float, slips: Mapping[float, str], otherwise: str) -> str | None:
    """Say what is wrong with a number, without giving the right one away; None if it is right to one decimal."""
    try:
        number = float(answer)
    except (TypeError, ValueError):
        return f"The {name}: expected one number, got {answer!r}."
    if abs(number - expected) <= 0.051:
        return None
    slip = next((slip for wrong, slip in slips.items() if abs(number - wrong) <= 0.051), otherwise)
    return f"The {name}: got {number:.6g}: {slip}"


@exercise
def ledger_line(mean: Any, spread: Any, verdict: Any) -> Verdict:
    """Check mean, spread over seeds and verdict for ``SECONDS`` beside the paper's 897.9 ± 3.3 s."""
    objection = _objection("mean", mean, _MEAN, _MEAN_SLIPS, "add up the three times and divide by three.")
    objection = objection or _objection(
        "spread", spread, _SPREAD, _SPREAD_SLIPS, "it is the standard deviation of the three times, with n − 1."
    )
    if objection:
        return Verdict(False, objection)
    word = str(verdict).strip().casefold()
    if word not in ("within", "outside"):
        return Verdict(False, "Choose 'within' or 'outside'.")
    if word == "outside":
        return Verdict(
            False,
            "The verdict compares the means. How far do they lie apart, beside the paper's ±? That single runs lie "
            "further off is what the spread says.",
        )
    return Verdict(
        True,
        f"{_MEAN:.1f} ± {_SPREAD:.1f} s lies {_MEAN - _PAPER:.1f} s from the paper's mean, within its {_TOLERANCE} s.",
    )


_SMALL_CENTRES = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
_SMALL_IMAGES = torch.tensor([[1.0, 0.5], [0.5, 2.5], [2.5, 0.0], [3.5, 1.0]])  # four: one more than there are centres
_HINT = (
    "Distances first: centres[None] - images[:, None] holds the differences, pixel by pixel. Square them and sum over "
    "the pixels: one row per image and one column per centre are left, and argmin along each row answers."
)
_NEAREST_SLIPS = (
    (
        (_SMALL_IMAGES @ _SMALL_CENTRES.T).argmax(1),
        "The centre with the largest scalar product is not the one at the smallest distance: a long centre has large "
        "products with everything.",
    ),
    (torch.cdist(_SMALL_IMAGES, _SMALL_CENTRES).argmax(1), "Those are the farthest centres."),
    (
        (_SMALL_CENTRES[None] - _SMALL_IMAGES[:, None]).sum(2).argmin(1),
        "Differences of either sign cancel when they are summed: square them first.",
    ),
)


@exercise
def nearest(answer: Any) -> Verdict:
    """Check ``answer(centres, images)``: for each image the index of the nearest centre."""
    if not callable(answer):
        return Verdict(False, f"Expected a function, got {answer!r}.")
    objection = _nearest_objection(
        "three centres and four images of two pixels",
        answer(_SMALL_CENTRES.clone(), _SMALL_IMAGES.clone()),
        torch.cdist(_SMALL_IMAGES, _SMALL_CENTRES).argmin(1),
    )
    if objection:
        return objection
    digits = load("digits")
    images, labels = digits.train.as_float(flat=True), digits.train.labels
    centres = torch.stack([images[labels == digit].mean(0) for digit in range(10)])
    held_out = digits.test.as_float(flat=True)
    named = torch.cdist(held_out, centres).argmin(1)
    objection = _nearest_objection(
        f"the ten class means and {len(named)} digits", answer(centres.clone(), held_out.clone()), named
    )
    return objection or Verdict(
        True,
        f"It names {int((named == digits.test.labels).sum())} of {len(named)} held-out digits right. No gradient was "
        "needed; 50 steps of descent do a little better.",
    )


def _nearest_objection(case: str, came: Any, wanted: torch.Tensor) -> Verdict | None:
    if came is None or came is ...:
        raise NotImplementedError
    verdict = expect_array(came, wanted)
    if verdict.right:
        return None
    slip = _HINT
    if len(wanted) == len(_SMALL_IMAGES):
        slip = next((words for wrong, words in _NEAREST_SLIPS if expect_array(came, wrong).right), _HINT)
    return Verdict(False, f"For {case}: {verdict.sentence} {slip}")


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
