"""States in files: NPZ archives and safetensors, written whole or not at all, read without executing anything.

A state is a tree of dicts (see :mod:`toolkit.autograd.states`). Its arrays are stored by path, ``l1/W``, so that other
programs can read them, and so that files of Chainer's ``save_npz`` load into links of the same names. Numbers, texts,
``None``, and lists of these, are kept as JSON.
"""

from toolkit.autograd.serializers.npz import load_npz, save_npz
from toolkit.autograd.serializers.safetensors_files import load_safetensors, save_safetensors
from toolkit.autograd.states import LoadReport

__all__ = ["LoadReport", "load_npz", "load_safetensors", "save_npz", "save_safetensors"]
