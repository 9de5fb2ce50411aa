"""``python -m toolkit.experiments.metadata_conditioning_pair``: one baseline, one model with metadata, KL by length.

For the search of a family and a training in which metadata help: the options are those of the study, but only the
divergences are measured, during training too, so that a run can be judged before it ends.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.history import Series
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER, Arm, MetadataConditioningConfig
from toolkit.experiments.metadata_conditioning_evaluation import look
from toolkit.experiments.metadata_conditioning_optimum import Optimum, find_optimum
from toolkit.experiments.tables import Table
from toolkit.grammars.metrics import by_position, divergences, ratio_by_position
from toolkit.grammars.predictions import predict
from toolkit.grammars.training import train_decoder


@dataclass(frozen=True, eq=False)
class Trained:
    """What is kept of one training.

    Attributes:
        arm: which.
        seed: which.
        kl: divergence of each prediction on the held-out sentences, without metadata.
        kl_shown: likewise, with the metadata shown; ``None`` for a baseline.
        histories: over training.
        seconds: wall time.
    """

    arm: Arm
    seed: int
    kl: Float[Tensor, "sentences positions"]
    kl_shown: Float[Tensor, "sentences positions"] | None
    histories: dict[str, Series]
    seconds: float


def train_one(config: MetadataConditioningConfig, arm: Arm, seed: int) -> Trained:
    """Train one arm with one seed and measure its divergences."""
    started = time.perf_counter()
    device = str(resolve_device(config.device))
    optimum = find_optimum(arm.family_name, config.n_documents, device)
    trained = train_decoder(
        arm.family,
        config.training(arm, seed),
        device=device,
        evaluate=lambda model, done: look(model, optimum),
        evaluate_every=-(-arm.n_steps // config.n_evaluations),
    )
    kl, *shown = (
        divergences(optimum.optimal[depth], predict(trained.model, optimum.documents, depth=depth)).cpu()
        for depth in dict.fromkeys((0, arm.depth))
    )
    seconds = time.perf_counter() - started
    return Trained(arm, seed, kl, shown[0] if shown else None, dict(trained.history.metrics), seconds)


def train_pair(
    config: MetadataConditioningConfig, *, jobs: int = 2, controls: Sequence[str] = (BASELINE, FEWER)
) -> list[Trained]:
    """Train, for each seed, the deepest arm of the first family and its baselines, ``jobs`` at once."""
    import joblib

    mine = [arm for arm in config.arms if arm.family_name == config.families[0]]
    chosen = [arm for arm in mine if arm.name in controls] + [max(mine, key=lambda arm: arm.depth)]
    cells = [(arm, seed) for seed in config.seeds for arm in chosen]
    parallel = joblib.Parallel(n_jobs=jobs)
    return parallel(joblib.delayed(train_one)(config, arm, seed) for arm, seed in cells)


def report_pair(found: Sequence[Trained], optimum: Optimum) -> str:
    """Return the ratio of divergences by prompt length, each seed with its error over sentences, and the curves."""
    mask = optimum.mask.cpu()
    lengths = optimum.lengths(None)
    lines = [f"{optimum.family!r}, {len(mask)} held-out sentences"]
    for control in dict.fromkeys(one.arm.name for one in found if not one.arm.depth):
        columns, ratios = ["tokens", "reached by", "p(truth)"], []
        for one in found:
            if one.arm.depth:
                other = next(x for x in found if x.seed == one.seed and x.arm.name == control)
                columns += [f"KL {control}", f"KL {one.arm.name}", f"ratio, seed {one.seed}"]
                ratio = ratio_by_position(one.kl, other.kl, mask)
                ratios.append((by_position(other.kl, mask).mean, by_position(one.kl, mask).mean, ratio))
        rows = []
        for k in lengths:
            cells = []
            for below, above, ratio in ratios:
                error = float(ratio.standard_error[k])
                cells += [
                    f"{float(below[k]):.4f}",
                    f"{float(above[k]):.4f}",
                    f"{float(ratio.ratio[k]):.2f} ± {error:.2f}",
                ]
            share, truth = float(optimum.share_reaching[k]), float(optimum.truth.mean[k])
            rows.append((str(k), f"{share:.2f}", f"{truth:.2f}", *cells))
        caption = f"KL from the optimum without metadata, and its ratio to that of {control}"
        lines += ["", caption, Table(tuple(columns), tuple(rows), caption).to_text()]
    ends = {"short": optimum.short.cpu(), "long": optimum.long.cpu()}
    lines.append("")
    for one in found:
        cells = [f"{part} {by_position(one.kl, mask & chosen).overall:.4f}" for part, chosen in ends.items()]
        shown = "" if one.kl_shown is None else f", shown metadata {by_position(one.kl_shown, mask).overall:.4f}"
        total = by_position(one.kl, mask).overall
        lines.append(
            f"{one.arm.name}, seed {one.seed}: KL {total:.4f}, {', '.join(cells)}{shown}; {one.seconds:.0f} s; over "
            f"training, all/short/long: {_curve(one.histories)}"
        )
    return "\n".join(lines)


def _curve(histories: dict[str, Series]) -> str:
    names = ("KL", "KL, short prompts", "KL, long prompts")
    columns = [histories[name].values for name in names]
    return " ".join(
        f"{step}:{'/'.join(f'{value:.3f}' for value in values)}"
        for step, *values in zip(histories["KL"].steps, *columns, strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; see ``--help``."""
    import tyro

    @dataclass(frozen=True)
    class Jobs:
        jobs: int = 2
        """Trainings at once."""

        fewer: bool = True
        """Also train the baseline with fewer steps."""

    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", MetadataConditioningConfig, field(default=MetadataConditioningConfig("laptop", seeds=(0,)))),
            ("run", Jobs, field(default=Jobs())),
        ],
        frozen=True,
    )
    flat = (tyro.conf.OmitArgPrefixes,)
    chosen: Any = tyro.cli(options, args=None if arguments is None else list(arguments), config=flat)
    torch.set_num_threads(1)
    controls = (BASELINE, FEWER) if chosen.run.fewer else (BASELINE,)
    found = train_pair(chosen.config, jobs=chosen.run.jobs, controls=controls)
    device = str(resolve_device(chosen.config.device))
    optimum = find_optimum(chosen.config.families[0], chosen.config.n_documents, device)
    sys.stdout.write(report_pair(found, optimum) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
