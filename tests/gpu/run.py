"""The engine on a GPU: operations against NumPy, steps against torch, CUDA graphs: ``python -m tests.gpu.run``.

Without a GPU it says so and ends with status 0; ``--device cpu`` runs what can be run there, to try the script.
"""

import sys
import time
from pathlib import Path

import torch
import tyro

from tests.gpu import steps, suite
from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import Record, SeedResult, now, save_record


def main(device: str = "cuda", out: Path | None = None, quick: bool = False) -> int:
    """Run everything and print it.

    Args:
        device: where: ``"cuda"``, or ``"cpu"`` for a trial without a GPU.
        out: folder to write a record to.
        quick: fewer rounds.

    Returns:
        0, or 1 if an operation or a captured step differs.
    """
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("no CUDA device here: nothing was run (--device cpu tries the script)")
        return 0
    if on_gpu:
        print(torch.cuda.get_device_name(), f"torch {torch.__version__}, CUDA {torch.version.cuda}")
    started, cpu = time.perf_counter(), time.process_time()
    metrics: dict[str, float] = {}
    fine = _operations(device, metrics)
    _speed(device, metrics, quick)
    if on_gpu:
        fine &= _graphs(device, metrics, quick)
        print(f"{torch.cuda.device_count()} CUDA devices; several are tried by python -m pytest tests/gpu")
    if out is not None:
        result = SeedResult(0, metrics, seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu)
        times = (now(), result.seconds, result.cpu_seconds)
        scale, settings = "quick" if quick else "laptop", {"device": device, "quick": quick}
        environment = describe_environment(device)
        print(save_record(Record("autograd-gpu", "", scale, settings, (result,), environment, *times), out))
    return 0 if fine else 1


def _operations(device: str, metrics: dict[str, float]) -> bool:
    fine = True
    for library, lift in suite.libraries(device).items():
        findings = suite.compare(library, lift)
        wrong = [finding for finding in findings if not finding.agrees]
        functions = len({finding.function for finding in findings})
        print(f"{library}: {len(findings)} calls of {functions} functions, {len(wrong)} differ from NumPy's")
        for finding in wrong:
            print(f"  {finding.function}, sample {finding.sample}: {finding.problem or finding.difference}")
        metrics |= {f"{library}: calls": float(len(findings)), f"{library}: differing": float(len(wrong))}
        fine &= not wrong
    return fine


def _speed(device: str, metrics: dict[str, float], quick: bool) -> None:
    rounds, calls = (3, 3) if quick or device == "cpu" else (15, 50)
    print(f"{'':24} {'torch eager':>12} {'ours':>10}  ratio")
    for name in steps.NETWORKS:
        contenders = {engine: steps.training(engine, name, device).step for engine in ("torch", "ours")}
        best = steps.seconds_a_step(contenders, device, rounds=rounds, calls=calls)
        ratio = best["ours"] / best["torch"]
        print(f"{name:24} {best['torch'] * 1e3:9.3f} ms {best['ours'] * 1e3:7.3f} ms  {ratio:.3f}", flush=True)
        metrics |= {f"{name}: torch ms": best["torch"] * 1e3, f"{name}: ours ms": best["ours"] * 1e3}
        metrics[f"{name}: ours"] = ratio


def _graphs(device: str, metrics: dict[str, float], quick: bool) -> bool:
    fine = True
    for name in steps.NETWORKS:
        difference = steps.replays_agree(name, device)
        replay, _ = steps.captured(steps.training("ours", name, device))
        contenders = {"torch": steps.training("torch", name, device).step, "graph": replay}
        best = steps.seconds_a_step(contenders, device, rounds=3 if quick else 15, calls=50)
        ratio = best["graph"] / best["torch"]
        print(f"{name:24} as a CUDA graph {best['graph'] * 1e3:7.3f} ms, {ratio:.3f} of torch eager", end="")
        print(f", parameters differ by {difference:.1e}", flush=True)
        metrics |= {f"{name}: CUDA graph": ratio, f"{name}: CUDA graph difference": difference}
        fine &= difference < 1e-3
    return fine


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
