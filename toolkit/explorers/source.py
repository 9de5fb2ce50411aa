"""A function's or class's own source in a lesson, coloured where the reader's page can."""

import inspect
from collections.abc import Callable
from typing import Any


class Source:
    """The source text of a function or class; shows as a block of code."""

    def __init__(self, thing: type | Callable[..., Any]) -> None:
        self.text = inspect.getsource(thing).rstrip()

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/markdown": f"```python\n{self.text}\n```", "text/plain": self.text}
