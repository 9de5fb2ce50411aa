"""An optimizer that averages gradients over all processes before each update."""

from collections.abc import Callable, Mapping
from typing import Any

from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.gradients import Mean, start_mean
from toolkit.autograd.distributed.models import layout_of, parameters_of
from toolkit.autograd.places import place_of
from toolkit.autograd.states import LoadReport, flatten_state, nest_state
from toolkit.core.errors import argument_error

_OWN = frozenset({"actual_optimizer", "communicator", "double_buffering", "zero_fill", "_known", "_pending"})


class MultiNodeOptimizer:
    """An optimizer and a communicator, used like the optimizer; see :func:`create_multi_node_optimizer`.

    Attributes that are not its own are the optimizer's: ``lr``, ``t``, ``target``, ``add_hook``, …

    Attributes:
        actual_optimizer: the optimizer inside.
        communicator: of the ranks.
        double_buffering: update with the gradients of the step before.
        zero_fill: count missing gradients as zeros.
    """

    actual_optimizer: Any
    communicator: Communicator
    double_buffering: bool
    zero_fill: bool
    _known: int | None
    _pending: Mean | None

    def __init__(
        self, optimizer: Any, communicator: Communicator, *, double_buffering: bool = False, zero_fill: bool = False
    ) -> None:
        self.actual_optimizer = optimizer
        self.communicator = communicator
        self.double_buffering = double_buffering
        self.zero_fill = zero_fill
        self._known = None
        self._pending = None

    def __getattr__(self, name: str) -> Any:
        if name in _OWN or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.actual_optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.actual_optimizer, name, value)

    def __repr__(self) -> str:
        buffering = ", double_buffering=True" if self.double_buffering else ""
        return f"MultiNodeOptimizer({self.actual_optimizer!r}, {self.communicator!r}{buffering})"

    def setup(self, link: Any) -> "MultiNodeOptimizer":
        """Take over the parameters of a link, which the first update broadcasts from rank 0; return the optimizer."""
        self.wait()
        self.actual_optimizer.setup(link)
        self._known = self._pending = None
        return self

    def update(
        self, lossfun: Callable[..., Any] | None = None, *args: Any, sample_count: float | None = None, **kwargs: Any
    ) -> Any:
        """Average the gradients over the ranks and make one step; or, if the parameters are new, broadcast them.

        All ranks must call it equally often. The first call, and the one after parameters that had no size have got
        one, makes no step: it overwrites the parameters of all ranks by those of rank 0. With double buffering the
        call after that makes none either, and from then on each uses the mean of the call before.

        Args:
            lossfun: as for the optimizer: gradients are cleared, and computed from the loss it returns.
            *args: for ``lossfun``.
            sample_count: samples in this rank's part of the batch, if parts may be unequal: the step is then that of
                the whole batch for a loss that is a mean over samples. ``None`` on all ranks: each counts the same.
            **kwargs: for ``lossfun``.

        Returns:
            The loss on this rank, or ``None``.

        Raises:
            RuntimeError: ``setup`` has not been called.
            DisagreementError: the ranks' models, missing gradients or ways of calling differ.
            CommunicationError: another rank is gone or late.
        """
        target = self.actual_optimizer.target
        if target is None:
            return self.actual_optimizer.update()
        loss = None
        weight = sample_count
        if lossfun is not None:
            target.cleargrads()
            loss = lossfun(*args, **kwargs)
            if sample_count is None:
                loss.backward()
            else:
                # The losses are weighed, not the gradients: in a layer that sees the whole batch they have mixed.
                (loss * self.communicator.relative_weight(sample_count)).backward()
                weight = None
        layout = layout_of(target)
        mean = start_mean(
            self.communicator,
            target,
            zero_fill=self.zero_fill,
            weight=weight,
            asynchronous=self.double_buffering,
            layout=layout,
            changed=layout.digest != self._known,
        )
        if mean is None:
            self.wait()
            self._pending = None
            self.communicator.broadcast_data(target)
            self._known = layout.digest
            return loss
        if self.double_buffering:
            mean, self._pending = self._pending, mean
        if mean is not None:
            mean.finish().hand_out()
            self.actual_optimizer.update()
        return loss

    def wait(self) -> None:
        """Wait for gradients on their way, as before the process group ends; the next update still uses them."""
        if self._pending is not None:
            self._pending.finish()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, which parameters are known to be equal, and the gradients still to be used.

        It is the same on every rank, and no rank needs another to make it.
        """
        pending: dict[str, Any] | None = None
        if self._pending is not None:
            self.wait()
            gradients = self._pending.gradients() if self._pending.parameters else {}
            pending = nest_state({path.lstrip("/"): gradient for path, gradient in gradients.items()})
        known = None if self._known is None else f"{self._known:016x}"
        return {"optimizer": self.actual_optimizer.state_dict(), "layout": known, "gradients": pending}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Go on from a saved state, loaded on every rank; a state of the optimizer alone will do without ``strict``.

        Raises:
            ValueError: with ``strict``, something does not fit.
        """
        if "optimizer" not in state:
            if strict:
                expected = "the state of a multi-node optimizer (strict=False takes that of an optimizer alone)"
                raise argument_error("load_state_dict", "state", expected, f"keys {', '.join(map(str, state))}")
            state = {"optimizer": state}
        saved = state.get("gradients")
        flat = flatten_state(saved) if saved else {}
        parameters = {path.lstrip("/"): (path, parameter) for path, parameter in parameters_of(self.target)}
        wrong = [
            path
            for path, gradient in flat.items()
            if path not in parameters or tuple(gradient.shape) != tuple(parameters[path][1].shape)
        ]
        if wrong and strict:
            expected = "gradients of the link's parameters"
            raise argument_error("load_state_dict", "state['gradients']", expected, ", ".join(wrong))
        report = self.actual_optimizer.load_state_dict(state["optimizer"], strict)
        self.wait()
        known = state.get("layout")
        self._known = None if known is None else int(str(known), 16)
        self._pending = None
        if saved is not None and self.double_buffering and not wrong:
            chosen = [parameters[path] for path in sorted(flat, key=lambda path: f"/{path}")]
            buffers = [
                arrays.to_tensor(place_of(parameter.data).put(flat[path.lstrip("/")], copy=True), "load", path).reshape(
                    -1
                )
                for path, parameter in chosen
            ]
            self._pending = Mean(chosen, buffers, [], 1, None)
        return report


def create_multi_node_optimizer(
    optimizer: Any, communicator: Communicator, *, double_buffering: bool = False, zero_fill: bool = False
) -> MultiNodeOptimizer:
    """Return an optimizer whose updates use the mean of the gradients over all ranks.

    Call it before ``setup``, or after.

    Args:
        optimizer: of :mod:`toolkit.autograd.optimizers`.
        communicator: of the ranks.
        double_buffering: let the gradients of a step travel while the next is computed, and update with those of the
            step before. It hides the time they take, and the gradients are one step old.
        zero_fill: a gradient missing on a rank counts as zeros there, and every initialised parameter is updated.

    Returns:
        The multi-node optimizer, to be used in place of ``optimizer``.
    """
    return MultiNodeOptimizer(optimizer, communicator, double_buffering=double_buffering, zero_fill=zero_fill)
