"""Prefix, targets and loss mask of documents, and which of them show their metadata."""

import pytest
import torch

from toolkit.grammars.conditioning import Conditioning, Sequences, Vocabulary, condition, prompts, sequences
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.text import from_text

TOY = "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22"


@pytest.fixture(scope="module")
def family() -> GrammarFamily:
    return from_text(TOY)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def uneven() -> Vocabulary:
    return Vocabulary(3, (2, 4, 1))


def test_vocabulary_numbers_every_token_once() -> None:
    vocabulary = uneven()
    assert (vocabulary.eos, vocabulary.bos, vocabulary.mask) == (3, 4, 5)
    assert vocabulary.first_of_level == (6, 8, 12)
    assert vocabulary.size == 13
    tokens = vocabulary.metadata_tokens(torch.tensor([[0, 0, 0], [1, 3, 0]]))
    assert tokens.tolist() == [[6, 8, 12], [7, 11, 12]]
    names = [vocabulary.name(token, ("a", "b", "c")) for token in range(13)]
    assert names == ["a", "b", "c", "<end>", "<begin>", "<mask>", "<0:0>", "<0:1>"] + [f"<1:{i}>" for i in range(4)] + [
        "<2:0>"
    ]
    assert vocabulary.name(2) == "2"


def test_vocabulary_of_a_family(family: GrammarFamily) -> None:
    vocabulary = Vocabulary.of(family)
    assert (vocabulary.n_terminals, vocabulary.n_choices, vocabulary.depth) == (3, (2, 2, 2), 3)


@pytest.mark.parametrize("bad", [(0, (2,)), (3, (2, 0))])
def test_vocabulary_rejects_nothing_to_read(bad: tuple[int, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="Vocabulary"):
        Vocabulary(*bad)


@pytest.mark.parametrize("metadata", [[[0, 4, 0]], [[0, -1, 0]], [[0, 1]]])
def test_vocabulary_rejects_choices_that_no_level_has(metadata: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        uneven().metadata_tokens(torch.tensor(metadata))


@pytest.mark.parametrize("token", [-1, 13])
def test_no_name_for_no_token(token: int) -> None:
    with pytest.raises(ValueError, match="token"):
        uneven().name(token)


def by_hand(sentence: list[int], choices: list[int], depth: int, shown: bool, vocabulary: Vocabulary) -> list[int]:
    firsts = vocabulary.first_of_level
    prefix = [
        firsts[level] + choices[level] if shown and level < depth else vocabulary.mask for level in range(len(choices))
    ]
    return [vocabulary.bos, *prefix, *sentence, vocabulary.eos]


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_condition_equals_sequences_written_by_hand(depth: int) -> None:
    vocabulary = uneven()
    sentences = [[0, 1, 2, 1], [2], [], [1, 1]]
    metadata = torch.tensor([[0, 3, 0], [1, 2, 0], [1, 0, 0], [0, 1, 0]])
    shown = torch.tensor([True, False, True, True])
    found = condition(sentences, vocabulary, depth=depth, shown=shown, metadata=metadata)
    assert len(found) == 4 and found.prefix_length == 3
    assert found.tokens.shape == found.targets.shape == found.loss_mask.shape == (4, 1 + 3 + 4)
    for row, sentence in enumerate(sentences):
        whole = by_hand(sentence, metadata[row].tolist(), depth, bool(shown[row]), vocabulary)
        n = len(whole) - 1
        assert found.tokens[row, :n].tolist() == whole[:-1]
        assert found.targets[row, :n].tolist() == whole[1:]
        assert (found.tokens[row, n:] == vocabulary.eos).all()
        counted = found.targets[row][found.loss_mask[row]].tolist()
        assert counted == [*sentence, vocabulary.eos]
        assert found.loss_mask[row].nonzero()[:, 0].tolist() == list(range(3, 3 + len(sentence) + 1))


def test_condition_takes_the_choices_of_drawn_documents() -> None:
    metadata = torch.tensor([[1, 3, 0]])
    documents = Documents(torch.tensor([2, 0], dtype=torch.uint8), torch.tensor([0, 2]), metadata)
    found = condition(documents, uneven(), depth=2)
    assert found.tokens.tolist() == [[4, 7, 11, 5, 2, 0]]
    assert found.metadata is metadata


def test_condition_without_documents() -> None:
    empty = Documents(torch.zeros(0, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), torch.zeros(0, 3).long())
    found = condition(empty, uneven(), depth=3)
    assert found.tokens.shape == (0, 4) and len(found) == 0
    assert repr(found) == "Sequences(0 of up to 4 tokens)"


def test_condition_rejects_what_cannot_be() -> None:
    vocabulary = uneven()
    with pytest.raises(ValueError, match="depth"):
        condition([[0]], vocabulary, depth=4, metadata=torch.tensor([[0, 0, 0]]))
    with pytest.raises(ValueError, match="depth"):
        condition([[0]], vocabulary, depth=-1)
    with pytest.raises(ValueError, match="metadata"):
        condition([[0]], vocabulary, depth=1)
    with pytest.raises(ValueError, match="metadata"):
        condition([[0]], vocabulary, depth=1, metadata=torch.tensor([[0, 0, 0]] * 2))
    with pytest.raises(ValueError, match="terminals"):
        condition([[0, 3]], vocabulary)
    with pytest.raises(ValueError, match="shown"):
        condition([[0]], vocabulary, shown=torch.tensor([True, False]))
    masked = condition([[0]], vocabulary, depth=2, shown=False)
    assert masked.tokens.tolist() == [[4, 5, 5, 5, 0]]


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": -1},
        {"depth": 1, "p_meta": 1.5},
        {"depth": 1, "p_meta": -0.1},
        {"depth": 1, "p_meta": float("nan")},
        {"depth": 1, "cooldown": 2.0},
        {"depth": 1, "cooldown": float("nan")},
    ],
)
def test_conditioning_rejects_impossible_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match="Conditioning"):
        Conditioning(**settings)


def test_probability_falls_to_zero_for_the_cooldown() -> None:
    half = Conditioning(2, 0.5, cooldown=0.3)
    steps = torch.arange(10) / 10
    assert half.probability(steps).tolist() == [0.5] * 7 + [0.0] * 3
    assert float(half.probability(1.0)) == 0
    assert Conditioning(0, 0.5).probability(steps).tolist() == [0.0] * 10
    assert Conditioning(1, 1.0).probability(steps).tolist() == [1.0] * 10
    assert float(Conditioning(1, 1.0).probability(1.0)) == 1
    assert float(Conditioning(1, 1.0, cooldown=1.0).probability(0.0)) == 0
    for outside in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="progress"):
            half.probability(outside)


def in_order(drawn: Sequences) -> list[list[int]]:
    sentences = zip(drawn.tokens, drawn.lengths.tolist(), strict=True)
    return [row[1 + drawn.prefix_length :][:length].tolist() for row, length in sentences]


def test_sequences_are_documents_of_the_family(family: GrammarFamily, generator: torch.Generator) -> None:
    drawn = sequences(family, 300, Conditioning(2), generator=generator)
    documents = family.sample(300, generator=torch.Generator().manual_seed(0), device="cpu")
    assert in_order(drawn) == [documents[i].tolist() for i in range(300)]
    assert drawn.metadata is not None and documents.metadata is not None
    assert drawn.metadata.tolist() == documents.metadata.tolist()
    again = condition(documents, Vocabulary.of(family), depth=2, shown=drawn.shown)
    assert torch.equal(again.tokens, drawn.tokens)
    assert torch.equal(again.loss_mask, drawn.loss_mask)


def test_the_same_documents_whatever_is_shown(family: GrammarFamily) -> None:
    texts = []
    for settings in (Conditioning(0), Conditioning(3, 1.0), Conditioning(1, 0.2, cooldown=0.5)):
        generator = torch.Generator().manual_seed(4)
        texts.append([in_order(sequences(family, 20, settings, generator=generator)) for _ in range(3)])
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("p_meta", [0.0, 0.3, 1.0])
def test_share_of_documents_that_show_metadata(
    family: GrammarFamily, generator: torch.Generator, p_meta: float
) -> None:
    n = 4000
    drawn = sequences(family, n, Conditioning(3, p_meta), generator=generator)
    spread = (p_meta * (1 - p_meta) / n) ** 0.5
    assert abs(float(drawn.shown.double().mean()) - p_meta) <= 4 * spread
    masked = (drawn.tokens[:, 1:4] == Vocabulary.of(family).mask).all(1)
    assert torch.equal(masked, ~drawn.shown)


def test_depth_zero_and_cooldown_show_nothing(family: GrammarFamily, generator: torch.Generator) -> None:
    assert not sequences(family, 200, Conditioning(0, 1.0), generator=generator).shown.any()
    cooled = Conditioning(3, 1.0, cooldown=0.25)
    assert not sequences(family, 200, cooled, generator=generator, progress=0.75).shown.any()
    progress = torch.tensor([0.0, 0.5, 0.74, 0.75, 0.9, 1.0])
    assert (
        sequences(family, 6, cooled, generator=generator, progress=progress).shown.tolist() == [True] * 3 + [False] * 3
    )


def test_sequences_without_documents_and_with_impossible_settings(family: GrammarFamily) -> None:
    assert sequences(family, 0, Conditioning(2), device="cpu").tokens.shape == (0, 4)
    with pytest.raises(ValueError, match="n"):
        sequences(family, -1, Conditioning(2))
    with pytest.raises(ValueError, match="depth"):
        sequences(family, 1, Conditioning(4))


def test_global_generator_is_left_alone(family: GrammarFamily) -> None:
    before = torch.get_rng_state()
    sequences(family, 5, Conditioning(2), device="cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_select_leaves_out_positions_that_nobody_reaches() -> None:
    whole = condition([[0, 1, 2], [1], [2, 2]], uneven())
    part = whole.select(torch.tensor([2, 1]), 2)
    assert torch.equal(part.tokens, condition([[2, 2], [1]], uneven()).tokens)
    assert torch.equal(part.loss_mask, condition([[2, 2], [1]], uneven()).loss_mask)
    assert part.lengths.tolist() == [2, 1]
    assert whole.select(torch.tensor([1])).tokens.shape == (1, 7)
    assert len(whole.select(torch.zeros(0, dtype=torch.int64))) == 0


def test_prompts_have_no_end() -> None:
    given = prompts([[0, 1], [], [2]], uneven(), depth=1, metadata=torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0]]))
    assert [given[i].tolist() for i in range(3)] == [[4, 7, 5, 5, 0, 1], [4, 6, 5, 5], [4, 7, 5, 5, 2]]
    plain = prompts(torch.tensor([[0, 1], [1, -1]]), uneven())
    assert [plain[i].tolist() for i in range(2)] == [[4, 5, 5, 5, 0, 1], [4, 5, 5, 5, 1]]
    with pytest.raises(ValueError, match="metadata"):
        prompts([[0]], uneven(), depth=1)
