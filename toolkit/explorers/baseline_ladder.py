"""From the bare likelihood ratio to RAM, rung by rung: exact variances on a belief network of a few bits."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.estimators.chains import Layered
from toolkit.estimators.exact_variance import baseline_ladder
from toolkit.explorers.log_bars import Panel, log_bars
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import power_name

MOST_BITS = 4
"""Largest size of a layer."""
INPUT = (1.0, 0.0, 1.0, 1.0, 0.0, 0.0)
"""The observed bits."""
_BIASES = 0.5
_LOOKS = {
    "ram_fresh": style.Line(style.BLUE, "--", ""),
    "ram": style.MEANINGS["paper"],
    "leg": style.Line(style.GREEN, "-", ""),
    "leg_constant": style.Line(style.GREEN, "-", ""),
}
_LIKELIHOOD_RATIO = style.Line(style.PURPLE, "-", "")


def _waves(row: int, scale: float, *shape: int) -> Tensor:
    """Return ``scale · sin(1.7 row + 2.3 n)``, n = 1, 2, … row by row: fixed numbers without a seed."""
    count = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return scale * torch.sin(1.7 * row + 2.3 * count).reshape(shape)


def small_network(scale: float = 1.5, first: int = 4, second: int = 4) -> Layered:
    """Make the expected lower bound of a small sigmoid belief network for one input of six bits.

    The inference network is input → first layer → second layer. The cost is the bound's integrand, the log joint
    probability of the model minus the log probability of the drawn values.

    Args:
        scale: of all weights; biases keep theirs.
        first: bits in the first layer.
        second: bits in the second.

    Raises:
        ValueError: a layer without bits, or with more than four.
    """
    for name, size in (("first", first), ("second", second)):
        require(1 <= size <= MOST_BITS, "small_network", name, f"1 to {MOST_BITS} bits", size)
    x = torch.tensor(INPUT, dtype=torch.float64)
    logits = x @ _waves(1, scale, len(INPUT), first) + _waves(2, _BIASES, first)
    to_second, second_bias = _waves(3, scale, first, second), _waves(4, _BIASES, second)
    to_input, input_bias = _waves(5, scale, first, len(INPUT)), _waves(6, _BIASES, len(INPUT))
    to_first, first_bias = _waves(7, scale, second, first), _waves(8, _BIASES, first)
    prior = _waves(9, _BIASES, second)

    def integrand(z1: Tensor, z2: Tensor) -> Tensor:
        model = _log_prob(x, z1 @ to_input + input_bias) + _log_prob(z1, z2 @ to_first + first_bias)
        drawn = _log_prob(z1, logits) + _log_prob(z2, z1 @ to_second + second_bias)
        return model + _log_prob(z2, prior) - drawn

    return Layered(logits, [lambda z1: z1 @ to_second + second_bias], integrand)


def _log_prob(values: Tensor, logits: Tensor) -> Tensor:
    # Linear in the values, so that estimators which ask for a derivative between 0 and 1 find one.
    return (values * logits - functional.softplus(logits)).sum(-1)


@dataclass(frozen=True)
class Rungs:
    """The ladder at one setting.

    Attributes:
        scale: of the weights.
        sizes: bits in each layer.
        titles: what each rung is called, by its name.
        totals: for each rung the variance of one sample of the gradient, summed over a layer's units, layer by layer.
    """

    scale: float
    sizes: tuple[int, int]
    titles: dict[str, str]
    totals: dict[str, tuple[float, float]]

    def __repr__(self) -> str:
        return f"Rungs({self.sizes[0]}+{self.sizes[1]} bits, scale {self.scale:g}, {len(self.totals)} rungs)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.lru_cache(maxsize=256)
def compute(scale: float = 1.5, first: int = 4, second: int = 4) -> Rungs:
    """Compute the ladder by enumeration; arguments as for :func:`small_network`."""
    ladder = baseline_ladder(small_network(scale, first, second))
    totals = {rung.name: (max(float(rung.total(0)), 0.0), max(float(rung.total(1)), 0.0)) for rung in ladder}
    return Rungs(float(scale), (first, second), {rung.name: rung.title for rung in ladder}, totals)


def draw(rungs: Rungs) -> Svg:
    """Draw a bar a rung, both layers side by side."""
    names = list(rungs.totals)
    columns = [[rungs.totals[name][layer] for name in names] for layer in (0, 1)]
    shown = [value for column in columns for value in column if not _nothing(value)]
    first = math.floor(math.log10(min(shown, default=0.1)) + 1e-9)
    last = math.ceil(math.log10(max(shown, default=1.0)) - 1e-9)
    return log_bars(
        [rungs.titles[name] for name in names],
        [
            Panel(f"layer {layer + 1}, {bits} bit{'s' * (bits > 1)}", column, [_number(value) for value in column])
            for layer, (bits, column) in enumerate(zip(rungs.sizes, columns, strict=True))
        ],
        looks=[_LOOKS.get(name, _LIKELIHOOD_RATIO) for name in names],
        decades=(min(first, last - 2), last),
        value_label="variance of one sample, summed over the layer's units (exact)",
        title=_finding(rungs),
        strong=[names.index("ram")],
    )


def _nothing(value: float) -> bool:
    return value < 1e-12


def _number(value: float) -> str:
    if _nothing(value):
        return "0"
    return f"{value:.3g}" if 1e-3 <= value < 1e3 else power_name(value, 2)


def _finding(rungs: Rungs) -> str:
    plain, siblings, ram = (rungs.totals[name][0] for name in ("lr", "lr_siblings", "ram"))
    if _nothing(ram):
        return "In layer 1 RAM does not vary at all"
    return f"In layer 1 LR's variance is {_times(plain / ram)} RAM's, with the best baseline {_times(siblings / ram)}"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def describe(rungs: Rungs) -> str:
    """Say how far up each kind of baseline leads, in both layers."""
    words = []
    for layer, place in enumerate(("first", "last")):
        plain, constant, best, ram = (
            _number(rungs.totals[name][layer]) for name in ("lr", "lr_constant", "lr_siblings", "ram")
        )
        words.append(
            f"in the {place} layer LR has variance {plain}, {constant} with the best constant baselines, {best} with "
            f"the best that see parents and siblings, and RAM {ram}"
        )
    return f"Exact, with weights of scale {rungs.scale:g}: {'; '.join(words)}. {_last_layer(rungs)}"


def _last_layer(rungs: Rungs) -> str:
    common, fresh = rungs.totals["ram"][0], rungs.totals["ram_fresh"][0]
    if _nothing(fresh):
        noise = "Common and fresh noise are alike there."
    elif common <= fresh * (1 - 1e-9):
        noise = f"Fresh noise instead of common makes it {_number(fresh)} in the first."
    else:
        noise = f"Here fresh noise, {_number(fresh)} in the first layer, is no worse than common noise."
    return f"In the last layer no noise is left to use: the best baseline is RAM. {noise}"


def explore_baseline_ladder() -> View:
    """Return a view of the exact variances of ten estimators on a network of up to four and four bits."""
    chosen = {
        "scale": controls.float_slider("weight scale", 1.5, 0.0, 4.0, step=0.25),
        "first": controls.int_slider("bits in layer 1", 4, 1, MOST_BITS),
        "second": controls.int_slider("bits in layer 2", 4, 1, MOST_BITS),
    }
    return View(chosen, compute, draw, describe)
