"""A convnet trained on digits by several processes, and what the whole thing rests on, measured.

Run it with two processes::

    python -m torch.distributed.run --nproc_per_node=2 -m toolkit.autograd.distributed.example

or from a notebook: ``launch(example.measure, 2).results[0]``.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import toolkit.autograd.links as L
from toolkit.autograd import functions as F
from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.dataset import scatter_dataset
from toolkit.autograd.distributed.groups import create_communicator, process_group
from toolkit.autograd.distributed.models import parameters_of, replicas_differ
from toolkit.autograd.distributed.optimizer import create_multi_node_optimizer
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.tape import Variable
from toolkit.datasets import load


class Convnet(L.Chain):
    """Two convolutions and a linear map, for grey images of 28×28 and ten classes.

    Args:
        generator: draws the initial parameters.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        with self.init_scope():
            self.first = L.Conv2d(1, 8, 5, generator=generator)
            self.second = L.Conv2d(8, 16, 3, generator=generator)
            self.last = L.Linear(400, 10, generator=generator)

    def forward(self, images: Any) -> Variable:
        """Return the logits, shape ``(samples, 10)``, of images of shape ``(samples, 1, 28, 28)``."""
        hidden = F.max_pool2d(F.relu(self.first(images)), 2)
        hidden = F.max_pool2d(F.relu(self.second(hidden)), 2)
        return self.last(F.reshape(hidden, (hidden.shape[0], 400)))

    def loss(self, images: Any, labels: Any) -> Variable:
        """Return the mean cross entropy."""
        return F.cross_entropy(self(images), labels)


@dataclass(frozen=True)
class Measured:
    """What :func:`measure` found.

    Attributes:
        ranks: number of processes.
        samples: in the data set that was scattered, an odd number.
        equal_shards: samples of each rank when shards are made equal by repeating.
        exact_shards: samples of each rank when none is repeated.
        batch_parts: samples of each rank in one batch, cut unequally.
        weighted_difference: largest difference, over all parameters, between the mean of the ranks' gradients weighed
            by their samples and the gradient that one process computes from the whole batch.
        unweighted_difference: the same for the plain mean of the ranks' gradients.
        flat_milliseconds: for averaging the gradients in one buffer (wall clock, median).
        separate_milliseconds: for averaging them with one call a parameter.
        losses: of each step on the mean over ranks, with gradients of the same step.
        stale_losses: the same with double buffering.
        difference_from_same_step: with double buffering, largest difference of the gradient used from the mean of the
            gradients just computed.
        difference_from_step_before: from that of the gradients computed one step before.
        unequal_replicas: parameters whose bits differ between ranks after training; none should.
    """

    ranks: int
    samples: int
    equal_shards: tuple[int, ...]
    exact_shards: tuple[int, ...]
    batch_parts: tuple[int, ...]
    weighted_difference: float
    unweighted_difference: float
    flat_milliseconds: float
    separate_milliseconds: float
    losses: tuple[float, ...]
    stale_losses: tuple[float, ...]
    difference_from_same_step: float
    difference_from_step_before: float
    unequal_replicas: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Measured({self.ranks} ranks, gradients equal to {self.weighted_difference:.1e})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the findings as lines of text."""
        last = len(self.losses)
        replicas = f"differ in {', '.join(self.unequal_replicas)}" if self.unequal_replicas else "equal in every bit"
        return [
            f"processes                       {self.ranks}",
            f"{self.samples} samples in shards       "
            f"{' + '.join(map(str, self.equal_shards))} (equal by repeating), "
            f"{' + '.join(map(str, self.exact_shards))} (exact)",
            f"one batch in parts of           {' + '.join(map(str, self.batch_parts))} samples",
            "largest difference of the gradient from that of one process on the whole batch",
            f"  weighed by samples            {self.weighted_difference:.1e}",
            f"  plain mean of unequal parts   {self.unweighted_difference:.1e}",
            "averaging all gradients",
            f"  one flat buffer               {self.flat_milliseconds:.2f} ms",
            f"  one call a parameter          {self.separate_milliseconds:.2f} ms",
            f"loss, steps 1 to {last}",
            f"  gradients of the same step    {' '.join(f'{loss:.3f}' for loss in self.losses)}",
            f"  double buffering              {' '.join(f'{loss:.3f}' for loss in self.stale_losses)}",
            "double buffering: largest difference of the gradient used from the mean computed",
            f"  in the same step              {self.difference_from_same_step:.1e}",
            f"  one step before               {self.difference_from_step_before:.1e}",
            f"replicas after training         {replicas}",
        ]


def measure(
    communicator: Communicator, steps: int = 6, batch_size: int = 100, samples: int = 1001, rounds: int = 15
) -> Measured:
    """Train the convnet for a few steps on the bundled digits and measure what data-parallel training rests on.

    All ranks call it together and return the same, but for the times, which are rank 0's.

    Args:
        communicator: of the ranks.
        steps: of training.
        batch_size: of all ranks together.
        samples: taken from the training digits.
        rounds: of timing.
    """
    digits = load("mnist").train
    images = digits.images[:samples].float().div(255).unsqueeze(1)
    labels = digits.labels[:samples]
    shards = {
        equal: scatter_dataset(range(samples), communicator, shuffle=True, seed=0, force_equal_length=equal)
        for equal in (True, False)
    }
    equal_shards, exact_shards = (communicator.allgather_obj(len(shards[equal])) for equal in (True, False))
    parts, weighted, plain = _gradient_differences(communicator, images[:batch_size], labels[:batch_size])
    flat, separate = _times(communicator, images[:8], labels[:8], rounds)
    own = torch.as_tensor(shards[True].indices)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        count = max(1, batch_size // communicator.size)
        chosen = own[[(step * count + k) % len(own) for k in range(count)]]
        return images[chosen], labels[chosen]

    model, losses, _ = _train(communicator, batch, steps, double_buffering=False)
    unequal = replicas_differ(communicator, model)
    model, stale_losses, staleness = _train(communicator, batch, steps, double_buffering=True)
    return communicator.bcast_obj(
        Measured(
            ranks=communicator.size,
            samples=samples,
            equal_shards=equal_shards,
            exact_shards=exact_shards,
            batch_parts=parts,
            weighted_difference=weighted,
            unweighted_difference=plain,
            flat_milliseconds=flat,
            separate_milliseconds=separate,
            losses=losses,
            stale_losses=stale_losses,
            difference_from_same_step=staleness[0],
            difference_from_step_before=staleness[1],
            unequal_replicas=unequal + replicas_differ(communicator, model),
        )
    )


def _model() -> Convnet:
    return Convnet(torch.Generator().manual_seed(0))


def _gradients(model: L.Link) -> list[Tensor]:
    return [parameter.grad.clone() for _, parameter in parameters_of(model)]


def _largest_difference(first: list[Tensor], second: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def _gradient_differences(
    communicator: Communicator, images: Tensor, labels: Tensor
) -> tuple[tuple[int, ...], float, float]:
    """Return the parts of a batch, and how far weighted and plain mean are from the gradient of the whole."""
    whole = _model()
    whole.loss(images, labels).backward()
    expected = _gradients(whole)
    # Two thirds of what is left to each rank, the rest to the last.
    bounds = [0]
    for _ in range(communicator.size - 1):
        bounds.append(bounds[-1] + -(-2 * (len(labels) - bounds[-1]) // 3))
    bounds.append(len(labels))
    first, last = bounds[communicator.rank], bounds[communicator.rank + 1]
    found = []
    for weight in (last - first, None):
        model = _model()
        if last > first:
            model.loss(images[first:last], labels[first:last]).backward()
        communicator.mean_gradients(model, zero_fill=True, weight=weight)
        found.append(_largest_difference(_gradients(model), expected))
    return tuple(b - a for a, b in itertools.pairwise(bounds)), found[0], found[1]


def _times(communicator: Communicator, images: Tensor, labels: Tensor, rounds: int) -> tuple[float, float]:
    """Return milliseconds for averaging gradients in one buffer and one by one, in turn; the median of rank 0."""
    model = _model()
    model.loss(images, labels).backward()
    one_by_one = create_communicator("naive", timeout=communicator.timeout)
    at_once = create_communicator("flat", timeout=communicator.timeout)

    def measured(function: Callable[[], None]) -> float:
        communicator.barrier()
        started = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - started)

    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        taken[0].append(measured(lambda: at_once.mean_gradients(model)))
        taken[1].append(measured(lambda: one_by_one.mean_gradients(model)))
    return statistics.median(taken[0]), statistics.median(taken[1])


def _train(
    communicator: Communicator, batch: Callable[[int], tuple[Tensor, Tensor]], steps: int, *, double_buffering: bool
) -> tuple[Convnet, tuple[float, ...], tuple[float, float]]:
    """Return the model, the losses, and how far the gradients used are from those of the same and the last step."""
    model = _model()
    optimizer = create_multi_node_optimizer(SGD(lr=0.05), communicator, double_buffering=double_buffering).setup(model)
    losses = []
    means: list[list[Tensor]] = []
    from_same = from_before = 0.0
    # The first update makes the replicas equal instead of a step, and so it counts for none here.
    for step in range(-1, steps):
        model.cleargrads()
        loss = model.loss(*batch(max(0, step)))
        loss.backward()
        means.append([communicator.allreduce(gradient, "mean") for gradient in _gradients(model)])
        before = optimizer.t
        optimizer.update()
        if optimizer.t > before:
            used = _gradients(model)
            from_same = max(from_same, _largest_difference(used, means[-1]))
            from_before = max(from_before, _largest_difference(used, means[-2]))
        if step >= 0:
            losses.append(float(communicator.allreduce(loss.data, "mean")))
    optimizer.wait()
    return model, tuple(losses), (from_same, from_before)


def main(arguments: list[str] | None = None) -> None:
    """Run :func:`measure` in the processes that torchrun started, and let rank 0 print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="steps of training")
    parser.add_argument("--batch-size", type=int, default=100, help="samples of all processes together")
    parser.add_argument("--communicator", choices=["flat", "naive"], default="flat")
    parser.add_argument("--grad-dtype", choices=["float16", "bfloat16"], help="dtype of gradients on their way")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for another process")
    options = parser.parse_args(arguments)
    group = process_group(options.communicator, timeout=options.timeout, allreduce_grad_dtype=options.grad_dtype)
    with group as communicator:
        measured = measure(communicator, options.steps, options.batch_size)
        if communicator.rank == 0:
            print("\n".join(measured.lines()))


if __name__ == "__main__":
    main()
