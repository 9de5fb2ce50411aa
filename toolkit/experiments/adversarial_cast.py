"""The networks that attack and defend: ready-made where they ship or were trained before, else trained here."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.adversarial.denoiser import Denoised
from toolkit.adversarial.models import classifier
from toolkit.adversarial.training import (
    Adversary,
    EnsembleAdversary,
    FixedFGSM,
    HalfBatchFGSM,
    PGDAdversary,
    train_classifier,
)
from toolkit.core.devices import resolve_device
from toolkit.core.errors import require
from toolkit.experiments.adversarial_data import LEVELS, N_CLASSES, Part, image_shape, stream, training_images
from toolkit.experiments.adversarial_recipe import MEMBERS, Member, Recipe, find_member
from toolkit.experiments.adversarial_unets import make_unet, train_unet
from toolkit.experiments.adversarial_weights import Origin, find_weights, keep_weights, round_weights
from toolkit.experiments.study import StudyInterrupted


@dataclass(frozen=True, eq=False, repr=False)
class Cast:
    """Networks that meet in a competition, all in evaluation mode.

    Attributes:
        networks: by the names of :data:`toolkit.experiments.adversarial_recipe.MEMBERS`: classifiers, denoisers, and
            the attack network.
        origins: where each one's weights came from.
        recipe: how they were trained.
        seed: of their training.
    """

    networks: Mapping[str, nn.Module]
    origins: Mapping[str, Origin]
    recipe: Recipe
    seed: int

    def __getitem__(self, name: str) -> nn.Module:
        """Return a network.

        Raises:
            ValueError: there is none of this name.
        """
        require(name in self.networks, "Cast", "name", f"one of {', '.join(self.networks)}", repr(name))
        return self.networks[name]

    @property
    def classifiers(self) -> dict[str, nn.Module]:
        """The classifiers alone."""
        return {name: network for name, network in self.networks.items() if find_member(name).classifies}

    @property
    def public(self) -> tuple[str, ...]:
        """The classifiers whose gradients attackers may take."""
        return tuple(name for name in self.classifiers if find_member(name).public)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The other classifiers."""
        return tuple(name for name in self.classifiers if not find_member(name).public)

    @property
    def plain(self) -> tuple[str, ...]:
        """The classifiers that were trained on clean images alone."""
        return tuple(name for name in self.classifiers if find_member(name).kind == "plain")

    @property
    def denoised(self) -> dict[str, nn.Module]:
        """The hidden ResNet behind its denoisers, by the denoisers' names."""
        denoisers = [name for name in self.networks if find_member(name).kind == "denoiser"]
        return {name: Denoised(self[name], self["resnet"]).eval() for name in denoisers}

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, as plain values."""
        origins = {name: origin.to_dict() for name, origin in self.origins.items()}
        return {"recipe": self.recipe.to_dict(), "seed": self.seed, "origins": origins}

    def __repr__(self) -> str:
        places = ", ".join(sorted({origin.place for origin in self.origins.values()}))
        return f"Cast({len(self.networks)} networks for {self.recipe.data}, seed {self.seed}, {places})"


def cast(
    data: str = "fashion_mnist",
    scale: str = "laptop",
    seed: int = 0,
    *,
    recipe: Recipe | None = None,
    only: Iterable[str] | None = None,
    device: torch.device | str | None = None,
    retrain: bool = False,
    checkpoint: Path | None = None,
    stop: threading.Event | None = None,
) -> Cast:
    """Return the networks of a competition.

    Each one is taken from the weights that ship, else from those kept in the cache folder (``TOOLKIT_DATA_DIR``, or the
    system's) since it was trained here, else trained, and kept. Stored files are found by all that their training is
    defined by; a damaged one is replaced. Weights are rounded to half precision before anything uses them.

    Args:
        data: ``"digits"`` or ``"fashion_mnist"``.
        scale: of the training: ``"quick"``, ``"laptop"`` or ``"paper"``. The laptop's of Fashion-MNIST and seed 0 ship.
        seed: of the training.
        recipe: settings of your own, instead of those of ``data`` and ``scale``.
        only: names of the networks that are wanted; those that their training needs come too, where it is needed.
        device: where to train, and where the networks lie; default: the best there is.
        retrain: train all anew, whatever is stored.
        checkpoint: where to keep unfinished trainings; each derives a name of its own from it.
        stop: set it from another thread to stop.

    Raises:
        ValueError: an unknown data set, scale or network.
        DatasetUnavailable: something must be trained, and the images are not to be had.
        StudyInterrupted: stopped; finished networks are in the cache.
    """
    recipe = Recipe.at(data, scale) if recipe is None else recipe
    wanted = [member.name for member in MEMBERS] if only is None else [find_member(name).name for name in only]
    work = _Work(recipe, seed, resolve_device(device), retrain, checkpoint, stop)
    for name in wanted:
        work.get(name)
    ordered = [member.name for member in MEMBERS if member.name in wanted]
    return Cast(
        {name: work.networks[name] for name in ordered}, {name: work.origins[name] for name in ordered}, recipe, seed
    )


class _Work:
    """Gets networks one by one, each after those it needs."""

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        retrain: bool,
        checkpoint: Path | None,
        stop: threading.Event | None,
    ) -> None:
        self.recipe, self.seed, self.device, self.retrain = recipe, seed, device, retrain
        self.checkpoint, self.stop = checkpoint, stop
        self.networks: dict[str, nn.Module] = {}
        self.origins: dict[str, Origin] = {}
        self._part: Part | None = None

    def get(self, name: str) -> nn.Module:
        if name in self.networks:
            return self.networks[name]
        member = find_member(name)
        key = self.recipe.key(member, self.seed)
        network = self._fresh(member)
        origin = None if self.retrain else find_weights(name, key, network)
        if origin is None:
            if self.stop is not None and self.stop.is_set():
                raise StudyInterrupted("stopped")
            sources = {needed: self.get(needed) for needed in member.needs}
            network.to(self.device)
            started = time.process_time()
            self._train(member, network, sources)
            origin = Origin("trained", time.process_time() - started)
            network.eval()
            round_weights(network)
            keep_weights(name, key, network, origin.cpu_seconds)
        self.networks[name] = network.to(self.device).eval().requires_grad_(False)
        self.origins[name] = origin
        return network

    def _fresh(self, member: Member) -> nn.Module:
        generator = stream(self.seed, f"{member.name} weights")
        shape = image_shape(self.recipe.data)
        if member.classifies:
            return classifier(member.family, shape, N_CLASSES, width=self.recipe.width, generator=generator)
        return make_unet(member, self.recipe, shape, generator)

    def _train(self, member: Member, network: nn.Module, sources: Mapping[str, nn.Module]) -> None:
        recipe, part = self.recipe, self._images()
        common: dict[str, Any] = {
            "batch_size": recipe.batch_size,
            "generator": stream(self.seed, f"{member.name} training"),
            "device": self.device,
            "stop": self.stop,
            "checkpoint": self.checkpoint and self.checkpoint.with_name(f"{self.checkpoint.name}-{member.name}"),
        }
        if member.classifies:
            epochs = {"plain": recipe.epochs, "masked": recipe.masked_epochs}.get(member.kind, recipe.robust_epochs)
            history = train_classifier(
                network,
                part.images,
                part.labels,
                adversary=_adversary(member, recipe, sources),
                epochs=epochs,
                learning_rate=recipe.learning_rate,
                **common,
            )
        else:
            history = train_unet(member, recipe, network, sources, part, **common)
        if history.interrupted:
            raise StudyInterrupted("stopped")

    def _images(self) -> Part:
        if self._part is None:
            self._part = training_images(self.recipe.data, self.recipe.images, self.recipe.n_training)
        return self._part


def _adversary(member: Member, recipe: Recipe, sources: Mapping[str, nn.Module]) -> Adversary | None:
    most = recipe.epsilon / LEVELS
    if member.kind == "plain":
        return None
    if member.kind == "fgsm":
        return HalfBatchFGSM(most)
    if member.kind == "ensemble":
        return EnsembleAdversary(tuple(sources.values()), most)
    if member.kind == "pgd":
        return PGDAdversary(most, recipe.n_pgd_steps)
    return FixedFGSM(recipe.masked_epsilon / LEVELS)
