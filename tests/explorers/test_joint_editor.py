"""The joint distribution to edit: presets are named systems, parts fulfil entropies counted in loops, every end."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.disentanglement.systems import named_system
from toolkit.explorers import explore_joint_editor
from toolkit.explorers.joint_control import LARGER, MOST_NOISE, OWN, PRESETS, Setting, joint_of, preset, resting
from toolkit.explorers.joint_editor import compute, describe, draw, why_closed
from toolkit.explorers.pid_parts import MEASURES

SYSTEMS = {name: {} for name in ("AND", "OR", "XOR", "UNQ", "RDN", *LARGER)}
CHANNELS = {
    "noisy channels": {"flip_probabilities": (0.25, 0.25)},
    "errors never at once": {"flip_probabilities": (0.25, 0.25), "correlation": -1 / 3},
}


def entropy(joint, axes):
    others = tuple(axis for axis in range(3) if axis not in axes)
    return -sum(p * math.log2(p) for p in np.asarray(joint).sum(others).ravel() if p > 1e-15)


def informations(joint):
    """I(y; a), I(y; b) and I(y; a, b) in bits, by entropies."""
    first = entropy(joint, [0]) + entropy(joint, [2]) - entropy(joint, [0, 2])
    second = entropy(joint, [1]) + entropy(joint, [2]) - entropy(joint, [1, 2])
    return first, second, entropy(joint, [0, 1]) + entropy(joint, [2]) - entropy(joint, [0, 1, 2])


@pytest.mark.parametrize("name", [*PRESETS, *LARGER])
def test_presets_are_the_systems_of_that_name(name):
    expected = named_system(name, **SYSTEMS[name]) if name in SYSTEMS else named_system("NOISY", **CHANNELS[name])
    torch.testing.assert_close(joint_of(preset(name)), expected, atol=1e-15, rtol=0)


def test_the_joint_distribution_is_what_the_sliders_say():
    table, correlation, noise = (0.1, 0.9, 0.35, 0.6), -0.4, 0.3
    joint = joint_of(Setting(OWN, table, correlation, noise)).numpy()
    assert joint.sum() == pytest.approx(1) and joint.sum((1, 2)) == pytest.approx([0.5, 0.5])
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    pair = joint.sum(2).ravel()
    assert (pair * (a - 0.5) * (b - 0.5)).sum() / 0.25 == pytest.approx(correlation)
    ones = joint[..., 1].ravel() / pair
    assert ones == pytest.approx([(1 - noise) * p + noise / 2 for p in table])
    larger = joint_of(Setting("SUM", table, 0.5, noise)).numpy()
    assert larger.sum((1, 2)) == pytest.approx([0.5, 0.5]) and larger[0, 0, 2] == pytest.approx(0.375 * noise / 3)


@pytest.mark.parametrize("seed", range(8))
def test_parts_fulfil_the_three_equations_and_stay_in_the_interval(seed):
    generator = np.random.default_rng(seed)
    table = tuple(float(value) for value in generator.integers(0, 21, 4) / 20)
    setting = Setting(OWN, table, float(generator.integers(-20, 21) / 20), float(generator.integers(0, 19) / 20))
    for position in (0.0, 0.3, 1.0):
        found = compute(setting, position)
        first, second, both = informations(joint_of(setting))
        low, high = max(0.0, first + second - both), min(first, second)
        for name, one in [("chosen", found.chosen), *found.measures.items()]:
            parts = [float(getattr(one, part)) for part in ("unique_1", "unique_2", "redundant", "complementary")]
            assert parts[0] + parts[2] == pytest.approx(first, abs=1e-9)
            assert parts[1] + parts[2] == pytest.approx(second, abs=1e-9)
            assert sum(parts) == pytest.approx(both, abs=1e-9)
            assert (name in found.outside) == (not low - 1e-9 <= parts[2] <= high + 1e-9)
            if name != "ccs":
                assert min(parts) >= -1e-9 and name not in found.outside
        assert float(found.chosen.redundant) == pytest.approx(low + position * (high - low), abs=1e-9)


def test_published_values():
    found = compute(preset("AND"))
    assert float(found.bounds.redundant.upper) == pytest.approx(0.311278, abs=1e-6)
    assert float(found.measures["ccs"].redundant) == pytest.approx(0.103759, abs=1e-6)  # Ince 2017, AND: 0.104
    copy = compute(preset("COPY")).measures
    redundant = [float(copy[name].redundant) for name in MEASURES]
    assert redundant == pytest.approx([1, 1, 0, 0], abs=1e-9)


def test_what_the_lesson_says_of_correlated_coins_and_of_channels():
    def redundant(setting):
        return pytest.approx([float(compute(setting).measures[name].redundant) for name in MEASURES], abs=5e-4)

    known = entropy(joint_of(preset("COPY")), [0]) + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert redundant(replace(preset("COPY"), correlation=0.5)) == [1, 1, known, 0.439]
    assert redundant(preset("RDN-XOR")) == [1, 1, 1, 1]
    assert informations(joint_of(preset("COPY"))) == pytest.approx(informations(joint_of(preset("RDN-XOR"))))
    assert redundant(preset("noisy channels")) == [known, known, known, 0.181]
    assert redundant(preset("errors never at once")) == [known, known, known, 0.085]
    own = Setting(OWN, PRESETS["UNQ"][0], 0.5)
    assert redundant(own) == [known, known, known, 0.439]
    assert "CCS says 0.439 and leaves the interval: unique to b is −0.250." in describe(compute(own))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("XOR", "neither a nor b"),
        ("UNQ", "b alone knows nothing"),
        ("RDN", "each alone knows all"),
        ("AND", ""),
        ("COPY", ""),
    ],
)
def test_why_nothing_is_open(name, why):
    closed = why_closed(compute(preset(name)).bounds)
    assert why in closed and bool(closed) == bool(why)


def test_why_nothing_is_open_in_settings_of_ones_own():
    said = {
        "even together": Setting(OWN, (0.3, 0.3, 0.3, 0.3), 0.5),
        "a alone knows nothing": Setting(OWN, (0.2, 0.7, 0.2, 0.7)),
        "b adds nothing to what a knows": Setting(OWN, (0.2, 0.2, 0.7, 0.7), 0.5),
        "a adds nothing to what b knows": Setting(OWN, (0.2, 0.7, 0.2, 0.7), -0.5),
    }
    for words, setting in said.items():
        found = compute(setting)
        assert words in found.closed and "The slider for R rests" in describe(found)


def test_resting_sliders_have_no_effect_and_the_others_have():
    settings = [preset(name) for name in (*PRESETS, *LARGER)]
    settings += [
        Setting(OWN, table, correlation, noise)
        for table in itertools.product((0.0, 0.4), repeat=4)
        for correlation in (-1.0, 0.2, 1.0)
        for noise in (0.0, 0.3)
    ]
    for setting in settings:
        why = resting(setting)
        before = joint_of(setting)
        for number, cell in enumerate(("00", "01", "10", "11")):
            table = list(setting.table)
            table[number] = 1 - table[number] if table[number] != 0.5 else 0.9
            same = torch.equal(joint_of(replace(setting, table=tuple(table))), before)
            assert same == (cell in why), (setting, cell)
        known = torch.tensor(informations(before))
        for name, value in (("correlation", -0.7), ("noise", 0.6)):
            changed = torch.tensor(informations(joint_of(replace(setting, **{name: value}))))
            if name in why:
                torch.testing.assert_close(changed, known, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        ("NAND", (0.0, 0.0, 0.0, 1.0), 0.0, 0.0),
        (OWN, (0.0, 0.0, 1.0, 1.2), 0.0, 0.0),
        (OWN, (0.0, 0.0, 1.0, 1.0), 1.5, 0.0),
        (OWN, (0.0, 0.0, 1.0, 1.0), 0.0, math.nan),
    ],
)
def test_no_such_setting(wrong):
    with pytest.raises(ValueError, match="Setting"):
        Setting(*wrong)


def test_no_such_preset_or_position():
    with pytest.raises(ValueError, match="preset"):
        preset(OWN)
    with pytest.raises(ValueError, match="position"):
        compute(preset("AND"), 1.1)


# ---------------------------------------------------------------------------------------------------------------------
# The view


def test_the_first_state_makes_the_point():
    view = explore_joint_editor()
    assert view.error is None
    for words in ("Redundant is 0 to 0.311 bits", "MMI 0.311", "CCS 0.104", "Your R = 0.156", "both together 0.811"):
        assert words in view.text
    assert "AND: 0.311 bits stay open" in view.drawn.svg.to_string()


def test_one_slider_moves_all_parts():
    view = explore_joint_editor("SUM")
    seen = []
    for percent in (0, 50, 100):
        view.controls["percent"].value = percent
        chosen = view.result.chosen
        seen.append([float(getattr(chosen, part)) for part in ("unique_1", "unique_2", "redundant", "complementary")])
    assert seen == [pytest.approx(row) for row in ([0.5, 0.5, 0, 0.5], [0.25, 0.25, 0.25, 0.75], [0, 0, 0.5, 1])]


def test_a_preset_loads_the_sliders_with_one_computation():
    view = explore_joint_editor()
    joint = view.controls["joint"]
    computed = []
    inner = view.compute
    view.compute = lambda **values: computed.append(values) or inner(**values)
    joint.presets.value = "noisy channels"
    assert [slider.value for slider in joint.sliders.values()] == [0.1, 0.5, 0.5, 0.9, 0.25, 0.0]
    assert joint.value == preset("noisy channels") and len(computed) == 1


def test_editing_makes_it_your_own():
    view = explore_joint_editor()
    joint = view.controls["joint"]
    joint.sliders["01"].value = 0.15000000000000002  # as a page sends it
    assert joint.sliders["01"].value == 0.15000000000000002  # and as it stays: an echo would turn back a moving hand
    assert joint.value == Setting(OWN, (0.0, 0.15, 0.0, 1.0)) and joint.presets.value == OWN
    assert "Your own" in view.drawn.svg.to_string() and view.text.startswith("own")
    joint.presets.value = "OR"
    assert joint.value == preset("OR")
    joint.presets.value = OWN
    assert joint.value == Setting(OWN, (0.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", LARGER)
def test_larger_alphabets_rest_the_four_sliders_and_say_why(name):
    view = explore_joint_editor()
    joint = view.controls["joint"]
    joint.presets.value = name
    resting_now = {cell for cell, slider in joint.sliders.items() if slider.disabled}
    assert resting_now == {"00", "01", "10", "11"} and joint.value.table == PRESETS["AND"][0]
    assert f"{name} has a target of" in joint.notes.value and "The four sliders" in joint.notes.value
    joint.sliders["correlation"].value, joint.sliders["noise"].value = 0.5, 0.2
    assert joint.value.name == name and f"{name}, changed" in view.drawn.svg.to_string()
    joint.presets.value = OWN
    assert joint.value == Setting(OWN, PRESETS["AND"][0], 0.5, 0.2) and not joint.notes.value


def test_notes_say_which_sliders_rest():
    joint = explore_joint_editor("RDN").controls["joint"]
    assert "P(y = 1 | a = 0, b = 1) and P(y = 1 | a = 1, b = 0) rest: a and b never differ." in joint.notes.value
    for cell in ("01", "10", "00", "11"):
        joint.sliders[cell].value = 0.5
    assert "correlation of a and b rests: y does not" in joint.notes.value and "noise rests" in joint.notes.value
    assert joint.sliders["noise"].disabled and joint.sliders["noise"].tooltip


def test_the_slider_for_r_rests_where_nothing_is_open():
    view = explore_joint_editor("XOR")
    percent, joint = view.controls["percent"], view.controls["joint"]
    assert percent.disabled and "neither a nor b" in percent.tooltip and "The slider for R rests" in view.text
    joint.sliders["00"].value = 0.05
    assert not percent.disabled and percent.tooltip is None and "Your R" in view.text
    view.reset()
    assert percent.disabled and joint.value == preset("XOR")


def test_a_measure_that_leaves_the_interval_is_seen_and_said():
    found = compute(Setting(OWN, (0.05, 0.9, 0.35, 0.6), -0.6, 0.2))
    assert found.outside == ("ccs",) and float(found.measures["ccs"].unique_1) < -0.01
    text = draw(found).to_string()
    assert "but CCS says" in text and "filled: outside" in text and "−0.05" in text
    assert "CCS says 0.097 and leaves the interval: unique to a is −0.0" in describe(found)


def test_every_end_of_every_control():
    view = explore_joint_editor()
    joint = view.controls["joint"]
    for name in ("AND", "XOR", "RDN", "SUM", "RDN-XOR", OWN):
        joint.presets.value = name
        for slider in joint.sliders.values():
            for value in (slider.min, slider.max):
                if not slider.disabled:
                    slider.value = value
                assert view.error is None and "nan" not in view.drawn.svg.to_string()
                assert not words_outside(view.drawn.svg)
        for value in (0, 100):
            view.controls["percent"].value = value
            assert view.error is None and not words_outside(view.drawn.svg)
    view.reset()
    assert joint.value == preset("AND") and "Your R = 0.156" in view.text


def test_random_settings_draw_with_all_words_inside():
    generator = np.random.default_rng(1)
    for _ in range(40):
        table = tuple(float(value) for value in generator.integers(0, 21, 4) / 20)
        noise = float(generator.integers(0, 19) / 20)
        found = compute(Setting(OWN, table, float(generator.integers(-20, 21) / 20), min(noise, MOST_NOISE)), 0.5)
        assert not words_outside(draw(found)) and "nan" not in describe(found) and "-" not in describe(found)
