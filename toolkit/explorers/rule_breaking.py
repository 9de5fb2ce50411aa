"""What happens to an attack that breaks the rules: what counts of what it returns, and what that costs whom.

The attack runs as in a competition: in a process of its own, with a clock. The first picture is of an attack that is
safe to run here, and so was made without a process; the rules are the same code.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor, nn

from toolkit.adversarial.competition import Competition, Isolation, Remark, Submission, Tournament, from_model
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.explorers.clothes import network
from toolkit.explorers.in_double import InDouble
from toolkit.explorers.small_tournament import EPSILONS, pixels
from toolkit.explorers.violations import EVERY, KEEPS, SECOND, VIOLATIONS, RuleBreaker
from toolkit.lessons import BackgroundView, Progress, controls, style

BATCH, LIMIT = 8, 2.0
"""Images in a batch, and seconds for it."""
YOURS, HONEST, DEFENCES = "yours", "honest", ("lenet", "resnet-adv")


@dataclass(frozen=True, repr=False, eq=False)
class Broken:
    """An attack that breaks a rule, beside one that does not.

    Attributes:
        violation: a key of ``VIOLATIONS``.
        when: in which batches.
        isolated: whether it ran in a process of its own.
        tournament: the counts; None as long as the games go on.
        clean: the images.
        made: what counts of the attack's images, clean where one is missing.
        produced: which images the attack made.
        repeated: whether a second run made the same images; None if there was none.
    """

    violation: str
    when: str
    isolated: bool
    tournament: Tournament | None
    clean: UInt8[Tensor, "n 1 height width"]
    made: UInt8[Tensor, "n 1 height width"]
    produced: Bool[Tensor, " n"]
    repeated: bool | None = None

    @property
    def remarks(self) -> dict[int, Remark]:
        """What the harness wrote down on the attack, by the number of the batch."""
        if self.tournament is None:
            return {}
        return {one.batch: one for one in self.tournament.remarks if one.submission == YOURS}

    @property
    def counted(self) -> bool:
        """Whether defences are scored over it."""
        assert self.tournament is not None
        return bool(self.tournament.counted_attacks[self.tournament.attacks.index(YOURS)])

    def score(self, name: str) -> float:
        """Return the score of ``YOURS`` or ``HONEST``."""
        assert self.tournament is not None
        return self.tournament.scores("non-targeted").score[self.tournament.attacks.index(name)]

    def __repr__(self) -> str:
        return f"Broken({self.violation} in {self.when}: {int(self.produced.sum())} of {len(self.produced)} images)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def break_rules(
    violation: str,
    when: str = SECOND,
    *,
    find: Callable[[str], nn.Module] = network,
    isolate: bool | Isolation = True,
    limit: float = LIMIT,
) -> Broken:
    """Let an attack that breaks a rule and one that does not meet two defences.

    Args:
        violation: a key of ``VIOLATIONS``.
        when: ``SECOND`` or ``EVERY``.
        find: gives networks by name.
        isolate: run both attacks and the defences in processes of their own; False only for harmless violations.
        limit: seconds for a batch.

    Raises:
        ValueError: an unknown violation, or one that would end or block this process.
    """
    *_, last = _play(violation, when, find, isolate, limit)
    return last


def _play(
    violation: str, when: str, find: Callable[[str], nn.Module], isolate: bool | Isolation, limit: float
) -> Iterator[Broken]:
    """Yield the state before the games, after those of the honest attack, and at the end."""
    operation = "break_rules"
    require(violation in VIOLATIONS, operation, "violation", f"one of {', '.join(VIOLATIONS)}", repr(violation))
    require(when in (SECOND, EVERY), operation, "when", f"{SECOND!r} or {EVERY!r}", repr(when))
    harmless = VIOLATIONS[violation].harmless
    require(bool(isolate) or harmless, operation, "isolate", "True: this attack would end or block the process", False)
    images, labels = pixels(BATCH * len(EPSILONS))
    model = InDouble(find("lenet"))
    competition = Competition(
        {HONEST: RuleBreaker(model, KEEPS, EVERY)},
        (),
        [from_model(name, InDouble(find(name))) for name in DEFENCES],
        epsilons=EPSILONS,
        batch_size=BATCH,
        time_limit=limit if isolate else None,
        isolate=isolate,
        progress=False,
    )
    none = torch.zeros(len(images), dtype=torch.bool)
    state = Broken(violation, when, bool(isolate), None, images, images, none)
    yield state
    competition.run(images, labels)
    yield state
    tournament, first = _enter(competition, model, violation, when)
    repeated = None
    if violation.startswith("draws"):
        tournament, second = _enter(competition, model, violation, when)
        repeated = torch.equal(first.images, second.images)
    yield replace(state, tournament=tournament, made=first.images, produced=first.produced, repeated=repeated)


def _enter(competition: Competition, model: nn.Module, violation: str, when: str) -> tuple[Tournament, Any]:
    entry = Submission(YOURS, RuleBreaker(model, violation, when), "non-targeted")
    return competition.enter_attack(YOURS, entry), competition.crafted(YOURS)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT, _TOP, _ROW, _THUMB = 690.0, 410.0, 110.0, 50.0, 33.0
_IMAGES, _WORDS, _BARS = 112.0, 420.0, 348.0


def draw(found: Broken) -> Svg:
    """Draw what counts of each batch, what the harness says to it, and the scores."""
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    for row, line in enumerate((f"Your attack {_does(found)}.", f"The rule: {VIOLATIONS[found.violation].ruling}.")):
        picture.text(14, 46 + 18 * row, shorten(line, _WIDTH - 24, 12), size=12, fill=style.GREY)
    for x, words in ((14, "batch, ε"), (_IMAGES, "what counts of it"), (_WORDS, "the harness says")):
        picture.text(x, _TOP - 14, words, size=12.5, bold=True)
    for number, epsilon in enumerate(EPSILONS):
        _draw_batch(picture, found, number, epsilon, _TOP + _ROW * number)
    picture.line(14, _BARS - 30, _WIDTH - 14, _BARS - 30, stroke="#d0d0d0", stroke_width=1)
    for row, (name, words) in enumerate(((HONEST, "score of the same attack, honest"), (YOURS, "score of yours"))):
        y = _BARS - 20 + 24 * row
        mine = name == YOURS
        picture.text(250, y + 13, words, size=12.5, anchor="end", bold=mine)
        if found.tournament is None:
            picture.text(258, y + 13, "…", size=12.5)
            continue
        score = found.score(name)
        color = style.VERMILION if mine else style.GREY
        picture.rectangle(258, y + 2, max(1.0, 300 * score), 14, fill=color)
        picture.text(264 + max(1.0, 300 * score), y + 13, f"{score:.3f}", size=12.5, bold=mine)
    picture.text(14, _BARS + 46, shorten(_place(found), _WIDTH - 24, 12.5, bold=True), size=12.5, bold=True)
    return picture


def _draw_batch(picture: Svg, found: Broken, number: int, epsilon: int, y: float) -> None:
    part = slice(number * BATCH, (number + 1) * BATCH)
    picture.text(14, y + 21, f"{number + 1}, {epsilon}/255", size=12.5)
    for place, (image, there) in enumerate(zip(found.made[part, 0], found.produced[part].tolist(), strict=True)):
        x = _IMAGES + (_THUMB + 4) * place
        if there:
            picture.image(x, y, _THUMB, _THUMB, image)
            picture.rectangle(x, y, _THUMB, _THUMB, fill="none", stroke="#b0b0b0", stroke_width=1)
            continue
        picture.rectangle(x, y, _THUMB, _THUMB, fill="#f0f0f0", stroke="#b0b0b0", stroke_width=1)
        if found.tournament is not None:
            for a, b in ((8, _THUMB - 8), (_THUMB - 8, 8)):
                picture.line(x + a, y + 8, x + b, y + _THUMB - 8, stroke=style.VERMILION, stroke_width=2)
    said = _said(found, number)
    remark = found.remarks.get(number)
    for row, line in enumerate(said):
        words, color = shorten(line, _WIDTH - _WORDS - 10, 12), style.VERMILION if remark else style.INK
        picture.text(_WORDS, y + 13 + 17 * row, words, size=12, bold=bool(remark) and row == 0, fill=color)


def _said(found: Broken, number: int) -> tuple[str, ...]:
    if found.tournament is None:
        return ("…",)
    part = slice(number * BATCH, (number + 1) * BATCH)
    made = int(found.produced[part].sum())
    remark = found.remarks.get(number)
    if remark is not None:
        return f"{remark.verdict}: {made} of {BATCH} images count", remark.reason
    change = int((found.made[part].int() - found.clean[part].int()).abs().max())
    return f"{made} of {BATCH} images count", f"largest change: {change} grey levels"


def _finding(found: Broken) -> str:
    if found.tournament is None:
        return f"It {found.violation}: the games are not over"
    if found.violation == KEEPS:
        return "It keeps the rules: all images count"
    missing = int((~found.produced).sum())
    if missing:
        return f"It {found.violation}: {missing} of {len(found.produced)} images missing, so it is out of A"
    if found.score(YOURS) == found.score(HONEST):
        return f"It {found.violation}: that gains nothing and costs nothing"
    return f"It {found.violation}: all images count, within ε"


def _place(found: Broken) -> str:
    if found.tournament is None:
        return "…"
    scores = found.tournament.scores("defence").score
    right = ", ".join(f"{name} {score:.3f}" for name, score in zip(DEFENCES, scores, strict=True))
    if found.counted:
        return f"In A: defences are scored over it too ({right})"
    return f"Out of A: defences are scored without it ({right})"


def _does(found: Broken) -> str:
    does = VIOLATIONS[found.violation].does
    return does if found.violation == KEEPS else f"{does}, in {found.when}"


def describe(found: Broken) -> str:
    """Say what became of the images, and what it costs the attack and the defences."""
    start = f"The attack {_does(found)}"
    if found.tournament is None:
        return f"{start}. The games are not over; it has a process of its own, and {LIMIT:g} seconds for a batch."
    made, n = int(found.produced.sum()), len(found.produced)
    heard = next(iter(found.remarks.values()), None)
    says = f" The harness says: {heard.verdict}, {heard.reason}." if heard else " The harness has no objection."
    again = ""
    if found.repeated is not None:
        again = f" A second run gave {'the same' if found.repeated else 'other'} images."
    where = "In processes of their own" if found.isolated else "Computed here, without a process of its own"
    place = "It stands in A" if found.counted else "It is not in A, so it does not count for any defence"
    scores = f"Score {found.score(YOURS):.3f}, honest {found.score(HONEST):.3f}"
    return (
        f"{start}. The rule: {VIOLATIONS[found.violation].ruling}.{says} {made} of {n} images count.{again} {scores}. "
        f"{place}. {where}."
    )


def explore_rule_breaking(find: Callable[[str], nn.Module] = network) -> BackgroundView:
    """Return a view that runs an attack which breaks a rule of the reader's choice.

    Args:
        find: gives networks by name; default: the toolkit's trained ones.
    """
    choices = {
        "violation": controls.choice("your attack", tuple(VIOLATIONS), "returns NaN"),
        "when": controls.toggle("in", (SECOND, EVERY), SECOND),
    }
    controls.only_while(
        choices["when"], choices["violation"], lambda value: value != KEEPS, otherwise="it keeps the rules"
    )
    initial = break_rules("returns NaN", find=find, isolate=False)
    notes = ("a process is starting", "your attack's turn", "played")

    def work(violation: str, when: str) -> Iterator[Progress]:
        games = _play(violation, when, find, True, LIMIT)
        yield Progress(0.05, next(games), notes[0])
        for number, (note, state) in enumerate(zip(notes[1:], games, strict=True)):
            yield Progress((0.5, 1.0)[number], state, note)

    return BackgroundView(choices, work, draw, describe, initial=initial, run_label="Run it")
