"""Codes of an encoder: what is accepted, what is refused, and what is drawn from them."""

import numpy as np
import pytest
import torch

from toolkit.datasets import sprites
from toolkit.disentanglement import GaussianCodes, PointCodes, Posterior, encode, synthetic_codes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grid(*sizes):
    return np.stack([part.ravel() for part in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)


def test_arrays_and_nested_lists_are_taken_as_they_come():
    codes = GaussianCodes(np.zeros((6, 2), np.float32), [[1.0, 2.0]] * 6, grid(2, 3))
    assert codes.factor_sizes == (2, 3) and codes.n_latents == 2 and codes.complete
    assert codes.factor_names == ("factor 1", "factor 2") and codes.latent_names == ("z1", "z2")
    assert codes.standard_deviation.dtype == torch.float32
    assert "6 images, 2 latents, factors 2×3" in repr(codes)
    unsigned = PointCodes(np.arange(6)[:, None], grid(2, 3).astype(np.uint8))
    assert unsigned.points.dtype == torch.float64 and unsigned.factors.dtype == torch.int64
    reversed_view = PointCodes(np.zeros((6, 3))[:, ::-1], grid(2, 3)[::-1])
    assert reversed_view.factors[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"mean": np.full((6, 2), np.nan)}, "mean"),
        ({"mean": np.zeros((0, 2))}, "mean"),
        ({"mean": np.zeros(6)}, "mean"),
        ({"standard_deviation": np.ones((5, 2))}, "standard_deviation"),
        ({"standard_deviation": np.zeros((6, 2))}, "standard_deviation"),
        ({"standard_deviation": -np.ones((6, 2))}, "standard_deviation"),
        ({"standard_deviation": np.full((6, 2), np.inf)}, "standard_deviation"),
        ({"factors": grid(2, 2)}, "factors"),
        ({"factors": grid(2, 3) - 1}, "factors"),
        ({"factors": np.zeros((6, 0), int)}, "factors"),
        ({"factor_sizes": (2, 2)}, "factors"),
        ({"factor_sizes": (6,)}, "factor_sizes"),
        ({"factor_names": ("only one",)}, "factor_names"),
        ({"latent_names": ("only one",)}, "latent_names"),
        ({"categorical_log_prob": (np.zeros((6, 2)),)}, "categorical_log_prob"),
        ({"categorical_log_prob": (np.full((5, 2), -np.log(2)),)}, "categorical_log_prob"),
    ],
)
def test_one_clear_error_names_the_argument(changes, argument):
    good = {"mean": np.zeros((6, 2)), "standard_deviation": np.ones((6, 2)), "factors": grid(2, 3)}
    with pytest.raises(ValueError, match=f"bad argument '{argument}'"):
        GaussianCodes(**(good | changes))


def test_factors_must_be_integers():
    with pytest.raises(TypeError, match="return_inverse"):
        PointCodes(np.zeros((6, 2)), grid(2, 3).astype(float))
    with pytest.raises(TypeError, match="factors"):
        PointCodes(np.zeros((2, 2)), np.array([["cat"], ["dog"]]))
    with pytest.raises(TypeError, match="points"):
        PointCodes(np.zeros((6, 2), complex), grid(2, 3))


def test_groups_cover_all_columns():
    assert PointCodes(np.zeros((6, 3)), grid(2, 3), groups=(1, 2)).n_latents == 2
    for groups in ((1, 1), (3, 0), (4, -1)):
        with pytest.raises(ValueError, match="groups"):
            PointCodes(np.zeros((6, 3)), grid(2, 3), groups=groups)


@pytest.mark.parametrize(
    ("factors", "complete"),
    [
        (grid(2, 3), True),
        (np.concatenate([grid(2, 3)] * 2), True),
        (grid(2, 3)[::-1].copy(), True),
        (grid(2, 3)[:-1], False),
        (np.concatenate([grid(2, 3)[:5], grid(2, 3)[:1]]), False),
    ],
)
def test_a_grid_is_complete_if_all_combinations_occur_equally_often(factors, complete):
    n = len(factors)
    assert GaussianCodes(np.zeros((n, 1)), np.ones((n, 1)), factors, (2, 3)).complete is complete


def test_samples_have_the_moments_of_the_posterior():
    mean = torch.tensor([[1.0, -2.0], [3.0, 5.0]], dtype=torch.float64)
    deviation = torch.tensor([[0.1, 2.0], [1.0, 0.5]], dtype=torch.float64)
    codes = GaussianCodes(mean, deviation, torch.tensor([[0], [1]]))
    points = codes.sample(40_000, generator=generator())
    assert points.factors[:, 0].bincount().tolist() == [20_000, 20_000]
    for value in range(2):
        of_image = points.points[points.factors[:, 0] == value]
        torch.testing.assert_close(of_image.mean(0), mean[value], atol=0.06, rtol=0)
        torch.testing.assert_close(of_image.std(0), deviation[value], rtol=0.03, atol=0)


def test_without_a_number_each_image_gives_one_point_in_order():
    codes = synthetic_codes((2, 3), standard_deviation=1e-6)
    points = codes.sample(generator=generator())
    assert torch.equal(points.factors, codes.factors)
    torch.testing.assert_close(points.points[:, :2], codes.mean[:, :2], atol=1e-4, rtol=0)
    first = codes.draw_images(6, generator=generator())
    assert sorted(first.tolist()) == list(range(6))


def test_categories_are_drawn_with_their_probabilities_as_one_hot_columns():
    probabilities = torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0]], dtype=torch.float64)
    codes = GaussianCodes(
        torch.empty(2, 0, dtype=torch.float64),
        torch.empty(2, 0),
        torch.tensor([[0], [1]]),
        categorical_log_prob=(probabilities.log(),),
    )
    points = codes.sample(60_000, generator=generator())
    assert codes.n_latents == points.n_latents == 1 and points.groups == (3,)
    assert (points.points.sum(1) == 1).all()
    for value in range(2):
        shares = points.points[points.factors[:, 0] == value].mean(0)
        torch.testing.assert_close(shares, probabilities[value], atol=0.01, rtol=0)
    assert codes.means().points.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_draws_do_not_depend_on_the_dtype_of_nobody_else_and_repeat():
    codes = synthetic_codes((2, 3))
    again = [codes.sample(50, generator=generator(3)).points for _ in range(2)]
    assert torch.equal(*again) and not torch.equal(again[0], codes.sample(50, generator=generator(4)).points)


def test_synthetic_codes_have_one_latent_a_factor():
    codes = synthetic_codes((3, 1, 4), standard_deviation=0.2, n_noise=2, dtype=torch.float64)
    assert codes.n_latents == 5 and len(codes.mean) == 12
    torch.testing.assert_close(codes.mean.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)
    variances = codes.mean.var(0, correction=0)
    torch.testing.assert_close(variances, torch.tensor([1.0, 0, 1, 0, 0], dtype=torch.float64))
    assert codes.standard_deviation[0].tolist() == [0.2, 0.2, 0.2, 1, 1]
    with pytest.raises(ValueError, match="orthogonal"):
        synthetic_codes((2, 2), rotation=torch.ones(2, 2))
    turned = synthetic_codes((2, 2), rotation=torch.tensor([[0.6, -0.8], [0.8, 0.6]]), dtype=torch.float64)
    torch.testing.assert_close(turned.mean[3, :2], torch.tensor([-0.2, 1.4], dtype=torch.float64))


class _Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.dropout = torch.nn.Dropout(0.5)

    def posterior(self, images):
        flat = self.dropout(images.flatten(1).float()) * self.scale
        return Posterior(flat.mean(1, keepdim=True), torch.ones(len(flat), 1), (torch.zeros(len(flat), 1),))


@pytest.mark.parametrize("batch_size", [5, 1000])
def test_every_image_of_a_grid_is_encoded_in_order(batch_size):
    small = sprites.GRID.subgrid(scale=2, orientation=2, position_x=3, position_y=1)
    model = _Encoder()
    codes = encode(model, small, sprites.render, batch_size=batch_size, image_size=16)
    pictures = sprites.render(small.indices(), grid=small, image_size=16)
    torch.testing.assert_close(codes.mean[:, 0], pictures.flatten(1).float().mean(1))
    assert codes.complete and codes.factor_names == small.names and codes.n_latents == 2
    assert model.training and not codes.mean.requires_grad
    pair = encode(lambda images: (images.flatten(1).float(), torch.ones(len(images), 256)), small, sprites.render,
                  image_size=16)  # fmt: skip
    assert pair.n_real == 256
    with pytest.raises(TypeError, match="Posterior"):
        encode(lambda images: images, small, sprites.render, image_size=16)
