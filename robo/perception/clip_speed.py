"""Self-attention of open_clip's vision transformers, straight to torch's attention kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


def direct_attention(blocks: Any) -> None:
    """Let residual blocks attend without ``nn.MultiheadAttention``'s own ways, in place.

    Those ways, one for inference and one for training, copy queries, keys and values around;
    and torch.compile cannot look into the first. Blocks of other makes are left alone.
    """
    for block in blocks:
        inner = getattr(block, "attn", None)
        plain = isinstance(inner, nn.MultiheadAttention) and inner.in_proj_weight is not None
        if plain and hasattr(block, "attention") and not hasattr(block, "ln_1_kv"):
            block.attention = partial(attend, inner)


def attend(
    inner: Any,
    q_x: Tensor,
    k_x: Tensor | None = None,
    v_x: Tensor | None = None,
    attn_mask: Tensor | None = None,
) -> Tensor:
    """Self-attention ``[B, L, D]`` by the weights of ``inner``; keys of others go its own way."""
    if k_x is not None or v_x is not None:
        own = inner(q_x, q_x if k_x is None else k_x, q_x if v_x is None else v_x, attn_mask)
        return own[0]
    joined = linear(q_x, inner.in_proj_weight, inner.in_proj_bias)
    split = joined.unflatten(-1, (3, inner.num_heads, inner.head_dim))
    query, key, value = (part.transpose(1, 2) for part in split.unbind(2))
    mask = None if attn_mask is None else attn_mask.to(q_x.dtype)
    seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return inner.out_proj(seen.transpose(1, 2).flatten(2))
