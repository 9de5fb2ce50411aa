"""The study of disentanglement: what is trained, measured, recorded and told."""

import json
import math
import threading
from dataclasses import asdict, replace

import pytest
import torch

from toolkit.core.checkpoints import load_checkpoint
from toolkit.datasets import sprites
from toolkit.disentanglement.metrics.registry import METRICS
from toolkit.experiments import disentanglement, disentanglement_weights
from toolkit.experiments.cli import main
from toolkit.experiments.disentanglement_config import DisentanglementConfig
from toolkit.experiments.disentanglement_data import load_images
from toolkit.experiments.disentanglement_models import FAMILIES, SYNTHETIC, find_model, paper_training, small_training
from toolkit.experiments.disentanglement_pairs import bars_of
from toolkit.experiments.disentanglement_report import score_under
from toolkit.experiments.disentanglement_scores import ATTACKED, PARTS
from toolkit.experiments.disentanglement_synthetic import exact_rows, representations
from toolkit.experiments.records import load_records
from toolkit.experiments.registry import find_study
from toolkit.experiments.study import StudyInterrupted

SMALL = DisentanglementConfig(
    device="cpu",
    seeds=(0, 1),
    models=("betaVAE-2",),
    grid=(3, 2, 2, 3, 3),
    hidden="16",
    n_steps=12,
    batch_size=32,
    n_samples=80,
    n_points=200,
    attack_points=200,
    alphas=(0.0, 2.0),
    n_resamples=20,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLKIT_DATA_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def records(own_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = disentanglement.run(SMALL, out=folder)
    assert sorted(map(str, load_records(folder))) == sorted(map(str, found))
    return load_records(folder)


@pytest.fixture(scope="module")
def synthetic(own_cache):
    (record,) = disentanglement.run(replace(SMALL, models=(SYNTHETIC,), seeds=(0,), n_samples=300))
    return record


# What is trained


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_settings_of_both_sizes(family):
    name = f"{family.name}-3" if family.coefficient else family.name
    small = small_training(name, "dsprites", n_steps=7, batch_size=5, hidden=(8,))
    paper = paper_training(name, "dsprites")
    assert small.n_latents == paper.n_latents == 6
    assert (small.n_steps, small.batch_size) == (7, 5) and paper.n_steps >= 30_000
    for training in (small, paper):
        values = asdict(training.objective())
        if family.coefficient:
            assert values[family.coefficient] == 3
        json.dumps(training.to_dict())
    assert (small.categories, paper.categories) == ((3, 3) if family.name == "JointVAE" else (None, None))


def test_the_papers_settings_are_those_of_the_authors():
    assert paper_training("betaVAE-4", "dsprites").options() == {
        "n_steps": 300_000, "batch_size": 64, "learning_rate": 5e-4, "betas": (0.9, 0.999)
    }  # fmt: skip
    tc = paper_training("betaTCVAE-4", "3dshapes")
    assert (tc.batch_size, tc.n_steps, tc.learning_rate) == (2048, 50_000, 1e-3)
    factor = paper_training("FactorVAE-20", "3dshapes")
    assert (factor.discriminator_learning_rate, factor.discriminator_betas) == (1e-5, (0.5, 0.9))
    assert asdict(factor.objective())["width"] == 1000 and asdict(factor.objective())["depth"] == 6
    joint = paper_training("JointVAE-40", "3dshapes")
    assert joint.categories == 4 and asdict(joint.objective())["capacity_steps"] == 300_000
    images = torch.rand(2, 3, 64, 64)
    model = joint.build((3, 64, 64), 255, generator=torch.Generator().manual_seed(0), device="cpu")
    assert model.posterior(images).categorical_log_prob[0].shape == (2, 4)


def test_names_are_read_in_any_case_and_written_as_in_tables():
    assert find_model("betatcvae-6.50").name == "betaTCVAE-6.5"
    assert find_model("dipvae-ii-10").name == "DIPVAE-II-10"
    assert find_model(" vae ").title == "VAE"
    given = DisentanglementConfig(models=("VAE,betavae-4", "SYNTHETIC"))
    assert given.names == ("VAE", "betaVAE-4", "synthetic")


@pytest.mark.parametrize(
    "name", ["betaVAE", "VAE-3", "betaVAE-", "betaVAE--1", "betaVAE-inf", "betaVAE-nan", "GAN-1", ""]
)
def test_unknown_models_are_refused(name):
    with pytest.raises(ValueError, match="find_model"):
        find_model(name)


@pytest.mark.parametrize(
    "options",
    [
        {"models": ("VAE", "vae")},
        {"models": ()},
        {"data": "mnist"},
        {"grid": (3, 6, 40, 32)},
        {"grid": (4, 6, 40, 32, 32)},
        {"grid": (1, 1, 1, 1, 1)},
        {"grid": (3, 6, 0, 32, 32)},
        {"settings": "large"},
        {"variant": "mine"},
        {"hidden": "16-x"},
        {"n_steps": 0},
        {"batch_size": 0},
        {"n_samples": 1},
        {"n_points": 3},
        {"n_resamples": True},
        {"alphas": ()},
        {"alphas": (1.0, 1.0)},
        {"alphas": (-1.0,)},
        {"alphas": (1e40,)},
        {"alphas": (math.nan,)},
        {"files": "yes"},
        {"seeds": (1, 1)},
    ],
    ids=str,
)
def test_bad_options_are_refused(options):
    with pytest.raises((ValueError, TypeError), match="DisentanglementConfig"):
        DisentanglementConfig(**options)


def test_scales():
    laptop, paper = DisentanglementConfig(scale="laptop"), DisentanglementConfig(scale="paper")
    assert len(laptop.seeds) >= 5 and math.prod(laptop.sizes) == 6144 and laptop.training("VAE").n_steps == 4000
    assert paper.sizes is None and paper.image_size == 64 and paper.n_samples == 10_000
    assert {name.partition("-")[0] for name in paper.names} == {
        "synthetic", "betaVAE", "betaTCVAE", "FactorVAE", "JointVAE"
    }  # fmt: skip
    sweep = DisentanglementConfig(scale="paper", sweep=True, data="3dshapes").names
    assert "FactorVAE-5" in sweep and "betaVAE-8" in sweep and len(sweep) == 17
    small = DisentanglementConfig(scale="laptop", sweep=True).names
    assert small[:2] == ("synthetic", "VAE") and "betaVAE-16" in small and len(small) == 24
    assert len({find_model(name).name for name in small[1:]}) == 23
    assert json.loads(json.dumps(laptop.to_dict()))["grid"] == [3, 4, 8, 8, 8]


def test_images_are_the_grid_in_its_order():
    images = load_images("dsprites", (3, 2, 2, 3, 3), 32, False, CPU)
    assert len(images.images) == 108 and images.image_shape == (32, 32) and images.white == 1
    factors = torch.tensor([[2, 1, 1, 0, 2]])
    expected = sprites.render(factors, grid=images.grid, image_size=32)
    assert torch.equal(images.images[images.grid.ravel(factors)], expected)
    shapes = load_images("3dshapes", (2, 1, 1, 1, 2, 1), 32, False, CPU)
    assert shapes.image_shape == (3, 32, 32) and shapes.white == 255 and int(shapes.images.max()) > 100


# What is measured and recorded


def test_a_record_holds_what_a_lesson_needs(records):
    (record,) = records
    assert record.variant == "betaVAE-2" and record.seeds == (0, 1)
    for result in record.results:
        assert set(METRICS) <= set(result.metrics)
        assert {"reconstruction", "KL", "ELBO", "CPU seconds of training"} <= set(result.metrics)
        ends = result.metrics
        assert ends["ELBO"] == pytest.approx(-ends["reconstruction"] - ends["KL"])
        assert len(result.histories["UniBound"]) == 2 and len(result.histories["loss"]) == 12
        profile = result.tables["profile"]
        assert set(profile["factor"]) == {*sprites.GRID.names, "mean"} and len(profile["part"]) == 6 * len(PARTS)
        columns = zip(*(profile[name] for name in ("lower_low", "lower", "upper", "upper_high", "i_min")), strict=True)
        for low, lower, upper, high, point in columns:
            assert low <= lower + 0.05 and lower <= upper and upper <= high + 0.05
            assert point - lower >= -0.05 and point <= upper + 0.05
        assert len(result.tables["informations"]["latent"]) == 6 * 5
        assert result.tables["trained"]["n_steps"] == [12]


def test_the_recorded_parts_are_the_recorded_scores(records):
    for result in records[0].results:
        profile = result.tables["profile"]
        rows = list(zip(profile["factor"], profile["part"], profile["lower"], strict=True))
        (unique,) = [low for factor, part, low in rows if (factor, part) == ("mean", "unique")]
        assert unique == pytest.approx(result.metrics["unibound"], abs=1e-6)
        table = result.tables["informations"]
        gaps = []
        for factor in dict.fromkeys(table["factor"]):
            chosen = [row for row in zip(*table.values(), strict=True) if row[1] == factor]
            gaps.append(max(0.0, *((single - without) / entropy for _, _, single, without, _, entropy in chosen)))
        assert sum(gaps) / len(gaps) == pytest.approx(result.metrics["unibound"], abs=1e-4)


def test_attack_curves_are_recorded_for_each_strength(records):
    for result in records[0].results:
        table = result.tables["attacks"]
        assert set(table["metric"]) == set(ATTACKED) and set(table["alpha"]) == {0.0, 2.0}
        assert score_under(result, "unibound", 2.0) <= score_under(result, "unibound", 0.0) + 1e-6
        assert math.isnan(score_under(result, "unibound", 3.0))


def test_bars_are_as_wide_as_sampling_error_may_take_them(records):
    found = bars_of(records)
    assert [(run.name, run.seed) for run in found] == [("betaVAE-2", 0), ("betaVAE-2", 1)]
    profile = records[0].results[0].tables["profile"]
    place = [profile["factor"][i] == "mean" and profile["part"][i] == "redundant" for i in range(18)].index(True)
    assert found[0].parts["redundant"] == (profile["lower_low"][place], profile["upper_high"][place])


def test_categorical_latents_are_one_more(own_cache):
    config = replace(SMALL, models=("JointVAE-5", "FactorVAE-3"), seeds=(0,), alphas=(1.0,))
    joint, factor = disentanglement.run(config)
    assert len(set(joint.results[0].tables["informations"]["latent"])) == 6
    assert "discriminator loss" in factor.results[0].histories
    assert "categorical KL" in joint.results[0].histories
    text = disentanglement.report([joint, factor])
    assert "JointVAE, C = 5" in text and "FactorVAE, γ = 3" in text


def test_colour_images_and_the_papers_networks(own_cache):
    size = {"grid": (2, 1, 1, 2, 2, 3), "n_steps": 2, "batch_size": 4, "alphas": (1.0,)}
    config = replace(SMALL, models=("betaVAE-4",), seeds=(0,), data="3dshapes", settings="paper", **size)
    (record,) = disentanglement.run(config)
    about = record.results[0].tables["trained"]
    assert about["architecture"] == ["convolutional"] and about["learning_rate"] == [1e-4]
    assert "3dshapes-like images, 24 images of 64×64" in about["images"][0]
    assert math.isnan(record.results[0].tables["profile"]["lower"][1])  # a factor of one value
    assert "β-VAE, β = 4" in disentanglement.report([record])


class StopAfter(threading.Event):
    """Says stop from some time on."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def is_set(self):
        self.n -= 1
        return self.n < 0


def test_an_interrupted_study_goes_on_and_ends_the_same(records, tmp_path):
    config = replace(SMALL, seeds=(1,))
    with pytest.raises(StudyInterrupted):
        disentanglement.run(config, out=tmp_path, stop=StopAfter(7))
    (checkpoint,) = tmp_path.glob(".unfinished/*/betaVAE*")
    assert 0 < load_checkpoint(checkpoint).step < 12
    (record,) = disentanglement.run(config, out=tmp_path)
    assert not list(tmp_path.glob(".unfinished"))
    for name, value in records[0].results[1].metrics.items():
        if not name.startswith("CPU"):
            assert record.results[0].metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    assert records[0].results[0].metrics["unibound"] != records[0].results[1].metrics["unibound"]


# Encoders that nobody trained


def test_synthetic_codes_agree_with_quadrature(synthetic):
    (result,) = synthetic.results
    exact = result.tables["exact"]
    assert len(exact["score"]) > 8
    for attack, alpha, metric, score in zip(*exact.values(), strict=True):
        assert score_under(result, metric, alpha, attack) == pytest.approx(score, abs=0.04), (attack, metric)
    assert score_under(result, "unibound", 0.0, "all factors rotated") < 0.05


def test_quadrature_of_the_large_grid():
    rows = exact_rows((3, 6, 10, 8, 8), (0.25, 1.0, 8.0))
    found = {row[:3]: row[3] for row in zip(*rows.values(), strict=True)}
    assert found["clean", 0.0, "unibound"] == pytest.approx(0.645861, abs=1e-6)
    expected = {0.25: 0.628590, 1.0: 0.460977, 8.0: 0.031283}
    for alpha, value in expected.items():
        assert found["redundancy", alpha, "unibound"] == pytest.approx(value, abs=1e-6)
    assert found["synergy", 1.0, "unibound"] == pytest.approx(0.645861 - 0.460977, abs=2e-6)


def test_every_attack_is_met_at_every_strength():
    met = [(name, alpha) for name, alpha, _ in representations((3, 2), (0.0, 0.5, 3.0))]
    assert len(met) == len(set(met)) == 3 + 2 * 5
    assert ("mixing", 0.75) in met and ("masked copy", 3.0) in met
    assert [name for name, _, _ in representations((4,), ())] == ["clean"]


# What is told


def test_the_report_shows_all_parts(records, synthetic):
    text = disentanglement.report([*records, synthetic])
    for words in ("masked copy, 2", "UniBound, exactly", "better half", "β-VAE, β = 2", "Same score", "I_min"):
        assert words in text
    assert max(map(len, text.splitlines())) < 150
    assert "masked copy" in disentanglement.report([synthetic])


def test_the_study_is_listed_and_has_help(capsys):
    assert find_study("disentanglement") is disentanglement.STUDY
    with pytest.raises(SystemExit):
        main(["run", "disentanglement", "--help"])
    assert "--models" in capsys.readouterr().out


# What is kept


def test_codes_are_kept_as_they_were_scored(records):
    found = disentanglement_weights.find_trained("betaVAE-2", SMALL.settings_of("betaVAE-2", 1))
    assert found is not None and found.decoder is None
    assert torch.equal(found.codes.mean, found.codes.mean.half().float()) and found.codes.complete
    assert disentanglement_weights.find_trained("betaVAE-2", SMALL.settings_of("betaVAE-2", 7)) is None
