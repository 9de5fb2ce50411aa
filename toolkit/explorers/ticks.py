"""Boxes to tick, in groups, folded away behind a button until they are wanted: one control for many names."""

import functools
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import traitlets

from toolkit.core.errors import require
from toolkit.lessons import controls


class Ticks(widgets.VBox):
    """Which of many names are left out; a control for a :class:`~toolkit.lessons.View`.

    Args:
        label: what the button that folds the boxes out is called.
        groups: names by heading; each name is ticked at first. A name may stand in one group only.
        presets: names to leave out, by the words on the button that leaves out these and no others.

    Attributes:
        value: the names without a tick, in the order of the boxes.
        boxes: the check boxes by name.
        unfold: the button that shows and hides them.
        preset_buttons: by their words.
    """

    value = traitlets.Tuple()

    def __init__(
        self, label: str, groups: Mapping[str, Sequence[str]], presets: Mapping[str, Sequence[str]] | None = None
    ):
        names = [name for group in groups.values() for name in group]
        require(len(set(names)) == len(names), "Ticks", "groups", "each name once", names)
        self._label, self._held = label, False
        self.boxes = {name: controls.checkbox(name, True) for name in names}
        self.unfold = controls.button(label, self._turn, tooltip="Show or hide the boxes")
        self.preset_buttons = {
            words: controls.button(words, functools.partial(self._leave_out, tuple(out)))
            for words, out in (presets or {}).items()
        }
        rows = []
        for heading, group in groups.items():
            line = widgets.HBox(
                [self.boxes[name] for name in group],
                layout=widgets.Layout(flex_flow="row wrap", grid_gap="0px 12px"),
            )
            rows += [widgets.HTML(f"<b>{heading}</b>"), line]
        self._panel = widgets.VBox(rows, layout=widgets.Layout(display="none"))
        head = widgets.HBox(
            [self.unfold, *self.preset_buttons.values()],
            layout=widgets.Layout(flex_flow="row wrap", grid_gap="2px 6px"),
        )
        super().__init__([head, self._panel], layout=widgets.Layout(width="100%"))
        for box in self.boxes.values():
            box.observe(self._ticked, "value")
        self.observe(self._set, "value")
        self._name_button()

    @property
    def unfolded(self) -> bool:
        """Whether the boxes are shown."""
        return self._panel.layout.display != "none"

    def _turn(self) -> None:
        self._panel.layout.display = "none" if self.unfolded else None
        self._name_button()

    def _leave_out(self, names: tuple[str, ...]) -> None:
        self.value = tuple(name for name in self.boxes if name in names)

    def _ticked(self, _: object) -> None:
        if not self._held:
            self.value = tuple(name for name, box in self.boxes.items() if not box.value)

    def _set(self, _: object) -> None:
        self._held = True  # else every box would set the value once more
        try:
            for name, box in self.boxes.items():
                box.value = name not in self.value
        finally:
            self._held = False
        self._name_button()

    def _name_button(self) -> None:
        here = len(self.boxes) - len(self.value)
        arrow = "▾" if self.unfolded else "▸"
        self.unfold.description = f"{self._label}: {here} of {len(self.boxes)} {arrow}"
