"""Video files: what is written comes back, plays in a browser, and is whole or absent."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from robo.media.video import VideoError, VideoWriter, read_video


def moving_square(frames: int, height: int, width: int) -> np.ndarray:
    """Uint8 ``[frames, height, width, 3]`` with a red square that moves right."""
    video = np.full((frames, height, width, 3), 40, dtype=np.uint8)
    for i in range(frames):
        video[i, 8:24, 4 * i : 4 * i + 16] = (220, 40, 30)
    return video


def write(path: Path, frames: np.ndarray, fps: float = 12) -> None:
    """Write all frames."""
    with VideoWriter(path, fps, frames.shape[2], frames.shape[1]) as writer:
        for frame in frames:
            writer.write(frame)


def test_frames_come_back(tmp_path: Path) -> None:
    """Number, size, rate and colours survive."""
    frames = moving_square(15, 64, 96)
    write(tmp_path / "new" / "a.mp4", frames)
    back, fps = read_video(tmp_path / "new" / "a.mp4")
    assert back.dtype == np.uint8
    assert back.shape == frames.shape
    assert fps == 12
    assert np.abs(back.astype(int) - frames).mean() < 3
    assert np.abs(back[7, 16, 36].astype(int) - (220, 40, 30)).max() < 12
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "a.mp4"]


def test_plays_in_a_browser(tmp_path: Path) -> None:
    """H.264, yuv420p, BT.709, index before the data."""
    write(tmp_path / "a.mp4", moving_square(5, 32, 64), fps=29.97)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.colorspace == 1
        assert float(stream.average_rate or 0) == pytest.approx(29.97, rel=1e-4)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(33, 65), (32, 65), (33, 64)])
def test_odd_sizes_gain_a_row_or_column(tmp_path: Path, height: int, width: int) -> None:
    """The picture itself keeps its place; the new edge repeats the old."""
    frames = moving_square(4, height, width)
    write(tmp_path / "a.mp4", frames)
    back, _ = read_video(tmp_path / "a.mp4")
    assert back.shape == (4, height + height % 2, width + width % 2, 3)
    assert np.abs(back[:, :height, :width].astype(int) - frames).mean() < 4


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    """Half a video never takes the place of a whole one."""
    path = tmp_path / "a.mp4"
    write(path, moving_square(3, 32, 64))
    before = path.read_bytes()
    with pytest.raises(KeyError), VideoWriter(path, 10, 64, 32) as writer:
        writer.write(np.zeros((32, 64, 3), np.uint8))
        raise KeyError("stop")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_frames_are_refused(tmp_path: Path) -> None:
    """Shape, type, no frame at all, and writing after the end."""
    writer = VideoWriter(tmp_path / "a.mp4", 10, 64, 32)
    with pytest.raises(VideoError, match=r"frame 0 is uint8 \(64, 32, 3\)"):
        writer.write(np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(VideoError, match="float32"):
        writer.write(np.zeros((32, 64, 3), np.float32))
    with pytest.raises(VideoError, match="no frame"):
        writer.close()
    with pytest.raises(VideoError, match="closed"):
        writer.write(np.zeros((32, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fps", "width", "words"),
    [
        ("a.avi", 10, 8, "must end in .mp4"),
        ("a.mp4", 0, 8, "above 0"),
        ("a.mp4", float("nan"), 8, "above 0"),
        ("a.mp4", 10, 0, "at least 1x1"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, name: str, fps: float, width: int, words: str
) -> None:
    """One sentence each, and nothing written."""
    with pytest.raises(VideoError, match=words):
        VideoWriter(tmp_path / name, fps, width, 8)
    assert not list(tmp_path.iterdir())


def test_unwritable_folder(tmp_path: Path) -> None:
    """A file in the folder's place, and a folder in the file's place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(VideoError, match="check that its folder is writable"):
        VideoWriter(tmp_path / "file" / "a.mp4", 10, 8, 8)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", 10, 8, 8)


@pytest.mark.parametrize("limit", [2_000, 60_000, 400_000])
def test_full_disk(tmp_path: Path, limit: int) -> None:
    """A disk that takes no more (here a limit on file sizes): one sentence, no rest, old file."""
    path = tmp_path / "a.mp4"
    write(path, moving_square(2, 32, 64))
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 255, (12, 256, 256, 3), dtype=np.uint8)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old_limit[1]))
    try:
        with pytest.raises(VideoError, match="disk"):
            write(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_videos(tmp_path: Path) -> None:
    """Missing, not a video, and cut off."""
    with pytest.raises(VideoError, match="No such file"):
        read_video(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(VideoError, match="cannot read the video"):
        read_video(tmp_path / "text.mp4")
    write(tmp_path / "a.mp4", moving_square(4, 32, 64))
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:600])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        read_video(tmp_path / "cut.mp4")
