"""VLM-RL: a positive and a negative goal in words as reward.

Source: "VLM-RL: A Unified Vision Language Model and Reinforcement Learning Framework for Safe
Autonomous Driving", arXiv 2412.15544, and descriptions of its released code. The contrast of two
sentences sets the speed that the car is paid for; centring, heading and stability multiply it.
Pure functions first, then the reward that feeds them from frames and signals of a whole rollout.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from robo.perception.clip import ClipEncoder
from robo.rewards.frame_values import FrameValues
from robo.rewards.holding import episode_starts
from robo.rewards.language_config import LanguageGoalConfig, LanguageGoalError
from robo.rewards.language_fitted import fitted_contrast, other_image
from robo.rewards.progress import to_tensor
from robo.rollout import CameraSchedule, Frames, RewardTerms, Rollout

KMH = 3.6
"""km/h in one m/s."""
DRIVING_SIGNALS = ("speed", "route_offset", "heading_error")
"""Signals of the driving form: m/s, m, rad."""


def contrast(
    image: Any,
    positive: Any,
    negative: Any,
    alpha: float = 1.0,
    beta: float = 1.0,
    lower: float = -0.03,
    upper: float = 0.0,
) -> Tensor:
    """How much more an image looks like the positive than like the negative goal.

    ``(clip(alpha sim(positive) - beta sim(negative), lower, upper) - lower) / (upper - lower)``;
    the defaults are the released code's, written the right way round.

    Args:
        image: unit embeddings ``[..., D]``.
        positive: unit embedding of the positive goal, ``[..., D]``; broadcasts.
        negative: unit embedding of the negative goal, ``[..., D]``; broadcasts.
        alpha: weight of the similarity to the positive goal.
        beta: weight of the similarity to the negative goal.
        lower: weighted difference that counts 0.
        upper: weighted difference that counts 1.

    Returns:
        ``[...]`` in [0, 1]; 1 at the positive goal.

    Raises:
        LanguageGoalError: lower is not below upper.
    """
    if not lower < upper:
        raise LanguageGoalError(f"contrast bounds are {lower} to {upper}, expected lower < upper")
    image, positive, negative = to_tensor(image), to_tensor(positive), to_tensor(negative)
    # In float64: the division by 0.03 would show rounding errors of similarities.
    goal = alpha * positive.double() - beta * negative.double()
    wide = image.double()
    difference = wide @ goal if goal.ndim == 1 else (wide * goal).sum(dim=-1)
    return ((difference.clamp(lower, upper) - lower) / (upper - lower)).to(image.dtype)


def speed_term(contrast: Any, speed: Any, target_speed: float = 25.0) -> Tensor:
    """``1 - |v - c v*| / v*``: 1 at the speed that the contrast allows; may be negative.

    Args:
        contrast: c in [0, 1].
        speed: v, km/h.
        target_speed: v*, km/h.
    """
    return 1 - (to_tensor(speed) - to_tensor(contrast) * target_speed).abs() / target_speed


def remaining(value: Any, limit: float) -> Tensor:
    """``max(1 - |value| / limit, 0)``: the factor of centring, heading and stability."""
    return (1 - to_tensor(value).abs() / limit).clamp(min=0)


def synthesise(
    contrast: Any,
    speed: Any,
    center_distance: Any,
    heading_error: Any,
    center_std: Any,
    target_speed: float = 25.0,
    max_center_distance: float = 3.0,
    max_heading_error: float = math.pi / 2,
    max_center_std: float = 0.4,
) -> Tensor:
    """VLM-RL's hierarchical reward, before the terminal rule.

    The released code takes a heading error of 2.3 rad or more for 0; this does not.

    Args:
        contrast: in [0, 1]; sets the desired speed.
        speed: km/h.
        center_distance: m from the line that is followed.
        heading_error: rad from its direction (its magnitude counts).
        center_std: m, standard deviation of the newest distances.
        target_speed: km/h that contrast 1 asks for.
        max_center_distance: m at which nothing is paid.
        max_heading_error: rad at which nothing is paid.
        max_center_std: m at which nothing is paid.

    Returns:
        At most 1; negative above twice the target speed at the least.
    """
    centring = remaining(center_distance, max_center_distance)
    heading = remaining(heading_error, max_heading_error)
    stability = remaining(center_std, max_center_std)
    return speed_term(contrast, speed, target_speed) * centring * heading * stability


class CenterSpread:
    """Standard deviation of the newest distances of an episode, across rollouts."""

    def __init__(self, window: int) -> None:
        """Over at most ``window`` steps, the present one included."""
        self.window = window
        self._past: Tensor | None = None  # [window - 1, N]
        self._episode: Tensor | None = None  # [window - 1, N], ids of their episodes

    def __call__(self, rollout: Rollout, distance: Tensor) -> Tensor:
        """Population standard deviation up to each step, ``[T, N]``; 0 on the first step.

        Raises:
            PotentialError: the open episodes are of another number of environments.
        """
        past, ids = self._past, self._episode
        episode_starts(rollout, None if ids is None or not len(ids) else ids[-1])
        if past is None or ids is None:
            shape = (self.window - 1, rollout.shape[1])
            past = distance.new_zeros(shape)
            ids = torch.full(shape, -1, dtype=torch.int64)
        values = torch.cat((past.to(distance), distance))
        episode = torch.cat((ids.to(rollout.episode), rollout.episode))
        self._past = values[len(values) - self.window + 1 :].clone()
        self._episode = episode[len(values) - self.window + 1 :].clone()
        rows = values.unfold(0, self.window, 1)
        same = episode.unfold(0, self.window, 1) == rollout.episode[..., None]
        count = same.sum(dim=-1)
        mean = (rows * same).sum(dim=-1) / count
        spread = (((rows - mean[..., None]) ** 2) * same).sum(dim=-1) / count
        return spread.sqrt()

    def state_dict(self) -> dict[str, Tensor]:
        """The newest distances and their episodes ``[N, window - 1]``, and the newest ids."""
        if self._past is None or self._episode is None or not len(self._episode):
            return {}
        return {
            "episode": self._episode[-1].clone(),
            "episodes": self._episode.T.clone(),
            "distances": self._past.T.clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._past = self._episode = None
        if "past" in state:  # of earlier versions, time first
            self._past, self._episode = state["past"].clone(), state["episode"].clone()
        elif state:
            self._past, self._episode = state["distances"].T.clone(), state["episodes"].T.clone()


class LanguageGoalReward:
    """The contrast of goals in words, on every frame of a rollout in one pass.

    A step is paid for the newest frame known of the state that it led to: the frame of that
    state where one was rendered (every ``stride`` steps and at an episode's end). Driving:
    :func:`synthesise` on the driving signals, and ``terminal_reward`` on a step that ends the
    episode by a failure. Manipulation: contrast plus a weighted state term.

    Args:
        config: see :class:`LanguageGoalConfig`.
        stride: steps between two frames.
        device: where the model computes.
        encoder: a model that is there already; None loads ``config.clip``.

    Raises:
        MissingExtraError: open_clip is not installed.
        CheckpointError: the model cannot be loaded.
        LanguageGoalError: the settings contradict each other.

    Warns:
        UserWarning: preset ``fitted`` with another view, crop or resize than the model's.
    """

    critic_feature_dim: int = 0
    gamma: float | None = None
    timeout: str | None = None

    def __init__(
        self,
        config: LanguageGoalConfig | None = None,
        stride: int = 1,
        device: str = "cpu",
        encoder: ClipEncoder | None = None,
    ) -> None:
        """See the class."""
        self.config = config = config or LanguageGoalConfig()
        pairs = config.pairs
        image = config.image
        self.camera: CameraSchedule | None = CameraSchedule(
            (config.view,), image.height, image.width, stride
        )
        self.signals: tuple[str, ...] = _signals(config)
        self.scale = config.contrast(fitted_contrast(config.clip.model))
        fitted = config.preset == "fitted"
        if fitted and (apart := other_image(config.clip.model, image, config.view)):
            warnings.warn(
                f"{config.clip.model} is asked about images that it was not fitted on ({apart}): "
                "its contrast may say nothing; set the image's view, crop and resize to the "
                "model's",
                stacklevel=2,
            )
        self.encoder = encoder or ClipEncoder.load(config.clip, device)
        self.positive = self.encoder.goals([pair[0] for pair in pairs])
        """float32 ``[P, D]``, unit embeddings of the positive goals."""
        self.negative = self.encoder.goals([pair[1] for pair in pairs])
        """float32 ``[P, D]``, of the negative goals."""
        weights = torch.tensor(config.weights or (1.0,) * len(pairs))
        self._weights = (weights / weights.sum()).to(self.positive.device)
        self._values = FrameValues(self.score)
        self._spread = CenterSpread(config.center_window)

    def contrasts(self, frames: Frames) -> Tensor:
        """Contrast of every pair, float32 ``[M, P]`` in [0, 1], of frame rows.

        Raises:
            RoboError: the view is missing, or its frames are not RGB images.
        """
        image = self.encoder.images(seen(frames, self.config.view), self.config.image)
        pairs = zip(self.positive, self.negative, strict=True)
        found = [contrast(image, *pair, **vars(self.scale)) for pair in pairs]
        return torch.stack(found, dim=-1)

    def score(self, frames: Frames) -> Tensor:
        """Contrast over all pairs, float32 ``[M]`` in [0, 1], of frame rows."""
        found = self.contrasts(frames)
        if self.config.combine == "min":
            return found.amin(dim=-1)
        return found @ self._weights

    def __call__(self, rollout: Rollout) -> RewardTerms:
        """Rewards of every step, float32 ``[T, N]``.

        Terms: ``contrast`` and, driving, ``speed``, ``centring``, ``heading``, ``stability`` (the
        factors) and ``terminal``; manipulation, ``state`` (weighted).
        """
        value = self._values.of_next_state(rollout)
        terms = {"contrast": value}
        if self.config.form == "driving":
            total = self._driving(rollout, value, terms)
        else:
            terms["state"] = self.config.state_weight * self._state(rollout)
            total = value + terms["state"]
        if rollout.valid is not None:
            total = total.where(rollout.valid, 0.0)
            terms = {name: term.where(rollout.valid, 0.0) for name, term in terms.items()}
        return RewardTerms(total.float(), {name: term.float() for name, term in terms.items()})

    def _driving(self, rollout: Rollout, value: Tensor, terms: dict[str, Tensor]) -> Tensor:
        config = self.config
        speed, distance, heading = (rollout.signals[name].double() for name in DRIVING_SIGNALS)
        value = value.to(speed)
        terms["speed"] = speed_term(value, KMH * speed, config.target_speed)
        terms["centring"] = remaining(distance, config.max_center_distance)
        terms["heading"] = remaining(heading, config.max_heading_error)
        spread = self._spread(rollout, distance)
        terms["stability"] = remaining(spread, config.max_center_std)
        paid = terms["speed"] * terms["centring"] * terms["heading"] * terms["stability"]
        failed = rollout.terminated & ~rollout.success
        total = torch.where(failed, torch.full_like(paid, config.terminal_reward), paid)
        terms["terminal"] = config.terminal_reward * failed.double()
        return total

    def _state(self, rollout: Rollout) -> Tensor:
        name = self.config.state_term
        if name == "success":
            return rollout.success.float()
        if name == "environment":
            return rollout.env_reward
        return rollout.signals[name] if name else torch.zeros_like(rollout.env_reward)

    def state_dict(self) -> dict[str, Any]:
        """Held contrasts and newest distances of the open episodes."""
        return {"held": self._values.state_dict(), "spread": self._spread.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; the next rollout gives the same numbers."""
        self._values.load_state_dict(state["held"])
        self._spread.load_state_dict(state["spread"])


def seen(frames: Frames, view: str) -> Tensor:
    """Images of a view, uint8 ``[M, H, W, 3]``.

    Raises:
        LanguageGoalError: there is no such view.
    """
    if view not in frames.views:
        raise LanguageGoalError(
            f"the frames have no view {view!r} (they have {sorted(frames.views)}): render it, "
            "or name another one"
        )
    return frames.views[view]


def _signals(config: LanguageGoalConfig) -> tuple[str, ...]:
    """The signals that are read."""
    if config.form == "driving":
        return DRIVING_SIGNALS
    if config.state_term in ("", "success", "environment"):
        return ()
    return (config.state_term,)
