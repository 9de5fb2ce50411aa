"""The curve passes through what the paper states, whatever is assumed between, and says which is which."""

import itertools

import pytest

from toolkit.explorers import explore_scaling_efficiency
from toolkit.explorers.scaling_efficiency import (
    MOST,
    NODE,
    SHAPES,
    Reported,
    describe,
    draw,
    reported,
    scale,
    time_per_step,
)


def test_the_papers_numbers_are_read_from_the_data():
    paper = reported()
    assert (paper.seconds, paper.spread, paper.against_gpu, paper.against_node) == (897.9, 3.3, 0.7, 0.8)
    assert paper.node == pytest.approx(0.875)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("paper", [reported(), Reported(100.0, 1.0, 0.5, 0.9), Reported(1.0, 0.0, 1.0, 1.0)])
def test_every_curve_passes_through_the_stated_points(shape, paper):
    for n, efficiency in ((1, 1.0), (NODE, paper.node), (MOST, paper.against_gpu)):
        assert 1 / time_per_step(n, shape, paper=paper) == pytest.approx(efficiency, rel=1e-12)
    times = [time_per_step(2**k, shape, paper=paper) for k in range(11)]
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(times))


def test_derived_numbers_by_hand():
    found = scale(10)
    assert found.seconds == pytest.approx(897.9) and found.speed_up == pytest.approx(716.8)
    assert found.one_gpu_seconds == pytest.approx(897.9 * 716.8)
    assert found.images_per_second == pytest.approx(90 * 1_281_167 / 897.9)
    assert scale(0).seconds == pytest.approx(found.one_gpu_seconds)
    node = scale(3)
    assert node.seconds == pytest.approx(897.9 * 1024 * 0.8 / 8)


def test_without_communication_nothing_is_lost_and_twice_the_loss_is_twice():
    assert all(share == 1 for _, share in scale(10, communication=0.0).curve)
    lost = time_per_step(64, "soon, then flat") - 1
    assert time_per_step(64, "soon, then flat", 2.0) - 1 == pytest.approx(2 * lost)


def test_the_shapes_differ_where_the_paper_says_nothing():
    between = [time_per_step(128, shape) for shape in SHAPES]
    assert len({round(time, 3) for time in between}) == 3
    assert sorted(between) == [between[2], between[0], between[1]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: time_per_step(0, "soon, then flat"),
        lambda: time_per_step(1025, "soon, then flat"),
        lambda: time_per_step(8, "never"),
        lambda: time_per_step(8, "soon, then flat", -1.0),
        lambda: scale(11),
        lambda: scale(-1),
    ],
)
def test_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()


def test_what_is_ours_is_marked_so():
    stated, assumed = scale(10), scale(7)
    assert "what follows from these" in describe(stated) and "our model" in describe(assumed)
    assert "our model" in describe(scale(10, communication=2.0))
    text = draw(assumed).to_string()
    assert "our assumption" in text and "897.9 ± 3.3 s" in text and "1 node: 70 / 80 = 87.5 %" in text
    # The paper's points stay where they are when the assumption moves.
    moved = draw(scale(7, communication=3.0)).to_string()
    assert "897.9 ± 3.3 s" in moved and "3 × the paper" in moved


def test_view():
    view = explore_scaling_efficiency()
    assert view.error is None and "70.0 %, 717 × one GPU, 15.0 minutes" in view.text
    assert "at least 125 images a second on each (validation" in view.text
    view.controls["doublings"].value = 0
    assert view.error is None and "1 GPU (" in view.text and "7.4 days" in view.text
    for shape in SHAPES:
        view.controls["shape"].value = shape
        view.controls["communication"].value = 4.0
        view.controls["doublings"].value = 9
        assert view.error is None and "512 GPUs" in view.text
