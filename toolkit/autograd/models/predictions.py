"""What a classifier says about pictures, in the same form for every network."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.errors import require


@dataclass(frozen=True)
class Guess:
    """A class and how likely the network takes it to be.

    Attributes:
        label: number of the class.
        name: of the class; the number in words where classes have no names.
        probability: from 0 to 1.
    """

    label: int
    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} {self.probability:.2f}"


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Labels and probabilities of some images, on the CPU.

    Attributes:
        labels: the likeliest class of each image.
        probabilities: softmax of the network's output.
        class_names: names of the classes, or empty.
    """

    labels: Int64[Tensor, "images"]
    probabilities: Float[Tensor, "images classes"]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of the likeliest class of each image."""
        return tuple(self._name(int(label)) for label in self.labels)

    def top(self, k: int = 5) -> tuple[tuple[Guess, ...], ...]:
        """Return the ``k`` likeliest classes of each image, the likeliest first.

        Args:
            k: how many; no more than there are classes.
        """
        n_classes = self.probabilities.shape[1]
        require(isinstance(k, int) and 1 <= k <= n_classes, "top", "k", f"from 1 to {n_classes}", repr(k))
        values, labels = self.probabilities.topk(k, dim=1)
        return tuple(
            tuple(Guess(label, self._name(label), value) for label, value in zip(row, shares, strict=True))
            for row, shares in zip(labels.tolist(), values.tolist(), strict=True)
        )

    def _name(self, label: int) -> str:
        return self.class_names[label].split(",")[0] if self.class_names else str(label)

    def __repr__(self) -> str:
        n_classes = self.probabilities.shape[1]
        if len(self) == 1:
            return f"Predictions({', '.join(map(str, self.top(min(5, n_classes))[0]))})"
        shown = ", ".join(str(guesses[0]) for guesses in Predictions.top(self[:4], 1))
        return f"Predictions({len(self):,} images: {shown}{', …' if len(self) > 4 else ''})"

    def __getitem__(self, index: int | slice) -> "Predictions":
        """Return the predictions of some of the images, or of one.

        Raises:
            IndexError: there is no such image.
        """
        if not isinstance(index, slice):
            position = range(len(self))[index]
            index = slice(position, position + 1)
        return Predictions(self.labels[index], self.probabilities[index], self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists."""
        return {
            "labels": self.labels.tolist(),
            "names": list(self.names),
            "probabilities": self.probabilities.tolist(),
        }
