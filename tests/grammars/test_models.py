"""The decoder against a straightforward one in float64, its positions and masks, and generation with a cache."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.grammars.attention import causal_attention, rotate
from toolkit.grammars.conditioning import Vocabulary, condition, prompts
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.models import SIZES, Decoder, DecoderConfig, needed_context
from toolkit.grammars.text import from_text

TOY = "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22"
VOCABULARY = Vocabulary(3, (2, 2))
CONFIG = DecoderConfig(VOCABULARY, context=20, width=24, n_layers=2, n_heads=3)


def sharp(config: DecoderConfig, seed: int = 0, dtype: torch.dtype = torch.float64) -> Decoder:
    """A decoder whose predictions depend on everything: weights larger than at the beginning of training, gains too."""
    generator = torch.Generator().manual_seed(seed)
    model = Decoder(config, generator=generator, device="cpu", dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 1.5 * parameter.shape[1] ** -0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


@pytest.fixture(scope="module")
def model() -> Decoder:
    return sharp(CONFIG)


def some_tokens(batch: int, positions: int, seed: int = 1) -> Tensor:
    return torch.randint(0, VOCABULARY.size, (batch, positions), generator=torch.Generator().manual_seed(seed))


def reference(model: Decoder, tokens: list[int]) -> Tensor:
    """The same function of one sequence, position by position and head by head, from the papers' formulas."""
    config, weights = model.config, dict(model.named_parameters())
    width, heads, features = config.width, config.n_heads, config.width // config.n_heads

    def normalised(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / torch.sqrt((x * x).mean() + config.epsilon)

    def turned(x: Tensor, position: int) -> Tensor:
        out = torch.empty_like(x)
        for i in range(features // 2):
            angle = position * config.rotary_base ** (-2 * i / features)
            a, b = x[2 * i], x[2 * i + 1]
            out[2 * i] = a * math.cos(angle) - b * math.sin(angle)
            out[2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    stream = [weights["embedding.weight"][token].clone() for token in tokens]
    for layer in range(config.n_layers):
        own = {name.split(".", 2)[2]: w for name, w in weights.items() if name.startswith(f"layers.{layer}.")}
        read = [normalised(x, own["attention_norm.weight"]) for x in stream]
        look = own["look.weight"]
        gathered = []
        for t in range(len(tokens)):
            heads_found = []
            for h in range(heads):
                rows = slice(h * features, (h + 1) * features)
                query = turned(look[:width][rows] @ read[t], t)
                scores, values = [], []
                for s in range(t + 1):
                    key = turned(look[width : 2 * width][rows] @ read[s], s)
                    scores.append(query @ key / math.sqrt(features))
                    values.append(look[2 * width :][rows] @ read[s])
                share = torch.stack(scores).softmax(0)
                heads_found.append(sum(p * v for p, v in zip(share, values, strict=True)))
            gathered.append(own["gather.weight"] @ torch.cat(heads_found))
        stream = [x + g for x, g in zip(stream, gathered, strict=True)]
        gate, up = own["up.weight"].chunk(2)
        for t, x in enumerate(stream):
            read_x = normalised(x, own["feed_forward_norm.weight"])
            gated = gate @ read_x
            stream[t] = x + own["down.weight"] @ (gated * torch.sigmoid(gated) * (up @ read_x))
    return torch.stack([weights["output.weight"] @ normalised(x, weights["norm.weight"]) for x in stream])


def test_equals_a_straightforward_decoder(model: Decoder) -> None:
    tokens = some_tokens(3, 9)
    with torch.no_grad():
        logits = model(tokens)
        expected = torch.stack([reference(model, row) for row in tokens.tolist()])
    assert logits.std() > 0.3
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)


def test_gradients_equal_those_of_the_straightforward_decoder() -> None:
    one, other = sharp(CONFIG), sharp(CONFIG)
    tokens = some_tokens(2, 6)
    direction = torch.randn(2, 6, VOCABULARY.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (one(tokens) * direction).sum().backward()
    (torch.stack([reference(other, row) for row in tokens.tolist()]) * direction).sum().backward()
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None and ours.grad.abs().max() > 1e-3, name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-10)


def test_no_position_sees_what_follows(model: Decoder) -> None:
    tokens = some_tokens(2, 12)
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % VOCABULARY.size
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=1e-12)
    assert (before[:, 7:] - after[:, 7:]).abs().amax((0, 2)).min() > 1e-3


def test_every_earlier_token_matters(model: Decoder) -> None:
    tokens = some_tokens(1, 8)
    with torch.no_grad():
        last = model(tokens)[0, -1]
        for position in range(8):
            changed = tokens.clone()
            changed[0, position] = (changed[0, position] + 1) % VOCABULARY.size
            assert (model(changed)[0, -1] - last).abs().max() > 1e-6, position


def test_rotary_products_depend_on_distances_only(model: Decoder) -> None:
    turns = model.turns(torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(5)
    query, key = torch.randn(2, 1, 3, 8, generator=generator, dtype=torch.float64)
    products = torch.stack(
        [
            torch.stack([(rotate(query, turns[i : i + 1]) * rotate(key, turns[j : j + 1])).sum() for j in range(20)])
            for i in range(20)
        ]
    )
    for distance in range(-19, 20):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-12)
    assert products[0].std() > 0.1
    assert torch.allclose(rotate(query, turns[7:8]).norm(dim=-1), query.norm(dim=-1))


def test_order_of_tokens_matters(model: Decoder) -> None:
    with torch.no_grad():
        one, other = model(torch.tensor([[4, 0, 1, 2], [4, 1, 0, 2]]))[:, -1]
    assert (one - other).abs().max() > 1e-3


def test_sequences_of_a_batch_do_not_see_each_other(model: Decoder) -> None:
    tokens = some_tokens(4, 10)
    with torch.no_grad():
        together = model(tokens)
        alone = torch.cat([model(row[None]) for row in tokens])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_groups_of_different_lengths_in_one_row(model: Decoder) -> None:
    shapes = [(2, 3), (1, 7), (3, 1)]
    groups = [some_tokens(rows, n, seed=n) for rows, n in shapes]
    flat = torch.cat([group.reshape(-1) for group in groups])
    positions = torch.cat([torch.arange(n).repeat(rows) for rows, n in shapes])

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return causal_attention(q, k, v, shapes=shapes)

    with torch.no_grad():
        found = model.run(flat, positions, [attend] * 2)[-1]
        expected = torch.cat([model.residuals(group)[-1].reshape(-1, CONFIG.width) for group in groups])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_hidden_states_end_where_the_logits_begin(model: Decoder) -> None:
    tokens = some_tokens(2, 5)
    with torch.no_grad():
        hidden = model.hidden_states(tokens)
        logits = model.output(model.norm(hidden[-1]))
        assert hidden.shape == (3, 2, 5, 24)
        torch.testing.assert_close(hidden[0], model.embedding(tokens))
        torch.testing.assert_close(logits, model(tokens))


def test_next_token_log_prob_is_that_of_terminals_and_end(model: Decoder) -> None:
    tokens = some_tokens(2, 6)
    with torch.no_grad():
        found = model.next_token_log_prob(tokens)
        probs = model(tokens).softmax(-1)[..., :4]
    assert found.shape == (2, 6, 4)
    torch.testing.assert_close(found.exp(), probs / probs.sum(-1, keepdim=True))
    torch.testing.assert_close(model.next_token_log_prob(tokens, first=2), found[:, 2:])
    assert model.next_token_log_prob(tokens, first=6).shape == (2, 0, 4)
    with pytest.raises(ValueError, match="first"):
        model.next_token_log_prob(tokens, first=-1)


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_nothing_to_read(model: Decoder, shape: tuple[int, int]) -> None:
    tokens = torch.zeros(shape, dtype=torch.int64)
    assert model(tokens).shape == (*shape, VOCABULARY.size)
    assert model.hidden_states(tokens).shape == (3, *shape, 24)
    assert model.next_token_log_prob(tokens).shape == (*shape, 4)


@pytest.mark.parametrize("size", list(SIZES))
def test_parameters_of_the_named_sizes(size: str) -> None:
    family = from_text(TOY)
    config = DecoderConfig.of(family, size)
    model = Decoder(DecoderConfig.of(family, (config.width, 1, config.n_heads)), device="cpu")
    whole = sum(p.numel() for p in model.parameters())
    one_layer = sum(p.numel() for p in model.layers.parameters())
    embeddings = 2 * config.vocabulary.size * config.width
    assert model.config.n_parameters == whole - embeddings
    assert config.n_parameters == whole - embeddings + (config.n_layers - 1) * one_layer
    assert config.n_parameters == pytest.approx(1e6 * float(size.removesuffix("M")), rel=0.25)


def test_the_papers_size() -> None:
    config = DecoderConfig.of(from_text(TOY), "85M")
    assert (config.width, config.n_layers, config.n_heads, config.feed_forward) == (768, 12, 12, 2048)
    assert config.n_parameters == 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768 == 84_953_856


def test_context_fits_the_longest_document() -> None:
    family = from_text(TOY)
    config = DecoderConfig.of(family)
    assert config.context == needed_context(family) == 1 + 3 + 27
    longest = condition([[0] * 27], Vocabulary.of(family))
    model = Decoder(config, device="cpu")
    assert model(longest.tokens).shape[1] == 31
    with pytest.raises(ValueError, match="context"):
        model(condition([[0] * 28], Vocabulary.of(family)).tokens)


@pytest.mark.parametrize(
    "settings",
    [{"context": 0}, {"width": 0}, {"n_layers": 0}, {"n_heads": 0}, {"width": 20, "n_heads": 4}],
)
def test_impossible_shapes(settings: dict) -> None:
    with pytest.raises(ValueError, match="DecoderConfig"):
        DecoderConfig(VOCABULARY, **{"context": 8, **settings})


def test_no_such_size() -> None:
    with pytest.raises(ValueError, match="85M"):
        DecoderConfig.of(from_text(TOY), "7B")


@pytest.mark.parametrize("token", [-1, 10, 2**40])
def test_tokens_outside_the_vocabulary(model: Decoder, token: int) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        model(torch.tensor([[4, token]]))


def test_weights_come_from_the_generator() -> None:
    before = torch.get_rng_state()
    models = [Decoder(CONFIG, generator=torch.Generator().manual_seed(seed), device="cpu") for seed in (1, 1, 2)]
    weights = [torch.cat([p.detach().reshape(-1) for p in m.parameters()]) for m in models]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.get_rng_state())
    assert "parameters" in repr(models[0])


def test_float32_is_close_to_float64(model: Decoder) -> None:
    tokens = some_tokens(3, 20)
    with torch.no_grad():
        torch.testing.assert_close(sharp(CONFIG).float()(tokens).double(), model(tokens), rtol=1e-3, atol=1e-4)


def uncached(model: Decoder, prefixes: list[list[int]], seed: int, most: int, temperature: float = 1.0) -> list:
    """Complete by reading everything anew for every token, one sentence after the other, with the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    rows, ended = [list(p) for p in prefixes], [False] * len(prefixes)
    cut = list(ended)
    for _ in range(most):
        uniform = torch.rand(len(rows), generator=generator, dtype=torch.float64)
        for i, row in enumerate(rows):
            if ended[i] or cut[i]:
                continue
            log_prob = model.next_token_log_prob(torch.tensor([row]))[0, -1].double()
            cumulative = (log_prob / temperature).softmax(0).cumsum(0) if temperature else None
            token = int(log_prob.argmax()) if cumulative is None else int((cumulative <= uniform[i]).sum())
            if token == VOCABULARY.eos:
                ended[i] = True
                continue
            cut[i] = len(row) == model.config.context
            row.append(token)
    return [([token for token in row if token < 3], end) for row, end in zip(rows, ended, strict=True)]


PREFIXES = [[0], [], [2, 1, 0, 0, 1], [1, 2], [0, 0, 0]]


@pytest.mark.parametrize(("temperature", "most"), [(0.0, 30), (0.3, 6), (1.0, 0), (1.0, 1), (1.0, 30), (2.5, 30)])
def test_generation_equals_reading_everything_anew(model: Decoder, temperature: float, most: int) -> None:
    given = prompts(PREFIXES, VOCABULARY)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        found = model.generate(given, most, generator=generator, temperature=temperature)
        expected = uncached(model, [given[i].tolist() for i in range(5)], seed, most, temperature)
        assert [found.documents[i].tolist() for i in range(5)] == [sentence for sentence, _ in expected]
        assert found.ended.tolist() == [end for _, end in expected]
        assert found.n_prompt.tolist() == [1, 0, 5, 2, 3]


def test_the_lowest_temperatures_take_the_most_probable_token(model: Decoder) -> None:
    given = prompts([[], [0], [2, 1]], VOCABULARY)
    greedy = model.generate(given, 6, temperature=0.0)
    for temperature in (1e-300, 5e-324):
        cold = model.generate(given, 6, temperature=temperature)
        assert torch.equal(cold.documents.values, greedy.documents.values)


def test_generation_follows_the_models_distribution(model: Decoder) -> None:
    """χ² of the next two outcomes after a prefix against their exact probabilities."""
    n = 4000
    given = prompts([[2, 1]] * n, VOCABULARY)
    found = model.generate(given, 2, generator=torch.Generator().manual_seed(7))
    start = given[0].tolist()
    with torch.no_grad():
        first = model.next_token_log_prob(torch.tensor([start]))[0, -1].exp()
        then = torch.stack([model.next_token_log_prob(torch.tensor([[*start, t]]))[0, -1].exp() for t in range(3)])
    expected = {(3,): float(first[3])}
    expected |= {(a, b): float(first[a] * then[a, b]) for a in range(3) for b in range(4)}
    counts = dict.fromkeys(expected, 0)
    for i in range(n):
        tail = found.documents[i].tolist()[2:]
        counts[tuple(tail if len(tail) == 2 else [*tail, 3])] += 1
    assert sum(expected.values()) == pytest.approx(1)
    kept = [key for key, p in expected.items() if p * n > 5]
    chi2 = sum((counts[key] - n * expected[key]) ** 2 / (n * expected[key]) for key in kept)
    assert len(kept) > 8 and chi2 < len(kept) + 5 * (2 * len(kept)) ** 0.5


def test_generation_is_cut_where_the_context_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = sharp(CONFIG)
    never = torch.tensor([0.0, 0.0, 0.0, -torch.inf]).log_softmax(0)
    monkeypatch.setattr(endless, "log_prob_of", lambda residual: never.expand(*residual.shape[:-1], 4))
    found = endless.generate(prompts(PREFIXES, VOCABULARY), generator=torch.Generator().manual_seed(0))
    assert not found.ended.any()
    # One token more than can be read: the last one is drawn, not read.
    assert found.documents.lengths.tolist() == [CONFIG.context + 1 - 3] * 5


def test_generation_of_a_full_context(model: Decoder) -> None:
    found = model.generate(torch.tensor([[4] + [5] * 2 + [0] * 17]), generator=torch.Generator().manual_seed(0))
    assert int(found.documents.lengths) in (17, 18)
    assert bool(found.ended) == (int(found.documents.lengths) == 17)


def test_generation_of_nothing(model: Decoder) -> None:
    found = model.generate(torch.zeros(0, 4, dtype=torch.int64))
    assert len(found) == 0 and found.ended.shape == (0,) and repr(found) == "Generated(0 sentences, 0 ended)"


def test_generation_keeps_the_metadata(model: Decoder) -> None:
    metadata = torch.tensor([[1, 0], [0, 1]])
    found = model.generate(prompts([[0], [1]], VOCABULARY, depth=1, metadata=metadata))
    assert isinstance(found.documents, Documents) and found.documents.metadata is not None
    assert torch.equal(found.documents.metadata, metadata)


def test_generation_rejects_what_cannot_go_on(model: Decoder) -> None:
    with pytest.raises(ValueError, match="end token"):
        model.generate([[4, 5, 5, 0, 3]])
    with pytest.raises(ValueError, match="empty"):
        model.generate([[4], []])
    with pytest.raises(ValueError, match="context"):
        model.generate([[4] * 21])
    with pytest.raises(ValueError, match="vocabulary"):
        model.generate([[4, 10]])
    with pytest.raises(ValueError, match="max_new_tokens"):
        model.generate([[4]], -1)
    for temperature in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            model.generate([[4]], temperature=temperature)
    broken = sharp(CONFIG)
    with torch.no_grad():
        broken.output.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="finite"):
        broken.generate([[4]])


def test_generation_leaves_the_global_generator_alone(model: Decoder) -> None:
    before = torch.get_rng_state()
    model.generate([[4, 5, 5]], 3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_loss_of_padded_rows_is_that_of_each_row_alone(model: Decoder) -> None:
    sentences = [[0, 1, 2], [1], [2, 2, 0, 1, 1]]

    def losses(read: object) -> Tensor:
        log_prob = model(read.tokens).log_softmax(-1)
        nll = functional.nll_loss(log_prob.transpose(1, 2), read.targets, reduction="none")
        return (nll * read.loss_mask).sum(1)

    with torch.no_grad():
        together = losses(condition(sentences, VOCABULARY))
        alone = torch.cat([losses(condition([s], VOCABULARY)) for s in sentences])
    torch.testing.assert_close(together, alone)


def test_depth_of_a_family_of_one(model: Decoder) -> None:
    family = GrammarFamily([1, 2], [[[[[0, 1], [1, 0]]]]])
    decoder = Decoder(DecoderConfig.of(family), device="cpu")
    assert decoder.config.context == 1 + 1 + 2
    assert decoder.generate(prompts([[]], Vocabulary.of(family))).documents.n_tokens <= 3
