"""Linear probes of all levels, layers and positions at once, against scikit-learn's classifiers one by one."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from toolkit.grammars.probes import probe

N, WIDTH, POSITIONS, LAYERS = 400, 12, 4, 2
CHOICES = (2, 3)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    metadata = torch.stack([torch.randint(0, k, (N,), generator=generator) for k in CHOICES], 1)
    states = torch.randn(LAYERS, N, POSITIONS, WIDTH, generator=generator)
    strength = torch.arange(POSITIONS) * torch.tensor([0.3, 1.0])[:, None]
    for level in range(2):
        states[..., level] += strength[:, None] * metadata[:, level, None]
    states[0, ..., 3] *= 1000  # one feature that is large, two that are nearly the same, one that never changes
    states[..., 4] = states[..., 5] + 1e-3 * states[..., 4]
    states[..., 6] = 7.0
    mask = torch.ones(N, POSITIONS, dtype=torch.bool)
    mask[::3, 3] = False
    return states, metadata, mask


def reference(states, metadata, mask, layer, position, level, n_fitted, penalty):
    reach = mask[:n_fitted, position]
    features = states[layer, :n_fitted, position][reach].double()
    features, spare = features[:, features.std(0) > 0], features.std(0) > 0
    mean, sd = features.mean(0), features.std(0, correction=0)
    # Two choices share the penalty between them, so that scikit-learn's single weight has half of it.
    share = penalty / 2 if CHOICES[level] == 2 else penalty
    model = LogisticRegression(C=1 / (share * len(features)), tol=1e-12, max_iter=10_000)
    model.fit(((features - mean) / sd).numpy(), metadata[:n_fitted, level][reach].numpy())
    test = mask[n_fitted:, position]
    held_out = (states[layer, n_fitted:, position][test].double()[:, spare] - mean) / sd
    return model.score(held_out.numpy(), metadata[n_fitted:, level][test].numpy())


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_every_probe_is_scikit_learns(data, penalty):
    found = probe(*data, CHOICES, n_fitted=250, penalty=penalty)
    assert found.accuracy.shape == (2, LAYERS, POSITIONS)
    for level in range(2):
        for layer in range(LAYERS):
            for position in range(POSITIONS):
                expected = reference(*data, layer, position, level, 250, penalty)
                accuracy = float(found.accuracy[level, layer, position])
                assert accuracy == pytest.approx(expected, abs=1e-9), (level, layer, position)
    assert found.n_fitted.tolist() == [250, 250, 250, 166] and found.n_tested.tolist() == [150, 150, 150, 100]
    p = float(found.accuracy[0, 0, 0])
    assert float(found.standard_error[0, 0, 0]) == pytest.approx(math.sqrt(p * (1 - p) / 150))


def test_sentences_that_do_not_reach_a_position_do_not_count_there(data):
    states, metadata, mask = data
    spoilt = states.clone()
    for anything in (1e6, math.inf, math.nan):
        spoilt[:, ~mask] = anything
        assert torch.equal(probe(spoilt, metadata, mask, CHOICES).accuracy, probe(*data, CHOICES).accuracy)
    spoilt[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="states"):
        probe(spoilt, metadata, mask, CHOICES)


def test_no_position_at_all(data):
    states, metadata, mask = data
    assert probe(states[:, :, :0], metadata, mask[:, :0], CHOICES).accuracy.shape == (2, LAYERS, 0)


def test_states_that_say_nothing_give_the_commonest_choice(data):
    _, metadata, mask = data
    metadata = metadata.clone()
    metadata[: N // 4, 0] = 1
    found = probe(torch.ones(1, N, POSITIONS, WIDTH), metadata, mask, CHOICES)
    commonest = int(metadata[: N // 2, 0].bincount().argmax())
    expected = float((metadata[N // 2 :, 0] == commonest).double().mean())
    assert float(found.accuracy[0, 0, 0]) == pytest.approx(expected)


def test_results_do_not_depend_on_how_the_work_is_split(data, monkeypatch):
    whole = probe(*data, CHOICES)
    monkeypatch.setattr("toolkit.grammars.probes._MOST_NUMBERS", 1)
    assert torch.equal(probe(*data, CHOICES).accuracy, whole.accuracy)


def test_levels_of_one_choice_and_positions_that_nobody_reaches(data):
    states, metadata, mask = data
    mask = mask.clone()
    mask[:, 1], mask[: N // 2, 2] = False, False
    found = probe(states, metadata * torch.tensor([0, 1]), mask, (1, 3))
    assert found.accuracy[0, :, 0].eq(1).all()
    assert found.accuracy[:, :, 1:3].isnan().all() and not found.accuracy[:, :, 3].isnan().any()


@pytest.mark.parametrize(
    "change",
    [{"n_fitted": 0}, {"n_fitted": N}, {"penalty": 0.0}, {"n_iterations": 0}],
    ids=str,
)
def test_bad_options_are_refused(data, change):
    with pytest.raises(ValueError, match="probe"):
        probe(*data, CHOICES, **change)
    with pytest.raises(ValueError, match="metadata"):
        probe(*data, (2, 3, 2))
    # The largest level's number of choices is no excuse for another level.
    with pytest.raises(ValueError, match="metadata"):
        probe(data[0], data[1].flip(1), data[2], CHOICES)
    with pytest.raises(ValueError, match="metadata"):
        probe(data[0], data[1] - 1, data[2], CHOICES)
