"""Models as trees of links (``import toolkit.autograd.links as L``): parameters together with the code that uses them.

The question: how does a model written as plain Python know its parameters? A link collects them as they are assigned
(Tokui et al. 2019, section 3.2). ``parameter`` and ``link`` hold the mechanism, ``containers`` the trees, the other
modules one family of layers each.
"""

from toolkit.autograd.links.containers import Chain, ChainList, Sequential
from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.places import default_arrays, set_default_arrays

__all__ = ["Chain", "ChainList", "Link", "Parameter", "Sequential", "default_arrays", "set_default_arrays"]
