"""One attack crafting, and one defence against one attack: batch after batch, counted as the rules say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from toolkit.adversarial.competition.fork_server import describe_error
from toolkit.adversarial.competition.isolation import Isolation, Outcome
from toolkit.adversarial.competition.rules import Batch, derive_seed, project
from toolkit.adversarial.competition.submissions import Submission, Task, answer
from toolkit.adversarial.competition.tables import Remark


@dataclass(frozen=True, eq=False)
class Crafted:
    """What an attack made, after the projection.

    Attributes:
        images: all of them; where one is missing, the clean image.
        produced: which of them the attack made.
        seconds: of each batch.
        remarks: what went wrong.
    """

    images: UInt8[Tensor, "n channels height width"]
    produced: Bool[Tensor, " n"]
    seconds: Float[Tensor, " batches"]
    remarks: tuple[Remark, ...]

    def __repr__(self) -> str:
        return f"Crafted({int(self.produced.sum())} of {len(self.images)} images)"


@dataclass(frozen=True, eq=False)
class Judged:
    """One defence against one attack; ``counts`` are right, wrong, hit and labelled images of each batch."""

    counts: Int[Tensor, "4 batches"]
    seconds: Float[Tensor, " batches"]
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, eq=False)
class Setting:
    """What all games share.

    Attributes:
        images: clean.
        labels: what they show.
        targets: what targeted attacks aim at, or None.
        batches: how the images are cut.
        seed: of everything random.
        clock: gives seconds.
    """

    images: UInt8[Tensor, "n channels height width"]
    labels: Int[Tensor, " n"]
    targets: Int[Tensor, " n"] | None
    batches: tuple[Batch, ...]
    seed: int
    clock: Callable[[], float]


Run = Callable[[Task], Outcome]


def craft(attack: Submission, setting: Setting, run: Run) -> Crafted:
    """Let an attack make its images, once, and put them into the ball."""
    images, produced = setting.images.clone(), torch.zeros(len(setting.images), dtype=torch.bool)
    aims = setting.targets if attack.track == "targeted" else None
    seconds, remarks = [], []
    for batch in setting.batches:
        clean, seed = setting.images[batch.part], derive_seed(setting.seed, "attack", attack.name, batch.number)
        task = Task(clean, batch.epsilon, None if aims is None else aims[batch.part], seed)
        start = setting.clock()
        outcome = run(task)
        seconds.append(setting.clock() - start)
        for piece in outcome.pieces:
            if piece.kind == "images" and piece.values is not None:
                rows = torch.tensor(piece.indices)
                produced[batch.start + rows] = True
                images[batch.start + rows] = project(piece.values, clean[rows], batch.epsilon)
        remarks += _remarks(attack, None, batch, outcome, int((~produced[batch.part]).sum()))
    return Crafted(images, produced, torch.tensor(seconds, dtype=torch.float64), tuple(remarks))


def judge(defence: Submission, attack: Submission, crafted: Crafted, setting: Setting, run: Run) -> Judged:
    """Show a defence the images of an attack and count what it says."""
    targets = setting.targets if attack.track == "targeted" else None
    counts = torch.zeros(4, len(setting.batches), dtype=torch.int64)
    seconds, remarks = [], []
    for batch in setting.batches:
        rows = crafted.produced[batch.part].nonzero()[:, 0] + batch.start
        # A missing image counts as labelled rightly: it earns the attack nothing.
        counts[0, batch.number] = len(batch) - len(rows)
        if not len(rows):
            seconds.append(float("nan"))
            continue
        # The same draws against every attack.
        task = Task(crafted.images[rows], None, None, derive_seed(setting.seed, "defence", defence.name, batch.number))
        start = setting.clock()
        outcome = run(task)
        seconds.append(setting.clock() - start)
        said, labelled = torch.zeros(len(rows), dtype=torch.int64), torch.zeros(len(rows), dtype=torch.bool)
        for piece in outcome.pieces if outcome.verdict == "ok" else ():  # over time: no label at all
            if piece.kind == "labels" and piece.values is not None:
                said[list(piece.indices)], labelled[list(piece.indices)] = piece.values, True
        right = labelled & (said == setting.labels[rows])
        hit = labelled & (said == targets[rows]) if targets is not None else torch.zeros_like(right)
        counts[:, batch.number] += torch.stack((right, labelled & ~right, hit, labelled)).sum(1)
        remarks += _remarks(defence, attack.name, batch, outcome, int((~labelled).sum()))
    return Judged(counts, torch.tensor(seconds, dtype=torch.float64), tuple(remarks))


@contextmanager
def running(submission: Submission, isolation: Isolation | None, limit: float | None) -> Iterator[Run]:
    """Give the function that runs a submission, in a process of its own if there is isolation."""
    if isolation is None:
        yield partial(_run_here, submission)
        return
    with isolation.worker(submission.function) as worker:
        yield lambda task: worker.run(submission.track, task, limit)


def _run_here(submission: Submission, task: Task) -> Outcome:
    try:
        return Outcome(tuple(answer(submission.function, submission.track, task)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: no submission ends the competition
        return Outcome((), "error", describe_error(error))


def _remarks(submission: Submission, attack: str | None, batch: Batch, outcome: Outcome, n: int) -> list[Remark]:
    """Write down why images or labels are missing, and what was resized."""
    found = []

    def remark(verdict: str, reason: str, n_images: int) -> None:
        found.append(Remark(submission.name, submission.track, attack, batch.number, verdict, reason, n_images))

    if outcome.verdict != "ok":
        remark(outcome.verdict, outcome.reason, n)
        return found
    explained = 0
    for piece in outcome.pieces:
        if piece.kind == "unreadable":
            remark("unreadable", piece.reason, len(piece.indices))
            explained += len(piece.indices)
        elif piece.kind == "resized":
            remark("resized", piece.reason, len(piece.indices))
    if n > explained:
        remark("missing", "not in the output", n - explained)
    return found
