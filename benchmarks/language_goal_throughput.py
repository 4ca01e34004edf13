"""Frames per second through an image-text model: batched against one frame per step.

Random weights of open_clip's shapes, which cost what trained ones cost. On a CPU the model is
ViT-B-32; with ``--device cuda`` also ViT-bigG-14, with the share of the GPU's peak that it reaches.

Each row compares batches with two ways of asking for one frame per step: with float32 weights by
open_clip's own code, as the released code of VLM-RL does, and in the batches' own precision by our
code, which says what batching alone is worth. Ours leaves out what the last block makes of tokens
that nothing reads. On a CPU there is a row in float32 and one in bfloat16, which processors with
instructions for it multiply twice as fast; a row says how far its embeddings are from those of
float32 (cosine).

    python benchmarks/language_goal_throughput.py
    python benchmarks/language_goal_throughput.py --device cuda --batch 256
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro
from _study import machine, publish

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Part of a GPU's name to its dense bf16 peak, FLOP/s."""
WANTED_RATIO, WANTED_UTILISATION = 3.0, 0.5


@dataclass(frozen=True)
class Options:
    """Measure."""

    models: tuple[str, ...] = ()
    """Architectures of open_clip; none takes ViT-B-32, and ViT-bigG-14 on a GPU."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs."""
    precisions: tuple[Literal["fp32", "bf16", "fp16"], ...] = ()
    """Of weights and arithmetic, a row each; none takes fp32 and bf16 on a CPU, bf16 on a GPU."""
    batch: int = 64
    """Frames that go through at once."""
    seconds: float = 20.0
    """Time of each measurement."""
    compile: bool = False
    """torch.compile the layers, on a GPU."""
    threads: int = 1
    """Threads of torch on a CPU."""
    repeats: int = 3
    """Measurements of each side, in turn; the medians count."""
    out: Path | None = None
    """JSON file to write."""


def rate(encoder: Any, images: Any, seconds: float) -> float:
    """Frames per second of calls with these images."""
    import torch

    def finish() -> None:
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()

    encoder.images(images)
    finish()
    began, frames = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        encoder.images(images)
        finish()
        frames += len(images)
    return frames / (time.perf_counter() - began)


def flops_of(encoder: Any, images: Any) -> float:
    """Floating point operations per frame, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # The quick way of nn.MultiheadAttention is one operation, which the counter does not know.
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(display=False)
    with counter, torch.compiler.set_stance("force_eager"):
        encoder.model.encode_image(encoder.prepare(images))
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops() / len(images)


def loaded(name: str, precision: str, options: Options) -> Any:
    """An encoder with the same random weights for every precision."""
    import torch

    from robo.perception.clip import ClipEncoder, open_clip_module
    from robo.perception.clip_config import ClipConfig

    open_clip = open_clip_module()
    torch.manual_seed(0)
    model = open_clip.create_model(name, precision="fp32", device=options.device)
    config = ClipConfig(name, "", precision, options.batch, options.compile)  # type: ignore[arg-type]
    return ClipEncoder(model, open_clip.get_tokenizer(name), config, options.device)


def as_released(name: str, options: Options) -> Any:
    """The same weights in float32, and every layer as open_clip computes it."""
    encoder = loaded(name, "fp32", replace(options, compile=False))
    # Ours are set on the instance: without them the class's own are back.
    for block in encoder.model.visual.transformer.resblocks:
        for ours in ("forward", "attention"):
            block.__dict__.pop(ours, None)
    return encoder


def measure(name: str, precision: str, options: Options) -> dict[str, Any]:
    """One model's row in one precision."""
    import statistics

    import torch

    encoder = loaded(name, precision, options)
    released = as_released(name, options)
    shape = (options.batch, *encoder.image_size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    per_frame = flops_of(encoder, images[:1])
    sides = {
        "batched": (encoder, images),
        "one frame per step, as released": (released, images[:1]),
        "one frame per step": (encoder, images[:1]),
    }
    runs: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.repeats):
        for side, (model, frames) in sides.items():
            runs[side].append(rate(model, frames, options.seconds / options.repeats))
    medians = {side: statistics.median(found) for side, found in runs.items()}
    ours = medians.pop("batched")
    few = images[: min(8, len(images))]
    apart = (encoder.images(few).float() * released.images(few).float()).sum(-1)
    row: dict[str, Any] = {
        "name": f"{name}, {options.device}, {precision}, batch {options.batch}",
        "unit": "frames per second, resize and normalisation included",
        "ours": ours,
        "peers": medians,
        "ratio_to_best": ours / max(medians.values()),
        "ratio_to_released": ours / medians["one frame per step, as released"],
        "least_cosine_to_fp32": float(apart.min()),
        "runs": runs,
        "flops_per_frame": per_frame,
        "flops_per_second": ours * per_frame,
    }
    if options.device == "cuda":
        card = torch.cuda.get_device_name()
        peak = next((peak for part, peak in PEAKS.items() if part in card), None)
        row |= {"card": card, "peak": peak}
        row["utilisation"] = ours * per_frame / peak if peak else None
    return row


def main(options: Options) -> None:
    """Measure all; the last line printed is one JSON object."""
    import torch

    torch.set_num_threads(options.threads)
    models = options.models or (
        ("ViT-B-32", "ViT-bigG-14") if options.device == "cuda" else ("ViT-B-32",)
    )
    kinds = options.precisions or (("bf16",) if options.device == "cuda" else ("fp32", "bf16"))
    rows = [measure(name, precision, options) for name in models for precision in kinds]
    for row in rows:
        print(
            f"{row['name']}: {row['ours']:.1f} frames/s, {row['ratio_to_released']:.2f} x one by "
            f"one as released, {row['ratio_to_best']:.2f} x the faster way of one by one"
        )
    publish(
        {
            "benchmark": "language_goal_throughput",
            "rows": rows,
            "wanted": {"ratio_on_cpu": WANTED_RATIO, "utilisation_of_bigG": WANTED_UTILISATION},
            "threads": options.threads,
            "machine": machine(rows[0].get("card", options.device)),
        },
        options.out,
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
