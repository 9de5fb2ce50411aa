"""The communicator: who takes part, in which groups, and what they do to a model (ChainerMN's words).

torch.distributed does the work, gloo between CPUs and NCCL between GPUs. Every collective call starts with a record
of fixed size from each rank, so that ranks that make different calls, or the same with arrays that do not fit, all
raise an error that says so, where torch would hang or mix up bytes.
"""

import datetime
import math
import socket
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from toolkit.autograd.distributed.collectives import Collectives
from toolkit.autograd.distributed.failures import DisagreementError
from toolkit.autograd.distributed.transport import integer_as_number, number_as_integer
from toolkit.core.errors import argument_error


class Communicator(Collectives):
    """A set of processes, this one's place in it, and their collective calls.

    Made by :func:`create_communicator` or :func:`process_group`, and by :meth:`split`.

    Args:
        name: ``"naive"``, ``"flat"`` or ``"pure_nccl"``.
        members: ranks taking part, as the whole process group counts them, in this communicator's order.
        me: this process, as the whole process group counts it.
        group: torch's process group of the members; ``None`` alone.
        store: torch's key-value store, where ranks report their failures.
        timeout: seconds a call may wait for the other ranks.
        device: where this process computes.
        node: what processes on one machine have in common.
        allreduce_grad_dtype: dtype of the gradients on their way; ``None`` is their own.

    Attributes:
        rank: place of this process, from 0.
        size: number of processes.
        intra_rank: place among the processes on the same machine.
        intra_size: number of processes on the same machine.
        inter_rank: place of this machine among the machines.
        inter_size: number of machines.
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
        node: str | None = None,
        allreduce_grad_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(name, members, me, group=group, store=store, timeout=timeout, device=device)
        self.allreduce_grad_dtype = allreduce_grad_dtype
        self._node = socket.gethostname() if node is None else node
        nodes = self.allgather_obj(self._node)
        ordered = list(dict.fromkeys(nodes))
        neighbours = [rank for rank, node in enumerate(nodes) if node == self._node]
        self.intra_rank = neighbours.index(self.rank)
        self.intra_size = len(neighbours)
        self.inter_rank = ordered.index(self._node)
        self.inter_size = len(ordered)

    def __repr__(self) -> str:
        return f"Communicator({self.name!r}, rank {self.rank} of {self.size}, {self.device})"

    def __copy__(self) -> "Communicator":
        return self

    def __deepcopy__(self, memo: dict) -> "Communicator":
        # A link that holds one is copied; the processes are not.
        return self

    def __reduce__(self) -> tuple:
        expected = "to stay in its process (create one there)"
        raise argument_error("pickle", "communicator", expected, repr(self), kind=TypeError)

    # -- Groups ---------------------------------------------------------------------------------------------------

    def split(self, color: int | None, key: int = 0) -> "Communicator | None":
        """Return a communicator of the ranks that pass the same ``color``, ordered by ``key``, then by rank.

        Every rank must call it.

        Args:
            color: the part this rank goes to; ``None`` for none, which returns ``None``.
            key: its place there.
        """
        choices = self.allgather_obj((color, key))
        if color is None:
            return None
        ranks = sorted(
            (rank for rank, (theirs, _) in enumerate(choices) if theirs == color),
            key=lambda rank: (choices[rank][1], rank),
        )
        members = [self.members[rank] for rank in ranks]
        group = None
        if len(members) > 1:
            with self.guarded_call("split"):
                group = dist.new_group(
                    members, timeout=datetime.timedelta(seconds=self.timeout), use_local_synchronization=True
                )
        return Communicator(
            self.name,
            members,
            self._me,
            group=group,
            store=self._store,
            timeout=self.timeout,
            device=self.device,
            node=self._node,
            allreduce_grad_dtype=self.allreduce_grad_dtype,
        )

    # -- Models ---------------------------------------------------------------------------------------------------

    def broadcast_data(self, model: Any, root: int = 0) -> None:
        """Overwrite parameters and persistent values of a Link with those of rank ``root`` (``bcast_data``).

        Raises:
            DisagreementError: the ranks' models differ in paths, shapes or dtypes.
        """
        from toolkit.autograd.distributed.models import broadcast_data

        broadcast_data(self, model, root)

    def mean_gradients(self, model: Any, zero_fill: bool = False, *, weight: float | None = None) -> None:
        """Replace the gradients of a Link by their mean over all ranks (``multi_node_mean_grad``).

        With a loss that is a mean over samples, the mean of the ranks' gradients is the gradient over the whole batch
        only if the shards are equally large; for others pass the number of samples in this rank's shard as
        ``weight``. (Where samples of different ranks meet in a layer, as in :class:`MultiNodeBatchNormalization`,
        weigh the losses instead, by :meth:`relative_weight`, and leave ``weight`` out.)

        Args:
            model: its parameters must have the same paths, shapes and dtypes on every rank.
            zero_fill: a gradient that is missing counts as zeros, and every initialised parameter gets one.
                Otherwise a parameter has a gradient on all ranks (those of weight 0 aside) or on none.
            weight: of this rank in the mean, 0 or more; on a rank with 0 gradients may be missing, and if there are
                any they are not looked at.

        Raises:
            DisagreementError: the ranks' models, or missing gradients, differ; no rank has weight.
            ValueError: ``weight`` is negative or not finite.
        """
        from toolkit.autograd.distributed.gradients import start_mean

        mean = start_mean(self, model, zero_fill=zero_fill, weight=weight)
        if mean is not None:
            mean.finish().hand_out()

    def relative_weight(self, count: float) -> float:
        """Return ``count * size / (sum of all ranks' counts)``: what to multiply a mean loss by before ``backward``.

        The mean over ranks of the losses so weighted is the mean over all samples, however unequal the shards are.

        Args:
            count: number of samples in this rank's part of the batch, 0 or more.

        Raises:
            ValueError: ``count`` is negative or not finite.
            DisagreementError: every rank passes 0.
        """
        if not isinstance(count, int | float) or not 0 <= count < math.inf:
            raise argument_error("relative_weight", "count", "a finite number, 0 or more", repr(count))
        total = math.fsum(
            integer_as_number(theirs) for (theirs,) in self.agree("relative_weight", number_as_integer(count))
        )
        if not total:
            raise DisagreementError("relative_weight: no rank has samples")
        return count * self.size / total
