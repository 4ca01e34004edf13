"""A picture of an episode's subtasks: pictures at their ends, and what the robot was told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robo.errors import StoreError
from robo.rewards.grm.segments import Segment
from robo.rollout import Episode
from robo.storage import write_bytes


def draw_segments(episode: Episode, segments: Sequence[Segment], path: Path) -> Path:
    """Write a PNG in which a person sees where the boundaries lie, to correct the JSON file.

    Above: the first view's picture at the start and at every segment's end, with its state index.
    Below: the size of the motion command and the gripper's, with the boundaries.

    Raises:
        StoreError: an episode without frames.
        RoboError: full disk, missing permission.
    """
    import io

    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    if not episode.frames or episode.frame_step is None:
        raise StoreError(f"an episode of {episode.info.task} has no camera frames to draw")
    view = "front" if "front" in episode.frames else next(iter(episode.frames))
    step = np.asarray(episode.frame_step)
    ends = [segments[0].start, *(segment.end for segment in segments)]
    figure = Figure(figsize=(max(6.0, 1.7 * len(ends)), 4.2), layout="constrained")
    grid = GridSpec(2, len(ends), figure, height_ratios=(1.2, 1.0))
    for i, at in enumerate(ends):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(episode.frames[view][int(np.abs(step - at).argmin())])
        axes.set_title(f"state {at}", fontsize=8)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    action = np.asarray(episode.action, dtype=np.float64)
    if action.ndim == 2 and action.shape[1] > 1:
        axes.plot(np.linalg.norm(action[:, :-1], axis=1), label="size of the motion command")
        axes.plot(action[:, -1], label="gripper command", drawstyle="steps-post")
        axes.legend(fontsize=7, loc="upper right")
    top = axes.get_ylim()[1]
    for segment in segments:
        axes.axvline(segment.end, color="black", linewidth=1, linestyle="--")
        middle = (segment.start + segment.end) / 2
        axes.text(middle, top, segment.annotation, fontsize=7, ha="center", va="bottom")
    axes.set_xlim(0, len(episode))
    axes.set_xlabel("state")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return write_bytes(path, file.getvalue())
