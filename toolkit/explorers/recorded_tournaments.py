"""The recorded competition: its casts one by one and together, with the teams' titles and where it was recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from toolkit.adversarial.competition import Tournament
from toolkit.core.errors import require
from toolkit.experiments import Record
from toolkit.experiments.adversarial_tournament import tournament
from toolkit.explorers.adversarial_records import COMPETITION, adversarial_run, not_recorded, where_recorded

NOT_RECORDED = not_recorded(COMPETITION)

_PER_BATCH = ("produced", "correct", "error", "hit", "labelled")
_DATA = {"digits": "digits", "fashion_mnist": "Fashion-MNIST"}


@dataclass(frozen=True, repr=False, eq=False)
class RecordedTournament:
    """A competition that was recorded.

    Attributes:
        casts: a tournament for each training of the networks.
        seeds: of these trainings.
        titles: what each submission is, by its name.
        knowledge: what an attack knows of a defence, by both names, the attack's first.
        data: name of the images.
        where: images, scale, day and machine.
    """

    casts: tuple[Tournament, ...]
    seeds: tuple[int, ...]
    titles: Mapping[str, str]
    knowledge: Mapping[tuple[str, str], str]
    data: str
    where: str

    @property
    def pooled(self) -> Tournament:
        """All casts as one tournament: each team stands for its networks of every training."""
        return pool(self.casts)

    @property
    def setting(self) -> str:
        """Images and casts in a few words."""
        n_casts = len(self.casts)
        trained = f", networks trained {n_casts} times" if n_casts > 1 else ""
        return f"{self.casts[0].n_images:,} images of {self.data}{trained}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        first = self.casts[0]
        return f"RecordedTournament({len(first.defences)} × {len(first.attacks)}, {self.setting})"


def recorded_tournament(records: Sequence[Record] | None = None) -> RecordedTournament | None:
    """Return the competition to show, or None without any.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: the record was changed.
    """
    record = adversarial_run(COMPETITION, records)
    if record is None:
        return None
    tables = record.results[0].tables
    titles = {
        name: title
        for side in ("attacks", "defences")
        for name, title in zip(tables[side]["name"], tables[side]["title"], strict=True)
    }
    known = tables["knowledge"]
    return RecordedTournament(
        tuple(tournament(result) for result in record.results),
        record.seeds,
        titles,
        dict(zip(zip(known["attack"], known["defence"], strict=True), known["knowledge"], strict=True)),
        _DATA.get(record.config["data"], record.config["data"]),
        where_recorded(record),
    )


def pool(casts: Sequence[Tournament]) -> Tournament:
    """Return tournaments of the same submissions as one, batch after batch.

    Raises:
        ValueError: none, or with other submissions.
    """
    require(len(casts) > 0, "pool", "casts", "at least one", 0)
    first = casts[0]
    for one in casts[1:]:
        same = (one.attacks, one.targeted, one.defences) == (first.attacks, first.targeted, first.defences)
        require(same, "pool", "casts", "the same submissions in each", "others")
    names = [*(f"{name}_by_batch" for name in _PER_BATCH), "attack_seconds", "defence_seconds"]
    joined: dict[str, Any] = {name: torch.cat([getattr(one, name) for one in casts], -1) for name in names}
    for name in ("epsilons", "sizes", "remarks"):
        joined[name] = tuple(value for one in casts for value in getattr(one, name))
    joined["blacklist"] = tuple(dict.fromkeys(name for one in casts for name in one.blacklist))
    return replace(first, **joined)
