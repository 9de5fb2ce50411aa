"""A reader's own attack or defence among the toolkit's: a few lines in, a leaderboard out.

An attack is a function of images and epsilon, a defence a function of images; a further argument gets a network. The
games are real ones, by the rules of :mod:`toolkit.adversarial.competition`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from toolkit.adversarial.competition import Tournament
from toolkit.adversarial.competition.submissions import Track
from toolkit.core.errors import reject, require
from toolkit.experiments.adversarial_entries import PUBLIC
from toolkit.experiments.adversarial_recipe import CLASSIFIERS
from toolkit.explorers.clothes import network as find_network
from toolkit.explorers.in_double import InDouble
from toolkit.explorers.small_tournament import small_tournament
from toolkit.lessons.tables import Table, table

TIME_LIMIT = 10.0
"""Seconds for a batch, with ``isolate``."""

_HEADERS = ("rank", "name", "score", "worst case", "against")


def enter_attack(
    function: Callable[..., Any],
    name: str = "mine",
    *,
    network: str = "lenet",
    isolate: bool = False,
) -> Table:
    """Rank an attack among the toolkit's, on 100 test images.

    Args:
        function: ``f(images, epsilon)`` or ``f(images, epsilon, model)``, with images in [0, 1], ``[batch, 1, 28, 28]``
            and epsilon in the same unit; returns as many images. An argument ``generator`` gets a seeded one.
        name: the row's.
        network: whose gradient it may take as ``model``; only public ones.
        isolate: run it in a process of its own with a time limit, which takes seconds to start; without, a function
            that never ends must be interrupted.

    Returns:
        Rank, score, and the worst case: the share of images it fooled the hardest defence with. If something went wrong
        the caption says what.

    Raises:
        ValueError: a name that is taken, a network that is not public, arguments that nobody fills.
        TypeError: no function.
    """
    require(network in PUBLIC, "enter_attack", "network", f"one of {', '.join(PUBLIC)}", repr(network))
    given = small_tournament()
    _check_name("enter_attack", name, [entry.name for entry in given.attacks])
    entry = _with_network("enter_attack", function, 2, network)
    given.isolate, given.time_limit = isolate, TIME_LIMIT if isolate else None
    return _ranked(given.enter_attack(name, entry), "non-targeted", name)


def enter_defence(
    function: Callable[..., Any],
    name: str = "mine",
    *,
    network: str = "lenet",
    isolate: bool = False,
) -> Table:
    """Rank a defence among the toolkit's, against the images that its attacks made of 100 test images.

    Args:
        function: ``f(images)`` or ``f(images, model)``, with images in [0, 1], ``[batch, 1, 28, 28]``; returns labels,
            ``[batch]``. Or a ``torch.nn.Module`` that returns logits. An argument ``generator`` gets a seeded one.
        name: the row's.
        network: what it gets as ``model``, any classifier of the cast.
        isolate: as for :func:`enter_attack`.

    Returns:
        Rank, score, and the worst case: the share of images it labelled rightly under the worst attack.

    Raises:
        ValueError: a name that is taken, an unknown network, arguments that nobody fills.
        TypeError: no function.
    """
    known = ", ".join(CLASSIFIERS)
    require(network in CLASSIFIERS, "enter_defence", "network", f"one of {known}", repr(network))
    given = small_tournament()
    _check_name("enter_defence", name, [entry.name for entry in given.defences])
    module = isinstance(function, nn.Module)
    entry = function if module else _with_network("enter_defence", function, 1, network)
    given.isolate, given.time_limit = isolate, TIME_LIMIT if isolate else None
    return _ranked(given.enter_defence(name, entry), "defence", name)


def _check_name(operation: str, name: str, taken: list[str]) -> None:
    fine = isinstance(name, str) and bool(name.strip()) and name not in taken
    require(fine, operation, "name", f"a name that is not taken: {', '.join(taken)}", repr(name))


def _with_network(operation: str, function: Callable[..., Any], n_given: int, network: str) -> Callable[..., Any]:
    """Fill the argument after those that the rules fill with a network, if there is one."""
    if not callable(function):
        reject(operation, "function", "a function", type(function).__name__, kind=TypeError)
    try:
        parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "generator"]
    except (TypeError, ValueError):  # a function that does not say what it takes
        return function
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    must = [one for one in parameters if one.default is one.empty and one.kind not in rest]
    free = any(one.kind == one.VAR_POSITIONAL for one in parameters)
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    extra = [one for one in must if one not in positional[:n_given]]
    asked = next((one for one in parameters if one.name == "model"), None) or (extra[0] if extra else None)
    wanted = "images and epsilon" if n_given == 2 else "images"
    fits = (len(positional) >= n_given or free) and all(one is asked for one in extra)
    fits = fits and (asked is None or (asked not in positional[:n_given] and asked.kind is not asked.POSITIONAL_ONLY))
    said = f"({', '.join(one.name for one in parameters)})"
    require(fits, operation, "function", f"a function of {wanted}, and perhaps model and generator", said)
    if asked is None:
        return function
    return functools.partial(function, **{asked.name: InDouble(find_network(network))})


def _ranked(tournament: Tournament, track: Track, name: str) -> Table:
    rows = tournament.leaderboard(track).rows
    mine = next(place for place, row in enumerate(rows) if row.name == name)
    written = [
        (row.rank, row.name, f"{row.score:.3f}", "–" if row.worst is None else f"{row.worst:.3f}", row.worst_opponent)
        for row in rows
    ]
    return table(_HEADERS, written, caption=_verdict(tournament, track, name), strong=[mine])


def _verdict(tournament: Tournament, track: Track, name: str) -> str:
    """Say in a sentence what became of an entry: the harness's word if something went wrong, else its place."""
    row = next(one for one in tournament.leaderboard(track).rows if one.name == name)
    n = tournament.n_images
    wrong = [remark for remark in tournament.remarks if remark.submission == name and remark.verdict != "resized"]
    if wrong:
        first = wrong[0]
        if track == "defence":
            at = tournament.defences.index(name)
            got, asked = int(tournament.labelled[at].sum()), int(tournament.produced.sum())
            done, cost = f"{got:,} of {asked:,} labels count", "attacks are not scored over it"
        else:
            done = f"{int(tournament.produced[tournament.attacks.index(name)])} of {n} images count"
            cost = "defences are not scored over it"
        return f"{name}: {done}, so {cost}. The harness says: {first.verdict}, {first.reason}"
    if row.worst is None:
        return f"{name}: rank {row.rank} of {len(tournament.names(track))}, no opponents"
    worst, percent = row.worst_opponent, f"{100 * row.worst:.0f} %"
    ending = f"under {worst}, {percent} right" if track == "defence" else f"against {worst}, {percent} fooled"
    return (
        f"{name}: rank {row.rank} of {len(tournament.names(track))}, score {row.score:.3f}; in the worst case, {ending}"
    )
