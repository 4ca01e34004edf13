"""One command made safe: arithmetic only, no robot and no clock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robo.robots.robot import Capabilities

BISECTIONS = 30


class Limited(NamedTuple):
    """A command inside every limit, and what had to be limited for it."""

    command: np.ndarray
    """``[D]``."""
    hits: tuple[str, ...]
    """Of "not_finite", "shape", "range", "step", "speed", "tool_speed", "box"; none where the
    command passed unchanged."""


def limit_command(
    wanted: np.ndarray,
    previous: np.ndarray,
    elapsed: float,
    capabilities: Capabilities,
    speed_share: float = 0.9,
) -> Limited:
    """The command nearest to ``wanted`` on the way from ``previous`` that keeps every limit.

    Args:
        wanted: ``[D]``, anything: NaN, infinities and wrong shapes give ``previous``.
        previous: ``[D]`` the last command, inside the limits.
        elapsed: seconds since it.
        capabilities: the limits.
        speed_share: share of the tool's speed limit that may be commanded, in (0, 1], because
            an arm overshoots.
    """
    space = capabilities.command
    try:
        wanted = np.asarray(wanted, np.float64)
    except (TypeError, ValueError):
        return Limited(previous.copy(), ("shape",))
    if wanted.shape != previous.shape:
        return Limited(previous.copy(), ("shape",))
    if not np.isfinite(wanted).all():
        return Limited(previous.copy(), ("not_finite",))
    hits = []
    target = np.clip(wanted, space.low, space.high)
    if (target != wanted).any():
        hits.append("range")
    change, named = _limit_change(target - previous, elapsed, capabilities, speed_share)
    hits += named
    command = np.clip(previous + change, space.low, space.high)
    if capabilities.forward is not None and not _inside(capabilities, command):
        command = _last_inside(capabilities, previous, command)
        hits.append("box")
    return Limited(command, tuple(hits))


def _limit_change(
    change: np.ndarray, elapsed: float, capabilities: Capabilities, speed_share: float
) -> tuple[np.ndarray, list[str]]:
    """The change scaled down to the limits per command and per second."""
    space = capabilities.command
    hits = []
    together = np.ones(len(space), bool)
    together[list(space.alone)] = False
    for name, limit in (("step", space.step), ("speed", space.speed * elapsed)):
        share = np.abs(change) / np.maximum(limit, 1e-12)
        # The margin lets a change of exactly the limit pass, whatever rounding made of it.
        if share.max() > 1 + 1e-9:
            hits.append(name)
            one_scale = max(1.0, share[together].max(initial=0.0))
            change = change / np.where(together, one_scale, np.maximum(share, 1.0))
    if space.tool is not None and capabilities.tool_speed is not None:
        tool = list(space.tool)
        reach = speed_share * capabilities.tool_speed * elapsed
        length = float(np.linalg.norm(change[tool]))
        if length > reach:
            hits.append("tool_speed")
            change = change.copy()
            change[tool] *= reach / length
    return change, hits


def _inside(capabilities: Capabilities, command: np.ndarray) -> bool:
    """Whether the joint targets keep the tool in its box."""
    if capabilities.forward is None or capabilities.box_low is None:
        return True
    tool = np.asarray(capabilities.forward(command))
    return bool((tool >= capabilities.box_low).all() and (tool <= capabilities.box_high).all())


def _last_inside(
    capabilities: Capabilities, previous: np.ndarray, command: np.ndarray
) -> np.ndarray:
    """The farthest point from ``previous`` towards ``command`` that keeps the tool in its box."""
    if not _inside(capabilities, previous):
        return previous.copy()
    near, far = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        if _inside(capabilities, previous + middle * (command - previous)):
            near = middle
        else:
            far = middle
    return previous + near * (command - previous)
