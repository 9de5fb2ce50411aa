"""What UniBound does not see: two factors in one latent, values in another order, and what no encoder can score.

UniBound is exact here, by quadrature. What needs points is measured on points of the same code; what no encoder can
pass is counted from pictures that coincide.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.datasets import sprites
from toolkit.disentanglement import GaussianCodes, mixture_information
from toolkit.disentanglement.metrics.dci import dci
from toolkit.disentanglement.metrics.explicitness import explicitness
from toolkit.disentanglement.metrics.modularity import modularity
from toolkit.disentanglement.metrics.sap import sap
from toolkit.explorers.pid_parts import amount
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import Series, draw_marker

MERGED, SHUFFLED, HIDDEN = "two factors in one latent", "values in another order", "a factor that images do not show"
CASES = (MERGED, SHUFFLED, HIDDEN)
PERCENTS = tuple(range(0, 101, 20))
SCORES = {
    "unibound": "UniBound, MIG",
    "modularity": "modularity",
    "dci": "DCI disent.",
    "explicitness": "explicitness",
    "sap": "SAP",
    "sap_r_squared": "SAP by R²",
}
BEST = {"even": "even steps", "dsprites": "dSprites' steps"}
N_VALUES, N_ORDERED, N_ORIENTATIONS = 4, 8, 40
FAR_ORDER = (3, 6, 0, 5, 2, 7, 1, 4)
"""Where each value stands in the end: uncorrelated with the value."""
_DEVIATIONS = {MERGED: 0.05, SHUFFLED: 0.1}
_N_POINTS = 1600
_POSITIONS = 3


@dataclass(frozen=True, repr=False, eq=False)
class Unseen:
    """One thing that UniBound does not see, and scores on the way there.

    Attributes:
        case: one of ``CASES``.
        percent: how far on the way.
        scores: by the keys of ``SCORES`` (or of ``BEST``), a score for each of ``PERCENTS``.
    """

    case: str
    percent: int
    scores: dict[str, tuple[float, ...]]

    def at(self, name: str, percent: int | None = None) -> float:
        """Return a score, here or elsewhere on the way."""
        return self.scores[name][PERCENTS.index(self.percent if percent is None else percent)]

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {self.at(name):.3f}" for name in self.scores)
        return f"Unseen({self.case}, {self.percent} %: {scores})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compute(case: str = MERGED, percent: int = 100) -> Unseen:
    """Return the scores of one case.

    Args:
        case: one of ``CASES``.
        percent: one of ``PERCENTS``: of the way from nothing hidden to all.

    Raises:
        ValueError: another case or number.
    """
    require(case in CASES, "compute", "case", f"one of {CASES}", repr(case))
    require(percent in PERCENTS, "compute", "percent", f"one of {PERCENTS}", percent)
    return Unseen(case, percent, _way(case))


@functools.lru_cache(maxsize=len(CASES))
def _way(case: str) -> dict[str, tuple[float, ...]]:
    if case == HIDDEN:
        square, heart = (best_by_shape(shape) for shape in ("square", "heart"))
        # A square is never a heart: the shares average.
        return {name: tuple((p * square[name] + (100 - p) * heart[name]) / 100 for p in PERCENTS) for name in BEST}
    found = [scores_of(codes_of(case, percent)) for percent in PERCENTS]
    return {name: tuple(one[name] for one in found) for name in SCORES}


# ---------------------------------------------------------------------------------------------------------------------
# Two factors, two latents


def codes_of(case: str, percent: int) -> GaussianCodes:
    """Return the codes of two factors on the way of ``MERGED`` or ``SHUFFLED``."""
    return merged_codes(percent / 100) if case == MERGED else shuffled_codes(percent)


def merged_codes(share: float) -> GaussianCodes:
    """Return codes of two factors of four values: the second one moves out of z2 and into the gaps of the first in z1.

    Args:
        share: 0: one factor a latent; 1: z1 is the number of the pair of values, and z2 is noise.
    """
    factors = torch.cartesian_prod(torch.arange(N_VALUES), torch.arange(N_VALUES))
    first, second = (factors.double() - (N_VALUES - 1) / 2).unbind(1)
    both = torch.stack([N_VALUES * first + share * second, (1 - share) * N_VALUES * second], dim=1)
    return _codes(both / math.sqrt((N_VALUES**4 - 1) / 12), factors, N_VALUES, _DEVIATIONS[MERGED])


def shuffled_codes(percent: int) -> GaussianCodes:
    """Return codes of two factors of eight values, each in one latent with its values in the order of ``order_at``."""
    factors = torch.cartesian_prod(torch.arange(N_ORDERED), torch.arange(N_ORDERED))
    places = torch.tensor(order_at(percent))[factors].double() - (N_ORDERED - 1) / 2
    return _codes(places / math.sqrt((N_ORDERED**2 - 1) / 12), factors, N_ORDERED, _DEVIATIONS[SHUFFLED])


def _codes(mean: Tensor, factors: Tensor, n_values: int, deviation: float) -> GaussianCodes:
    return GaussianCodes(mean, torch.full_like(mean, deviation), factors, (n_values, n_values), (), ("y1", "y2"))


def order_at(percent: int) -> tuple[int, ...]:
    """Return where each value stands: neighbours are swapped, one pair after the other, until ``FAR_ORDER``."""
    swaps = _swaps()
    places = list(range(N_ORDERED))
    for at in swaps[: n_swaps(percent)]:
        places[at], places[at + 1] = places[at + 1], places[at]
    return tuple(places)


def n_swaps(percent: int) -> int:
    """Return how many pairs of neighbours have been swapped."""
    return round(len(_swaps()) * percent / 100)


@functools.cache
def _swaps() -> tuple[int, ...]:
    # Sorting by swaps of neighbours, told backwards.
    places, swaps = list(FAR_ORDER), []
    for _ in places:
        for at in range(len(places) - 1):
            if places[at] > places[at + 1]:
                places[at], places[at + 1] = places[at + 1], places[at]
                swaps.append(at)
    return tuple(reversed(swaps))


def scores_of(codes: GaussianCodes) -> dict[str, float]:
    """Return the exact UniBound of a code of two latents, and the other scores of 1,600 points of it."""
    points = codes.sample(_N_POINTS, generator=torch.Generator().manual_seed(0))

    def fresh() -> torch.Generator:
        return torch.Generator().manual_seed(1)

    return {
        "unibound": exact_unibound(codes),
        "modularity": modularity(points).score,
        "dci": dci(points, generator=fresh()).disentanglement,
        "explicitness": explicitness(points, generator=fresh()).score,
        "sap": sap(points, generator=fresh()).score,
        "sap_r_squared": sap(points, prediction="r_squared").score,
    }


def exact_unibound(codes: GaussianCodes) -> float:
    """Return the exact UniBound of a code of two real latents; its MIG is the same, as one latent has one rival.

    Args:
        codes: of a complete grid; each latent has one standard deviation.
    """
    require(codes.n_latents == codes.n_real == 2, "exact_unibound", "codes", "two real latents", codes.n_latents)
    known = known_exactly(codes)
    return float((known[0] - known[1]).abs().mean())


def known_exactly(codes: GaussianCodes) -> Float64[Tensor, "latents factors"]:
    """Return I(y_k; z_l) / H(y_k) by quadrature: what a latent knows of the image, less what it knows given the factor.

    Args:
        codes: of a complete grid; each latent has one standard deviation.
    """
    rows = []
    for latent in range(codes.n_real):
        mean, deviation = codes.mean[:, latent].double(), float(codes.standard_deviation[0, latent])
        of_image = _information(mean, deviation)
        row = []
        for factor, size in enumerate(codes.factor_sizes):
            given = [_information(mean[codes.factors[:, factor] == value], deviation) for value in range(size)]
            row.append(max(of_image - sum(given) / size, 0.0) / math.log(size))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def _information(means: Tensor, deviation: float) -> float:
    # Rounded: equal means may differ by their rounding.
    levels, counts = torch.round(means, decimals=12).unique(return_counts=True)
    return float(mixture_information(levels, deviation, probabilities=counts / counts.sum()))


# ---------------------------------------------------------------------------------------------------------------------
# A factor that images do not show


@functools.lru_cache(maxsize=len(sprites.SHAPES))
def best_by_shape(shape: str) -> dict[str, float]:
    """Return the best possible score of the orientation of a shape, by the keys of ``BEST``.

    Over 40 orientations, all scales and nine positions: "even" has 40 steps of 9°, "dsprites" the original's, 39 of
    which are a full turn, so that its last orientation is its first.
    """
    grid = sprites.GRID.subgrid(shape=[sprites.SHAPES.index(shape)], position_x=_POSITIONS, position_y=_POSITIONS)
    factors = grid.indices(device="cpu")
    values = grid.values_of(factors, dtype=torch.float64)
    place = grid.column("orientation")
    even = values.clone()
    even[:, place] = 2 * math.pi * factors[:, place] / N_ORIENTATIONS
    pictures = {"even": sprites.render_values(even), "dsprites": sprites.render(factors, grid=grid)}
    return {name: best_share(images, factors[:, place]) for name, images in pictures.items()}


def best_share(images: Shaped[Tensor, "images height width"], values: Int64[Tensor, " images"]) -> float:
    """Return I(value; picture) / H(value): what is known of a factor if each different picture is recognised.

    No code of these images knows more, so neither its MIG nor its UniBound of this factor is larger.

    Args:
        images: black and white, all equally likely.
        values: of the factor, from 0; at least two different ones.
    """
    rows = np.packbits(images.flatten(1).cpu().numpy() != 0, axis=1)
    seen: dict[bytes, int] = {}
    which = [seen.setdefault(row.tobytes(), len(seen)) for row in rows]
    known = torch.stack([torch.tensor(which), values.cpu()])
    prior = _entropy(known[1:])
    require(prior > 0, "best_share", "values", "at least two different ones", "one")
    # H(y) + H(picture) − H(y, picture)
    return min((prior + _entropy(known[:1]) - _entropy(known)) / prior, 1.0)


def _entropy(columns: Int64[Tensor, "columns n"]) -> float:
    counts = columns.unique(dim=1, return_counts=True)[1].double()
    return float(torch.special.entr(counts / counts.sum()).sum())


@functools.lru_cache(maxsize=len(sprites.SHAPES))
def turned(shape: str) -> Shaped[Tensor, "40 height width"]:
    """Return pictures of a shape, as large as it gets, after 0, 1, … 39 turns by 9°; the middle 28 × 28 pixels."""
    steps = torch.arange(N_ORIENTATIONS, dtype=torch.float64)
    values = torch.full((N_ORIENTATIONS, 5), 0.5, dtype=torch.float64)
    values[:, 0], values[:, 1] = sprites.SHAPES.index(shape) + 1, 1.0
    values[:, 2] = 2 * math.pi * steps / N_ORIENTATIONS
    return sprites.render_values(values)[:, 18:46, 18:46]


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TALL, _LEFT, _TOP = 700.0, 366.0, 14.0, 40.0
_HALF, _LOW = 306.0, 338.0
_LOOKS = {
    "unibound": style.Line(style.BLUE, "-", "o", 2.6),
    "modularity": style.Line(style.GREY, "--", "s", 1.8),
    "dci": style.Line("#8A5A00", (0, (6.0, 1.5, 1.2, 1.5)), "D", 2.0),
    "explicitness": style.Line("#808080", ":", "^", 2.0),
    "sap": style.Line("#808080", "--", "v", 1.6),
    "sap_r_squared": style.Line(style.PURPLE, "-.", "D", 2.0),
    "even": style.Line(style.BLACK, "-", "o", 2.6),
    "dsprites": style.Line(style.BLACK, "--", "s", 1.6),
}
_FIRST = [
    style.Line(color, "-", marker)
    for color, marker in zip(("#1a1a1a", "#777777", *style.FILLS[:2]), "os^D", strict=True)
]


def draw(found: Unseen) -> Svg:
    """Draw the code, or the pictures, and beside it the scores on the way there."""
    picture = Svg(_WIDTH, _TALL)
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    {MERGED: _draw_merged, SHUFFLED: _draw_shuffled, HIDDEN: _draw_hidden}[found.case](picture, found)
    names = BEST if found.case == HIDDEN else SCORES
    heading = "best score of orientation (share of H(y))" if found.case == HIDDEN else "score"
    lines = [Series(names[name], PERCENTS, y, _LOOKS[name]) for name, y in found.scores.items()]
    marks = [Series("", PERCENTS, y, _LOOKS[name], markers=True) for name, y in found.scores.items()]
    draw_panel(
        picture,
        (_LEFT + _HALF + 14, _TOP, _WIDTH - _HALF - 38, _LOW - _TOP - 10),
        [*lines, *marks],
        heading=heading,
        x_label={MERGED: "y2 moved into z1 (%)", SHUFFLED: "swaps made (%)", HIDDEN: "squares (%), others hearts"}[
            found.case
        ],
        x_limits=(0.0, 100.0),
        y_limits=(0.0, 1.04),
        mark=float(found.percent),
    )
    return picture


def _draw_merged(picture: Svg, found: Unseen) -> None:
    picture.text(_LEFT, _TOP + 13, "code: means of the 16 images", size=12.5, bold=True)
    codes = merged_codes(found.percent / 100)
    to_x = Scale(-1.9, 1.9, _LEFT + 24, _LEFT + _HALF - 6, False)
    to_y = Scale(-1.9, 1.9, _LOW - 52, _TOP + 24, False)
    _draw_axes(picture, to_x, to_y, "z1", "z2")
    for (z1, z2), (first, second) in zip(codes.mean.tolist(), codes.factors.tolist(), strict=True):
        draw_marker(picture, to_x(z1), to_y(z2), _FIRST[first])
        picture.text(to_x(z1), to_y(z2) - 8, str(second + 1), size=11, anchor="middle")
    x, y = _LEFT, _LOW + 4
    picture.text(x, y, "y1:", size=12)
    for value, look in enumerate(_FIRST):
        draw_marker(picture, x + 34 + 34 * value, y - 4, look)
        picture.text(x + 43 + 34 * value, y, str(value + 1), size=12)
    picture.text(x + 170, y, "number above: y2", size=12)


def _draw_shuffled(picture: Svg, found: Unseen) -> None:
    picture.text(_LEFT, _TOP + 13, "value of y1 (of y2 and z2 alike)", size=12.5, bold=True)
    codes, deviation = shuffled_codes(found.percent), _DEVIATIONS[SHUFFLED]
    means = codes.mean[codes.factors[:, 1] == 0, 0].tolist()
    to_x = Scale(-2.0, 2.0, _LEFT + 24, _LEFT + _HALF - 6, False)
    to_y = Scale(0.5, N_ORDERED + 0.5, _LOW - 52, _TOP + 24, False)
    _draw_axes(picture, to_x, to_y, "z1", "")
    where = [(to_x(mean), to_y(value + 1)) for value, mean in enumerate(means)]
    picture.polyline(where, stroke="#b0b0b0", stroke_width=1.4)
    for value, (x, y) in enumerate(where):
        reach = to_x(2 * deviation) - to_x(0.0)
        picture.line(x - reach, y, x + reach, y, stroke=style.INK, stroke_width=3)
        picture.circle(x, y, 4.2, fill=style.INK, stroke="#ffffff", stroke_width=1)
        picture.text(_LEFT + 18, y + 4, str(value + 1), size=12, anchor="end", fill=style.GREY)
    picture.text(_LEFT, _LOW + 4, "disc: mean; bar: two σ to either side", size=12)


def _draw_axes(picture: Svg, to_x: Scale, to_y: Scale, x_name: str, y_name: str) -> None:
    picture.polyline(
        [(to_x.start, to_y.end), (to_x.start, to_y.start), (to_x.end, to_y.start)], stroke="#8c8c8c", stroke_width=1
    )
    for value in (-1, 0, 1):
        name = str(value).replace("-", "−")
        picture.line(to_x(value), to_y.start, to_x(value), to_y.start + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), to_y.start + 17, name, size=12, anchor="middle", fill=style.GREY)
        if y_name:
            picture.text(to_x.start - 6, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    if y_name:
        picture.text(to_x.start + 6, to_y.end + 10, y_name, size=12.5)
    picture.text((to_x.start + to_x.end) / 2, to_y.start + 33, x_name, size=12.5, anchor="middle")


def _draw_hidden(picture: Svg, found: Unseen) -> None:
    y = _TOP
    for shape, percent in (("square", found.percent), ("heart", 100 - found.percent)):
        images = turned(shape)
        distinct = len(images.flatten(1).unique(dim=0))
        words = f"{percent} % {shape}s: {distinct} different of {N_ORIENTATIONS}"
        picture.text(_LEFT, y + 13, words, size=12.5, bold=True)
        tiles = torch.nn.functional.pad(images, (0, 1, 0, 1), value=0).reshape(4, 10, 29, 29)
        sheet = tiles.permute(0, 2, 1, 3).reshape(4 * 29, 290).float()
        shown = 0.15 + (0.85 if percent else 0.25) * sheet  # a shape that does not occur is faint
        picture.image(_LEFT, y + 20, 290, 116, shown.numpy())
        y += 146
    picture.text(_LEFT, _LOW + 4, "from picture to picture 9°, a row is 90°", size=12)


def _finding(found: Unseen) -> str:
    if found.case == HIDDEN:
        if not found.percent:
            return "Hearts only: no two orientations look the same"
        best = amount(found.at("even"), 2)
        return f"{found.percent} % squares: of orientation no encoder can know more than {best}"
    unibound = amount(found.at("unibound"), 2)
    if found.case == SHUFFLED:
        r_squared = amount(found.at("sap_r_squared"), 2)
        if not found.percent:
            return f"Values in order: UniBound is {unibound}, SAP by R² {r_squared}"
        return f"Values out of order: UniBound is still {unibound}, SAP by R² {r_squared}"
    dci_score = amount(found.at("dci"), 2)
    if found.percent == 100:
        return f"z1 holds both factors: UniBound is {unibound}, DCI's disentanglement {dci_score}"
    where = "y2 is in both latents" if found.percent else "One factor a latent"
    return f"{where}: UniBound is {unibound}, DCI's disentanglement {dci_score}"


def describe(found: Unseen) -> str:
    """Say what is hidden how far, the scores here, and what they were at the start."""
    if found.case == HIDDEN:
        even, own = amount(found.at("even")), amount(found.at("dsprites"))
        return (
            f"{found.percent} % squares, {100 - found.percent} % hearts, at 40 orientations in even steps of 9°: "
            f"whoever tells all different pictures apart knows {even} of the orientation's entropy. No encoder's "
            f"UniBound of this factor is larger. At dSprites' own 40 orientations, of which the last is the first, "
            f"it is {own}."
        )
    if found.case == MERGED:
        start = f"{found.percent} % of the way from one factor a latent to both in z1, noise σ = 0.05."
    else:
        swaps = f"{n_swaps(found.percent)} of {n_swaps(100)} swaps of neighbours"
        places = ", ".join(str(place + 1) for place in order_at(found.percent))
        start = f"{swaps}, noise σ = 0.1: values 1 to 8 stand at places {places}."
    said = []
    for name, title in SCORES.items():
        before, here = amount(found.at(name, 0), 2), amount(found.at(name), 2)
        said.append(f"{title} {here}" + (f" (was {before})" if before != here else ""))
    return f"{start} {said[0]}, exactly; of {_N_POINTS:,} points {', '.join(said[1:])}."


def explore_unseen_entanglement() -> View:
    """Return a view of three things that UniBound does not see, and of the scores on the way to each."""
    for case in CASES:
        _way(case)
    chosen = {
        "case": controls.choice("what is not seen", CASES),
        "percent": controls.int_slider("how far", 100, 0, 100, step=20, unit="%"),
    }
    return View(chosen, compute, draw, describe)
