"""One step is the authors' loss, three passes and one update of the running statistics; a stopped run loses nothing."""

import math
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from toolkit.core.checkpoints import CheckpointError
from toolkit.imsat import losses
from toolkit.imsat.models import network, squared_weights
from toolkit.imsat.perturbations import Augmentation, RandomPerturbation, VirtualAdversarial
from toolkit.imsat.training import (
    ClusterInformation,
    GrowingPenalty,
    HashInformation,
    Training,
    predict_logits,
    self_augmented_loss,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(n: int = 40, d: int = 6, seed: int = 1) -> torch.Tensor:
    x = torch.randn(n, d, generator=generator(seed), dtype=torch.float64)
    return x + 3 * (torch.arange(n)[:, None] % 3 == torch.arange(d) % 3)


def model(d: int = 6, k: int = 3, hidden=(8,), seed: int = 2) -> nn.Sequential:
    built = network(d, k, hidden=hidden, initialization="official", generator=generator(seed)).double()
    with torch.no_grad():
        built[-1].weight.mul_(50)
    return built


class Counting(nn.Module):
    """Counts how often it is asked."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


# One loss


def by_hand(net, x, mu, lam, epsilon, xi, seed):
    """Return the authors' loss, written down again without any of the package's functions."""

    def batch_pass(x):
        normed = x
        for layer in net:
            if isinstance(layer, nn.BatchNorm1d):
                normed = functional.batch_norm(normed, None, None, layer.weight, layer.bias, True, eps=layer.eps)
            else:
                normed = layer(normed)
        return normed

    def kl(p, q):
        return (p * (p.log() - q.log())).sum(1)

    p = batch_pass(x).softmax(1)
    mean = p.mean(0)
    information = -(p * p.log()).sum(1).mean() + mu * (mean * mean.log()).sum()
    d = torch.randn(x.shape, generator=generator(seed), dtype=x.dtype)
    d = (d / d.norm(dim=1, keepdim=True)).requires_grad_()
    (g,) = torch.autograd.grad(kl(p.detach(), batch_pass(x + xi * d).softmax(1)).sum(), d)
    r = epsilon * g / g.norm(dim=1, keepdim=True)
    return kl(p.detach(), batch_pass(x + r).softmax(1)).mean() + lam * information


@pytest.mark.parametrize("mu", [0.0, 1.0, 4.0])
def test_the_loss_and_its_gradient_are_the_authors(mu):
    net, x = model(), points()
    expected = by_hand(net, x, mu, 0.1, 0.7, 2.0, seed=5)
    gradients = torch.autograd.grad(expected, list(net.parameters()))
    perturbation = VirtualAdversarial(epsilon=0.7, xi=2.0)
    terms = self_augmented_loss(net, x, ClusterInformation(mu), [perturbation], generator=generator(5))
    terms.loss.backward()
    assert float(terms.loss) == pytest.approx(float(expected), rel=1e-12)
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-12)


def test_the_parts_add_up():
    net, x = model(), points()
    perturbations = [RandomPerturbation(epsilon=1.0), Augmentation(lambda x, generator: x + 0.1)]
    terms = self_augmented_loss(
        net, x, ClusterInformation(2.0), perturbations, generator=generator(), lam=0.3, weight_decay=0.01
    )
    parts = {name: float(value) for name, value in terms.parts.items()}
    information = parts["conditional entropy"] - 2 * parts["marginal entropy"]
    decay = 0.01 * float(squared_weights(net))
    assert parts["loss"] == pytest.approx(parts["self-augmentation"] + 0.3 * information + decay)
    assert not any(value.requires_grad for value in terms.parts.values())


def test_several_perturbations_add():
    net, x = model(), points()
    one, two = (lambda x, generator: x + 0.2), (lambda x, generator: 1.1 * x)
    alone = [
        float(
            self_augmented_loss(net, x, ClusterInformation(), [Augmentation(f)], generator=generator()).parts[
                "self-augmentation"
            ]
        )
        for f in (one, two)
    ]
    both = self_augmented_loss(
        net, x, ClusterInformation(), [Augmentation(one), Augmentation(two)], generator=generator()
    )
    assert float(both.parts["self-augmentation"]) == pytest.approx(sum(alone))


def test_nothing_that_perturbs_nothing_costs():
    net, x = model(), points()
    for perturbations in ([], [RandomPerturbation(epsilon=0.0)], [VirtualAdversarial(epsilon=0.0)]):
        terms = self_augmented_loss(net, x, ClusterInformation(), perturbations, generator=generator())
        assert float(terms.parts["self-augmentation"]) == 0


def test_expected_sizes():
    net, x = model(), points()
    prior = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    with torch.no_grad():
        logits = net(x)
        terms = ClusterInformation(4.0, prior)(logits)
        expected = losses.conditional_entropy(logits) + 4 * losses.marginal_divergence(logits, prior)
        uniform = ClusterInformation(4.0, torch.ones(3, dtype=torch.float64) / 3)(logits)
        plain = ClusterInformation(4.0)(logits)
    assert float(terms.loss) == pytest.approx(float(expected))
    assert float(uniform.loss - plain.loss) == pytest.approx(4 * math.log(3))


def test_three_passes_forward_with_vat_and_one_update_of_the_statistics():
    net = model()
    counting = Counting(net)
    before = net[1].running_mean.clone()
    x = points()
    self_augmented_loss(counting, x, ClusterInformation(), [VirtualAdversarial(epsilon=1.0)], generator=generator())
    assert counting.calls == 3
    assert net[1].num_batches_tracked == 1
    expected = 0.9 * before + 0.1 * net[0](x).mean(0)
    torch.testing.assert_close(net[1].running_mean, expected.detach())


def test_the_statistics_survive_a_perturbation_that_fails():
    net = model()

    def fails(x, generator):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        self_augmented_loss(net, points(), ClusterInformation(), [Augmentation(fails)], generator=generator())
    net(points())
    assert net[1].num_batches_tracked == 2


def test_names_of_clusters_do_not_matter():
    net, x, order = model(), points(), torch.tensor([2, 0, 1])
    renamed = model()
    with torch.no_grad():
        renamed[-1].weight.copy_(net[-1].weight[order])
        renamed[-1].bias.copy_(net[-1].bias[order])
    found = [
        self_augmented_loss(each, x, ClusterInformation(), [VirtualAdversarial(epsilon=1.0)], generator=generator())
        for each in (net, renamed)
    ]
    for name, value in found[0].parts.items():
        assert float(value) == pytest.approx(float(found[1].parts[name]), rel=1e-12), name
    for each, terms in zip((net, renamed), found, strict=True):
        terms.loss.backward()
        assert each[-1].weight.grad is not None
    torch.testing.assert_close(net[-1].weight.grad[order], renamed[-1].weight.grad)
    torch.testing.assert_close(net[0].weight.grad, renamed[0].weight.grad)


@pytest.mark.parametrize("information", [ClusterInformation(4.0), HashInformation(2.0)])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_huge_logits_have_finite_losses_and_gradients(information, size):
    net = nn.Linear(6, 3)
    with torch.no_grad():
        net.weight.normal_(generator=generator()).mul_(size)
    terms = self_augmented_loss(
        net, points().float(), information, [VirtualAdversarial(epsilon=0.5)], generator=generator()
    )
    terms.loss.backward()
    assert terms.loss.isfinite() and net.weight.grad.isfinite().all()


def test_hash_information_is_that_of_its_module():
    from toolkit.imsat.hash_losses import hash_information

    logits = points(30, 5)
    for weight in (0.0, 1.0, 2.0):
        terms = HashInformation(weight)(logits)
        assert float(terms.loss) == pytest.approx(-float(hash_information(logits, weight)), rel=1e-12)


# Training


def training(net=None, x=None, seed: int = 3, **options) -> Training:
    x = points() if x is None else x
    options = {"information": ClusterInformation(), "perturbations": [VirtualAdversarial(epsilon=0.5)]} | options
    return Training(model() if net is None else net, x, generator=generator(seed), batch_size=16, **options)


def state(run: Training) -> dict[str, torch.Tensor]:
    return run.network.state_dict()


def assert_same(one: Training, other: Training) -> None:
    assert state(one).keys() == state(other).keys()
    for name, value in state(one).items():
        assert torch.equal(value, state(other)[name]), name


def test_a_step_is_one_of_adam_on_a_batch_drawn_anew():
    run, net = training(), model()
    run.step(0)
    chosen = torch.randperm(40, generator=(drawing := generator(3)))[:16]
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    terms = self_augmented_loss(net, points()[chosen], ClusterInformation(), run.perturbations, generator=drawing)
    terms.loss.backward()
    adam.step()
    for one, other in zip(run.network.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_radii_go_with_their_points():
    seen = []

    class Seeing:
        needs_radii = True

        def __call__(self, around, generator):
            seen.append((around.inputs[:, 0], around.radii))
            return around.inputs

    x = points()
    training(x=x, perturbations=[Seeing()], radii=x[:, 0].abs()).step(0)
    ((first, radii),) = seen
    assert torch.equal(first.abs(), radii)


def test_the_loss_falls():
    history = training().run(60)
    assert history["loss"][-10:].mean() < history["loss"][:10].mean() - 0.005


def test_the_batch_is_all_points_if_there_are_fewer():
    run = training(x=points(5))
    assert run.batch_size == 5 and run.per_epoch == 1
    run.run(2)


@pytest.mark.parametrize("stop_after", [1, 7, 19])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_stopped_run_goes_on_bit_for_bit(stop_after, dropout, tmp_path):
    def made():
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)).double()

    torch.manual_seed(0)
    start = made().state_dict()

    def fresh() -> Training:
        net = made() if dropout else model()
        if dropout:
            net.load_state_dict(start)
        return training(net)

    torch.manual_seed(4)
    unbroken, stopped, resumed = fresh(), fresh(), fresh()
    torch.manual_seed(5)
    whole = unbroken.run(20)
    stop = threading.Event()

    def halt(done):
        if done == stop_after:
            stop.set()
        return {}

    torch.manual_seed(5)
    first = stopped.run(20, checkpoint=tmp_path / "c", evaluate=halt, evaluate_every=1, stop=stop)
    assert first.interrupted and first.n_steps == stop_after
    torch.manual_seed(6)
    second = resumed.run(20, checkpoint=tmp_path / "c")
    assert not second.interrupted
    assert_same(unbroken, resumed)
    assert whole.metrics == second.metrics


def test_a_run_goes_on_with_its_mu(tmp_path):
    def fresh() -> Training:
        information = ClusterInformation()
        return training(information=information, growing=GrowingPenalty(information, delta=1e-9))

    unbroken = fresh()
    whole = unbroken.run(20)
    assert whole["mu"][-1] == 2**10
    stop = threading.Event()
    fresh().run(
        20,
        checkpoint=tmp_path / "c",
        evaluate=lambda done: stop.set() if done == 9 else None,
        evaluate_every=1,
        stop=stop,
    )
    resumed = fresh()
    assert resumed.run(20, checkpoint=tmp_path / "c").metrics == whole.metrics
    assert_same(unbroken, resumed)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    training().run(2, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="network"):
        training(model(hidden=(9,))).run(4, checkpoint=tmp_path / "c")


def test_evaluation_sees_the_network_as_predictions_do():
    run, modes = training(), []

    def evaluate(done):
        modes.append((done, run.network.training))
        return {"done": done}

    history = run.run(6, evaluate=evaluate, evaluate_every=2)
    assert modes == [(2, False), (4, False), (6, False)]
    assert history.metrics["done"].steps == (2, 4, 6)
    assert not run.network.training


def test_evaluation_changes_nothing():
    quiet, watched = training(), training()
    quiet.run(10)
    watched.run(10, evaluate=lambda done: {"x": predict_logits(watched.network, points()).sum()}, evaluate_every=1)
    assert_same(quiet, watched)


# The growing penalty


def test_mu_doubles_until_the_clusters_are_equal():
    information = ClusterInformation(7.0)
    penalty = GrowingPenalty(information, delta=0.01)
    assert penalty.mu == 1.0
    uneven = torch.tensor([[9.0, 0.0]]).repeat(10, 1)
    for expected in (2.0, 4.0, 8.0):
        penalty.look(uneven)
        assert information.mu == expected
    penalty.look(torch.zeros(10, 2))
    assert information.mu == 8.0
    for _ in range(20):
        penalty.look(uneven)
    assert information.mu == penalty.most


@pytest.mark.parametrize("prior", [None, [0.7, 0.2, 0.1]])
def test_what_is_too_much(prior):
    q = torch.tensor([1 / 3] * 3 if prior is None else prior, dtype=torch.float64)
    logits = points(20, 3)
    p = logits.softmax(1).mean(0)
    expected = float((p * (p / q).log()).sum()) + 0.05 * float((q * q.log()).sum())
    found = GrowingPenalty(ClusterInformation(1.0, None if prior is None else q), delta=0.05).excess(logits)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_cluster_is_never_too_much(dtype):
    for n in (*range(2, 300), 9999, 70_000):  # on which n rounding goes up depends on the processor
        logits = torch.randn(n, 1, generator=generator()).to(dtype)
        assert GrowingPenalty(ClusterInformation()).excess(logits) <= 0


# Predictions


@pytest.mark.parametrize("mode", [True, False])
def test_predictions_leave_the_mode_and_the_statistics(mode):
    net = model().train(mode)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = predict_logits(net, points())
    assert net.training == mode and not found.requires_grad
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    torch.testing.assert_close(found, net.eval()(points()).detach())


def test_the_mode_is_put_back_after_an_error():
    net = model().train()
    with pytest.raises(RuntimeError):
        predict_logits(net, points(4, 5))
    assert net.training


@pytest.mark.parametrize("chunk", [1, 7, 40, 100])
def test_predictions_in_parts(chunk):
    net = model()
    torch.testing.assert_close(
        predict_logits(net, points(), chunk), predict_logits(net, points()), rtol=1e-12, atol=1e-12
    )
