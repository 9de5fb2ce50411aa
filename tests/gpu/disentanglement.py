"""Informations of dSprites-sized codes on a GPU: ``python -m tests.gpu.disentanglement``.

Without a GPU it says so and ends with status 0; ``--device cpu --quick`` tries the script.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import tyro

from toolkit.disentanglement.attacks import Redundancy, Synergy
from toolkit.disentanglement.bounds import profile
from toolkit.disentanglement.codes import synthetic_codes
from toolkit.disentanglement.fixed_draws import FixedDraws
from toolkit.disentanglement.information import informations
from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import Record, SeedResult, now, save_record

DSPRITES = (3, 6, 40, 32, 32)


def seconds(run: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Return the least wall time of a call that ends when the device is done; one call beforehand does not count."""
    run()
    spent = []
    for _ in range(rounds):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        spent.append(time.perf_counter() - started)
    return min(spent)


def main(device: str = "cuda", out: Path | None = None, quick: bool = False) -> int:
    """Time the whole table, and an attack whose strength moves, and print both.

    Args:
        device: where: ``"cuda"``, or ``"cpu"`` for a trial without a GPU.
        out: folder to write a record to.
        quick: a small grid, few draws.

    Returns:
        0, or 1 if UniBound of the perfect code is not what it is on the CPU.
    """
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing was run (--device cpu --quick tries the script)")
        return 0
    started, cpu = time.perf_counter(), time.process_time()
    sizes, n_samples, rounds = ((3, 6, 10, 8, 8), 100, 2) if quick else (DSPRITES, 10_000, 3)
    codes = synthetic_codes(sizes, device=where)
    metrics: dict[str, float] = {}

    def timed(name: str, run: Callable[[], object]) -> None:
        metrics[name] = seconds(run, where, rounds)
        print(f"{name:60} {metrics[name]:9.3f} s", flush=True)

    table = f"informations, {codes.n_images:,} images, {codes.n_latents} latents, {n_samples:,} draws"
    timed(table, lambda: informations(codes, n_samples=n_samples, generator=torch.Generator().manual_seed(0)))
    small = synthetic_codes((3, 6, 10, 8, 8), device=where)
    draws = FixedDraws(small, n_samples=n_samples, generator=torch.Generator().manual_seed(0))
    for attack in (Redundancy(1.1), Synergy(1.1)):
        name = f"{type(attack).__name__} moved, {small.n_images:,} images, {n_samples:,} draws"
        timed(name, lambda attack=attack: profile(draws.informations(attack(small))))
    scores = []
    for codes_there in (small, small.to("cpu")):
        found = informations(codes_there, n_samples=100, generator=torch.Generator().manual_seed(1))
        scores.append(profile(found).unibound)
    metrics["UniBound: difference from the CPU"] = abs(scores[0] - scores[1])
    print(f"UniBound {scores[0]:.6f}, on the CPU {scores[1]:.6f}")
    if out is not None:
        result = SeedResult(0, metrics, seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu)
        times = (now(), result.seconds, result.cpu_seconds)
        scale, settings = "quick" if quick else "laptop", {"device": device, "quick": quick}
        environment = describe_environment(device)
        print(save_record(Record("disentanglement-gpu", "", scale, settings, (result,), environment, *times), out))
    return 0 if metrics["UniBound: difference from the CPU"] < 1e-4 else 1


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
