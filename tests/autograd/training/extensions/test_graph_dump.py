import gc
import weakref

import pytest
import torch
from PIL import Image

import toolkit.autograd.functions as F
import toolkit.autograd.links as L
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.training import ExtensionsManager, StandardUpdater, Trainer, report
from toolkit.autograd.training.datasets import TupleDataset
from toolkit.autograd.training.extensions import GraphDump
from toolkit.autograd.training.iterators import SerialIterator


class Model(L.Chain):
    """Remembers its Variables and nodes weakly."""

    def __init__(self, data_only=False):
        super().__init__()
        self.alive = []
        self.data_only = data_only
        with self.init_scope():
            self.l1 = L.Linear(3, 4)
            self.l2 = L.Linear(4, 2)

    def forward(self, x, t):
        hidden = F.relu(self.l1(x))
        loss = F.cross_entropy(self.l2(hidden), t)
        self.alive.extend(map(weakref.ref, (hidden, loss)))
        report({"loss": loss.data if self.data_only else loss}, self)
        return loss


def data(n=8):
    return TupleDataset(torch.ones(n, 3), torch.arange(n) % 2)


@pytest.mark.parametrize(
    "name, start", [("g.dot", b"digraph"), ("g.svg", b"<svg"), ("g.png", b"\x89PNG"), ("deep/g.SVG", b"<svg")]
)
def test_it_writes_the_graph_of_the_first_iteration(tmp_path, name, start):
    model = Model()
    dump = GraphDump(file_name=name)
    updater = StandardUpdater(SerialIterator(data(), 4), SGD(lr=0.1).setup(model))
    trainer = Trainer(updater, (3, "iteration"), out=tmp_path, extensions=[dump])
    trainer.run()
    assert (tmp_path / name).read_bytes().startswith(start)
    leaves = {node.label for node in dump.graph.nodes if node.kind == "leaf"}
    assert leaves == {"/l1/W", "/l1/b", "/l2/W", "/l2/b"}
    assert not any(node.freed for node in dump.graph.nodes)
    assert sum(node.kind == "output" for node in dump.graph.nodes) == 1
    assert trainer.reporter.watchers == ()


def test_nothing_is_kept_alive(tmp_path):
    model = Model()
    optimizer = SGD(lr=0.1).setup(model)
    manager = ExtensionsManager(model, optimizer, extensions=[GraphDump()], out=tmp_path)
    x, t = torch.ones(8, 3), torch.arange(8) % 2
    gc.collect()
    gc.disable()
    try:
        with manager.run_iteration():
            loss = model(x, t)
            node = loss.node
            arrays = [weakref.ref(value) for value in node.saved if hasattr(value, "dtype") and value is not t]
            loss.backward()
            optimizer.update()
            assert model.alive[1]() is loss
            del loss, node
            assert [reference() for reference in (*model.alive, *arrays)] == [None] * (2 + len(arrays))
    finally:
        gc.enable()
    assert (tmp_path / "graph.svg").exists()


def test_without_a_graph_it_warns_once(tmp_path):
    for model, words in ((Model(data_only=True), "without a graph"), (L.Link(), "was reported not; there is x")):
        manager = ExtensionsManager(model, extensions=[GraphDump()], out=tmp_path)
        with pytest.warns(UserWarning, match=words) as caught:
            for _ in range(2):
                with manager.run_iteration():
                    report({"x": 1.0})
                    if isinstance(model, Model):
                        model(torch.ones(8, 3), torch.arange(8) % 2)
        assert len(caught) == 1
    assert not (tmp_path / "graph.svg").exists()


def test_it_is_written_once_in_all_sessions(tmp_path):
    def run(state=None):
        model = Model()
        updater = StandardUpdater(SerialIterator(data(), 4), SGD(lr=0.1).setup(model))
        trainer = Trainer(updater, (3 if state else 1, "iteration"), out=tmp_path, extensions=[GraphDump()])
        if state:
            trainer.load_state_dict(state)
        trainer.run()
        return trainer.state_dict()

    state = run()
    (tmp_path / "graph.svg").unlink()
    run(state)
    assert not (tmp_path / "graph.svg").exists()
    GraphDump().load_state_dict({}, strict=False)


def test_arguments():
    with pytest.raises(ValueError, match="dot, svg or png"):
        GraphDump(file_name="graph.gif")
    with pytest.raises(ValueError, match="TB, BT, LR or RL"):
        GraphDump(direction="down")


def test_direction(tmp_path):
    sizes = []
    for direction in ("TB", "LR"):
        model = Model()
        manager = ExtensionsManager(model, extensions=[GraphDump(file_name="g.png", direction=direction)], out=tmp_path)
        with manager.run_iteration():
            model(torch.ones(8, 3), torch.arange(8) % 2)
        with Image.open(tmp_path / "g.png") as picture:
            sizes.append(picture.size)
    assert sizes[0] != sizes[1]
