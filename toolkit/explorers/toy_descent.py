"""One coin learns to show the better of its sides from noisy gradients: who arrives, who stalls, who goes astray?

``E[(b − t)²]`` over one logit, from a fair coin. The closer ``t`` is to ½ the fainter the signal: what an estimator's
noise or bias may be decides. All the runs of an estimator are one batch.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from toolkit.core.errors import reject
from toolkit.core.svg import Svg
from toolkit.estimators.chains import Factorized
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.relaxed import GumbelSoftmax, StraightThrough
from toolkit.explorers.coin_objectives import one_coin_cost
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks

RATES: Mapping[float, float] = {0.45: 1.0, 0.49: 2.0, 0.499: 5.0}
"""The learning rate for each target ``t``."""
STEPS, RUNS, EVERY = 2_000, 64, 20
LEARNERS: Mapping[str, Estimator] = {
    "RAM": RAM(),
    "LR": LikelihoodRatio(),
    "RLOO-2": LeaveOneOut(2),
    "Gumbel-softmax 0.5": GumbelSoftmax(0.5),
    "Gumbel-softmax 0.1": GumbelSoftmax(0.1),
    "straight-through": StraightThrough(),
}
_COLORS = {"RAM": style.BLUE, "LR": style.PURPLE, "RLOO-2": style.PURPLE}  # the others are biased
_SURE = 0.1  # a coin that shows one side at least nine times in ten has decided


@functools.cache
def learn(name: str, n_steps: int = STEPS) -> Float[np.ndarray, "targets points runs"]:
    """Run stochastic gradient descent with one sample a step, for all the targets at once; then remembered.

    Args:
        name: of the estimator, a key of :data:`LEARNERS`.
        n_steps: steps.

    Returns:
        The probability of 1 after 0, 20, 40, … steps, for each target and each of 64 runs.

    Raises:
        ValueError: an unknown estimator.
    """
    if name not in LEARNERS:
        reject("learn", "name", f"one of {list(LEARNERS)}", name)
    estimator, generator = LEARNERS[name], torch.Generator().manual_seed(0)
    targets = torch.tensor(list(RATES), dtype=torch.float64)
    rates = torch.tensor(list(RATES.values()), dtype=torch.float64)[:, None, None]
    cost = one_coin_cost(targets[:, None])
    logits = torch.zeros(len(targets), RUNS, 1, dtype=torch.float64)
    path = [logits]
    for step in range(1, n_steps + 1):
        samples = estimator(Factorized(logits, cost), 1, generator)
        logits = logits - rates * samples.gradients[0][0]
        if step % EVERY == 0:
            path.append(logits)
    return torch.sigmoid(torch.stack(path, 1))[..., 0].numpy()


@dataclass(frozen=True)
class Descent:
    """All learners on one target.

    Attributes:
        t: the target.
        probability: for each learner the probability of 1, ``[points, runs]``, every 20 steps.
    """

    t: float
    probability: dict[str, Float[np.ndarray, "points runs"]]

    @property
    def best(self) -> float:
        """The least cost: the coin always shows 0."""
        return self.t**2

    @property
    def n_steps(self) -> int:
        """How many steps the runs have."""
        return EVERY * (len(self.probability["RAM"]) - 1)

    def cost(self, name: str) -> Float[np.ndarray, "points runs"]:
        """Return the expected cost along a learner's runs."""
        return self.best + self.probability[name] * (1 - 2 * self.t)

    def ends(self, name: str) -> tuple[int, int, int]:
        """Return how many runs end right, undecided and wrong."""
        last = self.probability[name][-1]
        right, wrong = int((last < _SURE).sum()), int((last > 1 - _SURE).sum())
        return right, last.size - right - wrong, wrong

    def __repr__(self) -> str:
        return f"Descent(t = {self.t:g}, {len(self.probability)} learners)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compute(t: float = 0.499) -> Descent:
    """Return the runs of all the learners on one target; the first call runs them.

    Args:
        t: a key of :data:`RATES`.

    Raises:
        ValueError: another target.
    """
    if t not in RATES:
        reject("compute", "t", f"one of {list(RATES)}", t)
    place = list(RATES).index(t)
    return Descent(t, {name: learn(name)[place] for name in LEARNERS})


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _TOP, _COLUMNS = 660.0, 70.0, 66.0, 3
_WIDE, _TALL, _GAP, _BELOW = 180.0, 132.0, 14.0, 66.0


def draw(descent: Descent) -> Svg:
    """Draw a panel a learner: the median and the quartiles of the expected cost, above the best possible one."""
    rows = -(-len(LEARNERS) // _COLUMNS)
    picture = Svg(_WIDTH, _TOP + rows * (_TALL + _BELOW) + 8)
    picture.text(14, 24, _finding(descent), size=14, bold=True)
    reach = 1 - 2 * descent.t
    y_limits = (descent.best - 0.05 * reach, descent.best + 1.05 * reach)
    for number, name in enumerate(LEARNERS):
        left = _LEFT + number % _COLUMNS * (_WIDE + _GAP)
        top = _TOP + number // _COLUMNS * (_TALL + _BELOW)
        to_x = Scale(0, descent.n_steps, left, left + _WIDE, False)
        to_y = Scale(*y_limits, top + _TALL, top, False)
        _draw_panel(picture, descent, name, to_x, to_y)
        if number % _COLUMNS == 0:
            heights = ticks(*y_limits, most=5)
            for value, text in zip(heights, tick_names(heights), strict=True):
                picture.text(left - 7, to_y(value) + 4, text, size=12, anchor="end", fill=style.GREY)
    middle = _LEFT + (_COLUMNS * _WIDE + (_COLUMNS - 1) * _GAP) / 2
    words = f"expected cost over the steps: median and quartiles of {RUNS} runs; black: the best possible"
    picture.text(middle, picture.height - 12, words, size=12.5, anchor="middle")
    return picture


def _draw_panel(picture: Svg, descent: Descent, name: str, to_x: Scale, to_y: Scale) -> None:
    color = _COLORS.get(name, style.VERMILION)
    left, right, bottom, top = to_x.start, to_x.end, to_y.start, to_y.end
    picture.text(left, top - 10, name, size=12.5, bold=True)
    for value in ticks(to_y.low, to_y.high, most=5):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
    steps = [to_x(step) for step in range(0, descent.n_steps + 1, EVERY)]
    low, middle, high = (
        [to_y(value) for value in line] for line in np.quantile(descent.cost(name), (0.25, 0.5, 0.75), axis=1).tolist()
    )
    band = [*zip(steps, low, strict=True), *zip(steps[::-1], high[::-1], strict=True)]
    picture.polyline(band, closed=True, fill=color, stroke="none", opacity=0.25)
    picture.line(left, to_y(descent.best), right, to_y(descent.best), stroke=style.BLACK, stroke_width=2.4)
    dash = () if LEARNERS[name].unbiased else (5, 2)
    picture.polyline(list(zip(steps, middle, strict=True)), stroke=color, stroke_width=2, dash=dash)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    for step in (0, descent.n_steps):
        anchor = "start" if step == 0 else "end"
        picture.text(to_x(step), bottom + 15, f"{step:,}", size=12, anchor=anchor, fill=style.GREY)
    picture.text((left + right) / 2, bottom + 33, _ends(descent, name, ", "), size=12, anchor="middle")


def _ends(descent: Descent, name: str, between: str) -> str:
    counts = zip(descent.ends(name), ("right", "open", "wrong"), strict=True)
    return between.join(f"{count} {word}" for count, word in counts if count)


def _finding(descent: Descent) -> str:
    def fate(name: str) -> str:
        _, undecided, wrong = descent.ends(name)
        if undecided > RUNS / 2:
            return "stalls"
        return f"fails {wrong} of {RUNS} times" if wrong else "arrives"

    return f"RAM {fate('RAM')}, LR {fate('LR')}, Gumbel-softmax 0.5 {fate('Gumbel-softmax 0.5')}"


def _in_words(descent: Descent, name: str) -> str:
    """Say where a learner's coins end, roughly: rounding grows in these runs, so exact counts differ by machine."""
    right, undecided, wrong = (count / RUNS for count in descent.ends(name))
    if right == 1:
        return "all right"
    if undecided >= 0.75:
        return "nearly all open"
    if right >= 0.9:
        return "nearly all right"
    return "many wrong" if wrong >= 0.25 else "some wrong"


def describe(descent: Descent) -> str:
    """Say where the learners' coins end."""
    words = "; ".join(f"{name}: {_in_words(descent, name)}" for name in LEARNERS)
    return (
        f"t = {descent.t:g}, {RUNS} runs of {descent.n_steps:,} steps at rate {RATES[descent.t]:g}, one sample a step. "
        f"Where the coins end: {words}. Right shows 0 nine times in ten, wrong shows 1, open neither."
    )


def explore_toy_descent() -> View:
    """Return a view of one coin's descent with six estimators, for three targets; making it takes seconds."""
    return View({"t": controls.toggle("target t", {f"{t:g}": t for t in RATES}, 0.499)}, compute, draw, describe)
