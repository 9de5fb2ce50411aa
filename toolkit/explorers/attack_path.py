"""The way of one image under four attacks, step by step, and what momentum changes about it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD
from toolkit.adversarial.attacks.steps import GradientAttack
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.clothes import LEVELS, Clothes, clothes, network, title, with_article
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

NETWORKS = ("lenet", "strided", "resnet-adv", "lenet-masked")
MOST, MOST_STEPS, MOST_MOMENTUM = 32, 16, 2.0
"""The largest epsilon in grey levels, number of steps, and momentum."""
_NEAR = 1 - 1e-9  # of epsilon counts as all of it: sums of steps are rounded


@dataclass(frozen=True, repr=False, eq=False)
class Path:
    """Where one attack leads an image.

    Attributes:
        losses: of the true class, in nats: of the clean image and after each step; PGD's first is its random start.
        margins: logit of the true class less the largest other; below 0 the image is taken for something else.
        full: share of the pixels that have been changed by all of epsilon.
        turned: share of the pixels' steps that go against the step before; 0 where there is one step.
        elsewhere: margins in the network that the attack does not look at.
    """

    losses: Float[Tensor, " points"]
    margins: Float[Tensor, " points"]
    full: Float[Tensor, " points"]
    turned: float
    elsewhere: Float[Tensor, " points"]

    def __repr__(self) -> str:
        return f"Path({len(self.losses) - 1} steps: loss {self.losses[0]:.2f} to {self.losses[-1]:.2f})"


@dataclass(frozen=True, repr=False, eq=False)
class Paths:
    """One image under four attacks.

    Attributes:
        network: the title of the network attacked.
        other: of the one that no attack looks at.
        label: name of the true class.
        number: of the image, from 1.
        epsilon: in grey levels.
        n_steps: of the attacks that take several.
        momentum: μ.
        paths: by the attacks' names.
    """

    network: str
    other: str
    label: str
    number: int
    epsilon: int
    n_steps: int
    momentum: float
    paths: dict[str, Path]

    def __repr__(self) -> str:
        return f"Paths(image {self.number}, {self.epsilon}/255, {self.n_steps} steps, μ = {self.momentum:g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


class _Listener:
    """A model that remembers at which images an attack asked for its loss, and what it said of them."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.images: list[Tensor] = []
        self.logits: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        return self.model(images)

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.model(images)
        self.images.append(images.detach().clone())
        self.logits.append(logits.detach())
        return F.cross_entropy(logits, labels, reduction="none")


def walk(
    attack: GradientAttack,
    model: nn.Module,
    image: Float[Tensor, "1 1 height width"],
    label: Int64[Tensor, "1"],
    epsilon: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "points 1 height width"], Float[Tensor, "points classes"]]:
    """Return where an attack takes its gradients and where it ends, and what the model says of these images.

    Args:
        attack: with one gradient a step.
        model: the classifier.
        image: clean.
        label: what it shows.
        epsilon: in units of the pixels.
        generator: for random starts.
    """
    listener = _Listener(model)
    end = attack(listener, image, label, epsilon=epsilon, generator=generator)
    with torch.no_grad():
        return torch.cat([*listener.images, end]), torch.cat([*listener.logits, model(end)])


def compute(
    data: Clothes,
    find: Callable[[str], nn.Module],
    which: str = "lenet",
    number: int = 6,
    epsilon: int = 32,
    n_steps: int = 10,
    momentum: float = 1.0,
) -> Paths:
    """Follow one image under FGSM, BIM, MI-FGSM and PGD.

    Args:
        data: the images.
        find: gives a network by its name.
        which: the network attacked.
        number: of the image, from 1.
        epsilon: in grey levels, 1 to ``MOST``.
        n_steps: T, 1 to ``MOST_STEPS``; FGSM takes one.
        momentum: μ of MI-FGSM, 0 to ``MOST_MOMENTUM``.

    Raises:
        ValueError: an argument out of range.
    """
    require(1 <= number <= len(data), "compute", "number", f"1 to {len(data)}", number)
    require(1 <= epsilon <= MOST, "compute", "epsilon", f"1 to {MOST}", epsilon)
    require(1 <= n_steps <= MOST_STEPS, "compute", "n_steps", f"1 to {MOST_STEPS}", n_steps)
    require(0 <= momentum <= MOST_MOMENTUM, "compute", "momentum", f"0 to {MOST_MOMENTUM:g}", momentum)
    other = "strided" if which != "strided" else "lenet"
    model, stranger = find(which), find(other)
    image, label = data.images[number - 1 : number], data.labels[number - 1 : number]
    attacks = {
        "FGSM": FGSM(),
        "BIM": BIM(n_steps=n_steps),
        "MI-FGSM": MIFGSM(n_steps=n_steps, momentum=momentum),
        "PGD": PGD(n_steps=n_steps),
    }
    ways = {
        name: walk(attack, model, image, label, epsilon / LEVELS, torch.Generator().manual_seed(number))
        for name, attack in attacks.items()
    }
    with torch.no_grad():
        together = torch.cat([images for images, _ in ways.values()])
        strange = stranger(together).split([len(images) for images, _ in ways.values()])
    paths = {
        name: _measure(images, image, int(label), epsilon / LEVELS, logits, elsewhere)
        for (name, (images, logits)), elsewhere in zip(ways.items(), strange, strict=True)
    }
    name = data.names[int(label)]
    return Paths(title(which), title(other), name, number, epsilon, n_steps, momentum, paths)


def _measure(way: Tensor, image: Tensor, label: int, epsilon: float, logits: Tensor, strange: Tensor) -> Path:
    labels = torch.full((len(way),), label)
    full = ((way - image).abs() >= _NEAR * epsilon).flatten(1).double().mean(1)
    signs = way.diff(dim=0).sign()
    turned = float((signs[1:] * signs[:-1] < 0).double().mean()) if len(signs) > 1 else 0.0
    losses = F.cross_entropy(logits, labels, reduction="none")
    return Path(losses, _margins(logits, label), full, turned, _margins(strange, label))


def _margins(logits: Tensor, label: int) -> Tensor:
    others = logits.clone()
    others[:, label] = -torch.inf
    return logits[:, label] - others.amax(1)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HIGH, _TOP = 690.0, 176.0, 42.0
_LOOKS = {  # drawn in this order: dashes above the full line, which they cover where both are the same
    "FGSM": style.Line(style.GREY, (0, (1.5, 2.0)), "s", 1.6),
    "MI-FGSM": style.Line(style.BLUE, "-", "", 2.6),
    "BIM": style.Line(style.VERMILION, (0, (5.0, 1.6)), "", 1.8),
    "PGD": style.Line(style.GREEN, (0, (3.0, 1.2, 1.0, 1.2)), "", 1.8),
}


def draw(found: Paths) -> Svg:
    """Draw loss, margin and share of pixels at the border of the ball along the steps; and the margin elsewhere."""
    picture = Svg(_WIDTH, _TOP + 2 * (_HIGH + 22) + 14)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    half = _WIDTH / 2
    for place, (heading, measure, least) in enumerate(
        (
            ("loss (nats)", lambda path: path.losses, 1.0),
            ("pixels changed by all of ε (%)", lambda path: 100 * path.full, 10.0),
            ("margin (wrong below 0)", lambda path: path.margins, 1.0),
            (f"margin in a network not attacked: {found.other}", lambda path: path.elsewhere, 1.0),
        )
    ):
        row, column = divmod(place, 2)
        _draw_panel(
            picture,
            (14 + half * column, _TOP + (_HIGH + 26) * row, half - 22, _HIGH),
            {name: measure(found.paths[name]).tolist() for name in _LOOKS},
            heading,
            found.n_steps,
            least,
            "steps" if row else "",
        )
    return picture


def _draw_panel(
    picture: Svg,
    box: tuple[float, float, float, float],
    values: dict[str, list[float]],
    heading: str,
    n_steps: int,
    least: float,
    x_label: str,
) -> None:
    """Draw one line for each attack; FGSM's one step goes on as it ends, for comparison."""
    series = [Series("", [0, n_steps], [0, 0], style.Line(style.GREY, "-", "", 1.0))]
    for name, one in values.items():
        held = one + one[-1:] * (n_steps + 1 - len(one))
        series.append(Series(name, range(n_steps + 1), held, _LOOKS[name]))
    series.append(Series("", [1], values["FGSM"][-1:], _LOOKS["FGSM"], markers=True))
    numbers = [number for one in values.values() for number in one]
    low, high = min(0.0, *numbers), max(least, *numbers)
    gap = 0.06 * (high - low)
    draw_panel(
        picture,
        box,
        series,
        heading=heading,
        x_label=x_label,
        x_limits=(0.0, float(n_steps)),
        y_limits=(low - gap * (low < 0), high + gap),
        whole_x=True,
    )


def _finding(found: Paths) -> str:
    if found.n_steps == 1:
        return "One step: BIM and MI-FGSM are FGSM, whatever μ is"
    bim, momentum = (100 * found.paths[name].turned for name in ("BIM", "MI-FGSM"))
    return f"BIM turns round {bim:.0f} % of its pixel steps, with momentum {found.momentum:g} it is {momentum:.0f} %"


def describe(found: Paths) -> str:
    """Say where the attacks end in both networks, and how many steps turned round on the way."""
    paths = found.paths
    times = "step" if found.n_steps == 1 else "steps"

    def each(values: Callable[[Path], str]) -> str:
        return ", ".join(f"{name} {values(path)}" for name, path in paths.items())

    return (
        f"{found.network}; image {found.number}, {with_article(found.label)}; ε = {found.epsilon}/255, {found.n_steps} "
        f"{times}, μ = {found.momentum:g}. The clean image has loss {float(paths['FGSM'].losses[0]):.2f}. At the end: "
        f"{each(lambda path: f'{float(path.losses[-1]):.2f}')}. Pixels changed by all of ε: "
        f"{each(lambda path: f'{100 * float(path.full[-1]):.0f} %')}. Steps that went against the one before: "
        f"BIM {100 * paths['BIM'].turned:.0f} %, MI-FGSM {100 * paths['MI-FGSM'].turned:.0f} %. Margins in the network "
        f"that no attack looks at ({found.other}), clean {_number(paths['FGSM'].elsewhere[0])}: "
        f"{each(lambda path: _number(path.elsewhere[-1]))}. PGD starts at a random point."
    )


def _number(value: Tensor) -> str:
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def explore_attack_path(find: Callable[[str], nn.Module] = network) -> View:
    """Return a view of one image along the steps of four attacks: which network, image, ε, T and μ.

    Args:
        find: gives a network by its name; default: the toolkit's trained ones.
    """
    data = clothes()
    for name in NETWORKS:
        find(name)  # loaded once, before the first slider moves
    steps = controls.int_slider("steps T", 10, 1, MOST_STEPS)
    momentum = controls.float_slider("momentum μ", 1.0, 0.0, MOST_MOMENTUM, step=0.1)
    controls.only_while(momentum, steps, lambda value: value > 1, otherwise="one step has nothing to remember")
    chosen = {
        "which": controls.choice("network", {title(name): name for name in NETWORKS}, NETWORKS[0]),
        "number": controls.int_slider("image", 6, 1, 50),
        "epsilon": controls.int_slider("ε", 32, 1, MOST, unit="grey levels"),
        "n_steps": steps,
        "momentum": momentum,
    }
    return View(chosen, functools.partial(compute, data, find), draw, describe)
