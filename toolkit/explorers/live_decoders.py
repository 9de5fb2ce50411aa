"""Two small decoders read the same documents while the reader watches; one of them is shown metadata with some.

Both are measured without metadata, after prompts of every length, against the best predictor there is.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.devices import draw_uniform
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.small_panels import draw_panel
from toolkit.explorers.tempered_reader import spans
from toolkit.grammars.attention import causal_attention
from toolkit.grammars.conditioning import Conditioning, Sequences, Vocabulary, condition
from toolkit.grammars.documents import Documents
from toolkit.grammars.inference import infer
from toolkit.grammars.metrics import by_position, divergences, ratio_by_position, reached
from toolkit.grammars.models import Decoder, DecoderConfig
from toolkit.grammars.predictions import predict
from toolkit.lessons import BackgroundView, Progress, controls, style
from toolkit.lessons.svg import Series

NINE = "9 different tokens"
FAMILIES = (NINE, TOY)
STEPS, SEEDS = (160, 600, 1500), (0, 1, 2, 3)
SIZE, BATCH, P_META = (48, 2, 2), 32, 0.5
"""Width, layers and heads; documents in an update; how often a document shows its metadata."""
BETWEEN = 40
_RATE, _WARMUP, _DECAY, _CLIP, _LAST = 8e-3, 20, 0.1, 1.0, 0.05
_GROUPS, _DRAWN_FOR = 4, 50
_HELD, _ENOUGH, _SURE = 256, 20, 2.0


@dataclass(frozen=True)
class Setting:
    """What the reader chooses.

    Attributes:
        name: of the family.
        depth: how many levels' choices the second model is shown.
        n_steps: updates of the whole training; the learning rate falls towards its end.
        seed: of weights, documents, and which of them show their metadata.
    """

    name: str = NINE
    depth: int = 3
    n_steps: int = STEPS[0]
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Measured:
    """One model, not shown metadata, beside the best predictor on held-out documents.

    Attributes:
        kl: divergence of each prediction from the best one, nats.
        loss: nats a token, ends counted.
        loss_shown: the loss if it is shown metadata, where that was measured.
    """

    kl: Float[Tensor, "documents positions"]
    loss: float
    loss_shown: float | None = None


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Documents that no model is trained on, with everything exact about them.

    Attributes:
        documents: with their metadata.
        best: what the best predictor says, by the number of levels it knows.
        mask: which positions there are.
    """

    documents: Documents
    best: tuple[Float[Tensor, "documents positions columns"], ...]
    mask: Tensor

    @property
    def longest(self) -> int:
        """The longest prompt that enough documents reach."""
        return int((self.mask.sum(0) >= _ENOUGH).sum()) - 1


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training of two models up to a step.

    Attributes:
        setting: what was chosen.
        steps: when the models were measured, from 0.
        curves: mean divergence over all predictions at each of these steps, nats: of the baseline, and of the other.
        baseline: the model that was never shown metadata, now.
        told: the one that was, now.
        held_out: on what they were measured.
        models: both, as they are now; None where they go on being trained.
        opening: whether it is the one that a page begins with.
    """

    setting: Setting
    steps: tuple[int, ...]
    curves: tuple[tuple[float, ...], tuple[float, ...]]
    baseline: Measured
    told: Measured
    held_out: HeldOut
    models: tuple[Decoder, Decoder] | None = None
    opening: bool = False

    @property
    def step(self) -> int:
        """The last step."""
        return self.steps[-1]

    @property
    def lengths(self) -> range:
        """The prompt lengths that enough documents reach."""
        return range(self.held_out.longest + 1)

    def kl(self, told: bool) -> list[float]:
        """Return a model's mean divergence after prompts of each of ``lengths``."""
        values = (self.told if told else self.baseline).kl
        return by_position(values, self.held_out.mask).mean[: len(self.lengths)].tolist()

    def sides(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return after which prompts the model that was told is further from the best, and after which it is nearer.

        By more than two standard errors of the ratio over documents; the spread over seeds is not in it.
        """
        found = ratio_by_position(self.told.kl, self.baseline.kl, self.held_out.mask)
        far = [float((found.ratio[k] - 1) / found.standard_error[k]) for k in self.lengths]
        return tuple(k for k in self.lengths if far[k] > _SURE), tuple(k for k in self.lengths if far[k] < -_SURE)

    def __repr__(self) -> str:
        return f"Run({self.setting.name}, D_M = {self.setting.depth}: step {self.step} of {self.setting.n_steps})"

    def to_dict(self) -> dict[str, Any]:
        """Return settings, curves and divergences by prompt length as plain values."""
        numbers = {"baseline": self.kl(False), "told": self.kl(True), "lengths": list(self.lengths)}
        losses = {"losses": (self.baseline.loss, self.told.loss), "loss with metadata": self.told.loss_shown}
        return {"setting": vars(self.setting), "steps": self.steps, "curves": self.curves} | numbers | losses


@functools.cache
def held_out(name: str) -> HeldOut:
    """Draw the documents that models are measured on, the same for all of a family."""
    family = example_family(name)
    documents = family.sample(_HELD, generator=torch.Generator().manual_seed(12), device="cpu")
    found = infer(family, documents)
    best = tuple(found.next_token_probs(known, documents.metadata) for known in range(family.depth + 1))
    return HeldOut(documents, best, reached(documents))


def start(setting: Setting) -> Decoder:
    """Return a model before training: the same for both."""
    generator = torch.Generator().manual_seed(setting.seed)
    return Decoder(DecoderConfig.of(example_family(setting.name), SIZE), generator=generator, device="cpu")


def train(setting: Setting, *, between: int = BETWEEN) -> Iterator[Run]:
    """Train both models in step, yielding the run before the first step, now and then, and after the last one.

    Args:
        setting: what to train.
        between: steps from one measurement to the next.

    Raises:
        ValueError: an unknown family, more levels than it has, none, or a negative number of steps.
    """
    family = example_family(setting.name)
    require(1 <= setting.depth <= family.depth, "train", "depth", f"1 to {family.depth}", setting.depth)
    require(setting.n_steps >= 0, "train", "n_steps", ">= 0", setting.n_steps)
    models = [start(setting), start(setting)]
    optimizers = [_optimizer(model) for model in models]
    pairs = _pairs(setting)
    steps: list[int] = []
    curves: tuple[list[float], list[float]] = ([], [])
    for step in range(setting.n_steps + 1):
        if step % between == 0 or step == setting.n_steps:
            steps.append(step)
            last = step == setting.n_steps
            measured = [_measure(model, setting, last and model is models[1]) for model in models]
            for curve, one in zip(curves, measured, strict=True):
                curve.append(by_position(one.kl, held_out(setting.name).mask).overall)
            done = (models[0], models[1]) if last else None
            shape = (tuple(curves[0]), tuple(curves[1]))
            yield Run(setting, tuple(steps), shape, measured[0], measured[1], held_out(setting.name), done)
        if step < setting.n_steps:
            rate = _rate(step, setting.n_steps)
            for model, optimizer, read in zip(models, optimizers, next(pairs), strict=True):
                optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = rate
                optimizer.zero_grad()
                loss(model, read).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
                optimizer.step()


def _pairs(setting: Setting) -> Iterator[tuple[Sequences, Sequences]]:
    """Yield batches without metadata, and the same documents with the metadata of some shown; the shortest first."""
    family, generator = example_family(setting.name), torch.Generator().manual_seed(setting.seed + 1000)
    vocabulary, often = Vocabulary.of(family), float(Conditioning(setting.depth, P_META).probability())
    while True:
        n = BATCH * _DRAWN_FOR
        documents = family.sample(n, generator=generator, device="cpu")
        shown = draw_uniform((n,), generator=generator, device=torch.device("cpu")) < often
        hidden = condition(documents, vocabulary)
        told = condition(documents, vocabulary, depth=setting.depth, shown=shown)
        for rows in torch.arange(n).split(BATCH):
            rows = rows[documents.lengths[rows].argsort(stable=True)]
            yield hidden.select(rows), told.select(rows)


def loss(model: Decoder, read: Sequences) -> Float[Tensor, ""]:
    """Return the mean loss of a model over the tokens that count, in nats.

    Args:
        model: the decoder.
        read: documents, the shortest first: little is computed for what stands behind their ends.
    """
    groups = torch.arange(len(read)).chunk(min(_GROUPS, len(read)))
    parts = [read.select(group, int(read.lengths[group].max())) for group in groups]
    tokens, targets, counts = (
        torch.cat([getattr(part, name).flatten() for part in parts]) for name in ("tokens", "targets", "loss_mask")
    )
    shapes = [(len(part), part.tokens.shape[1]) for part in parts]
    positions = torch.cat([torch.arange(width).repeat(n) for n, width in shapes])
    attend = partial(causal_attention, shapes=shapes)
    residual = model.run(tokens, positions, [attend] * len(model.layers))[-1]
    return functional.cross_entropy(model.output(model.norm(residual[counts])), targets[counts])


def _optimizer(model: Decoder) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    gains = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=_RATE, betas=(0.9, 0.98), weight_decay=_DECAY, fused=True)


def _rate(step: int, n_steps: int) -> float:
    fall = (1 + math.cos(math.pi * step / n_steps)) / 2
    return _RATE * min((step + 1) / _WARMUP, _LAST + (1 - _LAST) * fall)


def _measure(model: Decoder, setting: Setting, shown: bool) -> Measured:
    held = held_out(setting.name)
    kl, expected = _beside_best(model, held, 0)
    return Measured(kl, expected, _beside_best(model, held, setting.depth)[1] if shown else None)


@torch.no_grad()
def _beside_best(model: Decoder, held: HeldOut, depth: int) -> tuple[Float[Tensor, "documents positions"], float]:
    kl = divergences(held.best[depth], predict(model, held.documents, depth=depth))
    # The expected loss after each prompt, not that of the one token that came: the same mean with less noise.
    expected = kl + torch.special.entr(held.best[depth]).sum(-1)
    return kl, by_position(expected, held.mask).overall


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL, _LEFT = 720.0, 36.0, 290.0, 386.0
_LEAST, _MOST = 1e-3, 3.0
BASELINE_LOOK = style.MEANINGS["baseline"]
TOLD_LOOK = style.MEANINGS["paper"]


def draw(run: Run) -> Svg:
    """Draw how far both models are from the best after prompts of each length, and over the training."""
    picture = Svg(_WIDTH, _TOP + _TALL + 62)
    picture.text(14, 24, _finding(run), size=14, bold=True)
    by_length = _series(run.lengths, (run.kl(False), run.kl(True)))
    _panel(
        picture,
        (14.0, _LEFT - 36),
        by_length,
        heading="KL from the best prediction (nats)",
        x_limits=(0.0, float(max(run.held_out.longest, 1))),
        x_label="prompt length (tokens), no metadata",
    )
    over_steps = _series(run.steps, run.curves)
    ends = [Series("", one.x[-1:], one.y[-1:], one.meaning, True) for one in over_steps]
    _panel(
        picture,
        (_LEFT, _WIDTH - _LEFT - 10),
        [*over_steps, *ends],
        heading="mean over all prompts (nats)",
        x_limits=(0.0, float(max(run.setting.n_steps, 1))),
        x_label="training step",
    )
    note = f"blue: trained with the choices of {_levels(run.setting)} shown in half of its documents. One seed."
    picture.text(14, _TOP + _TALL + 49, note, size=12, fill=style.GREY)
    return picture


def _series(x: Sequence[int], lines: Sequence[Sequence[float]]) -> list[Series]:
    names, looks = ("baseline", "metadata"), (BASELINE_LOOK, TOLD_LOOK)
    return [
        Series(name, x, [max(value, _LEAST) for value in values], look)
        for name, values, look in zip(names, lines, looks, strict=True)
    ]


def _panel(picture: Svg, across: tuple[float, float], series: Sequence[Series], **look: Any) -> None:
    limits: dict[str, Any] = {"y_limits": (_LEAST, _MOST), "log_y": True, "whole_x": True, "room": 74.0}
    draw_panel(picture, (across[0], _TOP + 4, across[1], _TALL), series, **look, **limits)


def _levels(setting: Setting) -> str:
    if setting.depth == example_family(setting.name).depth:
        return "all levels"
    return "the top level" if setting.depth == 1 else f"the top {setting.depth} levels"


def _finding(run: Run) -> str:
    if run.step == 0:
        return "Before training, both models are the same"
    worse, better = run.sides()
    n = len(run.lengths)
    head = f"Step {run.step:,}, with metadata in training: "
    if not worse and not better:
        return head + f"no clear difference at any of {n} prompt lengths"
    parts = [f"{word} at {len(found)}" for word, found in (("worse", worse), ("better", better)) if found]
    return head + f"{', '.join(parts)} of {n} prompt lengths"


def describe(run: Run) -> str:
    """Say how far the training is, how far both models are from the best, where they differ, and what metadata give."""
    setting, (baseline, told) = run.setting, (run.curves[0][-1], run.curves[1][-1])
    first = "; Start trains with the settings above" if run.opening else ""
    documents = run.step * BATCH
    worse, better = run.sides()
    apart = [f"{word} after {spans(found)} tokens" for word, found in (("worse", worse), ("better", better)) if found]
    clear = " and ".join(apart) if apart and run.step else "not apart at any prompt length"
    shown = "" if run.told.loss_shown is None else f" Shown the metadata, it has a loss of {run.told.loss_shown:.3f}."
    return (
        f"{setting.name}, seed {setting.seed}, step {run.step:,} of {setting.n_steps:,}{first}. Both read the same "
        f"{documents:,} documents, the second model about half of them with metadata. KL from the best, without "
        f"metadata, over all prompts: baseline {baseline:.3f}, metadata {told:.3f} nats (loss {run.baseline.loss:.3f} "
        f"and {run.told.loss:.3f}). By more than two standard errors over documents the second is {clear}.{shown} "
        f"Another seed may differ."
    )


@functools.lru_cache(maxsize=2)
def opening_run(setting: Setting) -> Run:
    """Return the run that a page begins with, trained once."""
    *_, run = train(setting)
    return replace(run, opening=True)


def explore_live_decoders(n_steps: int = STEPS[0]) -> BackgroundView:
    """Return a view of a training that the reader sets up and starts; a short one is done when it opens.

    Args:
        n_steps: updates of that one.
    """
    first = Setting(n_steps=n_steps)
    initial = opening_run(first)

    def work(name: str, depth: int, n_steps: int, seed: int) -> Iterator[Progress]:
        for run in train(Setting(name, depth, n_steps, seed)):
            share = run.step / n_steps if n_steps else 1.0
            yield Progress(share, run, f"step {run.step:,} of {n_steps:,}")

    lengths = dict.fromkeys(sorted({n_steps, *STEPS}))
    choices = {
        "name": controls.choice("family", list(FAMILIES), first.name),
        "depth": controls.toggle("levels shown, D_M", {"1": 1, "2": 2, "3": 3}, first.depth),
        "n_steps": controls.toggle("steps", {f"{n:,}": n for n in lengths}, n_steps),
        "seed": controls.toggle("seed", {str(seed): seed for seed in SEEDS}, first.seed),
    }
    return BackgroundView(choices, work, draw, describe, initial=initial, run_label="Start")
