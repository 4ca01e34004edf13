"""Animated GIFs, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo.media.video import VideoError

GIF_FPS = 20.0
"""Frames a second at most: browsers slow down faster ones."""
LARGEST_WIDTH = 800
"""Pixels; larger pictures are reduced, since a GIF stores them badly."""


class GifWriter:
    """Write uint8 RGB frames to a looping GIF with one palette; the same shape as VideoWriter."""

    def __init__(
        self,
        path: str | Path,
        fps: float,
        width: int,
        height: int,
        preview: Sequence[np.ndarray],
    ) -> None:
        """Choose the palette.

        Args:
            path: where the GIF goes, ending in ``.gif``; missing folders are made.
            fps: frames per second, above 0 and at most :data:`GIF_FPS`.
            width: of the frames, in pixels.
            height: of the frames, in pixels.
            preview: frames from which the palette of 256 colours is chosen.

        Raises:
            VideoError: a frame rate out of range.
        """
        from PIL import Image

        if not np.isfinite(fps) or not 0 < fps <= GIF_FPS:
            raise VideoError(f"GIF frame rate is {fps}, expected above 0 and at most {GIF_FPS}")
        self.path = Path(path)
        self.size = (width, height)
        reduction = min(1.0, LARGEST_WIDTH / width)
        self._reduced = max(1, round(width * reduction)), max(1, round(height * reduction))
        # Hundredths of a second, the format's unit.
        self._duration = 10 * round(100 / fps)
        self._images: list[Any] = []
        sample = np.concatenate([self._reduce(frame) for frame in preview])
        self._palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)

    def _reduce(self, frame: np.ndarray) -> np.ndarray:
        import cv2

        if self._reduced == self.size:
            return frame
        return cv2.resize(frame, self._reduced, interpolation=cv2.INTER_AREA)

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 ``[height, width, 3]``."""
        from PIL import Image

        picture = Image.fromarray(self._reduce(frame))
        self._images.append(picture.quantize(palette=self._palette, dither=Image.Dither.NONE))

    def close(self) -> None:
        """Write the file and give it its name.

        Raises:
            VideoError: no frame, or a folder that cannot be written.
        """
        if not self._images:
            raise VideoError(f"the GIF {self.path} got no frame, write at least one")
        temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part.gif")
        first, *rest = self._images
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            first.save(
                temporary, save_all=True, append_images=rest, duration=self._duration, loop=0
            )
            os.replace(temporary, self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise VideoError(
                f"cannot write the GIF {self.path}: {error.strerror or error}"
            ) from error

    def __enter__(self) -> GifWriter:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the file, or nothing after an exception."""
        if kind is None:
            self.close()
