"""Closed forms against solvers and loops; interval bounds against points of the ball and against corners."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import nn

from toolkit.adversarial.attacks.gradient import FGSM, PGD
from toolkit.adversarial.exact import LinearClassifier, certified_accuracy, certified_bounds, certified_margins
from toolkit.adversarial.models import FAMILIES, Residual, classifier


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(classes: int = 4, *pixels: int, box: bool = True, seed: int = 0) -> LinearClassifier:
    g = generator(seed)
    weight = torch.randn(classes, *(pixels or (6,)), generator=g, dtype=torch.float64)
    weight.flatten(1)[:, 2] = 0
    return LinearClassifier(weight, 0.3 * torch.randn(classes, generator=g, dtype=torch.float64), box)


def batch(n: int, *pixels: int, classes: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(seed)
    images = torch.rand(n, *(pixels or (6,)), generator=g, dtype=torch.float64)
    images.flatten(1)[0, :3] = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    return images, torch.randint(classes, (n,), generator=g)


def smallest_margin(model: LinearClassifier, x, y: int, j: int, epsilon: float, norm: str) -> float:
    """Ask a solver of scipy."""
    slope = (model.weight[y] - model.weight[j]).flatten().numpy()
    x = x.flatten().numpy()
    low = np.maximum(x - epsilon, 0) if model.box else x - epsilon
    high = np.minimum(x + epsilon, 1) if model.box else x + epsilon
    start = float(model.bias[y] - model.bias[j])
    if norm == "linf":
        return linprog(slope, bounds=list(zip(low, high, strict=True))).fun + start
    inside = {"type": "ineq", "fun": lambda z: epsilon**2 - ((z - x) ** 2).sum(), "jac": lambda z: 2 * (x - z)}
    limits = list(zip(low, high, strict=True))
    options = {"maxiter": 500, "ftol": 1e-14}
    found = minimize(
        lambda z: slope @ z, x, jac=lambda z: slope, bounds=limits, constraints=inside, method="SLSQP", options=options
    )
    return found.fun + start


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.05, 0.6, 3.0])
def test_smallest_margins_are_those_of_a_solver(norm, box, epsilon):
    model = linear(box=box)
    images, labels = batch(4)
    found = model.margins(images, labels, epsilon, norm=norm)
    for i, j in itertools.product(range(4), range(4)):
        if j == labels[i]:
            assert found[i, j] == math.inf
        else:
            expected = smallest_margin(model, images[i], int(labels[i]), j, epsilon, norm)
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-6)


def test_without_a_box_the_margin_falls_by_epsilon_times_the_dual_norm():
    model = linear(5, 2, 3, box=False)
    images, labels = batch(6, 2, 3, classes=5)
    plain = model.margins(images, labels)
    logits = model(images)
    for i, j in itertools.product(range(6), range(5)):
        if j == labels[i]:
            continue
        slope = model.weight[labels[i]] - model.weight[j]
        assert plain[i, j] == pytest.approx(float(logits[i, labels[i]] - logits[i, j]))
        for norm, dual in (("linf", slope.abs().sum()), ("l2", slope.norm())):
            found = model.margins(images, labels, 0.3, norm=norm)[i, j]
            assert float(found) == pytest.approx(float(plain[i, j] - 0.3 * dual))
            distance = float(model.distances(images, labels, norm=norm)[i, j])
            assert distance == pytest.approx(max(0.0, float(plain[i, j] / dual)))


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_worst_images_reach_the_smallest_margin_within_the_ball(norm, box):
    model = linear(4, 3, 2, box=box)
    images, labels = batch(8, 3, 2)
    epsilon = torch.linspace(0, 1.2, 8)
    margins = model.margins(images, labels, epsilon, norm=norm)
    worst = model.worst_images(images, labels, epsilon, norm=norm)
    change = (worst - images).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert (length <= epsilon.double() + 1e-12).all()
    if box:
        assert worst.min() >= -1e-12 and worst.max() <= 1 + 1e-12
    logits = model(worst)
    others = logits.scatter(1, labels[:, None], -math.inf).amax(1)
    torch.testing.assert_close(logits.gather(1, labels[:, None])[:, 0] - others, margins.amin(1))
    assert (change[:, 2] == 0).all(), "a pixel of weight zero has moved"
    for j in range(4):
        other = torch.full_like(labels, j)
        towards = model.worst_images(images, labels, epsilon, competitors=other, norm=norm)
        logits = model(towards)
        reached = logits.gather(1, labels[:, None])[:, 0] - logits[:, j]
        assert torch.allclose(reached[labels != j], margins[labels != j, j])


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_at_the_distance_the_margin_is_zero(norm, box):
    model = linear(4, 10, box=box, seed=3)
    images, labels = batch(12, 10)
    labels = model(images).argmax(1)
    distances = model.distances(images, labels, norm=norm)
    for j in range(4):
        reachable = distances[:, j].isfinite()
        assert (reachable | (labels == j)).sum() > 3
        at = model.margins(images[reachable], labels[reachable], distances[reachable, j], norm=norm)[:, j]
        torch.testing.assert_close(at, torch.zeros_like(at), atol=1e-10, rtol=0)
        never = ~reachable & (labels != j)
        assert (model.margins(images[never], labels[never], 1e3, norm=norm)[:, j] > 0).all()
    nearest = distances.amin(1)
    fine = nearest.isfinite()
    for scale, kept in ((0.999, True), (1.001, False)):
        assert (model.robust(images[fine], labels[fine], nearest[fine] * scale, norm=norm) == kept).all()


def test_a_boundary_behind_the_box_is_infinitely_far():
    model = LinearClassifier(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0]))
    images, labels = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    assert model.distances(images, labels).tolist() == [[math.inf, math.inf]]
    assert model.robust_accuracy(images, labels, 100.0) == 1
    free = LinearClassifier(model.weight, model.bias, box=False)
    assert free.distances(images, labels)[0, 1] == 1.5
    assert free.robust_accuracy(images, labels, 1.5) == 0, "a margin of zero is none"


@pytest.mark.parametrize("epsilon", [0.0, 0.02, 0.1])
def test_two_classes_fgsm_reaches_the_robust_accuracy(epsilon):
    model = linear(2, 1, 4, 4)
    images, labels = batch(200, 1, 4, 4, classes=2)
    found = FGSM()(model, images, labels, epsilon=epsilon)
    logits = model(found)
    right = logits.argmax(1) == labels
    assert float(right.double().mean()) == model.robust_accuracy(images, labels, epsilon)
    worst = model.worst_images(images, labels, epsilon)
    torch.testing.assert_close(found, worst, atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_attack_beats_the_robust_accuracy_and_targets_attain_it(norm):
    model = linear(5, 1, 4, 4)
    images, _ = batch(200, 1, 4, 4)
    labels = model(images).argmax(1)
    epsilon = 0.15 if norm == "linf" else 0.5
    exact = model.robust(images, labels, epsilon, norm=norm)
    assert 0.1 < exact.double().mean() < 0.9
    attack = PGD(n_steps=20, norm=norm)
    kept = model(attack(model, images, labels, epsilon=epsilon, generator=generator())).argmax(1) == labels
    assert (kept | ~exact).all()
    worst = model(model.worst_images(images, labels, epsilon, norm=norm)).argmax(1) == labels
    assert torch.equal(worst, exact)


def test_nothing_and_no_bound():
    model = linear(3)
    images, labels = batch(5, classes=3)
    assert math.isnan(model.robust_accuracy(images[:0], labels[:0], 0.1))
    assert model.margins(images[:0], labels[:0], 0.1).shape == (0, 3)
    torch.testing.assert_close(model.worst_images(images, labels, 0.0), images)
    for norm in ("linf", "l2"):
        whole = model.worst_images(images, labels, math.inf, norm=norm)
        assert set(whole[:, [0, 1, 3, 4, 5]].unique().tolist()) == {0.0, 1.0}
    same = LinearClassifier(torch.ones(3, 6), torch.zeros(3))
    assert (same.distances(images, labels)[:, :3].isfinite().sum(1) == 2).all()
    torch.testing.assert_close(same.worst_images(images, labels, 0.5), images)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"labels": torch.tensor([0, 4])}, "labels"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": torch.ones(3)}, "epsilon"),
        ({"images": torch.rand(2, 5)}, "images"),
        ({"images": torch.full((2, 6), 2.0)}, "images"),
    ],
)
def test_what_does_not_fit_is_said(change, argument):
    given = {"images": torch.rand(2, 6), "labels": torch.tensor([0, 1]), "epsilon": 0.1} | change
    with pytest.raises(ValueError, match=f"'{argument}'"):
        linear().margins(**given)


# Interval bounds


def small(name: str, seed: int = 0, dtype=torch.float64) -> nn.Module:
    """A classifier on 8×8 whose batch normalisation has seen something, with some negative scales."""
    g = generator(seed)
    model = classifier(name, (1, 8, 8), 5, width=0.5, generator=g, dtype=dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.copy_(torch.randn(tensor.shape, generator=g))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=g))
    return model.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_point_of_the_ball_leaves_the_bounds(name, dtype):
    model, g = small(name, dtype=dtype), generator(5)
    images = torch.rand(3, 1, 8, 8, generator=g, dtype=dtype)
    labels = torch.tensor([0, 1, 2])
    for epsilon in (0.0, 1e-4, 0.01, 0.5):
        bounds = certified_bounds(model, images, epsilon)
        margins = certified_margins(model, images, labels, epsilon)
        for _ in range(40):
            drawn = 2 * torch.rand(images.shape, generator=g, dtype=dtype) - 1
            for move in (drawn, drawn.sign()):
                with torch.no_grad():
                    logits = model((images + epsilon * move).clamp(0, 1))
                assert (bounds.lower <= logits).all() and (logits <= bounds.upper).all()
                own = logits.gather(1, labels[:, None]) - logits
                assert (margins.isinf() | (own >= margins)).all()
        pgd = PGD(n_steps=10)(model, images, labels, epsilon=epsilon, generator=g)
        with torch.no_grad():
            logits = model(pgd)
        assert (bounds.lower <= logits).all() and (logits <= bounds.upper).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_bounds_close_as_epsilon_vanishes(name):
    model = small(name)
    images = torch.rand(3, 1, 8, 8, generator=generator(5), dtype=torch.float64)
    bounds = certified_bounds(model, images, 0.0)
    with torch.no_grad():
        logits = model(images)
    assert (bounds.upper - bounds.lower).max() < 1e-9 * logits.abs().max()
    narrow, wide = (certified_bounds(model, images, epsilon) for epsilon in (0.001, 0.002))
    assert (wide.lower <= narrow.lower).all() and (narrow.upper <= wide.upper).all()


@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_the_bounds_of_a_linear_layer_are_attained(layer):
    torch_linear = nn.Sequential(nn.Flatten(), nn.Linear(18, 4)).double()
    if layer == "conv":
        torch_linear = nn.Sequential(nn.Conv2d(2, 3, 2, stride=2, padding=1, dilation=1), nn.Flatten()).double()
    for parameter in torch_linear.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator(2)))
    images = torch.rand(1, 2, 3, 3, generator=generator(3), dtype=torch.float64)
    bounds = certified_bounds(torch_linear, images, 0.3)
    jacobian = torch.autograd.functional.jacobian(torch_linear, images)[0, :, 0]
    for k, row in enumerate(jacobian):
        for sign, side in ((1, bounds.upper), (-1, bounds.lower)):
            corner = (images + 0.3 * sign * row.sign()).clamp(0, 1)
            assert torch_linear(corner)[0, k].item() == pytest.approx(float(side[0, k]), abs=1e-12)


def test_the_margins_of_a_linear_network_are_the_exact_ones():
    exact = linear(4, 2, 3)
    layer = nn.Linear(6, 4).double()
    layer.weight.data.copy_(exact.weight.flatten(1))
    layer.bias.data.copy_(exact.bias)
    images, labels = batch(30, 2, 3)
    epsilon = torch.linspace(0, 0.4, 30)
    model = nn.Sequential(nn.Flatten(), layer)
    found = certified_margins(model, images, labels, epsilon, batch_size=7)
    torch.testing.assert_close(found, exact.margins(images, labels, epsilon), atol=1e-12, rtol=0)
    assert certified_accuracy(model, images, labels, epsilon) == exact.robust_accuracy(images, labels, epsilon)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_layer_of_differences_is_tighter(name):
    model = small(name)
    images, labels = torch.rand(4, 1, 8, 8, generator=generator(1), dtype=torch.float64), torch.arange(4)
    bounds = certified_bounds(model, images, 0.01)
    loose = bounds.lower.gather(1, labels[:, None]) - bounds.upper
    tight = certified_margins(model, images, labels, 0.01)
    assert (tight >= loose - 1e-9).all()
    assert (tight > loose + 1e-3).any()


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_exact_on_both_sides_of_its_minimum(approximate):
    layer = nn.GELU(approximate)
    for low, high in [(-0.9, -0.6), (-3.0, -1.0), (-0.7, 0.2), (-5.0, 5.0), (-0.7517915, -0.7517915), (0.5, 0.9)]:
        # A linear layer brings [0, 1] to the interval.
        scale = nn.Linear(1, 1).double()
        scale.weight.data.fill_(high - low)
        scale.bias.data.fill_(low)
        bounds = certified_bounds(nn.Sequential(scale, layer), torch.tensor([[0.5]], dtype=torch.float64), 0.5)
        values = layer(torch.linspace(low, high, 100_001, dtype=torch.float64))
        assert float(bounds.lower) == pytest.approx(float(values.min()), abs=1e-8)
        assert float(bounds.upper) == pytest.approx(float(values.max()), abs=1e-8)
        assert bounds.lower <= values.min() and values.max() <= bounds.upper


def test_certified_accuracy_lies_below_that_of_an_attack():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    for parameter in model.parameters():
        parameter.data.copy_(0.5 * torch.randn(parameter.shape, generator=generator(4)))
    images = torch.rand(300, 1, 4, 4, generator=generator(5))
    labels = model(images).argmax(1)
    assert certified_accuracy(model, images, labels, 0.0) == 1
    certain = certified_accuracy(model, images, labels, 0.02)
    attacked = PGD(n_steps=10)(model, images, labels, epsilon=0.02, generator=generator())
    left = float((model(attacked).argmax(1) == labels).double().mean())
    assert 0.1 < certain <= left < 1
    assert math.isnan(certified_accuracy(model, images[:0], labels[:0], 0.1))


def test_batches_do_not_matter():
    model = small("resnet")
    images, labels = torch.rand(8, 1, 8, 8, generator=generator(1), dtype=torch.float64), torch.arange(8) % 5
    each = torch.linspace(0, 0.1, 8)
    whole = certified_margins(model, images, labels, each)
    parts = [certified_margins(model, images[i : i + 1], labels[i : i + 1], float(each[i])) for i in range(8)]
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(certified_margins(model, images, labels, each, batch_size=3), whole)


def test_bounds_keep_no_graph_and_change_nothing():
    model = small("vgg")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=generator(), requires_grad=True)
    bounds = certified_bounds(model, images, 0.1)
    assert not bounds.lower.requires_grad and not bounds.upper.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_layers_without_a_rule_and_training_mode_are_refused():
    images = torch.rand(1, 1, 4, 4)
    with pytest.raises(ValueError, match="Tanh"):
        certified_bounds(nn.Sequential(nn.Flatten(), nn.Tanh()), images, 0.1)

    class Odd(nn.Sequential):
        def forward(self, input):
            return -super().forward(input)

    with pytest.raises(ValueError, match="Odd"):
        certified_bounds(Odd(nn.Flatten()), images, 0.1)
    with pytest.raises(ValueError, match="training mode"):
        certified_bounds(classifier("vgg", (1, 4, 4)), images, 0.1)
    with pytest.raises(ValueError, match="epsilon"):
        certified_bounds(nn.Flatten(), images, math.inf)
    with pytest.raises(ValueError, match="labels"):
        certified_accuracy(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), images, torch.tensor([3]), 0.1)


def test_the_residual_block_by_hand():
    block = Residual(2, 2).double().eval()
    images = torch.rand(2, 2, 5, 5, dtype=torch.float64, generator=generator(0))
    bounds = certified_bounds(block, images, 0.0)
    torch.testing.assert_close(bounds.lower, block(images).detach())
    assert (bounds.lower >= -1e-12).all()
