"""EnvPool under the vector contract: no lost slots, true final observations, seeds."""

from __future__ import annotations

import numpy as np
import pytest

envpool = pytest.importorskip("envpool", reason="EnvPool is not installed (pip install envpool)")

from robo.errors import RoboError, UnknownTaskError  # noqa: E402
from robo.rollout import CameraSchedule  # noqa: E402
from robo.sim.contract import StateNotSupportedError  # noqa: E402
from robo.sim.envpool_adapter import make, make_vec, task_ids, wrap_envpool  # noqa: E402

LIMIT = 5


@pytest.fixture
def pendulums():
    env = make_vec("envpool/Pendulum-v1", 3, max_episode_steps=LIMIT)
    yield env
    env.close()


def torque(env, value=0.3):
    return np.full((env.num_envs, 1), value, np.float32)


def test_autoreset_final_observation(pendulums):
    """No reset slot, and the final row is the state that the last step led to."""
    raw = envpool.make_gymnasium(
        "Pendulum-v1", num_envs=3, env_seed=[4, 5, 6], max_episode_steps=LIMIT, num_threads=1
    )
    theirs, _ = raw.reset()
    ours, _ = pendulums.reset(seed=4)
    np.testing.assert_array_equal(ours["state"], theirs)
    for step in range(LIMIT):
        theirs, reward, _, truncated, _ = raw.step(torque(pendulums))
        ours, our_reward, terminated, our_truncated, infos = pendulums.step(torque(pendulums))
        np.testing.assert_array_equal(our_reward, reward)
        np.testing.assert_array_equal(our_truncated, truncated)
        assert not terminated.any()
        if step < LIMIT - 1:
            assert "final_obs" not in infos
            np.testing.assert_array_equal(ours["state"], theirs)
    assert our_truncated.all() and infos["_final_obs"].all()
    for row in range(3):
        np.testing.assert_array_equal(infos["final_obs"][row]["state"], theirs[row])
        assert not np.array_equal(ours["state"][row], theirs[row])
    reset_observation, *_ = raw.step(torque(pendulums))  # EnvPool's own, lost, reset slot
    np.testing.assert_array_equal(ours["state"], reset_observation)
    theirs, reward, *_ = raw.step(torque(pendulums))
    ours, our_reward, *_ = pendulums.step(torque(pendulums))
    np.testing.assert_array_equal(ours["state"], theirs)
    np.testing.assert_array_equal(our_reward, reward)
    assert (our_reward != 0).all()


def test_only_the_rows_that_ended_are_reset():
    env = make_vec("envpool/CartPole-v1", 8, threads=2)
    env.reset(seed=0)
    seen = 0
    for _ in range(60):
        before = env.current_observation()["state"]
        observation, _, terminated, truncated, infos = env.step(np.ones(8, np.int32))
        assert not (terminated & truncated).any()
        ended = terminated | truncated
        for row in np.flatnonzero(ended):
            final = infos["final_obs"][row]["state"]
            assert abs(final[0]) > 2.4 or abs(final[2]) > 0.2094
            assert np.abs(observation["state"][row]).max() <= 0.05
        moved = np.abs(observation["state"] - before).max(1)
        assert (moved > 0).all()
        seen += int(ended.sum())
    assert seen >= 8
    env.close()


def test_seeds_decide_the_episodes_and_are_told(pendulums):
    first, _ = pendulums.reset(seed=11)
    assert [pendulums.episode_info(env).seed for env in range(3)] == [11, 12, 13]
    pendulums.step(torque(pendulums))
    again, _ = pendulums.reset(seed=[11, 12, 13])
    np.testing.assert_array_equal(first["state"], again["state"])
    following, _ = pendulums.reset()
    assert not np.array_equal(following["state"], again["state"])
    assert pendulums.episode_info(0).seed is None


def test_threads_do_not_change_results():
    results = []
    for threads in (1, 2):
        env = make_vec("envpool/HalfCheetah-v5", 4, threads=threads, max_episode_steps=6)
        env.reset(seed=1)
        generator = np.random.default_rng(0)
        steps = [env.step(generator.uniform(-1, 1, (4, 6)))[0]["state"] for _ in range(15)]
        results.append(np.stack(steps))
        env.close()
    assert results[0].dtype == np.float32
    np.testing.assert_array_equal(*results)


def test_a_collector_takes_it_and_bootstraps_true_final_states(pendulums):
    from robo.policies.actor_critic import ActorCritic
    from robo.policies.collector import Collector

    policy = ActorCritic(pendulums.single_observation_space, pendulums.single_action_space)
    rollout = Collector(pendulums, policy, 12, seed=3).collect().check()
    assert int(rollout.truncated.sum()) == 6 and len(rollout.final_observation.step) == 6
    assert bool((rollout.env_reward != 0).all())


def test_a_pool_made_elsewhere_keeps_its_seeds_and_says_so():
    pool = envpool.make_gymnasium("Pendulum-v1", num_envs=2, seed=7, num_threads=1)
    env = wrap_envpool(pool)
    assert env.task == "envpool/Pendulum" and env.num_envs == 2
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="fixed its seeds"):
        env.reset(seed=0)
    env.close()
    with pytest.raises(RoboError, match="closed"):
        env.reset()


def test_what_it_cannot_do_is_refused(pendulums):
    with pytest.raises(RoboError, match="before the first reset"):
        pendulums.step(torque(pendulums))
    pendulums.reset(seed=0)
    with pytest.raises(RoboError, match="NaN"):
        pendulums.step(torque(pendulums, np.nan))
    with pytest.raises(RoboError, match="no camera"):
        pendulums.set_camera_schedule(CameraSchedule(("front",)))
    with pytest.raises(StateNotSupportedError):
        pendulums.state_dict()
    with pytest.raises(UnknownTaskError, match="NoSuch"):
        make_vec("envpool/NoSuch-v0", 2)
    with pytest.raises(RoboError, match="asynchronous"):
        wrap_envpool(envpool.make_gymnasium("Pendulum-v1", num_envs=4, batch_size=2))


def test_a_single_one_ends_like_any_other():
    env = make("envpool/Pendulum-v1", max_episode_steps=LIMIT)
    env.reset(seed=0)
    ended = [env.step(np.zeros(1, np.float32))[3] for _ in range(LIMIT)]
    assert ended == [False] * (LIMIT - 1) + [True]
    assert "envpool/Pendulum-v1" in task_ids()
    env.close()
