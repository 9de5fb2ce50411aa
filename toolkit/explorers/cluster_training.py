"""A network learns two clusters in the plane, frame by frame: what does a perturbation add to information?

Every setting that was trained is kept; another one trains as soon as it is chosen.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets

from toolkit.core.svg import Svg
from toolkit.explorers.plane_points import SHAPES, PlaneFrame, draw_arrows, draw_points, draw_regions
from toolkit.explorers.plane_training import ARROWS, BETWEEN, PERTURBATIONS, STEPS, Frame, Run, Setting, train
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import BackgroundView, Progress, controls, style
from toolkit.lessons.svg import Series

FRAMES = STEPS // BETWEEN
_DRAWN = 400


@dataclass(frozen=True, eq=False)
class Look:
    """A frame of a run, beside the run without a perturbation if that was trained."""

    run: Run
    frame: int
    without: Run | None

    @property
    def now(self) -> Frame:
        """The frame, or the last one there is."""
        return self.run.frames[min(self.frame, len(self.run.frames) - 1)]


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT, _TOP, _SIDE, _LEFT = 660.0, 404.0, 46.0, 268.0, 44.0
_PANELS, _TALL = 344.0, 112.0
_CEILING = style.Line(style.BLACK, (0, (6.0, 3.0)), "", 2.0)
_MARGINAL, _CONDITIONAL = style.Line(style.GREEN, "-", "", 2.0), style.Line(style.PURPLE, (0, (4.0, 1.6)), "", 2.0)
_WITHOUT = style.Line(style.GREY, (0, (1.2, 1.2)), "", 2.0)
_LOOKS: Mapping[str, style.Line] = {
    "VAT": style.Line(style.BLUE, "-", "o", 2.4),
    "RPT": style.Line(style.VERMILION, (0, (5.0, 1.6)), "s", 2.2),
    "none": _WITHOUT,
}


def draw(look: Look) -> Svg:
    """Draw the decision regions of a frame with points and their perturbations, and the curves up to that frame."""
    run, now = look.run, look.now
    setting, mine = run.setting, _LOOKS[look.run.setting.perturbation]
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, _finding(look), size=14, bold=True)
    frame = PlaneFrame(_LEFT, _TOP, _SIDE)
    draw_regions(picture, frame, now.regions.astype(float))
    draw_points(picture, frame, run.points.inputs[:_DRAWN], run.points.labels[:_DRAWN], 2.1)
    draw_arrows(picture, frame, run.points.inputs[:ARROWS].numpy(), now.moved, mine.color)
    arrows = "VAT's steps, not trained" if setting.perturbation == "none" else f"{setting.perturbation}'s steps"
    words = ("colour: the cluster, by p(y|x); white: undecided", f"○ and ●: the true classes; arrows: {arrows}")
    for number, line in enumerate(words):
        picture.text(14, frame.top + _SIDE + 58 + 19 * number, line, size=12, fill=style.GREY)
    frames = run.frames[: now.step // BETWEEN + 1]
    steps = [one.step for one in frames]
    ceiling = math.log(setting.clusters)
    beside = look.without.frames[: len(frames)] if look.without is not None else ()

    def mine_and_other(field: str, other: tuple[Frame, ...], factor: float = 1.0) -> list[Series]:
        lines = [Series("none", steps, [factor * getattr(one, field) for one in other], _WITHOUT)] if other else []
        values = [factor * getattr(one, field) for one in frames]
        dot = Series("", steps[-1:], values[-1:], mine, markers=True)
        return [*lines, Series(setting.perturbation, steps, values, mine), dot]

    entropies = [
        Series(f"log {setting.clusters}", (0, STEPS), (ceiling, ceiling), _CEILING),
        Series("H(Y)", steps, [one.marginal_entropy for one in frames], _MARGINAL),
        Series("H(Y|X)", steps, [one.conditional_entropy for one in frames], _CONDITIONAL),
    ]
    alike = look.without is not None and look.without.setting.moves() == setting.moves()
    costs = [one.self_augmentation for one in run.frames]
    if alike and look.without is not None:
        costs += [one.self_augmentation for one in look.without.frames]
    panels = [
        ("entropies (nats)", (0.0, 1.15 * ceiling), entropies),
        (
            f"R_SAT (nats) for ε = {setting.epsilon:.2g}",
            (0.0, 1.05 * max(0.1, *costs)),
            mine_and_other("self_augmentation", beside if alike else ()),
        ),
        ("accuracy (%)", (0.0 if setting.clusters > 2 else 40.0, 104.0), mine_and_other("accuracy", beside, 100)),
    ]
    for number, (heading, y_limits, lines) in enumerate(panels):
        last = number == len(panels) - 1
        draw_panel(
            picture,
            (_PANELS, _TOP - 8 + number * _TALL, _WIDTH - _PANELS - 8, _TALL),
            lines,
            heading=heading,
            x_limits=(0, STEPS),
            y_limits=y_limits,
            x_label="training step" if last else "",
            room=64,
        )
    return picture


def _named(perturbation: str) -> str:
    return "no perturbation" if perturbation == "none" else perturbation


def _finding(look: Look) -> str:
    run, now = look.run, look.now
    accuracy = f"accuracy {100 * now.accuracy:.0f} %"
    name = f"{run.setting.data}, {_named(run.setting.perturbation)}"
    name = name[0].upper() + name[1:]
    if now.step < STEPS:
        return f"Step {now.step}. {name}: {accuracy}"
    if run.setting.data == "rings" and now.accuracy < 0.9:
        return f"{name}: not separated, {accuracy}"
    if look.without is not None:
        return f"{name}: {accuracy}; without a perturbation {100 * look.without.frames[-1].accuracy:.0f} %"
    return f"{name}: {accuracy}"


def describe(look: Look) -> str:
    """Say how good the clusters are at this frame, what the objective sees of them, and what settings change."""
    now, setting = look.now, look.run.setting
    with_xi = f" (ξ = {setting.xi:.2g})" if setting.perturbation == "VAT" else ""
    how = f"{setting.perturbation} with ε = {setting.epsilon:.2g}{with_xi}, λ = {setting.lam:.2g}"
    if setting.perturbation == "none":
        how = f"no perturbation, λ = {setting.lam:.2g}"
    ceiling, information = math.log(setting.clusters), now.marginal_entropy - now.conditional_entropy
    text = (
        f"{setting.data.capitalize()}, {how}, μ = {setting.mu:g}, {setting.clusters} clusters, step {now.step} of "
        f"{STEPS}: accuracy {100 * now.accuracy:.0f} %. H(Y) = {now.marginal_entropy:.2f} and H(Y|X) = "
        f"{now.conditional_entropy:.2f} nats, so I(X;Y) = {information:.2f} of at most {ceiling:.2f}; "
        f"R_SAT = {now.self_augmentation:.2f}"
    )
    if setting.perturbation == "none":
        text += f" along VAT's steps of ε = {setting.epsilon:.2g}, which nothing trains: ε and ξ change nothing"
    elif look.without is not None:
        last = look.without.frames[-1]
        text += (
            f". The same start without a perturbation ends at {100 * last.accuracy:.0f} %, with I(X;Y) = "
            f"{last.marginal_entropy - last.conditional_entropy:.2f}"
        )
    if setting.data == "rings" and now.step == STEPS and now.accuracy < 0.9:
        text += (
            ". No setting that we tried separates the rings: the first cut goes through both, and training did "
            "not leave it"
        )
    return f"{text}."


class ClusterTrainingView(BackgroundView):
    """Trains when a setting changes, unless it was trained before; the slider of frames only looks.

    Args:
        choices: controls by the name of a field of :class:`Setting`.
        frame: the slider of frames.
        kept: finished runs.

    Attributes:
        kept: finished runs by what was trained.
        play: moves the slider of frames on.
    """

    def __init__(self, choices: Mapping[str, widgets.Widget], frame: widgets.IntSlider, kept: list[Run]):
        self.kept = {run.setting: run for run in kept}
        self._shown = self.kept[Setting(**{name: control.value for name, control in choices.items()}).plain()]
        self.play = widgets.Play(min=frame.min, max=frame.max, value=frame.max, interval=150, show_repeat=False)
        self.play.tooltip = "frames"
        self.play.layout.width = "max-content"
        widgets.jslink((self.play, "value"), (frame, "value"))
        initial = self._look(self._shown, frame.value)
        super().__init__({**choices, "frame": frame}, self._train, draw, describe, initial=initial, run_label="Train")
        self.compute = self._look_again
        self.progress.value = 1.0

    def _arrange(self, title: str, extra: tuple[widgets.Widget, ...]) -> list[widgets.Widget]:
        return super()._arrange(title, (self.play, *extra))

    def _look(self, run: Run, frame: int) -> Look:
        setting = run.setting
        without = (
            None if setting.perturbation == "none" else self.kept.get(replace(setting, perturbation="none").plain())
        )
        return Look(run, frame, without)

    def _look_again(self, frame: int, **setting: Any) -> Look:
        if not self.running:
            self._shown = self.kept.get(Setting(**setting).plain(), self._shown)
        return self._look(self._shown, frame)

    def _changed(self, change: Any) -> None:
        if self._held:
            return
        if change["owner"] is not self.controls["frame"]:
            self.stop(wait=True)
            values = self.values()
            values.pop("frame")
            if Setting(**values).plain() not in self.kept:
                self.run()
                return
            self.note.value = "Trained before"
        self.refresh()

    def _train(self, frame: int, **values: Any) -> Iterator[Progress]:
        for run in train(Setting(**values).plain()):
            self._shown = run
            if run.done:
                self.kept[run.setting] = run
            step = run.frames[-1].step
            look = self._look(run, self.controls["frame"].value)
            yield Progress(step / STEPS, look, f"step {step} of {STEPS}")


def first_runs() -> list[Run]:
    """Train what is there from the start: the moons with VAT and without a perturbation."""
    runs = []
    for setting in (Setting(), Setting(perturbation="none")):
        *_, run = train(setting.plain())
        runs.append(run)
    return runs


def explore_cluster_training() -> ClusterTrainingView:
    """Return a view of networks that learn clusters in the plane; two are trained when it opens, in a few seconds."""
    slow: dict[str, Any] = {"continuous": False}
    choices = {
        "data": controls.toggle("data", list(SHAPES), "moons"),
        "perturbation": controls.toggle("perturbation", PERTURBATIONS, "VAT"),
        "epsilon": controls.float_slider("ε", 0.3, 0.03, 0.51, step=0.03, **slow),
        "lam": controls.log_slider("λ", 0.1, 0.01, 1.0, steps_per_decade=4, **slow),
        "mu": controls.float_slider("μ", 4.0, 0.0, 8.0, step=0.5, **slow),
        "xi": controls.log_slider("ξ (VAT)", 0.1, 0.01, 10.0, steps_per_decade=2, **slow),
        "clusters": controls.toggle("clusters", (2, 3, 4), 2),
    }
    frame = controls.int_slider("frame", FRAMES, 0, FRAMES)
    return ClusterTrainingView(choices, frame, first_runs())
