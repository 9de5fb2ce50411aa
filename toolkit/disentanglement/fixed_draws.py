"""The same draws for every attack: a slider then moves scores smoothly, and what an attack leaves alone is kept."""

import torch
from torch import Tensor

from toolkit.core.devices import draw_integers, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.information import Informations, assemble, posteriors_of, sufficient_dtype
from toolkit.disentanglement.sources import AttackedCodes, Draws, Latents, Source, clean_sources


class FixedDraws:
    """Informations of one code under one attack after another.

    The code is drawn once, and so is the noise of the attacks; posteriors of sets of its own latents are computed
    when first asked for. Two attacks then differ by what they do, not by chance.

    Args:
        codes: the clean code, of a complete factor grid.
        n_samples: draws of the outer average.
        generator: of all draws.
        dtype: to compute in; default as in :func:`~toolkit.disentanglement.information.informations`.

    Raises:
        ValueError: the grid is not complete, or ``n_samples`` is not positive.
    """

    def __init__(
        self,
        codes: GaussianCodes,
        *,
        n_samples: int = 2000,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ):
        require(codes.complete, "FixedDraws", "codes", "a complete grid of factors", f"{codes!r}, which is not")
        generator = resolve_generator(generator)
        images = codes.draw_images(n_samples, generator=generator)
        self.codes = codes
        self._draws = Draws(images, *codes.draw_latents(images, generator=generator))
        self._noise_seed = int(draw_integers(0, 2**62, (1,), generator=generator))
        self._dtype = dtype or sufficient_dtype(codes)
        self._kept: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def informations(self, attacked: GaussianCodes | AttackedCodes | None = None) -> Informations:
        """Return the informations of the attacked code, or of the clean one.

        Args:
            attacked: what an attack made of ``self.codes``.

        Raises:
            ValueError: another code was attacked.
        """
        if attacked is None or attacked is self.codes:
            return assemble(self.codes, self._draws, clean_sources(self.codes.n_latents), self._evaluate)
        if isinstance(attacked, GaussianCodes) or attacked.codes is not self.codes:
            reject("FixedDraws.informations", "attacked", "an attack on these codes", repr(attacked))
        noise = resolve_generator(seed=self._noise_seed)
        return assemble(attacked, self._draws, attacked.sources(self._draws, generator=noise), self._evaluate)

    def _evaluate(self, sources: list[Source]) -> tuple[Tensor, Tensor]:
        keys = [source.indices if isinstance(source, Latents) and not source.channels else None for source in sources]
        new = [source for source, key in zip(sources, keys, strict=True) if key is None or key not in self._kept]
        found = iter(zip(*posteriors_of(self.codes, self._draws, new, self._dtype), strict=True)) if new else iter(())
        parts = []
        for key in keys:
            part = self._kept[key] if key is not None and key in self._kept else next(found)
            if key is not None:
                self._kept[key] = part
            parts.append(part)
        return torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts])
