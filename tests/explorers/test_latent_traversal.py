"""Latents of known codes get their roles, decoders are asked for the right codes, and every slider does something."""

import math

import pytest
import torch
from torch import nn

from tests.explorers.inside import words_outside
from toolkit.disentanglement import GaussianCodes, informations, synthetic_codes
from toolkit.experiments.disentanglement_trained import CodesUnavailable
from toolkit.explorers import explore_latent_traversal, latent_traversal
from toolkit.explorers.latent_rows import Aggregate, decode_rows, described, roles_of, rows_width
from toolkit.explorers.latent_traversal import (
    FURTHEST,
    N_STARTS,
    STEP,
    VALUES,
    compute,
    describe,
    draw,
    find_models,
    make_model,
)
from toolkit.lessons import style


class Painter(nn.Module):
    """A decoder that anybody can check: row l of its image is as bright as latent l says; the rest is dark."""

    def __init__(self, n_latents, side=8):
        super().__init__()
        self.n_latents, self.side = n_latents, side
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, codes):
        logits = torch.full((len(codes), self.side, self.side), -5.0, dtype=codes.dtype)
        logits[:, : self.n_latents] = (self.scale * codes)[:, :, None]
        return logits


def grid(*sizes):
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes)).reshape(-1, len(sizes))


def codes_of(mean, factors, sizes, deviation=0.05, **names):
    return GaussianCodes(mean, torch.full_like(mean, deviation), factors, sizes, **names)


def roles(codes, n_samples=600):
    return roles_of(informations(codes, n_samples=n_samples, generator=torch.Generator().manual_seed(3)))


@pytest.fixture(scope="module")
def aligned():
    """Two factors in a latent each, the third latent pure noise; it stands at 3 with deviation 0.5."""
    factors = grid(4, 5)
    levels = factors.double() - factors.double().mean(0)
    mean = torch.cat([levels, torch.full((20, 1), 3.0, dtype=torch.float64)], 1)
    deviation = torch.tensor([0.1, 0.1, 0.5], dtype=torch.float64).expand(20, 3)
    return GaussianCodes(mean, deviation, factors, (4, 5), factor_names=("size", "position_x"))


@pytest.fixture(scope="module")
def painted(aligned):
    return make_model("painter", aligned, Painter(3), lambda at: at.sum(1)[:, None, None].expand(-1, 8, 8).byte() % 2)


def test_roles_of_latents_that_hold_one_factor_each(aligned):
    first, second, third = roles(aligned)
    assert [role.kind for role in (first, second, third)] == ["unique", "unique", "dead"]
    assert (first.factor, second.factor) == ("size", "position x")
    assert first.bars[0].lower == pytest.approx(1.0, abs=0.01)
    assert first.bars[1].upper == pytest.approx(0.0, abs=0.01)
    assert first.also == second.also == third.also == ()
    assert described(third) == "z3 is dead"
    assert described(first).startswith("z1 size, U ")


def test_a_copy_is_redundant_and_a_parity_complementary():
    factors = grid(2, 2)
    bit = 2.0 * factors.double() - 1
    twice = codes_of(torch.stack([bit[:, 0], bit[:, 0], bit[:, 1]], 1), factors, (2, 2))
    assert [role.kind for role in roles(twice)] == ["redundant", "redundant", "unique"]
    # y = a XOR b; the images are the four pairs (y, b), the latents are a and b.
    parity = codes_of(torch.stack([bit[:, 0] * bit[:, 1], bit[:, 1]], 1), factors, (2, 2))
    first, second = roles(parity)
    assert first.factor == "factor 1"
    assert first.kind == "complementary"
    assert first.bars[2].lower == pytest.approx(1.0, abs=0.02)
    assert second.factor == "factor 1" or second.also == ("factor 1",)


def test_one_latent_with_two_factors_names_both():
    factors = grid(3, 3)
    mean = (3 * factors[:, :1] + factors[:, 1:]).double()
    (only,) = roles(codes_of(mean, factors, (3, 3), 0.02))
    assert only.kind == "unique"
    assert {only.factor, *only.also} == {"factor 1", "factor 2"}


def test_factors_of_one_value_and_latents_are_any_number():
    factors = grid(1, 4)
    (only,) = roles(codes_of(factors[:, 1:].double(), factors, (1, 4)))
    assert (only.factor, only.kind) == ("factor 2", "unique")
    assert len(roles(synthetic_codes((3, 2), n_noise=4), 50)) == 6


def test_bars_agree_with_the_table_of_bounds():
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
    codes = synthetic_codes((3, 4), standard_deviation=0.8, n_noise=0, rotation=turn, dtype=torch.float64)
    found = informations(codes, n_samples=500, generator=torch.Generator().manual_seed(0))
    for row, role in enumerate(roles_of(found)):
        k = found.factor_names.index(role.factor)
        high = float(found.entropy[k])
        alone, others = float(found.single[row, k]) / high, float(found.without[row, k]) / high
        every = float(found.joint[k]) / high
        unique, redundant, complementary = role.bars
        assert unique.lower == pytest.approx(max(alone - others, 0))
        assert unique.upper == pytest.approx(min(alone, every - others))
        assert redundant.lower == pytest.approx(max(alone + others - every, 0))
        assert redundant.upper == pytest.approx(min(alone, others))
        assert complementary.lower == pytest.approx(max(every - alone - others, 0))
        assert complementary.upper == pytest.approx(every - max(alone, others))
        assert role.known == pytest.approx(alone)


def test_the_aggregate_is_that_of_many_draws(aligned):
    aggregate = Aggregate.of(aligned)
    drawn = aligned.sample(200_000, generator=torch.Generator().manual_seed(0)).points
    torch.testing.assert_close(aggregate.mean, drawn.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(aggregate.standard_deviation, drawn.std(0), atol=0.02, rtol=0)
    positions = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(aggregate.positions(aggregate.code(positions)), positions)


def test_rows_are_decoded_one_code_at_a_time(aligned, painted):
    positions = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
    rows = decode_rows(painted.decoder, painted.aggregate, positions, VALUES)
    assert rows.shape == (3, len(VALUES), 8, 8)
    for latent in range(3):
        for column, value in enumerate(VALUES):
            for seen in range(3):
                at = value if seen == latent else float(positions[seen])
                code = float(painted.aggregate.mean[seen] + painted.aggregate.standard_deviation[seen] * at)
                assert float(rows[latent, column, seen, 0]) == pytest.approx(1 / (1 + math.exp(-code)))


def test_the_decoded_image_is_that_of_the_sliders(painted):
    found = compute(painted, 2, (1.0, -1.0, 2.0))
    code = painted.aggregate.mean + painted.aggregate.standard_deviation * torch.tensor([1.0, -1.0, 2.0])
    torch.testing.assert_close(found.image[:3, 0], code.sigmoid())
    still = compute(painted, 2, tuple(painted.positions(2)))
    assert still.changed == 0 and still.moved == ()
    before, after = still.image > 0.5, found.image > 0.5
    assert found.changed == int((before != after).sum())
    exact = painted.codes[1]
    near = painted.aggregate.code(torch.tensor(painted.positions(2), dtype=torch.float64))
    assert float(((near - exact) / painted.aggregate.standard_deviation).abs().max()) <= STEP / 2 + 1e-9


def test_a_dead_latent_may_paint_but_tells_nothing(painted):
    """Roles are of codes, not of pictures: this painter draws the third latent, and no image makes it move."""
    positions = painted.positions(1)
    found = compute(painted, 1, (*positions[:2], 2.5))
    assert found.moved == ("z3",)
    assert "z3 is dead" in describe(found)


def test_wrong_arguments(painted, aligned):
    with pytest.raises(ValueError, match="start"):
        compute(painted, 0, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="positions"):
        compute(painted, 1, (0.0,))
    mixed = GaussianCodes(
        aligned.mean, aligned.standard_deviation, aligned.factors, (4, 5), [torch.zeros(20, 1, dtype=torch.float64)]
    )
    with pytest.raises(ValueError, match="real latents"):
        make_model("x", mixed, Painter(3))
    other = make_model("y", synthetic_codes((2, 2)), Painter(3))
    two = make_model("z", synthetic_codes((2, 2), n_noise=0), Painter(2))
    with pytest.raises(ValueError, match="equally many"):
        explore_latent_traversal(models={"a": other, "b": two})


def test_the_view(painted):
    codes = synthetic_codes((4, 5), standard_deviation=1.5, dtype=torch.float64)
    other = make_model("other painter", codes, Painter(3))
    view = explore_latent_traversal(models={"a": painted, "b": other})
    assert list(view.controls) == ["model", "start", "z1", "z2", "z3"]
    assert view.controls["model"].value == "b"
    view.controls["model"].value = "a"
    assert view.error is None and view.result.model is painted and view.result.moved == ()
    opening = view.result.positions
    pictures = set()
    for name in ("z1", "z2", "z3"):
        for value in (-FURTHEST, FURTHEST):
            view.controls[name].value = value
            assert view.error is None
            assert name in view.result.moved
            pictures.add(view.picture.value)
            assert words_outside(view.drawn.svg) == []
    assert len(pictures) == 6
    for start in (N_STARTS, 1):
        view.controls["start"].value = start
        assert view.result.positions == pytest.approx(painted.positions(start))
        assert view.result.moved == ()
    view.reset()
    assert view.error is None and view.controls["model"].value == "b" and view.result.moved == ()
    assert view.result.positions == pytest.approx(other.positions(1))
    assert opening != view.result.positions
    assert view.drawn.width <= style.WIDEST


def test_the_picture_says_how_many_of_each_kind(painted):
    found = compute(painted, 1, tuple(painted.positions(1)))
    text = draw(found).to_string(alt=describe(found))
    assert "painter: of 3 latents 2 unique, 1 dead" in text
    assert rows_width(len(VALUES), 36.0) < style.WIDEST
    assert found.to_dict()["roles"][2]["kind"] == "dead"
    assert repr(found) == "Traversal(painter, image 1, moved: none)"


def test_without_originals_and_with_many_latents():
    codes = synthetic_codes((3, 2), n_noise=10, dtype=torch.float64)
    model = make_model("wide", codes, Painter(12, side=16))
    view = explore_latent_traversal(models={"a": model})
    assert "model" not in view.controls
    assert view.error is None and "start image" not in view.picture.value
    assert words_outside(view.drawn.svg) == []


def test_without_models_it_says_how_to_make_them(monkeypatch):
    def nothing(*_):
        raise CodesUnavailable("none")

    monkeypatch.setattr(latent_traversal, "trained_codes", nothing)
    assert find_models() == {}
    view = explore_latent_traversal()
    assert "python -m toolkit run disentanglement --scale laptop --seeds 0 --models VAE betaVAE-10" in view.text
    assert view.error is None and words_outside(view.drawn.svg) == []


def test_models_at_hand_are_found(monkeypatch):
    sizes = (3, 4, 8, 8, 8)
    factors = grid(*sizes)
    scale = torch.tensor([1.0, 1.1, 2.3, 2.3, 2.3, 1.0], dtype=torch.float64)
    mean = torch.cat([factors.double(), torch.zeros(len(factors), 1, dtype=torch.float64)], 1) / scale
    codes = codes_of(mean, factors, sizes, 0.3)
    monkeypatch.setattr(latent_traversal, "_DRAWS", 40)
    monkeypatch.setattr(latent_traversal, "trained_codes", lambda name: codes)
    monkeypatch.setattr(latent_traversal, "trained_decoder", lambda name: Painter(6, side=32))
    found = find_models()
    assert list(found) == ["VAE", "betaVAE-10"]
    model = found["betaVAE-10"]
    assert model.title == "β-VAE, β = 10"
    assert model.originals.shape == (N_STARTS, 32, 32)
    assert len({tuple(factors[number].tolist()) for number in model.numbers}) == N_STARTS
    assert int(model.originals.max()) == 1
