"""Images that share a value of a factor, drawn many at once, and the codes of the images that were drawn.

The metrics of BetaVAE and FactorVAE both start from such draws; neither loops over its votes.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.devices import draw_integers
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes, PointCodes
from toolkit.disentanglement.sources import AttackedCodes

_POOL = 65_536
_ANY = 2**62  # so far above every count that the remainder is uniform to twelve digits


@dataclass(frozen=True, eq=False, repr=False)
class SharedValues:
    """For every value of every factor, the images that have it.

    Left out are values that fewer than two images have, and factors of one value: there is nothing to tell them by.

    Attributes:
        varying: the factors with two values or more.
        members: image numbers, ordered by the first factor's value, then again by the second's, and so on.
        start: ``[factors, values]``, where in ``members`` the images of a value begin.
        count: ``[factors, values]``, how many they are.
        usable: ``[factors, values]``, the numbers of the values with two images or more come first.
        n_usable: how many of those a factor has.
    """

    varying: Int64[Tensor, " chosen"]
    members: Int64[Tensor, " entries"]
    start: Int64[Tensor, "factors values"]
    count: Int64[Tensor, "factors values"]
    usable: Int64[Tensor, "factors values"]
    n_usable: Int64[Tensor, " factors"]

    @classmethod
    def of(cls, codes: GaussianCodes | PointCodes, operation: str) -> "SharedValues":
        """Sort the images of ``codes`` by each factor.

        Raises:
            ValueError: every factor has one value only, or a factor that varies has none that two images share.
        """
        factors = codes.factors
        images, n_factors = factors.shape
        require(images > 1, operation, "codes", "at least two images", images)
        width = max(codes.factor_sizes)
        count = torch.stack([column.bincount(minlength=width) for column in factors.T])
        varying = ((count > 0).sum(1) > 1).nonzero()[:, 0]
        require(len(varying) > 0, operation, "factors", "a factor of two values or more", "one value of each")
        for factor in varying.tolist():
            expected = f"a value of {codes.factor_names[factor]!r} that two images share"
            require(int(count[factor].max()) > 1, operation, "factors", expected, "none")
        offsets = torch.arange(n_factors, device=factors.device)[:, None] * images
        return cls(
            varying=varying,
            members=factors.argsort(dim=0, stable=True).T.reshape(-1),
            start=count.cumsum(1) - count + offsets,
            count=count,
            usable=(count < 2).to(torch.uint8).argsort(dim=1, stable=True),
            n_usable=(count > 1).sum(1),
        )

    @property
    def n_factors(self) -> int:
        """How many factors there are, those of one value included."""
        return len(self.n_usable)

    @property
    def chance(self) -> float:
        """The accuracy of guessing which factor was drawn."""
        return 1 / len(self.varying)

    def draw_factors(self, n: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
        """Draw factors that vary, all equally likely."""
        return self.varying[draw_integers(0, len(self.varying), (n,), generator=generator, device=self.varying.device)]

    def draw_values(
        self, factor: Int64[Tensor, "*shape"], generator: torch.Generator
    ) -> tuple[Int64[Tensor, "*shape"], Int64[Tensor, "*shape"]]:
        """Draw a value of each factor named, all of its usable values being equally likely.

        Returns:
            Where the value's members begin, and how many they are.
        """
        value = self.usable[factor, _below(self.n_usable[factor], generator)]
        return self.start[factor, value], self.count[factor, value]

    def draw_pairs(
        self, factor: Int64[Tensor, "*shape"], distinct: bool, generator: torch.Generator
    ) -> tuple[Int64[Tensor, "*shape"], Int64[Tensor, "*shape"]]:
        """Draw, for each factor named, a value and two images that share it.

        Args:
            factor: which factor.
            distinct: never the same image twice.
            generator: draws.
        """
        start, count = self.draw_values(factor, generator)
        first = _below(count, generator)
        second = (first + 1 + _below(count - 1, generator)) % count if distinct else _below(count, generator)
        return self.members[start + first], self.members[start + second]

    def draw_groups(
        self, factor: Int64[Tensor, " votes"], size: int, distinct: bool, generator: torch.Generator
    ) -> Int64[Tensor, "votes {size}"]:
        """Draw, for each factor named, a value and ``size`` images that share it.

        Args:
            factor: which factor.
            size: images in a group.
            distinct: different images wherever the value has ``size`` of them; with replacement where it has fewer.
            generator: draws.
        """
        start, count = self.draw_values(factor, generator)
        chosen = _below(count[:, None].expand(-1, size), generator)
        if distinct:
            # Floyd's algorithm for all groups at once: the i-th draw is among the first (count − size + i + 1) members,
            # and one that was drawn before gives way to the last of them.
            last = count[:, None] - size + torch.arange(size, device=count.device)
            drawn = _below(last.clamp(min=0) + 1, generator)
            for i in range(1, size):
                taken = (drawn[:, :i] == drawn[:, i : i + 1]).any(1)
                drawn[:, i] = torch.where(taken, last[:, i], drawn[:, i])
            chosen = torch.where(count[:, None] >= size, drawn, chosen)
        return self.members[start[:, None] + chosen]


class ImageCodes:
    """The code of every image, looked up by number.

    Columns are kept less their mean and in float32: differences and variances do not notice the one, and after it
    need no more than the other.

    Attributes:
        groups: how many columns each latent has.
        unit: (columns), what the numbers that are looked up are in units of.

    Args:
        codes: points are looked up as they are.
        representation: "samples" draws a new one from q(z | x) at every look-up, "means" takes the posterior's mean
            (of a categorical latent its most probable category).
        operation: for the error.
        own_unit: look up real latents in units of their largest distance from the mean, the squares of which neither
            vanish nor overflow; otherwise in the unit of the codes.

    Raises:
        ValueError: another representation, or codes too large for float32.
    """

    def __init__(
        self, codes: GaussianCodes | PointCodes, representation: str, operation: str, *, own_unit: bool = False
    ) -> None:
        if representation not in ("samples", "means"):
            reject(operation, "representation", "'samples' or 'means'", repr(representation))
        self._gaussian: GaussianCodes | None = None
        sampled = isinstance(codes, GaussianCodes) and representation == "samples"
        points = codes.means() if isinstance(codes, GaussianCodes) else codes
        self.groups = points.groups
        columns = points.points.double()
        columns = columns - columns.mean(0)
        self.unit = torch.ones_like(columns[0])
        if own_unit:
            largest = columns.abs().amax(0)
            if isinstance(codes, GaussianCodes) and sampled:
                largest[: codes.n_real] += codes.standard_deviation.amax(0)
            real = torch.tensor([size == 1 for size in self.groups for _ in range(size)], device=largest.device)
            self.unit = torch.where(real & (largest > 0), largest, self.unit)
        self._columns = (columns / self.unit).float()
        held = bool(self._columns.isfinite().all())
        require(held, operation, "codes", "numbers that float32 holds: below 3e38", f"{float(columns.abs().max()):.3g}")
        if isinstance(codes, GaussianCodes) and sampled:
            n_real = codes.n_real
            deviation = (codes.standard_deviation.double() / self.unit[:n_real]).float()
            smallest = torch.finfo(torch.float32).tiny
            self._gaussian = replace(
                codes.to(dtype=torch.float32),
                mean=self._columns[:, :n_real],
                standard_deviation=deviation.clamp_min(smallest),
            )

    def take(self, images: Int64[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape columns"]:
        """Return the columns of the images' codes; samples are drawn anew at every call."""
        flat = images.reshape(-1)
        if self._gaussian is None:
            return self._columns.index_select(0, flat).reshape(*images.shape, -1)
        real, categories = self._gaussian.draw_latents(flat, generator=generator)
        one_hot = [
            torch.nn.functional.one_hot(chosen, size).to(real)
            for chosen, size in zip(categories.T, self.groups[self._gaussian.n_real :], strict=True)
        ]
        return torch.cat([real, *one_hot], 1).reshape(*images.shape, -1)

    def by_latent(self, columns: Float[Tensor, "*shape columns"]) -> Float[Tensor, "*shape latents"]:
        """Sum what was computed for each column over the columns of each latent."""
        if set(self.groups) == {1}:
            return columns
        return torch.stack([part.sum(-1) for part in columns.split(list(self.groups), dim=-1)], -1)

    def variance(self, columns: Float[Tensor, "*shape columns"], dim: int) -> Float[Tensor, "..."]:
        """Return each latent's sample variance along ``dim``.

        For a categorical latent that is Gini's: half the share of pairs that are unequal, which equals half the sum
        of the variances of its one-hot columns.
        """
        halves = torch.tensor([1.0 if size == 1 else 0.5 for size in self.groups], device=columns.device)
        return self.by_latent(columns.var(dim)) * halves


def with_images(
    codes: GaussianCodes | PointCodes | AttackedCodes, generator: torch.Generator
) -> GaussianCodes | PointCodes:
    """Return codes that can be looked up image by image: of attacked codes, samples."""
    return codes if isinstance(codes, GaussianCodes | PointCodes) else codes.sample(_POOL, generator=generator)


def _below(bound: Int64[Tensor, "*shape"], generator: torch.Generator) -> Int64[Tensor, "*shape"]:
    return draw_integers(0, _ANY, bound.shape, generator=generator, device=bound.device) % bound
