"""Probes of the metadata: accuracies, best guess and chance are those of the record, by length and by layer."""

import math

import numpy as np
import pytest

from tests.explorers.inside import words_outside
from tests.explorers.made_metadata import GRID, made_record, made_result, made_run
from toolkit.explorers import explore_metadata_probes
from toolkit.explorers.metadata_probes import LAYERS, LENGTHS, compute, describe, draw, mean_accuracy
from toolkit.explorers.metadata_records import COMMAND, recorded_runs


def run_of(*arguments, **options):
    return recorded_runs(made_run(*arguments, **options))[0]


def title(found):
    return next(shape.string for shape in draw(found)._shapes if hasattr(shape, "string"))


def test_accuracies_are_means_over_seeds_beside_the_exact_best_guess():
    found = compute(run_of(probe=lambda level, k: 0.6 + 0.05 * level), 2, 1, 3)
    assert found.places == GRID and (found.length, found.layer) == (2, 1)
    for level in found.levels:
        assert level.here == (pytest.approx(0.611 + 0.05 * level.level), pytest.approx(0.711))
        assert level.values[0] == pytest.approx([0.611 + 0.05 * level.level] * len(GRID))
        assert level.spreads[1] == pytest.approx([0.001] * len(GRID))
        assert level.best.tolist() == [0.5 + 0.5 * min(k / 8, 1) for k in GRID]
        assert (level.chance, level.best_here) == (0.5, 0.625)
        assert level.difference.mean == pytest.approx(level.here[0] - level.here[1])
    assert found.to_dict()["levels"][0]["chance"] == 0.5 and "layer 1" in repr(found)


def test_layers_run_along_the_axis_too():
    found = compute(run_of(), 4, 2, 3, along=LAYERS)
    assert found.places == (0, 1, 2)
    assert found.levels[0].values[0] == pytest.approx([0.701, 0.711, 0.721])
    assert set(found.levels[0].best.tolist()) == {0.75}


def test_the_title_groups_levels_by_what_the_seeds_tell():
    found = compute(run_of(probe=lambda level, k: [0.6, 0.7, 0.8][level]), 4)
    assert "worse on j₀" in title(found) and "better on j₂" in title(found)
    assert "j₁ 72 % and 72 %, best guess 75 % (no clear difference)" in describe(found)
    assert title(compute(run_of(), 4)).endswith("no clear difference on any level")
    assert title(compute(run_of(probe=0.6), 4)).endswith("worse on every level")
    assert title(compute(run_of(seeds=(0,)), 4)).endswith("one seed says nothing")


def test_levels_that_were_never_shown_are_said_to_be():
    found = compute(run_of((1, 3)), 4, depth=1)
    assert [level.shown for level in found.levels] == [True, False, False]
    assert "j₁ (never shown)" in describe(found) and "never shown" in draw(found).to_string()


@pytest.mark.parametrize("n_levels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("along", [LENGTHS, LAYERS])
def test_every_number_of_levels_fits_into_the_picture(n_levels, along):
    run = run_of(
        (1,), n_levels=n_levels, grid=(0, 1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256), probe=lambda level, k: 0.1 * level
    )
    for length in (0, 300):
        found = compute(run, length, None, 1, along=along)
        assert words_outside(draw(found)) == [] and len(found.levels) == n_levels


def test_a_layer_or_depth_too_high_is_the_last_and_wrong_arguments_are_named():
    run = run_of()
    assert compute(run, 999, 99, 99).layer == 2 and compute(run, 999).length == GRID[-1]
    for arguments, name in (({"along": "time"}, "along"), ({"length": -1}, "length"), ({"layer": -1}, "layer")):
        with pytest.raises(ValueError, match=name):
            compute(run, **arguments)


def test_the_mean_over_short_prompts_is_that_of_the_last_layer():
    (run,) = recorded_runs(made_run(probe=lambda level, k: 0.5 + 0.01 * level + 0.02 * (k == 2)))
    wanted = np.mean([[0.5 + 0.01 * level + 0.02 * (k == 2) + 0.02 for k in (0, 1, 2)] for level in range(3)])
    assert mean_accuracy(run.arm(3), run, "short") == pytest.approx([wanted, wanted + 0.001, wanted + 0.002])


def test_probes_that_were_not_possible_leave_gaps():
    def probe(level, k):
        return math.nan if k == 0 else 0.7

    records = [made_record(name, [made_result(seed, depth, probe=probe) for seed in (0, 1)])
               for name, depth in (("baseline", 0), ("D_M=3", 3))]  # fmt: skip
    (run,) = recorded_runs(records)
    found = compute(run, 0)
    assert "not measured" in describe(found) and words_outside(draw(found)) == []
    assert not math.isnan(mean_accuracy(run.arm(3), run, "short")[0])


def test_the_view_follows_its_controls_and_says_what_makes_a_record():
    view = explore_metadata_probes(made_run((1, 3)))
    assert view.error is None and view.result.layer == 2 and view.values()["depth"] == 3
    view.controls["along"].value = LAYERS
    view.controls["depth"].value = 1
    view.controls["layer"].value = 0
    assert view.error is None and "the embeddings after 4 tokens" in view.text and "D_M = 1" in view.text
    none = explore_metadata_probes([])
    assert COMMAND in none.text and none.error is None
    two = explore_metadata_probes(made_run((3,)) + made_run((2,), family="small", n_layers=2))
    two.controls["run"].value = next(name for name, _ in two.controls["run"].options if "small" in name)
    assert two.error is None and "Family small" in two.text and two.result.layer == 1
