"""The other side of isolation: a server that has torch loaded and forks workers; what they and their guardians do.

One submission has one worker, which runs it, and one guardian, which ends the worker with all its children when told
to, or when the parent is gone, whatever the worker does. The server never runs a submission and holds no thread pool
and no CUDA context, so that it may be forked.
"""

import contextlib
import ctypes
import gc
import json
import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import cloudpickle
import torch

from toolkit.adversarial.competition.submissions import Piece, answer, undisturbed

HEADER = struct.Struct("!IQ")
"""Before each message: the lengths of its JSON part and of its bytes."""

Reply = Callable[..., None]


def serve(descriptor: int) -> None:
    """Fork a guardian for each request until the parent closes the connection. Does not return."""
    control = socket.socket(fileno=descriptor)
    # The guardians' exit statuses are nobody's concern; ignored, they leave no zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
    control.sendall(b"r")
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not request:
            break
        if os.fork() == 0:
            control.close()
            _become(_guard, *descriptors)
        for inherited in descriptors:
            os.close(inherited)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, 0)  # returns when the last guardian is gone
    os._exit(0)


def _reply(connection: socket.socket, worker: int, header: dict[str, Any], body: bytes = b"") -> None:
    """Send a message of the worker."""
    # A child that a submission forked and let return would say all twice, and its second answer would pass for the next
    # batch's.
    if os.getpid() != worker:
        os._exit(0)
    text = json.dumps(header).encode()
    connection.sendall(HEADER.pack(len(text), len(body)) + text)
    connection.sendall(body)


def _become(role: Callable[..., None], *descriptors: int) -> None:
    """Run the rest of a forked process, which must never return into its parent's code."""
    status = 1
    try:
        role(*descriptors)
        status = 0
    finally:
        os._exit(status)


def _guard(work: int, watch: int) -> None:
    """Fork the worker, wait for its end or a word of the parent, then end all that it started and tell the status."""
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _control_process(36, 1)  # PR_SET_CHILD_SUBREAPER: descendants that lose their parent come to the guardian
    worker = os.fork()
    if worker == 0:
        for inherited in (watch, woken, wake):
            os.close(inherited)
        _become(_work, work)
    os.close(work)
    status = 0
    while True:
        readable, _, _ = select.select([watch, woken], [], [])
        if watch in readable:
            break
        os.read(woken, 1024)
        # It stays a zombie, and its group's number its own, until the group is ended below.
        if _has_ended(worker):
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(worker, signal.SIGKILL)  # it may not have got to making a group
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(worker, 0)
    _end_orphans()
    with contextlib.suppress(OSError):
        socket.socket(fileno=watch).sendall(struct.pack("!i", status))


def _has_ended(worker: int) -> bool:
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True  # the guardian has no other child


def _control_process(option: int, value: int) -> None:
    """Call Linux's prctl; what it does here has no counterpart elsewhere."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_orphans() -> None:
    """End the descendants that left the worker's group, until none is left."""
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                children = [int(number) for number in file.read().split()]
        except OSError:
            return
        if not children:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _work(descriptor: int) -> None:
    """Load a submission, then answer one batch after the other until the parent closes the connection."""
    os.setsid()
    _control_process(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no worker outlives its guardian
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    connection = socket.socket(fileno=descriptor)
    reply = partial(_reply, connection, os.getpid())
    with connection.makefile("rb") as requests:
        payload = _receive(requests)
        if payload is None:
            return
        _answer_or_excuse(reply, lambda: cloudpickle.loads(payload))
        while (request := _receive(requests)) is not None:
            _answer_or_excuse(reply, partial(_play, reply, payload, request))


def _play(reply: Reply, payload: bytes, request: bytes) -> None:
    track, task = pickle.loads(request)
    # A fresh copy for every batch: nothing that it remembers can depend on which batches it saw before.
    with undisturbed(task.seed):
        function = cloudpickle.loads(payload)
    for piece in answer(function, track, task):
        _send_piece(reply, piece)


def _send_piece(reply: Reply, piece: Piece) -> None:
    header = {"kind": piece.kind, "indices": list(piece.indices), "reason": piece.reason[:1000]}
    reply(header, b"" if piece.values is None else piece.values.contiguous().numpy().tobytes())


def _answer_or_excuse(reply: Reply, action: Callable[[], Any]) -> None:
    try:
        action()
        report = {"kind": "end", "reason": ""}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: whatever it raised, it was the submission
        report = {"kind": "end", "reason": describe_error(error)}
    reply(report)


def describe_error(error: BaseException) -> str:
    """Return the type of an error and the first line of what it says, both cut."""
    try:
        lines = str(error).strip().splitlines()
    except BaseException:
        lines = []
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _receive(requests: Any) -> bytes | None:
    start = requests.read(8)
    if len(start) < 8:
        return None
    (length,) = struct.unpack("!Q", start)
    body = requests.read(length)
    return body if len(body) == length else None
