"""What all classifiers of pictures share: ``predict``, and the loss and accuracy around them in training."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.autograd.configuration import using_config
from toolkit.autograd.links import Chain, Link
from toolkit.autograd.models.images import as_images, stacked
from toolkit.autograd.models.predictions import Predictions
from toolkit.autograd.operations.arguments import floating, integers
from toolkit.autograd.operations.classification import cross_entropy
from toolkit.autograd.tape import Variable
from toolkit.autograd.training.reporter import report
from toolkit.core.errors import argument_error, require


class ImageClassifier(Chain):
    """A network from pictures to one number a class, with the one way to ask it (ChainerCV's ``predict``).

    A subclass computes logits in ``forward`` from an array (images, channels, height, width), and may override
    :meth:`prepare`.

    Attributes:
        channels: of the pictures, 1 or 3 (red, green, blue).
        class_names: names of the classes, or empty.
    """

    channels: int = 1
    class_names: tuple[str, ...] = ()

    def prepare(self, image: Float[Tensor, "channels height width"]) -> Float[Tensor, "channels _ _"]:
        """Return a picture, numbers from 0 to 1, as the network wants to see it; here as it is."""
        return image

    def predict(self, images: Any, *, batch_size: int = 64) -> Predictions:
        """Return the classes of pictures; nothing is recorded, and ``config.train`` is off.

        Args:
            images: one picture or several, channels first, colours in the order red, green, blue: integers from 0 to
                255 or floating-point numbers from 0 to 1, of any library; a photograph or a split of
                :mod:`toolkit.datasets`; a picture of Pillow; or a list of pictures, of any sizes if the network resizes
                them. A grey picture is repeated where the network wants colours.
            batch_size: pictures computed at once.

        Returns:
            Labels and probabilities, one row a picture.

        Raises:
            ValueError: another shape, numbers on another scale.
            TypeError: no pictures.
        """
        whole = isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size >= 1
        require(whole, "predict", "batch_size", "an integer from 1 on", repr(batch_size))
        pictures = as_images(images, self.channels)
        require(len(pictures) > 0, "predict", "images", "at least one image", "none")
        with using_config(train=False, enable_backprop=False):
            logits = torch.cat([self._logits(batch) for batch in _batches(pictures, batch_size)])
        probabilities = torch.softmax(logits, 1)
        return Predictions(logits.argmax(1), probabilities, self.class_names)

    def _logits(self, pictures: list[Tensor]) -> Tensor:
        batch = stacked([self.prepare(picture) for picture in pictures])
        logits = self(Variable(self.place.put(batch)))
        return logits.torch().detach().cpu()


def _batches(pictures: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    for start in range(0, len(pictures), size):
        yield pictures[start : start + size]


def accuracy(logits: Any, labels: Any) -> Any:
    """Return the share of right answers.

    Args:
        logits: array or Variable, shape (samples, classes).
        labels: integers, shape (samples,).

    Returns:
        An array without axes of the library, device and dtype of ``logits``; NaN of nothing.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: labels that are no integers.
    """
    logits = floating("accuracy", "logits", logits)
    if logits.ndim != 2 or not logits.shape[1]:
        raise argument_error("accuracy", "logits", "shape (samples, classes)", logits.shape)
    array = integers("accuracy", "labels", labels, logits)
    if tuple(array.shape) != logits.shape[:1]:
        raise argument_error("accuracy", "labels", f"shape {logits.shape[:1]}, as logits", tuple(array.shape))
    backend = logits.backend
    if not logits.shape[0]:
        return backend.full((), float("nan"), logits.data)
    if isinstance(logits.data, torch.Tensor):
        right = logits.data.argmax(1) == array
    else:
        right = backend.argmax(logits.data, 1) == array
    share = backend.mean(backend.astype(right, logits.data), axis=None, keepdims=False)
    return backend.as_array(share, logits.data)


class Classifier(Chain):
    """A network with the loss and the accuracy that its training reports (Chainer's ``L.Classifier``).

    Called with inputs and labels it returns the loss, and reports ``loss`` and ``accuracy``; registered as ``main``,
    as optimizers' targets are, they are called ``main/loss`` and ``main/accuracy``.

    Args:
        predictor: from inputs to logits.
        lossfun: of logits and labels.
        accfun: of logits and labels, or ``None`` to report no accuracy.

    Attributes:
        predictor: the network.
        y: logits of the last call; ``None`` before.
        loss: of the last call.
        accuracy: of the last call.
    """

    def __init__(
        self,
        predictor: Link,
        lossfun: Callable[[Any, Any], Any] = cross_entropy,
        accfun: Callable[[Any, Any], Any] | None = accuracy,
    ) -> None:
        super().__init__()
        self.lossfun = lossfun
        self.accfun = accfun
        self.y: Any = None
        self.loss: Any = None
        self.accuracy: Any = None
        with self.init_scope():
            self.predictor = predictor

    def forward(self, *args: Any) -> Variable:
        """Return the loss.

        Args:
            *args: the network's inputs, and last the labels.

        Raises:
            ValueError: fewer than two arguments.
        """
        require(len(args) >= 2, "Classifier", "args", "inputs, and last the labels", f"{len(args)} arguments")
        *inputs, labels = args
        # What the last call left may hold its graph; two at a time would double the memory.
        self.y = self.loss = self.accuracy = None
        self.y = self.predictor(*inputs)
        self.loss = self.lossfun(self.y, labels)
        values = {"loss": self.loss}
        if self.accfun is not None:
            self.accuracy = self.accfun(self.y, labels)
            values["accuracy"] = self.accuracy
        report(values, self)
        return self.loss

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles do not hold what the last call left: it has a history."""
        return {**self.__dict__, "y": None, "loss": None, "accuracy": None}

    def predict(self, images: Any, *, batch_size: int = 64) -> Predictions:
        """Ask the network; see :meth:`ImageClassifier.predict`.

        Raises:
            TypeError: it is no classifier of pictures.
        """
        predictor: Any = self.predictor
        if not hasattr(predictor, "predict"):
            expected = "a predictor with a predict of its own"
            raise argument_error("Classifier.predict", "predictor", expected, type(predictor).__name__, kind=TypeError)
        return predictor.predict(images, batch_size=batch_size)
