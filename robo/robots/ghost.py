"""The ghost: the wanted scene laid over the live view, to reset a scene by hand."""

from __future__ import annotations

import numpy as np

WANTED_TINT = np.array([255, 40, 160], np.float32)
"""Pink: something belongs here that is not here."""
SURPLUS_TINT = np.array([255, 190, 40], np.float32)
"""Amber: something is here that does not belong here."""
THRESHOLD = 32.0
"""Grey levels from which a pixel differs."""


def fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image at another size, uint8 ``[height, width, 3]``."""
    if image.shape[:2] == (height, width):
        return image
    import cv2

    smaller = height * width < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=how)


def difference(live: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Grey-level difference ``[H, W]`` of two views, blurred over 3 pixels against noise."""
    import cv2

    wanted = fitted(wanted, *live.shape[:2])
    apart = np.abs(live.astype(np.float32) - wanted.astype(np.float32)).max(axis=2)
    return cv2.blur(apart, (3, 3))


def overlay(live: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The live view; where it differs, pink for what is missing and amber for what is too much.

    A patch that differs is something missing where the wanted view has the stronger outline
    around it, and something too much otherwise.

    Args:
        live: uint8 ``[H, W, 3]``.
        wanted: uint8, of any size.

    Returns:
        uint8 ``[H, W, 3]``. Where nothing differs it is the live view.
    """
    import cv2

    wanted = fitted(wanted, *live.shape[:2])
    differs = (difference(live, wanted) > THRESHOLD).astype(np.uint8)
    count, found = cv2.connectedComponents(differs)
    patch = np.asarray(found, np.int64)
    around = cv2.dilate(patch.astype(np.float32), np.ones((5, 5))).astype(np.int64).ravel()
    outline = [
        np.bincount(around, weights=_edges(image).ravel(), minlength=count)
        for image in (wanted, live)
    ]
    missing = (outline[0] >= outline[1])[patch] & (patch > 0)
    surplus = (patch > 0) & ~missing
    shown = live.astype(np.float32)
    shown[missing] = 0.5 * wanted[missing] + 0.5 * WANTED_TINT
    shown[surplus] = 0.6 * shown[surplus] + 0.4 * SURPLUS_TINT
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _edges(image: np.ndarray) -> np.ndarray:
    """Strength of outlines, ``[H, W]``."""
    import cv2

    grey = cv2.GaussianBlur(np.ascontiguousarray(image).astype(np.float32).mean(axis=2), (5, 5), 0)
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def mismatch(live: np.ndarray, wanted: np.ndarray) -> float:
    """Share of pixels that differ, 0 for the wanted scene."""
    return float((difference(live, wanted) > THRESHOLD).mean())
