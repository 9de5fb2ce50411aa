"""Does what fools one network fool another? Source × target error matrices, with and without momentum, alone and fused.

Attackers know the true labels here. Every network attacks every other; then the logits of all plain networks but one
are fused against the one left out. One pair of networks can point either way, so momentum is judged by counting the
pairs in which it errs the target more often than the same steps without.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM
from toolkit.adversarial.attacks.noise import RandomSign
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.evaluation import attack_in_batches, predict
from toolkit.core.devices import resolve_device
from toolkit.core.errors import require
from toolkit.experiments.adversarial_cast import Cast, cast
from toolkit.experiments.adversarial_data import LEVELS, ImagesConfig, shown, stream
from toolkit.experiments.adversarial_recipe import CLASSIFIERS
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

WITHOUT, WITH = "BIM", "MI-FGSM"
ATTACKS = ("noise", "FGSM", WITHOUT, WITH)
ROBUST_SOURCES = ("resnet-adv", "resnet-ens")
FUSED = "fused"
"""Before the name of the network that a fusion of all other plain networks leaves out."""


@dataclass(frozen=True)
class AdversarialTransferConfig(ImagesConfig):
    """Whose networks attack each other on which images, and how far."""

    n_images: int = by_scale(quick=100, laptop=500, paper=5000)
    """So many test images, at most all there are."""

    epsilons: tuple[int, ...] = by_scale(quick=(32,), laptop=(16, 32), paper=(8, 16, 24, 32))
    """In 255ths."""

    n_steps: int = by_scale(quick=5, laptop=10, paper=10)
    """Of BIM and MI-FGSM, each epsilon/n_steps long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_epsilons("epsilons")
        self.check_whole("n_steps", 1)


@dataclass(frozen=True)
class Paired:
    """In how many pairs of networks momentum errs the target more often, as often, and less often.

    Attributes:
        better: more errors with momentum.
        same: as many.
        worse: fewer.
    """

    better: int
    same: int
    worse: int

    def __str__(self) -> str:
        return f"{self.better} better, {self.same} the same, {self.worse} worse"

    def to_dict(self) -> dict[str, int]:
        """Return plain values."""
        return {"better": self.better, "same": self.same, "worse": self.worse}


def measure(task: Task) -> Measurement:
    """Attack every network through every other.

    Args:
        task: the configuration, and the seed of the cast.

    Returns:
        Metrics: mean error rates by attack and epsilon on the attacked network itself (``white-box``), on the other
        plain ones (``single``) and on the one left out of a fusion (``fused``), and the pairs that momentum improves.
        Tables: ``errors``, wrong answers of each target for each attack, epsilon and source; ``clean``; ``data``.
    """
    config: AdversarialTransferConfig = task.config
    device = resolve_device(config.device)
    part = config.load()
    images, labels = part.pixels.to(device), part.labels.to(device)
    networks = cast(
        config.data,
        config.cast_scale,
        task.seed,
        only=CLASSIFIERS,
        device=device,
        checkpoint=task.checkpoint_for("cast"),
        stop=task.stop,
    )
    targets = networks.classifiers
    rows: dict[str, list] = {"attack": [], "epsilon": [], "source": [], "target": [], "errors": []}
    for epsilon, (name, attack), (source, model) in itertools.product(
        config.epsilons, _attacks(config).items(), _sources(networks).items()
    ):
        if (source == "") != (name == "noise"):
            continue
        if task.stop is not None and task.stop.is_set():
            raise StudyInterrupted("stopped")
        generator = stream(task.seed, f"{name} {epsilon} {source}", "cpu")
        changed = attack_in_batches(
            attack, model, images, labels, epsilon=epsilon / LEVELS, generator=generator, batch_size=100
        )
        for target in _seen(source, targets):
            _append(rows, name, epsilon, source, target, _errors(targets[target], changed, labels))
    clean = {name: _errors(model, images, labels) for name, model in targets.items()}
    return Measurement(
        _metrics(rows, len(labels), clean),
        tables={
            "errors": rows,
            "clean": {"target": list(clean), "errors": list(clean.values())},
            "data": {"description": [part.description], "n_images": [len(labels)]},
        },
    )


def _attacks(config: AdversarialTransferConfig) -> dict[str, Attack]:
    steps = config.n_steps
    return dict(zip(ATTACKS, (RandomSign(), FGSM(), BIM(n_steps=steps), MIFGSM(n_steps=steps)), strict=True))


def _sources(networks: Cast) -> dict[str, nn.Module]:
    """Return what gradients are taken of; the empty name stands for an attack that takes none."""
    plain = networks.plain
    alone = {name: networks[name] for name in (*plain, *ROBUST_SOURCES)}
    fused = {f"{FUSED} {out}": Ensemble([networks[name] for name in plain if name != out]) for out in plain}
    return {"": networks[plain[0]], **alone, **{name: model.to(_device(model)).eval() for name, model in fused.items()}}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _seen(source: str, targets: Mapping[str, Any]) -> Sequence[str]:
    """Return who is shown the images of a source: all, or for a fusion the network left out."""
    left_out = source.removeprefix(f"{FUSED} ")
    return [left_out] if left_out != source else list(targets)


def _errors(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    return int((predict(model, images) != labels).sum())


def _append(rows: dict[str, list], *values: Any) -> None:
    for column, value in zip(rows.values(), values, strict=True):
        column.append(value)


def _metrics(rows: Mapping[str, list], n: int, clean: Mapping[str, int]) -> dict[str, float]:
    counts = matrix(rows)
    plain = sorted({source.removeprefix(f"{FUSED} ") for _, _, source, _ in counts if source.startswith(FUSED)})
    found: dict[str, float] = {"clean": sum(clean[name] for name in plain) / len(plain) / n}
    for epsilon, attack in itertools.product(dict.fromkeys(rows["epsilon"]), ATTACKS):
        for group in ("white-box", "single", "fused", "from robust"):
            cells = [
                errors
                for (a, e, source, target), errors in counts.items()
                if (a, e) == (attack, epsilon) and target in plain and _group(source, target, plain) == group
            ]
            if cells:
                found[f"{attack} {epsilon} {group}"] = sum(cells) / len(cells) / n
        if attack == WITH:
            for group in ("single", "fused"):
                paired = momentum_pairs(rows, epsilon, group)
                found[f"momentum better {epsilon} {group}"] = paired.better
                found[f"momentum worse {epsilon} {group}"] = paired.worse
    return found


def _group(source: str, target: str, plain: Sequence[str]) -> str:
    if source in ("", *plain):
        return "single" if source != target else "white-box"
    return "fused" if source.startswith(FUSED) else "from robust"


def matrix(rows: Mapping[str, list]) -> dict[tuple[str, int, str, str], int]:
    """Return the wrong answers by attack, epsilon, source and target from the table ``errors`` of a record."""
    keys = zip(rows["attack"], rows["epsilon"], rows["source"], rows["target"], strict=True)
    return dict(zip(keys, rows["errors"], strict=True))


def momentum_pairs(rows: Mapping[str, list], epsilon: int, group: str = "single") -> Paired:
    """Count the pairs of plain networks in which momentum errs the target more often.

    Args:
        rows: the table ``errors`` of a record.
        epsilon: in 255ths.
        group: ``"single"``: one network attacks another; ``"fused"``: all others attack the one left out.

    Raises:
        ValueError: an unknown group.
    """
    require(group in ("single", "fused"), "momentum_pairs", "group", "'single' or 'fused'", repr(group))
    counts = matrix(rows)
    plain = {source.removeprefix(f"{FUSED} ") for _, _, source, _ in counts if source.startswith(FUSED)}
    signs: Counter[int] = Counter()
    for (attack, e, source, target), errors in counts.items():
        if attack == WITH and e == epsilon and target in plain and _group(source, target, list(plain)) == group:
            before = counts[WITHOUT, e, source, target]
            signs[(errors > before) - (errors < before)] += 1
    return Paired(signs[1], signs[0], signs[-1])


def report(records: Sequence[Record]) -> str:
    """Show mean error rates, and how often momentum helps.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    config, summary = record.config, record.summary
    data = record.results[0].tables["data"]
    title = (
        f"adversarial-transfer at {record.scale} scale: {data['n_images'][0]:,} images of {config['data']}, "
        f"{config['n_steps']} steps, {len(record.seeds)} cast{'s' if len(record.seeds) > 1 else ''}, "
        f"{record.environment.device}"
    )
    groups = ("white-box", "single", "fused", "from robust")
    rows = []
    for epsilon, attack in itertools.product(config["epsilons"], ATTACKS):
        cells = [summary.get(f"{attack} {epsilon} {group}") for group in groups]
        rows.append((f"{attack}, {epsilon}/255", *map(shown, cells)))
    columns = ("attack", "on itself", "one network → another", "four fused → fifth", "robust → plain")
    lines = [title, "", f"error rate of plain networks on clean images: {shown(summary['clean'])}"]
    lines += ["", Table(columns, tuple(rows), title).to_text(width=30), ""]
    for epsilon, group in itertools.product(config["epsilons"], ("single", "fused")):
        each = [momentum_pairs(result.tables["errors"], epsilon, group) for result in record.results]
        total = Paired(sum(p.better for p in each), sum(p.same for p in each), sum(p.worse for p in each))
        where = "network to network" if group == "single" else "fusion to the one left out"
        lines.append(f"momentum at {epsilon}/255, {where}: {total}")
    lines += ["", f"images: {data['description'][0]}; error rates of plain networks; attackers know the labels"]
    if len(record.seeds) > 1:
        lines.append(f"a ± b: mean and standard deviation over the {len(record.seeds)} casts")
    return "\n".join(lines)


STUDY = Study(
    name="adversarial-transfer",
    summary="Does what fools one network fool another? With and without momentum, from one network and from several",
    config=AdversarialTransferConfig,
    measure=measure,
    report=report,
)
run = STUDY.run
