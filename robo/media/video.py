"""H.264 video files that play in a browser: written whole or not at all, and read back."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robo.errors import RoboError

_BT709 = 1
_LIMITED_RANGE = 1


class VideoError(RoboError):
    """A video that cannot be written or read, with the reason."""


class VideoWriter:
    """Write uint8 RGB frames to an H.264 yuv420p mp4 file.

    The file is written under a temporary name beside ``path`` and renamed when it is complete,
    so ``path`` never holds half a video: an exception inside the ``with`` block, a full disk or a
    killed process leaves what was there before. Chroma is subsampled, so sizes must be even: an
    odd width or height gains one column or row, a copy of the last.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        width: int,
        height: int,
        *,
        crf: int = 18,
        preset: str = "veryfast",
    ) -> None:
        """Open the file.

        Args:
            path: where the video goes, ending in ``.mp4``; missing folders are made.
            fps: frames per second, above 0.
            width: of the frames, in pixels.
            height: of the frames, in pixels.
            crf: x264's quality, 0 (lossless) to 51 (worst).
            preset: x264's speed, such as ``superfast``; faster presets make larger files.

        Raises:
            VideoError: for a wrong size, rate or suffix, or a folder that cannot be written.
        """
        self.path = Path(path)
        self.width, self.height = int(width), int(height)
        self.frames = 0
        self._container: Any = None
        if self.path.suffix.lower() != ".mp4":
            raise VideoError(f"video path {self.path} must end in .mp4")
        if not np.isfinite(fps) or fps <= 0:
            raise VideoError(f"video frame rate is {fps}, expected frames per second above 0")
        if min(self.width, self.height) < 1:
            raise VideoError(f"video size is {width}x{height}, expected at least 1x1 pixels")
        if self.path.is_dir():
            raise VideoError(f"cannot write the video {self.path}: it is a folder, name a file")
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part.mp4")
        self._open(Fraction(fps).limit_denominator(1001), crf, preset)

    def _open(self, rate: Fraction, crf: int, preset: str) -> None:
        import av

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            container = av.open(
                str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"}
            )
        except _failures() as error:
            raise self._failure(error) from error
        self._container = container
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.width = self.width + self.width % 2
        stream.height = self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "preset": preset}
        context = stream.codec_context
        # Browsers take untagged high-definition video for BT.709; say so, and convert to it.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._stream = stream

    def write(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: uint8 ``[height, width, 3]``, RGB.

        Raises:
            VideoError: for a frame of another shape or type, or a full disk.
        """
        import av

        if self._container is None:
            raise VideoError(f"the video {self.path} is closed, open a new VideoWriter to write")
        expected = (self.height, self.width, 3)
        if frame.dtype != np.uint8 or frame.shape != expected:
            raise VideoError(
                f"video frame {self.frames} is {frame.dtype} {frame.shape}, expected uint8 "
                f"{expected}"
            )
        if self.height % 2 or self.width % 2:
            odd = ((0, self.height % 2), (0, self.width % 2), (0, 0))
            frame = np.pad(frame, odd, mode="edge")
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
        )
        picture.pts = self.frames
        picture.time_base = 1 / self._stream.codec_context.framerate
        self._mux(picture)
        self.frames += 1

    def _mux(self, picture: Any) -> None:
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except _failures() as error:
            self.abort()
            raise self._failure(error) from error

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            VideoError: if there was no frame, or the disk is full.
        """
        if self._container is None:
            return
        if self.frames == 0:
            self.abort()
            raise VideoError(f"the video {self.path} got no frame, write at least one")
        self._mux(None)
        try:
            self._container.close()
            self._container = None
            self._check_complete()
            _synchronise(self._temporary)
            os.replace(self._temporary, self.path)
        except _failures() as error:
            self.abort()
            raise self._failure(error) from error

    def _check_complete(self) -> None:
        # FFmpeg drops write errors of buffered output on closing: count what reached the disk.
        import av

        try:
            with av.open(str(self._temporary)) as written:
                complete = written.streams.video[0].frames == self.frames
        except _failures():
            complete = False
        if not complete:
            raise OSError("the written file is incomplete, is the disk full?")

    def abort(self) -> None:
        """Drop what was written; ``path`` keeps what it held before."""
        if self._container is not None:
            with contextlib.suppress(*_failures()):
                self._container.close()
            self._container = None
        self._temporary.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or str(error)
        return VideoError(
            f"cannot write the video {self.path}: {reason}; check that its folder is writable "
            "and the disk has space"
        )

    def __enter__(self) -> VideoWriter:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file, or drop it after an exception."""
        if kind is None:
            self.close()
        else:
            self.abort()


def _failures() -> tuple[type[Exception], ...]:
    """What PyAV raises on files that it cannot write or read."""
    from av.error import FFmpegError

    return FFmpegError, OSError, ValueError, IndexError


def _synchronise(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def read_video(path: str | Path) -> tuple[np.ndarray, float]:
    """All frames of a video file.

    Args:
        path: a video in any format that FFmpeg reads.

    Returns:
        Frames, uint8 ``[F, H, W, 3]`` RGB, and frames per second.

    Raises:
        VideoError: if the file is missing, is no video or is damaged.
    """
    import av

    path = Path(path)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except _failures() as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(
            f"cannot read the video {path}: {reason}; give the path of a video file"
        ) from error
    if not frames:
        raise VideoError(f"the video {path} holds no frames, write it again")
    return np.stack(frames), rate
