"""Settings of the SRPO reward, apart from torch: command lines read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robo.errors import RoboError


@dataclass(frozen=True)
class SRPOConfig:
    """How failures are paid by their distance to successes."""

    encoder: str = "pixels"
    """Video encoder: a folder (robo fit video-encoder), vjepa2:ID or a folder of its files,
    open_clip:MODEL:WEIGHTS, or pixels."""
    views: tuple[str, ...] = ("front",)
    """Camera roles; a fitted encoder has its own."""
    size: int = 64
    """Image height and width in pixels; a fitted encoder has its own."""
    variant: Literal["paper", "released"] = "paper"
    """Whose formula: the paper's with its sign mended, or the released code's."""
    space: Literal["pca", "cosine", "euclidean"] = "pca"
    """Where distances between successes are taken to find their clusters."""
    no_success: Literal["zero", "bank", "demonstrations"] = "bank"
    """References of a task without a success in the batch: none (its failures get 0), successes
    of earlier batches, or those and before them demonstrations."""
    bank: int = 64
    """Successes kept per task, newest first out last."""
    demonstrations: Path | None = None
    """Episode store whose successes seed the bank; needed by no_success demonstrations."""
    progress: bool = True
    """False pays successes alone: the binary reward, to compare with."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.size < 1 or self.bank < 1:
            raise RoboError(f"srpo's size {self.size} and bank {self.bank} must each be at least 1")
        if self.no_success == "demonstrations" and self.demonstrations is None:
            raise RoboError(
                "srpo's no_success is 'demonstrations' but no store of them is given: name one "
                "with --reward.srpo.demonstrations"
            )
