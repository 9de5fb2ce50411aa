"""A short training stands for the lesson's: nothing of the queries is used, and twice gives the same bits."""

import pytest
import torch
from sklearn.decomposition import PCA

from toolkit.explorers.hash_runs import AT, ITQ, METHODS, PLAIN, SIGN, VAT, hash_runs
from toolkit.imsat.retrieval import evaluate_retrieval

SMALL = {"n_bits": 6, "hidden": (20,), "epochs": 1, "n_images": 600, "per_class": 3}


@pytest.fixture(scope="module")
def runs():
    return hash_runs(**SMALL)


def test_images_codes_and_labels_belong_together(runs):
    assert runs.n_queries == 30 and runs.n_gallery == 570
    assert runs.query_labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert runs.query_images.shape == (30, 28, 28) and runs.gallery_images.shape == (570, 28, 28)
    assert runs.gallery_images.min() == 0 and runs.gallery_images.max() <= 1
    assert runs.methods == METHODS and runs.networks == (VAT, PLAIN)
    for code in runs.codes.values():
        assert code.queries.shape == (30, 6) and code.gallery.shape == (570, 6) and code.n_bits == 6
        expected = (code.queries[:, None] != code.gallery).sum(2)
        assert torch.equal(code.distances.long(), expected)
    assert "mAP" in repr(runs) and "6 bits" in repr(runs.codes[VAT])


def test_queries_are_not_in_the_gallery(runs):
    seen = {image.numpy().tobytes() for image in runs.gallery_images}
    assert not any(image.numpy().tobytes() in seen for image in runs.query_images)


@pytest.mark.parametrize("method", [VAT, PLAIN])
def test_networks_give_probabilities_and_their_bits(runs, method):
    code = runs.codes[method]
    assert code.logits.dtype == torch.float64
    assert torch.equal(code.probabilities > 0.5, code.gallery)
    assert runs.codes[SIGN].probabilities is None


def test_pca_signs_are_those_of_scikit_learn(runs):
    pixels = (runs.gallery_images.flatten(1) * 255 / 128 - 1).numpy()
    signs = torch.from_numpy(PCA(6, svd_solver="full").fit_transform(pixels) > 0)
    same = (signs == runs.codes[SIGN].gallery).double().mean(0)
    assert (torch.minimum(same, 1 - same) < 0.003).all()  # the sign of a component is a convention
    assert not torch.equal(runs.codes[ITQ].gallery, runs.codes[SIGN].gallery)


def test_scores_are_those_of_the_codes(runs):
    code = runs.codes[ITQ]
    scores = evaluate_retrieval(code.queries, runs.query_labels, code.gallery, runs.gallery_labels, n=AT, radius=2)
    assert code.scores.to_dict() == scores.to_dict()


def test_the_same_again(runs):
    assert hash_runs(**SMALL) is runs
    again = hash_runs.__wrapped__(**SMALL)
    for method in METHODS:
        assert torch.equal(again.codes[method].gallery, runs.codes[method].gallery)
    assert torch.equal(again.codes[VAT].logits, runs.codes[VAT].logits)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="n_images"):
        hash_runs(n_images=0)
    with pytest.raises(ValueError, match="per_class"):
        hash_runs(n_images=200, per_class=50)
