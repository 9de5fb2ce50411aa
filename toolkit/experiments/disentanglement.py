"""Which parts of information do codes have that scores call equally disentangled, and which scores notice an attack?

Variational autoencoders of several objectives and coefficients learn a complete grid of small images. The codes of all
images are scored by every metric; their information about each factor is split into unique, redundant and
complementary parts, with the bounds of "Disentanglement Analysis with Partial Information Decomposition" (Tokui & Sato,
ICLR 2022) and with I_min between them; and scored again while the paper's attack makes them more and more redundant.
Codes that nobody trained, whose true scores are known, take part under the name "synthetic".

At ``paper`` scale models, images and training are those of the authors' code; how many seeds they trained is not known.
"""

import hashlib
import time
from collections.abc import Mapping
from functools import partial

import torch

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.history import Series
from toolkit.disentanglement.bounds import profile
from toolkit.disentanglement.codes import GaussianCodes, encode
from toolkit.disentanglement.information import informations
from toolkit.disentanglement.models import VAE
from toolkit.disentanglement.objectives import BetaVAE
from toolkit.disentanglement.training import reconstruct, train_vae
from toolkit.experiments.disentanglement_config import WITH_DECODER, DisentanglementConfig
from toolkit.experiments.disentanglement_data import Images
from toolkit.experiments.disentanglement_models import SYNTHETIC, Training, find_model
from toolkit.experiments.disentanglement_report import report
from toolkit.experiments.disentanglement_scores import attack_rows, score_codes
from toolkit.experiments.disentanglement_synthetic import measure_synthetic
from toolkit.experiments.disentanglement_weights import Trained, keep_trained, round_codes
from toolkit.experiments.study import Measurement, Study, Task

_CURVE = 60
_LOOK = 500  # draws behind what is looked at during training
_BATCH = 2048


def variants(config: DisentanglementConfig) -> tuple[str, ...]:
    """Return the names of the models."""
    return config.names


def stream(seed: int, name: str) -> torch.Generator:
    """Return a generator for one purpose: other names and seeds give unrelated numbers, the same ones the same."""
    digest = hashlib.sha256(f"disentanglement/{seed}/{name}".encode()).digest()
    return resolve_generator(seed=int.from_bytes(digest[:8], "big") >> 1)


def measure(task: Task) -> Measurement:
    """Train one model with one seed and score its codes, or score the synthetic ones with one seed of the evaluation.

    Args:
        task: the configuration, the seed, and a model's name as variant.

    Returns:
        Of a model: all scores by the names of :data:`toolkit.disentanglement.metrics.registry.METRICS`; reconstruction,
        KL and ELBO over the whole grid, in nats an image. As histories the parts of the loss, UniBound and MIG over the
        steps. As tables ``profile`` (the parts of each factor and their mean, with bootstrap intervals and I_min),
        ``informations`` of each latent, ``attacks`` (scores under each strength) and ``trained`` (how it was trained).
    """
    config: DisentanglementConfig = task.config
    device = resolve_device(config.device)
    generators = partial(stream, task.seed)
    if task.variant == SYNTHETIC:
        return measure_synthetic(config.synthetic_sizes, config.effort, generators, device=device, stop=task.stop)
    images, training = config.load(device), config.training(task.variant)
    model = training.build(images.image_shape, images.white, generator=generators("weights"), device=device)

    def look(done: int) -> dict[str, float]:
        found = profile(informations(_encode(model, images), n_samples=_LOOK, generator=generators("look")))
        return {"UniBound": found.unibound, "MIG": found.mig}

    history = train_vae(
        model,
        training.objective(),
        images.images,
        **training.options(),
        generator=generators("training"),
        device=device,
        checkpoint=task.checkpoint,
        stop=task.stop,
        evaluate=look,
        evaluate_every=-(-training.n_steps // config.n_evaluations),
    ).history
    if history.interrupted:
        return Measurement({}, interrupted=True)
    started, cpu_started = time.perf_counter(), time.process_time()
    codes = _encode(model, images)
    if config.settings == "small":
        codes = round_codes(codes)
        decoder = dict(model.decoder.state_dict()) if task.variant in WITH_DECODER else None
        keep_trained(task.variant, Trained(codes, decoder, config.settings_of(task.variant, task.seed)))
    scored = score_codes(codes, config.effort, generators)
    attacks = attack_rows(codes, config.effort, generators, stop=task.stop)
    ends = _ends(model, images, generators("ends"))
    spent, cpu_spent = time.perf_counter() - started, time.process_time() - cpu_started
    times = {"CPU seconds of training": history.cpu_seconds, "CPU seconds of evaluation": cpu_spent}
    return Measurement(
        scored.metrics | ends | times,
        {name: _short(series.thin(_CURVE)) for name, series in history.metrics.items()},
        scored.tables | {"attacks": attacks, "trained": _about(training, images)},
        seconds=history.seconds + spent,
        cpu_seconds=history.cpu_seconds + cpu_spent,
    )


def _encode(model: VAE, images: Images) -> GaussianCodes:
    device = images.images.device
    return encode(model, images.grid, images.render, batch_size=_BATCH, device=device, **images.options)


@torch.no_grad()
def _ends(model: VAE, images: Images, generator: torch.Generator) -> dict[str, float]:
    """Return what the evidence lower bound is made of, over all images with one code each."""
    total: dict[str, float] = {}
    for part in images.images.split(_BATCH):
        batch = reconstruct(model, model.pixels(part), generator=generator, temperature=0.0)
        found = BetaVAE(1.0)(batch)
        for name, values in (("reconstruction", found.reconstruction), ("KL", found.kl)):
            total[name] = total.get(name, 0.0) + float(values.double().sum()) / len(images.images)
    return total | {"ELBO": -total["reconstruction"] - total["KL"]}


def _short(series: Series) -> Series:
    return Series(series.steps, tuple(float(f"{value:.5g}") for value in series.values))


def _about(training: Training, images: Images) -> Mapping[str, list]:
    fields = ("model", "architecture", "n_steps", "batch_size", "learning_rate", "source")
    about = {name: [getattr(training, name)] for name in fields}
    return about | {"title": [find_model(training.model).title], "images": [images.description]}


STUDY = Study(
    name="disentanglement",
    summary="What do codes know once, twice, or only together? Autoencoders and attacked codes, by every metric",
    config=DisentanglementConfig,
    measure=measure,
    variants=variants,
    report=report,
)
run = STUDY.run
