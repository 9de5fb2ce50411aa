"""What a fit is defined by, in plain values, so that a checkpoint of another one is refused."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.core.checkpoints import load_checkpoint

# What may change between the sessions of one fit.
_FREE = {"epochs", "n_init", "device", "cache", "warm_start"}


def fit_configuration(
    parameters: Mapping[str, Any], inputs: Tensor, start: nn.Module | None, checkpoint: str | os.PathLike[str]
) -> dict[str, Any] | None:
    """Describe a fit.

    Args:
        parameters: of the estimator.
        inputs: the points.
        start: the network that a warm start goes on from.
        checkpoint: the file, which need not be there.

    Returns:
        Plain values by name; ``None`` if the file tells of no configuration, so that there is nothing to compare.
    """
    if os.path.exists(checkpoint) and load_checkpoint(checkpoint).config is None:
        return None
    described = {name: _plain(value) for name, value in parameters.items() if name not in _FREE}
    points = {"shape": list(inputs.shape), "sha256": _digest(inputs)}
    weights = None if start is None else [_digest(value) for value in start.state_dict().values()]
    return described | {"points": points, "start": weights}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, np.integer, np.floating)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, nn.Module):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__qualname__} | fields
    # A function by its name; its address differs from session to session.
    return getattr(value, "__qualname__", type(value).__qualname__)


def _digest(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()
