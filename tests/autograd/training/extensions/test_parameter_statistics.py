import math

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd.training import ExtensionsManager
from toolkit.autograd.training.extensions import ParameterStatistics
from toolkit.autograd.training.extensions import parameter_statistics as module

PERCENTILES = (0, 2.28, 50, 97.72, 100)


def model_of(**arrays):
    model = L.Link()
    with model.init_scope():
        for name, array in arrays.items():
            setattr(model, name, L.Parameter(array))
    return model


def reference(values):
    table = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    table["zeros"] = (values == 0).sum()
    return table | {
        f"percentile/{p:g}": v for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    }


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 5)])
def test_against_numpy(make, dtype, shape):
    values = np.random.default_rng(0).normal(1, 2, size=shape).astype(dtype)
    if values.size > 1:
        values.flat[0] = 0
    model = model_of(W=make(values.copy()))
    model.W.grad = make(np.asarray(-values))
    found = ParameterStatistics(model, percentiles=PERCENTILES)()
    wanted = {f"W/data/{name}": value for name, value in reference(values.astype(np.float64)).items()}
    wanted |= {f"W/grad/{name}": value for name, value in reference(-values.astype(np.float64)).items()}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-7), name


def test_names_and_choices():
    model = L.Sequential(L.Linear(2, 3))
    keys = ParameterStatistics(model, statistics=("mean", "percentiles"), percentiles=(50,), report_grads=False)()
    path = next(path for path, _ in model.namedparams())
    assert f"{path.strip('/')}/data/mean" in keys
    assert len(keys) == 2 * len(list(model.params()))
    keys = ParameterStatistics({"a": model, "b": model}, statistics=("zeros",), prefix="p")()
    assert all(key.startswith(("p/a/", "p/b/")) and key.endswith("/data/zeros") for key in keys)
    assert keys


def test_without_gradient_and_uninitialised():
    model = L.Linear(None, 3)
    keys = ParameterStatistics(model, statistics=("mean",))()
    assert set(keys) <= {"b/data/mean"}


def test_nan():
    model = model_of(W=np.array([1.0, math.nan, 3.0, 0.0]))
    found = ParameterStatistics(model)()
    assert found.pop("W/data/zeros") == 1
    assert all(math.isnan(value) for value in found.values())
    found = ParameterStatistics(model, skip_nan=True, percentiles=PERCENTILES)()
    for name, value in reference(np.array([1.0, 3.0, 0.0])).items():
        assert found[f"W/data/{name}"] == pytest.approx(value), name


@pytest.mark.parametrize("values", [np.array([math.nan, math.nan]), np.zeros((0, 3))])
@pytest.mark.parametrize("skip_nan", [False, True])
def test_nothing_to_describe(values, skip_nan):
    found = ParameterStatistics(model_of(W=values), skip_nan=skip_nan)()
    assert found.pop("W/data/zeros") == 0
    assert found
    assert all(math.isnan(value) for value in found.values())


def test_infinities_and_extremes():
    found = ParameterStatistics(model_of(W=np.array([-math.inf, 0.0, math.inf, math.inf])), percentiles=(0, 100, 90))()
    assert found["W/data/min"] == -math.inf
    assert found["W/data/max"] == found["W/data/percentile/100"] == found["W/data/percentile/90"] == math.inf
    large = ParameterStatistics(model_of(W=np.full(3, 3e38, dtype=np.float32)))()
    assert large["W/data/std"] == 0
    assert large["W/data/mean"] == pytest.approx(3e38)


def test_one_transfer(monkeypatch):
    rows = []
    fetch = module.fetch
    monkeypatch.setattr(module, "fetch", lambda given: rows.append(given) or fetch(given))
    read = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: read.append(self.shape) or tolist(self))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("an element was fetched by itself"))
    model = L.Sequential(L.Linear(2, 3), L.Linear(3, 4))
    ParameterStatistics(model)()
    assert len(rows) == len(read) == 1


def test_in_a_training(tmp_path):
    model = L.Linear(2, 3)
    manager = ExtensionsManager(model, extensions=[ParameterStatistics()], out=tmp_path, iterations_per_epoch=2)
    with manager.run_iteration():
        pass
    assert not manager.observation
    with manager.run_iteration():
        pass
    assert "W/data/mean" in manager.observation


def test_arguments():
    with pytest.raises(ValueError, match="statistics"):
        ParameterStatistics(statistics=("median",))
    with pytest.raises(ValueError, match="percentiles"):
        ParameterStatistics(percentiles=(101,))
