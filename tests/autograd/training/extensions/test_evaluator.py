import numpy as np
import pytest
import torch

import toolkit.autograd.functions as F
import toolkit.autograd.links as L
from toolkit.autograd import config, using_config
from toolkit.autograd.randomness import default
from toolkit.autograd.training import ExtensionsManager, Reporter, report
from toolkit.autograd.training.datasets import DictDataset, TupleDataset
from toolkit.autograd.training.extensions import Evaluator
from toolkit.autograd.training.iterators import SerialIterator


class Mean(L.Link):
    """Reports the mean of its batch, and what it saw."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x):
        self.batches.append((len(x), config.train, config.enable_backprop))
        report({"value": F.mean(x)}, self)


class Classifier(L.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.norm = L.BatchNormalization(3)
            self.linear = L.Linear(3, 2)

    def forward(self, x, t):
        loss = F.cross_entropy(self.linear(F.dropout(self.norm(x))), t)
        report({"loss": loss}, self)
        return loss


def numbers(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 100])
def test_the_mean_does_not_depend_on_the_batch_size(batch_size):
    data, model = numbers(10), Mean()
    found = Evaluator(data, model, batch_size=batch_size)()
    assert found == {"validation/main/value": pytest.approx(data.mean(), rel=1e-14)}
    assert sum(size for size, _, _ in model.batches) == 10
    assert not any(train or record for _, train, record in model.batches)
    assert config.train
    assert config.enable_backprop


@pytest.mark.parametrize(
    "batches",
    [
        lambda data: SerialIterator(data, 4, repeat=False, shuffle=True),
        lambda data: torch.utils.data.DataLoader(torch.from_numpy(data), batch_size=4),
        lambda data: SerialIterator(list(data), 4, repeat=False),
        lambda data: [*data],
    ],
)
def test_iterators_loaders_and_lists_again_and_again(batches):
    data = numbers(10)
    evaluator = Evaluator(batches(data), Mean())
    for _ in range(2):
        assert evaluator() == {"validation/main/value": pytest.approx(data.mean(), rel=1e-6)}


def test_what_cannot_be_evaluated():
    with pytest.raises(ValueError, match="repeat"):
        Evaluator(SerialIterator([1], 1), Mean())
    with pytest.raises(TypeError, match="only once"):
        Evaluator(iter([1]), Mean())
    with pytest.raises(TypeError, match="int"):
        Evaluator(3, Mean())
    with pytest.raises(TypeError, match="links"):
        Evaluator([1.0], object())
    with pytest.raises(TypeError, match="trainer that has models"):
        Evaluator([1.0])()
    assert Evaluator([], Mean())() == {}


def test_dictionaries_and_missing_values():
    def evaluate(x, weight):
        report({"x": float(x.mean())})
        if weight[0] > 1:
            report({"now and then": float(weight.mean())})

    data = DictDataset(x=np.arange(5.0), weight=np.array([1.0, 1, 2, 2, 4]))
    found = Evaluator(data, eval_func=evaluate, batch_size=2)()
    assert found == {"validation/x": 2.0, "validation/now and then": pytest.approx((2 * 2 + 4) / 3)}


def test_several_targets(tmp_path):
    first, second = Mean(), Mean()
    found = Evaluator([1.0, 2.0], {"other": first, "main": second}, name="test")()
    assert found == {"test/main/value": 1.5}
    assert not first.batches

    def both(x):
        first(x)
        second(2 * x)

    found = Evaluator(np.array([1.0, 2.0]), {"a": first, "b": second}, eval_func=both)()
    assert found == {"validation/a/value": 1.5, "validation/b/value": 3.0}


def test_names_under_which_it_is_registered(tmp_path):
    data = np.array([1.0])
    manager = ExtensionsManager(Mean(), out=tmp_path, iterations_per_epoch=1)
    manager.extend(Evaluator(data))
    manager.extend(Evaluator(2 * data))
    manager.extend(Evaluator(3 * data), name="test")
    manager.extend(Evaluator(4 * data, name="own"))
    with manager.run_iteration():
        report({"main/value": 7.0})
    assert manager.observation == {
        "main/value": 7.0, "validation/main/value": 1.0, "validation_1/main/value": 2.0, "test/main/value": 3.0,
        "own/main/value": 4.0,
    }  # fmt: skip


def test_outside_of_a_trainer_it_reports_to_the_scope():
    observation = {}
    with Reporter().scope(observation):
        Evaluator(np.array([1.0, 2.0]), Mean())()
    assert observation == {"validation/main/value": 1.5}


def test_it_leaves_no_trace():
    x, t = numbers((8, 3)).astype(np.float32), np.arange(8) % 2
    model = Classifier()
    generator = torch.Generator().manual_seed(3)
    training = SerialIterator(TupleDataset(x, t), 4, generator=generator)
    with using_config(generator=torch.Generator().manual_seed(1)):
        loss = model(torch.from_numpy(x), torch.from_numpy(t))
        loss.backward()
        next(training)

        def traces():
            gradients = {path: parameter.grad.clone() for path, parameter in model.namedparams()}
            persistents = {path: np.asarray(value).copy() for path, value in model.namedpersistents()}
            place = training.state_dict()
            return [
                *gradients.values(), *persistents.values(), place["items"], place["seed"], place["generator"],
                default().get_state(), generator.get_state(), torch.random.get_rng_state(),
            ]  # fmt: skip

        before = [np.asarray(trace).copy() for trace in traces()]
        iterator = SerialIterator(TupleDataset(x, t), 3, repeat=False, shuffle=True, generator=generator)
        found = [Evaluator(iterator, model)() for _ in range(2)]
        for old, new in zip(before, traces(), strict=True):
            np.testing.assert_array_equal(old, np.asarray(new))
    assert found[0] == found[1]
    with using_config(train=False):
        reference = F.cross_entropy(model.linear(model.norm(torch.from_numpy(x))), torch.from_numpy(t))
    assert found[0]["validation/main/loss"] == pytest.approx(reference.item(), rel=1e-6)


def test_random_evaluations_draw_the_same_numbers_each_time():
    from toolkit.autograd.randomness import source

    def noisy(x):
        report({"noise": torch.rand((), generator=source())})

    evaluator = Evaluator(np.zeros(4), eval_func=noisy, batch_size=2)
    assert evaluator() == evaluator()
    assert evaluator() != Evaluator(np.zeros(4), eval_func=noisy, batch_size=2, seed=1)()


def test_an_error_leaves_the_settings_as_they_were():
    def fail(x):
        raise RuntimeError("no")

    state = default().get_state()
    with pytest.raises(RuntimeError, match="no"):
        Evaluator([1.0], eval_func=fail)()
    assert config.train
    assert config.enable_backprop
    assert torch.equal(state, default().get_state())


def test_batches_of_a_data_loader():
    x, t, model = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 2, Classifier()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, t), batch_size=4)
    wanted = Evaluator(TupleDataset(x, t), model)()
    assert Evaluator(loader, model)() == pytest.approx(wanted, rel=1e-6)
    examples = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, t), batch_size=4, collate_fn=list)
    assert Evaluator(examples, model)() == pytest.approx(wanted, rel=1e-6)
