"""A joint distribution of two sources and a target to edit: what is unique, redundant, complementary, what stays open.

The three informations leave one number open. A slider for the redundant part moves all four parts through the interval
that non-negativity leaves; four published measures stand in it, or outside.
"""

from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import traitlets
from jaxtyping import Float64
from torch import Tensor, float64, stack, tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.disentanglement.exact import PID, PIDInterval, interval, pid
from toolkit.disentanglement.systems import named_system
from toolkit.explorers.pid_parts import MEASURES, NOISE, amount, bars_of, parts_panel, span
from toolkit.lessons import View, controls

OWN = "own"
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Values of a and b, in the order of a table's probabilities."""
MOST_NOISE = 0.9


@dataclass(frozen=True)
class Setting:
    """What the sliders say.

    Attributes:
        name: a key of ``PRESETS`` or ``LARGER``, or ``OWN``.
        table: P(y = 1 | a, b) in the order of ``CELLS``; of no effect for a key of ``LARGER``.
        correlation: of a and b, two fair bits.
        noise: how often y is drawn anew, each of its values as probable as the others.
    """

    name: str
    table: tuple[float, float, float, float]
    correlation: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        known = (*PRESETS, *LARGER, OWN)
        require(self.name in known, "Setting", "name", f"one of {', '.join(known)}", repr(self.name))
        inside = len(self.table) == 4 and all(0 <= value <= 1 for value in self.table)
        require(inside, "Setting", "table", "four probabilities", self.table)
        require(-1 <= self.correlation <= 1, "Setting", "correlation", "a number in [-1, 1]", self.correlation)
        require(0 <= self.noise <= 1, "Setting", "noise", "a number in [0, 1]", self.noise)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


PRESETS: dict[str, tuple[tuple[float, float, float, float], float]] = {
    "AND": ((0.0, 0.0, 0.0, 1.0), 0.0),
    "OR": ((0.0, 1.0, 1.0, 1.0), 0.0),
    "XOR": ((0.0, 1.0, 1.0, 0.0), 0.0),
    "UNQ": ((0.0, 0.0, 1.0, 1.0), 0.0),
    "RDN": ((0.0, 0.5, 0.5, 1.0), 1.0),
    # Channels that err with probability 1/4: given what they show, y and their agreement are these round numbers.
    "noisy channels": ((0.1, 0.5, 0.5, 0.9), 0.25),
    "errors never at once": ((0.0, 0.5, 0.5, 1.0), 0.0),
}
"""Table and correlation of each system of two bits and a binary target."""
LARGER = ("COPY", "SUM", "RDN-XOR")
"""Systems whose target has more than two values: no four probabilities hold them."""
_WORDS = {
    "AND": "AND: y = 1 if both are 1",
    "OR": "OR: y = 1 if one is 1",
    "XOR": "XOR: y = 1 if they differ",
    "UNQ": "UNQ: y is a",
    "RDN": "RDN: a, b and y are one bit",
    "noisy channels": "two noisy channels for y",
    "errors never at once": "the same, errors never at once",
    "COPY": "COPY: y is the pair (a, b)",
    "SUM": "SUM: y = a + b",
    "RDN-XOR": "RDN-XOR: a common bit, beside XOR",
    OWN: "own: what the sliders say",
}


def preset(name: str) -> Setting:
    """Return the setting that a name stands for.

    Args:
        name: a key of ``PRESETS`` or ``LARGER``.

    Raises:
        ValueError: no such name.
    """
    known = (*PRESETS, *LARGER)
    require(name in known, "preset", "name", f"one of {', '.join(known)}", repr(name))
    table, correlation = PRESETS.get(name, PRESETS["AND"])
    return Setting(name, table, correlation)


def joint_of(setting: Setting) -> Float64[Tensor, "source_1 source_2 target"]:
    """Return p(a, b, y) of a setting."""
    if setting.name in LARGER:
        joint = named_system(setting.name, correlation=setting.correlation)
    else:
        same, different = (1 + setting.correlation) / 4, (1 - setting.correlation) / 4
        pair = tensor([[same, different], [different, same]], dtype=float64)
        ones = tensor(setting.table, dtype=float64).reshape(2, 2)
        joint = stack((pair * (1 - ones), pair * ones), -1)
    return (1 - setting.noise) * joint + setting.noise * joint.sum(-1, keepdim=True) / joint.shape[-1]


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


def resting(setting: Setting) -> dict[str, str]:
    """Return why which sliders of a setting have no effect: by ``"00"`` … ``"11"``, ``"correlation"``, ``"noise"``."""
    found: dict[str, str] = {}
    if setting.name in LARGER:
        n_values = joint_of(setting).shape[-1]
        why = f"{setting.name} has a target of {n_values} values, which no four probabilities hold"
        found.update({f"{a}{b}": why for a, b in CELLS})
    elif setting.correlation == 1:
        found.update(dict.fromkeys(("01", "10"), "a and b never differ"))
    elif setting.correlation == -1:
        found.update(dict.fromkeys(("00", "11"), "a and b always differ"))
    if setting.name not in LARGER and len(set(setting.table)) == 1:
        found["correlation"] = "y does not depend on a and b"
    if float(interval(joint_of(replace(setting, noise=0.0))).information_joint) <= NOISE:
        found["noise"] = "there is nothing that noise could hide"
    return found


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


# ---------------------------------------------------------------------------------------------------------------------
# The controls


class JointControl(widgets.VBox):
    """A preset and the sliders that it loads; a control for a :class:`~toolkit.lessons.View`.

    Moving a slider of a preset with a binary target makes it ``OWN``.

    Attributes:
        value: the :class:`Setting`.
        presets: the list of names.
        sliders: by ``"00"`` … ``"11"``, ``"correlation"`` and ``"noise"``.
        notes: says why which sliders rest.
    """

    value = traitlets.Instance(Setting)

    def __init__(self, setting: Setting):
        self._held = False
        names = (*PRESETS, *LARGER, OWN)
        self.presets = controls.choice("joint distribution", {_WORDS[name]: name for name in names}, setting.name)
        self.sliders = {
            f"{a}{b}": controls.float_slider(f"P(y = 1 | a = {a}, b = {b})", value, 0.0, 1.0, step=0.05)
            for (a, b), value in zip(CELLS, setting.table, strict=True)
        }
        self.sliders["correlation"] = controls.float_slider(
            "correlation of a and b", setting.correlation, -1.0, 1.0, step=0.05
        )
        self.sliders["noise"] = controls.float_slider("noise (y drawn anew)", setting.noise, 0.0, MOST_NOISE, step=0.05)
        self.notes = widgets.HTML(layout=widgets.Layout(width="100%"))
        rows = [
            widgets.HBox([*pair], layout=widgets.Layout(flex_flow="row wrap", grid_gap="2px 14px"))
            for pair in zip(*[iter(self.sliders.values())] * 2, strict=True)
        ]
        super().__init__([self.presets, *rows, self.notes], layout=widgets.Layout(width="100%"), value=setting)
        self.presets.observe(self._load, "value")
        for slider in self.sliders.values():
            slider.observe(self._edit, "value")
        self.observe(self._show, "value")
        self._show()

    def _load(self, _: object) -> None:
        if not self._held:
            name = self.presets.value
            self.value = replace(self.value, name=OWN) if name == OWN else self._loaded(name)

    def _loaded(self, name: str) -> Setting:
        new = preset(name)
        return replace(new, table=self.value.table) if name in LARGER else new

    def _edit(self, _: object) -> None:
        if self._held:
            return
        values = {name: round(slider.value, 2) for name, slider in self.sliders.items()}
        name = self.value.name if self.value.name in LARGER else OWN
        table = (values["00"], values["01"], values["10"], values["11"])
        self.value = Setting(name, table, values["correlation"], values["noise"])

    def _show(self, _: object = None) -> None:
        setting = self.value
        values = [*setting.table, setting.correlation, setting.noise]
        why = resting(setting)
        self._held = True  # else every slider would set the value once more
        try:
            self.presets.value = setting.name
            for (name, slider), value in zip(self.sliders.items(), values, strict=True):
                # What the page sent a moment ago must not come back rounded: the reader's hand may be further on.
                if abs(slider.value - value) > NOISE:
                    slider.value = value
                slider.disabled = name in why
                slider.tooltip = why.get(name)
        finally:
            self._held = False
        reasons: dict[str, list[str]] = {}
        for name, reason in why.items():
            reasons.setdefault(reason, []).append(self.sliders[name].description)
        self.notes.value = "<br>".join(f"{_listed(names)}: {reason}." for reason, names in reasons.items())


def _listed(names: list[str]) -> str:
    if len(names) == 4:
        return "The four sliders for P(y = 1 | a, b) rest"
    plain = [name.partition(" (")[0] for name in names]
    return f"{' and '.join(plain)} rest{'s' * (len(plain) == 1)}"


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
