"""Snapshots of every process's own state, from which all go on at the same iteration."""

import os
import warnings
from pathlib import Path
from typing import Any

from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.serializers import load_npz
from toolkit.autograd.training.extensions.snapshot import Snapshot
from toolkit.core.errors import CheckpointError, require


class MultiNodeSnapshot(Snapshot):
    """A :class:`~toolkit.autograd.training.extensions.Snapshot` a rank (ChainerMN's multi-node checkpointer).

    A rank's iterator and random numbers are its own, so each writes a file, ``rank0of2_snapshot_iter_100.npz``, say.
    A run that is killed may leave the newest on some ranks only; with ``autoload`` all go on from the newest that
    every rank has and can read. All ranks must have one, and as many ranks as wrote the files.

    Args:
        communicator: of the ranks.
        filename: as of ``Snapshot``; the rank is put before it.
        n_retains: at least 2, as the newest may be on some ranks only, or ``None`` for all.
        options: the others of ``Snapshot``.

    Raises:
        ValueError: ``n_retains`` below 2, and as for ``Snapshot``.
    """

    def __init__(
        self,
        communicator: Communicator,
        filename: str = "snapshot_iter_{iteration}.npz",
        *,
        n_retains: int | None = 2,
        **options: Any,
    ) -> None:
        enough = n_retains in (None, -1) or (n_retains is not None and n_retains >= 2)
        require(enough, "MultiNodeSnapshot", "n_retains", ">= 2 or None", n_retains)
        folder, name = os.path.split(filename)
        self._prefix = f"rank{communicator.rank}of{communicator.size}_"
        super().__init__(os.path.join(folder, self._prefix + name), n_retains=n_retains, **options)
        self.communicator = communicator

    def candidates(self, out: str | os.PathLike[str]) -> list[Path]:
        """Return this rank's file of the newest snapshot that all ranks can read, or nothing; all ranks must call it.

        Each that some rank has and cannot read is skipped with a warning, and so is the lack of any in common.
        """
        own = {path.name.removeprefix(self._prefix): path for path in super().candidates(out)}
        told = self.communicator.allgather_obj(tuple(own))
        for name in told[0]:
            if not all(name in theirs for theirs in told):
                continue
            problems = self.communicator.allgather_obj(_problem(own[name]))
            if not any(problems):
                return [own[name]]
            said = "; ".join(f"rank {rank}: {problem}" for rank, problem in enumerate(problems) if problem)
            warnings.warn(f"snapshot {name!r} is skipped: {said}", stacklevel=2)
        if any(told):
            counts = ", ".join(str(len(theirs)) for theirs in told)
            warnings.warn(f"no snapshot that all ranks can read (they have {counts}): a new run begins", stacklevel=2)
        return []


def _problem(path: Path) -> str | None:
    """Return why a file cannot be read, or ``None``."""
    try:
        load_npz(path)
    except (CheckpointError, OSError) as error:
        return "; ".join(line.strip() for line in str(error).splitlines())
    return None
