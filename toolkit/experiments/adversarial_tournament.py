"""Our competition: the teams' attacks against the teams' defences, by the rules of 2017, on images kept for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.adversarial.competition import TRACKS, Competition, Leaderboard, Remark, Tournament, draw_targets
from toolkit.core.devices import resolve_device
from toolkit.core.errors import reject, require
from toolkit.experiments.adversarial_cast import cast
from toolkit.experiments.adversarial_data import N_CLASSES, ImagesConfig, shown
from toolkit.experiments.adversarial_entries import Entry, attacks, defences, knowledge, targeted_attacks
from toolkit.experiments.records import Record, SeedResult
from toolkit.experiments.study import Measurement, Study, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

_COUNTS = ("correct", "error", "hit", "labelled")
_FEW_ATTACKS = ("no-op", "noise", "FGSM", "MI", "TsAIL", "iwiwi")
_FEW_TARGETED = ("step", "TsAIL-targeted")
_FEW_DEFENCES = ("LGD", "pixel-denoiser", "resnet-adv", "resnet-ens", "erko", "resnet", "median", "lenet")


@dataclass(frozen=True)
class CompetitionConfig(ImagesConfig):
    """Who meets whom, on which images."""

    epsilons: tuple[int, ...] = (8, 16, 24, 32)
    """In 255ths, given to batches in turn."""

    batch_size: int = by_scale(quick=25, laptop=100, paper=100)
    """Images that a submission gets at once."""

    n_steps: int = by_scale(quick=5, laptop=10, paper=10)
    """Of iterative attacks; targeted ones take twice as many."""

    n_draws: int = by_scale(quick=3, laptop=10, paper=30)
    """Of randomised defences, for each answer."""

    attacks: tuple[str, ...] | None = by_scale(quick=_FEW_ATTACKS, laptop=(), paper=())
    """Names of non-targeted attacks; none at all means every one."""

    targeted: tuple[str, ...] | None = by_scale(quick=_FEW_TARGETED, laptop=(), paper=())
    """Names of targeted attacks, likewise."""

    defences: tuple[str, ...] | None = by_scale(quick=_FEW_DEFENCES, laptop=(), paper=())
    """Names of defences, likewise."""

    isolate: bool = False
    """Run every submission in a process of its own: slower, not on a GPU, and the CPU seconds of these are not seen."""

    time_limit: float | None = None
    """Seconds for a batch, with isolate; 500 for 100 images in 2017."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        self.check_epsilons("epsilons")
        for field in ("batch_size", "n_steps", "n_draws"):
            self.check_whole(field, 1)
        for field in ("attacks", "targeted", "defences"):
            given = getattr(self, field)
            object.__setattr__(self, field, tuple(given or ()))
        if self.time_limit is not None:
            require(self.time_limit > 0 and self.isolate, name, "time_limit", "> 0, with isolate", self.time_limit)


def measure(task: Task) -> Measurement:
    """Hold the competition with one cast of networks.

    Args:
        task: the configuration and the seed of the cast.

    Returns:
        Metrics: ``score``, ``worst`` and, of attacks, median seconds a batch for each submission by name. Tables:
        ``attacks``, ``defences``, ``batches`` and ``remarks``, from which :func:`tournament` builds the tournament
        again; ``knowledge``, what each attack knows of each defence; ``data``.
    """
    config: CompetitionConfig = task.config
    device = resolve_device(config.device)
    part = config.load()
    networks = cast(
        config.data, config.cast_scale, task.seed, device=device, checkpoint=task.checkpoint_for("cast"), stop=task.stop
    )
    if task.stop is not None and task.stop.is_set():
        raise StudyInterrupted("stopped")
    plain = attacks(networks, n_steps=config.n_steps, names=config.attacks or None)
    aiming = targeted_attacks(networks, n_steps=2 * config.n_steps, names=config.targeted or None)
    judges = defences(networks, n_draws=config.n_draws, names=config.defences or None)
    competition = Competition(
        [entry.submission for entry in plain],
        [entry.submission for entry in aiming],
        [entry.submission for entry in judges],
        epsilons=config.epsilons,
        batch_size=config.batch_size,
        isolate=config.isolate,
        time_limit=config.time_limit,
        seed=task.seed,
    )
    found = competition.run(part.images, part.labels, draw_targets(part.labels, N_CLASSES, seed=task.seed))
    return Measurement(
        _metrics(found),
        tables={
            **_tables(found, (*plain, *aiming), judges),
            "knowledge": _knowledge((*plain, *aiming), judges),
            "data": {"description": [part.description], "n_images": [len(part)]},
        },
    )


def _metrics(found: Tournament) -> dict[str, float]:
    metrics = {}
    for track in TRACKS:
        for row in found.leaderboard(track):
            metrics[f"{row.name} score"] = row.score
            metrics[f"{row.name} worst"] = float("nan") if row.worst is None else row.worst
            if track != "defence" and row.median_seconds is not None:
                metrics[f"{row.name} seconds"] = row.median_seconds
    return metrics


def _tables(found: Tournament, entries: Sequence[Entry], judges: Sequence[Entry]) -> dict[str, dict[str, list]]:
    titles = {entry.name: entry.title for entry in (*entries, *judges)}
    remarks = [[getattr(remark, name) for remark in found.remarks] for name in Remark.__dataclass_fields__]
    return {
        "attacks": {
            "name": list(found.attacks),
            "title": [titles[name] for name in found.attacks],
            "targeted": list(found.targeted),
            "produced": found.produced_by_batch.tolist(),
            "seconds": _short(found.attack_seconds.tolist()),
        },
        "defences": {
            "name": list(found.defences),
            "title": [titles[name] for name in found.defences],
            **{name: getattr(found, f"{name}_by_batch").tolist() for name in _COUNTS},
            "seconds": _short(found.defence_seconds.tolist()),
        },
        "batches": {"epsilon": list(found.epsilons), "size": list(found.sizes)},
        "remarks": dict(zip(Remark.__dataclass_fields__, remarks, strict=True)),
    }


def _knowledge(entries: Sequence[Entry], judges: Sequence[Entry]) -> dict[str, list]:
    pairs = [(attack, defence) for defence in judges for attack in entries]
    return {
        "attack": [attack.name for attack, _ in pairs],
        "defence": [defence.name for _, defence in pairs],
        "knowledge": [knowledge(attack.networks, d.networks, d.transformed) for attack, d in pairs],
    }


def _short(values: Any) -> Any:
    """Round seconds to three digits; one that was not taken is None."""
    if isinstance(values, list):
        return [_short(value) for value in values]
    return None if values != values else float(f"{values:.3g}")


def tournament(result: SeedResult) -> Tournament:
    """Build a recorded tournament again, to be ranked anew with submissions left out.

    Args:
        result: of one seed of this study.

    Raises:
        ValueError: the result is of another study, or was changed.
    """
    tables: Mapping[str, Mapping[str, list]] = result.tables
    try:
        who, judges, batches = tables["attacks"], tables["defences"], tables["batches"]
        shape = (len(judges["name"]), len(who["name"]), len(batches["size"]))
        counts = {name: torch.tensor(judges[name]).reshape(shape) for name in _COUNTS}
        remarks = [dict(zip(tables["remarks"], values, strict=True)) for values in _rows(tables["remarks"])]
        return Tournament(
            attacks=tuple(who["name"]),
            targeted=tuple(who["targeted"]),
            defences=tuple(judges["name"]),
            epsilons=tuple(batches["epsilon"]),
            sizes=tuple(batches["size"]),
            produced_by_batch=torch.tensor(who["produced"]).reshape(shape[1:]),
            attack_seconds=_seconds(who["seconds"]).reshape(shape[1:]),
            defence_seconds=_seconds(judges["seconds"]).reshape(shape),
            remarks=tuple(Remark(**remark) for remark in remarks),
            correct_by_batch=counts["correct"],
            error_by_batch=counts["error"],
            hit_by_batch=counts["hit"],
            labelled_by_batch=counts["labelled"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reject("tournament", "result", "a seed of a record of the competition", f"{type(error).__name__}: {error}")


def _rows(table: Mapping[str, list]) -> list[tuple]:
    return list(zip(*table.values(), strict=True))


def _seconds(values: Any) -> torch.Tensor:
    def filled(value: Any) -> Any:
        return [filled(one) for one in value] if isinstance(value, list) else float("nan") if value is None else value

    return torch.tensor(filled(values), dtype=torch.float64)


def report(records: Sequence[Record]) -> str:
    """Show the leaderboards of the three tracks with their worst cases.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    found = [tournament(result) for result in record.results]
    first, config = found[0], record.config
    n_casts = len(found)
    title = (
        f"competition at {record.scale} scale: {first.n_images:,} images of {config['data']} in batches of "
        f"{config['batch_size']}, epsilon from {', '.join(map(str, config['epsilons']))} 255ths, "
        f"{n_casts} cast{'s' if n_casts > 1 else ''} of networks, {record.environment.device}"
    )
    titles = {
        name: words
        for table in ("attacks", "defences")
        for name, words in zip(*(record.results[0].tables[table][key] for key in ("name", "title")), strict=True)
    }
    lines = [title]
    words = {"non-targeted": "Non-targeted attacks", "targeted": "Targeted attacks", "defence": "Defences"}
    for track in TRACKS:
        boards = [one.leaderboard(track) for one in found]
        if len(boards[0]):
            lines += ["", words[track], "", _board(record, boards, titles).to_text(width=44)]
    n_remarks = sum(len(one.remarks) for one in found)
    lines += ["", f"images: {record.results[0].tables['data']['description'][0]}; attackers get no labels"]
    lines.append("score: share of images fooled, hit or labelled rightly, over all opponents; worst: against the worst")
    if n_remarks:
        lines.append(f"{n_remarks} batches broke a rule; the records say which")
    if n_casts > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_casts} casts; rank by the mean score")
    return "\n".join(lines)


def _board(record: Record, boards: Sequence[Leaderboard], titles: Mapping[str, str]) -> Table:
    summary = record.summary
    opponents: dict[str, list[str]] = {row.name: [] for row in boards[0]}
    for board in boards:
        for row in board:
            if row.worst_opponent is not None and row.worst_opponent not in opponents[row.name]:
                opponents[row.name].append(row.worst_opponent)
    names = sorted(opponents, key=lambda name: -summary[f"{name} score"].mean)
    columns: tuple[str, ...] = ("rank", "submission", "", "score", "worst", "worst opponent")
    rows: list[tuple[str, ...]] = [
        (
            str(rank),
            name,
            titles[name],
            shown(summary[f"{name} score"]),
            shown(summary[f"{name} worst"]),
            ", ".join(opponents[name]),
        )
        for rank, name in enumerate(names, 1)
    ]
    if boards[0].track != "defence":
        columns = (*columns, "s a batch")
        rows = [(*row, shown(summary[f"{row[1]} seconds"])) for row in rows]
    return Table(columns, tuple(rows), boards[0].track)


STUDY = Study(
    name="competition",
    summary="The adversarial competition in small: every attack meets every defence, three leaderboards, worst cases",
    config=CompetitionConfig,
    measure=measure,
    report=report,
)
run = STUDY.run
