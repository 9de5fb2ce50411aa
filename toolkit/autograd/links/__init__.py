"""Models as trees of links (``import toolkit.autograd.links as L``): parameters together with the code that uses them.

The question: how does a model written as plain Python know its parameters? A link collects them as they are assigned
(Tokui et al. 2019, section 3.2). ``parameter``, ``tree`` and ``link`` hold the mechanism, ``containers`` the links made
of links, the other modules one family of layers each.
"""

from toolkit.autograd.links.affine import Linear
from toolkit.autograd.links.attention import MultiHeadAttention
from toolkit.autograd.links.containers import Chain, ChainList, Sequential
from toolkit.autograd.links.convolution import Conv2d
from toolkit.autograd.links.embedding import Embedding
from toolkit.autograd.links.link import Link
from toolkit.autograd.links.normalization import BatchNormalization, LayerNormalization
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.recurrent import GRUCell, LSTMCell
from toolkit.autograd.links.stateful import GRU, LSTM
from toolkit.autograd.places import default_arrays, set_default_arrays

__all__ = [
    "GRU",
    "LSTM",
    "BatchNormalization",
    "Chain",
    "ChainList",
    "Conv2d",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "LayerNormalization",
    "Linear",
    "Link",
    "MultiHeadAttention",
    "Parameter",
    "Sequential",
    "default_arrays",
    "set_default_arrays",
]
