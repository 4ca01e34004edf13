"""Parquet tables, videos and statistics in the layout of LeRobot v3.0."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo.data.video import Difference, check_even
from robo.errors import MissingExtraError, StoreError

VERSION = "v3.0"
EXTRAS = "meta/robo"
"""Folder of what the format has no place for."""
PIXELS = f"{EXTRAS}/pixels.json"
"""What videos changed of each view's pixels, in grey levels of 255: ``mean`` and ``worst``."""
FEATURE_NAMES = "feature_names"
"""Metadata of an imported episode: the names (of joints) in each column."""
IMAGES, OBSERVATION = "observation.images.", "observation."
"""How columns of images and of observations begin."""
INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that count, in every table."""
FILE_BYTES = 100 * 1024 * 1024
"""Size from which another file is begun, as lerobot does."""
_STATISTICS_ROWS = 2000
"""Image rows that statistics are taken of."""


def library() -> Any:
    """The library pyarrow.

    Raises:
        MissingExtraError: where it is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            'LeRobot data sets need pyarrow; run `pip install -e ".[data]"`'
        ) from error
    return pyarrow


def place(number: int) -> tuple[int, int]:
    """Chunk and file number of the ``number``-th file: 1000 files each."""
    return number // 1000, number % 1000


def file_name(number: int, suffix: str) -> str:
    """Name of the ``number``-th file inside its folder."""
    chunk, file = place(number)
    return f"chunk-{chunk:03d}/file-{file:03d}.{suffix}"


def feature_of(rows: np.ndarray) -> dict[str, Any]:
    """Description of numbers ``[T, ...]``; more than one axis beside time is flattened."""
    width = int(np.prod(rows.shape[1:], dtype=np.int64))
    return {"dtype": rows.dtype.name, "shape": [max(1, width)], "names": None}


def column_of(rows: np.ndarray, image: bool = False) -> Any:
    """A pyarrow array of numbers ``[T, ...]``, or of images as PNG files."""
    pa = library()
    if image:
        images = [{"bytes": png(row), "path": None} for row in rows]
        return pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    if flat.shape[1] == 1:
        return pa.array(flat[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])


def pixels_note(views: dict[str, dict[str, Any]]) -> str:
    """What :data:`PIXELS` says of the views, in words."""
    told = "; ".join(
        f"{name.removeprefix(IMAGES)} {view['mean']:.2f} on average, {view['worst']} at most"
        for name, view in views.items()
    )
    return f"changed by H.264, in grey levels of 255: {told}; image and video-lossless keep all"


def png(image: np.ndarray) -> bytes:
    """A PNG file of uint8 ``[H, W, 3]``."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


class TableWriter:
    """Writes rows into numbered parquet files of limited size."""

    def __init__(self, folder: Path) -> None:
        """Into ``folder``."""
        self.folder, self.number = folder, 0
        self._writer: Any = None
        self._bytes = 0

    def add(self, columns: dict[str, Any]) -> dict[str, int]:
        """Write the columns of one episode; where they lie, for the table of episodes."""
        pa = library()
        from pyarrow import parquet

        table = pa.table(columns)
        if self._writer is not None and self._bytes > FILE_BYTES:
            self.close()
            self.number += 1
        if self._writer is None:
            path = self.folder / file_name(self.number, "parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, table.schema)
            self._bytes = 0
        self._writer.write_table(table)
        self._bytes += table.nbytes
        chunk, file = place(self.number)
        return {"data/chunk_index": chunk, "data/file_index": file}

    def add_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows given as dicts."""
        self.add({name: library().array([row[name] for row in rows]) for name in rows[0]})

    def close(self) -> None:
        """Finish the present file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def read_tables(folder: Path, pattern: str = "*/*.parquet") -> list[dict[str, Any]]:
    """All rows of the parquet files in ``folder``, statistics left out."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    for file in sorted(folder.glob(pattern)):
        schema = parquet.read_schema(file)
        names = [name for name in schema.names if not name.startswith("stats/")]
        rows += parquet.read_table(file, columns=names).to_pylist()
    return rows


def write_tasks(path: Path, tasks: dict[str, int]) -> None:
    """The table of tasks as a pandas data frame with their texts as its index, without pandas."""
    pa = library()
    from pyarrow import parquet

    index = "__index_level_0__"

    def column(name: str | None, field: str, pandas: str, numpy: str) -> dict[str, Any]:
        """What pandas records of one column."""
        return {
            "name": name,
            "field_name": field,
            "pandas_type": pandas,
            "numpy_type": numpy,
            "metadata": None,
        }

    described = {
        "index_columns": [index],
        "column_indexes": [column(None, "None", "unicode", "object")],
        "columns": [
            column("task_index", "task_index", "int64", "int64"),
            column(None, index, "unicode", "object"),
        ],
        "creator": {"library": "robo", "version": "1"},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(list(tasks.values())), index: list(tasks)})
    table = table.replace_schema_metadata({b"pandas": json.dumps(described).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


class VideoWriter:
    """Writes the frames of one camera into numbered MP4 files, episode after episode.

    What is written is decoded again at once, and :attr:`changed` says what the codec did to it.
    """

    def __init__(self, folder: Path, coding: str, fps: int) -> None:
        """Into ``folder``; ``coding`` is "video" or "video-lossless"."""
        self.folder, self.coding, self.fps, self.number = folder, coding, fps, 0
        self.changed = Difference()
        """Of all frames written and decoded so far; of all of them once it is closed."""
        self._container: Any = None
        self._stream: Any = None
        self._decoder: Any = None
        self._unseen: deque[np.ndarray] = deque()
        self._frames = 0

    @staticmethod
    def describe(shape: Sequence[int], coding: str, fps: int) -> dict[str, Any]:
        """What lerobot notes about a video of frames ``[T, H, W, 3]``."""
        return {
            "video.height": shape[1],
            "video.width": shape[2],
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p" if coding == "video" else "gbrp",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        }

    def add(self, images: np.ndarray, prefix: str) -> dict[str, Any]:
        """Write uint8 ``[T, H, W, 3]``; where they lie, for the table of episodes.

        Raises:
            StoreError: where ``coding`` is "video" and a side is odd.
        """
        import av

        if self.coding == "video":
            check_even(images.shape[1], images.shape[2], "'video-lossless' or 'image'")

        if self._container is not None and self._path.stat().st_size > 2 * FILE_BYTES:
            self.close()
            self.number += 1
        if self._container is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._path), "w")
            self._stream = _stream(self._container, self.coding, self.fps, images.shape)
            self._decoder, self._unseen = None, deque()
            self._frames = 0
        begin = self._frames
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = self._frames
            self._unseen.append(image)
            self._write(self._stream.encode(frame))
            self._frames += 1
        chunk, file = place(self.number)
        return {
            f"{prefix}/chunk_index": chunk,
            f"{prefix}/file_index": file,
            f"{prefix}/from_timestamp": begin / self.fps,
            f"{prefix}/to_timestamp": self._frames / self.fps,
        }

    @property
    def _path(self) -> Path:
        return self.folder / file_name(self.number, "mp4")

    def close(self) -> None:
        """Finish the present file.

        Raises:
            StoreError: where not every frame written was decoded again.
        """
        if self._container is not None:
            self._write(self._stream.encode(None))
            self._compare(None)
            self._container.close()
            self._container = None
            if self._unseen:
                raise StoreError(f"{self._path}: {len(self._unseen)} of its frames do not decode")

    def _write(self, packets: list[Any]) -> None:
        """Into the file; before that, what a reader will see of them is compared."""
        for packet in packets:
            self._compare(packet)
            self._container.mux(packet)

    def _compare(self, packet: Any) -> None:
        """Decode a packet, or what is left with None."""
        import av

        if self._decoder is None:
            if packet is None:
                return
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.extradata = self._stream.codec_context.extradata
            self._decoder.thread_count = 1  # more would hold frames back
        for frame in self._decoder.decode(packet):
            read = frame.to_ndarray(format="rgb24")
            self.changed.add(np.asarray(self._unseen.popleft()), read)


def _stream(container: Any, coding: str, fps: int, shape: Sequence[int]) -> Any:
    from fractions import Fraction

    lossy = coding == "video"
    stream = container.add_stream("libx264" if lossy else "libx264rgb", rate=fps)
    stream.height, stream.width = shape[1], shape[2]
    stream.pix_fmt = "yuv420p" if lossy else "rgb24"
    stream.codec_context.time_base = Fraction(1, fps)
    # A keyframe every other frame, as lerobot does: its readers jump about.
    stream.codec_context.gop_size = 2
    stream.options = {"crf": "18" if lossy else "0", "preset": "veryfast", "bf": "0"}
    return stream


class Statistics:
    """Minimum, maximum, mean, deviation and count of each feature, as lerobot's models need."""

    def __init__(self) -> None:
        """Of nothing yet."""
        self._parts: dict[str, list[np.ndarray]] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, rows: np.ndarray) -> None:
        """Take in numbers ``[T, ...]``, or images ``[T, H, W, 3]`` by every tenth of their rows."""
        images = rows.ndim == 4
        if images:
            if self._counts.get(name, 0) > _STATISTICS_ROWS:
                return
            taken = rows[::10]
            data = np.moveaxis(taken, -1, 1).reshape(len(taken), 3, -1)[:, :, ::7] / 255.0
            data = np.moveaxis(data, 1, 2).reshape(-1, 3)
            self._counts[name] = self._counts.get(name, 0) + len(taken)
        else:
            data = rows.reshape(len(rows), -1).astype(np.float64)
            self._counts[name] = self._counts.get(name, 0) + len(rows)
        sums = np.stack([data.min(0), data.max(0), data.sum(0), (data**2).sum(0)])
        count = np.full((1, data.shape[1]), float(len(data)))
        self._parts.setdefault(name, []).append(np.concatenate([sums, count]))

    def result(self) -> dict[str, Any]:
        """Feature to its statistics, as JSON values."""
        found = {}
        for name, parts in self._parts.items():
            stack = np.stack(parts)
            count = stack[:, 4].sum(0)
            mean = stack[:, 2].sum(0) / count
            spread = np.sqrt(np.maximum(stack[:, 3].sum(0) / count - mean**2, 0.0))
            values = {
                "min": stack[:, 0].min(0),
                "max": stack[:, 1].max(0),
                "mean": mean,
                "std": spread,
            }
            image = name.startswith("observation.images.")
            found[name] = {
                key: (value[:, None, None] if image else value).tolist()
                for key, value in values.items()
            }
            found[name]["count"] = [self._counts[name]]
        return found
