"""From what a launcher left in the environment to a communicator, and to a clean end whatever happens."""

import atexit
import contextlib
import datetime
import math
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.failures import guarded, report_failure
from toolkit.core.errors import argument_error

_ENGINES = {"naive": "gloo", "flat": "gloo", "pure_nccl": "cpu:gloo,cuda:nccl"}
_NEEDED = {"naive": ("cpu:gloo",), "flat": ("cpu:gloo",), "pure_nccl": ("cpu:gloo", "cuda:nccl")}
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OTHER_LAUNCHERS = {"OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpiexec", "SLURM_NTASKS": "srun"}
_ours: dict[str, Any] = {}
"""The store of the process group, if this module made the group."""


class LaunchError(RuntimeError):
    """The processes were not started in a way that lets them find each other, or one of them failed."""


def create_communicator(
    name: str | None = None,
    *,
    timeout: float = 60.0,
    allreduce_grad_dtype: Any = None,
) -> Communicator:
    """Return a communicator of all processes, joining them into a group on the first call.

    Start the script with ``torchrun --nproc_per_node=2 script.py`` (or ``python -m torch.distributed.run``).
    Without a launcher there is one process, and the communicator has size 1: no socket is opened, and every call
    returns what it would with itself for company. All ranks must make their communicators together. Prefer
    :func:`process_group`, which also ends the group well.

    Args:
        name: ``"flat"`` (gloo, gradients in one buffer), ``"naive"`` (gloo, one call a parameter, to compare),
            ``"pure_nccl"`` (NCCL between GPUs, one a process, chosen by ``LOCAL_RANK``; what lies on the CPU goes
            through gloo). ``None`` is ``"pure_nccl"`` where every process of this machine has a GPU, else ``"flat"``.
        timeout: seconds a call may wait for other ranks before it raises. With NCCL, torch's watchdog ends the
            process instead.
        allreduce_grad_dtype: ``"float16"`` (scaled on the way, so that no sum overflows) or ``"bfloat16"`` halves what
            gradients take; ``None`` leaves their own dtype.

    Raises:
        LaunchError: the environment of a launcher is incomplete, or that of another than torchrun.
        CommunicationError: not all processes came within ``timeout``.
        ValueError: an unknown name, a timeout that is not positive, or no GPU for ``"pure_nccl"``.
    """
    grad_dtype = checked_options("create_communicator", name, timeout, allreduce_grad_dtype)
    local_rank, local_size = _number_in_environment("LOCAL_RANK", 0), _number_in_environment("LOCAL_WORLD_SIZE", 1)
    n_gpus = torch.cuda.device_count() if dist.is_nccl_available() else 0
    engines = dist.get_backend_config() if dist.is_initialized() else None
    if name is None:
        wanted = n_gpus >= local_size if engines is None else "cuda:nccl" in engines
        name = "pure_nccl" if wanted else "flat"
    device = torch.device("cpu")
    if name == "pure_nccl":
        if n_gpus <= local_rank:
            actual = f"{n_gpus} GPUs for local rank {local_rank}"
            raise argument_error("create_communicator", "name", "'flat' or 'naive' without a GPU a process", actual)
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    if engines is None:
        _join(name, timeout)
    elif any(engine not in engines for engine in _NEEDED[name]):
        raise LaunchError(
            f"create_communicator: {name!r} needs a process group with {' and '.join(_NEEDED[name])}, and there is one "
            f"with {engines}; let this function make it, or init_process_group({_ENGINES[name]!r}, ...)"
        )
    rank, size, store = 0, 1, None
    if dist.is_initialized():
        rank, size, store = dist.get_rank(), dist.get_world_size(), _ours.get("store")
    return Communicator(
        name,
        range(size),
        rank,
        group=dist.group.WORLD if size > 1 else None,
        store=store,
        timeout=timeout,
        device=device,
        node=os.environ.get("GROUP_RANK"),
        allreduce_grad_dtype=grad_dtype,
    )


@contextlib.contextmanager
def process_group(
    name: str | None = None, *, timeout: float = 60.0, allreduce_grad_dtype: Any = None
) -> Iterator[Communicator]:
    """Join the processes for the body, and leave the group whatever happens there.

    An error in the body is reported to the other ranks, whose waiting calls then end with a
    :class:`CommunicationError` that names it, where without this they would wait for their timeout.
    Arguments and errors are those of :func:`create_communicator`. A group that exists already is used and left alone.

    Examples:
        >>> with process_group() as communicator:
        ...     communicator.size
        1
    """
    with contextlib.nullcontext() if dist.is_initialized() else ended_well():
        yield create_communicator(name, timeout=timeout, allreduce_grad_dtype=allreduce_grad_dtype)


@contextlib.contextmanager
def ended_well() -> Iterator[None]:
    """Report an error of the body to the other ranks, and leave the group at its end."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:
            _report(error)
        raise
    finally:
        leave()


def install_exception_hook() -> None:
    """Let an uncaught error of this process end the group, for scripts that do not use :func:`process_group`.

    Python's own report is printed first, with the rank before it.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if dist.is_initialized():
            print(f"rank {dist.get_rank()} of {dist.get_world_size()} failed:", file=sys.stderr)
        previous(kind, error, traceback)
        sys.stderr.flush()
        _report(error)
        leave()

    sys.excepthook = hook


def leave() -> None:
    """Leave the process group that this module joined; do nothing if there is none."""
    if _ours:
        _ours.clear()
        if dist.is_initialized():
            dist.destroy_process_group()


def join_through(store: Any, rank: int, size: int, name: str, timeout: float) -> None:
    """Join processes that share a store of torch's.

    Raises:
        CommunicationError: not all came within ``timeout``.
    """
    with guarded("joining the process group", rank=rank, members=range(size), timeout=timeout, store=store):
        dist.init_process_group(
            _ENGINES[name], store=store, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=timeout)
        )
    _ours["store"] = store
    atexit.register(leave)


def _join(name: str, timeout: float) -> None:
    present = [variable for variable in _TORCHRUN if os.environ.get(variable)]
    # An address alone, as some shells keep one, was left by no launcher.
    if "RANK" not in present and "WORLD_SIZE" not in present:
        for variable, launcher in _OTHER_LAUNCHERS.items():
            if os.environ.get(variable, "1") not in ("", "1"):
                raise LaunchError(
                    f"create_communicator: started by {launcher} ({variable}={os.environ[variable]}), which leaves no "
                    "rendezvous for torch; start with: torchrun --nproc_per_node=N script.py"
                )
        return
    missing = [variable for variable in _TORCHRUN if variable not in present]
    if missing:
        raise LaunchError(
            f"create_communicator: {', '.join(present)} set but {', '.join(missing)} missing; start with: "
            "torchrun --nproc_per_node=N script.py (python -m torch.distributed.run), or unset them all for one process"
        )
    rank, size = _number_in_environment("RANK", 0), _number_in_environment("WORLD_SIZE", 1)
    if not rank < size:
        raise LaunchError(f"create_communicator: RANK={rank} is not below WORLD_SIZE={size}")
    _number_in_environment("MASTER_PORT", 0)
    if size == 1 and name != "pure_nccl":
        return
    limit = datetime.timedelta(seconds=timeout)
    with guarded("joining the process group", rank=rank, members=range(size), timeout=timeout, store=None):
        store, rank, size = next(rendezvous("env://", rank, size, timeout=limit))
    store.set_timeout(limit)
    join_through(store, rank, size, name, timeout)


def _number_in_environment(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise LaunchError(f"create_communicator: {name} in the environment is no number: {text!r}")
    return int(text)


def _report(error: BaseException) -> None:
    if _ours and dist.is_initialized():
        report_failure(_ours["store"], dist.get_rank(), error)


def checked_options(call: str, name: str | None, timeout: float, allreduce_grad_dtype: Any) -> torch.dtype | None:
    """Return the dtype of the gradients on their way; arguments as of :func:`create_communicator`.

    Raises:
        ValueError: one of them is none of what that takes.
    """
    if name is not None and name not in _ENGINES:
        raise argument_error(call, "name", f"None or one of {', '.join(_ENGINES)}", repr(name))
    if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise argument_error(call, "timeout", "a positive number of seconds", repr(timeout))
    return _floating_dtype(call, allreduce_grad_dtype)


def _floating_dtype(call: str, value: Any) -> torch.dtype | None:
    if value is None:
        return None
    dtype = value
    if not isinstance(value, torch.dtype):
        try:
            name = value if isinstance(value, str) else np.dtype(value).name
        except TypeError:
            name = repr(value)
        dtype = getattr(torch, name, None)
    if dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        expected = "None, 'float16', 'bfloat16', 'float32' or 'float64'"
        raise argument_error(call, "allreduce_grad_dtype", expected, repr(value))
    return dtype
