"""Training of decoders on fresh documents: drawn on the device, conditioned, sorted by length, never seen twice."""

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Real
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History
from toolkit.core.training import train
from toolkit.grammars.attention import causal_attention
from toolkit.grammars.conditioning import Conditioning, Sequences, check_depth, sequences
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.models import Decoder, DecoderConfig, needed_context
from toolkit.grammars.processes import Processes

Metrics = Mapping[str, Any]

_DOCUMENTS_A_DRAW = 4096
_GROUPS = 8
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class TrainingConfig:
    """What a training run is defined by, its family apart.

    Runs of the same seed and batch size read the same documents, whatever their conditioning, size and length. A
    baseline with the metadata-free practice of a conditioned run is ``Conditioning(0)`` with
    ``round((1 - p_meta) * n_steps)`` steps.

    Attributes:
        conditioning: how much of the metadata is shown, and how often.
        n_steps: updates in all; the learning rate and the cooldown are spread over them.
        batch_size: documents in an update, over all processes together.
        size: a name of :data:`toolkit.grammars.models.SIZES`, or width, layers and heads.
        learning_rate: the highest.
        betas: of AdamW.
        weight_decay: of matrices; the gains of normalisations do not decay.
        clip: the largest norm of a gradient.
        warmup_steps: in which the learning rate rises; at most a fifth of all steps.
        final_share: what is left of the learning rate at the end of its half cosine.
        seed: of weights and documents.
        bfloat16: multiply matrices in bfloat16; weights and optimiser stay float32.
        compile: the backend of ``torch.compile``, ``"inductor"``; ``None`` does without.
    """

    conditioning: Conditioning
    n_steps: int
    batch_size: int = 128
    size: str | tuple[int, int, int] = "0.2M"
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.1
    clip: float = 1.0
    warmup_steps: int = 100
    final_share: float = 0.05
    seed: int = 0
    bfloat16: bool = False
    compile: str | None = None

    def __post_init__(self) -> None:
        operation = "TrainingConfig"
        for name, least in (("n_steps", 0), ("batch_size", 1), ("warmup_steps", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                reject(operation, name, "an integer", repr(value), kind=TypeError)
            require(value >= least, operation, name, f">= {least}", value)
        if not isinstance(self.conditioning, Conditioning):
            reject(operation, "conditioning", "a Conditioning", repr(self.conditioning), kind=TypeError)
        for name in ("learning_rate", "clip", "weight_decay", "final_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                reject(operation, name, "a number", repr(value), kind=TypeError)
        if not isinstance(self.bfloat16, bool):
            reject(operation, "bfloat16", "True or False", repr(self.bfloat16), kind=TypeError)
        if not (self.compile is None or isinstance(self.compile, str)):
            reject(operation, "compile", "the name of a backend, or None", repr(self.compile), kind=TypeError)
        for name in ("learning_rate", "clip"):
            require(0 < getattr(self, name) < math.inf, operation, name, "a finite number > 0", getattr(self, name))
        require(0 <= self.weight_decay < math.inf, operation, "weight_decay", "a number >= 0", self.weight_decay)
        require(0 <= self.final_share <= 1, operation, "final_share", "0 to 1", self.final_share)
        two = isinstance(self.betas, Sequence) and len(self.betas) == 2
        fine = two and all(isinstance(beta, Real) and 0 <= beta < 1 for beta in self.betas)
        require(fine, operation, "betas", "two numbers, 0 <= beta < 1", self.betas)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of an update, counted from 0."""
        warmup = min(self.warmup_steps, self.n_steps // 5)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.n_steps - warmup)
        return self.learning_rate * (self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class DecoderTraining:
    """A trained decoder and how it got there.

    Attributes:
        model: in evaluation mode.
        config: what it was trained with.
        history: ``loss`` in nats a token over terminals and ends, the same for the documents with and without metadata
            alone, the norm of the gradient and the learning rate.
    """

    model: Decoder
    config: TrainingConfig
    history: History

    def __repr__(self) -> str:
        return f"DecoderTraining({self.config.conditioning}, {self.history!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration and the history as plain values."""
        return {"config": asdict(self.config), "history": self.history.to_dict()}


def train_decoder(
    family: GrammarFamily,
    config: TrainingConfig,
    *,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    stop: threading.Event | None = None,
    on_step: Callable[[int, Metrics], object] | None = None,
    evaluate: Callable[[Decoder, int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> DecoderTraining:
    """Train a new decoder on fresh documents of a family.

    A run that is stopped and goes on from its checkpoint gives bit for bit what an unbroken one gives. Under
    ``torchrun`` every process takes its share of each batch; the documents are those of a single process. Then only
    the first process saves, measures and calls back, and all return the same.

    Documents are drawn for many updates at once, so that no update waits for the generator, and each batch is sorted by
    length into groups, so that little is computed for what stands behind the ends.

    Args:
        family: what documents are drawn from.
        config: the run.
        device: where to train; default: the best there is.
        checkpoint: the file to write now and then, and to go on from if it exists.
        checkpoint_every: in steps; default: once a minute.
        stop: set it from another thread to stop after the running step.
        on_step: called after each step with the number of finished steps and the metrics of the batch.
        evaluate: called with the model, in evaluation mode, and the number of finished steps; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The model with its history.

    Raises:
        TypeError: no family, or no ``TrainingConfig``.
        ValueError: more metadata to show than the family has, or settings out of range.
        FloatingPointError: the loss or its gradient is not finite. The checkpoint is of earlier, finite steps.
        CheckpointError: the checkpoint is of another training.
    """
    operation = "train_decoder"
    for argument, value, kind in (("family", family, GrammarFamily), ("config", config, TrainingConfig)):
        if not isinstance(value, kind):
            reject(operation, argument, f"a {kind.__name__}", type(value).__name__, kind=TypeError)
    check_depth(operation, config.conditioning.depth, family.depth)
    processes = Processes.join(device)
    try:
        enough = config.batch_size >= processes.count
        require(enough, operation, "batch_size", f">= {processes.count}, the processes", config.batch_size)
        run = _Run(family, config, processes)

        def measure(done: int) -> Metrics | None:
            assert evaluate is not None
            run.model.eval()
            try:
                return evaluate(run.model, done)
            finally:
                run.model.train()

        def lead(step: Callable[[int], Metrics]) -> dict[str, Any]:
            def shown(index: int) -> Metrics:
                metrics = step(index)
                if on_step is not None:
                    on_step(index + 1, metrics)
                return metrics

            return train(
                shown,
                config.n_steps,
                state=run.state,
                evaluate=None if evaluate is None else measure,
                evaluate_every=evaluate_every,
                checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                config={"family": _fingerprint(family), **asdict(config)},
                stop=stop,
                metric="loss",
                description=f"decoder {config.size}",
            ).to_dict()

        try:
            history = History.from_dict(processes.lead(lead, run.step, run.state))
        finally:
            run.model.eval()
            run.adam.zero_grad()
    finally:
        processes.leave()
    return DecoderTraining(run.model, config, history)


class _Run:
    """A model, its optimiser and its documents."""

    def __init__(self, family: GrammarFamily, config: TrainingConfig, processes: Processes) -> None:
        self.config, self.processes, device = config, processes, processes.device
        generator = resolve_generator(seed=config.seed)
        self.model = Decoder(DecoderConfig.of(family, config.size), generator=generator, device=device).train()
        matrices = [parameter for parameter in self.model.parameters() if parameter.ndim > 1]
        gains = [parameter for parameter in self.model.parameters() if parameter.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": gains, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.state = {"model": self.model, "adam": self.adam}
        losses: Any = processes.together(_TokenLosses(self.model))
        self.losses = torch.compile(losses, backend=config.compile, dynamic=True) if config.compile else losses
        self.batches = _FreshBatches(family, config, processes)

    def step(self, index: int) -> Metrics:
        """Do one update; return the metrics of the whole batch."""
        batch = self.batches.take(index)
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            losses = self.losses(batch.tokens, batch.positions, batch.targets, batch.shapes)
        counted = torch.where(batch.counts, losses, 0.0)
        # Gradients are averaged over processes; the loss is a mean over the tokens of all.
        loss = counted.sum() * (self.processes.count / batch.n_counted)
        self.adam.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        found = counted.detach()
        sums = self.processes.total(torch.stack([found.sum(), (found * batch.shown).sum()]))
        total, of_shown, length = torch.stack([*sums, norm]).tolist()
        rate = self.config.learning_rate_at(index)
        # The first process stops the others, who wait for its word.
        if self.processes.rank == 0 and not (math.isfinite(total) and math.isfinite(length)):
            raise FloatingPointError(
                f"train_decoder: the loss is not finite at step {index}\n  expected: a finite loss and gradient"
                f"\n  actual:   loss {total / batch.n_counted}, norm of the gradient {length}, learning rate {rate:.3g}"
            )
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        n_hidden = batch.n_counted - batch.n_shown
        metrics = {"loss": total / batch.n_counted}
        if batch.n_shown:
            metrics["loss with metadata"] = of_shown / batch.n_shown
        if n_hidden:
            metrics["loss without metadata"] = (total - of_shown) / n_hidden
        return metrics | {"gradient norm": length, "learning rate": rate}


class _TokenLosses(nn.Module):
    """The loss of each token, for sequences that share one row; a module, so that it can be shared and compiled."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Int[Tensor, " n"],
        positions: Int[Tensor, " n"],
        targets: Int[Tensor, " n"],
        shapes: list[tuple[int, int]],
    ) -> Float[Tensor, " n"]:
        model = self.model
        residual = model.run(tokens, positions, [partial(causal_attention, shapes=shapes)] * len(model.layers))[-1]
        return functional.cross_entropy(model.output(model.norm(residual)).float(), targets, reduction="none")


@dataclass(frozen=True, eq=False)
class _Batch:
    """This process's part of a batch in one row of tokens, and how many tokens count in the whole batch."""

    tokens: Int[Tensor, " n"]
    positions: Int[Tensor, " n"]
    targets: Int[Tensor, " n"]
    counts: Bool[Tensor, " n"]
    shown: Bool[Tensor, " n"]
    shapes: list[tuple[int, int]]
    n_counted: int
    n_shown: int


class _FreshBatches:
    """The batches of a run, each a function of the seed and its number alone."""

    def __init__(self, family: GrammarFamily, config: TrainingConfig, processes: Processes) -> None:
        self.family, self.config, self.processes = family, config, processes
        documents = min(_DOCUMENTS_A_DRAW, 2**20 // needed_context(family))
        self.updates_a_draw = max(1, documents // config.batch_size)
        self.generator = torch.Generator(device=processes.device)
        self.drawn_for: int | None = None

    def take(self, index: int) -> _Batch:
        """Return the batch of an update, counted from 0."""
        draw, place = divmod(index, self.updates_a_draw)
        if draw != self.drawn_for:
            self._draw(draw)
        size, processes = self.config.batch_size, self.processes
        rows = slice(place * size, (place + 1) * size)
        lengths, shown = self.lengths[rows], self.shown[rows]
        counted = lengths + 1
        # Each process takes every n-th of the sorted documents: all have equal shares of short and long ones.
        mine = lengths.argsort(stable=True)[processes.rank :: processes.count]
        groups = mine.chunk(1 if self.config.compile else min(_GROUPS, len(mine)))
        chosen = [
            self.drawn.select((group + rows.start).to(processes.device), int(lengths[group[-1]])) for group in groups
        ]
        shapes = [(len(part), part.tokens.shape[1]) for part in chosen]

        def joined(field: str) -> Tensor:
            return torch.cat([getattr(part, field).reshape(-1) for part in chosen])

        everywhere = torch.arange(max(width for _, width in shapes), device=processes.device)
        return _Batch(
            tokens=joined("tokens"),
            positions=torch.cat([everywhere[:width].repeat(n) for n, width in shapes]),
            targets=joined("targets"),
            counts=joined("loss_mask"),
            shown=torch.cat([part.shown.repeat_interleave(part.tokens.shape[1]) for part in chosen]),
            shapes=shapes,
            n_counted=int(counted.sum()),
            n_shown=int(counted[shown].sum()),
        )

    def _draw(self, draw: int) -> None:
        config = self.config
        first = draw * self.updates_a_draw
        progress = torch.arange(first, first + self.updates_a_draw, dtype=torch.float64) / max(1, config.n_steps)
        self.generator.manual_seed(_mixed(config.seed, draw))
        self.drawn: Sequences = sequences(
            self.family,
            self.updates_a_draw * config.batch_size,
            config.conditioning,
            generator=self.generator,
            device=self.processes.device,
            progress=progress.clamp(max=1.0).repeat_interleave(config.batch_size),
        )
        self.lengths, self.shown = self.drawn.lengths.cpu(), self.drawn.shown.cpu()
        self.drawn_for = draw


def _mixed(seed: int, draw: int) -> int:
    """Return a seed of 63 bits that no neighbouring pair shares (the finaliser of SplitMix64)."""
    z = (seed * 0xD1342543DE82EF95 + (draw + 1) * _GOLDEN) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1


def _fingerprint(family: GrammarFamily) -> str:
    """Return a name and a hash of all that documents depend on."""
    rules = json.dumps([family.sizes, family.rules, family.probs, family.choice_probs])
    return f"{family.name or 'family'} {hashlib.sha256(rules.encode()).hexdigest()[:16]}"
