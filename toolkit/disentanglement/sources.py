"""Sources of information: which sets of observed things are asked for, and their density given each image.

A clean code asks for each latent alone, for all but each, and for all. An attacked code has more latents, but each of
its sets says as much about the image as some latents of the clean code, observed exactly, and a few noisy views of
them, or as all of them up to a shift in one direction; this makes the informations under an attack exact and cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.disentanglement.codes import GaussianCodes, PointCodes


@dataclass(frozen=True, eq=False)
class Draws:
    """Latents drawn from q(z | x) with x uniform: the outer average of every information.

    Attributes:
        images: of which image each draw is.
        real: values of the real latents.
        categories: categories of the others.
    """

    images: Int64[Tensor, " draws"]
    real: Float[Tensor, "draws real"]
    categories: Int64[Tensor, "draws categorical"]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Channel:
    """A noisy view of the latents: given the image Gaussian, and independent of whatever stands beside it in a source.

    Attributes:
        mean: for each image.
        standard_deviation: for each image, positive.
        values: what was observed in each draw.
    """

    mean: Float[Tensor, " images"]
    standard_deviation: Float[Tensor, " images"]
    values: Float[Tensor, " draws"]


@runtime_checkable
class Source(Protocol):
    """Something that is observed in each draw."""

    def log_density(self, rows: slice, terms: "Terms") -> Float[Tensor, "rows images"]:
        """Return log q(observed | x) for some draws and all images, up to a constant of each draw."""
        ...


@dataclass(frozen=True, eq=False)
class Latents:
    """Some latents of the clean code, observed exactly, and channels beside them. Without either it says nothing.

    Attributes:
        indices: of the latents, ascending.
        channels: noisy views.
    """

    indices: tuple[int, ...]
    channels: tuple[Channel, ...] = ()

    def log_density(self, rows: slice, terms: "Terms") -> Float[Tensor, "rows images"]:
        """Return log q(observed | x) for some draws and all images."""
        total = terms.sum_of(self.indices)
        for channel in self.channels:
            view = terms.of_channel(channel, rows)
            total = view if total is None else total + view
        return terms.nothing() if total is None else total


class LatentsUpToShift:
    """All real latents but for an unknown shift f in one direction, and categorical ones beside them.

    The shift is integrated out of q(z + f · direction | x). What is left is a Gaussian whose covariance matrix is a
    diagonal and a product of two vectors, or has lost one dimension; no matrix is inverted. Computed in float64
    whatever the dtype, since it is a small difference of large numbers.

    Args:
        squares: log q(z | x) of the same draws, shared by sources that differ in their direction only.
        direction: of the shift, one number a real latent, not all 0.
        shifts: of each draw: what is observed is z + shift · direction.
        precision: the shift is drawn from N(0, 1 / precision), whatever the image; 0: nothing is known of it.
        categorical: indices of the categorical latents.
    """

    def __init__(
        self,
        squares: "Squares",
        direction: Float[Tensor, " real"],
        shifts: Float[Tensor, " draws"],
        precision: float,
        categorical: tuple[int, ...] = (),
    ):
        along = direction.to(squares.precision)
        slope = along * squares.precision
        curvature = slope @ along + precision
        scale = curvature.rsqrt()[:, None]
        self._squares, self._categorical, self._volume = squares, categorical, 0.5 * curvature.log()
        # How hard a draw pulls at the shift: linear in the draw, one column of weights an image.
        self._features = torch.cat([squares.values, shifts.double()[:, None] * precision], dim=1)
        self._weights = torch.cat([-slope * scale, scale], dim=1).T.contiguous()
        self._offset = (slope * squares.mean).sum(1) * scale[:, 0]

    def log_density(self, rows: slice, terms: "Terms") -> Float[Tensor, "rows images"]:
        """Return log q(latents up to the shift | x) for some draws and all images."""
        pull = torch.addmm(self._offset, self._features[rows], self._weights)
        density = torch.addcmul(self._squares.log_density(rows), pull, pull, value=0.5).to(terms.dtype)
        density = density.sub_(self._volume.to(terms.dtype))
        beside = terms.sum_of(self._categorical)
        return density if beside is None else density + beside


class Squares:
    """log q(z | x) of all real latents in float64, by one matrix product; of the latest draws it is kept.

    Args:
        codes: the clean code.
        draws: its drawn latents.
    """

    def __init__(self, codes: GaussianCodes, draws: Draws):
        center = codes.mean.double().mean(0)
        self.mean = codes.mean.double() - center
        self.values = draws.real.double() - center
        self.precision = codes.standard_deviation.double().square().reciprocal()
        self._features = torch.cat([self.values.square(), self.values], dim=1)
        self._weights = torch.cat([-0.5 * self.precision, self.precision * self.mean], dim=1).T.contiguous()
        self._offset = (0.5 * self.precision.log() - 0.5 * self.precision * self.mean.square()).sum(1)
        self._latest: tuple[slice, Tensor] | None = None

    def log_density(self, rows: slice) -> Float[Tensor, "rows images"]:
        """Return log q(z | x), up to a constant, for some draws and all images."""
        if self._latest is None or self._latest[0] != rows:
            self._latest = rows, torch.addmm(self._offset, self._features[rows], self._weights)
        return self._latest[1]


@dataclass(frozen=True, eq=False)
class SourceTable:
    """What is asked for each latent of a code: the latent alone, all the others, and everything.

    A source that occurs more than once is the same object each time, and evaluated once.

    Attributes:
        single: one source a latent.
        without: one source a latent: all the other latents.
        joint: all latents.
    """

    single: tuple[Source, ...]
    without: tuple[Source, ...]
    joint: Source


@runtime_checkable
class AttackedCodes(Protocol):
    """Codes after an attack: more latents, whose informations follow exactly from the clean code's."""

    @property
    def codes(self) -> GaussianCodes:
        """The clean code."""
        ...

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Of the attacked code's latents."""
        ...

    def sources(self, draws: Draws, *, generator: torch.Generator) -> SourceTable:
        """Return the sources of all latents of the attacked code; ``generator`` draws the attack's own noise."""
        ...

    def sample(self, n: int | None = None, *, generator: torch.Generator | None = None) -> PointCodes:
        """Draw points of the attacked code, with all its latents."""
        ...


def clean_sources(n_latents: int) -> SourceTable:
    """Return the sources of a code that nobody attacked."""
    every = tuple(range(n_latents))
    joint = Latents(every)
    if n_latents == 1:
        return SourceTable((joint,), (Latents(()),), joint)
    single = tuple(Latents((latent,)) for latent in every)
    without = tuple(Latents(every[:latent] + every[latent + 1 :]) for latent in every)
    return SourceTable(single, without, joint)


class Terms:
    """log q(z_l | x) of every latent, for a few draws at a time: what the densities of all sources are made of.

    Args:
        codes: the clean code.
        draws: its drawn latents.
        dtype: to compute in.
    """

    def __init__(self, codes: GaussianCodes, draws: Draws, dtype: torch.dtype):
        self._center = codes.mean.double().mean(0)
        self._images, self.dtype, self._device = codes.n_images, dtype, codes.mean.device
        mean = codes.mean.double() - self._center
        self._latents = [
            _Gaussian(
                mean[:, latent],
                codes.standard_deviation[:, latent].double(),
                draws.real[:, latent].double() - self._center[latent],
                dtype,
            )
            for latent in range(codes.n_real)
        ]
        self._categorical = [
            (log_prob.T.to(dtype).clamp_min(torch.finfo(dtype).min / 1e3).contiguous(), draws.categories[:, index])
            for index, log_prob in enumerate(codes.categorical_log_prob)
        ]
        self._channels: dict[int, _Gaussian] = {}
        self._kept: list[Channel] = []

    def at(self, rows: slice) -> None:
        """Turn to these draws: the other methods then answer for them."""
        self._rows, self._ready = rows, False

    def _prepare(self) -> None:
        terms = [latent.term(self._rows) for latent in self._latents]
        terms += [log_prob[category[self._rows]] for log_prob, category in self._categorical]
        self._terms, self._ready = terms, True
        self._before: list[Tensor | None] = [None]
        self._after: list[Tensor | None] = [None]
        for term, last in zip(terms, reversed(terms), strict=True):
            self._before.append(_add(self._before[-1], term))
            self._after.append(_add(self._after[-1], last))
        self._after.reverse()

    def sum_of(self, indices: Sequence[int]) -> Float[Tensor, "rows images"] | None:
        """Return the sum of some latents' terms; of none: None.

        Nothing is subtracted from a larger sum: a narrow latent's term is so large that the others would drown in it.
        """
        if not indices:
            return None
        if not self._ready:
            # Not before somebody asks: sources that are only channels do without.
            self._prepare()
        n = len(self._terms)
        if len(indices) >= n - 1:
            missing = next((latent for latent in range(n) if latent not in indices), None)
            return self._before[n] if missing is None else _add(self._before[missing], self._after[missing + 1])
        total: Tensor | None = None
        for index in indices:
            total = _add(total, self._terms[index])
        return total

    def of_channel(self, channel: Channel, rows: slice) -> Float[Tensor, "rows images"]:
        """Return log q(view | x)."""
        if id(channel) not in self._channels:
            # In units of its own noise: a channel of any scale then fits into single precision.
            center, unit = channel.mean.double().mean(), channel.standard_deviation.double().amin()
            self._kept.append(channel)
            self._channels[id(channel)] = _Gaussian(
                (channel.mean.double() - center) / unit,
                channel.standard_deviation.double() / unit,
                (channel.values.double() - center) / unit,
                self.dtype,
            )
        return self._channels[id(channel)].term(rows)

    def nothing(self) -> Float[Tensor, "rows images"]:
        """Return the density of having observed nothing."""
        n_rows = self._rows.stop - self._rows.start
        return torch.zeros(n_rows, self._images, dtype=self.dtype, device=self._device)


@dataclass(frozen=True, eq=False)
class _Gaussian:
    """log N(value; mean, standard deviation) with all that does not depend on the draw computed once."""

    mean: Tensor
    standard_deviation: Tensor
    values: Tensor
    dtype: torch.dtype
    _parts: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        inverse = 1 / self.standard_deviation
        log_scale = -self.standard_deviation.log() - 0.9189385332046727
        self._parts.extend(
            part.to(self.dtype) for part in (-self.mean * inverse, inverse, log_scale, self.values[:, None])
        )

    def term(self, rows: slice) -> Float[Tensor, "rows images"]:
        shift, inverse, log_scale, values = self._parts
        deviation = torch.addcmul(shift, values[rows], inverse)
        return torch.addcmul(log_scale, deviation, deviation, value=-0.5)


def _add(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right
