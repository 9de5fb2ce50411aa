"""A small autoencoder learns sprites while the reader watches: does each latent come to tell one factor by itself?

All is in double precision and all draws are seeded, so a setting gives the same curves on every machine, to the eye.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from toolkit.core.batches import Minibatches
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import sprites
from toolkit.disentanglement.bounds import PARTS as NAMES
from toolkit.disentanglement.bounds import Profile, profile
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.information import informations
from toolkit.disentanglement.models import VAE, multilayer_vae
from toolkit.disentanglement.objectives import BetaVAE
from toolkit.disentanglement.training import reconstruct
from toolkit.explorers.latent_rows import (
    NEARLY_NOTHING,
    Aggregate,
    LatentRole,
    decode_rows,
    described,
    draw_rows,
    roles_of,
    rows_height,
    rows_width,
)
from toolkit.explorers.pid_parts import Bar, amount, draw_letters, parts_panel, span
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import BackgroundView, Progress, controls, style
from toolkit.lessons.svg import Series

GRID = sprites.GRID.subgrid(shape=[1], scale=3, orientation=1, position_x=8, position_y=8)
"""Ellipses of three sizes at 8×8 places: 192 images, few enough that a processor learns them in seconds."""
BETAS, SEEDS = (0.5, 1.0, 2.0, 4.0, 8.0), (0, 1, 2, 3)
STEPS, FIRST, BETWEEN = 3000, 800, 50
VALUES = (-2.0, -1.0, 0.0, 1.0, 2.0)
_SIZE, _LATENTS, _HIDDEN, _BATCH, _RATE = 16, 4, (128, 128), 64, 2e-3
_DRAWS = 400
_SHOWN = (0, 27, 92, 101, 156, 191)
_MIDDLE = 100


@dataclass(frozen=True)
class Setting:
    """What the reader chooses: the weight of the divergence, and the seed of weights, orders and noise."""

    beta: float = 2.0
    seed: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training up to a step.

    Attributes:
        setting: what was chosen.
        steps: when the code was scored, from 0.
        unibound: at each of these steps.
        mig: at each of these steps.
        information: what all latents tell, as a share of H(y), averaged over factors; at each of these steps.
        now: all scores at the last step.
        roles: of the latents at the last step.
        rows: images along each latent at the last step.
        reconstructions: of the images ``_SHOWN``, from the means of their codes.
        n_steps: of the whole training.
        opening: whether it ends here until the reader starts a training.
    """

    setting: Setting
    steps: tuple[int, ...]
    unibound: tuple[float, ...]
    mig: tuple[float, ...]
    information: tuple[float, ...]
    now: Profile
    roles: tuple[LatentRole, ...]
    rows: Float[Tensor, "latents values height width"]
    reconstructions: Float[Tensor, "images height width"]
    n_steps: int = STEPS
    opening: bool = False

    @property
    def step(self) -> int:
        """The last step."""
        return self.steps[-1]

    def __repr__(self) -> str:
        return f"Run(β = {self.setting.beta:g}, seed {self.setting.seed}: step {self.step} of {self.n_steps})"

    def to_dict(self) -> dict[str, Any]:
        """Return settings and scores as plain values, without the images."""
        curves = {name: list(getattr(self, name)) for name in ("steps", "unibound", "mig", "information")}
        return {"setting": vars(self.setting)} | curves | {"now": self.now.to_dict(), "n_steps": self.n_steps}


@lru_cache(maxsize=1)
def images() -> UInt8[Tensor, "images height width"]:
    """Return the images of the grid: masks of 0 and 1."""
    return sprites.render(GRID.indices(device="cpu"), grid=GRID, image_size=_SIZE)


def start(setting: Setting) -> tuple[VAE, torch.Generator]:
    """Return the model before training, and the generator of what follows."""
    generator = torch.Generator().manual_seed(setting.seed)
    model = multilayer_vae(
        (_SIZE, _SIZE),
        _LATENTS,
        hidden=_HIDDEN,
        white=1,
        generator=generator,
        dtype=torch.float64,
        device="cpu",
    )
    return model, generator


def train(setting: Setting, *, n_steps: int = STEPS) -> Iterator[Run]:
    """Train a model, yielding the run before the first step and after every ``BETWEEN`` of them.

    Args:
        setting: what to train.
        n_steps: updates; the run is scored after the last one, too.

    Raises:
        ValueError: a negative number of steps, or β that is negative or not finite.
    """
    require(n_steps >= 0, "train", "n_steps", "0 or more", n_steps)
    objective = BetaVAE(setting.beta)
    model, generator = start(setting)
    pixels = model.pixels(images())
    batches = Minibatches(len(pixels), _BATCH, generator=generator)
    adam = torch.optim.Adam(model.parameters(), lr=_RATE, fused=True)
    curves: list[tuple[int, float, float, float]] = []
    for step in range(n_steps + 1):
        if step % BETWEEN == 0 or step == n_steps:
            yield _look(setting, model, step, curves)
        if step < n_steps:
            batch = reconstruct(model, pixels[batches.next()], generator=generator)
            adam.zero_grad()
            objective(batch, n_data=len(pixels), step=step).loss.mean().backward()
            adam.step()


@torch.no_grad()
def _look(setting: Setting, model: VAE, step: int, curves: list[tuple[int, float, float, float]]) -> Run:
    posterior = model.posterior(images())
    codes = GaussianCodes(
        posterior.mean,
        posterior.standard_deviation,
        GRID.indices(device="cpu"),
        GRID.sizes,
        factor_names=GRID.names,
    )
    # The same draws at each step: the curves move because the code does.
    found = informations(codes, n_samples=_DRAWS, generator=torch.Generator().manual_seed(0))
    now = profile(found)
    curves.append((step, now.unibound, now.mig, now.information))
    steps, unibound, mig, information = zip(*curves, strict=True)
    aggregate = Aggregate.of(codes)
    rows = decode_rows(model.decode, aggregate, aggregate.positions(codes.mean[_MIDDLE]), VALUES)
    again = model.decode(codes.mean[list(_SHOWN)]).sigmoid()
    return Run(setting, steps, unibound, mig, information, now, roles_of(found), rows, again)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_TOP, _LEFT, _CELL, _PANEL = 36.0, 290.0, 40.0, 226.0
_WIDTH = _LEFT + rows_width(len(VALUES), _CELL) + 12
_ROWS = rows_height(_LATENTS, _CELL)
_HEIGHT = _TOP + _ROWS + 196
_UNIBOUND = style.Line(style.BLUE, "-", "o", 3.0)
_MIG = style.Line(style.PURPLE, (0, (5.0, 1.6)), "s", 1.8)
_ALL = style.Line(style.GREY, (0, (1.2, 1.2)), "", 2.0)
_REST = ("shape", "orientation")
_MOST_OF, _GAP = 0.8, 0.05


def draw(run: Run) -> Svg:
    """Draw the scores so far, original images and their reconstructions, the latents' rows, and parts by factor."""
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, _finding(run), size=14, bold=True)
    lines = [
        Series("all know", run.steps, run.information, _ALL),
        Series("UniBound", run.steps, run.unibound, _UNIBOUND),
        Series("MIG", run.steps, run.mig, _MIG),
    ]
    ends = [Series("", line.x[-1:], line.y[-1:], line.meaning, markers=True) for line in lines[:0:-1]]
    draw_panel(
        picture,
        (14.0, _TOP, _LEFT - 30, _PANEL),
        [*lines, *ends],
        heading="share of H(y), mean of 3 factors",
        x_limits=(0, run.n_steps),
        y_limits=(0.0, 1.0),
        x_label="training step",
        room=66,
    )
    _draw_images(picture, run, _TOP + _PANEL + 34)
    draw_rows(picture, _LEFT, _TOP, run.rows, run.roles, VALUES, cell=_CELL)
    groups = {}
    for k, name in enumerate(run.now.factor_names):
        if name not in _REST:
            ends_of = [getattr(run.now.per_factor, part) for part in NAMES]
            bars = [(float(ends.lower[k]), float(ends.upper[k])) for ends in ends_of]
            groups[name.replace("_", " ")] = [
                Bar(part, low, max(low, high)) for part, (low, high) in zip(NAMES, bars, strict=True)
            ]
    words = _TOP + _ROWS + 8
    draw_letters(picture, _LEFT, words + 6)
    look: dict[str, Any] = {"limits": (0.0, 1.0), "key": False}
    panel = parts_panel(groups, width=_WIDTH - _LEFT - 4, height=176, value_label="largest share of H(y)", **look)
    picture.place(_LEFT - 4, words + 8, panel)
    return picture


def _draw_images(picture: Svg, run: Run, top: float) -> None:
    heading = "images, below as decoded again"
    picture.text(14, top + 12, heading, size=12.5, bold=True)
    originals = images()[list(_SHOWN)] * 255
    again = (run.reconstructions * 255).round().to(torch.uint8)
    for row, stack in enumerate((originals, again)):
        y = top + 22 + row * (_CELL + 6)
        picture.image(14, y, _CELL * len(_SHOWN), _CELL, stack.transpose(0, 1).flatten(1, 2))
        for column in range(len(_SHOWN)):
            picture.rectangle(14 + _CELL * column, y, _CELL, _CELL, fill="none", stroke="#b0b0b0")


def _finding(run: Run) -> str:
    unibound, mig, information = run.unibound[-1], run.mig[-1], run.information[-1]
    head = f"β = {run.setting.beta:g}, step {run.step:,}: "
    if information < NEARLY_NOTHING:
        return f"{head}the latents tell next to nothing of the ellipses"
    if unibound >= _MOST_OF * information:
        return f"{head}all know {amount(information, 2)}, UniBound {amount(unibound, 2)}: no latent needs another"
    if mig - unibound > _GAP:
        return f"{head}all know {amount(information, 2)}, MIG {amount(mig, 2)}, but UniBound {amount(unibound, 2)}"
    return f"{head}all latents know {amount(information, 2)}, UniBound only {amount(unibound, 2)}"


def describe(run: Run) -> str:
    """Say how far the training is, what the scores are and what each latent tells."""
    parts = []
    for part in NAMES:
        ends = run.now.mean(part)
        parts.append(f"{part} {span(float(ends.lower), max(float(ends.lower), float(ends.upper)), 2)}")
    best = max(range(len(run.steps)), key=lambda at: run.unibound[at])
    peak = ""
    if run.unibound[best] - run.unibound[-1] > 0.02:
        peak = f" UniBound was {amount(run.unibound[best], 2)} at step {run.steps[best]:,} and fell."
    first = "; Start trains from step 0 to the end" if run.opening else ""
    return (
        f"β = {run.setting.beta:g}, seed {run.setting.seed}, step {run.step:,} of {run.n_steps:,}{first}. UniBound "
        f"{amount(run.unibound[-1], 2)}, MIG {amount(run.mig[-1], 2)}; all latents tell "
        f"{amount(run.information[-1], 2)} of H(y) (mean of scale and the two positions). Means of the parts: "
        f"{', '.join(parts)}.{peak} Latents: {'; '.join(described(role) for role in run.roles)}."
    )


def explore_live_vae(*, n_steps: int = STEPS, first: int = FIRST) -> BackgroundView:
    """Return a view of a training that the reader sets up and starts; its first part is done when it opens.

    Args:
        n_steps: of a training.
        first: steps that are done when it opens.
    """
    require(0 <= first <= n_steps, "explore_live_vae", "first", f"from 0 to {n_steps}", first)
    *_, opening = train(Setting(), n_steps=first)
    initial = replace(opening, n_steps=n_steps, opening=first < n_steps)

    def work(beta: float, seed: int) -> Iterator[Progress]:
        for run in train(Setting(beta, seed), n_steps=n_steps):
            share = run.step / n_steps if n_steps else 1.0
            yield Progress(share, replace(run, n_steps=n_steps), f"step {run.step:,} of {n_steps:,}")

    choices = {
        "beta": controls.toggle("β", {f"{beta:g}": beta for beta in BETAS}, Setting().beta),
        "seed": controls.toggle("seed", {str(seed): seed for seed in SEEDS}, Setting().seed),
    }
    return BackgroundView(choices, work, draw, describe, initial=initial, run_label="Start")
