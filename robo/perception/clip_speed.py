"""open_clip's vision transformers without what an image's embedding does not need.

Attention straight to torch's kernels, and a last block for the class token alone.
"""

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
        keys, values = (q_x if given is None else given for given in (k_x, v_x))
        return inner(q_x, keys, values, need_weights=False, attn_mask=attn_mask)[0]
    joined = linear(q_x, inner.in_proj_weight, inner.in_proj_bias)
    split = joined.unflatten(-1, (3, inner.num_heads, inner.head_dim))
    query, key, value = (part.transpose(1, 2) for part in split.unbind(2))
    mask = None if attn_mask is None else attn_mask.to(q_x.dtype)
    seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return inner.out_proj(seen.transpose(1, 2).flatten(2))


def class_token_last(visual: Any) -> bool:
    """Let the last block of a vision transformer compute the class token alone, in place.

    The embedding is read from that token: what the last block makes of the other ones is thrown
    away. They are still attended to, so that the embedding is the same, up to rounding; of ViT-B's
    multiplications 7 in 100 are left out. Models that pool otherwise are left alone.

    Returns:
        Whether the model is one of those.
    """
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if not blocks or getattr(visual, "pool_type", "") != "tok":
        return False
    if getattr(visual, "attn_pool", None) is not None or getattr(visual, "output_tokens", False):
        return False
    last, parts = blocks[-1], ("ln_1", "ls_1", "ln_2", "ls_2", "mlp", "attention")
    inner = getattr(last, "attn", None)
    if hasattr(last, "ln_1_kv") or not all(hasattr(last, part) for part in parts):
        return False
    if not isinstance(inner, nn.MultiheadAttention) or inner.in_proj_weight is None:
        return False
    if not inner.batch_first or inner.bias_k is not None or inner.add_zero_attn:
        return False
    last.forward = partial(_first_of_block, last)
    return True


def _first_of_block(block: Any, x: Tensor, *masks: Any, **others: Any) -> Tensor:
    """A residual block's first token, ``[B, 1, D]``, of its input ``[B, L, D]``.

    Raises:
        ValueError: keys of another sequence, or a mask: an image is attended to as a whole.
    """
    if any(given is not None for given in (*masks, *others.values())):
        raise ValueError("the last block of a vision transformer takes neither keys nor a mask")
    first = x[:, :1] + block.ls_1(_attend_first(block.attn, block.ln_1(x)))
    return first + block.ls_2(block.mlp(block.ln_2(first)))


def _attend_first(inner: Any, x: Tensor) -> Tensor:
    """What the first token sees of all of them, ``[B, 1, D]``."""
    wide = x.shape[-1]
    weight, bias = inner.in_proj_weight, inner.in_proj_bias
    own, others = (None, None) if bias is None else (bias[:wide], bias[wide:])
    query = linear(x[:, :1], weight[:wide], own)
    joined = linear(x, weight[wide:], others).unflatten(-1, (2, inner.num_heads, inner.head_dim))
    key, value = (part.transpose(1, 2) for part in joined.unbind(2))
    query = query.unflatten(-1, (inner.num_heads, inner.head_dim)).transpose(1, 2)
    seen = scaled_dot_product_attention(query, key, value)
    return inner.out_proj(seen.transpose(1, 2).flatten(2))
