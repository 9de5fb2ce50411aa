"""The renderers draw the same on a GPU as on the CPU, up to the rounding of rays and edges."""

import pytest
import torch

from toolkit.datasets import shapes3d, sprites

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("renderer", [sprites, shapes3d])
def test_images_are_those_of_the_cpu(renderer):
    factors = renderer.GRID.sample(3000, generator=torch.Generator().manual_seed(0), device="cpu")
    expected = renderer.render(factors)
    found = renderer.render(factors.cuda())
    assert found.is_cuda
    different = found.cpu() != expected
    assert different.float().mean() < 1e-4
    assert renderer.render(factors, device="cuda").equal(found)


def test_weights_are_those_of_the_cpu():
    values = shapes3d.GRID.values_of(shapes3d.GRID.sample(60, generator=torch.Generator().manual_seed(0)))[:, 3:]
    difference = (shapes3d.material_weights(values.cuda()).cpu() - shapes3d.material_weights(values.cpu())).abs()
    assert (difference > 1e-4).float().mean() < 1e-3
