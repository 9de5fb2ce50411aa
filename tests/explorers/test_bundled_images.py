"""Pages of bundled images: the right class, every image once, the honest caption."""

import pytest
import torch

from toolkit.datasets import load
from toolkit.explorers.bundled_images import NAMES, PAGE, PAGES, describe, draw, page_of


@pytest.mark.parametrize("name", NAMES.values())
def test_pages_hold_images_of_the_class_in_order(name):
    data = load(name)
    for label in range(10):
        wanted = data.images[data.labels == label]
        assert len(wanted) >= PAGE * PAGES, "the last page would repeat images"
        got = torch.cat([page_of(name, label, page).images for page in range(1, PAGES + 1)])
        assert torch.equal(got, wanted[: PAGE * PAGES])


def test_a_page_past_the_end_shows_the_last_images():
    data = load("digits")
    page = page_of("digits", 8, 1000)
    assert torch.equal(page.images, data.images[data.labels == 8][-PAGE:])
    assert page.first + PAGE - 1 == page.count == 174


def test_the_sentence_says_what_mnist_is_not():
    page = page_of("mnist", 3)
    assert "not the MNIST test set" in describe(page) and "CC BY-SA 3.0" in describe(page)
    assert "Images 1 to 24 of the 500" in describe(page)
    assert "images 1 to 24 of 500" in draw(page).to_string()


def test_full_intensity_is_white():
    svg = draw(page_of("digits", 0))
    assert page_of("digits", 0).pixel_max == 16
    assert svg.to_png()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "label", "page"), [("cifar10", 0, 1), ("mnist", 10, 1), ("mnist", -1, 1), ("mnist", 0, 0)]
)
def test_what_is_not_there_is_refused(name, label, page):
    with pytest.raises(ValueError, match="page_of"):
        page_of(name, label, page)
