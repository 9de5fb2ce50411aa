"""What is measured of a trained decoder: against the best predictor, by prompt length, by level, by layer."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.experiments.metadata_conditioning_config import Arm, MetadataConditioningConfig
from toolkit.experiments.metadata_conditioning_optimum import Optimum, find_optimum, held_out, infer_some, targets_of
from toolkit.grammars.accuracy import grammatical_accuracy
from toolkit.grammars.calibration import calibrate
from toolkit.grammars.decomposition import decompose
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.metrics import ByPosition, by_position, divergences, reached, token_losses
from toolkit.grammars.models import Decoder
from toolkit.grammars.posteriors import (
    group_log_prior,
    group_next_tokens,
    group_posterior,
    implied_log_posterior,
    n_groups,
)
from toolkit.grammars.predictions import hidden_states, predict, predict_all, writer
from toolkit.grammars.probes import probe

Table = dict[str, list]
_LOOKED_AT = 128
_SEQUENCES = 16_384  # sentences times values of the metadata behind calibration and decomposition
_DIGITS = 5


@dataclass(frozen=True)
class Evaluation:
    """Numbers and tables of one trained decoder."""

    metrics: dict[str, float]
    tables: dict[str, Table]


def look(model: Decoder, optimum: Optimum) -> dict[str, float]:
    """Return the divergence of a model during training, from the first of the held-out sentences."""
    rows = optimum.documents.padded()[:_LOOKED_AT]
    log_probs = predict(model, rows)
    found = divergences(optimum.optimal[0, : len(rows), : log_probs.shape[1]], log_probs)
    return _ends("KL", found, optimum, len(rows))


def evaluate(model: Decoder, arm: Arm, config: MetadataConditioningConfig, seed: int) -> Evaluation:
    """Measure a trained decoder.

    Args:
        model: in evaluation mode.
        arm: how it was trained.
        config: how thoroughly to measure.
        seed: of the draws from the model.

    Returns:
        As metrics losses, divergences from the optimum with and without metadata, over all positions, short prompts and
        long ones (see :class:`Optimum`), and accuracies. As tables ``positions``, ``optimum``, ``prompts``, ``probes``
        and, for a model that has seen metadata, ``beliefs``, ``reliability`` and ``decomposition``. In ``prompts``,
        "attainable at best" is a lower bound of it where "attainable, exact" is false.
    """
    device = resolve_device(like=model)
    optimum = find_optimum(arm.family_name, config.n_documents, str(device))
    metrics, tables = _predictions(model, arm, optimum)
    lengths = optimum.lengths(config.prompt_lengths)
    written, prompts = _prompts(model, arm, config, optimum, lengths, seed)
    tables |= {"optimum": _optimum_table(optimum), "prompts": prompts}
    probed, tables["probes"] = _probes(model, optimum.family, config, lengths)
    if arm.depth:
        found, more = _beliefs(model, arm, config, optimum)
        metrics, tables = metrics | found, tables | more
    return Evaluation(metrics | written | probed, tables)


def _predictions(model: Decoder, arm: Arm, optimum: Optimum) -> tuple[dict[str, float], dict[str, Table]]:
    documents, mask = optimum.documents, optimum.mask
    metrics: dict[str, float] = {}
    table: Table = {"position": list(range(mask.shape[1])), "n": mask.sum(0).tolist()}
    for words, depth in {"": 0, " with metadata": arm.depth}.items():
        if words and not depth:
            continue
        log_probs = predict(model, documents, depth=depth)
        losses, distance = token_losses(log_probs, documents), divergences(optimum.optimal[depth], log_probs)
        best = by_position(token_losses(optimum.optimal[depth].log(), documents), mask)
        loss, kl = by_position(losses, mask), by_position(distance, mask)
        metrics |= {f"loss{words or ' without metadata'}": loss.overall, f"optimal loss{words}": best.overall}
        metrics |= _ends(f"KL{words}", distance, optimum)
        table |= _columns(f"loss{words}", loss) | _columns(f"KL{words}", kl)
    return metrics, {"positions": table}


def _ends(name: str, values: Tensor, optimum: Optimum, n: int | None = None) -> dict[str, float]:
    """Return the mean over all predictions, over those after short prompts, and over those after long ones."""
    width = values.shape[1]  # of a part of the sentences it may be less
    mask = optimum.mask[:n, :width]
    chosen = {"": torch.ones_like(optimum.short), ", short prompts": optimum.short, ", long prompts": optimum.long}
    return {name + words: by_position(values, mask & positions[:width]).overall for words, positions in chosen.items()}


def _optimum_table(optimum: Optimum) -> Table:
    table: Table = {"position": list(range(len(optimum.truth))), "n": optimum.truth.n.tolist()}
    table |= {"share reaching": _rounded(optimum.share_reaching), "revealed": _rounded(optimum.revealed)}
    table |= {"short": optimum.short.tolist(), "long": optimum.long.tolist()}
    table |= {"posterior of the truth": _rounded(optimum.truth.mean), "entropy": _rounded(optimum.entropy.mean)}
    for known in range(optimum.family.depth + 1):
        losses = token_losses(optimum.optimal[known].log(), optimum.documents)
        table[f"loss, {known} known"] = _rounded(by_position(losses, optimum.mask).mean)
    for level, best in enumerate(optimum.best_accuracy):
        table[f"best accuracy, level {level}"] = _rounded(best.mean)
    return table


def _prompts(
    model: Decoder,
    arm: Arm,
    config: MetadataConditioningConfig,
    optimum: Optimum,
    lengths: tuple[int, ...],
    seed: int,
) -> tuple[dict[str, float], Table]:
    """Let the model continue prompts; the same prompts for every arm and seed."""
    device = resolve_device(like=model)
    fresh = held_out(optimum.family, 12 * config.n_written, "prompts", device)
    table: Table = {}
    metrics: dict[str, float] = {}
    for words, depth in {"": 0, " with metadata": arm.depth}.items():
        if words and not depth:
            continue
        write = writer(model, depth=depth, generator=resolve_generator(seed=seed))
        found = grammatical_accuracy(write, optimum.family, fresh, lengths, most=config.n_written).to_dict()
        kept = found if not words else {name: found[name] for name in ("acc_any", "acc_true", "unfinished")}
        table |= {name.replace("_lengths", " length") + words: _plain(values) for name, values in kept.items()}
        for score in ("acc_any", "acc_true"):
            for part, positions in (("short", optimum.short), ("long", optimum.long)):
                chosen = [value for k, value in zip(lengths, found[score], strict=True) if bool(positions[k])]
                if chosen:
                    metrics[f"{score}{words}, {part} prompts"] = sum(chosen) / len(chosen)
    bound = optimum.attainable(lengths)
    table |= {"attainable by a sampler": _plain(bound.sampler), "attainable at best": _plain(bound.best)}
    table["attainable, exact"] = [bound.exact] * len(lengths)
    return metrics, table


def _probes(
    model: Decoder, family: GrammarFamily, config: MetadataConditioningConfig, lengths: tuple[int, ...]
) -> tuple[dict[str, float], Table]:
    device = resolve_device(like=model)
    documents = held_out(family, config.n_probed, "probes", device)
    longest = int(documents.lengths.max())
    positions = torch.tensor([length for length in lengths if length <= longest], dtype=torch.int64, device=device)
    states = hidden_states(model, documents, positions=positions)
    mask = reached(documents)[:, positions]
    found = probe(states, targets_of(documents), mask, family.n_choices)
    levels, layers, n = found.accuracy.shape
    grid = torch.cartesian_prod(torch.arange(levels), torch.arange(layers), torch.arange(n))
    table: Table = {
        "level": grid[:, 0].tolist(),
        "layer": grid[:, 1].tolist(),
        "position": positions.cpu()[grid[:, 2]].tolist(),
        "accuracy": _rounded(found.accuracy.flatten()),
        "standard error": _rounded(found.standard_error.flatten()),
        "n tested": found.n_tested.cpu()[grid[:, 2]].tolist(),
    }
    last = found.accuracy[:, -1].nanmean(1) if n else ()
    metrics = {f"probe of level {level}, last layer": float(value) for level, value in enumerate(last)}
    return metrics, table


def _beliefs(
    model: Decoder, arm: Arm, config: MetadataConditioningConfig, optimum: Optimum
) -> tuple[dict[str, float], dict[str, Table]]:
    """Return calibration of the implied posterior, and the two parts of the divergence."""
    family, depth = optimum.family, arm.depth
    documents, exact = infer_some(optimum, min(config.n_beliefs, max(1, _SEQUENCES // n_groups(family, depth))))
    posterior = exact.posterior()
    within = group_next_tokens(posterior, exact.next_token_given, family, depth)
    beliefs = group_posterior(posterior, family, depth)
    log_probs = predict_all(model, family, documents, depth)
    implied = implied_log_posterior(log_probs, documents, group_log_prior(family, depth))
    truth = family.metadata_index(targets_of(documents)) // (family.n_grammars // n_groups(family, depth))
    calibration = calibrate(beliefs, implied, truth, documents)
    parts = decompose(beliefs, within, implied, log_probs, documents, direct=predict(model, documents))
    assert parts.direct is not None
    by_name = {"which grammar": parts.which_grammar, "what next": parts.what_next, "mixture": parts.mixture}
    by_name["direct"] = parts.direct
    metrics = {f"KL, {name}": part.overall for name, part in by_name.items()}
    metrics["calibration error"] = calibration.error
    place = {"position": list(range(len(parts.mixture))), "n": parts.mixture.n.tolist()}
    tables: dict[str, Table] = {
        "decomposition": place | {k: v for name, part in by_name.items() for k, v in _columns(name, part).items()},
        "beliefs": place
        | {"implied, of the truth": _rounded(calibration.truth.mean), "exact": _rounded(calibration.exact_truth.mean)},
        "reliability": {
            "from": calibration.bins[:-1].tolist(),
            "n": calibration.n.tolist(),
            "implied": _rounded(calibration.predicted),
            "exact": _rounded(calibration.exact),
            "observed": _rounded(calibration.observed),
        },
    }
    return metrics, tables


def _columns(name: str, found: ByPosition) -> Table:
    return {name: _rounded(found.mean), f"{name}, error": _rounded(found.standard_error, 2)}


def _rounded(values: Float[Tensor, " n"], digits: int = _DIGITS) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values.tolist()]


def _plain(values: Any) -> list:
    return [float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for value in values]
