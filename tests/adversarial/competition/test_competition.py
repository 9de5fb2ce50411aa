"""What submissions are given, what becomes of what they return, and that nobody disturbs anybody."""

import os
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tests.adversarial.competition import entries
from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.competition import Competition, Submission, Tournament, from_attack, from_model
from toolkit.adversarial.competition.submissions import undisturbed

IMAGES = (torch.arange(10 * 4) * 6).to(torch.uint8).view(10, 1, 2, 2)
LABELS = torch.arange(10) % 3
TARGETS = (LABELS + 1) % 3


def compete(attacks=(), targeted=(), defences=(), **options) -> tuple[Competition, Tournament]:
    competition = Competition(attacks, targeted, defences, **{"batch_size": 4, "isolate": False, **options})
    return competition, competition.run(IMAGES, LABELS, TARGETS)


def verdicts(found: Tournament) -> list[tuple[str, int]]:
    return [(remark.verdict, remark.n_images) for remark in found.remarks]


def test_submissions_see_what_the_rules_allow() -> None:
    seen: dict[str, list] = {"attack": [], "aim": [], "defence": []}

    def attack(images, epsilon):
        seen["attack"].append((images.clone(), epsilon))
        return images + epsilon

    def aim(images, epsilon, targets):
        seen["aim"].append((epsilon, targets.tolist()))
        return images

    def defence(images):
        seen["defence"].append(images.clone())
        return [0] * len(images)

    competition, _ = compete([attack], [aim], [defence], epsilons=(8, 16))
    assert [epsilon for _, epsilon in seen["attack"]] == [8 / 255, 16 / 255, 8 / 255]
    assert torch.equal(torch.cat([images for images, _ in seen["attack"]]), IMAGES.float() / 255)
    assert seen["attack"][0][0].dtype == torch.float32
    assert seen["aim"] == [(8 / 255, [1, 2, 0, 1]), (16 / 255, [2, 0, 1, 2]), (8 / 255, [0, 1])]
    assert len(seen["defence"]) == 2 * 3
    shown = torch.cat(seen["defence"][:3])
    assert torch.equal(shown, competition.crafted("attack").images.float() / 255)


def test_each_attack_crafts_once_for_all_defences_and_newcomers() -> None:
    n_calls = []

    def attack(images, epsilon):
        n_calls.append(len(images))
        return images

    competition, _ = compete([attack], (), {"a": entries.always_zero, "b": entries.always_zero})
    competition.enter_defence("c", entries.always_zero)
    competition.enter_attack("other", entries.copy)
    assert n_calls == [4, 4, 2]


@pytest.mark.parametrize("function", [entries.far, entries.draw, entries.global_draw, entries.larger])
def test_every_image_stays_in_its_ball(function: Callable) -> None:
    competition, found = compete({"x": function}, epsilons=(3, 40))
    crafted = competition.crafted("x")
    for start, epsilon in ((0, 3), (4, 40), (8, 3)):
        part = slice(start, start + 4)
        change = (crafted.images[part].int() - IMAGES[part].int()).abs()
        assert int(change.max()) <= epsilon
    assert crafted.produced.all()
    expected = [("resized", n) for n in (4, 4, 2)] if function is entries.larger else []
    assert verdicts(found) == expected


def test_a_far_image_ends_on_the_sphere() -> None:
    competition, _ = compete([entries.far], epsilons=(8,))
    assert torch.equal(competition.crafted("far").images.int(), (IMAGES.int() + 8).clamp(max=255))


@pytest.mark.parametrize(
    "function", [entries.copy, entries.as_bytes, entries.as_numpy, entries.one_by_one, entries.loud]
)
def test_outputs_of_all_kinds_are_images(function: Callable) -> None:
    competition, found = compete({"x": function})
    assert torch.equal(competition.crafted("x").images, IMAGES)
    assert found.counted_attacks.tolist() == [True]
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (entries.as_dictionary, [("missing", 1)] * 3),
        (entries.nan_first, [("unreadable", 1)] * 3),
        (entries.infinite, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.nothing, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.words, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.too_few, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.too_many, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.too_many_channels, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.complex_pixels, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.raises, [("error", 4), ("error", 4), ("error", 2)]),
        (entries.leaves, [("error", 4), ("error", 4), ("error", 2)]),
        (entries.recursion, [("error", 4), ("error", 4), ("error", 2)]),
        (entries.fails_after_two, [("error", 4), ("error", 4)]),  # of the last two images nobody asks for a third
    ],
)
def test_what_is_no_image_is_missing(function: Callable, expected: list) -> None:
    competition, found = compete({"x": function, "good": entries.copy}, (), [entries.always_zero])
    assert verdicts(found) == expected
    assert all(remark.submission == "x" and remark.reason for remark in found.remarks)
    assert found.produced.tolist() == [10 - sum(n for _, n in expected), 10]
    assert found.counted_attacks.tolist() == [False, True]
    assert found.counted_defences.tolist() == [True]
    missing = ~competition.crafted("x").produced
    assert torch.equal(competition.crafted("x").images[missing], IMAGES[missing])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (entries.as_label_dictionary, [("unreadable", 1), ("missing", 1)] * 2 + [("unreadable", 1), ("missing", 1)]),
        (entries.logits, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.float_labels, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.bool_labels, [("unreadable", 4), ("unreadable", 4), ("unreadable", 2)]),
        (entries.broken, [("error", 4), ("error", 4), ("error", 2)]),
        (entries.impossible_class, []),
    ],
)
def test_what_is_no_label_is_missing_and_what_is_no_class_is_wrong(function: Callable, expected: list) -> None:
    _, found = compete([entries.copy], (), {"x": function, "good": entries.always_zero})
    assert verdicts(found) == expected
    labelled = 10 - sum(n for _, n in expected)
    assert found.labelled.tolist() == [[labelled], [10]]
    assert found.counted_defences.tolist() == [labelled == 10, True]
    assert found.counted_attacks.tolist() == [True]
    if function is entries.impossible_class:
        assert (found.error.tolist()[0], found.correct.tolist()[0]) == ([10], [0])
        assert found.hit.tolist()[0] == [0]
    elif function is entries.as_label_dictionary:
        # Of each batch numbers 2 ("10") and 3 (1e30) have labels that are no class; the keys 0 and 1 have none.
        assert found.error.tolist()[0] == [labelled]
    else:
        assert found.error.tolist()[0] == [10 - sum(n for _, n in expected)]


def test_a_time_out_keeps_images_but_no_labels() -> None:
    attacks = {"slow": entries.sleeps_after_two, "good": entries.copy}
    _, found = compete(attacks, (), {"slow": entries.lazy_after_two}, isolate=True, time_limit=2)
    assert found.produced.tolist() == [6, 10]
    # Two labels are whole answers to what the slow attack made, and to the last batch.
    assert found.labelled.tolist() == [[6, 2]]
    assert {remark.verdict for remark in found.remarks} == {"time-out"}
    assert found.counted_defences.tolist() == [False]
    assert found.scores("non-targeted").score == (0.0, 0.0)


def test_mutating_and_seeding_disturb_nobody() -> None:
    def rude(images, epsilon):
        images.zero_()
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        os.chdir("/")
        return images

    def rude_defence(images):
        images.zero_()
        torch.manual_seed(1)
        return [0] * len(images)

    images, folder = IMAGES.clone(), os.getcwd()
    for seed in (np.random.seed, torch.manual_seed):
        seed(3)
    expected = (float(np.random.rand()), float(torch.rand(())))
    for seed in (np.random.seed, torch.manual_seed):
        seed(3)
    good = {"global": entries.global_draw, "own": entries.draw}
    judge = {"global": entries.global_random_label, "own": entries.random_label}
    competition, found = compete({"rude": rude, **good}, (), {"rude": rude_defence, **judge})
    assert (float(np.random.rand()), float(torch.rand(()))) == expected
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert os.getcwd() == folder
    assert torch.equal(IMAGES, images)
    alone, without = compete(good, (), judge)
    for name in good:
        assert torch.equal(competition.crafted(name).images, alone.crafted(name).images)
    assert torch.equal(found.without("rude").correct, without.correct)


def test_what_is_global_is_put_back_even_after_an_error() -> None:
    """Python's generator is looked at here, because the run-time checks of the tests draw from it elsewhere."""
    before = (random.getstate(), torch.get_num_threads())
    with pytest.raises(ValueError, match="x"), undisturbed(5):
        drawn = random.random()
        torch.set_num_threads(2)
        raise ValueError("x")
    assert (random.getstate(), torch.get_num_threads()) == before
    with undisturbed(5):
        assert random.random() == drawn


def test_the_order_of_submissions_is_no_matter() -> None:
    attacks = {"a": entries.draw, "b": entries.global_draw, "c": entries.nan_first, "d": entries.copy}
    defences = {"x": entries.random_label, "y": entries.global_random_label, "z": entries.always_zero}
    _, found = compete(attacks, {"t": entries.shift_target}, defences)
    backwards = [dict(reversed(entered.items())) for entered in (attacks, defences)]
    _, other = compete(backwards[0], {"t": entries.shift_target}, backwards[1])
    rows = [other.defences.index(name) for name in found.defences]
    columns = [other.attacks.index(name) for name in found.attacks]
    for name in ("correct", "error", "hit", "labelled"):
        assert torch.equal(getattr(found, name), getattr(other, name)[rows][:, columns])
    for track in ("non-targeted", "targeted", "defence"):
        ours, theirs = ([(r.rank, r.name, r.worst_opponent) for r in one.leaderboard(track)] for one in (found, other))
        assert ours == theirs


def test_the_seed_and_the_name_decide_what_is_drawn() -> None:
    competition, _ = compete({"a": entries.draw, "b": entries.draw})
    again, _ = compete({"a": entries.draw})
    other, _ = compete({"a": entries.draw}, seed=1)
    drawn = competition.crafted("a").images
    assert torch.equal(drawn, again.crafted("a").images)
    assert not torch.equal(drawn, competition.crafted("b").images)
    assert not torch.equal(drawn, other.crafted("a").images)


def test_a_newcomer_changes_no_other_counts() -> None:
    attacks, defences = {"a": entries.draw, "b": entries.copy}, {"x": entries.random_label, "y": entries.always_zero}
    competition, first = compete({"b": entries.copy}, (), {"y": entries.always_zero}, clock=lambda: 0.0)
    competition.enter_attack("a", entries.draw)
    competition.enter_attack("t", entries.shift_target, targeted=True)
    found = competition.enter_defence("x", entries.random_label)
    _, whole = compete({"b": entries.copy, "a": entries.draw}, {"t": entries.shift_target},
                       {"y": entries.always_zero, "x": entries.random_label}, clock=lambda: 0.0)  # fmt: skip
    assert found.to_dict() == whole.to_dict()
    assert torch.equal(first.correct[0, 0], found.correct[0, 0])
    assert set(attacks) | {"t"} == set(found.attacks)
    assert set(defences) == set(found.defences)


def test_a_second_try_takes_the_place_of_the_first() -> None:
    competition, _ = compete({"mine": entries.copy}, (), {"theirs": entries.dark_or_bright, "other": entries.broken})
    found = competition.enter_attack("mine", entries.far)
    assert found.attacks == ("mine",)
    assert not torch.equal(competition.crafted("mine").images, IMAGES)
    found = competition.enter_defence("other", entries.always_zero)
    assert found.defences == ("theirs", "other")
    assert found.remarks == ()
    aiming = competition.enter_attack("mine", entries.shift_target, targeted=True)
    assert aiming.targeted == (True,)


def test_newcomers_need_a_competition_that_has_been_run() -> None:
    competition = Competition(isolate=False)
    for enter in (competition.enter_attack, competition.enter_defence):
        with pytest.raises(ValueError, match="has been run"):
            enter("x", entries.copy)
    with pytest.raises(ValueError, match="none yet"):
        competition.crafted("x")
    competition.run(IMAGES, LABELS)
    with pytest.raises(ValueError, match="without targets"):
        competition.enter_attack("x", entries.shift_target, targeted=True)


def test_a_time_limit_that_cannot_be_enforced_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="not enforced"):
        Competition(time_limit=1, isolate=False)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.9)

    def forward(self, images):
        return self.drop(self.layer(images.flatten(1)))


def test_adapters_enter_attacks_and_models() -> None:
    model = Linear().train()
    attacks = [from_attack("fgsm", FGSM(), model)]
    targeted = [from_attack("aim", FGSM(), model, targeted=True)]
    competition, found = compete(attacks, targeted, {"plain": Linear(), "net": from_model("ignored", model)})
    assert not model.training
    assert found.defences == ("plain", "net")
    images = competition.crafted("fgsm").images
    with torch.no_grad():
        right = model(images.float() / 255).argmax(1) == LABELS
        clean = model(IMAGES.float() / 255)
        hit = model(competition.crafted("aim").images.float() / 255).argmax(1) == TARGETS
    assert int(found.correct[1, 0]) == int(right.sum())
    assert int(found.hit[1, 1]) == int(hit.sum())
    batch = IMAGES[:4].float() / 255
    expected = FGSM()(model, batch, clean[:4].argmax(1), epsilon=8 / 255)
    assert int((images[:4].float() - expected * 255).abs().max()) == 0 or torch.allclose(
        images[:4].float(), expected * 255, atol=0.5 + 1e-3
    )


def test_a_random_model_draws_from_the_generator_it_is_given() -> None:
    class Dice(nn.Module):
        def forward(self, images, generator=None):
            return torch.rand(len(images), 10, generator=generator)

    counts = []
    for _ in range(2):
        torch.rand(3)
        _, found = compete([entries.copy], (), {"dice": Dice()})
        counts.append(found.correct_by_batch.tolist())
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (({"a": entries.copy}, {"a": entries.shift_target}), {}, "other names"),
        (([entries.copy, entries.copy],), {}, "names that differ"),
        (([3],), {}, "functions"),
        (({" ": entries.copy},), {}, "a name for each"),
        (({"": entries.copy},), {}, "a name for each"),
        (((), (), {"": Submission("x", entries.always_zero, "defence")}), {}, "a name for each"),
        (([Submission("x", entries.always_zero, "defence")],), {}, "a submission to this track"),
        ((), {"time_limit": 0, "isolate": True}, "time_limit"),
        ((), {"epsilons": ()}, "epsilons"),
        ((), {"epsilons": (0.1,)}, "epsilons"),
        ((), {"n_jobs": 2}, "n_jobs"),
        ((), {"n_jobs": 0, "isolate": True}, "n_jobs"),
        ((), {"batch_size": 0}, "batch_size"),
        ((), {"batch_size": 2.5}, "batch_size"),
        ((), {"epsilons": 16}, "epsilons"),
        ((), {"assignment": "other"}, "assignment"),
    ],
)
def test_impossible_competitions_are_refused(arguments: tuple, options: dict, error: str) -> None:
    with pytest.raises(Exception, match=error):
        Competition(*arguments, **{"isolate": False, **options})


def test_models_without_a_name_are_named_after_their_kind() -> None:
    class Constant(torch.nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 2)

    (defence,) = Competition([], [], [Constant()], isolate=False).defences
    assert defence.name == "Constant"


@pytest.mark.parametrize(
    ("images", "labels", "targets", "error"),
    [
        (IMAGES.float() / 255, LABELS, TARGETS, "uint8|UInt8"),
        (IMAGES[:, 0], LABELS, TARGETS, r"channels"),
        (IMAGES, LABELS[:5], TARGETS, "labels"),
        (IMAGES, LABELS.float(), TARGETS, "labels"),
        (IMAGES, LABELS - 1, TARGETS, "labels"),
        (IMAGES, LABELS, TARGETS[:5], "targets"),
        (IMAGES, LABELS, LABELS, "targets"),
        (IMAGES, LABELS, None, "targeted"),
    ],
)
def test_data_that_do_not_fit_are_refused(images, labels, targets, error: str) -> None:
    competition = Competition((), {"aim": entries.shift_target}, isolate=False)
    with pytest.raises(Exception, match=error):
        competition.run(images, labels, targets)


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_unless_somebody_else_shows_one(progress, monkeypatch, capsys) -> None:
    monkeypatch.delenv("TOOLKIT_QUIET", raising=False)
    compete({"a": lambda images, epsilon: images}, (), {"d": lambda images: [0] * len(images)}, progress=progress)
    assert ("competition" in capsys.readouterr().err) == progress
