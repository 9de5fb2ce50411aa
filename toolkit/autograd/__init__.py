"""Define-by-run differentiation over NumPy, torch and CuPy arrays."""

from toolkit.autograd import functions
from toolkit.autograd.tape import Variable

__all__ = ["Variable", "functions"]
