"""Records are sorted into runs: one of each variant, labels that differ."""

from toolkit.experiments import Record, SeedResult, describe_environment
from toolkit.explorers.recorded_runs import newest_of_each, told_apart


def record(variant, day, n_seeds=2, config="a"):
    results = tuple(SeedResult(seed, {"score": 1.0}, {}) for seed in range(n_seeds))
    date = f"2026-01-{day:02d}T00:00:00Z"
    return Record("study", variant, "quick", {"of": config}, results, describe_environment(), date, 1.0, 1.0)


def of_config(record):
    return record.config["of"]


def test_a_variant_stands_once_with_most_seeds_and_newest():
    old, new, short = record("x", 1), record("x", 3), record("x", 5, n_seeds=1)
    assert newest_of_each([short, new, old], of_config) == [[new]]
    assert newest_of_each([short], of_config) == [[short]]
    assert newest_of_each([], of_config) == []


def test_runs_stand_by_their_oldest_record_and_variants_by_their_first():
    records = [record("y", 4, config="b"), record("x", 3), record("y", 2), record("x", 6, config="b"), record("y", 9)]
    runs = newest_of_each(records, of_config)
    assert [(of_config(run[0]), [one.variant for one in run]) for run in runs] == [("a", ["y", "x"]), ("b", ["y", "x"])]
    assert runs[0][0] is records[4]


def test_labels_are_told_apart():
    assert told_apart(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert told_apart([]) == []
    assert len(set(told_apart(["a", "a (2)", "a", "a"]))) == 4
