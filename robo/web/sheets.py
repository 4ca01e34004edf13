"""Camera frames as few large pictures, so that a browser scrubs without decoding each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL = 320
"""Largest height of a frame in a sheet, in pixels; larger frames are reduced."""
SHEET = 2048
"""Largest side of a sheet, in pixels: 16 MB once a browser has decoded it."""
QUALITY = 90
"""Of JPEG."""
LOSSLESS = 2_000_000
"""Pixels up to which a sheet is a PNG: small frames are drawn enlarged, and show every fault."""


@dataclass(frozen=True)
class SheetPlan:
    """How the frames of one view are laid out: row by row, sheet after sheet."""

    count: int
    """Number of frames."""
    width: int
    """Of a frame in the sheet, in pixels."""
    height: int
    """Of a frame in the sheet, in pixels."""
    columns: int
    """Frames side by side."""
    rows: int
    """Rows of a full sheet."""

    @classmethod
    def of(cls, count: int, height: int, width: int) -> SheetPlan:
        """The plan for ``count`` frames of the stored size."""
        shrink = min(1.0, CELL / height, SHEET / width)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        columns = max(1, min(SHEET // width, int(np.ceil(np.sqrt(count * height / width)))))
        return cls(count, width, height, columns, max(1, SHEET // height))

    @property
    def sheets(self) -> int:
        """Number of sheets."""
        return -(-self.count // (self.columns * self.rows))


def encode_sheet(frames: np.ndarray, plan: SheetPlan, number: int) -> tuple[bytes, str]:
    """One sheet, and its media type: PNG where it is small, else JPEG.

    Args:
        frames: uint8 ``[F, H, W, 3]``, all frames of the view.
        plan: of these frames.
        number: of the sheet, from 0.
    """
    import cv2

    size = plan.columns * plan.rows
    part = frames[number * size : (number + 1) * size]
    rows = -(-len(part) // plan.columns)
    sheet = np.zeros((rows * plan.height, plan.columns * plan.width, 3), np.uint8)
    for i, frame in enumerate(part):
        if frame.shape[:2] != (plan.height, plan.width):
            frame = cv2.resize(frame, (plan.width, plan.height), interpolation=cv2.INTER_AREA)
        top, left = i // plan.columns * plan.height, i % plan.columns * plan.width
        sheet[top : top + plan.height, left : left + plan.width] = frame
    bgr = np.ascontiguousarray(sheet[..., ::-1])
    if bgr.shape[0] * bgr.shape[1] <= LOSSLESS:
        return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(), "image/png"
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes(), "image/jpeg"
