"""Flipped bits under a linear map, against the moved logits written out."""

import pytest
import torch

from toolkit.estimators import rank_one


def setting(rows=3, bits=4, size=5, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, size, generator=generator, dtype=torch.float64) * 2
    weights = torch.randn(bits, size, generator=generator, dtype=torch.float64) * scale
    values = torch.rand(rows, bits, generator=generator, dtype=torch.float64).round()
    return logits.to(dtype), weights.to(dtype), values.to(dtype)


def written_out(logits, weights, values):
    logits, weights, values = logits.double(), weights.double(), values.double()
    moved = logits[:, None] + (1 - 2 * values)[..., None] * weights
    zero = torch.zeros((), dtype=torch.float64)
    return (torch.logaddexp(moved, zero) - torch.logaddexp(logits, zero)[:, None]).sum(-1)


@pytest.mark.parametrize("scale", [0, 1e-6, 1, 30, 200, 1000, 1e6])
@pytest.mark.parametrize("size", [1, 2, 5, 16, 49])
def test_changes_of_the_log_partition_function(size, scale):
    arguments = setting(size=size, scale=scale)
    found = rank_one.softplus_changes(*arguments)
    torch.testing.assert_close(found, written_out(*arguments), rtol=1e-12, atol=1e-12 * max(size * scale, 1))


@pytest.mark.parametrize("base", [-1000.0, -100, 0, 100, 1000])
def test_saturated_logits(base):
    logits, weights, values = setting(size=40, scale=3)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        arguments = (logits.add(base).to(dtype), weights.to(dtype), values.to(dtype))
        expected = written_out(*arguments)
        assert torch.isfinite(expected).all()
        found = rank_one.softplus_changes(*arguments).double()
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * 40)


@pytest.mark.parametrize("scale", [0.05, 1, 20])
def test_single_precision_is_nearer_to_the_truth_than_moved_logits(scale):
    arguments = setting(rows=20, bits=30, size=784, scale=scale, dtype=torch.float32)
    truth = written_out(*arguments)
    logits, weights, values = arguments
    moved = torch.nn.functional.softplus(rank_one.moved_logits(logits, weights, values)).sum(-1)
    plain = (moved - torch.nn.functional.softplus(logits).sum(-1, keepdim=True)).double()
    error = (rank_one.softplus_changes(*arguments).double() - truth).square().mean()
    assert error <= (plain - truth).square().mean()


def test_chunks_change_nothing():
    arguments = setting(rows=7, bits=6)
    whole = rank_one.softplus_changes(*arguments)
    for chunk in (1, 2, 4, 100):
        assert torch.equal(rank_one.softplus_changes(*arguments, chunk=chunk), whole)


def test_nan_stays_visible_and_nothing_is_written_over():
    logits, weights, values = setting()
    kept = logits.clone(), weights.clone(), values.clone()
    rank_one.softplus_changes(logits, weights, values)
    assert all(torch.equal(a, b) for a, b in zip(kept, (logits, weights, values), strict=True))
    weights[0, 0] = torch.nan
    assert torch.isnan(rank_one.softplus_changes(logits, weights, values)[:, 0]).all()
    assert rank_one.softplus_changes(logits[:0], weights, values[:0]).shape == (0, 4)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (100, 200), (3, 5000), (0, 3)])
@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize("kind", ["cpu", "meta"])
def test_blocks_cover_every_pair_once_and_stay_small(shape, chunk, kind):
    covered = torch.zeros(shape)
    width, most = 3000, rank_one.CACHED if kind == "cpu" else rank_one.LAUNCHED
    for row, bit in rank_one.blocks(shape, width, torch.device(kind), chunk):
        covered[row, bit] += 1
        rows, bits = row.stop - row.start, bit.stop - bit.start
        assert rows * bits * width <= most
        assert chunk is None or bits <= chunk
    assert (covered == 1).all()
