"""What the paper says about its design, each sentence tried on our engine here and now."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from toolkit.autograd import Variable, grad, graph
from toolkit.autograd import functions as F
from toolkit.autograd.graph import readable_bytes
from toolkit.explorers.adaptive_depth import held_out, think, trained_network
from toolkit.explorers.backward_recording import record
from toolkit.explorers.derivatives_three_times import differentiate_repeatedly
from toolkit.explorers.dynamic_graphs import SHOWN
from toolkit.explorers.held_memory import array_bytes, collector_off, traced
from toolkit.explorers.saved_arrays import kept_by_operation
from toolkit.lessons import Table, table


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Attributes:
        says: the statement, in our words.
        section: of the paper.
        seen: what our engine did just now.
        holds: whether that agrees.
    """

    says: str
    section: str
    seen: str
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def try_claims() -> tuple[Claim, ...]:
    """Try every statement on real digits; takes about a tenth of a second once the classifier is trained."""
    return tuple(claim() for claim in (_any_code, _only_back, _falling, _declared, _again, _no_cycles))


def claims_table() -> Table:
    """Return the statements with what was seen, as a table."""
    rows = [(one.says, one.section, one.seen, "yes" if one.holds else "NO") for one in try_claims()]
    return table(["the paper says", "section", "seen here, now", "agrees"], rows)


def _any_code() -> Claim:
    network, digits = trained_network(), held_out()
    sizes = set()
    for index in range(SHOWN):
        x = Variable(digits.row(index), requires_grad=True)
        loss = F.cross_entropy(think(x, network, 0.9).logits, digits.labels[index : index + 1])
        sizes.add(len(graph(loss).nodes))
    return Claim(
        "The graph is made by running ordinary code, so it may differ from call to call.",
        "2",
        f"{SHOWN} digits through one while loop: {len(sizes)} graphs, of {min(sizes)} to {max(sizes)} nodes",
        len(sizes) > 1,
    )


def _only_back() -> Claim:
    images = held_out().images.reshape(-1, 64)
    x = Variable(images, requires_grad=True)
    held, left = _bytes_held(lambda: F.sum(F.tanh(F.tanh(x) * 2.0)))
    return Claim(
        "References lead backward only: a history that nothing needs is freed at once.",
        "3.1",
        f"{readable_bytes(held)} held by a result, {readable_bytes(left)} after del, collector off",
        held > 0 and left == 0,
    )


def _falling() -> Claim:
    alive = [moment.alive_bytes for moment in record("a shortcut").moments]
    falls = all(later <= earlier for earlier, later in pairwise(alive))
    return Claim(
        "A node is dropped as soon as it is passed, so memory falls during backward.",
        "4.1",
        f"{readable_bytes(alive[0])} to {readable_bytes(alive[-1])} in {len(alive) - 1} steps, never up",
        falls and alive[-1] == 0,
    )


def _declared() -> Claim:
    kept = {one.expression: one for one in kept_by_operation()}
    add, tanh = kept["x + x"], kept["tanh(x)"]
    return Claim(
        "An operation declares what its backward needs: tanh its output, addition nothing.",
        "4.1",
        f"tanh keeps {' and '.join(tanh.what)} ({readable_bytes(tanh.bytes)}), addition {readable_bytes(add.bytes)}",
        tanh.what == ("its output",) and add.bytes == 0,
    )


def _again() -> Claim:
    error = max(differentiate_repeatedly("tanh(x)").largest_errors)
    return Claim(
        "Backward is made of differentiable operations, so gradients have gradients.",
        "4.2",
        f"tanh differentiated three times: {'within 10⁻¹² of exact' if error < 1e-12 else f'{error:.0e} off'}",
        error < 1e-12,
    )


def _no_cycles() -> Claim:
    x = Variable(held_out().images.reshape(-1, 64), requires_grad=True)

    def second_order() -> Variable:
        return grad(F.sum(grad(F.sum(F.tanh(x) * x), x, create_graph=True) ** 2), x, create_graph=True)

    held, left = _bytes_held(second_order)
    return Claim(
        "Differentiating twice makes no reference cycles.",
        "4.2.1",
        f"{readable_bytes(held)} held by a second gradient, {readable_bytes(left)} after del, collector off",
        held > 0 and left == 0,
    )


def _bytes_held(make: Callable[[], Variable]) -> tuple[int, int]:
    """Return the bytes of NumPy arrays that a result holds, and those left after it is dropped."""
    with collector_off(), traced():
        before = array_bytes()
        result = make()
        held = array_bytes() - before
        del result
        return held, array_bytes() - before
