"""One recorded training after another: the counts are the record's, and what is mixed is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.explorers.test_imsat_recorded import DIGITS, MNIST, made
from toolkit.explorers import explore_imsat_seeds
from toolkit.explorers.imsat_records import CLUSTERING, recorded_runs
from toolkit.explorers.imsat_seeds import confusion_of, counts_of, describe, draw, look_at, mixed_classes
from toolkit.imsat import evaluate_clustering
from toolkit.imsat.evaluation import aligned_confusion

CAUGHT = np.array([[60, 38, 2], [1, 58, 41], [45, 0, 55]])
CLEAN = np.array([[99, 1, 0], [0, 97, 3], [0, 0, 100]])


def table_of(counts):
    rows, columns = np.indices(counts.shape)
    return {"class": rows.ravel().tolist(), "cluster": columns.ravel().tolist(), "count": counts.ravel().tolist()}


def recorded(*all_counts, config=MNIST, **fields):
    """Return a record whose trainings have these counts and their accuracies."""
    scores = [100 * float(np.trace(counts)) / float(counts.sum()) for counts in all_counts]
    record = made("VAT", tuple(scores), losses=[-score / 100 for score in scores], config=config, **fields)
    pairs = zip(record.results, all_counts, strict=True)
    return replace(record, results=tuple(replace(r, tables=r.tables | {"confusion": table_of(c)}) for r, c in pairs))


def test_trainings_come_from_the_lowest_accuracy_to_the_highest():
    (run, *_) = recorded_runs(CLUSTERING, [recorded(CLEAN, CAUGHT)])
    worst, best, beyond = (look_at(run, "VAT", place) for place in (0, 1, 7))
    assert (worst.result.seed, best.result.seed, beyond.result.seed) == (1, 0, 0)
    assert (confusion_of(worst).counts == CAUGHT).all() and (confusion_of(best).counts == CLEAN).all()
    assert f"seed 1, number 1 of 2 from the lowest accuracy: {100 * 173 / 300:.1f} %, loss on all data −0.577 nats" in (
        describe(worst)
    )
    first, second = "45 of 100 images of 2 (45 %)", "41 of 100 images of 1 (41 %)"
    assert f"{first} lie in the cluster matched with 0, {second} lie in the cluster matched with 2" in describe(worst)
    assert "No class has 5 % of its images in another one's cluster." in describe(best)
    assert "Seed 1, 57.7 %: 0, 1 and 2 are mixed" in draw(worst).to_string()
    assert "every class has its own cluster" in draw(best).to_string()
    with pytest.raises(ValueError, match="place"):
        look_at(run, "VAT", -1)


def test_the_share_that_is_said_is_five_per_cent_or_more():
    (run, *_) = recorded_runs(CLUSTERING, [recorded(np.array([[95, 5, 0], [4, 96, 0], [0, 0, 1000]]))])
    assert mixed_classes(confusion_of(look_at(run, "VAT", 0))) == [("0", "1", 5, 100)]


@pytest.mark.parametrize("n_clusters", [2, 3, 5])
def test_counts_in_a_record_give_back_the_accuracy(n_clusters):
    generator = torch.Generator().manual_seed(n_clusters)
    labels = torch.randint(3, (300,), generator=generator).numpy()
    clusters = torch.randint(n_clusters, (300,), generator=generator).numpy()
    counts = counts_of(table_of(aligned_confusion(labels, clusters).counts))
    record = recorded(CLEAN)
    result = replace(record.results[0], tables=record.results[0].tables | {"confusion": table_of(counts)})
    (run, *_) = recorded_runs(CLUSTERING, [replace(record, results=(result,))])
    found = confusion_of(look_at(run, "VAT", 0))
    assert found.accuracy == pytest.approx(evaluate_clustering(labels, clusters).accuracy, abs=1e-12)
    assert sum(match is None for match in found.matches) == max(n_clusters - 3, 0)
    assert found.clusters.count("–") == max(n_clusters - 3, 0)
    assert draw(look_at(run, "VAT", 0)).to_string()


def test_every_recorded_training_is_shown_whole():
    runs = [run for run in recorded_runs(CLUSTERING) if run.records]
    assert any(run.n_images == 70_000 for run in runs)
    for run in runs:
        for method in run.methods:
            for place, _ in enumerate(look_at(run, method, 0).results):
                look = look_at(run, method, place)
                confusion = confusion_of(look)
                assert 100 * confusion.accuracy == pytest.approx(look.result.metrics["accuracy"], abs=1e-9)
                assert confusion.counts.sum() == run.n_images
                assert "…" not in draw(look).to_string()


def test_without_counts_the_view_says_so():
    view = explore_imsat_seeds([])
    assert "no run is recorded here. This records one: python -m toolkit run" in view.text
    (run, *_) = recorded_runs(CLUSTERING, [made("VAT", config=DIGITS)])
    look = look_at(run, "VAT", 0)
    assert "IMSAT (VAT) has no recorded counts." in describe(look) and "IMSAT (VAT) on digits" in draw(look).to_string()
    (run, *_) = recorded_runs(CLUSTERING, [recorded(CLEAN, config=DIGITS)])
    assert "IMSAT (RPT) has no recorded counts. Choose IMSAT (VAT)." in describe(look_at(run, "RPT", 3))
    view = explore_imsat_seeds([recorded(CLEAN, CAUGHT, n_images=70_000), recorded(CLEAN, config=DIGITS)])
    assert "seed 1" in view.text
    view.controls["place"].value = 2
    assert "seed 0, number 2 of 2" in view.text


def test_mixed_classes_are_named_while_they_are_few():
    counts = np.full((6, 6), 10) + 90 * np.eye(6, dtype=int)
    (run, *_) = recorded_runs(CLUSTERING, [recorded(counts)])
    assert "6 of 6 classes are mixed with another" in draw(look_at(run, "VAT", 0)).to_string()
    assert "and so on for 26 more" in describe(look_at(run, "VAT", 0))


def test_many_trainings_are_listed_around_the_one_looked_at():
    many = [np.diag([100, 100, 100 - n]) + np.array([[0, 0, 0], [0, 0, 0], [n, 0, 0]]) for n in range(30)]
    (run, *_) = recorded_runs(CLUSTERING, [recorded(*many)])
    for place in (0, 15, 29):
        text = draw(look_at(run, "VAT", place)).to_string()
        assert f">{29 - place}<" in text and text.count(" %<") == 14
