"""IMSAT on a GPU: losses, radii, retrieval and training are the CPU's, up to rounding."""

import numpy as np
import pytest
import torch

from toolkit.imsat import IMSAT, IMSATHash
from toolkit.imsat.affine import AffineAugmentation
from toolkit.imsat.hash_losses import bernoulli_divergence, bit_information, pairwise_information
from toolkit.imsat.losses import conditional_entropy, divergence, marginal_divergence, marginal_entropy
from toolkit.imsat.models import network
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.perturbations import RandomPerturbation, VirtualAdversarial
from toolkit.imsat.retrieval import evaluate_retrieval
from toolkit.imsat.training import ClusterInformation, HashInformation, Training

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "loss",
    [
        marginal_entropy,
        conditional_entropy,
        marginal_divergence,
        lambda z: marginal_divergence(z, torch.arange(1.0, 8, dtype=z.dtype, device=z.device)),
        lambda z: divergence(z, z.flip(0)),
        lambda z: bernoulli_divergence(z, z.flip(0)),
        bit_information,
        pairwise_information,
    ],
)
def test_losses_and_their_gradients(loss, device: str):
    found = []
    for where in ("cpu", device):
        logits = (3 * draw(40, 7)).to(where).requires_grad_()
        value = loss(logits)
        (gradient,) = torch.autograd.grad((value * torch.ones_like(value)).sum(), logits)
        found.append((value.detach().cpu(), gradient.cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radii(dtype, device: str):
    x = draw(700, 30).to(dtype)
    x[5] = x[6]
    here, there = neighbour_distances(x, 10), neighbour_distances(x.to(device), 10)
    assert there.device.type == device
    torch.testing.assert_close(there.cpu(), here)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n_bits", [16, 70])
def test_retrieval(n_bits: int, device: str):
    bits, labels = draw(1200, n_bits) > 0, np.arange(1200) % 10
    scores = [
        evaluate_retrieval(bits[:50].to(where), labels[:50], bits[50:].to(where), labels[50:], n=100)
        for where in ("cpu", device)
    ]
    here, there = scores
    for name in ("mean_average_precision", "precision_at_n", "precision_within_radius"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-9), name


@pytest.mark.parametrize("device", DEVICES)
def test_distortions(device: str):
    images = draw(9, 28, 28)
    moved = [
        AffineAugmentation()(images.to(where), torch.Generator().manual_seed(1)).cpu() for where in ("cpu", device)
    ]
    torch.testing.assert_close(moved[1], moved[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("information", [ClusterInformation, HashInformation])
@pytest.mark.parametrize("perturbation", [VirtualAdversarial, RandomPerturbation])
def test_some_steps_of_training(information, perturbation, device: str):
    histories, networks = [], []
    for where in ("cpu", device):
        generator = torch.Generator().manual_seed(3)
        net = network(20, 5, hidden=(16, 12), initialization="official", generator=generator).double().to(where)
        x = draw(200, 20).to(where)
        training = Training(
            net, x, information(), [perturbation()], generator, radii=neighbour_distances(x, 10), batch_size=50
        )
        histories.append(training.run(8))
        networks.append(net)
    for name in histories[0].metrics:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-7, atol=1e-9, err_msg=name)
    assert networks[1][1].num_batches_tracked == 8


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [IMSAT, IMSATHash])
def test_estimators(make, device: str, tmp_path):
    x = draw(120, 10).numpy()
    fits = []
    for where in ("cpu", device):
        model = make(4, hidden=(8,), epochs=2, batch_size=40, random_state=0, dtype="float64", device=where)
        radii = neighbour_distances(torch.tensor(x, device=where), 10)  # on the device, as studies give them
        fits.append(model.fit(x, radii=radii, checkpoint=tmp_path / where))
    assert next(fits[1].network_.parameters()).device.type == device
    np.testing.assert_allclose(fits[1].predict_proba(x), fits[0].predict_proba(x), rtol=1e-6)
    assert fits[1].loss_ == pytest.approx(fits[0].loss_, rel=1e-6)
    fits[1].network_.to("cpu")
    np.testing.assert_allclose(fits[1].predict_proba(torch.tensor(x)), fits[0].predict_proba(x), rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_fit_leaves_the_devices_generators_alone(device: str):
    state = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    IMSAT(2, hidden=(4,), epochs=1, device=device).fit(draw(30, 3).to(device))
    after = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    assert torch.equal(after, state)
