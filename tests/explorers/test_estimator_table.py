"""The table of all estimators says what the registry says."""

from toolkit import estimators
from toolkit.explorers.estimator_table import estimators_at_a_glance


def test_every_entry_has_a_row_with_its_facts():
    rows = {row[0]: row for row in estimators_at_a_glance().rows}
    assert set(rows) == {entry.title for entry in estimators.entries()}
    assert rows["RAM"][1:] == ("yes", "both", "no", "1 + Σ(K − 1)")
    assert rows["ARM"][2] == "coins" and rows["ARSM"][2] == "K values"
    assert rows["straight-through"][1] == "no" and rows["straight-through"][3] == "yes"
    assert rows["VIMCO"][1].startswith("for the ")


def test_all_estimators_take_any_number_of_layers_so_the_table_need_not_say():
    assert all(entry.kind.deep for entry in estimators.entries())
