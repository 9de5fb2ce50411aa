"""What a fit needs beside the loop: a network that fits the points, their radii, and the loss on all of them."""

import copy
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.imsat.models import squared_weights
from toolkit.imsat.training import Training, predict_logits, self_augmented_loss

_CHUNK = 4096


def fitting_network(
    operation: str, given: nn.Module, inputs: Float[Tensor, "points features"], n_outputs: int
) -> nn.Module:
    """Return a copy of a network where the points are, once it is seen to fit them.

    Args:
        operation: for the error.
        given: any module; it stays as it is.
        inputs: the points.
        n_outputs: for each point.

    Raises:
        ValueError: it does not take the points, has another number of outputs, or nothing to train.
    """
    made = copy.deepcopy(given).to(device=inputs.device, dtype=inputs.dtype)
    try:
        logits = predict_logits(made, inputs[:2])
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        reject(operation, "network", f"a module that takes {inputs.shape[1]} features and gives logits", problem)
    expected = f"a module with {n_outputs} outputs for a point"
    require(logits.shape == (2, n_outputs), operation, "network", expected, tuple(logits.shape[1:]))
    trained = any(parameter.requires_grad for parameter in made.parameters())
    require(trained, operation, "network", "a module with parameters to train", "none that requires a gradient")
    return made


def given_radii(operation: str, radii: Any, inputs: Float[Tensor, "points features"]) -> Float[Tensor, " points"]:
    """Return distances that the user knows, where the points are.

    Args:
        operation: for the error.
        radii: one distance a point: a tensor, an array or a list.
        inputs: the points.

    Raises:
        ValueError: not one finite distance >= 0 for each point.
        TypeError: no numbers.
    """
    expected = f"one distance >= 0 for each of the {len(inputs)} points"
    try:
        given = torch.as_tensor(
            radii if isinstance(radii, Tensor) else np.asarray(radii, dtype=np.float64),
            dtype=inputs.dtype,
            device=inputs.device,
        ).detach()
    except (TypeError, ValueError):
        reject(operation, "radii", expected, type(radii).__name__, kind=TypeError)
    require(given.shape == (len(inputs),), operation, "radii", expected, tuple(given.shape))
    fine = bool((given >= 0).all() and given.isfinite().all())
    require(fine, operation, "radii", expected, "negative, infinite or NaN ones")
    return given


def full_loss(training: Training, seed: int) -> float:
    """Return the loss on all data in evaluation mode, for the choice among restarts: no label is needed.

    Args:
        training: a finished one; its network is left in evaluation mode.
        seed: of the perturbations' directions.
    """
    generator = resolve_generator(seed=seed)
    training.network.eval()
    n = len(training.inputs)
    changed = 0.0
    for chosen in torch.arange(n, device=training.inputs.device).split(_CHUNK):
        terms = self_augmented_loss(
            training.network,
            training.inputs[chosen],
            training.information,
            training.perturbations,
            generator=generator,
            radii=None if training.radii is None else training.radii[chosen],
        )
        changed += float(terms.parts["self-augmentation"]) * len(chosen) / n
    with torch.no_grad():
        information = training.information(predict_logits(training.network, training.inputs))
        decay = training.weight_decay * float(squared_weights(training.network)) if training.weight_decay else 0.0
    return changed + training.lam * float(information.loss) + decay


def is_finite(network: nn.Module, loss: float) -> bool:
    """Return whether a loss and everything in a network are finite.

    Infinite running variances make every prediction the same without making the loss infinite.
    """
    tensors = [*network.parameters(), *network.buffers()]
    return math.isfinite(loss) and all(bool(tensor.isfinite().all()) for tensor in tensors)
