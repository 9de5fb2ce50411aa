"""All extensions in one training: a resumed one leaves what an unbroken one leaves, and a changed set goes on."""

import io

import pytest
import torch

import toolkit.autograd.functions as F
import toolkit.autograd.links as L
from toolkit.autograd import using_config
from toolkit.autograd.optimizers import Adam
from toolkit.autograd.training import ExtensionsManager, StandardUpdater, Trainer, report
from toolkit.autograd.training import extensions as E
from toolkit.autograd.training.datasets import TupleDataset
from toolkit.autograd.training.iterators import SerialIterator


class Classifier(L.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.norm = L.BatchNormalization(2)
            self.l1 = L.Linear(2, 8)
            self.l2 = L.Linear(8, 2)

    def forward(self, x, t):
        loss = F.cross_entropy(self.l2(F.dropout(F.relu(self.l1(self.norm(x))))), t)
        report({"loss": loss, "size": float(len(t))}, self)
        return loss


def everything(data, out):
    return [
        E.PrintReport(["iteration", "main/loss", "lr"], out=out),  # before what it reads
        E.Snapshot(autoload=True, trigger=(5, "iteration")),
        E.Evaluator(SerialIterator(data, 7, repeat=False, shuffle=True)),
        E.ParameterStatistics(statistics=("mean", "std"), trigger=(3, "iteration")),
        E.observe_lr(),
        E.MicroAverage("main/loss", "main/size", "ratio", trigger=(4, "iteration")),
        E.FailOnNonNumber(),
        E.CosineShift(20, final=1e-3),
        E.LogReport(trigger=(4, "iteration")),
        E.PlotReport(["main/loss", "validation/main/loss"], trigger=(6, "iteration")),
        E.ProgressBar(),
        E.GraphDump(),
    ]


def run(folder, n_iterations, make=everything, *, plain=False):
    x = torch.randn(22, 2, generator=torch.Generator().manual_seed(0))
    data = TupleDataset(x, (x[:, 0] > 0).long())
    out = io.StringIO()
    with using_config(generator=torch.Generator().manual_seed(1)):
        options = {"out": folder, "extensions": make(data, out), "stop_trigger": (n_iterations, "iteration")}
        optimizer = Adam(lr=0.05).setup(Classifier())
        iterator = SerialIterator(data, 4)
        if plain:
            manager = ExtensionsManager(None, optimizer, iterator, **options)
            while not manager.finished:
                with manager.run_iteration():
                    optimizer.update(optimizer.target, *next(iterator))
        else:
            manager = Trainer(StandardUpdater(iterator, optimizer), **options)
            manager.run()
    log = [{k: v for k, v in entry.items() if k != "elapsed_time"} for entry in E.read_log(folder / "log")]
    return manager, log, out.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(folder, 17)


@pytest.mark.parametrize("stop", [6, 13])  # the snapshots are of iterations 5 and 10
def test_a_killed_training_goes_on_exactly(tmp_path, whole, stop):
    folder, unbroken, log, table = whole
    run(tmp_path, stop)
    manager, resumed_log, resumed_table = run(tmp_path, 17)
    assert manager.resume_report.complete
    assert resumed_log == log
    assert resumed_table == table
    assert (tmp_path / "plot.png").read_bytes() == (folder / "plot.png").read_bytes()
    for (path, ours), (_, theirs) in zip(
        manager.models["main"].namedparams(), unbroken.models["main"].namedparams(), strict=True
    ):
        assert torch.equal(ours.data, theirs.data), path


def test_a_plain_loop_leaves_the_same(tmp_path, whole):
    folder, _, log, table = whole
    _, plain_log, plain_table = run(tmp_path, 17, plain=True)
    assert plain_log == log
    assert plain_table == table
    assert (tmp_path / "plot.png").read_bytes() == (folder / "plot.png").read_bytes()
    assert (tmp_path / "graph.svg").read_bytes() == (folder / "graph.svg").read_bytes()


def test_extensions_change_nothing_of_the_training(tmp_path, whole):
    def few(data, out):
        return [E.CosineShift(20, final=1e-3), E.LogReport(["main/loss"], trigger=(4, "iteration"))]

    _, _, log, _ = whole
    _, short, _ = run(tmp_path, 17, few)
    assert [entry["main/loss"] for entry in short] == [entry["main/loss"] for entry in log]


def test_a_changed_set_of_extensions_goes_on_with_a_report(tmp_path):
    def others(data, out):
        return [
            E.Snapshot(autoload=True),
            E.LogReport(trigger=(4, "iteration")),
            E.PlotReport("main/size", trigger=(2, "iteration"), file_name="sizes.svg"),
            E.LinearShift(0.0, 10),
        ]

    run(tmp_path, 10)
    with pytest.warns(UserWarning) as caught:
        manager, log, _ = run(tmp_path, 14, others)
    report = manager.resume_report
    assert len(caught) == 1
    assert any("LinearShift" in path for path in report.missing)
    assert any("GraphDump" in path for path in report.unexpected)
    assert not report.refused
    assert [entry["iteration"] for entry in log] == [4, 8, 12]
    assert (tmp_path / "sizes.svg").exists()
