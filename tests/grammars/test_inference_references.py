"""Exact inference against all documents of the toy family, two other parsers, and documents of thousands of tokens."""

import math
import random

import pytest
import torch

from tests.grammars.language_by_hand import languages
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.inference import infer
from toolkit.grammars.text import from_text

TOY = from_text("20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22")
CFG3F = from_text(
    "12|102|200|11;202|12|22/00|01|102/21|10|012|02;22|020|10|11/210|12|21/120|200|02;"
    "12|212|021/02|202|21|022/011|110|00|221;122|202|022/11|20|200/020|21|112;110|211|201|21/200|01|220/010|22|00"
)


@pytest.fixture(scope="module")
def toy():
    """All documents of the toy family, how probable each is under each grammar, and what inference says."""
    known = languages(TOY)
    documents = sorted(set().union(*known))
    probs = torch.tensor([[of.get(d, 0.0) for of in known] for d in documents], dtype=torch.float64)
    return documents, probs, infer(TOY, documents)


def test_all_documents_of_the_toy_family(toy):
    documents, probs, found = toy
    assert len(documents) == 16_730
    torch.testing.assert_close(found.log_prob.exp(), probs, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.log_prob.exp().sum(0), torch.ones(8, dtype=torch.float64))
    assert (found.lengths.min(), found.lengths.max()) == (8, 27)
    assert float((probs.mean(1) * found.lengths).sum()) == pytest.approx(16.03125, abs=1e-9)
    total = found.next_token_given.sum(-1)
    torch.testing.assert_close(total, (found.prefix_log_prob > -torch.inf).double() * found.mask[..., None])
    mixed = found.next_token_probs().sum(-1)
    torch.testing.assert_close(mixed, found.mask.double())


def test_entropies_of_the_toy_family(toy):
    _, probs, found = toy
    expected = (8.8566986794, 8.1983760028, 7.5163147392, 6.8231675586)
    for known_levels, entropy in enumerate(expected):
        loss = 0.0
        for row in TOY.all_metadata[:: 2 ** (3 - known_levels)]:
            agree = (TOY.all_metadata[:, :known_levels] == row[:known_levels]).all(1)
            p = probs[:, agree].sum(1)
            loss += float((p / 8 * torch.where(p > 0, found.optimal_loss(known_levels, row).sum(1), 0)).sum())
        assert loss == pytest.approx(entropy, abs=2e-10)
    ended = found.sentence_posterior()
    weights = probs.mean(1, keepdim=True) * ended
    left = -torch.where(ended > 0, weights * ended.log(), 0).sum()
    assert math.log(8) - float(left) == pytest.approx(2.0335311208, abs=2e-10)


TABLE = {
    0: (1, 0.12500000, 2.07944154, (0.5, 0.5, 0.5)),
    1: (1, 0.14926215, 1.98463003, (0.59375, 0.53125, 0.65625)),
    2: (1, 0.23229167, 1.55315274, (0.625, 0.53125, 0.84375)),
    4: (1, 0.31614583, 1.24214475, (0.625, 0.5546875, 1)),
    8: (1, 0.55009766, 0.73950595, (0.80859375, 0.73242188, 1)),
    12: (0.87792969, 0.83448408, 0.24211618, (0.87931034, 0.9538376, 1)),
    16: (0.47753906, 0.98686764, 0.01867196, (0.99335378, 0.98875256, 1)),
    20: (0.24847412, 1, 0, (1, 1, 1)),
}


@pytest.mark.parametrize("k", TABLE)
def test_posterior_of_the_toy_family_by_prompt_length(toy, k):
    _, probs, found = toy
    posterior, levels = found.posterior()[:, k], found.level_posterior()
    weight = probs.mean(1) * found.mask[:, k]
    reached = float(weight.sum())
    of_true = float((probs / 8 * posterior).sum()) / reached
    entropy = -torch.where(posterior > 0, posterior * posterior.log(), 0).sum(1)
    best = [float((weight * level[:, k].amax(-1)).sum()) / reached for level in levels]
    expected = TABLE[k]
    assert reached == pytest.approx(expected[0], abs=1e-8)
    assert of_true == pytest.approx(expected[1], abs=1e-8)
    assert float((weight * entropy).sum()) / reached == pytest.approx(expected[2], abs=1e-8)
    assert best == pytest.approx(expected[3], abs=1e-8)


def test_the_end_turns_the_posterior_of_the_last_prefix_into_that_of_the_sentence(toy):
    documents, _, found = toy
    rows = torch.arange(len(documents))
    last = found.posterior()[rows, found.lengths]
    ended = last * found.next_token_given[rows, found.lengths, :, -1]
    torch.testing.assert_close(found.sentence_posterior(), ended / ended.sum(1, keepdim=True), rtol=1e-9, atol=1e-15)


def test_best_accuracy_is_the_mean_of_the_best_guess_over_those_that_are_long_enough():
    given = [[0, 1, 2, 0], [2], [], [1, 1, 1, 1, 1, 1, 1]]
    found = infer(TOY, given)
    levels, best = found.level_posterior(), found.best_accuracy()
    assert best.shape == (8, 3)
    for level, of_level in enumerate(levels):
        for k in range(8):
            guesses = [float(of_level[s, k].max()) for s in range(4) if k <= len(given[s])]
            guesses = [guess for guess in guesses if guess]
            expected = sum(guesses) / len(guesses) if guesses else 0
            assert float(best[k, level]) == pytest.approx(expected, abs=1e-12)


def drawn(family, seed, metadata=None):
    draw = random.Random(seed)
    symbols, row = [0], metadata or [0] * family.depth
    for level in range(family.depth):
        rules, probs = family.rules[level][row[level]], family.probs[level][row[level]]
        symbols = [c for s in symbols for c in draw.choices(rules[s], probs[s])[0]]
    return symbols


def test_genlm_agrees_on_every_next_token():
    genlm = pytest.importorskip("genlm.grammar")
    family = LevelledGrammar([1, *CFG3F.sizes[4:]], [[[CFG3F.rules[3][0][0]]], *CFG3F.rules[4:]])
    cfg = genlm.CFG(R=genlm.Float, S="L0S0", V=set(family.terminals))
    for level in range(family.depth):
        for symbol, alternatives in enumerate(family.rules[level][0]):
            for children in alternatives:
                names = [family.terminals[c] if level == 2 else f"L{level + 1}S{c}" for c in children]
                cfg.add(1 / len(alternatives), f"L{level}S{symbol}", *names)
    model = genlm.EarleyLM(cfg)
    for seed in range(2):
        sentence = drawn(family, seed)
        found = infer(family, sentence).next_token_given[0, :, 0]
        names = tuple(family.terminals[token] for token in sentence)
        for k in range(len(sentence) + 1):
            probs = model.p_next(names[:k])
            expected = [float(probs[token]) for token in (*family.terminals, genlm.EOS)]
            assert found[k].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_inside_parser_of_nltk_agrees():
    nltk = pytest.importorskip("nltk")
    row = [1, 1, 0]
    lines = []
    for level in range(3):
        for symbol, alternatives in enumerate(TOY.rules[level][row[level]]):
            for children in alternatives:
                names = [f"'{TOY.terminals[c]}'" if level == 2 else f"L{level + 1}S{c}" for c in children]
                lines.append(f"L{level}S{symbol} -> {' '.join(names)} [{1 / len(alternatives)}]")
    parser = nltk.parse.pchart.InsideChartParser(nltk.PCFG.fromstring("\n".join(lines)))
    for seed in range(4):
        sentence = drawn(TOY, seed, row)
        trees = parser.parse([TOY.terminals[token] for token in sentence])
        expected = math.fsum(tree.prob() for tree in trees)
        assert math.exp(infer(TOY, sentence, metadata=row).log_prob[0, 0]) == pytest.approx(expected, rel=1e-9)


def test_matrices_and_bands_agree_on_ambiguous_sentences():
    family = LevelledGrammar([1, *CFG3F.sizes[3:]], [[[CFG3F.rules[2][0][1]]], *CFG3F.rules[3:]])
    given = [drawn(family, 0), drawn(family, 1)[:7], drawn(family, 2)]
    dense, banded = infer(family, given, form="dense"), infer(family, given, form="banded")
    torch.testing.assert_close(dense.prefix_log_prob, banded.prefix_log_prob, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(dense.next_token_given, banded.next_token_given, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(dense.log_prob, banded.log_prob, rtol=1e-11, atol=1e-11)
    assert dense.member[:, 0].tolist() == [True, False, True]


def binary(depth, rare):
    """Documents of 2 ** depth tokens that can be parsed in one way: each symbol has a likely and a rare rule."""
    rules = [[[[0, 1], [1, 0]], [[0, 0], [1, 1]]]]
    likely, unlikely = (1 - rare, rare), (rare, 1 - rare)
    top = [[[[0, 1], [1, 0]]]]
    probs = [[[likely, likely], [unlikely, likely]]] * (depth - 1)
    return GrammarFamily([1] + [2] * depth, [top, *[rules * 2] * (depth - 1)], [[[likely]], *probs], choice_probs=None)


def log_prob_by_blocks(family, sentence, row):
    """The log-probability where every symbol of a level has the same length: block by block, in logarithms."""
    logs = [[0.0 if token == symbol else -math.inf for symbol in range(2)] for token in sentence]
    for level in reversed(range(family.depth)):
        rules, probs = family.rules[level][row[level]], family.probs[level][row[level]]
        logs = [
            [
                max(math.log(p) + left[a] + right[b] for (a, b), p in zip(rules[s], probs[s], strict=True))
                for s in range(family.sizes[level])
            ]
            for left, right in zip(logs[::2], logs[1::2], strict=True)
        ]
    return logs[0][0]


@pytest.mark.parametrize("rare", [0.5, 0.01, 1e-5, 1e-40, 1e-200])
@pytest.mark.parametrize("rule", [0, 1])
def test_documents_of_2048_tokens_neither_underflow_nor_overflow(rare, rule):
    family = binary(11, rare)
    symbols, row = [0], [0] * 11
    for level in range(11):
        symbols = [c for s in symbols for c in family.rules[level][0][s][rule]]
    rows = [row, [0] + [1] * 10, [0, *[0, 1] * 5]]
    found = infer(family, [symbols, symbols[:1000]], metadata=rows)
    expected = [log_prob_by_blocks(family, symbols, row) for row in rows]
    assert found.log_prob[0].tolist() == pytest.approx(expected, rel=1e-11)
    assert found.member.tolist() == [[True] * 3, [False] * 3]
    for value in (found.next_token_given, found.next_token_probs(), found.posterior()):
        torch.testing.assert_close(value.sum(-1)[0], torch.ones_like(value.sum(-1)[0]), rtol=1e-9, atol=0)
    assert float(found.optimal_loss(11, row)[0].sum()) == pytest.approx(-expected[0], rel=1e-11, abs=1e-9)


def test_a_document_of_2000_tokens_of_a_deep_ambiguous_grammar():
    rules = [[[[[0, 1, 2], [0, 2, 1], [1, 0]]]]] + [
        [[[[1, 0, 2], [2, 1, 1], [0, 2]], [[0, 0, 1], [1, 2, 0], [2, 1]], [[2, 2, 0], [0, 1, 2], [1, 1]]]]
    ] * 6
    family = LevelledGrammar([1] + [3] * 7, rules)
    draw = random.Random(0)
    symbols = [0]
    for level in range(7):
        symbols = [c for s in symbols for c in family.rules[level][0][s][draw.choices((0, 1, 2), (20, 20, 1))[0]]]
    assert 1900 < len(symbols) <= 2187
    found = infer(family, symbols)
    assert bool(found.member) and found.log_prob.isfinite().all()
    assert float(found.log_prob) < -745, "the probability itself is no floating-point number"
    torch.testing.assert_close(found.optimal_loss().sum(), -found.log_prob[0, 0], rtol=1e-11, atol=0)
    torch.testing.assert_close(found.next_token_given.sum(-1), torch.ones(1, len(symbols) + 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("sentence", [3])
def test_single_precision_survives_long_documents(sentence):
    given = drawn(CFG3F, sentence)
    single, double = infer(CFG3F, given, dtype=torch.float32), infer(CFG3F, given)
    torch.testing.assert_close(single.log_prob, double.log_prob, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(single.next_token_given.double(), double.next_token_given, rtol=1e-3, atol=1e-5)
