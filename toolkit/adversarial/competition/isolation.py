"""Submissions in processes of their own, which are ended with all their children on time-out, crash or Ctrl-C.

Nothing that a worker sends is unpickled: only JSON and the raw bytes of images and labels are read from it, each of the
size it must have. This keeps accidents out, not a determined adversary, who can read every file that the user can.
"""

import contextlib
import json
import math
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from toolkit.adversarial.competition.connection import NonsenseError, Stream, dumps_by_value, read_piece
from toolkit.adversarial.competition.fork_server import HEADER, describe_error
from toolkit.adversarial.competition.submissions import Piece, Task, Track
from toolkit.core.errors import reject

LOAD_LIMIT = 120.0
"""Seconds to load a submission, imports included; they do not count for its batches."""

_LARGEST_HEADER = 1 << 22
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from toolkit.adversarial.competition.fork_server import serve; serve(int(sys.argv[1]))"
)


@dataclass(frozen=True)
class Outcome:
    """What became of one batch.

    Attributes:
        pieces: what could be read, in order.
        verdict: ``"ok"``, ``"error"`` (an exception), ``"crash"`` (the process ended) or ``"time-out"``.
        reason: of a verdict that is not ``"ok"``.
    """

    pieces: tuple[Piece, ...]
    verdict: str = "ok"
    reason: str = ""


class Isolation:
    """A server process that has torch loaded and forks a worker for each submission in milliseconds.

    Use it as a context manager: on leaving, all workers are ended. Functions of a notebook or script need no guard,
    they travel by value and the script is not run again. POSIX only.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._server: subprocess.Popen | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> "Isolation":
        if not hasattr(socket, "send_fds") or not hasattr(os, "fork"):
            reject("Isolation", "isolate", "False on a system without fork", sys.platform)
        here, there = socket.socketpair()
        path = [os.path.abspath(entry) for entry in sys.path]
        environment = {**os.environ, "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}
        # A pool of threads that started before a fork would hang the workers, and each is to use one core.
        environment.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
        with tempfile.TemporaryFile() as complaints, there:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _START, str(there.fileno()), json.dumps(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[there.fileno()],
                env=environment,
                start_new_session=True,  # out of the terminal's group: Ctrl-C is for the parent
            )
            there.close()
            self._control = here
            try:
                ready = here.recv(1)
            except BaseException:
                self.close()
                raise
            if not ready:
                self.close()
                complaints.seek(0)
                text = complaints.read().decode(errors="replace").strip()[-2000:]
                raise RuntimeError(f"the process for submissions did not start: {text}")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and the server."""
        with self._lock:
            workers, self._workers = list(self._workers), set()
            control, self._control = self._control, None
        for worker in workers:
            worker.close()
        if control is not None:
            control.close()
        if self._server is not None:
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    def worker(self, function: Callable[..., Any]) -> "Worker":
        """Return a worker for a submission; use it as a context manager."""
        return Worker(self, function)

    def _fork(self, worker: "Worker", work: socket.socket, watch: socket.socket) -> None:
        with self._lock:
            if self._control is None:
                raise RuntimeError("the process for submissions is closed; open Isolation in a with statement")
            try:
                socket.send_fds(self._control, [b"w"], [work.fileno(), watch.fileno()])
            except OSError as error:
                raise RuntimeError("the process for submissions has ended") from error
            self._workers.add(worker)

    def _forget(self, worker: "Worker") -> None:
        with self._lock:
            self._workers.discard(worker)


class Worker:
    """One submission's process; started when needed, and again after it was ended."""

    def __init__(self, isolation: Isolation, function: Callable[..., Any]) -> None:
        self._isolation = isolation
        self._work: socket.socket | None = None
        self._watch: socket.socket | None = None
        self._function = function
        self._excuse = ""
        try:
            self._payload = cloudpickle.dumps(function)
        except Exception as error:  # whatever cannot be pickled says so in its own way
            self._payload, self._excuse = b"", f"it cannot be sent to another process: {describe_error(error)}"

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, track: Track, task: Task, limit: float | None = None) -> Outcome:
        """Run one batch.

        Args:
            track: of the submission.
            task: the batch.
            limit: seconds; then the process is ended and what it has sent until then is returned.

        Returns:
            What could be read. On an error or crash nothing counts.
        """
        if self._excuse:
            return Outcome((), "error", self._excuse)
        if self._work is None:
            loaded = self._load()
            if loaded.verdict != "ok":
                return loaded
        return self._ask(pickle.dumps((track, task), protocol=5), limit, task.images.shape)

    def close(self) -> None:
        """End the process and its children, and wait until they have ended."""
        self._end()
        self._isolation._forget(self)

    def _load(self) -> Outcome:
        loaded = self._start()
        if loaded.verdict == "ok":
            return loaded
        # A module that is known here may not be found there: then its functions travel by value.
        with contextlib.suppress(Exception):
            payload, self._payload = self._payload, dumps_by_value(self._function)
            if self._payload != payload and self._start().verdict == "ok":
                return Outcome(())
        self._excuse = f"it does not load in another process: {loaded.reason}"
        return Outcome((), "error", self._excuse)

    def _start(self) -> Outcome:
        self._work, work = socket.socketpair()
        self._watch, watch = socket.socketpair()
        with work, watch:
            self._isolation._fork(self, work, watch)
        loaded = self._ask(self._payload, LOAD_LIMIT, (0,))
        if loaded.verdict != "ok":
            self._end()
        return loaded

    def _ask(self, request: bytes, limit: float | None, batch_shape: tuple[int, ...]) -> Outcome:
        n, shape = batch_shape[0], batch_shape[1:]
        pieces: list[Piece] = []
        try:
            stream = Stream(self._work, self._watch, math.inf if limit is None else time.monotonic() + limit)
            stream.write(struct.pack("!Q", len(request)) + request)
            while True:
                text, n_bytes = HEADER.unpack(stream.read(HEADER.size))
                if text > _LARGEST_HEADER:
                    raise NonsenseError
                header = json.loads(stream.read(text))
                if header["kind"] == "end":
                    reason = str(header["reason"])
                    return Outcome((), "error", reason) if reason else Outcome(tuple(pieces))
                pieces.append(read_piece(header, stream, n_bytes, n, shape))
        except TimeoutError:
            self._end()
            return Outcome(tuple(pieces), "time-out", f"more than {limit:g} s")
        except (NonsenseError, ValueError, KeyError, TypeError, AttributeError):
            self._end()
            return Outcome((), "crash", "the process sent something that is no output")
        except (EOFError, OSError):
            return Outcome((), "crash", _describe_status(self._end()))
        except BaseException:
            self._end()
            raise

    def _end(self) -> int | None:
        """End the process; return its status."""
        work, watch = self._work, self._watch
        self._work = self._watch = None
        status = None
        if watch is not None:
            with watch, contextlib.suppress(OSError):
                with contextlib.suppress(OSError):
                    watch.sendall(b"k")
                watch.settimeout(10)
                told = watch.recv(4)
                status = struct.unpack("!i", told)[0] if len(told) == 4 else None
        if work is not None:
            work.close()
        return status


def _describe_status(status: int | None) -> str:
    if status is None:
        return "the process ended"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"the process was ended by {signal.Signals(number).name}"
        return f"the process was ended by signal {number}"
    return f"the process exited with status {os.waitstatus_to_exitcode(status)}"
