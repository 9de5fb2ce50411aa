"""Pictures of trees: the root above, the tokens in a row below, coloured by ancestor or by level.

The same shapes are drawn as SVG, for a page that answers at once, and as a matplotlib figure.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from toolkit.core import plotting
from toolkit.core.svg import Svg
from toolkit.grammars.tree_layout import COLOURS, Box, lay_out
from toolkit.grammars.trees import Tree

__all__ = ["COLOURS", "draw_tree", "plot_tree", "token_places"]


def draw_tree(
    tree: Tree,
    *,
    by_level: int = 1,
    level_colours: Sequence[str] = (),
    metadata: Sequence[int] | None = None,
    cut: int | None = None,
    width: float = 720,
    title: str = "",
    alt: str = "",
    frame: bool = True,
) -> Svg:
    """Draw a tree as SVG.

    Args:
        tree: of any size; names that do not fit are left out, and tokens then are coloured stripes.
        by_level: a subtree that begins this many steps below the root has one colour, its neighbours others.
        level_colours: a colour for the rules of each level, instead of colours for subtrees.
        metadata: the choice of each level, written beside the rules it stands for.
        cut: how many tokens stand before a dashed line: the end of a prompt.
        width: pixels.
        title: the finding.
        alt: one sentence that says what the picture shows; default: the sentence and its first symbols.
        frame: whether a white background in a thin frame is drawn.

    Raises:
        ValueError: a negative level, too few colours, a cut outside of the sentence, more choices than levels, no room.
    """
    shapes = lay_out(
        "draw_tree",
        tree,
        by_level=by_level,
        level_colours=level_colours,
        metadata=metadata,
        cut=cut,
        width=width,
        title=title,
    )
    background = "#ffffff" if frame else "none"
    picture = Svg(shapes.width, shapes.height, alt=alt or _alt(tree), background=background, frame=frame)
    for box in shapes.boxes:
        _draw_box(picture, box)
    for (colour, thickness), lines in shapes.lines.items():
        commands = [(("L" if place else "M"), *point) for line in lines for place, point in enumerate(line)]
        picture.path(commands, stroke=colour, stroke_width=thickness)
    for x, top, bottom in shapes.dashed:
        picture.line(x, top, x, bottom, stroke=plotting.INK, stroke_width=1.6, dash=(5, 3))
    for box in shapes.over:
        _draw_box(picture, box)
    for text in shapes.words:
        picture.text(text.x, text.y, text.string, size=text.size, anchor=text.anchor, bold=text.bold, fill=text.fill)
    return picture


def token_places(tree: Tree, *, metadata: Sequence[int] | None = None, width: float = 720) -> list[float]:
    """Return where :func:`draw_tree` cuts a tree: x in pixels before each token, and behind the last.

    Args:
        tree: as for :func:`draw_tree`.
        metadata: likewise.
        width: likewise.
    """
    shapes = lay_out(
        "token_places", tree, by_level=1, level_colours=(), metadata=metadata, cut=None, width=width, title=""
    )
    return shapes.cuts


def plot_tree(
    tree: Tree,
    *,
    by_level: int = 1,
    level_colours: Sequence[str] = (),
    metadata: Sequence[int] | None = None,
    cut: int | None = None,
    width: float = 7.5,
    title: str = "",
) -> Figure:
    """Draw a tree as a matplotlib figure; ``width`` is in inches, the rest as for :func:`draw_tree`."""
    shapes = lay_out(
        "plot_tree",
        tree,
        by_level=by_level,
        level_colours=level_colours,
        metadata=metadata,
        cut=cut,
        width=width * plotting.PIXELS_PER_INCH,
        title=title,
    )
    points = 72 / plotting.PIXELS_PER_INCH
    made = plotting.figure(width, shapes.height / plotting.PIXELS_PER_INCH)
    with plotting.settings():
        made.set_layout_engine("none")
        where = made.add_axes((0, 0, 1, 1), axes_class=plotting.StyledAxes)
        where.set(xlim=(0, shapes.width), ylim=(shapes.height, 0))
        where.axis("off")
        for layer, boxes in ((1, shapes.boxes), (3, shapes.over)):
            for box in boxes:
                look: dict[str, Any] = {
                    "facecolor": box.fill,
                    "edgecolor": box.stroke,
                    "zorder": layer,
                    "linewidth": 1.2 * points,
                }
                corner = (box.x, box.y)
                if box.radius:
                    rounding = f"round,pad=0,rounding_size={box.radius}"
                    where.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=rounding, **look))
                else:
                    where.add_patch(Rectangle(corner, box.width, box.height, **look))
        for (colour, thickness), lines in shapes.lines.items():
            for line in lines:
                where.plot(
                    *zip(*line, strict=True), color=colour, linestyle="-", linewidth=thickness * points, zorder=2
                )
        for x, top, bottom in shapes.dashed:
            where.plot([x, x], [top, bottom], color=plotting.INK, linestyle="--", linewidth=1.6 * points, zorder=2.5)
        for text in shapes.words:
            where.text(
                text.x,
                text.y,
                text.string,
                fontsize=text.size * points,
                color=text.fill,
                fontweight="bold" if text.bold else "normal",
                horizontalalignment={"start": "left", "middle": "center", "end": "right"}[text.anchor],
                verticalalignment="baseline",
                parse_math=False,
                zorder=5,
            )
    return made


def _alt(tree: Tree) -> str:
    leaves = tree.leaves()
    first = " ".join(leaves[:40]) + (" …" if len(leaves) > 40 else "")
    below = " ".join(child if isinstance(child, str) else child.label for child in tree.children[:12])
    return f"Tree of {len(leaves)} tokens: {tree.label} into {below or 'nothing'}; tokens {first or 'none'}."


def _draw_box(picture: Svg, box: Box) -> None:
    look = {"fill": box.fill, "stroke": box.stroke, "stroke_width": 1.2}
    picture.rectangle(box.x, box.y, box.width, box.height, radius=box.radius, **look)
