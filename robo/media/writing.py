"""From pictures to files: mp4, GIF and poster, in normal or slow motion."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from robo.media.gif import GIF_FPS, GifWriter
from robo.media.video import VideoError, VideoWriter
from robo.storage import write_bytes

if TYPE_CHECKING:
    from robo.media.traces import RewardTrace
    from robo.rollout import Episode

HOLD_SECONDS = 1.5
"""How long the last frame stays."""
EVENT_MARGIN = 5
"""Steps before and after an event that slow motion covers."""
LARGEST_FACTOR = 32


class Scene(Protocol):
    """What can be filmed: a picture for every moment of steps 0 ... L."""

    steps: int
    """L."""
    size: tuple[int, int]
    """Width and height in pixels."""

    def picture(self, step: float, out: np.ndarray | None = None) -> np.ndarray:
        """uint8 ``[height, width, 3]`` at ``step``, drawn into ``out`` where given."""
        ...


def moments(steps: int, slow: int = 1, ranges: Sequence[tuple[int, int]] | None = None) -> list:
    """The steps that the frames of a video show, 0 ... L.

    Args:
        steps: L.
        slow: how many times slower the slow parts run.
        ranges: (first, last) step of the slow parts; None slows everything.

    Raises:
        VideoError: a factor out of range.
    """
    if not 1 <= slow <= LARGEST_FACTOR:
        raise VideoError(
            f"slow motion is {slow}, expected a whole factor from 1 (none) to {LARGEST_FACTOR}"
        )
    shown: list[float] = []
    for step in range(steps):
        inside = ranges is None or any(first <= step < last for first, last in ranges)
        count = slow if inside else 1
        shown += [step + part / count for part in range(count)]
    return [*shown, float(steps)]


def around(events: Iterable[int], steps: int, margin: int = EVENT_MARGIN) -> list[tuple[int, int]]:
    """Ranges of ``margin`` steps around each event, inside 0 ... L."""
    return [(max(0, step - margin), min(steps, step + margin)) for step in events]


def write_scene(
    path: str | Path,
    scene: Scene,
    fps: float = 10.0,
    shown: Sequence[float] | None = None,
    poster: str | Path | None = None,
) -> Path:
    """Film a scene.

    Args:
        path: ending in ``.mp4`` or ``.gif``; it appears when it is complete. A GIF is at most
            800 pixels wide and 20 frames a second.
        scene: what is filmed.
        fps: frames shown per second.
        shown: steps of the frames, see :func:`moments`; None shows each of 0 ... L once.
        poster: PNG or JPEG of the last picture, for pages that show the video.

    Returns:
        The path.

    Raises:
        VideoError: another suffix, or a file that cannot be written.
    """
    path = Path(path)
    width, height = scene.size
    shown = list(moments(scene.steps) if shown is None else shown)
    shown += [shown[-1]] * round(HOLD_SECONDS * fps)
    if path.suffix.lower() == ".gif":
        if fps > GIF_FPS:
            shown, fps = thinned(shown, fps), GIF_FPS
        preview = [scene.picture(at).copy() for at in (0, scene.steps / 2, scene.steps)]
        with GifWriter(path, fps, width, height, preview) as writer:
            for step in shown:
                writer.write(scene.picture(step))
    else:
        with VideoWriter(path, fps, width, height, crf=20, preset="superfast") as writer:
            for frame in _ahead(scene, shown):
                writer.write(frame)
    if poster is not None:
        write_poster(poster, scene, scene.steps)
    return path


def thinned(shown: Sequence[float], fps: float) -> list[float]:
    """Every n-th moment, so that ``fps`` frames a second become :data:`GIF_FPS`."""
    count = max(1, round(len(shown) * GIF_FPS / fps))
    return [shown[i] for i in np.linspace(0, len(shown) - 1, count).round().astype(int)]


def _ahead(scene: Scene, shown: Sequence[float]) -> Iterator[np.ndarray]:
    """The pictures of a scene, drawn in a thread of their own while earlier ones are encoded.

    The same moment again is the same picture again, and is not drawn anew.
    """
    width, height = scene.size
    parts = [(step, len(list(same))) for step, same in itertools.groupby(shown)]
    free: queue.Queue[np.ndarray | None] = queue.Queue()
    drawn: queue.Queue[np.ndarray | BaseException] = queue.Queue()
    for _ in range(3):
        free.put(np.empty((height, width, 3), np.uint8))

    def draw() -> None:
        try:
            for step, _ in parts:
                buffer = free.get()
                if buffer is None:
                    return
                drawn.put(scene.picture(step, buffer))
        except BaseException as error:  # handed to the thread that asked
            drawn.put(error)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        for _, count in parts:
            frame = drawn.get()
            if isinstance(frame, BaseException):
                raise frame
            for _ in range(count):
                yield frame
            free.put(frame)
    finally:
        # Buffers may wait before it: the thread then ends at most two pictures later.
        free.put(None)
        thread.join()


def write_poster(path: str | Path, scene: Scene, step: float) -> Path:
    """Write the picture at ``step`` as PNG or JPEG, by the path's suffix.

    Raises:
        VideoError: another suffix.
        RoboError: a full disk, or a folder that cannot be written.
    """
    import io

    from PIL import Image

    path = Path(path)
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    if path.suffix.lower() not in formats:
        raise VideoError(f"poster {path} must end in .png or .jpg")
    content = io.BytesIO()
    Image.fromarray(scene.picture(step)).save(content, formats[path.suffix.lower()], quality=90)
    return write_bytes(path, content.getvalue())


def write_reward_video(
    path: str | Path,
    episode: Episode,
    trace: RewardTrace,
    fps: float = 10.0,
    width: int = 1280,
    height: int = 720,
    poster: str | Path | None = None,
) -> Path:
    """Write the reward video of one episode.

    One frame per state s_0 ... s_L, then the last is held for ``HOLD_SECONDS``. Nothing of a
    later step shows before its time; camera frames at a stride hold until the next.

    Args:
        path: of the mp4 or GIF file; it appears when it is complete.
        episode: with camera frames.
        trace: what a reward said about it.
        fps: steps shown per second.
        width: in pixels; text is at least 16 pixels high from 1280x720 on, as long as all terms
            fit.
        height: in pixels.
        poster: PNG or JPEG of the last picture; None writes none.

    Returns:
        The path.

    Raises:
        VideoError: if episode and trace do not fit each other, or the file cannot be written.
    """
    from robo.media.reward_video import RewardScene

    return write_scene(path, RewardScene(episode, trace, width, height), fps, poster=poster)
