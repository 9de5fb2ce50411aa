"""Rows of images in which one factor changes: each picture is what the renderer gives for its indices."""

import pytest
import torch

from toolkit.datasets import shapes3d, sprites
from toolkit.explorers import explore_factor_images
from toolkit.explorers.factor_images import RENDERERS, describe, draw, traverse


@pytest.mark.parametrize("name", RENDERERS)
def test_only_the_factor_of_the_row_changes(name):
    renderer = RENDERERS[name]
    result = traverse(name, renderer.start)
    assert len(result.rows) == len(result.levels) == len(renderer.grid.names)
    for column, (row, levels) in enumerate(zip(result.rows, result.levels, strict=True)):
        indices = torch.tensor(renderer.start).repeat(len(levels), 1)
        indices[:, column] = torch.tensor(levels)
        assert torch.equal(row, renderer.render(indices, 48))
        assert list(levels) == sorted(set(levels)) and renderer.start[column] in levels
        assert len(levels) == min(renderer.grid.sizes[column], 8)


@pytest.mark.parametrize("name", RENDERERS)
def test_every_value_of_every_factor_can_be_chosen(name):
    grid = RENDERERS[name].grid
    for column, size in enumerate(grid.sizes):
        for level in {0, 1, size // 2, size - 2, size - 1}:
            indices = list(RENDERERS[name].start)
            indices[column] = level
            result = traverse(name, tuple(indices))
            assert result.levels[column][result.levels[column].index(level)] == level
            assert result.number == int(grid.ravel([indices], device="cpu")[0])
            draw(result)


def test_the_large_image_is_the_one_of_the_data_set():
    for name, module, options in (("dsprites", sprites, {}), ("3dshapes", shapes3d, {"layout": "HWC"})):
        start = RENDERERS[name].start
        ours = traverse(name, start).image
        theirs = module.render([start], device="cpu", **options)[0]
        theirs = 255 * theirs if name == "dsprites" else theirs
        assert ours.shape[:2] == (64, 64)
        assert int((ours.int() - theirs.int()).abs().max()) <= 1


def test_the_sentence_names_every_factor_and_what_the_images_are_not():
    text = describe(traverse("dsprites", (2, 5, 0, 31, 0)))
    assert "shape heart, scale 1, orientation 0 rad, position x 1, position y 0" in text
    assert "differ from the original" in text
    assert "orientation 8 of 40, position x 8 of 32, position y 8 of 32." in text
    text = describe(traverse("3dshapes", (0, 0, 0, 0, 2, 0)))
    assert "shape sphere, orientation −30°" in text and "without being it" in text


@pytest.mark.parametrize("indices", [(3, 0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 40, 0, 0), (0, 0, -1, 0, 0)])
def test_indices_out_of_range_are_refused(indices):
    with pytest.raises(ValueError, match="traverse"):
        traverse("dsprites", indices)


def test_unknown_names_are_refused():
    for call in (lambda: traverse("cars3d", (0,)), lambda: explore_factor_images("cars3d")):
        with pytest.raises(ValueError, match="dsprites"):
            call()
