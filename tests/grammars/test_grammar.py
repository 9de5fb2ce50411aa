"""General grammars: what they accept, how they are written, and the whole of them against references and peers."""

import math
import pickle

import numpy as np
import pytest
import torch

from tests.grammars.string_series import all_strings, random_grammar
from toolkit.grammars.documents import as_documents
from toolkit.grammars.grammar import PCFG, Nonterminal, Rule

SENTENCES = """
# A grammar of a few sentences.
S -> NP VP [1.0]
NP -> Det N [0.5] | NP PP [0.3] | 'I' [0.2]   # recursive to the left
VP -> V NP [0.6] | VP PP [0.4]
PP -> P NP [1]
Det -> 'the' [.6] | "a" [.4]
N -> 'man' [0.4] | \\
     'telescope' [0.3] | 'park' [0.3]
V -> 'saw' [1.0]
P -> 'with' [0.5] | 'in' [0.5]
"""


def test_reads_and_writes_nltks_format() -> None:
    grammar = PCFG.fromstring(SENTENCES)
    assert grammar.start == Nonterminal("S")
    assert [str(symbol) for symbol in grammar.nonterminals] == ["S", "NP", "VP", "PP", "Det", "N", "V", "P"]
    assert grammar.terminals[:3] == ("I", "the", "a")
    assert grammar.rules[1] == Rule("NP", (Nonterminal("Det"), Nonterminal("N")), 0.5)
    again = PCFG.fromstring(grammar.tostring())
    assert again == grammar and hash(again) == hash(grammar)
    assert again.tostring() == grammar.tostring()


@pytest.mark.parametrize("seed", range(5))
def test_the_round_trip_loses_no_digit(seed: int) -> None:
    grammar = random_grammar(seed)
    again = PCFG.fromstring(grammar.tostring(), terminals=grammar.terminals)
    assert again == grammar
    assert pickle.loads(pickle.dumps(again)) == grammar


def test_odd_terminals_survive() -> None:
    names = ["|", "->", "#", "[0.5]", "it's", '"', "\\", "%start", " ", "two words", "ε", "\t", "S"]
    grammar = PCFG("S", [Rule("S", [name], 1 / len(names)) for name in names])
    assert PCFG.fromstring(grammar.tostring()) == grammar
    assert float(grammar.log_prob(["it's"])) == pytest.approx(-math.log(len(names)))
    nltk = pytest.importorskip("nltk")
    theirs = nltk.PCFG.fromstring(grammar.tostring())
    assert [production.rhs()[0] for production in theirs.productions()] == names


def test_tiny_probabilities_are_written_without_an_exponent() -> None:
    grammar = PCFG("S", [Rule("S", ["a"], 1e-12), Rule("S", [], 1 - 1e-12)])
    assert "e" not in grammar.tostring()
    assert PCFG.fromstring(grammar.tostring()) == grammar


def test_the_start_symbol_can_be_told_apart() -> None:
    grammar = PCFG.fromstring("A -> 'a' [1]\n%start S\nS -> A A [1]\n")
    assert grammar.start == Nonterminal("S")
    assert float(grammar.log_prob("aa")) == 0.0
    assert PCFG.fromstring(grammar.tostring()) == grammar


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one rule"),
        ("# nothing\n\n", "at least one rule"),
        ("S 'a' [1]", "a nonterminal, then ->"),
        ("-> 'a' [1]", "a nonterminal, then ->"),
        ("'a' -> 'b' [1]", "a nonterminal, then ->"),
        ("S -> 'a [1]", "quoted"),
        ("S -> 'a'", "a probability in brackets"),
        ("S -> 'a' [0.5] |", "a probability in brackets"),
        ("S -> 'a' [1] |\nA -> 'b' [1]", "line 1"),
        ("S -> 'a' [x]", "from 0 to 1"),
        ("S -> 'a' [nan]", "from 0 to 1"),
        ("S -> 'a' [-0.5] | 'b' [1.5]", "from 0 to 1"),
        ("S -> 'a' [0.5] 'b' [0.5]", "behind a probability"),
        ("S -> '' [1]", "terminals with a name"),
        ("S -> 'a' [0.9]", "add up to 1 for S"),
        ("S -> 'a' [0.6] | 'b' [0.6]", "add up to 1 for S"),
        ("S -> A [1]\nA -> 'a' [0.5] | 'b' [0.4999]", "add up to 1 for A"),
        ("S -> A [1]", "none for A"),
        ("%start X\nS -> 'a' [1]", "a nonterminal with rules"),
        ("%first S\nS -> 'a' [1]", "%start"),
        ("S -> 'a' [1]\\", "last backslash"),
    ],
)
def test_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        PCFG.fromstring(text)
    assert message in str(raised.value)


def test_more_errors() -> None:
    rule = Rule("S", ["a"], 1.0)
    with pytest.raises(ValueError, match="at least one rule"):
        PCFG("S", [])
    with pytest.raises(TypeError, match="Rules"):
        PCFG("S", ["S -> 'a' [1]"])
    with pytest.raises(ValueError, match="a nonterminal with rules"):
        PCFG("X", [rule])
    with pytest.raises(ValueError, match="all tokens of the rules"):
        PCFG("S", [rule], terminals=["b"])
    with pytest.raises(ValueError, match="different names"):
        PCFG("S", [rule], terminals=["a", "a"])
    with pytest.raises(ValueError, match="from 0 to 1"):
        Rule("S", ["a"], 1.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        Rule("S", ["a"], math.nan)
    with pytest.raises(TypeError, match="a number"):
        Rule("S", ["a"], "much")
    with pytest.raises(TypeError, match="sequence"):
        Rule("S", "ab", 1.0)
    with pytest.raises(ValueError, match="both kinds of quotes"):
        PCFG("S", [Rule("S", ["'\""], 1.0)]).tostring()
    with pytest.raises(ValueError, match="nonterminals of letters"):
        PCFG("S 1", [Rule("S 1", ["a"], 1.0)]).tostring()


def test_six_digits_are_enough() -> None:
    grammar = PCFG.fromstring("S -> 'a' [0.333333] | 'b' [0.333333] | 'c' [0.333333]")
    assert [rule.probability for rule in grammar.rules] == pytest.approx([1 / 3] * 3, rel=1e-15)
    assert grammar.total_mass() == pytest.approx(1.0, abs=1e-15)


def test_sentences_in_every_form() -> None:
    grammar = PCFG.fromstring("S -> 'a' S [0.3] | 'b' [0.7]")
    want = math.log(0.3 * 0.7)
    forms = [["a", "b"], ("a", "b"), "ab", [0, 1], torch.tensor([0, 1]), np.array([0, 1]), torch.tensor([0, 1]).byte()]
    for form in forms:
        found = grammar.log_prob(form)
        assert found.shape == () and found.dtype == torch.float64
        assert float(found) == pytest.approx(want)
    batch = torch.tensor([[0, 1, -1], [1, -1, -1], [0, 0, 1]])
    wants = torch.tensor([0.21, 0.7, 0.063], dtype=torch.float64)
    lists = [["a", "b"], ["b"], ["a", "a", "b"]]
    for many in (batch, lists, [torch.tensor([0, 1]), [1], "aab"], as_documents("test", batch)):
        torch.testing.assert_close(grammar.log_prob(many).exp(), wants)
    assert grammar.log_prob(torch.zeros(0, 0, dtype=torch.int64)).shape == (0,)
    assert float(grammar.log_prob([])) == float(grammar.log_prob(torch.zeros(0))) == -math.inf
    assert grammar.encode(["b", "zz", "a"]).tolist() == [1, 2, 0]
    assert grammar.decode([1, 0]) == ["b", "a"]


def test_wrong_sentences() -> None:
    grammar = PCFG.fromstring(SENTENCES)
    with pytest.raises(ValueError, match="tokens >= 0"):
        grammar.log_prob([0, -1])
    with pytest.raises(ValueError, match="tokens >= 0"):
        grammar.log_prob(torch.tensor([0, -1]))
    for wrong in (3, None, {"a"}, [0.5], torch.tensor([0.5]), [True], ["I", 3], [[["I"]]], "I saw the man"):
        with pytest.raises(TypeError, match="expected"):
            grammar.log_prob(wrong)
    with pytest.raises(ValueError, match="one sentence"):
        grammar.viterbi([["I"], ["I"]])
    with pytest.raises(ValueError, match="dimensions"):
        grammar.log_prob(torch.zeros(1, 1, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="0 to"):
        grammar.decode([99])


def test_what_is_impossible_has_probability_zero() -> None:
    grammar = PCFG.fromstring("S -> 'a' S [0.3] | 'b' [0.7]")
    for impossible in (["zz"], ["b", "b"], [2], [99, 0], ["b", "zz"]):
        assert float(grammar.log_prob(impossible)) == -math.inf
        assert float(grammar.prefix_log_prob(impossible)) == -math.inf
        assert grammar.next_token_probs(impossible).tolist() == [0.0, 0.0, 0.0]
        assert grammar.viterbi(impossible).tree is None
        assert grammar.expected_counts(impossible).tolist() == [0.0, 0.0]
        table = grammar.next_token_table(impossible)
        assert not bool(table.isnan().any()) and table[-1].tolist() == [0.0, 0.0, 0.0]
        assert not bool(grammar.inside(impossible).isnan().any() | grammar.outside(impossible).isnan().any())
        with pytest.raises(ValueError, match="at least one of the language"):
            grammar.em_step(impossible)


def test_checks() -> None:
    fine = PCFG.fromstring(SENTENCES).checks()
    assert fine.consistent and fine.proper and not fine.unreachable and not fine.unproductive
    assert 0 < fine.spectral_radius < 1
    odd = PCFG.fromstring("S -> 'a' [.5] | U [.5]\nU -> U [1]\nX -> X X [.9] | 'x' [.1]\nY -> 'y' [1]").checks()
    assert [str(symbol) for symbol in odd.unreachable] == ["X", "Y"]
    assert [str(symbol) for symbol in odd.unproductive] == ["U"]
    assert not odd.consistent
    assert odd.to_dict()["unreachable"] == ["X", "Y"]
    assert PCFG.fromstring("S -> 'a' [1]\nX -> X X [.9] | 'x' [.1]").checks().consistent
    zero = PCFG.fromstring("S -> A [0] | 'a' [1]\nA -> 'b' [1]").checks()
    assert [str(symbol) for symbol in zero.unreachable] == ["A"]


@pytest.mark.parametrize(("p", "mass"), [(0.2, 1.0), (0.5, 1.0), (0.6, 2 / 3), (0.9, 1 / 9), (1.0, 0.0)])
def test_the_mass_of_finite_sentences(p: float, mass: float) -> None:
    grammar = PCFG("S", [Rule("S", [Nonterminal("S")] * 2, p), Rule("S", ["a"], 1 - p)])
    assert grammar.total_mass() == pytest.approx(mass, abs=1e-14)
    assert grammar.checks().spectral_radius == pytest.approx(2 * p)
    assert grammar.checks().consistent == (mass == 1.0)
    assert grammar.expected_length() == pytest.approx((1 - p) / (1 - 2 * p) if p < 0.5 else math.inf)
    assert grammar.entropy() == math.inf or p < 0.5
    first = grammar.next_token_probs([])
    assert first.tolist() == ([1.0, 0.0] if mass else [0.0, 0.0])
    assert float(grammar.prefix_log_prob([]).exp()) == pytest.approx(mass)


def test_endless_empty_derivations() -> None:
    grammar = PCFG.fromstring("S -> S 'a' E [.3] | 'b' [.7]\nE -> E E [.5] | [.5]")
    assert grammar.total_mass() == 1.0
    assert grammar.expected_length() == pytest.approx(1 + 0.6 / 0.7 - 0.3 / 0.7)
    assert grammar.entropy() == math.inf
    assert float(grammar.log_prob("baa").exp()) == pytest.approx(0.7 * 0.09, rel=1e-12)
    assert grammar.next_token_probs("ba").tolist() == pytest.approx([0.3, 0.0, 0.7])
    counts = grammar.expected_counts("ba").tolist()
    assert counts == [pytest.approx(1.0), pytest.approx(1.0), math.inf, math.inf]
    assert grammar.em_step("ba").rules[2:] == grammar.rules[2:]
    assert not bool(grammar.outside("ba").isnan().any())


@pytest.mark.parametrize("seed", range(8))
def test_em_never_lowers_the_likelihood(seed: int) -> None:
    grammar = random_grammar(seed, n_nonterminals=3 + seed % 3)
    documents = grammar.sample(40, generator=torch.Generator().manual_seed(seed), device="cpu", max_tokens=12).documents
    draw = torch.Generator().manual_seed(seed + 100)
    rules = [
        Rule(
            rule.parent,
            rule.children,
            0.0 if rule.probability == 0 else 0.9 * float(torch.rand((), generator=draw)) + 0.05,
        )
        for rule in grammar.rules
    ]
    totals = {symbol: sum(r.probability for r in rules if r.parent == symbol) for symbol in grammar.nonterminals}
    learner = PCFG(
        grammar.start,
        [Rule(r.parent, r.children, r.probability / totals[r.parent]) for r in rules],
        terminals=grammar.terminals,
    )
    before = float(learner.log_prob(documents).sum())
    for _ in range(4):
        learner = learner.em_step(documents)
        after = float(learner.log_prob(documents).sum())
        assert after >= before - 1e-9 * abs(before)
        before = after


def test_em_counts_trees_that_are_known() -> None:
    grammar = PCFG.fromstring("S -> 'a' S [0.5] | 'b' [0.5]")
    learned = grammar.em_step([list("aab"), ["b"], list("ab"), ["zz"]])
    assert [rule.probability for rule in learned.rules] == pytest.approx([0.5, 0.5])
    learned = grammar.em_step([list("aaab"), list("ab")])
    assert [rule.probability for rule in learned.rules] == pytest.approx([4 / 6, 2 / 6])


def test_nltk_agrees() -> None:
    pytest.importorskip("nltk")
    from nltk import PCFG as NltkPCFG
    from nltk.parse import ViterbiParser
    from nltk.parse.pchart import InsideChartParser

    grammar = PCFG.fromstring(SENTENCES)
    theirs = NltkPCFG.fromstring(grammar.tostring())
    for text in ("I saw the man", "I saw the man in the park with a telescope", "the man saw a park"):
        sentence = text.split()
        trees = list(InsideChartParser(theirs).parse(sentence))
        assert float(grammar.log_prob(sentence).exp()) == pytest.approx(sum(tree.prob() for tree in trees), rel=1e-12)
        best = next(iter(ViterbiParser(theirs).parse(sentence)))
        parse = grammar.viterbi(sentence)
        assert math.exp(parse.log_prob) == pytest.approx(best.prob(), rel=1e-12)
        counted = [0.0] * len(grammar.rules)
        places = {(r.parent.name, tuple(map(str, r.children))): i for i, r in enumerate(grammar.rules)}
        for tree in trees:
            for production in tree.productions():
                counted[places[str(production.lhs()), tuple(map(str, production.rhs()))]] += tree.prob()
        want = [count / sum(tree.prob() for tree in trees) for count in counted]
        assert grammar.expected_counts(sentence).tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_genlm_agrees(seed: int) -> None:
    genlm = pytest.importorskip("genlm.grammar")
    grammar = random_grammar(seed)
    theirs = genlm.CFG(genlm.Float, "S", set(grammar.terminals))
    for rule in grammar.rules:
        if rule.probability > 0:
            theirs.add(rule.probability, rule.parent.name, *map(str, rule.children))
    model = genlm.EarleyLM(theirs)
    for string in all_strings(grammar.terminals, 3):
        ours = grammar.next_token_probs(list(string))
        if float(ours.sum()) == 0:
            continue
        other = model.p_next(string)
        want = [*(other[t] for t in grammar.terminals), other[model.eos]]
        assert ours.tolist() == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_short_names_in_print() -> None:
    grammar = PCFG.fromstring("S -> 'a' S [0.3] | [0.7]")
    assert repr(grammar) == "PCFG(S: 2 rules, 1 nonterminals, 1 terminals)"
    assert str(grammar) == "S -> 'a' S [0.3]\nS -> ε [0.7]"
    assert repr(Nonterminal("S")) == "Nonterminal('S')"
    parse = grammar.viterbi("a")
    assert parse.to_dict()["log_prob"] == parse.log_prob
    assert "log_prob" in repr(parse)


def test_a_large_vocabulary() -> None:
    words = [f"w{index}" for index in range(300)]
    symbol = Nonterminal("S")
    rules = [Rule(symbol, [word, symbol], 1 / 600) for word in words] + [
        Rule(symbol, [word], 1 / 600) for word in words
    ]
    grammar = PCFG(symbol, rules)
    assert float(grammar.log_prob(["w1", "w2", "w3"])) == pytest.approx(3 * math.log(1 / 600))
    row = grammar.next_token_probs(["w1"])
    assert row[:-1].tolist() == pytest.approx([1 / 600] * 300) and float(row[-1]) == pytest.approx(0.5)
    assert grammar.viterbi(["w7"]).log_prob == pytest.approx(math.log(1 / 600))


def test_names_in_arrays_and_numbers_that_are_none():
    grammar = PCFG.fromstring("S -> 'a' S [0.5] | 'b' [0.5]")
    assert grammar.log_prob(np.array(["a", "b"])) == grammar.log_prob(["a", "b"])
    assert grammar.log_prob(np.array([["a", "b"]])).tolist() == [float(grammar.log_prob(["a", "b"]))]
    assert grammar.log_prob(np.array([0, 1], dtype=object)) == grammar.log_prob([0, 1])
    assert grammar.encode(np.array(["b", "z"])).tolist() == [1, 2]
    with pytest.raises(TypeError, match="bad argument"):
        grammar.log_prob([2**70])
    for wrong in ({"n": "3"}, {"n": 2.5}, {"n": 1, "max_steps": 1.5}, {"n": 1, "max_tokens": None}):
        with pytest.raises(TypeError):
            grammar.sample(**wrong)
