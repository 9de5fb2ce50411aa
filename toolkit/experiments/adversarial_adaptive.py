"""Praised defences under attacks that know them: what is left of a score when the attacker looks at the defence too.

Each defence meets five kinds of images: clean ones; ones made on the public networks, as in the competition; ones made
on a hidden network that no denoiser was trained against; ones made by an attacker who has its weights but does not know
what stands before them (one step, where nothing does); and ones made through the defence itself: projected gradients,
through differentiable surrogates where it has none, averaged over draws where it is random.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.adversarial.adaptive import BPDA, ExpectationOverTransformation
from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import FGSM, MIFGSM, PGD
from toolkit.adversarial.defences import Defended
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.evaluation import attack_in_batches, predict
from toolkit.adversarial.jpeg import JPEG, DifferentiableJPEG
from toolkit.adversarial.transforms import BitDepth, MedianFilter
from toolkit.core.devices import resolve_device
from toolkit.experiments.adversarial_cast import Cast, cast
from toolkit.experiments.adversarial_data import LEVELS, ImagesConfig, shown, stream
from toolkit.experiments.adversarial_entries import fused_public, resize_pad
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

KINDS = ("transferred", "held-out", "unaware", "adaptive")
HELD_OUT = "dilated"
"""The network whose attacks no denoiser has seen in its training; one defence uses it itself."""


@dataclass(frozen=True)
class AdaptiveAttacksConfig(ImagesConfig):
    """Whose defences are attacked, and how hard."""

    n_images: int = by_scale(quick=50, laptop=200, paper=1000)
    """So many test images, at most all there are."""

    epsilons: tuple[int, ...] = by_scale(quick=(24,), laptop=(16, 24), paper=(8, 16, 24, 32))
    """In 255ths."""

    n_steps: int = by_scale(quick=10, laptop=20, paper=100)
    """Of projected gradients, each 2.5 epsilon/n_steps long."""

    n_draws: int = by_scale(quick=10, laptop=10, paper=30)
    """Of a random defence, for an answer as for a gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_epsilons("epsilons")
        for field in ("n_steps", "n_draws"):
            self.check_whole(field, 1)


@dataclass(frozen=True, eq=False)
class Case:
    """A defence and how it is attacked.

    Attributes:
        name: short, unique.
        title: what it is.
        model: as it answers.
        through: what an attacker who knows it takes gradients of.
        backbone: what one takes them of who does not; ``None`` if nothing stands before the network.
    """

    name: str
    title: str
    model: nn.Module
    through: nn.Module
    backbone: nn.Module | None


def cases(networks: Cast, n_draws: int) -> tuple[Case, ...]:
    """Return the defences.

    Args:
        networks: the cast.
        n_draws: of a random defence, for an answer as for a gradient.
    """
    resnet, robust = networks["resnet"], networks["resnet-ens"]
    dilated = networks["dilated"]
    both = Ensemble([networks["resnet-adv"], robust], fuse="probabilities")
    denoised, resize = networks.denoised, resize_pad(networks)
    median = MedianFilter(2)

    def random(name: str, title: str, model: nn.Module) -> Case:
        through = ExpectationOverTransformation(Defended(model, resize), n_draws)
        return Case(name, title, Defended(model, resize, n_draws), through, model)

    def open_to(name: str, title: str, model: nn.Module, backbone: nn.Module | None) -> Case:
        return Case(name, title, model, model, backbone)

    return (
        open_to("LGD", "logit-guided denoiser, ResNet", denoised["denoiser-logits"], resnet),
        open_to("pixel-denoiser", "pixel-guided denoiser, ResNet", denoised["denoiser-pixels"], resnet),
        random("resize", "random resizing, ResNet", resnet),
        random("iyswim", "random resizing, ens.-adv. trained ResNet", robust),
        open_to("median", "median filter, ResNet", Defended(resnet, median), resnet),
        open_to("erko", "median filter, both robust ResNets", Defended(both, median), both),
        Case(
            "JPEG",
            "JPEG of quality 75, ResNet",
            Defended(resnet, JPEG(75)),
            Defended(resnet, BPDA(JPEG(75), DifferentiableJPEG(75))),
            resnet,
        ),
        Case("bits", "3 bits, dilated", Defended(dilated, BitDepth(3)), Defended(dilated, BPDA(BitDepth(3))), dilated),
        open_to("lenet-masked", "LeNet trained on FGSM of one epsilon", networks["lenet-masked"], None),
        open_to("resnet-adv", "ResNet, adversarially trained", networks["resnet-adv"], None),
        open_to("resnet-ens", "ResNet, ens.-adv. trained", robust, None),
        open_to("resnet-pgd", "ResNet trained on PGD", networks["resnet-pgd"], None),
        open_to("resnet", "plain ResNet", resnet, None),
    )


def measure(task: Task) -> Measurement:
    """Attack the defences of one cast.

    Args:
        task: the configuration, and the seed of the cast.

    Returns:
        Metrics: accuracy by defence on clean images, and by kind of attack and epsilon. Tables: ``robust`` with right
        answers; ``defences``; ``data``.
    """
    config: AdaptiveAttacksConfig = task.config
    device = resolve_device(config.device)
    part = config.load()
    images, labels = part.pixels.to(device), part.labels.to(device)
    networks = cast(
        config.data, config.cast_scale, task.seed, device=device, checkpoint=task.checkpoint_for("cast"), stop=task.stop
    )
    met = cases(networks, config.n_draws)
    public = fused_public(networks)
    metrics = {f"{case.name} clean": _right(case, images, labels, task.seed) / len(labels) for case in met}
    rows: dict[str, list] = {"defence": [], "attack": [], "epsilon": [], "right": []}
    for epsilon in config.epsilons:
        made = {
            "transferred": _attacked(MIFGSM(), public, images, None, epsilon, task.seed, "transferred"),
            "held-out": _attacked(MIFGSM(), networks[HELD_OUT], images, None, epsilon, task.seed, "held-out"),
        }
        for case, kind in itertools.product(met, KINDS):
            if task.stop is not None and task.stop.is_set():
                raise StudyInterrupted("stopped")
            if kind in made:
                changed = made[kind]
            else:
                attack, model = _attack(case, kind, config)
                changed = _attacked(attack, model, images, labels, epsilon, task.seed, f"{case.name} {kind}")
            right = _right(case, changed, labels, task.seed)
            metrics[f"{case.name} {kind} {epsilon}"] = right / len(labels)
            for column, value in zip(rows.values(), (case.name, kind, epsilon, right), strict=True):
                column.append(value)
    return Measurement(
        metrics,
        tables={
            "robust": rows,
            "defences": {"name": [case.name for case in met], "title": [case.title for case in met]},
            "data": {"description": [part.description], "n_images": [len(labels)]},
        },
    )


def _attack(case: Case, kind: str, config: AdaptiveAttacksConfig) -> tuple[Attack, nn.Module]:
    if kind == "adaptive":
        return PGD(n_steps=config.n_steps), case.through
    return (FGSM(), case.model) if case.backbone is None else (PGD(n_steps=config.n_steps), case.backbone)


def _attacked(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor | None, epsilon: int, seed: int, name: str
) -> Tensor:
    """Return attacked images in 8 bits, as a competition would hand them on."""
    generator = stream(seed, f"{name} {epsilon}")
    model.eval()
    changed = attack_in_batches(
        attack, model, images, labels, epsilon=epsilon / LEVELS, generator=generator, batch_size=100
    )
    return (changed * LEVELS).round() / LEVELS


def _right(case: Case, images: Tensor, labels: Tensor, seed: int) -> int:
    case.model.eval()
    if isinstance(case.model, Defended):
        generator = stream(seed, f"{case.name} answers")
        with torch.no_grad():
            answers = torch.cat([case.model(batch, generator).argmax(1) for batch in images.split(500)])
        return int((answers == labels).sum())
    return int((predict(case.model, images) == labels).sum())


def report(records: Sequence[Record]) -> str:
    """Show each defence's accuracy under the kinds of attacks.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    config, summary = record.config, record.summary
    data, met = (record.results[0].tables[name] for name in ("data", "defences"))
    n_casts = len(record.seeds)
    title = (
        f"adaptive-attacks at {record.scale} scale: {data['n_images'][0]:,} images of {config['data']}, "
        f"{config['n_steps']} steps, {config['n_draws']} draws, {n_casts} cast{'s' if n_casts > 1 else ''}, "
        f"{record.environment.device}"
    )
    lines = [title]
    for epsilon in config["epsilons"]:
        rows = tuple(
            (
                words,
                shown(summary[f"{name} clean"]),
                *(shown(summary[f"{name} {kind} {epsilon}"]) for kind in KINDS),
            )
            for name, words in zip(met["name"], met["title"], strict=True)
        )
        caption = f"accuracy at {epsilon}/255"
        lines += ["", caption, "", Table(("defence", "clean", *KINDS), rows, caption).to_text(width=44)]
    lines += ["", f"images: {data['description'][0]}"]
    lines.append("transferred: momentum on the public networks, without labels; held-out: on the hidden dilated one,")
    lines.append("which is the very network behind the 3 bits;")
    lines.append("unaware: PGD on the weights alone, FGSM where nothing stands before them; adaptive: PGD through the")
    lines.append("defence, by BPDA and EOT where needed")
    if n_casts > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_casts} casts")
    return "\n".join(lines)


STUDY = Study(
    name="adaptive-attacks",
    summary="What is left of praised defences when the attacker knows them: gradients through all of it, BPDA, EOT",
    config=AdaptiveAttacksConfig,
    measure=measure,
    report=report,
)
run = STUDY.run
