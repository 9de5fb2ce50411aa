"""All recording operations, by the family they belong to."""

from toolkit.autograd.operations import elementwise, linear_algebra, reductions, shaping
from toolkit.autograd.operations.classification import *  # noqa: F403
from toolkit.autograd.operations.convolution import *  # noqa: F403
from toolkit.autograd.operations.dropout import *  # noqa: F403
from toolkit.autograd.operations.elementwise import *  # noqa: F403
from toolkit.autograd.operations.embedding import *  # noqa: F403
from toolkit.autograd.operations.linear_algebra import *  # noqa: F403
from toolkit.autograd.operations.normalization import *  # noqa: F403
from toolkit.autograd.operations.pooling import *  # noqa: F403
from toolkit.autograd.operations.reductions import *  # noqa: F403
from toolkit.autograd.operations.shaping import *  # noqa: F403

__all__: list[str] = []
__all__ += elementwise.__all__
__all__ += linear_algebra.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__

elementwise.install_operators()
shaping.install_methods()
linear_algebra.install_methods()
