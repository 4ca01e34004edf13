"""V-JEPA 2's rotary embedding in one piece.

transformers rotates three parts of every query and key one after the other and computes their
angles anew in each layer, which on a GPU takes a good part of the time. Angles depend on the
position alone: one table of cosines and sines serves all layers, and the product is the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor


def share_rotary(model: Any) -> None:
    """Let all encoder layers of a ``transformers.VJEPA2Model`` rotate by one table, in place."""
    tables = RotaryTables()
    for layer in model.encoder.layer:
        attention = layer.attention
        attention.apply_rotary_embeddings = partial(tables.rotate, attention)


class RotaryTables:
    """Cosines and sines by number of tokens, dtype and device."""

    def __init__(self) -> None:
        """Empty."""
        self._kept: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def rotate(self, attention: Any, states: Tensor, positions: tuple[Tensor, ...]) -> Tensor:
        """Queries or keys ``[B, H, N, E]``, rotated by their tokens' frame, row and column."""
        key = (states.shape[-2], states.dtype, states.device)
        if any(position.dim() > 1 for position in positions):
            cosine, sine = self._table(attention, states, positions)
        else:
            if key not in self._kept:
                self._kept[key] = self._table(attention, states, positions)
            cosine, sine = self._kept[key]
        first, second = states.unflatten(-1, (-1, 2)).unbind(dim=-1)
        turned = torch.stack((-second, first), dim=-1).flatten(-2)
        return torch.addcmul(states * cosine, turned, sine)

    def _table(
        self, attention: Any, states: Tensor, positions: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """``[..., N, E]`` each; 1 and 0 for the part of the head that is not rotated."""
        widths = (attention.d_dim, attention.h_dim, attention.w_dim)
        rest = attention.attention_head_size - sum(widths)
        cosines, sines = [], []
        for width, position in zip(widths, positions, strict=True):
            omega = torch.arange(width // 2, dtype=states.dtype, device=states.device)
            omega /= width / 2.0
            angle = position.unsqueeze(-1) * (1.0 / 10000**omega)
            cosines.append(torch.cat([angle.cos()] * 2, dim=-1))
            sines.append(torch.cat([angle.sin()] * 2, dim=-1))
        shape = (*cosines[0].shape[:-1], rest)
        cosines.append(cosines[0].new_ones(shape))
        sines.append(sines[0].new_zeros(shape))
        return torch.cat(cosines, dim=-1), torch.cat(sines, dim=-1)
