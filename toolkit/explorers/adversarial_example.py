"""One image under attack: what is changed, what the network then says, and how sure it is of it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD
from toolkit.adversarial.attacks.noise import RandomSign
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.explorers.clothes import LEVELS, Clothes, clothes, network, title, with_article
from toolkit.lessons import View, controls, style

ATTACKS: dict[str, Attack] = {
    "random signs": RandomSign(),
    "FGSM": FGSM(),
    "BIM, 10 steps": BIM(),
    "MI-FGSM, 10 steps": MIFGSM(),
    "PGD, 40 steps": PGD(),
}
"""By the name shown."""
NETWORKS = ("lenet", "vgg", "strided", "resnet-adv", "resnet-pgd", "lenet-masked")
ANY = "any wrong class"
MOST = 32
"""The largest epsilon, in grey levels."""


@dataclass(frozen=True, repr=False, eq=False)
class Example:
    """An image before and after an attack.

    Attributes:
        attack: its name.
        network: the network's title.
        epsilon: in grey levels.
        names: of the classes.
        label: the true class.
        target: the class aimed at, or None.
        clean: pixels.
        changed: pixels.
        before: the network's probabilities of the clean image.
        after: of the changed one.
    """

    attack: str
    network: str
    epsilon: int
    names: tuple[str, ...]
    label: int
    target: int | None
    clean: Float[Tensor, "height width"]
    changed: Float[Tensor, "height width"]
    before: Float[Tensor, " classes"]
    after: Float[Tensor, " classes"]

    @property
    def said(self) -> tuple[int, int]:
        """The most likely class before and after."""
        return int(self.before.argmax()), int(self.after.argmax())

    def __repr__(self) -> str:
        first, second = (self.names[value] for value in self.said)
        return f"Example({self.attack}, {self.epsilon}/255: {first} to {second})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def attack_one(
    data: Clothes,
    find: Callable[[str], nn.Module],
    which: str,
    number: int,
    attack: str,
    epsilon: int,
    target: str = ANY,
) -> Example:
    """Attack one image.

    Args:
        data: the images.
        find: gives a network by its name.
        which: the network's name.
        number: of the image, from 1.
        attack: a key of ``ATTACKS``; random signs do not aim.
        epsilon: in grey levels, 0 to ``MOST``.
        target: the class to aim at, or ``ANY``.

    Raises:
        ValueError: there is no such image, attack or class.
    """
    require(1 <= number <= len(data), "attack_one", "number", f"1 to {len(data)}", number)
    require(attack in ATTACKS, "attack_one", "attack", f"one of {tuple(ATTACKS)}", repr(attack))
    require(0 <= epsilon <= MOST, "attack_one", "epsilon", f"0 to {MOST}", epsilon)
    require(target in (ANY, *data.names), "attack_one", "target", f"one of {(ANY, *data.names)}", repr(target))
    model, label = find(which), int(data.labels[number - 1])
    image = data.images[number - 1 : number]
    method = ATTACKS[attack]
    aim = data.names.index(target) if target != ANY and method.accepts_targets else None
    changed = method(
        model,
        image,
        torch.tensor([label]),
        epsilon=epsilon / LEVELS,
        targets=None if aim is None else torch.tensor([aim]),
        generator=torch.Generator().manual_seed(number),
    )
    with torch.no_grad():
        before, after = model(torch.cat([image, changed])).softmax(1)
    names = data.names
    return Example(attack, title(which), epsilon, names, label, aim, image[0, 0], changed[0, 0], before, after)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _SIDE, _TOP, _LOW, _ROW = 690.0, 200.0, 66.0, 322.0, 19.0


def draw(found: Example) -> Svg:
    """Draw the image, the change and the changed image above the probabilities of all classes."""
    picture = Svg(_WIDTH, _LOW + 34 + _ROW * len(found.names))
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    change = (found.changed - found.clean).numpy()
    first, second = found.said
    panels = (
        ("clean", f"{_percent(found.before[first])} {found.names[first]}", found.clean),
        (f"change, at most {found.epsilon}/255", "red: brighter, blue: darker", matplotlib.colormaps[style.DIVERGING](
            style.centred(change)(change))),
        ("changed", f"{_percent(found.after[second])} {found.names[second]}", found.changed),
    )  # fmt: skip
    step = (_WIDTH - 28 - 3 * _SIDE) / 2 + _SIDE
    for place, (name, caption, image) in enumerate(panels):
        x = 14 + step * place
        picture.text(x, _TOP - 8, name, size=12.5, bold=True)
        picture.image(x, _TOP, _SIDE, _SIDE, image)
        wrong = place != 1 and (first, second)[place // 2] != found.label
        color, width = (style.VERMILION, 3.0) if wrong else ("#b0b0b0", 1.0)
        picture.rectangle(x, _TOP, _SIDE, _SIDE, fill="none", stroke=color, stroke_width=width)
        text = caption + (" (wrong)" if wrong else "")
        picture.text(x, _TOP + _SIDE + 18, text, size=12.5, fill=style.VERMILION if wrong else style.INK)
    _draw_probabilities(picture, found)
    return picture


def _draw_probabilities(picture: Svg, found: Example) -> None:
    left = 20 + max(text_width(name, 12.5, bold=True) for name in found.names)
    scale = (_WIDTH - left - 56 - 52) / 2
    for column, (heading, values) in enumerate((("clean", found.before), ("changed", found.after))):
        x = left + column * (scale + 56)
        picture.text(x, _LOW, f"probabilities, {heading}", size=12.5, bold=True)
        for row, value in enumerate(values.tolist()):
            y = _LOW + 12 + _ROW * row
            mine = row == found.label
            picture.rectangle(x, y, max(scale * value, 1.0), _ROW - 6, fill=style.BLACK if mine else style.GREY)
            if value >= 0.005:
                picture.text(x + scale * value + 5, y + 11, _percent(value), size=11.5)
    for row, name in enumerate(found.names):
        mine = row == found.label
        mark = "→ " if row == found.target else ""
        picture.text(left - 8, _LOW + 23 + _ROW * row, mark + name, size=12.5, anchor="end", bold=mine)


def _percent(value: Any) -> str:
    return f"{100 * float(value):.0f} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _finding(found: Example) -> str:
    first, second = found.said
    true, now = with_article(found.names[found.label]), with_article(found.names[second])
    change = f"{_capital(found.attack.partition(',')[0])} at {found.epsilon}/255"
    if first != found.label:
        if second == found.label:
            return f"{change}: it was wrong, now it is right, {true}"
        return f"It was wrong before any change: {true} taken for {with_article(found.names[first])}"
    if second == found.label:
        return f"{change}: it is still {true}"
    if found.target is None:
        return f"{change}: {true} becomes {now}"
    return f"{change}: {true} becomes {now}, {'as' if second == found.target else 'not as'} aimed"


def describe(found: Example) -> str:
    """Say what the network saw before and after, and by how much the pixels changed."""
    first, second = found.said
    change = (found.changed - found.clean).abs()
    attack = f"{_capital(found.attack)} with ε = {found.epsilon}/255"
    aim = f", aimed at {found.names[found.target]}" if found.target is not None else ""
    if found.target == found.label:
        aim += ", its own class"
    share = _percent(found.after[found.label])
    true = ", the true class" if second == found.label else f", and {share} for the true class"
    return (
        f"{found.network}: an image of {with_article(found.names[found.label])}. Before: "
        f"{_percent(found.before[first])} {found.names[first]}. {attack}{aim}: "
        f"{_percent(found.after[second])} {found.names[second]}{true}. "
        f"{_percent((change > 1e-9).double().mean())} of the pixels changed, by "
        f"{LEVELS * float(change.mean()):.1f} grey levels on average."
        f"{'' if ATTACKS[found.attack].accepts_targets else f' {_capital(found.attack)} cannot aim at a class.'}"
    )


def explore_adversarial_example(find: Callable[[str], nn.Module] = network) -> View:
    """Return a view of one image under an attack: which network, image, attack, target and how large a change.

    Args:
        find: gives a network by its name; default: the toolkit's trained ones.
    """
    data = clothes()
    for name in NETWORKS:
        find(name)  # loaded once, before the first slider moves
    attack = controls.choice("attack", tuple(ATTACKS), "FGSM")
    target = controls.choice("aim at", (ANY, *data.names), ANY)
    controls.only_while(
        target, attack, lambda name: ATTACKS[name].accepts_targets, otherwise="random signs cannot aim at a class"
    )
    chosen = {
        "which": controls.choice("network", {title(name): name for name in NETWORKS}, NETWORKS[0]),
        "number": controls.int_slider("image", 16, 1, 50),
        "attack": attack,
        "target": target,
        "epsilon": controls.int_slider("ε", 16, 0, MOST, unit="grey levels"),
    }
    return View(chosen, functools.partial(attack_one, data, find), draw, describe)
