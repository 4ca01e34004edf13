"""The collector on a counting environment, in which every number is known in advance."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.vector.utils import batch_space

from robo.errors import RoboError
from robo.policies.actor_critic import ActorCritic
from robo.policies.collector import FIRST_SEED, Collector, first_seed
from robo.policies.distributed import Shard
from robo.rollout import CameraSchedule, EpisodeInfo, Rollout
from robo.sim.contract import FrameRows, VectorEnvironment

ENVS = 3


class Counting(VectorEnvironment):
    """State is (env, episode of that env, age). Ends at age 4 + env: success if env is odd.

    A frame's pixels are the state it shows, so a misplaced row shows. Environment 2 says both
    terminated and truncated, as some do at the time limit.
    """

    task = "test/Counting"
    signal_names = ("age",)
    cameras = ("front",)

    def __init__(self, exact: bool = True) -> None:
        self.num_envs = ENVS
        self.single_observation_space = Dict(state=Box(0, 255, (3,), np.float32))
        self.single_action_space = Box(-0.5, 0.5, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, ENVS)
        self.action_space = batch_space(self.single_action_space, ENVS)
        self.exact = exact
        self.schedule: CameraSchedule | None = None
        self.state = np.zeros((ENVS, 3), np.float32)
        self.actions: list[np.ndarray] = []
        self.seeds: list[int] = []

    def set_camera_schedule(self, schedule: CameraSchedule | None) -> None:
        self.schedule = schedule

    def episode_info(self, env: int) -> EpisodeInfo:
        return EpisodeInfo(self.task, f"episode {int(self.state[env, 1])}", group=env)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.state[:] = 0
        self.state[:, 0] = np.arange(ENVS)
        return self.current_observation(), self._frames([])

    def step(self, actions: np.ndarray) -> Any:
        self.actions.append(actions.copy())
        self.state[:, 2] += 1
        age = self.state[:, 2].copy()
        reward = age.astype(np.float64)
        success = (age == 4 + np.arange(ENVS)) & (np.arange(ENVS) == 1)
        done = age == 4 + np.arange(ENVS)
        terminated = done & (np.arange(ENVS) != 0)
        truncated = done & (np.arange(ENVS) != 1)
        final = [(env, self.state[env].copy()) for env in range(ENVS) if done[env]]
        infos: dict[str, Any] = {"success": success, "signals": {"age": age}}
        if final:
            infos["final_obs"] = np.full(ENVS, None, object)
            for env, state in final:
                infos["final_obs"][env] = {"state": state}
                self.state[env, 1:] = (state[1] + 1, 0)
        infos.update(self._frames(final))
        return self.current_observation(), reward, terminated, truncated, infos

    def _frames(self, final: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        if self.schedule is None:
            return {}
        due = np.flatnonzero(self.state[:, 2] % self.schedule.stride == 0)
        shown = np.array([state for _, state in final] + list(self.state[due]), np.uint8)
        if not len(shown):
            return {}
        image = np.broadcast_to(shown[:, None, None, :], (len(shown), 2, 2, 3)).copy()
        env = np.array([env for env, _ in final] + list(due), np.int64)
        ended = np.array([True] * len(final) + [False] * len(due))
        return {"frames": FrameRows({"front": image}, env, ended)}

    def current_observation(self) -> dict[str, np.ndarray]:
        return {"state": self.state}  # not a copy: the collector must not keep it

    def state_dict(self) -> dict[str, Any]:
        if not self.exact:
            return super().state_dict()
        return {"state": torch.from_numpy(self.state.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state["state"].numpy().copy()


def make(
    steps: int, stride: int | None = 2, exact: bool = True, shard: Shard | None = None
) -> Collector:
    env = Counting(exact)
    space = env.single_observation_space
    assert isinstance(space, Dict)
    policy = ActorCritic(space, env.single_action_space)
    camera = None if stride is None else CameraSchedule(("front",), 2, 2, stride)
    return Collector(env, policy, steps, seed=3, camera=camera, shard=shard)


def check_content(rollout: Rollout) -> None:
    """Everything that holds whatever the cut."""
    rollout.check()
    state = rollout.observation["state"]
    env, age = state[..., 0], state[..., 2]
    torch.testing.assert_close(rollout.env_reward, age + 1)
    torch.testing.assert_close(rollout.signals["age"], age + 1)
    done = age + 1 == 4 + env
    assert torch.equal(rollout.done, done)
    assert torch.equal(rollout.truncated, done & (env == 0))
    assert torch.equal(rollout.success, done & (env == 1))
    final = rollout.final_observation
    expected = state[final.step, final.env].clone()
    expected[:, 2] += 1
    torch.testing.assert_close(final.observation["state"], expected)
    for t, n in np.ndindex(*rollout.shape):
        info = rollout.episodes[int(rollout.episode[t, n])]
        assert info.instruction == f"episode {int(state[t, n, 1])}" and info.group == n


def check_frames(rollout: Rollout, stride: int) -> None:
    """Exactly the due rows, each with the state, step, env and episode that it shows."""
    steps, envs = rollout.shape
    state = torch.cat([rollout.observation["state"], rollout.last_observation["state"][None]])
    final = rollout.final_observation
    expected = [
        (int(t) + 1, int(n), 0, *final.observation["state"][k].tolist())
        for k, (t, n) in enumerate(zip(final.step, final.env, strict=True))
    ]
    expected += [
        (t, n, 1, *state[t, n].tolist())
        for t, n in np.ndindex(steps + 1, envs)
        if int(state[t, n, 2]) % stride == 0
    ]
    frames = rollout.frames
    assert frames is not None
    pixels = frames.views["front"][:, 1, 1].float()
    got = [
        (int(s), int(n), int(not f), *p.tolist())
        for s, n, f, p in zip(frames.step, frames.env, frames.final, pixels, strict=True)
    ]
    assert got == sorted(expected)
    for s, n, episode, f in zip(frames.step, frames.env, frames.episode, frames.final, strict=True):
        if bool(f):
            assert int(episode) == int(rollout.episode[s - 1, n])
        elif int(s) < steps:
            assert int(episode) == int(rollout.episode[s, n])
        info = rollout.episodes[int(episode)]
        assert info.group == int(n)


@pytest.mark.parametrize("steps", [1, 2, 4, 7, 13])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_rollouts_hold_exactly_what_happened(steps, stride):
    collector = make(steps, stride)
    ids: dict[int, tuple[int, int]] = {}
    ends = 0
    for _ in range(5):
        rollout = collector.collect()
        check_content(rollout)
        check_frames(rollout, stride)
        state = rollout.observation["state"]
        for t, n in np.ndindex(*rollout.shape):
            who = (n, int(state[t, n, 1]))
            assert ids.setdefault(int(rollout.episode[t, n]), who) == who
        assert len(collector.finished) == int(rollout.done.sum())
        ends += len(collector.finished)
    assert len(set(ids.values())) == len(ids)
    for n in range(ENVS):
        of_env = [number for number, (env, _) in sorted(ids.items()) if env == n]
        assert of_env == sorted(of_env)
    assert ends or steps * 5 < 4


def test_the_rows_at_the_end_of_a_rollout_are_the_first_of_the_next():
    collector = make(4, stride=1)
    first, second = collector.collect().frames, collector.collect().frames
    assert first is not None and second is not None
    last, start = first.rows((first.step == 4) & ~first.final), second.rows(second.step == 0)
    assert torch.equal(last.views["front"], start.views["front"])
    assert torch.equal(last.episode, start.episode) and torch.equal(last.env, start.env)
    assert not bool(start.final.any())


def test_without_a_camera_there_are_no_frames_and_with_one_there_may_be_no_rows():
    assert make(5, stride=None).collect().frames is None
    collector = make(1, stride=100)
    frames = [collector.collect().frames for _ in range(3)]
    assert [len(part) for part in frames if part is not None] == [ENVS, 0, 0]
    assert frames[1] is not None and frames[1].views["front"].shape == (0, 2, 2, 3)


def test_finished_episodes():
    collector = make(6)
    collector.collect()
    ended = {episode.env: episode for episode in collector.finished}
    assert sorted(ended) == [0, 1, 2]
    for n in range(ENVS):
        length = 4 + n
        assert ended[n].length == length
        assert ended[n].env_return == length * (length + 1) / 2
        assert ended[n].success == (n == 1)
        assert ended[n].terminated == (n != 0)
        assert ended[n].id == n and ended[n].info.group == n
    collector.collect()
    assert {episode.env: episode.length for episode in collector.finished}[0] == 4


def test_the_environment_gets_clipped_actions_and_the_rollout_keeps_what_was_drawn():
    collector = make(20)
    rollout = collector.collect()
    env = collector.env
    assert isinstance(env, Counting)
    given = torch.from_numpy(np.stack(env.actions))
    assert float(rollout.action.abs().max()) > 0.5
    torch.testing.assert_close(given, rollout.action.clamp(-0.5, 0.5))
    with torch.no_grad():
        log_prob, _, _ = collector.actor_critic.evaluate(rollout.observation, rollout.action)
    torch.testing.assert_close(rollout.log_prob, log_prob, atol=1e-5, rtol=1e-5)


def same(a: Rollout, b: Rollout) -> None:
    for name in ("action", "log_prob", "env_reward", "terminated", "truncated", "episode"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.observation["state"], b.observation["state"])
    assert a.episodes == b.episodes
    assert a.frames is not None and b.frames is not None
    assert torch.equal(a.frames.views["front"], b.frames.views["front"])
    for name in ("step", "env", "episode", "final"):
        assert torch.equal(getattr(a.frames, name), getattr(b.frames, name)), name


@pytest.mark.parametrize("before", [0, 1, 3])
def test_resume_is_exact(before):
    collector = make(3)
    for _ in range(before):
        collector.collect()
    file = io.BytesIO()
    torch.save(collector.state_dict(), file)
    file.seek(0)
    resumed = make(3)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(4):
        same(collector.collect(), resumed.collect())
        assert collector.finished == resumed.finished
    assert resumed.exact_resume


def test_an_environment_without_exact_state_is_reset_and_episode_ids_stay_unique():
    collector = make(3, exact=False)
    seen = set(collector.collect().episode.unique().tolist())
    resumed = make(3, exact=False)
    with pytest.warns(UserWarning, match="fresh episodes"):
        resumed.load_state_dict(collector.state_dict())
    assert not resumed.exact_resume
    rollout = resumed.collect()
    check_content(rollout)
    check_frames(rollout, 2)
    assert not seen & set(rollout.episode.unique().tolist())


def test_fresh_episodes_begin_from_no_seed_that_an_evaluation_uses():
    begun: list[int] = []
    for before in (1, 2):
        for first in (0, ENVS):  # as two owners of six environments
            shard = Shard(first, first + ENVS, 2 * ENVS)
            collector, resumed = (make(3, exact=False, shard=shard) for _ in range(2))
            for _ in range(before):
                collector.collect()
            state = collector.state_dict()
            state["episodes_begun"] = [1499 + 7 * first] * ENVS  # 6 * 1500 is 9000
            with pytest.warns(UserWarning, match="fresh episodes"):
                resumed.load_state_dict(state)
            assert isinstance(resumed.env, Counting)
            begun += resumed.env.seeds
    assert all(FIRST_SEED <= seed < 2**31 - ENVS for seed in begun)
    # Owners continue each other's seeds, and another checkpoint has others.
    assert begun[1] - begun[0] == begun[3] - begun[2] == ENVS and begun[0] != begun[2]


@pytest.mark.parametrize("seed", [0, 3, 4994, 4995, 5000, 9050, 999_999, FIRST_SEED, 2**30])
def test_a_run_begins_on_no_seed_that_an_evaluation_uses(seed):
    first = first_seed(seed, 6)
    used = range(first, first + 6)
    assert used.stop <= 5000 or used.start >= FIRST_SEED
    assert first == (seed if seed <= 4994 or seed >= FIRST_SEED else FIRST_SEED + seed)
    collector = make(3)
    collector.seed = seed
    collector.collect()
    assert collector.env.seeds == [first_seed(seed, ENVS)]


def test_a_nan_action_is_refused():
    collector = make(3)
    collector.actor_critic.flat.fill_(float("nan"))
    with pytest.raises(RoboError, match="NaN"):
        collector.collect()
