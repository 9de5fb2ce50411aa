"""Does this machine run the lessons? The verdict, the same on every machine that does, and what was found behind it."""

import html
import re
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from toolkit.datasets import overview
from toolkit.experiments.doctor import Check, Diagnosis, diagnose
from toolkit.lessons import Table, controls, table

_SHOWN_LIVE = "What this machine has, check by check: the list appears when this cell runs."


_ELSE = "Python and its packages"
_TOPICS: dict[str, Callable[[str], bool]] = {
    _ELSE: lambda name: False,
    "a device to compute on": lambda name: name == "device",
    "the data that come with the toolkit": lambda name: name.startswith("data"),
    "JupyterLab's parts for sliders": lambda name: name.startswith("JupyterLab part"),
    "a font with Greek letters": lambda name: name.startswith("font"),
}
# No lesson needs the first two; the kernel is the one that runs this.
_ASIDE = ("cache folder", "commit", "Jupyter kernel")


def _topic(check: Check) -> str:
    return next((topic for topic, holds in _TOPICS.items() if holds(check.name)), _ELSE)


def readiness(diagnosis: Diagnosis) -> Table:
    """Say in a few lines whether the lessons will run here.

    Args:
        diagnosis: from :func:`toolkit.experiments.diagnose`.

    Returns:
        A table of what lessons need and whether it is here. It holds no version, path or device: where everything is
        here, it is the same table.
    """
    missing: dict[str, list[str]] = {topic: [] for topic in _TOPICS}
    for check in diagnosis.with_status("missing"):
        if check.name not in _ASIDE:
            missing[_topic(check)].append(check.name)
    rows = [(topic, f"missing: {', '.join(names)}" if names else "ready") for topic, names in missing.items()]
    lacking = sum(bool(names) for names in missing.values())
    caption = "This machine runs the lessons" if not lacking else "Some lessons will fail here; see the remedies below"
    return table(["what the lessons need", "verdict"], rows, caption=caption)


class MachineReport(widgets.VBox):
    """The doctor's checks behind the verdict; see :func:`explore_machine`."""

    def __init__(self, diagnosis: Diagnosis):
        self.diagnosis = diagnosis
        self.topic = controls.choice("show", ["what needs attention", "everything", "data sets"])
        self.table, self.status = widgets.HTML(), widgets.HTML()
        self.status.add_class("toolkit-status")
        super().__init__([self.topic, self.status, self.table, *controls.accessible_names()])
        self.add_class("toolkit-view")
        self.topic.observe(lambda _: self.refresh(), "value")
        self.refresh()

    def refresh(self) -> None:
        """Show the chosen list."""
        self.text, shown = _data_sets() if self.topic.value == "data sets" else self._checks()
        self.status.value = f'<div role="status" style="line-height:1.4">{html.escape(self.text)}</div>'
        self.table.value = (
            f'<div style="overflow-x:auto;line-height:1.4">{_with_commands(shown)}</div>' if shown.rows else ""
        )

    def _checks(self) -> tuple[str, Table]:
        checks = self.diagnosis.checks
        if self.topic.value != "everything":
            checks = tuple(check for check in checks if check.status != "ok")
        count = len(self.diagnosis.checks)
        ok, notes, missing = (len(self.diagnosis.with_status(status)) for status in ("ok", "note", "missing"))
        text = f"{count} checks: {ok} ok, {notes} {'note' if notes == 1 else 'notes'}, {missing} missing."
        rows = [(check.name, check.status, check.found, check.remedy or None) for check in checks]
        return text, table(["what", "status", "found", "remedy"], rows)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # What is stored in a file is the same for every machine, and tells nobody about this one.
        data = dict(super()._repr_mimebundle_(**options) or {})
        return data | {"text/markdown": f"*{_SHOWN_LIVE}*", "text/plain": _SHOWN_LIVE}, {}


def _with_commands(shown: Table) -> str:
    """Return the table's HTML with its commands as code. They break at spaces only: half an option is no option."""

    def as_code(found: re.Match[str]) -> str:
        words = " ".join(f'<span style="white-space:nowrap">{word}</span>' for word in found[0].split(" "))
        return f"<code>{words}</code>"

    return re.sub(r"(?:(?<=>)|(?<=: ))(?:python|npm) [^<>]*?(?=, |<)", as_code, shown._repr_html_())


def _data_sets() -> tuple[str, Table]:
    found = overview()
    rows = [(row.title, "yes" if row.subset else None, row.full or "not here", row.obtain or None) for row in found]
    whole = sum(bool(row.full) for row in found)
    text = (
        f"{len(found)} data sets: {sum(bool(row.subset) for row in found)} bundled, {whole} complete on this machine."
    )
    return text, table(["data set", "bundled", "complete set", "how to get it"], rows)


def explore_machine(diagnosis: Diagnosis | None = None) -> MachineReport:
    """Return what was found on this machine, with a list of what to show.

    Args:
        diagnosis: default: a fresh one.
    """
    return MachineReport(diagnose() if diagnosis is None else diagnosis)
