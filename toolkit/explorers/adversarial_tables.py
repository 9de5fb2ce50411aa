"""The paper's published tables on attacks beside what was recorded here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import require
from toolkit.experiments import Record
from toolkit.experiments.adversarial_published import PublishedTransfer, published_transfer
from toolkit.experiments.adversarial_recipe import find_member
from toolkit.experiments.adversarial_transfer import WITH, matrix
from toolkit.explorers.adversarial_records import TRANSFER, adversarial_run, data_title
from toolkit.lessons import Table, table

_PLAIN, _ROBUST = "plain", "adversarially trained"
_GROUPS = (
    ("the network itself", "itself", None, None),
    ("plain → another plain", "other", _PLAIN, _PLAIN),
    ("plain → adversarially trained", "other", _PLAIN, _ROBUST),
    ("adversarially trained → plain", "other", _ROBUST, _PLAIN),
    ("adversarially trained → another such", "other", _ROBUST, _ROBUST),
)
_TRAINED = {"plain": _PLAIN, "fgsm": _ROBUST, "ensemble": _ROBUST, "pgd": _ROBUST}


def transfer_table(epsilon: int | None = None, records: Sequence[Record] | None = None) -> Table:
    """Return the paper's Figure 5, summed up in groups of networks, beside our accuracies under MI-FGSM.

    Args:
        epsilon: of ours, in grey levels of 255; default: the largest recorded.
        records: to choose from; default: those that come with the toolkit. Without a run ours reads "not recorded".

    Raises:
        ValueError: an epsilon that is not recorded.
    """
    record = adversarial_run(TRANSFER, records)
    known = [] if record is None else list(record.config["epsilons"])
    if record is not None and epsilon is None:
        epsilon = max(known)
    require(record is None or epsilon in known, "transfer_table", "epsilon", f"one of {known}", epsilon)
    theirs = _paper_cells(published_transfer()["correct"])
    ours = [] if record is None else _our_cells(record, int(epsilon or 0))
    rows = []
    for words, who, source, target in _GROUPS:
        row: list[Any] = [words]
        for cells, there in ((theirs, True), (ours, record is not None)):
            found = [value for value, pair in cells if _belongs(pair, who, source, target)]
            row += [_spread(found), str(len(found))] if there else ["not recorded", "–"]
        rows.append(row)
    setting = "ours" if record is None else f"ours, {WITH}, {epsilon}/255 (%)"
    return table(
        ["made on → shown to", "Figure 5, targeted (%)", "pairs", setting, "pairs"],
        rows,
        caption="Accuracy on attacked images: mean, lowest to highest pair. The settings differ: theirs are targeted "
        f"attacks on ImageNet, ours aim at any wrong class of {data_title(record)}.",
    )


def _belongs(pair: tuple[bool, str, str], who: str, source: str | None, target: str | None) -> bool:
    itself, *kinds = pair
    return itself if who == "itself" else not itself and kinds == [source, target]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _paper_cells(figure: PublishedTransfer) -> list[tuple[float, tuple[bool, str, str]]]:
    def kind(name: str) -> str:
        return _ROBUST if name.startswith(("adv-", "ens")) else _PLAIN

    return [
        (count / 10, (attacked == defender, kind(attacked), kind(defender)))
        for attacked, counts in zip(figure.attacked, figure.counts, strict=True)
        for defender, count in zip(figure.defenders, counts, strict=True)
    ]


def _our_cells(record: Record, epsilon: int) -> list[tuple[float, tuple[bool, str, str]]]:
    """Return each pair's accuracy in per cent, the mean over casts; fusions and the masked network are left out."""
    found: dict[tuple[str, str], list[float]] = {}
    for result in record.results:
        (n,) = result.tables["data"]["n_images"]
        targets = set(result.tables["clean"]["target"])
        for (attack, level, source, target), errors in matrix(result.tables["errors"]).items():
            if (attack, level) == (WITH, epsilon) and source in targets:
                found.setdefault((source, target), []).append(100 * (1 - errors / n))
    cells = []
    for (source, target), values in found.items():
        kinds = [_TRAINED.get(find_member(name).kind) for name in (source, target)]
        if kinds[0] and kinds[1]:
            cells.append((float(np.mean(values)), (source == target, kinds[0], kinds[1])))
    return cells
