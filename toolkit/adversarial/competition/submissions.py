"""What takes part: plain functions and adapters, how each is called, and how its output is read.

An attack is a function ``f(images, epsilon)`` or, if targeted, ``f(images, epsilon, targets)``; a defence is a function
``f(images)`` that returns labels. Each may also take ``generator``, seeded for it and the batch. Outputs may be whole
tensors, dictionaries by the number of the image in the batch, or iterators that give one after the other.
"""

import contextlib
import inspect
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack, Classifier
from toolkit.adversarial.competition.rules import BrokenRuleError, read_images, read_label
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require

Track = Literal["non-targeted", "targeted", "defence"]
TRACKS: tuple[Track, ...] = ("non-targeted", "targeted", "defence")


@dataclass(frozen=True)
class Submission:
    """A function that takes part.

    Attributes:
        name: unique among the attacks, or among the defences.
        function: the function.
        track: where it competes.
    """

    name: str
    function: Callable[..., Any]
    track: Track

    def __repr__(self) -> str:
        return f"Submission({self.name!r}, {self.track})"


@dataclass(frozen=True)
class Task:
    """One batch for one submission.

    Attributes:
        images: ``[batch, channels, height, width]``, uint8.
        epsilon: in levels of a uint8 pixel; None for a defence, which is not told.
        targets: classes to reach, for a targeted attack.
        seed: of the generator and of the global random states.
    """

    images: Tensor
    epsilon: int | None
    targets: Tensor | None
    seed: int


@dataclass(frozen=True)
class Piece:
    """Part of an output that could be read: images or labels, or a remark on some that could not.

    Attributes:
        kind: ``"images"``, ``"labels"``, ``"unreadable"`` (they count as missing) or ``"resized"``.
        indices: of the images in the batch.
        values: uint8 images or int64 labels; None for a remark.
        reason: the remark.
    """

    kind: Literal["images", "labels", "unreadable", "resized"]
    indices: tuple[int, ...]
    values: Tensor | None = None
    reason: str = ""


@dataclass(frozen=True)
class _AttackFunction:
    attack: Attack
    model: Classifier

    def __call__(
        self, images: Tensor, epsilon: float, targets: Tensor | None = None, *, generator: torch.Generator
    ) -> Tensor:
        device = _device(self.model)
        placed = None if targets is None else targets.to(device)
        return self.attack(self.model, images.to(device), epsilon=epsilon, targets=placed, generator=generator)


@dataclass(frozen=True)
class _ModelFunction:
    model: Classifier

    def __call__(self, images: Tensor, *, generator: torch.Generator) -> Tensor:
        extra = {"generator": generator} if _takes_generator(getattr(self.model, "forward", self.model)) else {}
        with torch.no_grad():
            return self.model(images.to(_device(self.model)), **extra).argmax(1)


def from_attack(name: str, attack: Attack, model: Classifier, *, targeted: bool = False) -> Submission:
    """Enter an attack on a model that the attacker knows.

    Args:
        name: unique among the attacks.
        attack: one of ``toolkit.adversarial``'s; it gets no labels, so it uses what the model says.
        model: the model it looks at; put into evaluation mode.
        targeted: whether it aims at the given classes.

    Raises:
        ValueError: the attack cannot aim, or can do nothing else.
    """
    operation = "from_attack"
    require(attack.accepts_targets or not targeted, operation, "targeted", "False: this attack cannot aim", targeted)
    require(targeted or not attack.requires_targets, operation, "targeted", "True: this attack must aim", targeted)
    if isinstance(model, nn.Module):
        model.eval()
    return Submission(name, _AttackFunction(attack, model), "targeted" if targeted else "non-targeted")


def from_model(name: str, model: Classifier) -> Submission:
    """Enter a model as a defence that answers with its most likely class; put into evaluation mode."""
    if isinstance(model, nn.Module):
        model.eval()
    return Submission(name, _ModelFunction(model), "defence")


def as_submissions(given: Mapping[str, Any] | Iterable[Any], track: Track) -> tuple[Submission, ...]:
    """Read the submissions of a track: a mapping from names, or submissions and functions, named after themselves.

    Raises:
        TypeError: something that cannot be called.
        ValueError: a name that is empty or taken, or a submission of another track.
    """
    pairs = given.items() if isinstance(given, Mapping) else ((None, item) for item in given)
    found = tuple(as_submission(name, item, track) for name, item in pairs)
    names = [submission.name for submission in found]
    for name in names:
        require(names.count(name) == 1, "Competition", track, "names that differ", repr(name))
    return found


def as_submission(name: str | None, item: Any, track: Track) -> Submission:
    """Read one submission; see :func:`as_submissions`."""
    if isinstance(item, Submission):
        require(item.track == track, "Competition", track, f"a submission to this track, {track}", repr(item))
        return Submission(item.name if name is None else _named(name, track), item.function, track)
    if not callable(item):
        reject("Competition", track, "functions or submissions", type(item).__name__, kind=TypeError)
    name = _named(getattr(item, "__name__", type(item).__name__) if name is None else name, track)
    if isinstance(item, nn.Module) and track == "defence":
        return from_model(name, item)
    return Submission(name, item, track)


def _named(name: object, track: Track) -> str:
    require(bool(str(name).strip()), "Competition", track, "a name for each", repr(name))
    return str(name)


def answer(submission_function: Callable[..., Any], track: Track, task: Task) -> Iterator[Piece]:
    """Call a submission with its own copy of a batch and read its output piece by piece, as far as it is wanted.

    Raises:
        BaseException: whatever the submission raises.
    """
    images = task.images.to(torch.float32).div(255)
    arguments: list[Any] = [images]
    if task.epsilon is not None:
        arguments.append(task.epsilon / 255)
    if task.targets is not None:
        arguments.append(task.targets.clone())
    generator = resolve_generator(seed=task.seed)
    extra = {"generator": generator} if _takes_generator(submission_function) else {}
    n, channels, height, width = task.images.shape
    with undisturbed(task.seed):
        output = submission_function(*arguments, **extra)
        try:
            if track == "defence":
                yield from _read_labels(output, n)
            else:
                yield from _read_attack(output, n, (channels, height, width))
        except BrokenRuleError as error:
            yield _unreadable(range(n), str(error))


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed the global random states of Python, NumPy and torch; afterwards put back these and what else is global."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype, gradients, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    try:
        folder = os.getcwd()
    except OSError:  # somebody removed it
        folder = None
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if folder is not None:
            with contextlib.suppress(OSError):
                os.chdir(folder)


def _read_attack(output: Any, n: int, image_shape: tuple[int, int, int]) -> Iterator[Piece]:
    if isinstance(output, (Tensor, np.ndarray)):
        if output.ndim == 0 or len(output) != n:
            yield _unreadable(range(n), f"shape {list(output.shape)} instead of {n} images")
        else:
            yield from _image_pieces(output, tuple(range(n)), image_shape)
        return
    for index, image in _numbered(output, n, "images"):
        yield from _image_pieces(_stack_of_one(image), (index,), image_shape)


def _image_pieces(output: Any, indices: tuple[int, ...], image_shape: tuple[int, int, int]) -> Iterator[Piece]:
    try:
        images, finite, resized = read_images(output, image_shape)
    except BrokenRuleError as error:
        yield _unreadable(indices, str(error))
        return
    if resized:
        yield Piece("resized", indices, reason=f"resized from {'×'.join(map(str, output.shape[2:]))}")
    good = tuple(index for index, whole in zip(indices, finite.tolist(), strict=True) if whole)
    if len(good) < len(indices):
        yield _unreadable([i for i in indices if i not in set(good)], "pixels that are not finite")
    if good:
        yield Piece("images", good, images[finite])


def _stack_of_one(image: Any) -> Any:
    return image[None] if isinstance(image, (Tensor, np.ndarray)) and image.ndim else image


def _read_labels(output: Any, n: int) -> Iterator[Piece]:
    if isinstance(output, (Tensor, np.ndarray)):
        if output.shape != (n,):
            hint = "; labels, not logits" if output.ndim == 2 else ""
            yield _unreadable(range(n), f"shape {list(output.shape)} instead of [{n}]{hint}")
            return
        output = output.tolist()
    indices, labels, bad = [], [], {}
    for index, label in _numbered(output, n, "labels"):
        try:
            value = read_label(label)
        except BrokenRuleError as error:
            bad[index] = str(error)
            continue
        indices.append(index)
        labels.append(value)
    if labels:
        yield Piece("labels", tuple(indices), torch.tensor(labels, dtype=torch.int64))
    for reason in dict.fromkeys(bad.values()):
        yield _unreadable([index for index, why in bad.items() if why == reason], reason)


def _numbered(output: Any, n: int, what: str) -> Iterator[tuple[int, Any]]:
    """Yield numbered items of a dictionary or an iterable, only those of this batch, until there is one for each.

    Raises:
        BrokenRuleError: neither, or a list of the wrong length, whose items belong to nobody knows which image.
    """
    if isinstance(output, (str, bytes)) or not isinstance(output, Iterable):
        raise BrokenRuleError(f"{type(output).__name__} instead of {what}")
    if isinstance(output, Sequence) and len(output) != n and not all(map(_is_pair, output)):
        raise BrokenRuleError(f"{len(output)} {what} instead of {n}")
    if isinstance(output, Mapping):
        pairs: Iterable[Any] = output.items()
    else:
        pairs = (item if _is_pair(item) else (place, item) for place, item in enumerate(output))
    seen: set[int] = set()
    for key, value in pairs:
        try:
            index = read_label(key)
        except BrokenRuleError:
            continue
        if 0 <= index < n and index not in seen:
            seen.add(index)
            yield index, value
        if len(seen) == n:
            return


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2


def _unreadable(indices: Iterable[int], reason: str) -> Piece:
    return Piece("unreadable", tuple(indices), reason=reason)


def _device(model: Any) -> torch.device:
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if weights is None else weights.device


def _takes_generator(function: Any) -> bool:
    try:
        return "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
