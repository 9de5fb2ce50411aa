"""Training of variational autoencoders: images stay on the device, every draw comes from one generator."""

import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.func import functional_call

from toolkit.core.batches import Minibatches
from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History
from toolkit.core.training import train
from toolkit.datasets.factors import FactorGrid
from toolkit.disentanglement.losses import discriminator_loss, permute_columns
from toolkit.disentanglement.models import VAE, Discriminator, queued_to
from toolkit.disentanglement.objectives import BetaVAE, Discriminate, FactorVAE, Objective, Reconstruction

Metrics = Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class VAETraining:
    """A trained model and how it got there.

    Attributes:
        model: in evaluation mode.
        objective: what it was trained for.
        history: of the loss, its parts and the evidence lower bound, in nats an image of the batch.
        discriminator: of FactorVAE.
    """

    model: VAE
    objective: Objective
    history: History
    discriminator: Discriminator | None = None

    def __repr__(self) -> str:
        return f"VAETraining({self.objective!r}, {self.history!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the objective and the history as plain values."""
        return {"objective": describe_objective(self.objective), "history": self.history.to_dict()}


def train_vae(
    model: VAE,
    objective: Objective,
    images: Shaped[Tensor, "n *pixels"] | FactorGrid,
    *,
    render: Callable[..., Tensor] | None = None,
    n_steps: int,
    batch_size: int = 64,
    learning_rate: float = 5e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    discriminator_learning_rate: float = 1e-4,
    discriminator_betas: tuple[float, float] = (0.5, 0.9),
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    stop: threading.Event | None = None,
    on_step: Callable[[int, Metrics], object] | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> VAETraining:
    """Train a model in place with Adam.

    Every pass over the images visits each once, in a new order; the last batch of a pass holds what is left. A run
    that is stopped and goes on from its checkpoint gives bit for bit what an unbroken one gives. With a generator on
    the CPU, orders and noise are the same for every device.

    FactorVAE's discriminator learns after each step of the model: from the step's codes, and from the shuffled codes
    of a second batch (arXiv 1802.05983, algorithm 2).

    Args:
        model: of ``convolutional_vae``, ``multilayer_vae`` or your own; in evaluation mode afterwards.
        objective: ``BetaVAE(4)``, ``BetaTCVAE()``, …
        images: as the model takes them; they are kept on the device in their own type, bytes as bytes. Or a grid of
            factors, whose images ``render`` draws batch by batch.
        render: with a grid: from factor indices to images, called as ``sprites.render`` is. For its options use
            ``functools.partial(sprites.render, image_size=32)``.
        n_steps: updates of the model in all, those before a resume included.
        batch_size: images in a batch, at most all.
        learning_rate: of Adam.
        betas: of Adam.
        discriminator_learning_rate: of the discriminator's Adam.
        discriminator_betas: of the discriminator's Adam.
        generator: draws orders and noise, and first FactorVAE's discriminator; default: a new one.
        device: where to train; default: where the model is. The model is moved there.
        checkpoint: the file to write now and then, and to go on from if it exists.
        checkpoint_every: in steps; default: once a minute.
        stop: set it from another thread to stop after the running step.
        on_step: called after each step with the number of finished steps and the means of the batch.
        evaluate: called with the number of finished steps, the model in evaluation mode; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The model with its history.

    Raises:
        ValueError: images that do not fit the model, an objective that does not fit its latents, settings out of range.
        TypeError: something else than a model, an objective or images.
        CheckpointError: the checkpoint is of another training.
    """
    operation = "train_vae"
    if not isinstance(model, VAE):
        reject(operation, "model", "a VAE", type(model).__name__, kind=TypeError)
    if not isinstance(objective, Objective) or isinstance(objective, type):
        reject(operation, "objective", "an objective such as BetaVAE(4)", repr(objective), kind=TypeError)
    for name, value, least in (("n_steps", n_steps, 0), ("batch_size", batch_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int):
            reject(operation, name, "an integer", repr(value), kind=TypeError)
        require(value >= least, operation, name, f">= {least}", value)
    rates = {"learning_rate": learning_rate, "discriminator_learning_rate": discriminator_learning_rate}
    for name, rate in rates.items():
        require(0 < rate < math.inf, operation, name, "a finite number > 0", rate)
    where = resolve_device(device, like=model)
    model.to(where)
    source = _Images(operation, model, images, render, where)
    generator = resolve_generator(generator)
    batches = Minibatches(source.n, min(batch_size, source.n), generator=generator)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=betas, fused=True)
    state: dict[str, Any] = {"model": model, "adam": adam, "batches": batches, "generator": generator}
    adversary = None
    if isinstance(objective, FactorVAE):
        adversary = _Adversary(model, objective, generator, discriminator_learning_rate, discriminator_betas)
        state |= {"discriminator": adversary.discriminator, "discriminator adam": adversary.adam}

    def step(index: int) -> Metrics:
        pixels = source.pixels(queued_to(batches.next(), where))
        batch = _own_or_plain(objective, model, pixels, generator, index)
        frozen = None if adversary is None else adversary.frozen
        found = objective(batch, n_data=source.n, step=index, discriminator=frozen)
        adam.zero_grad()
        found.loss.mean().backward()
        adam.step()
        metrics = found.means()
        if adversary is not None:
            others = source.pixels(queued_to(batches.next(), where))
            metrics["discriminator loss"] = adversary.learn(batch.codes.detach(), others)
        if on_step is not None:
            on_step(index + 1, metrics)
        return metrics

    def measure(done: int) -> Metrics | None:
        assert evaluate is not None
        model.eval()
        try:
            return evaluate(done)
        finally:
            model.train()

    config = {
        "objective": describe_objective(objective),
        "n_images": source.n,
        "image_shape": model.image_shape,
        "white": model.white,
        "batch_size": batches.batch_size,
        "betas": betas,
        "discriminator_betas": discriminator_betas,
        **rates,
    }
    model.train()
    try:
        history = train(
            step,
            n_steps,
            state=state,
            evaluate=None if evaluate is None else measure,
            evaluate_every=evaluate_every,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            config=config,
            stop=stop,
            metric="ELBO",
            description=type(objective).__name__,
        )
    finally:
        model.eval()
        adam.zero_grad()
    return VAETraining(model, objective, history, None if adversary is None else adversary.discriminator)


@dataclass(frozen=True)
class EvidenceBound:
    """The evidence lower bound of a model on a whole data set, in nats an image.

    Attributes:
        reconstruction: mean of −log p(x | z), z drawn from q(z | x).
        kl: mean of KL(q(z | x) ‖ p(z)).
        n_images: how many there are.
    """

    reconstruction: float
    kl: float
    n_images: int

    @property
    def elbo(self) -> float:
        """The bound, −reconstruction − kl."""
        return -self.reconstruction - self.kl

    def to_dict(self) -> dict[str, float]:
        """Return the fields and the bound."""
        return {**asdict(self), "elbo": self.elbo}


@torch.no_grad()
def evidence_bound(
    model: VAE,
    images: Shaped[Tensor, "n *pixels"] | FactorGrid,
    *,
    render: Callable[..., Tensor] | None = None,
    batch_size: int = 1024,
    generator: torch.Generator | None = None,
) -> EvidenceBound:
    """Return the evidence lower bound on all images, with one code each; categories are drawn strictly.

    Args:
        model: where it is; in evaluation mode meanwhile.
        images: as :func:`train_vae` takes them.
        render: with a grid, as there.
        batch_size: images at once.
        generator: draws the codes.

    Raises:
        ValueError: images that do not fit the model.
    """
    operation = "evidence_bound"
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    where = resolve_device(like=model)
    source, generator = _Images(operation, model, images, render, where), resolve_generator(generator)
    sums = torch.zeros(2, dtype=torch.float64, device=where)
    training = model.training
    model.eval()
    try:
        for chosen in torch.arange(source.n, device=where).split(batch_size):
            batch = reconstruct(model, source.pixels(chosen), generator=generator, temperature=0)
            found = BetaVAE(1.0)(batch)
            sums += torch.stack([found.reconstruction.double().sum(), found.kl.double().sum()])
    finally:
        model.train(training)
    reconstruction, kl = (sums / source.n).tolist()
    return EvidenceBound(reconstruction, kl, source.n)


def reconstruct(
    model: VAE,
    pixels: Float[Tensor, "images *pixels"],
    *,
    generator: torch.Generator | None = None,
    temperature: float = 0.67,
) -> Reconstruction:
    """Encode a batch, draw a code for each image and decode it.

    Args:
        model: the model.
        pixels: what ``model.pixels(images)`` gave.
        generator: draws the noise.
        temperature: of relaxed categories; 0 draws one-hot ones, without a gradient.
    """
    posterior = model.posterior_of_pixels(pixels)
    codes = model.reparameterize(posterior, generator=generator, temperature=temperature)
    return Reconstruction(pixels, posterior, codes, model.decode(codes))


def _own_or_plain(
    objective: Objective, model: VAE, pixels: Tensor, generator: torch.Generator, step: int
) -> Reconstruction:
    """Let objectives that draw codes in their own way, such as CascadeVAE, do so."""
    if hasattr(objective, "reconstruct"):
        return objective.reconstruct(model, pixels, generator=generator, step=step)
    expected = "'encoder' with this objective"
    require(model.inference == "encoder", "train_vae", "model", f"inference={expected}", repr(model.inference))
    temperature = getattr(objective, "temperature", 0.67)
    return reconstruct(model, pixels, generator=generator, temperature=temperature)


def describe_objective(objective: Objective) -> dict[str, Any]:
    """Return the name and the coefficients of an objective as plain values."""
    fields = asdict(objective) if hasattr(objective, "__dataclass_fields__") else {}  # type: ignore[call-overload]
    return {"name": type(objective).__name__, **fields}


class _Images:
    """All images: a tensor on the device, or a grid whose images are drawn when asked for."""

    def __init__(
        self, operation: str, model: VAE, images: object, render: Callable[..., Tensor] | None, device: torch.device
    ) -> None:
        self.model = model
        if isinstance(images, FactorGrid):
            if render is None:
                reject(operation, "render", "a function that draws the images of a grid", None, kind=TypeError)
            self.n, grid = len(images), images
            first = render(grid.unravel(torch.zeros(1, dtype=torch.int64, device=device)), grid=grid)
            model.checked_images(operation, first)
            self.draw: Callable[[Tensor], Tensor] = lambda chosen: render(grid.unravel(chosen), grid=grid)
            return
        require(render is None, operation, "render", "None with images", render)
        if not isinstance(images, Tensor):
            reject(operation, "images", "a tensor or a FactorGrid", type(images).__name__, kind=TypeError)
        checked = model.checked_images(operation, images)
        require(len(checked) >= 1, operation, "images", "at least one image", list(images.shape))
        self.n, stored = len(checked), checked.to(device)
        self.draw = lambda chosen: stored[chosen]

    def pixels(self, chosen: Int64[Tensor, " batch"]) -> Float[Tensor, "batch *pixels"]:
        """Return images as the model's encoder takes them."""
        drawn = self.draw(chosen)
        return self.model.unchecked_pixels(drawn.reshape(len(drawn), *self.model.image_shape))


class _Adversary:
    """FactorVAE's discriminator and its optimiser."""

    def __init__(
        self,
        model: VAE,
        objective: FactorVAE,
        generator: torch.Generator,
        learning_rate: float,
        betas: tuple[float, float],
    ) -> None:
        weight = model.head.weight
        self.model, self.generator = model, generator
        self.discriminator = Discriminator(
            model.n_columns,
            width=objective.width,
            depth=objective.depth,
            generator=generator,
            dtype=weight.dtype,
            device=weight.device,
        )
        self.adam = torch.optim.Adam(self.discriminator.parameters(), lr=learning_rate, betas=betas, fused=True)

    @property
    def frozen(self) -> Discriminate:
        """The discriminator as a function that gives its own weights no gradients, which cost as much as the rest."""
        weights = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        return lambda codes: functional_call(self.discriminator, weights, (codes,))

    def learn(self, codes: Tensor, others: Tensor) -> Tensor:
        """Do one update from codes of q(z) and the images whose codes are shuffled; return the loss."""
        with torch.no_grad():
            drawn = self.model.reparameterize(self.model.posterior_of_pixels(others), generator=self.generator)
            permuted = permute_columns(drawn, generator=self.generator)
        both = self.discriminator(torch.cat([codes, permuted]))
        loss = discriminator_loss(both[: len(codes)], both[len(codes) :])
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.detach()
