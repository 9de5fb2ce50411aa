"""Images a second of one CPU thread, and what the renderers hold in memory."""

import time

import pytest
import torch

from toolkit.datasets import shapes3d, sprites

pytestmark = pytest.mark.benchmark


def rate(render, factors: torch.Tensor, **options) -> float:
    """Return the best of five rounds, in images per second of CPU time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = 0.0
        for _ in range(5):
            start = time.process_time()
            render(factors, **options)
            best = max(best, len(factors) / (time.process_time() - start))
        return best
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_sprites(dtype):
    factors = sprites.GRID.sample(40_000, generator=torch.Generator().manual_seed(0), device="cpu")
    found = rate(sprites.render, factors, dtype=dtype)
    print(f"{found:,.0f} images per CPU-second")
    assert found >= 40_000


@pytest.mark.parametrize("batch", [64, 2048])
@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_shapes3d(layout, batch):
    factors = shapes3d.GRID.sample(batch, generator=torch.Generator().manual_seed(0), device="cpu")
    shapes3d.render(factors[:1])
    found = rate(shapes3d.render, factors, layout=layout)
    print(f"{found:,.0f} images per CPU-second")
    assert found >= 8_000


def test_the_planes_of_shapes3d_take_two_seconds(monkeypatch):
    monkeypatch.setattr(shapes3d, "_planes", {})
    found = 480 / rate(lambda _: (shapes3d._planes.clear(), shapes3d.render([[0] * 6], device="cpu")), torch.empty(480))
    print(f"{found:.2f} CPU-seconds")
    assert found <= 2
