"""Batches from other processes are those of one process, and the processes end."""

import multiprocessing
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from toolkit.autograd import randomness
from toolkit.autograd.training import MultiprocessIterator, SerialIterator, TransformDataset, TupleDataset


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(item):
    if item == 100:
        raise ValueError("an item that cannot be made")
    return item, torch.rand((), generator=randomness.source()).item(), np.random.rand()


def test_the_same_batches_whatever_the_number_of_workers():
    serial = SerialIterator(list(range(7)), 3, generator=seeded())
    made = {}
    for n_workers in (1, 2):
        iterator = MultiprocessIterator(
            TransformDataset(list(range(7)), noisy), 3, generator=seeded(), n_workers=n_workers, n_prefetch=n_workers
        )
        made[n_workers] = [next(iterator) for _ in range(3)]
        state = iterator.state_dict()
        made[n_workers] += [next(iterator) for _ in range(3)]
        iterator.load_state_dict(state)
        assert [next(iterator) for _ in range(3)] == made[n_workers][3:]
        iterator.finalize()
    assert made[1] == made[2]
    assert [[item for item, *_ in batch] for batch in made[1]] == [next(serial) for _ in range(6)]
    drawn = [numbers for batch in made[1] for _, *numbers in batch]
    assert len({tuple(numbers) for numbers in drawn}) == len(drawn)
    assert multiprocessing.active_children() == []


def test_arrays_an_end_and_an_error():
    before = torch.random.get_rng_state()
    x = np.arange(5.0)
    iterator = MultiprocessIterator(TupleDataset(x, x), 4, repeat=False, shuffle=False, n_workers=1)
    assert [batch[0].tolist() for batch in iterator] == [[0, 1, 2, 3], [4]]
    assert torch.equal(torch.random.get_rng_state(), before)
    iterator.finalize()
    broken = MultiprocessIterator(TransformDataset([1, 100], noisy), 1, shuffle=False, n_workers=1)
    next(broken)
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be made"):
            next(broken)
    assert multiprocessing.active_children() == []


def test_workers_end_with_a_process_that_forgets_them():
    program = textwrap.dedent(
        """
        import os, signal, sys, threading
        from toolkit.autograd.training import MultiprocessIterator, StandardUpdater, Trainer, Updater

        class Waiting(Updater):
            def update_core(self):
                next(self.iterators["main"])
                if self.iteration == 2:
                    os.killpg(os.getpgrp(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        iterator = MultiprocessIterator(list(range(10)), 2, n_workers=2)
        trainer = Trainer(Waiting(iterator), out=os.devnull)
        try:
            trainer.run()
        except KeyboardInterrupt:
            print(trainer.iteration, iterator.epoch_detail, flush=True)
        next(iterator)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 0.6\n", "")


def test_what_is_refused():
    for options in ({"n_workers": 0}, {"n_prefetch": 0}, {"start_method": "clone"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            MultiprocessIterator([1], 1, **options)
