"""What a query finds: distances, rings, ties and scores against plain loops over made-up codes."""

import itertools

import pytest
import torch
from sklearn.metrics import average_precision_score

from toolkit.explorers import explore_hash_query
from toolkit.explorers.hash_query import SHOWN, WAYS, describe, draw, search
from toolkit.explorers.hash_runs import ITQ, PLAIN, VAT


def distances_of(runs, method, query):
    code = runs.codes[method]
    return [
        sum(a != b for a, b in zip(code.queries[query].tolist(), row, strict=True)) for row in code.gallery.tolist()
    ]


@pytest.mark.parametrize("method", [VAT, PLAIN, ITQ])
@pytest.mark.parametrize(("label", "number", "query"), [(0, 1, 0), (1, 2, 3), (2, 1, 4)])
def test_the_nearest_are_the_nearest_in_the_gallerys_order(small_hash_runs, method, label, number, query):
    found = search(small_hash_runs, label, number, method, "nearest")
    distances = distances_of(small_hash_runs, method, query)
    order = sorted(range(60), key=lambda place: (distances[place], place))[:SHOWN]
    assert found.query == query
    assert found.distances.tolist() == [distances[place] for place in order]
    assert found.found_labels.tolist() == [place % 3 for place in order]
    assert torch.equal(found.found_images, small_hash_runs.gallery_images[order])
    assert torch.equal(found.found_bits, small_hash_runs.codes[method].gallery[order])
    assert torch.equal(found.image, small_hash_runs.query_images[query])


@pytest.mark.parametrize("method", [VAT, PLAIN, ITQ])
def test_rings_count_everything_at_their_distance(small_hash_runs, method):
    found = search(small_hash_runs, 1, 1, method)
    distances = distances_of(small_hash_runs, method, 2)
    smallest = sorted(set(distances))[:4]
    assert [ring.distance for ring in found.rings] == smallest
    for ring in found.rings:
        members = [place for place in range(60) if distances[place] == ring.distance]
        assert ring.count == len(members) and ring.right == sum(place % 3 == 1 for place in members)
        assert ring.shown == min(6, len(members)) == found.distances.tolist().count(ring.distance)
    assert found.distances.tolist() == sorted(found.distances.tolist())


def test_images_of_a_ring_are_spread_over_all_of_it(small_hash_runs):
    found = search(small_hash_runs, 0, 2, VAT)
    distances = torch.tensor(distances_of(small_hash_runs, VAT, 1))
    for ring in found.rings:
        members = (distances == ring.distance).nonzero()[:, 0].tolist()
        shown = small_hash_runs.gallery_images[[members[k * len(members) // ring.shown] for k in range(ring.shown)]]
        assert torch.equal(found.found_images[found.distances == ring.distance], shown)


@pytest.mark.parametrize("method", [VAT, PLAIN, ITQ])
def test_average_precision_is_scikit_learns(small_hash_runs, method):
    scores = []
    for query in range(6):
        label, number = divmod(query, 2)
        found = search(small_hash_runs, label, number + 1, method)
        relevant = [place % 3 == label for place in range(60)]
        near = [1 / (1 + distance) for distance in distances_of(small_hash_runs, method, query)]
        scores.append(average_precision_score(relevant, near))
        assert found.average_precision == pytest.approx(scores[-1], abs=1e-12)
    assert found.means[method] == pytest.approx(sum(scores) / 6, abs=1e-12)


def test_the_sentence_and_the_picture_say_the_same(small_hash_runs):
    found = search(small_hash_runs, 1, 2, PLAIN)
    text, picture = describe(found), draw(found).to_string()
    assert text.startswith("no perturbation, query 2 of class 1: of its class are ")
    for ring in found.rings:
        assert f"{ring.right} of {ring.count}" in text and f"{ring.right} of {ring.count} right" in picture
    assert f"Average precision {found.average_precision:.2f}; mean over 6 queries {found.means[PLAIN]:.2f}" in text
    assert f"{VAT} {found.means[VAT]:.2f}, {ITQ} {found.means[ITQ]:.2f}" in text
    near = search(small_hash_runs, 1, 2, PLAIN, "nearest")
    right = int((near.found_labels == 1).sum())
    assert (
        f"{right} of the 24 nearest images" in describe(near) and f"{right} of the 24 nearest" in draw(near).to_string()
    )
    wrong = sorted(set(near.found_labels.tolist()) - {1})
    assert f"(the others: {', '.join(map(str, wrong))})" in describe(near)


def test_wrong_images_carry_a_cross_as_well_as_a_colour(small_hash_runs):
    crosses = []
    for way in WAYS:
        found = search(small_hash_runs, 1, 1, PLAIN, way)
        lines = draw(found).to_string().split("\n")
        wrong = int((~found.right).sum())
        crosses.append(wrong)
        badges = [line for line in lines if 'stroke="#ffffff" stroke-width="2"' in line]
        assert len(badges) == 2 * wrong  # two strokes on each image
    assert min(crosses) > 0


def test_every_control_draws(small_hash_runs):
    view = explore_hash_query(small_hash_runs)
    assert view.error is None and view.result.label == 2 and view.result.number == 2 and VAT in view.text
    for label, number, method, way in itertools.product((0, 2), (1, 2), small_hash_runs.methods, WAYS):
        for name, value in zip(("label", "number", "method", "way"), (label, number, method, way), strict=True):
            view.controls[name].value = value
        assert view.error is None and view.result.method == method and view.result.way == way
    view.reset()
    assert view.result.method == VAT and view.png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argument", "values"),
    [("label", (3, 1, VAT)), ("number", (0, 3, VAT)), ("number", (0, 0, VAT)), ("method", (0, 1, "LSH"))],
)
def test_out_of_range(small_hash_runs, argument, values):
    with pytest.raises(ValueError, match=f"search.*{argument}"):
        search(small_hash_runs, *values)
    with pytest.raises(ValueError, match="way"):
        search(small_hash_runs, 0, 1, VAT, "all")
