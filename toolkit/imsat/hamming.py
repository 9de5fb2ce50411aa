"""Hash codes packed into bytes, and the Hamming distances between them by XOR and population count."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int32, Integer, UInt8
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack_codes(bits: object) -> UInt8[Tensor, "points bytes"]:
    """Pack codes into bytes, eight bits each.

    Args:
        bits: codes ``[points, bits]`` of truth values, or of numbers that are all 0 or 1: a tensor on any device, an
            array or nested lists; at least one bit.

    Returns:
        ``[points, ⌈bits / 8⌉]`` on the device of ``bits``. Bit ``d`` is place ``d % 8`` of byte ``d // 8``, the lowest
        place first, as ``numpy.packbits(bits, axis=1, bitorder="little")`` has it; places left over are 0.

    Raises:
        ValueError: not two axes, no bits, or other values than 0 and 1.
        TypeError: not numbers.
    """
    codes = read_codes("pack_codes", "bits", bits)
    points, n_bits = codes.shape
    padded = torch.nn.functional.pad(codes.to(torch.uint8), (0, -n_bits % 8)).view(points, -1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8, device=codes.device)).sum(-1, dtype=torch.uint8)


def hamming_distances(queries: Tensor, gallery: Tensor) -> Int32[Tensor, "queries gallery"]:
    """Return the number of bits in which each query's code differs from each gallery code.

    Args:
        queries: codes of :func:`pack_codes`, ``[queries, bytes]``.
        gallery: codes of as many bits, ``[gallery, bytes]``, on the same device.

    Returns:
        The distances, on that device.

    Raises:
        ValueError: different numbers of bytes, or different devices.
        TypeError: not tensors of bytes.
    """
    operation = "hamming_distances"
    for argument, codes in (("queries", queries), ("gallery", gallery)):
        if not isinstance(codes, Tensor) or codes.dtype is not torch.uint8:
            actual = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
            reject(operation, argument, "a uint8 tensor of pack_codes", actual, kind=TypeError)
        shaped = codes.ndim == 2 and codes.shape[1] > 0
        require(shaped, operation, argument, "shape [points, bytes]", tuple(codes.shape))
    require(queries.shape[1] == gallery.shape[1], operation, "gallery", f"{queries.shape[1]} bytes", gallery.shape[1])
    require(queries.device == gallery.device, operation, "gallery", f"a tensor on {queries.device}", gallery.device)
    found = torch.empty(len(queries), len(gallery), dtype=torch.int32, device=queries.device)
    start = 0
    for block in distance_blocks(queries, gallery):
        found[start : start + len(block)] = block
        start += len(block)
    return found


def read_codes(operation: str, argument: str, given: object) -> Bool[Tensor, "points bits"]:
    """Return codes as truth values, from whatever :func:`pack_codes` takes; the caller's name is for the errors."""
    if isinstance(given, Tensor):
        codes = given.detach()
        if codes.layout is not torch.strided:
            reject(operation, argument, "a dense tensor", codes.layout, kind=TypeError)
    else:
        try:
            codes = torch.from_numpy(np.array(given))
        except (ValueError, TypeError, RuntimeError) as error:
            raise argument_error(operation, argument, "codes [points, bits]", str(error), kind=TypeError) from error
    require(codes.ndim == 2 and codes.numel() > 0, operation, argument, "shape [points, bits]", tuple(codes.shape))
    if codes.dtype is torch.bool:
        return codes
    bits = codes == 1
    require(bool((bits | (codes == 0)).all()), operation, argument, "truth values, or only 0 and 1", "other values")
    return bits


def distance_blocks(queries: Tensor, gallery: Tensor) -> Iterator[Tensor]:
    """Yield distances of some queries at a time, ``[block, gallery]``, as bytes if they fit."""
    # Blocks that stay in a core's cache; a GPU wants large ones.
    n_numbers = 2**19 if queries.device.type == "cpu" else 2**26
    step = max(1, n_numbers // max(1, len(gallery)))
    wide = queries.shape[1] * 8 > torch.iinfo(torch.uint8).max
    columns = _words(gallery).T.contiguous()
    for block in _words(queries).split(step):
        counts = (count_bits(word[:, None] ^ column) for word, column in zip(block.T, columns, strict=True))
        total = next(counts)
        total = total.int() if wide else total
        for count in counts:
            total += count
        yield total


def count_bits(words: Integer[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """Return how many bits of each integer are 1."""
    if words.device.type == "cpu":
        # NumPy has the processor's instruction for it, torch does not.
        return torch.from_numpy(np.bitwise_count(words.numpy().view(f"u{words.itemsize}")))
    return count_bits_by_bytes(words)


def count_bits_by_bytes(words: Integer[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """Return the same as :func:`count_bits` by additions of neighbouring bits, pairs and fours; for any device."""
    parts = words.contiguous().view(torch.uint8)
    parts = parts - ((parts >> 1) & 0x55)
    parts = (parts & 0x33) + ((parts >> 2) & 0x33)
    parts = (parts + (parts >> 4)) & 0x0F
    return parts.view(*words.shape, words.itemsize).sum(-1, dtype=torch.uint8)


def _words(packed: Tensor) -> Tensor:
    """View bytes as the widest words that waste little: 1, 2 or 4 bytes, or several of 8."""
    n_bytes = packed.shape[1]
    width = next((width for width in _WORDS if n_bytes <= width), 8)
    return torch.nn.functional.pad(packed, (0, -n_bytes % width)).contiguous().view(_WORDS[width])
