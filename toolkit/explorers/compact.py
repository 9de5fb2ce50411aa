"""Drawings of recorded graphs in less height, so that graph, controls and words fit on one screen."""

from dataclasses import replace

import numpy as np

from toolkit.core.graph_layout import Layout


def squeezed(layout: Layout, gap: float) -> Layout:
    """Return the layout with at most ``gap`` pixels between two layers.

    Args:
        layout: of a graph that is drawn downwards.
        gap: pixels that stay between two layers; arrow heads need about 14.

    Returns:
        The same places from side to side, closer together from top to bottom.
    """
    before, after, cut, last = [0.0], [0.0], 0.0, None
    for top, bottom in _layers(layout):
        if last is not None:
            cut += max(top - last - gap, 0.0)
        before += [top, bottom]
        after += [top - cut, bottom - cut]
        last = bottom
    before.append(layout.height)
    after.append(layout.height - cut)

    def moved(y: float) -> float:
        return float(np.interp(y, before, after))

    boxes = {key: replace(box, y=moved(box.y)) for key, box in layout.boxes.items()}
    routes = tuple(tuple((x, moved(y)) for x, y in route) for route in layout.routes)
    labels = tuple(None if place is None else (place[0], moved(place[1])) for place in layout.labels)
    return replace(layout, height=after[-1], boxes=boxes, routes=routes, labels=labels)


def _layers(layout: Layout) -> list[tuple[float, float]]:
    """Return top and bottom of every layer, from the top: boxes whose heights overlap stand in one."""
    layers: list[tuple[float, float]] = []
    for top, bottom in sorted((box.y - box.height / 2, box.y + box.height / 2) for box in layout.boxes.values()):
        if layers and top < layers[-1][1]:
            layers[-1] = (layers[-1][0], max(bottom, layers[-1][1]))
        else:
            layers.append((top, bottom))
    return layers
