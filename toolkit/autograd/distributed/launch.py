"""Several processes from one call, as from a notebook's cell: start, watch, collect, and leave nothing behind."""

import dataclasses
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.autograd.distributed.groups import LaunchError, checked_options
from toolkit.core.errors import argument_error

_LAST_LINES = 30
_AFTER_FAILURE = 3.0
"""Seconds that the other ranks get, beyond their timeout, to notice that one failed and say so."""


@dataclasses.dataclass(frozen=True)
class Launched:
    """What several processes gave back.

    Attributes:
        results: what the function returned, by rank.
        outputs: what each rank printed, by rank.
        seconds: from start to end, the imports of each process included.
    """

    results: tuple[Any, ...]
    outputs: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        return f"Launched({len(self.results)} processes, {self.seconds:.1f} s)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {"results": self.results, "outputs": self.outputs, "seconds": self.seconds}


def launch(
    function: Callable[..., Any],
    n_processes: int = 2,
    *arguments: Any,
    communicator: str = "flat",
    allreduce_grad_dtype: str | None = None,
    timeout: float = 120.0,
    communication_timeout: float = 20.0,
) -> Launched:
    """Call ``function(communicator, *arguments)`` in several processes of this machine.

    The processes find each other through a file in a folder of their own, so no port is taken, and they end with
    this one. It works from a notebook's cell, a script without a main guard, and a test.

    Args:
        function: defined at the top of a module that can be imported: a process that starts anew cannot see what was
            defined in a cell, in ``__main__`` or inside another function.
        n_processes: how many, 1 or more.
        arguments: for the function; they and the results must be picklable.
        communicator: its name, as in :func:`create_communicator`.
        allreduce_grad_dtype: as in :func:`create_communicator`.
        timeout: seconds for everything, about two of which each process needs to import torch.
        communication_timeout: seconds a collective call may wait for other ranks.

    Returns:
        Results and printed output of every rank.

    Raises:
        LaunchError: a rank raised, was killed, or did not end in time. The message has the traceback of the rank
            that failed first, and all processes have ended.
        ValueError: ``function`` cannot be imported, or a number or name is none of those allowed.
        TypeError: an argument cannot be pickled.
    """
    where = _importable(function)
    if not isinstance(n_processes, int) or isinstance(n_processes, bool) or n_processes < 1:
        raise argument_error("launch", "n_processes", "1 or more", repr(n_processes))
    for name, seconds in (("timeout", timeout), ("communication_timeout", communication_timeout)):
        if not isinstance(seconds, int | float) or not 0 < seconds < 1e6:
            raise argument_error("launch", name, "a positive number of seconds", repr(seconds))
    checked_options("launch", communicator, communication_timeout, allreduce_grad_dtype)
    options = {"name": communicator, "timeout": communication_timeout, "allreduce_grad_dtype": allreduce_grad_dtype}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="toolkit-launch-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        task = {"function": where, "arguments": arguments, "options": options, "timeout": timeout}
        try:
            (folder / "task").write_bytes(pickle.dumps(task))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise argument_error("launch", "arguments", "what can be pickled", str(error), kind=TypeError) from error
        workers = []
        try:
            for rank in range(n_processes):
                workers.append(_start(folder, rank, n_processes))
            late = _watch(workers, started + timeout, communication_timeout)
        finally:
            _end(workers)
        reports = [_report(folder, rank) for rank in range(n_processes)]
        outputs = tuple(_text(folder / f"output-{rank}") for rank in range(n_processes))
        if late or any(kind != "result" for kind, _ in reports):
            raise LaunchError(_account(folder, workers, reports, late, timeout))
    return Launched(tuple(value for _, value in reports), outputs, time.monotonic() - started)


def _importable(function: Any) -> tuple[str, str]:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    expected = "a function at the top of a module that other processes can import (a .py file)"
    if not module or not name or not callable(function):
        raise argument_error("launch", "function", expected, repr(function))
    if module == "__main__" or "<" in name:
        raise argument_error("launch", "function", expected, f"{name}, defined in {module}")
    if getattr(sys.modules.get(module), name.split(".")[0], None) is None:
        raise argument_error("launch", "function", expected, f"{name}, which {module} does not have")
    return module, name


def _start(folder: Path, rank: int, size: int) -> subprocess.Popen:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    # As torchrun does: more threads than cores would only wait for each other.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // size)))
    # An outer launcher's rendezvous is not ours.
    for variable in ("MASTER_ADDR", "MASTER_PORT", "GROUP_RANK"):
        environment.pop(variable, None)
    # All are on this machine: nothing need listen to the network, nor the machine's name be known to it.
    interfaces = [name for _, name in socket.if_nameindex()]
    for loopback in ("lo", "lo0"):
        if loopback in interfaces:
            environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
    with (folder / f"output-{rank}").open("wb") as output, (folder / f"errors-{rank}").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "toolkit.autograd.distributed.worker", str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            # Ctrl-C reaches this process alone, which ends the others.
            start_new_session=True,
        )


def _watch(workers: list[subprocess.Popen], deadline: float, communication_timeout: float) -> list[int]:
    """Wait until all have ended, or, once one failed, the others have had the time to notice; return who runs still."""
    failed = False
    while True:
        codes = [worker.poll() for worker in workers]
        running = [rank for rank, code in enumerate(codes) if code is None]
        if not running or time.monotonic() > deadline:
            return running
        if not failed and any(codes):
            failed = True
            deadline = min(deadline, time.monotonic() + communication_timeout + _AFTER_FAILURE)
        time.sleep(0.02)


def _end(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
    for worker in workers:
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def _report(folder: Path, rank: int) -> tuple[str, Any]:
    try:
        return pickle.loads((folder / f"report-{rank}").read_bytes())
    except FileNotFoundError:
        return "nothing", None
    except Exception as error:
        return "error", f"what it returned cannot be unpickled here: {type(error).__name__}: {error}"


def _account(folder: Path, workers: list, reports: list, late: list[int], timeout: float) -> str:
    """Tell what happened, the ranks that failed of themselves before those that lost contact through it."""
    told: list[tuple[int, str]] = []
    for rank, (kind, value) in enumerate(reports):
        if kind == "result":
            continue
        if kind == "error":
            told.append((0, f"rank {rank} raised:\n{value.rstrip()}"))
        elif kind == "lost contact":
            told.append((2, f"rank {rank}: {value}"))
        else:
            code = workers[rank].returncode
            if rank in late:
                what = "had not ended and was stopped"
            elif code < 0:
                name = signal.Signals(-code).name
                what = f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
            else:
                what = f"ended with exit code {code} and no report"
            last = "\n".join(_text(folder / f"errors-{rank}").rstrip().splitlines()[-_LAST_LINES:])
            told.append((1, f"rank {rank} {what}" + (f"; its last lines:\n{last}" if last else "")))
    told.sort(key=lambda entry: entry[0])
    first = f"launch: {len(workers)} processes did not end within {timeout:g} s"
    if any(kind != "result" and rank not in late for rank, (kind, _) in enumerate(reports)):
        first = "launch: a process failed"
    return "\n".join([first, *(text for _, text in told)])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
