"""Images of the fast profile against the faithful one, for benchmarks/sim_throughput.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ROLES = ("front", "wrist")
STRIDE = 5
FAILURES = ("beside", "closed", "open", "wander")
LIFT = "robosuite-batch/Lift"


def differences(task: str, pixels: int, frames: int) -> dict[str, Any]:
    """Mean absolute difference of pixel values over the same states, per camera.

    Returns:
        ``cameras``: role to ``mean`` and ``worst`` image, of 255; ``states``: how many.
    """
    import robo
    from robo.rollout import CameraSchedule

    images: dict[str, list[dict[str, np.ndarray]]] = {}
    states: dict[str, list[np.ndarray]] = {}
    for profile in ("fast", "faithful"):
        env = robo.make(task, profile=profile)
        env.set_camera_schedule(CameraSchedule(ROLES, pixels, pixels, STRIDE))
        generator = np.random.default_rng(0)
        images[profile], states[profile] = [], []
        seed = 0
        while len(images[profile]) < frames:
            observation, info = env.reset(seed=seed)
            seed += 1
            ended = False
            # Several short episodes show more places than one long one.
            for _ in range(10 * STRIDE):
                if "frames" in info and len(images[profile]) < frames:
                    images[profile].append(info["frames"])
                    states[profile].append(observation["state"])
                if ended:
                    break
                action = generator.uniform(-1.0, 1.0, env.action_space.shape or ())
                observation, _, terminated, truncated, info = env.step(action.astype(np.float32))
                ended = terminated or truncated
        env.close()
    assert all(map(np.array_equal, states["fast"], states["faithful"])), "other states"
    cameras = {}
    for role in ROLES:
        values = [
            float(np.abs(one[role].astype(int) - other[role].astype(int)).mean())
            for one, other in zip(images["fast"], images["faithful"], strict=True)
        ]
        cameras[role] = {"mean": float(np.mean(values)), "worst": max(values)}
    return {"cameras": cameras, "states": len(states["fast"]), "pixels": pixels}


def fit(folder: Path, demonstrations: int, iterations: int) -> Path:
    """A GRM of robosuite-batch/Lift, fitted on images of the fast profile; its folder."""
    # It must come before the cameras' GL context.
    import torch._dynamo  # noqa: F401

    from robo.commands.collect import Collect, record
    from robo.commands.fit import FitGRM
    from robo.commands.fit import fit as fit_grm
    from robo.rewards.grm.fit_config import FitConfig

    failures = tuple(f"{name}:{max(1, demonstrations // 3)}" for name in FAILURES)
    episodes = folder / "collect"
    record(
        Collect(LIFT, demonstrations=demonstrations, failures=failures, num_envs=4, out=episodes)
    )
    fit_grm(FitGRM(episodes, FitConfig(iterations=iterations), out=folder / "grm"))
    return folder / "grm"


def progress_changes(grm_folder: Path, episodes: int) -> dict[str, Any]:
    """How much the progress of the same episodes differs between the profiles.

    Returns:
        ``mean``, ``p95`` and ``worst`` absolute change over all scored states; ``final``, the
        worst one at an episode's end; ``states``; ``below_0_05``, whether the mean is.
    """
    import robo
    from robo.policies.recorder import stream_episodes
    from robo.rewards.grm.compact import CompactGRM
    from robo.rewards.grm.score import score_episode
    from robo.rollout import CameraSchedule
    from robo.sim.experts import make_expert
    from robo.sim.mujoco.expert import ExpertStyle

    grm = CompactGRM.load(grm_folder)
    size = grm.config.height, grm.config.width
    camera = CameraSchedule(grm.config.views, *size, STRIDE)
    scripts = ("expert", *FAILURES)
    progress: dict[str, list[np.ndarray]] = {}
    for profile in ("fast", "faithful"):
        progress[profile] = []
        env = robo.make_vec(LIFT, 1, profile=profile)
        for index in range(episodes):
            script = "expert" if index % 2 == 0 else scripts[1 + index // 2 % len(FAILURES)]
            actor = make_expert(LIFT, ExpertStyle(), seed=index, script=script)
            (episode,) = stream_episodes(env, actor, [700_000 + index], camera)
            progress[profile].append(score_episode(grm, episode, "backward", STRIDE).progress)
        env.close()
    ends = [abs(a[-1] - b[-1]) for a, b in zip(*progress.values(), strict=True)]
    change = np.abs(np.concatenate(progress["fast"]) - np.concatenate(progress["faithful"]))
    return {
        "task": LIFT,
        "mean": float(change.mean()),
        "p95": float(np.quantile(change, 0.95)),
        "worst": float(change.max()),
        "final": float(max(ends)),
        "states": len(change),
        "below_0_05": bool(change.mean() < 0.05),
    }
