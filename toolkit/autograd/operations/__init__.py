"""All recording operations, by the family they belong to."""

from toolkit.autograd.operations import (
    classification,
    convolution,
    elementwise,
    linear_algebra,
    lookup,
    normalization,
    operators,
    pooling,
    recurrent,
    reductions,
    regularization,
    shaping,
)
from toolkit.autograd.operations.classification import *  # noqa: F403
from toolkit.autograd.operations.convolution import *  # noqa: F403
from toolkit.autograd.operations.elementwise import *  # noqa: F403
from toolkit.autograd.operations.linear_algebra import *  # noqa: F403
from toolkit.autograd.operations.lookup import *  # noqa: F403
from toolkit.autograd.operations.normalization import *  # noqa: F403
from toolkit.autograd.operations.pooling import *  # noqa: F403
from toolkit.autograd.operations.recurrent import *  # noqa: F403
from toolkit.autograd.operations.reductions import *  # noqa: F403
from toolkit.autograd.operations.regularization import *  # noqa: F403
from toolkit.autograd.operations.shaping import *  # noqa: F403

__all__: list[str] = []
__all__ += classification.__all__
__all__ += convolution.__all__
__all__ += regularization.__all__
__all__ += elementwise.__all__
__all__ += lookup.__all__
__all__ += linear_algebra.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
__all__ += recurrent.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__

operators.install()
shaping.install_methods()
linear_algebra.install_methods()
