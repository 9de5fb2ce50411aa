"""Training of the U-nets of a cast: denoisers for the hidden ResNet, and the network that attacks in one pass."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack, Classifier
from toolkit.adversarial.attacks.gradient import BIM, FGSM
from toolkit.adversarial.attacks.network import AttackNetwork, train_attack_network
from toolkit.adversarial.attacks.noise import NoAttack, RandomSign
from toolkit.adversarial.denoiser import Denoiser, craft_mixture, train_denoiser
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.unet import UNet
from toolkit.core.history import History
from toolkit.experiments.adversarial_data import LEVELS, Part
from toolkit.experiments.adversarial_recipe import Member, Recipe

DEFENDED = "resnet"
"""The classifier that denoisers are trained for."""

HINT = "resnet-ens"
"""The classifier whose gradient the attack network is given."""


def make_unet(
    member: Member, recipe: Recipe, image_shape: tuple[int, int, int], generator: torch.Generator
) -> nn.Module:
    """Return a denoiser or an attack network with fresh weights.

    Args:
        member: which one.
        recipe: its sizes.
        image_shape: channels, height and width.
        generator: draws the weights.
    """
    widths = [max(1, round(n * recipe.width)) for n in recipe.unet_channels]
    if member.kind == "denoiser":
        return Denoiser(UNet(image_shape[0], widths, generator=generator))
    epsilons = [value / LEVELS for value in recipe.network_epsilons]
    return AttackNetwork(epsilons, image_shape[0], widths, generator=generator)


def train_unet(
    member: Member, recipe: Recipe, network: nn.Module, sources: Mapping[str, nn.Module], part: Part, **common: Any
) -> History:
    """Train a denoiser or the attack network.

    Args:
        member: which one.
        recipe: how.
        network: a fresh one.
        sources: the classifiers that it needs.
        part: the training images.
        common: what every training takes: batch size, generator, device, checkpoint, stop.
    """
    if member.kind == "attack":
        return train_attack_network(
            network,  # type: ignore[arg-type]
            list(sources.values()),
            part.images,
            part.labels,
            hint_model=sources[HINT],
            epochs=recipe.network_epochs,
            learning_rate=recipe.network_learning_rate,
            **common,
        )
    pairs = denoiser_pairs(recipe, sources, part, common["generator"], common["device"])
    return train_denoiser(
        network,
        sources[DEFENDED],
        part.images,
        pairs,
        guide=member.family,  # type: ignore[arg-type]
        epochs=recipe.denoiser_epochs,
        learning_rate=recipe.denoiser_learning_rate,
        **common,
    )


def denoiser_pairs(
    recipe: Recipe,
    sources: Mapping[str, nn.Module],
    part: Part,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Attack training images in the ways that team TsAIL's denoiser was trained on, in 8 bits as a competition does.

    No attack, noise, FGSM on each of the networks, FGSM and two and four steps of BIM on their fused logits; labels are
    what the attacked network says; epsilon is drawn from 4, 8, … 255ths up to the recipe's largest.
    """
    fused = Ensemble(list(sources.values())).to(device).eval()
    first = next(iter(sources.values()))
    members: list[tuple[Attack, Classifier]] = [(NoAttack(), first), (RandomSign(), first)]
    members += [(FGSM(), network) for network in sources.values()]
    members += [(FGSM(), fused), (BIM(n_steps=2), fused), (BIM(n_steps=4), fused)]
    epsilons = [value / LEVELS for value in range(4, recipe.epsilon + 1, 4)]
    changed = craft_mixture(members, part.pixels.to(device), epsilons=epsilons, generator=generator)
    return (changed * LEVELS).round().to(torch.uint8)
