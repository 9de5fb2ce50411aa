"""What every collective call is made of: a record that the ranks compare, and torch's own calls behind one guard."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.failures import DisagreementError, guarded
from toolkit.core.errors import argument_error

_RECORD = 16
_CALLS = (
    "allreduce",
    "bcast",
    "allgather",
    "gather",
    "scatter",
    "alltoall",
    "barrier",
    "mean_gradients",
    "broadcast_data",
    "relative_weight",
)
_REDUCTIONS = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}


class Transport:
    """Processes, this one's place among them, and the calls that :class:`Communicator` is built from.

    Arguments are the communicator's.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[int],
        me: int,
        *,
        group: Any = None,
        store: Any = None,
        timeout: float = 60.0,
        device: torch.device | None = None,
    ) -> None:
        self.name = name
        self.members = tuple(members)
        self.rank = self.members.index(me)
        self.size = len(self.members)
        self.timeout = timeout
        self.device = torch.device("cpu") if device is None else device
        self._me = me
        self._group = group
        self._store = store

    def agree(self, call: str, *numbers: int, same: int = 0) -> list[list[int]]:
        """Exchange a short record of integers and return every rank's.

        Args:
            call: the collective call; all ranks must be in the same.
            numbers: at most 15 integers of 64 bits.
            same: how many of them, from the first, must agree.

        Raises:
            DisagreementError: they do not.
        """
        record = [_CALLS.index(call), *numbers, *[0] * (_RECORD - 1 - len(numbers))]
        records = [theirs.tolist() for theirs in self.gather_alike(torch.tensor(record), call)]
        if any(theirs[: same + 1] != record[: same + 1] for theirs in records):
            said = "\n".join(
                f"  rank {rank}: {_CALLS[theirs[0]]}" + (f" {_described(theirs)}" if same else "")
                for rank, theirs in enumerate(records)
            )
            raise DisagreementError(f"{call}: the ranks do not make the same call\n{said}")
        return [theirs[1 : len(numbers) + 1] for theirs in records]

    def reduce_in_place(self, tensor: Tensor, op: str = "sum", *, asynchronous: bool = False) -> Callable[[], None]:
        """All-reduce a contiguous tensor in place, without any exchange before it.

        Returns:
            A function that waits for the result; it has been called already unless ``asynchronous``.
        """
        if self.size == 1 or not tensor.numel():
            return _nothing_to_wait_for
        with self.guarded_call("allreduce"):
            work = dist.all_reduce(tensor, _REDUCTIONS[op], group=self._group, async_op=True)

        def wait() -> None:
            with self.guarded_call("allreduce"):
                work.wait()

        if asynchronous:
            return wait
        wait()
        return _nothing_to_wait_for

    def gather_alike(self, tensor: Tensor, call: str = "allgather") -> list[Tensor]:
        """Return every rank's tensor, all of one shape and dtype, without any exchange before it."""
        if self.size == 1:
            return [tensor]
        if tensor.is_cuda and self.device.type == "cpu":
            # gloo adds on a GPU, and does no more there.
            return [theirs.to(tensor.device) for theirs in self.gather_alike(tensor.cpu(), call)]
        gathered = [torch.empty_like(tensor) for _ in self.members]
        with self.guarded_call(call):
            dist.all_gather(gathered, tensor, group=self._group)
        # torch orders a group by global rank, whatever order it was given.
        places = {member: place for place, member in enumerate(sorted(self.members))}
        return [gathered[places[member]] for member in self.members]

    def broadcast_in_place(self, call: str, tensor: Tensor, root: int) -> None:
        """Overwrite a contiguous tensor with that of rank ``root``, without any exchange before it."""
        if self.size > 1 and tensor.numel():
            with self.guarded_call(call):
                dist.broadcast(tensor, self.members[root], group=self._group)

    def exchange(self, call: str, transfers: list[tuple], tag: int = 0) -> None:
        """Run sends and receives (function, flat tensor, rank) at once; those of nothing are left out on both sides."""
        operations = [
            dist.P2POp(function, tensor, self.members[rank], self._group, tag)
            for function, tensor, rank in transfers
            if tensor.numel()
        ]
        if operations:
            with self.guarded_call(call):
                for work in dist.batch_isend_irecv(operations):
                    work.wait()

    def guarded_call(self, call: str) -> Any:
        """Turn what torch raises in the body into a :class:`CommunicationError` that names the call."""
        return guarded(call, rank=self._me, members=self.members, timeout=self.timeout, store=self._store)

    def check_rank(self, call: str, argument: str, rank: int) -> None:
        """Raise ``ValueError`` unless ``rank`` is one."""
        if not isinstance(rank, int) or not 0 <= rank < self.size:
            raise argument_error(call, argument, f"a rank, 0 to {self.size - 1}", repr(rank))

    def check_peer(self, call: str, argument: str, rank: int) -> None:
        """Raise ``ValueError`` unless ``rank`` is another one."""
        self.check_rank(call, argument, rank)
        if rank == self.rank:
            raise argument_error(call, argument, f"a rank other than this one, {self.rank}", repr(rank))

    def check_pieces(self, call: str, pieces: Any) -> None:
        """Raise ``ValueError`` unless there are as many pieces as ranks."""
        if pieces is None or len(pieces) != self.size:
            actual = "None" if pieces is None else f"{len(pieces)}"
            raise argument_error(call, "pieces", f"one array a rank, {self.size}", actual)


def number_as_integer(number: float) -> int:
    """Return the bits of a double as an integer, to travel in a record."""
    return struct.unpack("<q", struct.pack("<d", number))[0]


def integer_as_number(integer: int) -> float:
    """Return the double of these bits."""
    return struct.unpack("<d", struct.pack("<q", integer))[0]


def _nothing_to_wait_for() -> None:
    return None


def _described(record: list[int]) -> str:
    """Return the part of a record that did not agree in words."""
    call, numbers = _CALLS[record[0]], record[1:]
    if call == "allreduce":
        dtype, n_axes, *shape = numbers[: arrays.MOST_AXES + 2]
        op = ["sum", "mean", "max", "min"][numbers[arrays.MOST_AXES + 2]]
        return f"{op} of {arrays.DTYPES[dtype]}, shape {tuple(shape[:n_axes])}"
    if call in ("bcast", "gather", "scatter", "broadcast_data"):
        return f"with root {numbers[0]}"
    if call == "mean_gradients":
        return f"with zero_fill={bool(numbers[0])} and {'no weight' if numbers[1] else 'a weight'}"
    return ""
