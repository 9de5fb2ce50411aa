"""A joint distribution of two sources and a target to edit: what is unique, redundant, complementary, what stays open.

The three informations leave one number open. A slider for the redundant part moves all four parts through the interval
that non-negativity leaves; four published measures stand in it, or outside.
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.disentanglement.exact import PID, PIDInterval, interval, pid
from toolkit.explorers.joint_control import LARGER, OWN, JointControl, Setting, joint_of, preset
from toolkit.explorers.pid_parts import MEASURES, NOISE, amount, bars_of, parts_panel, span
from toolkit.lessons import View, controls


def why_closed(bounds: PIDInterval) -> str:
    """Say why nothing is left open, or return an empty text where something is."""
    if float(bounds.width) > NOISE:
        return ""
    first, second, both = (
        float(value) for value in (bounds.information_1, bounds.information_2, bounds.information_joint)
    )
    if both <= NOISE:
        return "even together a and b know nothing of y"
    silent = [name for name, value in (("a", first), ("b", second)) if value <= NOISE]
    if len(silent) == 2:
        return "neither a nor b knows anything alone"
    if silent:
        return f"{silent[0]} alone knows nothing"
    idle = [name for name, other in (("a", second), ("b", first)) if both - other <= NOISE]
    if len(idle) == 2:
        return "each alone knows all that both know"
    return f"{idle[0]} adds nothing to what {'b' if idle == ['a'] else 'a'} knows"


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One joint distribution, decomposed, informations in bits.

    Attributes:
        setting: what the sliders say.
        position: where in its interval the redundant part is chosen, 0 (lower end) to 1 (upper end).
        joint: p(a, b, y).
        bounds: the interval of each part.
        measures: the parts by each of ``MEASURES``.
        chosen: the parts at the chosen redundancy.
        closed: why nothing is left open; empty where something is.
    """

    setting: Setting
    position: float
    joint: Float64[Tensor, "source_1 source_2 target"]
    bounds: PIDInterval
    measures: dict[str, PID]
    chosen: PID
    closed: str

    @property
    def outside(self) -> tuple[str, ...]:
        """The measures of which some part leaves its interval."""
        low, high = float(self.bounds.redundant.lower), float(self.bounds.redundant.upper)
        redundant = {name: float(one.redundant) for name, one in self.measures.items()}
        return tuple(name for name, value in redundant.items() if not low - NOISE <= value <= high + NOISE)

    def __repr__(self) -> str:
        low, high = float(self.bounds.redundant.lower), float(self.bounds.redundant.upper)
        return f"Decomposition({self.setting.name}: redundant {span(low, high)} bits)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compute(setting: Setting, position: float = 0.5) -> Decomposition:
    """Decompose what two sources know of the target.

    Args:
        setting: what the sliders say.
        position: where in its interval the redundant part is chosen, 0 (lower end) to 1 (upper end).

    Raises:
        ValueError: a position outside [0, 1].
    """
    require(0 <= position <= 1, "compute", "position", "a number in [0, 1]", position)
    joint = joint_of(setting)
    bounds = interval(joint, "bits")
    redundant = bounds.redundant.lower + position * bounds.width
    measures = {name: pid(joint, name, "bits") for name in MEASURES}
    return Decomposition(setting, position, joint, bounds, measures, bounds.at(redundant), why_closed(bounds))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _JOINT, _TOP, _TALL = 720.0, 160.0, 36.0, 320.0
PART_FIELDS = {
    "unique_1": "unique to a",
    "unique_2": "unique to b",
    "redundant": "redundant",
    "complementary": "complementary",
}
"""The parts in words, by their names in a decomposition."""


def draw(found: Decomposition) -> Svg:
    """Draw the joint distribution, and the parts of the information with what is open and what the measures say."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _draw_joint(picture, found.joint)
    bars = bars_of(found.bounds, found.measures, None if found.closed else found.chosen)
    chosen = f"your R = {amount(float(found.chosen.redundant))}"
    panel = parts_panel(bars, width=_WIDTH - _JOINT, height=_TALL, chosen_label=chosen)
    picture.place(_JOINT, _TOP, panel)
    return picture


def _draw_joint(picture: Svg, joint: Tensor) -> None:
    n_first, n_second, n_target = joint.shape
    left, right, top, bottom = 38.0, _JOINT, _TOP + 54, _TOP + 270
    wide, tall = (right - left) / n_second, (bottom - top) / n_first
    largest = float(joint.max())
    shades = [0.80 - 0.62 * value / (n_target - 1) for value in range(n_target)]
    colors = [f"#{round(255 * shade):02x}" + f"{round(255 * shade):02x}" * 2 for shade in shades]
    written = n_target == 2
    picture.text(14, _TOP + 14, "p(a, b, y)", bold=True)
    for first in range(n_first):
        y = top + tall * (first + 1)
        picture.text(left - 6, y - tall / 2 + 4, _names("a", first, n_first), size=11.5, anchor="end")
        for second in range(n_second):
            x = left + wide * second
            if first == 0:
                picture.text(x + wide / 2, top - 8, _names("b", second, n_second), size=11.5, anchor="middle")
            picture.rectangle(x + 1.5, y - tall + 1.5, wide - 3, tall - 3, fill="#f4f4f4")
            each = (wide - 9) / n_target
            room = tall - (22 if written else 8)
            for value, color in enumerate(colors):
                share = float(joint[first, second, value])
                place, height = x + 4.5 + each * value, room * share / largest
                if height > 0.3:
                    picture.rectangle(place + 0.5, y - 4 - height, each - 1, height, fill=color)
                if written:
                    text = amount(share).rstrip("0").removeprefix("0").rstrip(".") or "0"
                    picture.text(place + each / 2, y - 8 - height, text, size=11, anchor="middle")
    x = left
    picture.text(left - 6, bottom + 19, "y:", size=11.5, anchor="end")
    for value, color in enumerate(colors):
        picture.rectangle(x, bottom + 9, 11, 11, fill=color)
        picture.text(x + 15, bottom + 19, value, size=11.5)
        x += 28


def _names(variable: str, value: int, n_values: int) -> str:
    return f"{variable}={value}" if n_values == 2 else str(value) if value else f"{variable}=0"


def _finding(found: Decomposition) -> str:
    low, high = float(found.bounds.redundant.lower), float(found.bounds.redundant.upper)
    which = _title(found.setting)
    if float(found.bounds.information_joint) <= NOISE:
        return f"{which}: a and b know nothing of y"
    if found.closed:
        largest = max(PART_FIELDS, key=lambda part: _value(found, part))
        return f"{which}: nothing stays open, {amount(_value(found, largest))} bits are {PART_FIELDS[largest]}"
    if found.outside:
        says = " and ".join(
            f"{MEASURES[name]} says {amount(float(found.measures[name].redundant))}" for name in found.outside
        )
        return f"{which}: redundant is {span(low, high)} bits, but {says}"
    return f"{which}: {amount(high - low)} bits stay open, redundant is {span(low, high)}"


def _title(setting: Setting) -> str:
    words = {"noisy channels": "Two noisy channels", "errors never at once": "Errors never at once", OWN: "Your own"}
    changed = setting.name in LARGER and (setting.noise or setting.correlation)
    return words.get(setting.name, setting.name) + (", changed" if changed else "")


def _value(found: Decomposition, part: str) -> float:
    return float(getattr(found.chosen, part))


def describe(found: Decomposition) -> str:
    """Say what a and b know, what that leaves open, what the measures say, and what the chosen R makes of it."""
    bounds = found.bounds
    first, second, both = (
        amount(float(value)) for value in (bounds.information_1, bounds.information_2, bounds.information_joint)
    )
    text = f"{found.setting.name}: of y, a alone knows {first} bits, b alone {second}, both together {both}."
    parts = (
        f"unique to a {amount(_value(found, 'unique_1'))}, unique to b {amount(_value(found, 'unique_2'))}, "
        f"complementary {amount(_value(found, 'complementary'))}"
    )
    says = [f"{MEASURES[name]} {amount(float(one.redundant))}" for name, one in found.measures.items()]
    low, high = float(bounds.redundant.lower), float(bounds.redundant.upper)
    if found.closed:
        text += f" Nothing is left open, as {found.closed}: redundant {amount(low)}, {parts}. The slider for R rests."
        if found.outside:
            text += f" {_leaving(found)}"
        return text
    text += f" Redundant is {span(low, high)} bits ({', '.join(says)})."
    if found.outside:
        text += f" {_leaving(found)}"
    return f"{text} Your R = {amount(_value(found, 'redundant'))}: {parts}."


def _leaving(found: Decomposition) -> str:
    sentences = []
    for name in found.outside:
        values = {words: float(getattr(found.measures[name], part)) for part, words in PART_FIELDS.items()}
        negative = [f"{words} is {amount(value)}" for words, value in values.items() if value < -NOISE]
        why = f": {', '.join(negative)}" if negative else ""
        says = amount(values["redundant"])
        sentences.append(f"{MEASURES[name]} says {says} and leaves the interval{why}.")
    return " ".join(sentences)


def explore_joint_editor(name: str = "AND") -> View:
    """Return a view of a joint distribution to edit, and of the parts of what two sources know of the target.

    Args:
        name: the preset to begin with.
    """
    joint = JointControl(preset(name))
    percent = controls.int_slider("R, from its lower to its upper end", 50, 0, 100, step=2, unit="%")
    percent.layout.width = "654px"  # as two of the others: its words alone are as wide as one

    def rest(_: object = None) -> None:
        why = why_closed(interval(joint_of(joint.value)))
        percent.disabled = bool(why)
        percent.tooltip = f"R rests: {why}" if why else None

    joint.observe(rest, "value")
    rest()

    def at(joint: Setting, percent: int) -> Decomposition:
        return compute(joint, percent / 100)

    return View({"joint": joint, "percent": percent}, at, draw, describe)
