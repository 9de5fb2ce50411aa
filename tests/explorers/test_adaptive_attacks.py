"""The picture of adaptive attacks shows what a record says, and says who collapses and who does not."""

import pytest

from tests.explorers.inside import words_outside
from toolkit.core.paths import data_directory
from toolkit.experiments import Record
from toolkit.experiments.environment import Environment
from toolkit.experiments.records import SeedResult, load_record
from toolkit.explorers import explore_adaptive_attacks
from toolkit.explorers.adaptive_attacks import BLIND, compare, describe, draw
from toolkit.explorers.adversarial_records import ADAPTIVE, adversarial_run

NAMES = {"LGD": "logit-guided denoiser", "resize": "random resizing", "resnet": "plain ResNet"}
ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)


def made_up(values, *, epsilons=(16, 24), scale="laptop", data="fashion_mnist"):
    """Return a record: ``values[name]`` are clean and, for each kind and epsilon, the means over two casts."""
    results = []
    for seed, shift in enumerate((-0.01, 0.01)):
        metrics = {}
        for name, (clean, blind, known) in values.items():
            metrics[f"{name} clean"] = clean + shift
            for step, epsilon in enumerate(epsilons):
                for number, kind in enumerate(BLIND.values()):
                    metrics[f"{name} {kind} {epsilon}"] = blind - 0.05 * number - 0.1 * step + shift
                metrics[f"{name} adaptive {epsilon}"] = known - 0.02 * step + shift
        tables = {
            "defences": {"name": list(values), "title": [NAMES[name] for name in values]},
            "data": {"description": ["a few images"], "n_images": [20]},
        }
        results.append(SeedResult(seed, metrics, {}, tables))
    config = {"data": data, "epsilons": list(epsilons)}
    date = "2026-01-01T00:00:00Z"
    return Record("adaptive-attacks", "", scale, config, tuple(results), ENVIRONMENT, date, 1.0, 1.0)


VALUES = {"resnet": (0.9, 0.5, 0.05), "LGD": (0.88, 0.8, 0.1), "resize": (0.86, 0.7, 0.6)}


def test_rows_are_means_over_casts():
    for number, blind in enumerate(BLIND):
        found = compare(made_up(VALUES), blind, 24)
        assert [row.name for row in found.rows] == ["LGD", "resize", "resnet"], "the most praised first"
        for row in found.rows:
            clean, before, after = VALUES[row.name]
            assert row.clean == pytest.approx(clean) and row.known == pytest.approx(after - 0.02)
            assert row.blind == pytest.approx(before - 0.05 * number - 0.1)
    assert found.to_dict()["epsilon"] == 24


def test_it_says_who_collapses_and_who_does_not():
    found = compare(made_up(VALUES), "on public networks", 16)
    assert [row.name for row in found.collapsed] == ["LGD", "resnet"]
    assert "1 of 2 defences lose over half" in draw(found).to_string()
    text = describe(found)
    assert "Less than half is left of: LGD 80 → 10 %. More is left of: resize 70 → 60 %." in text
    assert "The ResNet without a defence: 50 → 5 %." in text and "laptop scale" in text and "a few images" in text
    assert "ε = 16/255" in text and "−70" in draw(found).to_string()


def test_one_that_none_survives_and_one_that_all_do():
    gone = compare(made_up({"LGD": (0.9, 0.8, 0.0)}), "on public networks", 16)
    assert "More is left of: none." in describe(gone) and "without a defence" not in describe(gone)
    kept = compare(made_up({"LGD": (0.9, 0.8, 0.9)}), "on public networks", 16)
    assert (
        "Less than half is left of: none." in describe(kept)
        and "0 of 1 defences lose over half" in draw(kept).to_string()
    )
    assert "+10" in draw(kept).to_string()
    zero = compare(made_up({"LGD": (0.02, 0.01, 0.01)}), "on its weights alone", 16)
    assert describe(zero) and draw(zero).to_string()


def test_the_view_follows_its_controls():
    view = explore_adaptive_attacks([made_up(VALUES)])
    assert view.result.epsilon == 24 and view.error is None
    first = view.text
    view.controls["epsilon"].value = 16
    second = view.text
    view.controls["blind"].value = "on its weights alone"
    assert view.error is None and len({first, second, view.text}) == 3


def test_the_run_with_fashion_and_the_largest_scale_is_shown():
    records = [
        made_up(VALUES, data="digits", scale="paper", epsilons=(8,)),
        made_up(VALUES, scale="quick", epsilons=(4,)),
        made_up(VALUES, epsilons=(12,)),
    ]
    view = explore_adaptive_attacks(records)
    assert view.result.epsilon == 12 and view.controls["epsilon"].disabled


def test_without_a_record_it_says_how_to_make_one():
    view = explore_adaptive_attacks([])
    assert "python -m toolkit run adaptive-attacks" in view.text and view.error is None
    assert all(control.disabled for control in view.controls.values())
    assert "not recorded yet" in view.drawn.svg.to_string()


def test_no_words_leave_the_picture():
    paths = (data_directory() / "runs").glob("adaptive-attacks-laptop-*.json")  # its titles are longer than those above
    view = explore_adaptive_attacks([load_record(path) for path in paths])
    assert "laptop scale" in view.text
    for blind in BLIND:
        view.controls["blind"].value = blind
        assert words_outside(view.drawn.svg) == []


def test_those_that_the_title_counts_stand_out():
    picture = draw(compare(made_up(VALUES), "on public networks", 16)).to_string()
    bold = [name for name in NAMES.values() if f'font-weight="bold" xml:space="preserve">{name}' in picture]
    assert bold == ["logit-guided denoiser"] and "1 of 2 defences" in picture


def test_an_attack_on_a_defences_own_network_is_not_called_blind() -> None:
    record = adversarial_run(ADAPTIVE)
    assert record is not None
    name = "on a network that no denoiser met"
    found = compare(record, name, 16)
    assert found.find("bits") is None and compare(record, "on public networks", 16).find("bits") is not None
    assert "Left out: bits" in describe(found)
    assert "Left out" not in describe(compare(record, "on its weights alone", 16))
