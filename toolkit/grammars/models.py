"""The decoder of the LLaMA architecture that is trained on documents, in sizes from 0.2 M parameters to the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from toolkit.core.devices import draw_normal, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.grammars.attention import Attend, causal_attention, rotate
from toolkit.grammars.conditioning import Vocabulary
from toolkit.grammars.decoding import Generated, complete
from toolkit.grammars.families import GrammarFamily

SIZES = {
    "0.2M": (64, 3, 4),
    "1M": (128, 5, 4),
    "3M": (256, 4, 4),
    "10M": (384, 6, 6),
    "25M": (512, 8, 8),
    "85M": (768, 12, 12),
}
"""Width, layers and heads by the number of parameters, embeddings apart; ``85M`` is the paper's."""


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder.

    Attributes:
        vocabulary: of what it reads and predicts.
        context: how many tokens it can read at once.
        width: of the residual stream.
        n_layers: of attention and feed-forward network.
        n_heads: of each attention; divides the width into an even number of features.
        rotary_base: the wavelengths of the rotary embedding grow up to 2π times this.
        epsilon: keeps the normalisation of a zero vector finite.
    """

    vocabulary: Vocabulary
    context: int
    width: int = 64
    n_layers: int = 3
    n_heads: int = 4
    rotary_base: float = 10_000.0
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("context", "width", "n_layers", "n_heads"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                reject("DecoderConfig", name, "an integer", repr(value), kind=TypeError)
            require(value >= 1, "DecoderConfig", name, ">= 1", value)
        even = self.width % (2 * self.n_heads) == 0
        require(even, "DecoderConfig", "n_heads", f"width {self.width} / n_heads to be even", self.n_heads)

    @classmethod
    def of(
        cls, family: GrammarFamily, size: str | tuple[int, int, int] = "0.2M", *, context: int | None = None
    ) -> "DecoderConfig":
        """Return the configuration for the documents of a family.

        Args:
            family: whose documents are read.
            size: one of :data:`SIZES`, or width, layers and heads.
            context: default: what the family's longest document needs, :func:`needed_context`.

        Raises:
            ValueError: no such size.
        """
        known = size in SIZES if isinstance(size, str) else isinstance(size, Sequence) and len(size) == 3
        expected = f"one of {', '.join(SIZES)}, or width, layers and heads"
        require(known, "DecoderConfig.of", "size", expected, repr(size))
        width, n_layers, n_heads = SIZES[size] if isinstance(size, str) else size
        context = needed_context(family) if context is None else context
        return cls(Vocabulary.of(family), context, width, n_layers, n_heads)

    @property
    def feed_forward(self) -> int:
        """The inner width of the feed-forward network: 8/3 of the width, rounded up to a multiple of 8."""
        return -(-8 * self.width // 24) * 8

    @property
    def n_parameters(self) -> int:
        """How many parameters the layers have; embeddings and output matrix, ``2 · vocabulary · width``, apart."""
        layer = 4 * self.width**2 + 3 * self.width * self.feed_forward + 2 * self.width
        return self.n_layers * layer + self.width


def needed_context(family: GrammarFamily) -> int:
    """Return how many tokens are read of the longest document: beginning, a token a level, sentence."""
    return 1 + family.depth + family.longest


class Decoder(nn.Module):
    """A decoder-only transformer: RMS normalisation, rotary positions, SwiGLU, no biases (LLaMA, arXiv 2302.13971).

    Parameters of the sizes, embeddings apart: 0.2M 151 k, 1M 989 k, 3M 3.2 M, 10M 10.6 M, 25M 25.2 M, 85M 84.9 M.

    Args:
        config: its shape.
        generator: draws the weights, of variance 1 / inputs, those that add to the residual stream smaller by
            √(2 · layers); default: a new one. The usual deviation of 0.02 is made for wide models: with it, 250 steps
            of the 0.2M decoder came to 0.78 nats a token, with this to 0.63 (a family of 8 grammars).
        device: where the weights go; default: the best there is.
        dtype: of the weights.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        generator = resolve_generator(generator)
        where: dict[str, Any] = {"device": resolve_device(device), "dtype": dtype}
        size, width = config.vocabulary.size, config.width
        self.config = config
        self.embedding = nn.utils.skip_init(nn.Embedding, size, width, **where)
        self.layers = nn.ModuleList(_Layer(config, where) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(width, config.epsilon, **where)
        self.output = _linear(width, size, where)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    adds = name.endswith(("gather.weight", "down.weight"))
                    variance = 1 / parameter.shape[1] / (2 * config.n_layers if adds else 1)
                    parameter.copy_(variance**0.5 * draw_normal(parameter.shape, generator=generator))
        self._turns: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def forward(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "batch positions vocabulary"]:
        """Return the logits of the token that follows each position.

        Args:
            tokens: from the beginning of the sequence on; what stands behind a position does not change its logits.

        Raises:
            ValueError: a token outside the vocabulary, more positions than the context.
        """
        return self.output(self.norm(self.residuals(tokens)[-1]))

    def hidden_states(self, tokens: Int[Tensor, "batch positions"]) -> Float[Tensor, "layers batch positions width"]:
        """Return the residual stream: the embeddings first, then what stands there after each layer.

        Raises:
            ValueError: see :meth:`forward`.
        """
        return torch.stack(self.residuals(tokens, keep=True))

    def next_token_log_prob(
        self, tokens: Int[Tensor, "batch positions"], *, first: int = 0
    ) -> Float[Tensor, "batch later_positions outcomes"]:
        """Return the log-probability of every terminal and, last, of the end, given that one of them follows.

        Args:
            tokens: from the beginning of the sequence on.
            first: the first position that is asked for; the depth of the vocabulary is that before any terminal.

        Returns:
            Log-probabilities in nats, normalised over the V + 1 outcomes.

        Raises:
            ValueError: see :meth:`forward`.
        """
        require(first >= 0, "next_token_log_prob", "first", ">= 0", first)
        return self.log_prob_of(self.residuals(tokens)[-1][:, first:])

    def log_prob_of(self, residual: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions outcomes"]:
        """Return the log-probabilities of terminals and end that a last layer's residual stream stands for."""
        outcomes = self.output.weight[: self.config.vocabulary.n_terminals + 1]
        return functional.linear(self.norm(residual), outcomes).log_softmax(-1)

    def generate(
        self,
        prefix: Any,
        max_new_tokens: int | None = None,
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Generated:
        """Go on from prefixes, all at once, each until the model ends it.

        Args:
            prefix: tokens of the vocabulary, as :func:`toolkit.grammars.conditioning.prompts` gives them, of different
                lengths, or in any other form of documents; at least one token each.
            max_new_tokens: drawn for each at most, the end included; default: until the context is full.
            generator: draws, one number for each prefix and step; default: a new one.
            temperature: divides the logits; 0 takes the most probable token.

        Returns:
            The terminals of each sentence, those of the prefix included, and whether the model ended it. Only
            terminals and the end are drawn.

        Raises:
            ValueError: an empty prefix, one that has ended or is longer than the context, a token outside the
                vocabulary, a temperature that is no finite number >= 0.
        """
        return complete(self, prefix, max_new_tokens, generator=generator, temperature=temperature)

    def residuals(self, tokens: Int[Tensor, "batch positions"], *, keep: bool = False) -> list[Tensor]:
        """Return the residual stream after the last layer, or with ``keep`` after the embedding and every layer."""
        self.check_tokens("Decoder", tokens)
        batch, n = tokens.shape
        positions = torch.arange(n, device=tokens.device).expand(batch, n).reshape(-1)
        attend = partial(causal_attention, shapes=[(batch, n)])
        found = self.run(tokens.reshape(-1), positions, [attend] * len(self.layers), keep=keep)
        return [x.reshape(batch, n, self.config.width) for x in found]

    def run(
        self, tokens: Int[Tensor, " n"], positions: Int[Tensor, " n"], attend: Sequence[Attend], *, keep: bool = False
    ) -> list[Tensor]:
        """Return the residual stream of tokens that stand in one row, whichever sequences they belong to.

        Args:
            tokens: all, unchecked.
            positions: of each in its own sequence.
            attend: for each layer, which tokens see which.
            keep: return the stream after the embedding and every layer, not only after the last.
        """
        turns = self.turns(tokens.device, self.embedding.weight.dtype)[positions]
        x = self.embedding(tokens)
        kept = [x]
        for layer, attends in zip(self.layers, attend, strict=True):
            x = layer(x, turns, attends)
            kept = [*kept, x] if keep else [x]
        return kept

    def turns(self, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "context 1 pairs 2"]:
        """Return cosine and sine for each position and pair of features, in float32 at least."""
        if (device, dtype) not in self._turns:
            features = self.config.width // self.config.n_heads
            exponents = torch.arange(0, features, 2, dtype=torch.float64) / features
            angles = torch.arange(self.config.context)[:, None, None] * self.config.rotary_base**-exponents
            turns = torch.stack([angles.cos(), angles.sin()], dim=-1)
            self._turns[device, dtype] = turns.to(device, torch.promote_types(dtype, torch.float32))
        return self._turns[device, dtype]

    def check_tokens(self, operation: str, tokens: Tensor) -> None:
        """Raise a ``ValueError`` for tokens outside the vocabulary or more of them than the context."""
        size, context = self.config.vocabulary.size, self.config.context
        n = tokens.shape[-1]
        require(n <= context, operation, "tokens", f"at most the context's {context} positions", n)
        if tokens.numel():
            least, most = (int(value) for value in tokens.aminmax())
            if least < 0 or most >= size:
                reject(operation, "tokens", f"0 to {size - 1}, the vocabulary", f"{least} to {most}")

    def extra_repr(self) -> str:
        """Say how large it is."""
        return f"{self.config.n_parameters:,} parameters, embeddings apart"


class _Layer(nn.Module):
    """Attention, then a feed-forward network; each reads the normalised stream and adds to it."""

    def __init__(self, config: DecoderConfig, where: dict[str, Any]) -> None:
        super().__init__()
        width, inner = config.width, config.feed_forward
        self.n_heads = config.n_heads
        self.attention_norm = nn.RMSNorm(width, config.epsilon, **where)
        self.look = _linear(width, 3 * width, where)
        self.gather = _linear(width, width, where)
        self.feed_forward_norm = nn.RMSNorm(width, config.epsilon, **where)
        self.up = _linear(width, 2 * inner, where)
        self.down = _linear(inner, width, where)

    def forward(self, x: Tensor, turns: Tensor, attend: Attend) -> Tensor:
        looks = self.look(self.attention_norm(x)).unflatten(1, (3 * self.n_heads, -1))
        both, values = looks.split([2 * self.n_heads, self.n_heads], dim=1)
        queries, keys = rotate(both, turns).chunk(2, dim=1)
        found = attend(queries, keys, values)
        x = x + self.gather(found.flatten(1))
        gate, value = self.up(self.feed_forward_norm(x)).chunk(2, dim=1)
        return x + self.down(functional.silu(gate) * value)


def _linear(inputs: int, outputs: int, where: dict[str, Any]) -> nn.Linear:
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, **where)
