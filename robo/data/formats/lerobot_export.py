"""LeRobot data sets, format v3.0, written without lerobot: parquet tables and MP4 videos.

What lerobot reads is one row per step. What it has no place for (the state in which an episode
ended, keyframes, seeds, frames that were not taken at every step) goes to ``meta/robo``, which
lerobot does not look at and the import does, so that a round trip keeps every number: bit for bit
with ``images="image"`` (PNG inside the parquet files) and ``"video-lossless"``. ``"video"``
changes pixels: every frame is decoded as it is written, and the mean and the largest difference
are noted and kept in ``meta/robo/pixels.json``.

Checked against lerobot 0.4.4 in an environment of its own: ``make test-lerobot``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo.data.formats.common import (
    Note,
    Notes,
    describe,
    has_final_state,
)
from robo.data.formats.lerobot_tables import (
    EXTRAS,
    FEATURE_NAMES,
    IMAGES,
    INDICES,
    OBSERVATION,
    PIXELS,
    VERSION,
    Statistics,
    TableWriter,
    VideoWriter,
    column_of,
    feature_of,
    library,
    pixels_note,
    write_tasks,
)
from robo.errors import StoreError
from robo.rollout import Episode

Images = Literal["image", "video", "video-lossless"]
"""How images are kept."""


def export_lerobot(
    episodes: Iterable[Episode], path: Path, images: Images = "video", fps: int = 20
) -> list[Note]:
    """Write episodes as a LeRobot data set in the new folder ``path``.

    Args:
        episodes: of one task's shapes: the same observations, actions, signals and views each.
        path: a new folder.
        images: PNG inside the tables, H.264 video, or lossless H.264 in RGB.
        fps: steps per second, which robo does not know.

    Returns:
        What other readers do not see.

    Raises:
        StoreError: where the folder exists, episodes differ in shape, a view's height or width is
            odd and ``images`` is "video", or the medium is full.
    """
    if path.exists():
        raise StoreError(f"{path} exists; name a new folder")
    writer = _Writer(path, images, fps)
    try:
        for episode in episodes:
            writer.add(episode)
        writer.finish()
        writer.note_pixels()
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}; what is there is not whole") from error
    return writer.notes.list()


class _Writer:
    """Writes one episode after the other."""

    def __init__(self, path: Path, images: Images, fps: int) -> None:
        library()
        self.path, self.images, self.fps = path, images, fps
        self.notes = Notes()
        self.tasks: dict[str, int] = {}
        self.features: dict[str, dict[str, Any]] = {}
        self.names: dict[str, Any] | None = None
        self.rows: list[dict[str, Any]] = []
        self.frames = 0
        self.statistics = Statistics()
        self.tables = TableWriter(path / "data")
        self.videos: dict[str, VideoWriter] = {}
        (path / EXTRAS).mkdir(parents=True)

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        number, steps = len(self.rows), len(episode)
        columns, views = self._columns(episode)
        features = {
            **{name: feature_of(rows) for name, rows in columns.items()},
            **{name: self._image_feature(rows) for name, rows in views.items()},
        }
        if episode.signals:
            features["signals"]["names"] = list(episode.signals)
        if not self.rows:
            self.features = features
        elif features != self.features:
            raise StoreError(
                f"episode {number} has {_shapes(features)}, the first {_shapes(self.features)}; "
                "a LeRobot data set is of one shape: export them apart"
            )
        self._take_names(episode)
        task = self.tasks.setdefault(episode.info.instruction or episode.info.task, len(self.tasks))
        columns["timestamp"] = (np.arange(steps) / self.fps).astype(np.float32)
        columns["frame_index"] = np.arange(steps)
        columns["episode_index"] = np.full(steps, number)
        columns["index"] = self.frames + np.arange(steps)
        columns["task_index"] = np.full(steps, task)
        for name, rows in {**columns, **views}.items():
            self.statistics.add(name, rows)
        table = {name: column_of(rows) for name, rows in columns.items()}
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [list(self.tasks)[task]],
            "length": steps,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + steps,
        }
        for name, rows in views.items():
            if self.images == "image":
                table[name] = column_of(rows, image=True)
                continue
            if name not in self.videos:
                self.videos[name] = VideoWriter(self.path / "videos" / name, self.images, self.fps)
            row.update(self.videos[name].add(rows, f"videos/{name}"))
        row.update(self.tables.add(table))
        self.rows.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        self.frames += steps
        self._write_extras(number, episode)

    def _take_names(self, episode: Episode) -> None:
        """Names (of joints) that came with the first episode; how others differ is noted."""
        names = episode.metadata.get(FEATURE_NAMES, {})
        if self.names is None:
            self.names = names
        elif self.names != names:
            self.notes.add("names in columns", "differ between episodes: the first one's are kept")
        given = episode.metadata.get("fps")
        if given not in (None, self.fps):
            self.notes.add("fps", f"the source has {given}: written as {self.fps}, see --fps")

    def note_pixels(self) -> None:
        """Note what videos changed of the pixels, and write it to ``meta/robo``."""
        changed = {
            name: {"mean": round(video.changed.mean, 4), "worst": video.changed.worst}
            for name, video in self.videos.items()
        }
        if not changed:
            return
        worst = max(view["worst"] for view in changed.values())
        if worst and self.images == "video-lossless":
            raise StoreError(
                f"this machine's H.264 coder is not lossless (pixels differ by up to {worst}); "
                "use --images image"
            )
        (self.path / PIXELS).write_text(json.dumps({"coding": self.images, "views": changed}))
        if worst:
            self.notes.add("pixels", pixels_note(changed))

    def _columns(self, episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Numbers and images of each step."""
        steps = len(episode)
        columns = {"action": np.asarray(episode.action)}
        for key, rows in episode.observation.items():
            columns[OBSERVATION + key.replace("/", ".")] = np.asarray(rows)[:steps]
        columns["next.reward"] = np.asarray(episode.reward)
        success = np.zeros(steps, bool)
        success[-1] = episode.success
        columns["next.success"] = success
        columns["next.done"] = np.arange(steps) == steps - 1
        if episode.signals:
            columns["signals"] = np.stack(list(episode.signals.values()), axis=1)
        views = {}
        if episode.frames:
            step = np.asarray(episode.frame_step)
            held = np.maximum(np.searchsorted(step, np.arange(steps), side="right") - 1, 0)
            if not np.array_equal(step[:steps], np.arange(steps)):
                self.notes.add("frames", "not of every state: other readers see the last one held")
            views = {f"{IMAGES}{role}": np.asarray(x)[held] for role, x in episode.frames.items()}
        for name in columns:
            if columns[name].ndim > 2:
                self.notes.add(name, "of more than one axis: flattened for other readers")
        return columns, views

    def _image_feature(self, rows: np.ndarray) -> dict[str, Any]:
        feature = {
            "dtype": "image" if self.images == "image" else "video",
            "shape": list(rows.shape[1:]),
            "names": ["height", "width", "channels"],
        }
        if self.images != "image":
            feature["info"] = VideoWriter.describe(rows.shape, self.images, self.fps)
        return feature

    def _write_extras(self, number: int, episode: Episode) -> None:
        """What lerobot has no place for, where it does not look."""
        final = has_final_state(episode)
        arrays: dict[str, np.ndarray] = {}
        if final:
            arrays = {f"final/{key}": rows[-1:] for key, rows in episode.observation.items()}
            self.notes.add("last states", f"the format has none: in {EXTRAS}, for robo alone")
        steps = len(episode)
        if episode.frames:
            step = np.asarray(episode.frame_step)
            arrays["frame_step"] = step
            beyond = np.flatnonzero(step >= steps)
            keep = beyond if final else beyond[:0]
            arrays.update({f"frames/{r}": np.asarray(x)[keep] for r, x in episode.frames.items()})
        values = {
            **describe(episode),
            "signal_names": list(episode.signals),
            "observation": {
                key: [str(rows.dtype), list(rows.shape[1:])]
                for key, rows in episode.observation.items()
            },
            "action": list(np.shape(episode.action)[1:]),
            "roles": list(episode.frames),
        }
        if episode.keyframes or episode.metadata:
            self.notes.add("keyframes, metadata", f"in {EXTRAS}, for robo alone")
        stem = self.path / EXTRAS / f"episode-{number:06d}"
        stem.with_suffix(".json").write_text(json.dumps(values))
        if arrays:
            np.savez_compressed(stem.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Write the tables of episodes and tasks, statistics and the description."""
        if not self.rows:
            raise StoreError("there are no episodes to export")
        self.tables.close()
        for video in self.videos.values():
            video.close()
        episodes = TableWriter(self.path / "meta/episodes")
        episodes.add_rows(self.rows)
        episodes.close()
        write_tasks(self.path / "meta/tasks.parquet", self.tasks)
        (self.path / "meta/stats.json").write_text(json.dumps(self.statistics.result(), indent=4))
        index = {"dtype": "int64", "shape": [1], "names": None}
        indices = {name: dict(index) for name in INDICES}
        indices["timestamp"]["dtype"] = "float32"
        for name, names in (self.names or {}).items():
            if name in self.features and self.features[name]["names"] is None:
                self.features[name]["names"] = names
        video = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        info = {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self.rows),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": 1000,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": video if self.videos else None,
            "features": {**self.features, **indices},
        }
        (self.path / "meta/info.json").write_text(json.dumps(info, indent=4))


def _shapes(features: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: (feature["dtype"], feature["shape"]) for name, feature in features.items()}
