"""A family as one grammar without levels."""

import itertools
from collections import Counter

import pytest

from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.grammar import PCFG
from toolkit.grammars.named import cfg3b, cfg3f, toy_family
from toolkit.grammars.rules import Nonterminal
from toolkit.grammars.text import from_text, random_family


def uneven() -> GrammarFamily:
    rules = [[[[(0,), (1, 0, 1)]], [[(1, 1), (0,)]]], [[[(0,), (1, 2)], [(2, 1), (0,)]], [[(2,)], [(2, 1), (0,)]]]]
    probs = [[[[0.2, 0.8]], [[1.0, 0.0]]], [[[0.6, 0.4], [0.25, 0.75]], [[1.0], [0.25, 0.75]]]]
    return GrammarFamily((1, 2, 3), rules, probs, choice_probs=[(0.1, 0.9), (0.7, 0.3)])


def of_pcfg(grammar: PCFG) -> dict[tuple[str, ...], float]:
    """Return every sentence of a grammar without recursion."""

    def below(symbol: Nonterminal | str) -> dict[tuple[str, ...], float]:
        if isinstance(symbol, str):
            return {(symbol,): 1.0}
        found: Counter[tuple[str, ...]] = Counter()
        for rule in grammar.rules:
            if rule.parent == symbol:
                for parts in itertools.product(*(below(child).items() for child in rule.children)):
                    p = rule.probability
                    for _, part in parts:
                        p *= part
                    found[sum((tokens for tokens, _ in parts), ())] += p
        return found

    return below(grammar.start)


def of_family(family: GrammarFamily) -> dict[tuple[str, ...], float]:
    def below(choices: tuple[int, ...], level: int, symbol: int) -> Counter[tuple[str, ...]]:
        if level == family.depth:
            return Counter({(family.terminals[symbol],): 1.0})
        found: Counter[tuple[str, ...]] = Counter()
        here = family.rules[level][choices[level]][symbol]
        for children, p in zip(here, family.probs[level][choices[level]][symbol], strict=True):
            for parts in itertools.product(*(below(choices, level + 1, child).items() for child in children)):
                for _, part in parts:
                    p *= part
                found[sum((tokens for tokens, _ in parts), ())] += p
                p = family.probs[level][choices[level]][symbol][here.index(children)]
        return found

    total: Counter[tuple[str, ...]] = Counter()
    for choices in itertools.product(*(range(k) for k in family.n_choices)):
        weight = 1.0
        for level, choice in enumerate(choices):
            weight *= family.choice_probs[level][choice]
        for tokens, p in below(choices, 0, 0).items():
            total[tokens] += weight * p
    return total


@pytest.mark.parametrize(
    "family", [uneven(), from_text("01|10;00/01//1/01"), random_family((1, 2, 2), 2, seed=0), from_text("0|1")], ids=str
)
def test_the_sentences_and_their_probabilities_are_the_same(family):
    expected, found = of_family(family), of_pcfg(family.union())
    positive = {tokens for tokens, p in expected.items() if p > 0}
    assert {tokens for tokens, p in found.items() if p > 0} == positive
    assert all(abs(found[tokens] - expected[tokens]) < 1e-14 for tokens in positive)


def test_one_grammar_keeps_its_plain_names():
    grammar = toy_family().grammar([0, 1, 0]).to_pcfg()
    assert grammar.start == Nonterminal("S")
    names = [symbol.name for symbol in grammar.nonterminals]
    assert names == ["S", "A0", "A1", "A2", "B0", "B1", "B2"]
    assert grammar.terminals == ("a", "b", "c")
    assert len(cfg3b().to_pcfg().rules) == 32 and len(cfg3f().to_pcfg().rules) == 54


def test_symbols_are_shared_where_their_rules_agree():
    # Only the upper level has a choice: what is below is the same for both.
    shared = from_text("01//10|11;0|1/01").union()
    assert [symbol.name for symbol in shared.nonterminals] == ["S", "S_0", "S_1", "A0", "A1"]
    # B depends on the last choice alone, A on two, the root on three.
    levels = Counter(symbol.name[0] for symbol in toy_family().union().nonterminals)
    assert levels == {"S": 9, "A": 12, "B": 6}
    # One symbol has the same rules in both sets.
    partly = from_text("01;0|1/01//1/01").union()
    assert [symbol.name for symbol in partly.nonterminals] == ["S", "S_0", "S_1", "A0_0", "A1_0", "A0_1"]


def test_roots_that_agree_add_their_probabilities():
    family = GrammarFamily((1, 2), [[[[(0,)]], [[(1,)]], [[(0,)]]]], choice_probs=[(0.25, 0.25, 0.5)])
    starts = [rule for rule in family.union().rules if rule.parent.name == "S"]
    assert [rule.probability for rule in starts] == [0.75, 0.25]


def test_ids_of_tokens_are_those_of_the_family():
    family = from_text("21|2", terminals=("x", "y", "z", "never"))
    assert family.to_pcfg().terminals == ("x", "y", "z", "never")


@pytest.mark.parametrize("family", [toy_family(), cfg3f(), uneven()], ids=str)
def test_what_is_written_for_nltk_is_read_again(family):
    again = PCFG.fromstring(family.to_nltk(), terminals=family.terminals)
    assert again.rules == family.union().rules and again.start == family.union().start
    choices = [0] * family.depth
    assert (
        PCFG.fromstring(family.to_nltk(choices), terminals=family.terminals).rules
        == family.grammar(choices).to_pcfg().rules
    )


def test_nltk_reads_it():
    nltk = pytest.importorskip("nltk")
    theirs = nltk.PCFG.fromstring(uneven().to_nltk())
    ours = uneven().union()
    assert len(theirs.productions()) == len(ours.rules)
    assert str(theirs.start()) == ours.start.name
    parser = nltk.parse.pchart.InsideChartParser(theirs)
    for tokens, p in of_family(uneven()).items():
        if p > 0:
            assert abs(sum(tree.prob() for tree in parser.parse(list(tokens))) - p) < 1e-12


def test_metadata_that_no_grammar_has():
    with pytest.raises(ValueError, match="0 to 1"):
        toy_family().to_nltk([0, 2, 0])
