"""Which of torch's attention kernels a large model runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


def quick_attention(device: torch.device) -> Any:
    """A context in which attention takes cuDNN's kernel where the GPU has it, else torch's order.

    cuDNN's kernel is written for Hopper's instructions; torch's own choice, FlashAttention 2, is
    not. Nothing changes on other devices.
    """
    return _cudnn_first() if device.type == "cuda" else nullcontext()


@contextmanager
def _cudnn_first() -> Iterator[None]:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    with sdpa_kernel(order, set_priority=True):
        yield


def compile_layers(layers: Any, device: torch.device) -> None:
    """Compile each of a model's repeated layers, in place, on a GPU.

    All layers share one piece of compiled code, so that this costs seconds where compiling the
    whole model costs minutes. Does nothing on a CPU.
    """
    if device.type != "cuda":
        return
    for layer in layers:
        layer.compile()
