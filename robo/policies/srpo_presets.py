"""Group optimisation of a cloned policy with SRPO's reward: settings that scripts share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robo.policies.learner_config import PPOConfig
from robo.rewards.config import RewardConfig
from robo.rewards.srpo_config import SRPOConfig
from robo.rollout import CameraSchedule


def group_ppo() -> PPOConfig:
    """The learner of SRPO for small policies: no critic, clip-higher, statistics as cloned."""
    return PPOConfig(
        learning_rate=3e-4,
        epochs=4,
        minibatch_size=512,
        advantage="group",
        clip_range=0.2,
        clip_range_high=0.28,
        gamma=1.0,
        gae_lambda=1.0,
        normalise_observation=False,  # other statistics would make another policy of a cloned one
    )


@dataclass(frozen=True)
class GroupSettings:
    """How groups are collected and judged."""

    encoder: str | None = None
    """Video encoder of the reward (see robo.rewards.srpo_config); None fits a compact one to the
    demonstrations and to attempts of the cloned policy."""
    encoder_iterations: int = 300
    """Training steps of the fitted encoder."""
    group_size: int = 8
    """Episodes from each initial state."""
    progress: bool = True
    """False pays successes alone: binary rewards in groups, to compare with."""
    variant: Literal["paper", "released"] = "paper"
    """Whose formula pays failures: the paper's with its sign mended, or the released code's."""
    no_success: Literal["zero", "bank", "demonstrations"] = "demonstrations"
    """References of a task without a success in the batch."""
    std: float = 0.2
    """Least standard deviation of the cloned policy's actions when groups begin to explore."""
    maximum_std: float = 0.2
    """Most of it, where it is above std. The errors of a fit to few demonstrations can be 0.6 of
    actions in [-1, 1]: with noise that large a policy that succeeds in half of its attempts does
    in one of twelve, and what improves is the noisy policy, while its mean gets worse."""

    def reward(self, encoder: str, demonstrations: Path, camera: CameraSchedule) -> RewardConfig:
        """The reward that goes with these settings.

        Args:
            encoder: folder or name of the video encoder.
            demonstrations: store whose successes seed the bank.
            camera: views, size (height and width are one) and stride of its frames; a fitted
                encoder has its own views and size.
        """
        seeds = demonstrations if self.no_success == "demonstrations" else None
        srpo = SRPOConfig(
            encoder=encoder,
            views=camera.views,
            size=camera.height,
            variant=self.variant,
            no_success=self.no_success,
            demonstrations=seeds,
            progress=self.progress,
        )
        return RewardConfig(kind="srpo", stride=camera.stride, srpo=srpo)
