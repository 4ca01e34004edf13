"""A gold reward by judgement: a person, or a function of the last pictures, says what succeeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from robo.errors import RoboError
from robo.rollout import CameraSchedule, EpisodeInfo, RewardTerms, Rollout

Judge = Callable[[dict[str, torch.Tensor], EpisodeInfo], bool]
"""From the pictures of the state in which an episode ended (camera role to uint8 ``[H, W, 3]``) and
what identifies it, to whether the task was solved."""


class JudgedReward:
    """1 on the step that ends an episode which the judge calls a success, else 0.

    For tasks without a success bit: the judge may ask an operator, or look by itself. It is asked
    once an episode, after the rollout, so that nobody waits in the control loop.
    """

    gamma: float | None = None
    timeout: str | None = None
    signals: tuple[str, ...] = ()
    critic_feature_dim: int = 0

    def __init__(self, judge: Judge, camera: CameraSchedule) -> None:
        """Ask ``judge`` about the last pictures that ``camera`` takes of an episode."""
        self.judge = judge
        self.camera: CameraSchedule | None = camera
        self.asked = self.successes = 0
        self._verdicts: dict[int, bool] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Episodes judged, and successes among them."""
        return {"judged": self.asked, "judged_successes": self.successes}

    def outcome(self, rollout: Rollout, row: int) -> bool:
        """Verdict on the episode whose end the frame ``row`` shows; the judge is asked once.

        A reward model that learns from the policy's episodes takes it as their label.
        """
        frames = rollout.frames
        assert frames is not None
        episode = int(frames.episode[row])
        if episode not in self._verdicts:
            pictures = {view: image[row] for view, image in frames.views.items()}
            solved = bool(self.judge(pictures, rollout.episodes[episode]))
            self.asked += 1
            self.successes += solved
            self._verdicts[episode] = solved
        return self._verdicts[episode]

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; term ``judged``.

        Raises:
            RoboError: the rollout has no camera frames.
        """
        frames = rollout.frames
        if frames is None:
            raise RoboError(
                "the rollout has no camera frames to judge: set the environment's camera schedule "
                "to the reward's"
            )
        total = torch.zeros_like(rollout.env_reward)
        for row in torch.nonzero(frames.final).flatten().tolist():
            step, env = int(frames.step[row]) - 1, int(frames.env[row])
            episode = int(frames.episode[row])
            ours = step >= 0 and bool(rollout.done[step, env])
            if not ours or int(rollout.episode[step, env]) != episode:
                continue
            total[step, env] = float(self.outcome(rollout, row))
        self._verdicts.clear()
        if rollout.valid is not None:
            total = torch.where(rollout.valid, total, torch.zeros_like(total))
        return RewardTerms(total, {"judged": total})

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"asked": self.asked, "successes": self.successes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.asked, self.successes = int(state["asked"]), int(state["successes"])
