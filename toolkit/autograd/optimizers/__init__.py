"""Optimizers, hooks around their steps, and schedules of their hyper-parameters.

``torch.optim`` updates torch tensors; arrays of NumPy, CuPy and other libraries are updated by a few lines each that
follow the same path to the last digits. Formulas and defaults are torch's; the docstrings say where Chainer differs.
"""

from toolkit.autograd.optimizers import schedules
from toolkit.autograd.optimizers.adam import Adam, AdamW
from toolkit.autograd.optimizers.adaptive import AdaGrad, RMSprop
from toolkit.autograd.optimizers.hooks import (
    GradientClipping,
    GradientHardClipping,
    GradientLARS,
    GradientNoise,
    Lasso,
    Scheduled,
    WeightDecay,
)
from toolkit.autograd.optimizers.hyperparameters import Hyperparameter
from toolkit.autograd.optimizers.optimizer import Optimizer, TensorGroup
from toolkit.autograd.optimizers.sgd import SGD, MomentumSGD, Nesterov, NesterovAG
from toolkit.autograd.optimizers.update_rule import UpdateRule

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "GradientClipping",
    "GradientHardClipping",
    "GradientLARS",
    "GradientNoise",
    "Hyperparameter",
    "Lasso",
    "MomentumSGD",
    "Nesterov",
    "NesterovAG",
    "Optimizer",
    "RMSprop",
    "Scheduled",
    "TensorGroup",
    "UpdateRule",
    "WeightDecay",
    "schedules",
]
