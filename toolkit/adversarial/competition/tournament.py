"""The result of a competition: counted outcomes, from which every score is derived and none is stored."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.adversarial.competition import scores as scoring_rules
from toolkit.adversarial.competition.submissions import TRACKS, Track
from toolkit.adversarial.competition.tables import Leaderboard, Remark, ScoresByEpsilon, Standing, write_csv
from toolkit.core.errors import reject, require
from toolkit.core.files import atomic_write

Scoring = Literal["paper", "kit"]
_FORMAT = "toolkit.adversarial.Tournament/1"
_COUNTS = ("correct", "error", "hit", "labelled")


@dataclass(frozen=True, eq=False)
class Tournament:
    """Counted outcomes of all games.

    A missing image counts as labelled rightly, an image without a label as neither right nor wrong; so right, wrong and
    unlabelled images add up to all.

    Attributes:
        attacks: names, non-targeted and targeted.
        targeted: which attacks had targets.
        defences: names.
        epsilons: of each batch, in levels of a uint8 pixel.
        sizes: images of each batch.
        produced_by_batch: images that each attack made.
        correct_by_batch: images labelled rightly.
        error_by_batch: images labelled wrongly.
        hit_by_batch: images labelled as the attacker wanted.
        labelled_by_batch: images labelled at all.
        attack_seconds: of each batch.
        defence_seconds: of each batch; NaN where there was nothing to label.
        remarks: what went wrong.
        blacklist: submissions that do not count for others and whose scores are negated.
    """

    attacks: tuple[str, ...]
    targeted: tuple[bool, ...]
    defences: tuple[str, ...]
    epsilons: tuple[int, ...]
    sizes: tuple[int, ...]
    produced_by_batch: Int[Tensor, "attacks batches"]
    correct_by_batch: Int[Tensor, "defences attacks batches"]
    error_by_batch: Int[Tensor, "defences attacks batches"]
    hit_by_batch: Int[Tensor, "defences attacks batches"]
    labelled_by_batch: Int[Tensor, "defences attacks batches"]
    attack_seconds: Float[Tensor, "attacks batches"]
    defence_seconds: Float[Tensor, "defences attacks batches"]
    remarks: tuple[Remark, ...] = ()
    blacklist: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        games = (len(self.defences), len(self.attacks), len(self.sizes))
        right, wrong, hit, labelled = (getattr(self, f"{name}_by_batch") for name in _COUNTS)
        shapes = [tuple(counts.shape) for counts in (right, wrong, hit, labelled, self.defence_seconds)]
        shapes += [(games[0], *counts.shape) for counts in (self.produced_by_batch, self.attack_seconds)]
        require(all(shape == games for shape in shapes), "Tournament", "counts", f"shape {list(games)}", shapes)
        sizes = torch.tensor(self.sizes, dtype=torch.int64)
        produced, missing = self.produced_by_batch, sizes - self.produced_by_batch
        sound = (
            ((produced >= 0) & (missing >= 0)).all()
            & ((labelled >= 0) & (labelled <= produced) & (right >= missing) & (hit >= 0) & (hit <= wrong)).all()
            & (right + wrong == missing + labelled).all()
        )
        expected = (
            "for each batch right (or missing), wrong and unlabelled images that add up to all, hits among the wrong"
        )
        require(bool(sound), "Tournament", "counts", expected, "others")

    def __repr__(self) -> str:
        n_targeted = sum(self.targeted)
        return (
            f"Tournament({len(self.attacks) - n_targeted} non-targeted and {n_targeted} targeted attacks, "
            f"{len(self.defences)} defences, {self.n_images:,} images)"
        )

    @property
    def n_images(self) -> int:
        """Number of clean images."""
        return sum(self.sizes)

    @property
    def correct(self) -> Int[Tensor, "defences attacks"]:
        """Images labelled rightly."""
        return self.correct_by_batch.sum(2)

    @property
    def error(self) -> Int[Tensor, "defences attacks"]:
        """Images labelled wrongly."""
        return self.error_by_batch.sum(2)

    @property
    def hit(self) -> Int[Tensor, "defences attacks"]:
        """Images labelled as the attacker wanted; 0 for non-targeted attacks."""
        return self.hit_by_batch.sum(2)

    @property
    def labelled(self) -> Int[Tensor, "defences attacks"]:
        """Images labelled at all."""
        return self.labelled_by_batch.sum(2)

    @property
    def produced(self) -> Int[Tensor, " attacks"]:
        """Images that each attack made."""
        return self.produced_by_batch.sum(1)

    @property
    def accuracy(self) -> Float[Tensor, "defences attacks"]:
        """Share of all images labelled rightly; 0 without images."""
        return self.correct.double() / max(self.n_images, 1)

    @property
    def counted_attacks(self) -> Bool[Tensor, " attacks"]:
        """The set A: attacks that made every image and are not blacklisted."""
        whole = scoring_rules.complete_attacks(self.produced, self.n_images)
        return whole & ~torch.tensor([name in self.blacklist for name in self.attacks], dtype=torch.bool)

    @property
    def counted_defences(self) -> Bool[Tensor, " defences"]:
        """The set D: defences that labelled every image they were given and are not blacklisted."""
        whole = scoring_rules.complete_defences(self.labelled, self.produced)
        return whole & ~torch.tensor([name in self.blacklist for name in self.defences], dtype=torch.bool)

    def names(self, track: Track) -> tuple[str, ...]:
        """Return the submissions of a track."""
        require(track in TRACKS, "Tournament", "track", f"one of {', '.join(TRACKS)}", track)
        if track == "defence":
            return self.defences
        return tuple(self.attacks[index] for index in self._columns(track))

    def scores(self, track: Track, scoring: Scoring = "paper") -> scoring_rules.Scores:
        """Score a track, in the order of :meth:`names`.

        Args:
            track: ``"non-targeted"``, ``"targeted"`` or ``"defence"``.
            scoring: ``"paper"`` for eqs. (6) to (10); ``"kit"`` as the simpler scorer of the development kit: everybody
                is an opponent, and a missing image or label helps the attack.
        """
        require(scoring in ("paper", "kit"), "Tournament.scores", "scoring", "'paper' or 'kit'", scoring)
        names = self.names(track)
        missing = self.n_images - self.produced
        if scoring == "kit":
            in_a, in_d = (torch.ones(len(who), dtype=torch.bool) for who in (self.attacks, self.defences))
        else:
            in_a, in_d = self.counted_attacks, self.counted_defences
        if track == "defence":
            points = self.correct - missing if scoring == "kit" else self.correct
            found = self._score(points, in_a, self.attacks)
        else:
            columns = self._columns(track)
            points = self.hit.T if track == "targeted" else self.error.T
            if track == "non-targeted" and scoring == "kit":
                points = scoring_rules.kit_points(self.correct, missing, self.n_images)
            found = self._score(points[columns], in_d, self.defences)
        return scoring_rules.negate(found, [name in self.blacklist for name in names]) if scoring == "paper" else found

    def leaderboard(self, track: Track, scoring: Scoring = "paper") -> Leaderboard:
        """Rank a track; equal scores share a rank and stand in alphabetical order. Arguments as for :meth:`scores`."""
        names, found = self.names(track), self.scores(track, scoring)
        opponents = self.attacks if track == "defence" else self.defences
        seconds = self.defence_seconds if track == "defence" else self.attack_seconds[self._columns(track)]
        medians = (
            seconds.flatten(1).nanquantile(0.5, dim=1).tolist() if seconds.numel() else [float("nan")] * len(names)
        )
        whole = (
            scoring_rules.complete_defences(self.labelled, self.produced)
            if track == "defence"
            else (scoring_rules.complete_attacks(self.produced, self.n_images)[self._columns(track)])
        )
        # By the integers: a score is one of them over the same number for all.
        standings = [
            Standing(
                rank,
                names[i],
                found.score[i],
                found.raw[i],
                None if found.worst_opponent[i] is None else found.worst[i],
                None if found.worst_opponent[i] is None else opponents[found.worst_opponent[i] or 0],
                None if medians[i] != medians[i] else medians[i],
                bool(whole[i]) and names[i] not in self.blacklist,
            )
            for i, rank in enumerate(scoring_rules.ranks(found.raw))
        ]
        return Leaderboard(track, tuple(sorted(standings, key=lambda row: (row.rank, row.name))))

    def score_by_epsilon(self, track: Track) -> ScoresByEpsilon:
        """Score a track over the batches of each epsilon; who counts as an opponent is decided over all batches."""
        names, epsilons = self.names(track), tuple(sorted(set(self.epsilons)))
        counts = {"defence": self.correct_by_batch, "targeted": self.hit_by_batch, "non-targeted": self.error_by_batch}
        points = counts[track]
        if track != "defence":
            points = points[:, self._columns(track)].transpose(0, 1)
        counted = self.counted_attacks if track == "defence" else self.counted_defences
        columns = []
        for epsilon in epsilons:
            batches = [number for number, one in enumerate(self.epsilons) if one == epsilon]
            found = scoring_rules.score(
                points[:, :, batches].sum(2), counted, sum(self.sizes[number] for number in batches)
            )
            columns.append(scoring_rules.negate(found, [name in self.blacklist for name in names]).score)
        rows = tuple(zip(*columns, strict=True)) if columns else ((),) * len(names)
        return ScoresByEpsilon(track, epsilons, names, rows)

    def without(self, names: str | Iterable[str]) -> "Tournament":
        """Return the tournament as if some submissions had not taken part.

        Args:
            names: of attacks or defences; one that stands among both is left out of both.

        Raises:
            ValueError: a name that nobody has.
        """
        gone = {names} if isinstance(names, str) else set(names)
        unknown = sorted(gone - {*self.attacks, *self.defences})
        if unknown:
            reject("Tournament.without", "names", "submissions of this tournament", ", ".join(unknown))
        columns = [index for index, name in enumerate(self.attacks) if name not in gone]
        rows = [index for index, name in enumerate(self.defences) if name not in gone]
        games = {
            name: getattr(self, name)[rows][:, columns]
            for name in ("correct_by_batch", "error_by_batch", "hit_by_batch", "labelled_by_batch", "defence_seconds")
        }
        return replace(
            self,
            attacks=tuple(self.attacks[index] for index in columns),
            targeted=tuple(self.targeted[index] for index in columns),
            defences=tuple(self.defences[index] for index in rows),
            produced_by_batch=self.produced_by_batch[columns],
            attack_seconds=self.attack_seconds[columns],
            remarks=tuple(r for r in self.remarks if r.submission not in gone and r.attack not in gone),
            **games,
        )

    def to_frame(self):
        """Return the three leaderboards as one pandas frame."""
        import pandas

        return pandas.DataFrame([row for track in TRACKS for row in self.leaderboard(track).to_dict()["rows"]])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the three leaderboards into one CSV file.

        Raises:
            WriteError: the file cannot be written.
        """
        write_csv(path, [self.leaderboard(track) for track in TRACKS])

    def to_html(self) -> str:
        """Return the leaderboards of the tracks that took place as HTML tables."""
        boards = [self.leaderboard(track) for track in TRACKS]
        return "\n".join(board.to_html() for board in boards if len(board))

    _repr_html_ = to_html

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; a time that was not taken is None."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            found[field.name] = _plain(value.tolist()) if isinstance(value, Tensor) else value
        found["remarks"] = [asdict(remark) for remark in self.remarks]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all counts as JSON.

        Raises:
            WriteError: the file cannot be written.
        """
        with atomic_write(path, "w") as file:
            json.dump({"format": _FORMAT, **self.to_dict()}, file, allow_nan=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tournament":
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: another file, or a damaged one.
            FileNotFoundError: no file.
        """
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
            require(given.pop("format") == _FORMAT, "Tournament.load", "path", f"a file of format {_FORMAT}", str(path))
            return _from_dict(given)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            reject("Tournament.load", "path", f"a whole file of format {_FORMAT}", f"{path}: {error}")

    def _columns(self, track: Track) -> list[int]:
        return [index for index, aims in enumerate(self.targeted) if aims == (track == "targeted")]

    def _score(self, points: Tensor, counted: Tensor, opponents: tuple[str, ...]) -> scoring_rules.Scores:
        """Score with the opponents in alphabetical order, so that among equals the worst is the same in any order."""
        order = sorted(range(len(opponents)), key=opponents.__getitem__)
        found = scoring_rules.score(points[:, order], counted[order], self.n_images)
        return replace(found, worst_opponent=tuple(None if i is None else order[i] for i in found.worst_opponent))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if value != value else value


def _from_dict(given: dict[str, Any]) -> Tournament:
    n_attacks, n_defences, n_batches = (len(given[name]) for name in ("attacks", "defences", "sizes"))
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name.endswith(("_by_batch", "_seconds")):
            seconds = name.endswith("_seconds")
            of_attacks = name in ("produced_by_batch", "attack_seconds")
            shape = (n_attacks, n_batches) if of_attacks else (n_defences, n_attacks, n_batches)
            numbers = _numbers(value, seconds)
            tensor = torch.tensor(numbers, dtype=torch.float64 if seconds else torch.int64)
            values[name] = tensor.reshape(torch.Size(shape))
        else:
            values[name] = tuple(value)
    values["remarks"] = tuple(Remark(**remark) for remark in given["remarks"])
    require(n_batches == len(values["epsilons"]), "Tournament.load", "epsilons", f"{n_batches}", values["epsilons"])
    require(n_attacks == len(values["targeted"]), "Tournament.load", "targeted", f"{n_attacks}", values["targeted"])
    for kind, names in ((bool, ("targeted",)), (int, ("epsilons", "sizes")), (str, ("attacks", "defences"))):
        for name in names:
            right = all(type(value) is kind for value in values[name])
            require(right, "Tournament.load", name, f"{kind.__name__}s", values[name])
    return Tournament(**values)


def _numbers(value: Any, seconds: bool) -> Any:
    if isinstance(value, list):
        return [_numbers(item, seconds) for item in value]
    if value is None and seconds:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float) if seconds else int):
        raise ValueError(f"{value!r} among the counts")
    return value
