"""Networks in double precision for images of any precision: loads fast, since submissions' processes load it too."""

from jaxtyping import Float
from torch import Tensor, nn


class InDouble(nn.Module):
    """A network in float64 that takes images of any precision, so that labels do not depend on the machine.

    Attributes:
        inner: the network; converted in place.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.double()
        self.eval()

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        return self.inner(images.double())
