"""Perturbed passes through batch normalisation: with the statistics of their own batch, and without leaving a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Let a network in training mode run without updating the running averages of its normalising layers.

    The averages are what predictions use later. Updated in perturbed passes too they would describe perturbed data.

    Args:
        network: any module; only layers with running statistics are touched, and put back afterwards.
    """
    normalising = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    layers = [m for m in network.modules() if isinstance(m, normalising) and m.training and m.track_running_stats]
    kept = [(layer, layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.track_running_stats = False
            if isinstance(layer, nn.modules.instancenorm._InstanceNorm):
                layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, mean, variance in kept:
            layer.track_running_stats = True
            layer.running_mean, layer.running_var = mean, variance
