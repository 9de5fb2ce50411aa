"""Attack a code, harder and harder: which scores notice that every factor is told twice, hidden, or mixed?

Unique, redundant and complementary parts and UniBound are computed for the strength that is chosen; the curves of the
other scores come from a few strengths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement.bounds import PARTS as NAMES
from toolkit.disentanglement.bounds import Profile
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.experiments.disentanglement_trained import CodesUnavailable, shipped_models, trained_codes
from toolkit.explorers.attack_curves import (
    ATTACKS,
    OTHERS,
    PAPER,
    STRENGTHS,
    Bench,
    Filler,
    fill,
    missing,
    rotated_code,
)
from toolkit.explorers.disentanglement_records import short_title, title_of
from toolkit.explorers.pid_parts import Bar, draw_letters, parts_panel, span
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

IDEAL, ROTATED = "ideal", "two factors rotated"
GROUPS = {"the paper's four": PAPER, "others": OTHERS}
"""Scores that are shown together."""
MOST = STRENGTHS[-1]
_TITLES = {
    "unibound": "UniBound",
    "mig": "MIG",
    "beta_vae": "BetaVAE",
    "factor_vae": "FactorVAE",
    "sap": "SAP",
    "dci": "DCI",
    "mig_sup": "MIG-sup",
    "modularity": "modularity",
    "irs": "IRS",
}
# Vermilion and green are parts of the information in this picture.
_LOOKS = {
    "unibound": style.Line(style.BLUE, "-", "o", 2.4),
    "mig": style.Line(style.PURPLE, "--", "s", 2.4),
    "beta_vae": style.Line(style.GREY, "-.", "", 2.0),
    "factor_vae": style.Line(style.GREY, ":", "", 2.6),
    "sap": style.Line(style.PURPLE, "--", "s", 2.0),
    "dci": style.Line(style.GREY, "-", "D", 2.0),
    "mig_sup": style.Line(style.PURPLE, ":", "v", 2.2),
    "modularity": style.Line(style.GREY, "-.", "^", 2.0),
    "irs": style.Line(style.GREY, ":", "", 2.2),
}
_FINE = tuple(round(MOST * step / 60, 3) for step in range(61))


@dataclass(frozen=True, eq=False, repr=False)
class Attacked:
    """A code under one attack.

    Attributes:
        code: its name.
        attack: a key of ``ATTACKS``.
        strength: of the attack.
        clean: the parts without an attack.
        now: the parts at this strength.
        curves: each score at ``STRENGTHS``; NaN where it is not computed yet.
        scores: each score at this strength; between two points of its curve, what the line says.
        exact: UniBound by quadrature, at ``_FINE``; None where there is no short cut.
        exact_here: the same at this strength.
        n_categorical: latents that attacks leave alone.
        note: what else to say of the code.
    """

    code: str
    attack: str
    strength: float
    clean: Profile
    now: Profile
    curves: dict[str, tuple[float, ...]]
    scores: dict[str, float]
    exact: tuple[float, ...] | None
    exact_here: float | None
    n_categorical: int = 0
    note: str = ""

    @property
    def n_missing(self) -> int:
        """Strengths that the curves lack."""
        return int(np.isnan(list(self.curves.values())).any(0).sum())

    def kept(self, metric: str) -> float:
        """Return the share of the clean score that is left; NaN where there is none to lose."""
        clean = self.curves[metric][0]
        return self.scores[metric] / clean if clean >= 0.005 else float("nan")

    def __repr__(self) -> str:
        return f"Attacked({self.code}, {self.attack} {self.strength:g}: UniBound {self.now.unibound:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; profiles as plain numbers."""
        return vars(self) | {"clean": self.clean.to_dict(), "now": self.now.to_dict()}


def compute(
    bench: Bench,
    code: str = IDEAL,
    attack: str = "redundancy",
    strength: float = 4.0,
    metrics: tuple[str, ...] = PAPER,
) -> Attacked:
    """Return the parts at one strength, and as much of the curves as is known.

    Args:
        bench: of the code.
        code: what it is called.
        attack: a key of ``ATTACKS``.
        strength: 0 to ``MOST``.
        metrics: names of scores, ``PAPER`` or ``OTHERS``.

    Raises:
        ValueError: an unknown attack, or a strength out of range.
    """
    require(0 <= strength <= MOST, "compute", "strength", f"from 0 to {MOST:g}", strength)
    strength = round(float(strength), 3)
    clean, now = bench.profile(attack, 0.0), bench.profile(attack, strength)
    curves = {
        metric: tuple(
            bench.score(metric, attack, at) if bench.known(metric, attack, at) else float("nan") for at in STRENGTHS
        )
        for metric in metrics
    }
    scores = {metric: float(np.interp(strength, STRENGTHS, curve)) for metric, curve in curves.items()}
    scores |= {metric: getattr(now, metric) for metric in ("unibound", "mig") if metric in metrics}
    here = bench.exact_unibound(attack, (strength,))
    fine = bench.exact_unibound(attack, _FINE)
    untouched = bench.codes.n_latents - bench.codes.n_real
    exact = (fine, here[0] if here else None)
    return Attacked(code, attack, strength, clean, now, curves, scores, *exact, untouched, bench.note)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _CURVES, _TOP, _TALL = 720.0, 392.0, 36.0, 318.0


def draw(found: Attacked) -> Svg:
    """Draw the scores as curves over the strength, and the three parts without the attack and at this strength."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    label = "strength s, alpha = s / (1 + s)" if found.attack == "mixing" else "strength alpha"
    draw_panel(
        picture,
        (14.0, _TOP + 6, _CURVES - 14, _TALL - 36),
        _series(found),
        heading="score",
        x_limits=(0.0, MOST),
        y_limits=(0.0, 1.04),
        x_label=label,
        room=text_width(_TITLES["modularity"], 12, bold=True) + 10,
        mark=found.strength,
    )
    groups = {"no attack": _bars(found.clean), f"{found.attack}, {found.strength:g}": _bars(found.now)}
    draw_letters(picture, _CURVES + 8, _TOP + 19)
    panel = parts_panel(
        groups, width=_WIDTH - _CURVES, height=_TALL - 28, value_label="share of H(y)", limits=(0.0, 1.0)
    )
    picture.place(_CURVES, _TOP + 28, panel)
    return picture


def _series(found: Attacked) -> list[Series]:
    lines = []
    if found.exact is not None:
        thin = style.Line(style.BLACK, "-", "", 1.6)
        first = 1 if found.attack == "masked copy" else 0  # however weak, it takes all that was unique
        lines.append(Series("exact", _FINE[first:], found.exact[first:], thin))
    for metric, curve in found.curves.items():
        look = _LOOKS[metric]
        known = [(at, value) for at, value in zip(STRENGTHS, curve, strict=True) if not np.isnan(value)]
        x, y = [at for at, _ in known], [value for _, value in known]
        title = _TITLES[metric] if len(known) > 1 else ""
        if metric != "unibound" or found.exact is None:
            lines.append(Series(title, x, y, look))
        if look.marker:
            lines.append(Series(title if found.exact is not None and metric == "unibound" else "", x, y, look, True))
    lines.append(Series("", [found.strength], [found.now.unibound], _LOOKS["unibound"], True))
    return lines


def _bars(parts: Profile) -> list[Bar]:
    bars = []
    for name in NAMES:
        ends = parts.mean(name)
        low, high = float(ends.lower), float(ends.upper)
        # Draws leave a gap of some thousandths between ends that are the same.
        bars.append(Bar(name, low, max(low, high)))
    return bars


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"


def _finding(found: Attacked) -> str:
    shown = {metric: value for metric, value in found.scores.items() if not np.isnan(value)}
    if found.strength == 0:
        return "No attack: " + ", ".join(f"{_TITLES[metric]} {value:.2f}" for metric, value in shown.items())
    kept = {metric: found.kept(metric) for metric in shown}
    unibound = kept.pop("unibound")
    if np.isnan(unibound):
        return f"UniBound was {found.clean.unibound:.2f} before the attack and is {found.now.unibound:.2f} now"
    first = f"UniBound keeps {_percent(unibound)}"
    rest = {metric: share for metric, share in kept.items() if not np.isnan(share)}
    if len(rest) <= 3:
        alike: dict[str, list[str]] = {}
        for metric, share in rest.items():
            alike.setdefault(_percent(share), []).append(_TITLES[metric])
        return ", ".join([first, *(f"{' and '.join(titles)} {share}" for share, titles in alike.items())])
    least, most = min(rest, key=rest.__getitem__), max(rest, key=rest.__getitem__)
    ends = [f"{_percent(rest[metric])} ({_TITLES[metric]})" for metric in (least, most)]
    return f"{first}, others {ends[0]} to {ends[1]}"


_WHY = {
    "redundancy": "each old latent stays as it was, but the new ones together say the same once more",
    "masked copy": "a copy and its mask together give a latent back, so nothing is unique to any one",
    "synergy": "every latent hides behind noise that other latents tell, so it takes them all",
    "mixing": "every latent moves towards the sum of all, so no latent is about one factor",
}


def describe(found: Attacked) -> str:
    """Say what the attack makes of each score and of the three parts, and why."""
    if found.strength == 0:
        scores = ", ".join(f"{_TITLES[name]} {value:.2f}" for name, value in found.scores.items() if value == value)
        text = f"Nobody attacks this code ({title_of(found.code)}): {scores}. {_parts(found)}."
    else:
        moves = []
        for metric, value in found.scores.items():
            if not np.isnan(value):
                exact = ""
                if metric == "unibound" and found.exact_here is not None:
                    exact = f" (exact {found.exact_here:.2f})"
                moves.append(f"{_TITLES[metric]} {found.curves[metric][0]:.2f} → {value:.2f}{exact}")
        which = f"alpha = {found.strength / (1 + found.strength):.2f}" if found.attack == "mixing" else "strength"
        at = f"strength {found.strength:g}" if which == "strength" else f"strength {found.strength:g} ({which})"
        text = (
            f"{found.attack.capitalize()} of {title_of(found.code)}, {at}: {', '.join(moves)}. "
            f"{_parts(found)}: {_WHY[found.attack]}."
        )
    if found.n_categorical and found.strength > 0:
        one = found.n_categorical == 1
        text += f" {found.n_categorical} categorical latent{' stays as it is' if one else 's stay as they are'}."
    if found.note:
        text += f" {found.note}."
    if found.n_missing:
        done = len(STRENGTHS) - found.n_missing
        text += f" The other scores are being computed ({done} of {len(STRENGTHS)} strengths)."
    return text


def _parts(found: Attacked) -> str:
    said = []
    for name in NAMES:
        ends = found.now.mean(name)
        low, high = float(ends.lower), float(ends.upper)
        said.append(f"{name} {span(low, max(low, high), 2)}")
    return f"As shares of H(y): {', '.join(said)}"


# ---------------------------------------------------------------------------------------------------------------------
# The view


def find_codes() -> dict[str, GaussianCodes]:
    """Return the codes of trained models that are at hand, by name; none is trained for it."""
    found = {}
    for name in shipped_models():
        try:
            found[name] = trained_codes(name)
        except CodesUnavailable:
            continue
    return found


def explore_attack_metrics(*, codes: Mapping[str, GaussianCodes] | None = None) -> View:
    """Return a view of a code under attack: all scores as curves, the three parts at the strength chosen.

    Args:
        codes: trained codes by name, of complete grids; of factors with more than four values every second or third
            value is taken. Default: those at hand.
    """
    trained = find_codes() if codes is None else dict(codes)
    benches = {IDEAL: Bench.ideal()}
    names = {"ideal: one latent a factor": IDEAL, "two factors rotated by 45°": ROTATED}
    names |= {f"trained: {short_title(name)}": name for name in trained}
    chosen = {
        "attack": controls.choice("attack", {name.capitalize(): name for name in ATTACKS}),
        "strength": controls.float_slider("strength", 4.0, 0.0, MOST, step=0.2),
        "code": controls.choice("code", names),
        "scores": controls.toggle("scores", list(GROUPS)),
    }

    def bench_of(code: str) -> Bench:
        if code not in benches:
            benches[code] = Bench(rotated_code()) if code == ROTATED else Bench.trained(trained[code])
        return benches[code]

    filler: list[Filler] = []

    def at(attack: str, strength: float, code: str, scores: str) -> Attacked:
        bench, metrics = bench_of(code), GROUPS[scores]
        if not filler:  # the first picture is whole
            fill(bench, attack, metrics)
        elif missing(bench, attack, metrics):
            filler[0].want(bench, attack, metrics)
        return compute(bench, code, attack, strength, metrics)

    view = View(chosen, at, draw, describe)
    filler.append(Filler(view.refresh, view.show_error))
    view.filler = filler[0]
    return view
