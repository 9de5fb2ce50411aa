"""Speed of exact inference on grammars: ``python -m tests.benchmarks.grammar_inference``.

All on one thread, by CPU time; contenders read the same sentences and take turns in one process. The peer is the Earley
parser of genlm-grammar, which gives the next token's distribution after every prefix too, one sentence and one grammar
at a time; where it is not installed its rows are left out. Ends with status 1 if a budget is missed in every attempt.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
import tyro
from torch import Tensor

from tests.benchmarks.budgets import Row, kept, report
from tests.benchmarks.timing import measure
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.inference import infer
from toolkit.grammars.named import cfg3b, cfg3f, toy_family

LENGTHS = range(205, 231)
"""Tokens of the sentences of cfg3f."""


def sentences(family: GrammarFamily, n: int, lengths: range) -> list[Tensor]:
    """Draw some sentences with so many tokens."""
    generator = torch.Generator().manual_seed(0)
    documents = family.sample(400 * n, device="cpu", generator=generator)
    fitting = [i for i, length in enumerate(documents.lengths.tolist()) if length in lengths]
    return [documents[i] for i in fitting[:n]]


def earley(grammar: LevelledGrammar) -> Callable[[list[Tensor]], object] | None:
    """Return what asks genlm-grammar for the next token after every prefix, if it is there."""
    if find_spec("genlm") is None:
        return None
    from genlm.grammar import CFG, EarleyLM, Float

    theirs = CFG(R=Float, S="L0S0", V=set(grammar.terminals))
    for level in range(grammar.depth):
        names = grammar.terminals if level + 1 == grammar.depth else [f"L{level + 1}S{i}" for i in range(99)]
        for symbol, (rules, probs) in enumerate(zip(grammar.rules[level][0], grammar.probs[level][0], strict=True)):
            for children, p in zip(rules, probs, strict=True):
                theirs.add(p, f"L{level}S{symbol}", *[names[child] for child in children])
    model = EarleyLM(theirs)

    def every_prefix(given: list[Tensor]) -> None:
        model.clear_cache()
        for sentence in given:
            tokens = tuple(grammar.terminals[token] for token in sentence.tolist())
            for k in range(len(tokens) + 1):
                model.p_next(tokens[:k])

    return every_prefix


def one_grammar(grammar: LevelledGrammar, lengths: range, quick: bool) -> list[Row]:
    """Measure one sentence and a batch of them beside the peer."""
    given = sentences(grammar, 32, lengths)
    peer = earley(grammar)
    contenders: dict[str, Callable[[], object]] = {
        "one": lambda: infer(grammar, given[:1]).next_token_probs(),
        "batch": lambda: infer(grammar, given).next_token_probs(),
    }
    if peer is not None:
        contenders["peer"] = lambda: peer(given[:1])
    timings = measure(contenders, rounds=3 if quick else 6, seconds=0.02)
    one, batch = timings["one"].best * 1e3, timings["batch"].best * 1e3 / len(given)
    where = f"{grammar.name}, {lengths.start}-{lengths.stop - 1} tokens"
    rows = [Row(f"{where}, one sentence", one, 64.0, " ms"), Row(f"{where}, one of {len(given)}", batch, 21.0, " ms")]
    if peer is not None:
        theirs = timings["peer"].best * 1e3
        detail = f"genlm-grammar {theirs:.1f} ms"
        rows.append(Row(f"{where}, one sentence / peer", one / theirs, 1.0, "", detail))
        rows.append(Row(f"{where}, one of {len(given)} / peer", batch / theirs, 1 / 3, "", detail))
    return rows


def all_metadata(quick: bool) -> list[Row]:
    """Measure the toy family under its eight grammars together: one sentence, and a thousand with all that follows."""
    family = toy_family()
    given = family.sample(1024, device="cpu", generator=torch.Generator().manual_seed(0))
    first = given[0]

    def everything() -> None:
        found = infer(family, given)
        found.next_token_probs()
        found.posterior()
        found.optimal_loss(family.depth, given.metadata)

    contenders: dict[str, Callable[[], object]] = {
        "batch": lambda: infer(family, given),
        "everything": everything,
        "one": lambda: infer(family, first),
    }
    timings = {name: t.best * 1e3 for name, t in measure(contenders, rounds=3 if quick else 8, seconds=0.1).items()}
    batch, more = timings["batch"] / len(given), timings["everything"] / len(given)
    name = "toy family, 8 grammars"
    return [
        Row(f"{name}, a sentence of {len(given)}", batch, 0.5, " ms", f"{1e3 / batch:.0f} a second"),
        Row(f"{name}, with posterior and losses", more, 0.5, " ms", f"{1e3 / more:.0f} a second"),
        Row(f"{name}, one sentence", timings["one"], 8.0, " ms"),
    ]


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
        partial(one_grammar, cfg3f(), LENGTHS, quick),
        partial(one_grammar, cfg3b(), range(250, 275), quick),
        partial(all_metadata, quick),
    )
    rows = (row for task in tasks for row in kept(task))
    return report("grammar-inference-speed", rows, quick=quick, out=out)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
