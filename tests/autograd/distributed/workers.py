"""What two processes check together: every function ``check_*`` runs on both ranks of one launch."""

import contextlib
import functools
import itertools
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, derivatives, models, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.distributed import (
    Communicator,
    DisagreementError,
    MultiNodeBatchNormalization,
    MultiNodeSnapshot,
    create_communicator,
    create_mnbn_model,
    create_multi_node_evaluator,
    create_multi_node_optimizer,
    merged_summary,
    multi_node_batch_normalization,
    replicas_differ,
    scatter_dataset,
)
from toolkit.autograd.distributed.example import Convnet
from toolkit.autograd.optimizers import SGD, Adam
from toolkit.autograd.training import DictSummary, SerialIterator, StandardUpdater, Trainer, TupleDataset, report
from toolkit.datasets import load

SIZE = 2


def run_all(communicator: Communicator) -> dict[str, str | None]:
    """Return for each check ``None`` or the traceback of its failure."""
    found: dict[str, str | None] = {}
    for name, check in CHECKS.items():
        try:
            check(communicator)
            found[name] = None
        except Exception:
            found[name] = traceback.format_exc()
            # The other rank is at another call now; what follows would mean nothing.
            raise RuntimeError(f"{name}\n{found[name]}") from None
    return found


@functools.cache
def digits(count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    split = load("mnist").train
    return split.images[:count].to(dtype).div(255).unsqueeze(1), split.labels[:count]


def convnet(seed: int = 0, dtype: str = "float32", library: str = "torch") -> Convnet:
    model = Convnet(torch.Generator().manual_seed(seed))
    return model.astype(dtype).to_device(None, library)


def gradients(model: L.Link) -> dict[str, torch.Tensor]:
    return {path: torch.as_tensor(np.array(p.grad)) for path, p in model.namedparams() if p.grad is not None}


def largest(first: dict, second: dict) -> float:
    assert first.keys() == second.keys()
    return max(float((first[path] - second[path]).abs().max()) for path in first)


def part(communicator: Communicator, bounds: tuple[int, ...]) -> slice:
    return slice(bounds[communicator.rank], bounds[communicator.rank + 1])


# ---------------------------------------------------------------------------------------------------------------------
# Collective calls


def check_facts(c: Communicator) -> None:
    assert (c.size, c.intra_size, c.inter_size, c.inter_rank) == (2, 2, 1, 0)
    assert c.intra_rank == c.rank
    assert f"rank {c.rank} of 2" in repr(c)


def check_arrays_of_every_library(c: Communicator) -> None:
    mine = np.arange(6.0).reshape(2, 3) + c.rank
    received = c.bcast(mine if c.rank == 1 else None, root=1)
    assert type(received) is np.ndarray and np.array_equal(received, np.arange(6.0).reshape(2, 3) + 1)
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.int16, torch.complex64, torch.uint8):
        gathered = c.allgather(torch.ones(c.rank + 1, 2).to(dtype))
        assert [tuple(tensor.shape) for tensor in gathered] == [(1, 2), (2, 2)]
        assert all(tensor.dtype == dtype and bool((tensor == 1).all()) for tensor in gathered)
    # Views that are not contiguous, walk backwards, cannot be written to, or have no axes or elements.
    for array in (np.arange(6.0).reshape(2, 3).T, np.arange(4)[::-1], np.array(3.0), np.zeros((0, 4), np.int32)):
        read_only = array.view()
        read_only.flags.writeable = False
        assert all(np.array_equal(theirs, array) for theirs in c.allgather(read_only))
        assert all(theirs.dtype == array.dtype and theirs.shape == array.shape for theirs in c.allgather(array))


def check_gather_scatter_alltoall(c: Communicator) -> None:
    gathered = c.gather(np.full((c.rank, 2), c.rank), root=1)
    assert (gathered is None) == (c.rank == 0)
    if gathered is not None:
        assert [array.shape for array in gathered] == [(0, 2), (1, 2)]
    piece = c.scatter([np.array(1.5), torch.ones(2)] if c.rank == 0 else None)
    assert np.array_equal(piece, 1.5) if c.rank == 0 else torch.equal(piece, torch.ones(2))
    received = c.alltoall([np.array([10 * c.rank + k]) for k in range(2)])
    assert [int(array[0]) for array in received] == [c.rank, 10 + c.rank]


def check_allreduce(c: Communicator) -> None:
    mine = np.array([[1.0, -2.0]], dtype=np.float32) * (c.rank + 1)
    assert np.array_equal(c.allreduce(mine), [[3.0, -6.0]]) and np.array_equal(mine, [[c.rank + 1, -2 * c.rank - 2]])
    assert float(c.allreduce(torch.tensor(float(c.rank)), "mean")) == 0.5
    assert c.allreduce(np.array([c.rank]), "max")[0] == 1 and c.allreduce(np.array([c.rank]), "min")[0] == 0
    assert c.allreduce(np.zeros((0, 3))).shape == (0, 3)
    for bad in (np.array([True]), np.array([1.0 + 1j])):
        with pytest.raises(TypeError, match="allreduce"):
            c.allreduce(bad)
    with pytest.raises(TypeError, match="floating-point"):
        c.allreduce(np.array([1]), "mean")


def check_messages_and_objects(c: Communicator) -> None:
    if c.rank == 0:
        c.send(np.array([1, 2], dtype=np.int8), 1, tag=3)
        c.send_obj({"a": [1, None]}, 1)
        assert c.recv(1).tolist() == [[]]
    else:
        assert c.recv(0, tag=3).dtype == np.int8
        assert c.recv_obj(0) == {"a": [1, None]}
        c.send(torch.zeros(1, 0), 0)
    assert c.allgather_obj(c.rank) == (0, 1)
    assert c.bcast_obj("x" if c.rank == 0 else None) == "x"
    assert c.scatter_obj([{1}, {2}] if c.rank == 0 else None) == {c.rank + 1}
    assert c.alltoall_obj([(c.rank, 0), (c.rank, 1)]) == ((0, c.rank), (1, c.rank))
    assert c.allreduce_obj({"n": c.rank + 1, f"only {c.rank}": 1}) == {"n": 3, "only 0": 1, "only 1": 1}
    for call in (lambda: c.send(np.zeros(1), c.rank), lambda: c.recv(2), lambda: c.bcast(np.zeros(1), -1)):
        with pytest.raises(ValueError, match="a rank"):
            call()


def check_split(c: Communicator) -> None:
    turned = c.split(0, key=-c.rank)
    assert turned is not None and turned.rank == 1 - c.rank
    assert turned.allgather_obj(c.rank) == (1, 0)
    assert turned.bcast_obj(c.rank if turned.rank == 0 else None) == 1
    assert turned.scatter_obj(["first", "second"] if turned.rank == 0 else None) == ["second", "first"][c.rank]
    alone = c.split(c.rank)
    assert alone is not None and (alone.size, alone.allreduce_obj(5)) == (1, 5)
    assert (c.split(None if c.rank else 0) is None) == bool(c.rank)


def check_different_calls_raise_on_every_rank(c: Communicator) -> None:
    with pytest.raises(DisagreementError, match="rank 1: bcast"):
        c.allreduce(np.ones(2)) if c.rank == 0 else c.bcast(root=0)
    with pytest.raises(DisagreementError, match=r"shape \(3,\)"):
        c.allreduce(np.ones(2 + c.rank))
    with pytest.raises(DisagreementError, match="float32"):
        c.allreduce(np.ones(2, dtype=["float64", "float32"][c.rank]))
    with pytest.raises(DisagreementError, match="root 1"):
        c.gather(np.ones(2), root=c.rank)
    c.barrier()


# ---------------------------------------------------------------------------------------------------------------------
# Gradients


def check_full_batch_gradient(c: Communicator) -> None:
    for dtype, library, tolerance in (
        ("float32", "torch", 1e-6),
        ("float64", "torch", 1e-12),
        ("float64", "numpy", 1e-12),
    ):
        images, labels = digits(40, getattr(torch, dtype))
        if library == "numpy":
            images, labels = images.numpy(), labels.numpy()
        whole = convnet(0, dtype, library)
        whole.loss(images, labels).backward()
        for name in ("flat", "naive"):
            for bounds, weighted in (((0, 20, 40), False), ((0, 7, 40), True), ((0, 39, 40), True)):
                model = convnet(0, dtype, library)
                here = part(c, bounds)
                model.loss(images[here], labels[here]).backward()
                count = here.stop - here.start
                create_communicator(name).mean_gradients(model, weight=count if weighted else None)
                assert largest(gradients(model), gradients(whole)) <= tolerance, (dtype, library, name, bounds)
                assert type(model.last.W.grad) is type(whole.last.W.grad)


def check_empty_shard(c: Communicator) -> None:
    images, labels = digits(10)
    whole = convnet()
    whole.loss(images, labels).backward()
    model = convnet()
    if c.rank == 0:
        model.loss(images, labels).backward()
    c.mean_gradients(model, weight=10 if c.rank == 0 else 0)
    assert largest(gradients(model), gradients(whole)) == 0.0
    # What a rank without weight has is not looked at, were it NaN.
    for p in model.params():
        p.grad = p.grad * float("nan") if c.rank else p.grad
    c.mean_gradients(model, weight=10 if c.rank == 0 else 0)
    assert largest(gradients(model), gradients(whole)) == 0.0
    with pytest.raises(DisagreementError, match="no rank has weight"):
        c.mean_gradients(model, weight=0)


def check_half_precision_buffer(c: Communicator) -> None:
    images, labels = digits(40)
    here = part(c, (0, 20, 40))
    exact = convnet()
    exact.loss(images[here], labels[here]).backward()
    local = gradients(exact)
    c.mean_gradients(exact)
    sizes = {path: torch.from_numpy(c.allreduce(np.abs(g.numpy()))) for path, g in local.items()}
    for name, unit, smallest in (("float16", 2.0**-11, 2.0**-25), ("bfloat16", 2.0**-8, 0.0)):
        model = convnet()
        model.loss(images[here], labels[here]).backward()
        create_communicator("flat", allreduce_grad_dtype=name).mean_gradients(model)
        assert model.last.W.grad.dtype == torch.float32
        found = gradients(model)
        assert largest(found, gradients(exact)) > 0
        for path, g in found.items():
            # Each addend and the sum are rounded once, each relative to at most the sum of sizes; then halved.
            bound = (2 * unit * 1.01 * sizes[path] + 3 * smallest) / 2
            assert bool(((g - gradients(exact)[path]).abs() <= bound).all()), (name, path)


def check_float16_holds_what_float32_gives(c: Communicator) -> None:
    # The sum of two would be too large for float16, or the addends too small, or both ranks differ.
    for gradient in ([4e4, -6e4], [3e5, 1e5], [2e-9, -1e-9], [1e30, 3e29], [1e-32, 0.0]):
        for name in ("flat", "naive"):
            model = L.Linear(2, 1, nobias=True)
            model.W.grad = torch.tensor([gradient]) * (2 * c.rank + 1)
            create_communicator(name, allreduce_grad_dtype="float16").mean_gradients(model)
            assert torch.allclose(model.W.grad, 2 * torch.tensor([gradient]), rtol=2e-3, atol=1e-44), gradient
    # A rank of little weight with a large gradient.
    model = L.Linear(1, 1, nobias=True)
    model.W.grad = torch.tensor([[7e4 if c.rank else 2.0]])
    create_communicator(allreduce_grad_dtype="float16").mean_gradients(model, weight=1 if c.rank else 999)
    assert float(model.W.grad) == pytest.approx(0.999 * 2 + 70.0, rel=2e-3)
    for value in (float("inf"), float("nan")):
        model.W.grad = torch.full((1, 1), value if c.rank else 1.0)
        create_communicator(allreduce_grad_dtype="float16").mean_gradients(model)
        assert str(float(model.W.grad)) == str(value)
    half = L.Linear(1, 1, nobias=True).astype("float16")
    half.W.grad = torch.full((1, 1), 6e4, dtype=torch.float16)
    c.mean_gradients(half)
    assert half.W.grad.dtype == torch.float16 and float(half.W.grad) == 6e4
    assert float(c.allreduce(half.W.grad, "mean")) == 6e4


def check_missing_gradients(c: Communicator) -> None:
    def model(missing: tuple[str, ...]) -> L.Chain:
        chain = L.Chain()
        with chain.init_scope():
            chain.a, chain.b = L.Linear(2, 1), L.Linear(2, 1)
        for path, p in chain.namedparams():
            p.grad = None if path in missing else torch.full(p.shape, c.rank + 1.0)
        return chain

    everywhere = model(("/b/W",))
    c.mean_gradients(everywhere)
    assert everywhere.b.W.grad is None and float(everywhere.b.b.grad) == 1.5
    somewhere = model(("/b/W",) if c.rank else ())
    with pytest.raises(DisagreementError, match="rank 1 lacks: /b/W"):
        c.mean_gradients(somewhere)
    assert float(somewhere.a.b.grad) == c.rank + 1.0
    c.mean_gradients(somewhere, zero_fill=True)
    assert somewhere.b.W.grad.tolist() == [[0.5, 0.5]] and float(somewhere.a.b.grad) == 1.5
    with pytest.raises(DisagreementError, match=r"rank 1: mean_gradients with zero_fill=True and no weight"):
        c.mean_gradients(everywhere, zero_fill=bool(c.rank))
    c.mean_gradients(everywhere, zero_fill=True)
    assert everywhere.b.W.grad.tolist() == [[0.0, 0.0]]


def check_models_that_differ(c: Communicator) -> None:
    model = L.Sequential(L.Linear(3, 2 + c.rank))
    for p in model.params():
        p.grad = torch.zeros(p.shape)
    for call in (c.mean_gradients, c.broadcast_data):
        with pytest.raises(DisagreementError, match=r"rank 0 has: .*\(2, 3\).*\n.*rank 1 has: .*\(3, 3\)"):
            call(model)
    late = L.Linear(None, 2)
    if c.rank:
        late(torch.ones(1, 3))
    with pytest.raises(DisagreementError, match="has not initialised"):
        c.broadcast_data(late)


def check_broadcast_model(c: Communicator) -> None:
    for library in ("torch", "numpy"):
        model = L.Sequential(L.Linear(3, 2, generator=torch.Generator().manual_seed(c.rank)), L.BatchNormalization(2))
        model.to_device(None, library)
        norm = list(model.children())[1]
        norm.avg_mean[...] = c.rank + 1.0
        norm.N = c.rank + 5
        data = [p.data for p in model.params()]
        assert replicas_differ(c, model)
        c.broadcast_data(model, root=1)
        assert replicas_differ(c, model) == ()
        assert norm.N == 6 and np.array_equal(norm.avg_mean, [2.0, 2.0])
        assert all(p.data is array for p, array in zip(model.params(), data, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Optimizer


def check_training_equals_one_process(c: Communicator) -> None:
    images, labels = digits(40, torch.float64)
    alone, model = convnet(3, "float64"), convnet(3 + c.rank, "float64")
    single = Adam(lr=1e-3).setup(alone)
    optimizer = create_multi_node_optimizer(Adam(lr=1e-3), c).setup(model)
    here = part(c, (0, 20, 40))
    optimizer.update(model.loss, images[here], labels[here])
    assert optimizer.t == 0 and replicas_differ(c, model) == ()
    for step in range(3):
        # Another order each time.
        x, t = images.roll(step, 0), labels.roll(step, 0)
        cut = part(c, (0, 20, 40) if step < 2 else (0, 33, 40))
        single.update(alone.loss, x, t)
        loss = optimizer.update(model.loss, x[cut], t[cut], sample_count=cut.stop - cut.start)
        assert loss.shape == ()
        assert replicas_differ(c, model) == ()
    ours, theirs = dict(model.namedparams()), dict(alone.namedparams())
    # Adam divides by the root of the second moment, which magnifies the last digits where gradients nearly vanish.
    assert max(float((ours[path].data - theirs[path].data).abs().max()) for path in theirs) < 1e-9
    assert optimizer.t == 3 and optimizer.lr == 1e-3
    optimizer.lr = 0.5
    assert optimizer.actual_optimizer.lr == 0.5


def check_late_parameters(c: Communicator) -> None:
    model = L.Sequential(
        L.Linear(None, 4, generator=torch.Generator().manual_seed(c.rank)),
        L.Linear(4, 1, generator=torch.Generator().manual_seed(7 + c.rank)),
    )
    optimizer = create_multi_node_optimizer(SGD(lr=0.1), c).setup(model)

    def loss(deep: bool) -> Variable:
        x = torch.ones(2, 3) * (c.rank + 1)
        last = list(model.children())[1]
        y = model(x) if deep else last(torch.ones(2, 4))
        return F.sum(y * y)

    optimizer.zero_fill = True
    for deep, steps in ((False, 0), (False, 1), (True, 1), (True, 2), (True, 3)):
        optimizer.update(loss, deep)
        assert optimizer.t == steps
        assert replicas_differ(c, model) == ()


def check_double_buffering(c: Communicator) -> None:
    def model() -> L.Linear:
        return L.Linear(1, 1, nobias=True, initialW=np.array([[1.0]]))

    def loss(link: L.Linear, x: float) -> Variable:
        return F.sum(link(torch.full((1, 1), x)))

    plain, link = model(), model()
    optimizer = create_multi_node_optimizer(SGD(lr=1.0), c, double_buffering=True).setup(link)
    states: list[tuple[Any, float]] = []
    xs = [100.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    for step, x in enumerate(xs):
        optimizer.update(lambda value: loss(link, value), x + c.rank)
        # The means are x + 0.5: not used in the broadcast, then one step late.
        expected = 1.0 - sum(value + 0.5 for value in xs[1:step])
        assert float(link.W.data) == expected and optimizer.t == max(0, step - 1)
        states.append((optimizer.state_dict(), float(link.W.data)))
    # Going on from a state repeats the run: no new broadcast, and the gradient on its way is used.
    other = create_multi_node_optimizer(SGD(lr=1.0), c, double_buffering=True).setup(plain)
    state, weight = states[3]
    plain.W.data.fill_(weight)
    assert other.load_state_dict(state).complete
    for x in xs[4:]:
        other.update(lambda value: loss(plain, value), x + c.rank)
    assert float(plain.W.data) == float(link.W.data)
    optimizer.wait()
    other.wait()


# ---------------------------------------------------------------------------------------------------------------------
# Data and evaluation


def check_scatter(c: Communicator) -> None:
    for count in (0, 1, 2, 7, 8):
        whole = np.arange(100, 100 + count)
        equal = scatter_dataset(whole, c, shuffle=True, seed=c.rank)
        exact = scatter_dataset(whole if c.rank == 1 else None, c, root=1, shuffle=True, force_equal_length=False)
        lengths = c.allgather_obj((len(equal), len(exact)))
        assert lengths[0][0] == lengths[1][0] == -(-count // 2)
        assert lengths[0][1] + lengths[1][1] == count and abs(lengths[0][1] - lengths[1][1]) <= 1
        every = [list(indices) for indices in c.allgather_obj(equal.indices.tolist())]
        assert set(every[0]) | set(every[1]) == set(range(count))
        assert sorted(itertools.chain(*c.allgather_obj(exact.indices.tolist()))) == list(range(count))
        assert [exact[k] for k in range(len(exact))] == [100 + k for k in exact.indices]
        assert np.array_equal(exact[:], exact.indices + 100)
    with pytest.raises(DisagreementError, match="4 samples"):
        scatter_dataset(range(3 + c.rank), c)


def check_evaluation(c: Communicator) -> None:
    for values in ([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], [3.0], []):
        shard = scatter_dataset(values, c, force_equal_length=False)
        summary = DictSummary()
        for k in range(len(shard)):
            summary.add({"loss": (shard[k], 3)})
        merged = merged_summary(summary, c)
        if values:
            assert merged.compute_mean()["loss"] == pytest.approx(np.mean(values), rel=1e-15)
            assert merged.make_statistics()["loss.std"] == pytest.approx(np.std(values), rel=1e-14)
        else:
            assert merged.compute_mean() == {}


class Measure(L.Link):
    """Reports the mean of a batch."""

    def forward(self, x: Any) -> None:
        report({"value": x.mean()}, self)


def check_evaluator(c: Communicator) -> None:
    from toolkit.autograd.training.extensions import Evaluator

    values = np.arange(11.0) ** 2
    for count in (11, 1):
        shard = scatter_dataset(values[:count], c, force_equal_length=False)
        evaluator = create_multi_node_evaluator(Evaluator(shard, Measure(), batch_size=4, device="cpu"), c)
        assert evaluator() == {"validation/main/value": pytest.approx(values[:count].mean(), rel=1e-14)}


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalization


def check_batch_normalization(c: Communicator) -> None:
    rng = np.random.default_rng(0)
    for library in ("torch", "numpy"):
        for shape, bounds in (
            ((6, 3), (0, 3, 6)),
            ((6, 3, 2, 2), (0, 1, 6)),
            ((2, 3), (0, 1, 2)),
            ((5, 3), (0, 5, 5)),
            ((5, 2, 3), (0, 0, 5)),
        ):
            x = rng.normal(size=shape) * 3 + 10
            weights = rng.normal(size=shape)
            whole, ours = L.BatchNormalization(shape[1]), MultiNodeBatchNormalization(shape[1], c)
            here = part(c, bounds)
            results = []
            for link, rows in ((whole, slice(None)), (ours, here)):
                link.astype("float64").to_device(None, library)
                place = link.gamma.place
                link.gamma.data[...] = place.put(np.linspace(0.5, 2, shape[1]))
                leaf = Variable(place.put(x[rows]), requires_grad=True)
                y = link(leaf)
                F.sum(y * Variable(place.put(weights[rows]))).backward()
                results.append((y, leaf, link))
            (y, leaf, _), (our_y, our_leaf, _) = results
            assert np.allclose(our_y.numpy(), y.numpy()[here], rtol=0, atol=1e-12)
            assert np.allclose(our_leaf.grad, np.asarray(leaf.grad)[here], rtol=0, atol=1e-11)
            for name in ("gamma", "beta"):
                total = c.allreduce(np.array(getattr(ours, name).grad))
                assert np.allclose(total, getattr(whole, name).grad, rtol=0, atol=1e-11)
            assert np.allclose(ours.avg_mean, whole.avg_mean, rtol=1e-14)
            assert np.allclose(ours.avg_var, whole.avg_var, rtol=1e-12)
            assert replicas_differ(c, ours) == ()
            with using_config(train=False):
                same = Variable(whole.gamma.place.put(x))
                assert np.allclose(ours(same).numpy(), whole(same).numpy(), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="all ranks together"):
        MultiNodeBatchNormalization(3, c)(torch.zeros(1 - c.rank, 3))


def check_batch_normalization_in_half_precision(c: Communicator) -> None:
    # A mean far above the spread, and sums that float16 could not hold.
    x = (torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * 2 + 500).half()
    here = part(c, (0, 1000, 4000))
    y = multi_node_batch_normalization(Variable(x[here]), communicator=c)
    assert y.dtype == torch.float16
    expected = F.batch_normalization(Variable(x.double()))
    assert float((y.data.double() - expected.data[here]).abs().max()) < 4e-3


def check_second_derivatives_of_batch_normalization(c: Communicator) -> None:
    rng = np.random.default_rng(1)
    x, gamma, direction = rng.normal(size=(5, 2)), rng.normal(size=2), rng.normal(size=(5, 2))
    here = part(c, (0, 2, 5))

    def penalty(normalize: Callable[..., Variable], rows: slice) -> tuple[Any, Any]:
        leaf = Variable(x[rows], requires_grad=True)
        scale = Variable(gamma.copy(), requires_grad=True)
        y = normalize(leaf, scale)
        (slope,) = derivatives.grad(F.sum(F.tanh(y) * Variable(direction[rows])), [leaf], create_graph=True)
        F.sum(slope * slope).backward()
        return leaf.grad, scale.grad

    expected = penalty(lambda leaf, scale: F.batch_normalization(leaf, scale), slice(None))
    found = penalty(lambda leaf, scale: multi_node_batch_normalization(leaf, scale, communicator=c), here)
    assert np.allclose(found[0], expected[0][here], rtol=0, atol=1e-11)
    assert np.allclose(c.allreduce(found[1]), expected[1], rtol=0, atol=1e-11)


def check_training_through_batch_normalization_with_unequal_parts(c: Communicator) -> None:
    rng = np.random.default_rng(2)
    x, t = torch.from_numpy(rng.normal(size=(9, 3))), torch.from_numpy(rng.integers(0, 2, size=9))

    def model(norm: L.Link) -> L.Sequential:
        generator = torch.Generator().manual_seed(0)
        first, last = L.Linear(3, 4, generator=generator), L.Linear(4, 2, generator=generator)
        return L.Sequential(first, norm, F.tanh, last).astype("float64")

    alone, ours = model(L.BatchNormalization(4)), model(MultiNodeBatchNormalization(4, c))
    single = SGD(lr=0.5).setup(alone)
    optimizer = create_multi_node_optimizer(SGD(lr=0.5), c).setup(ours)
    here = part(c, (0, 8, 9))
    optimizer.update(lambda: F.cross_entropy(ours(x[here]), t[here]), sample_count=here.stop - here.start)
    list(ours.children())[1].reset_persistents()
    for _ in range(3):
        single.update(lambda: F.cross_entropy(alone(x), t))
        optimizer.update(lambda: F.cross_entropy(ours(x[here]), t[here]), sample_count=here.stop - here.start)
    theirs = dict(alone.namedparams())
    for path, p in ours.namedparams():
        assert float((p.data - theirs[path].data).abs().max()) < 1e-12, path
    assert replicas_differ(c, ours) == ()


def check_a_network_made_multi_node(c: Communicator) -> None:
    x = torch.randn(9, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.arange(9) % 3
    alone = models.ResNet(1, 3, width=4, generator=torch.Generator().manual_seed(1)).astype("float64")
    ours = create_mnbn_model(alone, c)
    assert type(alone.bn) is L.BatchNormalization and type(ours.bn) is MultiNodeBatchNormalization
    here = part(c, (0, 2, 9))
    F.cross_entropy(alone(x), t).backward()
    loss = F.cross_entropy(ours(x[here]), t[here])
    (loss * c.relative_weight(here.stop - here.start)).backward()
    c.mean_gradients(ours)
    assert largest(gradients(ours), gradients(alone)) < 1e-13
    theirs = dict(alone.namedpersistents())
    for path, value in ours.namedpersistents():
        assert np.allclose(value, theirs[path], rtol=1e-12, atol=1e-14), path


def trained(c: Communicator, folder: str, iterations: int) -> tuple[L.Link, list[int]]:
    """Train with snapshots until an iteration; return the model and the iterations run here."""
    rng = np.random.default_rng(c.rank)
    shard = TupleDataset(torch.from_numpy(rng.normal(size=(6, 3))), torch.from_numpy(rng.integers(0, 2, size=6)))
    model = models.Classifier(L.Linear(3, 2, generator=torch.Generator().manual_seed(c.rank))).astype("float64")
    optimizer = create_multi_node_optimizer(Adam(lr=0.1), c, double_buffering=True).setup(model)
    batches = SerialIterator(shard, 2, generator=torch.Generator().manual_seed(c.rank))
    trainer = Trainer(StandardUpdater(batches, optimizer), stop_trigger=(iterations, "iteration"), out=folder)
    trainer.extend(MultiNodeSnapshot(c, autoload=True, trigger=(2, "iteration")))
    ran: list[int] = []
    trainer.extend(lambda manager: ran.append(manager.iteration), trigger=(1, "iteration"), name="ran")
    trainer.run()
    optimizer.wait()
    return model, ran


def check_snapshots_go_on_together(c: Communicator) -> None:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2)] if c.rank == 0 else None
        unbroken, broken = c.bcast_obj(made)
        expected, ran = trained(c, unbroken, 9)
        assert ran == list(range(1, 10))
        trained(c, broken, 7)
        mine = sorted(name for name in os.listdir(broken) if name.startswith(f"rank{c.rank}of2_"))
        assert mine == [f"rank{c.rank}of2_snapshot_iter_{k}.npz" for k in (4, 6)]
        c.barrier()
        # Rank 1 was killed before it had written its last, or while it wrote it.
        if c.rank == 1:
            os.unlink(os.path.join(broken, mine[1]))
        c.barrier()
        resumed, ran = trained(c, broken, 9)
        assert ran == [5, 6, 7, 8, 9]
        for p, q in zip(resumed.params(), expected.params(), strict=True):
            assert torch.equal(p.data, q.data)
        if c.rank == 0:
            newest = os.path.join(broken, "rank0of2_snapshot_iter_8.npz")
            with open(newest, "r+b") as handle:
                handle.truncate(100)
        c.barrier()
        with pytest.warns(UserWarning, match=r"snapshot_iter_8.npz' is skipped: rank 0"):
            assert trained(c, broken, 9)[1] == [7, 8, 9]
        c.barrier()
        if c.rank == 0:
            for name in os.listdir(broken):
                if name.startswith("rank0"):
                    os.unlink(os.path.join(broken, name))
        c.barrier()
        with pytest.warns(UserWarning, match=r"a new run begins"):
            assert trained(c, broken, 1)[1] == [1]
        c.barrier()
    with pytest.raises(ValueError, match="n_retains"):
        MultiNodeSnapshot(c, n_retains=1)


CHECKS = {name: value for name, value in globals().items() if name.startswith("check_")}


# ---------------------------------------------------------------------------------------------------------------------
# Failures


def killed(communicator: Communicator) -> None:
    """Rank 1 is killed while rank 0 waits for it."""
    import signal

    communicator.barrier()
    if communicator.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    communicator.allreduce(np.ones(3))


def raising(communicator: Communicator) -> None:
    """Rank 1 raises while rank 0 waits for it."""
    if communicator.rank == 1:
        raise ValueError("shard 7 is broken")
    communicator.allreduce(np.ones(3))


def hanging(communicator: Communicator) -> None:
    """Rank 1 never comes."""
    print("here is rank", communicator.rank, flush=True)
    if communicator.rank == 1:
        time.sleep(600)
    communicator.barrier()
