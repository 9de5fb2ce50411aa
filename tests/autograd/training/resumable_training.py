"""A training with everything that a resume can get wrong; run as a program it can be killed.

Usage: ``python resumable_training.py OUT ITERATOR KILL_AT`` trains in the folder OUT, going on from what is there,
kills itself with SIGKILL in the middle of iteration KILL_AT (0: never), and at the end writes ``OUT/final.npz``.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

import toolkit.autograd.links as L
from toolkit.autograd import functions as F
from toolkit.autograd import randomness, using_config
from toolkit.autograd.optimizers import Adam
from toolkit.autograd.serializers import save_npz
from toolkit.autograd.training import (
    MinValueTrigger,
    MultiprocessIterator,
    SerialIterator,
    StandardUpdater,
    Trainer,
    TransformDataset,
    TupleDataset,
    report,
)
from toolkit.autograd.training.extensions.log_report import LogReport
from toolkit.autograd.training.extensions.snapshot import Snapshot


class Net(L.Chain):
    """Two layers with a size to be found out, batch normalization, and dropout from the default generator."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.first = L.Linear(None, 6)
            self.norm = L.BatchNormalization(6)
            self.second = L.Linear(6, 3)

    def forward(self, x, t):
        hidden = F.dropout(F.relu(self.norm(self.first(x))), 0.4)
        loss = F.cross_entropy(self.second(hidden), t)
        report({"loss": loss}, self)
        return loss


def shaken(example):
    """An augmentation: noise from the default generator."""
    x, t = example
    return x + 0.1 * torch.randn(x.shape, generator=randomness.source()), t


class Noise:
    """An extension with random numbers of its own, which it reports."""

    trigger = (3, "iteration")
    name = "Noise"
    priority = 300

    def __init__(self):
        self.generator = torch.Generator().manual_seed(7)

    def __call__(self, trainer):
        report({"noise": torch.rand((), generator=self.generator)})


def build(out, kind="serial", n_items=23, stop=(5, "epoch"), every=1):
    """Return the trainer and the generator that its run is to draw from."""
    generator = torch.Generator().manual_seed(5)
    data = torch.Generator().manual_seed(1)
    x, t = torch.randn(n_items, 4, generator=data), torch.randint(3, (n_items,), generator=data)
    whole = TupleDataset(x, t)
    with using_config(generator=generator):
        model = Net()
        optimizer = Adam(lr=0.01).setup(model)
    order = torch.Generator().manual_seed(3)
    if kind == "multiprocess":
        iterator = MultiprocessIterator(TransformDataset(whole, shaken), 5, generator=order, n_workers=2)
    elif kind == "augmented":
        iterator = SerialIterator(TransformDataset(whole, shaken), 5, generator=order)
    elif kind == "once":
        iterator = SerialIterator(whole, 2, generator=order, repeat=False)
    else:
        iterator = SerialIterator(whole, 5)  # shares the default generator with dropout
    trainer = Trainer(StandardUpdater(iterator, optimizer), stop, out=out)
    trainer.extend(LogReport(trigger=(4, "iteration")))
    trainer.extend(Noise())
    best = MinValueTrigger("main/loss", (1, "epoch"))
    trainer.extend(lambda trainer: report({"best": trainer.iteration}), "best", best, 200)
    trainer.extend(Snapshot(autoload=True, n_retains=2), trigger=(every, "iteration"))
    return trainer, generator


def main(out, kind, kill_at):
    """Train, or die trying."""
    trainer, generator = build(out, kind)
    if kill_at:

        def die(trainer):
            if trainer.iteration == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        trainer.extend(die, "die", priority=1000)
    with using_config(generator=generator):
        trainer.run()
    log = trainer.get_extension("LogReport").log
    state = {"model": trainer.models["main"].state_dict(), "optimizer": trainer.optimizers["main"].state_dict()}
    state["log"] = json.dumps([{**entry, "elapsed_time": 0} for entry in log])
    save_npz(Path(out) / "final.npz", state)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
