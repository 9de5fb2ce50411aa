"""What passes between a competition and the process of a submission: functions there, images and labels back."""

import contextlib
import math
import os
import select
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from toolkit.adversarial.competition.submissions import Piece

_REGISTRY = threading.Lock()


class NonsenseError(Exception):
    """The worker broke the protocol."""


class Stream:
    """Reads and writes until a deadline, and notices the end of the process even if a child holds its connection."""

    def __init__(self, work: socket.socket | None, watch: socket.socket | None, deadline: float) -> None:
        assert work is not None and watch is not None
        self._work, self._watch, self._deadline = work, watch, deadline
        work.setblocking(False)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            self._wait(writing=True)
            with contextlib.suppress(BlockingIOError):
                view = view[self._work.send(view) :]

    def read(self, n: int) -> bytearray:
        found = bytearray(n)
        view = memoryview(found)
        while len(view):
            try:
                got = self._work.recv_into(view)
            except BlockingIOError:
                self._wait()
                continue
            if not got:
                raise EOFError
            view = view[got:]
            if time.monotonic() > self._deadline:
                raise TimeoutError
        return found

    def _wait(self, writing: bool = False) -> None:
        """Wait until there is something to do; without anything more to read, the end of the process is the end."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        reading, to_write = [self._watch] if writing else [self._watch, self._work], [self._work] if writing else []
        readable, writable, _ = select.select(reading, to_write, [], None if math.isinf(left) else left)
        if not readable and not writable:
            raise TimeoutError
        if self._watch in readable and self._work not in readable:
            raise EOFError


def read_piece(header: dict[str, Any], stream: Stream, n_bytes: int, n: int, shape: tuple[int, ...]) -> Piece:
    kind, indices = header["kind"], tuple(header["indices"])
    if not all(type(index) is int and 0 <= index < n for index in indices):
        raise NonsenseError
    if kind in ("unreadable", "resized") and n_bytes == 0:
        return Piece(kind, indices, reason=str(header["reason"]))
    width = math.prod(shape) if kind == "images" else 8
    if kind not in ("images", "labels") or n_bytes != len(indices) * width:
        raise NonsenseError
    body = stream.read(n_bytes)
    values: Tensor
    if kind == "images":
        values = torch.from_numpy(np.frombuffer(body, np.uint8).reshape(len(indices), *shape))
    else:
        values = torch.from_numpy(np.frombuffer(body, np.int64))
    return Piece(kind, indices, values)


def dumps_by_value(function: Callable[..., Any]) -> bytes:
    """Pickle a function with all that it uses of modules that are not installed, so that nobody has to import them."""
    with _REGISTRY:  # it is cloudpickle's and global
        modules = [module for name, module in list(sys.modules.items()) if _is_own(name, module)]
        known = cloudpickle.list_registry_pickle_by_value()
        new = [module for module in modules if module.__name__ not in known]
        for module in new:
            cloudpickle.register_pickle_by_value(module)
        try:
            return cloudpickle.dumps(function)
        finally:
            for module in new:
                cloudpickle.unregister_pickle_by_value(module)


def _is_own(name: str, module: Any) -> bool:
    """Return whether a module is neither installed nor the toolkit's."""
    file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
    if not file or not os.path.isabs(file) or module.__name__ != name or name.split(".")[0] in ("toolkit", "__main__"):
        return False
    path = Path(file).resolve()
    installed = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(path.is_relative_to(Path(folder).resolve()) for folder in installed)
