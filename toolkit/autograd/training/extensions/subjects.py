"""What extensions look at and where they put it: links by name, and the observation of a trainer or of a scope."""

from collections.abc import Iterable, Mapping
from typing import Any

from toolkit.autograd.training.reporter import report
from toolkit.core.errors import argument_error


def named_links(links: Any, trainer: Any, operation: str) -> dict[str, Any]:
    """Return Links by name.

    Args:
        links: a Link, several, Links by name, or ``None`` for the trainer's models.
        trainer: the trainer, or ``None`` outside of one.
        operation: who asks, for the error.

    Raises:
        TypeError: no Links.
    """
    if links is None:
        links = getattr(trainer, "models", None)
    if hasattr(links, "namedparams"):
        return {"main": links}
    if isinstance(links, Mapping):
        named = {str(name): link for name, link in links.items()}
    elif isinstance(links, Iterable):
        named = {str(index): link for index, link in enumerate(links)}
    else:
        named = {}
    if not named or not all(hasattr(link, "namedparams") for link in named.values()):
        expected = "a Link, several, Links by name, or a trainer that has models"
        raise argument_error(operation, "links", expected, repr(links), kind=TypeError)
    return named


def formatted(operation: str, argument: str, name: str, *positional: Any, **fields: Any) -> str:
    """Fill in the fields of a file name.

    Raises:
        ValueError: it has others, or formats that do not suit them.
    """
    try:
        return name.format(*positional, **fields)
    except (LookupError, ValueError, AttributeError) as error:
        expected = f"a file name with fields among {', '.join(fields)}"
        actual = f"{name!r} ({type(error).__name__}: {error})"
        raise argument_error(operation, argument, expected, actual) from None


def keys_of(operation: str, argument: str, keys: Any) -> tuple[str, ...]:
    """Return names of observations, of which there may be one or several.

    Raises:
        TypeError: something else.
    """
    found = (keys,) if isinstance(keys, str) else tuple(keys) if isinstance(keys, Iterable) else (keys,)
    if not all(isinstance(key, str) for key in found):
        raise argument_error(operation, argument, "a key of the observation, or several", repr(keys), kind=TypeError)
    return found


def publish(trainer: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Put values into the trainer's observation, or, outside of a trainer, report them; return them."""
    if trainer is None:
        report(values)
    else:
        trainer.observation.update(values)
    return values


def named_optimizer(trainer: Any, name: str, operation: str) -> Any:
    """Return one of the trainer's optimizers.

    Raises:
        ValueError: it has none of that name.
    """
    optimizers = trainer.optimizers
    if name not in optimizers:
        raise argument_error(operation, "optimizer", f"one of {sorted(optimizers)}", name)
    return optimizers[name]


def registered_name(trainer: Any, extension: Any) -> str | None:
    """Return the name a trainer knows an extension by, which may have a number at its end; ``None`` if it does not."""
    for entry in getattr(trainer, "_entries", ()):
        if entry.extension is extension:
            return entry.name
    return None
