"""Twelve estimators of one gradient: a histogram of each one's samples beside the exact value.

The noise behind the samples is drawn once and kept, so that a slider moves the histograms and not their luck.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from toolkit.core.svg import Svg
from toolkit.estimators.antithetic import ARM, DisARM
from toolkit.estimators.baselines import Constant
from toolkit.estimators.control_variates import REBAR
from toolkit.estimators.estimator import Estimator, Noise
from toolkit.estimators.exact import Exact, exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.relaxed import GumbelSoftmax, ReinMax, StraightThrough, StraightThroughGumbel
from toolkit.explorers.coin_objectives import BITS, TARGET, coin_problem, named
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks

SAMPLES, BIASED_SAMPLES = 3_000, 9_000
"""Samples of each estimator; more of those that are biased, so that the bias stands out from chance."""
_BINS = 66
_MAKERS: dict[str, Callable[[Exact, float], Estimator]] = {
    "LR": lambda truth, temperature: LikelihoodRatio(),
    "LR, b = E f": lambda truth, temperature: LikelihoodRatio(Constant([float(truth.value)])),
    "RLOO-2": lambda truth, temperature: LeaveOneOut(2),
    "MuProp": lambda truth, temperature: MuProp(),
    "ARM": lambda truth, temperature: ARM(),
    "DisARM": lambda truth, temperature: DisARM(),
    "REBAR": lambda truth, temperature: REBAR(temperature=temperature),
    "RAM": lambda truth, temperature: RAM(),
    "straight-through": lambda truth, temperature: StraightThrough(),
    "Gumbel-softmax": lambda truth, temperature: GumbelSoftmax(temperature),
    "ST Gumbel": lambda truth, temperature: StraightThroughGumbel(temperature),
    "ReinMax": lambda truth, temperature: ReinMax(),
}
_TEMPERED = ("REBAR", "Gumbel-softmax", "ST Gumbel")
_FAMILY = {"LR": "baseline", "LR, b = E f": "baseline", "RLOO-2": "baseline", "RAM": "paper"}


@dataclass(frozen=True, repr=False)
class Row:
    """Samples of one estimator.

    Attributes:
        name: of the estimator.
        samples: of the gradient: of one coin's logit, or along the exact gradient's direction.
        total_variance: of one sample, summed over all the components.
        offset: the mean of the samples minus the exact gradient, over all the components: its length, less what chance
            adds to it; signed for one coin.
        chance: what chance may make of ``offset`` where there is no bias, four standard errors.
        evaluations: of the cost, counted, for one sample.
        unbiased: what the estimator claims.
    """

    name: str
    samples: Float[np.ndarray, "samples"]
    total_variance: float
    offset: float
    chance: float
    evaluations: float
    unbiased: bool

    @property
    def off(self) -> bool:
        """Whether the mean misses the exact gradient by more than chance, and more than a little."""
        return abs(self.offset) > max(self.chance, 5e-3)

    @property
    def mean(self) -> float:
        """The mean of the samples."""
        return float(self.samples.mean())

    @property
    def deviation(self) -> float:
        """The standard deviation of one sample."""
        return float(self.samples.std(ddof=1))

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.deviation / math.sqrt(self.samples.size)

    def __repr__(self) -> str:
        return f"Row({self.name}: {self.mean:.3g} ± {self.deviation:.3g})"


@dataclass(frozen=True)
class Histograms:
    """All estimators at one setting.

    Attributes:
        n_bits: how many coins.
        truth: the exact derivative; along its own direction, the gradient's length.
        rows: one an estimator.
        temperature: of the relaxed ones.
    """

    n_bits: int
    truth: float
    rows: tuple[Row, ...]
    temperature: float

    def row(self, name: str) -> Row:
        """Return the row of one estimator."""
        return next(row for row in self.rows if row.name == name)

    def __repr__(self) -> str:
        return f"Histograms({named(self.n_bits)}, truth {self.truth:.3g}, {len(self.rows)} estimators)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _noise(name: str, n_bits: int) -> Noise:
    problem = coin_problem(n_bits)
    generator = torch.Generator().manual_seed(list(_MAKERS).index(name))
    estimator = _MAKERS[name](exact(problem), 0.5)
    return estimator.draw(problem, SAMPLES if estimator.unbiased else BIASED_SAMPLES, generator)


@functools.lru_cache(maxsize=256)
def _row(name: str, n_bits: int, offset: float, t: float, temperature: float) -> Row:
    problem, truth = coin_problem(n_bits, offset, t), _truth(n_bits, offset, t)
    found = _MAKERS[name](truth, temperature)(problem, noise=_noise(name, n_bits))
    gradients = found.gradients[0]
    total, error = float(gradients.var(0).sum()), gradients.mean(0) - truth.gradients[0]
    chance = 4 * math.sqrt(total / len(gradients))
    # Without bias, the expected squared length of the error is the variance of the mean.
    length = math.sqrt(max(float(error.square().sum()) - total / len(gradients), 0.0))
    offset = float(error[0]) if n_bits == 1 else length
    samples = (gradients @ _direction(truth)).numpy()
    return Row(name, samples, total, offset, chance, found.evaluations, found.unbiased)


@functools.lru_cache(maxsize=64)
def _truth(n_bits: int, offset: float, t: float) -> Exact:
    return exact(coin_problem(n_bits, offset, t))


def _direction(truth: Exact) -> torch.Tensor:
    gradient = truth.gradients[0]
    length = gradient.norm()
    if len(gradient) == 1 or length == 0:  # a single coin keeps its sign
        return torch.eye(len(gradient), dtype=gradient.dtype)[0]
    return gradient / length


def compute(n_bits: int = 12, offset: float = 0.0, t: float = TARGET, temperature: float = 0.5) -> Histograms:
    """Sample every estimator.

    Args:
        n_bits: coins: 1, or more that are coupled.
        offset: added to every logit.
        t: target of the one coin; without meaning for more.
        temperature: of REBAR and the relaxed estimators.

    Raises:
        ValueError: a number of coins out of range, a temperature that is not positive.
    """
    offset, temperature = float(offset), float(temperature)
    t = float(t) if n_bits == 1 else TARGET
    truth = _truth(n_bits, offset, t)
    rows = tuple(_row(name, n_bits, offset, t, temperature if name in _TEMPERED else 0.5) for name in _MAKERS)
    along = float(truth.gradients[0] @ _direction(truth))
    return Histograms(n_bits, along, rows, temperature)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 660.0, 168.0, 502.0, 74.0, 29.0
_LOOKS = {
    "baseline": (style.PURPLE, "#8f4a70"),
    "paper": (style.BLUE, style.BLUE),
    "other": (style.GREEN, "#00704f"),
    "biased": (style.VERMILION, "#a34700"),
}


def half_width(histograms: Histograms) -> float:
    """Return how far the axis reaches to either side of zero: round, so that it holds still from setting to setting."""
    spreads = [row.deviation for row in histograms.rows if row.deviation > 1e-9]
    wanted = abs(histograms.truth) + 2.5 * float(np.median(spreads) if spreads else 0.0) or 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(factor * power for factor in (1, 1.5, 2, 3, 5, 7, 10) if factor * power >= wanted - 1e-12)


def draw(histograms: Histograms) -> Svg:
    """Draw a histogram an estimator, on one axis, with the exact value through all of them."""
    rows, half = histograms.rows, half_width(histograms)
    bottom = _TOP + _ROW * len(rows)
    several = histograms.n_bits > 1
    picture = Svg(_WIDTH, bottom + (76 if several else 58))
    to_x = Scale(-half, half, _LEFT, _RIGHT, False)
    picture.text(14, 24, _finding(histograms), size=14, bold=True)
    exact_name = f"exact {_number(histograms.truth)}"
    x = to_x(histograms.truth)
    picture.text(min(max(x, _LEFT + 40), _RIGHT - 40), _TOP - 10, exact_name, size=12, anchor="middle", bold=True)
    for place, words in ((_RIGHT + 82, "std. dev."), (_WIDTH - 12, "bias")):
        picture.text(place, _TOP - 10, words, size=12, anchor="end", fill=style.GREY)
    values = ticks(-half, half, most=7)
    for value, name in zip(values, tick_names(values), strict=True):
        picture.line(to_x(value), _TOP, to_x(value), bottom, stroke="#e6e6e6", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=12, anchor="middle", fill=style.GREY)
    for number, row in enumerate(rows):
        _draw_row(picture, row, half, to_x, _TOP + _ROW * (number + 1))
    picture.line(x, _TOP - 5, x, bottom, stroke=style.INK, stroke_width=2)
    for number, row in enumerate(rows):
        _draw_mean(picture, row, half, to_x, _TOP + _ROW * (number + 1) - 5)
    what = "gradient along the exact gradient's direction" if several else "derivative by the logit"
    picture.text((_LEFT + _RIGHT) / 2, bottom + 38, f"one sample of the {what}", anchor="middle")
    if several:
        words = "bias: length of the mean vector's error, of which the picture shows one direction only"
        picture.text(_WIDTH - 12, bottom + 60, words, size=12, anchor="end", fill=style.GREY)
    return picture


def _look(row: Row) -> tuple[str, str]:
    return _LOOKS[_FAMILY.get(row.name, "other") if row.unbiased else "biased"]


def _draw_row(picture: Svg, row: Row, half: float, to_x: Scale, base: float) -> None:
    fill, ink = _look(row)
    strong = row.name == "RAM"
    picture.text(_LEFT - 46, base - 8, row.name, size=12.5, anchor="end", fill=ink, bold=strong)
    counts, edges = np.histogram(row.samples, bins=_BINS, range=(-half, half))
    tallest = max(int(counts.max()), 1)
    heights = counts / tallest * (_ROW - 7)
    corners = [(_LEFT, base)]
    for height, left, right in zip(heights.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        corners += [(to_x(left), base - height), (to_x(right), base - height)]
    dash = () if row.unbiased else (3, 2)
    picture.polyline([*corners, (_RIGHT, base)], closed=True, fill=fill, stroke="none", opacity=0.3)
    picture.polyline([*corners, (_RIGHT, base)], stroke=fill, stroke_width=1.2, dash=dash)
    for outside, place, anchor, sign in (
        ((row.samples < -half).mean(), _LEFT - 3, "end", "←"),
        ((row.samples > half).mean(), _RIGHT + 3, "start", "→"),
    ):
        if outside > 0:
            share = "<1" if outside < 0.01 else f"{100 * outside:.0f}"
            words = f"{sign}{share}%" if anchor == "end" else f"{share}%{sign}"
            picture.text(place, base - 8, words, size=12, anchor=anchor, fill=style.GREY)
    picture.text(_RIGHT + 82, base - 8, _number(row.deviation), size=12, anchor="end")
    if row.unbiased:
        picture.text(_WIDTH - 12, base - 8, "none", size=12, anchor="end", fill=style.GREY)
    else:
        words = _bias(row) if row.off else "≈ 0"
        picture.text(_WIDTH - 12, base - 8, words, size=12, anchor="end", fill=ink, bold=True)


def _draw_mean(picture: Svg, row: Row, half: float, to_x: Scale, y: float) -> None:
    _, ink = _look(row)
    low, high = (
        to_x(min(max(row.mean + side * 2 * row.error, -half), half)) for side in (-1, 1)
    )  # fmt: skip
    picture.line(low, y, high, y, stroke="#ffffff", stroke_width=5)
    picture.line(low, y, high, y, stroke=ink, stroke_width=3)
    if -half <= row.mean <= half:
        picture.circle(to_x(row.mean), y, 3.8, fill=ink, stroke="#ffffff", stroke_width=1.2)


def _bias(row: Row) -> str:
    return _number(row.offset)


def _number(value: float) -> str:
    if abs(value) < 5e-4:
        return "0"
    digits = 3 if abs(value) < 0.1 else 2 if abs(value) < 10 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def _finding(histograms: Histograms) -> str:
    lr, ram = histograms.row("LR"), histograms.row("RAM")
    worst = max((row for row in histograms.rows if not row.unbiased), key=lambda row: abs(row.offset))
    off = f"{worst.name} is off by {_bias(worst)}" if worst.off else "no bias shows"
    if ram.deviation < 1e-9:
        return f"RAM never varies, LR by ± {_number(lr.deviation)}; {off}"
    return f"LR's std. dev. is {lr.deviation / ram.deviation:.1f} × RAM's; {off}"


def describe(histograms: Histograms) -> str:
    """Say how far the samples of LR and RAM scatter, and which estimators miss the exact value."""
    lr, ram = histograms.row("LR"), histograms.row("RAM")
    truth = _number(histograms.truth)
    if histograms.n_bits == 1:
        spread = (
            f"the exact derivative by the logit is {truth}. Samples have a standard deviation of "
            f"{_number(lr.deviation)} with LR and {_number(ram.deviation)} with RAM"
        )
    else:
        spread = (
            f"the exact gradient has length {truth}. A sample's variance, summed over the components, is "
            f"{_number(lr.total_variance)} with LR and {_number(ram.total_variance)} with RAM"
        )
    off = [f"{row.name} by {_bias(row)}" for row in histograms.rows if not row.unbiased and row.off]
    lengths = " (the length of the mean's error)" if histograms.n_bits > 1 else ""
    biased = "No biased one is off by more than chance here."
    if off:
        biased = f"Off by more than chance: {', '.join(off)}{lengths}."
    return (
        f"{named(histograms.n_bits).capitalize()}: {spread}, which takes RAM {ram.evaluations:.0f} evaluations of the "
        f"cost and LR one. {biased}"
    )


def explore_estimator_histograms(n_bits: int = 12, offset: float = 0.0) -> View:
    """Return a view of twelve estimators' samples beside the exact gradient, with sliders for the problem.

    Args:
        n_bits: of the first picture, one of :data:`~toolkit.explorers.coin_objectives.BITS`.
        offset: of the logits in the first picture.
    """
    coins = controls.choice("cost", {named(n): n for n in BITS}, n_bits)
    target = controls.float_slider("t of one coin", TARGET, 0.0, 1.0, step=0.025)
    chosen = {
        "n_bits": coins,
        "offset": controls.float_slider("added to every logit", offset, -4.0, 4.0, step=0.2),
        "t": target,
        "temperature": controls.log_slider("temperature of relaxations", 0.5, 0.05, 5.0, steps_per_decade=10),
    }
    controls.only_while(target, coins, lambda n: n == 1, otherwise="only the cost of one coin has a t")
    return View(chosen, compute, draw, describe)
