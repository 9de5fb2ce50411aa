"""What each latent of a model does: images along it, and the parts of what it tells about one factor as three bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.disentanglement.bounds import PARTS as NAMES
from toolkit.disentanglement.bounds import pid_bounds
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.information import Informations
from toolkit.explorers.pid_parts import PARTS, Bar, draw_bar, span
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, tick_names

NEARLY_NOTHING = 0.05
"""A share of H(y) below which a latent counts as dead: the informations are estimates."""
_HALF = 0.5
Kind = Literal["unique", "redundant", "complementary", "undecided", "dead"]


@dataclass(frozen=True)
class LatentRole:
    """What a latent tells about the factor that it tells most about, alone or with the others; shares of H(y).

    Attributes:
        latent: its name.
        factor: that factor.
        known: what the latent alone knows of it.
        bars: the three parts.
        kind: the part that is certainly the largest; "undecided" if the bounds leave it open; "dead" if the latent
            tells nearly nothing about any factor, neither alone nor beside the others.
        also: other factors that it tells at least half as much about.
    """

    latent: str
    factor: str
    known: float
    bars: tuple[Bar, Bar, Bar]
    kind: Kind
    also: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {**vars(self), "bars": [bar.to_dict() for bar in self.bars]}


def roles_of(found: Informations) -> tuple[LatentRole, ...]:
    """Return the role of each latent; factors of one value are left out.

    Args:
        found: the informations of a code, with a factor of two values or more.
    """
    kept = [k for k, entropy in enumerate(found.entropy.tolist()) if entropy > 0]
    names = [found.factor_names[k].replace("_", " ") for k in kept]
    single, without, joint = (
        (table[..., kept] / found.entropy[kept]).clamp(0, 1) for table in (found.single, found.without, found.joint)
    )
    bounds = pid_bounds(single, without, joint)
    added = torch.maximum(single, (joint - without).clamp_min(0))
    made = []
    for row, latent in enumerate(found.latent_names):
        best = int(added[row].argmax())
        bars = []
        for part in NAMES:
            ends = getattr(bounds, part)
            low = float(ends.lower[row, best])
            bars.append(Bar(part, low, max(low, float(ends.upper[row, best]))))
        most = float(added[row, best])
        kind = "dead" if most < NEARLY_NOTHING else _largest(bars)
        also = [
            name
            for k, name in enumerate(names)
            if k != best and float(added[row, k]) >= max(_HALF * most, NEARLY_NOTHING)
        ]
        known = float(single[row, best])
        made.append(LatentRole(latent, names[best], known, (bars[0], bars[1], bars[2]), kind, tuple(also)))
    return tuple(made)


def _largest(bars: Sequence[Bar]) -> Kind:
    for bar in bars:
        if all(bar.lower >= other.upper for other in bars if other is not bar) and bar.lower > 0:
            return bar.part  # type: ignore[return-value]
    return "undecided"


def described(role: LatentRole, decimals: int = 2) -> str:
    """Say in a few words what a latent tells: ``z2 position x, U 0.41, R 0 and C 0 to 0.02``."""
    if role.kind == "dead":
        return f"{role.latent} is dead"
    parts = [f"{PARTS[bar.part].symbol} {span(bar.lower, bar.upper, decimals)}" for bar in role.bars]
    also = f" (also {', '.join(role.also)})" if role.also else ""
    return f"{role.latent} {role.factor}{also}, {parts[0]}, {parts[1]} and {parts[2]}"


# ---------------------------------------------------------------------------------------------------------------------
# Images


@dataclass(frozen=True, eq=False)
class Aggregate:
    """Mean and standard deviation of each real latent over all images, the encoder's noise included."""

    mean: Float[Tensor, " latents"]
    standard_deviation: Float[Tensor, " latents"]

    @classmethod
    def of(cls, codes: GaussianCodes) -> "Aggregate":
        """Return those of a code."""
        variance = codes.mean.var(0, correction=0) + codes.standard_deviation.square().mean(0)
        return cls(codes.mean.mean(0), variance.sqrt())

    def code(self, positions: Float[Tensor, "*codes latents"]) -> Float[Tensor, "*codes latents"]:
        """Return codes from positions in standard deviations."""
        return self.mean + self.standard_deviation * positions.to(self.mean)

    def positions(self, codes: Float[Tensor, "*codes latents"]) -> Float[Tensor, "*codes latents"]:
        """Return where codes stand, in standard deviations from the mean."""
        return (codes - self.mean) / self.standard_deviation


@torch.no_grad()
def decode_rows(
    decode: Callable[[Tensor], Tensor],
    aggregate: Aggregate,
    positions: Float[Tensor, " latents"],
    values: Sequence[float],
) -> Float[Tensor, "latents values height width"]:
    """Decode a row of images for each latent: it takes the given values, the others stay.

    Args:
        decode: from codes to logits of pixels.
        aggregate: of the code.
        positions: of the latents that stay, in standard deviations.
        values: that a latent takes, in standard deviations.

    Returns:
        Probabilities of white.
    """
    n_latents, n_values = len(positions), len(values)
    moved = positions.repeat(n_latents, n_values, 1)
    each = torch.arange(n_latents)
    moved[each, :, each] = torch.tensor(values, dtype=moved.dtype)
    logits = decode(aggregate.code(moved.flatten(0, 1)))
    return logits.sigmoid().reshape(n_latents, n_values, *logits.shape[-2:])


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_NAMES, _SLOT, _HEAD, _FOOT = 104.0, 26.0, 34.0, 20.0


def rows_width(n_values: int, cell: float) -> float:
    """Return the width of what :func:`draw_rows` draws, in pixels."""
    return _NAMES + n_values * cell + 16 + 3 * _SLOT


def rows_height(n_latents: int, cell: float) -> float:
    """Return its height."""
    return _HEAD + n_latents * (cell + 8) + _FOOT


def draw_rows(
    picture: Svg,
    left: float,
    top: float,
    rows: Float[Tensor, "latents values height width"],
    roles: Sequence[LatentRole],
    values: Sequence[float],
    *,
    cell: float,
    positions: Sequence[float] | None = None,
) -> None:
    """Draw a row for each latent: its name and role, its images, and three bars.

    Args:
        picture: on which.
        left: of the rows, in pixels.
        top: of the rows, in pixels.
        rows: the images.
        roles: of the latents.
        values: of the columns, in standard deviations.
        cell: width and height of an image.
        positions: where the latents stand; the nearest image of each row is framed.
    """
    images = left + _NAMES
    bars = images + len(values) * cell + 16
    picture.text(images, top + 12, "one latent moves, the others stay", size=12, fill=style.GREY)
    picture.text(bars - 4, top + 12, "share of H(y)", size=12, fill=style.GREY)
    for number, part in enumerate(NAMES):
        at = bars + _SLOT * (number + 0.5)
        picture.text(at, top + 28, PARTS[part].symbol, size=12, bold=True, anchor="middle", fill=PARTS[part].color)
    for number, (strip, role) in enumerate(zip(rows, roles, strict=True)):
        y = top + _HEAD + number * (cell + 8)
        look = PARTS.get(role.kind)
        color = style.GREY if look is None else look.color
        picture.text(left, y + cell / 2 - 9, role.latent, size=12, bold=True)
        if role.kind == "dead":
            picture.text(left, y + cell / 2 + 4, role.kind, size=12, fill=color)
        else:
            name = role.factor + (f", +{len(role.also)}" if role.also else "")
            picture.text(left, y + cell / 2 + 4, shorten(name, _NAMES - 6, 12), size=12)
            picture.text(left, y + cell / 2 + 17, role.kind, size=12, fill=color)
        picture.image(images, y, cell * len(values), cell, strip.transpose(0, 1).flatten(1, 2))
        for column in range(len(values)):
            picture.rectangle(images + cell * column, y, cell, cell, fill="none", stroke="#b0b0b0")
        if positions is not None:
            nearest = min(range(len(values)), key=lambda column: abs(values[column] - positions[number]))
            frame = (images + cell * nearest, y, cell, cell)
            picture.rectangle(*frame, fill="none", stroke=style.VERMILION, stroke_width=3)
        to_y = Scale(0.0, 1.0, y + cell, y, False)
        picture.line(bars, y, bars + 3 * _SLOT, y, stroke="#e6e6e6", stroke_width=1)
        picture.line(bars, y + cell, bars + 3 * _SLOT, y + cell, stroke="#8c8c8c", stroke_width=1)
        for place, bar in enumerate(role.bars):
            draw_bar(picture, bar, bars + _SLOT * place + 4, _SLOT - 8, to_y)
    bottom = top + _HEAD + len(rows) * (cell + 8) + 8
    shown = list(range(0, len(values), 1 if cell > 30 else 2))
    for column, name in zip(shown, tick_names([values[column] for column in shown]), strict=True):
        picture.text(images + cell * (column + 0.5), bottom, name, size=12, anchor="middle", fill=style.GREY)
    picture.text(left, bottom, "latent at (σ):", size=12, fill=style.GREY)
