"""The studies by name. A study's module, and torch with it, is imported when the study is used."""

import difflib
import importlib
from dataclasses import dataclass

from toolkit.experiments.study import Study


@dataclass(frozen=True)
class Listing:
    """A line of the list of studies.

    Attributes:
        name: as on the command line.
        summary: one line.
        module: where it lives.
    """

    name: str
    summary: str
    module: str


_LISTINGS = (
    Listing(
        "mnist-mlp",
        "Chainer's MNIST example, trained by our engine and by torch side by side",
        "toolkit.experiments.mnist_mlp",
    ),
    Listing(
        "mnist-convnet",
        "Chainer's convolutional example on real digits, trained by our Trainer and by torch",
        "toolkit.experiments.mnist_convnet",
    ),
    Listing(
        "tape-designs",
        "What each decision in a tape's design costs, in microseconds an operation",
        "toolkit.experiments.tape_designs",
    ),
    Listing(
        "sbn",
        "Does less variance train better models? Sigmoid belief networks, one gradient estimator after another",
        "toolkit.experiments.sbn",
    ),
    Listing(
        "imsat-clustering",
        "Clusters without labels: k-means, information maximisation, and IMSAT with its perturbations",
        "toolkit.experiments.imsat_clustering",
    ),
    Listing(
        "imsat-hashing",
        "Can learned bits find similar images? Hash codes by IMSAT and by principal components",
        "toolkit.experiments.imsat_hashing",
    ),
    Listing(
        "adversarial-models",
        "Networks that attack and defend: training them, and how well each stands when the attacker knows it",
        "toolkit.experiments.adversarial_models",
    ),
    Listing(
        "adversarial-transfer",
        "Does what fools one network fool another? With and without momentum, from one network and from several",
        "toolkit.experiments.adversarial_transfer",
    ),
    Listing(
        "competition",
        "The adversarial competition in small: every attack meets every defence, three leaderboards, worst cases",
        "toolkit.experiments.adversarial_tournament",
    ),
    Listing(
        "adaptive-attacks",
        "What is left of praised defences when the attacker knows them: gradients through all of it, BPDA, EOT",
        "toolkit.experiments.adversarial_adaptive",
    ),
    Listing(
        "disentanglement",
        "What do codes know once, twice, or only together? Autoencoders and attacked codes, by every metric",
        "toolkit.experiments.disentanglement",
    ),
    Listing(
        "metadata-conditioning",
        "When does metadata help a language model, and when does it harm? Decoders beside the best predictor",
        "toolkit.experiments.metadata_conditioning",
    ),
)


class UnknownStudy(ValueError):
    """No study has this name."""


def studies() -> tuple[Listing, ...]:
    """Return all studies without importing them."""
    return _LISTINGS


def find_study(name: str) -> Study:
    """Return a study by name.

    Raises:
        UnknownStudy: there is none; the message names the nearest ones.
    """
    modules = {listing.name: listing.module for listing in _LISTINGS}
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(modules)}"
        raise UnknownStudy(f"unknown study {name!r}; {hint}")
    return importlib.import_module(modules[name]).STUDY
