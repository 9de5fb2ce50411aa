"""Recorded autoencoders: what of each factor is in one latent alone, in two places, or only in all latents together?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.disentanglement.bounds import PARTS
from toolkit.experiments import Record
from toolkit.experiments.disentanglement_scores import MEAN
from toolkit.explorers.disentanglement_records import (
    ALL,
    SCORES,
    Ends,
    Run,
    chosen,
    in_words,
    not_recorded,
    parts_of,
    recorded_runs,
    score_title,
    short_title,
    title_of,
    where_recorded,
)
from toolkit.explorers.pid_parts import amount, span
from toolkit.explorers.profile_bars import ABOVE, BELOW, MOST, Group, draw_groups, draw_key, highest
from toolkit.lessons import View, controls

MODELS, FACTORS, SEEDS = "models", "factors", "seeds"
"""What stands side by side."""


@dataclass(frozen=True, repr=False, eq=False)
class Profiles:
    """Bars to be compared.

    Attributes:
        compare: ``MODELS``, ``FACTORS`` or ``SEEDS``.
        groups: one a model, factor or seed.
        what: of which factor or model they are, in words.
        runs: which runs are shown, in words.
        several: whether bars are means over runs.
        where: where this was recorded, or how to record it.
    """

    compare: str
    groups: tuple[Group, ...]
    what: str
    runs: str
    several: bool
    where: str

    def __repr__(self) -> str:
        return f"Profiles({self.what}: {', '.join(group.name for group in self.groups)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, groups as plain values."""
        return vars(self) | {"groups": [group.to_dict() for group in self.groups]}


def compute(
    run: Run | None, compare: str = MODELS, model: str | None = None, factor: str = MEAN, by: str = ALL
) -> Profiles:
    """Take bars from a recorded run.

    Args:
        run: None if nothing is recorded.
        compare: ``MODELS`` (for one factor or the mean), ``FACTORS`` (of one model) or ``SEEDS`` (of one model, for
            one factor or the mean).
        model: its name; default: the first.
        factor: its name, or ``"mean"``.
        by: ``ALL`` seeds, or the score by which each model's better half is taken.

    Raises:
        ValueError: an unknown comparison, model, factor or score.
    """
    require(compare in (MODELS, FACTORS, SEEDS), "compute", "compare", "models, factors or seeds", repr(compare))
    if run is None:
        return Profiles(compare, (), "", "", False, not_recorded())
    name = run.records[0].variant if model is None else model
    about = "mean over factors" if factor == MEAN else in_words(factor)
    groups = []
    if compare == MODELS:
        shown = {record.variant: chosen(record, by) for record in run.records}
        for variant, results in shown.items():
            first, _, note = title_of(variant).partition(", ")
            groups.append(Group(first, note, parts_of(results, factor)))
        counts = {len(results) for results in shown.values()}
        what = about
    elif compare == FACTORS:
        results = chosen(run.record(name), by)
        groups = [Group(in_words(one), "", parts_of(results, one)) for one in run.factors]
        counts = {len(results)}
        what = title_of(name)
    else:
        results = chosen(run.record(name), by)
        groups = [Group(f"seed {result.seed}", "", parts_of([result], factor)) for result in results]
        counts = {len(results)}
        what = f"{title_of(name)}, {about}"
    return Profiles(
        compare, tuple(groups), what, _runs(counts, by), compare != SEEDS and max(counts) > 1, where_recorded(run)
    )


def _runs(counts: set[int], by: str) -> str:
    low, high = min(counts), max(counts)
    number = f"{low}" if low == high else f"{low} to {high}"
    seeds = f"{number} seed{'s' * (high > 1)}"
    if by != ALL:
        return f"the better half of the seeds by {score_title(by)} ({number} of each model)"
    return f"all {seeds}" if high > 1 else seeds


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _AXES = 720.0, 64.0, 230.0


def draw(found: Profiles) -> Svg:
    """Draw three bars a group, at most eight groups in a row."""
    if not found.groups:
        return nothing_recorded()
    groups = found.groups
    n_rows = -(-len(groups) // MOST)
    in_row = -(-len(groups) // n_rows)
    axes = _AXES if n_rows == 1 else 0.72 * _AXES
    tall = ABOVE + axes + BELOW
    picture = Svg(_WIDTH, _TOP + n_rows * tall)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    draw_key(picture, 14, 46, several=found.several)
    top = highest(groups)
    for row in range(n_rows):
        part = groups[row * in_row : (row + 1) * in_row]
        draw_groups(picture, (0.0, _TOP + row * tall, _WIDTH - 12, tall), part, top)
    return picture


def nothing_recorded() -> Svg:
    """Return a picture that says that nothing is recorded."""
    picture = Svg(640, 80)
    picture.text(20, 45, "No trained models are recorded here.")
    return picture


def _finding(found: Profiles) -> str:
    names = [_short(found, group) for group in found.groups]
    least = {part: [group.parts[part].lower for group in found.groups] for part in PARTS}
    if len(names) == 1:
        return f"{names[0]}: at least {', '.join(f'{amount(least[part][0], 2)} {part}' for part in PARTS)}"
    both = ("unique", "complementary")
    best = {part: names[least[part].index(max(least[part]))] for part in both}
    said = []
    if len(set(best.values())) == 1 and all(amount(max(least[part]), 2) != "0" for part in both):
        ends = ", ".join(f"{part} ≥ {amount(max(least[part]), 2)}" for part in both)
        return f"{best['unique']} has most of both: {ends}"
    for part in both:
        value = max(least[part])
        if amount(value, 2) == "0":
            said.append(f"nothing is certainly {part}")
        else:
            said.append(f"most {part}: {best[part]} (≥ {amount(value, 2)})")
    text = "; ".join(said)
    text = text[0].upper() + text[1:]
    if text_width(text, 14, bold=True) > _WIDTH - 24:
        text = text.replace("complementary", "C").replace("unique", "U")
    return text


def _short(found: Profiles, group: Group) -> str:
    if found.compare != MODELS:
        return group.name
    return f"{group.name} {group.note.rpartition(' ')[2]}".strip()


def describe(found: Profiles) -> str:
    """Say each group's parts, whose runs they are, and where they were recorded."""
    if not found.groups:
        return found.where
    listed = "; ".join(
        f"{_short(found, group)}: " + ", ".join(_ends(part, ends) for part, ends in group.parts.items())
        for group in _worth_saying(found.groups)
    )
    mean = "means over " if found.several else ""
    return (
        f"Shares of H(y) that are unique (U), redundant (R) and complementary (C), in brackets I_min; {found.what}, "
        f"{mean}{found.runs}. {listed}. {found.where}"
    )


def _worth_saying(groups: Sequence[Group]) -> list[Group]:
    """Return all groups of one row; of more, those with most of each part."""
    if len(groups) <= MOST:
        return list(groups)
    most = {max(range(len(groups)), key=lambda place: groups[place].parts[part].lower) for part in PARTS}
    return [groups[place] for place in sorted(most)]


def _ends(part: str, ends: Ends) -> str:
    text = f"{part[0].upper()} {span(ends.lower, ends.upper, 2)}"
    return f"{text} ({amount(ends.i_min, 2)})" if " to " in text else text


def seed_choices() -> dict[str, str]:
    """Return ways to choose runs by what they are called: all, or the better half by each score."""
    return {"all": ALL} | {f"better half by {score_title(score)}": score for score in SCORES}


def explore_code_profiles(records: Sequence[Record] | None = None) -> View:
    """Return a view of the parts of information in recorded codes, by model, by factor or by seed.

    Args:
        records: to choose from; default: those that come with the toolkit. Without one the view says what makes one.
    """
    runs = recorded_runs(records)
    if not runs:
        return View({}, lambda: compute(None), draw, describe)
    first = runs[0]
    model, factor = controls.choice("model", _models(first)), controls.choice("factor", _factors(first))
    compare = controls.toggle("side by side", [MODELS, FACTORS, SEEDS])
    controls.only_while(model, compare, lambda value: value != MODELS, otherwise="all models are shown")
    controls.only_while(factor, compare, lambda value: value != FACTORS, otherwise="all factors are shown")
    chosen_by = {"compare": compare, "model": model, "factor": factor, "by": controls.choice("seeds", seed_choices())}
    if len(runs) == 1:
        return View(chosen_by, lambda **values: compute(first, **values), draw, describe)
    labels = {run.label: run for run in runs}

    which = controls.choice("record", list(labels))

    def follow(_: object) -> None:
        run = labels[which.value]
        for control, options in ((model, _models(run)), (factor, _factors(run))):
            kept = control.value
            control.options = list(options.items())
            control.value = kept if kept in options.values() else next(iter(options.values()))

    which.observe(follow, "value")

    def compute_one(run: str, model: str, factor: str, **values: Any) -> Profiles:
        one = labels[run]  # the lists of models and factors follow it a moment later
        model = model if model in one.models.values() else one.records[0].variant
        return compute(one, model=model, factor=factor if factor in one.factors else MEAN, **values)

    return View({"run": which} | chosen_by, compute_one, draw, describe)


def _models(run: Run) -> dict[str, str]:
    return {short_title(record.variant): record.variant for record in run.records}


def _factors(run: Run) -> dict[str, str]:
    return {"mean over factors": MEAN} | {in_words(name): name for name in run.factors}
