"""Whether the ranks hold the same model, and how one rank's becomes that of all."""

import functools
import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.failures import DisagreementError
from toolkit.autograd.places import dtype_name, is_array

_MOST_TOLD = 12


@dataclass(frozen=True)
class Layout:
    """What the ranks must agree on before gradients or parameters travel as one run of numbers.

    Attributes:
        entries: ``(path, shape, dtype)`` in the order of travel, sorted by path.
    """

    entries: tuple[tuple[str, tuple[int, ...], str], ...]

    def __repr__(self) -> str:
        return f"Layout({len(self.entries)} arrays, {self.digest & 0xFFFFFFFF:08x})"

    @property
    def digest(self) -> int:
        """Hash of the entries, an integer of 63 bits that is the same in every process."""
        return digest(self.entries)


@functools.lru_cache(maxsize=64)
def digest(value: Hashable) -> int:
    """Return a hash of a value's ``repr``, an integer of 63 bits that is the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big") >> 1


def parameters_of(model: Any) -> list[tuple[str, Any]]:
    """Return the initialised parameters of a Link with their paths, sorted by path."""
    return sorted(model.namedparams(include_uninitialized=False), key=lambda entry: entry[0])


def layout_of(model: Any, *, persistents: bool = False) -> Layout:
    """Return the layout of a Link's initialised parameters, and of its persistent values if wanted."""
    values = [(path, parameter.data) for path, parameter in parameters_of(model)]
    if persistents:
        values += sorted((f"{path} (persistent)", value) for path, value in _persistents(model))
    return Layout(tuple([(path, *_kind(value)) for path, value in values]))


def require_same_layout(communicator: Any, call: str, layouts: list[int], layout: Layout) -> None:
    """Raise on every rank if their digests differ, and say which paths do.

    Args:
        communicator: of the ranks.
        call: for the message.
        layouts: every rank's digest.
        layout: this rank's.

    Raises:
        DisagreementError: they differ.
    """
    if len(set(layouts)) > 1:
        told = communicator.allgather_obj(layout.entries)
        raise DisagreementError(f"{call}: the models differ between the ranks{_differences(told)}")


def broadcast_data(communicator: Any, model: Any, root: int) -> None:
    """Overwrite parameters and persistent values by those of rank ``root``; see :meth:`Communicator.broadcast_data`."""
    communicator.check_rank("broadcast_data", "root", root)
    layout = layout_of(model, persistents=True)
    answers = communicator.agree("broadcast_data", root, layout.digest, same=1)
    require_same_layout(communicator, "broadcast_data", [theirs for _, theirs in answers], layout)
    targets = [parameter.data for _, parameter in parameters_of(model)]
    targets += [value for _, value in sorted(_persistents(model), key=lambda entry: entry[0]) if is_array(value)]
    tensors = [arrays.to_tensor(target, "broadcast_data", "model") for target in targets]
    for device in dict.fromkeys(tensor.device for tensor in tensors):
        here = [place for place, tensor in enumerate(tensors) if tensor.device == device]
        # As bytes, so that arrays of all dtypes travel at once.
        flat = torch.cat([arrays.as_bytes(tensors[place].contiguous()) for place in here])
        communicator.broadcast_in_place("broadcast_data", flat, root)
        if communicator.rank != root:
            parts = flat.split([tensors[place].numel() * tensors[place].element_size() for place in here])
            for place, part in zip(here, parts, strict=True):
                # A copy, as a dtype wants its own alignment.
                received = part.clone().view(tensors[place].dtype).reshape(tensors[place].shape)
                arrays.write_into(targets[place], received)
    _broadcast_values(communicator, model, root)


def replicas_differ(communicator: Any, model: Any) -> tuple[str, ...]:
    """Return the paths of parameters and persistent values whose bits are not the same on all ranks.

    Raises:
        DisagreementError: the models differ in paths, shapes or dtypes.
    """
    layout = layout_of(model, persistents=True)
    values = [(path, parameter.data) for path, parameter in parameters_of(model)]
    values += sorted(_persistents(model), key=lambda entry: entry[0])
    hashes = [(path, _bits(value)) for path, value in values]
    told = communicator.allgather_obj((layout.digest, hashes))
    require_same_layout(communicator, "replicas_differ", [theirs for theirs, _ in told], layout)
    return tuple(path for place, (path, _) in enumerate(values) if len({theirs[place][1] for _, theirs in told}) > 1)


def _persistents(model: Any) -> list[tuple[str, Any]]:
    return list(model.namedpersistents())


def _broadcast_values(communicator: Any, model: Any, root: int) -> None:
    """Set persistent numbers and strings, which are no arrays to write into, by their owners' attributes."""
    owners = dict(model.namedlinks())
    plain = {path: value for path, value in _persistents(model) if not is_array(value)}
    if plain:
        for path, value in communicator.bcast_obj(plain, root).items():
            owner, _, name = path.rpartition("/")
            setattr(owners[owner or "/"], name, value)


def _kind(value: Any) -> tuple[tuple[int, ...], str]:
    if is_array(value):
        return tuple(value.shape), _dtype_name(value.dtype)
    # A number may have another value, or not be there yet, on another rank.
    return (), "value"


@functools.cache
def _dtype_name(dtype: Any) -> str:
    return dtype_name(dtype)


def _bits(value: Any) -> bytes:
    if not is_array(value):
        return repr(value).encode()
    tensor = arrays.to_tensor(value, "replicas_differ", "model")
    return hashlib.sha256(arrays.as_bytes(tensor.cpu().contiguous()).numpy().tobytes()).digest()


def _differences(told: tuple) -> str:
    """Return in words which entries are not on all ranks."""
    everywhere = set.intersection(*(set(entries) for entries in told))
    lines = []
    for rank, entries in enumerate(told):
        own = [entry for entry in entries if entry not in everywhere]
        texts = [f"{path} {shape} {dtype}" for path, shape, dtype in own[:_MOST_TOLD]]
        more = f" and {len(own) - _MOST_TOLD} more" if len(own) > _MOST_TOLD else ""
        lines.append(f"\n  rank {rank} has: {', '.join(texts) or 'nothing of its own'}{more}")
    advice = "\n  look at: parameters that a rank has not initialised yet, or a model built otherwise there"
    return "".join(lines) + advice
