import math

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd.training import ExtensionsManager, report
from toolkit.autograd.training.extensions import FailOnNonNumber


def spoil(parameter, value):
    parameter.data = parameter.data.copy() if isinstance(parameter.data, np.ndarray) else parameter.data.clone()
    parameter.data[0] = value


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("value, word", [(math.nan, "1 NaN of 3"), (math.inf, "1 infinite of 3")])
def test_parameters(library, value, word):
    model = L.Sequential(L.Linear(2, 3), L.Linear(3, 3)).to_device(library=library)
    check = FailOnNonNumber(model)
    check()
    path, parameter = [(path, p) for path, p in model.namedparams() if p.shape == (3,)][1]
    spoil(parameter, value)
    with pytest.raises(FloatingPointError, match=f"parameter {path}: {word}"):
        check()
    FailOnNonNumber(model, params=False)()


@pytest.mark.parametrize(
    "value", [math.nan, -math.inf, np.float32("nan"), torch.tensor(math.inf), np.array([1.0, math.nan])]
)
def test_observations(train, value):
    with pytest.raises(FloatingPointError, match=r"at iteration 2\n.*\n.*observation main/loss: 1 (NaN|infinite)"):
        train([FailOnNonNumber(params=False)], [{"main/loss": 1.0, "text": "fine", "n": 10**400}, {"main/loss": value}])
    train([FailOnNonNumber(params=False, observations=False)], [{"main/loss": value}])


def test_large_finite_values_of_all_dtypes_pass():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        link = L.Link()
        with link.init_scope():
            link.W = L.Parameter(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype))
            link.empty = L.Parameter(torch.zeros(0, dtype=dtype))
        FailOnNonNumber(link)()
        with pytest.raises(FloatingPointError, match="1 NaN"):
            spoil(link.W, math.nan)
            FailOnNonNumber(link)()
    FailOnNonNumber(L.Linear(None, 3))()


def test_several_models_and_many_culprits(tmp_path):
    models = {"a": L.Linear(2, 3), "b": L.Linear(2, 3)}
    manager = ExtensionsManager(models, extensions=[FailOnNonNumber()], out=tmp_path)
    spoil(models["b"].W, math.nan)
    with pytest.raises(FloatingPointError, match=r"parameter b:/W: 2 NaN of 6; .* and 3 more"), manager.run_iteration():
        report({f"x{index}": math.nan for index in range(7)})
