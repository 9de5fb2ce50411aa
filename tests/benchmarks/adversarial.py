"""Speed of the attacks beside torchattacks and Foolbox: ``python -m tests.benchmarks.adversarial``.

Both attack the same batch of the same trained network with the same number of steps, take turns in one process on one
thread, and are compared by CPU time; beside it stand the passes of an image through the network, which differ where an
attack stops early: our APGD leaves an image once it is misclassified, that of torchattacks before the next restart or
target. Ends with status 1 if a budget is missed in every attempt.

The metadata of torchattacks demand a release of requests that JupyterLab cannot use; it runs without it:
``pip install --no-deps torchattacks``. Foolbox is in the extra ``peers``.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from tests.benchmarks.budgets import ATTEMPTS, Row, report
from tests.benchmarks.timing import measure
from toolkit.adversarial.attacks.apgd import APGD
from toolkit.adversarial.attacks.augmented import DIFGSM
from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.boundary import BoundaryAttack
from toolkit.adversarial.attacks.carlini_wagner import CarliniWagner
from toolkit.adversarial.attacks.deepfool import DeepFool
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD
from toolkit.adversarial.attacks.smoothed import TIFGSM
from toolkit.adversarial.attacks.spsa import SPSA
from toolkit.adversarial.attacks.square import Square
from toolkit.adversarial.models import classifier
from toolkit.datasets import load

EPSILON = 16 / 255


class Counting(nn.Module):
    """A network for grey images that counts what it is shown; of coloured ones it sees the mean of the channels."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.images = inner, 0
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return self.inner(images if images.shape[1] == 1 else images.mean(1, keepdim=True))


@dataclass(frozen=True)
class Setting:
    """A network and images it has not seen."""

    model: Counting
    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Pair:
    """The same attack twice: ours, and how to make the other one for a model.

    Attributes:
        ours: the attack.
        theirs: from a model to what attacks images and labels.
        n_images: in the batch.
        smallest: whether it looks for the smallest change instead of staying within epsilon.
        colours: channels of the images; the TI-FGSM of torchattacks knows three only.
    """

    ours: Attack
    theirs: Callable[[nn.Module], Callable[[Tensor, Tensor], object]]
    n_images: int = 100
    smallest: bool = False
    colours: int = 1


def trained() -> Setting:
    """Train a small network for some seconds."""
    data = load("fashion_mnist")
    generator = torch.Generator().manual_seed(0)
    model = classifier("lenet", width=0.5, generator=generator).train()
    images, labels = data.train.images[:, None].float() / 255, data.train.labels
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(3):
        for chosen in torch.randperm(len(images), generator=generator).split(50):
            adam.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            adam.step()
    return Setting(Counting(model.eval()), data.test.images[:, None].float() / 255, data.test.labels)


def pairs() -> dict[str, Pair]:
    """Return every attack that torchattacks or Foolbox has too, with equal settings."""
    import foolbox
    import torchattacks as peer

    def boundary(model: nn.Module) -> Callable[[Tensor, Tensor], object]:
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.BoundaryAttack(steps=100, tensorboard=False)
        return lambda images, labels: attack(bounded, images, labels, epsilons=None)

    fast = {"eps": EPSILON, "alpha": EPSILON / 10, "steps": 10}
    far = {"eps": EPSILON, "alpha": EPSILON / 4, "steps": 10}
    return {
        "FGSM": Pair(FGSM(), lambda model: peer.FGSM(model, eps=EPSILON)),
        "BIM, 10 steps": Pair(BIM(), lambda model: peer.BIM(model, **fast)),
        "PGD, 10 steps": Pair(PGD(n_steps=10, relative_step=0.25), lambda model: peer.PGD(model, **far)),
        "PGD in L2, 10 steps": Pair(
            PGD(n_steps=10, relative_step=0.25, norm="l2"), lambda model: peer.PGDL2(model, **far)
        ),
        "MI-FGSM, 10 steps": Pair(MIFGSM(), lambda model: peer.MIFGSM(model, **fast, decay=1.0)),
        "DI-FGSM, 10 steps": Pair(DIFGSM(), lambda model: peer.DIFGSM(model, **fast, decay=1.0)),
        "TI-FGSM, 10 steps": Pair(
            TIFGSM(), lambda model: peer.TIFGSM(model, **fast, decay=1.0, diversity_prob=0.0), colours=3
        ),
        "APGD-CE, 10 steps": Pair(APGD(n_steps=10), lambda model: peer.APGD(model, eps=EPSILON, steps=10)),
        "APGD-T, 9 targets, 5 steps": Pair(
            APGD(loss="targeted-dlr", n_steps=5),
            lambda model: peer.APGDT(model, eps=EPSILON, steps=5),
        ),
        "Square, 50 queries": Pair(Square(n_queries=50), lambda model: peer.Square(model, eps=EPSILON, n_queries=50)),
        "SPSA, 3 steps of 16 draws": Pair(
            SPSA(n_steps=3, n_samples=16),
            lambda model: peer.SPSA(model, eps=EPSILON, nb_iter=3, nb_sample=16, max_batch_size=16),
            n_images=20,
        ),
        "Carlini-Wagner, 50 steps, c = 1": Pair(
            CarliniWagner(n_steps=50, n_searches=1, initial_constant=1.0),
            lambda model: peer.CW(model, c=1, steps=50, lr=0.01),
            smallest=True,
        ),
        "DeepFool, up to 50 steps": Pair(
            DeepFool(n_steps=50), lambda model: peer.DeepFool(model, steps=50), n_images=20, smallest=True
        ),
        "Boundary, 100 steps (Foolbox)": Pair(BoundaryAttack(n_steps=100), boundary, n_images=20, smallest=True),
    }


def ratio(name: str, pair: Pair, setting: Setting, quick: bool) -> Row:
    """Measure the CPU time of our attack over that of the other one."""
    images, labels = setting.images[: pair.n_images].repeat(1, pair.colours, 1, 1), setting.labels[: pair.n_images]
    generator = torch.Generator().manual_seed(0)
    epsilon = None if pair.smallest else EPSILON
    their_attack = pair.theirs(setting.model)
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: pair.ours(setting.model, images, labels, epsilon=epsilon, generator=generator),
        "theirs": lambda: their_attack(images, labels),
    }
    shown = {}
    for side, attack in contenders.items():
        setting.model.images = 0
        attack()
        shown[side] = setting.model.images / pair.n_images
    kept: Row | None = None
    for _ in range(ATTEMPTS):
        timings = measure(contenders, rounds=5 if quick else 15, seconds=0.05 if quick else 0.3)
        ours, theirs = timings["ours"].best, timings["theirs"].best
        each = [seconds / pair.n_images * 1e3 for seconds in (ours, theirs)]
        detail = (
            f"{each[0]:.3f} ms an image against {each[1]:.3f}; {shown['ours']:.0f} passes against {shown['theirs']:.0f}"
        )
        row = Row(name, ours / theirs, 1.0, "", detail)
        if kept is None or row.value < kept.value:
            kept = row
        if kept.met:
            break
    assert kept is not None
    return kept


def main(quick: bool = False, only: str = "", out: Path | None = None) -> int:
    """Measure and print.

    Args:
        quick: fewer and shorter rounds: a look, not a result.
        only: measure the attacks whose name contains this.
        out: folder to write a record to.

    Returns:
        0, or 1 if a budget is missed.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")

    def rows() -> Iterator[Row]:
        setting = trained()
        for name, pair in pairs().items():
            if only.lower() in name.lower():
                yield ratio(name, pair, setting, quick)

    return report("adversarial-speed", rows(), quick=quick, out=out)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
