"""When does metadata help a language model, and when does it harm? Decoders beside the best predictor there is.

Documents of families of grammars, always fresh; decoders that are shown the choices of the D_M uppermost levels in a
share of them, for each D_M; two baselines that never are: one takes as many steps, one reads as many documents without
metadata. All are measured without metadata, after prompts of every length, against exact inference: losses, divergences
from the optimum, grammatical accuracy of what they write, linear probes, calibration of what they imply about the
metadata, and which part of the divergence comes from not knowing the grammar.

After "When Does Metadata Conditioning (NOT) Work for Language Model Pre-Training? A Study with Context-Free Grammars"
(Higuchi et al., arXiv 2504.17562). Decoder and objective at ``paper`` scale are the paper's; of its training and its
families only the construction is known to us.
"""

import os
import threading
import time
from collections.abc import Mapping

from toolkit.core.history import Series
from toolkit.experiments.metadata_conditioning_config import Arm, MetadataConditioningConfig
from toolkit.experiments.metadata_conditioning_evaluation import evaluate, look
from toolkit.experiments.metadata_conditioning_optimum import find_optimum
from toolkit.experiments.metadata_conditioning_report import report
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyConfig, Task
from toolkit.grammars.models import Decoder
from toolkit.grammars.processes import Processes
from toolkit.grammars.training import train_decoder

_CURVE = 60


def variants(config: MetadataConditioningConfig) -> tuple[str, ...]:
    """Return the names of the arms: family, a slash, and ``baseline``, ``fewer-steps`` or ``D_M=1``."""
    return tuple(arm.variant for arm in config.arms)


def find_arm(config: MetadataConditioningConfig, variant: str) -> Arm:
    """Return the arm of a variant."""
    return next(arm for arm in config.arms if arm.variant == variant)


def measure(task: Task) -> Measurement:
    """Train one decoder and measure it.

    Args:
        task: the configuration, the seed, and a family with an arm as variant.

    Returns:
        Metrics and tables of :func:`toolkit.experiments.metadata_conditioning_evaluation.evaluate`; as histories losses
        and, on a part of the held-out sentences, KL over the steps; as table ``trained`` what was trained on what. In
        processes of ``torchrun`` other than the first: nothing.
    """
    config: MetadataConditioningConfig = task.config
    arm = find_arm(config, task.variant)

    def looked(model: Decoder, done: int) -> Mapping[str, float]:
        device = str(model.embedding.weight.device)
        return look(model, find_optimum(arm.family_name, config.n_documents, device))

    trained = train_decoder(
        arm.family,
        config.training(arm, task.seed),
        device=config.device,
        checkpoint=task.checkpoint,
        stop=task.stop,
        evaluate=looked,
        evaluate_every=-(-arm.n_steps // config.n_evaluations),
    )
    history = trained.history
    if history.interrupted:
        return Measurement({}, interrupted=True)
    if _rank() > 0:
        return Measurement({})
    started = _clock()
    found = evaluate(trained.model, arm, config, task.seed)
    seconds, cpu_seconds = (now - then for now, then in zip(_clock(), started, strict=True))
    times = {"CPU seconds of training": history.cpu_seconds, "CPU seconds of evaluation": cpu_seconds}
    return Measurement(
        found.metrics | times,
        {name: _short(series.thin(_CURVE)) for name, series in history.metrics.items()},
        found.tables | {"trained": _about(arm, config, trained.model)},
        seconds=history.seconds + seconds,
        cpu_seconds=history.cpu_seconds + cpu_seconds,
    )


def _about(arm: Arm, config: MetadataConditioningConfig, model: Decoder) -> Mapping[str, list]:
    family = arm.family
    documents = arm.n_steps * config.batch_size
    shown = config.p_meta * (1 - config.cooldown) if arm.depth else 0.0
    return {
        "family": [repr(family)],
        "D_M": [arm.depth],
        "n_steps": [arm.n_steps],
        "documents": [documents],
        "documents without metadata": [round(documents * (1 - shown))],
        "expected length": [float(family.expected_length())],
        "parameters": [sum(parameter.numel() for parameter in model.parameters())],
    }


def _short(series: Series) -> Series:
    return Series(series.steps, tuple(float(f"{value:.5g}") for value in series.values))


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class TrainingStudy(Study):
    """A study whose trainings several processes of ``torchrun`` can share; the first of them measures and records."""

    def run(
        self,
        config: StudyConfig | None = None,
        *,
        out: str | os.PathLike[str] | None = None,
        stop: threading.Event | None = None,
    ) -> list[Record]:
        """See :meth:`Study.run`."""
        config = self.config() if config is None else config
        processes = Processes.join(config.device)
        try:
            return super().run(config, out=out if processes.rank == 0 else None, stop=stop)
        finally:
            processes.leave()


STUDY = TrainingStudy(
    name="metadata-conditioning",
    summary="When does metadata help a language model, and when does it harm? Decoders beside the best predictor",
    config=MetadataConditioningConfig,
    measure=measure,
    variants=variants,
    report=report,
)
run = STUDY.run
