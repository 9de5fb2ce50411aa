"""Who takes part in our competition: the teams' attacks and defences, of our networks, and who knows whose weights.

Attackers take gradients of public networks only and get no labels. Defences may use hidden ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from toolkit.adversarial.attacks.augmented import DIFGSM, AugmentedGradient
from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, IterativeTarget, TargetedMIFGSM
from toolkit.adversarial.attacks.network import NetworkAttack
from toolkit.adversarial.attacks.noise import NoAttack, RandomSign
from toolkit.adversarial.attacks.smoothed import SmoothedGradient
from toolkit.adversarial.competition import Submission, from_attack, from_model
from toolkit.adversarial.defences import Defended, mmd_defence
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.geometric import RandomResizePad
from toolkit.adversarial.jpeg import JPEG
from toolkit.adversarial.transforms import BitDepth, MedianFilter, Transform
from toolkit.core.errors import require
from toolkit.experiments.adversarial_cast import Cast
from toolkit.experiments.adversarial_data import LEVELS, image_shape
from toolkit.experiments.adversarial_unets import HINT

Knowledge = Literal["white-box", "behind a transformation", "black-box"]
PLAIN = ("lenet", "vgg", "strided")
PUBLIC = (*PLAIN, "resnet-adv", "resnet-ens")
PUBLIC_WEIGHTS = (1.0, 1.0, 1.0, 0.25, 1.0)
"""As team TsAIL's: a quarter for the adversarially trained network."""

HIT_LOSS = 0.1
"""Nats below which a network counts as hit and is left out of a dynamic ensemble; the chapter gives no number."""

TARGET_STEP = 2 / LEVELS
"""Of the organisers' iterative target class method: twice their 1/255, as our epsilons are twice theirs."""


@dataclass(frozen=True)
class Entry:
    """A submission, and what it is made of.

    Attributes:
        name: short, unique.
        title: what it is, in a few words; the team it follows.
        submission: for the competition.
        networks: whose gradients an attack takes, or who answers in a defence.
        transformed: whether a defence changes the images before a network sees them.
    """

    name: str
    title: str
    submission: Submission
    networks: tuple[str, ...] = ()
    transformed: bool = False


def knowledge(attack: Sequence[str], defence: Sequence[str], transformed: bool) -> Knowledge:
    """Say what an attack knows of a defence.

    Args:
        attack: the networks whose gradients it takes.
        defence: the networks that answer.
        transformed: whether these see changed images.
    """
    if not set(attack) & set(defence):
        return "black-box"
    return "behind a transformation" if transformed else "white-box"


def attacks(cast: Cast, *, n_steps: int = 10, names: Iterable[str] | None = None) -> tuple[Entry, ...]:
    """Return the non-targeted attacks.

    Args:
        cast: the networks.
        n_steps: of the iterative ones; the teams' own numbers where they are longer are kept at 10 or more.
        names: only these.

    Raises:
        ValueError: an unknown name.
    """
    lenet, plain, public = cast["lenet"], _fused(cast, PLAIN), _fused(cast, PUBLIC)
    kernel = 5 if _side(cast) > 8 else 3
    longer = max(n_steps, 15) if n_steps >= 10 else n_steps

    def entry(name: str, title: str, attack: Attack, model: nn.Module, networks: tuple[str, ...] = ()) -> Entry:
        return Entry(name, title, from_attack(name, attack, model), networks)

    found = (
        entry("no-op", "the images as they are (baseline)", NoAttack(), lenet),
        entry("noise", "random signs (baseline)", RandomSign(), lenet),
        entry("FGSM", "FGSM on LeNet (baseline)", FGSM(), lenet, ("lenet",)),
        entry("BIM", "BIM on LeNet", BIM(n_steps=n_steps), lenet, ("lenet",)),
        entry("MI", "momentum on LeNet", MIFGSM(n_steps=n_steps), lenet, ("lenet",)),
        entry("BIM-plain", "BIM on the plain networks", BIM(n_steps=n_steps), plain, PLAIN),
        entry("MI-plain", "momentum on the plain networks", MIFGSM(n_steps=n_steps), plain, PLAIN),
        entry("BIM-public", "BIM on all public networks", BIM(n_steps=n_steps), public, PUBLIC),
        entry("TsAIL", "momentum on all public networks (TsAIL)", MIFGSM(n_steps=n_steps), public, PUBLIC),
        entry("DI", "momentum at shrunken copies, all public networks", DIFGSM(n_steps=n_steps), public, PUBLIC),
        entry(
            "Sangxia",
            "augmented gradients of all public networks (after Sangxia)",
            AugmentedGradient(n_steps=n_steps, relative_step=2.5 / n_steps),
            public,
            PUBLIC,
        ),
        entry(
            "toshi-k",
            "smoothed gradients of all public networks (after toshi k)",
            SmoothedGradient(n_steps=longer, kernel_size=kernel, relative_step=2 / longer),
            public,
            PUBLIC,
        ),
        entry(
            "iwiwi",
            "attack network (after iwiwi)",
            NetworkAttack(cast["attack-network"], cast[HINT]),  # type: ignore[arg-type]
            cast[HINT],
            PUBLIC,
        ),
    )
    return _only(found, names, "attacks")


def targeted_attacks(cast: Cast, *, n_steps: int = 20, names: Iterable[str] | None = None) -> tuple[Entry, ...]:
    """Return the targeted attacks.

    Args:
        cast: the networks.
        n_steps: of the iterative ones.
        names: only these.

    Raises:
        ValueError: an unknown name.
    """
    lenet, public = cast["lenet"], _fused(cast, PUBLIC)
    dynamic = Ensemble([cast[name] for name in PUBLIC], fuse="loss", drop_below=HIT_LOSS)

    def entry(name: str, title: str, attack: Attack, model: nn.Module, networks: tuple[str, ...]) -> Entry:
        return Entry(name, title, from_attack(name, attack, model, targeted=True), networks)

    def iterative(n: int) -> IterativeTarget:
        return IterativeTarget(n_steps=n, step_size=TARGET_STEP)

    half = max(1, n_steps // 2)
    found = (
        entry("step", "one step on LeNet (baseline)", FGSM(), lenet, ("lenet",)),
        entry("iterative-half", f"{half} steps on LeNet (baseline)", iterative(half), lenet, ("lenet",)),
        entry("iterative", f"{n_steps} steps on LeNet (baseline)", iterative(n_steps), lenet, ("lenet",)),
        entry(
            "iterative-public",
            f"{n_steps} steps on all public networks",
            IterativeTarget(n_steps=n_steps, step_size=TARGET_STEP),
            public,
            PUBLIC,
        ),
        entry(
            "TsAIL-targeted",
            "rounded momentum on all public networks (TsAIL)",
            TargetedMIFGSM(n_steps=n_steps),
            public,
            PUBLIC,
        ),
        entry(
            "FatFingers",
            "losses of the public networks not hit yet (FatFingers)",
            IterativeTarget(n_steps=n_steps, step_size=TARGET_STEP),
            dynamic.to(_device(lenet)).eval(),
            PUBLIC,
        ),
    )
    return _only(found, names, "targeted")


def defences(cast: Cast, *, n_draws: int = 10, names: Iterable[str] | None = None) -> tuple[Entry, ...]:
    """Return the defences.

    Args:
        cast: the networks.
        n_draws: of random resizing, for each answer; team iyswim had 30.
        names: only these.

    Raises:
        ValueError: an unknown name.
    """
    robust = ("resnet-adv", "resnet-ens")
    both = Ensemble([cast[name] for name in robust], fuse="probabilities")
    denoised, resize = cast.denoised, resize_pad(cast)

    def alone(name: str, title: str) -> Entry:
        return Entry(name, title, from_model(name, cast[name]), (name,))

    def behind(name: str, title: str, transform: Transform, *networks: str, model: nn.Module | None = None) -> Entry:
        inner = cast[networks[0]] if model is None else model
        draws = n_draws if transform.random else 1
        return Entry(name, title, from_model(name, Defended(inner, transform, n_draws=draws)), networks, True)

    def denoiser(name: str, title: str, which: str) -> Entry:
        return Entry(name, title, from_model(name, denoised[which]), ("resnet",), True)

    mmd = mmd_defence(cast["resnet-ens"], cast["resnet-adv"], [cast["vgg"], cast["resnet"]])
    found = (
        denoiser("LGD", "logit-guided denoiser, hidden ResNet (TsAIL)", "denoiser-logits"),
        denoiser("pixel-denoiser", "pixel-guided denoiser, hidden ResNet", "denoiser-pixels"),
        Entry("adv+ens", "mean of both adversarially trained ResNets", from_model("adv+ens", both), robust),
        alone("resnet-adv", "adversarially trained ResNet, public"),
        alone("resnet-ens", "ensemble-adversarially trained ResNet, public"),
        alone("resnet-pgd", "ResNet trained on PGD, hidden"),
        behind("erko", "median filter, mean of both robust ResNets (erko)", MedianFilter(2), *robust, model=both),
        behind("iyswim", "random resizing, ensemble-adversarially trained ResNet (iyswim)", resize, "resnet-ens"),
        Entry(
            "mmd",
            "weighted sum over transformed copies (after Anil Thomas)",
            from_model("mmd", mmd),
            (*robust, "vgg", "resnet"),
            True,
        ),
        alone("dilated", "plain dilated network, hidden"),
        behind("bits", "3 bits, plain dilated network, hidden", BitDepth(3), "dilated"),
        alone("resnet", "plain ResNet, hidden"),
        behind("median", "median filter, plain ResNet, hidden", MedianFilter(2), "resnet"),
        behind("JPEG", "JPEG of quality 75, plain ResNet, hidden", JPEG(75), "resnet"),
        behind("resize", "random resizing, plain ResNet, hidden", resize, "resnet"),
        alone("lenet", "plain LeNet, public"),
    )
    return _only(found, names, "defences")


def fused_public(cast: Cast) -> Ensemble:
    """Return the fused logits of all public networks, with team TsAIL's weights."""
    return _fused(cast, PUBLIC)


def resize_pad(cast: Cast) -> RandomResizePad:
    """Return team iyswim's transformation for small images: shrunken and padded, where the team enlarged.

    Enlarging images of 28 pixels as the team did images of 299 would show networks trained at 28 pixels what they have
    never seen.
    """
    side = _side(cast)
    return RandomResizePad(side - max(1, side // 14), side, side, interpolation="bilinear")


def _side(cast: Cast) -> int:
    return image_shape(cast.recipe.data)[1]


def _fused(cast: Cast, names: tuple[str, ...]) -> Ensemble:
    weights = PUBLIC_WEIGHTS if names == PUBLIC else None
    models = [cast[name] for name in names]
    return Ensemble(models, weights).to(_device(models[0])).eval()


def _device(model: nn.Module):
    return next(model.parameters()).device


def _only(found: tuple[Entry, ...], names: Iterable[str] | None, track: str) -> tuple[Entry, ...]:
    if names is None:
        return found
    known = [entry.name for entry in found]
    wanted = list(names)
    unknown = [name for name in wanted if name not in known]
    require(not unknown, "entries", track, f"some of {', '.join(known)}", ", ".join(unknown))
    return tuple(entry for entry in found if entry.name in wanted)
