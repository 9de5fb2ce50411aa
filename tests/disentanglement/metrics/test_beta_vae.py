"""The BetaVAE metric against a loop over votes, codes whose score is known, and inputs at the edge."""

import json
import random

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from toolkit.disentanglement.codes import GaussianCodes, PointCodes, synthetic_codes
from toolkit.disentanglement.metrics.beta_vae import (
    BETA_VAE_VARIANTS,
    BetaVAEVariant,
    _adagrad,
    beta_vae_score,
)
from toolkit.disentanglement.metrics.shared_values import ImageCodes, SharedValues

QUICK = BetaVAEVariant("samples", 20, 2000, 400, "logistic", True)
QUICK_ADAGRAD = BetaVAEVariant("samples", 50, 3000, 400, "adagrad", True)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(angle=0.7, standard_deviation=0.3):
    """Two factors in two latents, turned against one another: pairs move in both whichever factor is shared."""
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return synthetic_codes((5, 5), n_noise=0, rotation=turn, standard_deviation=standard_deviation)


def loop_score(codes, n_pairs, n_train, n_test, seed):
    """The metric with a plain loop over votes and pairs, images listed by value, each image's code drawn anew."""
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    mean, factors = codes.mean.double().numpy(), codes.factors.numpy()
    deviation = codes.standard_deviation.double().numpy()
    having = [
        [np.flatnonzero(column == value).tolist() for value in range(size)]
        for column, size in zip(factors.T, codes.factor_sizes, strict=True)
    ]
    labels, features = [], []
    for _ in range(n_train + n_test):
        factor = draw.randrange(len(having))
        differences = []
        for _ in range(n_pairs):
            images = draw.sample(draw.choice(having[factor]), 2)
            first, second = mean[images] + deviation[images] * noise.standard_normal((2, mean.shape[1]))
            differences.append(np.abs(first - second))
        labels.append(factor)
        features.append(np.mean(differences, axis=0))
    model = LogisticRegression(max_iter=1000).fit(features[:n_train], labels[:n_train])
    return model.score(features[n_train:], labels[n_train:])


@pytest.mark.parametrize("variant", [QUICK, QUICK_ADAGRAD, "library"])
def test_perfect_codes_score_one(variant):
    found = beta_vae_score(synthetic_codes((4, 5, 6)), variant=variant, generator=generator())
    assert found.score == 1.0
    assert found.train_score == 1.0
    assert found.chance == pytest.approx(1 / 3)
    assert torch.equal(found.per_factor, torch.ones(3, dtype=torch.float64))
    assert found.weights.shape == (3, 4)
    # The latent of the common factor moves least: its weight is the lowest of its column.
    assert found.weights[:, :3].argmin(0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("classifier", ["adagrad", "logistic"])
def test_noise_scores_at_chance(classifier):
    factors = synthetic_codes((4, 4, 4, 4)).factors
    noise = GaussianCodes(torch.zeros(256, 3), torch.ones(256, 3), factors)
    variant = BetaVAEVariant("samples", 10, 2000, 2000, classifier, True)
    found = beta_vae_score(noise, variant=variant, generator=generator(1))
    assert abs(found.score - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_a_rotated_code_scores_as_a_plain_loop_over_votes_does():
    codes = rotated(0.4, standard_deviation=0.7)
    variant = BetaVAEVariant("samples", 4, 1500, 1500, "logistic", True)
    ours = [beta_vae_score(codes, variant=variant, generator=generator(seed)).score for seed in range(4)]
    loops = [loop_score(codes, 4, 1500, 1500, seed) for seed in range(3)]
    assert 0.6 < np.mean(loops) < 0.9  # so that agreement says something
    assert abs(np.mean(ours) - np.mean(loops)) < 0.03


def test_features_are_mean_distances_of_pairs_that_share_the_value():
    codes = synthetic_codes((3, 4, 5), n_noise=1).sample(600, generator=generator())
    shared, images = SharedValues.of(codes, "test"), ImageCodes(codes, "samples", "test")
    factor = torch.arange(3).repeat_interleave(2000)
    first, second = shared.draw_pairs(factor, True, generator(2))
    assert torch.equal(codes.factors[first, factor], codes.factors[second, factor])
    assert not (first == second).any()
    assert torch.allclose(
        (images.take(first, generator()) - images.take(second, generator())).abs(),
        (codes.points[first] - codes.points[second]).abs(),
        atol=1e-6,
    )
    # Values are equally likely, whatever their number of images; then images are.
    counts = torch.bincount(codes.factors[first[factor == 1], 1], minlength=4)
    assert (counts - 500).abs().max() < 5 * (2000 * 0.25 * 0.75) ** 0.5
    again, _ = shared.draw_pairs(torch.zeros(60_000, dtype=torch.int64), True, generator(3))
    value = codes.factors[:, 0] == 0
    drawn = torch.bincount(again, minlength=600)[value].double()
    expected = drawn.sum() / value.sum()
    assert (drawn - expected).abs().max() < 6 * expected**0.5
    assert drawn.sum() == pytest.approx(20_000, abs=600)


def test_pairs_may_be_of_one_image_where_that_is_asked_for():
    codes = PointCodes(torch.arange(4.0)[:, None], torch.tensor([[0], [0], [1], [1]]))
    first, second = SharedValues.of(codes, "test").draw_pairs(torch.zeros(4000, dtype=torch.int64), False, generator())
    assert abs(float((first == second).double().mean()) - 0.5) < 0.05


def test_a_categorical_latent_is_one_feature():
    codes = synthetic_codes((3, 8), n_noise=0)
    exact = torch.nn.functional.one_hot(codes.factors[:, 0], 3).float().clamp_min(1e-6)
    log_prob = (exact / exact.sum(1, keepdim=True)).log()
    both = GaussianCodes(
        codes.mean[:, 1:], codes.standard_deviation[:, 1:], codes.factors, categorical_log_prob=(log_prob,)
    )
    for variant in (QUICK, BetaVAEVariant("means", 20, 1000, 400, "logistic", False)):
        found = beta_vae_score(both, variant=variant, generator=generator())
        assert found.weights.shape == (2, 2)
        assert found.score == 1.0
    images = ImageCodes(both, "samples", "test")
    pairs = (images.take(torch.tensor([0, 8]), generator()), images.take(torch.tensor([7, 7]), generator()))
    distance = images.by_latent((pairs[0] - pairs[1]).abs())
    assert distance[:, 1].tolist() == [0.0, 2.0]  # the same category, then another


def test_adagrad_follows_its_rule():
    features = torch.rand(40, 3, generator=generator())
    labels = torch.randint(0, 2, (40,), generator=generator(1))
    weights, offsets = np.zeros((2, 4)), np.zeros((2, 4))
    for start in range(0, 40, 10):
        x = np.concatenate([features[start : start + 10].numpy().astype(float), np.ones((10, 1))], 1)
        logits = x @ weights.T
        share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        share[np.arange(10), labels[start : start + 10].numpy()] -= 1
        gradient = share.T @ x / 10
        offsets += gradient**2
        weights -= gradient / (np.sqrt(offsets) + 1e-10)
    found, constant = _adagrad(features, labels, 2)
    assert np.allclose(found, weights[:, :3], atol=1e-4)
    assert np.allclose(constant, weights[:, 3], atol=1e-4)


def test_the_authors_settings_are_theirs():
    authors, library = BETA_VAE_VARIANTS["authors"], BETA_VAE_VARIANTS["library"]
    assert (authors.n_pairs, authors.n_train, authors.n_test, authors.representation) == (200, 30_000, 800, "samples")
    assert (library.n_pairs, library.n_train, library.n_test, library.representation) == (64, 10_000, 5_000, "means")


def test_large_numbers_far_from_zero_are_no_trouble():
    codes, scale = synthetic_codes((4, 4)), 1e6
    points = PointCodes((codes.means().points.double() * scale) + 7 * scale, codes.factors)
    variant = BetaVAEVariant("means", 20, 1000, 400, "adagrad", True)
    assert beta_vae_score(points, variant=variant, generator=generator()).score == 1.0


@pytest.mark.parametrize("classifier", ["adagrad", "logistic"])
def test_constant_codes_are_at_chance(classifier):
    codes = PointCodes(torch.full((64, 2), 0.1), synthetic_codes((4, 4, 4)).factors)
    variant = BetaVAEVariant("samples", 5, 1000, 1000, classifier, True)
    found = beta_vae_score(codes, variant=variant, generator=generator())
    assert abs(found.score - 1 / 3) < 0.07


def test_a_factor_of_one_value_takes_no_part():
    codes = synthetic_codes((4, 1, 4), n_noise=0)
    found = beta_vae_score(codes, variant=QUICK, generator=generator())
    assert found.score == 1.0
    assert found.chance == 0.5
    assert found.per_factor.isnan().tolist() == [False, True, False]
    json.dumps(found.to_dict())


def test_a_single_factor_is_always_named():
    factors = torch.arange(20)[:, None] % 4
    points = PointCodes(torch.randn(20, 2, generator=generator()), factors)
    for variant in (QUICK, QUICK_ADAGRAD):
        assert beta_vae_score(points, variant=variant, generator=generator()).score == 1.0


def test_the_same_generator_gives_the_same_score_and_the_global_one_is_left_alone():
    codes = rotated()
    state = torch.get_rng_state()
    one, other = (beta_vae_score(codes, variant=QUICK_ADAGRAD, generator=generator(5)) for _ in range(2))
    assert one.score == other.score
    assert torch.equal(one.weights, other.weights)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_it_is_called_with_is_not_changed():
    codes = synthetic_codes((3, 4)).sample(200, generator=generator())
    before = codes.points.clone()
    beta_vae_score(codes, variant=QUICK, generator=generator())
    assert torch.equal(codes.points, before)


def test_bad_arguments_are_named():
    codes = synthetic_codes((3, 4))
    with pytest.raises(ValueError, match=r"'authors', 'library'"):
        beta_vae_score(codes, variant="authos")
    with pytest.raises(ValueError, match="adagrad"):
        beta_vae_score(codes, variant=BetaVAEVariant("samples", 5, 10, 10, "svm", True))
    with pytest.raises(ValueError, match="'samples' or 'means'"):
        beta_vae_score(codes, variant=BetaVAEVariant("medians", 5, 10, 10, "adagrad", True))
    with pytest.raises(ValueError, match="at least one pair"):
        beta_vae_score(codes, variant=BetaVAEVariant("samples", 0, 10, 10, "adagrad", True))
    with pytest.raises(ValueError, match="two values or more"):
        beta_vae_score(PointCodes(torch.rand(5, 2), torch.zeros(5, 1, dtype=torch.int64)))
    with pytest.raises(ValueError, match="two images share"):
        beta_vae_score(PointCodes(torch.rand(5, 2), torch.arange(5)[:, None]))
    with pytest.raises(ValueError, match="two images"):
        beta_vae_score(PointCodes(torch.rand(1, 2), torch.zeros(1, 1, dtype=torch.int64)))


def test_codes_too_large_for_the_classifier_are_refused():
    points = PointCodes(torch.rand(20, 2, dtype=torch.float64) * 1e160, torch.arange(20)[:, None] % 4)
    with pytest.raises(ValueError, match="float32"):
        beta_vae_score(points, variant=QUICK)
