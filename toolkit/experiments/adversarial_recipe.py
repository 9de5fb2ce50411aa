"""What the networks of the competition are, who may look at them, and the settings that they are trained with."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from toolkit.core.errors import require
from toolkit.experiments.adversarial_data import N_CLASSES, image_shape
from toolkit.experiments.adversarial_weights import fingerprint

_TRAINING = ("data", "images", "n_training", "batch_size", "learning_rate")


@dataclass(frozen=True)
class Member:
    """A network of the cast.

    Attributes:
        name: as in tables.
        title: what it is, in a few words.
        kind: ``"plain"``, ``"fgsm"``, ``"ensemble"``, ``"pgd"``, ``"masked"``: how a classifier is trained;
            ``"denoiser"``, ``"attack"``: other networks.
        family: of :data:`toolkit.adversarial.models.FAMILIES`; for a denoiser what guides it.
        public: whether attackers may take its gradient.
        needs: the networks that its training looks at.
        told: the fields of a recipe, beside the data's, that its training depends on.
    """

    name: str
    title: str
    kind: str
    family: str
    public: bool
    needs: tuple[str, ...] = ()
    told: tuple[str, ...] = ("width", "epochs")

    @property
    def classifies(self) -> bool:
        """Whether it is a classifier."""
        return self.kind not in ("denoiser", "attack")


_SOURCES = ("lenet", "vgg", "strided")
_ROBUST = ("width", "robust_epochs", "epsilon")
_UNET = ("width", "unet_channels")

MEMBERS = (
    Member("lenet", "LeNet", "plain", "lenet", True),
    Member("vgg", "VGG", "plain", "vgg", True),
    Member("resnet", "ResNet", "plain", "resnet", False),
    Member("strided", "strided", "plain", "strided", True),
    Member("dilated", "dilated", "plain", "dilated", False),
    Member("resnet-adv", "ResNet, adversarially trained", "fgsm", "resnet", True, (), _ROBUST),
    Member("resnet-ens", "ResNet, ensemble adversarially trained", "ensemble", "resnet", True, _SOURCES, _ROBUST),
    Member("resnet-pgd", "ResNet, trained on PGD", "pgd", "resnet", False, (), (*_ROBUST, "n_pgd_steps")),
    Member(
        "lenet-masked",
        "LeNet, trained on FGSM of one epsilon",
        "masked",
        "lenet",
        False,
        (),
        ("width", "masked_epochs", "masked_epsilon"),
    ),
    Member(
        "denoiser-logits",
        "denoiser for the hidden ResNet, guided by its logits",
        "denoiser",
        "logits",
        False,
        ("resnet", *_SOURCES),
        (*_UNET, "denoiser_epochs", "denoiser_learning_rate", "epsilon"),
    ),
    Member(
        "denoiser-pixels",
        "denoiser for the hidden ResNet, guided by pixels",
        "denoiser",
        "pixels",
        False,
        ("resnet", *_SOURCES),
        (*_UNET, "denoiser_epochs", "denoiser_learning_rate", "epsilon"),
    ),
    Member(
        "attack-network",
        "attack network",
        "attack",
        "unet",
        True,
        (*_SOURCES, "resnet-adv", "resnet-ens"),
        (*_UNET, "network_epochs", "network_learning_rate", "network_epsilons"),
    ),
)
"""In the order of training: each after those that it needs."""

CLASSIFIERS = tuple(member.name for member in MEMBERS if member.classifies)
"""Names of those that classify."""


@dataclass(frozen=True)
class Recipe:
    """How a cast is trained.

    Attributes:
        data: ``"digits"`` or ``"fashion_mnist"``.
        images: ``"subset"`` or ``"full"``.
        n_training: the first so many training images.
        width: multiplies the channels of all networks.
        epochs: of plain classifiers.
        robust_epochs: of adversarially trained ones.
        batch_size: of all trainings.
        learning_rate: of classifiers, the highest of its cycle.
        epsilon: the largest that adversarial training and denoisers meet, in 255ths.
        n_pgd_steps: of the adversary of ``resnet-pgd``.
        masked_epochs: of ``lenet-masked``.
        masked_epsilon: the only one that it meets, in 255ths.
        unet_channels: of denoisers and the attack network, before ``width``.
        denoiser_epochs: of denoisers.
        denoiser_learning_rate: theirs.
        network_epochs: of the attack network.
        network_learning_rate: its own.
        network_epsilons: those that it has a map for, in 255ths.
    """

    data: str
    images: str
    n_training: int
    width: float = 1.0
    epochs: int = 3
    robust_epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 3e-3
    epsilon: int = 32
    n_pgd_steps: int = 5
    masked_epochs: int = 4
    masked_epsilon: int = 64
    unet_channels: tuple[int, ...] = (16, 32, 48)
    denoiser_epochs: int = 3
    denoiser_learning_rate: float = 3e-3
    network_epochs: int = 2
    network_learning_rate: float = 3e-3
    network_epsilons: tuple[int, ...] = (8, 16, 24, 32)

    @classmethod
    def at(cls, data: str, scale: str) -> "Recipe":
        """Return the recipe of a scale.

        Raises:
            ValueError: an unknown data set or scale.
        """
        known = [key for key in _RECIPES if key[0] == data]
        require(bool(known), "Recipe", "data", " or ".join(sorted({name for name, _ in _RECIPES})), repr(data))
        require((data, scale) in _RECIPES, "Recipe", "scale", " or ".join(name for _, name in known), repr(scale))
        return _RECIPES[data, scale]

    def __post_init__(self) -> None:
        image_shape(self.data)
        require(self.n_training >= N_CLASSES, "Recipe", "n_training", f">= {N_CLASSES}", self.n_training)

    def settings(self, member: Member, seed: int) -> dict[str, Any]:
        """Return all that a network's weights depend on: its own settings, and those of the networks it looks at."""
        told = {name: value for name, value in asdict(self).items() if name in (*_TRAINING, *member.told)}
        looked_at = {name: self.key(find_member(name), seed) for name in member.needs}
        return {
            "member": member.name,
            "kind": member.kind,
            "family": member.family,
            "seed": seed,
            **told,
            "needs": looked_at,
        }

    def key(self, member: Member, seed: int) -> str:
        """Return the fingerprint of a network's settings."""
        return fingerprint(self.settings(member, seed))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


_DIGITS = Recipe(
    "digits",
    "subset",
    1437,
    batch_size=32,
    epochs=15,
    robust_epochs=20,
    epsilon=64,
    unet_channels=(8, 16),
    denoiser_epochs=10,
    network_epochs=10,
    network_epsilons=(16, 32, 48, 64),
)
_RECIPES = {
    ("digits", "quick"): replace(
        _DIGITS,
        n_training=800,
        width=0.5,
        batch_size=40,
        learning_rate=1e-2,
        epochs=4,
        robust_epochs=4,
        n_pgd_steps=3,
        denoiser_epochs=3,
        network_epochs=2,
    ),
    ("digits", "laptop"): _DIGITS,
    ("digits", "paper"): replace(_DIGITS, epochs=30, robust_epochs=40, denoiser_epochs=20, network_epochs=20),
    ("fashion_mnist", "quick"): Recipe("fashion_mnist", "subset", 2000, network_epochs=3),
    ("fashion_mnist", "laptop"): Recipe("fashion_mnist", "full", 12_000),
    ("fashion_mnist", "paper"): Recipe(
        "fashion_mnist",
        "full",
        60_000,
        width=4.0,
        epochs=12,
        robust_epochs=15,
        n_pgd_steps=10,
        masked_epochs=10,
        denoiser_epochs=15,
        network_epochs=15,
    ),
}


def find_member(name: str) -> Member:
    """Return a network's description by name.

    Raises:
        ValueError: there is none.
    """
    names = [member.name for member in MEMBERS]
    require(name in names, "cast", "member", f"one of {', '.join(names)}", repr(name))
    return MEMBERS[names.index(name)]
