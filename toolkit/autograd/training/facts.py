"""How far a training run has come and what it is made of: what an extension may ask the trainer."""

from typing import Any

from toolkit.autograd.training.updaters import Progress


class RunFacts:
    """The facts that the updater knows, as attributes of the trainer."""

    updater: Any

    @property
    def iteration(self) -> int:
        """Finished iterations, those of earlier sessions included."""
        return self.updater.iteration

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self.updater.epoch

    @property
    def epoch_detail(self) -> float:
        """Epochs done, with the fraction of the running one."""
        return self.updater.epoch_detail

    @property
    def previous_epoch_detail(self) -> float:
        """:attr:`epoch_detail` before the latest iteration."""
        return self.updater.previous_epoch_detail

    @property
    def is_new_epoch(self) -> bool:
        """Whether the latest iteration finished an epoch."""
        return self.updater.is_new_epoch

    @property
    def progress(self) -> Progress:
        """Items seen and items an epoch: :attr:`epoch_detail` in whole numbers."""
        return self.updater.progress

    @property
    def previous_progress(self) -> Progress:
        """:attr:`progress` before the latest iteration."""
        return self.updater.previous_progress

    @property
    def models(self) -> dict[str, Any]:
        """The models by name."""
        return self.updater.models

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by name."""
        return self.updater.optimizers

    @property
    def iterators(self) -> dict[str, Any]:
        """The iterators by name."""
        return self.updater.iterators
