"""An evaluation cut into shards whose result is that of the whole data set."""

from typing import Any

from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.training.summaries import DictSummary


def create_multi_node_evaluator(evaluator: Any, communicator: Communicator) -> Any:
    """Let an Evaluator on every rank's shard report the means over all shards, on every rank.

    Sums are added and counts are added, and divided once: the result is that of one process on the whole data set,
    whether or not the shards are equal; one may be empty. (An average of the ranks' averages, as ChainerMN has it,
    would not be.) Cut the data with ``scatter_dataset(..., force_equal_length=False)``, so that no sample counts
    twice.

    Args:
        evaluator: a :class:`toolkit.autograd.training.extensions.Evaluator` on this rank's shard; it is changed.
            All ranks must call it equally often.
        communicator: of the ranks.

    Returns:
        The evaluator.
    """
    local = evaluator.summarize

    def summarize(trainer: Any = None) -> DictSummary:
        return merged_summary(local(trainer), communicator)

    evaluator.summarize = summarize
    return evaluator


def merged_summary(summary: DictSummary, communicator: Communicator) -> DictSummary:
    """Return one summary of what every rank has put into its own, the same on all ranks.

    Weights and weighted sums are added, in the order of the ranks, means and squares merged. A name may be missing
    on some ranks.

    Source: Chan, Golub and LeVeque 1979, equation 2.1 (the merging of variances).
    """
    merged: dict[str, dict[str, Any]] = {}
    for state in communicator.allgather_obj(summary.state_dict()):
        for entry in state.values():
            known = merged.get(entry["name"])
            merged[entry["name"]] = entry if known is None else _merged(known, entry)
    result = DictSummary()
    result.load_state_dict({str(position): entry for position, entry in enumerate(merged.values())})
    return result


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    weight = first["weight"] + second["weight"]
    if not first["weight"] or not second["weight"]:
        return second if not first["weight"] else first
    step = second["mean"] - first["mean"]
    return {
        "name": first["name"],
        "weight": weight,
        "total": first["total"] + second["total"],
        "mean": first["mean"] + step * (second["weight"] / weight),
        "squares": first["squares"] + second["squares"] + step * step * (first["weight"] * second["weight"] / weight),
    }
