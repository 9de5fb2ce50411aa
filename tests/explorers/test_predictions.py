"""The first questions of the lessons: asked without their answer, and answered when a choice is made."""

from toolkit.experiments.small_tapes import Design
from toolkit.explorers import predictions
from toolkit.explorers.first_training import train
from toolkit.explorers.tape_designs import recorded_study, recorded_timings


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
