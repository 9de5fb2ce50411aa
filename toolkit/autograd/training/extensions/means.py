"""Means of observations, cheap enough to be kept at every iteration."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.autograd.tape import Variable

_Tensor = torch.Tensor


class Means:
    """Sums and weights by name, in double precision: a :class:`~toolkit.autograd.training.DictSummary` without spread.

    Values on a GPU are added up there, one after the other, and fetched when somebody asks for the means. Everything
    that is not one number (text, arrays of several elements) is left out.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Any]] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Take in numbers by name; ``(value, weight)`` gives one a weight."""
        sums = self._sums
        for name, value in values.items():
            weight = 1.0
            kind = type(value)
            if kind is tuple and len(value) == 2 and isinstance(value[1], int | float | np.number):
                value, weight = value[0], float(value[1])
                kind = type(value)
            if kind is _Tensor and value.is_cpu:
                try:
                    value = value.item()
                except RuntimeError:
                    continue
                kind = type(value)
            if kind is not float:
                value = _number(value)
                if value is None:
                    continue
                kind = type(value)
            entry = sums.get(name)
            if entry is None:
                entry = sums[name] = [0.0, 0.0]
            if weight != 1.0:
                value = value * weight
            if kind is float:
                entry[0] += value
            else:
                entry[0] = _added(entry[0], value)
            entry[1] += weight

    def compute_mean(self) -> dict[str, float]:
        """Return the means by name, fetched with one transfer from each device."""
        self._fetch()
        return {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return sums and weights, numbered, each with its name (names have slashes, as paths have)."""
        self._fetch()
        return {
            str(position): {"name": name, "total": total, "weight": weight}
            for position, (name, (total, weight)) in enumerate(self._sums.items())
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self._sums = {
            str(state[position]["name"]): [float(state[position]["total"]), float(state[position]["weight"])]
            for position in sorted(state, key=int)
        }

    def _fetch(self) -> None:
        by_device: dict[Any, list[list[Any]]] = {}
        for entry in self._sums.values():
            if type(entry[0]) is not float:
                by_device.setdefault(getattr(entry[0], "device", None), []).append(entry)
        for entries in by_device.values():
            if type(entries[0][0]) is _Tensor:
                totals = torch.stack([entry[0] for entry in entries]).tolist()
            else:
                totals = [entry[0].item() for entry in entries]
            for entry, total in zip(entries, totals, strict=True):
                entry[0] = total


def _added(total: Any, value: Any) -> Any:
    """Add in double precision where the value is."""
    if type(value) is not _Tensor or type(total) is _Tensor:
        return total + value
    # MPS knows no float64.
    wide = torch.float32 if value.device.type == "mps" else torch.float64
    return torch.full((), total, dtype=wide, device=value.device) + value


def _number(value: Any) -> Any:
    """Return one number, as a float or, if it is on a GPU, as a 0-d array there; ``None`` for anything else."""
    if isinstance(value, Variable):
        value = value.data
    if isinstance(value, bool | int | float | np.generic):
        pass
    elif math.prod(getattr(value, "shape", (2,))) != 1:
        return None
    elif isinstance(value, _Tensor) and not value.is_cpu:
        return value.detach().reshape(())
    elif type(value).__module__.startswith("cupy"):
        return value.reshape(()).astype("float64")
    elif hasattr(value, "item"):
        value = value.item()
    try:
        return None if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
