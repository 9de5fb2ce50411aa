"""Controls that a keyboard and a screen reader can use: each with a name, a unit and at most fifty steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from toolkit.core.errors import argument_error, require
from toolkit.core.text_width import text_width

MOST_STEPS = 50
_WIDTH = 320  # CSS pixels

_NAMING = Path(__file__).with_name("accessible_names.js")


def accessible_names() -> list[widgets.Widget]:
    """Return the invisible widget that names a view's sliders, or nothing where anywidget is not installed."""
    try:
        import anywidget
    except ImportError:
        return []
    return [
        anywidget.AnyWidget(
            _esm=_NAMING.read_text(encoding="utf-8"), layout=widgets.Layout(width="0", height="0", margin="0")
        )
    ]


def _label(label: str, unit: str) -> str:
    require(bool(label.strip()), "control", "label", "a name that a reader can say", label)
    return f"{label} ({unit})" if unit else label


def _wide() -> dict[str, Any]:
    # Layouts are not shared: two sliders with one layout would change together.
    layout = widgets.Layout(width=f"{_WIDTH}px", min_width="300px", max_width="100%")
    return {"style": {"description_width": "initial"}, "layout": layout}


def _nice_step(low: float, high: float, value: float, operation: str) -> float:
    """Return the smallest of 1, 2, 2.5, 5 × 10^k with at most fifty steps that meets both ends and the value."""
    span = high - low
    exponent = math.floor(math.log10(span / MOST_STEPS))
    for power in range(exponent, exponent + 3):
        for factor in (1, 2, 2.5, 5):
            step = factor * 10.0**power
            meets = all(abs(part / step - round(part / step)) < 1e-6 for part in (span, value - low))
            if span / step <= MOST_STEPS + 1e-9 and meets:
                return step
    raise argument_error(operation, "step", "given, since no round step meets low, high and value", (low, value, high))


def _check_range(operation: str, low: float, high: float, value: float) -> None:
    for name, number in (("low", low), ("high", high), ("value", value)):
        require(math.isfinite(number), operation, name, "a finite number", number)
    require(low < high, operation, "low, high", "low < high", (low, high))
    require(low <= value <= high, operation, "value", f"in [{low:g}, {high:g}]", value)


def _check_grid(operation: str, low: float, high: float, value: float, step: float) -> None:
    require(math.isfinite(step) and step > 0, operation, "step", "a positive number", step)
    steps = (high - low) / step
    require(
        steps <= MOST_STEPS + 1e-9,
        operation,
        "step",
        f"at most {MOST_STEPS} steps from low to high",
        f"{steps:.4g} steps",
    )
    position = (value - low) / step
    on_grid = abs(position - round(position)) < 1e-6
    require(on_grid, operation, "value", f"on the grid {low:g}, {low + step:g}, …, {high:g}", value)


def int_slider(
    label: str, value: int, low: int, high: int, *, step: int | None = None, unit: str = "", continuous: bool = True
) -> widgets.IntSlider:
    """Make a slider over whole numbers.

    Args:
        label: its visible and its accessible name.
        value: the default; the paper's setting where there is one.
        low: smallest value.
        high: largest value.
        step: distance between two values; default: the smallest round one with at most 50 steps.
        unit: written behind the label in brackets.
        continuous: whether a drag is answered on its way; False for views slower than 0.1 s.

    Raises:
        ValueError: more than 50 steps, or a value that is not on the grid from ``low``.
    """
    _check_range("int_slider", low, high, value)
    if step is None:
        step = 1 if high - low <= MOST_STEPS else round(_nice_step(low, high, value, "int_slider"))
    _check_grid("int_slider", low, high, value, step)
    return widgets.IntSlider(
        value=value,
        min=low,
        max=high,
        step=step,
        description=_label(label, unit),
        continuous_update=continuous,
        **_wide(),
    )


def float_slider(
    label: str,
    value: float,
    low: float,
    high: float,
    *,
    step: float | None = None,
    unit: str = "",
    format: str | None = None,
    continuous: bool = True,
) -> widgets.FloatSlider:
    """Make a slider over real numbers; arguments as for :func:`int_slider`, ``format`` as in ``".2f"``."""
    _check_range("float_slider", low, high, value)
    if step is None:
        step = _nice_step(low, high, value, "float_slider")
    _check_grid("float_slider", low, high, value, step)
    digits = next((n for n in range(9) if abs(round(step, n) - step) < 1e-9 * step), 9)
    return widgets.FloatSlider(
        value=value,
        min=low,
        max=high,
        step=step,
        description=_label(label, unit),
        readout_format=format or f".{digits}f",
        continuous_update=continuous,
        **_wide(),
    )


def _log_step(bottom: float, top: float, present: float) -> float:
    """Return a step for exponents: a part of a decade that meets ends and value, else one that meets the value."""
    span = top - bottom
    for parts in (20, 10, 8, 6, 5, 4, 3, 2, 1):
        if span * parts <= MOST_STEPS and all(
            abs(x * parts - round(x * parts)) < 1e-6 for x in (span, present - bottom)
        ):
            return 1 / parts
    reach = present - bottom or span
    return reach / max(1, math.floor(reach / span * MOST_STEPS))


def log_slider(
    label: str,
    value: float,
    low: float,
    high: float,
    *,
    steps_per_decade: int | None = None,
    unit: str = "",
    format: str = ".3g",
    continuous: bool = True,
) -> widgets.FloatLogSlider:
    """Make a slider whose steps multiply; ``low``, ``high`` and ``value`` are the values themselves, not exponents."""
    _check_range("log_slider", low, high, value)
    require(low > 0, "log_slider", "low", "positive", low)
    bottom, top, present = math.log10(low), math.log10(high), math.log10(value)
    if steps_per_decade is None:
        step = _log_step(bottom, top, present)
    else:
        require(steps_per_decade > 0, "log_slider", "steps_per_decade", "positive", steps_per_decade)
        step = 1 / steps_per_decade
    steps = (top - bottom) / step
    require(
        steps <= MOST_STEPS + 1e-6,
        "log_slider",
        "steps_per_decade",
        f"at most {MOST_STEPS} steps",
        f"{steps:.4g} steps",
    )
    return widgets.FloatLogSlider(
        value=value,
        base=10,
        min=bottom,
        max=top,
        step=step,
        description=_label(label, unit),
        readout_format=format,
        continuous_update=continuous,
        **_wide(),
    )


def choice(label: str, options: Sequence[Any] | Mapping[str, Any], value: Any = None) -> widgets.Dropdown:
    """Make a drop-down list; ``options`` are values, or values by the name shown; default: the first."""
    listed = _options(options, "choice")
    made = widgets.Dropdown(
        options=listed, value=listed[0][1] if value is None else value, description=_label(label, ""), **_wide()
    )
    needed = text_width(label, 13) + max(text_width(name, 13) for name, _ in listed) + 48  # gaps and the arrow
    if needed > _WIDTH:
        made.layout.width = f"{math.ceil(needed)}px"
    return made


def toggle(label: str, options: Sequence[Any] | Mapping[str, Any], value: Any = None) -> widgets.ToggleButtons:
    """Make a row of buttons of which one is down, for two to five options."""
    listed = _options(options, "toggle")
    return widgets.ToggleButtons(
        options=listed,
        value=listed[0][1] if value is None else value,
        description=_label(label, ""),
        style={"description_width": "initial", "button_width": "initial"},
        layout=widgets.Layout(width="max-content", max_width="100%"),
    )


def checkbox(label: str, value: bool = False) -> widgets.Checkbox:
    """Make a box to tick."""
    return widgets.Checkbox(
        value=value, description=_label(label, ""), indent=False, layout=widgets.Layout(width="auto")
    )


def button(label: str, action: Callable[[], object], *, tooltip: str = "") -> widgets.Button:
    """Make a button that calls ``action()``."""
    made = widgets.Button(description=_label(label, ""), tooltip=tooltip or label, layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def step_buttons(slider: widgets.IntSlider, *, back: str = "◀ Back", forward: str = "Step ▶") -> widgets.HBox:
    """Make two buttons that move a slider by one step: the reader's own pace instead of an animation."""

    def move(direction: int) -> None:
        slider.value = min(max(slider.value + direction * slider.step, slider.min), slider.max)

    return widgets.HBox(
        [
            button(back, lambda: move(-1), tooltip=f"{slider.description}: one step back"),
            button(forward, lambda: move(1), tooltip=f"{slider.description}: one step on"),
        ]
    )


def only_while(
    control: widgets.Widget, other: widgets.Widget, useful: Callable[[Any], bool], *, otherwise: str
) -> None:
    """Disable a control while the value of another one leaves it without an effect.

    Args:
        control: what is disabled.
        other: what decides.
        useful: of the other's value: whether the control has an effect.
        otherwise: why it has none, shown where the pointer rests on it.
    """
    tooltip = control.tooltip

    def follow(_: object = None) -> None:
        control.disabled = not useful(other.value)
        control.tooltip = otherwise if control.disabled else tooltip

    other.observe(follow, "value")
    follow()


def _options(options: Sequence[Any] | Mapping[str, Any], operation: str) -> list[tuple[str, Any]]:
    pairs = list(options.items()) if isinstance(options, Mapping) else [(str(option), option) for option in options]
    require(len(pairs) > 0, operation, "options", "at least one", pairs)
    for name, value in pairs:
        # ipywidgets takes None for "nothing chosen": the browser would show an empty field.
        require(value is not None, operation, f"options[{name!r}]", "any value but None", None)
    return pairs
