"""Why the bottom level shows first: what the first tokens tell of each level's rules, on average over documents."""

from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.example_families import DEEP, SMALL, TOY, choice_name, level_line
from toolkit.explorers.level_knowledge import LevelKnowledge, chance, level_knowledge, prior_entropy
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

GUESS, OPEN = "best guess right", "still open"
_SURE = 0.995


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """What is known after so many tokens.

    Attributes:
        knowledge: for every number of tokens.
        measure: ``GUESS``: how often the best guess is right; ``OPEN``: what is still open, in nats.
        place: the number of tokens.
    """

    knowledge: LevelKnowledge
    measure: str
    place: int

    @property
    def curves(self) -> list[list[float]]:
        """The measure by the number of tokens, for each level."""
        of = self.knowledge.accuracy if self.measure == GUESS else self.knowledge.entropy
        return of.T.tolist()

    def needed(self, level: int) -> int | None:
        """Return after how many tokens the best guess of a level is right in 99.5 % from then on, or None."""
        right = self.knowledge.accuracy[:, level].tolist()
        first = None
        for place in reversed(range(len(right))):
            if right[place] < _SURE:
                break
            first = place
        return first

    def __repr__(self) -> str:
        return f"Shown({self.knowledge.name}, {self.place} tokens)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return vars(self) | {"knowledge": self.knowledge.to_dict()}


def compute(name: str = TOY, measure: str = GUESS, place: int = 4) -> Shown:
    """Look up what is known after so many tokens.

    Args:
        name: of an example family with metadata.
        measure: ``GUESS`` or ``OPEN``.
        place: number of tokens; more than there is a mean for: the last.

    Raises:
        ValueError: an unknown family or measure, a negative number.
    """
    require(measure in (GUESS, OPEN), "compute", "measure", f"{GUESS!r} or {OPEN!r}", repr(measure))
    require(place >= 0, "compute", "place", ">= 0", place)
    knowledge = level_knowledge(name)
    return Shown(knowledge, measure, min(place, knowledge.longest))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _CURVES, _TOP, _TALL = 720.0, 500.0, 36.0, 300.0


def draw(found: Shown) -> Svg:
    """Draw the curves of all levels, and beside them how many rules of each level the tokens come from."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    family = found.knowledge.family
    levels = range(family.depth)
    if found.measure == GUESS:
        low = min(chance(family, level) for level in levels)
        limits, heading = (0.95 * low, 1.02), "how often the best guess of the level's rules is right"
    else:
        limits = (0.0, 1.04 * max(prior_entropy(family, level) for level in levels))
        heading = "what is still open of the level's rules (nats)"
    series = [
        Series(_label(found, level), range(len(curve)), curve, level_line(family, level))
        for level, curve in enumerate(found.curves)
    ]
    points = [
        Series("", [found.place], [curve[found.place]], level_line(family, level), True)
        for level, curve in enumerate(found.curves)
    ]
    draw_panel(
        picture,
        (14.0, _TOP + 4, _CURVES - 14, _TALL - 40),
        [*series, *points],
        heading=heading,
        x_limits=(0.0, float(found.knowledge.longest)),
        y_limits=limits,
        x_label="tokens read",
        room=max(text_width(_label(found, level), 12, bold=True) for level in levels) + 10,
        mark=float(found.place),
        whole_x=True,
    )
    _draw_applied(picture, found, _CURVES + 22)
    return picture


def _label(found: Shown, level: int) -> str:
    depth = found.knowledge.family.depth
    place = {0: " top", depth - 1: " bottom"}.get(level, "")
    return f"{choice_name(level)}{place}"


def _draw_applied(picture: Svg, found: Shown, left: float) -> None:
    applied = found.knowledge.applied
    tokens = f"{found.place} token{'s' * (found.place != 1)}"
    picture.text(left, _TOP + 17, "rules applied so far", size=12.5, bold=True)
    picture.text(left, _TOP + 34, "(mean number)", size=12, fill=style.GREY)
    depth = found.knowledge.family.depth
    start, right = left + 34, _WIDTH - 48
    most = max(float(applied.max()), 1.0)
    each = min(34.0, 170.0 / depth)
    for level in range(depth):
        y = _TOP + 50 + each * level
        value = float(applied[found.place, level])
        picture.text(left, y + each / 2 + 4, choice_name(level), size=12.5, bold=True)
        long = (right - start) * value / most
        picture.rectangle(start, y + 4, long, each - 8, fill=level_line(found.knowledge.family, level).color)
        picture.text(start + long + 5, y + each / 2 + 4, f"{value:.1f}".removesuffix(".0"), size=12)
    bottom = _TOP + 50 + each * depth
    picture.line(start, _TOP + 50, start, bottom, stroke="#8c8c8c", stroke_width=1)
    share = float(found.knowledge.share[found.place])
    words = "all documents are" if share > 1 - 1e-9 else f"{_percent(share)} of documents are"
    picture.text(left, bottom + 24, words, size=12, fill=style.GREY)
    picture.text(left, bottom + 40, f"at least {tokens} long", size=12, fill=style.GREY)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _value(found: Shown, level: int) -> str:
    # A shade more than it is: the last bit must not decide how a half is rounded.
    value = found.curves[level][found.place] + 1e-11
    if found.measure == OPEN:
        return f"{value:.2f} nats"
    return f"{100 * value:.0f} %" if value < 0.995 or value > 1 - 1e-9 else "over 99 %"


def _finding(found: Shown) -> str:
    last = found.knowledge.family.depth - 1
    read = f"{found.place} token{'s' * (found.place != 1)} read"
    if found.measure == OPEN:
        return f"{read}: {_value(found, last)} open of the bottom level, {_value(found, 0)} of the top level"
    return f"{read}: bottom level guessed right in {_value(found, last)}, top level in {_value(found, 0)}"


def describe(found: Shown) -> str:
    """Say what is known of each level after so many tokens, when it is known for good, and how it was found."""
    knowledge = found.knowledge
    depth = knowledge.family.depth
    values = ", ".join(f"{choice_name(level)} {_value(found, level)}" for level in range(depth))
    what = "The best guess is right:" if found.measure == GUESS else "Still open:"
    when = "; ".join(f"{choice_name(level)} {_when(found, level)}" for level in range(depth))
    if knowledge.n_documents:
        how = (
            f"Exact for each of {knowledge.n_documents} drawn documents; standard error at most {knowledge.error:.3f}."
        )
    else:
        how = "Exact, over all documents."
    return (
        f"{knowledge.name}; after {found.place} token{'s' * (found.place != 1)}. {what} {values}. "
        f"Right in 99.5 % from then on: {when}. "
        f"The right metadata of all levels have probability {float(knowledge.all_right[found.place]):.3f}, and "
        f"{float(knowledge.all_entropy[found.place]):.3f} nats are open of them. {how}"
    )


def _when(found: Shown, level: int) -> str:
    needed = found.needed(level)
    if needed is None:
        return "never"
    return f"after {needed} token{'s' * (needed != 1)}"


def explore_what_shows_first(name: str = TOY) -> View:
    """Return a view of what the first tokens tell of each level's rules.

    Args:
        name: of the family to begin with.
    """
    family = controls.choice("family", [*SMALL, DEEP], name)
    read = controls.int_slider("tokens read", 4, 0, level_knowledge(name).longest)

    def at(name: str, measure: str, place: int) -> Shown:
        found = compute(name, measure, place)
        read.max = found.knowledge.longest
        return found

    return View({"name": family, "measure": controls.toggle("show", [GUESS, OPEN]), "place": read}, at, draw, describe)
