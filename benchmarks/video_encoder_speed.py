"""How fast V-JEPA 2 embeds rollouts, and how much of the device's arithmetic that uses.

    python benchmarks/video_encoder_speed.py --device cuda

Random weights in the shape of ViT-g/16 at 384 pixels and 64 frames (18,432 tokens): speed does
not depend on the values. Model FLOPs count multiplications and additions of matrix products and
attention; the peak is that of dense half-precision arithmetic, which --peak-tflops states.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import machine, one_thread, publish

SHAPES: dict[str, dict[str, Any]] = {
    "vit-g": {
        "hidden_size": 1408,
        "num_hidden_layers": 40,
        "num_attention_heads": 22,
        "mlp_ratio": 48 / 11,
        "crop_size": 384,
        "frames_per_clip": 64,
    },
    "vit-l": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "mlp_ratio": 4.0,
        "crop_size": 256,
        "frames_per_clip": 64,
    },
    "tiny": {
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "mlp_ratio": 4.0,
        "crop_size": 64,
        "frames_per_clip": 16,
    },
}
TARGET = 0.4
"""Model-FLOPs utilisation to reach."""


@dataclass(frozen=True)
class Options:
    """Clips per second of a V-JEPA 2, and model-FLOPs utilisation."""

    shape: str = "vit-g"
    """vit-g, vit-l or tiny."""
    device: str = "cuda"
    """Torch device."""
    batch: int = 2
    """Clips at a time."""
    repeats: int = 10
    """Timed batches, after two that are not."""
    compiled: bool = False
    """torch.compile the layers."""
    peak_tflops: float = 989.0
    """Peak of the device, dense half precision: 989 for an H100 SXM; 0 leaves the share out."""
    out: Path | None = None
    """JSON file to write."""


def flops_per_clip(shape: dict[str, Any]) -> float:
    """Of one forward pass: 2 per multiply-add, patches, layers and attention."""
    size, layers = shape["hidden_size"], shape["num_hidden_layers"]
    tokens = (shape["frames_per_clip"] // 2) * (shape["crop_size"] // 16) ** 2
    dense = 4 * size**2 + 2 * int(size * shape["mlp_ratio"]) * size
    attention = 2 * tokens * size
    return 2.0 * tokens * (layers * (dense + attention) + 2 * 16 * 16 * 3 * size)


def main(options: Options) -> None:
    """Build, warm up, time."""
    import torch
    from transformers import VJEPA2Config, VJEPA2Model

    from robo.perception.kernels import compile_layers
    from robo.perception.vjepa2 import VJEPA2Encoder

    shape = SHAPES[options.shape]
    torch.manual_seed(0)
    half = torch.device(options.device).type == "cuda"
    model: Any = VJEPA2Model(VJEPA2Config(**shape, pred_num_hidden_layers=1))
    model = model.to(torch.float16) if half else model
    encoder = VJEPA2Encoder(model, "random", ("front",), options.device, options.batch)
    if options.compiled:
        compile_layers(encoder.model.encoder.layer, encoder.device)
    clips = [
        {"front": torch.randint(0, 256, (shape["frames_per_clip"], 256, 256, 3), dtype=torch.uint8)}
        for _ in range(options.batch)
    ]
    for _ in range(2):
        encoder.embed(clips)  # gives its result on the CPU, so the device has finished
    began = time.perf_counter()
    for _ in range(options.repeats):
        encoder.embed(clips)
    seconds = (time.perf_counter() - began) / options.repeats
    rate = options.batch / seconds
    achieved = rate * flops_per_clip(shape) / 1e12
    share = achieved / options.peak_tflops if options.peak_tflops else None
    device = torch.cuda.get_device_name(0) if half else "cpu"
    publish(
        {
            "benchmark": "video_encoder_speed",
            "shape": options.shape,
            "clips_per_second": rate,
            "tflops": achieved,
            "utilisation": share,
            "target": TARGET,
            "target_met": None if share is None else share >= TARGET,
            "batch": options.batch,
            "machine": machine(device),
        },
        options.out,
    )


if __name__ == "__main__":
    one_thread()
    sys.path.insert(0, str(Path(__file__).parent))
    main(tyro.cli(Options, description=__doc__))
