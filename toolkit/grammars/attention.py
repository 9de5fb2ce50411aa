"""Causal attention over sequences that share one row of tokens, rotary positions, and keys and values that are kept."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From queries, keys and values, each [tokens, heads, features], to what each token's heads gather."""


def rotate(
    x: Float[Tensor, "tokens heads features"], turns: Float[Tensor, "tokens 1 pairs 2"]
) -> Float[Tensor, "tokens heads features"]:
    """Turn neighbouring pairs of features by angles, given as cosine and sine: products depend on distances only.

    Source: Su et al., arXiv 2104.09864.
    """
    pairs = x.to(turns.dtype).unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        # Compilers fuse real numbers only; without one, complex numbers take a third of the time.
        (a, b), (cosine, sine) = pairs.unbind(-1), turns.unbind(-1)
        turned = torch.stack([a * cosine - b * sine, a * sine + b * cosine], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turns))
    return turned.flatten(-2).to(x.dtype)


def causal_attention(
    queries: Float[Tensor, "tokens heads features"],
    keys: Float[Tensor, "tokens heads features"],
    values: Float[Tensor, "tokens heads features"],
    *,
    shapes: Sequence[tuple[int, int]],
) -> Float[Tensor, "tokens heads features"]:
    """Let every token see itself and what stands before it in its own sequence.

    Args:
        queries: of all tokens, group after group, sequence after sequence.
        keys: likewise.
        values: likewise.
        shapes: of each group: how many sequences, how many positions in each.
    """
    heads, features = queries.shape[1:]
    found = []
    counts = [rows * positions for rows, positions in shapes]
    for shape, *groups in zip(shapes, *(x.split(counts) for x in (queries, keys, values)), strict=True):
        q, k, v = (x.reshape(*shape, heads, features).transpose(1, 2) for x in groups)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        found.append(seen.transpose(1, 2).flatten(0, 1))
    return found[0] if len(found) == 1 else torch.cat(found)


class KeyValues:
    """The keys and values that a layer has seen: one row a sequence, filled position by position."""

    def __init__(self) -> None:
        self.keys = self.values = torch.zeros(0)

    def fill(
        self,
        queries: Float[Tensor, "tokens heads features"],
        keys: Float[Tensor, "tokens heads features"],
        values: Float[Tensor, "tokens heads features"],
        *,
        shape: tuple[int, int],
    ) -> Float[Tensor, "tokens heads features"]:
        """Keep whole sequences, filled up behind their ends to one length, and attend to them causally."""
        heads, features = queries.shape[1:]
        self.keys, self.values = (x.reshape(*shape, heads, features).transpose(1, 2) for x in (keys, values))
        return causal_attention(queries, keys, values, shapes=[shape])

    def extend(
        self,
        queries: Float[Tensor, "rows heads features"],
        keys: Float[Tensor, "rows heads features"],
        values: Float[Tensor, "rows heads features"],
        *,
        positions: Int[Tensor, " rows"],
        visible: Bool[Tensor, "rows 1 1 seen"],
    ) -> Float[Tensor, "rows heads features"]:
        """Keep one more token of each sequence and let it see what is visible, itself included."""
        seen = visible.shape[-1]
        if seen > self.keys.shape[2]:
            room = (0, 0, 0, max(seen, 2 * self.keys.shape[2]) - self.keys.shape[2])
            self.keys, self.values = functional.pad(self.keys, room), functional.pad(self.values, room)
        rows = torch.arange(len(positions), device=positions.device)
        self.keys[rows, :, positions], self.values[rows, :, positions] = keys, values
        found = functional.scaled_dot_product_attention(
            queries[:, :, None], self.keys[:, :, :seen], self.values[:, :, :seen], attn_mask=visible
        )
        return found[:, :, 0]

    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep only some of the sequences."""
        self.keys, self.values = self.keys[rows], self.values[rows]
