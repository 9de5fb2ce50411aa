"""Hash codes from principal components, to compare learnt codes with: signs of the components, plain or rotated."""

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from toolkit.core.errors import reject, require

ROTATIONS = ("none", "itq")


class PCAHash(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Hash codes of the signs of principal components.

    The leading components carry most of the variance, so their bits say more than the others'. Iterative quantisation
    (ITQ: Gong and Lazebnik 2011, CVPR) turns the components so that the points lie close to the corners ±1: in turn it
    assigns each point its nearest corner and finds the rotation that brings the points closest to their corners (the
    orthogonal Procrustes problem). The error never rises; it reaches a local minimum that depends on the first
    rotation, which is random.

    Args:
        n_bits: bits of a code, at most the features and the points of the training data.
        rotation: ``"none"``, the components as they are, or ``"itq"``.
        n_iterations: most turns of the two steps; 50 in the paper. It ends sooner if no code changes.
        random_state: draws the first rotation: a seed, a ``numpy.random.RandomState``, or ``None`` for another one at
            each fit.

    Attributes:
        mean_: of the training points, ``[features]``.
        components_: directions whose signs are the bits, ``[n_bits, features]``, orthonormal.
        rotation_: of the principal components, ``[n_bits, n_bits]``: ``components_`` is its transpose times them.
        quantization_errors_: mean squared distance of the rotated points to their corners after each rotation,
            ``[n_iter_]``; empty without ITQ.
        n_iter_: turns that were needed; 0 without ITQ.
        n_features_in_: features of a point.
        feature_names_in_: their names, if the training points had any.
    """

    n_bits: int
    rotation: str
    n_iterations: int
    random_state: int | np.random.RandomState | None

    @no_type_check  # scikit-learn's rule: a constructor takes anything, and fit complains
    def __init__(
        self,
        n_bits: int = 16,
        *,
        rotation: str = "none",
        n_iterations: int = 50,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.rotation = rotation
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "PCAHash":
        """Find the directions.

        Args:
            X: points, ``[points, features]``, at least two.
            y: ignored.

        Returns:
            Itself.

        Raises:
            ValueError: bad points, or a parameter out of range.
            TypeError: a parameter of another type, or sparse points.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        self._check(X)
        self.mean_ = X.mean(0, dtype=np.float64)
        centred = X - self.mean_
        # The solver that needs only the features' covariance is many times faster for many points.
        solver = "covariance_eigh" if centred.shape[0] >= centred.shape[1] else "full"
        with np.errstate(invalid="ignore"):  # 0 / 0 in a share of the variance that is not used here
            components = PCA(self.n_bits, svd_solver=solver).fit(centred).components_
        errors: list[float] = []
        self.rotation_ = np.eye(self.n_bits)
        if self.rotation == "itq":
            self.rotation_, errors = self._quantize(centred @ components.T)
        self.quantization_errors_ = np.array(errors)
        self.n_iter_ = len(errors)
        self.components_ = self.rotation_.T @ components
        return self

    def transform(self, X: Any) -> Bool[np.ndarray, "points bits"]:
        """Return the codes of points.

        Args:
            X: points, ``[points, features]``.

        Returns:
            ``[points, n_bits]``: whether each point lies on the positive side, the boundary not included.

        Raises:
            ValueError: bad points, or as many features as were not fitted.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_) @ self.components_.T > 0

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check(self, X: np.ndarray) -> None:
        for name in ("n_bits", "n_iterations"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                reject("PCAHash", name, "an integer", repr(value), kind=TypeError)
            require(bool(value >= 1), "PCAHash", name, ">= 1", value)
        require(self.rotation in ROTATIONS, "PCAHash", "rotation", " or ".join(map(repr, ROTATIONS)), self.rotation)
        most = min(X.shape)
        expected = f"<= {most}, the lesser of n_samples = {X.shape[0]} and n_features = {X.shape[1]}"
        require(bool(self.n_bits <= most), "PCAHash", "n_bits", expected, self.n_bits)

    def _quantize(self, points: np.ndarray) -> tuple[np.ndarray, list[float]]:
        """Return the rotation of the projected points ``[points, n_bits]``, and the errors on the way."""
        # A new one, since scikit-learn's own default would draw from NumPy's global generator.
        random = np.random.RandomState() if self.random_state is None else check_random_state(self.random_state)
        rotation = np.ones((1, 1)) if self.n_bits == 1 else ortho_group.rvs(self.n_bits, random_state=random)
        corners, errors = None, []
        for _ in range(self.n_iterations):
            nearest = np.where(points @ rotation > 0, 1.0, -1.0)
            if corners is not None and (nearest == corners).all():
                break
            corners = nearest
            rotation, _ = orthogonal_procrustes(points, corners)
            errors.append(float(np.square(points @ rotation - corners).sum(1).mean()))
        return rotation, errors
