"""The visual encoder's quicker pieces give what transformers' own give."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

pytest.importorskip("transformers")

from robo.rewards.grm.vlm.speed import (
    PaddedPerceptron,
    attend_packed,
    embed_patches,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([1, 3, 4, 7]), min_size=1, max_size=8), st.integers(0, 5))
def test_attention_stays_inside_each_sequence(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, sum(lengths), 2, 8, generator=generator)
    ends = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32)
    found = attend_packed(query, key, value, ends, 0.3)
    parts = [each.transpose(0, 1).split(lengths, dim=1) for each in (query, key, value)]
    wanted = [scaled_dot_product_attention(*part, scale=0.3) for part in zip(*parts, strict=True)]
    torch.testing.assert_close(found, torch.cat(wanted, dim=1).transpose(0, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_patches_are_what_the_convolution_makes_of_them(bias: bool) -> None:
    torch.manual_seed(0)
    projection = torch.nn.Conv3d(3, 5, (2, 4, 4), (2, 4, 4), bias=bias)
    patches = torch.randn(6, 3 * 2 * 4 * 4)
    wanted = projection(patches.view(6, 3, 2, 4, 4)).flatten(1)
    torch.testing.assert_close(embed_patches(projection, patches), wanted)


def perceptron(width: int):
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLConfig, Qwen2_5_VLMLP

    config = Qwen2_5_VLConfig().vision_config
    config.hidden_size, config.intermediate_size = 16, width
    return Qwen2_5_VLMLP(config, bias=True)


def test_padding_changes_nothing_and_follows_the_weights() -> None:
    torch.manual_seed(0)
    layer, states = perceptron(21), torch.randn(4, 16)
    padded = PaddedPerceptron(layer)
    with torch.no_grad():
        torch.testing.assert_close(padded(states), layer(states))
        layer.up_proj.weight.mul_(2.0)
        torch.testing.assert_close(padded(states), layer(states))
    padded(states).sum().backward()
    assert float(layer.gate_proj.weight.grad.abs().sum()) > 0


def test_even_widths_and_other_layers_are_left_alone() -> None:
    assert PaddedPerceptron.helps(perceptron(21)) and not PaddedPerceptron.helps(perceptron(24))
    assert not PaddedPerceptron.helps(torch.nn.Linear(3, 3))
