"""Where the boxes and arrows of a directed graph without cycles go: layers, few crossings, nothing on top of anything.

The steps are Sugiyama's: layers by longest path, long edges cut into a chain of places that keep their way free, order
within the layers by medians and exchanges of neighbours, positions by least squares. Edge labels are places too, so a
label has room of its own. Everything is plain arithmetic in a fixed order: the same graph is always the same picture.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from toolkit.core.errors import reject, require

GAP = 22.0  # between neighbours in a layer, pixels
LAYER_GAP = 40.0  # between layers, pixels
MARGIN = 14.0
_TOUCHING = 1e-6  # pixels
_SWEEPS = 12  # over the layers, for their order
_SETTLING = 40  # over the layers, for the positions
_LARGE = 500  # places; beyond, exchanging neighbours would take seconds

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """The place of a node: its centre and size in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Places of all nodes, a route for every edge (points in pairs: each layer it passes) and a place for its label."""

    width: float
    height: float
    direction: str
    boxes: Mapping[str, Box]
    routes: tuple[tuple[Point, ...], ...]
    labels: tuple[Point | None, ...]

    def __repr__(self) -> str:
        return f"Layout({self.width:.0f} x {self.height:.0f}, {len(self.boxes)} nodes, {len(self.routes)} edges)"


@dataclass
class _Place:
    """A node, a piece of a long edge, or a label, while places are being found."""

    width: float
    height: float
    real: bool = False
    layer: int = 0
    x: float = 0.0
    line: float = 0.0  # where its edge passes, from its middle: a label stands beside its line
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


def layout_graph(
    sizes: Mapping[str, tuple[float, float]],
    edges: Sequence[tuple[str, str]],
    *,
    label_sizes: Sequence[tuple[float, float] | None] | None = None,
    direction: str = "down",
) -> Layout:
    """Find a place for every node and a way for every edge.

    Args:
        sizes: width and height of each node in pixels, by its key; the order settles ties.
        edges: ``(tail, head)`` pairs; the same pair may come twice.
        label_sizes: width and height of each edge's label, or None for an edge without.
        direction: where edges lead: ``"down"``, ``"up"``, ``"right"`` or ``"left"``.

    Returns:
        The layout. No two nodes overlap and no route passes through a node.

    Raises:
        ValueError: an edge to or from an unknown node, a cycle, or an unknown direction.
    """
    require(
        direction in ("down", "up", "right", "left"), "layout_graph", "direction", "down, up, right or left", direction
    )
    labels = [None] * len(edges) if label_sizes is None else list(label_sizes)
    require(len(labels) == len(edges), "layout_graph", "label_sizes", f"{len(edges)} entries", len(labels))
    for tail, head in edges:
        for key in (tail, head):
            if key not in sizes:
                reject("layout_graph", "edges", "keys of nodes", key)
    if not sizes:
        return Layout(2 * MARGIN, 2 * MARGIN, direction, {}, (), ())

    sideways = direction in ("right", "left")
    turn = (lambda size: (size[1], size[0])) if sideways else (lambda size: size)
    places = [_Place(width, height, real=True) for width, height in map(turn, sizes.values())]
    index = {key: number for number, key in enumerate(sizes)}
    chains = [[index[tail], index[head]] for tail, head in edges]
    for chain, size in zip(chains, labels, strict=True):
        if size is not None:
            width, height = turn(size)
            places.append(_Place(width, height, line=-width / 2))
            chain.insert(1, len(places) - 1)
    label_of = [chain[1] if size is not None else None for chain, size in zip(chains, labels, strict=True)]
    _assign_layers(places, chains)
    _cut_long_edges(places, chains)
    layers = _order(places, _components(places))
    _position(places, layers)
    return _finish(places, layers, chains, label_of, list(sizes), direction)


def _assign_layers(places: list[_Place], chains: list[list[int]]) -> None:
    """Longest path from the sources; then sources come down to where they are used."""
    below: list[list[int]] = [[] for _ in places]
    above: list[list[int]] = [[] for _ in places]
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    waiting = [len(parents) for parents in above]
    order = [number for number, count in enumerate(waiting) if count == 0]
    for number in order:  # grows while it is read
        for child in below[number]:
            places[child].layer = max(places[child].layer, places[number].layer + 1)
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    require(len(order) == len(places), "layout_graph", "edges", "no cycle", "a cycle")
    for number in reversed(order):
        if below[number] and len(below[number]) >= len(above[number]):
            lowest = min(places[child].layer for child in below[number]) - 1
            if len(below[number]) > len(above[number]) or not above[number]:
                places[number].layer = lowest
    first = min(place.layer for place in places)
    for place in places:
        place.layer -= first


def _cut_long_edges(places: list[_Place], chains: list[list[int]]) -> None:
    """Put a place into every layer that an edge passes, and link neighbours."""
    for chain in chains:
        whole = [chain[0]]
        for lower in chain[1:]:
            upper = whole[-1]
            for layer in range(places[upper].layer + 1, places[lower].layer):
                places.append(_Place(6.0, 0.0, layer=layer))
                whole.append(len(places) - 1)
            whole.append(lower)
        chain[:] = whole
        for upper, lower in pairwise(whole):
            places[upper].below.append(lower)
            places[lower].above.append(upper)


def _components(places: list[_Place]) -> list[list[int]]:
    """Return the layers in the order of a walk through the graph, so that what belongs together starts together."""
    layers: list[list[int]] = [[] for _ in range(max(place.layer for place in places) + 1)]
    seen = [False] * len(places)
    for start in sorted(range(len(places)), key=lambda number: (places[number].layer, number)):
        stack = [start]
        while stack:
            number = stack.pop()
            if seen[number]:
                continue
            seen[number] = True
            layers[places[number].layer].append(number)
            stack.extend(reversed(places[number].below))
            stack.extend(reversed(places[number].above))
    return layers


def _crossings(places: list[_Place], upper: list[int], lower: list[int]) -> int:
    """Count crossings between two neighbouring layers."""
    rank = {number: position for position, number in enumerate(lower)}
    passed: list[int] = []
    count = 0
    for number in upper:
        ends = sorted(rank[child] for child in places[number].below)
        for end in ends:
            count += len(passed) - bisect_right(passed, end)
        for end in ends:
            insort(passed, end)
    return count


def _all_crossings(places: list[_Place], layers: list[list[int]]) -> int:
    return sum(_crossings(places, upper, lower) for upper, lower in pairwise(layers))


def _order(places: list[_Place], layers: list[list[int]]) -> list[list[int]]:
    """Order each layer so that few edges cross; the best of several sweeps down and up."""
    best, fewest = [list(layer) for layer in layers], _all_crossings(places, layers)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for number in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            fixed = layers[number - 1 if down else number + 1]
            rank = {place: position for position, place in enumerate(fixed)}

            def median(place: int, rank: dict[int, int] = rank, down: bool = down) -> float | None:
                ends = sorted(rank[other] for other in (places[place].above if down else places[place].below))
                middle = len(ends) // 2
                if not ends:
                    return None
                return float(ends[middle]) if len(ends) % 2 else (ends[middle - 1] + ends[middle]) / 2

            medians = {place: median(place) for place in layers[number]}
            moving = sorted(
                (place for place in layers[number] if medians[place] is not None), key=lambda p: medians[p] or 0.0
            )
            supply = iter(moving)  # places without neighbours there keep their position
            layers[number] = [place if medians[place] is None else next(supply) for place in layers[number]]
        if len(places) <= _LARGE:
            _exchange(places, layers)
        count = _all_crossings(places, layers)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def _exchange(places: list[_Place], layers: list[list[int]]) -> None:
    """Exchange neighbours while that removes crossings."""
    for _ in range(4):
        improved = False
        for number, layer in enumerate(layers):
            ranks = [
                {place: position for position, place in enumerate(layers[other])} if 0 <= other < len(layers) else {}
                for other in (number - 1, number + 1)
            ]
            for position in range(len(layer) - 1):
                left, right = layer[position], layer[position + 1]
                gain = 0
                for rank, side in zip(ranks, ("above", "below"), strict=True):
                    lefts = sorted(rank[other] for other in getattr(places[left], side))
                    rights = sorted(rank[other] for other in getattr(places[right], side))
                    gain += sum(len(lefts) - bisect_right(lefts, end) for end in rights)
                    gain -= sum(len(rights) - bisect_right(rights, end) for end in lefts)
                if gain > 0:
                    layer[position], layer[position + 1] = right, left
                    improved = True
        if not improved:
            return


def _position(places: list[_Place], layers: list[list[int]]) -> None:
    """Move each place towards its neighbours in the layers above and below; pieces of long edges pull hardest."""
    apart: list[list[float]] = []
    for layer in layers:
        edge, offsets = 0.0, []
        for position, number in enumerate(layer):
            half = places[number].width / 2
            gap = 0.0
            if position:
                both = places[number].real or places[layer[position - 1]].real
                gap = GAP if both else GAP / 2
            edge += gap + half
            offsets.append(edge)
            edge += half
        apart.append(offsets)
        for number, offset in zip(layer, offsets, strict=True):
            places[number].x = offset - edge / 2

    def weight(one: int, other: int) -> float:
        return (1.0, 2.0, 8.0)[(not places[one].real) + (not places[other].real)]

    for sweep in range(_SETTLING):
        sides = (("above",), ("below",))[sweep % 2] if sweep < 8 else ("above", "below")
        numbers = range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1)
        for number in numbers:
            layer, offsets = layers[number], apart[number]
            wishes, weights = [], []
            for place, offset in zip(layer, offsets, strict=True):
                pulls = [
                    (weight(place, other), places[other].x + places[other].line - places[place].line)
                    for side in sides
                    for other in getattr(places[place], side)
                ]
                total = sum(pull for pull, _ in pulls)
                wish = sum(pull * x for pull, x in pulls) / total if total else places[place].x
                wishes.append(wish - offset)
                weights.append(total or 0.05)
            for place, offset, shift in zip(layer, offsets, _increasing(wishes, weights), strict=True):
                places[place].x = offset + shift


def _increasing(wishes: list[float], weights: list[float]) -> list[float]:
    """Return the non-decreasing numbers nearest to ``wishes`` in weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for wish, weight in zip(wishes, weights, strict=True):
        mean, total, members = wish, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, count = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, members = total + more, members + count
        pools.append((mean, total, members))
    return [mean for mean, _, members in pools for _ in range(members)]


def _finish(
    places: list[_Place],
    layers: list[list[int]],
    chains: list[list[int]],
    label_of: list[int | None],
    keys: list[str],
    direction: str,
) -> Layout:
    left = min(place.x - place.width / 2 for place in places) - MARGIN
    width = max(place.x + place.width / 2 for place in places) + MARGIN - left
    tops, y = [], MARGIN
    for layer in layers:
        height = max(places[number].height for number in layer)
        tops.append((y, height))
        y += height + LAYER_GAP
    height = y - LAYER_GAP + MARGIN
    for place in places:
        place.x -= left
    middle = [top + tall / 2 for top, tall in tops]

    def turned(point: Point) -> Point:
        x, y = point
        return {"down": (x, y), "up": (x, height - y), "right": (y, x), "left": (height - y, x)}[direction]

    sideways = direction in ("right", "left")
    boxes = {}
    for number, key in enumerate(keys):
        place = places[number]
        size = (place.height, place.width) if sideways else (place.width, place.height)
        boxes[key] = Box(*turned((place.x, middle[place.layer])), *size)
    starts, ends = _ports(places, chains)
    routes, labels = [], []
    for number, chain in enumerate(chains):
        first, last = places[chain[0]], places[chain[-1]]
        below, above = sum(tops[first.layer]), tops[last.layer][0]
        route = [(starts[number], middle[first.layer] + first.height / 2)]
        # Straight to the end of its own layer: a curve from a small node could cut a tall neighbour.
        if route[0][1] < below - _TOUCHING:
            route += [(starts[number], below)] * 2
        for inner in chain[1:-1]:
            place = places[inner]
            top, tall = tops[place.layer]
            route += [(place.x + place.line, top), (place.x + place.line, top + tall)]
        end = (ends[number], middle[last.layer] - last.height / 2)
        if above + _TOUCHING < end[1]:
            route += [(ends[number], above)] * 2
        route.append(end)
        routes.append(tuple(turned(point) for point in route))
        label = label_of[number]
        labels.append(None if label is None else turned((places[label].x, middle[places[label].layer])))
    size = (height, width) if sideways else (width, height)
    return Layout(*size, direction, boxes, tuple(routes), tuple(labels))


def _ports(places: list[_Place], chains: list[list[int]]) -> tuple[list[float], list[float]]:
    """Spread the ends of the edges at one side of a node, in the order in which they arrive."""
    starts, ends = [0.0] * len(chains), [0.0] * len(chains)
    leaving: dict[int, list[int]] = {}
    arriving: dict[int, list[int]] = {}
    for number, chain in enumerate(chains):
        leaving.setdefault(chain[0], []).append(number)
        arriving.setdefault(chain[-1], []).append(number)
    for groups, found, neighbour in ((leaving, starts, 1), (arriving, ends, -2)):
        for node, group in groups.items():
            group.sort(key=lambda number: places[chains[number][neighbour]].x)
            step = min(16.0, 0.7 * places[node].width / max(len(group) - 1, 1))
            for position, number in enumerate(group):
                found[number] = places[node].x + step * (position - (len(group) - 1) / 2)
    return starts, ends
