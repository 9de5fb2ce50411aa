"""What may be scored: codes, attacked codes, points, and the arrays that some other program's encoder gave."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import GaussianCodes, PointCodes, Posterior
from toolkit.disentanglement.factor_labels import as_tensor, checked_factors, checked_matrix
from toolkit.disentanglement.sources import AttackedCodes

Scorable = GaussianCodes | AttackedCodes | PointCodes


def as_codes(
    given: Any,
    factors: Any = None,
    *,
    factor_names: tuple[str, ...] = (),
    latent_names: tuple[str, ...] = (),
    operation: str = "as_codes",
) -> Scorable:
    """Turn what an encoder gave into codes.

    Args:
        given: codes, which are returned as they are; a :class:`Posterior` or the pair (mean, standard deviation) of
            matrices ``[images, latents]``, which become :class:`GaussianCodes`; or one matrix of points
            ``[points, latents]``, which become :class:`PointCodes`. Arrays, tensors and nested lists all do.
        factors: ``[images, factors]`` indices from 0, or ``[images]`` for a single factor; they are renumbered where a
            value does not occur. Codes bring their own. Anything else: :func:`factors_from_labels` first.
        factor_names: default "factor 1", …
        latent_names: default "z1", …
        operation: for the error.

    Raises:
        ValueError: no factors for arrays, or factors for codes that have theirs; what the codes do not accept.
        TypeError: factors that are no integers.
    """
    if isinstance(given, GaussianCodes | PointCodes) or _is_attacked(given):
        for argument, value in (("factors", factors), ("factor_names", factor_names), ("latent_names", latent_names)):
            brought = value is None or (isinstance(value, tuple) and not value)
            require(brought, operation, argument, "None for codes, which bring theirs", type(value).__name__)
        return given  # type: ignore[no-any-return]
    require(factors is not None, operation, "factors", "indices [images, factors] of the images behind the codes", None)
    categorical: tuple[Tensor, ...] = ()
    if isinstance(given, Posterior):
        categorical, given = given.categorical_log_prob, (given.mean, given.standard_deviation)
    pair = isinstance(given, tuple) and len(given) == 2 and all(_n_dimensions(part) == 2 for part in given)
    codes = checked_matrix(operation, "codes", given[0] if pair else given)
    indices = as_tensor(operation, "factors", factors)
    if indices.ndim == 1:
        indices = indices[:, None]
    indices, _, names = checked_factors(operation, indices, len(codes), (), tuple(factor_names), codes.device)
    indices = factors_from_labels(indices).to(codes.device)  # values that do not occur are none
    if not pair:
        return PointCodes(codes, indices, factor_names=names, latent_names=tuple(latent_names))
    deviation = checked_matrix(operation, "standard_deviation", given[1])
    return GaussianCodes(codes, deviation, indices, (), categorical, names, tuple(latent_names))


def factors_from_labels(labels: Any) -> Int64[Tensor, "images factors"]:
    """Number the values of each factor from 0, in their sorted order.

    Args:
        labels: ``[images, factors]`` or ``[images]`` of anything that can be sorted: floats, strings, dates; a pandas
            frame, too. Each column is numbered by itself.

    Returns:
        Factor indices.

    Raises:
        ValueError: neither a matrix nor a vector, or a label that is NaN.
    """
    operation = "factors_from_labels"
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
    columns = [np.asarray(labels[name]) for name in labels.columns] if hasattr(labels, "columns") else None
    if columns is None:
        table = np.asarray(labels)
        table = table[:, None] if table.ndim == 1 else table
        require(table.ndim == 2, operation, "labels", "[images, factors] or [images]", table.shape)
        columns = list(table.T)
    require(len(columns) > 0 and len(columns[0]) > 0, operation, "labels", "at least one image and one factor", "none")
    found = []
    for index, column in enumerate(columns):
        missing = bool(np.any(column != column))
        require(not missing, operation, "labels", f"a label of every image in column {index}", "NaN")
        found.append(torch.from_numpy(np.unique(column, return_inverse=True)[1].reshape(-1).astype(np.int64)))
    return torch.stack(found, 1)


def thinned(points: PointCodes, n: int, *, generator: torch.Generator) -> PointCodes:
    """Return ``n`` of the points, drawn without replacement; all of them in their order if there are no more."""
    if len(points) <= n:
        return points
    order = torch.randperm(len(points), generator=generator, device=generator.device)[:n].to(points.points.device)
    return PointCodes(
        points.points[order],
        points.factors[order],
        points.factor_sizes,
        points.factor_names,
        points.groups,
        points.latent_names,
    )


def _is_attacked(given: Any) -> bool:
    return isinstance(given, AttackedCodes)


def _n_dimensions(part: Any) -> int:
    return int(part.ndim) if hasattr(part, "ndim") else np.ndim(part)
