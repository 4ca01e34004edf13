"""Recorded episodes hold exactly what happened: final states, frames, nothing of the reset."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
import pytest

import robo
from robo.errors import RoboError
from robo.policies.recorder import record_episodes, stream_episodes
from robo.rollout import CameraSchedule, Episode, EpisodeInfo
from robo.sim.contract import Environment
from robo.sim.in_process import InProcessVectorEnvironment
from robo.sim.workers import WorkerVectorEnvironment

LIMIT = 9


class Walk(Environment):
    """A walk on a line from a random place; solved at 1. Frames show the number of the step."""

    task = "test/Walk"
    cameras = ("front", "side")
    signal_names = ("place",)
    max_episode_steps = LIMIT
    observation_space = gymnasium.spaces.Dict(
        {"state": gymnasium.spaces.Box(-10, 10, (2,), np.float32)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self) -> None:
        """No frames until a schedule is set."""
        self.schedule: CameraSchedule | None = None

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        """See the contract."""
        self.schedule = schedule

    def episode_info(self) -> EpisodeInfo:
        """See the contract."""
        return EpisodeInfo(self.task, "walk to 1")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Start at a random place in 0 ... 0.5."""
        super().reset(seed=seed)
        self.place = self.np_random.uniform(0, 0.5)
        self.steps = 0
        return self._observation(), {"instruction": "walk", **self._frames(False)}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Walk by ``action``."""
        self.place += float(action[0])
        self.steps += 1
        success = self.place >= 1
        truncated = not success and self.steps >= LIMIT
        info = {"success": success, "signals": {"place": self.place}}
        info |= self._frames(success or truncated)
        return self._observation(), self.place, success, truncated, info

    def _observation(self) -> dict[str, np.ndarray]:
        return {"state": np.array([self.place, self.steps], np.float32)}

    def _frames(self, last: bool) -> dict[str, Any]:
        if self.schedule is None or (self.steps % self.schedule.stride and not last):
            return {}
        image = np.full((self.schedule.height, self.schedule.width, 3), self.steps, np.uint8)
        return {"frames": dict.fromkeys(self.schedule.views, image)}


class Stride:
    """Walks by a length of its own per environment, and remembers what it was told."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.resets: list[int] = []
        self.started: list[np.ndarray] = []

    def reset(self, num_envs: int) -> None:
        """See the actor protocol."""
        self.resets.append(num_envs)

    def __call__(self, observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        """Odd environments never arrive."""
        self.started.append(started.copy())
        length = np.where(np.arange(len(started)) % 2 == 0, 0.3, 0.01)
        return length[:, None].astype(np.float32)

    def keyframes(self, env: int) -> dict[str, int]:
        """See the actor protocol."""
        return {"half": env + 1}

    def metadata(self, env: int) -> dict[str, Any]:
        """See the actor protocol."""
        return {"actor": "stride"}


@pytest.fixture
def env() -> InProcessVectorEnvironment:
    return InProcessVectorEnvironment([Walk] * 4)


def test_one_episode_per_seed_in_order_with_spare_ones_discarded(env: Any) -> None:
    actor = Stride()
    episodes = record_episodes(env, actor, range(100, 106))
    assert [episode.info.seed for episode in episodes] == list(range(100, 106))
    assert actor.resets == [4, 4]
    assert [episode.success for episode in episodes] == [True, False] * 3
    assert episodes[3].keyframes == {"half": 4}
    assert episodes[0].metadata == {"actor": "stride"}


def test_a_seed_gives_the_same_episode_wherever_it_comes(env: Any) -> None:
    together = record_episodes(env, Stride(), [7, 8, 9, 10])
    alone = record_episodes(InProcessVectorEnvironment([Walk]), Stride(), [9])
    np.testing.assert_array_equal(together[2].observation["state"], alone[0].observation["state"])


class Lossy(Walk):
    """Its simulator is lost in the second step, the first ``times`` times from seed 8."""

    times, begun = 1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Count the plays of the seed."""
        self.doomed = seed == 8 and type(self).begun < self.times
        type(self).begun += seed == 8
        return super().reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Cut where doomed, as a driving environment does whose server died."""
        observation, reward, success, truncated, info = super().step(action)
        if self.doomed and self.steps == 2:
            return observation, 0.0, False, True, {**info, "success": False, "server_lost": True}
        return observation, reward, success, truncated, info


@pytest.mark.parametrize("size", [1, 4])
def test_an_episode_whose_simulator_was_lost_is_played_again(size: int) -> None:
    whole = record_episodes(InProcessVectorEnvironment([Walk] * size), Stride(), range(6, 10))
    Lossy.times, Lossy.begun = 2, 0
    again = record_episodes(InProcessVectorEnvironment([Lossy] * size), Stride(), range(6, 10))
    assert Lossy.begun == 3
    assert [episode.info.seed for episode in again] == [6, 7, 8, 9]
    # The stride goes by the environment, and alone the seed is played in the first.
    same = [0, 1, 3] if size > 1 else range(4)
    for index in same:
        np.testing.assert_array_equal(whole[index].action, again[index].action)
    assert len(again[2]) > 2 and "lost" not in again[2].metadata


def test_an_episode_that_is_lost_again_and_again_is_given_with_a_warning() -> None:
    Lossy.times, Lossy.begun = 99, 0
    with pytest.warns(UserWarning, match="seed 8 was cut 3 times"):
        episodes = record_episodes(InProcessVectorEnvironment([Lossy] * 2), Stride(), range(7, 9))
    assert len(episodes[1]) == 2 and episodes[1].metadata["lost"] is True
    assert "lost" not in episodes[0].metadata


def check(episode: Episode) -> None:
    length = len(episode)
    states = episode.observation["state"]
    assert states.shape == (length + 1, 2)
    np.testing.assert_array_equal(states[:, 1], np.arange(length + 1))
    np.testing.assert_allclose(np.diff(states[:, 0]), episode.action[:, 0], atol=1e-6)
    np.testing.assert_array_equal(episode.signals["place"], states[1:, 0])
    np.testing.assert_array_equal(episode.reward, states[1:, 0])
    assert episode.success == (states[-1, 0] >= 1) == episode.terminated
    assert episode.success or length == LIMIT


def test_states_are_exact_up_to_the_final_one(env: Any) -> None:
    for episode in record_episodes(env, Stride(), range(8)):
        check(episode)
        assert episode.frames == {}


@pytest.mark.parametrize("stride", [1, 3, 4, 20])
def test_frames_show_the_states_they_name(env: Any, stride: int) -> None:
    schedule = CameraSchedule(("front", "side"), 2, 3, stride)
    for episode in record_episodes(env, Stride(), range(6), schedule):
        due = {*range(0, len(episode) + 1, stride), len(episode)}
        assert episode.frame_step.tolist() == sorted(due)
        for view in ("front", "side"):
            assert episode.frames[view].shape == (len(due), 2, 3, 3)
            np.testing.assert_array_equal(episode.frames[view][:, 0, 0, 0], episode.frame_step)
    assert record_episodes(env, Stride(), [0])[0].frames == {}


def test_started_marks_first_states(env: Any) -> None:
    actor = Stride()
    record_episodes(env, actor, range(4))
    assert actor.started[0].all()
    assert not actor.started[1].any()
    assert actor.started[3][[0, 2]].any()  # environment 0 or 2 arrived and began anew


def test_episodes_can_be_streamed_without_observations(env: Any) -> None:
    stream = stream_episodes(env, Stride(), range(6), keep_observations=False)
    assert next(stream).observation == {}
    seen: list[Episode] = []
    assert record_episodes(env, Stride(), range(3), on_episode=seen.append) == seen


def test_an_action_that_is_not_finite_is_one_sentence(env: Any) -> None:
    def actor(observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        action = np.zeros((4, 1), np.float32)
        action[2] = np.nan
        return action

    with pytest.raises(RoboError, match="environment 2 at step 0 is not finite"):
        record_episodes(env, actor, [0])


class Drawn(Walk):
    """A walk that says how its frames are drawn, and one thing more."""

    profile = "faithful"
    provenance = MappingProxyType({"wording": "walk on"})


def test_the_rendering_profile_is_recorded() -> None:
    factories: list[Any] = [Drawn] * 2
    vectors = [InProcessVectorEnvironment(factories), WorkerVectorEnvironment(factories, 1)]
    for vector in vectors:
        (episode,) = record_episodes(vector, Stride(), [3])
        vector.close()
        assert episode.metadata == {
            "rendering_profile": "faithful",
            "wording": "walk on",
            "actor": "stride",
        }
    native = robo.make_vec("mujoco/Reach", 1, profile="faithful")
    (episode,) = record_episodes(native, lambda observation, started: np.zeros((1, 4)), [0])
    native.close()
    assert episode.metadata == {"rendering_profile": "faithful"}


def test_discrete_actions_of_a_registered_task() -> None:
    env = robo.make_vec("gym/CartPole-v1", 3, backend="in_process")

    def lean(observation: dict[str, np.ndarray], started: np.ndarray) -> np.ndarray:
        return (observation["state"][:, 2] > 0).astype(np.int64)

    for episode in record_episodes(env, lean, range(4)):
        assert episode.action.shape == (len(episode),)
        assert abs(episode.observation["state"][-1, 2]) > 0.2  # the fallen pole, not a reset
    env.close()
