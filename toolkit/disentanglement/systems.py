"""Systems of two sources and a target with a name: logic gates, copies, noisy channels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require


@dataclass(frozen=True)
class NamedSystem:
    """A system that :func:`named_system` builds.

    Attributes:
        name: what to call it by.
        description: one sentence for a menu.
        options: which keyword arguments of :func:`named_system` change it.
    """

    name: str
    description: str
    options: tuple[str, ...]
    build: Callable[[Tensor], Tensor]
    """From p(a, b) of two bits (for NOISY of the two flips) to p(a, b, y)."""

    def __repr__(self) -> str:
        return f"NamedSystem({self.name}: {self.description})"


def named_system(
    name: str,
    *,
    input_probabilities: tuple[float, float] = (0.5, 0.5),
    correlation: float = 0.0,
    flip_probabilities: tuple[float, float] = (0.1, 0.1),
) -> Float64[Tensor, "source_1 source_2 target"]:
    """Build a joint distribution by its name.

    Args:
        name: a key of :data:`SYSTEMS`, in capitals or not.
        input_probabilities: how probable a 1 is in each of the two bits.
        correlation: of the two bits (in NOISY: of the two flips), from −1 to 1. Unequal probabilities allow less.
        flip_probabilities: how often each channel of NOISY shows the wrong bit.

    Returns:
        The distribution, on the CPU.

    Raises:
        ValueError: no such name, a probability outside [0, 1], a correlation that the two bits cannot have, or an
            option that this system does not have.
    """
    key = name.upper()
    require(key in SYSTEMS, "named_system", "name", f"one of {', '.join(SYSTEMS)}", repr(name))
    system = SYSTEMS[key]
    given = {
        "input_probabilities": input_probabilities != (0.5, 0.5),
        "correlation": correlation != 0.0,
        "flip_probabilities": flip_probabilities != (0.1, 0.1),
    }
    for option, changed in given.items():
        has = f"left alone: {key} has {' and '.join(system.options) or 'no options'}"
        require(option in system.options or not changed, "named_system", option, has, "another value")
    bits = "flip_probabilities" if "flip_probabilities" in system.options else "input_probabilities"
    probabilities = flip_probabilities if bits == "flip_probabilities" else input_probabilities
    return system.build(_pair(probabilities, correlation, bits))


def _pair(probabilities: tuple[float, float], correlation: float, argument: str) -> Tensor:
    """Return p(a, b) of two bits with these probabilities of a 1 and this correlation."""
    first, second = probabilities
    inside = 0 <= first <= 1 and 0 <= second <= 1
    require(inside, "named_system", argument, "two probabilities", probabilities)
    require(-1 <= correlation <= 1, "named_system", "correlation", "a number in [-1, 1]", correlation)
    product = first * second
    both = product + correlation * math.sqrt(first * (1 - first) * second * (1 - second))
    lowest, highest = max(0.0, first + second - 1), min(first, second)
    possible = f"what bits of probabilities {first} and {second} can have"
    near = lowest - 1e-12 <= both <= highest + 1e-12
    require(near, "named_system", "correlation", possible, correlation)
    both = min(max(both, lowest), highest)
    cells = [[max(0.0, 1 - first - second + both), second - both], [first - both, both]]
    return torch.tensor(cells, dtype=torch.float64)


def _gate(function: Callable[[int, int], int], n_values: int) -> Callable[[Tensor], Tensor]:
    """Let the target be a function of the two bits."""

    def build(pair: Tensor) -> Tensor:
        joint = pair.new_zeros(2, 2, n_values)
        for a in (0, 1):
            for b in (0, 1):
                joint[a, b, function(a, b)] = pair[a, b]
        return joint

    return build


def _redundant(pair: Tensor) -> Tensor:
    joint = pair.new_zeros(2, 2, 2)
    joint[0, 0, 0], joint[1, 1, 1] = pair[0].sum(), pair[1].sum()
    return joint


def _redundant_xor(pair: Tensor) -> Tensor:
    joint = pair.new_zeros(4, 4, 4)
    for shared in (0, 1):
        for a in (0, 1):
            for b in (0, 1):
                joint[2 * shared + a, 2 * shared + b, 2 * shared + (a ^ b)] = pair[a, b] / 2
    return joint


def _noisy_channels(flips: Tensor) -> Tensor:
    return torch.stack((flips, flips.flip(0, 1)), -1) / 2


_INPUTS = ("input_probabilities", "correlation")

SYSTEMS = MappingProxyType(
    {
        system.name: system
        for system in (
            NamedSystem("AND", "The target is 1 if both bits are.", _INPUTS, _gate(lambda a, b: a & b, 2)),
            NamedSystem("OR", "The target is 1 if at least one bit is.", _INPUTS, _gate(lambda a, b: a | b, 2)),
            NamedSystem(
                "XOR",
                "The target is 1 if the bits differ: with fair bits, neither says anything alone.",
                _INPUTS,
                _gate(lambda a, b: a ^ b, 2),
            ),
            NamedSystem("COPY", "The target is the pair of both bits.", _INPUTS, _gate(lambda a, b: 2 * a + b, 4)),
            NamedSystem(
                "UNQ", "The target is the first bit; the second says nothing.", _INPUTS, _gate(lambda a, b: a, 2)
            ),
            NamedSystem("RDN", "Both sources are the target: one fair bit, three times.", (), _redundant),
            NamedSystem("SUM", "The target is how many of the bits are 1.", _INPUTS, _gate(lambda a, b: a + b, 3)),
            NamedSystem(
                "RDN-XOR",
                "Both sources share a bit that the target shows, beside the XOR of their other bits.",
                _INPUTS,
                _redundant_xor,
            ),
            NamedSystem(
                "NOISY",
                "Each source shows a fair bit, the target, and errs now and then.",
                ("flip_probabilities", "correlation"),
                _noisy_channels,
            ),
        )
    }
)
"""The systems by name, in the order of a menu."""
