"""The arithmetic of a chart's axis: its limits, its ticks, and where a value stands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.core.errors import require

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """From values to pixels along one axis, straight or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        if self.log:
            if not value > 0:
                return math.nan
            bottom = math.log(self.low)
            share = (math.log(value) - bottom) / (math.log(self.high) - bottom)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, *, most: int = 6, log: bool = False) -> list[float]:
    """Return round values from ``low`` to ``high``: steps of 1, 2, 2.5 or 5 × 10^k, or powers of ten."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        powers = list(range(first, last + 1))
        if len(powers) >= 2:
            return [10.0**power for power in powers[:: math.ceil(len(powers) / most)]]
    span = high - low
    power = math.floor(math.log10(span / most))
    step = next(
        factor * 10.0**exponent
        for exponent in (power, power + 1)
        for factor in (1, 2, 2.5, 5)
        if span / (factor * 10.0**exponent) <= most
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12 - power) for number in range(first, last + 1)]


def tick_names(values: Sequence[float]) -> list[str]:
    """Write tick values with the same number of decimals, large and small ones as powers; no two alike."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e6 or 0 < largest < 1e-3 or any(0 < abs(value) < 1e-3 * largest for value in values):
        written = ([power_name(value, digits) for value in values] for digits in range(3, 16))
        return next((names for names in written if len(set(names)) == len(set(values))), list(map(repr, values)))
    decimals = next(
        (n for n in range(15) if all(abs(round(value, n) - value) <= 1e-9 * largest for value in values)), 15
    )
    return [f"{value:.{decimals}f}".replace("-", "−") for value in values]


def power_name(value: float, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits, large and small ones with a power of ten: ``2.5 × 10⁻⁴``."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if not exponent or value == 0 or -2 <= int(exponent) < 3:
        return f"{value + 0.0:.{digits}g}".replace("-", "−")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10{str(int(exponent)).translate(_RAISED)}"
    return {"1": power, "-1": f"−{power}"}.get(mantissa, f"{mantissa} × {power}".replace("-", "−"))


def limits(values: list[np.ndarray], given: tuple[float, float] | None, log: bool, pad: float) -> tuple[float, float]:
    """Return the lowest and highest value an axis shows: as given, or what the values need and ``pad`` of that more."""
    if given is not None:
        low, high = given
        sound = math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)
        require(sound, "line_chart", "limits", "two finite numbers, low < high, positive on a logarithmic axis", given)
        return float(low), float(high)
    flat = np.concatenate([np.ravel(part) for part in values]) if values else np.empty(0)
    flat = np.clip(flat[np.isfinite(flat) & ((flat > 0) | (not log))], -1e300, 1e300)
    if not flat.size:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(flat.min()), float(flat.max())
    if log:
        bottom, top = math.log10(low), math.log10(high)
        room = pad * (top - bottom) if low < high else 0.3
        return 10 ** max(bottom - room, -307), 10 ** min(top + room, 307)
    room = pad * (high - low) if low < high else abs(low) * 0.1 or 0.5
    return low - room, high + room
