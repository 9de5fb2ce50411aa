"""The linear classifier's worst change against scikit-learn, brute force and its own curves."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from toolkit.explorers import explore_linear_attack
from toolkit.explorers.linear_attack import (
    MOST,
    PAIRS,
    PENALTIES,
    attack_linear,
    describe,
    draw,
    fit_least_squares,
    make_problem,
)


def test_the_fit_is_ridge_regression_to_signs():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 3, 4, generator=generator, dtype=torch.float64)
    labels = (torch.rand(40, generator=generator) < 0.4).long()
    model = fit_least_squares(images, labels, 2.5)
    reference = Ridge(alpha=2.5).fit(images.flatten(1).numpy(), 2 * labels.numpy() - 1)
    logits = model(images)
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), reference.predict(images.flatten(1)), atol=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_fgsm_is_the_worst_case_and_noise_is_not(pair, penalty):
    problem = make_problem(pair, penalty)
    assert len(problem.images) == 100 and set(problem.labels.tolist()) == {0, 1}
    for level, attacked, noisy in zip(problem.grid, problem.attacked, problem.noisy, strict=True):
        assert attacked == pytest.approx(problem.exact(level))
        assert noisy >= attacked - 1e-12
    assert problem.exact(0) > 0.75 and problem.exact(32) < problem.noisy[8] - 0.1


def test_no_random_change_is_worse_than_the_worst():
    found = attack_linear(PAIRS[0], "medium", 3, 10)
    epsilon = 10 / 255
    assert float((found.changed - found.image).abs().max()) <= epsilon + 1e-12
    slope = found.problem.slope * (1 if found.label == 1 else -1)
    changed = found.margin + float((slope * (found.changed - found.image)).sum())
    assert changed == pytest.approx(found.worst)
    signs = torch.randint(0, 2, (200, 28, 28), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    tried = (found.image + epsilon * signs).clamp(0, 1) - found.image
    assert float((slope * tried).sum((1, 2)).min()) > found.worst - found.margin


def test_a_change_of_nothing_changes_nothing():
    found = attack_linear(PAIRS[1], "strong", 1, 0)
    assert found.worst == found.margin and found.noise == 0 and torch.equal(found.changed, found.image)
    assert "0/255" in describe(found) and "Under the worst 0 grey levels" in draw(found).to_string()


def test_the_sentence_writes_margins_with_a_minus():
    found = attack_linear(PAIRS[0], "medium", 3, MOST)
    assert found.worst < 0 < found.margin
    assert f"margin {found.margin:.2f}." in describe(found) and f"to −{-found.worst:.2f}, which" in describe(found)


def test_an_image_that_was_wrong_before():
    found = attack_linear(PAIRS[0], "weak", 1, 12)
    assert found.margin < 0 and "but it was wrong before;" in describe(found) and "enough" not in describe(found)


@pytest.mark.parametrize(
    "wrong",
    [("boot or bag", "weak", 1, 1), (PAIRS[0], "none", 1, 1), (PAIRS[0], "weak", 0, 1), (PAIRS[0], "weak", 1, 33)],
)
def test_what_there_is_not(wrong):
    with pytest.raises(ValueError, match="expected"):
        attack_linear(*wrong)


def test_every_control_changes_picture_and_sentence():
    view = explore_linear_attack()
    assert view.error is None
    for name, value in (("pair", PAIRS[2]), ("penalty", "strong"), ("number", 50), ("epsilon", MOST)):
        picture, text = view.drawn.svg.to_string(), view.text
        view.controls[name].value = value
        assert view.error is None and view.text != text and view.drawn.svg.to_string() != picture
