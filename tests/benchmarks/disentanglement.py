"""Cost of disentanglement scores: ``python -m tests.benchmarks.disentanglement``.

All on one thread, by CPU time; contenders take turns in one process. The two estimators of informations are compared by
CPU time times variance of UniBound, which does not depend on how many draws are made. Ends with status 1 if a budget is
missed in every attempt.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from sklearn.metrics import mutual_info_score

from tests.benchmarks.budgets import ATTEMPTS, Row, kept, report
from tests.benchmarks.timing import measure
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.bootstrap import bootstrap
from toolkit.disentanglement.bounds import pid_bounds, profile
from toolkit.disentanglement.codes import PointCodes, synthetic_codes
from toolkit.disentanglement.entropies import entropy_informations
from toolkit.disentanglement.evaluation import evaluate
from toolkit.disentanglement.exact import pid
from toolkit.disentanglement.fixed_draws import FixedDraws
from toolkit.disentanglement.information import informations
from toolkit.disentanglement.metrics.gaps import mutual_information_gap

LESSON = (3, 4, 6, 5, 5)
"""Factor sizes of the code whose attack a slider moves: 1,800 images, six latents."""
LESSON_DRAWS = 500
DSPRITES = (3, 6, 40, 32, 32)


def generator(seed: int = 0) -> torch.Generator:
    """Return a generator of its own for each use, so that all rounds do the same."""
    return torch.Generator().manual_seed(seed)


def best(run: Callable[[], object], rounds: int) -> float:
    """Return the least CPU seconds of a call; one call beforehand does not count."""
    run()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return min(spent)


def full_table(quick: bool) -> Row:
    """Measure all informations of 11,520 images, six latents and five factors from 2,000 draws."""
    codes = synthetic_codes((3, 6, 10, 8, 8), device="cpu")
    seconds = best(lambda: informations(codes, n_samples=2000, generator=generator()), 2 if quick else ATTEMPTS)
    return Row("informations, 11,520 images, 6 latents, 2,000 draws", seconds, 3.0, " s")


def against_entropies(quick: bool) -> Row:
    """Measure CPU time times variance of UniBound: one pass with posteriors over the authors' differences."""
    codes, n_seeds = synthetic_codes((3, 6, 10, 8), device="cpu"), 8 if quick else 30

    def ours(seed: int) -> float:
        return profile(informations(codes, n_samples=codes.n_images, generator=generator(seed))).unibound

    def theirs(seed: int) -> float:
        found = entropy_informations(codes, generator=generator(seed))
        shares = [(table / found.entropy).clamp(0, 1) for table in (found.single, found.without, found.joint)]
        return float(pid_bounds(*shares).unique.lower.amax(0).mean())

    products, details = {}, {}
    for name, run in (("ours", ours), ("theirs", theirs)):
        run(0)
        spent, scores = [], []
        for seed in range(n_seeds):
            started = time.process_time()
            scores.append(run(seed))
            spent.append(time.process_time() - started)
        products[name] = min(spent) * float(np.var(scores, ddof=1))
        details[name] = f"{min(spent) * 1e3:.0f} ms, st.dev. {np.std(scores, ddof=1):.1e}"
    detail = f"{details['ours']} against {details['theirs']}"
    return Row("CPU time x variance: posteriors / entropies", products["ours"] / products["theirs"], 1 / 20, "", detail)


def resampling(quick: bool) -> Row:
    """Measure 500 resamples of 1,500 draws, all scores and I_min."""
    found = informations(synthetic_codes(LESSON, device="cpu"), n_samples=1500, generator=generator())
    seconds = best(lambda: bootstrap(found, n_resamples=500, generator=generator()), 3 if quick else 10)
    return Row("bootstrap, 500 resamples of 1,500 draws", seconds, 0.2, " s")


def attack_again(quick: bool) -> Row:
    """Measure the scores of an attack whose strength has moved: the slowest of all attacks."""
    codes = synthetic_codes(LESSON, device="cpu")
    draws = FixedDraws(codes, n_samples=LESSON_DRAWS, generator=generator())
    draws.informations()
    attacks = (Redundancy(1.1), MaskedCopy(1.1), Synergy(1.1), Mixing(0.3), NoisedCopy(2, 0.4))
    rounds = 3 if quick else 10
    spent = {
        type(attack).__name__: best(lambda attack=attack: profile(draws.informations(attack(codes))), rounds)
        for attack in attacks
    }
    detail = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in spent.items())
    return Row(f"attack moved, {codes.n_images:,} images, {LESSON_DRAWS} draws", max(spent.values()), 0.1, " s", detail)


def points(n: int = 10_000, n_latents: int = 10) -> PointCodes:
    """Return latents that mix the factors of dSprites' sizes."""
    random = np.random.default_rng(0)
    factors = np.stack([random.integers(0, size, n) for size in DSPRITES], axis=1)
    mixed = (factors / DSPRITES) @ random.normal(size=(len(DSPRITES), n_latents))
    return PointCodes(mixed + 0.1 * random.normal(size=(n, n_latents)), factors, DSPRITES)


def histogram_gap(quick: bool) -> list[Row]:
    """Measure MIG on 10,000 points, ten latents and five factors, and over scikit-learn's function in a loop."""
    codes = points()
    latents, factors = codes.points.numpy(), codes.factors.numpy()

    def loop() -> float:
        table = np.zeros((latents.shape[1], factors.shape[1]))
        for row, latent in enumerate(latents.T):
            bins = np.digitize(latent, np.histogram(latent, 20)[1][:-1])
            for column, factor in enumerate(factors.T):
                table[row, column] = mutual_info_score(bins, factor)
        entropy = [mutual_info_score(factor, factor) for factor in factors.T]
        ordered = np.sort(table, axis=0)
        return float(np.mean((ordered[-1] - ordered[-2]) / entropy))

    def ours() -> float:
        return mutual_information_gap(codes).score

    assert abs(loop() - ours()) < 1e-9
    timings = measure({"loop": loop, "ours": ours}, rounds=3 if quick else 10, seconds=0.2)
    mine, theirs = timings["ours"].best, timings["loop"].best
    detail = f"scikit-learn in a loop {theirs * 1e3:.0f} ms"
    return [
        Row("MIG, 10,000 points, 10 latents, 5 factors", mine, 0.010, " s", detail),
        Row("MIG: ours / scikit-learn in a loop", mine / theirs, 0.1),
    ]


def whole_suite(quick: bool) -> Row:
    """Measure every score that points allow, with the quick DCI."""
    codes = points()
    rounds = 1 if quick else ATTEMPTS
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        evaluate(codes, generator=generator())
        spent.append(time.process_time() - started)
    return Row("every score of 10,000 points, 10 latents, 5 factors", min(spent), 15.0, " s")


def decompositions(quick: bool) -> list[Row]:
    """Measure BROJA's parts of random joint distributions."""
    rows = []
    for size, budget in ((2, 0.003), (6, 0.2)):
        joint = np.random.default_rng(size).dirichlet(np.ones(size**3)).reshape(size, size, size)
        seconds = best(lambda joint=joint: pid(joint, "broja"), 5 if quick else 20)
        rows.append(Row(f"BROJA, {size}x{size}x{size}", seconds, budget, " s"))
    return rows


def main(quick: bool = False, out: Path | None = None) -> int:
    """Measure and print.

    Args:
        quick: fewer and shorter rounds: a look, not a result.
        out: folder to write a record to.

    Returns:
        0, or 1 if a budget is missed.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    tasks = (full_table, against_entropies, resampling, attack_again, histogram_gap, whole_suite, decompositions)
    rows = (row for task in tasks for row in kept(partial(task, quick)))
    return report("disentanglement-speed", rows, quick=quick, out=out)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
