"""A field to write a grammar in, and grammars to begin with."""

import ipywidgets as widgets
import traitlets

from toolkit.lessons import controls

GRAMMARS = {
    "a telescope: two readings": """S -> NP VP [1.0]
NP -> Det N [0.5] | 'Kim' [0.3] | NP PP [0.2]
VP -> VP PP [0.3] | V NP [0.7]
PP -> 'with' NP [1.0]
Det -> 'the' [0.6] | 'a' [0.4]
N -> 'telescope' [0.2] | 'dog' [0.4] | 'man' [0.4]
V -> 'saw' [0.6] | 'liked' [0.4]""",
    "brackets: empty sentences too": "S -> '(' S ')' S [0.4] | [0.6]",
    "sums and products: recursion to the left": """E -> E '+' T [0.3] | T [0.7]
T -> T '*' F [0.2] | F [0.8]
F -> '(' E ')' [0.2] | 'x' [0.8]""",
    "too fertile: does not always end": "S -> S S [0.6] | 'a' [0.4]",
    "half a grammar: what is wrong?": """S -> A B [0.5] | 'a' [0.5]
A -> 'a' A [1.0]
B -> 'b' [1.0]
C -> 'c' [1.0]""",
    "the toy family, in its compact form": "20|011//210|10;\n120|10/02|12/20|020//101|02/021|220/121|201;\n"
    "21|201/012|02/112|10//222|200/00|12/211|22",
}
"""Texts by the name that the list shows: in NLTK's format, or in the compact form of a family."""
OWN = "what you write"


class GrammarControl(widgets.VBox):
    """A text, and a list of texts that it loads; a control for a :class:`~toolkit.lessons.View`.

    Attributes:
        value: the text.
        presets: the list of names.
        field: where to write; what is written counts when the field is left.
        own: what the reader wrote last; the last name of the list brings it back.
    """

    value = traitlets.Unicode()

    def __init__(self, name: str):
        self._held, self.own = False, ""
        self.presets = controls.choice("begin with", [*GRAMMARS, OWN], name)
        self.field = widgets.Textarea(
            value=GRAMMARS[name],
            description="grammar",
            continuous_update=False,
            rows=8,
            layout=widgets.Layout(width="660px", max_width="calc(100% - 4px)"),  # its own margin beside it
            style={"description_width": "initial"},
        )
        use = controls.button("Use this grammar", lambda: None, tooltip="Leaving the field is enough")
        use.layout.align_self = "flex-start"
        super().__init__([self.presets, self.field, use], layout=widgets.Layout(width="100%"), value=GRAMMARS[name])
        self.presets.observe(self._load, "value")
        self.field.observe(self._edit, "value")
        self.observe(self._show, "value")

    def _load(self, _: object) -> None:
        if not self._held:
            self.value = GRAMMARS.get(self.presets.value) or self.own or self.value

    def _edit(self, _: object) -> None:
        if not self._held:
            self.own = self.value = self.field.value

    def _show(self, _: object) -> None:
        self._held = True
        try:
            self.field.value = self.value
            self.presets.value = next((name for name, text in GRAMMARS.items() if text == self.value), OWN)
        finally:
            self._held = False
