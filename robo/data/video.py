"""Camera frames as H.264 video, by PyAV: lossy, or lossless in RGB.

Keyframes are near each other and no frame refers to a later one, so that a window costs the frames
from the keyframe before it. What a lossy video changes is measured when it is written.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from robo.errors import StoreError

GROUP = 8
"""Frames from one keyframe to the next."""
COMPARED = 8 * GROUP
"""Frames that are decoded at a time to be compared: all of a long episode need not fit."""
_QUALITY = {"video": "18", "video-lossless": "0"}
_RATE = 20
"""Frames per second that players show; the store goes by frame numbers alone."""


def encode_video(images: np.ndarray, coding: str) -> bytes:
    """An MP4 file of uint8 ``[F, H, W, 3]``.

    Raises:
        StoreError: where ``coding`` is "video", which halves the colours, and a side is odd.
    """
    import av

    height, width = images.shape[1:3]
    lossy = coding == "video"
    if lossy:
        check_even(height, width, "'video-lossless' or 'lz4hc'")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # `codec` differs by type in PyAV's declarations.
        stream: Any = container.add_stream("libx264" if lossy else "libx264rgb", rate=_RATE)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if lossy else "rgb24"
        stream.codec_context.gop_size = GROUP
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": _QUALITY[coding],
            "preset": "veryfast",
            "bf": "0",
            "sc_threshold": "0",
        }
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def check_even(height: int, width: int, instead: str) -> None:
    """Refuse sizes that lossy H.264, which halves the colours, cannot hold.

    Raises:
        StoreError: where a side is odd; ``instead`` names what to use.
    """
    if height % 2 or width % 2:
        raise StoreError(
            f"coding 'video' needs images of even height and width, got {height} x {width}: use "
            f"{instead}"
        )


class VideoReader:
    """Frames of one encoded video, decoded from the keyframe before."""

    def __init__(self, encoded: bytes, shape: tuple[int, ...]) -> None:
        """``shape`` is that of the array ``[F, H, W, 3]``."""
        self._encoded = encoded
        self.shape = shape

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The listed frames, uint8 ``[R, H, W, 3]``, in any order.

        Raises:
            StoreError: where the video does not decode to them.
        """
        import av
        from av.error import FFmpegError

        rows = np.asarray(rows, np.int64)
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        wanted = np.unique(rows)
        try:
            with av.open(io.BytesIO(self._encoded)) as container:
                container.streams.video[0].codec_context.thread_count = 1
                position = -1
                frames: Any = iter(())
                for row in wanted.tolist():
                    if position < 0 or row // GROUP > (position + 1) // GROUP:
                        frames, position = self._seek(container, row)
                    while position < row:
                        frame = next(frames)
                        position += 1
                    out[rows == row] = frame.to_ndarray(format="rgb24")
        except (FFmpegError, StopIteration, ValueError) as error:
            raise StoreError(f"its video does not decode ({error})") from error
        return out

    @staticmethod
    def _seek(container: Any, row: int) -> tuple[Any, int]:
        """Decoded frames from the keyframe at or before ``row``, and the number before it."""
        stream = container.streams.video[0]
        keyframe = row // GROUP * GROUP
        ticks = round(1 / (_RATE * stream.time_base))
        container.seek(keyframe * ticks, stream=stream, backward=True, any_frame=False)
        frames = container.decode(stream)
        first = next(frames)
        begin = round(first.pts / ticks)
        if begin > row:
            raise ValueError(f"frame {row} comes before its first keyframe")
        return _chain(first, frames), begin - 1


def _chain(first: Any, rest: Any) -> Any:
    yield first
    yield from rest


class Difference:
    """Absolute difference of pictures from what was read back, taken in a part at a time."""

    def __init__(self) -> None:
        """Of nothing yet."""
        self.total, self.count, self.worst = 0, 0, 0

    def add(self, given: np.ndarray, read: np.ndarray) -> None:
        """Compare two uint8 arrays of one shape."""
        apart = np.abs(given.astype(np.int16) - read)
        self.total += int(apart.sum(dtype=np.int64))
        self.count += apart.size
        self.worst = max(self.worst, int(apart.max(initial=0)))

    @property
    def mean(self) -> float:
        """Mean difference in grey levels of 255."""
        return self.total / max(self.count, 1)


def changed_by(encoded: bytes, images: np.ndarray) -> Difference:
    """What :func:`encode_video` changed of ``images``, decoded some frames at a time.

    Raises:
        StoreError: where the video does not decode to as many frames.
    """
    reader, found = VideoReader(encoded, images.shape), Difference()
    for start in range(0, len(images), COMPARED):
        rows = np.arange(start, min(start + COMPARED, len(images)))
        found.add(np.asarray(images[start : start + COMPARED]), reader.take(rows))
    return found
