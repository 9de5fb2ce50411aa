"""Training of the networks that attack and defend, and how well each stands when the attacker knows it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from toolkit.adversarial.attacks.autoattack import AutoAttack
from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import FGSM, PGD
from toolkit.adversarial.evaluation import accuracy, attack_in_batches, predict
from toolkit.core.devices import resolve_device
from toolkit.core.errors import require
from toolkit.experiments.adversarial_cast import Cast, cast
from toolkit.experiments.adversarial_data import LEVELS, ImagesConfig, shown, stream
from toolkit.experiments.adversarial_recipe import find_member
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

HONEST = "AutoAttack"


@dataclass(frozen=True)
class AdversarialModelsConfig(ImagesConfig):
    """Which networks are trained, and how they are judged."""

    data: Literal["digits", "fashion_mnist"] = by_scale(quick="digits", laptop="fashion_mnist", paper="fashion_mnist")
    """Fashion-MNIST, or scikit-learn's digits of 8×8 pixels."""

    n_images: int = by_scale(quick=100, laptop=9000, paper=9000)
    """So many test images for the clean accuracy, at most all there are."""

    n_attacked: int = by_scale(quick=50, laptop=200, paper=1000)
    """The first so many of them are attacked."""

    epsilons: tuple[int, ...] = by_scale(quick=(32,), laptop=(16, 32, 64), paper=(8, 16, 32, 64))
    """Of FGSM and PGD, in 255ths."""

    honest_epsilons: tuple[int, ...] = by_scale(quick=(32,), laptop=(16,), paper=(8, 16, 32))
    """Of AutoAttack, in 255ths: the slowest, and the one to believe."""

    n_steps: int = by_scale(quick=10, laptop=20, paper=40)
    """Of PGD, each 2.5 epsilon/n_steps long."""

    honest: Literal["quick", "standard"] = by_scale(quick="quick", laptop="quick", paper="standard")
    """Size of AutoAttack."""

    retrain: bool = False
    """Train all anew, even what ships or was trained before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("n_attacked", "n_steps"):
            self.check_whole(field, 1)
        for field in ("epsilons", "honest_epsilons"):
            self.check_epsilons(field)
        self.check_choice("honest", "quick", "standard")
        require(isinstance(self.retrain, bool), "AdversarialModelsConfig", "retrain", "True or False", self.retrain)


def measure(task: Task) -> Measurement:
    """Train the networks of one seed, and attack each one with full knowledge of it and of the labels.

    Args:
        task: the configuration and the seed.

    Returns:
        Metrics: accuracy of each classifier, alone and behind the denoisers, on clean images and under each attack and
        epsilon; CPU seconds of training. Tables: ``networks``; ``robust`` with right answers; ``data``.
    """
    config: AdversarialModelsConfig = task.config
    device = resolve_device(config.device)
    part = config.load()
    networks = cast(
        config.data,
        config.cast_scale,
        task.seed,
        device=device,
        retrain=config.retrain,
        checkpoint=task.checkpoint_for("cast"),
        stop=task.stop,
    )
    images, labels = part.pixels.to(device), part.labels.to(device)
    defences = networks.classifiers | networks.denoised
    clean = {name: accuracy(model, images, labels) for name, model in defences.items()}
    metrics = {f"{name} clean": value for name, value in clean.items()}
    some, known = images[: config.n_attacked], labels[: config.n_attacked]
    rows: dict[str, list] = {"network": [], "attack": [], "epsilon": [], "right": []}
    for (name, model), (attack_name, attack, epsilon) in itertools.product(defences.items(), _attacks(config)):
        if task.stop is not None and task.stop.is_set():
            raise StudyInterrupted("stopped")
        generator = stream(task.seed, f"{attack_name} {epsilon} {name}")
        changed = attack_in_batches(attack, model, some, known, epsilon=epsilon / LEVELS, generator=generator)
        right = int((predict(model, changed) == known).sum())
        metrics[f"{name} {attack_name} {epsilon}"] = right / len(known)
        for column, value in zip(rows.values(), (name, attack_name, epsilon, right), strict=True):
            column.append(value)
    seconds = {name: origin.cpu_seconds for name, origin in networks.origins.items()}
    metrics |= {f"{name} CPU seconds of training": value for name, value in seconds.items()}
    metrics["CPU seconds of training"] = sum(seconds.values())
    return Measurement(
        metrics,
        tables={
            "networks": _table(networks, clean),
            "robust": rows,
            "data": {"description": [part.description], "n_images": [len(labels)], "n_attacked": [len(known)]},
        },
    )


def _attacks(config: AdversarialModelsConfig) -> list[tuple[str, Attack, int]]:
    pgd = PGD(n_steps=config.n_steps)
    honest = AutoAttack(size=config.honest)
    simple = [
        (name, attack, epsilon) for name, attack in (("FGSM", FGSM()), ("PGD", pgd)) for epsilon in config.epsilons
    ]
    return [*simple, *((HONEST, honest, epsilon) for epsilon in config.honest_epsilons)]


def _table(networks: Cast, clean: dict[str, float]) -> dict[str, list]:
    members = [find_member(name) for name in networks.networks]
    return {
        "name": [member.name for member in members],
        "title": [member.title for member in members],
        "public": [member.public for member in members],
        "parameters": [_size(networks[member.name]) for member in members],
        "CPU seconds": [networks.origins[member.name].cpu_seconds for member in members],
        "origin": [networks.origins[member.name].place for member in members],
        "clean accuracy": [clean.get(member.name) for member in members],
    }


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def report(records: Sequence[Record]) -> str:
    """Show each network's accuracy, clean and under attacks that know it.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    config, summary = record.config, record.summary
    data, members = record.results[0].tables["data"], record.results[0].tables["networks"]
    title = (
        f"adversarial-models at {record.scale} scale: networks for {config['data']}, "
        f"{len(record.seeds)} seed{'s' if len(record.seeds) > 1 else ''}, {record.environment.device}"
    )
    attacks = [(name, epsilon) for name in ("FGSM", "PGD") for epsilon in config["epsilons"]]
    attacks += [(HONEST, epsilon) for epsilon in config["honest_epsilons"]]
    rows = []
    for name, words, public in zip(members["name"], members["title"], members["public"], strict=True):
        cells = [summary.get(f"{name} {what}") for what in ("clean", *(f"{a} {e}" for a, e in attacks))]
        label = f"{words} ({'public' if public else 'hidden'})"
        rows.append((label, *map(shown, cells), shown(summary[f"{name} CPU seconds of training"], 0)))
    columns = ("network", "clean", *(f"{attack} {epsilon}" for attack, epsilon in attacks), "CPU s")
    lines = [title, "", Table(columns, tuple(rows), title).to_text(), ""]
    lines.append(f"clean: accuracy on {data['description'][0]}")
    lines.append(
        f"attacks: on the first {data['n_attacked'][0]:,} of them, epsilon in 255ths, the network and the labels known"
    )
    lines.append("a denoiser's accuracy is that of the hidden ResNet behind it; CPU s: of its training")
    if len(record.seeds) > 1:
        lines.append(f"a ± b: mean and standard deviation over the {len(record.seeds)} seeds")
    return "\n".join(lines)


STUDY = Study(
    name="adversarial-models",
    summary="Networks that attack and defend: training them, and how well each stands when the attacker knows it",
    config=AdversarialModelsConfig,
    measure=measure,
    report=report,
)
run = STUDY.run
