"""Figures of scores and of profiles: bars, a radar, and unique, redundant and complementary parts with their bounds."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from toolkit.core import plotting
from toolkit.core.errors import require
from toolkit.disentanglement.bounds import PARTS, Profile
from toolkit.disentanglement.evaluation import Evaluation
from toolkit.disentanglement.metrics.registry import METRICS

PART_COLOURS = {"unique": plotting.BLUE, "redundant": plotting.VERMILION, "complementary": plotting.GREEN}
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\")
_MOST = len(plotting.LINES)


def draw_scores(
    evaluations: Evaluation | Mapping[str, Evaluation],
    names: Iterable[str] | None = None,
    *,
    title: str = "",
    width: float = 6.6,
) -> Figure:
    """Draw scores as horizontal bars, one group a metric.

    Args:
        evaluations: one, or up to five by the names that the legend gives them.
        names: of :data:`METRICS`, from the top; default: every score between 0 and 1 that any of them has.
        title: the finding.
        width: inches.

    Returns:
        A figure. An interval is a line on the bar; a score that an evaluation has not is a gap.

    Raises:
        ValueError: no evaluation, more than five, unknown names, or no score to draw.
    """
    many = _by_name("draw_scores", evaluations)
    chosen = _names("draw_scores", many, names)
    thickness = 0.8 / len(many)
    height = 0.9 + len(chosen) * max(0.24, 0.17 * len(many)) + (0.3 if title else 0) + (0.3 if len(many) > 1 else 0)
    where = plotting.axes(width=width, height=height, title=title)
    rows = np.arange(len(chosen))
    highest = 1.0
    for index, (label, evaluation) in enumerate(many.items()):
        scores = [evaluation.scores.get(name, math.nan) for name in chosen]
        shown = [score if math.isfinite(score) else math.nan for score in scores]
        places = rows + (index - (len(many) - 1) / 2) * thickness
        look = {"color": plotting.LINES[index].color, "hatch": _HATCHES[index], "edgecolor": "white"}
        where.barh(places, shown, height=thickness * 0.92, label=label, **look)
        for place, name, score in zip(places, chosen, scores, strict=True):
            low, high = evaluation.intervals.get(name, (score, score))
            if high > low:
                where.plot([low, high], [place, place], color=plotting.INK, linewidth=1.2, solid_capstyle="butt")
            if math.isfinite(score):
                highest = max(highest, high)
                text = f"{round(score, 2) + 0.0:.2f}".replace("-", "−")
            else:
                text = "not scored" if math.isnan(score) else "∞"
            position = (max(high, 0.0) if math.isfinite(score) else 0.0, place)
            style: dict[str, Any] = {"fontsize": 8.5 if len(many) < 3 else 7, "color": plotting.GREY, "va": "center"}
            where.annotate(text, position, xytext=(3, 0), textcoords="offset points", **style)
    where.set_yticks(rows, [_label(name) for name in chosen])
    where.set_ylim(len(chosen) - 0.5, -0.5)
    where.set_xlim(min(0.0, *(_least(many, name) for name in chosen)), highest * 1.1)
    where.set_xlabel("score")
    where.grid(False, axis="y")
    if len(many) > 1:
        with plotting.settings():
            where.figure.legend(loc="outside lower center", ncols=min(3, len(many)))
    return where.figure


def draw_radar(
    evaluations: Evaluation | Mapping[str, Evaluation],
    names: Iterable[str] | None = None,
    *,
    title: str = "",
    width: float = 6.6,
) -> Figure:
    """Draw scores between 0 and 1 on spokes, outwards, one outline an evaluation.

    Args:
        evaluations: one, or up to five by the names that the legend gives them.
        names: at least three of :data:`METRICS`; default: every score where more is better that all of them have.
        title: the finding.
        width: inches.

    Returns:
        A figure. A negative score is drawn as 0.

    Raises:
        ValueError: no evaluation, more than five, unknown names, a score that has no upper end or that one of the
            evaluations has not, or fewer than three scores.
    """
    operation = "draw_radar"
    many = _by_name(operation, evaluations)
    if names is None:
        chosen = [
            name
            for name in _names(operation, many, None)
            if METRICS[name].higher_is_better and all(name in one.scores for one in many.values())
        ]
    else:
        chosen = _names(operation, many, names)
    require(len(chosen) >= 3, operation, "names", "three scores or more that all evaluations have", chosen)
    for name in chosen:
        require(METRICS[name].range[1] == 1.0, operation, "names", "scores of at most 1", name)
        lacking = [label for label, one in many.items() if name not in one.scores]
        require(not lacking, operation, "names", f"scores that all evaluations have: {name}", f"not {lacking}")
    angles = np.linspace(0, 2 * np.pi, len(chosen), endpoint=False)
    made = plotting.figure(width, width * 0.78 + (0.3 if title else 0) + (0.3 if len(many) > 1 else 0), title=title)
    with plotting.settings():
        where: Any = made.add_subplot(projection="polar")
        where.set_theta_zero_location("N")
        where.set_theta_direction(-1)
        for line, (label, one) in zip(plotting.LINES, many.items(), strict=False):
            values = [max(one.scores[name], 0.0) for name in chosen]
            closed = ([*angles, angles[0]], [*values, values[0]])
            where.plot(*closed, label=label, clip_on=False, **line.to_dict(markers=True))
            if len(many) == 1:
                where.fill(*closed, color=line.color, alpha=0.12)
        where.set_ylim(0, 1)
        where.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
        where.set_rlabel_position(np.degrees(angles[1]) / 2)
        where.set_xticks(angles, [_label(name) for name in chosen])
        for angle, text in zip(angles, where.get_xticklabels(), strict=True):
            side = np.sin(angle)
            text.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
        where.tick_params(axis="x", pad=4)
        if len(many) > 1:
            made.legend(loc="outside lower center", ncols=min(3, len(many)))
    return made


def draw_profile(
    profiles: Profile | Mapping[str, Profile],
    *,
    per_factor: bool = False,
    title: str = "",
    width: float = 6.6,
) -> Figure:
    """Draw the bounds of the three parts: a bar up to the upper bound, and inside it one up to the lower bound.

    Args:
        profiles: one, or several by name; each is a group of three bars.
        per_factor: a group for each factor of each profile instead of the mean over factors. A factor of one value has
            no parts and no bars.
        title: the finding.
        width: inches.

    Returns:
        A figure; heights are shares of the factors' entropies.

    Raises:
        ValueError: no profile.
    """
    many = {"": profiles} if isinstance(profiles, Profile) else dict(profiles)
    require(len(many) > 0, "draw_profile", "profiles", "at least one", "none")
    groups: list[tuple[str, dict[str, tuple[float, float]]]] = []
    for label, one in many.items():
        if not per_factor:
            means = {part: one.mean(part) for part in PARTS}
            groups.append((label, {part: (float(both.lower), float(both.upper)) for part, both in means.items()}))
            continue
        for index, factor in enumerate(one.factor_names):
            ends = {part: getattr(one.per_factor, part) for part in PARTS}
            bars = {part: (float(both.lower[index]), float(both.upper[index])) for part, both in ends.items()}
            groups.append((f"{label}\n{factor}" if label else factor, bars))
    upright = max(len(line) for name, _ in groups for line in name.split("\n")) * len(groups) > 13 * width
    height = 3.4 + (0.3 if title else 0) + (0.07 * max(len(name) for name, _ in groups) if upright else 0)
    where = plotting.axes(width=width, height=height, title=title)
    for offset, part in enumerate(PARTS):
        places = np.arange(len(groups)) + (offset - 1) * 0.27
        lower, upper = np.array([bars[part] for _, bars in groups]).T
        colour = PART_COLOURS[part]
        where.bar(places, upper, width=0.24, color=colour, alpha=0.3, edgecolor=colour, linewidth=0.8)
        where.bar(places, lower, width=0.24, color=colour, hatch=_HATCHES[offset], edgecolor="white", label=part)
    where.bar([0], [0], color=plotting.FAINT, edgecolor=plotting.GREY, label="up to the upper bound")
    where.set_xticks(np.arange(len(groups)), [name for name, _ in groups])
    where.tick_params(axis="x", rotation=90 if upright else 0, length=0)
    margin = 1.2 if len(groups) == 1 else 0.6
    where.set_xlim(-margin, len(groups) - 1 + margin)
    largest = max((end for _, bars in groups for both in bars.values() for end in both if end == end), default=0.0)
    where.set_ylim(0, 1.05 * max(largest, 0.05))
    where.set_ylabel("share of H(factor)")
    where.grid(False, axis="x")
    with plotting.settings():
        where.figure.legend(loc="outside lower center", ncols=4)
    return where.figure


def _by_name(operation: str, evaluations: Evaluation | Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    many = {"": evaluations} if isinstance(evaluations, Evaluation) else dict(evaluations)
    require(1 <= len(many) <= _MOST, operation, "evaluations", f"1 to {_MOST}", len(many))
    return many


def _names(operation: str, many: Mapping[str, Evaluation], names: Iterable[str] | None) -> list[str]:
    if names is None:
        chosen = [
            name
            for name, metric in METRICS.items()
            if metric.range[1] == 1.0 and any(name in one.scores for one in many.values())
        ]
    else:
        chosen = [names] if isinstance(names, str) else list(names)
        unknown = [name for name in chosen if name not in METRICS]
        require(not unknown, operation, "names", f"some of {', '.join(METRICS)}", unknown)
    require(len(chosen) > 0, operation, "names", "a score to draw", "none")
    return chosen


def _label(name: str) -> str:
    return METRICS[name].title + ("" if METRICS[name].higher_is_better else " ↓")


def _least(many: Mapping[str, Evaluation], name: str) -> float:
    found = [one.scores[name] for one in many.values() if name in one.scores]
    return min([score for score in found if math.isfinite(score)], default=0.0)
