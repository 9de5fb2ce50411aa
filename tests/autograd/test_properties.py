"""Random programs: value, gradient and gradient of the gradient are torch's, on every array library."""

from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import strategies

from toolkit.autograd import Variable, checkpoint, grad
from toolkit.autograd import functions as F

SHAPES = [(2, 3), (3,), (2, 1), (), (1, 3)]

# Name -> ours, torch's; every one smooth and tame wherever its operands lie.
UNARY = {
    "tanh": (F.tanh, torch.tanh),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "sin": (F.sin, torch.sin),
    "softplus": (F.softplus, lambda x: torch.nn.functional.softplus(x, threshold=40)),
    "negative": (F.negative, torch.neg),
    "square": (lambda x: x**2, lambda x: x**2),
    "gauss": (lambda x: F.exp(-x * x), lambda x: torch.exp(-x * x)),
    "root": (lambda x: F.sqrt(x * x + 1.0), lambda x: torch.sqrt(x * x + 1.0)),
    "logarithm": (lambda x: F.log(x * x + 0.5), lambda x: torch.log(x * x + 0.5)),
    "scaled": (lambda x: 0.5 - x * 1.5, lambda x: 0.5 - x * 1.5),
    "sum of the last": (lambda x: F.sum(x, axis=-1) if x.ndim else x, lambda x: x.sum(-1) if x.dim() else x),
    "mean": (lambda x: F.mean(x), torch.mean),
    "transposed": (lambda x: x.T, lambda x: x.permute(tuple(range(x.dim()))[::-1])),
    "row": (lambda x: x[0] if x.ndim else x, lambda x: x[0] if x.dim() else x),
    "backwards": (lambda x: x[..., ::-1] if x.ndim else x, lambda x: x.flip(-1) if x.dim() else x),
    "picked twice": (lambda x: x[[0, 0, -1]] if x.ndim else x, lambda x: x[[0, 0, -1]] if x.dim() else x),
    "softmax": (lambda x: F.softmax(x, 0) if x.ndim else x, lambda x: x.softmax(0) if x.dim() else x),
    "logsumexp": (lambda x: F.logsumexp(x), lambda x: torch.logsumexp(x.reshape(-1), 0)),
    "cumsum": (lambda x: F.cumsum(x, 0) if x.ndim else x, lambda x: x.cumsum(0) if x.dim() else x),
    "flat": (lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
    "detached": (lambda x: x.detach() * x, lambda x: x.detach() * x),
    "recomputed": (lambda x: checkpoint(lambda v: F.tanh(v) * v, x), lambda x: torch.tanh(x) * x),
}
BINARY = {
    "add": (F.add, torch.add),
    "subtract": (F.subtract, torch.subtract),
    "multiply": (F.multiply, torch.multiply),
    "divide": (lambda a, b: a / (b * b + 1.0), lambda a, b: a / (b * b + 1.0)),
    "power": (lambda a, b: (a * a + 0.5) ** F.tanh(b), lambda a, b: (a * a + 0.5) ** torch.tanh(b)),
    "outer": (
        lambda a, b: F.einsum("i,j->ij", a.reshape(-1), b.reshape(-1)),
        lambda a, b: torch.einsum("i,j->ij", a.reshape(-1), b.reshape(-1)),
    ),
    "joined": (
        lambda a, b: F.concat([a.reshape(-1), b.reshape(-1)]),
        lambda a, b: torch.cat([a.reshape(-1), b.reshape(-1)]),
    ),
    "where": (
        lambda a, b: F.where(a > b, a, b * 2.0),
        lambda a, b: torch.where(a > b, a, b * 2.0),
    ),
}
LIMIT = 64

Step = tuple[str, int, int]
steps = strategies.tuples(
    strategies.sampled_from([*UNARY, *BINARY, *BINARY]), strategies.integers(0, 30), strategies.integers(0, 30)
)


def run(program: list[Step], leaves: list[Any], side: int) -> Any:
    """Return the sum of all values a program computes from its leaves and earlier values."""
    values = list(leaves)
    for name, first, second in program:
        a, b = values[first % len(values)], values[second % len(values)]
        if name in UNARY:
            value = UNARY[name][side](a)
        else:
            try:
                shape = np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
            except ValueError:
                b, shape = a, tuple(a.shape)
            size = int(np.prod(a.shape)) * int(np.prod(b.shape)) if name == "outer" else int(np.prod(shape))
            value = BINARY[name][side](a, b) if size <= LIMIT else a
        values.append(value)
    total = values[0].sum() * 0.1 if side else F.sum(values[0]) * 0.1
    for value in values[len(leaves) :]:
        total = total + (torch.tanh(value).sum() if side else F.sum(F.tanh(value)))
    return total


def torchs(program: list[Step], hosts: list[np.ndarray]) -> list[np.ndarray]:
    leaves = [torch.tensor(host, requires_grad=True) for host in hosts]
    value = run(program, leaves, 1)
    first = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    slopes = sum(((g * g).sum() for g in first if g is not None), torch.zeros((), dtype=torch.float64))
    second: Any = [None] * len(leaves)
    if slopes.requires_grad:
        second = torch.autograd.grad(slopes, leaves, allow_unused=True)
    gradients = [None if g is None else g.detach().numpy() for g in (*first, *second)]
    return [value.detach().numpy(), *or_zero(gradients, hosts)]


def or_zero(gradients: list[Any], hosts: list[np.ndarray]) -> list[np.ndarray]:
    return [0 * host if g is None else g for g, host in zip(gradients, hosts * 2, strict=True)]


def ours(program: list[Step], hosts: list[np.ndarray], library: Any) -> list[np.ndarray]:
    leaves = [library.leaf(host) for host in hosts]
    value = run(program, leaves, 0)
    value.backward(retain_graph=True)
    first = grad(value, leaves, create_graph=True, allow_unused=True)
    slopes = [F.sum(g * g) for g in first if g is not None and g.requires_grad]
    second: Any = grad(slopes, leaves, allow_unused=True) if slopes else [None] * len(leaves)
    for leaf, gradient in zip(leaves, first, strict=True):
        if gradient is not None:
            np.testing.assert_allclose(library.host(leaf.grad), library.host(gradient), rtol=1e-10, atol=1e-12)
    gradients = [None if g is None else library.host(g) for g in (*first, *second)]
    return [library.host(value), *or_zero(gradients, hosts)]


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    strategies.lists(steps, min_size=1, max_size=8),
    strategies.lists(strategies.sampled_from(SHAPES), min_size=1, max_size=3),
    strategies.integers(0, 1000),
)
def test_random_programs_to_second_order(libraries, program, shapes, seed):
    rng = np.random.default_rng(seed)
    hosts = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    expected = torchs(program, hosts)
    hypothesis.assume(all(np.abs(value).max(initial=0.0) < 1e6 for value in expected))
    for library in libraries.values():
        for found, reference in zip(ours(program, hosts, library), expected, strict=True):
            assert found.shape == reference.shape
            np.testing.assert_allclose(found, reference, rtol=1e-9, atol=1e-9)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(strategies.lists(steps, min_size=2, max_size=10), strategies.integers(0, 1000))
def test_gradients_add_up_whichever_way_a_sum_is_taken(program, seed):
    """One pass from a sum, two passes from its terms, and a pass from both at once."""
    host = np.random.default_rng(seed).normal(size=(2, 3))
    half = len(program) // 2

    def terms() -> tuple[Variable, Variable, Variable]:
        x = Variable(host.copy(), requires_grad=True)
        return x, run(program[:half], [x], 0), run(program, [x], 0)

    x, a, b = terms()
    (a + b).backward()
    y, a, b = terms()
    a.backward()
    b.backward()
    z, a, b = terms()
    together = grad([a, b], z)
    np.testing.assert_allclose(y.grad, x.grad, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(together.numpy(), x.grad, rtol=1e-10, atol=1e-10)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    strategies.lists(strategies.sampled_from([2, 3, 4]), min_size=1, max_size=4),
    strategies.data(),
)
def test_einsum_of_any_indices(libraries, lengths, data):
    """Operands, diagonals, outputs and sums as they come."""
    letters = "abcd"[: len(lengths)]
    sizes = dict(zip(letters, lengths, strict=True))
    terms = data.draw(strategies.lists(strategies.text(letters, min_size=1, max_size=3), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    output = "".join(data.draw(strategies.permutations(used)))[: data.draw(strategies.integers(0, len(used)))]
    subscripts = ",".join(terms) + "->" + output
    rng = np.random.default_rng(0)
    hosts = [rng.normal(size=tuple(sizes[letter] for letter in term)) for term in terms]
    tensors = [torch.tensor(host, requires_grad=True) for host in hosts]
    expected = torch.einsum(subscripts, *tensors)
    gradients = torch.autograd.grad((expected * expected).sum(), tensors)
    for library in libraries.values():
        leaves = [library.leaf(host) for host in hosts]
        found = F.einsum(subscripts, *leaves)
        np.testing.assert_allclose(library.host(found), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
        for left, right in zip(grad(F.sum(found * found), leaves), gradients, strict=True):
            np.testing.assert_allclose(library.host(left), right.numpy(), rtol=1e-10, atol=1e-10)
