"""A reader's entry is judged by the real rules: counted by hand, ranked, and told what went wrong."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.attacks.noise import NoAttack
from toolkit.adversarial.competition import from_attack, from_model
from toolkit.adversarial.models import classifier
from toolkit.explorers import own_entry, small_tournament
from toolkit.explorers.in_double import InDouble
from toolkit.explorers.own_entry import enter_attack, enter_defence
from toolkit.explorers.small_tournament import BATCH, EPSILONS, pixels, play

N = 8


def find(name):
    """Untrained networks, which need no files."""
    return classifier("strided" if name == "resnet" else "lenet", generator=torch.Generator().manual_seed(len(name)))


@pytest.fixture(scope="module")
def played():
    lenet = InDouble(find("lenet"))
    attacks = (from_attack("no-op", NoAttack(), lenet), from_attack("FGSM", FGSM(), lenet))
    return play(attacks, (from_model("lenet", lenet), from_model("resnet", InDouble(find("resnet")))), N)


@pytest.fixture(autouse=True)
def small(played, monkeypatch):
    monkeypatch.setattr(own_entry, "small_tournament", lambda: copy.deepcopy(played))
    monkeypatch.setattr(own_entry, "find_network", find)


def row_of(table, name):
    return next(row for row in table.rows if row[1] == name)


def test_an_attack_is_counted_by_hand():
    def attack(images, epsilon, model):
        images.requires_grad_()
        logits = model(images)
        F.cross_entropy(logits, logits.argmax(1)).backward()
        return images.detach() + epsilon * images.grad.sign()

    found = enter_attack(attack)
    clean, labels = pixels(N)  # fewer than a batch: the first epsilon alone
    assert N <= BATCH
    images, lenet = clean.double() / 255, InDouble(find("lenet"))
    made = (FGSM()(lenet, images, epsilon=EPSILONS[0] / 255) * 255).round() / 255
    with torch.no_grad():
        wrong = [int((InDouble(find(name))(made).argmax(1) != labels).sum()) for name in ("lenet", "resnet")]
    mine, baseline = row_of(found, "mine"), row_of(found, "FGSM")
    assert float(mine[2]) == pytest.approx(sum(wrong) / (2 * N), abs=6e-4)
    assert float(mine[3]) == pytest.approx(min(wrong) / N, abs=6e-4) and mine[2:] == baseline[2:]
    assert [found.rows[place][1] for place in found.strong] == ["mine"]
    assert found.caption.startswith(f"mine: rank {mine[0]} of 3, score ")


def test_a_defence_is_counted_by_hand(played):
    def defend(images):
        return torch.arange(len(images)) % 10

    found = enter_defence(defend, "guesses")
    _, labels = pixels(N)
    right = int((torch.arange(N) % 10 == labels).sum()) / N
    assert row_of(found, "guesses")[2:4] == (f"{right:.3f}", f"{right:.3f}")
    assert len(found.rows) == 3 and "under" in found.caption
    again = enter_defence(lambda images, model: model(images).argmax(1), network="resnet")
    assert row_of(again, "mine")[2:] == row_of(again, "resnet")[2:], "bound to the network that was asked for"
    module = enter_defence(InDouble(find("resnet")))
    assert row_of(module, "mine")[2:] == row_of(again, "mine")[2:]


def test_entries_do_not_meet_the_next_one(played):
    enter_attack(lambda images, epsilon: images, "first")
    assert len(enter_attack(lambda images, epsilon: images, "second").rows) == 3
    assert [attack.name for attack in played.attacks] == ["no-op", "FGSM"]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda images, epsilon: images[:3], "unreadable, shape [3, 1, 28, 28] instead of 8 images"),
        (lambda images, epsilon: images / 0 * 0, "unreadable, pixels that are not finite"),
        (lambda images, epsilon: None, "unreadable, NoneType instead of images"),
        (lambda images, epsilon: 1 / 0, "error, ZeroDivisionError: division by zero"),
        (lambda images, epsilon: {0: images[0]}, "missing, not in the output"),
        (lambda images, epsilon: exit(), "error, SystemExit"),
    ],
)
def test_a_broken_attack_hears_why(function, said):
    found = enter_attack(function)
    assert said in found.caption and " of 8 images count, so defences are not scored over it" in found.caption
    assert row_of(found, "mine")[0] == "3" and "\n" not in found.caption


def test_a_broken_defence_hears_why():
    found = enter_defence(lambda images, model: model(images))
    assert "0 of 16 labels count" in found.caption and "labels, not logits" in found.caption
    assert row_of(found, "mine")[2] == "0.000"


def test_a_generator_is_given_and_seeded():
    def noise(images, epsilon, *, generator):
        return images + epsilon * torch.randn(images.shape, generator=generator).sign()

    state = torch.get_rng_state()
    first, second = enter_attack(noise), enter_attack(noise)
    assert first.rows == second.rows and torch.equal(state, torch.get_rng_state())


def test_the_model_may_have_any_name_and_a_default_stays():
    seen = []

    def named(images, epsilon, net):
        seen.append(net)
        return images

    def with_default(images, epsilon, steps=3):
        seen.append(steps)
        return images

    enter_attack(named)
    enter_attack(with_default)
    assert isinstance(seen[0], InDouble) and seen[-1] == 3
    assert seen[0](torch.zeros(1, 1, 28, 28)).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: enter_attack(lambda images: images), "function"),
        (lambda: enter_attack(lambda a, b, c, d: a), "function"),
        (lambda: enter_defence(lambda: 1), "function"),
        (lambda: enter_attack(lambda images, epsilon: images, "FGSM"), "name"),
        (lambda: enter_attack(lambda images, epsilon: images, " "), "name"),
        (lambda: enter_defence(lambda images: images, "lenet"), "name"),
        (lambda: enter_attack(lambda images, epsilon: images, network="resnet"), "network"),
        (lambda: enter_defence(lambda images: images, network="denoiser-logits"), "network"),
    ],
)
def test_bad_arguments_are_named(call, argument):
    with pytest.raises(ValueError, match=argument):
        call()


def test_no_function_is_no_entry():
    for call in (enter_attack, enter_defence):
        with pytest.raises(TypeError, match="function"):
            call(3)


def test_in_a_process_of_its_own_it_is_the_same():
    def attack(images, epsilon):
        return images + epsilon

    assert enter_attack(attack, isolate=True).rows == enter_attack(attack).rows


def test_the_toolkits_own_tournament():
    """With the shipped networks, on few images: momentum and FGSM fool more than noise, robust networks err less."""
    competition = play(small_tournament.attacks(), small_tournament.defences(), 12)
    tournament = competition._collect(competition._setting.batches)
    names = tournament.names("non-targeted")
    score = dict(zip(names, tournament.scores("non-targeted").score, strict=True))
    assert names == ("no-op", "noise", "FGSM", "FGSM-plain", "MI") and tournament.n_images == 12
    assert tournament.counted_attacks.all() and tournament.counted_defences.all() and tournament.remarks == ()
    assert score["no-op"] <= score["FGSM"] and np.isfinite(list(score.values())).all()
    assert tournament.correct[:, 0].min() >= 8, "clean images are known"
