"""IMSAT written with this toolkit's own automatic differentiation, as a user of Chainer would have in 2017.

The authors' code was written in Chainer, whose design the package ``autograd`` rebuilds. Here the same network is
trained on the same loss by its links, functions and optimizers: step for step it gives the losses of ``toolkit.imsat``,
which runs on torch. Directions and batches are drawn as there.

Source: the authors' code (github.com/weihua916/imsat); the passes that leave the running statistics alone follow it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F
from toolkit.autograd.links import BatchNormalization, Chain, Linear, default_arrays
from toolkit.autograd.optimizers import Adam
from toolkit.core.devices import draw_normal, draw_permutation

Array = Float64[np.ndarray, "..."]


class Encoder(Chain):
    """Linear, batch normalisation, ReLU, twice, and a last linear layer whose outputs are logits.

    Args:
        weights: of the three linear layers, ``[outputs, inputs]``; biases start at 0.
    """

    def __init__(self, weights: tuple[Array, Array, Array]) -> None:
        super().__init__()
        units = [len(weight) for weight in weights]
        with default_arrays("numpy", dtype="float64"), self.init_scope():
            self.fc1 = Linear(None, units[0], initialW=weights[0].copy())
            self.fc2 = Linear(None, units[1], initialW=weights[1].copy())
            self.fc3 = Linear(None, units[2], initialW=weights[2].copy())
            self.bn1 = BatchNormalization(units[0])
            self.bn2 = BatchNormalization(units[1])

    def forward(self, x: Any, update_batch_stats: bool = True) -> Variable:
        """Return logits ``[batch, clusters]``.

        Args:
            x: the points, ``[batch, features]``.
            update_batch_stats: whether the running statistics follow; those of the batch are used either way.
        """
        h = F.relu(_normalize(self.bn1, self.fc1(x), update_batch_stats))
        h = F.relu(_normalize(self.bn2, self.fc2(h), update_batch_stats))
        return self.fc3(h)


def entropy(log_p: Variable) -> Variable:
    """Return −Σ p log p over the last axis."""
    return -F.sum(F.exp(log_p) * log_p, axis=-1)


def kl_divergence(p_logit: Any, q_logit: Variable) -> Variable:
    """Return KL(p ‖ q) of each row of two arrays of logits."""
    log_p = F.log_softmax(p_logit)
    return F.sum(F.exp(log_p) * (log_p - F.log_softmax(q_logit)), axis=-1)


def vat_direction(
    encoder: Encoder, x: Array, p_logit: Array, d: Array, *, xi: float = 10.0, power_iterations: int = 1
) -> Array:
    """Return the direction in which each prediction changes most, by power iteration.

    Args:
        encoder: the network; its parameters get no gradient.
        x: the points.
        p_logit: their logits.
        d: where to begin, one random vector for each point.
        xi: how far away the gradient is taken.
        power_iterations: how often.

    Returns:
        Vectors of length 1.
    """
    d = _unit(d)
    for _ in range(power_iterations):
        direction = Variable(d, requires_grad=True)
        kl = F.sum(kl_divergence(p_logit, encoder(x + xi * direction, update_batch_stats=False)))
        d = _unit(grad(kl, direction).data)
    return d


def loss_terms(
    encoder: Encoder, x: Array, epsilon: Array, d: Array, *, lam: float = 0.1, mu: float = 4.0, xi: float = 10.0
) -> dict[str, Variable]:
    """Return R_SAT + λ (H(Y|X) − μ H(Y)) with virtual adversarial training, and its parts.

    Args:
        encoder: the network.
        x: a batch, ``[batch, features]``.
        epsilon: length of each point's step, ``[batch]``.
        d: random vectors like ``x``.
        lam: λ.
        mu: μ.
        xi: ξ.

    Returns:
        The loss and its parts, named as in ``history_`` of ``toolkit.imsat.IMSAT``.
    """
    logits = encoder(x)
    log_p = F.log_softmax(logits)
    conditional = F.mean(entropy(log_p))
    marginal = entropy(F.logsumexp(log_p, axis=0) - np.log(len(x)))
    clean = logits.data.copy()  # a constant: the target does not chase the perturbed prediction
    moved = x + epsilon[:, None] * vat_direction(encoder, x, clean, d, xi=xi)
    changed = F.mean(kl_divergence(clean, encoder(moved, update_batch_stats=False)))
    return {
        "loss": changed + lam * (conditional - mu * marginal),
        "self-augmentation": changed,
        "marginal entropy": marginal,
        "conditional entropy": conditional,
    }


def train(
    encoder: Encoder,
    x: Array,
    radii: Array,
    n_steps: int,
    generator: torch.Generator,
    *,
    batch_size: int = 250,
    alpha: float = 0.25,
    learning_rate: float = 2e-3,
    **loss_options: float,
) -> list[Mapping[str, float]]:
    """Train by Adam on batches drawn anew at each step.

    Args:
        encoder: the network, changed in place.
        x: all points, ``[points, features]``.
        radii: distance of each point to its neighbour, ``[points]``.
        n_steps: updates.
        generator: draws batches and directions, in the order in which ``toolkit.imsat.training`` draws them.
        batch_size: points in a batch.
        alpha: ε in units of the radii.
        learning_rate: of Adam.
        **loss_options: λ, μ and ξ, see :func:`loss_terms`.

    Returns:
        The loss and its parts at each step.
    """
    optimizer = Adam(lr=learning_rate).setup(encoder)
    history: list[Mapping[str, float]] = []
    for _ in range(n_steps):
        chosen = draw_permutation(len(x), generator=generator)[:batch_size].numpy()
        d = draw_normal(x[chosen].shape, generator=generator, dtype=torch.float64).numpy()
        terms = loss_terms(encoder, x[chosen], alpha * radii[chosen], d, **loss_options)
        encoder.cleargrads()
        terms["loss"].backward()
        optimizer.update()
        history.append({name: float(term.data) for name, term in terms.items()})
    return history


def _normalize(link: BatchNormalization, x: Variable, update_batch_stats: bool) -> Variable:
    if update_batch_stats:
        return link(x)
    return F.batch_normalization(x, link.gamma, link.beta, eps=link.eps)


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
