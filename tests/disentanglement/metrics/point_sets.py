"""Points with factors that several tests of metrics score."""

import numpy as np
import torch

from toolkit.disentanglement.codes import PointCodes

SIZES = (3, 4, 5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_points(n=600, sizes=SIZES, n_noise=2, noise=0.3, seed=0):
    """One noisy latent a factor and latents that know nothing, as NumPy arrays (points, factors)."""
    generator = np.random.default_rng(seed)
    factors = np.stack([generator.integers(size, size=n) for size in sizes], 1)
    scaled = factors / (np.array(sizes) - 1) * 2 - 1
    points = np.concatenate(
        [scaled + noise * generator.normal(size=scaled.shape), generator.normal(size=(n, n_noise))], 1
    )
    return points, factors


def random_codes(**options) -> PointCodes:
    return PointCodes(*random_points(**options))


def aligned(sizes=SIZES, repeats=8) -> PointCodes:
    """Each factor's index is a latent, without noise, on a complete grid."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes)).repeat(repeats, 0)
    return PointCodes(grid.astype(np.float64), grid)


def rotated(codes: PointCodes, seed: int = 3) -> PointCodes:
    """The same points in another orthonormal basis."""
    square = np.random.default_rng(seed).normal(size=(codes.points.shape[1],) * 2)
    turn = torch.from_numpy(np.linalg.qr(square)[0]).to(codes.points)
    return PointCodes(codes.points @ turn, codes.factors)
