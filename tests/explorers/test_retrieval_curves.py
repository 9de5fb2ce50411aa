"""Curves over the radius and shares of empty balls, against loops over made-up codes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_retrieval_curves
from toolkit.explorers.hash_runs import ITQ, PLAIN, VAT, make_code
from toolkit.explorers.retrieval_curves import NEAREST, describe, draw, measure, possible, read


@pytest.fixture(scope="module")
def curves(small_hash_runs):
    return measure(small_hash_runs)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_curves_are_means_over_queries(small_hash_runs, curves, place):
    curve = curves[place]
    code = small_hash_runs.codes[curve.method]
    for radius in range(8):
        precision, recall, count, empty = [], [], [], []
        for query in range(6):
            inside = (code.queries[query] != code.gallery).sum(1) <= radius
            right = int((inside & (small_hash_runs.gallery_labels == query // 2)).sum())
            precision.append(right / max(int(inside.sum()), 1))
            recall.append(right / 20)
            count.append(int(inside.sum()))
            empty.append(not inside.any())
        assert curve.precision[radius] == pytest.approx(np.mean(precision))
        assert curve.recall[radius] == pytest.approx(np.mean(recall))
        assert curve.retrieved[radius] == pytest.approx(np.mean(count))
        assert curve.empty[radius] == pytest.approx(np.mean(empty))


def test_precision_among_the_nearest_shares_out_ties(small_hash_runs, curves):
    assert possible(small_hash_runs) == (10, 50)
    generator = torch.Generator().manual_seed(1)
    code = small_hash_runs.codes[VAT]
    drawn = []
    for _ in range(400):  # each time another order of those that are as far
        shuffle = torch.randperm(60, generator=generator)
        order = shuffle[code.distances[:, shuffle].argsort(dim=1, stable=True)[:, :10]]
        drawn.append((small_hash_runs.gallery_labels[order] == torch.arange(6)[:, None] // 2).double().mean())
    assert curves[0].at_n[10] == pytest.approx(float(torch.stack(drawn).mean()), abs=0.01)
    assert curves[0].mean_average_precision == code.scores.mean_average_precision


def test_small_and_large_galleries(small_hash_runs):
    for count, expected in ((4, (4,)), (10, (10,)), (5000, NEAREST)):
        labels, images = torch.zeros(count, dtype=torch.int64), torch.zeros(count, 5, 4)
        assert possible(replace(small_hash_runs, gallery_labels=labels, gallery_images=images)) == expected


def test_sentence_and_picture(small_hash_runs, curves):
    found = read(small_hash_runs, curves, 1, 10)
    text, picture = describe(found), draw(found).to_string()
    for curve in curves:
        assert f"{curve.method} {curve.precision[1]:.2f} and {curve.recall[1]:.2f}" in text
        assert f"{curve.method} {curve.at_n[10]:.2f}" in text
        assert f">{curve.precision[1]:.2f}<" in picture and f">{curve.mean_average_precision:.2f}<" in picture
    best = max(curves, key=lambda curve: curve.precision[1])
    assert f"Within 1 bit {best.method} is most precise" in picture and "P at 10" in picture
    everything = read(small_hash_runs, curves, 7, 50)
    assert "Within 7 bits all are as precise: 0.33" in draw(everything).to_string()


def test_empty_balls_are_told(small_hash_runs):
    queries = torch.tensor([[True] * 7, [False] * 7]).repeat_interleave(3, 0)
    gallery = torch.zeros(60, 7, dtype=torch.bool)
    code = make_code(ITQ, queries, gallery, small_hash_runs.query_labels, small_hash_runs.gallery_labels)
    runs = replace(small_hash_runs, codes={ITQ: code})
    (curve,) = measure(runs)
    assert curve.empty.tolist() == [0.5] * 7 + [0.0]
    assert curve.precision.tolist() == pytest.approx([1 / 6] * 7 + [1 / 3])
    told = describe(read(runs, (curve,), 3, 10))
    assert "PCA-ITQ 0.17 and 0.50 (50 % of the queries find nothing)" in told and "counts as precision 0" in told
    assert "nothing" not in describe(read(runs, (curve,), 7, 10))


def test_every_radius_draws(small_hash_runs):
    view = explore_retrieval_curves(small_hash_runs)
    assert view.error is None and view.result.radius == 2 and view.result.n == 10
    pictures = set()
    for radius in range(8):
        view.controls["radius"].value = radius
        assert view.error is None
        pictures.add(view.drawn.svg.to_string())
    assert len(pictures) == 8
    view.controls["n"].value = 50
    assert view.result.n == 50 and view.error is None and view.png.startswith(b"\x89PNG")
    view.reset()
    assert view.result.radius == 2


def test_codes_of_other_names_and_lengths(small_hash_runs):
    code = small_hash_runs.codes[VAT]
    short = make_code(
        "mine", code.queries[:, :3], code.gallery[:, :3], small_hash_runs.query_labels, small_hash_runs.gallery_labels
    )
    view = explore_retrieval_curves(replace(small_hash_runs, codes={VAT: code, "mine": short}))
    assert view.error is None and view.controls["radius"].max == 3 and "mine" in view.text


@pytest.mark.parametrize(("argument", "values"), [("radius", (8, 10)), ("radius", (-1, 10)), ("n", (2, 100))])
def test_out_of_range(small_hash_runs, curves, argument, values):
    with pytest.raises(ValueError, match=f"read.*{argument}"):
        read(small_hash_runs, curves, *values)


def test_which_is_best(small_hash_runs, curves):
    assert read(small_hash_runs, curves, 2, 10).best.method == max(curves, key=lambda curve: curve.precision[2]).method
    assert {curve.method for curve in curves} == {VAT, PLAIN, ITQ}
