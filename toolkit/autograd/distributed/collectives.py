"""The collective calls of arrays and of objects, between the processes of a communicator (ChainerMN's words)."""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.transport import Transport
from toolkit.core.errors import argument_error


class Collectives(Transport):
    """What :class:`~toolkit.autograd.distributed.Communicator` sends, receives and gathers; arguments are its own."""

    # -- Arrays ---------------------------------------------------------------------------------------------------

    def send(self, array: Any, dest: int, tag: int = 0) -> None:
        """Send an array to rank ``dest``, which must call :meth:`recv` with the same tag.

        Raises:
            ValueError: ``dest`` is no other rank.
            CommunicationError: the other rank ended or did not receive in time.
        """
        self.check_peer("send", "dest", dest)
        tensor = self._outgoing(array, "send", "array")
        head = torch.tensor(arrays.header(array, tensor))
        self.exchange("send", [(dist.isend, head, dest)], tag)
        self.exchange("send", [(dist.isend, arrays.as_bytes(tensor), dest)], tag)

    def recv(self, source: int, tag: int = 0) -> Any:
        """Return the array that rank ``source`` sends with the same tag, of the library it was sent from.

        An array on a GPU arrives on this process's GPU; the CPU engines (``naive``, ``flat``) carry it to the CPU.

        Raises:
            ValueError: ``source`` is no other rank.
            CommunicationError: the other rank ended or did not send in time.
        """
        self.check_peer("recv", "source", source)
        head = torch.empty(arrays.MOST_AXES + 3, dtype=torch.int64)
        self.exchange("recv", [(dist.irecv, head, source)], tag)
        library, tensor = self._announced(head.tolist())
        self.exchange("recv", [(dist.irecv, arrays.as_bytes(tensor), source)], tag)
        return arrays.from_tensor(tensor, library)

    def bcast(self, array: Any = None, root: int = 0) -> Any:
        """Return the array of rank ``root`` on every rank; the others may pass ``None``.

        Raises:
            ValueError: ``root`` is no rank.
            DisagreementError: the ranks name different roots or make different calls.
        """
        self.check_rank("bcast", "root", root)
        head, tensor = [0] * (arrays.MOST_AXES + 3), None
        if self.rank == root:
            tensor = self._outgoing(array, "bcast", "array")
            head = arrays.header(array, tensor)
        heads = self.agree("bcast", root, *head, same=1)
        if tensor is not None:
            self.broadcast_in_place("bcast", arrays.as_bytes(tensor), root)
            return array
        library, tensor = self._announced(heads[root][1:])
        self.broadcast_in_place("bcast", arrays.as_bytes(tensor), root)
        return arrays.from_tensor(tensor, library)

    def allgather(self, array: Any) -> tuple:
        """Return every rank's array, in the order of the ranks. Shapes and dtypes may differ."""
        tensor = self._outgoing(array, "allgather", "array")
        heads = self.agree("allgather", *arrays.header(array, tensor))
        gathered = []
        for rank, head in enumerate(heads):
            if rank == self.rank:
                self.broadcast_in_place("allgather", arrays.as_bytes(tensor), rank)
                gathered.append(array)
            else:
                library, received = self._announced(head)
                self.broadcast_in_place("allgather", arrays.as_bytes(received), rank)
                gathered.append(arrays.from_tensor(received, library))
        return tuple(gathered)

    def gather(self, array: Any, root: int = 0) -> tuple | None:
        """Return every rank's array on rank ``root``, in the order of the ranks, and ``None`` on the others."""
        self.check_rank("gather", "root", root)
        tensor = self._outgoing(array, "gather", "array")
        heads = self.agree("gather", root, *arrays.header(array, tensor), same=1)
        if self.rank != root:
            self.exchange("gather", [(dist.isend, arrays.as_bytes(tensor), root)])
            return None
        incoming = {rank: self._announced(heads[rank][1:]) for rank in range(self.size) if rank != root}
        self.exchange("gather", [(dist.irecv, arrays.as_bytes(t), rank) for rank, (_, t) in incoming.items()])
        received = {rank: arrays.from_tensor(t, library) for rank, (library, t) in incoming.items()}
        return tuple(received.get(rank, array) for rank in range(self.size))

    def scatter(self, pieces: Sequence[Any] | None = None, root: int = 0) -> Any:
        """Return to each rank its one of the arrays that rank ``root`` passes; the others may pass ``None``.

        Raises:
            ValueError: on ``root``, not as many arrays as ranks.
        """
        self.check_rank("scatter", "root", root)
        if self.rank == root:
            self.check_pieces("scatter", pieces)
        self.agree("scatter", root, same=1)
        return self._alltoall("scatter", pieces if self.rank == root else None, [root])

    def alltoall(self, pieces: Sequence[Any]) -> tuple:
        """Send the r-th array to rank r, and return what each rank sent here, in the order of the ranks.

        Raises:
            ValueError: not as many arrays as ranks.
        """
        self.check_pieces("alltoall", pieces)
        self.agree("alltoall")
        return self._alltoall("alltoall", pieces, range(self.size))

    def allreduce(self, array: Any, op: str = "sum") -> Any:
        """Return the elementwise sum (mean, largest, smallest) of every rank's array, the same bits on all.

        Args:
            array: of one shape and dtype on all ranks; it is left as it is.
            op: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``. The mean needs floating-point numbers.

        Raises:
            TypeError: a dtype that cannot be added.
            ValueError: another ``op``.
            DisagreementError: shapes or dtypes differ.
        """
        if op not in ("sum", "mean", "max", "min"):
            raise argument_error("allreduce", "op", "'sum', 'mean', 'max' or 'min'", repr(op))
        tensor = arrays.to_tensor(array, "allreduce", "array")
        if tensor.dtype not in arrays.REDUCIBLE or (op == "mean" and not tensor.is_floating_point()):
            expected = "floating-point numbers" if op == "mean" else "floating-point, (u)int8, int32 or int64 numbers"
            raise argument_error("allreduce", "array", expected, f"{tensor.dtype}", kind=TypeError)
        head = arrays.header(array, tensor)[1:]
        self.agree("allreduce", *head, ["sum", "mean", "max", "min"].index(op), same=len(head) + 1)
        # The sum of halves may lie beyond what they hold, and their mean within it.
        dtype = torch.promote_types(tensor.dtype, torch.float32) if op == "mean" else tensor.dtype
        total = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
        self.reduce_in_place(total, "sum" if op == "mean" else op)
        if op == "mean":
            total = (total / self.size).to(tensor.dtype)
        return arrays.like(total, array)

    # -- Objects --------------------------------------------------------------------------------------------------

    def send_obj(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send any picklable object to rank ``dest``."""
        self.send(_pickled(obj), dest, tag)

    def recv_obj(self, source: int, tag: int = 0) -> Any:
        """Return the object that rank ``source`` sends."""
        return _unpickled(self.recv(source, tag))

    def bcast_obj(self, obj: Any = None, root: int = 0) -> Any:
        """Return the object of rank ``root`` on every rank."""
        received = self.bcast(_pickled(obj) if self.rank == root else None, root)
        return obj if self.rank == root else _unpickled(received)

    def gather_obj(self, obj: Any, root: int = 0) -> tuple | None:
        """Return every rank's object on rank ``root``, and ``None`` on the others."""
        received = self.gather(_pickled(obj), root)
        return None if received is None else tuple(map(_unpickled, received))

    def allgather_obj(self, obj: Any) -> tuple:
        """Return every rank's object, in the order of the ranks."""
        return tuple(map(_unpickled, self.allgather(_pickled(obj))))

    def allreduce_obj(self, obj: Any) -> Any:
        """Return the sum of every rank's object by ``+``, added in the order of the ranks; dicts key by key."""
        return _added(self.allgather_obj(obj))

    def scatter_obj(self, objs: Sequence[Any] | None = None, root: int = 0) -> Any:
        """Return to each rank its one of the objects that rank ``root`` passes."""
        pieces = [_pickled(obj) for obj in objs] if self.rank == root and objs is not None else None
        return _unpickled(self.scatter(pieces, root))

    def alltoall_obj(self, objs: Sequence[Any]) -> tuple:
        """Send the r-th object to rank r, and return what each rank sent here."""
        return tuple(map(_unpickled, self.alltoall([_pickled(obj) for obj in objs])))

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self.agree("barrier")

    def _alltoall(self, call: str, pieces: Sequence[Any] | None, sources: Sequence[int]) -> Any:
        """Send ``pieces`` (if any) one to each rank, receive one from each of ``sources``."""
        outgoing: dict[int, tuple[Tensor, Tensor]] = {}
        for rank, piece in enumerate(pieces or ()):
            if rank != self.rank:
                tensor = self._outgoing(piece, call, f"pieces[{rank}]")
                outgoing[rank] = torch.tensor(arrays.header(piece, tensor)), arrays.as_bytes(tensor)
        heads = {
            source: torch.empty(arrays.MOST_AXES + 3, dtype=torch.int64) for source in sources if source != self.rank
        }
        self.exchange(
            call,
            [(dist.isend, head, rank) for rank, (head, _) in outgoing.items()]
            + [(dist.irecv, head, source) for source, head in heads.items()],
        )
        incoming = {source: self._announced(head.tolist()) for source, head in heads.items()}
        # Arrays on the CPU and on a GPU go through different engines, which must not meet in one batch.
        for kind in ("cpu", "cuda"):
            self.exchange(
                call,
                [(dist.isend, body, rank) for rank, (_, body) in outgoing.items() if body.device.type == kind]
                + [
                    (dist.irecv, arrays.as_bytes(tensor), source)
                    for source, (_, tensor) in incoming.items()
                    if tensor.device.type == kind
                ],
            )
        received = {source: arrays.from_tensor(tensor, library) for source, (library, tensor) in incoming.items()}
        if pieces is not None:
            received[self.rank] = pieces[self.rank]
        return received[sources[0]] if call == "scatter" else tuple(received[source] for source in sources)

    def _outgoing(self, array: Any, call: str, argument: str) -> Tensor:
        """Return an array as a contiguous tensor where this communicator's engine can send it from."""
        tensor = arrays.to_tensor(array, call, argument)
        return (tensor.to(self.device) if tensor.is_cuda else tensor).contiguous()

    def _announced(self, head: list[int]) -> tuple[str, Tensor]:
        return arrays.announced(head, self.device)


def _pickled(obj: Any) -> np.ndarray:
    return np.frombuffer(bytearray(pickle.dumps(obj)), dtype=np.uint8)


def _unpickled(received: np.ndarray) -> Any:
    return pickle.loads(received.data)


def _added(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _added([value[key] for value in values if key in value]) for key in keys}
    total = first
    for value in values[1:]:
        total = total + value
    return total
