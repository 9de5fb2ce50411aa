"""Sums over derivations against string-by-string references."""

import math

import numpy as np
import pytest
import torch

from tests.grammars.string_series import all_strings, prefix_mass, random_grammar, series
from toolkit.grammars import chart
from toolkit.grammars.grammar import PCFG

GRAMMARS = {
    "one word": "S -> 'a' [1]",
    "nothing": "S -> [1]",
    "nothing or a word": "S -> [0.4] | 'a' [0.6]",
    "ambiguous": "S -> S S [0.3] | 'a' [0.7]",
    "inconsistent": "S -> S S [0.6] | 'a' [0.4]",
    "left recursion": "S -> S 'a' [0.3] | 'b' [0.7]",
    "right recursion": "S -> 'a' S [0.3] | 'b' [0.7]",
    "centre": "S -> 'a' S 'b' [0.4] | [0.6]",
    "unary cycle": "S -> A [0.5] | 'a' [0.5]\nA -> B [0.6] | 'b' [0.4]\nB -> S [0.7] | A [0.2] | S 'a' [0.1]",
    "a cycle of one": "S -> S [0.5] | 'a' [0.3] | S 'b' [0.2]",
    "all at once": "S -> S A [.2] | A [.2] | [.1] | S [.1] | 'a' S 'b' [.2] | 'a' [.2]\nA -> S [.2] | 'b' [.6] | [.2]",
    "empty in the middle": "S -> A B A [1]\nA -> 'a' [.5] | [.5]\nB -> A A [.3] | B [.2] | 'b' [.5]",
    "four children": "S -> 'a' A 'b' A [.5] | A 'b' A [.5]\nA -> 'a' [.9] | [.1]",
    "zero": "S -> S S S [0] | A [0.5] | 'a' [0.5]\nA -> 'b' [1] | [0]",
    "unproductive": "S -> 'a' U [0.3] | 'a' [0.7]\nU -> 'b' U [1]",
    "empty alone": "S -> 'a' E [.5] | E 'b' [.5]\nE -> E E [.3] | [.7]",
    "same side twice": "S -> 'a' [0.3] | 'a' [0.7]",
    **{f"random {seed}": random_grammar(seed).tostring() for seed in range(4)},
}


@pytest.fixture(params=GRAMMARS, scope="module")
def grammar(request: pytest.FixtureRequest) -> PCFG:
    return PCFG.fromstring(GRAMMARS[request.param])


def test_probabilities_of_strings_and_prefixes(grammar: PCFG) -> None:
    length = 3 if len(grammar.terminals) > 1 else 5
    strings = series(grammar, length)[grammar.start]
    tried = [s for s in all_strings(grammar.terminals, length) if len(s) <= length]
    want = torch.tensor([float(strings.get((s, False), [0.0])[0]) for s in tried], dtype=torch.float64)
    torch.testing.assert_close(grammar.log_prob([list(s) for s in tried]).exp(), want, rtol=1e-9, atol=1e-12)
    masses = torch.tensor([prefix_mass(strings, s) for s in tried], dtype=torch.float64)
    found = grammar.prefix_log_prob([list(s) for s in tried])
    torch.testing.assert_close(found.exp(), masses, rtol=1e-9, atol=1e-12)
    assert math.isclose(grammar.total_mass(), float(masses[0]), rel_tol=1e-9)


def test_what_comes_next(grammar: PCFG) -> None:
    strings = series(grammar, 3)[grammar.start]
    tried = all_strings(grammar.terminals, 2)
    found = grammar.next_token_probs([list(s) for s in tried])
    for string, row in zip(tried, found, strict=True):
        mass = prefix_mass(strings, string)
        want = [prefix_mass(strings, (*string, t)) for t in grammar.terminals]
        want.append(float(strings.get((string, False), [0.0])[0]))
        want_row = torch.tensor(want, dtype=torch.float64) / (mass or 1.0)
        torch.testing.assert_close(row, want_row, rtol=1e-9, atol=1e-12)
        assert math.isclose(float(row.sum()), 1.0 if mass else 0.0, abs_tol=1e-12)


def test_the_table_is_every_prefix_in_one_pass(grammar: PCFG) -> None:
    for string in all_strings(grammar.terminals, 3)[-3:]:
        table = grammar.next_token_table(list(string))
        assert table.shape == (len(string) + 1, grammar.n_terminals + 1)
        rows = torch.stack([grammar.next_token_probs(list(string[:k])) for k in range(len(string) + 1)])
        torch.testing.assert_close(table, rows, rtol=1e-12, atol=1e-14)


def test_inside(grammar: PCFG) -> None:
    strings = series(grammar, 3)
    sentence = (grammar.terminals * 3)[:3] if grammar.terminals else ("x", "x", "x")
    found = grammar.inside(list(sentence)).exp()
    for start in range(4):
        for end in range(4):
            for place, symbol in enumerate(grammar.nonterminals):
                want = float(strings[symbol].get((sentence[start:end], False), [0.0])[0]) if end >= start else 0.0
                assert math.isclose(float(found[start, end, place]), want, rel_tol=1e-9, abs_tol=1e-13)


def test_outside(grammar: PCFG) -> None:
    sentence = (grammar.terminals * 3)[:3] if grammar.terminals else ("x", "x", "x")
    found = grammar.outside(list(sentence)).exp()
    unproductive = grammar.checks().unproductive
    for place, symbol in enumerate(grammar.nonterminals):
        if symbol in unproductive:
            continue
        strings = series(grammar, 4, longer=False, marked=symbol)[grammar.start]
        for start in range(4):
            for end in range(start, 4):
                around = ((*sentence[:start], "#", *sentence[end:]), False)
                want = float(strings.get(around, [0.0])[0])
                assert math.isclose(float(found[start, end, place]), want, rel_tol=1e-9, abs_tol=1e-13), (start, end)


def test_expected_counts(grammar: PCFG) -> None:
    strings = series(grammar, 3, longer=False, counting=True)[grammar.start]
    possible = [key[0] for key in strings if strings[key][0] > 0]
    total = torch.zeros(len(grammar.rules), dtype=torch.float64)
    for string in possible:
        weight = torch.tensor(strings[string, False], dtype=torch.float64)
        want = weight[1:] / weight[0]
        torch.testing.assert_close(grammar.expected_counts(list(string)), want, rtol=1e-9, atol=1e-11)
        total += want
    impossible = [grammar.n_terminals]
    sentences = [*(grammar.encode(string).tolist() for string in possible), impossible]
    torch.testing.assert_close(grammar.expected_counts(sentences), total, rtol=1e-9, atol=1e-11)


def test_mean_length_and_entropy(grammar: PCFG) -> None:
    if not grammar.checks().consistent:
        assert grammar.expected_length() == grammar.entropy() == math.inf
        return
    weight = np.stack(list(series(grammar, 0, counting=True)[grammar.start].values())).sum(0)
    length = sum(
        count * sum(isinstance(child, str) for child in rule.children)
        for rule, count in zip(grammar.rules, weight[1:], strict=True)
    )
    entropy = -sum(
        count * math.log(rule.probability)
        for rule, count in zip(grammar.rules, weight[1:], strict=True)
        if rule.probability > 0
    )
    assert math.isclose(grammar.expected_length(), length, rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(grammar.entropy(), entropy, rel_tol=1e-9, abs_tol=1e-12)


def test_viterbi(grammar: PCFG) -> None:
    strings = series(grammar, 3, longer=False, best=True)[grammar.start]
    probabilities = {(rule.parent.name, tuple(map(str, rule.children))): 0.0 for rule in grammar.rules}
    for rule in grammar.rules:
        key = (rule.parent.name, tuple(map(str, rule.children)))
        probabilities[key] = max(probabilities[key], rule.probability)
    for string in all_strings(grammar.terminals, 3):
        parse = grammar.viterbi(list(string))
        want = float(strings.get((string, False), [0.0])[0])
        if want == 0:
            assert parse.tree is None and parse.log_prob == -math.inf
            continue
        assert math.isclose(math.exp(parse.log_prob), want, rel_tol=1e-9)
        assert parse.tree is not None
        assert tuple(parse.tree.leaves()) == string
        product = 1.0
        for node in parse.tree.nodes():
            children = tuple(child if isinstance(child, str) else child.label for child in node.children)
            assert node.probability == probabilities[node.label, children]
            product *= node.probability
        assert math.isclose(product, want, rel_tol=1e-9)
        assert math.isclose(parse.tree.log_prob, parse.log_prob, rel_tol=1e-9, abs_tol=1e-12)


def test_a_batch_is_its_sentences_one_by_one() -> None:
    grammar = PCFG.fromstring(GRAMMARS["all at once"])
    sentences = [list(s) for s in (*all_strings(grammar.terminals, 3), "abab", "aabbab", "zb")]
    for method in ("log_prob", "prefix_log_prob", "next_token_probs"):
        single = torch.stack([getattr(grammar, method)(s) for s in sentences])
        torch.testing.assert_close(getattr(grammar, method)(sentences), single, rtol=1e-12, atol=1e-14)
    for method in ("inside", "outside", "next_token_table"):
        whole = getattr(grammar, method)(sentences)
        filling = 0.0 if method == "next_token_table" else -torch.inf
        for row, sentence in zip(whole, sentences, strict=True):
            n = len(sentence) + 1
            own = (slice(n),) if method == "next_token_table" else (slice(n), slice(n))
            torch.testing.assert_close(row[own], getattr(grammar, method)(sentence), rtol=1e-12, atol=1e-14)
            row[own] = filling
            assert bool((row == filling).all())
    counts = sum(grammar.expected_counts(sentence) for sentence in sentences)
    torch.testing.assert_close(grammar.expected_counts(sentences), counts, rtol=1e-12, atol=1e-12)


def test_inside_times_outside_is_the_sentence_at_every_token() -> None:
    grammar = PCFG.fromstring("S -> A S [.4] | A [.6]\nA -> 'a' B [.5] | 'b' [.5]\nB -> A [.3] | 'a' [.7]")
    sentence = list("abaabab")
    total = grammar.log_prob(sentence)
    whole = (grammar.inside(sentence) + grammar.outside(sentence) - total).exp()
    # Every token is written by A or by B.
    lexical = whole[torch.arange(7), torch.arange(1, 8)]
    assert float(whole[0, 7, 0]) == pytest.approx(1.0, abs=1e-12)
    counts = grammar.expected_counts(sentence)
    names = [nonterminal.name for nonterminal in grammar.nonterminals]
    for symbol in ("S", "A", "B"):
        used = sum(float(c) for c, rule in zip(counts, grammar.rules, strict=True) if rule.parent.name == symbol)
        assert float(whole[..., names.index(symbol)].sum()) == pytest.approx(used, rel=1e-12)
    assert lexical.shape == (7, 3)


@pytest.mark.parametrize("text", ["S -> S S [0.45] | 'a' [0.0001] | 'b' [0.5499]", "S -> 'a' S [0.001] | 'b' [0.999]"])
def test_long_sentences_do_not_underflow(text: str) -> None:
    grammar = PCFG.fromstring(text)
    n = 250
    sentence = torch.tensor([0] * (n - 1) + [1])
    if "S S" in text:
        trees = math.lgamma(2 * n - 1) - math.lgamma(n) - math.lgamma(n + 1)
        want = trees + (n - 1) * (math.log(0.45) + math.log(0.0001)) + math.log(0.5499)
    else:
        want = (n - 1) * math.log(0.001) + math.log(0.999)
    assert math.isclose(float(grammar.log_prob(sentence)), want, rel_tol=1e-12)
    table = grammar.next_token_table(sentence)
    torch.testing.assert_close(table.sum(1), torch.ones(n + 1, dtype=torch.float64), rtol=0, atol=1e-9)
    logs = table[torch.arange(n), sentence].log().sum() + table[n, -1].log()
    assert math.isclose(float(logs), want, rel_tol=1e-10)
    assert math.isclose(
        float(grammar.viterbi(sentence).log_prob), want - (trees if "S S" in text else 0), rel_tol=1e-12
    )


def test_a_rare_symbol_is_not_lost_beside_a_common_one() -> None:
    common, rare = "A -> 'a' A [.999] | 'a' [.001]", "B -> 'a' B [.0001] | 'a' [.9999]"
    grammar = PCFG.fromstring(f"S -> A 'x' [.5] | B 'y' [.5]\n{common}\n{rare}")
    sentence = ["a"] * 120 + ["y"]
    want = math.log(0.5) + 119 * math.log(0.0001) + math.log(0.9999)
    assert math.isclose(float(grammar.log_prob(sentence)), want, rel_tol=1e-12)
    assert math.isclose(float(grammar.prefix_log_prob(sentence)), want, rel_tol=1e-12)


@pytest.mark.parametrize("name", ["all at once", "four children", "centre", "random 1"])
def test_leaving_out_impossible_splits_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = PCFG.fromstring(GRAMMARS[name])
    generator = torch.Generator().manual_seed(2)
    documents = grammar.sample(30, generator=generator, device="cpu", max_tokens=20).documents
    anything = torch.randint(0, grammar.n_terminals + 1, (2, 20), generator=generator)
    found = []
    for least in (10**9, 0):
        monkeypatch.setattr(chart, "_SMALL", least)
        found.append(
            [
                *(grammar.log_prob(given) for given in (documents, anything)),
                *(grammar.outside(given) for given in (documents, anything)),
                grammar.inside(anything),
                grammar.expected_counts(documents),
                torch.tensor([grammar.viterbi(documents[i]).log_prob for i in range(3)]),
            ]
        )
    for whole, left_out in zip(*found, strict=True):
        torch.testing.assert_close(whole, left_out, rtol=1e-12, atol=1e-12)
