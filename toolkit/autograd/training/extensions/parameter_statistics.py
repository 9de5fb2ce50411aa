"""Mean, spread, extremes, percentiles and zeros of every parameter and its gradient, computed where they live."""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import torch

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.training.extension import PRIORITY_WRITER, Extension
from toolkit.autograd.training.extensions.subjects import named_links, publish
from toolkit.core.errors import reject, require

STATISTICS = ("mean", "std", "min", "max", "zeros", "percentiles")
SIGMAS = (0.13, 2.28, 15.87, 50.0, 84.13, 97.72, 99.87)
"""Percentiles of a normal distribution at −3, −2, …, 3 standard deviations."""


class ParameterStatistics(Extension):
    """Reports statistics of parameters as ``l1/W/data/mean``, ``l1/W/grad/percentile/50``, ….

    All numbers of all parameters are computed on their device and fetched in one transfer.

    Args:
        links: a Link, several, or Links by name; default: the trainer's models. With more than one, keys begin with
            the Link's name.
        statistics: which of :data:`STATISTICS`. ``std`` divides by the count; ``zeros`` counts elements that are 0.
        percentiles: in percent, 0 to 100, interpolated linearly.
        report_params: whether the parameters' values are described.
        report_grads: whether their gradients are; parameters without one are left out.
        prefix: goes before every key, with a slash between.
        skip_nan: leave NaN elements out. Otherwise one of them makes all statistics but ``zeros`` NaN.
        trigger: when to report.

    Raises:
        ValueError: an unknown statistic, a percentile outside 0 to 100.
    """

    priority = PRIORITY_WRITER
    trigger = (1, "epoch")

    def __init__(
        self,
        links: Any = None,
        *,
        statistics: str | Sequence[str] = STATISTICS,
        percentiles: float | Sequence[float] = SIGMAS,
        report_params: bool = True,
        report_grads: bool = True,
        prefix: str | None = None,
        skip_nan: bool = False,
        trigger: Any = (1, "epoch"),
    ) -> None:
        chosen = (statistics,) if isinstance(statistics, str) else tuple(statistics)
        unknown = [name for name in chosen if name not in STATISTICS]
        if unknown:
            reject("ParameterStatistics", "statistics", f"names among {', '.join(STATISTICS)}", unknown)
        places: tuple[Any, ...] = tuple(percentiles) if isinstance(percentiles, Iterable) else (percentiles,)
        fits = all(isinstance(value, Real) and 0 <= float(value) <= 100 for value in places)
        require(fits, "ParameterStatistics", "percentiles", "numbers from 0 to 100", places)
        self.trigger = trigger
        self._links = links
        self._statistics = chosen
        self._percentiles = places if "percentiles" in chosen else ()
        self._attributes = ("data",) * report_params + ("grad",) * report_grads
        self._prefix = prefix
        self._skip_nan = skip_nan
        plain = [name for name in self._statistics if name != "percentiles"]
        self._names = [*plain, *(f"percentile/{value:g}" for value in self._percentiles)]

    def __call__(self, trainer: Any = None) -> dict[str, float]:
        """Report, and return what was reported."""
        keys, rows = [], []
        for name, array in self._arrays(trainer):
            keys.append(name)
            rows.append(self._describe(backend_of_type(type(array)).to_torch(array).detach()))
        values = [value for row in fetch(rows) for value in row]
        names = [f"{key}/{name}" for key in keys for name in self._names]
        return publish(trainer, dict(zip(names, values, strict=True)))

    def _arrays(self, trainer: Any) -> Iterable[tuple[str, Any]]:
        links = named_links(self._links, trainer, "ParameterStatistics")
        for link_name, link in links.items():
            parts = [self._prefix] if self._prefix else []
            if len(links) > 1:
                parts.append(link_name)
            for path, parameter in sorted(link.namedparams(include_uninitialized=False)):
                for attribute in self._attributes:
                    array = getattr(parameter, attribute)
                    if array is not None:
                        yield "/".join([*parts, path.strip("/"), attribute]), array

    def _describe(self, array: torch.Tensor) -> torch.Tensor:
        table = describe(array, self._percentiles, skip_nan=self._skip_nan)
        return torch.stack([table[name] for name in self._names])


def describe(array: torch.Tensor, percentiles: Sequence[float] = (), *, skip_nan: bool = False) -> dict[str, Any]:
    """Return statistics of all elements by name, as 0-d tensors on the array's device; nothing is fetched.

    Args:
        array: any shape, also empty (then everything but ``zeros`` is NaN).
        percentiles: in percent, under the names ``percentile/50``, ….
        skip_nan: leave NaN elements out.
    """
    # MPS knows no float64. Half precision would lose the sum of squares.
    wide = torch.float32 if array.device.type == "mps" else torch.float64
    values = array.reshape(-1)
    values = values if values.dtype in (torch.float32, torch.float64) else values.to(torch.float32)
    zeros = (values == 0).sum().to(wide)
    nowhere = torch.full((), math.nan, dtype=wide, device=array.device)
    if not values.numel():
        names = ["mean", "std", "min", "max", *(f"percentile/{value:g}" for value in percentiles)]
        return {**dict.fromkeys(names, nowhere), "zeros": zeros}
    missing = values.isnan()
    valid = ~missing if skip_nan else torch.ones_like(missing)
    count = valid.sum().to(wide)
    spoilt = (count == 0) | (missing & valid).any()
    mean = torch.where(valid, values, 0).sum(dtype=wide) / count
    spread = torch.where(valid, values.to(wide) - mean, 0)
    table = {
        "mean": mean,
        "std": (spread * spread).sum().div(count).sqrt(),
        "min": torch.where(valid, values, math.inf).amin().to(wide),
        "max": torch.where(valid, values, -math.inf).amax().to(wide),
    }
    if percentiles:
        ascending = values.sort().values.to(wide)  # NaN come last
        place = torch.tensor(percentiles, dtype=wide, device=array.device) / 100 * (count - 1).clamp(min=0)
        low = ascending[place.floor().long()]
        high = ascending[place.ceil().long()]
        between = torch.where(low == high, low, low + (high - low) * place.frac())  # ∞ − ∞ is no number
        table |= {f"percentile/{value:g}": between[index] for index, value in enumerate(percentiles)}
    return {**{name: torch.where(spoilt, nowhere, value) for name, value in table.items()}, "zeros": zeros}


def fetch(rows: Sequence[torch.Tensor]) -> list[list[float]]:
    """Return rows of numbers as lists, with one transfer from each device."""
    found: list[list[float]] = [[] for _ in rows]
    by_device: dict[torch.device, list[int]] = {}
    for index, row in enumerate(rows):
        by_device.setdefault(row.device, []).append(index)
    for indices in by_device.values():
        for index, values in zip(indices, torch.stack([rows[index] for index in indices]).tolist(), strict=True):
            found[index] = values
    return found
