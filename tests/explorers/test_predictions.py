"""The first questions of the lessons: asked without their answer, and answered when a choice is made."""

import math
import re

import pytest
import torch

from tests.explorers.made_metadata import made_run
from toolkit.disentanglement import factorised_scores, interval, joint_from_table, pid
from toolkit.estimators import RAM, LeaveOneOut, exact_variance
from toolkit.experiments.adversarial_published import N_IMAGES, published_tables
from toolkit.experiments.metadata_conditioning_comparison import compare
from toolkit.experiments.small_tapes import Design
from toolkit.explorers import predictions
from toolkit.explorers.adversarial_records import TRANSFER, adversarial_run
from toolkit.explorers.coin_objectives import coin_problem
from toolkit.explorers.first_training import train
from toolkit.explorers.hash_runs import ITQ, PLAIN, hash_runs
from toolkit.explorers.sbn_runs import find_run
from toolkit.explorers.tape_designs import recorded_study, recorded_timings
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.inference import infer
from toolkit.grammars.named import toy_family
from toolkit.imsat import mutual_information


def test_start_here_is_right_by_the_training_itself():
    question = predictions.start_here()
    shown = int(question.answer.split()[-1])
    offered = [int(option.split(",")[0].split()[-1]) for option in question.options]
    accuracy = train(1.0, "cpu", n_steps=1).accuracy[1]
    assert min(offered, key=lambda share: abs(share - accuracy)) == shown


def test_what_is_stored_does_not_tell():
    stored = predictions.start_here()._repr_mimebundle_()[0]
    assert "The first step makes" not in stored["text/markdown"] + stored["text/plain"]


def test_training_the_chainer_way_is_right_by_the_recorded_run():
    assert predictions.training_the_chainer_way().answer == "about twice as long"
    for library in ("numpy", "torch"):
        timings = recorded_timings(recorded_study(), Design(library, lookup=True))
        assert 1.7 < timings.chosen / timings.base < 2.6


def test_gradients_through_coin_flips_is_right_by_exact_variances():
    assert predictions.gradients_through_coin_flips().answer == "about four fifths"
    coins = coin_problem(12)
    flips, tosses = (exact_variance(coins, estimator).total(0) for estimator in (RAM(), LeaveOneOut(13)))
    assert RAM().expected_evaluations(coins) == LeaveOneOut(13).expected_evaluations(coins) == 13
    assert 0.78 < float(flips / tosses) < 0.84


def test_sigmoid_belief_networks_is_right_by_the_recorded_runs():
    assert predictions.sigmoid_belief_networks().answer == "by 1 or 2 nats"
    found = {record.variant: record.summary for record in find_run("digits", "64-32-32").records}
    assert 1 < found["RAM"]["test bound"].mean - found["LR"]["test bound"].mean < 2
    ratio = found["LR"]["fixed variance"].mean / found["RAM"]["fixed variance"].mean
    assert 1_000 < ratio < 10_000


def test_clusters_without_labels_is_right_for_any_certain_and_equal_clusters():
    assert predictions.clusters_without_labels().answer == "both the same"
    halves = torch.arange(200) < 100
    stripes = torch.arange(200) // 20 % 2 == 0
    logits = [40 * torch.stack([one, ~one], 1).double() for one in (halves, stripes)]
    assert mutual_information(logits[0]).item() == mutual_information(logits[1]).item()


def test_learning_to_hash_is_right_by_the_lessons_own_codes():
    assert predictions.learning_to_hash().answer == "the rotated directions'"
    found = {name: code.scores.mean_average_precision for name, code in hash_runs().codes.items()}
    assert 0.15 < found[PLAIN] < found[ITQ] - 0.05


def test_attacks_against_defences_is_right_by_the_published_table():
    question, board = predictions.attacks_against_defences(), published_tables()["defence"]
    winner = board[0]
    assert winner.rank == 1 and f"{100 * winner.score:.0f} %" in question.question
    assert question.answer == f"about {100 * winner.worst:.0f} %"
    assert round(winner.raw / winner.score / N_IMAGES) == 145
    best = max(board, key=lambda row: row.worst)
    assert f"{best.rank}th" in question.explanation and f"{100 * best.worst:.0f} %" in question.explanation


def test_adversarial_examples_is_right_by_the_recorded_run():
    question = predictions.adversarial_examples()
    assert question.answer == "one step, on four networks at once"
    record = adversarial_run(TRANSFER)
    if record is None:
        pytest.skip("no run of adversarial-transfer is recorded")
    means = {name: spread.mean for name, spread in record.summary.items()}
    step = means["FGSM 32 single"]
    others = [means["BIM 32 single"], means["MI-FGSM 32 single"]]
    assert means["clean"] < step < means["FGSM 32 fused"] - 0.05
    assert means["FGSM 32 fused"] > max(others) + 0.02


def test_partial_information_is_right_by_the_table_of_both_coins():
    question = predictions.partial_information()
    assert question.answer.startswith("that is not settled")
    gate = joint_from_table({(a, b, a & b): 1 for a in (0, 1) for b in (0, 1)})
    bounds = interval(gate, unit="bits")
    alone = -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75) - 0.5
    assert float(bounds.redundant.lower) == pytest.approx(0.0, abs=1e-12)
    assert float(bounds.redundant.upper) == pytest.approx(alone)
    assert f"tells {alone:.2f} bits" in question.question and f"from 0.00 to {alone:.2f} bits" in question.explanation
    for measure, title in {"i_min": "I_min", "mmi": "MMI", "broja": "BROJA", "ccs": "CCS"}.items():
        said = re.search(rf"{title}[^:]*: ([\d.]+) bits", question.explanation)
        assert float(said[1]) == pytest.approx(float(pid(gate, measure, unit="bits").redundant), abs=0.005)
    assert "CCS: 0.10 bits" in question.explanation, "a third of it, as one of the answers says"


def test_disentanglement_is_right_by_quadrature():
    question = predictions.disentanglement()
    levels = [[index - (n - 1) / 2 for index in range(n)] for n in (3, 4, 4, 4, 4)]
    levels = [[level / math.sqrt(sum(x * x for x in of) / len(of)) for level in of] for of in levels]
    before, after = factorised_scores(levels, 0.3, [0.0, 4.0]).unibound.tolist()
    offered = [float(option.split()[1]) for option in question.options]
    lost = 100 * (1 - after / before)
    nearest = min(offered, key=lambda share: abs(share - lost))
    assert question.answer == f"about {nearest:.0f} %" and abs(nearest - lost) < 3
    said = [float(number) for number in re.findall(r"0\.\d\d", question.explanation)]
    assert said == pytest.approx([before, after], abs=0.015)


def test_disentanglement_says_what_a_new_latent_and_the_runner_up_know():
    question = predictions.disentanglement()
    share, lost = (int(number) for number in re.findall(r"(\d+) %", question.question))
    # MIG's runner-up is a new latent, and the best latent is an old one: what MIG loses is what the new one knows.
    assert 15 < lost <= share < 30


def test_grammars_is_right_by_exact_inference_on_every_sentence():
    question = predictions.grammars()
    assert question.answer == "the bottom level's coin"
    family = toy_family()
    assert f"{float(family.expected_length()):.0f} letters on average" in question.question
    every = enumerate_sentences(family)
    beginnings = {tuple(every.documents[index][:4].tolist()) for index in range(len(every))}
    found = infer(family, [list(beginning) for beginning in sorted(beginnings)])
    # How probable a beginning is: the mean over grammars, which are equally frequent.
    weights = found.prefix_log_prob[:, 4].exp().mean(1)
    assert float(weights.sum()) == pytest.approx(1)
    right = [100 * float((level[:, 4].amax(-1) * weights).sum()) for level in found.level_posterior()]
    assert right[2] == pytest.approx(100) and max(right[:2]) < 65
    said = [float(number) for number in re.findall(r"(\d+) %", question.explanation)]
    assert said == pytest.approx(right, abs=0.51)


@pytest.mark.parametrize(
    ("short", "long", "answer"),
    [
        (1.5, 0.5, "only after long beginnings"),
        (0.5, 1.5, "only after short beginnings"),
        (0.5, 0.5, "after short beginnings and after long ones"),
        (1.5, 1.0, "after neither"),
    ],
)
def test_metadata_conditioning_is_answered_by_the_record(short, long, answer):
    records = made_run(short=short, long=long, jitter=1e-4)
    question = predictions.metadata_conditioning(records)
    assert question.answer == answer
    beside = compare(*(next(r for r in records if r.variant.endswith(name)) for name in ("D_M=3", "/baseline")))
    assert f"({beside.short} nats)".replace("-", "−") in question.explanation
    assert f"({beside.long} nats)".replace("-", "−") in question.explanation
    claim = "So the paper claims, too." if answer.startswith("only after long") else "The paper claims: only after long"
    assert claim in question.explanation


@pytest.mark.parametrize("records", [[], made_run(seeds=(0,), short=2.0, long=2.0)])
def test_metadata_conditioning_without_several_seeds_is_the_papers_claim(records):
    question = predictions.metadata_conditioning(records)
    assert question.answer == "only after long beginnings" and "No run with several seeds" in question.explanation
    assert "paper" not in question._repr_mimebundle_()[0]["text/markdown"]
