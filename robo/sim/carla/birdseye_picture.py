"""The bird's-eye raster in colour, for people."""

from __future__ import annotations

import numpy as np

from robo.sim.carla.birdseye import (
    LIMITS,
    LINES,
    MARKINGS,
    PEDESTRIANS,
    ROAD,
    ROUTE,
    SHOULDER,
    SIGNS,
    STATICS,
    VEHICLES,
)

GROUND = (34, 44, 38)
LAYERS = (
    (SHOULDER, (74, 72, 66)),
    (ROAD, (98, 100, 106)),
    (ROUTE, (84, 150, 124)),
    (SIGNS, (214, 110, 176)),
    (LIMITS, (178, 150, 230)),
    (STATICS, (160, 120, 80)),
    (PEDESTRIANS, (250, 150, 60)),
)
"""Flat colours, painted in this order."""
EGO_COLOR = (240, 240, 245)
EGO_EXTENT = (2.4, 1.0)
"""m: half length and width of the car that is drawn for the ego."""


def birdseye_to_rgb(
    birdseye: np.ndarray, pixels_per_meter: float | None = None, meters_behind: float = 50.0
) -> np.ndarray:
    """A colour picture of one frame.

    Vehicles are blue, brighter the faster; their lights keep to red (brake), amber (blinkers)
    and cyan (emergency). Stop lines show the colour of their light, unserved stop signs are pink,
    speed signs violet, pedestrians orange, static props brown. The ego is drawn in white.

    Args:
        birdseye: uint8 ``[10, H, W]``.
        pixels_per_meter: Resolution; None for H / 128.
        meters_behind: Metres from the ego to the lower edge.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    height, width = birdseye.shape[1:]
    scale = height / 128.0 if pixels_per_meter is None else pixels_per_meter
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = GROUND
    for channel, color in LAYERS[:3]:
        picture[birdseye[channel] > 0] = color
    markings = birdseye[MARKINGS]
    picture[markings > 0] = (222, 222, 214)
    picture[(markings > 0) & (markings < 255)] = (172, 172, 168)
    for channel, color in LAYERS[3:]:
        picture[birdseye[channel] > 0] = color
    lines = birdseye[LINES]
    picture[(lines > 0) & (lines < 128)] = (60, 220, 90)
    picture[(lines >= 128) & (lines < 255)] = (250, 210, 40)
    picture[lines == 255] = (240, 50, 50)
    vehicles = birdseye[VEHICLES].astype(np.int64)
    moving = vehicles >= 127
    bright = (vehicles[moving] - 127) / 128
    picture[moving] = np.stack([60 + 90 * bright, 120 + 100 * bright, 235 + 20 * bright], -1)
    for low, high, color in (
        (1, 33, (60, 240, 240)),
        (33, 94, (255, 180, 40)),
        (94, 127, (255, 60, 60)),
    ):
        picture[(vehicles >= low) & (vehicles < high)] = color
    half_length, half_width = (max(0.5, size * scale) for size in EGO_EXTENT)
    row, column = height - meters_behind * scale, width / 2
    rows = np.abs(np.arange(height) + 0.5 - row) <= half_length
    columns = np.abs(np.arange(width) + 0.5 - column) <= half_width
    picture[np.ix_(rows, columns)] = EGO_COLOR
    return picture
