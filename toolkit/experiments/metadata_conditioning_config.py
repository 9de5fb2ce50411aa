"""What the study of metadata conditioning can be told: which families, how much metadata, how decoders are trained."""

import math
from dataclasses import dataclass

from toolkit.core.errors import argument_error, require
from toolkit.experiments.metadata_conditioning_families import find_family
from toolkit.experiments.study import StudyConfig, by_scale
from toolkit.grammars.conditioning import Conditioning
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.models import SIZES
from toolkit.grammars.training import TrainingConfig

BASELINE = "baseline"
"""Never sees metadata, and takes as many steps as the others."""

FEWER = "fewer-steps"
"""Never sees metadata, and reads only as many documents as the others read without."""


@dataclass(frozen=True)
class Arm:
    """One way of training on one family.

    Attributes:
        family_name: as in the configuration.
        name: ``"baseline"``, ``"fewer-steps"``, ``"D_M=2"``.
        depth: how many levels of metadata are shown, D_M.
        n_steps: updates.
    """

    family_name: str
    name: str
    depth: int
    n_steps: int

    @property
    def family(self) -> GrammarFamily:
        """What the documents are drawn from."""
        return find_family(self.family_name)

    @property
    def variant(self) -> str:
        """The name of its record."""
        return f"{self.family_name}/{self.name}"


@dataclass(frozen=True)
class MetadataConditioningConfig(StudyConfig):
    """Which decoders are trained, and on what they are measured."""

    seeds: tuple[int, ...] = by_scale(quick=(0, 1), laptop=(0, 1, 2, 3, 4), paper=(0, 1, 2))
    """Of weights and documents; the same documents for all arms. Held-out documents are the same for all seeds."""

    families: tuple[str, ...] = by_scale(
        quick=("toy",), laptop=("1-3-3-9:K=1-16-1:seed=1",), paper=("1-3-3-3-3-3:K=2:seed=1",)
    )
    """Names (toy), recipes (1-3-3-3-9:K=2:seed=1, with sizes of the levels and K or K=4-4-1-1 sets of rules) or compact
    texts."""

    depths: tuple[int, ...] | None = None
    """How many levels of metadata are shown, D_M; two baselines come on top. Default: all levels at quick, else 1 to
    all."""

    p_meta: float = 0.5
    """How often a document shows them; the paper's value is not known."""

    cooldown: float = 0.0
    """Share of the last steps in which none does."""

    size: str = by_scale(quick="16-1-2", laptop="0.2M", paper="85M")
    """Of the decoder: 0.2M 1M 3M 10M 25M 85M, or width, layers and heads, 64-3-4."""

    n_steps: int = by_scale(quick=20, laptop=3000, paper=50_000)
    """Updates; of the baseline with fewer steps, the share of documents without metadata of this."""

    batch_size: int = by_scale(quick=32, laptop=64, paper=256)
    """Documents in an update."""

    learning_rate: float = by_scale(quick=3e-3, laptop=6e-3, paper=3e-4)
    """The highest; it rises, then falls with half a cosine."""

    warmup_steps: int = by_scale(quick=4, laptop=100, paper=1000)
    """In which it rises."""

    weight_decay: float = 0.1
    """Of AdamW."""

    bfloat16: bool = by_scale(quick=False, laptop=False, paper=True)
    """Multiply matrices in bfloat16."""

    compiled: bool = by_scale(quick=False, laptop=False, paper=True)
    """Train through torch.compile."""

    n_documents: int = by_scale(quick=60, laptop=500, paper=1000)
    """Held-out sentences behind losses and divergences."""

    prompt_lengths: tuple[int, ...] | None = None
    """Tokens of prompts to be continued, and positions of probes. Default: about sixteen, up to what one sentence in
    ten reaches."""

    n_written: int = by_scale(quick=20, laptop=200, paper=500)
    """Continuations for each length of the prompt."""

    n_probed: int = by_scale(quick=60, laptop=1200, paper=4000)
    """Sentences behind the probes; half of them fit, half test."""

    n_beliefs: int = by_scale(quick=16, laptop=200, paper=300)
    """Sentences behind calibration and decomposition; fewer where metadata take many values."""

    n_evaluations: int = by_scale(quick=2, laptop=8, paper=20)
    """Points of the curves over training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        families = tuple(part for text in self.families for part in text.split(",") if part)
        require(0 < len(families) == len(set(families)), name, "families", "one or more, each once", families)
        object.__setattr__(self, "families", families)
        deepest, longest = 0, math.inf
        for text in families:
            try:
                family = find_family(text)
                deepest, longest = max(deepest, family.depth), min(longest, family.longest)
            except ValueError as error:
                raise argument_error(name, "families", str(getattr(error, "expected", error)), repr(text)) from error
        if self.depths is not None:
            depths = tuple(self.depths)
            fine = 0 < len(depths) == len(set(depths)) and all(_whole(d) and 1 <= d <= deepest for d in depths)
            require(fine, name, "depths", f"1 to {deepest}, each once", depths)
            object.__setattr__(self, "depths", depths)
        if self.prompt_lengths is not None:
            lengths = tuple(self.prompt_lengths)
            fine = 0 < len(lengths) == len(set(lengths)) and all(_whole(k) and k >= 0 for k in lengths)
            require(fine, name, "prompt_lengths", "whole numbers >= 0, each once", lengths)
            expected = f"one at least that a document has, of at most {longest} tokens"
            require(min(lengths) <= longest, name, "prompt_lengths", expected, lengths)
            object.__setattr__(self, "prompt_lengths", tuple(sorted(lengths)))
        least = {"n_steps": 1, "batch_size": 1, "warmup_steps": 0, "n_documents": 2, "n_written": 1, "n_probed": 4}
        for field, lowest in (least | {"n_beliefs": 1, "n_evaluations": 1}).items():
            value = getattr(self, field)
            require(_whole(value) and value >= lowest, name, field, f"a whole number >= {lowest}", repr(value))
        for field in ("p_meta", "cooldown"):
            value = getattr(self, field)
            require(0 <= value <= 1, name, field, "0 to 1", value)
        require(0 < self.learning_rate < math.inf, name, "learning_rate", "> 0 and finite", self.learning_rate)
        require(0 <= self.weight_decay < math.inf, name, "weight_decay", ">= 0 and finite", self.weight_decay)
        for field in ("bfloat16", "compiled"):
            require(isinstance(getattr(self, field), bool), name, field, "True or False", repr(getattr(self, field)))
        expected = f"one of {', '.join(SIZES)}, or width, layers and heads as 64-3-4"
        numbers = [int(part) for part in self.size.split("-") if part.isascii() and part.isdigit()]
        custom = len(numbers) == 3 == self.size.count("-") + 1 and min(numbers) >= 1
        require(self.size in SIZES or custom, name, "size", expected, repr(self.size))

    @property
    def shape(self) -> str | tuple[int, int, int]:
        """Of the decoder: a name, or width, layers and heads."""
        if self.size in SIZES:
            return self.size
        width, n_layers, n_heads = (int(part) for part in self.size.split("-"))
        return width, n_layers, n_heads

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All trainings: on each family two baselines, then one for each depth."""
        found = []
        for name in self.families:
            depth = find_family(name).depth
            wanted = self.depths or ((depth,) if self.scale == "quick" else tuple(range(1, depth + 1)))
            found += [Arm(name, BASELINE, 0, self.n_steps), Arm(name, FEWER, 0, self.fewer_steps)]
            found += [Arm(name, f"D_M={d}", d, self.n_steps) for d in wanted if d <= depth]
        return tuple(found)

    @property
    def fewer_steps(self) -> int:
        """In which a baseline reads as many documents as the other models read without metadata."""
        return max(1, round(self.n_steps * (1 - self.p_meta * (1 - self.cooldown))))

    def training(self, arm: Arm, seed: int) -> TrainingConfig:
        """Return how an arm is trained."""
        return TrainingConfig(
            Conditioning(arm.depth, self.p_meta, self.cooldown),
            arm.n_steps,
            self.batch_size,
            self.shape,
            self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            seed=seed,
            bfloat16=self.bfloat16,
            compile="inductor" if self.compiled else None,
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
