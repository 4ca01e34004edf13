"""A folder of videos with JSON labels: recordings of people and robots, for reward models.

One JSON file per episode beside its videos::

    pour_01.json    {"views": {"front": "pour_01_front.mp4"}, "instruction": "pour the water",
                     "success": true, "keyframes": {"grasp": 41, "tilt": 80}}

All fields but ``views`` may be missing; ``task``, ``metadata`` and ``seed`` may be given. Frames
are states: F frames are an episode of F - 1 steps, whose actions are empty, and whose reward is 1
on the last step of a success and 0 elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo.data.formats.common import Note, Notes, describe, restore
from robo.data.video import changed_by, encode_video
from robo.errors import StoreError
from robo.rollout import Episode, EpisodeInfo

_FIELDS = {"views", "task", "instruction", "success", "keyframes", "metadata", "seed", "robo"}


class VideoFolderImport:
    """The episodes of a folder, read one at a time, in the order of their names."""

    def __init__(
        self,
        path: Path,
        stride: int = 1,
        size: tuple[int, int] | None = None,
        task: str = "",
    ) -> None:
        """List the JSON files.

        Args:
            path: the folder.
            stride: every so many frames are taken; keyframes are frame numbers of the video.
            size: (height, width) to scale the frames to.
            task: of episodes that name none; the folder's name by default.

        Raises:
            StoreError: where there are none.
        """
        self.path, self.stride, self.size = path, max(1, stride), size
        self.task = task or f"videos/{path.name}"
        self.notes = Notes()
        self.files = sorted(path.glob("*.json"))
        if not self.files:
            raise StoreError(
                f"{path} holds no JSON files: each episode needs one, such as "
                '{"views": {"front": "one.mp4"}, "success": true}'
            )

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.files)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, in order.

        Raises:
            StoreError: naming a file that cannot be used, and why.
        """
        for file in self.files:
            try:
                values = json.loads(file.read_text())
                yield self._episode(file, values)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise StoreError(f"{file} cannot be used: {type(error).__name__}: {error}") from (
                    error
                )

    def _episode(self, file: Path, values: dict[str, Any]) -> Episode:
        if not isinstance(values, dict) or not isinstance(values.get("views"), dict):
            raise ValueError('expected an object such as {"views": {"front": "one.mp4"}}')
        for name in sorted(set(values) - _FIELDS):
            self.notes.add(f"{name} of {file.name}", "not a field of these labels: left out")
        frames = {role: self._decode(self.path / name) for role, name in values["views"].items()}
        counts = {role: len(images) for role, images in frames.items()}
        if not counts or min(counts.values()) < 2 or len(set(counts.values())) > 1:
            raise ValueError(f"its views have {counts} frames, expected the same, at least 2")
        own = values.get("robo")
        if own is not None:
            return self._restored(file, own, frames)
        steps = next(iter(counts.values())) - 1
        success = bool(values.get("success", False))
        marks = {str(n): int(frame) for n, frame in values.get("keyframes", {}).items()}
        return Episode(
            info=EpisodeInfo(
                str(values.get("task") or self.task),
                str(values.get("instruction", "")),
                seed=values.get("seed"),
            ),
            observation={},
            action=np.zeros((steps, 0), np.float32),
            reward=np.eye(1, steps, steps - 1, dtype=np.float32)[0] * success,
            success=success,
            terminated=success,
            frames=frames,
            frame_step=np.arange(steps + 1),
            keyframes={name: round(frame / self.stride) for name, frame in marks.items()},
            metadata={
                "kind": "demonstration" if success else "failure",
                "recording": file.name,
                **values.get("metadata", {}),
            },
        )

    def _restored(self, file: Path, own: dict[str, Any], frames: dict[str, Any]) -> Episode:
        with np.load(self.path / own.pop("arrays"), allow_pickle=False) as arrays:
            found = dict(arrays)
        names = own.pop("signal_names")
        return Episode(
            **restore(own),
            observation={k[4:]: v for k, v in found.items() if k.startswith("obs/")},
            action=found["action"],
            reward=found["reward"],
            signals={name: found["signals"][:, i].copy() for i, name in enumerate(names)},
            frames=frames,
            frame_step=found["frame_step"],
        )

    def _decode(self, file: Path) -> np.ndarray:
        import av
        from av.error import FFmpegError

        images = []
        try:
            with av.open(str(file)) as container:
                for number, frame in enumerate(container.decode(video=0)):
                    if number % self.stride == 0:
                        height, width = self.size or (frame.height, frame.width)
                        scaled = frame.reformat(width, height, "rgb24", interpolation="AREA")
                        images.append(scaled.to_ndarray())
        except (FFmpegError, IndexError) as error:
            raise ValueError(f"{file.name} is no video ({error})") from error
        return np.stack(images) if images else np.zeros((0, 1, 1, 3), np.uint8)


def export_videos(
    episodes: Iterable[Episode],
    path: Path,
    images: Literal["video", "video-lossless"] = "video",
) -> list[Note]:
    """Write episodes as a new folder of videos with JSON labels; what videos cannot hold.

    Actions, observations, rewards and signals go to ``.npz`` files beside them.

    Raises:
        StoreError: where the folder exists, an episode has no frames, or the medium is full.
    """
    if path.exists():
        raise StoreError(f"{path} exists; name a new folder")
    notes, mean, worst = Notes(), 0.0, 0
    try:
        path.mkdir(parents=True)
        for number, episode in enumerate(episodes):
            if not episode.frames:
                raise StoreError(f"episode {number} has no camera frames to make videos of")
            name, views = f"episode_{number:06d}", {}
            for role, rows in episode.frames.items():
                views[role] = f"{name}_{role}.mp4"
                encoded = encode_video(np.asarray(rows), images)
                apart = changed_by(encoded, np.asarray(rows))
                mean, worst = max(mean, apart.mean), max(worst, apart.worst)
                (path / views[role]).write_bytes(encoded)
            signals = list(episode.signals.values())
            np.savez_compressed(
                path / f"{name}.npz",
                allow_pickle=False,
                action=np.asarray(episode.action),
                reward=np.asarray(episode.reward),
                frame_step=np.asarray(episode.frame_step),
                signals=np.stack(signals, axis=1) if signals else np.zeros((len(episode), 0)),
                **{f"obs/{key}": np.asarray(rows) for key, rows in episode.observation.items()},
            )
            values = {
                "views": views,
                "task": episode.info.task,
                "instruction": episode.info.instruction,
                "success": bool(episode.success),
                "keyframes": _frame_numbers(episode),
                "robo": {
                    **describe(episode),
                    "signal_names": list(episode.signals),
                    "arrays": f"{name}.npz",
                },
            }
            (path / f"{name}.json").write_text(json.dumps(values, indent=2))
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}; what is there is not whole") from error
    notes.add("actions, observations, rewards, signals", "in .npz files beside the videos")
    if worst:
        notes.add(
            "pixels",
            f"H.264 changed them by {mean:.2f} grey levels of 255 on average in the worst video, "
            f"{worst} at most; 'video-lossless' keeps every bit",
        )
    return notes.list()


def _frame_numbers(episode: Episode) -> dict[str, int]:
    """Keyframes as numbers of video frames: the first that shows the state or a later one."""
    step = np.asarray(episode.frame_step)
    last = len(step) - 1
    return {
        name: min(int(np.searchsorted(step, state)), last)
        for name, state in episode.keyframes.items()
    }
