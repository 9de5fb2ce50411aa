"""Sampling from grammars of any shape: the right frequencies, the same documents for the same seed, honest limits."""

import math

import pytest
import torch
from scipy.stats import chi2

from tests.grammars.string_series import random_grammar, series
from toolkit.grammars import work_list
from toolkit.grammars.grammar import PCFG, Nonterminal, Rule


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(4))
def test_frequencies_are_those_of_the_grammar(seed: int) -> None:
    grammar = random_grammar(seed)
    n = 20_000
    sample = grammar.sample(n, generator=generator(seed), device="cpu")
    assert sample.n_cut == 0 and len(sample.documents) == n
    seen: dict[tuple[tuple[str, ...], bool], int] = {}
    for tokens in sample.documents.padded().tolist():
        names = tuple(grammar.terminals[t] for t in tokens if t >= 0)
        key = (names[:4], len(names) > 4)
        seen[key] = seen.get(key, 0) + 1
    want = {key: n * float(weight[0]) for key, weight in series(grammar, 4)[grammar.start].items()}
    assert set(seen) <= {key for key, expected in want.items() if expected > 0}
    common = [key for key, expected in want.items() if expected >= 10]
    rest = n - sum(want[key] for key in common)
    statistic = sum((seen.get(key, 0) - want[key]) ** 2 / want[key] for key in common)
    if rest >= 10:
        statistic += (n - sum(seen.get(key, 0) for key in common) - rest) ** 2 / rest
    assert chi2.sf(statistic, len(common) - (rest < 10)) > 1e-4


def test_the_order_of_tokens_is_that_of_the_rules() -> None:
    grammar = PCFG.fromstring(
        "S -> 'a' B 'c' D 'e' [1]\nB -> C C [1]\nC -> 'x' | 'y' [0]".replace("'x' |", "'x' [1] |") + "\nD -> [1]"
    )
    sample = grammar.sample(3, generator=generator(0), device="cpu")
    assert [grammar.decode(sample.documents[i]) for i in range(3)] == [list("axxce")] * 3
    assert sample.documents.offsets.tolist() == [0, 5, 10, 15]


def test_the_same_seed_gives_the_same_documents() -> None:
    grammar = PCFG.fromstring("S -> S S [0.4] | 'a' [0.3] | 'b' [0.2] | [0.1]")
    first, second, other = (grammar.sample(500, generator=generator(seed), device="cpu") for seed in (7, 7, 8))
    assert torch.equal(first.documents.values, second.documents.values)
    assert torch.equal(first.documents.offsets, second.documents.offsets)
    assert not torch.equal(first.documents.offsets, other.documents.offsets)


def test_the_global_generator_is_left_alone() -> None:
    grammar = PCFG.fromstring("S -> S S [0.4] | 'a' [0.6]")
    before = torch.get_rng_state()
    grammar.sample(50)
    assert torch.equal(torch.get_rng_state(), before)


def test_documents_beyond_a_limit_are_left_out_and_counted() -> None:
    grammar = PCFG.fromstring("S -> S S [0.6] | 'a' [0.4]")
    n = 6000
    sample = grammar.sample(n, generator=generator(1), device="cpu", max_tokens=200)
    assert len(sample.documents) + sample.n_cut == n
    # Of the derivations a third never ends; hardly any of the others is that long.
    assert abs(sample.n_cut - n / 3) < 5 * math.sqrt(n * 2 / 9)
    assert int(sample.documents.lengths.max()) <= 200
    tight = grammar.sample(n, generator=generator(1), device="cpu", max_tokens=1)
    assert set(tight.documents.lengths.tolist()) == {1}
    assert abs(len(tight.documents) - 0.4 * n) < 5 * math.sqrt(n * 0.24)


def test_empty_derivations_without_end_are_cut() -> None:
    grammar = PCFG.fromstring("S -> S S [0.6] | [0.4]")
    sample = grammar.sample(300, generator=generator(2), device="cpu", max_steps=500)
    assert sample.n_cut > 50
    assert set(sample.documents.lengths.tolist()) == {0}
    forever = PCFG.fromstring("S -> A [1]\nA -> A [1]")
    assert forever.sample(4, generator=generator(2), device="cpu", max_steps=100).n_cut == 4


@pytest.mark.parametrize("text", ["S -> S [1]", "S -> S S [1]", "S -> S S [0.9999999] | 'a' [0.0000001]"])
def test_derivations_that_never_end_are_known_beforehand(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is rewritten a hundred thousand times to find out what the total mass says."""
    draw, calls = work_list._draw_rules, []
    monkeypatch.setattr(work_list, "_draw_rules", lambda *given: calls.append(1) or draw(*given))
    sample = PCFG.fromstring(text).sample(2000, generator=generator(2), device="cpu", max_steps=1000)
    assert sample.n_cut == 2000 and len(sample.documents) == 0 and not calls


def test_documents_that_end_have_their_law_where_few_do() -> None:
    grammar = PCFG.fromstring(
        "S -> S S [0.5] | A [0.2] | 'a' [0.2] | [0.1]\nA -> A [0.5] | B 'b' [0.2] | 'b' [0.3]\nB -> B [1]"
    )
    n = 5000
    sample = grammar.sample(n, generator=generator(6), device="cpu", max_tokens=500)
    # By hand: A ends with probability 0.6, so S with s = s²/2 + 0.12 + 0.3.
    mass = 1 - math.sqrt(1 - 2 * 0.42)
    assert grammar.total_mass() == pytest.approx(mass, abs=1e-12)
    assert abs(n - sample.n_cut - n * mass) < 5 * math.sqrt(n * mass * (1 - mass))
    # A sentence is empty with e = e²/2 + 0.1, and one token comes from S S with one part empty, or at once.
    empty = 1 - math.sqrt(1 - 2 * 0.1)
    single = 1 / (1 - empty)
    documents = sample.documents
    of_one = documents.values[documents.offsets[:-1][documents.lengths == 1]]
    assert abs(int((documents.lengths == 0).sum()) - n * empty) < 5 * math.sqrt(n * empty)
    for token, p in (("a", 0.2 * single), ("b", 0.12 * single)):
        assert abs(int((of_one == grammar.terminals.index(token)).sum()) - n * p) < 5 * math.sqrt(n * p)


def test_long_chains_of_unary_rules_take_no_memory() -> None:
    grammar = PCFG.fromstring("S -> A A [0.5] | 'a' A 'b' [0.5]\nA -> B [0.99] | 'x' [0.005] | [0.005]\nB -> A [1]")
    sample = grammar.sample(400, generator=generator(7), device="cpu")
    assert sample.n_cut == 0
    found = ["".join(grammar.decode(sample.documents[i])) for i in range(400)]
    expected = {"ab": 0.25, "axb": 0.25, "": 0.125, "x": 0.25, "xx": 0.125}
    assert set(found) == set(expected)
    statistic = sum((found.count(text) - 400 * p) ** 2 / (400 * p) for text, p in expected.items())
    assert chi2.sf(statistic, 4) > 1e-4


def test_deep_recursion() -> None:
    grammar = PCFG.fromstring("S -> 'a' S [0.998] | 'b' [0.002]")
    sample = grammar.sample(20, generator=generator(3), device="cpu")
    assert sample.n_cut == 0
    longest = int(sample.documents.lengths.argmax())
    tokens = sample.documents[longest]
    assert len(tokens) > 500 and tokens.tolist() == [0] * (len(tokens) - 1) + [1]


def test_many_documents_are_worked_on_in_parts() -> None:
    grammar = PCFG.fromstring("S -> S S [0.5] | 'a' [0.5]")
    sample = grammar.sample(2000, generator=generator(4), device="cpu", max_tokens=5000)
    assert len(sample.documents) + sample.n_cut == 2000
    assert int(sample.documents.offsets[-1]) == len(sample.documents.values)


def test_rules_of_probability_zero_are_never_drawn() -> None:
    rules = [Rule("S", ["a"], 0.0), Rule("S", ["b"], 1.0), Rule("S", [Nonterminal("S")], 0.0), Rule("S", ["c"], 0.0)]
    sample = PCFG("S", rules).sample(1000, generator=generator(5), device="cpu")
    assert set(sample.documents.values.tolist()) == {1}


def test_nothing_and_wrong_numbers() -> None:
    grammar = PCFG.fromstring("S -> 'a' [1]")
    nothing = grammar.sample(0, device="cpu")
    assert len(nothing.documents) == 0 and nothing.n_cut == 0
    assert nothing.to_dict() == {"documents": [], "n_cut": 0}
    assert repr(grammar.sample(2, device="cpu")) == "Sample(2 of 2 tokens, 0 cut)"
    for wrong in ({"n": -1}, {"n": 1, "max_tokens": -1}, {"n": 1, "max_steps": -1}):
        with pytest.raises(ValueError, match=">= 0"):
            grammar.sample(**wrong)
