"""All recording operations, by the family they belong to."""

from toolkit.autograd.operations import elementwise, linear_algebra, reductions, shaping
from toolkit.autograd.operations.elementwise import *  # noqa: F403
from toolkit.autograd.operations.linear_algebra import *  # noqa: F403
from toolkit.autograd.operations.reductions import *  # noqa: F403
from toolkit.autograd.operations.shaping import *  # noqa: F403

elementwise.install_operators()
shaping.install_methods()
linear_algebra.install_methods()
