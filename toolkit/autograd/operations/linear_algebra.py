"""Matrix products: ``matmul``, ``einsum`` and the affine map of a layer."""

import math
from typing import Any

import numpy as np

from toolkit.autograd.operation import EVERY_INPUT, Operation
from toolkit.autograd.operations.shaping import broadcast_to, reshape
from toolkit.autograd.recording import apply, apply_product
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable, _result, as_variable
from toolkit.core.errors import argument_error

__all__ = ["einsum", "linear", "matmul"]


def _matmul_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    a, b = saved
    return (
        xp.matmul(g, xp.swap_last(b)) if needs[0] is not None else None,
        xp.matmul(xp.swap_last(a), g) if needs[1] is not None else None,
    )


MATMUL = Operation("matmul", _matmul_vjp, saves=(0, 1), saved_for=((1,), (0,)), expects="a.shape[-1] == b.shape[-2]")


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=a), rng.normal(size=b)))
        for a, b in (
            ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 2, 3), (3, 2)),
            ((2, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((3,), (2, 3, 2)),
        )
    ],
    group="linear algebra",
)  # fmt: skip
def matmul(a: Any, b: Any) -> Variable:
    """Return the matrix product over the last two axes, the others broadcast; one axis is a vector, as in NumPy.

    Raises:
        ValueError: the inner lengths differ, or an operand has no axis.
    """
    a, b = as_variable(a, "matmul", "a"), as_variable(b, "matmul", "b")
    if a.ndim == 0 or b.ndim == 0:
        raise argument_error("matmul", "a, b", "at least one axis each (use * with numbers)", f"{a.shape}, {b.shape}")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise argument_error(
            "matmul", "b", "a.shape[-1] == b.shape[-2]" if b.ndim > 1 else "a.shape[-1] == b.shape[-1]",
            f"{a.shape[-1]} != {b.shape[-2 if b.ndim > 1 else -1]} (shapes {a.shape} and {b.shape})",
        )  # fmt: skip
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = reshape(a, (1, *a.shape))
    if column:
        b = reshape(b, (*b.shape, 1))
    if a.shape[:-2] != b.shape[:-2]:
        try:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise argument_error(
                "matmul", "b", f"leading axes that broadcast with {a.shape[:-2]}", b.shape[:-2]
            ) from None
        a, b = (v if v.shape[:-2] == lead else broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    product = apply_product(MATMUL, a, b, None)
    if row or column:
        shape = product.shape
        product = reshape(product, (*shape[:-2], *(() if row else shape[-2:-1]), *(() if column else shape[-1:])))
    return product


def _linear_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    return xp.linear_gradients(g, saved[0], saved[1], needs)


_LINEAR = Operation(
    "linear", _linear_vjp, saves=(0, 1), saved_for=((1,), (0,)), expects="x.shape[-1] == weight.shape[1]"
)


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), rng.normal(size=2))),
        Sample((rng.normal(size=(4, 3)), rng.normal(size=(2, 3)))),
        Sample((rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3)), rng.normal(size=2))),
        Sample((rng.normal(size=3), rng.normal(size=(2, 3)), rng.normal(size=2))),
        Sample((rng.normal(size=(0, 3)), rng.normal(size=(2, 3)), rng.normal(size=2))),
    ],
    group="linear algebra",
)
def linear(x: Any, weight: Any, bias: Any = None) -> Variable:
    """Return ``x @ weight.T + bias``.

    Args:
        x: shape ``(..., inputs)``.
        weight: shape ``(outputs, inputs)``.
        bias: shape ``(outputs,)`` or ``None``.

    Returns:
        Shape ``(..., outputs)``.

    Raises:
        ValueError: the shapes do not fit.
    """
    if not isinstance(x, Variable):
        x = as_variable(x, "linear", "x")
    if not isinstance(weight, Variable):
        weight = as_variable(weight, "linear", "weight")
    given, rows = x.data.shape, weight.data.shape
    if len(rows) != 2:
        raise argument_error("linear", "weight", "shape (outputs, inputs)", tuple(rows))
    outputs, inputs = rows
    if not given or given[-1] != inputs:
        raise argument_error("linear", "x", f"x.shape[-1] == weight.shape[1], {inputs}", tuple(given))
    if bias is not None:
        if not isinstance(bias, Variable):
            bias = as_variable(bias, "linear", "bias")
        if bias.data.shape != (outputs,):
            raise argument_error("linear", "bias", f"shape ({outputs},), one a row of weight", bias.shape)
    if len(given) == 2:
        return apply_product(_LINEAR, x, weight, bias)
    x = reshape(x, (math.prod(given[:-1]), given[-1]))
    return reshape(apply_product(_LINEAR, x, weight, bias), (*given[:-1], outputs))


# ---------------------------------------------------------------------------------------------------------------------
# einsum


def _einsum_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    terms, output = p["subscripts"].split("->")
    parts = terms.split(",")
    gradients: list[Any] = []
    for position, (part, need) in enumerate(zip(parts, needs, strict=True)):
        if need is None:
            gradients.append(None)
            continue
        others = [(parts[k], saved[k]) for k in range(len(parts)) if k != position]
        reachable = set(output).union(*(set(other) for other, _ in others))
        kept = "".join(letter for letter in part if letter in reachable)
        subscripts = ",".join([output, *(other for other, _ in others)]) + "->" + kept
        gradient = xp.einsum(g, *(value for _, value in others), subscripts=subscripts)
        if kept != part:
            # An index of this operand alone was summed over: every element along it gets the same gradient.
            shape = p["shapes"][position]
            gradient = xp.reshape(
                gradient, tuple(n if letter in reachable else 1 for letter, n in zip(part, shape, strict=True))
            )
            gradient = xp.broadcast_to(gradient, shape)
        gradients.append(gradient)
    return tuple(gradients)


_EINSUM = Operation("einsum", _einsum_vjp, saves=EVERY_INPUT, fresh=False, shapes=True)


@differentiable(
    lambda rng: [
        Sample((subscripts, *(rng.normal(size=shape) for shape in shapes)))
        for subscripts, *shapes in (
            ("ij,jk->ik", (2, 3), (3, 2)), ("ij,jk", (2, 3), (3, 2)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
            ("ij->j", (2, 3)), ("ij->", (2, 3)), ("ij->ji", (2, 3)), ("i,i->", (3,), (3,)), ("i,j->ij", (2,), (3,)),
            ("ii->", (3, 3)), ("ii->i", (3, 3)), ("...ij,...jk->...ik", (2, 2, 3), (2, 3, 2)),
            ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("...i,i->...", (2, 3), (3,)), ("ij,ij->i", (2, 3), (2, 3)),
            ("ij,k->ik", (2, 3), (2,)),
        )
    ],
    group="linear algebra",
)  # fmt: skip
def einsum(subscripts: str, *operands: Any) -> Variable:
    """Return the sum of products that ``subscripts`` describes, in Einstein's notation as NumPy writes it.

    Ellipses, an implicit output, an index repeated within one operand (its diagonal) and axes of length 1 beside
    longer ones of the same index are allowed.

    Raises:
        ValueError: subscripts and operands do not fit.
        TypeError: ``subscripts`` is no text.
    """
    if not isinstance(subscripts, str):
        raise argument_error("einsum", "subscripts", "a text such as 'ij,jk->ik'", repr(subscripts), kind=TypeError)
    variables = [as_variable(operand, "einsum", f"operands[{k}]") for k, operand in enumerate(operands)]
    parts, output, variables = _explicit(subscripts, variables)
    for position in range(len(parts)):
        parts, variables = _without_repeats(parts, variables, position)
    return apply(_EINSUM, variables, {"subscripts": ",".join(parts) + "->" + output})


def _explicit(subscripts: str, operands: list[Variable]) -> tuple[list[str], str, list[Variable]]:
    """Spell out ellipses and the output, and bring axes of one index to one length."""
    text = subscripts.replace(" ", "")
    terms, arrow, output = text.partition("->")
    parts = terms.split(",")
    if not all(_is_term(part) for part in (*parts, output)):
        raise argument_error("einsum", "subscripts", "letters and at most one ellipsis a term", repr(subscripts))
    if len(parts) != len(operands):
        raise argument_error("einsum", "operands", f"{len(parts)}, one a term of {subscripts!r}", len(operands))
    unused = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if letter not in text]
    spans = [operand.ndim - len(part.replace("...", "")) for part, operand in zip(parts, operands, strict=True)]
    for position, (part, span) in enumerate(zip(parts, spans, strict=True)):
        if span < 0 or (span and "..." not in part):
            raise argument_error(
                "einsum", f"operands[{position}]", f"axes {part!r}", f"shape {operands[position].shape}"
            )
    widest = max((span for part, span in zip(parts, spans, strict=True) if "..." in part), default=0)
    letters = "".join(unused[:widest])
    parts = [part.replace("...", letters[widest - span :]) for part, span in zip(parts, spans, strict=True)]
    if arrow:
        output = output.replace("...", letters)
    else:
        named = "".join(parts)
        output = letters + "".join(sorted(c for c in set(named) if named.count(c) == 1 and c not in letters))
    lengths: dict[str, int] = {}
    for position, (part, operand) in enumerate(zip(parts, operands, strict=True)):
        for letter, length in zip(part, operand.shape, strict=True):
            if length != 1 and lengths.setdefault(letter, length) != length:
                raise argument_error(
                    "einsum", f"operands[{position}]", f"length {lengths[letter]} along {letter!r}", operand.shape
                )
    for letter in "".join(parts):
        lengths.setdefault(letter, 1)
    if len(set(output)) != len(output) or not set(output) <= set(lengths):
        raise argument_error(
            "einsum", "subscripts", "an output that names each index of the operands at most once", subscripts
        )
    shapes = [tuple(lengths[letter] for letter in part) for part in parts]
    alike = [v if v.shape == shape else broadcast_to(v, shape) for v, shape in zip(operands, shapes, strict=True)]
    return parts, output, alike


def _is_term(text: str) -> bool:
    return text.count("...") <= 1 and all(c.isascii() and c.isalpha() for c in text.replace("...", ""))


def _without_repeats(parts: list[str], operands: list[Variable], position: int) -> tuple[list[str], list[Variable]]:
    """Rename the second ``i`` of ``ii`` and multiply by an identity matrix that ties the two names together."""
    part = parts[position]
    unused = iter(c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in "".join(parts))
    renamed = ""
    parts, operands = list(parts), list(operands)
    for axis, letter in enumerate(part):
        if letter in renamed:
            fresh = next(unused)
            like = operands[position]
            length = like.shape[axis]
            steps = like.backend.arange(length, like.data)
            same = like.backend.reshape(steps, (length, 1)) == like.backend.reshape(steps, (1, length))
            parts.append(letter + fresh)
            operands.append(_result(like.backend.astype(same, like.data), None))
            letter = fresh
        renamed += letter
    parts[position] = renamed
    return parts, operands


def install_methods() -> None:
    """Give ``Variable`` the ``@`` operator."""
    Variable.__matmul__ = matmul  # type: ignore[method-assign]
    Variable.__rmatmul__ = lambda self, other: matmul(other, self)  # type: ignore[method-assign]
