"""Reference START and GOAL images: their sources, and the failure when both look alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from robo.errors import RoboError
from robo.rewards.grm.anchors import NEEDS

References = Mapping[str, Mapping[str, Tensor]]
"""``{"start" | "goal": {view: uint8 [G, H, W, 3]}}``."""

ALIKE = 0.06
"""Largest change of a patch, as a share of the pixel range, at which two pictures look alike."""
PATCHES = 16
"""Patches across a picture."""


def largest_change(first: Tensor, second: Tensor) -> float:
    """How much the patch that changes most differs between two uint8 pictures ``[H, W, 3]``.

    Returns:
        Mean difference of that patch's colour, 0 to 1; 1 for pictures of different size.
    """
    if first.shape != second.shape:
        return 1.0
    pictures = torch.stack([first, second]).permute(0, 3, 1, 2).float() / 255.0
    patches = nn.functional.adaptive_avg_pool2d(pictures, PATCHES)
    return float((patches[0] - patches[1]).abs().amax())


def goal_looks_like_start(references: References) -> bool:
    """Whether START and GOAL cannot be told apart in any view that both have.

    Where they look alike, the forward hop stays near 0 and the backward one near 1 whatever the
    robot does, so that fused progress ends near 0.67 and success is never seen. With several
    demonstrations, half of them must look alike.
    """
    shared = references.get("start", {}).keys() & references.get("goal", {}).keys()
    if not shared:
        return False
    count = min(len(references[kind][view]) for kind in ("start", "goal") for view in shared)
    change = [
        max(
            largest_change(references["start"][view][i], references["goal"][view][i])
            for view in shared
        )
        for i in range(count)
    ]
    return bool(change) and float(np.median(change)) < ALIKE


def usable_mode(mode: str, references: References, has_goal: bool = True) -> str:
    """``mode``, or ``incremental`` where the anchors are worth nothing.

    Raises:
        RoboError: the mode needs a goal image and there is none.
    """
    needs = NEEDS[mode]
    if not has_goal and "backward" in needs:
        raise RoboError(
            f"progress mode {mode!r} compares with a GOAL image, and there is none; give one (the "
            "last frame of a success), or choose mode forward or incremental"
        )
    if mode != "incremental" and has_goal and goal_looks_like_start(references):
        warnings.warn(
            "the reference GOAL looks like the START in every view, so that progress mode "
            f"{mode!r} would say the same of every frame; anchors are ignored and mode "
            "'incremental' is used. Give a goal image that shows the task done, or another view",
            stacklevel=3,
        )
        return "incremental"
    return mode
