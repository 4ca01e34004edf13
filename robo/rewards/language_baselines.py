"""What VLM-RL is compared with: other rewards from one image-text model, of any single frame.

Sources: descriptions of VLM-RL's released code (arXiv 2412.15544), in which these baselines share
its network and its camera: VLM-SR (Baumli et al., arXiv 2312.09187), RoboCLIP (Sontakke et al.,
arXiv 2310.07899, there per step in place of per episode), VLM-RM (Rocamora et al., arXiv
2310.12921) and LORD (Ye et al., arXiv 2405.20540).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from robo.perception.clip import ClipEncoder
from robo.rewards.frame_values import FrameValues
from robo.rewards.language_config import (
    CAR,
    LORD_SPEED,
    NEGATIVE,
    POSITIVE,
    SAFE,
    SUCCESS_SIMILARITY,
    LanguageGoalConfig,
    LanguageGoalError,
)
from robo.rewards.language_goal import KMH, seen
from robo.rewards.progress import to_tensor
from robo.rollout import CameraSchedule, Frames, RewardTerms, Rollout

Kind = Literal["vlm_sr", "roboclip", "vlm_rm", "lord", "lord_speed"]


def vlm_sr(similarity: Any, threshold: float = SUCCESS_SIMILARITY) -> Tensor:
    """1 where the similarity to the goal is above the threshold, otherwise -1."""
    similarity = to_tensor(similarity)
    return torch.where(similarity > threshold, 1.0, -1.0).to(similarity.dtype)


def vlm_rm(image: Any, goal: Any, baseline: Any, alpha: float = 0.5) -> Tensor:
    """Goal-baseline regularisation: ``1 - |P (x - g)|^2 / 2`` (VLM-RM, definition 1).

    ``P = alpha d d^T / |d|^2 + (1 - alpha) I`` with d = g - baseline: what does not lie between
    baseline and goal counts only by 1 - alpha.

    Args:
        image: unit embeddings ``[..., D]``.
        goal: unit embedding ``[D]``.
        baseline: unit embedding ``[D]`` of a sentence that says nothing of the goal.
        alpha: strength, in [0, 1]; 0 gives the cosine similarity.

    Returns:
        ``[...]``, at most 1.

    Raises:
        LanguageGoalError: alpha out of range, or goal and baseline are the same.
    """
    image, goal, baseline = to_tensor(image), to_tensor(goal), to_tensor(baseline)
    if not 0 <= alpha <= 1:
        raise LanguageGoalError(f"VLM-RM's alpha is {alpha}, expected a value from 0 to 1")
    direction = goal - baseline
    length = (direction**2).sum()
    if float(length) < 1e-12:
        raise LanguageGoalError(
            "VLM-RM's goal and baseline have the same embedding: say something else in one of them"
        )
    difference = image - goal
    along = (difference @ direction)[..., None] * direction / length
    projected = alpha * along + (1 - alpha) * difference
    return 1 - (projected**2).sum(dim=-1) / 2


def lord(similarity: Any) -> Tensor:
    """1 minus the similarity to the opposite goal."""
    return 1 - to_tensor(similarity)


def lord_speed(similarity: Any, speed: Any, target_speed: float = LORD_SPEED) -> Tensor:
    """:func:`lord` plus ``1 - |v - v*| / v*``; speeds in km/h."""
    return lord(similarity) + 1 - (to_tensor(speed) - target_speed).abs() / target_speed


DEFAULTS: dict[Kind, tuple[str, str]] = {
    "vlm_sr": (POSITIVE, NEGATIVE),
    "roboclip": (POSITIVE, NEGATIVE),
    "vlm_rm": (SAFE, CAR),
    "lord": (POSITIVE, NEGATIVE),
    "lord_speed": (POSITIVE, NEGATIVE),
}
"""Positive and negative sentence where none is given; VLM-RM's negative is its baseline."""


class FrameBaselineReward:
    """One of the baselines on every frame of a rollout, in one pass, held between frames.

    VLM-SR and RoboCLIP read the positive goal, LORD and LORD-Speed the negative one, VLM-RM both
    (the negative is its baseline). Only the first pair of goals is read. Nothing else is paid, at
    an episode's end neither.

    Args:
        kind: which.
        config: goals, image, model and the baselines' own numbers; its contrast and form are not
            read, but for the camera.
        stride: steps between two frames.
        device: where the model computes.
        encoder: a model that is there already; None loads ``config.clip``.
    """

    critic_feature_dim: int = 0
    gamma: float | None = None
    timeout: str | None = None

    def __init__(
        self,
        kind: Kind,
        config: LanguageGoalConfig | None = None,
        stride: int = 1,
        device: str = "cpu",
        encoder: ClipEncoder | None = None,
    ) -> None:
        """See the class."""
        config = config or LanguageGoalConfig()
        if not config.positive and not config.negative:
            positive, negative = DEFAULTS[kind]
            config = replace(config, positive=(positive,), negative=(negative,))
        self.kind, self.config = kind, config
        image = config.image
        self.camera: CameraSchedule | None = CameraSchedule(
            (config.view,), image.height, image.width, stride
        )
        self.signals: tuple[str, ...] = ("speed",) if kind == "lord_speed" else ()
        self.encoder = encoder or ClipEncoder.load(config.clip, device)
        positive, negative = config.pairs[0]
        self.positive, self.negative = self.encoder.goals([positive, negative])
        self._values = FrameValues(self.score)

    def score(self, frames: Frames) -> Tensor:
        """What a frame alone says, float32 ``[M]``: LORD-Speed's speed term comes on top.

        Raises:
            RoboError: the view is missing, or its frames are not RGB images.
        """
        image = self.encoder.images(seen(frames, self.config.view), self.config.image)
        if self.kind == "vlm_rm":
            return vlm_rm(image, self.positive, self.negative, self.config.regularisation)
        if self.kind in ("lord", "lord_speed"):
            return lord(image @ self.negative)
        similarity = image @ self.positive
        if self.kind == "vlm_sr":
            return vlm_sr(similarity, self.config.success_similarity)
        return similarity

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``; terms named by the kind, and ``speed``."""
        terms = {self.kind: self._values.of_next_state(rollout).float()}
        if self.kind == "lord_speed":
            speed = KMH * rollout.signals["speed"]
            wanted = self.config.lord_speed
            terms["speed"] = 1 - (speed - wanted).abs() / wanted
        if rollout.valid is not None:
            terms = {name: term.where(rollout.valid, 0.0) for name, term in terms.items()}
        return RewardTerms(torch.stack(list(terms.values())).sum(0), terms)

    def state_dict(self) -> dict[str, Any]:
        """Held values of the open episodes."""
        return self._values.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._values.load_state_dict(state)
