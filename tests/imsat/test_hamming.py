"""Packed codes and their distances against NumPy's packing and bits compared one by one."""

import numpy as np
import pytest
import torch

from toolkit.imsat.hamming import count_bits, count_bits_by_bytes, hamming_distances, pack_codes

N_BITS = [1, 2, 7, 8, 9, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 128, 255, 256, 300, 1000]


def codes(points: int, n_bits: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(points, n_bits, generator=torch.Generator().manual_seed(seed)) < 0.5


@pytest.mark.parametrize("n_bits", N_BITS)
def test_codes_are_packed_as_numpy_packs_them(n_bits):
    bits = codes(5, n_bits)
    packed = pack_codes(bits)
    assert packed.dtype is torch.uint8
    np.testing.assert_array_equal(packed.numpy(), np.packbits(bits.numpy(), axis=1, bitorder="little"))


@pytest.mark.parametrize("n_bits", N_BITS)
def test_distances_are_the_differing_bits(n_bits):
    queries, gallery = codes(7, n_bits), codes(11, n_bits, 1)
    # The largest distance, the smallest, and the codes whose words are all zeros and all ones.
    queries[0], queries[1], gallery[2], gallery[3], gallery[4] = True, False, ~queries[2], True, False
    expected = (queries[:, None] != gallery).sum(-1)
    found = hamming_distances(pack_codes(queries), pack_codes(gallery))
    assert found.dtype is torch.int32
    assert torch.equal(found.long(), expected)
    assert expected[0, 4] == expected[2, 2] == n_bits and found[0, 3] == 0


def test_more_queries_than_a_block_holds():
    queries, gallery = codes(40, 12), codes(30_000, 12, 1)
    expected = 12 - (queries.double() @ gallery.double().T + (~queries).double() @ (~gallery).double().T)
    assert torch.equal(hamming_distances(pack_codes(queries), pack_codes(gallery)).double(), expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_both_ways_of_counting_bits_agree(dtype):
    limits = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(limits.min, limits.max, (50, 3), generator=generator, dtype=dtype)
    words[0] = torch.tensor([limits.min, limits.max, 0])
    mask = 2 ** (8 * words.itemsize) - 1
    expected = [[(word & mask).bit_count() for word in row] for row in words.tolist()]
    assert count_bits(words).tolist() == expected
    assert count_bits_by_bytes(words).tolist() == expected
    assert count_bits_by_bytes(words.T).T.tolist() == expected


def test_no_points_have_no_distances():
    some, none = pack_codes(codes(3, 9)), torch.empty(0, 2, dtype=torch.uint8)
    assert hamming_distances(some, none).shape == (3, 0)
    assert hamming_distances(none, some).shape == (0, 3)


@pytest.mark.parametrize(
    "convert",
    [
        lambda bits: bits.numpy(),
        lambda bits: bits.tolist(),
        lambda bits: bits.long(),
        lambda bits: bits.half(),
        lambda bits: bits.bfloat16(),
        lambda bits: bits.double().requires_grad_(),
        lambda bits: bits.numpy().astype(np.uint16),
        lambda bits: bits.numpy().astype(np.uint8),
        lambda bits: bits.T.contiguous().T,
        lambda bits: np.broadcast_to(bits.numpy(), bits.shape),
    ],
)
def test_bits_come_in_many_forms(convert):
    bits = codes(4, 11)
    assert torch.equal(pack_codes(convert(bits)), pack_codes(bits))


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (torch.zeros(3), ValueError),
        (torch.zeros(2, 2, 2), ValueError),
        (torch.zeros(0, 4, dtype=torch.bool), ValueError),
        (torch.zeros(4, 0, dtype=torch.bool), ValueError),
        ([[0, 1], [1, 2]], ValueError),
        ([[-1, 1], [1, -1]], ValueError),
        ([[0.0, float("nan")]], ValueError),
        (torch.full((2, 2), 0.5), ValueError),
        ([["a", "b"]], TypeError),
        ([[0, 1], [1]], TypeError),
        (None, TypeError),
        (torch.eye(2).to_sparse(), TypeError),
    ],
)
def test_bad_bits_give_one_clear_error(bad, kind):
    with pytest.raises(kind, match="'bits'") as caught:
        pack_codes(bad)
    assert caught.value.operation == "pack_codes"


def test_codes_that_are_not_packed_are_refused():
    packed = pack_codes(codes(3, 16))
    with pytest.raises(TypeError, match="pack_codes"):
        hamming_distances(codes(3, 16), packed)
    with pytest.raises(ValueError, match="2 bytes"):
        hamming_distances(packed, pack_codes(codes(3, 17)))
    with pytest.raises(ValueError, match="shape"):
        hamming_distances(packed[0], packed)
    with pytest.raises(ValueError, match="shape"):
        hamming_distances(packed[:, :0], packed[:, :0])
    with pytest.raises(ValueError, match="on cpu"):
        hamming_distances(packed, packed.to("meta"))
