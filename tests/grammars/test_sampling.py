"""Documents have exactly the law of their grammars, whatever tables they are put together from."""

import itertools
from collections import Counter

import pytest
import torch
from scipy.stats import chi2

from toolkit.grammars import sampling_tables
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.named import cfg3b, cfg3f, toy_family
from toolkit.grammars.sampling_tables import blocks
from toolkit.grammars.text import from_text, random_family


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uneven() -> GrammarFamily:
    """Return a family with everything at once.

    Probabilities that are not equal, 0 and 1, one to three children, alternatives of differing number, two sets of
    rules at two of three levels, chosen unequally.
    """
    rules = [
        [[[(0,), (0, 1), (1, 0, 1)]], [[(1, 1), (0,)]]],
        [[[(0, 1), (1,)], [(0,), (1, 1), (0, 0), (1, 0)]]],
        [[[(0,), (1, 2)], [(2, 1), (0,)]], [[(2,)], [(1,), (0, 0, 0), (2, 2)]]],
    ]
    probs = [
        [[[0.2, 0.5, 0.3]], [[0.75, 0.25]]],
        [[[0.9, 0.1], [0.25, 0.0, 0.35, 0.4]]],
        [[[0.6, 0.4], [0.0, 1.0]], [[1.0], [1 / 3, 1 / 3, 1 / 3]]],
    ]
    return GrammarFamily((1, 2, 2, 3), rules, probs, choice_probs=[(0.3, 0.7), (1.0,), (0.6, 0.4)])


def sentences(family: GrammarFamily, choices: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """Return every sentence of one grammar with its probability, by writing all derivations down."""

    def below(level: int, symbol: int) -> Counter[tuple[int, ...]]:
        if level == family.depth:
            return Counter({(symbol,): 1.0})
        found: Counter[tuple[int, ...]] = Counter()
        choice = choices[level]
        for children, p in zip(family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True):
            for parts in itertools.product(*(below(level + 1, child).items() for child in children)):
                weight = p
                for _, part in parts:
                    weight *= part
                if weight > 0:
                    found[sum((tokens for tokens, _ in parts), ())] += weight
        return found

    return dict(below(0, 0))


def law(family: GrammarFamily) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """Return the probability of each pair of metadata and sentence."""
    found = {}
    for choices in itertools.product(*(range(k) for k in family.n_choices)):
        weight = 1.0
        for level, choice in enumerate(choices):
            weight *= family.choice_probs[level][choice]
        for tokens, p in sentences(family, choices).items():
            if weight * p > 0:
                found[choices, tokens] = weight * p
    return found


def observed(documents: Documents) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    assert documents.metadata is not None
    rows = documents.values.tolist()
    ends = documents.offsets.tolist()
    return Counter(
        (tuple(choices), tuple(rows[begin:end]))
        for choices, begin, end in zip(documents.metadata.tolist(), ends[:-1], ends[1:], strict=True)
    )


def p_value(expected: dict, counts: Counter) -> float:
    """Return the p-value of Pearson's test; what is expected less than 8 times is one class."""
    n = sum(counts.values())
    assert set(counts) <= set(expected), "something impossible was drawn"
    often = {key: p for key, p in expected.items() if n * p >= 8}
    rest = 1 - sum(often.values())
    statistic = sum((counts[key] - n * p) ** 2 / (n * p) for key, p in often.items())
    classes = len(often)
    if n * rest >= 1:
        rare = n - sum(counts[key] for key in often)
        statistic += (rare - n * rest) ** 2 / (n * rest)
        classes += 1
    return float(chi2.sf(statistic, classes - 1))


@pytest.mark.parametrize("most", [2**19, 40, 1], ids=["one block", "several", "a level each"])
def test_metadata_and_sentences_have_their_joint_law(most, monkeypatch):
    monkeypatch.setattr(sampling_tables, "MOST_SYMBOLS", most)
    family = uneven()
    documents = family.sample(60_000, device="cpu", generator=generator(1))
    expected = law(family)
    assert abs(sum(expected.values()) - 1) < 1e-12
    assert p_value(expected, observed(documents)) > 1e-3


@pytest.mark.parametrize("family", [toy_family(), from_text("01|10|1;0|01/11|0|10"), from_text("0|1|01")], ids=str)
def test_sentences_of_even_families_have_their_law(family):
    documents = family.sample(60_000, device="cpu", generator=generator(2))
    assert p_value(law(family), observed(documents)) > 1e-3


def test_given_metadata_are_kept_and_obeyed():
    family = uneven()
    rows = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 0, 1]]).repeat(8000, 1)
    documents = family.sample(len(rows), rows, device="cpu", generator=generator(3))
    assert documents.metadata is not None and torch.equal(documents.metadata, rows)
    counts = observed(documents)
    for choices in ((0, 0, 1), (1, 0, 0), (1, 0, 1)):
        mine = Counter({key: n for key, n in counts.items() if key[0] == choices})
        expected = {(choices, tokens): p for tokens, p in sentences(family, choices).items()}
        assert sum(mine.values()) == 8000
        assert p_value(expected, mine) > 1e-3


def test_one_row_of_metadata_serves_all_documents():
    documents = toy_family().sample(5, [1, 0, 1], device="cpu", generator=generator())
    assert documents.metadata is not None and documents.metadata.tolist() == [[1, 0, 1]] * 5
    documents.metadata[0, 0] = 0
    assert documents.metadata[1, 0] == 1, "rows share their memory"


@pytest.mark.parametrize("family", [cfg3b(), cfg3f()], ids=["cfg3b", "cfg3f"])
def test_lengths_have_their_law(family):
    documents = family.sample(20_000, device="cpu", generator=generator(4))
    expected = dict(enumerate(family.length_distribution().tolist()))
    assert p_value({k: p for k, p in expected.items() if p > 0}, Counter(documents.lengths.tolist())) > 1e-3


def test_lengths_of_a_family_have_their_law():
    documents = uneven().sample(20_000, device="cpu", generator=generator(5))
    expected = dict(enumerate(uneven().length_distribution().tolist()))
    assert p_value({k: p for k, p in expected.items() if p > 0}, Counter(documents.lengths.tolist())) > 1e-3


def row_probabilities(block: sampling_tables.Block) -> list[float]:
    """Return how likely each row is, given its combination and symbol, read off the alias tables."""
    n = len(block.leaves.starts)
    share = torch.zeros(n, dtype=torch.float64)
    for first, count in zip(block.first.tolist(), block.count.tolist(), strict=True):
        share[first : first + int(count)] = 1 / count
    if block.threshold is None or block.alias is None:
        return share.tolist()
    taken = share * block.threshold
    return taken.index_add(0, block.alias.long(), share - taken).tolist()


@pytest.mark.parametrize("most", [2**19, 40])
def test_tables_hold_the_exact_probability_of_every_yield(most, monkeypatch):
    monkeypatch.setattr(sampling_tables, "MOST_SYMBOLS", most)
    family = uneven()
    found = blocks(family, torch.device("cpu"), trees=False)
    block = found[-1]
    assert (len(found) == 1) == (most > 40) and block.bottom == 3
    p, starts, lengths = row_probabilities(block), block.leaves.starts.tolist(), block.leaves.lengths.tolist()
    symbols = block.leaves.values[0].tolist()
    below = [range(k) for k in family.n_choices[block.top :]]
    keys = list(itertools.product(itertools.product(*below), range(family.sizes[block.top])))
    assert len(keys) == len(block.first)
    for (choices, symbol), first, count in zip(keys, block.first.tolist(), block.count.tolist(), strict=True):
        mine: Counter[tuple[int, ...]] = Counter()
        for row in range(first, first + int(count)):
            mine[tuple(symbols[starts[row] : starts[row] + lengths[row]])] += p[row]
        part = GrammarFamily(
            (1, *family.sizes[block.top + 1 :]),
            [[[level[0][symbol]] for level in (family.rules[block.top][choices[0] : choices[0] + 1],)]]
            + [[level[c]] for level, c in zip(family.rules[block.top + 1 :], choices[1:], strict=True)],
            [[[family.probs[block.top][choices[0]][symbol]]]]
            + [[level[c]] for level, c in zip(family.probs[block.top + 1 :], choices[1:], strict=True)],
        )
        expected = sentences(part, (0,) * part.depth)
        assert set(mine) == set(expected)
        assert all(abs(mine[tokens] - expected[tokens]) < 1e-14 for tokens in expected)


@pytest.mark.parametrize("family", [toy_family(), uneven(), cfg3b(), cfg3f()], ids=["toy", "uneven", "cfg3b", "cfg3f"])
def test_a_seed_means_the_same_documents_with_and_without_trees(family):
    first = family.sample(300, device="cpu", generator=generator(6))
    again = family.sample(300, device="cpu", generator=generator(6))
    trees = family.sample(300, device="cpu", generator=generator(6), return_trees=True)
    other = family.sample(300, device="cpu", generator=generator(7))
    for same in (again, trees):
        assert torch.equal(first.values, same.values)
        assert torch.equal(first.offsets, same.offsets)
        assert torch.equal(first.metadata, same.metadata)
    assert first.levels == () and not (
        torch.equal(first.offsets, other.offsets) and torch.equal(first.values, other.values)
    )


@pytest.mark.parametrize("most", [2**19, 40])
@pytest.mark.parametrize("name", ["toy", "uneven", "cfg3f"])
def test_trees_follow_the_rules_down_to_the_tokens(name, most, monkeypatch):
    monkeypatch.setattr(sampling_tables, "MOST_SYMBOLS", most)
    made = {"toy": toy_family(), "uneven": uneven(), "cfg3f": cfg3f()}[name]
    family = GrammarFamily(made.sizes, made.rules, made.probs, made.choice_probs)
    documents = family.sample(40, device="cpu", generator=generator(8), return_trees=True)
    assert documents.metadata is not None and len(documents.levels) == family.depth + 1
    root = documents.levels[0]
    assert root.symbols.tolist() == [0] * 40 and len(root.parents) == 0
    document = torch.arange(40)
    for level, (nodes, below) in enumerate(itertools.pairwise(documents.levels)):
        assert len(nodes.alternatives) == len(nodes.symbols) and len(below.parents) == len(below.symbols)
        children: list[list[int]] = [[] for _ in nodes.symbols]
        for symbol, parent in zip(below.symbols.tolist(), below.parents.tolist(), strict=True):
            children[parent].append(symbol)
        choices = documents.metadata[document, level].tolist()
        for mine, choice, symbol, alternative in zip(
            children, choices, nodes.symbols.tolist(), nodes.alternatives.tolist(), strict=True
        ):
            assert tuple(mine) == family.rules[level][choice][symbol][alternative]
            assert family.probs[level][choice][symbol][alternative] > 0
        document = document[below.parents]
    assert torch.equal(documents.levels[-1].symbols, documents.values.long())
    assert len(documents.levels[-1].alternatives) == 0
    assert torch.equal(document.bincount(minlength=40), documents.lengths)


def test_slices_of_rows_change_nothing(monkeypatch):
    whole = cfg3b().sample(50, device="cpu", generator=generator(9))
    monkeypatch.setattr(sampling_tables, "ROWS_AT_ONCE", 7)
    sliced = cfg3b().sample(50, device="cpu", generator=generator(9))
    assert torch.equal(whole.values, sliced.values) and torch.equal(whole.offsets, sliced.offsets)


@pytest.mark.parametrize("trees", [False, True])
def test_no_documents(trees):
    for metadata in (None, [0, 1, 0], torch.zeros((0, 3), dtype=torch.int64)):
        documents = toy_family().sample(0, metadata, device="cpu", return_trees=trees)
        assert len(documents) == 0 and documents.n_tokens == 0 and documents.offsets.tolist() == [0]
        assert documents.metadata is not None and documents.metadata.shape == (0, 3)
        assert documents.padded().shape == (0, 0)
        assert len(documents.levels) == (4 if trees else 0)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(3, torch.uint8), (256, torch.uint8), (257, torch.int16), (32_768, torch.int16), (32_769, torch.int32)],
)
def test_tokens_take_the_bytes_that_they_need(size, dtype):
    rules = [[[[(0, size - 1), (size - 1, 0, size - 1)]]]]
    documents = LevelledGrammar((1, size), rules).sample(100, device="cpu", generator=generator())
    assert documents.values.dtype == dtype
    assert set(documents.values.tolist()) == {0, size - 1}


def test_many_symbols_at_inner_levels():
    family = random_family((1, 40, 300, 5), 2, 4, seed=3, distinct=False)
    documents = family.sample(200, device="cpu", generator=generator(), return_trees=True)
    assert int(documents.levels[2].symbols.max()) > 255
    assert family.shortest <= int(documents.lengths.min()) and int(documents.lengths.max()) <= family.longest


def test_probabilities_0_and_1():
    family = GrammarFamily(
        (1, 2),
        [[[[(0,), (1,), (0, 1)]], [[(1, 1)]], [[(0,), (1,)]]]],
        [[[[0.0, 1.0, 0.0]], [[1.0]], [[1.0, 0.0]]]],
        choice_probs=[(0.5, 0.5, 0.0)],
    )
    counts = observed(family.sample(2000, device="cpu", generator=generator()))
    assert set(counts) == {((0,), (1,)), ((1,), (1, 1))}
    assert set(observed(family.sample(50, [2], device="cpu"))) == {((2,), (0,))}


def test_tables_stay_small_where_yields_are_many():
    wide = random_family((1, 9, 9, 9, 9), 3, 5, (4, 6), seed=1)
    found = blocks(wide, torch.device("cpu"), trees=False)
    assert [block.top for block in found][1:] == [block.bottom for block in found][:-1]
    assert found[0].top == 0 and found[-1].bottom == 4
    assert all(len(block.leaves.values[0]) <= sampling_tables.MOST_SYMBOLS for block in found)


def test_a_rule_with_very_many_children_needs_no_table_of_all():
    family = LevelledGrammar((1, 2, 2), [[[[(0, 1) * 2000]]], [[[(0,), (1,)], [(1,), (0, 1)]]]])
    documents = family.sample(3, device="cpu", generator=generator())
    assert family.shortest == 4000 and family.longest == 6000
    assert all(4000 < length < 6000 for length in documents.lengths.tolist())


def test_many_documents():
    documents = toy_family().sample(100_000, device="cpu", generator=generator(10))
    lengths = documents.lengths.double()
    assert abs(float(lengths.mean()) - 16.03125) < 5 * 3.991 / 100_000**0.5
    assert documents.metadata is not None
    assert ((documents.metadata.double().mean(0) - 0.5).abs() < 5 * 0.5 / 100_000**0.5).all()


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    toy_family().sample(3, device="cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_generator_documents_differ():
    first, second = (cfg3b().sample(2, device="cpu") for _ in range(2))
    assert first.values.tolist() != second.values.tolist()


@pytest.mark.parametrize("n", [True, 1.5, "3"])
def test_numbers_that_are_none(n):
    with pytest.raises(Exception, match=r"number of documents|did not conform|violates type|Type-check"):
        toy_family().sample(n)


@pytest.mark.parametrize(
    ("metadata", "kind", "message"),
    [
        ([0, 2, 0], ValueError, "0 to 1 at level 1"),
        ([[0, 0, -1]], ValueError, "0 to 1 at level 2"),
        ([0, 0], ValueError, r"shape \[documents, 3\]"),
        (torch.zeros((3, 3), dtype=torch.int64), ValueError, "one row, or 5"),
        ([0.5, 0.0, 0.0], TypeError, "integers"),
        (torch.zeros((5, 3), dtype=torch.bool), TypeError, "integers"),
    ],
)
def test_metadata_that_do_not_fit(metadata, kind, message):
    with pytest.raises(kind, match=message):
        toy_family().sample(5, metadata, device="cpu")
    with pytest.raises(ValueError, match=">= 0"):
        toy_family().sample(-1, device="cpu")
