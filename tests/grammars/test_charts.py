"""Matrices, bands and logarithms hold the same; plans share what grammars share, and the cheapest is taken."""

import pytest
import torch

from tests.grammars.language_by_hand import any_family
from toolkit.grammars.banded import Banded, BandedCharts
from toolkit.grammars.charts import Dense, DenseCharts, carry_out
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_cost import cheapest, cost, fitting
from toolkit.grammars.inference_plan import make_plan
from toolkit.grammars.log_charts import LogCharts
from toolkit.grammars.text import from_text, random_family

TOY = from_text("20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22")


def rows(family):
    return tuple(map(tuple, family.all_metadata.tolist()))


def leaves(family, n_sentences, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(family.n_terminals, (n_sentences, length), generator=generator)
    found = torch.zeros(family.n_terminals, n_sentences, length + 1, dtype=torch.float64)
    found[..., :-1] = tokens == torch.arange(family.n_terminals)[:, None, None]
    return found


def outcome(plan, algebra, given):
    vectors = carry_out(plan, algebra, given)
    return vectors[torch.tensor(plan.next_tokens)], vectors[torch.tensor(plan.sentences)]


@pytest.mark.parametrize("family", [TOY, any_family(3), any_family(11), any_family(13)], ids=repr)
def test_every_cut_and_every_kind_of_chart_finds_the_same(family):
    length = min(family.longest, 12)
    given = leaves(family, 5, length)
    expected = outcome(make_plan(family, rows(family), 1), DenseCharts(5, length), given)
    assert expected[0].any()
    for cut in range(1, family.depth + 1):
        plan = make_plan(family, rows(family), cut)
        for kind in (DenseCharts, BandedCharts):
            for found, wanted in zip(outcome(plan, kind(5, length), given), expected, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-18)
        for found, wanted in zip(outcome(plan, LogCharts(5, length), given.log()), expected, strict=True):
            torch.testing.assert_close(found.exp(), wanted, rtol=1e-12, atol=1e-18)


def random_band(n, n_sentences, length, shortest, longest, seed):
    """Spans that stay inside their sentence, as bands and as matrices."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.zeros(n, longest - shortest + 1, n_sentences, length + 1, dtype=torch.float64)
    matrices = torch.zeros(n, n_sentences, length + 1, length + 1, dtype=torch.float64)
    for span in range(shortest, longest + 1):
        for start in range(length + 1 - span):
            drawn = torch.rand(n, n_sentences, generator=generator, dtype=torch.float64)
            values[:, span - shortest, :, start] = matrices[:, :, start, start + span] = drawn
    return Banded(values.flatten(2), shortest), Dense(matrices)


@pytest.mark.parametrize(
    ("left", "right", "kept"), [((1, 3), (2, 4), (3, 7)), ((2, 2), (1, 6), (4, 6)), ((3, 5), (3, 5), (1, 9))]
)
def test_products_of_bands_are_products_of_matrices_within_the_band(left, right, kept):
    n_sentences, length = 3, 9
    dense, banded = DenseCharts(n_sentences, length), BandedCharts(n_sentences, length)
    (a, a_full), (b, b_full) = (random_band(2, n_sentences, length, *band, seed=band[0]) for band in (left, right))
    like = a.values
    out, full = banded.blank(4, kept, like), dense.blank(4, kept, like)
    banded.multiply(out, a, b)
    dense.multiply(full, a_full, b_full)
    assert out.values.shape[1] == min(kept[1], length) - kept[0] + 1
    for offset, span in enumerate(range(out.shortest, out.shortest + out.values.shape[1])):
        diagonal = full.values.diagonal(span, 2, 3)
        found = out.values[:, offset].view(4, n_sentences, length + 1)
        torch.testing.assert_close(found[..., : length + 1 - span], diagonal, rtol=1e-13, atol=0)
        assert not found[..., length + 1 - span :].any() and not found[2:].any()
    vectors = torch.rand(2, 3, n_sentences * (length + 1), dtype=torch.float64)
    torch.testing.assert_close(banded.through(vectors, a), dense.through(vectors, a_full), rtol=1e-13, atol=0)


def test_grammars_that_agree_from_a_level_on_share_its_charts():
    plan = make_plan(TOY, rows(TOY), 1)
    assert [len(level.items) for level in plan.levels] == [2 * 3, 4 * 3]
    assert [level.band for level in plan.levels] == [(2, 3), (4, 9)]
    some = make_plan(TOY, ((0, 0, 1), (1, 0, 1)), 1)
    assert [len(level.items) for level in some.levels] == [3, 3]


def test_products_are_shared_between_rules():
    family = GrammarFamily([1, 1, 3], [[[[[0, 0]]]], [[[[0, 1, 2], [1, 1, 2], [2, 1, 2], [0, 1]]]]])
    (level,) = make_plan(family, ((0, 0),), 1).levels
    assert [len(pairs.left) for pairs in level.tails] == [1], "1 2 once for three rules"
    assert sum(map(len, level.firsts)) == 3, "0 once for two rules"


def test_a_plan_is_made_once():
    assert make_plan(TOY, rows(TOY), 2) is make_plan(TOY, rows(TOY), 2)


@pytest.mark.parametrize("n_sentences", [1, 100])
@pytest.mark.parametrize("length", [0, 1, 9, 27, 200])
def test_the_automatic_form_costs_least(length, n_sentences):
    plan, form = cheapest(TOY, rows(TOY), length, n_sentences, "auto")
    bucket = 2 ** n_sentences.bit_length()
    for other in ("dense", "banded"):
        theirs, kept = cheapest(TOY, rows(TOY), length, n_sentences, other)
        assert kept == other
        assert cost(plan, length, bucket, form) <= cost(theirs, length, bucket, other)


def test_narrow_bands_win_for_long_sentences_and_matrices_where_every_length_can_be_yielded():
    deep = random_family([1, 3, 3, 3, 3, 3, 3], 1, 3, seed=0)
    assert cheapest(deep, rows(deep), 400, 8, "auto")[1] == "banded"
    wide = random_family([1, 6, 6, 6], 1, 12, lengths=range(1, 9), seed=0)
    assert cheapest(wide, rows(wide), 20, 1, "auto")[1] == "dense"


def test_longer_sentences_go_through_in_smaller_batches():
    def size(length, device="cpu"):
        return fitting(TOY, rows(TOY), length, "auto", torch.float64, torch.device(device))

    assert size(10) > size(27) >= size(900) == 8
    assert size(10, "cuda") > 100 * size(10)
