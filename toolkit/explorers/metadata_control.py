"""One choice of rules for each level of a family, as rows of buttons."""

from collections.abc import Sequence

import ipywidgets as widgets
import traitlets

from toolkit.explorers.example_families import choice_name
from toolkit.lessons import controls


class MetadataControl(widgets.HBox):
    """The choice of each level; a control for a :class:`~toolkit.lessons.View`.

    Attributes:
        value: the choices, from the top level on.
        levels: the buttons of each level that has several sets of rules, by level.
    """

    value = traitlets.Tuple()

    def __init__(self, n_choices: Sequence[int], value: Sequence[int]):
        self._held = False
        self.levels: dict[int, widgets.ToggleButtons] = {}
        super().__init__(layout=widgets.Layout(flex_flow="row wrap", grid_gap="2px 14px", width="100%"))
        self.show(n_choices, value)
        self.observe(self._follow, "value")

    def show(self, n_choices: Sequence[int], value: Sequence[int] = ()) -> None:
        """Show the levels of another family.

        Args:
            n_choices: of each level.
            value: the choices; default: what was chosen, where that is possible, else 0.
        """
        kept = [self.value[level] if level < len(self.value) else 0 for level in range(len(n_choices))]
        wanted = tuple(value) or tuple(min(c, n - 1) for c, n in zip(kept, n_choices, strict=True))
        if tuple(n_choices) != getattr(self, "n_choices", None):
            self.n_choices = tuple(n_choices)
            self.levels = {
                level: controls.toggle(f"rules of level {level}, {choice_name(level)}", list(range(n)), wanted[level])
                for level, n in enumerate(n_choices)
                if n > 1
            }
            for one in self.levels.values():
                one.observe(self._chosen, "value")
            self.children = list(self.levels.values())
        self.value = wanted
        self._follow()

    def _chosen(self, _: object) -> None:
        if not self._held:
            self.value = tuple(
                self.levels[level].value if level in self.levels else 0 for level in range(len(self.n_choices))
            )

    def _follow(self, _: object = None) -> None:
        """Put the buttons where the value is."""
        if len(self.value) != len(self.n_choices):
            return  # of a family that is about to be shown
        self._held = True
        try:
            for level, one in self.levels.items():
                one.value = min(self.value[level], self.n_choices[level] - 1)
        finally:
            self._held = False
