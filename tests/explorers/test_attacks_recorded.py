"""The views and the table read what the studies write: both are run here, on networks that were never trained."""

import itertools

import pytest
import torch

from toolkit.adversarial.models import classifier
from toolkit.experiments import adversarial_models, adversarial_transfer
from toolkit.experiments.adversarial_cast import Cast
from toolkit.experiments.adversarial_models import AdversarialModelsConfig
from toolkit.experiments.adversarial_recipe import CLASSIFIERS, Recipe, find_member
from toolkit.experiments.adversarial_transfer import AdversarialTransferConfig
from toolkit.experiments.adversarial_weights import Origin
from toolkit.explorers import explore_robust_accuracy, explore_transfer_matrix
from toolkit.explorers.adversarial_tables import transfer_table

SMALL = {"data": "digits", "cast": "quick", "seeds": (0,), "device": "cpu"}


@pytest.fixture(scope="module")
def records():
    generator = torch.Generator().manual_seed(0)
    networks = {
        name: classifier(find_member(name).family, (1, 8, 8), width=0.25, generator=generator).eval()
        for name in CLASSIFIERS
    }
    origins = {name: Origin("trained", 0.0) for name in networks}
    made = Cast(networks, origins, Recipe.at("digits", "quick"), 0)
    models = AdversarialModelsConfig(**SMALL, n_images=10, n_attacked=3, epsilons=(16, 32), honest_epsilons=(16,))
    transfer = AdversarialTransferConfig(**SMALL, n_images=10, epsilons=(16, 32), n_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        for study in (adversarial_models, adversarial_transfer):
            patch.setattr(study, "cast", lambda *given, **named: made)
        return [*adversarial_models.run(models), *adversarial_transfer.run(transfer)]


def test_accuracies(records):
    view = explore_robust_accuracy(records)
    metrics = records[0].results[0].metrics
    for name in CLASSIFIERS:
        view.controls["left"].value = name
        assert view.error is None
        curves = view.result.fates[0].curves
        assert list(curves) == ["noise", "FGSM", "PGD", "AutoAttack"]
        assert curves["PGD"].mean == tuple(metrics[f"{name} {what}"] for what in ("clean", "PGD 16", "PGD 32"))
        assert curves["AutoAttack"].at(16) == metrics[f"{name} AutoAttack 16"] and curves["AutoAttack"].at(32) is None


def test_transfer(records):
    view, metrics = explore_transfer_matrix(records), records[1].results[0].metrics
    groups = (("on itself", "white-box"), ("from one plain network to another", "single"))
    groups = (*groups, ("from all other plain ones, fused", "fused"))
    for attack, epsilon in itertools.product(("FGSM", "BIM", "MI-FGSM"), (16, 32)):
        view.controls["attack"].value, view.controls["epsilon"].value = attack, epsilon
        assert view.error is None
        for words, group in groups:
            assert view.result.means[words] == pytest.approx(100 * metrics[f"{attack} {epsilon} {group}"])
        assert view.result.paired[0].better == metrics[f"momentum better {epsilon} single"]
        assert view.result.paired[1].worse == metrics[f"momentum worse {epsilon} fused"]


def test_table(records):
    rows = {row[0]: row for row in transfer_table(16, records).rows}
    error = records[1].results[0].metrics["MI-FGSM 16 single"]
    assert rows["plain → another plain"][3].split()[0] == f"{100 * (1 - error):.0f}"
    assert rows["plain → another plain"][4] == "20"
