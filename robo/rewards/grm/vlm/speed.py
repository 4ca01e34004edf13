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

PACKED = "robo_packed_flash"
"""Name of the attention; transformers hands whole sequences to names that contain ``flash``."""

Linear = tuple[Tensor, Tensor | None]
"""Weight and bias."""

_groups: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def quicken(model: Any) -> None:
    """Let the visual encoder of a Qwen2.5-VL or Qwen3-VL model use both, in place."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, packed_attention)
    visual = model.model.visual
    visual.config._attn_implementation = PACKED
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
    for block in blocks:
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


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each of several sequences that stand one behind the other.

    Args:
        module: the layer, not used.
        query: ``[1, H, L, E]``.
        key: the same.
        value: the same.
        attention_mask: None; the sequences are whole.
        cu_seq_lens_q: int32 ``[S + 1]``, where each sequence begins, and the end.
        scaling: of the scores.
        dropout: probability.

    Returns:
        ``[1, L, H, E]``, and no weights.
    """
    query, key, value = query[0], key[0], value[0]
    out = torch.empty_like(query)
    for length, places in same_lengths(cu_seq_lens_q):
        heads, total, size = query.shape
        if places is None:
            parts = [each.view(heads, -1, length, size) for each in (query, key, value)]
        else:
            parts = [each[:, places].view(heads, -1, length, size) for each in (query, key, value)]
        done = scaled_dot_product_attention(
            *(part.transpose(0, 1) for part in parts), dropout_p=dropout, scale=scaling
        ).transpose(0, 1)
        if places is None:
            out = done.reshape(heads, total, size)
        else:
            out[:, places] = done.reshape(heads, -1, size)
    return out.transpose(0, 1)[None], None


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
