"""Why a denoiser should be guided by logits: what two denoisers leave of an attack, in pixels and layer by layer.

Both were trained for the same hidden ResNet on the same attacked images; one to give back the pixels, the other to give
back what the network says of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM
from toolkit.adversarial.attacks.noise import RandomSign
from toolkit.adversarial.denoiser import layer_errors
from toolkit.adversarial.ensembles import Ensemble
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.explorers.clothes import LEVELS, Clothes, clothes, network
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks
from toolkit.lessons.svg import Series, draw_marker

Find = Callable[[str], nn.Module]

N_IMAGES, MOST, STEP = 10, 32, 8
"""Images over which errors are measured; the largest epsilon, and how far they are apart, in grey levels."""
PUBLIC = ("lenet", "vgg", "strided")
ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "random signs": (RandomSign(), ("lenet",)),
    "FGSM on LeNet": (FGSM(), ("lenet",)),
    "momentum on three public networks": (MIFGSM(n_steps=5), PUBLIC),
    "BIM on the hidden ResNet": (BIM(n_steps=5), ("resnet",)),
}
"""By the name shown: how, and on which networks. None knows of the denoisers."""
DEFAULT = "BIM on the hidden ResNet"
STAGES = ("clean", "attacked", "pixel guide", "logit guide")


@dataclass(frozen=True, repr=False, eq=False)
class Stages:
    """Some images clean, attacked, and behind two denoisers.

    Attributes:
        attack: its name.
        epsilon: in grey levels.
        images: by stage, in the order of ``STAGES``; a denoiser may leave [0, 1].
        logits: of the ResNet.
        layers: the input and the layers with weights, in the order in which they run.
        errors: Σ|changed - clean| / Σ|clean| of each of them, for the stages after the first.
    """

    attack: str
    epsilon: int
    images: Float[Tensor, "4 n height width"]
    logits: Float[Tensor, "4 n classes"]
    layers: tuple[str, ...]
    errors: Float[Tensor, "3 layers"]

    def __repr__(self) -> str:
        return f"Stages({self.attack}, {self.epsilon}/255, {self.images.shape[1]} images)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class Denoising:
    """One of the images at all stages.

    Attributes:
        stages: of all images.
        labels: what they show.
        names: of the classes.
        number: of the image looked at, from 1.
    """

    stages: Stages
    labels: Int[Tensor, " n"]
    names: tuple[str, ...]
    number: int

    @property
    def label(self) -> int:
        """The true class of the image looked at."""
        return int(self.labels[self.number - 1])

    @property
    def right(self) -> list[int]:
        """How many images the ResNet gets right, by stage."""
        return (self.stages.logits.argmax(2) == self.labels).sum(1).tolist()

    def __repr__(self) -> str:
        return f"Denoising({self.stages.attack}, {self.stages.epsilon}/255, image {self.number})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@torch.no_grad()
def denoise_attacked(
    images: Float[Tensor, "n 1 height width"],
    labels: Int[Tensor, " n"],
    find: Find,
    attack: str,
    epsilon: int,
) -> Stages:
    """Attack images and clean them by both denoisers.

    Args:
        images: in [0, 1].
        labels: what they show.
        find: gives networks by name.
        attack: a key of ``ATTACKS``.
        epsilon: in grey levels, 0 to ``MOST``.

    Raises:
        ValueError: no such attack, or an epsilon out of range.
    """
    require(attack in ATTACKS, "denoise_attacked", "attack", f"one of {tuple(ATTACKS)}", repr(attack))
    require(0 <= epsilon <= MOST, "denoise_attacked", "epsilon", f"0 to {MOST}", epsilon)
    method, sources = ATTACKS[attack]
    source = find(sources[0]) if len(sources) == 1 else Ensemble([find(name) for name in sources]).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        attacked = method(source, images, labels, epsilon=epsilon / LEVELS, generator=generator)
    attacked = (attacked * LEVELS).round() / LEVELS  # 8 bits, as a competition hands them on
    changed = [attacked, *(find(f"denoiser-{guide}")(attacked) for guide in ("pixels", "logits"))]
    resnet = find("resnet")
    weighted = [
        name
        for name, layer in resnet.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and ".skip" not in name
    ]
    found = [layer_errors(resnet, images, one) for one in changed]
    kept = [name for name in found[0].names if name == "input" or name in weighted]
    errors = [[one.errors[one.names.index(name)] for name in kept] for one in found]
    every = torch.stack([images, *changed])
    logits = torch.stack([resnet(one) for one in every])
    return Stages(attack, epsilon, every[:, :, 0], logits, tuple(kept), torch.tensor(errors, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT, _SIDE, _TOP, _LOW = 700.0, 478.0, 118.0, 62.0, 232.0
_LOOKS = (
    style.MEANINGS["truth"],
    style.Line(style.VERMILION, (0, (5.0, 1.6)), "^", 2.2),
    style.Line(style.PURPLE, (0, (2.0, 1.4)), "s", 2.2),
    style.Line(style.BLUE, "-", "o", 2.4),
)
_CLEAN = style.Line(style.BLACK, "-", "D", 2.4)


def draw(found: Denoising) -> Svg:
    """Draw the image at the four stages, below it the error layer by layer and the image's logits."""
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    stages, index = found.stages, found.number - 1
    step = (_WIDTH - 28) / 4  # the words below may be wider than the picture
    chances = stages.logits[:, index].softmax(1)
    for place, name in enumerate(STAGES):
        x, said = 14 + step * place, int(chances[place].argmax())
        wrong = said != found.label
        draw_marker(picture, x + 5, _TOP - 12, _CLEAN if place == 0 else _LOOKS[place])
        picture.text(x + 15, _TOP - 8, name, size=12.5, bold=True, fill=_LOOKS[place].color)
        picture.image(x, _TOP, _SIDE, _SIDE, stages.images[place, index])
        edge, width = (style.VERMILION, 3.0) if wrong else ("#b0b0b0", 1.0)
        picture.rectangle(x, _TOP, _SIDE, _SIDE, fill="none", stroke=edge, stroke_width=width)
        words = f"{_percent(chances[place, said])} {found.names[said]}{' (wrong)' if wrong else ''}"
        color = style.VERMILION if wrong else style.INK
        picture.text(x, _TOP + _SIDE + 18, shorten(words, step - 6, 12), size=12, fill=color)
    n_layers = len(stages.layers)
    numbers = list(range(n_layers))
    lines = [
        Series(_finely(errors[-1]), numbers, (100 * errors).tolist(), look)
        for errors, look in zip(stages.errors, _LOOKS[1:], strict=True)
    ]
    dots = [Series("", one.x, one.y, one.meaning, markers=True) for one in lines]
    draw_panel(
        picture,
        (14, _LOW, 336, _HEIGHT - _LOW - 36),
        [*lines, *dots],
        heading=f"error (% of the clean layer), {stages.images.shape[1]} images",
        x_limits=(0, n_layers - 1),
        y_limits=(0, max(20.0, 1.06 * float(100 * stages.errors.max()))),
        x_label=f"layer: 0 are the pixels, {n_layers - 1} the logits",
    )
    _draw_logits(picture, found, 382.0)
    return picture


def _draw_logits(picture: Svg, found: Denoising, left: float) -> None:
    logits = found.stages.logits[:, found.number - 1]
    low, high = float(logits.min()), float(logits.max())
    margin = 0.04 * max(high - low, 1e-6)
    top, bottom, right = _LOW + 26, _HEIGHT - 56, _WIDTH - 16
    names = left + 10 + max(text_width(name, 12, bold=True) for name in found.names)
    to_x = Scale(low - margin, high + margin, names, right, False)
    picture.text(left, _LOW + 13, "logits of this image", size=12.5, bold=True)
    marks = ticks(low - margin, high + margin, most=5)
    for value, name in zip(marks, tick_names(marks), strict=True):
        picture.line(to_x(value), top, to_x(value), bottom, stroke="#e6e6e6", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=12, anchor="middle", fill=style.GREY)
    row = (bottom - top) / len(found.names)
    for number, name in enumerate(found.names):
        y = top + row * (number + 0.5)
        mine = number == found.label
        picture.text(names - 8, y + 4, name, size=12, anchor="end", bold=mine)
        picture.line(names, y, right, y, stroke="#e6e6e6", stroke_width=1)
        for place in (1, 2, 3, 0):
            draw_marker(picture, to_x(float(logits[place, number])), y, _CLEAN if place == 0 else _LOOKS[place])


def _percent(value: Any) -> str:
    return f"{100 * float(value):.0f} %"


def _finely(value: Any) -> str:
    return f"{100 * float(value):.1f} %" if float(value) < 0.0995 else _percent(value)


def _finding(found: Denoising) -> str:
    pixels, logits = found.stages.errors[1:, 0].tolist(), found.stages.errors[1:, -1].tolist()
    behind, guided = map(_finely, logits)
    if logits[1] < logits[0] and pixels[0] < pixels[1]:
        return f"Closer pixels, worse logits: pixel guide {behind} off, logit guide {guided}"
    if logits[1] < logits[0]:
        return f"Logits {guided} off behind the logit guide, {behind} behind the pixel guide"
    return f"Here the pixel guide does no worse: logits {behind} off, logit guide {guided}"


def _named(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def describe(found: Denoising) -> str:
    """Say how errors of pixels become errors of logits, how many images are right, and what became of this one."""
    stages = found.stages
    grown = []
    for name, errors in zip(STAGES[1:], stages.errors, strict=True):
        first, last = float(errors[0]), float(errors[-1])
        factor = f" (×{last / first:.1f})" if first > 1e-6 else ""
        grown.append(f"{name} {_finely(first)} to {_finely(last)}{factor}")
    n = len(found.labels)
    right = ", ".join(f"{name} {count}" for name, count in zip(STAGES, found.right, strict=True))
    said = stages.logits[:, found.number - 1].argmax(1).tolist()
    seen = ", ".join(f"{name} {found.names[value]}" for name, value in zip(STAGES, said, strict=True))
    how = stages.attack[0].upper() + stages.attack[1:]
    return (
        f"{how}, ε = {stages.epsilon}/255. Error of the pixels and of the logits, {n} images: {'; '.join(grown)}. "
        f"Right of {n}: {right}. Image {found.number}, {_named(found.names[found.label])}: {seen}."
    )


def explore_denoising(find: Find = network, data: Clothes | None = None) -> View:
    """Return a view of an attacked image before and behind two denoisers.

    Args:
        find: gives networks by name; default: the toolkit's trained ones.
        data: images; default: the first bundled test images.
    """
    every = clothes() if data is None else data
    n = min(N_IMAGES, len(every))
    images, labels = every.images[:n], every.labels[:n]

    looked = {  # all of them at once: one alone takes longer than a slider may
        (attack, epsilon): denoise_attacked(images, labels, find, attack, epsilon)
        for attack in ATTACKS
        for epsilon in range(STEP, MOST + 1, STEP)
    }
    unchanged = denoise_attacked(images, labels, find, DEFAULT, 0)
    looked |= {(attack, 0): replace(unchanged, attack=attack) for attack in ATTACKS}

    def compute(number: int, attack: str, epsilon: int) -> Denoising:
        return Denoising(looked[attack, epsilon], labels, every.names, number)

    chosen = {
        "number": controls.int_slider("image", n, 1, n),
        "attack": controls.choice("attack", tuple(ATTACKS), DEFAULT),
        "epsilon": controls.int_slider("ε", 16, 0, MOST, step=STEP, unit="grey levels", continuous=False),
    }
    return View(chosen, compute, draw, describe)
