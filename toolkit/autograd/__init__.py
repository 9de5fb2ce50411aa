"""Define-by-run differentiation over NumPy, torch and CuPy arrays (Tokui et al. 2019, Chainer).

The question of the paper: how can a framework differentiate code it has never seen? Its answer: run the code, and
let every operation leave behind just enough to go backward. ``tape`` holds Variables and the nodes behind them,
``engine`` the backward pass, ``operations`` the functions with one backward rule each, ``backends`` the array
libraries, ``derivatives`` gradients as functions (any order), ``checkpoint`` recomputation, ``hooks`` and ``graph``
what looks on, ``gradcheck`` the proof by differences. On top stand ``links`` and ``initializers`` (models as trees),
``optimizers``, ``training`` (Trainer, extensions, snapshots), ``serializers``, ``models``, ``distributed`` (several
processes) and ``onnx_export``, each loaded when it is first asked for.
"""

import importlib
from typing import Any

from toolkit.autograd import functions, hooks
from toolkit.autograd.checkpoint import checkpoint
from toolkit.autograd.configuration import config, no_grad, set_default, using_config
from toolkit.autograd.derivatives import grad, hessian, hvp, jacobian, vjp
from toolkit.autograd.gradcheck import GradientCheck, gradcheck, numerical_gradient
from toolkit.autograd.graph import Graph, graph
from toolkit.autograd.tape import Variable

_LOADED_LATER = (
    "distributed",
    "initializers",
    "links",
    "models",
    "onnx_export",
    "optimizers",
    "serializers",
    "training",
)

__all__ = [
    "GradientCheck",
    "Graph",
    "Variable",
    "checkpoint",
    "config",
    "functions",
    "grad",
    "gradcheck",
    "graph",
    "hessian",
    "hooks",
    "hvp",
    "jacobian",
    "no_grad",
    "numerical_gradient",
    "set_default",
    "using_config",
    "vjp",
]


def __getattr__(name: str) -> Any:
    if name in _LOADED_LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_LATER})
