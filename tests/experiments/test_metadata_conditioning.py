"""The study of metadata conditioning: what is trained, measured, recorded, compared and told."""

import json
import math
import threading
from dataclasses import replace

import pytest
import torch

from toolkit.core.checkpoints import load_checkpoint
from toolkit.experiments import metadata_conditioning, metadata_conditioning_pair
from toolkit.experiments.cli import main
from toolkit.experiments.metadata_conditioning_comparison import Difference, compare
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER, MetadataConditioningConfig
from toolkit.experiments.metadata_conditioning_families import find_family
from toolkit.experiments.metadata_conditioning_optimum import find_optimum, held_out
from toolkit.experiments.records import load_records
from toolkit.experiments.registry import find_study
from toolkit.experiments.study import StudyInterrupted
from toolkit.grammars.accuracy import exact_attainable_accuracy
from toolkit.grammars.metrics import by_position, divergences, losses_by_position
from toolkit.grammars.models import Decoder, DecoderConfig
from toolkit.grammars.named import toy_family
from toolkit.grammars.predictions import predict

SMALL = MetadataConditioningConfig(
    device="cpu",
    depths=(1, 3),
    size="8-1-2",
    n_steps=6,
    batch_size=16,
    n_documents=30,
    n_written=6,
    n_probed=24,
    n_beliefs=6,
    prompt_lengths=(0, 2, 12),
)
ARMS = (BASELINE, FEWER, "D_M=1", "D_M=3")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = metadata_conditioning.run(SMALL, out=folder)
    assert sorted(map(str, load_records(folder))) == sorted(map(str, found))
    assert max(path.stat().st_size for path in folder.iterdir()) < 200_000
    return {record.variant.rpartition("/")[2]: record for record in load_records(folder)}


# Families


def test_families_by_name_recipe_and_text():
    assert find_family("toy") is toy_family()
    recipe = find_family("1-3-3-3:K=2:seed=1")
    assert recipe.rules == toy_family().rules  # the recipe with which that family was drawn
    assert find_family("1-4-4-9:K=4-2-1:alternatives=3:lengths=2-3:disjoint").n_choices == (4, 2, 1)
    assert find_family("01|10//11|00;01|1/10|0").n_choices == (2, 1)


@pytest.mark.parametrize(
    "name",
    [
        "", "tooy", "3-3", "1-3-3:K", "1-3-3:K=0", "1-3-3:K=2-2-2", "1-3-3:seed=x", "1-3-3:seed=1-2", "1", "1-0-3",
        "1-3-3-3-9:K=5", "1-3-3:lengths=", "1-3-3:colour=1", "01|10;", "1-1-1:alternatives=9",
    ],
)  # fmt: skip
def test_what_is_no_family_is_refused(name):
    with pytest.raises(ValueError):
        find_family(name)
    with pytest.raises(ValueError, match="MetadataConditioningConfig"):
        MetadataConditioningConfig(families=(name,))


# What is trained


def test_scales():
    quick, laptop, paper = (MetadataConditioningConfig(scale=scale) for scale in ("quick", "laptop", "paper"))
    assert [arm.variant for arm in quick.arms] == ["toy/baseline", "toy/fewer-steps", "toy/D_M=3"]
    family = laptop.families[0]
    depth = find_family(family).depth
    names = [BASELINE, FEWER, *(f"D_M={d}" for d in range(1, depth + 1))]
    assert [arm.name for arm in laptop.arms] == names * len(laptop.families)
    assert len(laptop.seeds) >= 3 and len(paper.seeds) >= 3
    assert paper.size == "85M" and paper.bfloat16 and paper.compiled
    training = paper.training(paper.arms[-1], 1)
    assert training.conditioning.depth == find_family(paper.families[0]).depth
    assert training.compile == "inductor" and training.seed == 1 and training.size == "85M"
    json.dumps(paper.to_dict())


def test_the_second_baseline_reads_as_many_documents_without_metadata():
    config = replace(SMALL, n_steps=1000, p_meta=0.25)
    assert config.fewer_steps == 750
    assert replace(config, cooldown=0.2).fewer_steps == 800
    assert replace(config, p_meta=1.0).fewer_steps == 1
    assert [arm.n_steps for arm in config.arms] == [1000, 750, 1000, 1000]
    assert [arm.depth for arm in config.arms] == [0, 0, 1, 3]
    assert config.training(config.arms[3], 5).conditioning.p_meta == 0.25
    assert config.training(config.arms[0], 5).size == (8, 1, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"families": ()}, {"families": ("toy", "toy")}, {"depths": (0,)}, {"depths": (4,)}, {"depths": (1, 1)},
        {"depths": ()}, {"p_meta": 1.5}, {"cooldown": -0.1}, {"size": "2M"}, {"size": "64-3"}, {"size": "64-0-4"},
        {"n_steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": math.nan}, {"weight_decay": -1.0},
        {"prompt_lengths": (-1,)}, {"prompt_lengths": ()}, {"n_probed": 1}, {"n_documents": True}, {"seeds": (1, 1)},
        {"compiled": "yes"}, {"prompt_lengths": (28, 1000)},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options_are_refused(options):
    with pytest.raises((ValueError, TypeError), match="MetadataConditioningConfig"):
        MetadataConditioningConfig(**options)


# The optimum


def test_the_optimum_is_that_of_the_family():
    # Bayes-optimal losses of the family per document, by enumeration: 8.8567, 8.1984, 7.5163, 6.8232 nats.
    optimum = find_optimum("toy", 400, "cpu")
    assert find_optimum("toy", 400, "cpu") is optimum
    tokens = 17.03125
    for known, nats in enumerate((8.8566986794, 8.1983760028, 7.5163147392, 6.8231675586)):
        found = losses_by_position(optimum.optimal[known].log(), optimum.documents)
        assert abs(found.overall - nats / tokens) < 4 * found.overall_standard_error
    assert float(optimum.truth.mean[0]) == pytest.approx(1 / 8)
    assert float(optimum.entropy.mean[0]) == pytest.approx(math.log(8))
    assert [float(level.mean[0]) for level in optimum.best_accuracy] == pytest.approx([0.5] * 3)
    assert abs(float(optimum.truth.mean[8]) - 0.55009766) < 4 * float(optimum.truth.standard_error[8])
    assert optimum.short[:3].all() and not (optimum.short & optimum.long).any() and optimum.long[16]
    assert optimum.lengths(None)[:3] == (0, 1, 2) and optimum.lengths((3, 999)) == (3,)


def test_what_can_be_attained_is_estimated_where_sentences_are_too_many():
    found = find_optimum("1-3-3-3-9:K=2-1-1-2:seed=1", 40, "cpu").attainable((0, 8))
    assert not found.exact and found.n == (40, 40)
    assert 0 < found.sampler[0] <= 1 and found.sampler_error[1] > 0
    assert find_optimum("toy", 30, "cpu").attainable((0,)).exact


def test_held_out_sentences_differ_by_purpose_only():
    family = toy_family()
    first, second = held_out(family, 20, "documents", "cpu"), held_out(family, 20, "probes", "cpu")
    assert torch.equal(first.values, held_out(family, 20, "documents", "cpu").values)
    assert not torch.equal(first.metadata, second.metadata)


def test_a_single_grammar_has_nothing_to_reveal():
    optimum = find_optimum("01|10;01|1/10|0", 20, "cpu")
    assert optimum.revealed.tolist() == [0.0] * len(optimum.truth) and optimum.truth.overall == 1
    assert optimum.short.tolist() == [True] + [False] * (len(optimum.truth) - 1)


# What is measured and recorded


def test_a_record_holds_what_a_lesson_needs(records):
    assert tuple(records) == tuple(sorted(ARMS, key=list(records).index)) and set(records) == set(ARMS)
    exact = exact_attainable_accuracy(toy_family(), (0, 2, 12))
    for name, record in records.items():
        assert record.seeds == (0, 1)
        for result in record.results:
            metrics, tables = result.metrics, result.tables
            assert metrics["KL"] > 0 and metrics["loss without metadata"] > metrics["optimal loss"]
            assert {"KL, short prompts", "KL, long prompts", "acc_any, short prompts"} <= set(metrics)
            positions = tables["positions"]
            total = sum(n * kl for n, kl in zip(positions["n"], positions["KL"], strict=True)) / sum(positions["n"])
            assert total == pytest.approx(metrics["KL"], rel=1e-4)
            prompts = tables["prompts"]
            assert prompts["prompt length"] == [0, 2, 12] and prompts["n"] == [6, 6, 6]
            assert all(0 <= value <= 1 for score in ("acc_any", "acc_true", "unfinished") for value in prompts[score])
            assert prompts["attainable by a sampler"] == pytest.approx(exact.sampler, abs=1e-4)
            assert prompts["attainable at best"] == pytest.approx(exact.best, abs=1e-4)
            assert prompts["attainable, exact"] == [True] * 3
            assert len(tables["probes"]["accuracy"]) == 3 * 2 * 3  # levels, layers (embeddings too), positions
            assert tables["optimum"]["loss, 3 known"][-1] >= 0
            assert tables["trained"]["D_M"] == [int(name[-1]) if name.startswith("D_M") else 0]
            assert len(result.histories["loss"]) == tables["trained"]["n_steps"][0]
            assert len(result.histories["KL, long prompts"]) == 2
            seen = name.startswith("D_M")
            assert ("beliefs" in tables) == ("decomposition" in tables) == ("loss with metadata" in metrics) == seen
    assert records[FEWER].results[0].tables["trained"]["n_steps"] == [3]
    documents = [records[name].results[0].tables["trained"]["documents without metadata"] for name in ARMS]
    assert documents == [[96], [48], [48], [48]]


def test_the_parts_of_the_divergence_bound_it(records):
    for name in ("D_M=1", "D_M=3"):
        for result in records[name].results:
            parts = result.tables["decomposition"]
            rows = zip(parts["which grammar"], parts["what next"], parts["mixture"], strict=True)
            assert all(mixture <= which + what + 1e-4 for which, what, mixture in rows)
            reliability = result.tables["reliability"]
            groups = 2 if name == "D_M=1" else 8
            assert sum(reliability["n"]) == groups * sum(parts["n"])
            assert result.tables["beliefs"]["exact"][0] == pytest.approx(1 / groups, abs=1e-4)


def test_a_look_during_training_is_a_part_of_the_whole(monkeypatch):
    optimum = find_optimum("toy", 30, "cpu")
    config = DecoderConfig.of(toy_family(), (8, 1, 2))
    model = Decoder(config, generator=torch.Generator().manual_seed(0), device="cpu").eval()
    whole = divergences(optimum.optimal[0], predict(model, optimum.documents))
    found = metadata_conditioning.look(model, optimum)
    assert found["KL"] == pytest.approx(by_position(whole, optimum.mask).overall)
    shortest = int(optimum.documents.lengths[:3].max()) < int(optimum.documents.lengths.max())
    assert shortest  # so that a part has fewer positions than the whole
    monkeypatch.setattr("toolkit.experiments.metadata_conditioning_evaluation._LOOKED_AT", 3)
    found = metadata_conditioning.look(model, optimum)
    long = optimum.mask[:3] & optimum.long
    assert found["KL, long prompts"] == pytest.approx(by_position(whole[:3], long).overall)


def test_arms_share_their_documents_and_not_their_models(records):
    first, second = (records[name].results for name in (BASELINE, "D_M=3"))
    assert first[0].tables["optimum"] == second[1].tables["optimum"]
    assert first[0].histories["loss"].values[0] != second[0].histories["loss"].values[0]
    assert first[0].metrics["KL"] != first[1].metrics["KL"]


class StopAfter(threading.Event):
    """Set from some time on."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def is_set(self):
        self.n -= 1
        return self.n < 0


def test_an_interrupted_study_goes_on_and_ends_the_same(records, tmp_path):
    config = replace(SMALL, seeds=(1,), depths=(3,))
    with pytest.raises(StudyInterrupted):
        metadata_conditioning.run(config, out=tmp_path, stop=StopAfter(4))
    (checkpoint,) = tmp_path.glob(".unfinished/*/toy_baseline*")
    assert 0 < load_checkpoint(checkpoint).step < 6
    found = metadata_conditioning.run(config, out=tmp_path)
    assert not list(tmp_path.glob(".unfinished"))
    for record in found:
        expected = records[record.variant.rpartition("/")[2]].results[1]
        for name, value in expected.metrics.items():
            if not name.startswith("CPU"):
                assert record.results[0].metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), name


def test_prompts_that_no_held_out_sentence_reaches_leave_empty_tables():
    config = replace(SMALL, seeds=(0,), prompt_lengths=(27,))
    found = metadata_conditioning.measure(metadata_conditioning.Task(config, 0, "toy/baseline"))
    assert found.tables["prompts"]["prompt length"] == found.tables["probes"]["accuracy"] == []
    assert all(math.isfinite(value) for value in found.metrics.values())


def test_processes_other_than_the_first_only_train(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    config = replace(SMALL, seeds=(0,), depths=(3,))
    found = metadata_conditioning.measure(metadata_conditioning.Task(config, 0, "toy/baseline"))
    assert not found.metrics and not found.tables
    (record, *_) = metadata_conditioning.run(config)
    assert "took part" in metadata_conditioning.report([record])


# What is compared and told


def test_comparisons_are_seed_by_seed(records):
    found = compare(records["D_M=3"], records[BASELINE])
    assert (found.arm, found.control, found.short.n) == ("D_M=3", BASELINE, 2)
    a, b = (records[name].results for name in ("D_M=3", BASELINE))
    differences = [x.metrics["KL, long prompts"] - y.metrics["KL, long prompts"] for x, y in zip(a, b, strict=True)]
    assert found.long.mean == pytest.approx(sum(differences) / 2)
    assert found.long.standard_error == pytest.approx(abs(differences[0] - differences[1]) / 2)
    ratios = [x.tables["positions"]["KL"][2] / y.tables["positions"]["KL"][2] for x, y in zip(a, b, strict=True)]
    assert found.ratio[2] == pytest.approx(math.sqrt(ratios[0] * ratios[1]))
    assert found.prompt_lengths == (0, 2, 12) and len(found.acc_any) == 3
    json.dumps(found.to_dict())
    with pytest.raises(ValueError, match="compare"):
        compare(records["D_M=3"], replace(records[BASELINE], variant="other/baseline"))
    with pytest.raises(ValueError, match="seeds"):
        other = tuple(replace(result, seed=result.seed + 7) for result in records[BASELINE].results)
        compare(records["D_M=3"], replace(records[BASELINE], results=other))
    for table in ("prompts", "positions"):
        first = records[BASELINE].results[0]
        longer = {name: [values[0], *values] for name, values in first.tables[table].items()}
        other = (replace(first, tables=first.tables | {table: longer}),)
        with pytest.raises(ValueError, match=r"sentences|prompt lengths"):
            compare(records["D_M=3"], replace(records[BASELINE], results=other))


def with_kl(record, short, long):
    results = []
    for seed, (low, high) in enumerate(zip(short, long, strict=True)):
        first = record.results[0]
        ends = {"KL, short prompts": low, "KL, long prompts": high}
        results.append(replace(first, seed=seed, metrics=first.metrics | ends))
    return replace(record, results=tuple(results))


def test_a_sign_must_stand_out_from_the_seeds(records):
    control = with_kl(records[BASELINE], [0.10] * 3, [0.30] * 3)
    clear = compare(with_kl(records["D_M=3"], [0.15, 0.16, 0.14], [0.25, 0.26, 0.24]), control)
    assert clear.changes_sign and clear.verdict == "short prompts: harm; long prompts: gain"
    # Two standard errors are not enough with three seeds: Student's t asks for 4.3.
    unclear = compare(with_kl(records["D_M=3"], [0.15, 0.16, 0.14], [0.20, 0.29, 0.29]), control)
    assert not unclear.changes_sign and "long prompts: no clear difference" in unclear.verdict
    one = compare(with_kl(records["D_M=3"], [0.2], [0.1]), with_kl(records[BASELINE], [0.1], [0.2]))
    assert not one.changes_sign and one.verdict == "one seed says nothing about signs"
    assert Difference(0.5, math.nan, 1).sign == 0 and str(Difference(0.5, math.nan, 1)) == "+0.5"


def test_the_report_shows_models_and_both_controls(records):
    text = metadata_conditioning.report([records[name] for name in ARMS])
    for words in ("best predictor", "as many steps", "as many documents without metadata", "D_M=1", "0 to ", "acc_any"):
        assert words in text
    assert "D_M=3 less baseline" in text and "D_M=3 less fewer-steps" in text and "sign" in text
    assert max(map(len, text.splitlines())) < 200
    alone = metadata_conditioning.report([records[BASELINE]])
    assert "toy" in alone and "less" not in alone


def test_the_command_line(tmp_path, capsys):
    assert find_study("metadata-conditioning") is metadata_conditioning.STUDY
    small = ["--size", "8-1-2", "--n-steps", "2", "--n-documents", "4", "--n-probed", "8", "--n-written", "2"]
    options = [*small, "--n-beliefs", "2", "--seeds", "0", "--device", "cpu", "--out", str(tmp_path)]
    assert main(["run", "metadata-conditioning", *options]) == 0
    assert "D_M=3" in capsys.readouterr().out and len(list(tmp_path.glob("*.json"))) == 3


def test_a_pair_says_the_ratio_by_prompt_length():
    config = replace(SMALL, seeds=(0,), n_steps=2)
    found = metadata_conditioning_pair.train_pair(config, jobs=1)
    assert [one.arm.name for one in found] == [BASELINE, FEWER, "D_M=3"]
    optimum = find_optimum("toy", config.n_documents, "cpu")
    text = metadata_conditioning_pair.report_pair(found, optimum)
    first, _, last = (by_position(one.kl, optimum.mask).mean[2] for one in found)
    assert f"{float(last / first):.2f} ± " in text and "over training" in text
    assert found[0].kl_shown is None and found[2].kl_shown is not None
