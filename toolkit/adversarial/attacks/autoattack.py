"""Several attacks in a row, each on what still stands, and accuracies that can be believed (arXiv 2003.01690)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.attacks.apgd import APGD
from toolkit.adversarial.attacks.base import Attack, Classifier, Norm, Task, prepare
from toolkit.adversarial.attacks.optimization import check_count
from toolkit.adversarial.attacks.search import part_of
from toolkit.adversarial.attacks.square import Square
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require

Size = Literal["quick", "standard"]
_ANSWERS = 5
_ALLOWED_DIFFERENCE = 1e-4
_ALLOWED_GAIN = 0.002


@dataclass(frozen=True)
class AutoAttack(Attack):
    """Runs attacks one after the other, each on the images that still stand.

    An image that no attack breaks, and one that is wrong already, is returned as it was.

    Attributes:
        attacks: any, in the same norm; default: APGD on the cross-entropy, APGD towards the likeliest wrong classes,
            and Square.
        norm: ``"linf"`` or ``"l2"``.
        size: of the default attacks. ``"standard"``: as published, 100 steps, 9 classes, 5,000 queries (without its
            fourth attack, FAB); ``"quick"``: 30 steps, 3 classes, 300 queries.
    """

    attacks: tuple[Attack, ...] | None = None
    norm: Norm = "linf"
    size: Size = "standard"

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        require(self.norm in self.norms, "AutoAttack", "norm", f"one of {', '.join(self.norms)}", self.norm)
        require(self.size in ("quick", "standard"), "AutoAttack", "size", "'quick' or 'standard'", repr(self.size))
        for attack in self.attacks or ():
            require(attack.ball == self.norm, "AutoAttack", "attacks", f"attacks in {self.norm}", repr(attack))

    @property
    def members(self) -> tuple[Attack, ...]:
        """Return the attacks in their order."""
        if self.attacks is not None:
            return self.attacks
        n_steps, n_targets, n_queries = (30, 3, 300) if self.size == "quick" else (100, 9, 5000)
        return (
            APGD(loss="ce", n_steps=n_steps, norm=self.norm),
            APGD(loss="targeted-dlr", n_steps=n_steps, n_targets=n_targets, norm=self.norm),
            Square(n_queries=n_queries, norm=self.norm),
        )

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images of the first attack that broke each."""
        return run_in_turn(self.members, task)[0]


@dataclass(frozen=True)
class HonestAccuracy:
    """How many images stand after one attack and the next, and whether these numbers can be believed.

    Attributes:
        epsilon: bound of the change, in units of the pixels; the largest if the images have different ones.
        norm: in which it is measured.
        n_images: how many.
        clean: accuracy before the attacks; 1 is all right.
        accuracies: after each attack, by its name, in their order; what one broke stays broken.
        robust: after all of them.
        standard_error: of ``robust``, over the images.
        random_outputs: whether the model answered the same question differently.
        no_gradient: whether the logits have no gradient; attacks that need one were left out.
        zero_gradients: share of the images whose gradient of the loss is zero; NaN without gradients.
        gradient_free_gain: share of the images that fell to an attack without gradients after those with gradients
            had failed.
        probabilities: whether the outputs look like probabilities instead of logits.
        warnings: a sentence for each reason to doubt ``robust``.
    """

    epsilon: float
    norm: Norm
    n_images: int
    clean: float
    accuracies: dict[str, float]
    robust: float
    standard_error: float
    random_outputs: bool
    no_gradient: bool
    zero_gradients: float
    gradient_free_gain: float
    probabilities: bool
    warnings: tuple[str, ...]

    @property
    def suspicious(self) -> bool:
        """Return whether there is a reason to doubt ``robust``."""
        return bool(self.warnings)

    def __repr__(self) -> str:
        doubt = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"HonestAccuracy({self.robust:.4g} of {self.clean:.4g} at {self.norm} {self.epsilon:.4g}{doubt})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def honest_accuracy(
    model: Classifier,
    images: Float[Tensor, "n *pixels"],
    labels: Int[Tensor, " n"],
    epsilon: float | Tensor,
    *,
    norm: Norm = "linf",
    attacks: Sequence[Attack] | None = None,
    size: Size = "standard",
    generator: torch.Generator | None = None,
    batch_size: int = 250,
) -> HonestAccuracy:
    """Measure the accuracy under several strong attacks, and look for signs that it flatters the model.

    Signs are those that AutoAttack looks for: outputs that change from one call to the next, gradients that are zero
    or missing, an attack without gradients that beats those with, and outputs that are probabilities. Where one is
    seen, an adaptive attack on this defence (BPDA, expectation over transformations) should have the last word.

    Args:
        model: judged; as for all attacks.
        images: clean, in [0, 1].
        labels: what they show.
        epsilon: bound of the change: one for all images or one each.
        norm: ``"linf"`` or ``"l2"``.
        attacks: in the order to run; default: those of :class:`AutoAttack`.
        size: of the default attacks, ``"quick"`` or ``"standard"``.
        generator: for random draws; default: a new one.
        batch_size: images at a time.

    Raises:
        ValueError, TypeError: as the call of an attack.
    """
    check_count("honest_accuracy", "batch_size", batch_size)
    whole = AutoAttack(None if attacks is None else tuple(attacks), norm, size)
    generator = resolve_generator(generator)
    with torch.inference_mode(False), torch.enable_grad():
        task = prepare(whole, model, images, labels, epsilon, None, generator)
        n, signs, members = len(images), _Signs(), whole.members
        broken_by = torch.zeros(n, dtype=torch.int64, device=images.device)
        for rows in torch.arange(n, device=images.device).split(batch_size) if n else ():
            part = part_of(task, rows)
            if int(rows[0]) == 0 and not signs.differentiable(part):
                members = tuple(attack for attack in members if not attack.needs_gradient)
            signs.look(part)
            broken_by[rows] = run_in_turn(members, part)[1]

    counts = torch.bincount(broken_by, minlength=len(members) + 2).tolist()
    standing = [sum(counts[k:]) for k in range(1, len(members) + 2)]
    accuracies = dict(zip(_names(members), (_share(left, n) for left in standing[1:]), strict=True))
    robust = _share(standing[-1], n)
    gain = _gain(members, counts)
    return HonestAccuracy(
        epsilon=float(task.epsilon.max()) if task.epsilon.numel() else float("nan"),
        norm=norm,
        n_images=n,
        clean=_share(standing[0], n),
        accuracies=accuracies,
        robust=robust,
        standard_error=(robust * (1 - robust) / n) ** 0.5 if n else float("nan"),
        random_outputs=signs.random,
        no_gradient=signs.no_gradient,
        zero_gradients=float("nan") if signs.no_gradient else _share(signs.n_zero, n),
        gradient_free_gain=_share(gain, n),
        probabilities=signs.probabilities,
        warnings=tuple(signs.sentences(n, gain)),
    )


def run_in_turn(attacks: Sequence[Attack], task: Task) -> tuple[Float[Tensor, "batch *pixels"], Int[Tensor, " batch"]]:
    """Run each attack on the images that still stand.

    Returns:
        The changed images, clean where nothing worked; and which attack broke each: 0 where the clean image was enough,
        k for the k-th attack, one more than there are attacks for what stands.
    """
    with torch.no_grad():
        standing = ~task.succeeded(task.logits(task.images))
    found, broken_by = task.images.clone(), torch.where(standing, len(attacks) + 1, 0)
    for k, attack in enumerate(attacks, start=1):
        rows = standing.nonzero().squeeze(1)
        if not len(rows):
            break
        # Attacks may choose other labels for their task; success is judged by those that were asked for.
        part = part_of(task, rows)
        images = part.project(attack.perturb(part_of(task, rows)))
        with torch.no_grad():
            errs = part.succeeded(part.logits(images))
        found[rows[errs]], broken_by[rows[errs]] = images[errs], k
        standing[rows[errs]] = False
    return found, broken_by


class _Signs:
    """What speaks against believing in a robust accuracy, gathered batch by batch."""

    def __init__(self) -> None:
        self.random, self.no_gradient, self.n_zero = False, False, 0
        self.probabilities = True

    def differentiable(self, task: Task) -> bool:
        """Return whether the loss of these images has a gradient."""
        self.no_gradient = not task.losses(task.images.clone().requires_grad_()).requires_grad
        return not self.no_gradient

    def look(self, task: Task) -> None:
        """Look at one batch."""
        with torch.no_grad():
            answers = torch.stack([task.logits(task.images) for _ in range(_ANSWERS)])
        finite = answers.nan_to_num(0.0, 0.0, 0.0)
        scale = finite.norm(dim=2, keepdim=True).clamp(min=torch.finfo(finite.dtype).tiny)
        apart = float((finite / scale - finite[0] / scale[0]).norm(dim=2).max())
        self.random |= apart > _ALLOWED_DIFFERENCE or bool((answers.argmax(2) != answers[0].argmax(1)).any())
        one = answers[0]
        sums_to_one = bool(((one.sum(1) - 1).abs() < 1e-4).all())
        self.probabilities &= sums_to_one and bool((one >= 0).all() and (one <= 1).all())

        if not self.no_gradient:
            self.n_zero += int((task.gradient(task.images).flatten(1) == 0).all(1).sum())

    def sentences(self, n: int, gain: int) -> Iterator[str]:
        """Yield a sentence for each sign."""
        if self.random:
            yield "The model answers the same question differently: attack the expectation over its draws."
        if self.no_gradient:
            yield "The model has no gradient: attack it through a surrogate of what cannot be differentiated."
        elif self.n_zero:
            yield (
                f"The gradient of the loss is zero for {self.n_zero} of {n} images: attacks that follow it see nothing."
            )
        if gain > max(1, _ALLOWED_GAIN * n) and not self.no_gradient:
            yield f"An attack without gradients broke {gain} of {n} images that those with gradients could not break."
        if n and self.probabilities:
            yield "The outputs look like probabilities: attack the logits, whose differences do not vanish."


def _gain(members: Sequence[Attack], counts: list[int]) -> int:
    """Return how many images fell to an attack without gradients after one with gradients had been tried."""
    gain, tried = 0, False
    for attack, count in zip(members, counts[1:], strict=False):
        tried |= attack.needs_gradient
        gain += count if tried and not attack.needs_gradient else 0
    return gain


def _names(attacks: Sequence[Attack]) -> list[str]:
    """Return a name for each attack; those that recur are numbered."""
    names: list[str] = []
    for attack in attacks:
        name = getattr(attack, "title", type(attack).__name__)
        same = sum(earlier == name or earlier.startswith(f"{name} ") for earlier in names)
        names.append(f"{name} {same + 1}" if same else name)
    return names


def _share(count: int, n: int) -> float:
    return count / n if n else float("nan")
