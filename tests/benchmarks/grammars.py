"""Speed of drawing documents: ``python -m tests.benchmarks.grammars``.

All on one thread, by CPU time for a token; contenders draw from the same grammar and take turns in one process. Peers
are ``pcfg`` (a subclass of NLTK's grammars that draws), a stack in plain Python, and NLTK's ``generate``, which does
not draw but enumerates, which is less work; those that are not installed are left out. Ends with status 1 if a budget
is missed in every attempt.
"""

import itertools
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
import tyro

from tests.benchmarks.budgets import Row, kept, report
from tests.benchmarks.timing import measure
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.named import cfg3b, cfg3f, toy_family

DOCUMENTS = 8192
"""Drawn at once."""
PEER_DOCUMENTS = 40
SLOWEST = 1e9 / 15e6
"""Nanoseconds a token on a processor: 15 million tokens a second."""
SLOWEST_GPU = 1e9 / 500e6
"""On a GPU: 500 million tokens a second."""
BATCH = 128


def generator(device: str = "cpu") -> torch.Generator:
    """Return a generator of its own for each use, so that all rounds do the same."""
    return torch.Generator(device).manual_seed(0)


def stack(grammar: LevelledGrammar, n: int) -> int:
    """Draw documents with a stack in plain Python; return the number of tokens."""
    draw, rules, depth, n_tokens = random.Random(0), [level[0] for level in grammar.rules], grammar.depth, 0
    for _ in range(n):
        waiting, document = [(0, 0)], []
        while waiting:
            level, symbol = waiting.pop()
            if level == depth:
                document.append(symbol)
                continue
            for child in reversed(draw.choice(rules[level][symbol])):
                waiting.append((level + 1, child))
        n_tokens += len(document)
    return n_tokens


def peers(grammar: LevelledGrammar) -> dict[str, Callable[[], int]]:
    """Return what draws (or enumerates) some documents of a grammar and counts their tokens."""
    found: dict[str, Callable[[], int]] = {"stack in plain Python": lambda: stack(grammar, PEER_DOCUMENTS)}
    if find_spec("pcfg") is not None:
        from pcfg import PCFG

        theirs = PCFG.fromstring(grammar.to_nltk())
        found["pcfg"] = lambda: sum(len(text.split()) for text in theirs.generate(PEER_DOCUMENTS))
    if find_spec("nltk") is not None:
        import nltk
        from nltk.parse.generate import generate

        listed = nltk.CFG.fromstring(_without_probabilities(grammar.to_nltk()))
        found["NLTK's enumeration"] = lambda: sum(
            len(tokens) for tokens in itertools.islice(generate(listed), 10 * PEER_DOCUMENTS)
        )
    return found


def _without_probabilities(text: str) -> str:
    return "\n".join(
        " ".join(word for word in line.split(" ") if not (word.startswith("[") and word.endswith("]")))
        for line in text.splitlines()
    )


def drawing(grammar: LevelledGrammar, quick: bool) -> list[Row]:
    """Measure documents of one grammar, by themselves and beside the peers."""
    counts: dict[str, int] = {}

    def counted(name: str, run: Callable[[], int]) -> Callable[[], object]:
        def step() -> None:
            counts[name] = run()

        return step

    def ours() -> int:
        return grammar.sample(DOCUMENTS, device="cpu", generator=generator()).n_tokens

    random.seed(0)
    contenders = {"ours": ours, **peers(grammar)}
    steps = {name: counted(name, run) for name, run in contenders.items()}
    timings = measure(steps, rounds=3 if quick else 10, seconds=0.05)
    spent = {name: timing.best / counts[name] * 1e9 for name, timing in timings.items()}
    speed = f"{1e3 / spent['ours']:.0f} million tokens a second"
    rows = [Row(f"{grammar.name}: {DOCUMENTS} documents, a token", spent["ours"], SLOWEST, " ns", speed)]
    for name, nanoseconds in spent.items():
        if name != "ours":
            budget = 0.5 if name.startswith("NLTK") else 0.05
            detail = f"{1e3 / nanoseconds:.2f} million tokens a second"
            rows.append(Row(f"{grammar.name}: ours / {name}", spent["ours"] / nanoseconds, budget, "", detail))
    return rows


def other_documents(quick: bool) -> list[Row]:
    """Measure trees, a family with metadata, and what a training step waits for."""
    rounds = 5 if quick else 20
    toy = toy_family()
    tasks: dict[str, Callable[[], int]] = {
        "cfg3b with trees": lambda: (
            cfg3b().sample(1024, device="cpu", generator=generator(), return_trees=True).n_tokens
        ),
        "toy family": lambda: toy.sample(DOCUMENTS, device="cpu", generator=generator()).n_tokens,
    }
    rows = []
    for name, run in tasks.items():
        n_tokens = run()
        rows.append(Row(f"{name}, a token", _best(run, rounds) / n_tokens * 1e9, SLOWEST, " ns"))
    seeded = generator()
    seconds = _best(lambda: toy.sample(BATCH, device="cpu", generator=seeded).padded(27), 10 * rounds)
    rows.append(Row(f"toy family, {BATCH} documents in rows", seconds * 1e3, 1.0, " ms"))

    def first() -> object:
        fresh = GrammarFamily(toy.sizes, toy.rules)
        return fresh.sample(1, device="cpu", generator=generator())

    rows.append(Row("toy family, its tables and a document", _best(first, rounds) * 1e3, 200.0, " ms"))
    return rows


def on_gpu(quick: bool) -> list[Row]:
    """Measure cfg3b on a GPU, by the clock, if there is one."""
    if not torch.cuda.is_available():
        return []
    draw = generator("cuda")

    def run() -> int:
        n_tokens = cfg3b().sample(200_000, device="cuda", generator=draw).n_tokens
        torch.cuda.synchronize()
        return n_tokens

    n_tokens, best = run(), float("inf")
    for _ in range(3 if quick else 10):
        started = time.perf_counter()
        n_tokens = run()
        best = min(best, (time.perf_counter() - started) / n_tokens * 1e9)
    return [Row("cfg3b on a GPU, a token", best, SLOWEST_GPU, " ns", torch.cuda.get_device_name())]


def _best(run: Callable[[], object], rounds: int) -> float:
    """Return the least CPU seconds of a call; one call beforehand does not count."""
    run()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        spent.append(time.process_time() - started)
    return min(spent)


def main(quick: bool = False, out: Path | None = None) -> int:
    """Measure and print.

    Args:
        quick: fewer and shorter rounds: a look, not a result.
        out: folder to write a record to.

    Returns:
        0, or 1 if a budget is missed.
    """
    torch.set_num_threads(1)
    tasks = (
        partial(drawing, cfg3b(), quick),
        partial(drawing, cfg3f(), quick),
        partial(other_documents, quick),
        partial(on_gpu, quick),
    )
    rows = (row for task in tasks for row in kept(task))
    return report("grammars-speed", rows, quick=quick, out=out)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
