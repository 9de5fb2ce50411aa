"""Attacks on a code: make it more entangled without losing or adding information, and see which scores notice.

Each attack is a linear map of the real latents with Gaussian noise of its own; categorical latents are copied. What a
set of the new latents knows follows exactly from the clean code, so nothing is trained again. The redundancy attack is
the one in the paper; copies and mixing were in an earlier version of its authors' code; masked copy and synergy are
this toolkit's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.entangled_codes import EntangledCodes
from toolkit.disentanglement.factor_labels import as_tensor
from toolkit.disentanglement.sources import (
    Channel,
    Draws,
    Latents,
    LatentsUpToShift,
    Source,
    SourceTable,
    Squares,
    clean_sources,
)

SMALLEST, LARGEST = 1e-30, 1e30
"""Strengths that an attack can have, beside 0."""

_ORTHOGONAL = 1e-5


@dataclass(frozen=True, eq=False)
class Redundancy:
    """The paper's attack: every latent is told once more, mixed: z' = (z, alpha · U z + e), e ~ N(0, I).

    All latents together know what they knew. What the new ones say about z_l, given the other old ones, is a single
    noisy view of it, alpha · z_l + N(0, 1), whatever the orthogonal U; so UniBound does not depend on U, MIG does.

    Attributes:
        alpha: strength; 0 adds pure noise, a large one makes everything redundant.
        matrix: U, orthogonal, a row and a column for each real latent. Default: the Householder reflection
            I − (2 / n) 1 1ᵀ, which mixes little if there are few latents: of two it only swaps them.

    Raises:
        ValueError: ``alpha`` is neither 0 nor between 1e-30 and 1e30, or the matrix is not orthogonal.
        TypeError: they are no numbers.
    """

    alpha: float
    matrix: Float[Tensor, "real real"] | None = None

    def __post_init__(self) -> None:
        _check_strength(self, "alpha", self.alpha)
        object.__setattr__(self, "matrix", _orthogonal(self, self.matrix))

    def __call__(self, codes: GaussianCodes) -> EntangledCodes:
        """Return the attacked code: the old latents, the new ones, the categorical ones.

        Raises:
            ValueError: the matrix does not fit the code.
        """
        _check_codes(self, codes)
        turn, one = _turn(self, self.matrix, codes), _identity(codes)

        def table(draws: Draws, noise: Tensor) -> SourceTable:
            clean, real = clean_sources(codes.n_latents), range(codes.n_real)
            added: list[Source] = [Latents(())] * codes.n_real
            without = list(clean.without[: codes.n_real])
            if self.alpha > 0:
                scaled, deviation = noise.double() / self.alpha, 1 / self.alpha
                seen = [_view(codes, draws, turn[new], scaled[:, new], deviation) for new in real]
                added = [Latents((), (view,)) for view in seen]
                again = [_view(codes, draws, one[old], scaled @ turn[:, old], deviation) for old in real]
                without = [Latents(_all_but(codes, old), (view,)) for old, view in zip(real, again, strict=True)]
            single = [*clean.single[: codes.n_real], *added]
            return _table(codes, clean, single, [*without, *[clean.joint] * codes.n_real])

        maps = torch.cat([one, self.alpha * turn]), torch.cat([0 * one, one])
        return EntangledCodes(codes, *maps, _names(codes, "mixed "), table)


@dataclass(frozen=True, eq=False)
class MaskedCopy:
    """A copy of every latent behind a mask, and the masks: z' = (z, z + alpha · e, e), e ~ N(0, I).

    Copy and mask together give z exactly, so UniBound is 0 for every ``alpha``; a single new latent says little if
    ``alpha`` is large, so MIG is back at its clean value.

    Attributes:
        alpha: standard deviation of the mask; 0 is a plain copy, and pure noise beside it.

    Raises:
        ValueError: ``alpha`` is neither 0 nor between 1e-30 and 1e30.
    """

    alpha: float

    def __post_init__(self) -> None:
        _check_strength(self, "alpha", self.alpha)

    def __call__(self, codes: GaussianCodes) -> EntangledCodes:
        """Return the attacked code: the old latents, the copies, the masks, the categorical latents."""
        _check_codes(self, codes)
        one = _identity(codes)

        def table(draws: Draws, noise: Tensor) -> SourceTable:
            clean, real = clean_sources(codes.n_latents), range(codes.n_real)
            masked = list(clean.single[: codes.n_real])
            if self.alpha > 0:
                masks = noise.double() * self.alpha
                views = (_view(codes, draws, one[new], masks[:, new], self.alpha) for new in real)
                masked = [Latents((), (view,)) for view in views]
            single = [*clean.single[: codes.n_real], *masked, *[Latents(())] * codes.n_real]
            return _table(codes, clean, single, [clean.joint] * (3 * codes.n_real))

        maps = torch.cat([one, one, 0 * one]), torch.cat([0 * one, self.alpha * one, one])
        return EntangledCodes(codes, *maps, _names(codes, "masked ", "mask of "), table)


@dataclass(frozen=True, eq=False)
class Synergy:
    """Every latent is hidden behind noise that is told elsewhere: z' = (z + alpha · U e, e), e ~ N(0, I).

    All latents together know what they knew; a latent alone knows less and less, and what it knew moves into the
    complementary part.

    Attributes:
        alpha: standard deviation of the noise; 0 adds pure noise.
        matrix: U, as in :class:`Redundancy`. What the hidden latents know does not depend on it; what is known
            without one part of the noise does.

    Raises:
        ValueError: ``alpha`` is neither 0 nor between 1e-30 and 1e30, or the matrix is not orthogonal.
        TypeError: they are no numbers.
    """

    alpha: float
    matrix: Float[Tensor, "real real"] | None = None

    def __post_init__(self) -> None:
        _check_strength(self, "alpha", self.alpha)
        object.__setattr__(self, "matrix", _orthogonal(self, self.matrix))

    def __call__(self, codes: GaussianCodes) -> EntangledCodes:
        """Return the attacked code: the hidden latents, the noise, the categorical latents.

        Raises:
            ValueError: the matrix does not fit the code.
        """
        _check_codes(self, codes)
        turn, one = _turn(self, self.matrix, codes), _identity(codes)

        def table(draws: Draws, noise: Tensor) -> SourceTable:
            clean, real = clean_sources(codes.n_latents), range(codes.n_real)
            hidden = list(clean.single[: codes.n_real])
            ignorant = [clean.joint] * codes.n_real
            if self.alpha > 0:
                shifts = noise.double() * self.alpha
                moved = shifts @ turn.T
                views = (_view(codes, draws, one[old], moved[:, old], self.alpha) for old in real)
                hidden = [Latents((), (view,)) for view in views]
                squares, precision = Squares(codes, draws), 1 / self.alpha**2
                beside = _categorical(codes)
                ignorant = [LatentsUpToShift(squares, turn[:, k], shifts[:, k], precision, beside) for k in real]
            without = [*clean.without[: codes.n_real], *ignorant]
            return _table(codes, clean, [*hidden, *[Latents(())] * codes.n_real], without)

        maps = torch.cat([one, 0 * one]), torch.cat([self.alpha * turn, one])
        return EntangledCodes(codes, *maps, _names(codes, "noise of "), table)


@dataclass(frozen=True, eq=False)
class Mixing:
    """Every latent moves towards the sum of all: z' = (1 − alpha) · z + alpha · sum(z). Every score falls, MIG too.

    Attributes:
        alpha: strength; at 1 all latents are the sum, and the rest is lost. At any other value nothing is lost to all
            latents together.

    Raises:
        ValueError: ``alpha`` is neither 0 nor between 1e-30 and 1e30.
    """

    alpha: float

    def __post_init__(self) -> None:
        _check_strength(self, "alpha", self.alpha)

    def __call__(self, codes: GaussianCodes) -> EntangledCodes:
        """Return the attacked code: the mixed latents, then the categorical ones."""
        _check_codes(self, codes)
        one = _identity(codes)
        matrix = (1 - self.alpha) * one + self.alpha

        def table(draws: Draws, noise: Tensor) -> SourceTable:
            clean, n, beside = clean_sources(codes.n_latents), codes.n_real, _categorical(codes)
            if self.alpha == 0 or n < 2:
                return clean
            still = draws.real.new_zeros(len(draws), dtype=torch.float64)
            if self.alpha == 1:
                total = _view(codes, draws, torch.ones_like(one[0]), still, 0.0)
                joint = Latents(beside, (total,))
                alone = Latents((), (total,)) if beside else joint
                rest = [Latents(tuple(k for k in beside if k != left_out), (total,)) for left_out in beside]
                single = [*[alone] * n, *clean.single[n:]]
                return SourceTable(tuple(single), (*[joint] * n, *rest), joint)
            single = [Latents((), (_view(codes, draws, row, still, 0.0),)) for row in matrix]
            # The other latents do not see what moves z_l alone after the mixing: a column of the inverse matrix.
            unseen = one - self.alpha / (1 + self.alpha * (n - 1))
            squares = Squares(codes, draws)
            without = [LatentsUpToShift(squares, direction, still, 0.0, beside) for direction in unseen]
            return _table(codes, clean, single, without)

        return EntangledCodes(codes, matrix, one[:, :0], codes.latent_names, table)


@dataclass(frozen=True, eq=False)
class NoisedCopy:
    """One latent is told once more, with noise: z' = (z, z_index + N(0, standard_deviation²)).

    Attributes:
        index: of the real latent, from 0.
        standard_deviation: of the noise; 0 makes the latent fully redundant.

    Raises:
        ValueError: ``standard_deviation`` is neither 0 nor between 1e-30 and 1e30, or the index is negative.
    """

    index: int
    standard_deviation: float

    def __post_init__(self) -> None:
        _check_strength(self, "standard_deviation", self.standard_deviation)
        if isinstance(self.index, bool) or not isinstance(self.index, Integral):
            reject("NoisedCopy", "index", "an integer", repr(self.index), kind=TypeError)
        require(self.index >= 0, "NoisedCopy", "index", ">= 0", self.index)

    def __call__(self, codes: GaussianCodes) -> EntangledCodes:
        """Return the attacked code: the old latents, the copy, the categorical ones.

        Raises:
            ValueError: there is no such real latent.
        """
        _check_codes(self, codes)
        require(self.index < codes.n_real, "NoisedCopy", "index", f"one of {codes.n_real} real latents", self.index)
        one, copied = _identity(codes), self.index

        def table(draws: Draws, noise: Tensor) -> SourceTable:
            clean = clean_sources(codes.n_latents)
            copy, rest = clean.single[copied], clean.joint
            if self.standard_deviation > 0:
                disturbance = noise[:, 0].double() * self.standard_deviation
                view = _view(codes, draws, one[copied], disturbance, self.standard_deviation)
                copy, rest = Latents((), (view,)), Latents(_all_but(codes, copied), (view,))
            without = list(clean.without[: codes.n_real])
            without[copied] = rest
            return _table(codes, clean, [*clean.single[: codes.n_real], copy], [*without, clean.joint])

        matrix = torch.cat([one, one[copied : copied + 1]])
        noise_matrix = torch.zeros_like(matrix[:, :1])
        noise_matrix[-1] = self.standard_deviation
        names = codes.latent_names
        names = (*names[: codes.n_real], f"copy of {names[copied]}", *names[codes.n_real :])
        return EntangledCodes(codes, matrix, noise_matrix, names, table)


def _view(codes: GaussianCodes, draws: Draws, weights: Tensor, noise: Tensor, deviation: float) -> Channel:
    """Return a weighted sum of the real latents with noise of the attack's own."""
    mean, variance = codes.mean.double() @ weights, codes.standard_deviation.double().square() @ weights.square()
    return Channel(mean, (variance + deviation**2).sqrt(), draws.real.double() @ weights + noise)


def _table(
    codes: GaussianCodes, clean: SourceTable, single: Sequence[Source], without: Sequence[Source]
) -> SourceTable:
    """Complete the sources of the real latents where all together know what they knew before the attack."""
    n = codes.n_real
    return SourceTable((*single, *clean.single[n:]), (*without, *clean.without[n:]), clean.joint)


def _all_but(codes: GaussianCodes, latent: int) -> tuple[int, ...]:
    return tuple(k for k in range(codes.n_latents) if k != latent)


def _categorical(codes: GaussianCodes) -> tuple[int, ...]:
    return tuple(range(codes.n_real, codes.n_latents))


def _check_codes(attack: object, codes: object) -> None:
    if not isinstance(codes, GaussianCodes):
        expected = "GaussianCodes: the effect on others is not known exactly"
        reject(type(attack).__name__, "codes", expected, type(codes).__name__, kind=TypeError)


def _identity(codes: GaussianCodes) -> Float64[Tensor, "real real"]:
    return torch.eye(codes.n_real, dtype=torch.float64, device=codes.mean.device)


def _names(codes: GaussianCodes, *prefixes: str) -> tuple[str, ...]:
    real, categorical = codes.latent_names[: codes.n_real], codes.latent_names[codes.n_real :]
    return (*real, *(prefix + name for prefix in prefixes for name in real), *categorical)


def _check_strength(attack: object, argument: str, given: object) -> None:
    operation = type(attack).__name__
    if isinstance(given, bool) or not isinstance(given, Real):
        reject(operation, argument, "a number", repr(given), kind=TypeError)
    strength = float(given)
    fits = strength == 0 or SMALLEST <= strength <= LARGEST
    require(fits, operation, argument, f"0, or from {SMALLEST} to {LARGEST}", strength)
    object.__setattr__(attack, argument, strength)


def _orthogonal(attack: object, given: object) -> Float64[Tensor, "real real"] | None:
    if given is None:
        return None
    operation, expected = type(attack).__name__, "an orthogonal matrix"
    matrix = as_tensor(operation, "matrix", given).double()
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    require(square, operation, "matrix", expected, f"shape {tuple(matrix.shape)}")
    if matrix.numel() == 0:
        return matrix
    error = float((matrix @ matrix.T - torch.eye(len(matrix)).to(matrix)).abs().amax())
    require(error <= _ORTHOGONAL, operation, "matrix", expected, f"U Uᵀ off the identity by {error:.2g}")
    # A matrix in single precision is orthogonal to seven digits; the nearest one that is to sixteen makes it exact.
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def _turn(attack: object, matrix: Tensor | None, codes: GaussianCodes) -> Float64[Tensor, "real real"]:
    one = _identity(codes)
    if matrix is None:
        return one - 2 / max(1, codes.n_real)
    expected = f"a row and a column for each of {codes.n_real} real latents"
    require(matrix.shape == one.shape, type(attack).__name__, "matrix", expected, f"shape {tuple(matrix.shape)}")
    return matrix.to(one)
