"""Static pictures in a lesson: one output that carries the picture, its words, and alt text in a live page."""

from typing import Any

from toolkit.lessons.picture import as_picture


def show(drawn: Any, alt: str) -> None:
    """Display a figure with its text alternative.

    A page with a kernel gets an ``<img>`` with ``alt`` (JupyterLab ignores the alt text of plain image outputs); every
    other reader gets PNG and the sentence. It is immune to widget callbacks that run at the same time.

    Args:
        drawn: what a view's ``draw`` may return: a ``Figure``, an ``Axes``, an ``Svg``, PNG bytes or SVG text.
        alt: the finding in one sentence, with its numbers rounded well above their noise.

    Raises:
        ValueError: no alt text.
        TypeError: not a picture.
    """
    from IPython.display import display

    from toolkit.core.errors import require

    require(bool(alt.strip()), "show", "alt", "a sentence that says what the picture shows", alt)
    picture = as_picture(drawn)
    bundle, metadata = picture.to_bundle(alt)
    try:
        import ipywidgets
    except ImportError:
        live: dict[str, Any] = {}
    else:
        live = dict(ipywidgets.HTML(picture.to_html(alt))._repr_mimebundle_() or {})
    display(live | bundle, raw=True, metadata=metadata)
