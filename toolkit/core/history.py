"""What a training run leaves: its metrics over the steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.core.errors import require


@dataclass(frozen=True)
class Series:
    """One metric over training.

    Attributes:
        steps: number of finished steps at each value, ascending.
        values: the values; NaN and infinity are kept.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        last = f", last {self.values[-1]:.6g} at step {self.steps[-1]}" if self.steps else ""
        return f"Series({len(self)} values{last})"

    def thin(self, n: int) -> "Series":
        """Return at most ``n`` of the values, evenly spread, the first and the last among them: enough for a curve."""
        require(n >= 2, "Series.thin", "n", ">= 2", n)
        if len(self) <= n:
            return self
        chosen = np.linspace(0, len(self) - 1, n).round().astype(int)
        return Series(tuple(self.steps[i] for i in chosen), tuple(self.values[i] for i in chosen))

    def to_dict(self) -> dict[str, list]:
        """Return ``{"steps": [...], "values": [...]}``."""
        return {"steps": list(self.steps), "values": list(self.values)}


@dataclass(frozen=True)
class History:
    """What :func:`train` did.

    Attributes:
        metrics: a :class:`Series` for each metric; ``history["loss"]`` gives the values as an array.
        n_steps: finished steps, those before a resume included.
        interrupted: training was stopped before the steps asked for.
        seconds: wall time over all sessions.
        cpu_seconds: CPU time of the process over all sessions.
    """

    metrics: dict[str, Series] = field(default_factory=dict)
    n_steps: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the values of a metric, float64."""
        if name not in self.metrics:
            raise KeyError(f"{name!r}; there are {sorted(self.metrics)}")
        return np.asarray(self.metrics[name].values, dtype=np.float64)

    def last(self, name: str) -> float:
        """Return the last value of a metric; NaN if it has none."""
        values = self[name]
        return float(values[-1]) if len(values) else float("nan")

    def __repr__(self) -> str:
        names = ", ".join(f"{name}={self.last(name):.6g}" for name in self.metrics)
        state = "interrupted after" if self.interrupted else "finished"
        return f"History({state} {self.n_steps} steps in {self.seconds:.1f} s; {names})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; :meth:`from_dict` reads them back."""
        return {
            "metrics": {name: series.to_dict() for name, series in self.metrics.items()},
            "n_steps": self.n_steps,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "History":
        """Build a history from what :meth:`to_dict` gave."""
        metrics = {name: Series(tuple(s["steps"]), tuple(s["values"])) for name, s in values["metrics"].items()}
        return cls(metrics, values["n_steps"], values["interrupted"], values["seconds"], values["cpu_seconds"])

    def to_frame(self):
        """Return a pandas frame with one row a step and one column a metric (NaN where a metric has no value)."""
        import pandas

        columns = {name: pandas.Series(s.values, index=s.steps, dtype=float) for name, s in self.metrics.items()}
        return pandas.DataFrame(columns).rename_axis("step").sort_index()
