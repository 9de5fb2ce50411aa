"""Models behind transforms: what they answer, whose generator draws, and that they are modules like others."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from toolkit.adversarial.defences import Defended, drawing_from, mmd_defence, weighted_defence
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.geometric import RandomAffine, RandomResizePad
from toolkit.adversarial.jpeg import JPEG
from toolkit.adversarial.models import classifier
from toolkit.adversarial.transforms import BitDepth, Chain, GaussianNoise, MedianFilter

NOISE = GaussianNoise(0.2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def net(name: str = "lenet", seed: int = 0) -> nn.Module:
    return classifier(name, (1, 8, 8), 4, width=0.25, generator=seeded(seed)).eval()


def test_the_model_sees_the_transformed_images():
    model, images = net(), pictures(5, 1, 8, 8)
    assert torch.equal(Defended(model, MedianFilter(2))(images), model(MedianFilter(2)(images)))
    generator = seeded(4)
    assert torch.equal(Defended(model, NOISE, seed=4)(images), model(NOISE(images, generator)))


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_several_draws_are_averaged(average):
    model, images, generator = net().double(), pictures(5, 1, 8, 8, dtype=torch.float64), seeded(4)
    outputs = torch.stack([model(NOISE(images, generator)) for _ in range(7)])
    expected = outputs.mean(0) if average == "logits" else outputs.softmax(2).mean(0).log()
    found = Defended(model, NOISE, 7, average, seed=4)(images)
    torch.testing.assert_close(found, expected)
    if average == "probabilities":
        torch.testing.assert_close(found.exp().sum(1), torch.ones(5, dtype=torch.float64))


def test_sure_answers_stay_finite():
    class Sure(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 1e4 * torch.stack((images.sum((1, 2, 3)), -images.sum((1, 2, 3))), 1)

    assert Defended(Sure().eval(), NOISE, 5)(pictures(3, 1, 8, 8)).isfinite().all()


def test_without_randomness_one_pass_is_enough():
    calls = []

    class Counting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(1)
            return images.flatten(1)

    Defended(Counting(), BitDepth(3), n_draws=30)(pictures(2, 1, 2, 2))
    assert len(calls) == 1
    Defended(Counting(), NOISE, n_draws=30)(pictures(2, 1, 2, 2))
    assert len(calls) == 31


def test_its_own_generator_and_a_given_one():
    model, images = net(), pictures(5, 1, 8, 8)
    first, second = Defended(model, NOISE, 3, seed=1), Defended(model, NOISE, 3, seed=1)
    answers = [first(images) for _ in range(3)]
    assert all(torch.equal(answer, second(images)) for answer in answers)
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], Defended(model, NOISE, 3, seed=2)(images))
    state = first.generator.get_state()
    assert torch.equal(first(images, seeded(8)), first(images, generator=seeded(8)))
    assert torch.equal(first.generator.get_state(), state)
    global_state = torch.get_rng_state()
    first(images)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_a_given_generator_reaches_defences_inside():
    images = pictures(4, 1, 8, 8)
    inner = Defended(net(), NOISE, seed=3)
    outer = Defended(Ensemble([inner, net(seed=1)]), NOISE, seed=5)
    state = inner.generator.get_state()
    assert torch.equal(outer(images, seeded(9)), outer(images, seeded(9)))
    assert torch.equal(inner.generator.get_state(), state)
    with pytest.raises(RuntimeError), drawing_from(outer, seeded(1)):
        assert inner.generator is outer.generator
        raise RuntimeError
    assert inner.generator is not outer.generator
    with drawing_from(lambda x: x, seeded(1)):
        pass


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_go_on_where_the_original_stands(copied):
    images, defence = pictures(3, 1, 8, 8), Defended(net(), Chain((NOISE, RandomAffine(10))), 2)
    defence(images)
    other = copied(defence)
    assert torch.equal(defence(images), other(images))
    assert other.generator is not defence.generator


def test_it_is_a_module():
    defence = Defended(net(), MedianFilter(2))
    assert not defence.training and Defended(net().train(), MedianFilter(2)).training
    assert defence.train().model.training and not defence.eval().model.training
    assert {name.split(".")[0] for name in defence.state_dict()} == {"model"}
    assert defence.double()(pictures(2, 1, 8, 8, dtype=torch.float64)).dtype == torch.float64
    assert "MedianFilter(size=2" in repr(defence)
    assert defence.float()(pictures(0, 1, 8, 8)).shape == (0, 4)


def test_any_function_of_images_and_a_generator_will_do():
    model, images = net(), pictures(2, 1, 8, 8)
    assert torch.equal(Defended(model, lambda x, generator: 1 - x)(images), model(1 - images))


def test_losses():
    images, labels = pictures(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    ensemble = Ensemble([net(seed=1), net(seed=2)], fuse="loss")
    filtered = MedianFilter(2)(images)
    assert torch.equal(Defended(ensemble, MedianFilter(2)).losses(images, labels), ensemble.losses(filtered, labels))
    expected = nn.functional.cross_entropy(net()(filtered), labels, reduction="none")
    assert torch.equal(Defended(net(), MedianFilter(2)).losses(images, labels), expected)
    noisy = Defended(net(), NOISE, 6)
    expected = nn.functional.cross_entropy(noisy(images, seeded(2)), labels, reduction="none")
    assert torch.equal(noisy.losses(images, labels, seeded(2)), expected)


def test_gradients_flow_through_all_but_the_steps():
    for transform, flows in ((MedianFilter(2), True), (RandomResizePad(6, 8, 8), True), (BitDepth(3), False)):
        images = pictures(2, 1, 8, 8).requires_grad_()
        Defended(net(), transform)(images).sum().backward()
        assert bool(images.grad.any()) == flows


def test_team_erko():
    images, models = pictures(6, 1, 8, 8), [net(seed=seed) for seed in range(3)]
    defence = Defended(Ensemble(models, fuse="probabilities"), MedianFilter(2))
    expected = torch.stack([model(MedianFilter(2)(images)).softmax(1) for model in models]).mean(0)
    torch.testing.assert_close(defence(images).softmax(1), expected)


def test_team_iyswim():
    images, model, generator = pictures(6, 1, 7, 7), net().double(), seeded(0)
    images, transform = images.double(), RandomResizePad(5, 7, 8, flip=True, fill=0.5)
    total = torch.zeros(6, 4, dtype=torch.float64)
    for _ in range(30):
        ((side, top, left, flipped),) = transform.draw(1, generator).tolist()
        resized = nn.functional.interpolate(images, size=(side, side), mode="nearest")
        canvas = torch.full((6, 1, 8, 8), 0.5, dtype=torch.float64)
        canvas[:, :, top : top + side, left : left + side] = resized
        total += model(canvas.flip(3) if flipped else canvas).softmax(1)  # the released code mirrors what is padded
    found = Defended(model, transform, n_draws=30)(images)
    torch.testing.assert_close(found.softmax(1), total / 30)


def test_a_weighted_sum_of_defences():
    images, first, second = pictures(5, 1, 8, 8).double(), net().double(), net("vgg").double()
    defence = weighted_defence([(0.7, NOISE, first), (0.1, JPEG(50), first), (0.2, NOISE, second)], seed=10)
    logits = (
        0.7 * first(NOISE(images, seeded(10))) + 0.1 * first(JPEG(50)(images)) + 0.2 * second(NOISE(images, seeded(12)))
    )
    torch.testing.assert_close(defence(images), logits)
    with pytest.raises(ValueError):
        weighted_defence([])
    with pytest.raises(ValueError):
        weighted_defence([(0.0, NOISE, first)])


@pytest.mark.parametrize("n_plain", [0, 1, 2])
def test_team_anil_thomas(n_plain):
    images, models = pictures(5, 1, 8, 8), [net(seed=seed) for seed in range(4)]
    defence = mmd_defence(models[0], models[1], models[2 : 2 + n_plain])
    weights = [0.7, 0.1, 0.2, 0.1, 0.1, 0.05][: 4 + n_plain]
    torch.testing.assert_close(defence.weights, torch.tensor(weights).double() / sum(weights))
    assert torch.equal(defence(images), mmd_defence(models[0], models[1], models[2 : 2 + n_plain])(images))
    assert [member.transform.random for member in defence.members] == [True, False, True, False, True, True][
        : 4 + n_plain
    ]
    assert not defence.training
    # Small jitter: on a smooth picture it changes little.
    ramp = torch.linspace(0, 1, 40).expand(2, 1, 40, 40)
    inside = defence.members[0].transform(ramp)[:, :, 8:-8, 8:-8] - ramp[:, :, 8:-8, 8:-8]
    assert 0 < inside.abs().max() < 0.15
    with pytest.raises(ValueError):
        mmd_defence(models[0], models[1], models[:3])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Defended(net(), NOISE, 0),
        lambda: Defended(net(), NOISE, 1, "votes"),
        lambda: Defended(net(), NOISE, seed=-1),
        lambda: Defended(net(), "median"),
        lambda: Defended(lambda x: x, NOISE),
        lambda: Defended(net(), NOISE)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises((ValueError, TypeError)):
        make()
