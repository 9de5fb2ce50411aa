"""IMSAT for hash codes, as a scikit-learn transformer."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from toolkit.core.errors import require
from toolkit.imsat.base import SelfAugmentedEstimator
from toolkit.imsat.models import Initialization
from toolkit.imsat.parameters import check_integer, check_number
from toolkit.imsat.perturbations import PerturbationLike
from toolkit.imsat.training import HashInformation, Training, predict_logits

_INTEGER_BITS = 62


class IMSATHash(SelfAugmentedEstimator):
    """Hash codes of D bits from information maximisation and self-augmented training.

    A network gives each bit's probability; it is trained on ``R_SAT − λ (Σ_d I(Y_d;X) − c Σ_{d<d′} I(Y_d;Y_d′))``, the
    information of the bits to second order, so that similar points get codes that differ in few bits.

    Hu, Miyato, Tokui, Matsumoto and Sugiyama (2017), arXiv 1702.08720. Defaults are those of the authors' code, apart
    from the scale of the first weights and α of RPT, which it does not have.

    Args:
        n_bits: D.
        pair_weight: c; 1 is the expansion, 2 the authors' code, which counts each pair twice.
        perturbation, lam, alpha, epsilon, n_neighbors, xi, power_iterations, hidden, network, initialization,
            weight_decay, learning_rate, batch_size, epochs, n_init, warm_start, random_state, device, dtype, cache: as
            in :class:`~toolkit.imsat.clustering.IMSAT`.

    Attributes:
        labels_: code of each training point as an integer, the first bit the highest; for at most 62 bits.
        history_: loss and its parts at each step.
        loss_: of the kept network on all data.
        network_: the trained module.
        n_iter_: steps.
        n_features_in_: features of a point.
    """

    _outputs = "n_bits"

    def __init__(
        self,
        n_bits: int = 16,
        *,
        pair_weight: float = 2.0,
        perturbation: PerturbationLike | Sequence[PerturbationLike] = "vat",
        lam: float = 0.1,
        alpha: float | None = None,
        epsilon: float | None = None,
        n_neighbors: int = 10,
        xi: float = 10.0,
        power_iterations: int = 1,
        hidden: Sequence[int] = (400, 400),
        network: nn.Module | None = None,
        initialization: Initialization = "small",
        weight_decay: float = 0.0,
        learning_rate: float = 2e-3,
        batch_size: int = 250,
        epochs: int = 50,
        n_init: int = 1,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: str | None = None,
        dtype: str = "float32",
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.pair_weight = pair_weight
        self.perturbation = perturbation
        self.lam = lam
        self.alpha = alpha
        self.epsilon = epsilon
        self.n_neighbors = n_neighbors
        self.xi = xi
        self.power_iterations = power_iterations
        self.hidden = hidden
        self.network = network
        self.initialization = initialization
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.n_init = n_init
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.cache = cache

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability that a bit is 1.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            ``[n_points, n_bits]``.
        """
        return self._logits(X).sigmoid().cpu().numpy()

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes: a bit is 1 where its probability is above one half.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            ``[n_points, n_bits]`` of 0 and 1, uint8.
        """
        return (self._logits(X) > 0).cpu().numpy().astype(np.uint8)

    def predict(self, X: Any) -> np.ndarray:
        """Return the codes as integers, the first bit the highest.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            int64, one a point.

        Raises:
            ValueError: more than 62 bits; :meth:`transform` has no such limit.
        """
        logits = self._logits(X)
        _check_integers("predict", logits.shape[1])
        return _as_integers(logits)

    def fit_predict(self, X: Any, y: Any = None, **parameters: Any) -> np.ndarray:
        """Fit, with the parameters of :meth:`fit`, and return the codes of the training points as integers.

        Raises:
            ValueError: as :meth:`fit`, or more than 62 bits, which is found before training.
        """
        check_integer("IMSATHash", "n_bits", self.n_bits, 1)
        _check_integers("fit_predict", self.n_bits)
        self.fit(X, y, **parameters)
        return self.labels_

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("IMSATHash", "n_bits", self.n_bits, 1)
        check_number("IMSATHash", "pair_weight", self.pair_weight)

    def _information(self, inputs: Tensor) -> HashInformation:
        return HashInformation(float(self.pair_weight))

    def _finish(self, training: Training, inputs: Tensor) -> None:
        if self.n_bits <= _INTEGER_BITS:
            self.labels_ = _as_integers(predict_logits(training.network, inputs))
        elif hasattr(self, "labels_"):
            del self.labels_  # of an earlier fit with fewer bits


def _check_integers(method: str, n_bits: int) -> None:
    expected = f"<= {_INTEGER_BITS} for codes as integers; transform gives any number of bits"
    require(n_bits <= _INTEGER_BITS, f"IMSATHash.{method}", "n_bits", expected, n_bits)


def _as_integers(logits: Tensor) -> np.ndarray:
    bits = (logits > 0).long()
    places = 2 ** np.arange(bits.shape[1] - 1, -1, -1, dtype=np.int64)
    return bits.cpu().numpy() @ places
