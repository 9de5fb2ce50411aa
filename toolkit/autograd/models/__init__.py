"""Classifiers of pictures that are ready to train or to ask (the paper's computer-vision add-on, in small).

``simple`` holds the networks of Chainer's examples, ``residual`` and ``vgg`` small versions of two famous ones,
``efficientnet_lite`` one with trained weights. All answer ``predict`` (``classifier``) in the same form
(``predictions``), and ``Classifier`` adds loss and accuracy for training.
"""

from toolkit.autograd.models.classifier import Classifier, ImageClassifier, accuracy
from toolkit.autograd.models.efficientnet_lite import EfficientNetLite
from toolkit.autograd.models.predictions import Guess, Predictions
from toolkit.autograd.models.residual import ResidualBlock, ResNet
from toolkit.autograd.models.simple import MLP, ConvNet
from toolkit.autograd.models.vgg import VGG

__all__ = [
    "MLP",
    "VGG",
    "Classifier",
    "ConvNet",
    "EfficientNetLite",
    "Guess",
    "ImageClassifier",
    "Predictions",
    "ResNet",
    "ResidualBlock",
    "accuracy",
]
