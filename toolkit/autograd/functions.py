"""Every differentiable function, for ``from toolkit.autograd import functions as F``."""

from toolkit.autograd import operations
from toolkit.autograd.registry import REGISTRY

globals().update({name: getattr(operations, name) for name in REGISTRY})

__all__ = sorted(REGISTRY)
