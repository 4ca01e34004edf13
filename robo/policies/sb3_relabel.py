"""Rewards of robo in Stable-Baselines3: relabel its buffers after collection, before learning.

On-policy, the rollout buffer gets the reward's numbers and SB3's own rule computes returns and
advantages again. SB3 adds ``gamma * V(terminal observation)`` to the reward of a time-out while
collecting; it is added to the new reward too (VLM-RL's code overwrites it). Off-policy, the
newest steps of the replay buffer are overwritten before any gradient step can draw them.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from robo.errors import RoboError
from robo.policies.rollout_record import RolloutRecord, carried_frames, frames_of
from robo.policies.sb3_checks import bridge_of, check_parts
from robo.policies.sb3_environment import SB3Environment, TakenStep
from robo.rewards.base import Reward
from robo.rollout import EpisodeInfo, FinalObservation, Frames, RewardTerms, Rollout


class RelabelCallback(BaseCallback):
    """SB3 learns from ``reward`` in place of the environment's own.

    For on-policy (PPO, A2C) and off-policy (SAC, TD3, DQN, ...) algorithms, any number of
    environments. The reward sees a :class:`~robo.rollout.Rollout` whose observations are views
    of SB3's buffer, as SB3 stored them (wrappers included); camera frames live until the
    rollout is scored. ``log_prob`` is NaN off-policy, where it is not known. Critic features are
    left out: SB3's critics read the observation alone. The reward's terms are logged as
    ``reward/<name>``.

    The time-out rule of a reward holds: under "keep", time-outs of PPO are not bootstrapped;
    off-policy, ``handle_timeout_termination`` must be False.
    """

    def __init__(self, reward: Reward, verbose: int = 0) -> None:
        """Relabel by ``reward``, called once per collected rollout."""
        super().__init__(verbose)
        self.reward = reward
        self.last_rollout: Rollout | None = None
        """The newest rollout that was scored, without its camera frames."""
        self._bridge: SB3Environment
        self._steps: list[TakenStep] = []
        self._terminal: list[tuple[int, int, Any]] = []
        self._frames: list[Frames] = []
        self._carried: list[Frames] = []
        self._episodes: dict[int, EpisodeInfo] = {}
        self._followed = (-1, -1)

    # ------------------------------------------------------------------ SB3's hooks

    def _init_callback(self) -> None:
        self._bridge = bridge_of(self.model)
        check_parts(self.reward, self.model, self._bridge)
        if self.reward.critic_feature_dim:
            warnings.warn(
                "the reward has features for the critic, which SB3's critics cannot read: values "
                "will be less exact than with robo's own PPO",
                stacklevel=2,
            )

    def _on_training_start(self) -> None:
        """Reset where the reward would not see the open episodes whole, or wants other frames."""
        bridge = self._bridge
        followed = bridge.steps == 0 or self._followed == (bridge.resets, bridge.steps)
        if bridge.camera == self.reward.camera and followed:
            return
        bridge.set_camera_schedule(self.reward.camera)
        if bridge.steps == 0:
            bridge.repeat_seeds()
        model: Any = self.model
        model._last_obs = model.env.reset()
        model._last_episode_starts = np.ones(bridge.num_envs, bool)
        if model._vec_normalize_env is not None:
            model._last_original_obs = model._vec_normalize_env.get_original_obs()

    def _on_rollout_start(self) -> None:
        bridge = self._bridge
        self._steps, self._terminal = [], []
        if bridge.steps == 0:
            rows, ids = bridge.reset_frames, bridge.episode
            self._carried = [] if rows is None else [frames_of(rows, 0, ids, ids)]
        self._frames = list(self._carried)
        self._episodes = dict(bridge.open_episodes)

    def _on_step(self) -> bool:
        step = self._bridge.last_step
        assert step is not None
        t = len(self._steps)
        for row in np.flatnonzero(step.terminated | step.truncated).tolist():
            terminal = self.locals["infos"][row]["terminal_observation"]
            self._terminal.append((t, row, self._stored(terminal)))
        if step.frames is not None and len(step.frames.env):
            self._frames.append(frames_of(step.frames, t + 1, step.episode, step.following))
        # Frames were copied above: without this each would be kept twice.
        self._steps.append(dataclasses.replace(step, frames=None))
        self._episodes.update(self._bridge.open_episodes)
        return True

    def _on_rollout_end(self) -> None:
        self._relabel(len(self._steps))
        self._followed = (self._bridge.resets, self._bridge.steps)

    def _on_training_end(self) -> None:
        # Another callback stopped in mid-rollout: SB3 stored all its steps but the last.
        stored = len(self._steps) - 1
        if stored > 0 and isinstance(self.model, OffPolicyAlgorithm):
            self._steps = self._steps[:stored]
            self._terminal = [end for end in self._terminal if end[0] < stored]
            self._frames = [part.rows(part.step <= stored) for part in self._frames]
            self._relabel(stored)
        self._steps = []

    # ------------------------------------------------------------------ relabelling

    def _relabel(self, count: int) -> None:
        on_policy = isinstance(self.model, OnPolicyAlgorithm)
        model: Any = self.model
        buffer = model.rollout_buffer if on_policy else model.replay_buffer
        slots = slice(0, count) if on_policy else newest_slots(buffer, count)
        rollout = self._rollout(buffer, slots, on_policy)
        self._carried = carried_frames(self._frames, count)
        self._frames = []  # the rollout has them: no second copy while the reward looks at them
        terms = self.reward(rollout)
        total = _checked(terms, rollout)
        if on_policy:
            buffer.rewards[slots] = total + self._bootstrap(rollout, buffer.gamma)
            buffer.compute_returns_and_advantage(
                last_values=self.locals["values"], dones=self.locals["dones"]
            )
        else:
            buffer.rewards[slots] = total
        for name, term in {**terms.terms, "total": terms.total}.items():
            self.logger.record(f"reward/{name}", float(term.detach().float().mean()))
        self.last_rollout = dataclasses.replace(rollout, frames=None)
        self._steps, self._terminal = [], []

    def _rollout(self, buffer: Any, slots: Any, on_policy: bool) -> Rollout:
        """The newest steps as a rollout over SB3's own arrays."""
        shape = (len(self._steps), self._bridge.num_envs)
        record = RolloutRecord(
            shape, self._bridge.env.signal_names, self.reward.camera, self._frames, self._episodes
        )
        for t, step in enumerate(self._steps):
            record.episode[t] = step.episode
            record.after(t, step.reward, step.terminated, step.truncated, step.infos)
        base = record.rollout({})
        observation = self._named(buffer.observations, slots)
        action = torch.from_numpy(buffer.actions[slots])
        if isinstance(self.model.action_space, gymnasium.spaces.Discrete):
            action = action[..., 0].long()
        log_prob = torch.full(shape, torch.nan)
        value = None
        if on_policy:
            log_prob = torch.from_numpy(buffer.log_probs[slots])
            value = torch.from_numpy(buffer.values[slots])
        return dataclasses.replace(
            base,
            observation=observation,
            last_observation=self._named(self._last(on_policy), ...),
            final_observation=FinalObservation(
                self._final(observation),
                base.final_observation.step,
                base.final_observation.env,
            ),
            action=action,
            log_prob=log_prob,
            value=value,
        )

    def _named(self, arrays: Any, slots: Any) -> dict[str, torch.Tensor]:
        """Views of a buffer's arrays by the environment's observation keys."""
        if not isinstance(arrays, dict):
            arrays = {self._bridge.observation_key or "state": arrays}
        return {key: torch.from_numpy(np.asarray(array[slots])) for key, array in arrays.items()}

    def _last(self, on_policy: bool) -> Any:
        model: Any = self.model
        original = not on_policy and model._vec_normalize_env is not None
        return model._last_original_obs if original else model._last_obs

    def _stored(self, terminal: Any) -> Any:
        """A terminal observation as the buffer holds it: replay buffers without VecNormalize.

        To be asked in the step itself: VecNormalize's statistics move with every step.
        """
        normalise = self.model.get_vec_normalize_env()
        if isinstance(self.model, OnPolicyAlgorithm) or normalise is None:
            return terminal
        return normalise.unnormalize_obs(terminal)

    def _final(self, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Terminal observations, ``[K, ...]`` each."""
        if not self._terminal:
            return {key: array.new_empty((0, *array.shape[2:])) for key, array in like.items()}
        return self._named(_stack([end[2] for end in self._terminal]), slice(None))

    def _bootstrap(self, rollout: Rollout, gamma: float) -> np.ndarray:
        """``gamma * V(terminal observation)`` on time-outs, 0 elsewhere, float32 ``[T, N]``."""
        bootstrap = np.zeros(rollout.shape, np.float32)
        ends = [end for end in self._terminal if rollout.truncated[end[0], end[1]]]
        if not ends or self.reward.timeout == "keep":
            return bootstrap
        policy: Any = self.model.policy
        observation, _ = policy.obs_to_tensor(_stack([end[2] for end in ends]))
        with torch.no_grad():
            value = policy.predict_values(observation).flatten().cpu().numpy()
        bootstrap[[end[0] for end in ends], [end[1] for end in ends]] = gamma * value
        return bootstrap


def newest_slots(buffer: ReplayBuffer, count: int) -> slice | np.ndarray:
    """Where the ``count`` newest steps are in a replay buffer, oldest first.

    Returns:
        A slice (whose rows are views), or int64 ``[count]`` where they wrap around its end.

    Raises:
        RoboError: where the buffer holds fewer: some were overwritten before they were scored.
    """
    held = buffer.buffer_size if buffer.full else buffer.pos
    if count > held:
        raise RoboError(
            f"{count} steps were collected between two updates, but the replay buffer holds "
            f"{held} per environment: raise buffer_size or lower train_freq"
        )
    start = buffer.pos - count
    if start >= 0:
        return slice(start, buffer.pos)
    return np.arange(start, buffer.pos) % buffer.buffer_size


def _stack(observations: list[Any]) -> Any:
    """Observations of single environments as one batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([one[key] for one in observations]) for key in observations[0]}
    return np.stack(observations)


def _checked(terms: RewardTerms, rollout: Rollout) -> np.ndarray:
    """The total reward as float32 ``[T, N]``, refused where it is not finite."""
    total = terms.total.detach().cpu().numpy().astype(np.float32, copy=False)
    if total.shape != rollout.shape:
        raise RoboError(f"rewards have shape {total.shape}, the rollout {rollout.shape}")
    if not np.isfinite(total).all():
        raise RoboError(
            "the reward holds NaN or infinity: look at its terms and at the signals and frames "
            "that it reads"
        )
    return total
