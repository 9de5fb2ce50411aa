"""One training in several processes of ``torchrun``: the first leads, the others follow its steps."""

import atexit
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from toolkit.core.devices import resolve_device
from toolkit.core.interrupts import deferred_interrupts


@dataclass(frozen=True, eq=False)
class Processes:
    """The processes that train one model together; a single one where nobody started more.

    The first alone decides when to go on, stops, saves and measures, so that a Ctrl-C or a full disk cannot part them.

    Attributes:
        rank: which of them this is, from 0.
        count: how many there are.
        device: of this one.
        commands: the group in which the first tells the others what comes; ``None`` for a single process.
    """

    rank: int
    count: int
    device: torch.device
    commands: Any = None

    @classmethod
    def join(cls, device: torch.device | str | None) -> "Processes":
        """Meet the other processes that ``torchrun`` started.

        Args:
            device: what the caller asked for; each process takes a GPU of its own unless one is named by its number.
        """
        where = resolve_device(device)
        started = dist.is_initialized()
        if not started and int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(0, 1, where)
        named = device is not None and torch.device(device).index is not None
        if where.type == "cuda" and not named:
            where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        if where.type == "cuda":
            torch.cuda.set_device(where)
        if not started:
            # Kept for the trainings that follow: a group that was ended cannot safely be made again.
            dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
            atexit.register(_end)
        count = dist.get_world_size()
        return cls(dist.get_rank(), count, where, dist.new_group(backend="gloo") if count > 1 else None)

    def leave(self) -> None:
        """End the group of the commands."""
        if self.commands is not None:
            dist.destroy_process_group(self.commands)

    def together(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the means over all processes."""
        if self.count == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes; each must ask."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def lead(
        self,
        run: Callable[[Callable[[int], Any]], dict[str, Any]],
        step: Callable[[int], Any],
        state: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Run a training of which every process does each step.

        Args:
            run: given a step function, trains with it and returns plain values; only the first process calls it.
            step: one update, done by all.
            state: objects with ``state_dict``; before the first step the others take over what the first has, which
                may have gone on from a checkpoint.

        Returns:
            What ``run`` returned, in every process.

        Raises:
            RuntimeError: in the others, when the first stopped with an error.
        """
        if self.count == 1:
            return run(step)
        return self._lead(run, step, state) if self.rank == 0 else self._follow(step, state)

    def _lead(self, run: Any, step: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        told: list[bool] = []

        def say(command: str, content: Any = None) -> None:
            states = None if told else {name: value.state_dict() for name, value in state.items()}
            told.append(True)
            dist.broadcast_object_list([command, content, states], src=0, group=self.commands)

        def announced(index: int) -> Any:
            say("step", index)
            return step(index)

        try:
            result = run(announced)
        except BaseException as error:
            say("failed", f"{type(error).__name__}: {error}")
            raise
        say("done", result)
        return result

    def _follow(self, step: Any, state: Mapping[str, Any]) -> dict[str, Any]:
        # Ctrl-C reaches every process of a terminal; the first decides what it means.
        with deferred_interrupts():
            while True:
                message: list[Any] = [None, None, None]
                dist.broadcast_object_list(message, src=0, group=self.commands)
                command, content, states = message
                for name, saved in (states or {}).items():
                    state[name].load_state_dict(saved)
                if command == "done":
                    return content
                if command == "failed":
                    raise RuntimeError(f"the first process of the training stopped with an error\n{content}")
                step(content)


def _end() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
