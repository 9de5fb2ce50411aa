"""Two readers that err on purpose: is the paper's picture what comes of haste about the grammar and skill within it?

A model of the explanation, not evidence for it: nothing is trained, and everything is exact over all sentences.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.level_knowledge import all_sentences
from toolkit.explorers.small_panels import draw_panel
from toolkit.grammars.enumeration import Enumeration
from toolkit.grammars.metrics import divergences
from toolkit.grammars.sandbox import temper
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

TAUS, NOISES = (0.0, 5.0), (0.0, 0.1)
"""The least and the greatest power and noise that sliders offer."""
_SAME = 1e-9


@dataclass(frozen=True)
class Reader:
    """How a reader errs.

    Attributes:
        tau: the power to which its beliefs about the grammar are raised: above 1 it is hasty, below 1 timid.
        noise: the share of the uniform distribution in what it expects of each grammar.
    """

    tau: float = 1.0
    noise: float = 0.0

    def __str__(self) -> str:
        manner = "hasty" if self.tau > 1 else "timid" if self.tau < 1 else "neither hasty nor timid"
        return f"{manner} (τ = {self.tau:g}), noise {self.noise:g}"


BASELINE, TOLD = Reader(1.0, 0.02), Reader(3.0, 0.01)
"""What the two readers are at first: right about the grammar but noisy, and hasty but less noisy."""


@dataclass(frozen=True, eq=False, repr=False)
class Errors:
    """How far a reader is from the best one, by the number of tokens read; means over all documents so long, in nats.

    Attributes:
        reader: which.
        total: divergence of its prediction of the next token.
        which: divergence of its beliefs about the grammar.
        what: mean divergence of its predictions within each grammar. ``total`` is at most ``which`` and ``what``.
    """

    reader: Reader
    total: tuple[float, ...]
    which: tuple[float, ...]
    what: tuple[float, ...]

    def __repr__(self) -> str:
        return f"Errors({self.reader}: {self.total[0]:.4f} to {self.total[-1]:.4f} nats)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        return vars(self) | {"reader": dict(vars(self.reader))}


@dataclass(frozen=True, eq=False, repr=False)
class Compared:
    """Both readers.

    Attributes:
        baseline: the one that shall be like a model trained without metadata.
        told: the one that shall be like a model trained with them.
        share: of documents, how many are so long.
    """

    baseline: Errors
    told: Errors
    share: tuple[float, ...]

    @property
    def worse(self) -> tuple[int, ...]:
        """The numbers of tokens after which the second reader is further from the best one than the first."""
        pairs = zip(self.told.total, self.baseline.total, strict=True)
        return tuple(k for k, (told, baseline) in enumerate(pairs) if told > baseline + _SAME)

    @property
    def better(self) -> tuple[int, ...]:
        """The numbers of tokens after which it is nearer."""
        pairs = zip(self.told.total, self.baseline.total, strict=True)
        return tuple(k for k, (told, baseline) in enumerate(pairs) if told < baseline - _SAME)

    @property
    def better_from(self) -> int | None:
        """From how many tokens on it is nearer, up to the longest document; None if it is not nearer there."""
        better, first = set(self.better), None
        for k in reversed(range(len(self.share))):
            if k not in better:
                break
            first = k
        return first

    def __repr__(self) -> str:
        return f"Compared({self.told.reader}; beside {self.baseline.reader}: worse after {spans(self.worse) or 'none'})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        return {"baseline": self.baseline.to_dict(), "told": self.told.to_dict(), "share": list(self.share)}


@dataclass(frozen=True, eq=False)
class Situations:
    """All that a reader of a family can have read, those that leave it in the same situation taken together.

    Attributes:
        posterior: how probable each grammar is in each situation.
        following: what comes next in each situation and grammar, the end last.
        weights: how probable each situation is after so many tokens, given that the document is so long.
        share: of documents, how many are so long.
    """

    posterior: Float[Tensor, "situations grammars"]
    following: Float[Tensor, "situations grammars columns"]
    weights: Float[Tensor, "places situations"]
    share: Float[Tensor, " places"]


@functools.cache
def situations(name: str = TOY) -> Situations:
    """Collect what a reader can have read, from all sentences of a family.

    Args:
        name: of an example family whose sentences can be written down.
    """
    family = example_family(name)
    every = all_sentences(name)
    joint = (every.log_prob + family.metadata_log_prob).exp()
    masses, followings, places = [], [], []
    for place in range(int(every.documents.lengths.max()) + 1):
        mass, following = _after(every, joint, place, family.n_terminals + 1)
        masses.append(mass)
        followings.append(following)
        places.append(torch.full((len(mass),), place))
    mass, following, where = torch.cat(masses), torch.cat(followings), torch.cat(places)
    share = mass.new_zeros(len(masses)).index_add_(0, where, mass.sum(1))
    posterior = mass / mass.sum(1, keepdim=True)
    rows = torch.cat([posterior, following.flatten(1)], 1)
    # Rounded, so that sums in another order do not make two situations of one.
    _, same = rows.mul(1e10).round().unique(dim=0, return_inverse=True)
    n = int(same.max()) + 1
    first = torch.full((n,), len(same)).scatter_reduce_(0, same, torch.arange(len(same)), "amin")
    weights = mass.new_zeros(len(masses), n).index_put_((where, same), mass.sum(1), accumulate=True)
    return Situations(posterior[first], following[first], weights / share[:, None], share)


def _after(
    every: Enumeration, joint: Float[Tensor, "sentences grammars"], place: int, columns: int
) -> tuple[Float[Tensor, "prefixes grammars"], Float[Tensor, "prefixes grammars columns"]]:
    """Return for each prefix of so many tokens its probability in each grammar, and what follows it there."""
    rows, lengths = every.documents.padded(), every.documents.lengths
    chosen = lengths >= place
    rows, lengths, joint = rows[chosen], lengths[chosen], joint[chosen]
    if place:
        _, prefix = rows[:, :place].unique(dim=0, return_inverse=True)
    else:
        prefix = torch.zeros(len(rows), dtype=torch.int64)
    longer = torch.cat([rows, rows.new_full((len(rows), 1), columns - 1)], 1)
    token = torch.where(lengths == place, columns - 1, longer[:, place])
    n = int(prefix.max()) + 1
    split = joint.new_zeros(n * columns, joint.shape[1]).index_add_(0, prefix * columns + token, joint)
    split = split.unflatten(0, (n, columns)).transpose(1, 2)
    mass = split.sum(2)
    return mass, split / torch.where(mass > 0, mass, 1.0)[..., None]


@functools.lru_cache(maxsize=256)
def errors(reader: Reader, name: str = TOY) -> Errors:
    """Compute how far a reader is from the best one.

    Args:
        reader: how it errs.
        name: of the family it reads.

    Raises:
        ValueError: a negative power, or noise outside [0, 1].
    """
    known = situations(name)
    posterior, following = known.posterior, known.following
    said = temper(posterior, following, temperature=reader.tau, epsilon=reader.noise)
    best = (posterior[:, None, :] @ following)[:, 0]
    beliefs = torch.where(posterior > 0, reader.tau * posterior.log(), -torch.inf).log_softmax(-1)
    within = (1 - reader.noise) * following + reader.noise / following.shape[-1]
    what = (posterior * divergences(following, within.log())).sum(-1)
    parts = (divergences(best, said), divergences(posterior, beliefs), what)
    return Errors(reader, *(tuple((known.weights @ part).clamp(min=0.0).tolist()) for part in parts))


def compute(
    told_tau: float = TOLD.tau,
    told_noise: float = TOLD.noise,
    baseline_tau: float = BASELINE.tau,
    baseline_noise: float = BASELINE.noise,
) -> Compared:
    """Compare two readers of the toy family.

    Args:
        told_tau: the power of the one that shall be like a model trained with metadata.
        told_noise: its noise within each grammar.
        baseline_tau: the power of the other one.
        baseline_noise: its noise.

    Raises:
        ValueError: a negative power, or noise outside [0, 1].
    """
    for name, value in (("told_tau", told_tau), ("baseline_tau", baseline_tau)):
        require(0 <= value < float("inf"), "compute", name, ">= 0 and finite", value)
    for name, value in (("told_noise", told_noise), ("baseline_noise", baseline_noise)):
        require(0 <= value <= 1, "compute", name, "0 to 1", value)
    share = tuple(situations().share.tolist())
    return Compared(errors(Reader(baseline_tau, baseline_noise)), errors(Reader(told_tau, told_noise)), share)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL, _LEFT = 720.0, 36.0, 280.0, 346.0
_LEAST, _MOST = 1e-4, 2.0
_BASELINE = style.Line(style.PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "D", 2.2)
_TOLD = style.Line(style.BLUE, "-", "o", 2.6)
_PARTS = {
    "which": (style.Line(style.VERMILION, "-", "s", 2.6), style.Line(style.VERMILION, (0, (5.0, 1.6)), "s", 1.8)),
    "what": (style.Line(style.GREEN, "-", "^", 2.6), style.Line(style.GREEN, (0, (5.0, 1.6)), "^", 1.8)),
}


def draw(found: Compared) -> Svg:
    """Draw how far both readers are from the best one, and beside it the two parts of it."""
    picture = Svg(_WIDTH, _TOP + _TALL + 62)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    places = range(len(found.share))
    look: dict[str, Any] = {
        "x_limits": (0.0, float(len(found.share) - 1)),
        "y_limits": (_LEAST, _MOST),
        "log_y": True,
        "x_label": "prompt length (tokens)",
        "whole_x": True,
    }
    draw_panel(
        picture,
        (14.0, _TOP + 4, _LEFT - 28, _TALL),
        [
            Series("baseline", places, _on_axis(found.baseline.total), _BASELINE),
            Series("metadata", places, _on_axis(found.told.total), _TOLD),
        ],
        heading="KL from the best prediction (nats)",
        **look,
    )
    parts = [
        Series(f"{part}: {name}", places, _on_axis(getattr(errors, part)), line)
        for part, lines in _PARTS.items()
        for name, errors, line in zip(("metadata", "baseline"), (found.told, found.baseline), lines, strict=True)
    ]
    heading = "which grammar, and what next (nats)"
    draw_panel(picture, (_LEFT, _TOP + 4, _WIDTH - _LEFT - 10, _TALL), parts, heading=heading, **look)
    notes = "which: beliefs about the grammar; what: predictions within a grammar. At the foot: 10⁻⁴ or less."
    picture.text(14, _TOP + _TALL + 49, notes, size=12, fill=style.GREY)
    return picture


def _on_axis(values: Sequence[float]) -> list[float]:
    """Return values that a logarithmic axis can show: what lies below it stands on its foot."""
    return [max(value, _LEAST) for value in values]


def spans(numbers: Sequence[int]) -> str:
    """Write numbers in words: ``1 to 4, 6 and 8 to 12``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def _finding(found: Compared) -> str:
    worse, better, n = found.worse, found.better, len(found.share)
    if not worse and not better:
        return "Both readers err alike after every prompt"
    if not better:
        return "The metadata reader is nowhere better, and worse after " + _count(worse, n)
    if not worse:
        return "The metadata reader is nowhere worse, and better after " + _count(better, n)
    long = found.better_from
    if long is not None:
        return f"Metadata reader: worse after {_count(worse, n, 34)}, better from {long} tokens on"
    return f"Metadata reader: worse after {_count(worse, n, 24)}, better after {_count(better, n, 24)}"


def _count(numbers: tuple[int, ...], n: int, most: int = 40) -> str:
    if len(numbers) == n:
        return "every prompt"
    words = f"{spans(numbers)} token{'s' * (numbers != (1,))}"
    return words if len(words) <= most else f"{len(numbers)} of {n} prompt lengths"


def describe(found: Compared) -> str:
    """Say how both readers err, where the second is worse or better, and what its two errors do."""
    n = len(found.share)
    parts = [
        f"{words} after {_count(k, n, 60)}" for words, k in (("worse", found.worse), ("better", found.better)) if k
    ]
    short, long = 1, min(20, n - 1)
    numbers = "; ".join(
        f"{k} token{'s' * (k != 1)}: baseline {found.baseline.total[k]:.4f}, metadata {found.told.total[k]:.4f}"
        for k in (short, long)
    )
    return (
        f"No model is trained here: this is the explanation as arithmetic, not evidence for it. Baseline reader: "
        f"{found.baseline.reader}. Metadata reader: {found.told.reader}; {' and '.join(parts) or 'as far off'}. "
        f"KL in nats after {numbers}. Exact, over all sentences of the toy family."
    )


def explore_tempered_reader() -> View:
    """Return a view of two readers that err, each in its beliefs and in its skill."""
    chosen = {
        "told_tau": controls.float_slider("metadata reader: haste τ", TOLD.tau, *TAUS, step=0.25),
        "told_noise": controls.float_slider("metadata reader: noise ε", TOLD.noise, *NOISES, step=0.005),
        "baseline_tau": controls.float_slider("baseline reader: haste τ", BASELINE.tau, *TAUS, step=0.25),
        "baseline_noise": controls.float_slider("baseline reader: noise ε", BASELINE.noise, *NOISES, step=0.005),
    }
    return View(chosen, compute, draw, describe)
