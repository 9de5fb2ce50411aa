"""The studies of attacks and defences: who takes part, what is measured, recorded and told."""

import json
import math
import threading
from dataclasses import replace

import pytest
import torch

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.competition import TRACKS
from toolkit.adversarial.evaluation import accuracy
from toolkit.experiments import (
    adversarial_adaptive,
    adversarial_models,
    adversarial_recipe,
    adversarial_tournament,
    adversarial_transfer,
)
from toolkit.experiments.adversarial_adaptive import AdaptiveAttacksConfig
from toolkit.experiments.adversarial_cast import cast
from toolkit.experiments.adversarial_data import held_out_images
from toolkit.experiments.adversarial_entries import PUBLIC, attacks, defences, knowledge, resize_pad, targeted_attacks
from toolkit.experiments.adversarial_models import AdversarialModelsConfig
from toolkit.experiments.adversarial_tournament import CompetitionConfig, tournament
from toolkit.experiments.adversarial_transfer import AdversarialTransferConfig, Paired, matrix, momentum_pairs
from toolkit.experiments.cli import main
from toolkit.experiments.records import SeedResult, load_record, load_records, save_record
from toolkit.experiments.registry import find_study
from toolkit.experiments.study import StudyInterrupted

SMALL = {"data": "digits", "cast": "quick", "seeds": (2,), "device": "cpu"}
MODELS = AdversarialModelsConfig(
    **SMALL, n_images=40, n_attacked=6, epsilons=(16, 32), honest_epsilons=(32,), n_steps=2
)
TRANSFER = AdversarialTransferConfig(**{**SMALL, "seeds": (2, 3)}, n_images=40, epsilons=(32,), n_steps=3)
COMPETITION = CompetitionConfig(**SMALL, n_images=30, batch_size=10, n_steps=2, n_draws=2, epsilons=(16, 48))
ADAPTIVE = AdaptiveAttacksConfig(**SMALL, n_images=20, n_steps=3, n_draws=2, epsilons=(32,))


@pytest.fixture(scope="module", autouse=True)
def small_world(tmp_path_factory):
    """A cache of its own, and networks that are trained in moments."""
    tiny = replace(
        adversarial_recipe.Recipe.at("digits", "quick"), n_training=320, epochs=2, robust_epochs=1, masked_epochs=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLKIT_DATA_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(adversarial_recipe._RECIPES, ("digits", "quick"), tiny)
        yield


@pytest.fixture(scope="module")
def networks(small_world):
    return cast("digits", "quick", 2, device="cpu")


@pytest.fixture(scope="module")
def competition(small_world):
    (record,) = adversarial_tournament.run(COMPETITION)
    return record


@pytest.fixture(scope="module")
def transfer(small_world):
    (record,) = adversarial_transfer.run(TRANSFER)
    return record


# Who takes part


def test_enough_take_part(networks):
    assert len(attacks(networks)) >= 10 and len(targeted_attacks(networks)) >= 3 and len(defences(networks)) >= 8
    names = [entry.name for entry in (*attacks(networks), *targeted_attacks(networks), *defences(networks))]
    assert len(set(names)) == len(names)


def test_attacks_look_at_public_networks_only(networks):
    assert set(PUBLIC) == set(networks.public)
    for entry in (*attacks(networks), *targeted_attacks(networks)):
        assert set(entry.networks) <= set(networks.public)
    for entry in defences(networks):
        assert entry.networks and set(entry.networks) <= set(networks.classifiers)


def test_what_an_attack_knows():
    assert knowledge(("lenet",), ("lenet", "vgg"), False) == "white-box"
    assert knowledge(("lenet",), ("lenet",), True) == "behind a transformation"
    assert knowledge(("lenet",), ("resnet",), True) == "black-box"
    assert knowledge((), ("lenet",), False) == "black-box"


def test_unknown_names_are_told(networks):
    for find, name in ((attacks, "TsAIL"), (targeted_attacks, "FatFingers"), (defences, "erko")):
        assert [entry.name for entry in find(networks, names=[name])] == [name]
        with pytest.raises(ValueError, match="nobody"):
            find(networks, names=[name, "nobody"])


def test_resizing_never_enlarges(networks):
    transform = resize_pad(networks)
    assert transform.low < transform.high == transform.size == 8
    assert transform(torch.rand(3, 1, 8, 8)).shape == (3, 1, 8, 8)


# The competition


def test_everybody_meets_everybody(competition, networks):
    (result,) = competition.results
    found = tournament(result)
    assert set(found.attacks) == {*COMPETITION.attacks, *COMPETITION.targeted}
    assert set(found.defences) == set(COMPETITION.defences)
    assert found.epsilons == (16, 48, 16) and found.sizes == (10, 10, 10)
    assert not found.remarks and bool(found.counted_attacks.all()) and bool(found.counted_defences.all())
    assert torch.equal(found.correct + found.error, torch.full_like(found.correct, 30))
    part = held_out_images("digits", n=30)
    clean = found.correct[found.defences.index("resnet"), found.attacks.index("no-op")]
    assert int(clean) == round(30 * accuracy(networks["resnet"], part.pixels, part.labels))


def test_recorded_scores_are_those_of_the_tournament(competition):
    (result,) = competition.results
    found = tournament(result)
    for track in TRACKS:
        for row in found.leaderboard(track):
            assert result.metrics[f"{row.name} score"] == row.score
            assert result.metrics[f"{row.name} worst"] == row.worst


def test_a_record_can_be_ranked_anew(competition, tmp_path):
    again = load_record(save_record(competition, tmp_path))
    found, before = tournament(again.results[0]), tournament(competition.results[0])
    assert torch.equal(found.correct_by_batch, before.correct_by_batch)
    assert found.leaderboard("defence") == before.leaderboard("defence")
    fewer = found.without("TsAIL")
    assert "TsAIL" not in fewer.attacks and len(fewer.leaderboard("non-targeted")) == len(found.attacks) - 3
    json.dumps(found.to_dict())


def test_the_fgsm_of_the_competition_is_fgsm(competition, networks):
    part = held_out_images("digits", n=10)
    changed = FGSM()(networks["lenet"], part.pixels, epsilon=16 / 255)
    eight_bits = (changed * 255).round() / 255
    right = round(10 * accuracy(networks["lenet"], eight_bits, part.labels))
    found = tournament(competition.results[0])
    assert found.correct_by_batch[found.defences.index("lenet"), found.attacks.index("FGSM"), 0] == right


def test_a_record_of_something_else_is_no_tournament():
    with pytest.raises(ValueError, match="competition"):
        tournament(SeedResult(0, {}))


def test_what_is_known_of_each_defence_is_recorded(competition):
    table = competition.results[0].tables["knowledge"]
    found = dict(zip(zip(table["attack"], table["defence"], strict=True), table["knowledge"], strict=True))
    assert found["FGSM", "lenet"] == "white-box"
    assert found["TsAIL", "LGD"] == found["noise", "lenet"] == "black-box"
    assert found["TsAIL", "erko"] == "behind a transformation"


def test_leaderboards_are_reported(competition):
    text = adversarial_tournament.report([competition])
    for words in ("Non-targeted attacks", "Targeted attacks", "Defences", "worst opponent", "TsAIL", "30 images"):
        assert words in text


def test_leaderboards_over_casts_are_reported(competition):
    (result,) = competition.results
    text = adversarial_tournament.report([replace(competition, results=(result, replace(result, seed=3)))])
    assert "2 casts" in text and "±" in text


@pytest.mark.parametrize("wrong", [{"epsilons": ()}, {"epsilons": (8, 8)}, {"epsilons": (256,)}, {"time_limit": 1.0}])
def test_bad_settings_of_a_competition_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        CompetitionConfig(**wrong)


# Transfer


def test_errors_are_counted_for_every_pair(transfer, networks):
    counts = matrix(transfer.results[0].tables["errors"])
    names = list(networks.classifiers)
    part = held_out_images("digits", n=40)
    for target in names:
        assert {source for a, e, source, t in counts if t == target and a == "FGSM"} >= {*networks.plain, "resnet-adv"}
        changed = FGSM()(networks["vgg"], part.pixels, part.labels, epsilon=32 / 255)
        wrong = 40 - round(40 * accuracy(networks[target], changed, part.labels))
        assert counts["FGSM", 32, "vgg", target] == wrong
    assert {target for a, e, source, target in counts if source == "fused resnet"} == {"resnet"}
    assert ("noise", 32, "", "lenet") in counts and ("noise", 32, "vgg", "lenet") not in counts


def test_mean_rates_leave_the_diagonal_out(transfer, networks):
    result = transfer.results[0]
    counts = matrix(result.tables["errors"])
    pairs = [(s, t) for s in networks.plain for t in networks.plain]
    single = [counts["BIM", 32, s, t] for s, t in pairs if s != t]
    own = [counts["BIM", 32, s, t] for s, t in pairs if s == t]
    assert len(single) == 20 and len(own) == 5
    assert result.metrics["BIM 32 single"] == pytest.approx(sum(single) / 20 / 40)
    assert result.metrics["BIM 32 white-box"] == pytest.approx(sum(own) / 5 / 40)


def test_momentum_is_judged_by_pairs():
    rows = {"attack": [], "epsilon": [], "source": [], "target": [], "errors": []}
    errors = {
        ("BIM", "a", "b"): 3,
        ("MI-FGSM", "a", "b"): 4,
        ("BIM", "b", "a"): 3,
        ("MI-FGSM", "b", "a"): 3,
        ("BIM", "a", "a"): 9,
        ("MI-FGSM", "a", "a"): 5,
        ("BIM", "fused a", "a"): 7,
        ("MI-FGSM", "fused a", "a"): 6,
        ("BIM", "fused b", "b"): 7,
        ("MI-FGSM", "fused b", "b"): 8,
        ("BIM", "robust", "a"): 1,
        ("MI-FGSM", "robust", "a"): 9,
    }
    for (attack, source, target), count in errors.items():
        for column, value in zip(rows.values(), (attack, 16, source, target, count), strict=True):
            column.append(value)
    assert momentum_pairs(rows, 16) == Paired(1, 1, 0)
    assert momentum_pairs(rows, 16, "fused") == Paired(1, 0, 1)
    assert momentum_pairs(rows, 32) == Paired(0, 0, 0)
    with pytest.raises(ValueError, match="group"):
        momentum_pairs(rows, 16, "all")


def test_pairs_are_reported(transfer):
    text = adversarial_transfer.report([transfer])
    total = [momentum_pairs(result.tables["errors"], 32) for result in transfer.results]
    assert f"{sum(p.better for p in total)} better" in text and "2 casts" in text


# Models


def test_every_network_is_judged(networks):
    (record,) = adversarial_models.run(MODELS)
    (result,) = record.results
    part = held_out_images("digits", n=40)
    for name, model in (networks.classifiers | networks.denoised).items():
        assert result.metrics[f"{name} clean"] == accuracy(model, part.pixels, part.labels)
        honest = result.metrics[f"{name} AutoAttack 32"]
        assert honest <= result.metrics[f"{name} PGD 32"] + 1e-9
        assert f"{name} FGSM 16" in result.metrics
    table = result.tables["networks"]
    assert table["name"] == list(networks.networks) and min(table["parameters"]) > 0
    assert result.metrics["CPU seconds of training"] == pytest.approx(sum(table["CPU seconds"]))
    text = adversarial_models.report([record])
    assert "AutoAttack 32" in text and "attack network" in text and "ResNet (hidden)" in text


# Adaptive attacks


def test_defences_meet_those_who_know_them(networks):
    (record,) = adversarial_adaptive.run(ADAPTIVE)
    (result,) = record.results
    part = held_out_images("digits", n=20)
    assert result.metrics["resnet clean"] == accuracy(networks["resnet"], part.pixels, part.labels)
    assert {"LGD", "pixel-denoiser", "resize", "erko", "JPEG", "bits", "lenet-masked"} <= {
        *result.tables["defences"]["name"]
    }
    table = result.tables["robust"]
    assert len(table["right"]) == 4 * len(result.tables["defences"]["name"])
    # What stands before the network does not change what an attacker makes who does not know of it.
    cases = {case.name: case for case in adversarial_adaptive.cases(networks, 2)}
    assert cases["LGD"].backbone is cases["median"].backbone is networks["resnet"]
    assert cases["resnet"].backbone is None
    assert "adaptive" in adversarial_adaptive.report([record])


def test_surrogates_answer_as_the_defence_does(networks):
    images = held_out_images("digits", n=12).pixels
    for case in adversarial_adaptive.cases(networks, 2):
        if case.name in ("JPEG", "bits", "median", "erko"):
            assert torch.allclose(case.through(images), case.model(images), atol=1e-5)
            at = images.clone().requires_grad_()
            case.through(at).square().sum().backward()
            assert bool(at.grad.isfinite().all()) and float(at.grad.abs().max()) > 0


# All


@pytest.mark.parametrize("name", ["adversarial-models", "adversarial-transfer", "competition", "adaptive-attacks"])
def test_the_registry_knows_the_studies(name):
    study = find_study(name)
    assert study.name == name
    for scale in ("quick", "laptop", "paper"):
        config = study.config(scale=scale)
        assert study.variants(config) == ("",)
        json.dumps(config.to_dict())
        assert config.part == "final" and (scale == "quick" or len(config.seeds) >= 3)


def test_what_ships_is_what_the_laptop_trains():
    assert CompetitionConfig().cast_scale == CompetitionConfig(scale="laptop").cast_scale == "laptop"
    assert CompetitionConfig().to_dict()["cast"] == "laptop"
    assert CompetitionConfig(data="digits").cast_scale == AdversarialModelsConfig().cast_scale == "quick"
    assert CompetitionConfig(scale="paper").cast_scale == "paper"
    assert CompetitionConfig(scale="paper", cast="laptop").identity()["cast"] == "laptop"
    assert CompetitionConfig().images == "subset" and CompetitionConfig(scale="laptop").n_images == 1000


def test_a_seed_gives_the_same_again(transfer):
    (again,) = adversarial_transfer.run(replace(TRANSFER, seeds=(3,)))
    assert again.results[0].tables["errors"] == transfer.results[1].tables["errors"]
    assert not math.isnan(again.results[0].metrics["MI-FGSM 32 fused"])


def test_a_stopped_study_says_so():
    stop = threading.Event()
    stop.set()
    for module, config in ((adversarial_models, MODELS), (adversarial_tournament, COMPETITION)):
        with pytest.raises(StudyInterrupted):
            module.run(config, stop=stop)


def test_on_the_command_line(tmp_path, capsys):
    few = ["--data", "digits", "--cast", "quick", "--seeds", "2", "--device", "cpu", "--out", str(tmp_path)]
    asked = ["--n-images", "20", "--attacks", "no-op", "FGSM", "--targeted", "step", "--defences", "LGD", "lenet"]
    assert main(["run", "competition", *few, *asked, "--n-steps", "2", "--batch-size", "10"]) == 0
    told = capsys.readouterr().out
    assert "logit-guided denoiser" in told and "FGSM on LeNet" in told
    assert len(load_records(tmp_path, "competition")) == 1
