"""A small network learns clusters of points in the plane: settings, the training, and a frame of it now and then.

All runs start from the same weights and see the same batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.explorers.plane_points import SHAPES, PlanePoints, plane_grid, plane_points
from toolkit.imsat import losses
from toolkit.imsat.evaluation import clustering_accuracy
from toolkit.imsat.models import network
from toolkit.imsat.perturbations import Perturbation, RandomPerturbation, Surroundings, VirtualAdversarial
from toolkit.imsat.training import ClusterInformation, Training, predict_logits

PERTURBATIONS = ("none", "RPT", "VAT")
STEPS, BETWEEN, CELLS, ARROWS = 400, 10, 60, 30
"""Updates of a run, how many lie between two frames, cells along an edge of the plane, points with an arrow."""
_BATCH, _RATE, _HIDDEN = 200, 0.005, (64, 64)


@dataclass(frozen=True)
class Setting:
    """What is trained, and how.

    Attributes:
        data: ``"moons"``, ``"blobs"`` or ``"rings"``.
        perturbation: one of :data:`PERTURBATIONS`.
        epsilon: ε, length of the perturbation.
        lam: λ, weight of the information.
        mu: μ, weight of equal clusters.
        xi: ξ, where VAT takes its gradient.
        clusters: K.
    """

    data: str = "moons"
    perturbation: str = "VAT"
    epsilon: float = 0.3
    lam: float = 0.1
    mu: float = 4.0
    xi: float = 0.1
    clusters: int = 2

    def __post_init__(self) -> None:
        require(self.data in SHAPES, "Setting", "data", f"one of {list(SHAPES)}", repr(self.data))
        known = self.perturbation in PERTURBATIONS
        require(known, "Setting", "perturbation", f"one of {PERTURBATIONS}", repr(self.perturbation))
        require(2 <= self.clusters <= 4, "Setting", "clusters", "2 to 4", self.clusters)
        for name in ("epsilon", "lam", "mu"):
            require(0 <= getattr(self, name) < math.inf, "Setting", name, ">= 0 and finite", getattr(self, name))

    def plain(self) -> "Setting":
        """Return it with four digits to a number, and first values in place of those that change nothing.

        Random steps have no ξ; without a perturbation neither ε nor ξ is used.
        """
        first = Setting()
        epsilon, xi = (float(f"{number:.4g}") for number in (self.epsilon, self.xi))
        return replace(
            self,
            epsilon=first.epsilon if self.perturbation == "none" else epsilon,
            lam=float(f"{self.lam:.4g}"),
            xi=xi if self.perturbation == "VAT" else first.xi,
        )

    def moves(self) -> Perturbation:
        """Return what moves points in pictures and in the measured R_SAT: without a perturbation VAT's steps."""
        if self.perturbation == "RPT":
            return RandomPerturbation(epsilon=self.epsilon)
        return VirtualAdversarial(epsilon=self.epsilon, xi=self.xi)


@dataclass(frozen=True, repr=False, eq=False)
class Frame:
    """A network at one step; entropies, R_SAT and accuracy are of all points, with running statistics.

    Attributes:
        step: finished updates.
        regions: p(y|x) on a grid.
        moved: where the first points are moved to.
        self_augmentation: R_SAT in nats; without a perturbation that of VAT's steps, which nothing trains.
        marginal_entropy: H(Y) in nats.
        conditional_entropy: H(Y|X) in nats.
        accuracy: share of points in the cluster that matches their class.
    """

    step: int
    regions: Float[np.ndarray, "cells clusters"]
    moved: Float[np.ndarray, "arrows 2"]
    self_augmentation: float
    marginal_entropy: float
    conditional_entropy: float
    accuracy: float

    def __repr__(self) -> str:
        return f"Frame(step {self.step}: accuracy {self.accuracy:.3f}, R_SAT {self.self_augmentation:.3f})"


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A training so far.

    Attributes:
        setting: what was trained.
        points: on which points.
        frames: every :data:`BETWEEN` steps, from the start.
    """

    setting: Setting
    points: PlanePoints
    frames: tuple[Frame, ...]

    @property
    def done(self) -> bool:
        """Whether it is finished."""
        return self.frames[-1].step == STEPS

    def __repr__(self) -> str:
        return f"Run({self.setting}: {self.frames[-1]})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def start(setting: Setting) -> tuple[Training, PlanePoints]:
    """Return a training at its start, in double precision on the CPU: weights and batches are always the same.

    Args:
        setting: what is trained.

    Returns:
        The training, with the setting's points.
    """
    points = plane_points(setting.data)
    generator = torch.Generator().manual_seed(0)
    return Training(
        network(2, setting.clusters, hidden=_HIDDEN, generator=generator, dtype=torch.float64),
        points.inputs,
        ClusterInformation(setting.mu),
        [] if setting.perturbation == "none" else [setting.moves()],
        generator,
        lam=setting.lam,
        batch_size=_BATCH,
        learning_rate=_RATE,
    ), points


def train(setting: Setting) -> Iterator[Run]:
    """Train a network, yielding the run after every :data:`BETWEEN` updates.

    Args:
        setting: what to train.
    """
    training, points = start(setting)
    grid = plane_grid(CELLS)
    run = Run(setting, points, (_frame(training, points, grid, setting, 0),))
    yield run
    for step in range(1, STEPS + 1):
        training.network.train()
        training.step(step - 1)
        if step % BETWEEN == 0:
            run = replace(run, frames=(*run.frames, _frame(training, points, grid, setting, step)))
            yield run


def _frame(training: Training, points: PlanePoints, grid: Tensor, setting: Setting, step: int) -> Frame:
    model = training.network.eval()
    logits = predict_logits(model, points.inputs)
    around = Surroundings(points.inputs, logits, model, losses.divergence)
    moved = setting.moves()(around, torch.Generator().manual_seed(0))  # the same noise in every frame
    with torch.no_grad():
        return Frame(
            step,
            predict_logits(model, grid).softmax(1).float().numpy(),
            moved[:ARROWS].numpy(),
            float(losses.divergence(logits, model(moved)).mean()),
            float(losses.marginal_entropy(logits)),
            float(losses.conditional_entropy(logits)),
            clustering_accuracy(points.labels, logits.argmax(1)),
        )
