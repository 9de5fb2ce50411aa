"""What the two estimators share: parameters, fitting, restarts and predictions."""

import copy
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History
from toolkit.imsat.models import Initialization, network
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.perturbations import (
    Augmentation,
    Perturbation,
    RandomPerturbation,
    VirtualAdversarial,
)
from toolkit.imsat.training import Information, Training, predict_logits, self_augmented_loss

PerturbationLike = Perturbation | Callable[[Tensor, torch.Generator], Tensor] | str | None
_ALPHA = {"vat": 0.25, "rpt": 2.0}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class SelfAugmentedEstimator(BaseEstimator):
    """The part of :class:`IMSAT` and :class:`IMSATHash` that does not depend on what the outputs mean."""

    # Set by the subclasses' constructors, which scikit-learn wants to spell out every parameter.
    perturbation: PerturbationLike | Sequence[PerturbationLike]
    lam: float
    alpha: float | None
    epsilon: float | None
    n_neighbors: int
    xi: float
    power_iterations: int
    hidden: Sequence[int]
    network: nn.Module | None
    initialization: Initialization
    weight_decay: float
    learning_rate: float
    batch_size: int
    epochs: int
    n_init: int
    warm_start: bool
    random_state: int | np.random.RandomState | None
    device: str | None
    dtype: str
    cache: str | os.PathLike[str] | None

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        radii: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        evaluate: Callable[[int], Mapping[str, Any] | None] | None = None,
        evaluate_every: int | None = None,
        stop: threading.Event | None = None,
    ) -> "SelfAugmentedEstimator":
        """Train the network on points without labels.

        Args:
            X: the points, ``[n_points, n_features]``; scale them as the perturbation expects (the paper's ξ = 10 is
                meant for pixels from −1 to 1).
            y: not used.
            radii: distance of each point to its k-th neighbour, if they are known; default: computed when needed.
            checkpoint: a file to go on from after an interruption.
            evaluate: called with the number of finished steps; what it returns joins ``history_``. It may use the
                estimator, which predicts with the network as it is then.
            evaluate_every: in steps; default: after the last one.
            stop: set from another thread to stop after the running step.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: bad parameters or points.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2, reset=not self._goes_on())
        self._check_parameters()
        device = resolve_device(self.device)
        inputs = torch.as_tensor(X, dtype=_DTYPES[self.dtype], device=device)
        perturbations = self._perturbations()
        distances = self._radii(inputs, radii, perturbations)
        random = check_random_state(self.random_state)
        best: float | None = None
        kept: tuple[nn.Module, History, Training] | None = None
        for restart in range(self.n_init):
            seed = int(random.randint(np.iinfo(np.int32).max))
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed)  # for layers that draw from the global generator, such as dropout
                training = self._training(inputs, perturbations, distances, resolve_generator(seed=seed))
                self.network_ = training.network
                history = training.run(
                    self.epochs * training.per_epoch,
                    checkpoint=None if checkpoint is None else f"{os.fspath(checkpoint)}-{restart}",
                    evaluate=evaluate,
                    evaluate_every=evaluate_every,
                    stop=stop,
                    description=type(self).__name__ if self.n_init == 1 else f"start {restart + 1} of {self.n_init}",
                )
                loss = self._full_loss(training, seed)
            if kept is None or best is None or loss < best:
                best, kept = loss, (training.network, history, training)
            if history.interrupted:
                break
        assert kept is not None and best is not None
        self.network_, self.history_, self.loss_ = kept[0], kept[1], best
        self.n_iter_ = self.history_.n_steps
        self._finish(kept[2], inputs)
        return self

    def logits(self, X: Any) -> np.ndarray:
        """Return the network's outputs, before softmax or sigmoid, in evaluation mode.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            ``[n_points, n_outputs]``.
        """
        return self._logits(X).cpu().numpy()

    def _goes_on(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "network_")

    def _training(
        self, inputs: Tensor, perturbations: Sequence[Perturbation], radii: Tensor | None, generator: torch.Generator
    ) -> Training:
        return Training(
            network=self._network(inputs, generator),
            inputs=inputs,
            information=self._information(inputs),
            perturbations=perturbations,
            generator=generator,
            lam=self.lam,
            weight_decay=self.weight_decay,
            radii=radii,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _network(self, inputs: Tensor, generator: torch.Generator) -> nn.Module:
        n_outputs = self._n_outputs()
        if self._goes_on():
            made = copy.deepcopy(self.network_)
        elif self.network is not None:
            made = copy.deepcopy(self.network)
        else:
            sizes = tuple(self.hidden)
            made = network(
                inputs.shape[1], n_outputs, hidden=sizes, initialization=self.initialization, generator=generator
            )
        made = made.to(device=inputs.device, dtype=inputs.dtype)
        try:
            logits = predict_logits(made, inputs[:2])
        except RuntimeError as error:
            expected = f"a module that takes {inputs.shape[1]} features"
            reject(type(self).__name__, "network", expected, str(error).splitlines()[0])
        expected = f"a module with {n_outputs} outputs for a point"
        require(logits.shape == (2, n_outputs), type(self).__name__, "network", expected, tuple(logits.shape[1:]))
        return made

    def _perturbations(self) -> tuple[Perturbation, ...]:
        several = isinstance(self.perturbation, (list, tuple))
        return tuple(self._perturbation(one) for one in (self.perturbation if several else [self.perturbation]) if one)  # type: ignore[union-attr]

    def _perturbation(self, one: Any) -> Perturbation:
        name = type(self).__name__
        if isinstance(one, str):
            require(one in _ALPHA, name, "perturbation", "'vat', 'rpt', None or a callable", repr(one))
            alpha = _ALPHA[one] if self.alpha is None else self.alpha
            if one == "rpt":
                return RandomPerturbation(alpha, self.epsilon)
            return VirtualAdversarial(alpha, self.epsilon, self.xi, self.power_iterations)
        if not callable(one):
            reject(name, "perturbation", "'vat', 'rpt', None or a callable", repr(one), kind=TypeError)
        return one if hasattr(one, "needs_radii") else Augmentation(one)

    def _radii(self, inputs: Tensor, radii: Any, perturbations: Sequence[Perturbation]) -> Tensor | None:
        if radii is not None:
            given = torch.as_tensor(np.asarray(radii), dtype=inputs.dtype, device=inputs.device)
            expected = f"one distance >= 0 for each of the {len(inputs)} points"
            require(given.shape == (len(inputs),), type(self).__name__, "radii", expected, tuple(given.shape))
            fine = bool((given >= 0).all() and given.isfinite().all())
            require(fine, type(self).__name__, "radii", expected, "negative, infinite or NaN ones")
            return given
        if not any(perturbation.needs_radii for perturbation in perturbations):
            return None
        return neighbour_distances(inputs, min(self.n_neighbors, len(inputs) - 1), cache=self.cache)

    def _full_loss(self, training: Training, seed: int) -> float:
        """Return the loss on all data in evaluation mode, for the choice among restarts: no label is needed."""
        generator = resolve_generator(seed=seed)
        training.network.eval()
        n = len(training.inputs)
        changed = 0.0
        for chosen in torch.arange(n, device=training.inputs.device).split(4096):
            terms = self_augmented_loss(
                training.network,
                training.inputs[chosen],
                training.information,
                training.perturbations,
                generator=generator,
                radii=None if training.radii is None else training.radii[chosen],
            )
            changed += float(terms.parts["self-augmentation"]) * len(chosen) / n
        with torch.no_grad():
            information = training.information(predict_logits(training.network, training.inputs))
        return changed + training.lam * float(information.loss)

    def _check_parameters(self) -> None:
        name = type(self).__name__
        least = {"n_neighbors": 1, "power_iterations": 1, "batch_size": 2, "epochs": 1, "n_init": 1}
        for parameter, smallest in least.items():
            value = getattr(self, parameter)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                reject(name, parameter, f"an integer >= {smallest}", repr(value), kind=TypeError)
            require(bool(value >= smallest), name, parameter, f">= {smallest}", value)
        for parameter in ("lam", "weight_decay"):
            require(
                0 <= getattr(self, parameter) < np.inf, name, parameter, ">= 0 and finite", getattr(self, parameter)
            )
        require(0 < self.learning_rate < np.inf, name, "learning_rate", "> 0 and finite", self.learning_rate)
        require(self.dtype in _DTYPES, name, "dtype", " or ".join(_DTYPES), repr(self.dtype))
        if not (self.network is None or isinstance(self.network, nn.Module)):
            reject(name, "network", "a torch.nn.Module or None", type(self.network).__name__, kind=TypeError)

    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        like = next(self.network_.parameters())
        return predict_logits(self.network_, torch.as_tensor(X, dtype=like.dtype, device=like.device))

    def _n_outputs(self) -> int:
        raise NotImplementedError

    def _information(self, inputs: Tensor) -> Information:
        raise NotImplementedError

    def _finish(self, training: Training, inputs: Tensor) -> None:
        raise NotImplementedError


def warn_unconverged(message: str) -> None:
    """Warn as scikit-learn does."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(message, ConvergenceWarning, stacklevel=3)
