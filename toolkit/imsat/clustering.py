"""IMSAT as a scikit-learn clusterer, and regularised information maximisation as its case without perturbation."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClusterMixin
from torch import Tensor, nn

from toolkit.core.errors import reject, require
from toolkit.imsat.base import SelfAugmentedEstimator, warn_unconverged
from toolkit.imsat.models import Initialization
from toolkit.imsat.parameters import check_integer, check_number
from toolkit.imsat.perturbations import PerturbationLike
from toolkit.imsat.training import ClusterInformation, GrowingPenalty, Training, predict_logits


class IMSAT(ClusterMixin, SelfAugmentedEstimator):
    """Clusters from information maximisation and self-augmented training.

    A network p(y|x) is trained on ``R_SAT + λ (H(Y|X) − μ H(Y))``: predictions should be certain, clusters of equal
    size, and a point's prediction should survive the worst small step (VAT), a random one (RPT) or any augmentation.
    Without perturbation and with weight decay it is regularised information maximisation (:meth:`rim`).

    Hu, Miyato, Tokui, Matsumoto and Sugiyama (2017), "Learning discrete representations via information maximizing
    self-augmented training", arXiv 1702.08720. Defaults are those of the authors' code, apart from the scale of the
    first weights, and from δ and α of RPT, which it does not have: those are ours.

    Args:
        n_clusters: K.
        perturbation: ``"vat"``, ``"rpt"``, ``None``, a callable ``f(points, generator) -> points`` such as
            :class:`~toolkit.imsat.affine.AffineAugmentation`, a perturbation object, or several of them, whose costs
            add.
        lam: λ, weight of the information.
        mu: μ, weight of equal sizes; ``"penalty"``: 1, doubled after each pass over the data on which
            KL(p̄ ‖ q) > δ · H(q); a warm start goes on from the last μ.
        delta: δ, for ``mu="penalty"``.
        prior: q, expected shares or sizes of the clusters; default: equal.
        alpha: α, ε of a point in units of its distance to the k-th neighbour; default: 0.25 for VAT, 2 for RPT.
        epsilon: ε, the same for all points, instead of α.
        n_neighbors: k.
        xi: ξ of VAT, where the gradient is taken; 10 is for data whose neighbours are about 10 apart.
        power_iterations: of VAT.
        hidden: units of the hidden layers; ``()`` is linear.
        network: any module from points to K logits instead; it is copied, not changed.
        initialization: of the built network, see :func:`toolkit.imsat.models.network`. On all of MNIST
            four of five recorded runs with ``"official"`` found the digits, and two with ``"small"`` (lesson 05).
        weight_decay: times Σ‖W‖², added to the loss.
        learning_rate: of Adam.
        batch_size: points in a batch, much more than K; all if there are fewer.
        epochs: passes of ⌊points / batch_size⌋ steps.
        n_init: trainings from different starts; the one with the lowest loss on all data stays. No label is needed.
        warm_start: go on from the network of the last fit; ``hidden`` and ``network`` must be as they were there,
            ``initialization`` plays no part.
        random_state: seed; an integer makes results repeat.
        device: default: the best there is.
        dtype: ``"float32"`` or ``"float64"``.
        cache: folder for neighbour distances; default: none.

    Attributes:
        labels_: cluster of each training point.
        history_: loss and its parts at each step.
        loss_: of the kept network on all data.
        network_: the trained module.
        mu_: the last μ.
        n_iter_: steps.
        n_features_in_: features of a point.
    """

    _outputs = "n_clusters"

    def __init__(
        self,
        n_clusters: int = 10,
        *,
        perturbation: PerturbationLike | Sequence[PerturbationLike] = "vat",
        lam: float = 0.1,
        mu: float | str = 4.0,
        delta: float = 0.01,
        prior: Any = None,
        alpha: float | None = None,
        epsilon: float | None = None,
        n_neighbors: int = 10,
        xi: float = 10.0,
        power_iterations: int = 1,
        hidden: Sequence[int] = (1200, 1200),
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
        self.n_clusters = n_clusters
        self.perturbation = perturbation
        self.lam = lam
        self.mu = mu
        self.delta = delta
        self.prior = prior
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

    @classmethod
    def rim(cls, n_clusters: int = 10, *, weight_decay: float = 0.005, **parameters: Any) -> "IMSAT":
        """Return an estimator for regularised information maximisation: H(Y|X) − H(Y) + weight decay.

        Source: Gomes, Krause and Perona (2010); the weight decay is that of a public port to PyTorch.

        Args:
            n_clusters: K.
            weight_decay: times Σ‖W‖².
            **parameters: the others, ``hidden=()`` for linear RIM.

        Returns:
            An :class:`IMSAT` without perturbation, with λ = μ = 1.
        """
        chosen = {"perturbation": None, "lam": 1.0, "mu": 1.0, "weight_decay": weight_decay} | parameters
        return cls(n_clusters, **chosen)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return p(y|x) of each point.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            ``[n_points, n_clusters]``, rows add to 1.
        """
        return self._logits(X).softmax(1).cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable cluster of each point.

        Args:
            X: points, ``[n_points, n_features]``.

        Returns:
            Integers from 0 to K − 1.
        """
        return self._logits(X).argmax(1).cpu().numpy()

    def transform(self, X: Any) -> np.ndarray:
        """Return p(y|x), the soft assignment, as features for a next step of a pipeline."""
        return self.predict_proba(X)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_integer("IMSAT", "n_clusters", self.n_clusters, 1)
        if isinstance(self.mu, str):
            require(self.mu == "penalty", "IMSAT", "mu", "a finite number >= 0 or 'penalty'", repr(self.mu))
        else:
            check_number("IMSAT", "mu", self.mu)
        check_number("IMSAT", "delta", self.delta, positive=True)
        if self.prior is not None:
            self._shares()

    def _shares(self) -> np.ndarray:
        """Return the expected shares of the clusters."""
        expected = f"{self.n_clusters} finite shares > 0, one for each cluster (for fewer clusters lower n_clusters)"
        prior = self.prior.detach().cpu() if isinstance(self.prior, Tensor) else self.prior
        try:
            shares = np.asarray(prior, dtype=np.float64)
        except (TypeError, ValueError):
            reject("IMSAT", "prior", expected, repr(self.prior), kind=TypeError)
        fine = shares.shape == (self.n_clusters,) and bool((shares > 0).all() and np.isfinite(shares).all())
        require(fine, "IMSAT", "prior", expected, self.prior)
        return shares / shares.sum()

    def _information(self, inputs: Tensor) -> ClusterInformation:
        shares = None if self.prior is None else self._shares()
        if self.mu == "penalty":
            # In this form losses at different μ compare: without it a larger μ alone would lower them.
            shares = np.full(self.n_clusters, 1 / self.n_clusters) if shares is None else shares
        prior = None if shares is None else torch.tensor(shares, dtype=inputs.dtype, device=inputs.device)
        return ClusterInformation(1.0 if isinstance(self.mu, str) else float(self.mu), prior)

    def _training(self, *arguments: Any) -> Training:
        training = super()._training(*arguments)
        if self.mu == "penalty":
            assert isinstance(training.information, ClusterInformation)
            training.growing = GrowingPenalty(training.information, self.delta)
            if self.warm_start and hasattr(self, "mu_"):
                training.information.mu = max(1.0, self.mu_)
        return training

    def _finish(self, training: Training, inputs: Tensor) -> None:
        assert isinstance(training.information, ClusterInformation)
        logits = predict_logits(training.network, inputs)
        self.labels_ = logits.argmax(1).cpu().numpy()
        self.mu_ = training.information.mu
        if training.growing is not None and (excess := training.growing.excess(logits)) > 0:
            warn_unconverged(
                f"IMSAT: the clusters' sizes are {excess:.3g} nats further from the prior than delta = {self.delta:g} "
                f"allows; more epochs may help"
            )
