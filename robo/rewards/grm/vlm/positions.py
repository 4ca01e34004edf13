"""Positions of a prompt's tokens and of an image's patches, worked out once per layout.

transformers works them out image by image in each call, with many small steps that a GPU waits
for. Prompts of one task and cameras of one size come again and again with the same layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

KEPT = 64
"""Layouts of each kind that are kept."""


class PromptPositions:
    """Rotary positions of prompts, by where their images stand and how large these are."""

    def __init__(self, rope_index: Callable[..., tuple[Tensor, Tensor]]) -> None:
        """``rope_index`` is ``get_rope_index`` of a Qwen2.5-VL or Qwen3-VL model."""
        self.rope_index = rope_index
        self._kept: dict[tuple[bytes, bytes], tuple[Tensor, Tensor]] = {}

    def __call__(self, kinds: Tensor, grids: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of P prompts of one length L.

        Args:
            kinds: int64 ``[P, L]``, 1 for a token of an image.
            grids: int64 ``[P * I, 3]``, I images a prompt.

        Returns:
            int64 ``[3, P, L]``, and what a following token's position is more than its place,
            int64 ``[P, 1]``; on the device of ``kinds``.
        """
        rows = kinds.cpu()
        sizes = grids.cpu().view(len(rows), -1, 3)
        found = [self._of(row, size) for row, size in zip(rows, sizes, strict=True)]
        positions = torch.cat([one for one, _ in found], dim=1)
        return positions.to(kinds.device), torch.cat([more for _, more in found]).to(kinds.device)

    def _of(self, kinds: Tensor, grids: Tensor) -> tuple[Tensor, Tensor]:
        key = (kinds.numpy().tobytes(), grids.numpy().tobytes())
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            row = kinds[None]
            positions, more = self.rope_index(
                torch.zeros_like(row),
                image_grid_thw=grids if len(grids) else None,
                attention_mask=torch.ones_like(row),
                mm_token_type_ids=row,
            )
            self._kept[key] = positions, more.reshape(1, 1)
        return self._kept[key]


class PatchPositions:
    """What a visual encoder is told of the places of its patches."""

    def __init__(self, visual: Any) -> None:
        """For the visual encoder of a Qwen2.5-VL or Qwen3-VL model."""
        self.visual = visual
        self._kept: dict[bytes, dict[str, Any]] = {}

    def __call__(self, grids: Tensor, device: torch.device) -> dict[str, Any]:
        """Further arguments of the visual encoder for images of these grids ``[M, 3]``."""
        key = grids.numpy().tobytes()
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in self._of(grids).items()
            }
        return dict(self._kept[key])

    def _of(self, grids: Tensor) -> dict[str, Any]:
        from transformers import vision_utils

        visual = self.visual
        ends = vision_utils.get_vision_cu_seqlens(grids)
        found = {
            "position_ids": vision_utils.get_vision_position_ids(grids, visual.spatial_merge_size),
            "cu_seqlens": ends,
            "max_seqlen": int(ends.diff().max()),
        }
        if hasattr(visual, "window_size"):
            index, windows = vision_utils.get_vision_window_index(
                grids, visual.spatial_merge_size, visual.window_size, visual.patch_size
            )
            found |= {
                "window_index": index,
                "cu_window_seqlens": windows,
                "max_window_seqlen": int(windows.diff().max()),
            }
        return found
