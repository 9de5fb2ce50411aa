"""Answers to the exercises of the lesson on training, memory and many GPUs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.autograd import Variable, graph, links
from toolkit.autograd import functions as F
from toolkit.autograd.graph import readable_bytes
from toolkit.explorers.saved_bytes import STEPS, run_watched
from toolkit.lessons import Verdict, exercise, expect_number
from toolkit.lessons.checks import in_short, stopped

IMAGES, PIXELS, UNITS = 100, 64, 32

BUDGET = 200_000
"""Bytes that the recurrent net of ``window`` may keep."""
MISSED = 0.35
"""Share of the gradient's length that it may be off."""

GPUS, BATCH, RATE, SHARE, EPOCHS, SEEN = 256, 32, 180, 0.8, 90, 1_281_167
"""The invented cluster of ``cluster``: GPUs, images on each, images a second on one GPU alone, efficiency, epochs,
images in one epoch."""


@exercise
def kept_by_a_layer(answer: Any) -> Verdict:
    """Judge how many bytes ``relu(linear(x, W))`` keeps: 100 digits of 64 pixels, 32 units, float32, gradient by W."""
    x = np.ones((IMAGES, PIXELS), np.float32)
    weight = np.ones((UNITS, PIXELS), np.float32)
    expected = graph(F.relu(F.linear(x, Variable(weight, requires_grad=True)))).saved_bytes
    images, results = x.nbytes, 4 * IMAGES * UNITS
    slips: dict[float, str] = {
        expected + weight.nbytes: "W is kept only for the gradient by x, and nobody asked for that one.",
        weight.nbytes + results: "linear keeps what the gradient by W needs, and that is x, not W.",
        images: "that is x, for the gradient by W; relu keeps something as well.",
        results: "that is what relu keeps; linear keeps x, for the gradient by W.",
        images + 2 * results: "relu keeps one array, not its input and its output.",
        images + results // 4: "relu keeps whole numbers here, not a mask of truth values.",
        2 * expected: "a float32 takes 4 bytes.",
        expected // 4: "those are numbers; each float32 takes 4 bytes.",
        images + weight.nbytes: "relu keeps something as well, and W is not kept: nobody asked for the gradient by x.",
    }
    right = "linear keeps x (25,600 bytes) for the gradient by W, relu one array of 100 × 32 numbers (12,800 bytes)."
    return expect_number(answer, expected, tolerance=0.5, right=right, slips=slips, withhold=True)


_PATHS = {"/l1/W", "/l1/b", "/l2/W", "/l2/b"}


@exercise
def lazy_chain(answer: Any) -> Verdict:
    """Judge a class ``Classifier(links.Chain)``: ``l1`` with 32 units, relu, ``l2`` with 10, input sizes found late."""
    if isinstance(answer, links.Link):
        return Verdict(False, "Give the class itself, not a model made from it: two models will be made.")
    if not callable(answer):
        return Verdict(False, f"Expected a class (or a function that makes a model), got {type(answer).__name__}.")
    model = answer()
    if not isinstance(model, links.Link):
        if model is None:
            raise NotImplementedError
        return Verdict(False, f"Expected a links.Chain, got {type(model).__name__}: derive the class from links.Chain.")
    before = dict(model.namedparams())
    if not before and type(model).forward is links.Link.forward:
        raise NotImplementedError  # the class as the lesson gives it
    objection = _paths_objection(before, "Before the first call")
    if objection:
        return objection
    if before["/l1/W"].is_initialized or before["/l2/W"].is_initialized:
        return Verdict(
            False, "A weight has its size before it has seen an input: give links.Linear None as the number of inputs."
        )
    return _judge_calls(answer, model)


def _paths_objection(parameters: dict[str, Any], when: str) -> Verdict | None:
    if not parameters:
        return Verdict(False, "The model has no parameters: assign the links inside `with self.init_scope():`.")
    if set(parameters) == _PATHS:
        return None
    missing, extra = sorted(_PATHS - set(parameters)), sorted(set(parameters) - _PATHS)
    words = [f"{', '.join(paths)} {what}" for paths, what in ((missing, "missing"), (extra, "too many")) if paths]
    hint = " Name the links l1 and l2." if extra else " Is one of them assigned outside `with self.init_scope():`?"
    return Verdict(False, f"{when} the paths differ: {'; '.join(words)}.{hint}")


def _judge_calls(make: Callable[[], Any], model: Any) -> Verdict:
    for inputs, chain in ((PIXELS, model), (784, make())):
        images = np.random.default_rng(0).normal(size=(5, inputs)).astype(np.float32)
        try:
            output = chain(Variable(images))
        except NotImplementedError:
            return Verdict(None, "The links are there; now write forward(self, x).")
        except Exception as error:
            return Verdict(False, stopped(error, f"(That was with 5 images of {inputs} pixels.)"))
        if output is None:
            return Verdict(False, "forward returned None: is the return missing?")
        if output is ...:
            raise NotImplementedError
        if tuple(getattr(output, "shape", ())) != (5, 10):
            return Verdict(False, f"For 5 images expected a Variable of shape (5, 10), got {_shown(output)}.")
        parameters = dict(chain.namedparams())
        shapes = {path: tuple(parameter.shape) for path, parameter in parameters.items()}
        if shapes["/l1/W"] != (32, inputs) or shapes["/l2/W"] != (10, 32):
            return Verdict(
                False,
                f"Expected weights of shapes (32, {inputs}) and (10, 32), got {shapes['/l1/W']} and {shapes['/l2/W']}.",
            )
        w1, b1, w2, b2 = (np.asarray(parameters[path].data) for path in ("/l1/W", "/l1/b", "/l2/W", "/l2/b"))
        hidden = images @ w1.T + b1
        if not np.allclose(output.numpy(), np.maximum(hidden, 0) @ w2.T + b2, atol=1e-4):
            linear = np.allclose(output.numpy(), hidden @ w2.T + b2, atol=1e-4)
            hint = "There is no relu between the two." if linear else "Compute self.l2(F.relu(self.l1(x)))."
            return Verdict(False, f"The shapes are right, the numbers are not. {hint}")
    return Verdict(
        True,
        f"{model.count_params():,} parameters for 64 pixels and {chain.count_params():,} for 784, from the same code: "
        "64 × 32 + 32 + 32 × 10 + 10 in the first case.",
    )


def _shown(output: Any) -> str:
    shape = getattr(output, "shape", None)
    return type(output).__name__ if shape is None else f"shape {tuple(shape)}"


@exercise
def window(answer: Any) -> Verdict:
    """Judge a truncation window: at most 200 kB kept, and a gradient at most 35 % off, over 56 rows."""
    rows = _whole(answer)
    if not 1 <= rows <= STEPS:
        return Verdict(False, f"Expected a whole number of rows from 1 to {STEPS}, got {in_short(answer)}.")
    cost = run_watched("recurrent net", False, rows)
    found = f"It keeps {readable_bytes(cost.peak)}, and the gradient is {100 * cost.gradient_difference:.1f} % off"
    if cost.peak > BUDGET:
        return Verdict(False, f"{found}: more than {BUDGET // 1000} kB. A shorter window keeps less.")
    if cost.gradient_difference > MISSED:
        return Verdict(False, f"{found}: more than {100 * MISSED:.0f} %. A longer window reaches further back.")
    exact = run_watched("recurrent net", True, 0)
    return Verdict(
        True,
        f"{found}. Recomputing in blocks of 7 rows keeps {readable_bytes(exact.peak)} and misses nothing, but runs "
        f"{exact.operations:,} operations forward instead of {exact.full_operations}.",
    )


def _whole(answer: Any) -> int:
    """Return the answer as an integer, and 0 if it is none."""
    try:
        number = float(answer)
        return int(number) if number == int(number) and not isinstance(answer, (bool, str)) else 0
    except (TypeError, ValueError, OverflowError):
        return 0


@exercise
def cluster(batch: Any, images_per_second: Any, minutes: Any) -> Verdict:
    """Judge the batch, the images a second and the minutes of 90 epochs on 256 GPUs at 80 % efficiency.

    The numbers are invented: 32 images on each GPU, 180 images a second on one alone, 1,281,167 images in an epoch.
    """
    speed = GPUS * RATE * SHARE
    total = EPOCHS * SEEN
    parts = (
        expect_number(
            batch,
            GPUS * BATCH,
            tolerance=0.5,
            slip_share=0.01,
            withhold=True,
            slips={BATCH: "that is what one GPU sees.", GPUS * BATCH * SHARE: "efficiency costs time, no images."},
        ),
        expect_number(
            images_per_second,
            speed,
            tolerance=0.005 * speed,
            slip_share=0.01,
            withhold=True,
            slips={
                GPUS * RATE: "that is without any loss; the efficiency is 80 %.",
                GPUS * RATE / SHARE: "multiply by the efficiency: some of the time goes to communication.",
                RATE * SHARE: "that is on one of the GPUs.",
            },
        ),
        expect_number(
            minutes,
            total / speed / 60,
            tolerance=0.5,
            slip_share=0.01,
            withhold=True,
            slips={
                total / speed: "those are seconds.",
                total / speed / 3600: "those are hours.",
                total / (GPUS * RATE) / 60: "that is without any loss; the efficiency is 80 %.",
                SEEN / speed / 60: "that is one epoch; there are 90.",
            },
        ),
    )
    for name, verdict in zip(("Batch", "Images a second", "Minutes"), parts, strict=True):
        if not verdict.right:
            return Verdict(False, f"{name}: {verdict.sentence}")
    return Verdict(
        True,
        f"A batch of {GPUS * BATCH:,}, {speed:,.0f} images a second, {total / speed / 60:.0f} minutes. The paper's "
        "run has a batch of 32 × 1,024 and takes 15 minutes.",
    )
