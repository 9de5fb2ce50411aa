"""Which grammar or what next: the two parts, their sum and the model's beliefs are those of the record."""

import numpy as np
import pytest

from tests.explorers.inside import words_outside
from tests.explorers.made_metadata import GRID, made_run
from toolkit.explorers import explore_which_or_what
from toolkit.explorers.metadata_records import COMMAND, recorded_runs
from toolkit.explorers.which_or_what import DIRECT, MIXTURE, NATS, SHARE, WHAT, WHICH, compute, describe, draw


def run_of(*arguments, **options):
    return recorded_runs(made_run(*arguments, **options))[0]


def title(found):
    return next(shape.string for shape in draw(found)._shapes if hasattr(shape, "string"))


def test_the_parts_are_means_over_seeds():
    found = compute(run_of(which_grammar=lambda k: 0.05 * k, what_next=lambda k: 0.1), 4, 3)
    assert found.lengths == GRID and found.length == 4 and found.n[0] == 20
    assert found.means[WHICH] == pytest.approx([0.05 * k + 0.001 for k in GRID])
    assert found.means[WHAT] == pytest.approx([0.101] * len(GRID))
    assert found.means[MIXTURE] == pytest.approx([0.5 * (0.05 * k + 0.1) for k in GRID])
    assert found.spreads[WHICH] == pytest.approx([0.001] * len(GRID))
    shares = [np.mean([(0.05 * k + e) / (0.05 * k + 0.1 + 2 * e) for e in (0, 0.001, 0.002)]) for k in GRID]
    assert found.which_share[0] == pytest.approx(shares)
    assert found.believed[0] == pytest.approx([0.501] * len(GRID)) and found.exact[0] == 0.125
    assert found.to_dict()["means"][DIRECT] == found.means[DIRECT].tolist() and "4 tokens" in repr(found)


def test_the_title_says_both_parts_and_their_share():
    run = run_of(seeds=(0,), which_grammar=lambda k: 0.03, what_next=lambda k: 0.01)
    assert "which grammar 0.03 (75 % of both), what next 0.01 nats" in title(compute(run, 1))
    nothing = run_of(seeds=(0,), which_grammar=lambda k: 0.0, what_next=lambda k: 0.0)
    assert "nothing is lost" in title(compute(nothing, 0)) and "share" not in describe(compute(nothing, 0))
    assert "the first 1 of 3 levels" in describe(compute(run_of((1, 3)), 1, 1))
    assert "which the sum need not bound" in describe(compute(run, 1)) and "all levels" in describe(compute(run, 1))


@pytest.mark.parametrize("show", [NATS, SHARE])
@pytest.mark.parametrize("grid", [(0, 1), GRID, (0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 256)])
def test_every_setting_draws_inside_the_picture(show, grid):
    run = run_of((1, 2, 3), grid=grid, which_grammar=lambda k: 0.0001 * k, what_next=lambda k: 3.0)
    for length in (0, 300):
        assert words_outside(draw(compute(run, length, 2, show))) == []


def test_what_rounding_leaves_is_nothing():
    found = compute(run_of(seeds=(0,), which_grammar=lambda k: -3e-18, what_next=lambda k: 0.01), 4)
    assert "which grammar 0 (0 % of both), what next 0.01 nats" in title(found)
    assert (found.means[WHICH] == 0).all() and "e-" not in describe(found) and "-0 %" not in describe(found)


def test_a_record_without_the_parts_is_said_to_have_none():
    records = made_run()
    for result in records[2].results:
        del result.tables["decomposition"]
    found = compute(recorded_runs(records)[0])
    assert found.lengths == () and "holds no decomposition" in draw(found).to_string()
    assert describe(found) == found.where and "Parts" in repr(found)


def test_lengths_that_no_sentence_has_are_left_out():
    records = made_run()
    for result in records[2].results:
        table = result.tables["decomposition"]
        table["n"] = [20 if k < 8 else 0 for k in table["position"]]
    found = compute(recorded_runs(records)[0], 16)
    assert found.lengths == (0, 1, 2, 4) and found.length == 4


def test_wrong_arguments_are_named():
    for arguments, name in (({"show": "bits"}, "show"), ({"length": -1}, "length")):
        with pytest.raises(ValueError, match=name):
            compute(run_of(), **arguments)


def test_the_view_follows_its_controls_and_says_what_makes_a_record():
    view = explore_which_or_what(made_run((1, 3)))
    assert view.error is None and view.values() == {"length": 4, "depth": 3, "show": NATS}
    view.controls["show"].value = SHARE
    view.controls["depth"].value = 1
    assert view.error is None and view.text.startswith("D_M = 1 after 4 tokens")
    none = explore_which_or_what([])
    assert COMMAND in none.text and none.error is None
    two = explore_which_or_what(made_run((3,)) + made_run((2,), family="small"))
    two.controls["run"].value = next(name for name, _ in two.controls["run"].options if "small" in name)
    assert two.error is None and "Family small" in two.text and "D_M = 2" in two.text
