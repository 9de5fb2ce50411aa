"""Sliders for a joint distribution of two fair bits and a target, and presets that load them."""

from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import traitlets
from jaxtyping import Float64
from torch import Tensor, float64, stack, tensor

from toolkit.core.errors import require
from toolkit.disentanglement.exact import interval
from toolkit.disentanglement.systems import named_system
from toolkit.explorers.pid_parts import NOISE
from toolkit.lessons import controls

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
