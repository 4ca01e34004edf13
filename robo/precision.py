"""Which arithmetic a device multiplies itself, in place of imitating it slowly."""

from __future__ import annotations

import torch

CPU_BFLOAT16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether layers in bfloat16 are worth while on this processor.

Without its vector instructions (AVX-512, AMX, Arm's bf16) PyTorch multiplies bfloat16 numbers one
by one: 0.8 against 50 GFLOP/s on a processor with AVX2 alone.
"""


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether layers on ``device`` may run in bfloat16; elsewhere float32 is faster and exacter."""
    return device.type != "cpu" or CPU_BFLOAT16
