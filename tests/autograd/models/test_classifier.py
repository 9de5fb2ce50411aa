"""``Classifier`` reports what Chainer's does; ``predict`` takes pictures in every usual form."""

import pickle

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, config
from toolkit.autograd import functions as F
from toolkit.autograd.links import Chain, Linear, default_arrays
from toolkit.autograd.models import MLP, Classifier, ImageClassifier, Predictions, accuracy
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.training import Reporter
from toolkit.datasets import load, photograph


class Scores(ImageClassifier):
    """A classifier whose logits are the mean of each channel and a constant, so that its answers are known."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.seen = []

    def forward(self, x):
        assert not config.train
        assert not config.enable_backprop
        self.seen.append(x.shape)
        means = F.mean(x, (2, 3))
        return F.concat([means, Variable(torch.full((x.shape[0], 1), 0.5, dtype=x.dtype))], axis=1)


def test_classifier_returns_the_loss_and_reports():
    model = Classifier(MLP((4,), 3, in_size=5, generator=torch.Generator().manual_seed(0)))
    reporter, observation = Reporter(), {}
    reporter.add_observer("main", model)
    x, labels = torch.rand(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    with reporter.scope(observation):
        loss = model(x, labels)
    logits = model.predictor(x)
    assert float(loss) == pytest.approx(float(F.cross_entropy(logits, labels)))
    right = float((logits.data.argmax(1) == labels).float().mean())
    assert float(observation["main/accuracy"]) == pytest.approx(right)
    assert float(observation["main/loss"]) == pytest.approx(float(loss))
    assert not isinstance(observation["main/loss"], Variable)
    assert float(model.accuracy) == pytest.approx(right)
    assert model.y.shape == (6, 3)


def test_classifier_without_a_reporter_and_with_other_functions():
    class TwoInputs(Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.l1 = Linear(2, 1)

        def forward(self, a, b):
            return self.l1(a) + b

    model = Classifier(TwoInputs(), lossfun=F.mse, accfun=None)
    loss = model(torch.ones(3, 2), torch.ones(3, 1), torch.zeros(3, 1))
    assert loss.shape == ()
    assert model.accuracy is None
    with pytest.raises(ValueError, match="last the labels"):
        model(torch.ones(3, 2))
    with pytest.raises(TypeError, match="predict of its own"):
        model.predict(torch.zeros(2, 2))


def test_a_classifier_can_be_copied_after_a_call():
    model = Classifier(MLP((4,), 3, in_size=5, generator=torch.Generator().manual_seed(0)))
    x, labels = torch.rand(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = model(x, labels)
    for twin in (model.copy("copy"), model.copy("share"), pickle.loads(pickle.dumps(model))):
        assert twin.loss is None
        assert float(twin(x, labels)) == float(loss)
        twin.loss.backward()
    assert model.loss is loss


def test_classifier_learns():
    data = load("mnist")
    images, labels = data.train.as_float(), data.train.labels
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:300]
    model = Classifier(MLP((32,), in_size=784, generator=torch.Generator().manual_seed(0)))
    optimizer = SGD(lr=0.2).setup(model)
    losses = [float(optimizer.update(model, images[chosen], labels[chosen])) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    predictions = model.predict(data.test)
    share = float((predictions.labels == data.test.labels).float().mean())
    assert share > 0.6
    assert share == pytest.approx(float(accuracy(model.predictor(data.test.as_float()), data.test.labels)), abs=1e-6)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_accuracy(library):
    logits = np.asarray([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]], np.float32)
    labels = np.asarray([1, 0, 0])
    if library == "torch":
        logits, labels = torch.tensor(logits), torch.tensor(labels)
    found = accuracy(logits, labels)
    assert found.shape == ()
    assert found.dtype == logits.dtype
    assert float(found) == pytest.approx(2 / 3)
    assert np.isnan(float(accuracy(logits[:0], labels[:0])))


@pytest.mark.parametrize(
    "logits, labels, error",
    [
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), ValueError),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64), ValueError),
        (torch.zeros(2, 3), torch.zeros(2), TypeError),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), TypeError),
    ],
)
def test_accuracy_refuses(logits, labels, error):
    with pytest.raises(error, match="accuracy"):
        accuracy(logits, labels)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


GREY = torch.linspace(0, 1, 24).reshape(2, 3, 4)
COLOUR = torch.linspace(0, 1, 72).reshape(2, 3, 3, 4)


@pytest.mark.parametrize(
    "images, n",
    [
        (GREY, 2), (GREY[:, None], 2), (GREY[0], 1), (GREY.double(), 2), (GREY.numpy(), 2), (Variable(GREY), 2),
        ([GREY[0], GREY[1].numpy()], 2), ((GREY[0, None],), 1), (GREY.half(), 2), (GREY > 0.5, 2),
        ((GREY * 255).to(torch.uint8), 2), ((GREY * 255).long(), 2),
        ((GREY.numpy() * 255).astype(np.uint16), 2), (GREY.numpy()[::-1, :, ::-1], 2),
    ],
)  # fmt: skip
def test_grey_pictures(images, n):
    model = Scores(1)
    predictions = model.predict(images)
    assert len(predictions) == n
    assert predictions.probabilities.shape == (n, 2)
    assert model.seen == [(n, 1, 3, 4)]
    assert torch.allclose(predictions.probabilities.sum(1), torch.ones(n, dtype=predictions.probabilities.dtype))


@pytest.mark.parametrize(
    "images, n",
    [(COLOUR, 2), (COLOUR[0], 1), ([COLOUR[0], COLOUR[1]], 2), (GREY[0], 1), (GREY[:, None], 2), (COLOUR.numpy(), 2)],
)
def test_colour_pictures(images, n):
    model = Scores(3)
    assert len(model.predict(images)) == n
    assert model.seen == [(n, 3, 3, 4)]


def test_bytes_and_fractions_are_one_picture():
    model = Scores(1)
    whole = torch.tensor([[0, 51], [255, 102]], dtype=torch.uint8)
    first, second = model.predict(whole), model.predict(whole.double() / 255)
    assert torch.allclose(first.probabilities, second.probabilities, atol=1e-7)


def test_pictures_of_pillow_and_of_the_datasets():
    image = pytest.importorskip("PIL.Image").fromarray(np.full((4, 5, 3), (255, 0, 51), np.uint8))
    model = Scores(3)
    logits = torch.tensor([1.0, 0.0, 0.2, 0.5])
    assert torch.allclose(model.predict(image).probabilities[0], torch.softmax(logits, 0), atol=1e-6)
    assert len(model.predict(photograph("coffee"))) == 1
    assert len(Scores(1).predict(image)) == 1
    data = load("mnist")
    assert len(Scores(1).predict(data.test[:7])) == 7


def test_pictures_of_pillow_with_more_than_a_byte_are_not_cut_off():
    image = pytest.importorskip("PIL.Image")
    levels = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    expected = Scores(1).predict(levels).probabilities
    assert torch.equal(Scores(1).predict(image.fromarray(levels)).probabilities, expected)
    for wide in (levels * 255, (levels * 65535).astype(np.uint16), (levels * 65535).astype(np.int32)):
        with pytest.raises(ValueError, match=r"to 255|from 0 to 1"):
            Scores(1).predict(image.fromarray(wide))
    assert Scores(3).predict(image.fromarray(levels)).labels.shape == (1,)


def test_one_of_the_predictions_and_each():
    predictions = Scores(1).predict(GREY)
    assert repr(predictions[-1]) == repr(predictions[1:])
    assert [len(one) for one in predictions] == [1, 1]
    with pytest.raises(IndexError):
        predictions[2]


def test_batches_give_what_the_whole_gives():
    model = Scores(1)
    pictures = torch.rand(7, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = model.predict(pictures)
    parts = model.predict(pictures, batch_size=3)
    assert torch.equal(whole.probabilities, parts.probabilities)
    assert model.seen[1:] == [(3, 1, 4, 4), (3, 1, 4, 4), (1, 1, 4, 4)]


@pytest.mark.parametrize(
    "channels, images, error, message",
    [
        (1, torch.full((2, 2), 200.0), ValueError, "0 to 255 as integers"),
        (1, torch.full((2, 2), float("nan")), ValueError, "from 0 to 1"),
        (1, torch.full((2, 2), -3), ValueError, "from 0 to 255"),
        (1, COLOUR, ValueError, "shape"),
        (1, torch.zeros(28, 28, 1), ValueError, "channels come first"),
        (1, torch.zeros(28, 28, 3), ValueError, "channels come first"),
        (1, torch.zeros(2, 28, 28, 3), ValueError, "channels come first"),
        (1, torch.zeros(4), ValueError, "shape"),
        (1, torch.zeros(0, 2, 2), ValueError, "at least one image"),
        (1, torch.zeros(2, 0, 2), ValueError, "shape"),
        (1, [], ValueError, "at least one image"),
        (1, [GREY], ValueError, "one image in each element"),
        (1, [torch.zeros(2, 2), torch.zeros(3, 2)], ValueError, "one size"),
        (1, "digits", TypeError, "an array"),
        (1, None, TypeError, "an array"),
        (1, torch.zeros(2, 2, dtype=torch.complex64), TypeError, "real numbers"),
        (3, torch.zeros(4, 5, 3), ValueError, "channels come first"),
        (3, torch.zeros(2, 4, 5, 3), ValueError, "channels come first"),
        (3, torch.zeros(2, 2, 4, 4), ValueError, "shape"),
    ],
)
def test_what_is_no_picture_is_refused(channels, images, error, message):
    with pytest.raises(error, match=message):
        Scores(channels).predict(images)


@pytest.mark.parametrize("size", [0, -1, True])
def test_batch_size(size):
    with pytest.raises(ValueError, match="batch_size"):
        Scores(1).predict(GREY, batch_size=size)


def test_predict_leaves_the_settings_and_the_link_alone():
    with default_arrays(dtype="float64"):
        model = MLP((4,), 3, in_size=12, generator=torch.Generator().manual_seed(0))
    assert model.predict(GREY).probabilities.dtype == torch.float64
    assert config.train
    assert config.enable_backprop
    assert all(parameter.grad is None for parameter in model.params())


def test_predictions_say_what_is_likeliest():
    probabilities = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    predictions = Predictions(probabilities.argmax(1), probabilities, ("ant", "bee, honeybee", "cat"))
    assert predictions.names == ("bee", "ant")
    assert [[guess.name for guess in guesses] for guesses in predictions.top(2)] == [["bee", "cat"], ["ant", "bee"]]
    assert predictions.top(1)[0][0].probability == pytest.approx(0.7)
    assert repr(predictions[:1]) == "Predictions(bee 0.70, cat 0.20, ant 0.10)"
    assert repr(predictions) == "Predictions(2 images: bee 0.70, ant 0.50)"
    assert predictions.to_dict()["labels"] == [1, 0]
    assert Predictions(predictions.labels, probabilities).names == ("1", "0")
    for k in (0, 4):
        with pytest.raises(ValueError, match="from 1 to 3"):
            predictions.top(k)
    with pytest.raises(AttributeError):
        predictions.labels = probabilities
