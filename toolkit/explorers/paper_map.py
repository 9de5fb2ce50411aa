"""The map of the toolkit: six papers, the package that answers each, and the lessons that work through it."""

from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import reject
from toolkit.core.svg import Svg
from toolkit.lessons import View, controls, style


@dataclass(frozen=True)
class Paper:
    """A paper as the map shows it.

    Attributes:
        name: short name, as in the table of the README.
        where: place and year.
        question: what it asks.
        answer: what it says, in a sentence or two.
        package: where its method is.
        lessons: file names without the ending, in order.
    """

    name: str
    where: str
    question: str
    answer: str
    package: str
    lessons: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


PAPERS = (
    Paper(
        "Chainer",
        "KDD 2019",
        "How can a framework differentiate code it has never seen?",
        "Run the code, and let every operation leave behind just enough to go backward: the graph says how to "
        "backtrack, not how to compute.",
        "toolkit.autograd",
        ("01_define_by_run", "02_training_the_chainer_way"),
    ),
    Paper(
        "Discrete variables",
        "arXiv 2016",
        "How do you differentiate through a discrete sample, and how noisy is it?",
        "Sum exactly over the one variable whose parameters you differentiate and drive the rest with fixed noise. The "
        "variance is at most that of the likelihood-ratio method with its best input-dependent baseline.",
        "toolkit.estimators",
        ("03_gradients_through_coin_flips", "04_sigmoid_belief_networks"),
    ),
    Paper(
        "IMSAT",
        "ICML 2017",
        "Can a network find clusters and hash codes without labels?",
        "Yes: make a discrete code tell as much as it can about the data, and ask that it stays the same when the data "
        "change a little.",
        "toolkit.imsat",
        ("05_clusters_without_labels", "06_learning_to_hash"),
    ),
    Paper(
        "Attacks and defences",
        "NIPS 2017",
        "Who wins when every attack meets every defence?",
        "It depends on how you count: the defence that was best on average did badly against its worst attack.",
        "toolkit.adversarial",
        ("07_adversarial_examples", "08_attacks_against_defences"),
    ),
    Paper(
        "Partial information",
        "ICLR 2022",
        "Does a disentanglement metric notice a factor that hides in many variables at once?",
        "Metrics that compare variables in pairs can miss it. Splitting information into unique, redundant and "
        "complementary parts shows it, and the parts have bounds that can be computed.",
        "toolkit.disentanglement",
        ("09_partial_information", "10_disentanglement"),
    ),
    Paper(
        "Metadata",
        "COLM 2025",
        "When does metadata help a language model, and when does it hurt?",
        "On texts from known grammars it helps when the prompt is long enough to give its source away, and hurts when "
        "the prompt is short.",
        "toolkit.grammars",
        ("11_grammars", "12_metadata_conditioning"),
    ),
)

_WIDTH, _TOP, _FIRST, _ROW, _PITCH, _BOX = 690.0, 34.0, 42.0, 29.0, 67.0, 24.0
_PAPERS, _PACKAGES, _LESSONS = (14.0, 184.0), (246.0, 172.0), (452.0, 224.0)  # left edge and width of each column
_CHOSEN = style.VERMILION


def find_paper(name: str) -> Paper:
    """Return the paper with this short name.

    Raises:
        ValueError: there is none.
    """
    found = next((paper for paper in PAPERS if paper.name == name), None)
    return found or reject("find_paper", "name", f"one of {[paper.name for paper in PAPERS]}", name)


def draw(chosen: Paper) -> Svg:
    """Draw the map with one paper, its package and its lessons brought out."""
    picture = Svg(_WIDTH, _TOP + _FIRST + _PITCH * len(PAPERS) + 2, alt=describe(chosen))
    for (left, _), title in zip((_PAPERS, _PACKAGES, _LESSONS), ("paper", "package", "lessons"), strict=True):
        picture.text(left + 2, 22, title, bold=True, size=14)
    _draw_start(picture)
    for index, paper in enumerate(PAPERS):
        _draw_paper(picture, paper, _TOP + _FIRST + _PITCH * index, chosen=paper == chosen)
    return picture


def _draw_start(picture: Svg) -> None:
    left, width = _PAPERS[0], _PACKAGES[0] + _PACKAGES[1] - _PAPERS[0]
    middle = _TOP + _BOX / 2 + 2
    _arrow(picture, left + width, middle, _LESSONS[0], middle, chosen=False)
    words = "shared: toolkit.datasets, .lessons, .experiments, .core"
    _box(picture, left, width, top=_TOP + 2, height=_BOX, words=words, fill="#f2f2f2")
    _lesson(picture, "00_start_here", _TOP + 2, chosen=False)


def _draw_paper(picture: Svg, paper: Paper, top: float, *, chosen: bool) -> None:
    height = 2 * _ROW - (_ROW - _BOX)
    middle = top + height / 2
    centres = [top + _BOX / 2, top + _ROW + _BOX / 2]
    _arrow(picture, _PAPERS[0] + _PAPERS[1], middle, _PACKAGES[0], middle, chosen=chosen)
    for centre in centres:
        _arrow(picture, _PACKAGES[0] + _PACKAGES[1], middle, _LESSONS[0], centre, chosen=chosen)
    _box(picture, *_PAPERS, top=top + 3, height=height - 6, chosen=chosen)
    picture.text(_PAPERS[0] + 10, middle - 3, paper.name, bold=True)
    picture.text(_PAPERS[0] + 10, middle + 14, paper.where, size=12, fill=style.GREY)
    _box(picture, *_PACKAGES, top=middle - _BOX / 2, height=_BOX, words=paper.package, chosen=chosen)
    for lesson, centre in zip(paper.lessons, centres, strict=True):
        _lesson(picture, lesson, centre - _BOX / 2, chosen=chosen)


def _lesson(picture: Svg, name: str, top: float, *, chosen: bool) -> None:
    _box(picture, *_LESSONS, top=top, height=_BOX, words=name.replace("_", " "), chosen=chosen, fill="#e6eff7")


def _box(
    picture: Svg,
    left: float,
    width: float,
    *,
    top: float,
    height: float,
    words: str = "",
    chosen: bool = False,
    fill: str = "#ffffff",
) -> None:
    picture.rectangle(
        left,
        top,
        width,
        height,
        radius=4,
        fill="#fff0e5" if chosen else fill,
        stroke=_CHOSEN if chosen else style.GREY,
        stroke_width=2.5 if chosen else 1.2,
    )
    if words:
        picture.text(left + 10, top + height / 2 + 4.5, words, size=12.5)


def _arrow(picture: Svg, x1: float, y1: float, x2: float, y2: float, *, chosen: bool) -> None:
    color, middle = (_CHOSEN if chosen else "#8c8c8c"), (x1 + x2) / 2
    tip = x2 - 6
    curve = ("C", middle, y1, middle, y2, tip, y2)
    picture.path([("M", x1, y1), curve], stroke=color, stroke_width=2.5 if chosen else 1.2)
    picture.arrow_head(x2 - 1, y2, 0.0, size=9 if chosen else 7, fill=color)


def describe(chosen: Paper) -> str:
    """Say what the paper asks, what it answers, and what to open."""
    said = f"{chosen.name} ({chosen.where}) asks: {chosen.question} {chosen.answer}"
    return f"{said} Open {' and '.join(chosen.lessons)} (package {chosen.package})."


def explore_paper_map() -> View:
    """Return the map with a list to pick a paper from."""
    picker = controls.choice("paper", {paper.name: paper.name for paper in PAPERS})
    return View({"name": picker}, find_paper, draw, describe)
