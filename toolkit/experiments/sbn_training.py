"""Training of a sigmoid belief network with one estimator: the same start, images and batches for all of them."""

import hashlib
import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.batches import Minibatches
from toolkit.core.devices import draw_permutation, resolve_device, resolve_generator
from toolkit.datasets import load
from toolkit.estimators.bounds import evidence_lower_bound, importance_weighted_bound
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.models import SigmoidBeliefNetwork, draw_binary
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound
from toolkit.experiments.sbn_config import SbnConfig
from toolkit.experiments.sbn_methods import Learner, Method, Setting
from toolkit.experiments.sbn_variance import as_metrics, fixed_and_total


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for one purpose: other names and seeds give unrelated numbers, the same ones the same."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return resolve_generator(seed=int.from_bytes(digest[:8], "big") >> 1, device=device)


class Images:
    """Grey images, made binary with their pixels as probabilities: anew for training, once for testing.

    Args:
        settings: which data.
        device: where they go.
        dtype: of the images, and of the networks trained on them. In double precision a training is the same on every
            machine, to the digits a reader sees; in single precision a coin that falls otherwise changes it.

    Attributes:
        train: grey, ``[images, pixels]`` in [0, 1].
        test: binary, the same for every seed.
        train_binary: binary images of the training set, the same for every seed, to measure on: as many as there are
            in ``test``, and a batch at least.
        source: columns of a table that says which images these are.
    """

    def __init__(self, settings: SbnConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        data = load("mnist", variant=settings.images) if settings.data == "mnist" else load("digits")
        self.source = {
            "name": [data.name],
            "variant": [data.variant],
            "source": [data.source.partition(":")[0]],
            "description": [data.description],
        }
        self.train = data.train.as_float(dtype, device=device, flat=True)
        self.test = draw_binary(data.test.as_float(dtype, flat=True), stream(0, "test images")).to(device)
        shown = data.train.as_float(dtype, flat=True)
        count = max(len(self.test), settings.batch_size)
        chosen = draw_permutation(len(shown), generator=stream(0, "training images"))[:count]
        self.train_binary = draw_binary(shown[chosen], stream(0, "training pixels")).to(device)

    def fresh(self, batches: int, size: int, generator: torch.Generator) -> Float[Tensor, "batches size pixels"]:
        """Draw minibatches, each without an image twice, and make them binary."""
        size = min(size, len(self.train))
        index = torch.stack([draw_permutation(len(self.train), generator=generator)[:size] for _ in range(batches)])
        return draw_binary(self.train[index.to(self.train.device)], generator)


class SbnTraining:
    """A network, its optimiser and an estimator, step by step.

    Two trainings with one seed start from the same weights and see the same images in the same order, binarised alike,
    whatever their estimators draw.

    Args:
        settings: a configuration.
        method: how gradients are estimated.
        seed: of everything random.
        images: to share them between trainings; default: loaded anew.

    Attributes:
        model: the network.
        learner: the estimator with what it learns.
        images: the data.
        evaluations: of the cost an example so far, in the estimates that updates are made of; REBAR and RELAX take
            others to tune themselves, a tenth as many, which only ``seconds`` know of.
        seconds: of training so far: the process's CPU time on a CPU (trainings side by side go into processes of their
            own, as joblib's do unless it is told to take threads), else time until the device was done.
    """

    def __init__(self, settings: SbnConfig, method: Method, seed: int, *, images: Images | None = None) -> None:
        settings = settings.complete()
        assert settings.learning_rate is not None, "a complete configuration"
        self.settings, self.seed = settings, seed
        self.device = resolve_device(settings.device)
        self.images = Images(settings, self.device) if images is None else images
        self.model = SigmoidBeliefNetwork(
            settings.layer_sizes,
            hidden=2 if settings.nonlinear else None,
            generator=stream(seed, "weights"),
            device=self.device,
            dtype=self.images.train.dtype,
        )
        self.model.set_mean(self.images.train)
        self.learner = self.new_learner(method)
        rate, decay = settings.learning_rate, settings.weight_decay
        parameters = self.model.parameters()
        self.optimizer: torch.optim.Optimizer
        if settings.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
        else:
            self.optimizer = torch.optim.RMSprop(parameters, lr=rate, alpha=0.99, eps=1e-8, weight_decay=decay)
        # On the device: a draw for each alternative of each example would not fit through the bus at every step.
        self.noise = stream(seed, "noise", self.device)
        self._pixels = stream(seed, "pixels", self.device)
        self._orders = stream(seed, "orders")
        self._batches = Minibatches(
            len(self.images.train), min(settings.batch_size, len(self.images.train)), generator=self._orders
        )
        self._spent = torch.zeros(2, dtype=torch.float64)

    @property
    def evaluations(self) -> float:
        """Evaluations of the cost an example so far."""
        return float(self._spent[0])

    @property
    def seconds(self) -> float:
        """Time of training so far, evaluation left out."""
        return float(self._spent[1])

    def state(self) -> dict[str, Any]:
        """Return all that changes from step to step, by name, for :func:`toolkit.core.training.train`."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "learner": self.learner,
            "noise": self.noise,
            "pixels": self._pixels,
            "orders": self._orders,
            "batches": self._batches,
            "spent": self._spent,
        }

    def new_learner(self, method: Method) -> Learner:
        """Return an estimator at its start."""
        settings = self.settings
        assert settings.learning_rate is not None, "a complete configuration"
        problem = SigmoidBeliefBound(self.model, self.images.test[:1], entropy=method.entropy_for(settings.entropy))
        return Learner(method, Setting(settings.learning_rate, stream(self.seed, f"{method.name} learns"), problem))

    def problem(self, images: Float[Tensor, "batch pixels"], learner: Learner | None = None) -> SigmoidBeliefBound:
        """Return the bound of images in the form that a learner (default: the training's own) is given."""
        learner = self.learner if learner is None else learner
        return SigmoidBeliefBound(self.model, images, entropy=learner.method.entropy_for(self.settings.entropy))

    def next_images(self) -> Float[Tensor, "batch pixels"]:
        """Return the next minibatch, binary."""
        return draw_binary(self.images.train[self._batches.next(self.device)], self._pixels)

    def step(self, index: int) -> None:
        """Do one update."""
        self.step_on(self.next_images())

    def step_on(self, images: Float[Tensor, "batch pixels"]) -> None:
        """Do one update on these images."""
        started = self._clock()
        problem = self.problem(images)
        samples = self.learner.estimator(problem, self.settings.n_samples, self.noise)
        self.optimizer.zero_grad()
        (-surrogate(problem, samples) / len(images)).backward()
        self.optimizer.step()
        self.learner.observe(problem, samples)
        self._spent += torch.tensor([samples.evaluations * samples.n_samples, self._clock() - started])

    def evaluate(self, done: int) -> dict[str, float]:
        """Return bounds on the same binary images, with the same noise at every call, and what was spent so far."""
        if self.device.type == "cuda":
            waited = self._clock()
            torch.cuda.synchronize(self.device)
            self._spent[1] += self._clock() - waited
        test, train = (self._bound(images) for images in (self.images.test, self.images.train_binary))
        weighted = self.importance_weighted(self.settings.curve_samples)
        return {
            "test bound": test,
            "training bound": train,
            "importance-weighted bound": weighted,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
        }

    def _bound(self, images: Float[Tensor, "images pixels"]) -> float:
        generator = stream(self.seed, "bound", self.device)
        # Sampled: log p and log q vary together, so that their difference takes fewer samples than entropies would.
        found = evidence_lower_bound(self.model, images, self.settings.bound_samples, generator, entropy="sampled")
        return found.mean

    def importance_weighted(self, n_samples: int) -> float:
        """Return the importance-weighted bound on the test images."""
        generator = stream(self.seed, "weighted bound", self.device)
        return importance_weighted_bound(self.model, self.images.test, n_samples, generator).mean

    def variances(self, done: int, learner: Learner | None = None, repeats: int | None = None) -> dict[str, float]:
        """Measure variances of the inference network's gradient at the present parameters.

        Args:
            done: finished steps: other steps have other minibatches and noise, every estimator the same.
            learner: default: the training's own.
            repeats: default: the configuration's.

        Returns:
            ``"fixed variance"``, ``"total variance"``, those of the layers and their standard errors.
        """
        learner = self.learner if learner is None else learner
        repeats = self.settings.variance_repeats if repeats is None else repeats
        generator = stream(self.seed, f"variance {done}", self.device)
        batches = self.images.fresh(repeats, self.settings.batch_size, generator)
        found = fixed_and_total(
            self.model,
            learner.estimator,
            self.images.train_binary[: batches.shape[1]],
            batches,
            generator,
            entropy=learner.method.entropy_for(self.settings.entropy),
            n_samples=self.settings.n_samples,
        )
        return as_metrics(found)

    def _clock(self) -> float:
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()
