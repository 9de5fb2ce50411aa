"""Links as trees: registering, walking, copying, moving, saving."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable
from toolkit.autograd import functions as F


class Net(L.Chain):
    """Two layers, one of them lazily sized, and a counter."""

    def __init__(self, n: int | None = None) -> None:
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(n, 5)
            self.body = L.Sequential(L.Linear(5, 4), F.relu, L.BatchNormalization(4))
        self.add_persistent("calls", 0)

    def forward(self, x):
        self.calls += 1
        return self.body(F.relu(self.l1(x)))


X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


def ready(library: str = "torch") -> Net:
    net = Net(3)
    net.to_device(library=library)
    return net


def test_paths_in_the_order_of_registration():
    net = Net(3)
    paths = ["/l1/W", "/l1/b", "/body/0/W", "/body/0/b", "/body/2/gamma", "/body/2/beta"]
    assert [path for path, _ in net.namedparams()] == paths
    assert [path for path, _ in net.namedlinks()] == ["/", "/l1", "/body", "/body/0", "/body/2"]
    assert [path for path, _ in net.namedlinks(skipself=True)] == ["/l1", "/body", "/body/0", "/body/2"]
    assert [link.name for link in net.links()] == [None, "l1", "body", "0", "2"]
    assert list(net.children()) == [net.l1, net.body]
    assert sorted(path for path, _ in net.namedpersistents()) == [
        "/body/2/N", "/body/2/avg_mean", "/body/2/avg_var", "/calls",
    ]  # fmt: skip
    assert net.count_params() == 15 + 5 + 20 + 4 + 8


def test_uninitialised_parameters_can_be_left_out_and_are_not_counted():
    net = Net()
    assert "/l1/W" in dict(net.namedparams())
    assert "/l1/W" not in dict(net.namedparams(include_uninitialized=False))
    with pytest.warns(UserWarning, match="/l1/W"):
        assert net.count_params() == 20 + 4 + 8
    net(torch.from_numpy(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert net.count_params() == 52


def test_assignments_outside_a_scope_own_nothing():
    net = L.Chain()
    net.reference = L.Parameter(0.0, (1,))
    net.other = L.Linear(2, 2)
    assert list(net.params()) == []
    with net.init_scope():
        assert net.within_init_scope
        net.owned = L.Linear(2, 2)
    assert not net.within_init_scope
    assert [path for path, _ in net.namedparams()] == ["/owned/W", "/owned/b"]


def test_a_scope_ends_with_an_exception():
    net = L.Chain()
    with pytest.raises(ZeroDivisionError), net.init_scope():
        raise ZeroDivisionError
    net.child = L.Linear(2, 2)
    assert list(net.children()) == []


def test_shared_links_and_parameters_come_once():
    shared = L.Linear(3, 3)
    net = L.Chain(a=shared, b=shared)
    with net.init_scope():
        net.tied = shared.W
    assert [path for path, _ in net.namedparams()] == ["/tied", "/a/b"]
    assert len(list(net.links())) == 2 and len(list(net.children())) == 1
    for mode in ("copy", "share", "init"):
        twin = net.copy(mode)
        assert twin.a is twin.b and twin.a is not shared and len(list(twin.params())) == 2
        assert twin.tied is twin.a.W
    twin.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(twin.a.W.data, shared.W.data)


def test_cleargrads_and_updates_reach_the_subtree_alone():
    net = Net(3)
    F.sum(net(torch.from_numpy(X))).backward()
    net.body.cleargrads()
    assert net.l1.W.grad is not None and all(p.grad is None for p in net.body.params())
    net.body.disable_update()
    assert net.l1.update_enabled and not net.body.update_enabled and net.update_enabled
    assert [p.update_enabled for p in net.params()] == [True, True, False, False, False, False]
    net.enable_update()
    assert all(p.update_enabled for p in net.params())


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda net: net.add_param("a/b", (1,)), ValueError),
        (lambda net: net.add_param("", (1,)), ValueError),
        (lambda net: net.add_param("forward", (1,)), ValueError),
        (lambda net: net.add_param("l1", (1,)), ValueError),
        (lambda net: net.add_param("name", (1,)), ValueError),
        (lambda net: net.add_link("copy", L.Linear(1, 1)), ValueError),
        (lambda net: net.add_link("l1", L.Linear(1, 1)), ValueError),
        (lambda net: net.add_link("fresh", 3), TypeError),
        (lambda net: net.add_link("fresh", torch.nn.Linear(1, 1)), TypeError),
        (lambda net: net.add_link("itself", net), ValueError),
        (lambda net: net.body.append(net), ValueError),
        (lambda net: net.add_persistent("calls", 0), ValueError),
        (lambda net: net.add_persistent("thing", object()), TypeError),
        (lambda net: net.register_persistent("nothing"), ValueError),
        (lambda net: net.register_persistent("l1"), ValueError),
        (lambda net: setattr(net, "l1", None), TypeError),
        (lambda net: setattr(net.l1, "W", None), TypeError),
        (lambda net: setattr(net.l1, "W", np.zeros((5, 3))), TypeError),
        (lambda net: setattr(net, "calls", {}), TypeError),
        (lambda net: net.copy("deep"), ValueError),
        (lambda net: net.repeat(-1), ValueError),
        (lambda net: net.astype("int32"), TypeError),
        (lambda net: net.to_device("cpu", "jax"), ValueError),
        (lambda net: net.to_device("nowhere"), ValueError),
        (lambda net: net["l9"], KeyError),
        (lambda net: delattr(net, "l9"), AttributeError),
        (lambda net: L.Sequential(L.Linear), TypeError),
        (lambda net: L.Sequential(3), TypeError),
        (lambda net: L.ChainList(F.relu), TypeError),
        (lambda net: L.Link()(3), NotImplementedError),
    ],
)
def test_errors_leave_the_tree_as_it_was(act, kind):
    net = Net(3)
    before = repr(net), [path for path, _ in net.namedparams()]
    with pytest.raises(kind):
        act(net)
    assert (repr(net), [path for path, _ in net.namedparams()]) == before


@pytest.mark.parametrize("name", ["copy", "forward", "children", "name"])
def test_a_child_named_like_a_method_is_refused_in_a_scope(name):
    net = L.Chain()
    with pytest.raises(ValueError, match=name), net.init_scope():
        setattr(net, name, L.Linear(1, 1))
    assert list(net.children()) == []


def test_a_plain_link_owns_no_links():
    link = L.Link()
    with pytest.raises(TypeError, match="Chain"), link.init_scope():
        link.child = L.Linear(1, 1)


def test_replacing_and_deleting():
    net = Net(3)
    net.l1 = L.Linear(3, 7)
    assert dict(net.namedparams())["/l1/W"].shape == (7, 3) and net.l1.name == "l1"
    del net.body
    assert [path for path, _ in net.namedparams()] == ["/l1/W", "/l1/b"]
    with net.init_scope():
        net.l1 = L.Parameter(0.0, (2,))
    assert [path for path, _ in net.namedparams()] == ["/l1"] and list(net.children()) == []
    net.l1 = L.Parameter(1.0, (2,))
    assert next(net.params()) is net.l1


def test_a_subclass_that_forgets_the_base_still_works():
    class Forgetful(L.Chain):
        def __init__(self):
            with self.init_scope():
                self.l1 = L.Linear(2, 2)

    assert len(list(Forgetful().params())) == 2


# ---------------------------------------------------------------------------------------------------------------------
# Copies


def test_copy_modes():
    net = ready()
    F.sum(net(torch.from_numpy(X))).backward()
    shared, copied, drawn = (net.copy(mode) for mode in ("share", "copy", "init"))
    for twin in (shared, copied, drawn):
        assert type(twin) is Net and twin.name is None and twin.l1 is not net.l1 and twin.l1.W is not net.l1.W
        assert [path for path, _ in twin.namedparams()] == [path for path, _ in net.namedparams()]
    assert shared.l1.W.data is net.l1.W.data and shared.l1.W.grad is None and net.l1.W.grad is not None
    assert shared.body[2].avg_mean is net.body[2].avg_mean
    assert copied.l1.W.data is not net.l1.W.data and torch.equal(copied.l1.W.data, net.l1.W.data)
    assert copied.calls == 1 and copied.body[2].avg_mean is not net.body[2].avg_mean
    assert drawn.l1.W.shape == net.l1.W.shape and not torch.equal(drawn.l1.W.data, net.l1.W.data)
    assert drawn.body[2].avg_mean.tolist() == [0.0] * 4
    shared.l1.W.data.zero_()
    assert not net.l1.W.data.any() and copied.l1.W.data.any()


def test_copies_grow_independently():
    net = Net(3)
    twin = net.copy("copy")
    with twin.init_scope():
        twin.l3 = L.Linear(1, 1)
    twin.body.append(L.Linear(4, 1))
    assert "l3" not in dict(net.namedlinks()) and len(net.body) == 3
    with (again := net.copy("share")).init_scope():
        again.l3 = L.Linear(1, 1)
    again.body.append(F.relu)
    assert len(net.body) == 3 and "/l3" not in dict(net.namedlinks())


def test_uninitialised_links_are_copied_and_have_nothing_to_share():
    net = Net()
    with pytest.raises(ValueError, match="/l1/W"):
        net.copy("share")
    twin = net.copy("copy")
    twin(torch.from_numpy(X))
    assert not net.l1.W.is_initialized
    net(torch.from_numpy(X))
    np.testing.assert_array_equal(net.l1.W.data, twin.l1.W.data)
    other = Net().copy("init")
    other(torch.from_numpy(X))
    assert not np.array_equal(other.l1.W.data, net.l1.W.data)


@pytest.mark.parametrize("n", [3, None])
def test_pickle(n):
    net = Net(n)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    np.testing.assert_array_equal(net(torch.from_numpy(X)).numpy(), twin(torch.from_numpy(X)).numpy())
    assert repr(net) == repr(twin) and twin.calls == 1


def test_repeat():
    block = L.Chain(l=L.Linear(2, 2))
    row = block.repeat(3)
    assert [path for path, _ in row.namedparams()] == [f"/{k}/l/{p}" for k in range(3) for p in "Wb"]
    assert not torch.equal(row[0].l.W.data, row[1].l.W.data)
    assert block.repeat(2, mode="share")[1].l.W.data is block.l.W.data
    assert torch.equal(block.repeat(2, mode="copy")[1].l.W.data, block.l.W.data)
    assert len(block.repeat(0)) == 0


def test_copyparams(library):
    target, source = Net(3), Net(3)
    source.calls = 7
    source.astype("float64").to_device(library="numpy")
    source.body[2].avg_mean[...] = 3.0
    data = target.l1.W.data
    target.copyparams(source)
    assert target.l1.W.data is data and data.dtype is torch.float32
    np.testing.assert_array_equal(data.numpy(), source.l1.W.data.astype("float32"))
    assert target.calls == 7 and target.body[2].avg_mean.tolist() == [3.0] * 4
    again = Net(3)
    again.copyparams(source, copy_persistent=False)
    assert again.calls == 0 and again.body[2].avg_mean.tolist() == [0.0] * 4
    # Array library and dtype follow the source where the target has none yet.
    lazy = Net()
    lazy.copyparams(source)
    assert isinstance(lazy.l1.W.data, np.ndarray) and lazy.l1.W.dtype == np.float64


def test_copyparams_that_does_not_fit_copies_nothing():
    target = Net(3)
    before = copy.deepcopy(target.state_dict())
    source = Net(4)
    with source.init_scope():
        source.extra = L.Parameter(0.0, (1,))
    with pytest.raises(ValueError) as caught:
        target.copyparams(source)
    message = str(caught.value)
    assert "/l1/W" in message and "(5, 3)" in message and "(5, 4)" in message and "unexpected: /extra" in message
    for left, right in zip(target.l1.state_dict().values(), before["l1"].values(), strict=True):
        assert torch.equal(left, right)
    assert torch.equal(target.body[0].W.data, before["body"]["0"]["W"])


# ---------------------------------------------------------------------------------------------------------------------
# Moves


@pytest.mark.parametrize(("library", "kind"), [("numpy", np.ndarray), ("torch", torch.Tensor)])
def test_to_device_keeps_the_parameters_themselves(library, kind):
    net = ready("torch" if library == "numpy" else "numpy")
    F.sum(net(X if net.array_library == "numpy" else torch.from_numpy(X))).backward()
    before, values = list(net.params()), [p.numpy().copy() for p in net.params()]
    assert net.to_device("cpu", library) is net
    assert all(a is b for a, b in zip(net.params(), before, strict=True))
    for parameter, value in zip(net.params(), values, strict=True):
        assert type(parameter.data) is kind and type(parameter.grad) is kind
        np.testing.assert_array_equal(parameter.numpy(), value)
    assert type(net.body[2].avg_mean) is kind and net.array_library == library and str(net.device) == "cpu"
    net(X if library == "numpy" else torch.from_numpy(X))


def test_to_device_before_there_are_sizes():
    net = Net().to_device("cpu", "numpy")
    assert net.array_library == "numpy"
    net(X)
    assert all(isinstance(p.data, np.ndarray) for p in net.params())
    other = L.Chain(n=L.BatchNormalization(), l=L.Linear(2)).to_device(library="numpy")
    with pytest.raises(TypeError):
        other.n(torch.from_numpy(X))
    assert isinstance(other.n.avg_mean, np.ndarray)


def test_astype():
    net = Net(3)
    F.sum(net(torch.from_numpy(X))).backward()
    net.add_persistent("steps", np.arange(3))
    assert net.astype("float64") is net
    assert all(p.dtype is torch.float64 and p.grad.dtype is torch.float64 for p in net.params())
    assert net.body[2].avg_var.dtype is torch.float64 and "int" in str(net.steps.dtype)
    assert net(torch.from_numpy(X).double()).dtype is torch.float64
    lazy = Net().astype(np.float64)
    lazy.l1(np.zeros((1, 3)))
    assert "float64" in str(lazy.l1.W.dtype)


def test_a_move_that_cannot_be_moves_nothing():
    net = Net(3).astype("bfloat16")
    with pytest.raises(TypeError, match="bfloat16"):
        net.to_device(library="numpy")
    assert net.array_library == "torch" and net.l1.W.dtype is torch.bfloat16


# ---------------------------------------------------------------------------------------------------------------------
# State


def test_state_dict_is_nested_and_holds_the_arrays_themselves():
    net = Net(3)
    state = net.state_dict()
    assert list(state) == ["l1", "body", "calls"] and list(state["body"]) == ["0", "2"]
    assert list(state["body"]["2"]) == ["gamma", "beta", "avg_mean", "avg_var", "N"]
    assert state["l1"]["W"] is net.l1.W.data
    assert Net().state_dict()["l1"]["W"] is None


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("source", ["numpy", "torch"])
def test_states_load_across_libraries(source, target):
    first, second = ready(source), ready(target)
    first(X if source == "numpy" else torch.from_numpy(X))
    second.load_state_dict(first.state_dict())
    for left, right in zip(first.params(), second.params(), strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())
    np.testing.assert_array_equal(np.asarray(first.body[2].avg_mean), np.asarray(second.body[2].avg_mean))
    assert second.calls == 1 and second.array_library == target


def test_a_state_initialises(library):
    source = Net(3)
    lazy = Net()
    lazy.load_state_dict(source.state_dict())
    assert lazy.l1.in_size == 3
    np.testing.assert_array_equal(lazy.l1.W.numpy(), source.l1.W.numpy())
    with pytest.raises(ValueError, match=r"/l1/W.*\(5, None\)"):
        Net().load_state_dict({**source.state_dict(), "l1": {"W": np.zeros((6, 3)), "b": np.zeros(5)}})
    Net().load_state_dict(Net().state_dict())
    with pytest.raises(ValueError, match="/l1/W"):
        source.load_state_dict(Net().state_dict())


def test_strict_loading_tells_all_and_changes_nothing():
    net = Net(3)
    before = copy.deepcopy(net.state_dict())
    state = Net(4).state_dict()
    del state["calls"]
    state["l9"] = {"W": np.zeros(1)}
    state["body"]["0"]["b"] = "text"
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    for part in ("missing: /calls", "unexpected: /l9/W", "/l1/W", "(5, 3)", "(5, 4)", "/body/0/b"):
        assert part in str(caught.value)
    assert torch.equal(net.body[0].W.data, before["body"]["0"]["W"])
    net.load_state_dict(state, strict=False)
    assert torch.equal(net.body[0].W.data, state["body"]["0"]["W"])
    assert torch.equal(net.l1.W.data, before["l1"]["W"])
    with pytest.raises(TypeError):
        net.load_state_dict([])


def test_scalars_round_trip_through_arrays_without_axes():
    net = Net(3)
    state = net.state_dict()
    net.load_state_dict({**state, "calls": np.asarray(4)})
    assert net.calls == 4 and type(net.calls) is int
    net.load_state_dict({**state, "calls": np.int64(5)})
    assert net.calls == 5


# ---------------------------------------------------------------------------------------------------------------------
# Errors and text


def test_errors_in_forward_name_the_link():
    net = Net(3)
    with pytest.raises(ValueError) as caught:
        net(torch.zeros(2, 4))
    assert "/l1" in str(caught.value) and "Linear(in_size=3, out_size=5)" in str(caught.value)
    outer = L.Sequential(F.relu, L.Chain(inner=Net(3))["inner"])
    with pytest.raises(TypeError) as kind:
        outer(torch.zeros(2, 3, dtype=torch.float64))
    assert "/1/l1" in str(kind.value) and "float64" in str(kind.value)


def test_repr_is_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (l1): Linear(in_size=None, out_size=5)\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_size=5, out_size=4)\n"
        "    (1): relu\n"
        "    (2): BatchNormalization(size=4, decay=0.9, eps=2e-05)\n"
        "  )\n"
        ")"
    )
    assert repr(L.Sequential()) == "Sequential()"


def test_a_deep_tree():
    net = L.Sequential(L.Linear(2, 2))
    for _ in range(150):
        net = L.Sequential(net)
    assert len(list(net.params())) == 2 and next(iter(net.namedparams()))[0].count("/") == 152
    assert net.state_dict() and "Linear" in repr(net)


# ---------------------------------------------------------------------------------------------------------------------
# Lists


def test_chain_lists():
    net = L.ChainList(L.Linear(2, 2), L.Linear(2, 3))
    net.append(L.Linear(3, 1))
    net.insert(0, first := L.Linear(2, 2))
    assert len(net) == 4 and net[0] is first and net[-1].out_size == 1 and len(net[1:3]) == 2
    assert [link.name for link in net] == ["0", "1", "2", "3"]
    assert net.pop(0) is first and first.name is None and net[0].name == "0"
    net[0] = other = L.Linear(2, 2)
    assert next(net.children()) is other
    del net[0]
    assert len(net) == 2 and [p for p, _ in net.namedparams()] == ["/0/W", "/0/b", "/1/W", "/1/b"]
    assert bool(L.ChainList())
    net.clear()
    assert list(net.params()) == []


def test_sequential():
    first, last = L.Linear(2, 3), L.Linear(3, 1)
    net = L.Sequential(first, F.relu, last)
    x = torch.ones(1, 2)
    assert torch.equal(net(x).data, last(F.relu(first(x))).data)
    assert [path for path, _ in net.namedparams()] == ["/0/W", "/0/b", "/2/W", "/2/b"]
    assert isinstance(net[1:], L.Sequential) and net[1:][1] is last and last.name == "2"
    assert net[0] is first and net[1] is F.relu
    both = net + L.Sequential(F.tanh)
    assert len(both) == 4 and torch.equal(both(x).data, F.tanh(net(x)).data)
    nested = L.Sequential(net, L.Sequential(L.Sequential(F.relu), F.tanh))
    assert len(nested.flatten()) == 5 and torch.equal(nested.flatten()(x).data, nested(x).data)
    assert net.count_by_layer_type(L.Linear) == 2 and net.count_by_layer_type(F.relu) == 1
    net.remove_by_layer_type(F.relu)
    assert len(net) == 2 and last.name == "1"
    net.extend([F.relu, F.tanh])
    assert len(net) == 4
    assert isinstance(L.Sequential()(Variable(x)), Variable)


def test_sequential_hands_tuples_on():
    net = L.Sequential(lambda a, b: (a + b, a), lambda s, a: s * a)
    assert net(Variable(np.asarray(2.0)), Variable(np.asarray(3.0))).item() == 10.0


def test_sequential_repeats_its_functions_too():
    net = L.Sequential(L.Linear(2, 2), F.relu).repeat(2)
    assert len(net.flatten()) == 4 and net(torch.ones(1, 2)).shape == (1, 2)


def test_walks_agree():
    shared = L.Linear(2, 2)
    net = L.Chain(a=L.Sequential(shared, F.relu, L.LSTM(2, 2)), b=shared, c=L.ChainList(L.BatchNormalization(), shared))
    assert list(net.links()) == [link for _, link in net.namedlinks()]
    assert list(net.links(skipself=True)) == [link for _, link in net.namedlinks(skipself=True)]
    for every in (True, False):
        pairs = zip(net.params(every), net.namedparams(every), strict=True)
        assert all(parameter is named for parameter, (_, named) in pairs)


def test_arrays_of_two_libraries_get_a_hint():
    net = L.Sequential(L.Linear(None, 3), L.Linear(3, 2))
    with pytest.raises(TypeError) as caught:
        net(X)
    assert "/1, Linear" in str(caught.value) and "to_device" in str(caught.value)
    net.to_device(library="numpy")
    assert net(X).shape == (6, 2)
    with pytest.raises(TypeError) as other:
        net(X.astype("float64"))
    assert "to_device" not in str(other.value) and "astype" in str(other.value)


def lazily_sized(dtype=None):
    with L.default_arrays("torch", dtype=dtype):
        normalizations = L.BatchNormalization(4), L.BatchNormalization()
        return L.Sequential(L.Conv2d(None, 4, 3), *normalizations, L.Linear(None, 2, n_batch_axes=1))


def floating_dtypes(link):
    arrays = [parameter.data for parameter in link.params()] + [value for _, value in link.namedpersistents()]
    return {array.dtype for array in arrays if isinstance(array, torch.Tensor) and array.is_floating_point()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, None])
@pytest.mark.parametrize("saved", [torch.float32, torch.float64])
def test_loading_before_the_first_call_leaves_a_link_of_one_dtype(dtype, saved):
    source = lazily_sized(saved)
    source(torch.ones(2, 3, 5, 5, dtype=saved))
    link = lazily_sized(dtype)
    link.load_state_dict(source.state_dict())
    assert floating_dtypes(link) == {dtype or torch.float32}  # in which one of its layers was made


def test_a_link_of_which_nothing_says_the_dtype_takes_that_of_the_state():
    source, link = L.Linear(None, 2), L.Sequential(L.Linear(None, 2), L.BatchNormalization())
    source = L.Sequential(source, L.BatchNormalization())
    source(np.ones((3, 4)))
    link.load_state_dict(source.state_dict())
    assert floating_dtypes(source) == set()  # NumPy's
    assert floating_dtypes(link) == {torch.float64}
    asked = L.Sequential(L.Linear(None, 2), L.BatchNormalization()).astype("float32")
    asked.load_state_dict(source.state_dict())
    assert floating_dtypes(asked) == {torch.float32}


def test_a_state_from_one_level_above_or_below_is_recognised():
    bare = L.Linear(3, 2)
    with pytest.raises(ValueError, match=r"hint: all that is unexpected begins with l1/; .* holds one like this as l1"):
        bare.load_state_dict({"l1": bare.state_dict()})
    outer = L.Sequential(L.Sequential(L.Linear(3, 2)))
    with pytest.raises(ValueError, match=r"hint: all that is missing begins with 0/0/; .* this one's 0/0: load"):
        outer.load_state_dict(bare.state_dict())
    with pytest.raises(ValueError) as caught:
        bare.load_state_dict({"l1": {"W": bare.W.data, "c": bare.b.data}})
    assert "hint" not in str(caught.value)
