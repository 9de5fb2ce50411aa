"""The loss of self-augmented training, and the loop that follows it."""

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.core.devices import draw_permutation
from toolkit.core.history import History
from toolkit.core.training import train
from toolkit.imsat import hash_losses, losses
from toolkit.imsat.models import squared_weights
from toolkit.imsat.perturbations import Perturbation, Surroundings
from toolkit.imsat.statistics import running_statistics_kept


@dataclass(frozen=True)
class Terms:
    """A loss and what it is made of.

    Attributes:
        loss: what is descended.
        parts: its parts by name, in nats.
    """

    loss: Tensor
    parts: dict[str, Tensor]


@runtime_checkable
class Information(Protocol):
    """The part of the loss that wants information: its loss falls when the outputs say more about the points."""

    def __call__(self, logits: Tensor) -> Terms:
        """Return the loss of a batch and its parts."""
        ...

    def divergence(self, clean_logits: Tensor, perturbed_logits: Tensor) -> Tensor:
        """Return what a changed prediction costs, for each point."""
        ...


@dataclass
class ClusterInformation:
    """For one variable of K values: H(Y|X) − μ H(Y), or H(Y|X) + μ KL(p̄ ‖ q) for expected sizes q.

    Attributes:
        mu: μ, how much balanced clusters count beside certain ones.
        prior: q; ``None`` for equal sizes, for which both forms differ by the constant μ log K.
    """

    mu: float = 4.0
    prior: Float[Tensor, " clusters"] | None = None

    def __call__(self, logits: Float[Tensor, "batch clusters"]) -> Terms:
        """Return the loss of a batch and its entropies."""
        marginal, conditional = losses.marginal_entropy(logits), losses.conditional_entropy(logits)
        parts = {"marginal entropy": marginal, "conditional entropy": conditional}
        if self.prior is None:
            return Terms(conditional - self.mu * marginal, parts)
        excess = losses.marginal_divergence(logits, self.prior)
        return Terms(conditional + self.mu * excess, parts | {"marginal divergence": excess})

    divergence = staticmethod(losses.divergence)


@dataclass(frozen=True)
class HashInformation:
    """For D bits: −(Σ_d I(Y_d;X) − c Σ_{d<d′} I(Y_d;Y_d′)), the information they carry to second order.

    Attributes:
        pair_weight: c. 1 is the expansion; the authors' code counts each pair twice.
    """

    pair_weight: float = 2.0

    def __call__(self, logits: Float[Tensor, "batch bits"]) -> Terms:
        """Return the loss of a batch, the bits' information and what they share."""
        each = hash_losses.bit_information(logits).sum()
        shared = hash_losses.pairwise_information(logits).sum() / 2
        parts = {"information of the bits": each, "information of pairs": shared}
        return Terms(self.pair_weight * shared - each, parts)

    divergence = staticmethod(hash_losses.bernoulli_divergence)


def self_augmented_loss(
    network: nn.Module,
    inputs: Float[Tensor, "batch *features"],
    information: Information,
    perturbations: Sequence[Perturbation],
    *,
    generator: torch.Generator,
    lam: float = 0.1,
    weight_decay: float = 0.0,
    radii: Float[Tensor, " batch"] | None = None,
) -> Terms:
    """Return R_SAT + λ · information loss + weight decay of a batch.

    R_SAT is the mean divergence between the prediction of a point, as a constant, and that of the moved point; several
    perturbations add. All passes use the statistics of their own batch; only the first updates running ones. Its logits
    are the constants, so one perturbation takes two passes forward, VAT with one power iteration three.

    Source: the authors' code (github.com/weihua916/imsat), function ``loss``.

    Args:
        network: gives logits.
        inputs: the points.
        information: the other part of the loss.
        perturbations: what the prediction must survive; none is regularised information maximisation.
        generator: draws directions.
        lam: λ.
        weight_decay: times Σ‖W‖².
        radii: distances of the points to their k-th neighbours, if a perturbation needs them.

    Returns:
        The loss and its parts; gradients reach only the network's parameters, and only through ``loss``.
    """
    logits = network(inputs)
    found = information(logits)
    around = Surroundings(inputs, logits.detach(), network, information.divergence, radii)
    changed = logits.new_zeros(())
    with running_statistics_kept(network):
        for perturbation in perturbations:
            moved = perturbation(around, generator)
            changed = changed + information.divergence(around.logits, network(moved)).mean()
    loss = changed + lam * found.loss
    if weight_decay:
        loss = loss + weight_decay * squared_weights(network)
    parts = {"loss": loss, "self-augmentation": changed, **found.parts}
    return Terms(loss, {name: part.detach() for name, part in parts.items()})


@dataclass
class Training:
    """A network, what it is trained on and how; ``run`` trains it.

    Attributes:
        network: gives logits; on the device of the inputs.
        inputs: all points.
        information: which information is maximised.
        perturbations: what predictions must survive.
        generator: draws batches and directions, on the CPU.
        lam: λ, the weight of the information.
        weight_decay: times Σ‖W‖².
        radii: distances to the k-th neighbours, if needed.
        batch_size: points in a batch, drawn anew from all points at each step, as in the authors' code.
        learning_rate: of Adam.
        growing: doubles μ after each pass over the data while the clusters are too unequal.
    """

    network: nn.Module
    inputs: Tensor
    information: Information
    perturbations: Sequence[Perturbation]
    generator: torch.Generator
    lam: float = 0.1
    weight_decay: float = 0.0
    radii: Tensor | None = None
    batch_size: int = 250
    learning_rate: float = 2e-3
    growing: "GrowingPenalty | None" = None

    def __post_init__(self) -> None:
        self.batch_size = min(self.batch_size, len(self.inputs))
        self.per_epoch = len(self.inputs) // self.batch_size
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, fused=True)

    def step(self, index: int) -> Mapping[str, Tensor]:
        """Do one update; return the loss and its parts."""
        chosen = draw_permutation(len(self.inputs), generator=self.generator)[: self.batch_size]
        chosen = chosen.to(self.inputs.device)
        terms = self_augmented_loss(
            self.network,
            self.inputs[chosen],
            self.information,
            self.perturbations,
            generator=self.generator,
            lam=self.lam,
            weight_decay=self.weight_decay,
            radii=None if self.radii is None else self.radii[chosen],
        )
        self.optimizer.zero_grad()
        terms.loss.backward()
        self.optimizer.step()
        if self.growing is not None and (index + 1) % self.per_epoch == 0:
            self.growing.look(predict_logits(self.network, self.inputs))
        return terms.parts if self.growing is None else terms.parts | {"mu": torch.tensor(self.growing.mu)}

    def run(
        self,
        n_steps: int,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        config: object = None,
        evaluate: Callable[[int], Mapping[str, Any] | None] | None = None,
        evaluate_every: int | None = None,
        stop: threading.Event | None = None,
        description: str = "IMSAT",
    ) -> History:
        """Train; the arguments are those of :func:`toolkit.core.training.train`."""
        self.network.train()
        state: dict[str, Any] = {"network": self.network, "adam": self.optimizer, "generator": self.generator}
        if self.growing is not None:
            state["growing"] = self.growing

        def measure(done: int) -> Mapping[str, Any] | None:
            assert evaluate is not None
            self.network.eval()
            found = evaluate(done)
            self.network.train()
            return found

        history = train(
            self.step,
            n_steps,
            state=state,
            evaluate=None if evaluate is None else measure,
            evaluate_every=evaluate_every,
            checkpoint=checkpoint,
            config=config,
            global_rng=True,
            stop=stop,
            metric="loss",
            description=description,
        )
        self.network.eval()
        return history


@dataclass
class GrowingPenalty:
    """Doubles μ from 1 on until KL(p̄ ‖ q) on all data is at most δ · H(q).

    Attributes:
        information: whose μ grows.
        delta: δ, as a share of the entropy of q.
        most: μ stops here.
    """

    information: ClusterInformation
    delta: float = 0.01
    most: float = 1024.0

    def __post_init__(self) -> None:
        self.information.mu = 1.0

    @property
    def mu(self) -> float:
        """The present μ."""
        return self.information.mu

    def excess(self, logits: Float[Tensor, "points clusters"]) -> float:
        """Return KL(p̄ ‖ q) − δ · H(q), in nats; at most 0 if the clusters are as equal as asked for."""
        # In double precision, which not every device has: a small δ asks for more than single precision.
        logits, prior = logits.cpu().double(), self.information.prior
        q = logits.new_ones(logits.shape[1]) if prior is None else prior.to(logits)
        entropy = float(torch.special.entr(q / q.sum()).sum())
        excess = float(losses.marginal_divergence(logits, prior)) - self.delta * entropy
        # Rounding is no excess: for one cluster it is all there is, and of either sign.
        rounding = 4 * torch.finfo(logits.dtype).eps * (1 + math.log(len(logits)))
        return excess if excess > rounding else min(excess, 0.0)

    def look(self, logits: Float[Tensor, "points clusters"]) -> None:
        """Double μ if the predictions on all data break the constraint."""
        if self.excess(logits) > 0:
            self.information.mu = min(2 * self.information.mu, self.most)

    def state_dict(self) -> dict[str, float]:
        """Return μ."""
        return {"mu": self.information.mu}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over μ."""
        self.information.mu = state["mu"]


def predict_logits(
    network: nn.Module, inputs: Float[Tensor, "points *features"], chunk: int = 4096
) -> Float[Tensor, "points outputs"]:
    """Return the logits of a network in evaluation mode, without gradients; its mode stays as it was.

    Args:
        network: any module.
        inputs: the points, on the network's device.
        chunk: points at a time.

    Returns:
        Logits.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return torch.cat([network(part) for part in inputs.split(chunk)])
    finally:
        network.train(training)
