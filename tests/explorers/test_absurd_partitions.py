"""Partitions are balanced and sharp, what a step costs is right, and the picture makes its point."""

import math

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_absurd_partitions
from toolkit.explorers.absurd_partitions import CEILING, COUNTS, compute, describe, draw
from toolkit.explorers.plane_partitions import CERTAIN, PARTITIONS, cost_of, partition, true_classes
from toolkit.explorers.plane_points import plane_points
from toolkit.imsat.evaluation import clustering_accuracy


@pytest.fixture(scope="module", params=["moons", "blobs"])
def points(request):
    return plane_points(request.param, 300)


def kl(clean, there):
    """Between two clusters, from logits, with plain floats."""
    p, q = (1 / (1 + np.exp(-np.asarray(logit))) for logit in (clean, there))
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


@pytest.mark.parametrize("count", [2, 3, 7, 40])
@pytest.mark.parametrize("kind", ["stripes", "rings"])
def test_stripes_are_as_many_as_asked_and_balanced(points, kind, count):
    logits = partition(points, kind, count, 25.0, 1e-3)
    assert abs(int((logits(points.inputs) > 0).sum()) - 150) <= 1
    angle = math.radians(25.0)
    along = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    ray = torch.linspace(0 if kind == "rings" else -6, 6, 40_001, dtype=torch.float64)[:, None] * along
    found = logits(ray)
    assert int((found[1:] * found[:-1] < 0).sum()) == count - 1
    assert found.abs().max() <= CERTAIN


def test_the_logit_is_that_of_the_distance_to_the_nearest_border(points):
    width = 0.05
    logits = partition(points, "stripes", 9, 0.0, width)
    x = torch.linspace(-3, 3, 100_001, dtype=torch.float64)
    sign = logits(torch.stack((x, torch.zeros_like(x)), 1)) > 0
    borders = x[1:][sign[1:] != sign[:-1]]
    places = 3 * torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1.5
    distance = (places[:, :1] - borders).abs().min(1).values
    torch.testing.assert_close(logits(places).abs(), CERTAIN * torch.tanh(distance / width), atol=0.02, rtol=0)


def test_true_classes_are_the_shapes():
    points = plane_points("moons", 300)
    angle = np.linspace(0, np.pi, 4001)
    moons = [np.stack((np.cos(angle), np.sin(angle)), 1), np.stack((1 - np.cos(angle), 0.5 - np.sin(angle)), 1)]
    places = points.inputs[:60] * 1.7
    raw = (places * points.scale + points.centre).numpy()
    near = [np.hypot(*(raw[:, None] - moon).transpose(2, 0, 1)).min(1) for moon in moons]
    expected = (near[0] - near[1]) / (2 * math.sqrt(float(points.scale.prod())))
    np.testing.assert_allclose(true_classes(points, 0.1)(places), CERTAIN * np.tanh(expected / 0.1), atol=1e-3)


def test_true_blobs_are_halfway_apart():
    points = plane_points("blobs", 300)
    logits = true_classes(points, 0.2)
    middle = (torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64) - points.centre) / points.scale
    torch.testing.assert_close(logits(middle), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    start = middle[0] + 0.1 * points.scale / points.scale.norm()
    assert float(logits(start)) == pytest.approx(CERTAIN * math.tanh(0.5))


@pytest.mark.parametrize(("kind", "count"), [("stripes", 2), ("stripes", 12), ("stripes", 40), ("rings", 5)])
@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_costs_of_steps_are_those_of_a_dense_search(points, kind, count, epsilon):
    logits = partition(points, kind, count, 40.0, 0.02)
    found = cost_of(logits, points, epsilon, 40.0)
    clean = logits(points.inputs).numpy()
    if kind == "stripes":  # a ball reaches an interval across the stripes
        angle = math.radians(40.0)
        moves = torch.linspace(-epsilon, epsilon, 2001, dtype=torch.float64)[:, None] * torch.tensor(
            [math.cos(angle), math.sin(angle)], dtype=torch.float64
        )
        worst = kl(clean, logits(points.inputs + moves[:, None]).numpy()).max(0).mean()
        assert found.worst == pytest.approx(worst, rel=0.02) and found.worst <= worst + 1e-9
    turns = torch.arange(1440, dtype=torch.float64) * (2 * math.pi / 1440)
    ring = epsilon * torch.stack((turns.cos(), turns.sin()), 1)
    random = kl(clean, logits(points.inputs + ring[:, None]).numpy()).mean()
    assert found.random == pytest.approx(random, rel=0.05)
    assert found.random <= found.worst and 0 <= found.changed <= 1


def test_information_and_accuracy_by_hand(points):
    logits = partition(points, "stripes", 6, 90.0, 0.1)
    found = cost_of(logits, points, 0.1)
    p = 1 / (1 + np.exp(-logits(points.inputs).numpy()))

    def entropy(q):
        return -q * np.log(q) - (1 - q) * np.log(1 - q)

    assert found.information == pytest.approx(entropy(p.mean()) - entropy(p).mean(), abs=1e-12)
    assert found.accuracy == pytest.approx(clustering_accuracy(points.labels, p > 0.5))
    assert cost_of(logits, points, 0.0).worst == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("data", ["moons", "blobs"])
def test_the_point(data):
    """Information cannot tell them apart, accuracy falls to chance, and R_SAT can tell."""
    found = compute(data)
    assert found.truth.information > 0.99 * CEILING and found.truth.accuracy > 0.99 and found.truth.worst < 0.01
    for count, costs in zip(COUNTS, found.curve, strict=True):
        assert 0.95 * CEILING < costs.information <= CEILING
        assert count < 12 or (costs.accuracy < 0.6 and costs.worst > 5 > costs.random > 1)
    assert found.now == found.curve[COUNTS.index(12)]
    text = describe(found)
    assert text.startswith("12 stripes through the") and "% of log 2 = 0.693" in text and "The true classes:" in text


@pytest.mark.parametrize(
    "changed", [{}, {"data": "blobs"}, {"kind": "rings"}, {"direction": 30.0}, {"width": 0.1}, {"epsilon": 0.4}]
)
def test_the_curve_is_that_of_the_present_setting(changed):
    setting = {"data": "moons", "kind": "stripes", "direction": 90.0, "width": 0.002, "epsilon": 0.15} | changed
    found = compute(count=12, **setting)
    kind, direction, width, epsilon = (setting[name] for name in ("kind", "direction", "width", "epsilon"))
    expected = [
        cost_of(partition(found.points, kind, count, direction, width), found.points, epsilon, direction)
        for count in COUNTS
    ]
    assert list(found.curve) == expected
    assert compute(count=3, **setting).curve == found.curve


def test_without_sharpness_there_is_less_information():
    sharp, soft = compute(width=0.002), compute(width=0.2)
    assert soft.now.information < 0.6 * CEILING < sharp.now.information


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("data", {"data": "squares"}),
        ("kind", {"kind": "waves"}),
        ("count", {"count": 1}),
        ("width", {"width": 0.0}),
        ("epsilon", {"epsilon": -0.1}),
    ],
)
def test_bad_arguments_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        compute(**values)


def test_view_answers_every_control():
    view = explore_absurd_partitions()
    assert view.error is None and view.text == describe(compute())
    default = view.text
    for name, values in {
        "kind": PARTITIONS[::-1],
        "count": (2, 40, 12),
        "direction": (0.0, 180.0, 90.0),
        "width": (0.2, 0.002),
        "epsilon": (0.0, 0.5, 0.15),
        "data": ("blobs", "moons"),
    }.items():
        for value in values:
            view.controls[name].value = value
            assert view.error is None and "nan" not in view.text
            assert "…" not in view.drawn.svg.to_string()
    view.reset()
    assert view.text == default


def test_a_control_without_an_effect_is_disabled_and_says_why():
    view = explore_absurd_partitions()
    count, direction, kind = (view.controls[name] for name in ("count", "direction", "kind"))
    for name, dead in (("stripes", []), ("rings", [direction]), ("the true classes", [count]), ("stripes", [])):
        kind.value = name
        assert [control for control in (count, direction) if control.disabled] == dead
        assert all(name in control.tooltip for control in dead)
    kind.value = "the true classes"
    assert "The curves are those of stripes, from 2 to 40 of them." in view.text
    view.reset()
    assert not count.disabled and not direction.disabled


def test_the_true_classes_have_no_number_of_stripes():
    found = compute(kind="the true classes")
    assert found.name == "the true classes" and describe(found).count("accuracy") == 1
    text = draw(found).to_string()
    assert "The true classes: 100 % of the information, accuracy 100 %" in text and "number of stripes" in text
    assert draw(compute(kind="rings")).to_string().count("number of rings") == 1
    assert "12 stripes" in repr(compute()) and compute().to_dict()["count"] == 12
