"""LeRobot data sets, format v3.0, read without lerobot, those that robo wrote and others."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robo.data.formats.common import (
    REPEATED,
    Notes,
    padded,
    restore,
)
from robo.data.formats.lerobot_tables import (
    EXTRAS,
    FEATURE_NAMES,
    IMAGES,
    INDICES,
    OBSERVATION,
    PIXELS,
    library,
    pixels_note,
    read_tables,
)
from robo.errors import StoreError
from robo.rollout import Episode, EpisodeInfo


class LeRobotImport:
    """The episodes of a LeRobot data set, read one at a time."""

    def __init__(self, path: Path) -> None:
        """Look at its description.

        Raises:
            MissingExtraError: without pyarrow.
            StoreError: where it is none, or of another version.
        """
        library()
        self.path, self.notes = path, Notes()
        try:
            self.info = json.loads((path / "meta/info.json").read_text())
            version = str(self.info["codebase_version"])
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path} is no LeRobot data set ({error})") from error
        if not version.startswith("v3."):
            raise StoreError(
                f"{path} is a LeRobot data set of version {version}, expected v3.0; convert it "
                "with lerobot's own script first"
            )
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.episodes = read_tables(path / "meta/episodes")
        tasks = read_tables(path / "meta", "tasks.parquet")
        names = next(iter(set(tasks[0]) - {"task_index"}), "") if tasks else ""
        self.tasks = {int(row["task_index"]): str(row[names]) for row in tasks}
        self._note_whole_set()

    def _note_whole_set(self) -> None:
        """What concerns all episodes: splits, and what videos that robo wrote have changed."""
        splits = self.info.get("splits") or {}
        if splits and splits != {"train": f"0:{len(self.episodes)}"}:
            self.notes.add("splits", f"{splits}: left out; `robo data split` makes them anew")
        if (self.path / PIXELS).exists():
            views = json.loads((self.path / PIXELS).read_text())["views"]
            if any(view["worst"] for view in views.values()):
                self.notes.add("pixels", pixels_note(views))

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, in order.

        Raises:
            StoreError: naming an episode that cannot be read.
        """
        for row in self.episodes:
            try:
                yield self._episode(row)
            except (OSError, KeyError, ValueError) as error:
                number = row.get("episode_index")
                raise StoreError(f"episode {number} of {self.path} cannot be read: {error}") from (
                    error
                )

    def _episode(self, row: dict[str, Any]) -> Episode:
        number = int(row["episode_index"])
        columns = self._read_columns(row)
        frames = {
            name.removeprefix(IMAGES): self._images(name, row, columns)
            for name, feature in self.features.items()
            if feature["dtype"] in ("image", "video")
        }
        extras = self.path / EXTRAS / f"episode-{number:06d}.json"
        if extras.exists():
            return _restored(extras, columns, frames)
        return self._foreign(number, columns, frames)

    def _read_columns(self, row: dict[str, Any]) -> dict[str, np.ndarray]:
        from pyarrow import parquet

        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        file = self.path / self.info["data_path"].format(**place)
        number = int(row["episode_index"])
        table = parquet.read_table(file, filters=[("episode_index", "=", number)])
        found = {}
        for name, feature in self.features.items():
            if feature["dtype"] in ("video", "image"):
                if feature["dtype"] == "image":
                    found[name] = table[name].to_pylist()
                continue
            if feature["dtype"] in ("string", "language"):
                self.notes.add(name, "text per step: left out")
                continue
            values = table[name].to_pylist()
            found[name] = np.array(values, dtype=feature["dtype"]).reshape(len(values), -1)
            if list(feature["shape"]) == [1]:
                found[name] = found[name][:, 0]
            else:
                found[name] = found[name].reshape(len(values), *feature["shape"])
        return found

    def _images(self, name: str, row: dict[str, Any], columns: dict[str, Any]) -> np.ndarray:
        steps = int(row["length"])
        if self.features[name]["dtype"] == "image":
            return np.stack([_png(image["bytes"]) for image in columns.pop(name)])
        place = {
            "chunk_index": row[f"videos/{name}/chunk_index"],
            "file_index": row[f"videos/{name}/file_index"],
        }
        file = self.path / self.info["video_path"].format(video_key=name, **place)
        return _decode(file, float(row[f"videos/{name}/from_timestamp"]), steps, self.info["fps"])

    def _foreign(
        self, number: int, columns: dict[str, np.ndarray], frames: dict[str, np.ndarray]
    ) -> Episode:
        """An episode that others recorded: the last state repeats the one before."""
        steps = len(columns["episode_index"])
        self._note_rows(columns)
        reward = columns.pop("next.reward", np.zeros(steps)).astype(np.float32)
        success = bool(np.any(columns.pop("next.success", [False])))
        done = columns.pop("next.done", None)
        task = self.tasks.get(int(columns["task_index"][0]), "")
        action = columns.pop("action", np.zeros((steps, 0), np.float32))
        names = {
            name: feature["names"]
            for name, feature in self.features.items()
            if feature.get("names") and feature["dtype"] not in ("image", "video")
        }
        observation, signals = {}, {}
        for name, rows in columns.items():
            if name in INDICES:
                continue
            if rows.ndim == 1 and rows.dtype == np.float32 and not name.startswith(OBSERVATION):
                signals[name] = rows
            else:
                observation[name.removeprefix(OBSERVATION)] = padded(rows)
        return Episode(
            info=EpisodeInfo(f"lerobot/{self.path.name}", task),
            observation=observation,
            action=action,
            reward=reward,
            success=success,
            terminated=success,
            signals=signals,
            frames={role: padded(images) for role, images in frames.items()},
            frame_step=np.arange(steps + 1) if frames else None,
            metadata={
                "kind": "demonstration",
                "recording": f"{self.path.name} episode {number}",
                "final_state": REPEATED,
                "fps": self.info["fps"],
                "robot_type": self.info.get("robot_type"),
                **({FEATURE_NAMES: names} if names else {}),
                **({} if done is None else {"done_steps": np.flatnonzero(done).tolist()}),
            },
        )

    def _note_rows(self, columns: dict[str, np.ndarray]) -> None:
        """What an episode of robo cannot hold of one that others recorded."""
        if "next.success" not in columns:
            self.notes.add("success", "there is no next.success: every episode is taken as failed")
        reward = columns.get("next.reward")
        if reward is not None and not np.array_equal(reward.astype(np.float32), reward):
            self.notes.add("next.reward", "finer than float32: rounded to it")
        if len(np.unique(columns["task_index"])) > 1:
            self.notes.add("task_index", "changes within episodes: the first row's task is kept")
        if "timestamp" in columns:
            even = columns["frame_index"] / self.info["fps"]
            if not np.allclose(columns["timestamp"], even, rtol=1e-5, atol=1e-3):
                self.notes.add("timestamp", "not evenly spaced: left out, fps alone is kept")


def _restored(
    extras: Path, columns: dict[str, np.ndarray], frames: dict[str, np.ndarray]
) -> Episode:
    """An episode that robo exported: everything comes back."""
    values = json.loads(extras.read_text())
    arrays: dict[str, np.ndarray] = {}
    if extras.with_suffix(".npz").exists():
        with np.load(extras.with_suffix(".npz"), allow_pickle=False) as file:
            arrays = dict(file)
    observation = {}
    for key, (dtype, shape) in values.pop("observation").items():
        rows = columns[OBSERVATION + key.replace("/", ".")]
        rows = rows.astype(dtype, copy=False).reshape(len(rows), *shape)
        final = arrays.get(f"final/{key}")
        observation[key] = padded(rows) if final is None else np.concatenate([rows, final])
    step, roles = arrays.get("frame_step"), values.pop("roles")
    steps = len(columns["action"])
    kept = {}
    if step is not None:
        for role in roles:
            rows = frames[role][step[step < steps]]
            beyond = arrays[f"frames/{role}"]
            missing = len(step) - len(rows) - len(beyond)
            # A last state that repeats the one before has no frame of its own.
            kept[role] = np.concatenate([rows, beyond, *([rows[-1:]] * missing)])
    names = values.pop("signal_names")
    action = columns["action"].reshape(steps, *values.pop("action"))
    return Episode(
        **restore(values),
        observation=observation,
        action=action,
        reward=columns["next.reward"],
        signals={name: columns["signals"].reshape(steps, -1)[:, i] for i, name in enumerate(names)},
        frames=kept,
        frame_step=step,
    )


def _png(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _decode(file: Path, start: float, steps: int, fps: float) -> np.ndarray:
    """``steps`` frames of a video from ``start`` seconds on."""
    import av

    first = round(start * fps)
    images: list[np.ndarray] = []
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        time_base = float(stream.time_base or 0)
        container.seek(int(start / time_base), stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is None or round(frame.pts * time_base * fps) < first:
                continue
            images.append(frame.to_ndarray(format="rgb24"))
            if len(images) == steps:
                return np.stack(images)
    raise ValueError(f"{file.name} ends after {len(images)} of {steps} frames")
