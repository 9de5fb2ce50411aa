"""The hash codes that lesson 06 looks at: four methods, the same images, queries that none of them was trained on."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from torch import Tensor

from toolkit.core.devices import draw_permutation, resolve_generator
from toolkit.core.errors import require
from toolkit.experiments.imsat_data import load_points
from toolkit.imsat.hamming import hamming_distances, pack_codes
from toolkit.imsat.hash_baselines import PCAHash
from toolkit.imsat.hashing import IMSATHash
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.retrieval import RetrievalScores, evaluate_retrieval, split_queries
from toolkit.imsat.training import predict_logits
from toolkit.lessons import style

VAT, PLAIN, ITQ, SIGN = "IMSAT (VAT)", "no perturbation", "PCA-ITQ", "PCA-sign"
METHODS = (VAT, PLAIN, ITQ, SIGN)
LOOKS = {
    VAT: style.Line(style.BLUE, "-", "o", 2.6),
    PLAIN: style.Line(style.PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "D", 1.8),
    ITQ: style.Line(style.GREY, (0, (5.0, 1.6)), "s", 1.8),
    SIGN: style.Line(style.GREY, (0, (1.2, 1.2)), "^", 1.8),
}
AT = 100
"""How many nearest images count in the precision at N."""
EPOCHS = 15
PLAIN_EPOCHS = 10
"""Without a perturbation rounding errors grow with each step; later on, two machines would differ in bits."""


@dataclass(frozen=True, repr=False, eq=False)
class Code:
    """What one method makes of the images.

    Attributes:
        method: one of ``METHODS``.
        queries: bits of the queries.
        gallery: bits of the images that are searched.
        distances: between them: how many bits differ.
        scores: of the retrieval, with ``AT`` nearest images and radius 2.
        logits: of the gallery's bits, float64; without rounding to bits where a network gives them, else ``None``.
    """

    method: str
    queries: Bool[Tensor, "queries bits"]
    gallery: Bool[Tensor, "gallery bits"]
    distances: Int32[Tensor, "queries gallery"]
    scores: RetrievalScores
    logits: Float[Tensor, "gallery bits"] | None

    @property
    def n_bits(self) -> int:
        """How many bits a code has."""
        return self.gallery.shape[1]

    @property
    def probabilities(self) -> Float[Tensor, "gallery bits"] | None:
        """How probable it is that a bit is 1, where a network says so."""
        return None if self.logits is None else self.logits.sigmoid()

    def __repr__(self) -> str:
        return f"Code({self.method}, {self.n_bits} bits: mAP {self.scores.mean_average_precision:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class HashRuns:
    """Images, and the codes that several methods give them.

    Attributes:
        query_images: pixels from 0 to 1.
        query_labels: their classes, for scores only.
        gallery_images: those the methods were trained on, and that are searched.
        gallery_labels: their classes, for scores only.
        class_names: what the labels mean.
        codes: by method.
        epochs: passes over the gallery in the training with VAT; without a perturbation at most ``PLAIN_EPOCHS``.
    """

    query_images: Float[Tensor, "queries height width"]
    query_labels: Int[Tensor, " queries"]
    gallery_images: Float[Tensor, "gallery height width"]
    gallery_labels: Int[Tensor, " gallery"]
    class_names: tuple[str, ...]
    codes: dict[str, Code]
    epochs: int

    @property
    def n_queries(self) -> int:
        """How many queries."""
        return len(self.query_labels)

    @property
    def n_gallery(self) -> int:
        """How many images are searched."""
        return len(self.gallery_labels)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, the best first as a rule."""
        return tuple(self.codes)

    @property
    def networks(self) -> tuple[str, ...]:
        """The methods that give each bit a probability."""
        return tuple(method for method, code in self.codes.items() if code.logits is not None)

    def __repr__(self) -> str:
        codes = ", ".join(f"{name}: mAP {code.scores.mean_average_precision:.3f}" for name, code in self.codes.items())
        return f"HashRuns({self.n_queries} queries, {self.n_gallery} images; {codes})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def hash_runs(
    *,
    n_bits: int = 16,
    hidden: tuple[int, ...] = (200, 200),
    epochs: int = EPOCHS,
    n_images: int | None = None,
    per_class: int = 10,
) -> HashRuns:
    """Learn codes for the bundled MNIST images with four methods, on the CPU and in double precision; done once.

    Args:
        n_bits: of a code.
        hidden: units of the hidden layers.
        epochs: passes over the gallery with VAT; without a perturbation at most ``PLAIN_EPOCHS``.
        n_images: so many images, chosen at random, always the same ones; default: all.
        per_class: queries from each class.

    Returns:
        Codes by VAT, the same network without a perturbation, PCA with the rotation of ITQ, and PCA without.

    Raises:
        ValueError: a number that is not possible.
    """
    points = load_points("mnist")
    chosen = torch.arange(len(points.labels))
    if n_images is not None:
        require(n_images >= 1, "hash_runs", "n_images", ">= 1", n_images)
        chosen = draw_permutation(len(chosen), generator=resolve_generator(seed=0))[:n_images].sort().values
    inputs, labels = points.inputs[chosen].double(), points.labels[chosen]
    split = split_queries(labels, per_class, resolve_generator(seed=0))
    queries, gallery = inputs[split.queries], inputs[split.gallery]
    radii = neighbour_distances(gallery, 10)
    codes = {}
    for method in METHODS:
        bits, logits = _learn(method, n_bits, hidden, epochs, gallery, queries, radii)
        codes[method] = make_code(method, *bits, labels[split.queries], labels[split.gallery], logits)
    images = (inputs + 1) / (inputs.max() + 1)
    pictures = images.unflatten(1, points.image_shape)
    return HashRuns(
        pictures[split.queries],
        labels[split.queries],
        pictures[split.gallery],
        labels[split.gallery],
        points.class_names,
        codes,
        epochs,
    )


def make_code(
    method: str,
    queries: Bool[Tensor, "queries bits"],
    gallery: Bool[Tensor, "gallery bits"],
    query_labels: Int64[Tensor, " queries"],
    gallery_labels: Int64[Tensor, " gallery"],
    logits: Float[Tensor, "gallery bits"] | None = None,
) -> Code:
    """Return a code with the distances between its bits and its scores; arguments as in :class:`Code`."""
    distances = hamming_distances(pack_codes(queries), pack_codes(gallery))
    scores = evaluate_retrieval(queries, query_labels, gallery, gallery_labels, n=AT, radius=2)
    return Code(method, queries, gallery, distances, scores, logits)


def _learn(
    method: str,
    n_bits: int,
    hidden: tuple[int, ...],
    epochs: int,
    gallery: Tensor,
    queries: Tensor,
    radii: Tensor,
) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
    parts = (queries, gallery)
    if method in (ITQ, SIGN):
        pca = PCAHash(n_bits, rotation="itq" if method == ITQ else "none", random_state=0).fit(gallery.numpy())
        first, second = (torch.as_tensor(np.asarray(pca.transform(part.numpy()), dtype=bool)) for part in parts)
        return (first, second), None
    model = IMSATHash(
        n_bits,
        perturbation="vat" if method == VAT else None,
        hidden=hidden,
        initialization="official",  # better than the default after so few steps, and steadier
        epochs=epochs if method == VAT else min(epochs, PLAIN_EPOCHS),
        random_state=0,
        device="cpu",
        dtype="float64",
    )
    model.fit(gallery.numpy(), radii=radii)
    asked, searched = (predict_logits(model.network_, part) for part in parts)
    return (asked > 0, searched > 0), searched
