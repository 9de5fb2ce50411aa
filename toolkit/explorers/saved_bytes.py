"""What a graph costs in memory: bytes kept for backward, with recomputation and truncated backpropagation to pay less.

Three real networks on real digits. Every number is taken from the nodes themselves while they are made and freed.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.autograd import Variable, checkpoint, hooks
from toolkit.autograd import functions as F
from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.graph import readable_bytes
from toolkit.core.errors import reject, require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, line_chart

STEPS = 56
"""Rows that the recurrent net reads: two digits, one below the other."""
BLOCK = 7
"""Rows in one recomputed block of the recurrent net."""
WINDOWS = (0, 28, 14, 7, 4, 2, 1)
_BATCH, _HIDDEN, _SIZE = 32, 64, 28
_LAYERS, _GROUP, _UNITS = 16, 4, 256

Block = Callable[[Variable], Variable]


class AliveBytes(hooks.Hook):
    """Follows the bytes that recorded operations keep for backward, from their record to their release.

    Args:
        parameters: leaves whose own arrays are not counted: they are there anyway.

    Attributes:
        curve: bytes alive after every operation so far, forward and backward.
        kept: bytes that each kind of operation was the first to keep.
        calls: how often each kind ran forward, again in a recomputation included.
    """

    def __init__(self, parameters: Sequence[Variable]) -> None:
        self.curve: list[int] = [0]
        self.kept: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._owners: dict[int, int] = {_storage(leaf.data)[0]: 1 for leaf in parameters}

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        self.calls[operation.name] += 1
        if output.node is None:
            self.curve.append(self.curve[-1])
        else:
            self.take(output.node)

    def take(self, node: Any) -> None:
        """Count what a new node keeps."""
        alive = self.curve[-1]
        for address, size in _storages(node):
            if address not in self._owners:
                self._owners[address] = 0
                self.kept[node.operation.name] += size
                alive += size
            self._owners[address] += 1
        self.curve.append(alive)

    def recomputed(self, block: Block, h: Variable) -> Variable:
        """Run a block under ``checkpoint``: what its inside kept is gone as soon as it has run."""
        before, kept, owners = self.curve[-1], Counter(self.kept), dict(self._owners)
        output = checkpoint(block, h)
        self._owners, self.kept = owners, kept
        self.curve.append(before)
        self.take(output.node)
        return output

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        alive = self.curve[-1]
        for address, size in _storages(node):
            # Nodes made where no hook sees them are not counted, and not taken off either.
            if address in self._owners:
                self._owners[address] -= 1
                if not self._owners[address]:
                    del self._owners[address]
                    alive -= size
        self.curve.append(alive)


def _storage(array: Any) -> tuple[int, int]:
    return backend_of_type(type(array)).storage(array)


def _storages(node: Any) -> list[tuple[int, int]]:
    return [_storage(value) for value in node.saved or () if hasattr(value, "dtype")]


# ---------------------------------------------------------------------------------------------------------------------
# The networks


@dataclass(frozen=True)
class Network:
    """Weights by name, and blocks of layers: the last returns the loss."""

    weights: Mapping[str, Variable]
    x: Variable
    blocks: tuple[Block, ...]


def _weights(**shapes: tuple[int, ...]) -> dict[str, Variable]:
    draw = np.random.default_rng(0).normal
    made = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        made[name] = Variable((scale * draw(size=shape)).astype(np.float32), requires_grad=True, name=name)
    return made


def _images(count: int) -> tuple[np.ndarray, np.ndarray]:
    split = load("mnist").train[:count]
    return split.as_float().numpy().reshape(count, _SIZE, _SIZE), split.labels.numpy()


def _convnet() -> Network:
    images, labels = _images(_BATCH)
    w = _weights(first=(8, 1, 5, 5), second=(16, 8, 5, 5), hidden=(64, 256), out=(10, 64))

    def head(h: Variable) -> Variable:
        h = F.relu(F.linear(h.reshape(_BATCH, -1), w["hidden"]))
        return F.cross_entropy(F.linear(h, w["out"]), labels)

    return Network(
        w,
        Variable(images[:, None]),
        (
            lambda x: F.max_pool2d(F.relu(F.conv2d(x, w["first"])), 2),
            lambda h: F.max_pool2d(F.relu(F.conv2d(h, w["second"])), 2),
            head,
        ),
    )


def _deep() -> Network:
    images, labels = _images(_BATCH)
    names = [f"layer {number}" for number in range(1, _LAYERS + 1)]
    w = _weights(**{name: (_UNITS, 784 if name == names[0] else _UNITS) for name in names}, out=(10, _UNITS))

    def group(first: int) -> Block:
        def run(h: Variable) -> Variable:
            for name in names[first : first + _GROUP]:
                h = F.tanh(F.linear(h, w[name]))
            return h

        return run

    groups = [group(first) for first in range(0, _LAYERS, _GROUP)]
    return Network(
        w,
        Variable(images.reshape(_BATCH, -1)),
        (*groups, lambda h: F.cross_entropy(F.linear(h, w["out"]), labels)),
    )


NETWORKS: Mapping[str, str] = {
    "convnet": "two convolutions, two linear layers",
    "deep net": f"{_LAYERS} tanh layers and a linear one",
    "recurrent net": f"one cell, unrolled over {STEPS} rows",
}


@functools.cache
def _rows() -> tuple[np.ndarray, ...]:
    """Return the rows of two digits, one after the other, for every sequence of the batch."""
    images, _ = _images(2 * _BATCH)
    sequences = images.reshape(_BATCH, 2 * _SIZE, _SIZE)
    following = np.concatenate([sequences[:, 1:], np.zeros_like(sequences[:, :1])], 1)
    return tuple(np.ascontiguousarray(part[:, step]) for part in (sequences, following) for step in range(STEPS))


def _cell_weights() -> dict[str, Variable]:
    made = _weights(read=(_HIDDEN, _SIZE), recur=(_HIDDEN, _HIDDEN), out=(_SIZE, _HIDDEN))
    # An orthogonal matrix carries a gradient far back: what truncation cuts off is worth seeing.
    made["recur"].data = np.linalg.qr(made["recur"].data)[0].astype(np.float32)
    made["read"].data = made["read"].data * np.float32(0.3)
    return made


# ---------------------------------------------------------------------------------------------------------------------
# The measurement


@dataclass(frozen=True)
class Cost:
    """One forward and backward pass, watched.

    Attributes:
        network: a key of :data:`NETWORKS`.
        recomputed: whether blocks were checkpointed.
        window: rows after which the recurrent net's history was cut; 0 for never.
        curve: bytes kept for backward after every operation; parameters are not counted.
        full: the same with everything kept.
        kept: bytes at the end of the (longest) forward pass, by the kind of operation that was the first to keep them.
        full_kept: the same with everything kept.
        operations: forward operations that ran, recomputed ones included.
        full_operations: with everything kept.
        gradient_difference: distance from the full gradient divided by its length; of the recurrent net the
            gradient of the recurrent weights.
    """

    network: str
    recomputed: bool
    window: int
    curve: tuple[int, ...]
    full: tuple[int, ...]
    kept: Mapping[str, int]
    full_kept: Mapping[str, int]
    operations: int
    full_operations: int
    gradient_difference: float

    @property
    def peak(self) -> int:
        """Most bytes kept at one time."""
        return max(self.curve)

    @property
    def full_peak(self) -> int:
        """Most bytes kept at one time with everything kept."""
        return max(self.full)

    def __repr__(self) -> str:
        return f"Cost({self.network!r}, peak {self.peak} of {self.full_peak} bytes)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self)) | {"kept": dict(self.kept), "full_kept": dict(self.full_kept)}


@dataclass(frozen=True)
class _Pass:
    curve: tuple[int, ...]
    kept: dict[str, int]
    operations: int
    gradient: Float[np.ndarray, "numbers"]


@functools.lru_cache(maxsize=64)
def run_watched(network: str = "convnet", recomputed: bool = False, window: int = 0) -> Cost:
    """Run a network forward and backward on real digits and follow the bytes it keeps.

    Args:
        network: a key of :data:`NETWORKS`.
        recomputed: checkpoint every block of layers but the last, or every block of :data:`BLOCK` rows.
        window: cut the recurrent net's history after so many rows, after a backward pass over them; 0 never cuts. It
            does nothing to the other networks.

    Raises:
        ValueError: an unknown network or a window out of range.
    """
    if network not in NETWORKS:
        reject("run_watched", "network", f"one of {list(NETWORKS)}", network)
    require(0 <= window <= STEPS, "run_watched", "window", f"0 to {STEPS} rows", window)
    if network != "recurrent net":
        window = 0
    found = _run(network, recomputed, window)
    full = found if not (recomputed or window) else _run(network, False, 0)
    length = float(np.linalg.norm(full.gradient))
    difference = float(np.linalg.norm(found.gradient - full.gradient)) / length
    return Cost(
        network,
        recomputed,
        window,
        found.curve,
        full.curve,
        found.kept,
        full.kept,
        found.operations,
        full.operations,
        difference,
    )


@functools.lru_cache(maxsize=64)
def _run(network: str, recomputed: bool, window: int) -> _Pass:
    if network == "recurrent net":
        return _run_recurrent(recomputed, window)
    made = {"convnet": _convnet, "deep net": _deep}[network]()
    with AliveBytes(list(made.weights.values())) as alive:
        h = made.x
        for block in made.blocks[:-1]:
            h = alive.recomputed(block, h) if recomputed else block(h)
        # Backward begins with the last block: to forget it would only mean to run it again at once.
        h = made.blocks[-1](h)
        kept = dict(alive.kept)
        h.backward()
    return _Pass(tuple(alive.curve), kept, sum(alive.calls.values()), _flat(made.weights.values()))


def _flat(weights: Any) -> np.ndarray:
    return np.concatenate([weight.grad.ravel() for weight in weights]).astype(np.float64)


def _run_recurrent(recomputed: bool, window: int) -> _Pass:
    w = _cell_weights()
    rows = _rows()
    inputs, targets = rows[:STEPS], rows[STEPS:]
    window = window or STEPS
    most: dict[str, int] = {}
    with AliveBytes(list(w.values())) as alive:
        h = Variable(np.zeros((_BATCH, _HIDDEN), np.float32))
        for start in range(0, STEPS, window):
            loss: Any = None
            alive.kept.clear()
            for first in range(start, min(start + window, STEPS), BLOCK):
                last = min(first + BLOCK, start + window, STEPS)
                h, part = _read_rows(alive, w, h, inputs[first:last], targets[first:last], recomputed)
                loss = part if loss is None else loss + part
            if sum(alive.kept.values()) >= sum(most.values()):
                most = dict(alive.kept)
            loss.backward()
            h.unchain_backward()
    return _Pass(tuple(alive.curve), most, sum(alive.calls.values()), _flat([w["recur"]]))


def _read_rows(
    alive: AliveBytes,
    w: Mapping[str, Variable],
    h: Variable,
    inputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    recomputed: bool,
) -> tuple[Variable, Variable]:
    """Return the state after some rows, and the loss of predicting each row's successor."""

    def read(h: Variable) -> tuple[Variable, Variable]:
        total: Any = None
        for row, following in zip(inputs, targets, strict=True):
            h = F.tanh(F.linear(row, w["read"]) + F.linear(h, w["recur"]))
            error = F.linear(h, w["out"]) - following
            part = F.sum(error * error) * (1.0 / (_BATCH * STEPS))
            total = part if total is None else total + part
        return h, total

    def block(h: Variable) -> Variable:
        # A checkpoint has one result: the state, with the loss in a column of its own.
        h, total = read(h)
        return F.concat([h, F.broadcast_to(total.reshape(1, 1), (_BATCH, 1))], 1)

    if not recomputed:
        return read(h)
    both = alive.recomputed(block, h)
    return both[:, :_HIDDEN], both[0, _HIDDEN]


# ---------------------------------------------------------------------------------------------------------------------
# The picture


_WIDTH, _LEFT, _ROW, _TOP = 660.0, 130.0, 27.0, 40.0
_ROWS = 6  # as many kinds of operation as any network has, so that the curve below holds still
_BEFORE, _AFTER = style.MEANINGS["baseline"].color, style.MEANINGS["ours"].color


def draw(cost: Cost) -> Svg:
    """Draw what each kind of operation keeps when forward ends, and the bytes kept while both passes run."""
    picture = Svg(_WIDTH, _TOP + _ROW * _ROWS + 34 + 270)
    picture.text(16, 24, f"Kept for backward by the {cost.network}: {NETWORKS[cost.network]}", size=14, bold=True)
    names = sorted({*cost.kept, *cost.full_kept}, key=lambda name: -cost.full_kept.get(name, 0))
    most = max([*cost.kept.values(), *cost.full_kept.values()])
    for place, name in enumerate(names):
        _draw_bar(picture, _TOP + _ROW * place, name, cost, most)
    y = _TOP + _ROW * _ROWS + 14
    for x, fill, words in ((_LEFT, _BEFORE, "everything kept"), (_LEFT + 180, _AFTER, "your choice")):
        picture.rectangle(x, y - 10, 18, 11, fill=fill)
        picture.text(x + 24, y, words, size=12)
    picture.place(0, _TOP + _ROW * _ROWS + 30, _draw_curves(cost))
    return picture


def _draw_bar(picture: Svg, y: float, name: str, cost: Cost, most: int) -> None:
    before, after = cost.full_kept.get(name, 0), cost.kept.get(name, 0)
    room = _WIDTH - _LEFT - 150
    picture.text(_LEFT - 8, y + 17, name, anchor="end")
    picture.rectangle(_LEFT, y + 3, room * before / most, _ROW - 7, fill=_BEFORE)
    picture.rectangle(_LEFT, y + 8, room * after / most, _ROW - 17, fill=_AFTER)
    words = readable_bytes(before) if before == after else f"{readable_bytes(before)} → {readable_bytes(after)}"
    picture.text(_LEFT + room * max(before, after) / most + 8, y + 17, words, size=12)


def _draw_curves(cost: Cost) -> Svg:
    def line(label: str, curve: Sequence[int], meaning: str) -> Series:
        return Series(label, range(len(curve)), np.array(curve) / 1000, meaning)

    changed = cost.recomputed or cost.window
    lines = [line("everything kept", cost.full, "baseline")]
    lines += [line("your choice", cost.curve, "ours")] if changed else []
    peak = f"Peak {readable_bytes(cost.peak)}"
    gradient = f"the gradient {_gradient_words(cost)}"
    return line_chart(
        lines,
        x_label="operations run, forward and backward",
        y_label="kept now (kB)",
        title=f"{peak} instead of {readable_bytes(cost.full_peak)}; {gradient}" if changed else peak,
        y_limits=(0, 1.1 * cost.full_peak / 1000),
        x_limits=(0, 1.02 * max(len(cost.curve), len(cost.full))),
        width=_WIDTH,
        height=270,
    )


def _gradient_words(cost: Cost) -> str:
    return "is the same" if cost.gradient_difference < 1e-5 else f"is {100 * cost.gradient_difference:.0f} % off"


def describe(cost: Cost) -> str:
    """Say what is kept most, what the peak is, and what it costs to lower it."""
    most = max(cost.full_kept, key=lambda name: cost.full_kept[name])
    peak = readable_bytes(cost.full_peak)
    everything = f"With everything kept the {cost.network} holds {peak} at its peak, most of it by {most}"
    if not (cost.recomputed or cost.window):
        return f"{everything}; {cost.operations:,} operations run forward."
    ways = ["blocks recomputed"] * cost.recomputed
    ways += [f"the history cut every {cost.window} row{'s' if cost.window > 1 else ''}"] * bool(cost.window)
    of_what = " of the recurrent weights" if cost.network == "recurrent net" else ""
    return (
        f"{everything}; with {' and '.join(ways)} it holds {readable_bytes(cost.peak)}. {cost.operations:,} operations "
        f"run forward instead of {cost.full_operations:,}, and the gradient{of_what} {_gradient_words(cost)}."
    )


def explore_saved_bytes() -> View:
    """Return a view of the bytes a network keeps, with recomputation and truncation to switch on."""
    network = controls.toggle("network", list(NETWORKS))
    recomputed = controls.checkbox("recompute blocks (checkpoint)", True)
    windows = {"never": 0} | {f"every {n} row{'s' if n > 1 else ''}": n for n in WINDOWS if n}
    window = controls.choice("cut the history", windows)
    recurrent = "recurrent net"
    controls.only_while(window, network, lambda name: name == recurrent, otherwise=f"only a {recurrent} has a history")
    for name in NETWORKS:  # so that no key press waits for it
        run_watched(name, True)
    return View({"network": network, "recomputed": recomputed, "window": window}, run_watched, draw, describe)
