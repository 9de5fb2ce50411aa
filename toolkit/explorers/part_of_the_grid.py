"""Scores from a part of the images: which of them survive, and what to leave out if a grid is too big?

The code is a made-up one whose scores are known exactly: each factor is in one latent, and nowhere else.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement import GaussianCodes, Interval, factorised_unibound, informations, profile, synthetic_codes
from toolkit.disentanglement.bounds import PARTS
from toolkit.explorers import pid_parts
from toolkit.explorers.pid_parts import Bar, amount, span
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import Series, draw_marker

FACTOR_SIZES = (4, 4, 4, 4, 8)
N_IMAGES = math.prod(FACTOR_SIZES)
NUMBERS = tuple(2**power for power in range(5, 12))
DEVIATIONS = (0.1, 0.3, 0.6)
WAYS = {"images": "images drawn at random", "values": "fewer values of the factors"}
N_SAMPLES = 500


@dataclass(frozen=True, repr=False, eq=False)
class Kept:
    """Scores from what was kept of a grid, beside the exact ones; shares of H(y), averaged over the factors.

    Attributes:
        n_images: how many.
        values: of each factor.
        exact: UniBound, MIG and the information, which are the same here; the redundant and complementary part is 0.
        mig: the estimate, as all that follow.
        information: what all latents together know.
        parts: the interval of each part, by name: lowest and highest value.
    """

    n_images: int
    values: tuple[int, ...]
    exact: float
    mig: float
    information: float
    parts: dict[str, tuple[float, float]]

    @property
    def unibound(self) -> float:
        """The lower end of the unique part."""
        return self.parts["unique"][0]

    def __repr__(self) -> str:
        scores = f"MIG {self.mig:.3f}, UniBound {self.unibound:.3f}, exact {self.exact:.3f}"
        return f"Kept({self.n_images} images, values {'×'.join(map(str, self.values))}: {scores})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class PartOfTheGrid:
    """What is left of the scores.

    Attributes:
        n_images: how many images are kept.
        deviation: of each latent, given the image.
        curves: by the keys of ``WAYS``, what each of ``NUMBERS`` gives.
    """

    n_images: int
    deviation: float
    curves: dict[str, tuple[Kept, ...]]

    def here(self, way: str) -> Kept:
        """Return what this number of images gives."""
        return self.curves[way][NUMBERS.index(self.n_images)]

    def __repr__(self) -> str:
        return f"PartOfTheGrid({self.deviation:g}: {', '.join(repr(self.here(way)) for way in self.curves)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        curves = {way: [one.to_dict() for one in curve] for way, curve in self.curves.items()}
        return {"n_images": self.n_images, "deviation": self.deviation, "curves": curves}


def some_images(codes: GaussianCodes, n_images: int, seed: int = 0) -> GaussianCodes:
    """Return the codes of some images, drawn without replacement; the values of the factors stay what they were."""
    order = torch.randperm(codes.n_images, generator=torch.Generator().manual_seed(seed))[:n_images].sort().values
    return _picked(codes, order, codes.factors[order], codes.factor_sizes)


def fewer_values(codes: GaussianCodes, n_images: int) -> GaussianCodes:
    """Return the codes of a smaller complete grid: one factor after the other loses every second value.

    Args:
        codes: of a complete grid.
        n_images: to keep: the number of images, halved any number of times.

    Raises:
        ValueError: factors of an odd number of values would have to be halved.
    """
    steps = [1] * len(codes.factor_sizes)
    sizes = list(codes.factor_sizes)
    while math.prod(sizes) > n_images:
        # The largest first, and of equal ones the last.
        place = max(range(len(sizes)), key=lambda k: (sizes[k], k))
        require(sizes[place] % 2 == 0, "fewer_values", "n_images", "a number that halving can reach", n_images)
        sizes[place] //= 2
        steps[place] *= 2
    require(math.prod(sizes) == n_images, "fewer_values", "n_images", "a number that halving can reach", n_images)
    stride = torch.tensor(steps)
    kept = (codes.factors % stride == 0).all(1).nonzero()[:, 0]
    return _picked(codes, kept, codes.factors[kept] // stride, tuple(sizes))


def _picked(codes: GaussianCodes, rows: torch.Tensor, factors: torch.Tensor, sizes: tuple[int, ...]) -> GaussianCodes:
    return GaussianCodes(codes.mean[rows], codes.standard_deviation[rows], factors, sizes)


def score(codes: GaussianCodes, exact: float, *, n_samples: int = N_SAMPLES, seed: int = 1) -> Kept:
    """Estimate the scores of codes from these images alone, as if there were no others."""
    generator = torch.Generator().manual_seed(seed)
    found = profile(
        informations(codes, n_samples=n_samples, generator=generator, incomplete="allow", dtype=torch.float64)
    )
    parts = {part: _ends(found.mean(part)) for part in PARTS}
    return Kept(codes.n_images, codes.factor_sizes, exact, found.mig, found.information, parts)


def _ends(interval: Interval) -> tuple[float, float]:
    lower, upper = float(interval.lower), float(interval.upper)
    # Each end is an average of its own over factors: rounding may turn them round.
    return min(lower, upper), upper


def exact_score(codes: GaussianCodes) -> float:
    """Return the exact UniBound of a factorised code of a complete grid, by quadrature; MIG and information equal it.

    Args:
        codes: latent k is about factor k alone; latents beyond are noise. One standard deviation for all latents.
    """
    levels = []
    for k, size in enumerate(codes.factor_sizes):
        first = [int((codes.factors[:, k] == value).nonzero()[0, 0]) for value in range(size)]
        levels.append(codes.mean[first, k])
    return float(factorised_unibound(levels, float(codes.standard_deviation[0, 0]), 0.0))


@functools.lru_cache(maxsize=8)
def curves(deviation: float) -> dict[str, tuple[Kept, ...]]:
    """Return the scores for every one of ``NUMBERS`` and both ways to get there.

    Args:
        deviation: of each latent given the image; the means are standardised.
    """
    codes = synthetic_codes(FACTOR_SIZES, standard_deviation=deviation, dtype=torch.float64, device="cpu")
    exact = exact_score(codes)
    found: dict[str, list[Kept]] = {way: [] for way in WAYS}
    for n_images in NUMBERS:
        if n_images == N_IMAGES:
            everything = score(codes, exact)
            found["images"].append(everything)
            found["values"].append(everything)
            continue
        found["images"].append(score(some_images(codes, n_images), exact))
        small = fewer_values(codes, n_images)
        found["values"].append(score(small, exact_score(small)))
    return {way: tuple(curve) for way, curve in found.items()}


def compute(n_images: int = 256, deviation: float = 0.3) -> PartOfTheGrid:
    """Return what a part of the grid says of a code.

    Args:
        n_images: one of ``NUMBERS``.
        deviation: one of ``DEVIATIONS``.

    Raises:
        ValueError: another number or deviation.
    """
    require(n_images in NUMBERS, "compute", "n_images", f"one of {NUMBERS}", n_images)
    require(deviation in DEVIATIONS, "compute", "deviation", f"one of {DEVIATIONS}", deviation)
    return PartOfTheGrid(n_images, deviation, curves(deviation))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _TOP, _TALL, _BARS = 700.0, 14.0, 62.0, 216.0, 200.0
_LOOKS = {
    "exact": style.Line(style.BLACK, "-", "", 5.4),  # wide: what lies on it is still seen
    "UniBound": style.Line(style.BLUE, "-", "o", 2.6),
    "MIG": style.Line(style.PURPLE, "-.", "", 2.0),  # over UniBound, where the two agree
    "R, at least": style.Line(pid_parts.PARTS["redundant"].color, "--", "s", 1.8),
    "C, at least": style.Line(pid_parts.PARTS["complementary"].color, ":", "^", 2.2),
}


def draw(found: PartOfTheGrid) -> Svg:
    """Draw the scores over the number of images for both ways to keep fewer, and the three parts at this number."""
    picture = Svg(_WIDTH, _TOP + _TALL + 16 + _BARS)
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _draw_key(picture, 46.0)
    half = _WIDTH / 2
    for place, (way, curve) in enumerate(found.curves.items()):
        x = _LEFT + half * place
        draw_panel(
            picture,
            (x, _TOP, half - 26, _TALL - 18),
            list(_lines(curve)),
            heading=f"share of H(y): {WAYS[way]}",
            x_label="images in the inner sum",
            x_limits=(NUMBERS[0], NUMBERS[-1]),
            y_limits=(0.0, 1.04),
            log_x=True,
            mark=found.n_images,
        )
        _draw_bars(picture, (x, _TOP + _TALL + 16, half - 26, _BARS - 10), found.here(way))
    return picture


def _lines(curve: tuple[Kept, ...]) -> tuple[Series, ...]:
    values = {
        "exact": [one.exact for one in curve],
        "R, at least": [one.parts["redundant"][0] for one in curve],
        "C, at least": [one.parts["complementary"][0] for one in curve],
        "UniBound": [one.unibound for one in curve],
        "MIG": [one.mig for one in curve],
    }
    lines = [Series("", NUMBERS, y, _LOOKS[name]) for name, y in values.items()]
    marks = [Series("", NUMBERS, y, _LOOKS[name], markers=True) for name, y in values.items() if _LOOKS[name].marker]
    return (*lines, *marks)


def _draw_key(picture: Svg, y: float) -> None:
    x = _LEFT
    for name, look in _LOOKS.items():
        picture.line(x, y - 4, x + 34, y - 4, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        if look.marker:
            draw_marker(picture, x + 17, y - 4, look)
        picture.text(x + 41, y, name, size=12.5, bold=True, fill=look.color)
        x += 62 + text_width(name, 12.5, bold=True)


def _draw_bars(picture: Svg, box: tuple[float, float, float, float], kept: Kept) -> None:
    left, top, right, bottom = box[0] + 38, box[1] + 22, box[0] + box[2], box[1] + box[3] - 40
    values = "×".join(map(str, kept.values))
    picture.text(box[0], box[1] + 10, f"{kept.n_images:,} images, factors {values}", size=12.5, bold=True)
    to_y = Scale(0.0, 1.04, bottom, top, False)
    for value, name in ((0.0, "0.0"), (0.5, "0.5"), (1.0, "1.0")):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6" if value else "#8c8c8c", stroke_width=1)
        picture.text(left - 6, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    slot = (right - left) / 3
    for place, (part, (lower, upper)) in enumerate(kept.parts.items()):
        x, look = left + slot * place, pid_parts.PARTS[part]
        pid_parts.draw_bar(picture, Bar(part, lower, upper), x + 0.14 * slot, 0.72 * slot, to_y)
        exact = to_y(kept.exact if part == "unique" else 0.0)
        picture.line(x + 0.04 * slot, exact, x + 0.96 * slot, exact, stroke=style.BLACK, stroke_width=3)
        picture.text(x + slot / 2, bottom + 17, look.name, bold=True, fill=look.color, anchor="middle", size=11.5)
        picture.text(x + slot / 2, bottom + 33, span(lower, upper, 2), fill=style.GREY, anchor="middle", size=12)


def _finding(found: PartOfTheGrid) -> str:
    part = found.here("images")
    if found.n_images == N_IMAGES:
        return f"All {N_IMAGES:,} images: UniBound is {amount(part.unibound, 2)}, exact {amount(part.exact, 2)}"
    few = f"From {found.n_images:,} of {N_IMAGES:,} images"
    return f"{few} UniBound comes out as {amount(part.unibound, 2)}; it is {amount(part.exact, 2)}"


def describe(found: PartOfTheGrid) -> str:
    """Say what the scores come out as with this number of images, both ways, and what they are exactly."""
    part, values = found.here("images"), found.here("values")
    start = f"Noise σ = {found.deviation:g}. All {N_IMAGES:,} images: exact UniBound and MIG {amount(part.exact)}"
    if found.n_images == N_IMAGES:
        return f"{start}; estimated {_said(part)}. Nothing is left out."
    return (
        f"{start}. {found.n_images:,} of these images, drawn at random, give {_said(part)}; all latents together seem "
        f"to know {amount(part.information)}, and the exact share is {amount(part.exact)}. A complete grid of "
        f"{'×'.join(map(str, values.values))} = {found.n_images:,} images, exact {amount(values.exact)}, gives "
        f"{_said(values)}."
    )


def _said(kept: Kept) -> str:
    redundant, complementary = (span(*kept.parts[part]) for part in ("redundant", "complementary"))
    return f"MIG {amount(kept.mig)}, UniBound {amount(kept.unibound)}, R {redundant}, C {complementary}"


def explore_part_of_the_grid() -> View:
    """Return a view of the scores of one code from ever fewer images: images left out, or values of the factors."""
    for deviation in DEVIATIONS:
        curves(deviation)
    chosen = {
        "halvings": controls.int_slider("times halved", 3, 0, len(NUMBERS) - 1),
        "deviation": controls.toggle("noise of each latent, σ", DEVIATIONS, 0.3),
    }
    return View(chosen, _halved, draw, describe)


def _halved(halvings: int, deviation: float) -> PartOfTheGrid:
    return compute(N_IMAGES // 2**halvings, deviation)
