"""What steps cost is the Fisher information's doing, and power iterations find its eigenvector only for small ξ."""

import math

import numpy as np
import pytest
import torch

from toolkit.explorers import explore_directions
from toolkit.explorers.directions import MOST_ITERATIONS, compute, describe, draw, percent
from toolkit.explorers.linear_softmax import NETWORKS, SMALL, Softmax, softmax_of
from toolkit.imsat.exact import fisher_information
from toolkit.imsat.losses import divergence
from toolkit.imsat.perturbations import Surroundings, VirtualAdversarial


def library(model: Softmax, xi: float, iterations: int, n: int = 50):
    """VAT's directions as training uses them, and the random ones they start from."""
    x = torch.zeros(n, model.dimension, dtype=torch.float64)
    around = Surroundings(x, model(x), model, divergence)
    starts = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    search = VirtualAdversarial(epsilon=1.0, xi=xi, power_iterations=iterations)
    found = search.direction(around, torch.Generator().manual_seed(5))
    return starts / starts.norm(dim=1, keepdim=True), found


@pytest.mark.parametrize("model", [softmax_of(d=2), softmax_of(d=37), softmax_of("a small example")])
def test_the_fisher_information(model):
    (fisher,) = fisher_information(model, torch.zeros(1, model.dimension, dtype=torch.float64))
    assert model.trace == pytest.approx(float(fisher.trace()))
    assert model.largest == pytest.approx(float(torch.linalg.eigvalsh(fisher)[-1]))
    assert model.ratio == pytest.approx(model.trace / (model.dimension * model.largest)) and 0 < model.ratio <= 1
    steps = torch.randn(5, model.dimension, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model.curvature(steps), torch.einsum("si,ij,sj->s", steps, fisher, steps))
    torch.testing.assert_close(model.cost(1e-4 * steps), 0.5e-8 * model.curvature(steps), rtol=1e-2, atol=1e-14)


@pytest.mark.parametrize("xi", [1e-4, 0.3, 10.0])
@pytest.mark.parametrize("model", [softmax_of(d=20), softmax_of("a small example")])
def test_iterations_are_those_of_training(model, xi):
    for iterations in (1, 3):
        starts, found = library(model, xi, iterations)
        mine = model.iterate(starts, xi, iterations)
        assert mine.shape == (iterations + 1, 50, model.dimension)
        torch.testing.assert_close(mine[-1], found, rtol=1e-6, atol=1e-6)


def test_a_small_xi_finds_the_eigenvector_and_the_papers_does_not():
    """Five iterations on W = [[1, 0], [0, 2], [0, 0]] at x = 0: |cos| 0.882 for ξ = 10, 1.000 for ξ = 1e-4."""
    model = softmax_of("a small example")
    fisher = fisher_information(model, torch.zeros(1, 2, dtype=torch.float64))[0].numpy()
    first = np.linalg.eigh(fisher)[1][:, -1]
    cosines = {xi: np.abs(library(model, xi, 5, n=500)[1].numpy() @ first) for xi in (1e-4, 10.0)}
    assert np.median(cosines[1e-4]) > 0.99999
    assert np.median(cosines[10.0]) == pytest.approx(0.882, abs=5e-4)
    found = compute("a small example", xi=10.0, iterations=5)
    assert np.median(found.cosines[5]) == pytest.approx(0.882, abs=5e-4)
    assert found.small_cosines[-1].min() > 0.9999
    text = describe(found)
    assert (
        "The small example has three classes and always two dimensions." in text and "a median |cos| of 0.882" in text
    )
    assert "for ξ → 0 it has 1.000" in text


@pytest.mark.parametrize("d", [2, 50, 784])
def test_costs(d):
    found = compute(d=float(d), epsilon=0.05, xi=1e-3, iterations=8)
    model = softmax_of(d=d)
    assert found.mean == pytest.approx(model.trace * 0.05**2 / (2 * d))
    assert found.random.mean() == pytest.approx(found.mean, rel=0.06)
    assert found.first == pytest.approx(model.largest * 0.05**2 / 2, rel=0.05)
    assert found.random.max() <= 1.05 * found.first
    assert np.median(found.adversarial) == pytest.approx(found.first, rel=0.06)
    assert found.factor == pytest.approx(math.sqrt(found.first / found.mean), rel=0.03)


def test_the_point():
    """In two dimensions random steps do half the harm, in 784 next to none, while VAT's do most of it."""
    plane, image = compute(d=2), compute()
    assert plane.random.mean() > 0.4 * plane.first and plane.factor < 1.5
    assert image.random.mean() < 0.005 * image.first and image.factor > 15
    assert image.adversarial.mean() > 0.5 * image.first
    picture = draw(image).to_string()
    assert "d = 784: random steps cost 0.3 % of F&#x27;s first direction, VAT&#x27;s 70 %" in picture
    assert "random steps must be 18.2 times as long" in describe(image)


def test_shares_are_written_with_two_digits():
    written = [percent(share) for share in (0.00302, 0.0096, 0.0102, 0.1, 0.704, 1.07)]
    assert written == ["0.3 %", "0.96 %", "1.0 %", "10 %", "70 %", "107 %"]


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("network", {"network": "a large example"}),
        ("d", {"d": 1.0}),
        ("d", {"d": 1000.0}),
        ("epsilon", {"epsilon": 0.0}),
        ("xi", {"xi": math.nan}),
        ("iterations", {"iterations": MOST_ITERATIONS + 1}),
    ],
)
def test_bad_arguments_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        compute(**values)


def test_view_answers_every_control():
    view = explore_directions()
    assert view.error is None and view.text == describe(compute())
    default = view.text
    for name, values in {
        "xi": (1e-4, 100.0),
        "iterations": (8, 1),
        "epsilon": (0.05, 5.0),
        "d": (2.0, 30.0),
        "network": NETWORKS[::-1],
    }.items():
        for value in values:
            view.controls[name].value = value
            picture = view.drawn.svg.to_string()
            assert view.error is None and "nan" not in view.text + picture and "…" not in picture
    view.reset()
    assert view.text == default and view.result.d == 784
    assert "d = 784" in repr(view.result) and view.result.to_dict()["iterations"] == 1


def test_the_small_example_has_no_choice_of_dimensions():
    view = explore_directions()
    d = view.controls["d"]
    assert not d.disabled and not d.tooltip
    view.controls["network"].value = SMALL
    assert d.disabled and "two dimensions" in d.tooltip and "always two dimensions" in view.text
    view.reset()
    assert not d.disabled and not d.tooltip
