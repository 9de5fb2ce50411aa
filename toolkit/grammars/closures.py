"""What grammars with recursion sum over: powers of matrices without end, and equations that refer to themselves.

Nothing here subtracts numbers of the same size where it can be avoided, so small weights keep their digits, and what
is impossible stays exactly 0.
"""

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

CRITICAL = 1e-10
"""A spectral radius this close to 1 counts as 1."""


def reachable(weights: Float64[Tensor, "n n"]) -> Bool[Tensor, "n n"]:
    """Return which indices each index leads to over positive weights, itself included."""
    edges = weights > 0
    # What leads nowhere, such as the tokens, only has to be added at the end.
    inner = edges.any(1).nonzero().flatten()
    within = (edges[inner][:, inner] | torch.eye(len(inner), dtype=torch.bool, device=edges.device)).float()
    while True:
        wider = ((within @ within) > 0).float()
        if torch.equal(wider, within):
            break
        within = wider
    reach = torch.eye(len(weights), dtype=torch.bool, device=edges.device)
    reach[inner] |= (within @ edges[inner].float()) > 0
    return reach


def classes(reach: Bool[Tensor, "n n"]) -> list[Int[Tensor, " members"]]:
    """Return the groups of indices that lead to each other, those first that others lead to.

    Args:
        reach: from :func:`reachable`.
    """
    if not len(reach):
        return []
    first = (reach & reach.T).double().argmax(1)
    # Whoever leads to a group leads to more indices than the group does.
    order = sorted(set(first.tolist()), key=reach.sum(1).tolist().__getitem__)
    return [(first == index).nonzero().flatten() for index in order]


def star(weights: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    """Return the sum of all powers of a matrix ≥ 0 with spectral radius < 1, the identity first.

    By repeated squaring: sums and products of numbers ≥ 0 only.
    """
    total = torch.eye(len(weights), dtype=torch.float64, device=weights.device)
    active = ((weights > 0).any(0) | (weights > 0).any(1)).nonzero().flatten()
    if not len(active):
        return total
    power = weights[active][:, active]
    inner = torch.eye(len(active), dtype=torch.float64, device=weights.device) + power
    longest = 1
    while longest < 2**60:
        power = power @ power
        added = power @ inner
        inner = inner + added
        longest *= 2
        settled = longest >= len(active) and bool((added <= 1e-17 * inner).all())
        if settled or not bool(power.any()):
            break
    total[active[:, None], active] = inner
    return total


def spectral_radius(weights: Float64[Tensor, "n n"]) -> float:
    """Return the largest absolute eigenvalue, of each group of indices that lead to each other by itself."""
    largest = 0.0
    for members in classes(reachable(weights)):
        block = weights[members][:, members]
        # The whole matrix may be defective, where eigenvalues lose half of their digits; an irreducible block's largest
        # eigenvalue is simple.
        own = float(torch.linalg.eigvals(block).abs().max()) if len(members) > 1 else float(block)
        largest = max(largest, own)
    return largest


def least_fixed_point(
    constant: Float64[Tensor, " n"],
    linear: Float64[Tensor, "n n"],
    parents: Int[Tensor, " products"],
    left: Int[Tensor, " products"],
    right: Int[Tensor, " products"],
    weights: Float64[Tensor, " products"],
) -> Float64[Tensor, " n"]:
    """Solve ``x = constant + linear x + Σ weights x[left] x[right]`` for the smallest x ≥ 0.

    All coefficients are ≥ 0, and those of a row add up to at most 1. Newton's method, group by group, climbs from 0
    to the solution (Etessami and Yannakakis, J. ACM 56, 2009). Where it would lose half of the digits, at a double
    root, the solution is 1 and is told by that.
    """
    positive = constant > 0
    while True:
        wider = positive | (linear @ positive.double() > 0)
        wider[parents[positive[left] & positive[right] & (weights > 0)]] = True
        if bool((wider == positive).all()):
            break
        positive = wider
    # What stays 0 takes no part: a group's members then really feed each other.
    linear = linear * positive.double() * positive.double()[:, None]
    kept = positive[left] & positive[right] & (weights > 0)
    parents, left, right, weights = parents[kept], left[kept], right[kept], weights[kept]
    leads = linear.clone()
    leads.index_put_((parents, left), weights, accumulate=True)
    leads.index_put_((parents, right), weights, accumulate=True)

    def step(x: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return the right-hand sides of a group's equations, and their slopes."""
        place = parents.new_full((len(x),), -1)
        place[members] = torch.arange(len(members), device=x.device)
        own = place[parents] >= 0
        row, first, second, weight = place[parents[own]], left[own], right[own], weights[own]
        slope = linear[members].index_put((row, first), weight * x[second], accumulate=True)
        slope = slope.index_put((row, second), weight * x[first], accumulate=True)[:, members]
        value = (constant[members] + linear[members] @ x).index_add(0, row, weight * x[first] * x[second])
        return value, slope

    x = torch.zeros_like(constant)
    for members in classes(reachable(leads)):
        if not bool(positive[members].any()):
            continue
        if not bool((leads[members][:, members] > 0).any()):
            x = x.index_copy(0, members, step(x, members)[0])
            continue
        one = x.index_fill(0, members, 1.0)
        value, slope = step(one, members)
        if bool((value >= 1 - 1e-12).all()) and spectral_radius(slope) <= 1 + CRITICAL:
            x = one
            continue
        identity = torch.eye(len(members), dtype=torch.float64, device=x.device)
        for _ in range(200):
            value, slope = step(x, members)
            change = torch.linalg.solve(identity - slope, value - x[members]).clamp(min=0)
            x = x.index_add(0, members, change)
            if bool((change <= 4e-16 * x[members]).all()):
                break
    return x.clamp(max=1.0)
