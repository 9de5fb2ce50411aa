"""A question to the reader before the lesson answers it."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from toolkit.core.errors import reject, require
from toolkit.lessons.controls import accessible_names


class Prediction(widgets.VBox):
    """A question to answer before the lesson does; see :func:`predict`."""

    def __init__(self, question: str, options: Sequence[str], answer: str, explanation: str = ""):
        require(
            len(set(options)) == len(options) >= 2, "predict", "options", "two or more different answers", list(options)
        )
        if answer not in options:
            reject("predict", "answer", f"one of {list(options)}", answer)
        self.question, self.options, self.answer, self.explanation = question, tuple(options), answer, explanation
        self.choices = widgets.RadioButtons(
            options=list(options), value=None, description="Your prediction:", style={"description_width": "initial"}
        )
        self.choices.layout.width = "auto"
        self.show_button = widgets.Button(
            description="Show the answer", disabled=True, layout=widgets.Layout(width="max-content")
        )
        self.status = widgets.HTML('<div role="status"></div>')
        self.choices.observe(self._chosen, "value")
        self.show_button.on_click(lambda _: self._reveal())
        super().__init__(
            [
                widgets.HTML(f'<div style="line-height:1.4"><b>{html.escape(question)}</b></div>'),
                self.choices,
                self.show_button,
                self.status,
                *accessible_names(),
            ]
        )
        self.add_class("toolkit-view")

    def _chosen(self, _: object) -> None:
        self.show_button.disabled = self.choices.value is None
        self.status.value = '<div role="status">Noted. Read on, or look at the answer.</div>'

    def _reveal(self) -> None:
        verdict = (
            "As you predicted" if self.choices.value == self.answer else f"You predicted “{self.choices.value}”; it is"
        )
        text = html.escape(f"{verdict}: {self.answer}. {self.explanation}".strip())
        self.status.value = f'<div role="status" style="line-height:1.4">{text}</div>'

    def reveal(self) -> str:
        """Return the answer as a sentence that does not depend on what the reader chose; for a later cell."""
        return f"{self.question} — {self.answer}. {self.explanation}".strip()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = dict(super()._repr_mimebundle_(**options) or {})
        listed = "".join(f"\n- {option}" for option in self.options)
        data["text/markdown"] = f"**{self.question}**\n{listed}"
        data["text/plain"] = f"{self.question} ({' / '.join(self.options)})"
        return data, {}


def predict(question: str, options: Sequence[str], answer: str, explanation: str = "") -> Prediction:
    """Ask the reader to predict before the lesson shows.

    Args:
        question: one sentence with a question mark.
        options: the answers to choose from.
        answer: the right one.
        explanation: why, in a sentence or two.

    Returns:
        Radio buttons, and a button with the answer that works once a choice is made. Nothing is chosen at first.
        ``.reveal()`` gives the answer as text for a later cell.
    """
    return Prediction(question, options, answer, explanation)
