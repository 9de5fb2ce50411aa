"""Gradients through what has none, and expectations over what is random: exact where outcomes can be counted."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit import datasets
from toolkit.adversarial.adaptive import BPDA, ExpectationOverTransformation
from toolkit.adversarial.attacks.gradient import BIM, PGD
from toolkit.adversarial.defences import Defended
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.evaluation import accuracy
from toolkit.adversarial.geometric import RandomResizePad
from toolkit.adversarial.jpeg import JPEG, DifferentiableJPEG
from toolkit.adversarial.models import classifier
from toolkit.adversarial.transforms import BitDepth, Chain, GaussianNoise, MedianFilter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def net(n_pixels: int = 16, n_classes: int = 3) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(n_pixels, 8), nn.Tanh(), nn.Linear(8, n_classes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(2), dtype=torch.float64))
    return model.eval()


def gradient_of(losses: Tensor, images: Tensor) -> Tensor:
    return torch.autograd.grad(losses.sum(), images)[0]


LABELS = torch.tensor([0, 2, 1])


@pytest.mark.parametrize("transform", [BitDepth(2), JPEG(30), MedianFilter(3), Chain((BitDepth(2), JPEG(50)))])
def test_the_identity_gives_the_gradient_at_the_transformed_images(transform):
    images, model = pictures(3, 1, 4, 4).requires_grad_(), net()
    changed = transform(images.detach()).requires_grad_()
    expected = gradient_of(F.cross_entropy(model(changed), LABELS, reduction="none"), changed)
    defence = Defended(model, BPDA(transform))
    assert torch.equal(defence(images), Defended(model, transform)(images))
    assert torch.equal(gradient_of(defence.losses(images, LABELS), images), expected)


def test_a_surrogate_gives_its_own_gradient():
    images, weights = pictures(3, 1, 4, 4).requires_grad_(), pictures(3, 1, 4, 4)
    bpda = BPDA(JPEG(30), lambda x, generator: x**3)
    assert torch.equal(bpda(images), JPEG(30)(images))
    torch.testing.assert_close(gradient_of(bpda(images) * weights, images), 3 * images.detach() ** 2 * weights)


def test_transform_and_surrogate_make_the_same_draws():
    resize, noise = RandomResizePad(2, 4, 5), GaussianNoise(0.1)
    images = pictures(3, 1, 4, 4).requires_grad_()
    bpda = BPDA(Chain((resize, noise)), resize)
    generator, alone = seeded(6), seeded(6)
    result = bpda(images, generator)
    assert torch.equal(result, bpda.transform(images, alone))
    assert torch.equal(generator.get_state(), alone.get_state())
    weights = pictures(3, 1, 5, 5)
    assert torch.equal(gradient_of(result * weights, images), gradient_of(resize(images, seeded(6)) * weights, images))
    assert bpda.random and not BPDA(BitDepth(2)).random


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="surrogate"):
        BPDA(RandomResizePad(2, 4, 5))(pictures(3, 1, 4, 4))


def test_bpda_without_gradients_and_without_images():
    with torch.no_grad():
        assert torch.equal(BPDA(BitDepth(2))(pictures(3, 1, 4, 4)), BitDepth(2)(pictures(3, 1, 4, 4)))
    assert BPDA(JPEG(3))(pictures(0, 1, 4, 4)).shape == (0, 1, 4, 4)
    assert pickle.loads(pickle.dumps(BPDA(JPEG(3), DifferentiableJPEG(3)))) == BPDA(JPEG(3), DifferentiableJPEG(3))


class Outcomes:
    """Every outcome of a random resize and pad with its probability, one after the other."""

    random = True

    def __init__(self, transform: RandomResizePad) -> None:
        self.transform, self.next = transform, 0
        self.draws: list[list[int]] = []
        sides = range(transform.low, transform.high + 1)
        self.most = max(transform.size - side + 1 for side in sides) ** 2
        for side in sides:
            n = transform.size - side + 1
            places = [[side, top, left, 0] for top in range(n) for left in range(n)]
            assert self.most % len(places) == 0
            self.draws += places * (self.most // len(places))

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        draw = self.draws[self.next % len(self.draws)]
        self.next += 1
        return self.transform.place(images, torch.tensor([draw]))


def exact_gradient(model: nn.Module, outcomes: Outcomes, images: Tensor) -> Tensor:
    total = torch.zeros_like(images)
    for draw in outcomes.draws:
        at = images.detach().requires_grad_()
        changed = outcomes.transform.place(at, torch.tensor([draw]))
        total += gradient_of(F.cross_entropy(model(changed), LABELS, reduction="none"), at) / len(outcomes.draws)
    return total


def test_all_outcomes_once_give_the_exact_expectation():
    images, model = pictures(3, 1, 4, 4).requires_grad_(), net()
    outcomes = Outcomes(RandomResizePad(3, 4, 4))
    assert len(outcomes.draws) == 8  # four places of side 3, and one of side 4 that is four times as likely
    seen = ExpectationOverTransformation(Defended(model, outcomes), n_draws=8)
    expected = exact_gradient(model, outcomes, images)
    torch.testing.assert_close(gradient_of(seen.losses(images, LABELS), images), expected)
    probabilities = sum(
        model(outcomes.transform.place(images, torch.tensor([draw]))).softmax(1) for draw in outcomes.draws
    )
    torch.testing.assert_close(seen(images).exp(), probabilities / 8)


def test_random_draws_tend_to_the_exact_expectation():
    images, model = pictures(3, 1, 4, 4).requires_grad_(), net()
    transform = RandomResizePad(3, 4, 4)
    expected = exact_gradient(model, Outcomes(transform), images)
    runs = [
        gradient_of(ExpectationOverTransformation(Defended(model, transform), 40, seed).losses(images, LABELS), images)
        for seed in range(16)
    ]
    stacked = torch.stack(runs)
    error = (stacked.mean(0) - expected).abs()
    assert (error <= 5 * stacked.std(0) / 4 + 1e-9).all()
    single = ExpectationOverTransformation(Defended(model, transform), 1)
    assert not torch.allclose(gradient_of(single.losses(images, LABELS), images), expected, rtol=0.01)


def test_the_defences_own_generators_stay_where_they_are():
    images, labels = pictures(3, 1, 4, 4), LABELS
    inside = Defended(net(), GaussianNoise(0.3), seed=5)
    seen = ExpectationOverTransformation(Ensemble([inside, net()]), 4, seed=1)
    state = inside.generator.get_state()
    first = seen.losses(images, labels)
    assert torch.equal(inside.generator.get_state(), state)
    assert torch.equal(
        first, ExpectationOverTransformation(Ensemble([inside, net()]), 4, seed=1).losses(images, labels)
    )
    assert not torch.equal(first, seen.losses(images, labels))
    assert torch.equal(seen(images, seeded(3)), seen(images, seeded(3)))
    assert torch.equal(copy.deepcopy(seen)(images), seen(images))


def test_the_mean_loss_is_that_of_the_models_own_losses():
    images = pictures(3, 1, 4, 4)
    ensemble = Ensemble([net(), net()], fuse="loss")
    torch.testing.assert_close(
        ExpectationOverTransformation(ensemble, 3).losses(images, LABELS), ensemble.losses(images, LABELS)
    )


def test_jensen_the_mean_loss_is_no_less_than_the_loss_of_the_mean():
    images = pictures(3, 1, 4, 4)
    seen = ExpectationOverTransformation(Defended(net(), GaussianNoise(0.5)), 10)
    mean_loss = seen.losses(images, LABELS, seeded(1))
    assert (mean_loss >= F.cross_entropy(seen(images, seeded(1)), LABELS, reduction="none") - 1e-12).all()


def test_wrong_arguments():
    with pytest.raises(ValueError):
        ExpectationOverTransformation(net(), 0)
    with pytest.raises(TypeError):
        ExpectationOverTransformation(net(), 2.5)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    data = datasets.load("fashion_mnist")
    images, labels = data.images[:2000].view(-1, 1, 28, 28) / 255, data.labels[:2000].long()
    model = classifier("lenet", width=0.5, generator=seeded())
    optimiser, generator = torch.optim.Adam(model.parameters(), 3e-3), seeded(1)
    for _ in range(3):
        for batch in torch.randperm(len(images), generator=generator).split(50):
            optimiser.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    test = data.images[2000:2060].view(-1, 1, 28, 28) / 255
    return model.eval().requires_grad_(False), test, data.labels[2000:2060].long()


def test_bit_depth_stops_plain_gradients_and_not_bpda(trained):
    model, images, labels = trained
    defence = Defended(model, BitDepth(3))
    clean = accuracy(defence, images, labels)
    assert clean > 0.7
    assert torch.equal(BIM()(defence, images, labels, epsilon=0.1), images)
    plain = PGD(n_steps=10)(defence, images, labels, epsilon=0.1, generator=seeded())
    adapted = PGD(n_steps=10)(Defended(model, BPDA(BitDepth(3))), images, labels, epsilon=0.1, generator=seeded())
    assert accuracy(defence, plain, labels) > clean - 0.15
    assert accuracy(defence, adapted, labels) < 0.1


@pytest.mark.parametrize("surrogate", [None, DifferentiableJPEG(60)])
def test_jpeg_stops_plain_gradients_and_not_bpda(trained, surrogate):
    model, images, labels = trained
    defence = Defended(model, JPEG(60))
    clean = accuracy(defence, images, labels)
    assert clean > 0.7
    with pytest.raises(ValueError, match="BPDA"):
        PGD(n_steps=10)(defence, images, labels, epsilon=0.1)
    seen = Defended(model, BPDA(JPEG(60), surrogate))
    adapted = PGD(n_steps=10)(seen, images, labels, epsilon=0.1, generator=seeded())
    assert accuracy(defence, adapted, labels) < 0.3 < clean - 0.3


def test_randomisation_falls_to_the_expectation(trained):
    model, images, labels = trained
    defence = Defended(model, RandomResizePad(25, 28, 28), n_draws=10)
    clean = accuracy(defence, images, labels)
    assert clean > 0.6
    # An attacker who does not know of the randomisation, and one who averages over it.
    plain = PGD(n_steps=8)(model, images, labels, epsilon=0.08, generator=seeded())
    single = Defended(model, RandomResizePad(25, 28, 28))
    seen = ExpectationOverTransformation(single, n_draws=8)
    adapted = PGD(n_steps=8)(seen, images, labels, epsilon=0.08, generator=seeded())
    assert accuracy(defence, adapted, labels) < accuracy(defence, plain, labels)
