"""One process without a launcher: the same calls, no sockets; and what is refused before anything starts."""

import copy
import pickle
import socket
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist

import toolkit.autograd.links as L
from toolkit.autograd import Variable, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.distributed import (
    Communicator,
    DisagreementError,
    LaunchError,
    MultiNodeBatchNormalization,
    create_communicator,
    create_empty_dataset,
    create_multi_node_evaluator,
    create_multi_node_optimizer,
    example,
    install_exception_hook,
    launch,
    multi_node_batch_normalization,
    process_group,
    replicas_differ,
    scatter_dataset,
)
from toolkit.autograd.distributed.dataset import shard_bounds
from toolkit.autograd.distributed.launch import Launched
from toolkit.autograd.optimizers import SGD, Adam

LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHER, "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def alone() -> Communicator:
    return create_communicator("flat")


def test_calls_of_one_process_need_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    with process_group("naive") as c:
        assert (c.rank, c.size, c.intra_rank, c.intra_size, c.inter_rank, c.inter_size) == (0, 1, 0, 1, 0, 1)
        array = np.arange(3)
        assert c.bcast(array) is array and c.scatter([array]) is array
        assert c.allgather(array)[0] is array and c.alltoall([array]) == (array,)
        gathered = c.gather(array)
        assert gathered is not None and gathered[0] is array
        total = c.allreduce(array)
        assert np.array_equal(total, array) and total is not array
        assert c.allreduce_obj({"a": 1}) == {"a": 1} and c.bcast_obj([1]) == [1]
        c.barrier()
        half = c.split(3)
        assert half is not None and half.size == 1 and c.split(None) is None
    assert not dist.is_initialized()


def test_bad_arguments(alone: Communicator) -> None:
    for call in (
        lambda: create_communicator("mpi"),
        lambda: create_communicator(timeout=0),
        lambda: create_communicator(timeout=float("nan")),
        lambda: create_communicator(allreduce_grad_dtype="int8"),
        lambda: create_communicator(allreduce_grad_dtype="float17"),
        lambda: alone.bcast(np.ones(1), root=1),
        lambda: alone.scatter([]),
        lambda: alone.scatter(None),
        lambda: alone.alltoall([np.ones(1)] * 2),
        lambda: alone.send(np.ones(1), 0),
        lambda: alone.allreduce(np.ones(1), "median"),
        lambda: alone.allgather(np.ones((1,) * 11)),
        lambda: alone.mean_gradients(L.Linear(1, 1), weight=-1.0),
        lambda: alone.relative_weight(float("inf")),
        lambda: scatter_dataset(None, alone),
        lambda: scatter_dataset([1], alone, seed=1, generator=torch.Generator()),
        lambda: launch(example.measure, 0),
        lambda: launch(example.measure, True),
        lambda: launch(example.measure, 2, timeout=-1),
        lambda: launch(example.measure, 2, communicator="mpi"),
        lambda: launch(example.measure, 2, allreduce_grad_dtype="float8"),
        lambda: launch(lambda communicator: None),
    ):
        with pytest.raises(ValueError, match="bad argument"):
            call()
    for call in (
        lambda: alone.allreduce([1, 2]),
        lambda: alone.bcast(Variable(np.ones(1))),
        lambda: alone.allgather(np.array(["a"])),
        lambda: pickle.dumps(alone),
        lambda: launch(example.measure, 2, lambda: None),
    ):
        with pytest.raises(TypeError, match="bad argument"):
            call()
    for weight in (alone.relative_weight, lambda count: alone.mean_gradients(L.Linear(1, 1), weight=count)):
        with pytest.raises(DisagreementError):
            weight(0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'flat' or 'naive' without a GPU"):
            create_communicator("pure_nccl")


def test_allreduce_grad_dtypes() -> None:
    for dtype in (torch.float16, "float16", np.float16, np.dtype("float16")):
        assert create_communicator(allreduce_grad_dtype=dtype).allreduce_grad_dtype is torch.float16
    assert create_communicator(allreduce_grad_dtype="bfloat16").allreduce_grad_dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR, MASTER_PORT missing"),
        ({"WORLD_SIZE": "2"}, "RANK, MASTER_ADDR, MASTER_PORT missing"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "http"}, "MASTER_PORT in the"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}, "not below WORLD_SIZE"),
        ({"LOCAL_RANK": "first"}, "LOCAL_RANK in the environment is no number"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "started by mpirun"),
        ({"SLURM_NTASKS": "2"}, "started by srun"),
    ],
)
def test_an_unfit_environment_is_named(environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=told):
        create_communicator()
    assert not dist.is_initialized()


def test_an_address_alone_is_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.255.255.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert create_communicator().size == 1
    assert not dist.is_initialized()


def test_a_group_of_somebody_else_is_used_and_left_alone() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with process_group() as c:
            assert (c.name, c.size) == ("flat", 1)
        assert dist.is_initialized()
        if torch.cuda.is_available():
            with pytest.raises(LaunchError, match="cuda:nccl"):
                create_communicator("pure_nccl")
    finally:
        dist.destroy_process_group()


def test_the_exception_hook_reports_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: seen.append(error))
    install_exception_hook()
    error = ValueError("x")
    sys.excepthook(ValueError, error, None)
    assert seen == [(ValueError, error, None)]


def test_a_communicator_stays_itself_in_copies(alone: Communicator) -> None:
    assert copy.deepcopy(alone) is alone
    link = MultiNodeBatchNormalization(2, alone)
    for mode in ("copy", "init", "share"):
        assert link.copy(mode).communicator is alone


def test_mean_of_one_is_the_gradient_itself_and_shares_nothing(alone: Communicator) -> None:
    model = L.Linear(3, 2)
    gradient = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    model.W.grad = gradient
    alone.mean_gradients(model)
    assert torch.equal(model.W.grad, gradient) and model.b.grad is None
    model.W.grad.fill_(0)
    assert bool(gradient.any())
    # A gradient that is a broadcast view, and one that stands for two parameters.
    model.W.grad, model.b.grad = torch.ones(()).expand(2, 3), torch.ones(2)
    alone.mean_gradients(model)
    model.W.grad += 1
    assert model.b.grad.tolist() == [1, 1]
    model.W.grad = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="gradient of /W"):
        alone.mean_gradients(model)


def test_gradients_of_several_dtypes_keep_theirs(alone: Communicator) -> None:
    model = L.Sequential(L.Linear(2, 2), L.Linear(2, 2).astype("float64"))
    for p in model.params():
        p.grad = torch.full(p.shape, 1 / 3, dtype=p.dtype)
    alone.mean_gradients(model)
    for p in model.params():
        assert p.grad.dtype == p.dtype and bool((p.grad == torch.full(p.shape, 1 / 3, dtype=p.dtype)).all())


def test_an_empty_model(alone: Communicator) -> None:
    model = L.Chain()
    alone.mean_gradients(model)
    alone.broadcast_data(model)
    assert replicas_differ(alone, model) == ()


def test_an_optimizer_alone_is_the_optimizer_but_for_the_first_call(alone: Communicator) -> None:
    x, t = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 2
    models = [L.Linear(3, 2, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    single = Adam(lr=0.1).setup(models[0])
    multi = create_multi_node_optimizer(Adam(lr=0.1), alone).setup(models[1])
    assert multi.update(lambda: F.cross_entropy(models[1](x), t)) is not None and multi.t == 0
    for count in (None, 8, 3):
        single.update(lambda: F.cross_entropy(models[0](x), t))
        multi.update(lambda: F.cross_entropy(models[1](x), t), sample_count=count)
        assert torch.equal(models[0].W.data, models[1].W.data)
    assert multi.t == 3 and multi.target is models[1] and "MultiNodeOptimizer(Adam" in repr(multi)
    with pytest.raises(AttributeError):
        _ = multi.nothing
    with pytest.raises(RuntimeError, match="setup"):
        create_multi_node_optimizer(SGD(), alone).update()


def test_an_optimizer_goes_on_from_its_state(alone: Communicator) -> None:
    def run(steps: int, state: dict | None, weight: torch.Tensor | None) -> tuple:
        link = L.Linear(2, 1, generator=torch.Generator().manual_seed(0))
        optimizer = create_multi_node_optimizer(Adam(lr=0.1), alone, double_buffering=True).setup(link)
        if state is not None and weight is not None:
            link.W.data.copy_(weight[:, :2])
            link.b.data.copy_(weight[:, 2])
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.update(lambda: F.sum(F.tanh(link(torch.ones(1, 2)))))
        return optimizer.state_dict(), torch.cat([link.W.data, link.b.data[:, None]], 1)

    state, weight = run(4, None, None)
    assert torch.equal(run(3, state, weight)[1], run(7, None, None)[1])
    optimizer = create_multi_node_optimizer(Adam(), alone, double_buffering=True).setup(L.Linear(3, 1))
    with pytest.raises(ValueError, match="gradients"):
        optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match="multi-node"):
        optimizer.load_state_dict(state["optimizer"])


@pytest.mark.parametrize("total", [0, 1, 2, 5, 12, 13])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_shards_cover_everything(total: int, size: int) -> None:
    exact = [range(*shard_bounds(total, rank, size, False)) for rank in range(size)]
    assert [k for shard in exact for k in shard] == list(range(total))
    assert max(map(len, exact)) - min(map(len, exact)) <= 1
    equal = [range(*shard_bounds(total, rank, size, True)) for rank in range(size)]
    assert {k for shard in equal for k in shard} == set(range(total))
    assert {len(shard) for shard in equal} == {-(-total // size)}
    assert all(shard.stop <= total for shard in equal)


def test_shards_are_indexed_like_what_they_are_cut_from(alone: Communicator) -> None:
    data = np.arange(10) * 10
    shard = scatter_dataset(data, alone, shuffle=True, seed=3)
    assert sorted(shard[:].tolist()) == data.tolist() and shard[:].tolist() != data.tolist()
    assert shard[-1] == shard[9] and shard[torch.tensor([0, 1])].tolist() == shard[:2].tolist()
    again = scatter_dataset(data, alone, shuffle=True, generator=torch.Generator().manual_seed(3))
    assert np.array_equal(again.indices, shard.indices)
    with using_config(generator=torch.Generator().manual_seed(3)):
        assert np.array_equal(scatter_dataset(data, alone, shuffle=True).indices, shard.indices)
    with pytest.raises(IndexError):
        _ = shard[10]
    empty = create_empty_dataset(shard)
    assert len(empty) == 10 and empty[3] == () and empty[2:4] == [(), ()]
    with pytest.raises(IndexError):
        _ = empty[10]


def test_batch_normalization_alone_is_batch_normalization(alone: Communicator) -> None:
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = multi_node_batch_normalization(x, communicator=alone)
    assert torch.allclose(y.data, F.batch_normalization(x).data, rtol=0, atol=1e-13)
    assert multi_node_batch_normalization(x[:0], communicator=alone).shape == (0, 3, 2)
    for bad in (x[0, 0], x[:1, :, :1]):
        with pytest.raises(ValueError, match="multi_node_batch_normalization"):
            multi_node_batch_normalization(bad, communicator=alone)
    for options in ({"momentum": 2.0}, {"eps": -1.0}, {"running_mean": torch.zeros(3, dtype=torch.float64)}):
        with pytest.raises(ValueError, match="multi_node_batch_normalization"):
            multi_node_batch_normalization(x, communicator=alone, **options)
    with pytest.raises(TypeError, match="gamma"):
        multi_node_batch_normalization(x, torch.ones(3), communicator=alone)
    link = MultiNodeBatchNormalization(None, alone)
    assert torch.equal(link(x).data, L.BatchNormalization(3).astype("float64")(x).data)


def test_an_evaluator_is_changed_and_returned(alone: Communicator) -> None:
    from toolkit.autograd.training import DictSummary

    class Some:
        def summarize(self, trainer: object = None) -> DictSummary:
            summary = DictSummary()
            summary.add({"a": (2.0, 3), "b": (4.0, 0)})
            return summary

    evaluator = Some()
    assert create_multi_node_evaluator(evaluator, alone) is evaluator
    means = evaluator.summarize().compute_mean()
    assert means["a"] == 2.0 and np.isnan(means["b"])


def test_the_example_alone(alone: Communicator) -> None:
    measured = example.measure(alone, steps=2, batch_size=20, samples=40, rounds=1)
    assert measured.ranks == 1 and measured.weighted_difference == 0.0 and len(measured.losses) == 2
    assert len(measured.lines()) > 10 and measured.to_dict()["samples"] == 40


def test_what_a_launch_gives_back() -> None:
    launched = Launched((1, 2), ("a", ""), 1.25)
    assert repr(launched) == "Launched(2 processes, 1.2 s)"
    assert launched.to_dict() == {"results": (1, 2), "outputs": ("a", ""), "seconds": 1.25}
