"""What a decoder says, holds and writes after prefixes, beside feeding it one prefix at a time."""

import pytest
import torch

from toolkit.grammars.accuracy import grammatical_accuracy
from toolkit.grammars.conditioning import prompts
from toolkit.grammars.documents import as_documents
from toolkit.grammars.metrics import losses_by_position, reached
from toolkit.grammars.models import Decoder, DecoderConfig
from toolkit.grammars.posteriors import group_metadata
from toolkit.grammars.predictions import hidden_states, predict, predict_all, writer
from toolkit.grammars.text import from_text

FAMILY = from_text("01|10//11|001//02|20;01|1/10|0/2|12//20|2/11|0/0|21")


@pytest.fixture(scope="module")
def model():
    config = DecoderConfig.of(FAMILY, "0.2M")
    return Decoder(config, generator=torch.Generator().manual_seed(0), device="cpu").eval()


@pytest.fixture(scope="module")
def documents():
    return FAMILY.sample(9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_one_prefix_at_a_time(model, documents, depth):
    found = predict(model, documents, depth=depth, batch_size=4)
    mask = reached(documents)
    assert found.shape == (*mask.shape, FAMILY.n_terminals + 1) and found.dtype == torch.float64
    assert (found[~mask] == 0).all()
    assert torch.allclose(found[mask].exp().sum(-1), torch.ones(int(mask.sum()), dtype=torch.float64), atol=1e-6)
    states = hidden_states(model, documents, batch_size=4)
    for i in range(len(documents)):
        for k in range(len(documents[i]) + 1):
            prefix = prompts([documents[i][:k].tolist()], model.config.vocabulary, depth=depth,
                             metadata=documents.metadata[[i]]).padded()  # fmt: skip
            alone = model.next_token_log_prob(prefix)[0, -1]
            assert torch.allclose(found[i, k].float(), alone, atol=1e-5)
            if depth == 0:
                assert torch.allclose(states[:, i, k], model.hidden_states(prefix)[:, 0, -1], atol=1e-5)


def test_batches_do_not_matter_and_nothing_is_learnt(model, documents):
    whole = predict(model, documents)
    assert torch.allclose(predict(model, documents, batch_size=1), whole, atol=1e-6)
    assert not whole.requires_grad and all(p.grad is None for p in model.parameters())
    assert losses_by_position(whole, documents).overall > 0
    chosen = torch.tensor([2, 0])
    states = hidden_states(model, documents, positions=chosen)
    assert torch.allclose(states, hidden_states(model, documents)[:, :, chosen], atol=1e-6)
    with pytest.raises(ValueError, match="batch_size"):
        hidden_states(model, documents, batch_size=0)
    with pytest.raises(ValueError, match="positions"):
        hidden_states(model, documents, positions=torch.tensor([99]))


@pytest.mark.parametrize("known", [0, 1, 2])
def test_every_value_in_turn(model, documents, known):
    found = predict_all(model, FAMILY, documents, known)
    groups = group_metadata(FAMILY, known)
    assert len(found) == len(groups)
    for part, row in zip(found, groups, strict=True):
        shown = predict(model, documents, depth=known, metadata=row.expand(len(documents), 2))
        assert torch.allclose(part, shown, atol=1e-6)


def test_metadata_must_be_known_to_be_shown(model):
    with pytest.raises(ValueError, match="metadata"):
        predict(model, [[0, 1]], depth=1)
    assert predict(model, []).shape[0] == 0 and predict(model, as_documents("test", [[]])).shape == (1, 1, 4)


def test_a_model_writes(model, documents):
    write = writer(model, generator=torch.Generator().manual_seed(0))
    found = grammatical_accuracy(write, FAMILY, documents, (0, 2))
    again = writer(model, generator=torch.Generator().manual_seed(0))
    assert grammatical_accuracy(again, FAMILY, documents, (0, 2)) == found
    assert found.n == (9, 9) and all(0 <= share <= 1 for share in (*found.acc_any, *found.acc_true, *found.unfinished))
    some = writer(model, depth=2, temperature=0.0)(documents, 2)
    assert torch.equal(some.n_prompt, documents.lengths)
    assert int((some.documents.lengths - documents.lengths).max()) <= 2
