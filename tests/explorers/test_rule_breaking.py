"""Every violation meets the real harness, in processes of their own; what counts is compared with the rules."""

import numpy as np
import pytest
import torch

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.competition import Isolation
from toolkit.adversarial.models import classifier
from toolkit.explorers import rule_breaking
from toolkit.explorers.in_double import InDouble
from toolkit.explorers.rule_breaking import BATCH, HONEST, YOURS, break_rules, describe, draw, explore_rule_breaking
from toolkit.explorers.small_tournament import EPSILONS, pixels
from toolkit.explorers.violations import EVERY, KEEPS, SECOND, SECOND_EPSILON, VIOLATIONS, RuleBreaker

COST = {
    KEEPS: 0,
    "goes beyond ε": 0,
    "returns NaN": 4,
    "returns too few images": 8,
    "names only five images": 3,
    "sleeps": 8,
    "sends five, then sleeps": 3,
    "raises an error": 8,
    "ends its process": 8,
    "overwrites its input": 0,
    "draws from the global generator": 0,
}
VERDICT = {
    "returns NaN": ("unreadable", "not finite"),
    "returns too few images": ("unreadable", "instead of 8 images"),
    "names only five images": ("missing", "not in the output"),
    "sleeps": ("time-out", "more than 1 s"),
    "sends five, then sleeps": ("time-out", "more than 1 s"),
    "raises an error": ("error", "no weights found"),
    "ends its process": ("crash", "status 3"),
}


def find(name):
    """Untrained networks, which need no files."""
    seed = ("lenet", "resnet-adv").index(name)
    return classifier(("lenet", "vgg")[seed], generator=torch.Generator().manual_seed(seed)).eval()


@pytest.fixture(scope="module")
def isolation():
    with Isolation() as opened:
        yield opened


def test_all_violations_are_named_here():
    assert list(COST) == list(VIOLATIONS) and EPSILONS[1] == SECOND_EPSILON


@pytest.mark.parametrize("violation", list(VIOLATIONS))
def test_what_counts_and_what_it_costs(violation, isolation):
    found = break_rules(violation, find=find, isolate=isolation, limit=1.0)
    clean, labels = pixels(BATCH * len(EPSILONS))
    missing = int((~found.produced).sum())
    assert missing == COST[violation] and found.counted == (missing == 0)
    assert {batch for batch, row in enumerate(found.produced.reshape(-1, BATCH)) if not row.all()} <= {1}
    if missing:
        (remark,) = found.remarks.values()
        verdict, reason = VERDICT[violation]
        assert remark.batch == 1 and remark.verdict == verdict and reason in remark.reason
        assert f"{missing} of 32 images missing, so it is out of A" in draw(found).to_string()
    else:
        assert found.remarks == {}
    for batch, epsilon in enumerate(EPSILONS):
        part = slice(batch * BATCH, (batch + 1) * BATCH)
        assert int((found.made[part].int() - clean[part].int()).abs().max()) <= epsilon
    # The scores, with the defences asked here.
    wrong = sum(
        int(((InDouble(find(name))(found.made.float() / 255).argmax(1) != labels) & found.produced).sum())
        for name in rule_breaking.DEFENCES
    )
    assert found.score(YOURS) == pytest.approx(wrong / (2 * len(labels)))
    assert found.repeated is (True if violation.startswith("draws") else None)
    assert "In processes of their own" in describe(found) and f"{32 - missing} of 32 images count" in describe(found)


def test_without_a_process_it_is_the_same(isolation):
    here, there = (break_rules("returns NaN", EVERY, find=find, isolate=how) for how in (False, isolation))
    assert torch.equal(here.made, there.made) and torch.equal(here.produced, there.produced)
    assert torch.equal(here.tournament.correct, there.tournament.correct) and here.remarks == there.remarks
    assert int(here.produced.sum()) == 16 and list(here.remarks) == [0, 1, 2, 3]


def test_the_honest_one_is_fgsm_on_what_the_network_says():
    found = break_rules(KEEPS, find=find, isolate=False)
    clean, _ = pixels(32)
    model = InDouble(find("lenet"))
    for batch, epsilon in enumerate(EPSILONS):
        part = slice(batch * BATCH, (batch + 1) * BATCH)
        made = FGSM()(model, clean[part].float() / 255, epsilon=epsilon / 255)
        np.testing.assert_array_equal(found.made[part].numpy(), (made * 255).round().to(torch.uint8).numpy())
    assert found.score(YOURS) == found.score(HONEST) and found.counted


def test_an_attack_beyond_epsilon_gains_nothing():
    honest, beyond = (break_rules(name, EVERY, find=find, isolate=False) for name in (KEEPS, "goes beyond ε"))
    assert torch.equal(honest.made, beyond.made)
    black = break_rules("overwrites its input", EVERY, find=find, isolate=False)
    clean, _ = pixels(32)
    lowest = torch.cat([(clean[8 * i : 8 * i + 8].int() - e).clamp(min=0) for i, e in enumerate(EPSILONS)])
    assert torch.equal(black.made.int(), lowest)


def test_what_would_end_this_process_does_not_run_here():
    for violation in ("sleeps", "sends five, then sleeps", "ends its process"):
        with pytest.raises(ValueError, match="isolate"):
            break_rules(violation, find=find, isolate=False)
    with pytest.raises(ValueError, match="violation"):
        break_rules("bribes the jury", find=find)
    with pytest.raises(ValueError, match="when"):
        break_rules(KEEPS, "never", find=find)


def test_the_flaw_is_in_the_second_batch_alone():
    breaker = RuleBreaker(InDouble(find("lenet")), "returns too few images", SECOND)
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert [len(breaker(images, epsilon / 255)) for epsilon in EPSILONS] == [6, 5, 6, 6]


def test_the_view_runs_what_was_picked():
    view = explore_rule_breaking(find)
    assert view.result.violation == "returns NaN" and not view.result.isolated
    assert "Computed here, without a process" in view.text
    view.controls["violation"].value, view.controls["when"].value = "ends its process", EVERY
    view.run()
    assert view.join(120)
    assert view.error is None, view.text
    assert view.result.isolated and not view.result.produced.any() and view.result.score(YOURS) == 0
    assert "0 of 32 images count" in view.text and view.progress.value == 1.0
    view.controls["violation"].value = KEEPS
    assert view.controls["when"].disabled
    view.reset()
    assert view.result is view.initial


def test_until_the_games_are_over_it_says_so():
    waiting = next(rule_breaking._play("sleeps", SECOND, find, True, 1.0))
    assert waiting.tournament is None and waiting.remarks == {}
    assert "not over" in draw(waiting).to_string() and "has a process of its own" in describe(waiting)
