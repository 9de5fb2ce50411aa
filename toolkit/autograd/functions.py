"""Every differentiable function, for ``from toolkit.autograd import functions as F``."""

from toolkit.autograd.operations import *  # noqa: F403
from toolkit.autograd.registry import REGISTRY

__all__ = sorted(REGISTRY)
