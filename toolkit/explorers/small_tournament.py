"""A tournament of a minute: a hundred bundled images, a few attacks and defences; a reader's entry meets these."""

import copy
import functools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import FGSM, MIFGSM
from toolkit.adversarial.attacks.noise import NoAttack, RandomSign
from toolkit.adversarial.competition import Competition, Submission, from_attack, from_model
from toolkit.adversarial.defences import Defended
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.transforms import MedianFilter
from toolkit.core.errors import require
from toolkit.explorers.clothes import LEVELS, clothes, network
from toolkit.explorers.in_double import InDouble

N_IMAGES, BATCH, EPSILONS = 100, 25, (8, 16, 24, 32)
PLAIN = ("lenet", "vgg", "strided")


def pixels(n_images: int) -> tuple[UInt8[Tensor, "n 1 height width"], Int64[Tensor, " n"]]:
    """Return the first bundled test images in 8 bits, and their labels."""
    data = clothes()
    require(0 <= n_images <= len(data), "pixels", "n_images", f"0 to {len(data)}", n_images)
    return (data.images[:n_images] * LEVELS).round().to(torch.uint8), data.labels[:n_images]


def attacks(find: Callable[[str], nn.Module] = network) -> tuple[Submission, ...]:
    """Return those that a reader's attack is ranked with, all on public networks; FGSM-plain looks at three."""
    lenet = InDouble(find("lenet"))
    plain = Ensemble([InDouble(find(name)) for name in PLAIN]).eval()

    def entry(name: str, attack: Attack, model: nn.Module) -> Submission:
        return from_attack(name, attack, model)

    return (
        entry("no-op", NoAttack(), lenet),
        entry("noise", RandomSign(), lenet),
        entry("FGSM", FGSM(), lenet),
        entry("FGSM-plain", FGSM(), plain),
        entry("MI", MIFGSM(n_steps=5), lenet),
    )


def defences(find: Callable[[str], nn.Module] = network) -> tuple[Submission, ...]:
    """Return those that a reader's defence is ranked with: plain and robust networks, and a filter."""
    names = ("lenet", "resnet", "resnet-adv", "resnet-ens", "resnet-pgd")
    filtered = Defended(InDouble(find("resnet")), MedianFilter(2))
    return (*(from_model(name, InDouble(find(name))) for name in names), from_model("median", filtered))


def play(attacking: Sequence[Submission], defending: Sequence[Submission], n_images: int = N_IMAGES) -> Competition:
    """Let them meet in this process; a reader's entry then costs its own games alone.

    Args:
        attacking: non-targeted attacks.
        defending: defences.
        n_images: the first so many of the bundled test images.
    """
    competition = Competition(
        attacking, (), defending, epsilons=EPSILONS, batch_size=BATCH, isolate=False, progress=False
    )
    competition.run(*pixels(n_images))
    return competition


@functools.cache
def _played() -> Competition:
    return play(attacks(), defences())


def small_tournament() -> Competition:
    """Return the toolkit's own small tournament, played once a session; what is entered into a copy leaves it alone."""
    return copy.deepcopy(_played())
