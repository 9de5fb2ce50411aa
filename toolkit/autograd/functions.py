"""Every differentiable function, for ``from toolkit.autograd import functions as F``."""

# Family by family: a type checker does not see names through the composed __all__ of the package.
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
from toolkit.autograd.registry import REGISTRY

__all__ = sorted(REGISTRY)
