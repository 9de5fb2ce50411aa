"""Figures of scores and profiles: what they show is what was computed, and nothing is cut off."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from toolkit.disentanglement.attacks import Redundancy
from toolkit.disentanglement.bounds import Interval, PIDBounds, Profile
from toolkit.disentanglement.codes import synthetic_codes
from toolkit.disentanglement.drawing import draw_profile, draw_radar, draw_scores
from toolkit.disentanglement.evaluation import evaluate
from toolkit.disentanglement.metrics.registry import METRICS


@pytest.fixture(scope="module")
def evaluations():
    options = {"n_samples": 100, "n_points": 600, "n_resamples": 20, "variant": "library"}
    codes = synthetic_codes((3, 4, 5))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    given = {
        "clean": codes,
        "redundancy attack of strength two": Redundancy(2.0)(codes),
        "rotated": synthetic_codes((3, 4, 5), rotation=turn),
        "points only": codes.means(),
        "fifth": codes,
    }
    return {name: evaluate(one, generator=torch.Generator().manual_seed(1), **options) for name, one in given.items()}


@pytest.fixture(scope="module")
def profiles(evaluations):
    return {
        name: one.details["informations"].profile for name, one in evaluations.items() if "informations" in one.details
    }


def cut_off(figure):
    """Texts that reach over the edge of the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (width, height) = canvas.get_renderer(), canvas.get_width_height()
    found = []
    never_drawn = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) - 1e-9 <= tick.get_loc() <= max(axis.get_view_interval()) + 1e-9
    }
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip() or id(text) in never_drawn:
            continue
        box = text.get_window_extent(renderer)
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            found.append(text.get_text())
    return found


def overlapping(figure, texts):
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text().strip()]
    return sum(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_bars_are_as_long_as_the_scores(evaluations, n):
    chosen = dict(list(evaluations.items())[:n])
    figure = draw_scores(chosen, title="What the figure finds")
    (axes,) = figure.axes
    names = [name for name, metric in METRICS.items() if metric.range[1] == 1.0]
    assert [label.get_text().removesuffix(" ↓") for label in axes.get_yticklabels()] == [
        METRICS[name].title for name in names
    ]
    for container, one in zip(axes.containers, chosen.values(), strict=True):
        widths = [bar.get_width() for bar in container]
        assert np.allclose(widths, [one.scores.get(name, np.nan) for name in names], equal_nan=True)
    assert cut_off(figure) == []
    assert overlapping(figure, axes.get_yticklabels()) == 0
    assert {text.get_text() for legend in figure.legends for text in legend.get_texts()} == (
        set(chosen) if n > 1 else set()
    )


def test_one_evaluation_needs_no_name(evaluations):
    figure = draw_scores(evaluations["clean"], ["unibound", "total_correlation", "redundant_lower"])
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "UniBound",
        "Total correlation ↓",
        "Redundant, at least ↓",
    ]
    (low, high) = evaluations["clean"].intervals["unibound"]
    assert any(np.allclose(line.get_xdata(), [low, high]) for line in axes.get_lines())


def test_what_is_missing_or_infinite_says_so(evaluations):
    infinite = dataclasses.replace(
        evaluations["points only"],
        scores={**evaluations["points only"].scores, "gaussian_total_correlation": float("inf")},
    )
    figure = draw_scores(infinite, ["unibound", "sap", "gaussian_total_correlation"])
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"not scored", "∞"} <= texts
    assert cut_off(figure) == []


def test_negative_scores_stay_in_the_picture(evaluations):
    negative = dataclasses.replace(evaluations["clean"], scores={"explicitness": -0.4, "sap": 0.2})
    (axes,) = draw_scores(negative).axes
    assert axes.get_xlim()[0] <= -0.4
    assert "−0.40" in {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("n", [1, 3, 5])
def test_the_radar_has_a_spoke_a_score(evaluations, n):
    chosen = dict(list(evaluations.items())[:n])
    figure = draw_radar(chosen, title="What the figure finds")
    (axes,) = figure.axes
    names = [
        name
        for name, metric in METRICS.items()
        if metric.range[1] == 1.0 and metric.higher_is_better and all(name in one.scores for one in chosen.values())
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == [METRICS[name].title for name in names]
    for line, one in zip(axes.get_lines(), chosen.values(), strict=True):
        drawn = [max(one[name], 0.0) for name in names]
        assert np.allclose(line.get_ydata(), [*drawn, drawn[0]])
    assert cut_off(figure) == []
    assert overlapping(figure, axes.get_xticklabels()) == 0


def test_the_lower_bound_is_inside_the_upper(profiles):
    figure = draw_profile(profiles, title="What the figure finds")
    (axes,) = figure.axes
    for part, (upper, lower) in zip(
        ("unique", "redundant", "complementary"),
        zip(axes.containers[0:6:2], axes.containers[1:6:2], strict=True),
        strict=True,
    ):
        for one, high, low in zip(profiles.values(), upper, lower, strict=True):
            assert high.get_height() == pytest.approx(float(one.mean(part).upper))
            assert low.get_height() == pytest.approx(float(one.mean(part).lower))
            assert high.get_x() == low.get_x()
    assert [label.get_text() for label in axes.get_xticklabels()] == list(profiles)
    assert cut_off(figure) == []
    assert overlapping(figure, axes.get_xticklabels()) == 0


def test_profiles_of_factors(profiles):
    figure = draw_profile(profiles, per_factor=True)
    assert len(figure.axes[0].get_xticklabels()) == 3 * len(profiles)
    assert cut_off(figure) == []
    alone = draw_profile(profiles["clean"], per_factor=True, title="Alone")
    assert [label.get_text() for label in alone.axes[0].get_xticklabels()] == ["factor 1", "factor 2", "factor 3"]
    assert cut_off(alone) == []


def test_a_factor_without_parts_leaves_a_gap():
    values = torch.tensor([0.5, torch.nan], dtype=torch.float64)
    same = Interval(values, values)
    profile = Profile(PIDBounds(same, same, same), values, values, float("nan"), ("hue", "colour"))
    figure = draw_profile(profile, per_factor=True)
    assert cut_off(figure) == []
    assert figure.axes[0].get_ylim()[1] == pytest.approx(0.525)
    assert cut_off(draw_profile(profile)) == []


def test_bad_arguments_are_named(evaluations):
    with pytest.raises(ValueError, match="1 to 5"):
        draw_scores({})
    with pytest.raises(ValueError, match="1 to 5"):
        draw_radar({str(index): evaluations["clean"] for index in range(6)})
    with pytest.raises(ValueError, match="some of unibound"):
        draw_scores(evaluations, ["unibond"])
    with pytest.raises(ValueError, match="three scores"):
        draw_radar(evaluations, ["sap", "irs"])
    with pytest.raises(ValueError, match="at most 1"):
        draw_radar(evaluations, ["sap", "irs", "gaussian_total_correlation"])
    with pytest.raises(ValueError, match="points only"):
        draw_radar(evaluations, ["sap", "irs", "unibound"])
    with pytest.raises(ValueError, match="at least one"):
        draw_profile({})


def test_pyplot_is_not_touched(evaluations):
    draw_scores(evaluations["clean"])
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
