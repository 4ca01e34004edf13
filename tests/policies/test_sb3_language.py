"""SB3's replay buffers hold the language goal's rewards, as if every step were scored alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
pytest.importorskip("open_clip")

from stable_baselines3 import PPO, SAC

from robo.perception.clip_config import ClipConfig, ImageSource
from robo.policies.sb3 import RelabelCallback, StateExtractor, sb3_vec_env
from robo.policies.sb3_replay import CompactReplayBuffer
from robo.rewards.language_config import LanguageGoalConfig
from robo.rewards.language_goal import LanguageGoalReward, contrast
from robo.rollout import CameraSchedule, EpisodeInfo
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment

BOX = gymnasium.spaces.Box
KEYWORDS = {"net_arch": [8], "features_extractor_class": StateExtractor}


def painting(state: np.ndarray) -> np.ndarray:
    """The only frame that a state can have, uint8 ``[8, 8, 3]``."""
    rng = np.random.default_rng(np.asarray(state, np.int64))
    return rng.integers(0, 256, (8, 8, 3), np.uint8)


class Painter(Environment):
    """Episodes of 4 + number steps, every other one solved; its frames follow from its state."""

    task = "test/Painter"
    cameras = ("front",)
    observation_space = gymnasium.spaces.Dict(
        {"state": BOX(0, 255, (3,), np.float32), "birdseye": BOX(0, 255, (8, 8, 3), np.uint8)}
    )
    action_space = BOX(-1, 1, (1,), np.float32)

    def __init__(self, number: int) -> None:
        self.number, self.age, self.begun = number, 0, 0
        self.schedule: CameraSchedule | None = None

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        self.schedule = schedule

    def episode_info(self) -> EpisodeInfo:
        return EpisodeInfo(self.task)

    def _observation(self) -> dict[str, np.ndarray]:
        state = np.array([self.number, self.begun, self.age], np.float32)
        return {"state": state, "birdseye": painting(state)}

    def _frames(self, due: bool = True) -> dict[str, Any]:
        if self.schedule is None or not due:
            return {}
        return {"frames": {"front": self._observation()["birdseye"]}}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.age, self.begun = 0, self.begun + 1
        return self._observation(), {"instruction": "", "initial_state": None, **self._frames()}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.age += 1
        done = self.age == 4 + self.number
        success = done and self.begun % 2 == 0
        stride = self.schedule.stride if self.schedule is not None else 1
        info = {"success": success, "signals": {}, **self._frames(done or self.age % stride == 0)}
        return self._observation(), 0.0, success, done and not success, info


def reward_of(tiny_clip: Any, stride: int) -> LanguageGoalReward:
    # One image at a time: the arithmetic of a row is then the same in every batch.
    config = LanguageGoalConfig(
        clip=ClipConfig(model=str(tiny_clip), batch_size=1),
        image=ImageSource(height=8, width=8),
        positive=("a red cube",),
        negative=("a green wall",),
        lower=-0.5,
        upper=0.5,
        form="manipulation",
        state_term="success",
    )
    return LanguageGoalReward(config, stride)


def score(reward: LanguageGoalReward, state: np.ndarray) -> float:
    """Contrast of one state's frame, by itself."""
    image = reward.encoder.images(painting(state)[None], reward.config.image)
    return float(contrast(image, reward.positive[0], reward.negative[0], **vars(reward.scale))[0])


@pytest.mark.parametrize("kind", [None, CompactReplayBuffer])
@pytest.mark.parametrize("stride", [1, 3])
def test_every_slot_is_scored_as_if_alone(tiny_clip: Any, kind: Any, stride: int) -> None:
    env = sb3_vec_env(InProcessVectorEnvironment([partial(Painter, k) for k in range(3)]))
    model = SAC(
        "MultiInputPolicy",
        env,
        buffer_size=3 * 25,
        replay_buffer_class=kind,
        batch_size=8,
        learning_starts=10**6,
        train_freq=7,
        policy_kwargs=dict(KEYWORDS),
        seed=0,
        device="cpu",
    )
    reward = reward_of(tiny_clip, stride)
    model.learn(3 * 42, callback=RelabelCallback(reward))
    buffer: Any = model.replay_buffer
    assert buffer.full  # 42 steps in 25 slots
    states, dones = buffer.next_observations["state"], buffer.dones
    for slot in range(25):
        for row in range(3):
            number, begun, age = states[slot, row]
            seen = age if dones[slot, row] else age - age % stride
            solved = dones[slot, row] and begun % 2 == 0
            wanted = np.float32(score(reward, np.array([number, begun, seen])) + solved)
            assert buffer.rewards[slot, row] == wanted
    ends = buffer.dones.astype(bool)
    assert ends.sum() > 9 and buffer.timeouts[ends].any() and not buffer.timeouts[ends].all()


def test_a_timeout_is_bootstrapped_on_top(tiny_clip: Any) -> None:
    env = sb3_vec_env(InProcessVectorEnvironment([partial(Painter, k) for k in range(2)]))
    model = PPO(
        "MultiInputPolicy",
        env,
        n_steps=12,
        batch_size=24,
        n_epochs=1,
        policy_kwargs=dict(KEYWORDS),
        seed=0,
        device="cpu",
    )
    reward, values = reward_of(tiny_clip, 1), []
    before = model.policy.predict_values

    def spy(observation: Any) -> Any:
        found = before(observation)
        values.append((observation, found))
        return found

    model.policy.predict_values = spy
    callback = RelabelCallback(reward)
    model.learn(24, callback=callback)
    rollout = callback.last_rollout
    assert rollout is not None
    paid = torch.from_numpy(model.rollout_buffer.rewards)
    late = rollout.truncated
    assert late.any()
    final = rollout.final_observation
    bootstrap = torch.zeros(12, 2)
    for row, (step, place) in enumerate(zip(final.step, final.env, strict=True)):
        if late[step, place]:
            state = final.observation["state"][row]
            found = [
                float(value[k, 0])
                for seen, value in values
                for k in range(len(value))
                if torch.equal(seen["state"][k].cpu(), state)
            ]
            bootstrap[step, place] = model.gamma * found[-1]
    for step in range(12):
        for place in range(2):
            where = torch.where((final.step == step) & (final.env == place))[0]
            state = (
                final.observation["state"][where[0]]
                if len(where)
                else rollout.observation["state"][step + 1, place]
                if step < 11
                else rollout.last_observation["state"][place]
            )
            wanted = score(reward, state.numpy()) + float(rollout.success[step, place])
            wanted += float(bootstrap[step, place])
            assert paid[step, place].item() == pytest.approx(wanted, abs=1e-5)
