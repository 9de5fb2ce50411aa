"""Recorded runs of the studies of attacks and defences: the one to show, where it comes from, or how to record it."""

from collections.abc import Sequence

from toolkit.core.errors import require
from toolkit.core.paths import data_directory
from toolkit.experiments import Record, load_records
from toolkit.experiments.adversarial_recipe import find_member

MODELS, TRANSFER = "adversarial-models", "adversarial-transfer"
ADAPTIVE, COMPETITION = "adaptive-attacks", "competition"
STUDIES = (MODELS, TRANSFER, ADAPTIVE, COMPETITION)
_SCALES = ("quick", "laptop", "paper")
_KINDS = {"fgsm": "adv.", "ensemble": "ens.", "pgd": "PGD", "masked": "masked"}
_TITLES = {"digits": "8×8 digits", "fashion_mnist": "Fashion-MNIST"}


def adversarial_records(records: Sequence[Record] | None = None) -> list[Record]:
    """Return the records of these studies among those given; default: among those that come with the toolkit."""
    found = load_records(data_directory() / "runs") if records is None else records
    return [record for record in found if record.study in STUDIES]


def adversarial_run(study: str, records: Sequence[Record] | None = None) -> Record | None:
    """Take the run of a study to show: of Fashion-MNIST, at the largest scale, with the most seeds, the newest.

    Args:
        study: one of ``STUDIES``.
        records: to choose from; default: those that come with the toolkit.

    Returns:
        The run, or None if there is none.

    Raises:
        ValueError: another study.
    """
    require(study in STUDIES, "adversarial_run", "study", f"one of {list(STUDIES)}", repr(study))
    return max((record for record in adversarial_records(records) if record.study == study), key=_rank, default=None)


def _rank(record: Record) -> tuple:
    clothes = record.config.get("data") == "fashion_mnist"
    return clothes, _SCALES.index(record.scale), len(record.results), record.date


def not_recorded(study: str) -> str:
    """Say that a study is not recorded, and how to record it."""
    command = f"python -m toolkit run {study} --scale laptop --out data/runs"
    return f"No run of the study {study} is recorded here. This records one: {command}"


def data_title(record: Record | None) -> str:
    """Return the name of a record's data; without a record that of the lessons' data."""
    name = "fashion_mnist" if record is None else str(record.config.get("data"))
    return _TITLES.get(name, name)


def where_recorded(record: Record) -> str:
    """Return a record's images, scale, seeds, day, machine and versions in two sentences."""
    table = record.results[0].tables.get("data", {})
    images = "; ".join(map(str, table.get("description", []))) or data_title(record)
    environment = record.environment
    device = environment.device.partition(": ")[2] or environment.device
    seeds = ", ".join(map(str, record.seeds))
    return (
        f"Images: {images}. Recorded at {record.scale} scale with seed{'s' * (len(record.seeds) > 1)} {seeds} "
        f"on {record.date[:10]}: {device}, torch {environment.torch}."
    )


def short_name(name: str) -> str:
    """Return a classifier's family and, in a word, how it was trained, for the edge of a picture.

    Args:
        name: as in :data:`toolkit.experiments.adversarial_recipe.MEMBERS`.
    """
    member = find_member(name)
    if member.kind == "plain":
        return member.title
    return f"{member.title.split(',')[0].split(' ')[0]} {_KINDS.get(member.kind, '')}".strip()


WORDS = "adv.: trained on FGSM; ens.: on FGSM of other networks too; PGD: on PGD; masked: on FGSM of one ε"
"""What the short names mean."""
