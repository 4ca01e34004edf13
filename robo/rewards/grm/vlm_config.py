"""What may be chosen about a vision-language reward model, apart from torch and transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robo.errors import RoboError

PUBLISHED = (
    "tanhuajie2001/Robo-Dopamine-GRM-3B",
    "tanhuajie2001/Robo-Dopamine-GRM-8B",
    "tanhuajie2001/Robo-Dopamine-GRM-2.0-4B-Preview",
    "tanhuajie2001/Robo-Dopamine-GRM-2.0-8B-Preview",
)
"""Checkpoints in the published format (Qwen2.5-VL the first two, Qwen3-VL the others)."""

Answer = Literal["expected", "greedy", "sample"]
"""``expected``: mean over the score tokens' distribution, one forward pass and no generation;
``greedy`` and ``sample``: an answer decoded token by token inside the score grammar."""


@dataclass(frozen=True)
class VLMConfig:
    """How a vision-language model is asked."""

    model: str = PUBLISHED[0]
    """Hugging Face id or local folder of a Qwen2.5-VL or Qwen3-VL checkpoint; with it its
    processor."""
    adapter: Path | None = None
    """Folder of a LoRA adapter (peft) on top of it."""
    prompt_file: Path | None = None
    """Text file with a checkpoint's own wording; None takes ours."""
    slots: tuple[str, str, str] = ("front", "left_wrist", "right_wrist")
    """Cameras shown in the three places of BEFORE and AFTER; one wrist camera fills both wrist
    places, and the front view those of missing cameras."""
    answer: Answer = "expected"
    """How an answer becomes a number."""
    temperature: float = 0.1
    """Of answer sample."""
    top_p: float = 0.9
    """Of answer sample."""
    top_k: int = 50
    """Of answer sample."""
    seed: int = 0
    """Of answer sample."""
    min_pixels: int = 12_544
    """Smaller images are enlarged to this many pixels."""
    max_pixels: int = 76_800
    """Larger images are shrunk to this many pixels, really: 98 tokens of Qwen2.5-VL."""
    batch: int = 32
    """Pairs per forward pass."""
    cache_images: int = 4_096
    """Images whose visual features are kept; references and frames seen twice cost once. 0: off."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights; auto: bfloat16 on a GPU, float32 on a CPU."""
    device: str = "cpu"
    """Torch device."""
    compile: bool = False
    """torch.compile the layers' perceptrons and norms on a GPU; the first pairs wait for it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 0 < self.min_pixels <= self.max_pixels:
            raise RoboError(
                f"min_pixels {self.min_pixels} and max_pixels {self.max_pixels} must be positive "
                "and in this order"
            )
        if self.batch < 1 or self.cache_images < 0:
            raise RoboError(
                f"batch {self.batch} must be at least 1 and cache_images {self.cache_images} at "
                "least 0"
            )
        if self.temperature <= 0 or not 0 < self.top_p <= 1 or self.top_k < 1:
            raise RoboError(
                f"temperature {self.temperature} must be above 0, top_p {self.top_p} in (0, 1] and "
                f"top_k {self.top_k} at least 1; for the most likely answer use answer greedy"
            )
