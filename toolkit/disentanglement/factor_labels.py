"""Checks of what comes from outside: matrices of codes, and factors as indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.errors import reject, require


def checked_matrix(
    operation: str, argument: str, given: Any, *, may_be_empty: bool = False
) -> Float[Tensor, "rows columns"]:
    """Return a matrix of finite floating-point numbers, from a tensor, an array or nested sequences.

    Raises:
        ValueError: it is no matrix, has no row or (unless ``may_be_empty``) no column, or holds NaN or infinity.
        TypeError: it holds no numbers.
    """
    matrix = as_tensor(operation, argument, given)
    if matrix.is_complex() or matrix.dtype == torch.bool:
        reject(operation, argument, "real numbers", str(matrix.dtype), kind=TypeError)
    if not matrix.is_floating_point():
        matrix = matrix.double()
    if matrix.dtype in (torch.float16, torch.bfloat16):
        matrix = matrix.float()
    shaped = matrix.ndim == 2 and len(matrix) >= 1 and (may_be_empty or matrix.shape[1] >= 1)
    require(shaped, operation, argument, "a matrix, one row an image, one column a latent", tuple(matrix.shape))
    n_bad = int((~matrix.isfinite()).sum())
    require(n_bad == 0, operation, argument, "finite numbers", f"{n_bad} that are NaN or infinite")
    return matrix.detach()


def checked_factors(
    operation: str,
    given: Any,
    n_rows: int,
    sizes: Sequence[int],
    names: Sequence[str],
    device: torch.device | str | None = None,
) -> tuple[Int64[Tensor, "rows factors"], tuple[int, ...], tuple[str, ...]]:
    """Return factors as int64 indices from 0, with the number of values and the name of each factor.

    Raises:
        ValueError: not one row a code, no factor, a negative index or one that ``sizes`` does not allow.
        TypeError: the factors are no integers.
    """
    factors = as_tensor(operation, "factors", given)
    if factors.is_floating_point() or factors.is_complex() or factors.dtype == torch.bool:
        expected = "integers that count the values of a factor from 0 (np.unique(column, return_inverse=True)[1])"
        reject(operation, "factors", expected, str(factors.dtype), kind=TypeError)
    shaped = factors.ndim == 2 and factors.shape[0] == n_rows and factors.shape[1] >= 1
    require(shaped, operation, "factors", f"shape ({n_rows}, factors)", tuple(factors.shape))
    factors = factors.to(device=device, dtype=torch.int64).detach()
    least, largest = int(factors.min()), [int(value) for value in factors.amax(0)]
    require(least >= 0, operation, "factors", "indices from 0", least)
    sizes = tuple(int(size) for size in sizes) or tuple(value + 1 for value in largest)
    require(len(sizes) == factors.shape[1], operation, "factor_sizes", f"{factors.shape[1]} sizes", sizes)
    fits = all(value < size for value, size in zip(largest, sizes, strict=True))
    require(fits, operation, "factors", f"indices below {sizes}", f"largest ones {tuple(largest)}")
    names = tuple(names) or tuple(f"factor {index + 1}" for index in range(len(sizes)))
    require(len(names) == len(sizes), operation, "factor_names", f"{len(sizes)} names", len(names))
    return factors, sizes, names


def as_tensor(operation: str, argument: str, given: Any) -> Tensor:
    """Return numbers from outside as a tensor; a tensor stays where it is.

    Raises:
        TypeError: these are no numbers.
    """
    if isinstance(given, Tensor):
        return given
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        reject(operation, argument, "numbers", f"an array of {array.dtype}", kind=TypeError)
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.kind == "u":
        array = array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(array).copy())
