"""A trial's trace as an episode of the store, whole whatever went wrong in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo.robots.loop import Trace
from robo.robots.robot import Capabilities
from robo.rollout import Episode, EpisodeInfo

UNSENT = 0.0
"""What stands in the record's command where none was sent; signal ``sent`` tells."""


def episode_of(
    trace: Trace,
    capabilities: Capabilities,
    info: EpisodeInfo,
    success: bool,
    metadata: dict[str, Any],
) -> Episode | None:
    """The trial as an episode: what was read, what the policy wanted, what was sent, and when.

    Args:
        trace: of L ticks.
        capabilities: of the robot.
        info: task, instruction, initial state.
        success: the outcome.
        metadata: JSON values; must not name the policy while the evaluation is blind.

    Returns:
        Observation ``position`` and the reading's vectors ``[L+1, ...]``; ``action [L, D]`` the
        commands as sent (last known where none was); signals ``sent``, ``jitter_ms``,
        ``latency_ms``, ``inference_ms``, ``policy_<i>`` (the policy's own action) and those of
        the scene. None where not one tick was read.
    """
    length = min(len(trace.commands), len(trace.states) - 1)
    if length < 1:
        return None
    names = [name for name in trace.states[0] if all(name in s for s in trace.states[: length + 1])]
    rows = [i for i, step in enumerate(trace.frame_step) if step <= length]
    roles = capabilities.views if rows else {}
    return Episode(
        info=info,
        observation={
            name: _finite([state[name] for state in trace.states[: length + 1]]) for name in names
        },
        action=_held(np.array(trace.commands[:length])).astype(np.float32),
        reward=np.zeros(length, np.float32),
        success=success,
        terminated=trace.ending != "time",
        signals=_signals(trace, length),
        frames={
            role: np.stack([_fitted(trace.frames[i].get(role), size) for i in rows])
            for role, size in roles.items()
        },
        frame_step=np.array([trace.frame_step[i] for i in rows], np.int64) if rows else None,
        metadata=metadata,
    )


def _signals(trace: Trace, length: int) -> dict[str, np.ndarray]:
    ticks = trace.timing.ticks[:length]
    width = max(len(action) for action in trace.actions)
    actions = np.zeros((length, width))
    for row, action in zip(actions, trace.actions, strict=False):
        row[: len(action)] = np.nan_to_num(action)
    signals = {
        "sent": [float(tick.sent is not None) for tick in ticks],
        "jitter_ms": [1000 * tick.late for tick in ticks],
        "latency_ms": [1000 * (tick.sent or 0.0) for tick in ticks],
        "inference_ms": [1000 * (tick.answer or 0.0) for tick in ticks],
        **{f"policy_{i}": actions[:, i] for i in range(width)},
    }
    for name in trace.signals[0]:
        signals[name] = [values.get(name, 0.0) for values in trace.signals[:length]]
    return {name: np.asarray(values, np.float32) for name, values in signals.items()}


def _held(commands: np.ndarray) -> np.ndarray:
    """Rows of NaN repeat the row before them."""
    for row in range(len(commands)):
        if np.isnan(commands[row]).any():
            commands[row] = commands[row - 1] if row else UNSENT
    return commands


def _finite(vectors: list[np.ndarray]) -> np.ndarray:
    """``[L+1, ...]``; readings that were not finite repeat the last that was."""
    rows = np.array(vectors, np.float32)
    for row in range(len(rows)):
        if not np.isfinite(rows[row]).all():
            rows[row] = rows[row - 1] if row else 0.0
    return rows


def _fitted(image: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """The frame, or black where it was missing or of another size."""
    if image is None or image.shape != (*size, 3):
        return np.zeros((*size, 3), np.uint8)
    return image
