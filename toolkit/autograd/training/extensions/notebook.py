"""One place in a notebook's output that can be changed later, without ``Output`` widgets.

Its value may be set from any thread. When it is finished, the notebook keeps what a reader without a kernel sees.
With ``TOOLKIT_QUIET=1`` nobody watches: it is shown once, when it is finished.
"""

import sys
from typing import Any

from toolkit.core.progress import quiet


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook. Imports nothing."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


def has_widgets() -> bool:
    """Return whether ipywidgets can be imported."""
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


class LiveHTML:
    """HTML on the page: an ``ipywidgets.HTML``, or, without ipywidgets, an output that is sent again.

    Attributes:
        widget: the ``ipywidgets.HTML``, or ``None`` without ipywidgets.
        value: the HTML shown.
    """

    def __init__(self) -> None:
        self.value = ""
        self.widget: Any = None
        self._handle: Any = None
        self._waiting = False
        if has_widgets():
            import ipywidgets

            self.widget = ipywidgets.HTML()

    def set(self, value: str, text: str) -> None:
        """Show other HTML; ``text`` says the same in plain words."""
        self.value = value
        if self.widget is not None:
            self.widget.value = value
        elif self._handle is not None:
            self._handle.update({"text/html": value, "text/plain": text}, raw=True)

    def display(self, text: str) -> None:
        """Put it below the running cell, if it is not on the page yet."""
        self._waiting = quiet()
        if self._handle is None and not self._waiting:
            from IPython.display import display

            self._handle = display(self._bundle({"text/plain": text}), raw=True, display_id=True)

    def finish(self, bundle: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
        """Leave ``bundle``, a mimebundle, in the notebook's file for readers without a kernel."""
        if self._handle is not None:
            self._handle.update(self._bundle(bundle), raw=True, metadata=metadata or {})
        elif self._waiting:
            from IPython.display import display

            self._waiting = False
            display(self._bundle(bundle), raw=True, metadata=metadata or {})

    def _bundle(self, bundle: dict[str, str]) -> dict[str, Any]:
        if self.widget is None:
            return {"text/html": self.value} | bundle
        return dict(self.widget._repr_mimebundle_() or {}) | bundle
