"""What an in-place change of one gradient does to another, with the naive tape and with ours."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.explorers.naive_tape import Tensor
from toolkit.lessons import View, controls
from toolkit.lessons.svg import image_grid

_A, _B, _C = 0, 1, 3  # digits: the first image of each


@dataclass(frozen=True)
class ClippedGradients:
    """Gradients of Σ (a + b)·c after that of ``a`` alone was clipped in place.

    Attributes:
        naive: by the naive tape, for ``a`` and ``b``.
        ours: by ``toolkit.autograd``, for ``a`` and ``b``.
        exact: the gradient for ``b``, which nobody touched: ``c``.
        limit: where ``a``'s gradient was clipped.
    """

    naive: tuple[Float[np.ndarray, "8 8"], Float[np.ndarray, "8 8"]]
    ours: tuple[Float[np.ndarray, "8 8"], Float[np.ndarray, "8 8"]]
    exact: Float[np.ndarray, "8 8"]
    limit: float

    @property
    def corrupted(self) -> tuple[int, int]:
        """How many values of ``b``'s gradient are wrong: with the naive tape, with ours."""
        return int((self.naive[1] != self.exact).sum()), int((self.ours[1] != self.exact).sum())

    def __repr__(self) -> str:
        return f"ClippedGradients(at {self.limit:g}: wrong values naive {self.corrupted[0]}, ours {self.corrupted[1]})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _three_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    split = load("digits").train
    images, labels = split.as_float().numpy().astype(np.float64), split.labels.numpy()
    return tuple(images[int(np.flatnonzero(labels == digit)[0])].copy() for digit in (_A, _B, _C))  # type: ignore[return-value]


def clip_one_gradient(limit: float) -> ClippedGradients:
    """Differentiate Σ (a + b)·c for three real digits with both tapes, then clip the gradient for ``a`` in place.

    Args:
        limit: largest value left in the gradient for ``a``.
    """
    a, b, c = _three_digits()
    naive = Tensor(a), Tensor(b)
    ((naive[0] + naive[1]) * Tensor(c)).backward()
    ours = Variable(a, requires_grad=True), Variable(b, requires_grad=True)
    F.sum((ours[0] + ours[1]) * c).backward()
    for first in (naive[0], ours[0]):
        np.clip(first.grad, None, limit, out=first.grad)
    return ClippedGradients((naive[0].grad, naive[1].grad), (ours[0].grad, ours[1].grad), c, limit)


def draw(result: ClippedGradients) -> Svg:
    """Draw the four gradients; a gradient that is not what it should be has a thick frame."""
    wrong = [number for number, count in ((1, result.corrupted[0]), (3, result.corrupted[1])) if count]
    return image_grid(
        np.stack([*result.naive, *result.ours]),
        captions=["naive: a, clipped", "naive: b", "ours: a, clipped", "ours: b"],
        columns=4,
        size=132,
        title=f"Gradients after clipping a's in place{' (thick frame: wrong)' if wrong else ': all as they should be'}",
        marked=wrong,
    )


def describe(result: ClippedGradients) -> str:
    """Say how many values of the other gradient changed."""
    naive, ours = result.corrupted
    clipped = f"Only a's gradient was clipped, at {result.limit:.2f}"
    if not any(result.corrupted) and np.array_equal(result.naive[0], result.exact):
        return f"{clipped}, which changed none of its values: both tapes agree."
    return (
        f"{clipped}. With the naive tape {naive or 'none'} of the 64 values of b's gradient changed too; with ours "
        f"{ours or 'none'}."
    )


def explore_shared_gradients() -> View:
    """Return a view of two gradients of which one is clipped in place, with a slider for the limit."""
    slider = controls.float_slider("clip a's gradient at", 0.4, 0.0, 1.0, step=0.05)
    return View({"limit": slider}, clip_one_gradient, draw, describe)
