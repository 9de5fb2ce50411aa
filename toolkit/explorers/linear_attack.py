"""A linear classifier of two kinds of clothes, where the worst small change and its effect are known exactly."""

import functools
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.attacks.noise import RandomSign
from toolkit.adversarial.evaluation import accuracy
from toolkit.adversarial.exact import LinearClassifier
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.datasets import load
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

PAIRS = ("sandal or sneaker", "pullover or coat", "t-shirt or dress")
"""The problems to choose from."""
PENALTIES = {"weak": 0.1, "medium": 10.0, "strong": 1000.0}
"""Weights of the squared length of the weights in the fit."""
MOST = 32
"""The largest epsilon, in grey levels of 255."""
_CLASSES = {"sandal": 5, "sneaker": 7, "pullover": 2, "coat": 4, "t-shirt": 0, "dress": 3}
_GRID = tuple(range(0, MOST + 1, 4))
_DRAWS = 5


@dataclass(frozen=True, repr=False, eq=False)
class Problem:
    """Two classes, a classifier of them, and its fate as epsilon grows.

    Attributes:
        names: of the two classes.
        model: linear, fitted by least squares with a penalty.
        images: of the test set, none of which it was fitted on.
        labels: 0 or 1.
        distances: smallest epsilon that makes each image wrong, in pixels from 0 to 1; 0 where it is wrong already.
        attacked: accuracy under FGSM at ``grid``.
        noisy: accuracy under random signs of the same size, mean over draws.
        grid: epsilons in grey levels.
    """

    names: tuple[str, str]
    model: LinearClassifier
    images: Float[Tensor, "n height width"]
    labels: Int64[Tensor, " n"]
    distances: Float[Tensor, " n"]
    attacked: tuple[float, ...]
    noisy: tuple[float, ...]
    grid: tuple[int, ...]

    @property
    def slope(self) -> Float[Tensor, "height width"]:
        """What the second class' logit gains over the first's, a pixel."""
        return self.model.weight[1] - self.model.weight[0]

    def exact(self, epsilon: float) -> float:
        """Return the accuracy under the best of all attacks; ``epsilon`` in grey levels."""
        return float((self.distances > epsilon / 255).double().mean())

    def __repr__(self) -> str:
        return f"Problem({' or '.join(self.names)}: {len(self.images)} images, accuracy {self.exact(0):.2f})"


@dataclass(frozen=True, repr=False, eq=False)
class LinearAttack:
    """One image of a problem under attack.

    Attributes:
        problem: which.
        number: of the image, from 1.
        epsilon: in grey levels.
        image: clean.
        changed: the worst image within epsilon.
        margin: logit of the right class less the other's, of the clean image.
        worst: the same of the changed image.
        noise: standard deviation of the change of the margin under random signs, before pixels are clipped to [0, 1].
    """

    problem: Problem
    number: int
    epsilon: int
    image: Float[Tensor, "height width"]
    changed: Float[Tensor, "height width"]
    margin: float
    worst: float
    noise: float

    @property
    def label(self) -> int:
        """The right class, 0 or 1."""
        return int(self.problem.labels[self.number - 1])

    def __repr__(self) -> str:
        return f"LinearAttack(image {self.number}, {self.epsilon}/255: margin {self.margin:.2f} to {self.worst:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.lru_cache(maxsize=len(PAIRS) * len(PENALTIES))
def make_problem(pair: str, penalty: str) -> Problem:
    """Fit a classifier to two classes of Fashion-MNIST and measure it.

    Args:
        pair: one of ``PAIRS``.
        penalty: a key of ``PENALTIES``.

    Raises:
        ValueError: another pair or penalty.
    """
    require(pair in PAIRS, "make_problem", "pair", f"one of {PAIRS}", repr(pair))
    require(penalty in PENALTIES, "make_problem", "penalty", f"one of {tuple(PENALTIES)}", repr(penalty))
    first, second = pair.split(" or ")
    data = load("fashion_mnist", variant="subset")
    train_x, train_y = _two(data.train, _CLASSES[first], _CLASSES[second])
    model = fit_least_squares(train_x, train_y, PENALTIES[penalty])
    images, labels = _two(data.test, _CLASSES[first], _CLASSES[second])
    distances = model.distances(images, labels).amin(1)
    generator = torch.Generator().manual_seed(0)
    attacked, noisy = [], []
    for level in _GRID:
        epsilon = level / 255
        attacked.append(accuracy(model, FGSM()(model, images, labels, epsilon=epsilon), labels))
        draws = [RandomSign()(model, images, labels, epsilon=epsilon, generator=generator) for _ in range(_DRAWS)]
        noisy.append(float(np.mean([accuracy(model, draw, labels) for draw in draws])))
    return Problem((first, second), model, images, labels, distances, tuple(attacked), tuple(noisy), _GRID)


def fit_least_squares(
    images: Float[Tensor, "n height width"], labels: Int64[Tensor, " n"], penalty: float
) -> LinearClassifier:
    """Return the linear classifier that minimises the squared error to ±1 plus a penalty on its weights.

    Args:
        images: pixels in [0, 1].
        labels: 0 or 1.
        penalty: times the squared length of the weights, beside the sum of the squared errors; > 0.
    """
    flat, signs = images.flatten(1), 2.0 * labels.double() - 1
    mean, level = flat.mean(0), signs.mean()
    centred = flat - mean
    kernel = centred @ centred.T + penalty * torch.eye(len(flat), dtype=flat.dtype)
    weight = centred.T @ torch.linalg.solve(kernel, signs - level)
    bias = level - mean @ weight
    half = torch.stack([-weight, weight]) / 2
    return LinearClassifier(half.view(2, *images.shape[1:]), torch.stack([-bias, bias]) / 2)


def attack_linear(pair: str, penalty: str, number: int, epsilon: int) -> LinearAttack:
    """Attack one image of a problem with the worst change.

    Args:
        pair: one of ``PAIRS``.
        penalty: a key of ``PENALTIES``.
        number: of the image, from 1.
        epsilon: in grey levels, 0 to ``MOST``.
    """
    problem = make_problem(pair, penalty)
    n = len(problem.images)
    require(1 <= number <= n, "attack_linear", "number", f"1 to {n}", number)
    require(0 <= epsilon <= MOST, "attack_linear", "epsilon", f"0 to {MOST} grey levels", epsilon)
    image, label = problem.images[number - 1 : number], problem.labels[number - 1 : number]
    changed = problem.model.worst_images(image, label, epsilon / 255)
    other = 1 - int(label)
    before = float(problem.model.margins(image, label)[0, other])
    after = float(problem.model.margins(image, label, epsilon / 255)[0, other])
    noise = epsilon / 255 * float(problem.slope.norm())
    return LinearAttack(problem, number, epsilon, image[0], changed[0], before, after, noise)


def _two(split: Any, first: int, second: int) -> tuple[Tensor, Tensor]:
    chosen = (split.labels == first) | (split.labels == second)
    images = split.as_float()[chosen].double()
    return images, (split.labels[chosen] == second).long()


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _SIDE, _TOP, _LOW = 690.0, 140.0, 66.0, 250.0
_EXACT = style.Line(style.BLACK, "-", "", 2.4)
_FGSM = style.Line(style.BLUE, "-", "o", 1.8)
_NOISE = style.Line(style.GREEN, "--", "s", 1.8)


def draw(found: LinearAttack) -> Svg:
    """Draw the image, the weights, the change and the changed image above the curves of margin and accuracy."""
    picture = Svg(_WIDTH, _LOW + 232)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    names, label = found.problem.names, found.label
    said = names[1 - label if found.worst <= 0 else label]
    panels = (
        ("clean", f"a {names[label]}", found.image),
        ("weights", f"blue: {names[0]}, red: {names[1]}", _signed(found.problem.slope)),
        ("worst change", f"each pixel at most {found.epsilon}/255", _signed(found.changed - found.image)),
        ("changed", f"taken for a {said}", found.changed),
    )
    step = (_WIDTH - 28 - 4 * _SIDE) / 3 + _SIDE
    for place, (name, caption, image) in enumerate(panels):
        x = 14 + step * place
        picture.text(x, _TOP - 8, name, size=12.5, bold=True)
        picture.image(x, _TOP, _SIDE, _SIDE, image)
        wrong = place == 3 and found.worst <= 0
        color, width = (style.VERMILION, 3.0) if wrong else ("#b0b0b0", 1.0)
        picture.rectangle(x, _TOP, _SIDE, _SIDE, fill="none", stroke=color, stroke_width=width)
        picture.text(x, _TOP + _SIDE + 16, shorten(caption, step - 6, 12), size=12)
    _draw_curves(picture, found)
    return picture


def _draw_curves(picture: Svg, found: LinearAttack) -> None:
    problem, levels = found.problem, np.arange(MOST + 1)
    label = problem.labels[found.number - 1 : found.number].expand(len(levels))
    image = problem.images[found.number - 1].expand(len(levels), -1, -1)
    margins = problem.model.margins(image, label, torch.from_numpy(levels / 255))[:, 1 - found.label].numpy()
    spread = levels / 255 * float(problem.slope.norm())
    low, high = min(margins.min(), -0.2), max(found.margin + spread[-1], 0.4)
    exact = [problem.exact(float(level)) for level in levels]
    half = _WIDTH / 2
    noise = style.Line(style.GREEN, "--", "", 1.6)
    draw_panel(
        picture,
        (14, _LOW, half - 30, 190),
        [
            Series("", levels, np.zeros(len(levels)), style.Line(style.GREY, "-", "", 1.0)),
            Series("", levels, found.margin + spread, noise),
            Series("noise", levels, found.margin - spread, noise),
            Series("worst", levels, margins, _EXACT),
        ],
        heading="margin of this image (wrong below 0)",
        x_label="ε (grey levels of 255)",
        x_limits=(0.0, float(MOST)),
        y_limits=(float(low), float(high)),
        mark=float(found.epsilon),
    )
    draw_panel(
        picture,
        (14 + half, _LOW, half - 30, 190),
        [
            Series("noise", problem.grid, problem.noisy, _NOISE),
            Series("exact", levels, exact, _EXACT),
            Series("", problem.grid, problem.attacked, _FGSM, markers=True),
        ],
        heading=f"accuracy on {len(problem.images)} images (dots: FGSM)",
        x_label="ε (grey levels of 255)",
        x_limits=(0.0, float(MOST)),
        y_limits=(0.0, 1.04),
        mark=float(found.epsilon),
    )


def _signed(values: Tensor) -> np.ndarray:
    """Return colours of numbers: blue below zero, white at zero, red above."""
    numbers = values.numpy()
    return matplotlib.colormaps[style.DIVERGING](style.centred(numbers)(numbers))


def _finding(found: LinearAttack) -> str:
    exact = found.problem.exact(found.epsilon)
    return f"Under the worst {found.epsilon} grey levels {100 * exact:.0f} % of the images stay right"


def describe(found: LinearAttack) -> str:
    """Say what the worst change and noise of the same size do to the margin, and how many images stay right."""
    problem = found.problem
    slope = problem.slope
    share = f"{100 * problem.exact(found.epsilon):.0f} % of the {len(problem.images)} images stay right"
    outcome = "which is enough" if found.worst <= 0 else "which is not enough"
    if found.margin <= 0:
        outcome = "but it was wrong before"
    before, after = _number(found.margin), _number(found.worst)
    return (
        f"Image {found.number}, a {problem.names[found.label]}, has margin {before}. With ε = "
        f"{found.epsilon}/255 the worst change takes it to {after}, {outcome}; random signs of the "
        f"same size move it by {found.noise:.2f} (one standard deviation). The absolute weights add up to "
        f"{float(slope.abs().sum()):.1f}, their length is {float(slope.norm()):.2f}: hence the difference. Under the "
        f"worst change {share}."
    )


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def explore_linear_attack() -> View:
    """Return a view of a linear classifier under its worst change: of which classes, how fitted, how large."""
    problems = [make_problem(pair, penalty) for pair in PAIRS for penalty in PENALTIES]
    chosen = {
        "pair": controls.choice("classes", PAIRS, PAIRS[0]),
        "penalty": controls.choice("penalty on the weights", tuple(PENALTIES), "medium"),
        "number": controls.int_slider("image", 1, 1, min(50, *(len(problem.images) for problem in problems))),
        "epsilon": controls.int_slider("ε", 12, 0, MOST, unit="grey levels"),
    }
    return View(chosen, attack_linear, draw, describe)
