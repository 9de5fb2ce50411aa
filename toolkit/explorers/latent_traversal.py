"""A trained decoder under the reader's hands: what does each latent draw, and what does it tell about the factors?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import sprites
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.information import informations
from toolkit.experiments.disentanglement_config import WITH_DECODER, DisentanglementConfig
from toolkit.experiments.disentanglement_models import find_model
from toolkit.experiments.disentanglement_trained import CodesUnavailable, trained_codes, trained_decoder
from toolkit.explorers.latent_rows import (
    Aggregate,
    Kind,
    LatentRole,
    decode_rows,
    described,
    draw_rows,
    roles_of,
    rows_height,
    rows_width,
)
from toolkit.lessons import View, controls, style

VALUES = tuple(step / 2 for step in range(-4, 5))
"""Of the columns, in standard deviations of a latent over all images."""
N_STARTS = 12
FURTHEST, STEP = 2.5, 0.1
"""How far a slider goes, in standard deviations, and its steps."""
COMMAND = "python -m toolkit run disentanglement --scale laptop --seeds 0 --models"
"""Trains what is missing; followed by names of models."""
_DRAWS = 1500
_GOLDEN = 0.6180339887
Originals = Callable[[Int64[Tensor, "images factors"]], UInt8[Tensor, "images height width"]]


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A trained model, ready to be looked at.

    Attributes:
        title: in words.
        decoder: from codes to logits of pixels, in double precision.
        aggregate: of its codes.
        roles: of its latents.
        numbers: which images of the grid one can start from.
        codes: the means of these images' codes.
        originals: these images, 0 and 1; None if they are not known.
        n_images: of the whole grid.
    """

    title: str
    decoder: nn.Module
    aggregate: Aggregate
    roles: tuple[LatentRole, ...]
    numbers: tuple[int, ...]
    codes: Float[Tensor, "starts latents"]
    originals: UInt8[Tensor, "starts height width"] | None
    n_images: int

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return len(self.roles)

    def __repr__(self) -> str:
        return f"Model({self.title}, {self.n_latents} latents)"

    def positions(self, start: int) -> list[float]:
        """Return where an image's code stands, in standard deviations, rounded to what a slider can say.

        Args:
            start: of the images to start from, from 1.
        """
        exact = self.aggregate.positions(self.codes[start - 1]).clamp(-FURTHEST, FURTHEST)
        return [round(round(value / STEP) * STEP, 6) for value in exact.tolist()]


def make_model(title: str, codes: GaussianCodes, decoder: nn.Module, originals: Originals | None = None) -> Model:
    """Prepare a model.

    Args:
        title: in words.
        codes: of a complete grid, with real latents alone.
        decoder: from codes to logits of pixels, of one channel.
        originals: from factor indices to the images, masks of 0 and 1.

    Raises:
        ValueError: categorical latents, or a grid that is not complete.
    """
    plain = not codes.categorical_log_prob
    require(plain, "make_model", "codes", "real latents alone", f"{len(codes.categorical_log_prob)} categorical ones")
    codes = codes.to(dtype=torch.float64)
    found = informations(codes, n_samples=_DRAWS, generator=torch.Generator().manual_seed(0))
    number = torch.arange(N_STARTS, dtype=torch.float64)
    starts = (((number + 0.5) * _GOLDEN % 1) * codes.n_images).long()
    return Model(
        title,
        decoder.double().eval(),
        Aggregate.of(codes),
        roles_of(found),
        tuple(starts.tolist()),
        codes.mean[starts],
        None if originals is None else originals(codes.factors[starts]),
        codes.n_images,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Traversal:
    """A code, its image, and a row of images for each latent.

    Attributes:
        model: what decodes.
        start: of which image the code was at first, from 1.
        positions: of the latents, in standard deviations from their means.
        image: probabilities of white.
        rows: the same for each latent over ``VALUES``.
        changed: pixels that are no longer on the same side of ½ as when the sliders stood at the start image's code.
    """

    model: Model
    start: int
    positions: tuple[float, ...]
    image: Float[Tensor, "height width"]
    rows: Float[Tensor, "latents values height width"]
    changed: int

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the latents that are not where the start image has them."""
        first = self.model.positions(self.start)
        pairs = zip(self.model.roles, first, self.positions, strict=True)
        return tuple(role.latent for role, before, now in pairs if abs(before - now) > STEP / 2)

    def __repr__(self) -> str:
        return f"Traversal({self.model.title}, image {self.start}, moved: {', '.join(self.moved) or 'none'})"

    def to_dict(self) -> dict[str, Any]:
        """Return what was chosen and what the latents tell, as plain values."""
        roles = [role.to_dict() for role in self.model.roles]
        return {"model": self.model.title, "start": self.start, "positions": list(self.positions), "roles": roles}


@torch.no_grad()
def compute(model: Model, start: int, positions: tuple[float, ...]) -> Traversal:
    """Decode a code and a row for each latent.

    Args:
        model: what decodes.
        start: the image to compare with, from 1.
        positions: of the latents, in standard deviations.

    Raises:
        ValueError: another number of positions, or no such image.
    """
    require(1 <= start <= len(model.numbers), "compute", "start", f"1 to {len(model.numbers)}", start)
    fits = len(positions) == model.n_latents
    require(fits, "compute", "positions", f"{model.n_latents} numbers", len(positions))
    stand = torch.tensor([positions, model.positions(start)], dtype=torch.float64)
    now, before = model.decoder(model.aggregate.code(stand)).sigmoid()
    now, before = (each.reshape(each.shape[-2:]) for each in (now, before))
    rows = decode_rows(model.decoder, model.aggregate, stand[0], VALUES)
    changed = int(((now > 0.5) != (before > 0.5)).sum())
    return Traversal(model, start, tuple(positions), now, rows, changed)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_TOP, _CELL, _LARGE, _LEFT = 38.0, 36.0, 140.0, 170.0
_WIDTH = _LEFT + rows_width(len(VALUES), _CELL) + 12


def draw(found: Traversal) -> Svg:
    """Draw the decoded image above the one that the code came from, and the rows of the latents beside them."""
    model = found.model
    height = max(_TOP + rows_height(model.n_latents, _CELL) + 10, _TOP + 2 * (_LARGE + 30))
    picture = Svg(_WIDTH, height)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    picture.text(14, _TOP + 12, "decoded", size=12, fill=style.GREY)
    images: list[tuple[float, Any]] = [(_TOP + 20, found.image)]
    if model.originals is not None:
        second = _TOP + 20 + _LARGE + 8
        picture.text(14, second + 12, f"start image {found.start}", size=12, fill=style.GREY)
        images.append((second + 20, 255 * model.originals[found.start - 1]))
    for top, image in images:
        picture.image(14, top, _LARGE, _LARGE, image)
        picture.rectangle(14, top, _LARGE, _LARGE, fill="none", stroke="#b0b0b0")
    draw_rows(picture, _LEFT, _TOP, found.rows, model.roles, VALUES, cell=_CELL, positions=found.positions)
    return picture


def _finding(found: Traversal) -> str:
    kinds = [role.kind for role in found.model.roles]
    counts = [f"{kinds.count(kind)} {kind}" for kind in get_args(Kind) if kind in kinds]
    return f"{found.model.title}: of {len(kinds)} latents {', '.join(counts)}"


def describe(found: Traversal) -> str:
    """Say what the code is, how much of the image changed, and what each latent tells."""
    model = found.model
    number = model.numbers[found.start - 1]
    where = f"{model.title}, code of image {number:,} of {model.n_images:,}"
    size = f"{found.image.numel():,} pixels"
    if not found.moved:
        moved = "as the encoder has it; move a latent"
    else:
        changed = f"{found.changed:,} of {size} change" if found.changed else f"none of {size} changes"
        moved = f"with {' and '.join(found.moved)} moved, {changed}"
    alive = [described(role) for role in model.roles if role.kind != "dead"]
    dead = [role.latent for role in model.roles if role.kind == "dead"]
    told = [*alive, *([f"{', '.join(dead)} {'is' if len(dead) == 1 else 'are'} dead"] if dead else [])]
    return f"{where}, {moved}. Parts as shares of H(y), for the factor told most about: {'; '.join(told)}."


# ---------------------------------------------------------------------------------------------------------------------
# The view


class TraversalView(View):
    """Another model or start image moves the latents' sliders to its code; a slider of a latent decodes anew."""

    def __init__(self, models: Mapping[str, Model], choices: Mapping[str, Any], n_latents: int):
        self.models = dict(models)
        super().__init__(choices, self._at, draw, describe)
        self._latents = [f"z{number + 1}" for number in range(n_latents)]

    def _at(self, start: int, model: str = "", **latents: float) -> Traversal:
        chosen = self.models[model or next(iter(self.models))]
        return compute(chosen, start, tuple(latents.values()))

    def _changed(self, change: Any) -> None:
        if self._held:
            return
        if change["owner"] not in [self.controls[name] for name in self._latents]:
            values = self.values()
            chosen = self.models[values.get("model") or next(iter(self.models))]
            self._held = True
            try:
                for name, position in zip(self._latents, chosen.positions(values["start"]), strict=True):
                    self.controls[name].value = position
            finally:
                self._held = False
        self.refresh()


@dataclass(frozen=True)
class Nothing:
    """No model is here."""

    text: str


def _draw_nothing(nothing: Nothing) -> Svg:
    picture = Svg(640, 84)
    picture.text(14, 26, "No trained model is here", size=14, bold=True)
    picture.text(14, 50, "This trains and keeps two of them, in minutes:", size=13)
    picture.text(14, 70, f"{COMMAND} {' '.join(WITH_DECODER)}", size=12, fill=style.GREY)
    return picture


def find_models() -> dict[str, Model]:
    """Return the models whose codes and decoders are at hand, by name; empty if there are none."""
    sizes = DisentanglementConfig(scale="laptop").sizes
    assert sizes is not None
    grid = sprites.GRID.subgrid(**dict(zip(sprites.GRID.names, sizes, strict=True)))
    found = {}
    for name in WITH_DECODER:
        try:
            codes, decoder = trained_codes(name), trained_decoder(name)
        except CodesUnavailable:
            continue
        title = find_model(name).title
        found[name] = make_model(title, codes, decoder, lambda at: sprites.render(at, grid=grid, image_size=32))
    return found


def explore_latent_traversal(*, models: Mapping[str, Model] | None = None) -> View:
    """Return a view of a trained decoder with a slider for each latent; without a model, of how to make one.

    Args:
        models: of :func:`make_model`, by name, with equally many latents. Default: those at hand.

    Raises:
        ValueError: models of different numbers of latents.
    """
    shown = find_models() if models is None else dict(models)
    if not shown:
        words = f"No trained model is here. This trains and keeps two: {COMMAND} {' '.join(WITH_DECODER)}"
        return View({}, lambda: Nothing(words), _draw_nothing, lambda nothing: nothing.text)
    numbers = {model.n_latents for model in shown.values()}
    require(len(numbers) == 1, "explore_latent_traversal", "models", "equally many latents", sorted(numbers))
    # The last one: of the models at hand the one with the largest β, whose latents are the easiest to tell apart.
    last = list(shown)[-1]
    choices: dict[str, Any] = {}
    if len(shown) > 1:
        choices["model"] = controls.toggle("model", {model.title: name for name, model in shown.items()}, last)
    choices["start"] = controls.int_slider("start image", 1, 1, N_STARTS)
    n_latents = numbers.pop()
    for number, position in enumerate(shown[last].positions(1)):
        name = f"z{number + 1}"
        choices[name] = controls.float_slider(name, position, -FURTHEST, FURTHEST, step=STEP, unit="σ")
    return TraversalView(shown, choices, n_latents)
