"""Accuracy against epsilon under weak and strong attacks, two networks side by side: robust, or only hiding?"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.adversarial.exact import certified_accuracy
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.experiments.adversarial_models import HONEST
from toolkit.experiments.adversarial_recipe import find_member
from toolkit.explorers.adversarial_records import (
    MODELS,
    TRANSFER,
    adversarial_records,
    adversarial_run,
    not_recorded,
    where_recorded,
)
from toolkit.explorers.clothes import LEVELS, clothes, network
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, draw_marker

NOISE, BOUND = "noise", "certified"
ATTACKS = (NOISE, "FGSM", "PGD", HONEST)
CERTIFIED_AT = (0.0, *(4.0**power for power in range(-4, 1)))
"""Grey levels at which the bound is computed, until it is 0."""
_N_CERTIFIED = 40
_HIDDEN, _ROBUST = "lenet-masked", "resnet-adv"
_LOOKS = {  # the stronger the attack, the thinner its line: those that coincide are all seen
    NOISE: style.Line(style.GREEN, "--", "s", 1.8),
    "FGSM": style.Line(style.BLUE, "-", "o", 3.2),
    "PGD": style.Line(style.PURPLE, "-", "D", 2.0),
    HONEST: style.Line(style.VERMILION, "-", "^", 1.1),
    BOUND: style.Line(style.GREY, "-.", "", 1.8),
}


@dataclass(frozen=True, repr=False, eq=False)
class Curve:
    """Accuracy of a network under one attack.

    Attributes:
        epsilons: in grey levels, from 0: the accuracy without an attack.
        low: of the lowest training run.
        mean: over the training runs.
        high: of the highest.
    """

    epsilons: tuple[float, ...]
    low: tuple[float, ...]
    mean: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, epsilon: float) -> float | None:
        """Return the mean at an epsilon, or None where it was not measured."""
        return dict(zip(self.epsilons, self.mean, strict=True)).get(epsilon)

    def __repr__(self) -> str:
        return f"Curve({', '.join(f'{e:g}: {v:.3f}' for e, v in zip(self.epsilons, self.mean, strict=True))})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class Fate:
    """One network under all attacks.

    Attributes:
        name: of the network.
        curves: by the attack's name, the bound last.
    """

    name: str
    curves: Mapping[str, Curve]

    @property
    def title(self) -> str:
        """What the network is."""
        return find_member(self.name).title

    @property
    def gap(self) -> tuple[float, float] | None:
        """By how much one step overrates the network, and at which epsilon; None if nothing stronger was tried there.

        That is the accuracy under FGSM less the lowest under a stronger attack, where the difference is largest.
        """
        step = self.curves.get("FGSM")
        gaps = []
        for epsilon in step.epsilons[1:] if step else ():
            found = [self.curves[name].at(epsilon) for name in ("PGD", HONEST) if name in self.curves]
            others = [value for value in found if value is not None]
            if step and others:
                gaps.append(((step.at(epsilon) or 0.0) - min(others), epsilon))
        return max(gaps, default=None)

    def __repr__(self) -> str:
        return f"Fate({self.name}: {', '.join(self.curves)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class RobustAccuracy:
    """Two networks to compare.

    Attributes:
        fates: theirs; none if nothing is recorded.
        most: the largest epsilon of the record, in grey levels.
        where: where the numbers come from, or how to record them.
    """

    fates: tuple[Fate, ...]
    most: int
    where: str

    def __repr__(self) -> str:
        return f"RobustAccuracy({' beside '.join(fate.name for fate in self.fates) or 'not recorded'})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def read_fates(models: Record, transfer: Record | None = None) -> dict[str, Fate]:
    """Return how each network of a record fares.

    Args:
        models: of the study ``adversarial-models``.
        transfer: of the study ``adversarial-transfer``: random signs of the same size.
    """
    names = list(dict.fromkeys(models.results[0].tables["robust"]["network"]))
    fates = {}
    for name in names:
        clean = [result.metrics[f"{name} clean"] for result in models.results]
        curves = {}
        noisy = _noise(transfer, name) if transfer is not None and _alike(models, transfer) else {}
        if noisy:
            curves[NOISE] = _curve(clean, noisy)
        for attack in ATTACKS[1:]:
            found = _measured(models, name, attack)
            if found:
                curves[attack] = _curve(clean, found)
        fates[name] = Fate(name, curves)
    return fates


def _measured(record: Record, name: str, attack: str) -> dict[int, list[float]]:
    table = record.results[0].tables["robust"]
    rows = zip(table["network"], table["attack"], table["epsilon"], strict=True)
    epsilons = sorted({epsilon for n, a, epsilon in rows if (n, a) == (name, attack)})
    return {e: [result.metrics[f"{name} {attack} {e}"] for result in record.results] for e in epsilons}


def _noise(record: Record, name: str) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for result in record.results:
        table, (n,) = result.tables["errors"], result.tables["data"]["n_images"]
        columns = (table[key] for key in ("attack", "epsilon", "target", "errors"))
        for attack, epsilon, target, errors in zip(*columns, strict=True):
            if (attack, target) == (NOISE, name):
                found.setdefault(epsilon, []).append(1 - errors / n)
    return dict(sorted(found.items()))


def _alike(first: Record, other: Record) -> bool:
    return all(first.config.get(key) == other.config.get(key) for key in ("data", "cast"))


def _curve(clean: Sequence[float], found: Mapping[int, Sequence[float]]) -> Curve:
    values = [clean, *found.values()]
    return Curve(
        (0.0, *map(float, found)),
        tuple(min(one) for one in values),
        tuple(float(np.mean(one)) for one in values),
        tuple(max(one) for one in values),
    )


@functools.lru_cache(maxsize=16)
def certified_curve(name: str) -> Curve:
    """Return the accuracy that no attack can get below, of a network that ships, on some of the images that ship.

    Args:
        name: of a classifier of the cast.
    """
    some, model = clothes(), network(name)
    images, labels = some.images[:_N_CERTIFIED], some.labels[:_N_CERTIFIED]
    values: list[float] = []
    for level in CERTIFIED_AT:
        values.append(certified_accuracy(model, images, labels, level / LEVELS))
        if not values[-1]:
            break
    return Curve(CERTIFIED_AT[: len(values)], tuple(values), tuple(values), tuple(values))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL = 700.0, 94.0, 262.0


def draw(found: RobustAccuracy) -> Svg:
    """Draw the accuracy of the two networks over epsilon, a line an attack, with its lowest and highest training."""
    if not found.fates:
        picture = Svg(640, 80)
        picture.text(20, 45, "not recorded")
        return picture
    picture = Svg(_WIDTH, _TOP + _TALL + 34)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _draw_key(picture, found)
    half = _WIDTH / 2
    for place, fate in enumerate(found.fates):
        x = 14 + half * place
        size = next((size for size in (13.0, 12.0) if text_width(fate.title, size) <= half - 20), 11.0)
        picture.text(x, 84, shorten(fate.title, half - 20, size), size=size)
        lines, spreads = [], []
        for attack, curve in fate.curves.items():
            look, epsilons = _LOOKS[attack], curve.epsilons
            if attack == BOUND and curve.mean[-1] == 0:
                epsilons, mean = (*epsilons, float(found.most)), (*curve.mean, 0.0)
            else:
                mean = curve.mean
            lines.append(Series("", epsilons, mean, look))
            if attack != BOUND:
                lines.append(Series("", epsilons, mean, look, markers=True))
                for epsilon, low, high in zip(epsilons, curve.low, curve.high, strict=True):
                    thin = style.Line(look.color, "-", "", 1.2)
                    spreads.append(Series("", [epsilon, epsilon], [low, high], thin))
        draw_panel(
            picture,
            (x, _TOP, half - 26, _TALL),
            [*spreads, *lines],
            heading="accuracy",
            x_label="ε (grey levels of 255)",
            x_limits=(0.0, float(found.most)),
            y_limits=(0.0, 1.04),
        )
    return picture


def _draw_key(picture: Svg, found: RobustAccuracy) -> None:
    shown = {attack for fate in found.fates for attack in fate.curves}
    x = 16.0
    for attack in filter(shown.__contains__, (*ATTACKS, BOUND)):
        look = _LOOKS[attack]
        picture.line(x, 51, x + 34, 51, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        if attack != BOUND:
            draw_marker(picture, x + 17, 51, look)
        picture.text(x + 41, 55.5, attack, bold=True, fill=look.color)
        x += 62 + text_width(attack, 13, bold=True)


def _finding(found: RobustAccuracy) -> str:
    words = []
    for side, fate in zip(("left", "right"), found.fates, strict=True):
        gap = fate.gap
        if gap is None:
            words.append(f"nothing stronger was tried on the {side} one")
            continue
        points = round(100 * gap[0])
        amount = f"by {points} points" if points > 0 else "not at all"
        words.append(f"the {side} {'network' if side == 'left' else 'one'} {amount}")
    return f"FGSM overrates {', '.join(words)}"


def describe(found: RobustAccuracy) -> str:
    """Say for each network its accuracy under each attack, from what epsilon nothing is certified, and from where."""
    if not found.fates:
        return found.where
    parts = []
    shown = {attack for fate in found.fates for attack in fate.curves}
    for fate in dict.fromkeys(found.fates):
        words = []
        for attack, curve in fate.curves.items():
            if attack == BOUND:
                continue
            values = ", ".join(f"{100 * v:.0f} % at {e:g}" for e, v in itertools.islice(_points(curve), 1, None))
            words.append(f"{attack} {values}")
        clean = next((100 * curve.mean[0] for attack, curve in fate.curves.items() if attack != BOUND), float("nan"))
        rest = _bound_text(fate)
        absent = [one for one in (*ATTACKS, BOUND) if one in shown and one not in fate.curves]
        if absent:
            rest += f" Not measured for it: {', '.join(absent)}."
        parts.append(f"{fate.title}: {clean:.0f} % right on clean images; {'; '.join(words)}.{rest}")
    return f"{' '.join(parts)} ε in grey levels of 255, attackers know network and labels. {found.where}"


def _points(curve: Curve) -> Any:
    return zip(curve.epsilons, curve.mean, strict=True)


def _bound_text(fate: Fate) -> str:
    curve = fate.curves.get(BOUND)
    if curve is None:
        return ""
    first = f" Certified for {100 * curve.mean[1]:.0f} % of the images at {curve.epsilons[1]:.2g} grey levels"
    if curve.mean[-1] > 0:
        return f"{first}, {100 * curve.mean[-1]:.0f} % at {curve.epsilons[-1]:.2g}."
    return f"{first}." if len(curve.mean) == 2 else f"{first}, for none at {curve.epsilons[-1]:.2g}."


def explore_robust_accuracy(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded accuracies: pick the two networks.

    Args:
        records: to choose from; default: those that come with the toolkit. The certified bound is computed here, for
            networks that ship.
    """
    found = adversarial_records(records)
    models, transfer = (adversarial_run(study, found) for study in (MODELS, TRANSFER))
    fates = {} if models is None else read_fates(models, transfer)
    where, most = not_recorded(MODELS), 0
    if models is not None:
        most = max(1, *(int(curve.epsilons[-1]) for fate in fates.values() for curve in fate.curves.values()))
        (attacked,) = models.results[0].tables["data"]["n_attacked"]
        where = f"{where_recorded(models)} The first {attacked:,} of them are attacked."
        if (models.config["data"], models.config["cast"]) == ("fashion_mnist", "laptop"):
            fates = {name: _with_bound(fate) for name, fate in fates.items()}
            where += f" Certified: computed here, seed 0's network, {_N_CERTIFIED} of the images that ship."
    names = {fate.title: name for name, fate in fates.items()} or {"not recorded": ""}

    def compute(left: str, right: str) -> RobustAccuracy:
        for argument, name in (("left", left), ("right", right)):
            require(not name or name in fates, "compute", argument, f"one of {list(fates)}", repr(name))
        return RobustAccuracy(tuple(fates[name] for name in (left, right) if name), most, where)

    listed = list(names.values())
    sides = {
        side: controls.choice(side, names, name if name in fates else listed[0])
        for side, name in (("left", _HIDDEN), ("right", _ROBUST))
    }
    for control in sides.values():
        control.disabled = models is None
    return View(sides, compute, draw, describe)


def _with_bound(fate: Fate) -> Fate:
    if not find_member(fate.name).classifies:
        return fate
    return Fate(fate.name, {**fate.curves, BOUND: certified_curve(fate.name)})
