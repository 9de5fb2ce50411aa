"""One form for every complaint about an argument: operation, argument, expected, actual."""

from typing import NoReturn


def argument_error(
    operation: str, argument: str, expected: str, actual: object, *, kind: type[Exception] = ValueError
) -> Exception:
    """Build the error that all public functions raise on bad input.

    Args:
        operation: the function or operation as the user called it, ``"conv2d"``.
        argument: the argument at fault, ``"weight"``.
        expected: what would have been right, ``"shape[1] * groups == x.shape[1]"``.
        actual: what came, in the same terms as ``expected``.
        kind: the exception class, ``ValueError`` (default) or ``TypeError``.

    Returns:
        The exception, to be raised by the caller so that the traceback ends there. It carries ``operation``,
        ``argument``, ``expected`` and ``actual`` as attributes.
    """
    error = kind(f"{operation}: bad argument {argument!r}\n  expected: {expected}\n  actual:   {actual}")
    error.__dict__.update(operation=operation, argument=argument, expected=expected, actual=actual)
    return error


def require(condition: bool, operation: str, argument: str, expected: str, actual: object) -> None:
    """Raise the ``ValueError`` of :func:`argument_error` unless ``condition`` holds."""
    if not condition:
        raise argument_error(operation, argument, expected, actual)


def reject(
    operation: str, argument: str, expected: str, actual: object, *, kind: type[Exception] = ValueError
) -> NoReturn:
    """Raise the error of :func:`argument_error`."""
    raise argument_error(operation, argument, expected, actual, kind=kind)


class WriteError(OSError):
    """A file could not be written; nothing half-written was left behind."""


class CheckpointError(ValueError):
    """A checkpoint is truncated, foreign, or belongs to another configuration."""
