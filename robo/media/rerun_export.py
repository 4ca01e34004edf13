"""Reward traces as a Rerun recording (.rrd): views, curves and events on one time line of steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robo.media import theme
from robo.media.traces import RewardTrace
from robo.media.video import VideoError
from robo.rollout import Episode

JPEG_QUALITY = 90


def write_rerun(path: str | Path, pairs: Sequence[tuple[Episode, RewardTrace]]) -> Path:
    """Write episodes and their traces to a Rerun recording.

    Each pair is an entity of its own (``0``, ``1``, ...): ``<n>/views/<role>`` are JPEG images,
    ``<n>/state/<name>`` progress and other curves of the states, ``<n>/hop`` the hops,
    ``<n>/reward/total`` and ``<n>/reward/<term>`` what each step paid (at the state in which it
    ended), ``<n>/events`` a text log. The time line is called ``step``.

    Args:
        path: ending in ``.rrd``; it appears when it is complete.
        pairs: episodes with what a reward said about each.

    Raises:
        VideoError: rerun-sdk is not installed, another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix != ".rrd":
        raise VideoError(f"Rerun recording {path} must end in .rrd")
    try:
        import rerun as rr
    except ImportError as error:
        raise VideoError(
            'Rerun recordings need rerun-sdk: install it with pip install -e ".[rerun]"'
        ) from error
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part.rrd")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rr.RecordingStream("robo reward video") as stream:
            stream.save(temporary, default_blueprint=_blueprint(pairs))
            for n, (episode, trace) in enumerate(pairs):
                _log(rr, stream, str(n), episode, trace.check(len(episode)))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise VideoError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _blueprint(pairs: Sequence[tuple[Episode, RewardTrace]]) -> Any:
    """Views above, states and rewards below, a column per pair."""
    import rerun.blueprint as rrb

    columns = []
    for n, (episode, trace) in enumerate(pairs):
        views = [
            rrb.Spatial2DView(origin=f"{n}/views/{role}", name=role) for role in episode.frames
        ]
        columns.append(
            rrb.Vertical(
                rrb.Horizontal(*views),
                rrb.TimeSeriesView(origin=f"{n}/state", name="state"),
                rrb.TimeSeriesView(origin=f"{n}/reward", name="reward per step"),
                rrb.TextLogView(origin=f"{n}/events", name="events"),
                name=trace.title or f"episode {n}",
            )
        )
    return rrb.Blueprint(rrb.Horizontal(*columns), collapse_panels=True)


def _log(rr: Any, stream: Any, root: str, episode: Episode, trace: RewardTrace) -> None:
    """One episode and its trace under the entity ``root``."""
    import cv2

    text = trace.instruction or episode.info.instruction or episode.info.task
    stream.log(f"{root}/instruction", rr.TextDocument(text), static=True)
    for role, frames in episode.frames.items():
        for image, step in zip(frames, np.asarray(episode.frame_step).tolist(), strict=True):
            quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            _, content = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), quality)
            stream.set_time("step", sequence=step)
            encoded = rr.EncodedImage(contents=content.tobytes(), media_type="image/jpeg")
            stream.log(f"{root}/views/{role}", encoded)
    states = np.arange(len(episode) + 1)
    curves = {} if trace.progress is None else {trace.progress_name: trace.progress}
    series = {f"{root}/state/{name}": (states, v) for name, v in {**curves, **trace.curves}.items()}
    series[f"{root}/reward/total"] = (states[1:], trace.total)
    for name, value in trace.terms.items():
        series[f"{root}/reward/{'total (term)' if name == 'total' else name}"] = (states[1:], value)
    if trace.hops is not None:
        series[f"{root}/hop/{trace.hops.name}"] = (trace.hops.step, trace.hops.value)
    for i, (entity, (step, value)) in enumerate(series.items()):
        line = rr.SeriesLines(colors=[theme.line_colour(i)], names=[entity.rpartition("/")[2]])
        stream.log(_escaped(rr, entity), line, static=True)
        stream.send_columns(
            _escaped(rr, entity),
            indexes=[rr.TimeColumn("step", sequence=np.asarray(step, np.int64))],
            columns=rr.Scalars.columns(scalars=np.asarray(value, np.float64)),
        )
    for event in trace.events:
        stream.set_time("step", sequence=event.step)
        level = "ERROR" if event.kind in ("infraction", "limit") else "INFO"
        stream.log(f"{root}/events", rr.TextLog(event.name, level=level))


def _escaped(rr: Any, entity: str) -> str:
    """The entity's path with names of any characters."""
    return rr.new_entity_path(entity.split("/"))
