"""The U-net of the denoiser and of the attack network: images to images of the same size."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.adversarial.models import draw_weights
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require


class UNet(nn.Module):
    """Convolutions from fine to coarse and back, each scale seeing what came past on the way down.

    The shape of team TsAIL's DUNET, in small: 3×3 convolutions with batch normalisation, stride 2 from scale to scale,
    bilinear interpolation to the size of the finer scale, concatenation, and a 1×1 convolution without bias at the end.
    Any size goes, not only multiples of the strides. The last convolution starts at zero: a fresh network answers 0.

    Source: section 5.1 and the released code (github.com/lfz/Guided-Denoise), which has five scales of 64 to 256
    channels.

    Attributes:
        down: a stage for each scale, the finest first.
        up: a stage for each scale but the coarsest, the finest first.
        last: the 1×1 convolution.
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 48),
        out_channels: int | None = None,
        *,
        n_blocks: int = 1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a network with fresh weights.

        Args:
            channels: of the input.
            widths: channels at each scale, the finest first.
            out_channels: of the output; default: ``channels``.
            n_blocks: convolutions in a stage.
            generator: draws the weights; default: a new one.
            dtype: of the weights; default: float32.

        Raises:
            ValueError: numbers below 1, or no widths.
        """
        super().__init__()
        widths, out_channels = tuple(widths), channels if out_channels is None else out_channels
        for name, value in (("channels", channels), ("out_channels", out_channels), ("n_blocks", n_blocks)):
            require(value >= 1, "UNet", name, ">= 1", value)
        require(bool(widths) and min(widths) >= 1, "UNet", "widths", "at least one number >= 1", widths)
        # torch's layers draw weights of their own from the global generator, which belongs to the caller.
        with torch.random.fork_rng(devices=[]):
            self.down = nn.ModuleList(
                _stage(n_in, n_out, n_blocks, stride=1 if scale == 0 else 2)
                for scale, (n_in, n_out) in enumerate(zip((channels, *widths), widths, strict=False))
            )
            self.up = nn.ModuleList(
                _stage(fine + coarse, fine, n_blocks) for fine, coarse in itertools.pairwise(widths)
            )
            self.last = nn.Conv2d(widths[0], out_channels, 1, bias=False)
        self.to(dtype or torch.float32)
        draw_weights(self, resolve_generator(generator))
        nn.init.zeros_(self.last.weight)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels height width"]:
        """Return the output at every pixel."""
        seen = []
        for stage in self.down:
            images = stage(images)
            seen.append(images)
        for stage, skip in zip(reversed(self.up), reversed(seen[:-1]), strict=True):
            coarse = F.interpolate(images, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            images = stage(torch.cat([coarse, skip], 1))
        return self.last(images)


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for block in range(n_blocks):
        first = block == 0
        convolution = nn.Conv2d(n_in if first else n_out, n_out, 3, stride if first else 1, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)
