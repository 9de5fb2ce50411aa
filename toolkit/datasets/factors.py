"""Complete grids of factors of variation: which factors there are, which values they take, and in which order.

An image is asked for by the index of each factor's value. A renderer (``sprites.render``, ``shapes3d.render``) and a
file of real images (``StoredImages.render``) are called alike, so what takes a grid and a ``render`` works with all.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from toolkit.core.devices import draw_integers, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.datasets.factor_inputs import at_least, chosen_levels, floating_or, integers


@dataclass(frozen=True, repr=False)
class FactorGrid:
    """Every combination of the values of some factors, the last factor varying fastest.

    "Factor indices" are an integer tensor (images, factors): column k says which of ``values[k]`` it is.

    Attributes:
        names: of the factors.
        values: of each factor, in the factor's own unit.
        circular: the factors whose last value is followed by the first, such as angles.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float | int, ...], ...]
    circular: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        values = tuple(tuple(float(value) for value in row) for row in self.values)
        require(len(names) > 0, "FactorGrid", "names", "at least one factor", names)
        require(len(set(names)) == len(names), "FactorGrid", "names", "different names", names)
        require(
            len(values) == len(names), "FactorGrid", "values", f"{len(names)} rows, one a factor", f"{len(values)} rows"
        )
        for name, row in zip(names, values, strict=True):
            require(len(row) > 0, "FactorGrid", "values", f"at least one value of {name}", row)
            require(all(map(math.isfinite, row)), "FactorGrid", "values", f"finite values of {name}", row)
            require(len(set(row)) == len(row), "FactorGrid", "values", f"different values of {name}", row)
        unknown = set(self.circular) - set(names)
        require(not unknown, "FactorGrid", "circular", f"some of {names}", sorted(unknown))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "circular", frozenset(self.circular))
        require(math.prod(self.sizes) < 2**63, "FactorGrid", "values", "fewer than 2**63 combinations", self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each factor has."""
        return tuple(map(len, self.values))

    def __len__(self) -> int:
        return math.prod(self.sizes)

    def __repr__(self) -> str:
        factors = ", ".join(f"{name}={size}" for name, size in zip(self.names, self.sizes, strict=True))
        return f"FactorGrid({factors}; {len(self):,} images)"

    def to_dict(self) -> dict[str, Any]:
        """Return names, sizes, values and the circular factors as plain Python, ready for JSON."""
        return {
            "names": list(self.names),
            "sizes": list(self.sizes),
            "values": [list(row) for row in self.values],
            "circular": sorted(self.circular),
        }

    def column(self, name: str) -> int:
        """Return which column of the factor indices belongs to the factor ``name``.

        Raises:
            ValueError: there is no such factor.
        """
        if name not in self.names:
            reject("FactorGrid", "name", "one of " + ", ".join(self.names), repr(name))
        return self.names.index(name)

    def indices(self, *, device: torch.device | str | None = None) -> Int64[Tensor, "images factors"]:
        """Return the factor indices of every image of the grid, in order.

        Args:
            device: where the result goes; default: the best there is.
        """
        return self._unravel(torch.arange(len(self), device=resolve_device(device)))

    def unravel(self, flat: object, *, device: torch.device | str | None = None) -> Int64[Tensor, "images factors"]:
        """Return the factor indices of the images number ``flat``.

        Args:
            flat: (images,) integers below ``len(grid)``: tensor, array or sequence.
            device: where the result goes; default: where ``flat`` is.

        Raises:
            ValueError: wrong shape or out of range.
            TypeError: not integers.
        """
        numbers = integers("FactorGrid.unravel", "flat", flat, device)
        require(numbers.ndim == 1, "FactorGrid.unravel", "flat", "shape (images,)", tuple(numbers.shape))
        if len(numbers):
            low, high = torch.stack(numbers.aminmax()).tolist()
            require(
                low >= 0 and high < len(self), "FactorGrid.unravel", "flat", f"0 to {len(self) - 1}", f"{low} to {high}"
            )
        return self._unravel(numbers)

    def ravel(self, factors: object, *, device: torch.device | str | None = None) -> Int64[Tensor, " images"]:
        """Return the number of each image in the order of the grid: the inverse of :meth:`unravel`.

        Args:
            factors: (images, factors) factor indices.
            device: where the result goes; default: where ``factors`` are.

        Raises:
            ValueError: wrong shape or out of range.
            TypeError: not integers.
        """
        checked = self.check("FactorGrid.ravel", factors, device=device)
        strides = torch.tensor(self._strides(), device=checked.device)
        return (checked * strides).sum(1)

    def values_of(
        self, factors: object, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Float[Tensor, "images factors"]:
        """Return the factors' values in place of their indices.

        Args:
            factors: (images, factors) factor indices.
            dtype: a floating-point type.
            device: where the result goes; default: where ``factors`` are.

        Raises:
            ValueError: wrong shape, out of range, or ``dtype`` is not a floating-point type.
            TypeError: ``factors`` are not integers.
        """
        floating_or("FactorGrid.values_of", dtype)
        checked = self.check("FactorGrid.values_of", factors, device=device)
        table = torch.tensor([value for row in self.values for value in row], dtype=dtype, device=checked.device)
        starts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        return table[checked + torch.tensor(starts, device=checked.device)]

    def sample(
        self,
        n_samples: int,
        *,
        generator: torch.Generator | None = None,
        fixed: Mapping[str, int] | None = None,
        device: torch.device | str | None = None,
    ) -> Int64[Tensor, "n_samples factors"]:
        """Draw factor indices uniformly, with replacement.

        Args:
            n_samples: how many.
            generator: draws on its own device, so the numbers do not depend on ``device``.
            fixed: the index of factors that are not drawn, by name.
            device: where the result goes; default: the best there is.

        Raises:
            ValueError: negative ``n_samples``, an unknown factor or an index out of range.
        """
        n_samples = at_least("FactorGrid.sample", "n_samples", n_samples, 0)
        flat = draw_integers(
            0, len(self), (n_samples,), generator=resolve_generator(generator), device=resolve_device(device)
        )
        drawn = self._unravel(flat)
        for name, index in (fixed or {}).items():
            column = self.column(name)
            size = self.sizes[column]
            index = at_least("FactorGrid.sample", "fixed", index, 0)
            require(index < size, "FactorGrid.sample", "fixed", f"an index of {name}, 0 to {size - 1}", index)
            drawn[:, column] = index
        return drawn

    def traversal(
        self, factors: object, name: str, *, device: torch.device | str | None = None
    ) -> Int64[Tensor, "values factors"]:
        """Return one image's factor indices with the factor ``name`` going through all its values.

        Args:
            factors: (factors,) indices of the image.
            name: of the factor.
            device: where the result goes; default: where ``factors`` are.

        Returns:
            (values of the factor, factors) factor indices.

        Raises:
            ValueError: unknown factor, wrong shape or out of range.
            TypeError: ``factors`` are not integers.
        """
        start = integers("FactorGrid.traversal", "factors", factors, device)
        require(start.ndim == 1, "FactorGrid.traversal", "factors", f"shape ({len(self.names)},)", tuple(start.shape))
        column = self.column(name)
        rows = self.check("FactorGrid.traversal", start[None]).repeat(self.sizes[column], 1)
        rows[:, column] = torch.arange(self.sizes[column], device=rows.device)
        return rows

    def subgrid(self, **levels: Any) -> "FactorGrid":
        """Return the complete grid of some of the values; the factors not named keep all of theirs.

        Args:
            levels: by factor, a number of values or which ones. ``orientation=10`` spreads ten values evenly: from the
                first to the last, or by equal steps that leave the end out where the factor is circular (there the end
                may be the start again); one value is the first. ``orientation=slice(None, None, 2)``,
                ``range(0, 40, 2)`` or a list of indices takes just these, in this order.

        Raises:
            ValueError: unknown factor, more values than there are, none, one twice, or out of range.
            TypeError: something else than integers.
        """
        values = list(self.values)
        for name, choice in levels.items():
            if name not in self.names:
                reject("FactorGrid.subgrid", name, "a factor: " + ", ".join(self.names), "no such factor")
            row = self.values[self.names.index(name)]
            chosen = chosen_levels(name, choice, len(row), circular=name in self.circular)
            values[self.names.index(name)] = tuple(row[level] for level in chosen)
        return FactorGrid(self.names, tuple(values), self.circular)

    def levels_of(self, grid: "FactorGrid") -> tuple[tuple[int, ...], ...]:
        """Return where the values of ``grid`` stand among this grid's.

        Args:
            grid: has the same factors and only values of this grid, up to rounding (1e-6).

        Returns:
            For each factor, the index here of each of its values there.

        Raises:
            ValueError: other factors, or a value that is not in this grid.
        """
        require(grid.names == self.names, "FactorGrid.levels_of", "grid", f"the factors {self.names}", grid.names)
        found = []
        for name, ours, theirs in zip(self.names, self.values, grid.values, strict=True):
            distance = np.abs(np.subtract.outer(theirs, ours))
            nearest = distance.argmin(1)
            for level, value in enumerate(theirs):
                here = distance[level, nearest[level]] <= 1e-6 * max(1.0, abs(value))
                require(bool(here), "FactorGrid.levels_of", "grid", f"values of {name} among {ours}", value)
            found.append(tuple(nearest.tolist()))
        return tuple(found)

    def check(
        self, operation: str, factors: object, *, device: torch.device | str | None = None
    ) -> Int64[Tensor, "images factors"]:
        """Return ``factors`` as an int64 tensor on ``device``, or complain in the name of ``operation``.

        Args:
            operation: the function that was given them.
            factors: (images, factors) factor indices: tensor, array or nested sequence.
            device: default: where a tensor is, else the best there is.

        Raises:
            ValueError: wrong shape, or an index out of range.
            TypeError: not integers.
        """
        checked = integers(operation, "factors", factors, device)
        expected = f"shape (images, {len(self.names)}), one column each of {', '.join(self.names)}"
        require(
            checked.ndim == 2 and checked.shape[1] == len(self.names),
            operation,
            "factors",
            expected,
            tuple(checked.shape),
        )
        if len(checked):
            lows, highs = torch.stack([checked.amin(0), checked.amax(0)]).tolist()
            for name, size, low, high in zip(self.names, self.sizes, lows, highs, strict=True):
                require(
                    low >= 0 and high < size,
                    operation,
                    "factors",
                    f"indices of {name} from 0 to {size - 1}",
                    f"{low} to {high}",
                )
        return checked

    def _strides(self) -> list[int]:
        return [math.prod(self.sizes[column + 1 :]) for column in range(len(self.sizes))]

    def _unravel(self, flat: Tensor) -> Int64[Tensor, "images factors"]:
        strides, sizes = torch.tensor([self._strides(), self.sizes], device=flat.device)
        return torch.div(flat[:, None], strides, rounding_mode="floor").remainder_(sizes)


def batches(
    render: Callable[..., Tensor],
    grid: FactorGrid,
    *,
    batch_size: int = 1024,
    device: torch.device | str | None = None,
    **options: Any,
) -> Iterator[tuple[Int64[Tensor, "batch factors"], Shaped[Tensor, "batch ..."]]]:
    """Go through all images of a grid in order, without ever holding more than a batch.

    Args:
        render: ``sprites.render``, ``shapes3d.render``, the ``render`` of real images, or a function like them.
        grid: what to render.
        batch_size: images in a batch; the last one holds what is left.
        device: where to render; default: the best there is.
        options: handed to ``render``.

    Returns:
        An iterator over pairs (factor indices in ``grid``, images).

    Raises:
        ValueError: ``batch_size`` is not positive.
    """
    batch_size = at_least("batches", "batch_size", batch_size)
    where = resolve_device(device)

    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(grid), batch_size):
            flat = torch.arange(start, min(start + batch_size, len(grid)), device=where)
            factors = grid.unravel(flat)
            yield factors, render(factors, grid=grid, **options)

    return generate()
