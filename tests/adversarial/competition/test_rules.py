"""Batches, seeds, pixels and labels, one rule after the other."""

import numpy as np
import pytest
import torch

from toolkit.adversarial.competition import draw_targets, plan_batches, project
from toolkit.adversarial.competition.rules import BrokenRuleError, derive_seed, read_images, read_label

SHAPE = (1, 2, 2)


def test_batches_keep_the_order_and_take_turns_with_epsilons() -> None:
    batches = plan_batches(450)
    assert [(b.start, b.stop, b.epsilon) for b in batches] == [
        (0, 100, 4), (100, 200, 8), (200, 300, 12), (300, 400, 16), (400, 450, 4),
    ]  # fmt: skip
    assert [len(batch) for batch in batches] == [100] * 4 + [50]
    assert plan_batches(0) == ()


def test_random_epsilons_are_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[int]:
        return [b.epsilon for b in plan_batches(40, (1, 2, 3), batch_size=1, assignment="random", seed=seed)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("argument", "settings"),
    [("epsilons", {"epsilons": ()}), ("epsilons", {"epsilons": (256,)}), ("batch_size", {"batch_size": 0})],
)
def test_impossible_plans_are_refused(argument: str, settings: dict) -> None:
    with pytest.raises(ValueError, match=argument):
        plan_batches(10, **settings)


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    seeds = [derive_seed(0, "attack", "a", 1), derive_seed(1, "attack", "a", 1), derive_seed(0, "attack", "a", 2)]
    seeds += [derive_seed(0, "attack", "b", 1), derive_seed(0, "defence", "a", 1), derive_seed(0, "attacka", "", 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(0, "attack", "a", 1) == seeds[0]


def test_targets_are_every_class_but_the_label() -> None:
    labels = torch.arange(3).repeat(200)
    targets = draw_targets(labels, 3)
    assert not bool((targets == labels).any())
    for label in range(3):
        assert set(targets[labels == label].tolist()) == {0, 1, 2} - {label}


def test_all_levels_survive_the_way_to_floats_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1)
    for kind in (torch.float32, torch.float64):
        images, finite, resized = read_images(levels.to(kind) / 255, (1, 1, 1))
        assert torch.equal(images, levels)
        assert bool(finite.all()) and not resized
    assert torch.equal(read_images(levels, (1, 1, 1))[0], levels)
    assert torch.equal(read_images(levels.to(torch.int64).numpy(), (1, 1, 1))[0], levels)


def test_pixels_are_rounded_and_clipped() -> None:
    pixels = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 1e30]).view(1, 1, 2, 2)
    assert read_images(pixels, SHAPE)[0].flatten().tolist() == [0, 0, 1, 255]
    assert read_images(torch.tensor([[[[-5, 300, 7, 255]]]]).view(1, *SHAPE), SHAPE)[0].flatten().tolist() == [
        0, 255, 7, 255,
    ]  # fmt: skip
    half = read_images(torch.full((1, *SHAPE), 1.0, dtype=torch.float16), SHAPE)[0]
    assert half.unique().tolist() == [255]


def test_only_the_images_that_are_not_finite_are_marked() -> None:
    pixels = torch.zeros(4, *SHAPE)
    pixels[1, 0, 0, 0], pixels[3, 0, 1, 1] = float("nan"), float("-inf")
    assert read_images(pixels, SHAPE)[1].tolist() == [True, False, True, False]


def test_another_size_is_resized() -> None:
    images, finite, resized = read_images(torch.full((2, 1, 5, 3), 0.5), SHAPE)
    assert resized and bool(finite.all())
    assert images.shape == (2, *SHAPE)
    assert images.unique().tolist() == [128]


def test_resizing_agrees_with_pillow() -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (13, 17), dtype=np.uint8)
    theirs = np.asarray(image.fromarray(pixels).resize((8, 6), image.BICUBIC)).astype(int)
    ours = read_images(torch.from_numpy(pixels)[None, None], (1, 6, 8))[0][0, 0].numpy().astype(int)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize(
    "output",
    [
        None,
        "x",
        torch.zeros(2, 3, 2, 2),
        torch.zeros(2, 2, 2),
        torch.zeros(2, 1, 0, 2),
        torch.zeros(2, *SHAPE, dtype=torch.bool),
        torch.zeros(2, *SHAPE, dtype=torch.complex64),
        torch.zeros(2, *SHAPE).to_sparse(),
        np.zeros((2, *SHAPE), dtype=object),
        np.full((2, *SHAPE), "x"),
    ],
)
def test_what_is_no_image_is_refused(output: object) -> None:
    with pytest.raises(BrokenRuleError):
        read_images(output, SHAPE)


def test_the_projection_is_exact_at_the_ends_of_the_range() -> None:
    clean = torch.tensor([0, 3, 128, 250, 255], dtype=torch.uint8).view(1, 1, 1, 5)
    for given, expected in ((0, [0, 0, 120, 242, 247]), (255, [8, 11, 136, 255, 255])):
        found = project(torch.full_like(clean, given), clean, 8)
        assert found.flatten().tolist() == expected
    assert torch.equal(project(torch.full_like(clean, 9), clean, 0), clean)


@pytest.mark.parametrize(
    ("output", "label"),
    [(3, 3), ("7", 7), (" 7 ", 7), (np.int64(2), 2), (torch.tensor(4), 4), (-3, -3), (10**30, -1), (np.array(5), 5)],
)
def test_integers_are_labels(output: object, label: int) -> None:
    assert read_label(output) == label


@pytest.mark.parametrize("output", [1.0, "1.0", "cat", None, True, torch.tensor(1.0), torch.tensor([1]), [1], 1j])
def test_what_is_no_integer_is_no_label(output: object) -> None:
    with pytest.raises(BrokenRuleError):
        read_label(output)
