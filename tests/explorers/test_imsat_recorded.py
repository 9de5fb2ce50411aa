"""Recorded clusterings and hash codes are shown as the records have them; what is not recorded is said."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from toolkit.core.history import Series
from toolkit.experiments import Quantity, Record, SeedResult, read_paper_results
from toolkit.experiments.cli import main
from toolkit.experiments.environment import Environment
from toolkit.experiments.imsat_clustering import ImsatClusteringConfig
from toolkit.experiments.imsat_clustering import run as run_clustering
from toolkit.experiments.study import Study
from toolkit.explorers import (
    explore_imsat_hash_recorded,
    explore_imsat_radii,
    explore_imsat_recorded,
    explore_imsat_restarts,
    imsat_hash_recorded,
    imsat_radii,
    imsat_restarts,
)
from toolkit.explorers.imsat_looks import Strip, draw_strips, look_of, spread_text, title_of
from toolkit.explorers.imsat_recorded import CURVE, SCORES, accuracy_curves, describe, draw, not_told_apart, pick
from toolkit.explorers.imsat_records import CLUSTERING, HASHING, recorded_runs, values_of, where_recorded
from toolkit.explorers.imsat_tables import clustering_scores_table, published_table, retrieval_scores_table

ENVIRONMENT = Environment("1.0", "3.11", "2.0", "2.0", "Linux", "cpu: A processor", 1, None, None)
DIGITS = {"data": "digits", "images": "subset", "n_points": None, "hidden": "200-200", "epochs": 60, "alpha": 0.4}
MNIST = {"data": "mnist", "images": "full", "n_points": None, "hidden": "1200-1200", "epochs": 50, "alpha": 0.25}
CODES = {
    **{"data": "mnist", "images": "full", "n_points": 10_000, "hidden": "400-400", "epochs": 15},
    **{"n_bits": 16, "queries_per_class": 20, "protocol": "held-out"},
}
VAT, RIM = (80.0, 90.0, 85.0, 81.0), (60.0, 61.0, 62.0, 63.0)


def made(variant, accuracies=VAT, *, losses=None, n_images=1797, config=None, date="2026-01-01T00:00:00Z", **fields):
    """Return a record of the clustering study with such accuracies, one a seed."""
    results = []
    for seed, accuracy in enumerate(accuracies):
        scores = {"accuracy": accuracy, "normalized mutual information": accuracy / 100}
        loss = {} if variant == "k-means" else {"loss on all data": -accuracy / 100 if losses is None else losses[seed]}
        curve = {} if variant == "k-means" else {"accuracy": Series((10, 20), (accuracy / 2, accuracy))}
        results.append(SeedResult(seed, scores | loss, curve, {"data": {"n_points": [n_images]}}))
    base = Record(CLUSTERING, variant, "laptop", config or DIGITS, tuple(results), ENVIRONMENT, date, 1.0, 1.0)
    return replace(base, **fields)


def codes(variant, precisions, **config):
    """Return a record of the hashing study with such mean average precisions, one a seed."""
    results = []
    for seed, value in enumerate(precisions):
        metrics = {"mAP": value, "precision at 500": value + 0.1, "precision within radius 2": value + 0.2}
        metrics |= {"distinct codes": 1000.0 + seed}
        if variant not in ("PCA", "ITQ"):
            metrics |= {"information of the bits": 7.0, "information of pairs": 0.5}
        table = {
            "radius": [0, 1, 2, 3],
            "precision": [0.9, 0.8, value, 0.1],
            "recall": [0.0, 0.1, 0.2 + value / 2, 1.0],
        }
        results.append(SeedResult(seed, metrics, {}, {"retrieval": table, "data": {"n_points": [10_000]}}))
    settings = CODES | config
    return Record(HASHING, variant, "laptop", settings, tuple(results), ENVIRONMENT, "2026-01-01T00:00:00Z", 1.0, 1.0)


@pytest.fixture
def digits():
    return [made("VAT"), made("RIM", RIM), made("k-means", (79.0, 79.5, 79.2, 79.1))]


def test_records_of_one_setting_are_one_run_and_the_others_are_said_to_be_missing(digits):
    found = recorded_runs(CLUSTERING, digits)
    assert found[0].label == "digits, 1,797 images, 200-200, 60 epochs" and found[0].n_images == 1797
    assert found[0].methods == ("VAT", "RIM", "k-means") and found[0].record("RPT") is None
    missing = found[1:]
    assert [run.records for run in missing] == [()] * 3 and all("not recorded" in run.label for run in missing)
    assert "--scale paper" in next(run.missing for run in missing if "70,000" in run.label)
    assert all(not run.records for run in recorded_runs(HASHING, digits))
    with pytest.raises(ValueError, match="study"):
        recorded_runs("sbn", digits)


def test_most_seeds_count_then_the_newest_and_other_settings_are_told_apart(digits):
    short = made("VAT", VAT[:2], date="2027-01-01T00:00:00Z")
    newer = made("VAT", tuple(value + 1 for value in VAT), date="2027-01-01T00:00:00Z", scale="paper")
    assert recorded_runs(CLUSTERING, [*digits, short])[0].record("VAT") is digits[0]
    assert recorded_runs(CLUSTERING, [*digits, newer])[0].record("VAT") is newer
    other = made("VAT", config=DIGITS | {"alpha": 0.6})
    labels = [run.label for run in recorded_runs(CLUSTERING, [*digits, other]) if run.records]
    assert len(labels) == len(set(labels)) == 2 and any(label.endswith("alpha 0.6") for label in labels)
    large = made("VAT", config=MNIST, n_images=70_000)
    quick = made("VAT", config=DIGITS | {"epochs": 20}, scale="quick")
    found = recorded_runs(CLUSTERING, [quick, large, *digits])
    assert [run.label.partition(",")[0] for run in found if run.records] == ["digits", "MNIST", "digits"]
    assert not any("70,000 images (not" in run.label for run in found)


def test_scores_and_their_order(digits):
    (run, *_) = recorded_runs(CLUSTERING, [*digits, made("VAT-scrambled", (99.0, 99.0))])
    for show in (*SCORES, CURVE):
        picked = pick(run, show)
        if show == "adjusted Rand index":
            assert not picked.records and "no adjusted Rand index" in describe(picked)
            draw(picked)
            continue
        assert picked.records[0].variant == "VAT"
        assert "VAT-scrambled" not in [record.variant for record in picked.records]
        picture = draw(picked).to_string()
        assert "…" not in picture and "VAT leads with" in picture
    text = describe(pick(run))
    mean, sd = np.mean(VAT), np.std(VAT, ddof=1)
    assert f"IMSAT (VAT) {mean:.1f} ± {sd:.1f}, k-means 79.2 ± 0.2, deep RIM 61.5 ± 1.3" in text
    assert "over 4 seeds" in text and "A processor" in text and "standard errors" not in text


def test_ties_within_the_seeds_are_called_ties():
    records = [made("VAT"), made("VAT+affine", tuple(value + 1 for value in VAT)), made("RIM", RIM)]
    picked = pick(recorded_runs(CLUSTERING, records)[0])
    assert "VAT + affine and VAT lead: 85.0 and 84.0 %" in draw(picked).to_string()
    assert "Within two standard errors of the highest: IMSAT (VAT)." in describe(picked)
    more = pick(recorded_runs(CLUSTERING, [*records, made("RPT", VAT)])[0])
    assert "VAT + affine leads with 85.0 %, 2 more within two standard errors" in draw(more).to_string()
    alone = pick(recorded_runs(CLUSTERING, [made("VAT", (80.0,))])[0])
    assert "VAT reaches 80.0 %" in draw(alone).to_string() and "one seed" in describe(alone)
    first, other = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    error = math.sqrt(1 / 3 + 1 / 3)
    assert not not_told_apart(first, other) and not_told_apart(first, first + 1.99 * error)
    assert not_told_apart(first[:1], other)


def test_curves_of_a_single_method_are_drawn_seed_by_seed():
    alone = pick(recorded_runs(CLUSTERING, [made("VAT")])[0], CURVE)
    text = draw(alone).to_string()
    assert (
        text.count('stroke-width="1.3"') == 4 and "VAT, mean" in text and "A thin line is one seed." in describe(alone)
    )
    assert "thin line" not in describe(pick(alone.run))
    one = pick(recorded_runs(CLUSTERING, [made("VAT", (80.0,))])[0], CURVE)
    assert "mean" not in draw(one).to_string() and "thin line" not in describe(one)
    beside = pick(recorded_runs(CLUSTERING, [made("VAT"), made("k-means")])[0], CURVE)  # which has no steps
    text = draw(beside).to_string()
    assert text.count('stroke-width="1.3"') == 4 and "k-means" in text and "thin line" in describe(beside)
    two = pick(recorded_runs(CLUSTERING, [made("VAT"), made("RIM", RIM)])[0], CURVE)
    assert 'stroke-width="1.3"' not in draw(two).to_string() and "thin line" not in describe(two)


def test_curves_hold_the_steps_that_all_seeds_have():
    record = made("VAT", (80.0, 90.0))
    cut = replace(record.results[1], histories={"accuracy": Series((20, 30), (50.0, 60.0))})
    steps, values = accuracy_curves(replace(record, results=(record.results[0], cut)))
    assert steps.tolist() == [20] and values.tolist() == [[80.0], [50.0]]
    steps, values = accuracy_curves(made("k-means"))
    assert steps.size == 0 and values.size == 0
    both = pick(recorded_runs(CLUSTERING, [made("k-means")])[0], CURVE)
    assert "k-means" in draw(both).to_string()


def test_what_is_not_recorded_is_said_in_one_sentence():
    views = [explore_imsat_recorded([]), explore_imsat_radii([]), explore_imsat_restarts([])]
    for view in [*views, explore_imsat_hash_recorded([])]:
        labels = list(dict(view.controls["label"].options))
        assert all("(not recorded)" in label for label in labels)
        for label in labels:
            view.controls["label"].value = label
            assert (
                view.error is None and "no run is recorded here. This records one: python -m toolkit run" in view.text
            )
    assert all(view.png for view in views[:1])
    assert "--methods VAT,VAT-11th,VAT-scrambled,VAT-mean" in views[1].text


def test_the_command_for_what_is_not_recorded_asks_for_just_that(monkeypatch):
    class Asked(Exception):
        pass

    def ask(study, config, out):
        raise Asked(study.name, config)

    monkeypatch.setattr(Study, "run", ask)
    for study in (CLUSTERING, HASHING):
        for run in recorded_runs(study, []):
            *_, options = run.missing.partition("toolkit ")
            with pytest.raises(Asked) as caught:
                main(options.split())
            name, config = caught.value.args
            data, n_images = run.label.removesuffix(" images (not recorded)").split(", ")
            points = (
                config.n_points or {("digits", "subset"): 1797, ("mnist", "full"): 70_000}[config.data, config.images]
            )
            assert name == study and n_images == f"{points:,}"
            assert data == {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}[config.data]


def test_the_readers_runs_are_those_of_the_ledger():
    (result,) = [one for one in read_paper_results() if one.quantity == "imsat/mnist/accuracy-vat-reproduction"]
    runs = imsat_radii.reader_runs()
    assert runs.size == 10 and runs.mean() == pytest.approx(result.value)
    assert runs.std(ddof=1) == pytest.approx(result.uncertainty, abs=0.05)
    assert imsat_radii.reader_runs(replace(result, notes="98 91.5, and so on")).tolist() == [98.0, 91.5]
    with pytest.raises(ValueError, match="notes"):
        imsat_radii.reader_runs(replace(result, notes="ten runs"))


def test_no_finding_on_recorded_codes_is_cut_off():
    for run in recorded_runs(HASHING):
        for show in (*imsat_hash_recorded.SCORES, imsat_hash_recorded.CURVES) if run.records else ():
            assert "…" not in imsat_hash_recorded.draw(imsat_hash_recorded.pick(run, show)).to_string(), (run, show)
    for run in recorded_runs(CLUSTERING):
        for show in (*SCORES, CURVE) if run.records else ():
            assert "…" not in draw(pick(run, show)).to_string(), (run, show)


def test_radii():
    right, other = (98.0, 97.5, 98.5, 98.1), (90.0, 96.0, 88.0, 95.0)
    records = [
        made(name, values, config=MNIST, n_images=70_000)
        for name, values in (("VAT", right), ("VAT-11th", right), ("VAT-scrambled", other))
    ]
    radii = imsat_radii.compare(recorded_runs(CLUSTERING, records)[0])
    change = np.mean(other) - np.mean(right)
    picture, text = imsat_radii.draw(radii).to_string(), imsat_radii.describe(radii)
    assert f"Radii of other images cost {abs(change):.1f} points of accuracy" in picture and "…" not in picture
    error = math.hypot(np.std(right, ddof=1), np.std(other, ddof=1)) / 2
    assert f"Another image's instead: −{abs(change):.1f} points, standard error {error:.1f}." in text
    assert "Its 11th neighbour instead: +0.0 points" in text
    assert (
        "93.1 ± 5.0 over 10 runs (github.com/weihua916/imsat, issue 2); else ours have the setting of that code."
        in text
    )
    gap, error = (
        radii.readers.mean() - np.mean(right),
        math.sqrt(np.var(right, ddof=1) / 4 + radii.readers.var(ddof=1) / 10),
    )
    assert f"to the reader's: −{abs(gap):.1f} points, standard error {error:.1f}." in text
    small = [replace(one, config=MNIST | {"hidden": "400-400", "epochs": 20}) for one in records]
    text = imsat_radii.describe(imsat_radii.compare(recorded_runs(CLUSTERING, small)[0]))
    assert "ours differ: 400-400 units, not 1200-1200; 20 epochs, not 50." in text
    port = [replace(one, config=MNIST | {"initialization": "small"}) for one in records]
    assert "ours differ: small first weights, not official." in imsat_radii.describe(
        imsat_radii.compare(recorded_runs(CLUSTERING, port)[0])
    )
    same = imsat_radii.compare(recorded_runs(CLUSTERING, [records[0], made("VAT-scrambled", right, config=MNIST)])[0])
    assert "no cost or gain that these seeds could show" in imsat_radii.draw(same).to_string()
    fewer = imsat_radii.compare(
        recorded_runs(CLUSTERING, [records[0], made("VAT-scrambled", other[:2], config=MNIST)])[0]
    )
    assert "over 4, 2 seeds" in imsat_radii.describe(fewer)
    alone = imsat_radii.compare(recorded_runs(CLUSTERING, [made("VAT")])[0])
    text = imsat_radii.describe(alone)
    assert "Not recorded: its 11th neighbour, another image's, one for all." in text and "other images" in text
    assert "Recorded here: radii from its 10th neighbour" in imsat_radii.draw(alone).to_string()
    none = imsat_radii.compare(recorded_runs(CLUSTERING, [made("RIM")])[0])
    assert "was not recorded with any" in imsat_radii.describe(none) and imsat_radii.draw(none)
    assert explore_imsat_radii([*records, made("VAT")]).text == imsat_radii.describe(radii)


def test_radii_over_the_steps_are_those_of_the_same_seeds():
    def curves(name, seeds, values):
        results = made(name, (98.0,) * len(seeds), config=MNIST, n_images=70_000).results
        pairs = zip(results, seeds, values, strict=True)
        results = [replace(r, seed=s, histories={"accuracy": Series((700, 1400, 2100), v)}) for r, s, v in pairs]
        return replace(made(name, config=MNIST), results=tuple(results))

    own = curves("VAT", (2, 0, 1), [(80.0, 84.0, 97.0), (80.0, 95.0, 98.0), (80.0, 81.0, 82.0)])
    other = curves("VAT-scrambled", (0, 1), [(90.0, 95.1, 98.0), (80.0, 90.0, 96.0)])
    (run, *_) = recorded_runs(CLUSTERING, [own, other])
    radii = imsat_radii.compare(run, CURVE)
    seeds, found = imsat_radii.curves_of_the_same_seeds(radii)
    assert seeds == [0, 1] and found["VAT"][1].tolist() == [[80.0, 95.0, 98.0], [80.0, 81.0, 82.0]]
    assert imsat_radii.first_above(*found["VAT"]) == [2100.0, math.inf]
    text, picture = imsat_radii.describe(radii), imsat_radii.draw(radii).to_string()
    assert "drawn: seeds 0, 1." in text
    assert "in this order: its 10th neighbour 2,100, never; another image's 1,400, 2,100." in text
    assert "3 of 4 trainings pass 95 %" in picture
    assert "its 10th neighbour" in picture and "seed 1" in picture and "seed 0" not in picture
    low = imsat_radii.compare(recorded_runs(CLUSTERING, [made("VAT"), made("VAT-scrambled", (70.0, 72.0))])[0], CURVE)
    assert "None of them was above 95 %." in imsat_radii.describe(low) and imsat_radii.draw(low).to_string()
    apart = curves("VAT-11th", (5, 6), [(80.0, 84.0, 97.0), (80.0, 95.0, 98.0)])
    none = imsat_radii.compare(recorded_runs(CLUSTERING, [own, apart])[0], CURVE)
    for words in (imsat_radii.describe(none), imsat_radii.draw(none).to_string()):
        assert "No seed was recorded over the steps with every kind" in words and "was above" not in words
    (first, second), plain = other.results, made("VAT-mean", (98.0,), config=MNIST)
    plain = replace(plain, results=tuple(replace(result, histories={}) for result in plain.results))
    for broken in ({}, {"accuracy": Series((700, 1400, 2100), (90.0, math.nan, 98.0))}):
        torn = replace(other, results=(first, replace(second, histories=broken)))
        partly = imsat_radii.compare(recorded_runs(CLUSTERING, [own, torn, plain])[0], CURVE)
        assert imsat_radii.curves_of_the_same_seeds(partly)[0] == [0] and imsat_radii.draw(partly).to_string()
        assert "drawn: seed 0. Without curves: one for all." in imsat_radii.describe(partly)
    view = explore_imsat_radii([own, other])
    view.controls["show"].value = CURVE
    assert view.error is None and view.text == text


def test_every_machine_of_a_comparison_is_named():
    first, second = made("VAT"), made("VAT-11th")
    elsewhere = replace(second, date="2026-02-03T00:00:00Z", environment=replace(second.environment, device="cpu: B"))
    assert where_recorded([first, second]).count("Recorded") == 1 and ";" not in where_recorded([first, second])
    text = where_recorded([elsewhere, first])
    assert text.index("2026-01-01: A processor") < text.index("; at laptop scale on 2026-02-03: B, torch")


def test_dots_of_equal_values_are_told_apart():
    strip = Strip("x", np.array([98.0] * 4 + [97.9, 60.0]), look_of("VAT"))
    picture = draw_strips([strip], value_label="%", title="t").to_string()
    dots = re.findall(rf'd="M(\S+ \S+) [^"]*" fill="{look_of("VAT").color}"', picture)
    assert len(dots) == len(set(dots)) == 6


def test_restarts():
    losses = (-1.0, -3.0, -2.0, -0.5)
    run = recorded_runs(CLUSTERING, [made("VAT", losses=losses), made("RIM", RIM), made("k-means")])[0]
    for n_init in range(1, 5):
        found = imsat_restarts.choose(run, "VAT", n_init)
        subsets = list(itertools.combinations(range(4), n_init))
        kept = [VAT[min(subset, key=lambda seed: losses[seed])] for subset in subsets]
        best = [max(VAT[seed] for seed in subset) for subset in subsets]
        assert found.by_loss[n_init - 1] == pytest.approx(np.mean(kept))
        assert found.by_labels[n_init - 1] == pytest.approx(np.mean(best))
        assert found.correlation == pytest.approx(spearmanr(losses, VAT).statistic)
        text, picture = imsat_restarts.describe(found), imsat_restarts.draw(found).to_string()
        assert f"a single run has {np.mean(VAT):.1f} %" in text and "…" not in picture
        if n_init > 1:
            assert f"has {np.mean(kept):.1f} %" in text
            assert f"gains {np.mean(kept) - np.mean(VAT):.1f} points, without a label" in picture
    assert imsat_restarts.choose(run, "VAT", 50).n_init == 4
    reversed_losses = made("VAT", losses=tuple(-loss for loss in losses))
    worse = imsat_restarts.choose(recorded_runs(CLUSTERING, [reversed_losses])[0], "VAT", 4)
    assert "loses" in imsat_restarts.draw(worse).to_string()
    for method in ("k-means", "RPT"):
        nothing = imsat_restarts.choose(run, method, 2)
        assert nothing.n_init == 0 and "no recorded losses" in imsat_restarts.describe(nothing)
        imsat_restarts.draw(nothing)
    lost = imsat_restarts.choose(recorded_runs(CLUSTERING, [made("VAT", losses=(*losses[:3], math.nan))])[0], "VAT", 9)
    assert lost.n_init == 3
    alike = imsat_restarts.choose(recorded_runs(CLUSTERING, [made("VAT", (80.0,))])[0], "VAT", 1)
    assert math.isnan(alike.correlation) and "Rank correlation" not in imsat_restarts.describe(alike)
    imsat_restarts.draw(alike)


def test_the_view_of_restarts(digits):
    view = explore_imsat_restarts(digits)
    assert view.error is None and dict(view.controls["method"].options) == {"IMSAT (VAT)": "VAT", "deep RIM": "RIM"}
    assert (view.controls["n_init"].min, view.controls["n_init"].max) == (1, 4)
    texts = {view.text}
    for n_init in (1, 2, 3):
        view.controls["n_init"].value = n_init
        texts.add(view.text)
    assert len(texts) == 4 and view.error is None


def test_hash_codes():
    records = [codes("VAT", (0.6, 0.64)), codes("ITQ", (0.39, 0.39)), codes("no-SAT", (0.37, 0.38))]
    run = recorded_runs(HASHING, records)[0]
    assert run.label == "MNIST, 10,000 images, 16 bits, 400-400, 15 epochs"
    view = explore_imsat_hash_recorded(records)
    assert "VAT (c = 2) 0.620 ± 0.028, PCA-ITQ 0.390 ± 0.000, no perturbation 0.375" in view.text
    assert "Queries: 20 of each class, held out of training." in view.text
    for show in dict(view.controls["show"].options).values():
        view.controls["show"].value = show
        assert view.error is None
        assert "…" not in imsat_hash_recorded.draw(view.result).to_string()
        if show == "information of the codes":
            assert "no information of the codes was recorded" in view.text
        if show == "information of the bits":
            assert "bits, summed (nats), mean ± standard deviation over 2 seeds: VAT" in view.text
            assert "Not shown: PCA-ITQ, whose bits have no probabilities." in view.text
        if show == imsat_hash_recorded.CURVES:
            assert "within 2 bits: VAT (c = 2) 0.62 and 0.51, PCA-ITQ 0.39 and 0.40, no perturbation 0.38" in view.text
            picture = imsat_hash_recorded.draw(view.result).to_string()
            assert "Recall within 2 bits: VAT (c = 2) 0.51, PCA-ITQ 0.40, no perturbation 0.39" in picture
    radii, precision, recall = imsat_hash_recorded.by_radius(records[0])
    assert radii.tolist() == [0, 1, 2, 3] and precision[2] == pytest.approx(0.62) and recall[3] == 1.0
    tied = recorded_runs(HASHING, [codes("VAT", (0.6, 0.64)), codes("VAT-c1", (0.61, 0.64))])[0]
    assert "≈ VAT (c = 2) 0.620" in imsat_hash_recorded.draw(imsat_hash_recorded.pick(tied)).to_string()
    official = recorded_runs(HASHING, [codes("VAT", (0.6,), protocol="official")])[0]
    assert "trained on too" in imsat_hash_recorded.describe(imsat_hash_recorded.pick(official))


def test_tables_of_scores(digits):
    shown = clustering_scores_table(records=digits)
    assert [row[0] for row in shown.rows] == ["IMSAT (VAT)", "k-means", "deep RIM"] and shown.strong == (0,)
    cells = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in shown.rows[0]]
    assert cells == ["IMSAT (VAT)", spread_text(np.array(VAT)), "0.840 ± 0.045", "–", "−0.840 ± 0.045"]
    assert shown.rows[1][4] == "–" and "over 4 seeds." in shown.caption
    uneven = clustering_scores_table(records=[*digits, made("RPT", (70.0, 71.0))])
    assert uneven.headers[1] == "seeds" and [row[1] for row in uneven.rows] == ["4", "4", "2", "4"]
    assert "over the seeds." in uneven.caption
    nothing = clustering_scores_table("mnist", 10_000, records=digits)
    assert nothing.rows == () and "No run of imsat-clustering with mnist on 10,000 images" in nothing.caption
    small = made("VAT", (70.0,), config=MNIST | {"n_points": 10_000}, n_images=10_000)
    large = made("VAT", (97.0,), config=MNIST, n_images=70_000)
    assert clustering_scores_table("mnist", records=[small, large]).rows[0][1] == "97.0"
    assert clustering_scores_table("mnist", 10_000, records=[small, large]).rows[0][1] == "70.0"
    shown = retrieval_scores_table(records=[codes("ITQ", (0.39, 0.4)), codes("VAT", (0.6, 0.64))])
    assert [row[0] for row in shown.rows] == ["VAT (c = 2)", "PCA-ITQ"]
    assert "Queries held out of training" in shown.caption
    official = retrieval_scores_table(records=[codes("VAT", (0.6,), protocol="official")])
    assert "Queries trained on too" in official.caption
    assert shown.rows[1][5:] == ("–", "–") and shown.rows[0][4].split("\N{NO-BREAK SPACE}")[0] in ("1,000", "1,001")


def test_reported_numbers_stand_with_their_sources_beside_ours():
    reported = {result.description: result for result in read_paper_results() if result.table == "imsat"}
    alone = published_table(records=[])
    for row in alone.rows:
        result = reported[row[0]]
        assert row[1].replace("\N{NO-BREAK SPACE}", " ") == result.text
        assert row[2] == f"{result.source}; {result.how_read}" and row[3] == "not recorded"
    assert len(alone.rows) == sum("accuracy" in result.quantity for result in reported.values())
    answer = {"imsat/mnist/accuracy-vat": Quantity("accuracy", 1.0)}
    full = made("VAT", (97.0, 98.0), config=MNIST, n_images=70_000, scale="paper", quantities=answer)
    small = made("VAT", (75.0,), config=MNIST | {"n_points": 10_000, "hidden": "400-400"}, n_images=10_000)
    plain = made("k-means", (51.0, 53.0), config=MNIST | {"n_points": 10_000}, n_images=10_000)
    longer = replace(full, config=MNIST | {"epochs": 100}, date="2026-02-01T00:00:00Z")
    rows = {row[0]: row for row in published_table(records=[longer, full, small, plain]).rows}
    vat = rows["Accuracy of IMSAT (VAT) on MNIST, as slides about the paper state it"]
    assert vat[3].replace("\N{NO-BREAK SPACE}", " ") == "97.5 ± 0.7 %" and vat[4] == "2"
    assert vat[5].startswith("ours: IMSAT (VAT), paper scale; theirs: ")
    k_means = next(row for name, row in rows.items() if "k-means" in name)
    assert "10,000 images, not 70,000" in k_means[5] and "epochs" not in k_means[5].partition("theirs")[0]
    assert next(row for name, row in rows.items() if "authors' code" in name)[3] == "not recorded"
    only = {row[0]: row for row in published_table(records=[small]).rows}
    here = only["Accuracy of IMSAT (VAT) on MNIST, as slides about the paper state it"][5]
    assert "10,000 images, not 70,000; 400-400 units, not 1200-1200" in here


def test_strips_of_one_value_of_none_and_of_equal_ones():
    look = look_of("VAT")
    strips = [Strip("one", np.array([2.0]), look), Strip("none", np.empty(0), look), Strip("two", np.ones(2), look)]
    picture = draw_strips(strips, value_label="value", title="title").to_string()
    assert ">2.0<" in picture and ">–<" in picture and ">1.0 ± 0.0<" in picture
    assert draw_strips([Strip("same", np.ones(3), look)], value_label="value", title="title").to_png()
    assert look_of("of another study").color and title_of("of another study") == "of another study"


def test_real_records_of_the_study():
    methods = ("k-means", "VAT")
    config = ImsatClusteringConfig(
        device="cpu", n_points=60, epochs=2, hidden="8", seeds=(0, 1), n_evaluations=2, methods=methods
    )
    records = run_clustering(config)
    view = explore_imsat_recorded(records)
    assert view.error is None and "digits, 60 images, 8, 2 epochs" in view.text and view.png
    for show in dict(view.controls["show"].options).values():
        view.controls["show"].value = show
        assert view.error is None
    restarts = explore_imsat_restarts(records)
    vat = next(record for record in records if record.variant == "VAT")
    assert restarts.result.by_loss[0] == pytest.approx(values_of(vat, "accuracy").mean())
    assert len(clustering_scores_table(records=records).rows) == 2
