"""Small classifiers for the tests of attacks: a linear one with a closed form, and one that is trained in a second."""

import functools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from toolkit.adversarial.models import classifier


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self, n_classes: int = 4, shape=(1, 5, 6), dtype=torch.float64, scale: float = 1.0, seed: int = 0):
        super().__init__()
        n = shape[0] * shape[1] * shape[2]
        self.weight = nn.Parameter(scale * torch.randn(n_classes, n, generator=seeded(seed), dtype=dtype))
        self.bias = nn.Parameter(0.1 * scale * torch.randn(n_classes, generator=seeded(seed + 1), dtype=dtype))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T + self.bias

    def boundaries(self, images: Tensor, labels: Tensor, norm: str = "l2") -> Tensor:
        """Return the distance of each image to the boundary with each other class, infinite for its own."""
        logits, order = self(images), {"l2": 2, "linf": 1}[norm]
        gaps = logits.gather(1, labels[:, None]) - logits
        slopes = (self.weight[None] - self.weight[labels][:, None]).norm(p=order, dim=2)
        return (gaps / slopes).masked_fill(F.one_hot(labels, logits.shape[1]).bool(), torch.inf).detach()


class Flat(nn.Module):
    """Logits that do not change with the image: all gradients are zero."""

    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :1] * 0 + images.new_tensor([2.0, 1.0, 0.0])


def grey(n: int = 8, shape=(1, 5, 6), dtype=torch.float64, spread: float = 0.1, seed: int = 3) -> Tensor:
    """Images far from black and white, where the box does not act."""
    return 0.5 + spread * (torch.rand(n, *shape, generator=seeded(seed), dtype=dtype) - 0.5)


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """All 1,797 digits, 8×8 in [0, 1], shuffled, and their labels."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=seeded(5))
    return torch.as_tensor(images, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16, torch.as_tensor(labels)[order]


@functools.cache
def trained(name: str = "lenet", width: float = 0.5) -> nn.Module:
    """A classifier of the digits, in evaluation mode."""
    images, labels = digits()
    model = classifier(name, (1, 8, 8), width=width, generator=seeded(7))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for epoch in range(6):
        for rows in torch.randperm(1500, generator=seeded(epoch)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return model.eval()


def held_out(n: int = 40) -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[1500 : 1500 + n], labels[1500 : 1500 + n]


def l2(change: Tensor) -> Tensor:
    return change.flatten(1).norm(dim=1)
