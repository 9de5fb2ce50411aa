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


def publish(trainer: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Put values into the trainer's observation, or, outside of a trainer, report them; return them."""
    if trainer is None:
        report(values)
    else:
        trainer.observation.update(values)
    return values


def state_of(trigger: Any) -> dict[str, Any]:
    """Return the state of a trigger, which may be a plain function without one."""
    return trigger.state_dict() if hasattr(trigger, "state_dict") else {}


def load_into(trigger: Any, state: Mapping[str, Any] | None) -> None:
    """Give a trigger its state back, if there is one and it has any."""
    if state and hasattr(trigger, "load_state_dict"):
        trigger.load_state_dict(state)


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
