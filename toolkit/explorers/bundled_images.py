"""The labelled images that come with the toolkit, class by class."""

import functools
from dataclasses import dataclass
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import Dataset
from toolkit.datasets import load as load_dataset
from toolkit.lessons import View, controls
from toolkit.lessons.svg import image_grid

NAMES = {"MNIST": "mnist", "Fashion-MNIST": "fashion_mnist", "digits 8×8": "digits"}
"""Data sets with a bundled sample, by the name a reader sees."""

PAGE, PAGES = 24, 7  # the smallest class, digit 8 of the 8×8 digits, has 174 images


@dataclass(frozen=True)
class Page:
    """A few images of one class.

    Attributes:
        images: pixels, full intensity is ``pixel_max``.
        pixel_max: of the data set.
        title: of the data set.
        class_name: what they show.
        first: which image of the class is the first one here, from 1.
        count: how many of the class are bundled.
        caption: what the data set is, and its licence.
    """

    images: UInt8[Tensor, "images height width"]
    pixel_max: int
    title: str
    class_name: str
    first: int
    count: int
    caption: str

    def __repr__(self) -> str:
        return f"Page({self.class_name!r}, images {self.first} to {self.first + len(self.images) - 1} of {self.count})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _load(name: str) -> Dataset:
    return load_dataset(name)


def page_of(name: str, label: int, page: int = 1) -> Page:
    """Return one page of a class of a bundled data set: its training images first, then those held out.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or ``"digits"``.
        label: the class, 0 to 9.
        page: from 1; a page past the last image shows the last ones.

    Returns:
        At most ``PAGE`` images.

    Raises:
        ValueError: another data set, class or page.
    """
    require(name in NAMES.values(), "page_of", "name", f"one of {list(NAMES.values())}", name)
    data = _load(name)
    require(0 <= label < data.n_classes, "page_of", "label", f"0 to {data.n_classes - 1}", label)
    require(page >= 1, "page_of", "page", "1 or more", page)
    images = data.images[data.labels == label]
    start = min((page - 1) * PAGE, max(len(images) - PAGE, 0))
    shown = images[start : start + PAGE]
    return Page(shown, data.train.pixel_max, data.title, data.class_names[label], start + 1, len(images), data.caption)


def draw(page: Page) -> Svg:
    """Draw the images in three rows."""
    last = page.first + len(page.images) - 1
    title = f"{page.title}, class {page.class_name}: images {page.first} to {last} of {page.count}"
    return image_grid(page.images / page.pixel_max, columns=8, size=56, title=title)


def describe(page: Page) -> str:
    """Say what is shown, where it comes from, and what it is not."""
    last = page.first + len(page.images) - 1
    return f"Images {page.first} to {last} of the {page.count} of class “{page.class_name}”. {page.caption}"


def explore_bundled_images() -> View:
    """Return a view of the bundled images: pick a data set, a class and a page."""
    choices = {
        "name": controls.choice("data set", NAMES),
        "label": controls.int_slider("class", 3, 0, 9),
        "page": controls.int_slider("page", 1, 1, PAGES),
    }
    return View(choices, page_of, draw, describe)
