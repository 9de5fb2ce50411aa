"""How links read: nested text, and the path of the link in which an error arose."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.autograd.links.link import Link

__all__ = ["as_text", "locate"]

_OF_TWO_PLACES = ("same array library", "an array of", "the device of")


def as_text(link: "Link", above: frozenset[int] = frozenset()) -> str:
    """Return a link as text, one child a line."""
    inner = ", ".join(f"{name}={value!r}" for name, value in link.specification().items())
    items = link._text_items()
    if not items or id(link) in above:
        return f"{type(link).__name__}({inner})"
    lines = [inner] if inner else []
    for name, item in items:
        text = as_text(item, above | {id(link)}) if hasattr(item, "specification") else _callable_name(item)
        lines.append(f"({name}): {text}")
    body = "\n".join(lines).replace("\n", "\n  ")
    return f"{type(link).__name__}(\n  {body}\n)"


def _callable_name(function: Any) -> str:
    return getattr(function, "__name__", None) or repr(function)


def _hint(error: Exception, link: "Link") -> str:
    """Return what to do where arrays of two libraries, devices or dtypes met."""
    expected = str(error.__dict__.get("expected"))
    of_two_dtypes = "the dtype of" in expected
    if not isinstance(error, TypeError) or not (of_two_dtypes or any(part in expected for part in _OF_TWO_PLACES)):
        return ""
    held = next(link.params(include_uninitialized=False), None)
    if held is None:
        return ""
    place = held.place
    if of_two_dtypes:
        return f"\n  hint:     its parameters are {place.dtype}; so must the input be; astype(dtype) changes them"
    return (
        f"\n  hint:     its parameters are {place.library} arrays on {place.device}; to_device(device, library) of the"
        " whole model moves them, links.default_arrays(...) around its making puts them elsewhere at once"
    )


def locate(error: Exception, link: "Link") -> None:
    """Add to an error about an argument in which link it arose; called by every link it passes on its way up."""
    if not hasattr(error, "operation") or len(error.args) != 1:
        return
    found = error.__dict__
    if "link_path" not in found:
        text = as_text(link).split("\n")[0].rstrip("(")
        found.update(link_path="", link_text=f"{text}{_hint(error, link)}", link_message=error.args[0])
    elif found["link"] is link:
        return
    else:
        inner = found["link"]
        names = [name for name, child in link._child_items() if child is inner]
        # A link that calls one it does not own adds nothing to the path.
        if names:
            found["link_path"] = f"/{names[0]}{found['link_path']}"
    found["link"] = link
    place = found["link_path"] or "/"
    error.args = (f"{found['link_message']}\n  in link:  {place}, {found['link_text']}",)
