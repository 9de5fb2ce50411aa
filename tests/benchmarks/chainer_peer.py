"""Chainer's cost of an operation, on an interpreter that can still run it; uses nothing of this package.

``python -m venv chainer-env && chainer-env/bin/pip install "numpy==1.23.5" chainer==7.8.1``, then pass
``--chainer chainer-env/bin/python`` to ``tests.benchmarks.autograd``, which runs this file with it.
"""

import json
import time

import chainer
import numpy as np


def main(length=333, rounds=7, type_check=True):
    """Print versions and the seconds of the best round over a chain of products, sums and hyperbolic tangents."""
    rng = np.random.default_rng(0)
    x, w, b = (chainer.Variable((rng.normal(size=10) / np.sqrt(10)).astype("f")) for _ in range(3))
    seed = np.ones(10, "f")
    best = float("inf")
    with chainer.using_config("type_check", type_check):
        for _ in range(rounds + 1):
            start = time.process_time()
            y = x
            for _ in range(length):
                y = chainer.functions.tanh(y * w + b)
            y.grad = seed
            y.backward()
            for leaf in (x, w, b):
                leaf.cleargrad()
            best = min(best, time.process_time() - start)
    return best / (3 * length)


if __name__ == "__main__":
    seconds = {"checked": main(), "unchecked": main(type_check=False)}
    print(json.dumps({"chainer": chainer.__version__, "numpy": np.__version__, "seconds": seconds}))
