"""Parts of the visual encoder, computed in fewer and larger pieces; the numbers stay.

transformers attends to every window of every image in a call of its own (a few hundred images make
a hundred thousand), and takes patches through a three-dimensional convolution, which half
precision has no quick kernel for. Here windows of one size are one batch, and patches one matrix
product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad, scaled_dot_product_attention, silu
from torch.utils.weak import WeakTensorKeyDictionary

from robo.perception.kernels import compile_layers

Linear = tuple[Tensor, Tensor | None]
"""Weight and bias."""

_groups: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def quicken(model: Any) -> None:
    """Let the visual encoder of a Qwen2.5-VL or Qwen3-VL model use both, in place."""
    visual = model.model.visual
    for block in visual.blocks:
        block.attn.forward = PackedAttention(block.attn)
    embed = visual.patch_embed
    embed.forward = partial(embed_patches, embed.proj)


def compile_parts(model: Any) -> None:
    """Compile what lies between the matrix products of all layers, in place, on a GPU.

    Norms and activations then take one pass over memory in place of several, and perceptrons of
    an odd width are padded. Does nothing on a CPU.
    """
    if model.device.type != "cuda":
        return
    blocks, layers = model.model.visual.blocks, model.model.language_model.layers
    parts: list[Any] = []
    turning = torch.compile(turn)
    for block in blocks:
        block.attn.forward = PackedAttention(block.attn, turning)
        parts += [block.norm1, block.norm2]
        if PaddedPerceptron.helps(block.mlp):
            block.mlp.forward = PaddedPerceptron(block.mlp, torch.compile(gated))
        else:
            parts.append(block.mlp)
    for layer in layers:
        parts += [layer.mlp, layer.input_layernorm, layer.post_attention_layernorm]
    compile_layers(parts, model.device)


def gated(states: Tensor, gate: Linear, up: Linear, down: Linear) -> Tensor:
    """A gated perceptron: ``down(silu(gate(x)) * up(x))``."""
    return linear(silu(linear(states, *gate)) * linear(states, *up), *down)


class PaddedPerceptron:
    """A gated perceptron whose width is filled up with zeros to a multiple of 8.

    The published visual encoders are 3,420 wide; half precision has no quick kernel for rows that
    are no multiple of 16 bytes. The result is the same, since what is added is zero. Gradients go
    through the layer itself.
    """

    def __init__(self, layer: Any, act: Callable[..., Tensor] = gated) -> None:
        """Stand in for ``layer``'s forward."""
        self.layer, self.act = layer, act
        self.slow = layer.forward
        self._of: tuple[Any, ...] = ()
        self._padded: tuple[Linear, Linear, Linear] | None = None

    @staticmethod
    def helps(layer: Any) -> bool:
        """Whether a layer is of this form, and of an odd width."""
        names = ("gate_proj", "up_proj", "down_proj")
        plain = all(type(getattr(layer, name, None)) is torch.nn.Linear for name in names)
        return plain and layer.down_proj.in_features % 8 != 0

    def __call__(self, states: Tensor) -> Tensor:
        """``[N, D]`` to ``[N, D]``."""
        if torch.is_grad_enabled() or not self.helps(self.layer):
            return self.slow(states)
        gate, up, down = self.layer.gate_proj, self.layer.up_proj, self.layer.down_proj
        now = tuple((id(one.weight), one.weight._version) for one in (gate, up, down))
        if self._padded is None or now != self._of:
            more = -down.in_features % 8
            self._of = now
            self._padded = (
                (pad(gate.weight, (0, 0, 0, more)), _longer(gate.bias, more)),
                (pad(up.weight, (0, 0, 0, more)), _longer(up.bias, more)),
                (pad(down.weight, (0, more)), down.bias),
            )
        return self.act(states, *self._padded)


def _longer(bias: Tensor | None, more: int) -> Tensor | None:
    return None if bias is None else pad(bias, (0, more))


def embed_patches(projection: Any, patches: Tensor) -> Tensor:
    """What ``projection``, a convolution whose stride is its kernel, makes of flat patches.

    Args:
        projection: the convolution to ``D`` channels.
        patches: ``[N, C * T * P * P]``.

    Returns:
        ``[N, D]``.
    """
    weight = projection.weight
    return linear(patches.to(weight.dtype), weight.flatten(1), projection.bias)


def turn(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of ``[L, H, E]`` by ``[L, E]`` each, in single precision."""
    wide = states.float()
    first, second = wide.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    cosine, sine = cosine.float().unsqueeze(-2), sine.float().unsqueeze(-2)
    return (wide * cosine + turned * sine).to(states.dtype)


class PackedAttention:
    """Self-attention inside each of several images or windows that stand one behind the other."""

    def __init__(self, layer: Any, turn: Callable[..., Tensor] = turn) -> None:
        """Stand in for the forward of ``layer``, an attention of a visual encoder."""
        self.layer, self.turn = layer, turn

    def __call__(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        **_: Any,
    ) -> Tensor:
        """``[L, D]`` to ``[L, D]``; ``cu_seqlens`` says where sequences begin, and the end."""
        layer = self.layer
        joined = layer.qkv(hidden_states).unflatten(-1, (3, layer.num_heads, -1))
        query, key, value = joined.unbind(1)
        query, key = (self.turn(each, *position_embeddings) for each in (query, key))
        seen = attend_packed(query, key, value, cu_seqlens, layer.scaling)
        return layer.proj(seen.flatten(1))


def attend_packed(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, scaling: float | None = None
) -> Tensor:
    """Attention inside each sequence.

    Args:
        query: ``[L, H, E]``.
        key: the same.
        value: the same.
        ends: int32 ``[S + 1]``, where each sequence begins, and the end.
        scaling: of the scores.

    Returns:
        ``[L, H, E]``.
    """
    out = torch.empty_like(query)
    for length, places in same_lengths(ends):
        query_part, key_part, value_part = (
            (each if places is None else each[places]).unflatten(0, (-1, length)).transpose(1, 2)
            for each in (query, key, value)
        )
        done = scaled_dot_product_attention(query_part, key_part, value_part, scale=scaling)
        done = done.transpose(1, 2).flatten(0, 1)
        if places is None:
            return done
        out[places] = done
    return out


def same_lengths(ends: Tensor) -> list[tuple[int, Tensor | None]]:
    """Sequences by length: each length, and the places ``[n * length]`` of its tokens.

    None in place of the places says that all sequences have this length. Kept for as long as
    ``ends`` lives, since all layers of a pass ask with the same one.
    """
    if ends not in _groups:
        _groups[ends] = _same_lengths(ends)
    return _groups[ends]


def _same_lengths(ends: Tensor) -> list[tuple[int, Tensor | None]]:
    starts = ends[:-1].cpu().long()
    lengths = ends.cpu().long().diff()
    different = [int(length) for length in lengths.unique() if length > 0]
    if len(different) == 1 and bool((lengths > 0).all()):
        return [(different[0], None)]
    return [
        (
            length,
            (starts[lengths == length][:, None] + torch.arange(length)).flatten().to(ends.device),
        )
        for length in different
    ]
