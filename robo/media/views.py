"""Camera views side by side in a picture."""

from __future__ import annotations

import numpy as np

from robo.media.plot_canvas import Box
from robo.media.video import VideoError
from robo.rollout import Episode


def view_boxes(episode: Episode, area: Box, gap: int) -> dict[str, Box]:
    """Boxes of equal height side by side in the middle of ``area``, aspects kept.

    Args:
        episode: with camera frames.
        area: what the views may fill.
        gap: pixels between two views.

    Returns:
        Camera role to its box.

    Raises:
        VideoError: if the episode holds no frames, or of another number or type than it says.
    """
    rows = 0 if episode.frame_step is None else len(episode.frame_step)
    aspects = {}
    for role, frames in episode.frames.items():
        shape = np.shape(frames)
        if len(shape) != 4 or shape[3] != 3 or shape[0] != rows or frames.dtype != np.uint8:
            raise VideoError(
                f"camera view {role!r} is {frames.dtype} {shape}, expected uint8 "
                f"({rows}, height, width, 3), one frame for each of frame_step"
            )
        aspects[role] = shape[2] / shape[1]
    if not aspects or not rows:
        raise VideoError(
            f"the episode of {episode.info.task} holds no camera frames, record it with a camera "
            "schedule"
        )
    free = area.width - gap * (len(aspects) - 1)
    height = min(area.height, int(free / sum(aspects.values())))
    widths = {role: int(aspect * height) for role, aspect in aspects.items()}
    left = area.left + (free - sum(widths.values())) // 2
    top = area.top + (area.height - height) // 2
    boxes = {}
    for role, width in widths.items():
        boxes[role] = Box(left, top, left + width, top + height)
        left += width + gap
    return boxes


def enlarge(image: np.ndarray, box: Box) -> np.ndarray:
    """The image at the box's size, uint8 ``[box.height, box.width, 3]``.

    Images below a quarter of the box show their own pixels, as a reward model sees them; larger
    ones are interpolated.

    Args:
        image: uint8 ``[height, width, 3]``.
        box: of the same aspect.
    """
    import cv2

    size = (box.width, box.height)
    if box.height <= image.shape[0]:
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if box.height > 4 * image.shape[0]:
        return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
