"""Rollouts of several groups of environments as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robo.rollout import FinalObservation, Frames, Rollout, concatenate_frames


def join_rollouts(parts: Sequence[Rollout], firsts: Sequence[int]) -> Rollout:
    """Rollouts of the same steps, side by side; environment e of part i becomes firsts[i] + e."""

    def beside(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part in parts], dim=1)

    head = parts[0]
    names = ("action", "log_prob", "env_reward", "terminated", "truncated", "success", "episode")
    return Rollout(
        observation={
            key: torch.cat([part.observation[key] for part in parts], dim=1)
            for key in head.observation
        },
        last_observation={
            key: torch.cat([part.last_observation[key] for part in parts])
            for key in head.last_observation
        },
        final_observation=_join_final(parts, firsts),
        episodes={key: info for part in parts for key, info in part.episodes.items()},
        signals={
            key: torch.cat([part.signals[key] for part in parts], dim=1) for key in head.signals
        },
        frames=_join_frames(parts, firsts),
        **{name: beside(name) for name in names},
    )


def _join_final(parts: Sequence[Rollout], firsts: Sequence[int]) -> FinalObservation:
    finals = [part.final_observation for part in parts]
    step = torch.cat([final.step for final in finals])
    env = torch.cat([final.env + first for final, first in zip(finals, firsts, strict=True)])
    # In the order of one collector: by step, then by environment.
    order = torch.argsort(step * (int(env.max()) + 1 if len(env) else 1) + env)
    observation = {
        key: torch.cat([final.observation[key] for final in finals])[order]
        for key in finals[0].observation
    }
    return FinalObservation(observation, step[order], env[order])


def _join_frames(parts: Sequence[Rollout], firsts: Sequence[int]) -> Frames | None:
    return concatenate_frames(
        [
            Frames(frames.views, frames.step, frames.env + first, frames.episode, frames.final)
            for part, first in zip(parts, firsts, strict=True)
            if (frames := part.frames) is not None
        ]
    )
