"""Setting up, one step, and what happens when the link changes in between."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd import optimizers as O


def numbers(library, *values):
    return library.array(np.array(values, dtype="float64"))


def test_update_computes_the_gradients(library, bare):
    link = bare([numbers(library, 1.0, 2.0)])
    link.p0.grad = numbers(library, 100.0, 100.0)
    optimizer = O.SGD(lr=0.5).setup(link)
    loss = optimizer.update(
        lambda x, scale: F.sum(link.p0 * x) * scale, Variable(numbers(library, 1.0, 3.0)), scale=2.0
    )
    assert loss.item() == 14.0
    np.testing.assert_array_equal(np.asarray(link.p0.data), [0.0, -1.0])
    assert optimizer.t == 1
    assert optimizer.target is link


def test_update_without_a_loss_uses_the_gradients_that_are_there(library, bare):
    link = bare([numbers(library, 1.0), numbers(library, 1.0)])
    link.p0.grad = numbers(library, 2.0)
    assert O.SGD(lr=0.5).setup(link).update() is None
    assert [float(np.asarray(p.data)[0]) for p in link.params()] == [0.0, 1.0]


def test_parameters_are_changed_in_place(bare):
    array, tensor = np.ones(3), torch.ones(3, dtype=torch.float64)
    link = bare([array, tensor])
    held = [parameter.data for parameter in link.params()]
    link.p0.grad, link.p1.grad = np.ones(3), torch.ones(3, dtype=torch.float64)
    O.Adam(lr=0.5).setup(link).update()
    assert link.p0.data is held[0] and link.p1.data is held[1]
    assert held[0][0] == pytest.approx(0.5) and held[1][0] == pytest.approx(0.5)


@pytest.mark.parametrize("make", [O.SGD, O.MomentumSGD, O.AdaGrad, O.RMSprop, O.Adam])
def test_a_write_is_noticed_by_a_graph_that_is_passed_later(make, bare):
    link = bare([torch.ones(3)])
    loss = F.sum(link.p0 * link.p0)
    loss.backward(retain_graph=True)
    make().setup(link).update()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_link_without_parameters():
    with pytest.raises(ValueError, match="init_scope"):
        O.SGD().setup(L.Chain())
    with pytest.raises(TypeError, match="Link"):
        O.SGD().setup([1, 2])


def test_an_optimizer_without_a_link():
    with pytest.raises(RuntimeError, match="setup"):
        O.SGD().update()


def test_a_loss_that_is_none(bare):
    optimizer = O.SGD().setup(bare([torch.ones(1)]))
    for loss in (None, 1.0, torch.ones(())):
        with pytest.raises(TypeError, match="lossfun"):
            optimizer.update(lambda loss=loss: loss)
    assert optimizer.t == 0


def test_lazily_sized_parameters_join_when_they_have_a_size(bare):
    link = L.Linear(None, 2)
    optimizer = O.Adam(lr=0.1).setup(link)
    assert link.W.update_rule is not None and link.W.update_rule.state == {}
    x = Variable(torch.ones(4, 3))
    optimizer.update(lambda: F.sum(link(x)))
    assert tuple(link.W.update_rule.state["exp_avg"].shape) == (2, 3)
    before = link.W.data.clone()
    optimizer.update(lambda: F.sum(link(x)))
    torch.testing.assert_close(link.W.data, before - 0.1)


def test_parameters_that_come_and_go(bare):
    link = bare([torch.ones(2)])
    optimizer = O.MomentumSGD(lr=1.0, momentum=0.5).setup(link)
    with link.init_scope():
        link.late = L.Parameter(torch.ones(2))
    for parameter in link.params():
        parameter.grad = torch.ones(2)
    optimizer.update()
    assert link.late.data.tolist() == [0.0, 0.0] and link.late.update_rule.t == 1
    gone = link.p0
    del link.p0
    optimizer.update()
    assert gone.data.tolist() == [0.0, 0.0]
    assert link.late.data.tolist() == [-1.5, -1.5]


def test_a_shared_parameter_is_updated_once(library):
    first = L.Linear(2, 2)
    model = L.ChainList(first, first, L.Chain())
    first.W.data = numbers(library, 1.0, 1.0)
    first.W.grad = numbers(library, 1.0, 1.0)
    O.SGD(lr=0.25).setup(model).update()
    assert np.asarray(first.W.data).tolist() == [0.75, 0.75]


def test_frozen_links_stay(bare):
    model = L.Sequential(L.Linear(2, 2), L.Linear(2, 1))
    optimizer = O.AdamW(lr=0.1).setup(model)
    model[0].disable_update()
    before = {path: parameter.data.clone() for path, parameter in model.namedparams()}
    x = Variable(torch.ones(1, 2))
    optimizer.update(lambda: F.sum(model(x)))
    changed = {path for path, parameter in model.namedparams() if not torch.equal(parameter.data, before[path])}
    assert changed == {"/1/W", "/1/b"}
    assert model[0].W.update_rule.t == 0
    model[0].enable_update()
    optimizer.update(lambda: F.sum(model(x)))
    assert not torch.equal(model[0].W.data, before["/0/W"])


def test_links_frozen_before_setup_stay(bare):
    model = L.Linear(2, 2)
    model.disable_update()
    optimizer = O.SGD().setup(model)
    assert not model.W.update_rule.enabled
    model.W.grad = torch.ones(2, 2)
    before = model.W.data.clone()
    optimizer.update()
    assert torch.equal(model.W.data, before)


def test_state_follows_the_model(bare):
    """Another dtype or library after setup: the moments go along, and the path goes on."""
    for there in (lambda a: a.float(), lambda a: a.numpy()):
        link = bare([torch.ones(3, dtype=torch.float64)])
        twin = bare([torch.ones(3, dtype=torch.float64)])
        moved, stays = O.Adam(lr=0.1).setup(link), O.Adam(lr=0.1).setup(twin)
        for step in range(4):
            gradient = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) * (step + 1)
            if step == 2:
                link.p0.data = there(link.p0.data)
            link.p0.grad = gradient if step < 2 else there(gradient)
            twin.p0.grad = gradient
            moved.update()
            stays.update()
        assert type(link.p0.update_rule.state["exp_avg"]) is type(link.p0.data)
        np.testing.assert_allclose(np.asarray(link.p0.data), twin.p0.data.numpy(), rtol=1e-6)


def test_a_parameter_that_changed_its_shape(bare):
    link = bare([torch.ones(3)])
    optimizer = O.Adam().setup(link)
    link.p0.grad = torch.ones(3)
    optimizer.update()
    link.p0.data, link.p0.grad = torch.ones(4), torch.ones(4)
    with pytest.raises(ValueError, match="shape"):
        optimizer.update()


@pytest.mark.parametrize(
    "gradient",
    [torch.ones(2), torch.ones(3, dtype=torch.float64), np.ones(3, dtype="float32"), 1.0, torch.ones(1, 3)],
)
def test_gradients_that_do_not_fit_change_nothing(gradient, bare):
    link = bare([torch.ones(3), torch.ones(3)])
    optimizer = O.SGD().setup(link)
    link.p0.grad, link.p1.grad = torch.ones(3), gradient
    with pytest.raises(ValueError, match="grad of /p1"):
        optimizer.update()
    assert link.p0.data.tolist() == [1.0] * 3 and optimizer.t == 0


def test_numpy_scalars_are_gradients_of_arrays_without_axes(bare):
    link = bare([np.array(1.0)])
    link.p0.grad = np.array(1.0) * 2.0
    O.SGD(lr=0.25).setup(link).update()
    assert isinstance(link.p0.data, np.ndarray) and link.p0.data == 0.5


def test_a_parameter_has_one_optimizer(bare):
    link = bare([torch.ones(2)])
    first, second = O.SGD().setup(link), O.Adam().setup(link)
    link.p0.grad = torch.ones(2)
    second.update()
    with pytest.raises(RuntimeError, match="Adam has it"):
        first.update()
    first.setup(link).update()


def test_rules_are_kept_apart_from_the_optimizer(bare):
    link = bare([torch.ones(2), torch.ones(2)])
    optimizer = O.Adam(lr=0.1).setup(link)
    rule = link.p0.update_rule
    rule.lr = 0.5
    optimizer.lr = 0.2
    assert (rule.lr, link.p1.update_rule.lr, optimizer.lr) == (0.5, 0.2, 0.2)
    assert rule.beta1 == 0.9
    del rule.lr
    assert rule.lr == 0.2
    with pytest.raises(AttributeError, match="momentum"):
        rule.momentum = 0.9
    with pytest.raises(AttributeError, match="momentum"):
        _ = rule.momentum
    with pytest.raises(ValueError, match="lr"):
        rule.lr = -1
    with pytest.raises(AttributeError):
        del rule.lr


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_numbers_that_are_not_allowed(value):
    with pytest.raises(ValueError, match="lr"):
        O.SGD(lr=value)
    optimizer = O.Adam()
    with pytest.raises(ValueError, match="eps"):
        optimizer.eps = value
    assert optimizer.eps == 1e-8


def test_shares_stay_below_one():
    with pytest.raises(ValueError, match="beta1"):
        O.Adam(beta1=1.0)
    with pytest.raises(ValueError, match="alpha"):
        O.RMSprop(alpha=1.0)


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]])
def test_what_is_no_number(value):
    optimizer = O.SGD()
    with pytest.raises(TypeError, match="lr"):
        optimizer.lr = value


def test_numbers_of_other_libraries_become_pythons():
    optimizer = O.SGD()
    for value in (np.float32(0.5), np.array(0.5), torch.tensor(0.5)):
        optimizer.lr = value
        assert (type(optimizer.lr), optimizer.lr) == (float, 0.5)


def test_an_optimizer_of_ones_own(library, bare):
    """A subclass that says how one array changes works on every library."""

    class Sign(O.Optimizer):
        lr = O.Hyperparameter()

        def __init__(self, lr=0.5):
            super().__init__(lr=lr)

        def update_array(self, xp, data, gradient, state, t, values):
            data -= values["lr"] * xp.sign(gradient)
            return data

    link = bare([numbers(library, 1.0, 1.0)])
    link.p0.grad = numbers(library, 3.0, -3.0)
    Sign().setup(link).update()
    assert np.asarray(link.p0.data).tolist() == [0.5, 1.5]


def test_no_cycle_keeps_arrays_alive(bare):
    link = bare([np.ones(1000)])
    optimizer = O.Adam().setup(link)
    link.p0.grad = np.ones(1000)
    optimizer.update()
    watched = weakref.ref(link.p0.data)
    gc.collect()
    gc.disable()
    try:
        del link, optimizer
        assert watched() is None
    finally:
        gc.enable()


def test_a_pickled_pair_goes_on_alike(bare):
    link = L.Linear(3, 2)
    optimizer = O.Adam(lr=0.1).setup(link)
    x = Variable(torch.arange(6.0).reshape(2, 3))
    optimizer.update(lambda: F.sum(link(x) ** 2))
    for twin_link, twin in (copy.deepcopy((link, optimizer)), pickle.loads(pickle.dumps((link, optimizer)))):
        twin.update(lambda twin_link=twin_link: F.sum(twin_link(x) ** 2))
    optimizer.update(lambda: F.sum(link(x) ** 2))
    assert torch.equal(link.W.data, twin_link.W.data)


def test_epochs():
    optimizer = O.SGD()
    optimizer.new_epoch()
    assert optimizer.epoch == 1
    assert O.NesterovAG is O.Nesterov
    assert repr(O.SGD(lr=0.5)) == "SGD(lr=0.5, weight_decay=0)"
