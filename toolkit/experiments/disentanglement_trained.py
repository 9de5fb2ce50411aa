"""Codes and decoders of the laptop's models, ready when a lesson opens. Seed 0 of each model ships."""

from torch import nn

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.experiments.disentanglement_config import WITH_DECODER, DisentanglementConfig
from toolkit.experiments.disentanglement_models import SYNTHETIC, find_model
from toolkit.experiments.disentanglement_weights import Trained, find_trained, restore_decoder

_GRID_SHAPE = {"dsprites": (32, 32), "3dshapes": (3, 32, 32)}


class CodesUnavailable(RuntimeError):
    """A model was not trained here, and does not ship."""


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models whose seed 0 ships: the laptop's, which nobody chose by their looks."""
    return tuple(name for name in DisentanglementConfig(scale="laptop").names if name != SYNTHETIC)


def trained_codes(name: str, seed: int = 0) -> GaussianCodes:
    """Return what a trained encoder says of every image of its grid.

    Args:
        name: of a model, as of the study at laptop scale: ``"betaVAE-4"``.
        seed: of its training.

    Returns:
        The codes, rounded to half precision as they were when the study scored them; on the CPU.

    Raises:
        ValueError: an unknown model.
        CodesUnavailable: it does not ship and was not trained on this machine.
    """
    return _find(name, seed).codes


def trained_decoder(name: str, seed: int = 0) -> nn.Module:
    """Return the decoder of a trained model: from codes (images, latents) to logits of pixels (images, 32, 32).

    Args:
        name: one of :data:`toolkit.experiments.disentanglement_config.WITH_DECODER`.
        seed: of its training.

    Returns:
        The decoder in evaluation mode, without gradients, on the CPU; its weights are rounded to half precision.

    Raises:
        ValueError: an unknown model, or one whose decoder is not kept.
        CodesUnavailable: it does not ship and was not trained on this machine.
    """
    expected = f"one of {', '.join(WITH_DECODER)}, whose decoders are kept"
    require(find_model(name).name in WITH_DECODER, "trained_decoder", "name", expected, repr(name))
    trained = _find(name, seed)
    assert trained.decoder is not None
    config = DisentanglementConfig(scale="laptop")
    training = config.training(find_model(name).name)
    model = training.build(_GRID_SHAPE[config.data], 1, generator=resolve_generator(seed=0), device="cpu")
    return restore_decoder(model.decoder, trained.decoder)


def _find(name: str, seed: int) -> Trained:
    model = find_model(name).name
    found = find_trained(model, DisentanglementConfig(scale="laptop").settings_of(model, seed))
    if found is None:
        command = f"python -m toolkit run disentanglement --scale laptop --models {model} --seeds {seed}"
        raise CodesUnavailable(
            f"no codes of {model} with seed {seed}, neither shipped nor kept; they come from\n  {command}"
        )
    return found
