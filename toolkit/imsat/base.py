"""What the two estimators share: parameters, fitting, restarts and predictions."""

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
from toolkit.imsat.fitting import fitting_network, full_loss, given_radii, is_finite
from toolkit.imsat.models import SCALES, Initialization, network
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.parameters import check_choice, check_integer, check_number
from toolkit.imsat.perturbations import Perturbation, PerturbationLike, as_perturbation
from toolkit.imsat.randomness import draw_seeds, global_generators_kept
from toolkit.imsat.training import Information, Training, predict_logits

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class SelfAugmentedEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The part of :class:`IMSAT` and :class:`IMSATHash` that does not depend on what the outputs mean."""

    _outputs: str
    """The parameter that says how many outputs there are."""

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
            FloatingPointError: training left the finite numbers. After any error the estimator is as before.
        """
        with self._as_before_if_it_fails():
            going_on = self.network_ if self.warm_start and hasattr(self, "network_") else None
            inputs = self._points(X, ensure_min_samples=2, reset=going_on is None)
            self._check_parameters()
            if going_on is not None:
                self._check_structure()
            perturbations = self._perturbations()
            distances = self._radii(inputs, radii, perturbations)
            seeds = draw_seeds(type(self).__name__, self.random_state, self.n_init)
            best: tuple[float, Training, History] | None = None
            for restart, seed in enumerate(seeds):
                file = None if checkpoint is None else f"{os.fspath(checkpoint)}-{restart}"
                with global_generators_kept(inputs.device, seed):
                    generator = resolve_generator(seed=seed)
                    made = self._start(inputs, going_on, generator)
                    training = self._training(made, inputs, perturbations, generator)
                    training.radii = distances
                    # The second is what scikit-learn's names of the outputs count.
                    self.network_, self._n_features_out = training.network, self._n_outputs()
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
                    loss = full_loss(training, seed)
                if best is None or loss < best[0] or math.isnan(best[0]):
                    best = loss, training, history
                if history.interrupted:
                    break
            assert best is not None
            loss, training, kept = best
            if not is_finite(training.network, loss):
                raise FloatingPointError(self._not_finite(loss, kept.n_steps, inputs))
            self.loss_, self.network_ = loss, training.network
            self.history_ = replace(kept, interrupted=history.interrupted)
            self.n_iter_ = kept.n_steps
            self._structure_of_fit = self._structure()
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

    def _structure(self) -> tuple[nn.Module | None, tuple[int, ...], int]:
        """Return what the network's shape follows from: a module of the user's, or else hidden layers; the outputs."""
        return self.network, () if self.network is not None else self._sizes(), self._n_outputs()

    def _sizes(self) -> tuple[int, ...]:
        return tuple(int(units) for units in self.hidden)

    def _start(self, inputs: Tensor, going_on: nn.Module | None, generator: torch.Generator) -> nn.Module:
        given = self.network if going_on is None else going_on
        if given is None:
            given = network(
                inputs.shape[1],
                self._n_outputs(),
                hidden=self._sizes(),
                initialization=self.initialization,
                generator=generator,
                dtype=inputs.dtype,
            )
        return fitting_network(type(self).__name__, given, inputs, self._n_outputs())

    def _perturbations(self) -> tuple[Perturbation, ...]:
        given = self.perturbation
        several = given if isinstance(given, (list, tuple)) else [given]
        name = type(self).__name__
        return tuple(
            as_perturbation(name, one, self.alpha, self.epsilon, self.xi, self.power_iterations)
            for one in several
            if one is not None
        )

    def _radii(self, inputs: Tensor, radii: Any, perturbations: Sequence[Perturbation]) -> Tensor | None:
        if radii is not None:
            return given_radii(type(self).__name__, radii, inputs)
        if not any(perturbation.needs_radii for perturbation in perturbations):
            return None
        return neighbour_distances(inputs, min(self.n_neighbors, len(inputs) - 1), cache=self.cache)

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

    def _check_structure(self) -> None:
        """Refuse to go on with a network that is not the one now asked for."""
        name, (module, sizes, outputs) = type(self).__name__, self._structure()
        module_of_fit, sizes_of_fit, outputs_of_fit = getattr(self, "_structure_of_fit", (module, sizes, outputs))
        expected = "as in the fit that warm_start goes on from (or warm_start=False)"
        require(module is module_of_fit, name, "network", expected, "another one")
        require(sizes == sizes_of_fit, name, "hidden", f"{sizes_of_fit}, {expected}", sizes)
        require(outputs == outputs_of_fit, name, self._outputs, f"{outputs_of_fit}, {expected}", outputs)

    def _not_finite(self, loss: float, n_steps: int, inputs: Tensor) -> str:
        return (
            f"{type(self).__name__}.fit: infinite or NaN numbers after {n_steps} steps (loss {loss:.3g})\n"
            f"  features lie between {float(inputs.min()):.3g} and {float(inputs.max()):.3g}; scale them to about 1, or"
            f" try a lower learning_rate than {self.learning_rate:g}"
        )

    @contextmanager
    def _as_before_if_it_fails(self) -> Iterator[None]:
        """Leave everything of the last fit, or nothing, where this one fails: half of each could not predict."""
        earlier = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(earlier)
            raise

    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self, "network_")
        return predict_logits(self.network_, self._points(X, reset=False))

    def _n_outputs(self) -> int:
        return int(getattr(self, self._outputs))

    def _information(self, inputs: Tensor) -> Information:
        raise NotImplementedError

    def _finish(self, training: Training, inputs: Tensor) -> None:
        raise NotImplementedError


def warn_unconverged(message: str) -> None:
    """Warn as scikit-learn does."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.warn(message, ConvergenceWarning, stacklevel=4)
