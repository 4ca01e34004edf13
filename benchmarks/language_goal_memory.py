"""How much memory a replay buffer of driving images takes, measured and extrapolated.

A scripted driver drives the stand-in; every step goes into the packed replay buffer of the SB3
bridge, as SAC would put it there. What is measured is the growth of the process, and the buffer's
own count of bytes. VLM-RL's own buffer takes 44 GB for 100,000 steps (its raster of 192 x 192 x 6,
held twice).

    python benchmarks/language_goal_memory.py --out benchmarks/results/language_goal_memory.json
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from _study import machine, one_thread, publish

LIMIT, WANTED_STEPS = 12e9, 1_000_000
"""Bytes in which so many steps should fit."""
ORIGINAL_PER_STEP = 2 * 192 * 192 * 6
"""Bytes of images per step of VLM-RL's own buffer."""


@dataclass(frozen=True)
class Options:
    """Fill a buffer."""

    steps: int = 100_000
    """Environment steps, over all environments."""
    size: int = 64
    """Pixels on each side of the raster; its resolution follows, 64 m are shown."""
    num_envs: int = 8
    """Environments."""
    task: str = "carla-standin/All"
    """Driving task."""
    minutes: float | None = None
    """Stop after so long, and extrapolate from what was stored."""
    out: Path | None = None
    """JSON file to write."""


def resident() -> int:
    """Bytes of memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def main(options: Options) -> None:
    """Drive and store; the last line printed is one JSON object."""
    one_thread()
    import numpy as np

    import robo
    from robo.policies.sb3 import sb3_vec_env
    from robo.policies.sb3_replay import CompactReplayBuffer
    from robo.sim.carla.expert import OPTIONS

    scale = options.size / OPTIONS["birdseye_size"]
    raster = {
        "birdseye_size": options.size,
        "pixels_per_metre": OPTIONS["pixels_per_metre"] * scale,
        "metres_behind": OPTIONS["metres_behind"],
        "route_outside_junctions": True,
        "time_limit": 60.0,
    }
    env = sb3_vec_env(robo.make_vec(options.task, options.num_envs, **raster))
    space: Any = env.observation_space
    buffer = CompactReplayBuffer(
        WANTED_STEPS, space, env.action_space, "cpu", options.num_envs, max_bytes=LIMIT
    )
    rng, began = np.random.default_rng(0), time.perf_counter()
    stored, before = 0, resident()
    observation: Any = env.reset()
    limit = None if options.minutes is None else 60 * options.minutes
    try:
        while stored < options.steps:
            if limit is not None and time.perf_counter() - began > limit:
                break
            # Mostly straight on, at town speed: as varied as a young policy's driving.
            steer = rng.normal(0, 0.15, options.num_envs)
            push = rng.uniform(-0.2, 0.7, options.num_envs)
            action = np.clip(np.stack([steer, push], axis=1), -1, 1).astype(np.float32)
            following, reward, done, infos = env.step(action)
            state: Any = following
            final = {key: array.copy() for key, array in state.items()}
            for row in np.flatnonzero(done):
                for key in final:
                    final[key][row] = infos[row]["terminal_observation"][key]
            buffer.add(observation, final, action, reward, done, infos)
            observation, stored = following, stored + options.num_envs
    finally:
        env.close()
    grown = resident() - before
    per_step = max(grown, buffer.image_bytes) / stored
    whole = per_step * WANTED_STEPS
    publish(
        {
            "benchmark": "language_goal_memory",
            "rows": [row_of(per_step, options.size, int(np.prod(space["birdseye"].shape)))],
            "steps": stored,
            "image_bytes": buffer.image_bytes,
            "process_grew": grown,
            "unpacked_once": stored * 10 * options.size**2,
            "extrapolated": {"steps": WANTED_STEPS, "bytes": whole},
            "limit": LIMIT,
            "fits": whole <= LIMIT,
            "machine": machine(),
        },
        options.out,
    )


def row_of(per_step: float, size: int, pixels: int) -> dict[str, Any]:
    """The row of the result: our bytes per step of a raster of ``pixels`` bytes, and others'."""
    peers = {
        "VLM-RL's own buffer of 192 x 192 x 6 (images alone, by its shapes)": ORIGINAL_PER_STEP,
        "SB3's DictReplayBuffer of this raster (images alone, by its shapes)": 2 * pixels,
    }
    return {
        "name": f"replay of driving, raster {size} x {size} x 10",
        "unit": "bytes of memory per environment step",
        "ours": per_step,
        "peers": peers,
        "ratio_to_best": per_step / min(peers.values()),
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
