"""Peak memory of a deep network's step, in a process of its own: ``python -m tests.benchmarks.peak_memory ENGINE``.

What is compared is by how much the step raises the process's resident memory above what parameters and libraries take.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

import toolkit
from toolkit.autograd import Variable
from toolkit.autograd import functions as F

Engine = Literal["torch", "ours", "numpy"]


def peak(engine: Engine, layers: int = 20, width: int = 1000, batch: int = 4000) -> int:
    """Return by how many bytes a step (forward, loss, backward) raises this process's peak of resident memory.

    Args:
        engine: torch eager, or ours on torch or NumPy arrays.
        layers: linear maps, a ReLU behind each but the last.
        width: of all layers.
        batch: samples.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    scale = np.float32(np.sqrt(2 / width))
    arrays = [rng.standard_normal((width, width), np.float32) * scale for _ in range(layers)]
    images, labels = rng.standard_normal((batch, width), np.float32), rng.integers(width, size=batch)
    if engine == "torch":
        step = _torch_step(arrays)
    else:
        lift = torch.from_numpy if engine == "ours" else np.asarray
        weights = [Variable(lift(array), requires_grad=True) for array in arrays]

        def step(x: np.ndarray, y: np.ndarray) -> None:
            h = Variable(lift(x))
            for weight in weights[:-1]:
                h = F.relu(F.linear(h, weight))
            F.cross_entropy(F.linear(h, weights[-1]), lift(y)).backward()
            for weight in weights:
                weight.cleargrad()

    # The first step loads kernels and takes the gradients' memory, a small one does too.
    step(images[:2], labels[:2])
    before = _resident()
    step(images, labels)
    return _most() - before


def _torch_step(arrays: list[np.ndarray]):
    weights = [torch.from_numpy(array).requires_grad_() for array in arrays]

    def step(x: np.ndarray, y: np.ndarray) -> None:
        h = torch.from_numpy(x)
        for weight in weights[:-1]:
            h = torch.relu(torch.nn.functional.linear(h, weight))
        h = torch.nn.functional.linear(h, weights[-1])
        torch.nn.functional.cross_entropy(h, torch.from_numpy(y)).backward()
        for weight in weights:
            weight.grad = None

    return step


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _most() -> int:
    # Linux counts in kibibytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured_apart(engine: Engine, layers: int = 20, width: int = 1000, batch: int = 4000) -> int:
    """Return :func:`peak`, measured in a fresh process."""
    options = [engine, "--layers", str(layers), "--width", str(width), "--batch", str(batch)]
    root = Path(toolkit.__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.benchmarks.peak_memory", *options]
    # The allocator would remember what sizes were freed and keep some of it, no two runs alike; this turns that off.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "100000", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def main(engine: tyro.conf.Positional[Engine], layers: int = 20, width: int = 1000, batch: int = 4000) -> None:
    """Print the bytes of :func:`peak`."""
    print(peak(engine, layers, width, batch))


if __name__ == "__main__":
    tyro.cli(main)
