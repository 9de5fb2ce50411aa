"""What the two estimators share: parameters, fitting, restarts and predictions."""

import copy
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History
from toolkit.imsat.configuration import fit_configuration
from toolkit.imsat.models import SCALES, Initialization, network, squared_weights
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.parameters import check_choice, check_integer, check_number
from toolkit.imsat.perturbations import (
    Augmentation,
    Perturbation,
    RandomPerturbation,
    VirtualAdversarial,
)
from toolkit.imsat.randomness import draw_seeds, global_generators_kept
from toolkit.imsat.training import Information, Training, predict_logits, self_augmented_loss

PerturbationLike = Perturbation | Callable[[Tensor, torch.Generator], Tensor] | str | None
_ALPHA = {"vat": 0.25, "rpt": 2.0}
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class SelfAugmentedEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
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
    network_: nn.Module

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
            X: the points, ``[n_points, n_features]``; scale them as the perturbation expects (ξ = 10 is meant for
                pixels from −1 to 1).
            y: not used.
            radii: distance of each point to its k-th neighbour, if they are known; default: computed when needed.
            checkpoint: a file to go on from after an interruption; each start adds its number to the name.
            evaluate: called with the number of finished steps; what it returns joins ``history_``. It may use the
                estimator, which predicts with the network as it is then.
            evaluate_every: in steps; default: after the last one.
            stop: set from another thread to stop after the running step.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: bad parameters or points.
            CheckpointError: the checkpoint is broken, or of other parameters, points or longer training.
            FloatingPointError: training left the finite numbers. After any error the network is that of the last fit.
        """
        going_on = self.network_ if self.warm_start and hasattr(self, "network_") else None
        inputs = self._points(X, ensure_min_samples=2, reset=going_on is None)
        self._check_parameters()
        perturbations = self._perturbations()
        distances = self._radii(inputs, radii, perturbations)
        seeds = draw_seeds(type(self).__name__, self.random_state, self.n_init)
        best: tuple[float, Training, History] | None = None
        with self._network_put_back():
            for restart, seed in enumerate(seeds):
                file = None if checkpoint is None else f"{os.fspath(checkpoint)}-{restart}"
                with global_generators_kept(inputs.device, seed):
                    generator = resolve_generator(seed=seed)
                    made = self._network(inputs, going_on, generator)
                    training = self._training(made, inputs, perturbations, generator)
                    training.radii = distances
                    self.network_ = training.network
                    config = None if file is None else fit_configuration(self.get_params(False), inputs, going_on, file)
                    history = training.run(
                        self.epochs * training.per_epoch,
                        checkpoint=file,
                        config=config,
                        evaluate=evaluate,
                        evaluate_every=evaluate_every,
                        stop=stop,
                        description=type(self).__name__
                        if self.n_init == 1
                        else f"start {restart + 1} of {self.n_init}",
                    )
                    loss = self._full_loss(training, seed)
                if best is None or loss < best[0] or math.isnan(best[0]):
                    best = loss, training, history
                if history.interrupted:
                    break
            assert best is not None
            loss, training, kept = best
            self._check_finite(training.network, loss, kept.n_steps, inputs)
        self.loss_, self.network_ = loss, training.network
        self.history_ = replace(kept, interrupted=history.interrupted)
        self.n_iter_ = kept.n_steps
        self._finish(training, inputs)
        return self

    def logits(self, X: Any) -> np.ndarray:
        """Return the network's outputs, before softmax or sigmoid, in evaluation mode.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            ``[n_points, n_outputs]``.
        """
        return self._logits(X).cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        """What scikit-learn's names of the outputs count."""
        return self._n_outputs()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = []
        return tags

    def _points(self, X: Any, **checks: Any) -> Float[Tensor, "points features"]:
        """Return the points as a tensor where the network is, or will be."""
        if isinstance(X, Tensor):
            X = X.detach().to("cpu", torch.float64 if X.dtype == torch.bfloat16 else None).numpy()
        X = validate_data(self, X, dtype=[np.float64, np.float32], **checks)
        if "ensure_min_samples" in checks:
            check_choice(type(self).__name__, "dtype", self.dtype, _DTYPES)
            dtype, device = _DTYPES[self.dtype], resolve_device(self.device)
        else:
            like = next(self.network_.parameters())
            dtype, device = like.dtype, like.device
        points = torch.tensor(X, dtype=dtype, device=device)
        if not points.isfinite().all():
            expected = f"numbers up to {torch.finfo(dtype).max:.3g}, the largest of {dtype}"
            reject(type(self).__name__, "X", expected, f"up to {np.abs(X).max():.3g}")
        return points

    def _training(
        self, network: nn.Module, inputs: Tensor, perturbations: Sequence[Perturbation], generator: torch.Generator
    ) -> Training:
        return Training(
            network=network,
            inputs=inputs,
            information=self._information(inputs),
            perturbations=perturbations,
            generator=generator,
            lam=self.lam,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
        )

    def _network(self, inputs: Tensor, going_on: nn.Module | None, generator: torch.Generator) -> nn.Module:
        n_outputs = self._n_outputs()
        name = type(self).__name__
        given = self.network if going_on is None else going_on
        if given is None:
            sizes = tuple(int(units) for units in self.hidden)
            made: nn.Module = network(
                inputs.shape[1],
                n_outputs,
                hidden=sizes,
                initialization=self.initialization,
                generator=generator,
                dtype=inputs.dtype,
            )
        else:
            made = copy.deepcopy(given)
        made = made.to(device=inputs.device, dtype=inputs.dtype)
        try:
            logits = predict_logits(made, inputs[:2])
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            reject(name, "network", f"a module that takes {inputs.shape[1]} features and gives logits", problem)
        expected = f"a module with {n_outputs} outputs for a point"
        require(logits.shape == (2, n_outputs), name, "network", expected, tuple(logits.shape[1:]))
        trained = any(parameter.requires_grad for parameter in made.parameters())
        require(trained, name, "network", "a module with parameters to train", "none that requires a gradient")
        return made

    def _perturbations(self) -> tuple[Perturbation, ...]:
        several = self.perturbation if isinstance(self.perturbation, (list, tuple)) else [self.perturbation]
        return tuple(self._perturbation(one) for one in several if one is not None)

    def _perturbation(self, one: Any) -> Perturbation:
        name = type(self).__name__
        if isinstance(one, str):
            require(one in _ALPHA, name, "perturbation", "'vat', 'rpt', None or a callable", repr(one))
            alpha = _ALPHA[one] if self.alpha is None else self.alpha
            if one == "rpt":
                return RandomPerturbation(alpha, self.epsilon)
            return VirtualAdversarial(alpha, self.epsilon, self.xi, self.power_iterations)
        if not callable(one) or isinstance(one, type):
            reject(name, "perturbation", "'vat', 'rpt', None or a callable", repr(one), kind=TypeError)
        return one if hasattr(one, "needs_radii") else Augmentation(one)

    def _radii(self, inputs: Tensor, radii: Any, perturbations: Sequence[Perturbation]) -> Tensor | None:
        if radii is not None:
            expected = f"one distance >= 0 for each of the {len(inputs)} points"
            try:
                given = torch.as_tensor(
                    radii if isinstance(radii, Tensor) else np.asarray(radii, dtype=np.float64),
                    dtype=inputs.dtype,
                    device=inputs.device,
                ).detach()
            except (TypeError, ValueError):
                reject(type(self).__name__, "radii", expected, type(radii).__name__, kind=TypeError)
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
            decay = training.weight_decay * float(squared_weights(training.network)) if training.weight_decay else 0.0
        return changed + training.lam * float(information.loss) + decay

    def _check_parameters(self) -> None:
        name = type(self).__name__
        least = {"n_neighbors": 1, "power_iterations": 1, "batch_size": 2, "epochs": 1, "n_init": 1}
        for parameter, smallest in least.items():
            check_integer(name, parameter, getattr(self, parameter), smallest)
        for parameter in ("lam", "weight_decay"):
            check_number(name, parameter, getattr(self, parameter))
        for parameter in ("alpha", "epsilon"):
            check_number(name, parameter, getattr(self, parameter), optional=True)
        for parameter in ("xi", "learning_rate"):
            check_number(name, parameter, getattr(self, parameter), positive=True)
        if not (self.network is None or isinstance(self.network, nn.Module)):
            reject(name, "network", "a torch.nn.Module or None", type(self.network).__name__, kind=TypeError)
        if not (self.cache is None or isinstance(self.cache, (str, os.PathLike))):
            reject(name, "cache", "a folder or None", repr(self.cache), kind=TypeError)
        if self.network is None:
            check_choice(name, "initialization", self.initialization, SCALES)
            if isinstance(self.hidden, str) or not isinstance(self.hidden, Iterable):
                reject(
                    name, "hidden", "units of each hidden layer, such as (400, 400)", repr(self.hidden), kind=TypeError
                )
            for units in self.hidden:
                check_integer(name, "hidden", units, 1)

    @contextmanager
    def _network_put_back(self) -> Iterator[None]:
        """Leave the network of the last fit, or none, where this one fails: predictions would come from half a fit."""
        earlier = getattr(self, "network_", None)
        try:
            yield
        except BaseException:
            if earlier is not None:
                self.network_ = earlier
            elif hasattr(self, "network_"):
                del self.network_
            raise

    def _check_finite(self, network: nn.Module, loss: float, n_steps: int, inputs: Tensor) -> None:
        # Infinite running variances make every prediction the same without making the loss infinite.
        tensors = [*network.parameters(), *network.buffers()]
        if math.isfinite(loss) and all(bool(tensor.isfinite().all()) for tensor in tensors):
            return
        raise FloatingPointError(
            f"{type(self).__name__}.fit: infinite or NaN numbers after {n_steps} steps (loss {loss:.3g})\n"
            f"  features lie between {float(inputs.min()):.3g} and {float(inputs.max()):.3g}; scale them to about 1, or"
            f" try a lower learning_rate than {self.learning_rate:g}"
        )

    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self, "network_")
        return predict_logits(self.network_, self._points(X, reset=False))

    def _n_outputs(self) -> int:
        raise NotImplementedError

    def _information(self, inputs: Tensor) -> Information:
        raise NotImplementedError

    def _finish(self, training: Training, inputs: Tensor) -> None:
        raise NotImplementedError


def warn_unconverged(message: str) -> None:
    """Warn as scikit-learn does."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(message, ConvergenceWarning, stacklevel=4)
